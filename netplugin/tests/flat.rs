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
    host.wait_for_cables();
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

#[test]
fn twenty_pods_at_once_all_get_through() {
    let host = Host::new();
    let pods: Vec<_> = (0..20).map(|_| Netns::new()).collect();
    let attached: Vec<_> = std::thread::scope(|scope| {
        let attach = |(number, pod)| {
            let host = &host;
            move || {
                host.attach(&format!("pod-{number}"), pod, &[]).unwrap_or_else(|e| panic!("{}", chain(&e)))
            }
        };
        let threads: Vec<_> = pods.iter().enumerate().map(|pod| scope.spawn(attach(pod))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let mut addresses: Vec<_> = attached.iter().map(|a| a.attachment.addresses[0].address).collect();
    addresses.sort();
    addresses.dedup();
    assert_eq!(addresses.len(), 20);
    host.netns.serve_tcp("[::]:90");
    for (pod, attached) in pods.iter().zip(&attached) {
        assert_eq!(pod.seen_by_tcp("10.244.0.1:90"), Ok(attached.attachment.addresses[0].address));
    }
    let made = attached.iter().filter(|a| a.trace.iter().any(|step| step.name == "make the bridge"));
    assert_eq!(made.count(), 1);
}

#[test]
fn pods_that_come_while_others_go_always_find_a_bridge() {
    let host = Host::new();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let host = &host;
            scope.spawn(move || {
                for round in 0..10 {
                    let id = format!("{thread}-{round}");
                    let pod = host.pod(&id);
                    let link = host
                        .netns
                        .sh(&format!("ip -o link show {} up", pod.attached.attachment.host_interface));
                    assert!(link.contains("master podbox0"), "{link}");
                    host.detach(&id);
                    host.release_idle();
                }
            });
        }
    });
    assert!(host.release_idle());
    host.wait_for_cables();
    assert_eq!(host.left_behind(), "");
}

#[test]
fn the_ports_options_are_what_was_asked_for() {
    let host = Host::new();
    let pod = host.pod("a");
    let name = &pod.attached.attachment.host_interface;
    let link = host.netns.sh(&format!("ip -d link show {name}; ip address show {name}"));
    assert!(link.contains("hairpin on") && link.contains("addrgenmode none"), "{link}");
    assert!(!link.contains("inet6"), "{link}");
    let bridge = host.netns.sh("ip -d link show podbox0");
    assert!(bridge.contains("forward_delay 0") && bridge.contains("mcast_snooping 0"), "{bridge}");
    assert!(bridge.contains(" 0a:58:0a:f4:00:01 "), "{bridge}");
    let inside = pod.netns.sh("ip address show eth0; sysctl net.ipv6.conf.eth0.accept_ra");
    assert!(inside.contains(" 0a:58:0a:f4:00:02 ") && inside.contains("accept_ra = 0"), "{inside}");
    assert!(!inside.contains("tentative"), "{inside}");
}

#[test]
fn the_described_commands_make_the_same_rules() {
    let host = Host::new();
    let pod = Netns::new();
    let ports = [support::tcp(8080, 80), support::udp(53, 53)];
    let request = netplugin::Request {
        id: "a",
        owner: "default/a",
        netns: pod.path(),
        ifname: "eth0",
        ports: &ports,
        wishes: netplugin::Wishes::default(),
    };
    let described = host.netns.run(|| netplugin::describe(&host.config, &request));
    assert_eq!(host.left_behind(), "", "describing touches nothing");
    let attached = host.attach("a", &pod, &ports).unwrap_or_else(|e| panic!("{}", chain(&e)));
    let names = |done: &netplugin::Timed| (done.name.clone(), done.command.clone());
    let done: Vec<_> = attached.trace.iter().map(names).collect();
    let told: Vec<_> = described.into_iter().map(|step| (step.name, step.command)).collect();
    assert_eq!(told, done);
    let other = Host::new();
    for (_, command) in told.iter().filter(|(_, command)| command.starts_with("nft")) {
        other.netns.sh(command);
    }
    assert_eq!(other.netns.sh("nft list ruleset"), host.netns.sh("nft list ruleset"));
}

#[test]
fn a_host_without_ipv6_gives_ipv4_and_says_so() {
    let host = Host::new();
    host.netns.sh("sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1");
    let pod = host.pod("a");
    assert_eq!(pod.attached.attachment.addresses.len(), 1);
    assert_eq!(pod.attached.attachment.notes, ["the pod has no IPv6 address: IPv6 is off on this host"]);
    host.netns.serve_tcp("0.0.0.0:90");
    assert_eq!(pod.netns.seen_by_tcp("10.244.0.1:90"), Ok(pod.ip4()));
}

#[test]
fn an_uplink_that_learned_its_route_from_an_advertisement_keeps_learning() {
    let host = Host::new();
    let _outside = host.outside();
    host.netns.sh("ip -6 route del default; ip -6 route add default via fd77::2 dev up0 proto ra");
    let _pod = host.pod("a");
    assert_eq!(host.netns.sh("sysctl -n net.ipv6.conf.up0.accept_ra").trim(), "2");
    assert!(host.netns.sh("ip -6 route").contains("default via fd77::2"));
}

#[test]
fn the_hosts_address_is_the_one_it_talks_to_the_world_with() {
    let host = Host::new();
    let addresses = || host.netns.run(|| netplugin::host_addresses(&host.config));
    assert_eq!(addresses(), [ip("10.244.0.1")]);
    let _outside = host.outside();
    let _pod = host.pod("a");
    assert_eq!(addresses(), [ip("192.168.77.1"), ip("fd77::1")]);
    host.netns.sh("ip route del default; ip -6 route del default");
    assert_eq!(addresses(), [ip("192.168.77.1"), ip("fd77::1")]);
}
