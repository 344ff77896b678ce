//! The largest packet follows the uplinks, and passes whole.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use e2e::{Host, pod};
use nix::errno::Errno;
use nix::sys::socket::{setsockopt, sockopt::Ipv6DontFrag};

use super::{ECHO, SLEEPER, await_echoes, inside, ip_in, ip_on, machine};

const HEADERS: usize = 40 + 8;

/// Sends a datagram of so many bytes, headers included, that must not be fragmented, from a pod to a pod's echo, and
/// waits for it to come back.
fn send_whole(host: &Host, from: &str, to: &str, size: usize) -> io::Result<usize> {
    let address: IpAddr = host.pod(to).ip6().parse().expect("an address");
    inside(host, from, || {
        let socket = UdpSocket::bind("[::]:0")?;
        setsockopt(&socket, Ipv6DontFrag, &true)?;
        socket.set_read_timeout(Some(Duration::from_secs(10)))?;
        socket.connect(SocketAddr::new(address, 9001))?;
        socket.send(&vec![b'x'; size - HEADERS])?;
        socket.recv(&mut vec![0; size])
    })
}

/// How many fragments a pod has made, of IPv6.
fn fragments(host: &Host, name: &str) -> String {
    let counters = inside(host, name, || std::fs::read_to_string("/proc/thread-self/net/snmp6"));
    let counters = counters.expect("the kernel counts");
    counters.lines().find(|line| line.starts_with("Ip6FragCreates")).expect("the counter").to_owned()
}

fn largest_packet_is(host: &Host, size: usize) {
    host.up(&pod("echo", ECHO));
    host.up(&pod("client", SLEEPER));
    await_echoes(host, "echo");
    for name in ["echo", "client"] {
        let link = ip_in(host, name, "link show eth0");
        assert!(link.contains(&format!(" mtu {size} ")), "{link}");
    }
    let bridge = ip_on(host, &format!("link show {}", host.bridge()));
    assert!(bridge.contains(&format!(" mtu {size} ")), "{bridge}");
    assert_eq!(send_whole(host, "client", "echo", size).expect("it comes back whole"), size - HEADERS);
    let error = send_whole(host, "client", "echo", size + 1).expect_err("one byte more is too much");
    assert_eq!(error.raw_os_error(), Some(Errno::EMSGSIZE as i32), "{error}");
    for name in ["echo", "client"] {
        assert!(fragments(host, name).ends_with("\t0"), "{name}: {}", fragments(host, name));
    }
    host.down(&["--all", "--grace-period", "0"]);
    // Then the bridge is made anew, by what is there.
    host.expect_nothing_left();
}

/// A cable with a default route through one end.
fn uplink(host: &Host, index: u8, mtu: u32) {
    let (number, end, other) = (host.number(), index * 2, index * 2 + 1);
    for words in [
        format!("link add eth{end} mtu {mtu} type veth peer name eth{other} mtu {mtu}"),
        format!("addr add 198.18.{number}.{}/30 dev eth{end}", index * 4 + 1),
        format!("link set eth{end} up"),
        format!("link set eth{other} up"),
        format!("route add default via 198.18.{number}.{} metric {}", index * 4 + 2, index + 10),
    ] {
        ip_on(host, &words);
    }
}

#[test]
fn the_largest_packet_is_that_of_the_least_uplink_and_passes_whole() {
    let host = machine();
    largest_packet_is(&host, 1500);
    uplink(&host, 0, 9000);
    largest_packet_is(&host, 9000);
    uplink(&host, 1, 1400);
    largest_packet_is(&host, 1400);
    host.finish();
}
