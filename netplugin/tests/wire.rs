//! What a pod may be particular about, and the wire itself: addresses, MTU, bandwidth.

mod support;

use std::io::{Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use netplugin::{Attached, Bandwidth, NetError, Rate, Request, WayOut, Wishes};
use support::{Host, Netns, chain};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn ask(host: &Host, id: &str, pod: &Netns, wishes: Wishes<'_>) -> Result<Attached, NetError> {
    let owner = format!("default/{id}");
    let request = Request { id, owner: &owner, netns: pod.path(), ifname: "eth0", ports: &[], wishes };
    host.netns.run(|| netplugin::attach(&host.config, &request))
}

fn just(addresses: &[IpAddr]) -> Wishes<'_> {
    Wishes { addresses, ..Wishes::default() }
}

#[test]
fn a_pod_gets_the_addresses_it_asks_for_and_the_other_familys_with_the_same_host_part() {
    let host = Host::new();
    let pod = Netns::new();
    let mac = "02:00:00:00:00:07".parse().unwrap();
    let wishes = Wishes { addresses: &[ip("10.244.7.7")], mac: Some(mac), ..Wishes::default() };
    let first = ask(&host, "a", &pod, wishes).unwrap().attachment;
    let addresses: Vec<IpAddr> = first.addresses.iter().map(|a| a.address).collect();
    assert_eq!(addresses, [ip("10.244.7.7"), ip("fd00:10:244::707")]);
    assert!(pod.sh("ip link show eth0").contains("02:00:00:00:00:07"));
    // Asking again gives the same, and its neighbour is reached.
    assert_eq!(ask(&host, "a", &pod, wishes).unwrap().attachment, first);
    let other = host.pod("b");
    pod.serve_tcp("[::]:80");
    assert_eq!(other.netns.seen_by_tcp("10.244.7.7:80"), Ok(other.ip4()));
    assert_eq!(other.netns.seen_by_tcp("[fd00:10:244::707]:80"), Ok(other.ip6()));
}

#[test]
fn an_address_that_cannot_be_had_is_refused_with_the_reason_and_nothing_stays() {
    let host = Host::new();
    for (address, why) in [
        ("10.245.0.2", "it is not in network default, which has 10.244.0.0/16 and fd00:10:244::/64"),
        ("10.244.0.1", "it is the gateway of 10.244.0.0/16"),
        ("10.244.0.0", "it is the first address of 10.244.0.0/16"),
        ("10.244.255.255", "it is the broadcast address of 10.244.0.0/16"),
    ] {
        let error = ask(&host, "a", &Netns::new(), just(&[ip(address)])).unwrap_err();
        assert!(error.to_string().contains(why), "{address}: {error}");
    }
    assert_eq!(host.left_behind(), "");
    let pod = Netns::new();
    let mac = Some("02:00:00:00:00:07".parse().unwrap());
    ask(&host, "a", &pod, Wishes { mac, ..just(&[ip("10.244.7.7")]) }).unwrap();
    let taken = ask(&host, "b", &Netns::new(), just(&[ip("10.244.7.7")])).unwrap_err();
    assert_eq!(chain(&taken), "address 10.244.7.7 is held by default/a");
    let taken = ask(&host, "b", &Netns::new(), Wishes { mac, ..Wishes::default() }).unwrap_err();
    assert_eq!(chain(&taken), "address 02:00:00:00:00:07 is held by default/a");
    host.detach("a");
    // As long as somebody has its namespace open its cable is plugged in.
    drop(pod);
    let again = Netns::new();
    ask(&host, "b", &again, Wishes { mac, ..just(&[ip("10.244.7.7")]) }).unwrap();
}

#[test]
fn an_interface_with_its_way_out_elsewhere_has_no_default_route() {
    let host = Host::new();
    let pod = Netns::new();
    let attached = ask(&host, "a", &pod, Wishes { way_out: WayOut::Elsewhere, ..Wishes::default() }).unwrap();
    assert_eq!(attached.attachment.gateways, Vec::<IpAddr>::new());
    assert_eq!(pod.sh("ip route show default; ip -6 route show default"), "");
    assert!(pod.sh("ip route").contains("10.244.0.0/16 dev eth0"));
    // What it is asked from beyond its subnets it answers itself, and to be attached again changes nothing.
    let again = ask(&host, "a", &pod, Wishes { way_out: WayOut::Elsewhere, ..Wishes::default() }).unwrap();
    assert_eq!(again.attachment, attached.attachment);
    for (address, beyond) in [("10.244.0.2", "192.0.2.1"), ("fd00:10:244::2", "2001:db8::1")] {
        let rules = pod.sh("ip rule; ip -6 rule");
        assert_eq!(rules.matches(&format!("from {address} lookup")).count(), 1, "{rules}");
        let way = pod.sh(&format!("ip route get {beyond} from {address}"));
        assert!(way.contains(" via ") && way.contains(" dev eth0 "), "{way}");
    }
}

#[test]
fn the_largest_packet_is_that_of_the_uplink_and_follows_it_when_the_bridge_is_made_anew() {
    for mtu in ["9000", "1400"] {
        let host = Host::new();
        let _outside = host.outside();
        host.netns.sh(&format!("ip link set up0 mtu {mtu}"));
        let (a, b) = (host.pod("a"), host.pod("b"));
        assert_eq!(a.attached.attachment.mtu.to_string(), mtu);
        for (netns, link) in [(&a.netns, "eth0"), (&b.netns, "eth0"), (&host.netns, "podbox0")] {
            let told = netns.sh(&format!("ip link show {link}"));
            assert!(told.contains(&format!("mtu {mtu} ")), "{told}");
        }
        host.detach("a");
        host.detach("b");
        drop((a, b));
        assert!(host.release_idle());
        host.netns.sh("ip link set up0 mtu 1300");
        assert_eq!(host.pod("c").attached.attachment.mtu, 1300);
    }
    let alone = Host::new();
    assert_eq!(alone.pod("a").attached.attachment.mtu, 1500, "without a default route");
}

/// Bits a second from one namespace to another, over some megabytes.
fn throughput(from: &Netns, to: &Netns, at: &str, bytes: usize) -> f64 {
    let listener = to.run(|| TcpListener::bind(at).unwrap());
    std::thread::scope(|scope| {
        let sink = scope.spawn(|| {
            let (mut stream, _) = listener.accept().unwrap();
            let mut buffer = vec![0; 1 << 16];
            while stream.read(&mut buffer).unwrap() > 0 {}
        });
        let mut stream = from.run(|| TcpStream::connect(at).unwrap());
        let start = Instant::now();
        stream.write_all(&vec![0; bytes]).unwrap();
        drop(stream);
        sink.join().unwrap();
        bytes as f64 * 8.0 / start.elapsed().max(Duration::from_micros(1)).as_secs_f64()
    })
}

#[test]
fn bandwidth_is_limited_each_way_and_only_where_it_was_asked_for() {
    const LIMIT: f64 = 20e6;
    let rate = Some(Rate { bits_per_second: 20_000_000, burst: None });
    for (bandwidth, limited) in [
        (Bandwidth { ingress: rate, egress: None }, [true, false]),
        (Bandwidth { ingress: None, egress: rate }, [false, true]),
    ] {
        let host = Host::new();
        let free = host.pod("free");
        let pod = Netns::new();
        let attached =
            ask(&host, "held", &pod, Wishes { bandwidth, ..Wishes::default() }).unwrap().attachment;
        assert_eq!(attached.notes, Vec::<String>::new());
        let inward = format!("{}:5001", attached.addresses[0].address);
        let outward = format!("{}:5001", free.ip4());
        for (is_limited, rate) in limited.into_iter().zip([
            throughput(&free.netns, &pod, &inward, 2 << 20),
            throughput(&pod, &free.netns, &outward, 2 << 20),
        ]) {
            println!("limited {is_limited}: {:.1} Mbit/s", rate / 1e6);
            if is_limited {
                assert!(rate < LIMIT * 1.3, "{rate} bit/s");
            } else {
                assert!(rate > LIMIT * 2.0, "{rate} bit/s");
            }
        }
        host.detach("held");
    }
}
