//! Pods on one bridge: who can talk to whom, and with which address.

mod support;

use std::net::IpAddr;

use support::{Host, Netns, chain};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn pods_and_host_see_each_other_with_their_own_addresses() {
    let host = Host::new();
    let (a, b) = (host.pod("a"), host.pod("b"));
    assert_eq!((a.ip4(), a.ip6()), (ip("10.244.0.2"), ip("fd00:10:244::2")));
    for listen in ["0.0.0.0:80", "[::]:81"] {
        b.netns.serve_tcp(listen);
        b.netns.serve_udp(listen);
    }
    let (b4, b6) = (format!("{}:80", b.ip4()), format!("[{}]:81", b.ip6()));
    assert_eq!(a.netns.seen_by_tcp(&b4), Ok(a.ip4()));
    assert_eq!(a.netns.seen_by_udp(&b4), Ok(a.ip4()));
    assert_eq!(a.netns.seen_by_tcp(&b6), Ok(a.ip6()));
    assert_eq!(a.netns.seen_by_udp(&b6), Ok(a.ip6()));
    assert_eq!(host.netns.seen_by_tcp(&b4), Ok(ip("10.244.0.1")));
    assert_eq!(host.netns.seen_by_udp(&b4), Ok(ip("10.244.0.1")));
    assert_eq!(host.netns.seen_by_tcp(&b6), Ok(ip("fd00:10:244::1")));
    host.netns.serve_tcp("[::]:90");
    assert_eq!(a.netns.seen_by_tcp("10.244.0.1:90"), Ok(a.ip4()));
    assert_eq!(a.netns.seen_by_tcp("[fd00:10:244::1]:90"), Ok(a.ip6()));
}

#[test]
fn a_packet_gets_through_at_once_after_attach() {
    let host = Host::new();
    host.pod("first");
    let started = std::time::Instant::now();
    let pod = host.pod("second");
    host.netns.serve_tcp("[::]:90");
    assert_eq!(pod.netns.seen_by_tcp("10.244.0.1:90"), Ok(pod.ip4()));
    assert_eq!(pod.netns.seen_by_tcp("[fd00:10:244::1]:90"), Ok(pod.ip6()));
    // A lost first packet is sent again after a second.
    assert!(started.elapsed().as_millis() < 900, "{:?}", started.elapsed());
}

#[test]
fn what_leaves_the_flat_space_gets_the_hosts_address() {
    let host = Host::new();
    let outside = host.outside();
    outside.serve_tcp("[::]:80");
    outside.serve_udp("0.0.0.0:80");
    let pod = host.pod("a");
    assert_eq!(pod.netns.seen_by_tcp("192.168.77.2:80"), Ok(ip("192.168.77.1")));
    assert_eq!(pod.netns.seen_by_udp("192.168.77.2:80"), Ok(ip("192.168.77.1")));
    assert_eq!(pod.netns.seen_by_tcp("[fd77::2]:80"), Ok(ip("fd77::1")));
    // The host's other addresses are the host: nothing is translated on the way.
    host.netns.serve_tcp("[::]:90");
    assert_eq!(pod.netns.seen_by_tcp("192.168.77.1:90"), Ok(pod.ip4()));
}

#[test]
fn nothing_is_left_after_detach_and_release() {
    let host = Host::new();
    let pod = host.pod("a");
    let other = host.pod("b");
    host.detach("a");
    assert!(!host.release_idle(), "the other pod still has a lease");
    drop((pod, other));
    host.detach("b");
    host.detach("b");
    assert!(host.release_idle());
    host.netns.sh("for i in $(seq 500); do ip -o link | grep -q pb || break; sleep 0.01; done");
    assert_eq!(host.left_behind(), "");
    assert!(host.release_idle());
}

#[test]
fn asking_again_gives_the_same_addresses_even_in_a_new_namespace() {
    let host = Host::new();
    let pod = host.pod("a");
    let again = host.attach("a", &pod.netns, &[]).unwrap_or_else(|e| panic!("{}", chain(&e)));
    assert_eq!(again.attachment, pod.attached.attachment);
    let fresh = Netns::new();
    let moved = host.attach("a", &fresh, &[]).unwrap_or_else(|e| panic!("{}", chain(&e)));
    assert_eq!(moved.attachment, pod.attached.attachment);
    host.netns.serve_tcp("0.0.0.0:90");
    assert_eq!(fresh.seen_by_tcp("10.244.0.1:90"), Ok(pod.ip4()));
}
