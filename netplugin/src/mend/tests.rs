//! Each thing that somebody may take away.

use std::time::Duration;

use super::*;
use crate::support::{Host, Netns, Pod};
use crate::wishes::{Rate, WayOut, Wishes};
use crate::{Bandwidth, Mac};

/// A pod's second interface, which wishes for a lot.
const PARTICULAR: Wishes<'static> = Wishes {
    addresses: &[],
    mac: Some(Mac([2, 0, 0, 0, 0, 7])),
    bandwidth: Bandwidth { ingress: Some(RATE), egress: Some(RATE) },
    way_out: WayOut::Elsewhere,
};
const RATE: Rate = Rate { bits_per_second: 80_000_000, burst: None };

/// What `a` asks for.
fn with_request<T>(
    pod: &Netns,
    (ifname, wishes): (&str, Wishes<'_>),
    act: impl FnOnce(&Request<'_>) -> T,
) -> T {
    act(&Request { id: "a", owner: "default/a", netns: pod.path(), ifname, ports: &[], wishes })
}

fn mended(host: &Host, pod: &Netns) -> Vec<Loss> {
    with_request(pod, ("eth0", Wishes::default()), |request| {
        let Mending { restored, failed } = host.netns.run(|| mend(&host.config, request));
        assert!(failed.is_empty(), "{failed:?}");
        let left = host.netns.run(|| lost(&host.config, request)).unwrap();
        assert_eq!(left, [], "after it was mended");
        restored
    })
}

fn told(losses: &[Loss]) -> String {
    losses.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// The host and the pod reach each other, on both families.
fn talks(host: &Host, pod: &Pod) {
    for ip in [pod.ip4().to_string(), format!("[{}]", pod.ip6())] {
        host.netns.seen_by_tcp(&format!("{ip}:80")).unwrap_or_else(|e| panic!("{ip}: {e}"));
    }
    for gateway in ["10.244.0.1:81", "[fd00:10:244::1]:81"] {
        pod.netns.seen_by_tcp(gateway).unwrap_or_else(|e| panic!("{gateway}: {e}"));
    }
}

/// Everything of the pod's own namespace that attaching makes, without numbers and counters.
fn inside(pod: &Netns) -> String {
    let text = pod.sh(
        "ip -o -d link show type veth; ip -o addr; ip -4 route; ip -6 route; ip rule; ip -6 rule
         ip -4 route show table all; ip neigh show nud permanent; ip -6 neigh show nud permanent; tc qdisc show",
    );
    let number = |word: &str| word.split_once("@if").map_or(word, |(name, _)| name).to_owned();
    let line = |line: &str| {
        let words = line.split_whitespace().map(number);
        // An interface's number at the beginning of a line, and the handle of a queue that the kernel gave.
        words.filter(|word| !word.ends_with(':') || word == "1:").collect::<Vec<_>>().join(" ")
    };
    let mut lines: Vec<String> = text.lines().map(line).collect();
    lines.sort();
    lines.join("\n")
}

#[test]
fn whatever_is_taken_away_comes_back_and_both_families_work() {
    let host = Host::new();
    let pod = host.pod("a");
    pod.netns.serve_tcp("[::]:80");
    host.netns.serve_tcp("[::]:81");
    talks(&host, &pod);
    assert_eq!(mended(&host, &pod.netns), [], "nothing is missing");
    let cable = pod.attached.attachment.host_interface.clone();
    let before = inside(&pod.netns);
    for (act, says) in [
        ("ip link del podbox0", "no bridge podbox0; CABLE, the cable of eth0, not plugged into podbox0"),
        ("ip link del CABLE", "no cable CABLE to eth0"),
        ("ip link set CABLE nomaster", "CABLE, the cable of eth0, not plugged into podbox0"),
        ("ip link set CABLE down", "CABLE, the cable of eth0, down"),
        (
            "ip link set podbox0 down",
            "podbox0 down; podbox0 without fd00:10:244::1/64; podbox0 without fe80::1/64",
        ),
        (
            "ip link set podbox0 down; ip link set podbox0 up",
            "podbox0 without fd00:10:244::1/64; podbox0 without fe80::1/64",
        ),
        (
            "ip addr flush dev podbox0",
            "podbox0 without 10.244.0.1/16; podbox0 without fd00:10:244::1/64; podbox0 without fe80::1/64",
        ),
        (
            "ip link set podbox0 down; ip link set podbox0 name x; ip link set x up",
            "podbox0 renamed to x; podbox0 without fd00:10:244::1/64; podbox0 without fe80::1/64",
        ),
        (
            "ip route del unreachable 10.244.0.0/16; ip -6 route del fd00:10:244::/64 proto 112",
            "no unreachable route to 10.244.0.0/16; no unreachable route to fd00:10:244::/64",
        ),
        (
            "ip route del 10.244.0.0/16 dev podbox0; ip route del unreachable 10.244.0.0/16",
            "no route to 10.244.0.0/16 by podbox0; no unreachable route to 10.244.0.0/16",
        ),
        ("ip link set CABLE mtu 1400", "CABLE, the cable of eth0, with an MTU of 1400, not 1500"),
        ("ip link del podbox0; ip link del CABLE", "no bridge podbox0; no cable CABLE to eth0"),
    ] {
        host.netns.sh(&act.replace("CABLE", &cable));
        let restored = mended(&host, &pod.netns);
        assert_eq!(told(&restored), says.replace("CABLE", &cable), "{act}");
        talks(&host, &pod);
        assert_eq!(inside(&pod.netns), before, "{act}");
    }
    host.detach("a");
    drop(pod);
    assert!(host.release_idle());
    host.wait_for_cables();
    assert_eq!(host.left_behind(), "");
}

#[test]
fn a_cable_that_was_particular_comes_back_as_it_was() {
    let host = Host::new();
    let pod = Netns::new();
    with_request(&pod, ("net1", PARTICULAR), |request| {
        let attached = host.netns.run(|| crate::attach(&host.config, request)).unwrap();
        let cable = &attached.attachment.host_interface;
        let (before, limit) = (inside(&pod), host.netns.sh(&format!("tc qdisc show dev {cable} | grep tbf")));
        assert!(before.contains("02:00:00:00:00:07") && before.contains("tbf"), "{before}");
        host.netns.sh(&format!("ip link del {cable}"));
        assert_ne!(inside(&pod), before);
        let Mending { restored, failed } = host.netns.run(|| mend(&host.config, request));
        assert!(failed.is_empty(), "{failed:?}");
        assert_eq!(restored.len(), 1, "{restored:?}");
        assert_eq!(inside(&pod), before);
        assert_eq!(host.netns.sh(&format!("tc qdisc show dev {cable} | grep tbf")), limit);
    });
    host.detach("a");
    assert!(host.release_idle());
}

#[test]
fn a_cable_that_cannot_be_laid_is_told_of_and_the_lease_stays() {
    let host = Host::new();
    let pod = host.pod("a");
    let cable = &pod.attached.attachment.host_interface;
    host.netns.sh(&format!("ip link del {cable}"));
    // Somebody in the pod has taken the name.
    pod.netns.sh("ip link add eth0 type bridge");
    with_request(&pod.netns, ("eth0", Wishes::default()), |request| {
        let Mending { restored, failed } = host.netns.run(|| mend(&host.config, request));
        assert_eq!((restored, failed.len()), (vec![], 1));
        assert_eq!(host.netns.run(|| lost(&host.config, request)).unwrap().len(), 1);
    });
    pod.netns.sh("ip link del eth0");
    assert_eq!(mended(&host, &pod.netns).len(), 1);
    host.detach("a");
    assert!(host.release_idle());
}

#[test]
fn nothing_is_made_for_a_pod_that_has_left() {
    let host = Host::new();
    let pod = host.pod("a");
    host.detach("a");
    assert!(host.release_idle());
    assert_eq!(mended(&host, &pod.netns), []);
    assert_eq!(host.left_behind(), "");
}

#[test]
fn the_bridge_comes_back_as_it_was_made_whatever_the_configuration_says_now() {
    let mut host = Host::new();
    host.config.mtu = Some(1400);
    let pod = host.pod("a");
    host.config.mtu = None;
    host.netns.sh("ip link del podbox0");
    mended(&host, &pod.netns);
    assert!(host.netns.sh("ip link show podbox0").contains("mtu 1400"));
    host.detach("a");
    assert!(host.release_idle());
}

#[test]
fn of_all_changes_only_those_are_heard_that_concern_the_pod() {
    let host = Host::new();
    let pod = host.pod("a");
    let changes = host.netns.run(LinkChanges::begin).unwrap();
    let wishes = Wishes::default();
    let heeded = with_request(&pod.netns, ("eth0", wishes), |request| {
        host.netns.run(|| heeded(&host.config, request)).unwrap()
    });
    changes.heed(&heeded).unwrap();
    assert_eq!((heeded.own.len(), heeded.beyond.len()), (2, 0), "{heeded:?}");
    // What the pod's own coming has stirred up.
    std::thread::sleep(Duration::from_millis(200));
    changes.take();
    for id in ["b", "c"] {
        let other = host.pod(id);
        host.netns.sh("ip link add dummy1 type veth peer name dummy2; ip addr add 192.0.2.9/24 dev dummy1; ip link del dummy1");
        host.detach(id);
        drop(other);
    }
    host.netns.sh(
        "for i in $(seq 500); do [ $(ip -o link | grep -c ' pb') = 1 ] && break; sleep 0.01; done; sleep 0.2",
    );
    assert!(!changes.take(), "others come and go");
    let cable = &pod.attached.attachment.host_interface;
    for act in [
        "ip link set podbox0 down",
        "ip link set podbox0 up",
        "ip addr flush dev podbox0",
        "ip link del CABLE",
    ] {
        host.netns.sh(&act.replace("CABLE", cable));
        assert!(changes.take(), "{act}");
        std::thread::sleep(Duration::from_millis(200));
        changes.take();
    }
    host.detach("a");
    assert!(host.release_idle());
}

#[test]
fn without_the_bridge_nothing_leaves_by_the_default_route_and_of_a_shared_range_everybody_removes_his_own() {
    let host = Host::new();
    let _outside = host.outside();
    let pod = host.pod("a");
    let ranges: Vec<Subnet> = vec!["10.96.0.0/16".parse().unwrap(), "fd00:10:96::/112".parse().unwrap()];
    let lead = |config: &NetworkConfig| host.netns.run(|| crate::lead_to_bridge(config, &ranges)).unwrap();
    lead(&host.config);
    let mut other = host.config.clone();
    other.bridge = "podbox1".to_owned();
    other.ipv4 = Some("10.245.0.0/16".parse().unwrap());
    other.ipv6 = Some("fd00:10:245::/64".parse().unwrap());
    other.state_dir = host.config.state_dir.with_file_name("other");
    let theirs = Netns::new();
    let request = Request {
        id: "b",
        owner: "default/b",
        netns: theirs.path(),
        ifname: "eth0",
        ports: &[],
        wishes: Wishes::default(),
    };
    host.netns.run(|| crate::attach(&other, &request)).unwrap();
    lead(&other);
    host.netns.run(|| crate::check_ranges(&ranges)).unwrap();
    let pods = [pod.ip4().to_string(), pod.ip6().to_string()];
    let ends = |address: &str| {
        let asked = host.netns.sh(&format!("ip route get {address} 2>&1 || true"));
        assert!(asked.contains("No route to host"), "{address}: {asked}");
    };
    host.netns.sh("ip link del podbox0");
    pods.iter().for_each(|address| ends(address));
    host.netns.sh("ip link del podbox1");
    ["10.96.0.10", "fd00:10:96::a"].into_iter().for_each(ends);
    assert!(host.netns.run(|| crate::detach(&other, "b")).is_empty());
    assert!(host.netns.run(|| crate::release_idle(&other)).unwrap());
    ["10.96.0.10", "fd00:10:96::a"].into_iter().for_each(ends);
    mended(&host, &pod.netns);
    lead(&host.config);
    for address in &pods {
        let asked = host.netns.sh(&format!("ip route get {address}"));
        assert!(asked.contains("dev podbox0"), "{asked}");
    }
    host.detach("a");
    drop(pod);
    assert!(host.release_idle());
    host.wait_for_cables();
    assert_eq!(host.left_behind(), "");
    let left = host.netns.sh("ip route show type unreachable; ip -6 route show proto 112");
    assert_eq!(left, "", "of the Services' ranges");
}

#[test]
fn routes_to_other_hosts_are_heard_of_and_come_back() {
    let mut host = Host::new();
    host.netns
        .sh("ip link add uplink0 type bridge; ip addr add 192.0.2.1/24 dev uplink0; ip link set uplink0 up");
    (host.config.ipv4, host.config.ipv6) = (Some("10.244.1.0/24".parse().unwrap()), None);
    host.config.peers = crate::Peers {
        flat: vec!["10.244.0.0/16".parse().unwrap()],
        overlay: crate::Overlay::HostGw,
        underlay: None,
        hosts: vec![crate::Peer {
            name: "b".to_owned(),
            slices: vec!["10.244.2.0/24".parse().unwrap()],
            addresses: vec!["192.0.2.2".parse().unwrap()],
        }],
    };
    let pod = host.pod("a");
    let changes = host.netns.run(LinkChanges::begin).unwrap();
    let heeded = with_request(&pod.netns, ("eth0", Wishes::default()), |request| {
        host.netns.run(|| heeded(&host.config, request)).unwrap()
    });
    changes.heed(&heeded).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    changes.take();
    host.netns.sh("ip route del 10.244.2.0/24");
    assert!(changes.take(), "{heeded:?}");
    assert_eq!(told(&mended(&host, &pod.netns)), "no way to 10.244.2.0/24");
    host.detach("a");
    assert!(host.release_idle());
}

#[test]
fn a_bridge_that_was_renamed_is_found_by_the_next_pod_and_by_whoever_removes_the_network() {
    let host = Host::new();
    let pod = host.pod("a");
    let number = host.netns.sh("ip -o link show podbox0 | cut -d: -f1");
    let rename = "ip link set podbox0 down; ip link set podbox0 name x; ip link set x up";
    host.netns.sh(rename);
    let other = host.pod("b");
    let now = host.netns.sh("ip -o link show podbox0 | cut -d: -f1");
    assert_eq!(now, number, "it is the same");
    host.netns.serve_tcp("[::]:81");
    for pod in [&pod, &other] {
        pod.netns.serve_tcp("[::]:80");
        talks(&host, pod);
    }
    host.netns.sh(rename);
    ["a", "b"].into_iter().for_each(|id| host.detach(id));
    drop((pod, other));
    assert!(host.release_idle());
    host.wait_for_cables();
    assert_eq!(host.left_behind(), "");
}
