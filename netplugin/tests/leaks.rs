//! However often pods come and go, nothing of them stays. `PODBOX_CYCLES` says how often; some tens of
//! times without it, because most of a cycle is waiting for the kernel to take namespaces and tables down.

mod support;

use std::fs;
use std::net::UdpSocket;

use netplugin::{PortMapping, Protocol};
use support::{Host, Netns, PATIENCE, tcp, udp};

/// What a hundred attachments may leave in this process's memory: the allocator's own business.
const SLACK_KIB: u64 = 2048;

fn cycles() -> u32 {
    std::env::var("PODBOX_CYCLES").ok().and_then(|text| text.parse().ok()).unwrap_or(60)
}

/// All that could be left on a host, in words: empty if there is nothing.
fn left(host: &Host) -> String {
    let neighbours = host
        .netns
        .sh("ip neighbour show | grep -v ' dev up0 ' || true; bridge fdb show | grep -v ' dev up0 ' || true");
    let addresses = host.netns.sh("ip -o address show | grep -Ev '^[0-9]+: (lo|up0) ' || true");
    let rules = host.netns.sh("ip rule show | grep -Ev 'lookup (local|main|default)$' || true");
    host.left_behind() + &neighbours + &addresses + &rules + &tracked(host)
}

/// Flows of UDP to the mapped port that the kernel still knows: their next packet would go where the pod was.
fn tracked(host: &Host) -> String {
    host.netns.sh("grep -E 'udp .*dport=5353 ' /proc/thread-self/net/nf_conntrack || true")
}

/// Open files, and memory in KiB.
fn own() -> (usize, u64) {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let kib = resident.trim().trim_end_matches(" kB").parse().unwrap();
    (fs::read_dir("/proc/self/fd").unwrap().count(), kib)
}

/// Two pods come, one of them twice, and a third that uses the host's network; a packet goes through; they go.
fn cycle(host: &Host, number: u32) {
    let sctp = PortMapping { protocol: Protocol::Sctp, ..tcp(7000, 70) };
    let at = PortMapping { host_ip: Some("192.168.77.1".parse().unwrap()), ..tcp(9090, 90) };
    let (web, other) = (Netns::new(), Netns::new());
    let ports = [tcp(8080, 80), udp(5353, 53), sctp, at];
    let first = host.attach("web", &web, &ports).unwrap();
    host.netns.run(|| {
        let socket = UdpSocket::bind("192.168.77.1:0").unwrap();
        socket.send_to(b"hello", "192.168.77.1:5353").unwrap();
    });
    host.attach("other", &other, &[udp(5354, 53)]).unwrap();
    let own = [tcp(6000, 6000)];
    host.netns.run(|| netplugin::reserve(&host.config, ("native", "default/native"), &own)).unwrap();
    match number % 4 {
        // Once more changes nothing.
        0 => {
            let again = host.attach("web", &web, &ports).unwrap();
            assert_eq!(again.attachment, first.attachment);
        }
        // Somebody has taken half of it away.
        1 => drop(host.netns.sh("nft delete element inet podbox0 any_ports4 '{ tcp . 8080 }'")),
        2 => drop(host.netns.sh("nft delete table inet podbox0; ip link delete podbox0")),
        // And put something of his own there.
        _ => drop(host.netns.sh("nft 'add rule inet podbox0 host_ports counter'
             nft 'add element inet podbox0 any_ports4 { tcp . 1 : 10.244.0.99 . 1 }'")),
    }
    let mut names = ["web", "other", "native"];
    names.rotate_left(number as usize % 3);
    names.into_iter().for_each(|name| host.detach(name));
    drop((web, other));
    // The bridge of every other cycle stays for the next one, as it does where pods follow each other quickly.
    if number.is_multiple_of(2) || number % 4 == 3 {
        assert!(host.release_idle(), "cycle {number}");
    }
}

#[test]
fn nothing_is_left_however_often_pods_come_and_go() {
    let host = Host::new();
    let _outside = host.outside();
    let before = left(&host);
    // The first ones let the process reach its size.
    let warm = cycles() / 4;
    (0..warm).for_each(|number| cycle(&host, number));
    let (files, memory) = own();
    (warm..cycles()).for_each(|number| cycle(&host, number));
    host.release_idle();
    host.wait_for_cables();
    assert_eq!(left(&host), before);
    let settled = || own().0 <= files;
    let since = std::time::Instant::now();
    // Sockets of nftables are closed a little later, by a thread.
    while !settled() && since.elapsed() < PATIENCE {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let (files_now, memory_now) = own();
    assert!(files_now <= files, "{files} open files became {files_now}");
    assert!(memory_now <= memory + SLACK_KIB, "{memory} KiB became {memory_now}");
    println!("{} cycles: {files} files, then {files_now}; {memory} KiB, then {memory_now}", cycles());
}
