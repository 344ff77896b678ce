//! Crashes: after every step in turn.

use std::process::{Command, Output};

use super::*;
use crate::config::PortMapping;
use crate::support::{self, Host, Netns, tcp, udp};

/// Does the first steps of attaching and then nothing more, as if killed. True if all were done.
fn crash_after(steps: usize, host: &Host, pod: &Netns, ports: &[PortMapping]) -> bool {
    host.netns.run(|| {
        let request = Request {
            id: "a",
            owner: "default/a",
            netns: pod.path(),
            ifname: "eth0",
            ports,
            wishes: netplugin::Wishes::default(),
        };
        let mut world = World::new(&host.config, &request).unwrap();
        world.stop_after = steps;
        match world.attach_steps() {
            Ok(()) => true,
            Err(NetError::Request { .. }) => false,
            Err(other) => panic!("step {steps}: {}", support::chain(&other)),
        }
    })
}

#[test]
fn after_a_crash_at_any_step_detach_and_release_leave_nothing() {
    let ports = [tcp(8080, 80), udp(5353, 53)];
    for steps in 0.. {
        let host = Host::new();
        let pod = Netns::new();
        let complete = crash_after(steps, &host, &pod, &ports);
        host.detach("a");
        drop(pod);
        assert!(host.release_idle());
        host.wait_for_cables();
        assert_eq!(host.left_behind(), "", "after {steps} steps");
        if complete {
            assert!(steps > 12, "{steps}");
            return;
        }
    }
}

#[test]
fn after_a_crash_at_any_step_no_cable_is_left_even_if_somebody_keeps_the_pods_namespace() {
    let ports = [tcp(8080, 80)];
    for steps in 0.. {
        let host = Host::new();
        // Another podbox's cables, in its bridge and in none, are no business of ours.
        host.netns.sh("ip link add other0 type bridge
             ip link add pb000000000001 address 0e:58:0a:f4:00:02 type veth peer name x1
             ip link set pb000000000001 master other0
             ip link add pb000000000002 address 0e:58:0a:f5:00:02 type veth peer name x2");
        let others = host.left_behind();
        let pod = Netns::new();
        let complete = crash_after(steps, &host, &pod, &ports);
        host.detach("a");
        assert!(host.release_idle());
        assert_eq!(host.left_behind(), others, "after {steps} steps");
        drop(pod);
        if complete {
            return;
        }
    }
}

#[test]
fn a_cable_whose_bridge_is_gone_already_is_swept_too() {
    let host = Host::new();
    let pod = Netns::new();
    assert!(crash_after(usize::MAX, &host, &pod, &[]));
    host.netns.sh("ip link del podbox0");
    host.detach("a");
    assert!(host.release_idle());
    assert_eq!(host.left_behind(), "");
    drop(pod);
}

#[test]
fn after_a_crash_at_any_step_the_next_try_succeeds() {
    let ports = [tcp(8080, 80)];
    for steps in 0.. {
        let host = Host::new();
        let pod = Netns::new();
        let complete = crash_after(steps, &host, &pod, &ports);
        let attached = host.attach("a", &pod, &ports).unwrap_or_else(|e| panic!("after {steps}: {e}"));
        pod.serve_tcp("[::]:80");
        assert_eq!(
            host.netns.seen_by_tcp("127.0.0.1:8080"),
            Ok(attached.attachment.gateways[0]),
            "after {steps} steps"
        );
        if complete {
            return;
        }
    }
}

const STATE_DIR: &str = "NETPLUGIN_TEST_STATE_DIR";

/// Runs [`gives_back`] on the host, but without CAP_NET_ADMIN.
fn give_back_without_net_admin(host: &Host) -> Output {
    host.netns.run(|| {
        Command::new("setpriv")
            .args(["--bounding-set=-net_admin", "--inh-caps=-net_admin"])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "recipe::tests::gives_back", "--ignored", "--nocapture"])
            .env(STATE_DIR, &host.config.state_dir)
            .output()
            .unwrap()
    })
}

#[test]
#[ignore = "the tests below run it, without a capability"]
fn gives_back() {
    let config = support::config(std::env::var_os(STATE_DIR).unwrap().into());
    let errors: Vec<_> = crate::detach(&config, "a").iter().map(|error| support::chain(error)).collect();
    assert_eq!(errors, [""; 0]);
    assert!(crate::release_idle(&config).unwrap());
}

#[test]
fn without_net_admin_what_never_came_to_be_is_given_back_in_silence() {
    let ports = [tcp(8080, 80), udp(5353, 53)];
    for steps in 0.. {
        let host = Host::new();
        let pod = Netns::new();
        crash_after(steps, &host, &pod, &ports);
        if host.netns.sh("ip -o link").contains("podbox0") {
            assert!(steps > 4, "{steps}");
            return;
        }
        let output = give_back_without_net_admin(&host);
        assert!(output.status.success(), "after {steps} steps: {}", String::from_utf8_lossy(&output.stdout));
        assert_eq!(host.left_behind(), "", "after {steps} steps");
    }
}

#[test]
fn without_net_admin_what_is_there_is_complained_about_and_stays_known() {
    let host = Host::new();
    let pod = Netns::new();
    assert!(crash_after(usize::MAX, &host, &pod, &[tcp(8080, 80)]));
    for what in ["take the host ports from the pod", "delete the nftables table", "delete the nftables table"]
    {
        let output = give_back_without_net_admin(&host);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains(what) && said.contains("Operation not permitted"), "{what}: {said}");
    }
    host.detach("a");
    assert!(host.release_idle());
    drop(pod);
    host.wait_for_cables();
    assert_eq!(host.left_behind(), "");
}

/// A host on a link with another one, which has a slice of the flat space.
fn host_with_a_peer(overlay: peers::Overlay) -> Host {
    let mut host = Host::new();
    host.netns.sh("ip link add uplink0 type bridge
         ip addr add 192.0.2.1/24 dev uplink0
         ip -6 addr add 2001:db8::1/64 dev uplink0 nodad
         ip link set uplink0 up");
    host.config.ipv4 = Some("10.244.1.0/24".parse().unwrap());
    host.config.ipv6 = Some("fd00:10:244:1::/64".parse().unwrap());
    host.config.peers = peers::Peers {
        flat: vec!["10.244.0.0/16".parse().unwrap(), "fd00:10:244::/48".parse().unwrap()],
        overlay,
        underlay: None,
        hosts: vec![peers::Peer {
            name: "b".to_owned(),
            slices: vec!["10.244.2.0/24".parse().unwrap(), "fd00:10:244:2::/64".parse().unwrap()],
            addresses: vec!["192.0.2.2".parse().unwrap(), "2001:db8::2".parse().unwrap()],
        }],
    };
    host
}

#[test]
fn after_a_crash_at_any_step_nothing_that_leads_to_other_hosts_is_left_and_the_next_try_succeeds() {
    for overlay in [peers::Overlay::HostGw, peers::Overlay::default()] {
        for steps in 0.. {
            let host = host_with_a_peer(overlay.clone());
            let ways = || {
                host.netns
                    .sh("ip route show proto 112 type unicast; ip -6 route show proto 112 type unicast; ip -o link show type vxlan")
            };
            let pod = Netns::new();
            let complete = crash_after(steps, &host, &pod, &[]);
            let attached = host.attach("a", &pod, &[]).unwrap_or_else(|e| panic!("after {steps}: {e}"));
            assert!(ways().contains("10.244.2.0/24") && ways().contains("fd00:10:244:2::/64"), "{}", ways());
            drop(attached);
            host.detach("a");
            assert!(host.release_idle());
            assert_eq!(ways(), "", "after {steps} steps and a complete try");
            crash_after(steps, &host, &pod, &[]);
            host.detach("a");
            assert!(host.release_idle());
            assert_eq!(ways(), "", "after {steps} steps");
            if complete {
                assert!(steps > 11, "{steps}");
                break;
            }
        }
    }
}

#[test]
fn after_a_crash_at_any_step_others_chains_are_as_they_were_and_the_next_try_opens_them() {
    for steps in 0.. {
        let host = Host::new();
        host.netns.sh("nft add table ip filter; nft add chain ip filter FORWARD '{ type filter hook forward priority 0; policy drop; }'");
        let chain = || host.netns.sh("nft -s list table ip filter");
        let before = chain();
        let pod = Netns::new();
        let complete = crash_after(steps, &host, &pod, &[]);
        host.attach("a", &pod, &[]).unwrap_or_else(|e| panic!("after {steps}: {e}"));
        let opened = chain();
        assert_eq!(opened.matches("podbox: ").count(), 2, "{opened}");
        host.detach("a");
        assert!(host.release_idle());
        assert_eq!(chain(), before, "after {steps} steps and a complete try");
        crash_after(steps, &host, &pod, &[]);
        host.detach("a");
        assert!(host.release_idle());
        assert_eq!(chain(), before, "after {steps} steps");
        if complete {
            assert!(steps > 11, "{steps}");
            break;
        }
    }
}

#[test]
fn a_record_of_ways_that_were_never_made_is_taken_back_and_one_of_others_is_made_anew() {
    let host = host_with_a_peer(peers::Overlay::default());
    let pod = Netns::new();
    assert!(crash_after(usize::MAX, &host, &pod, &[]));
    host.netns.sh("ip link del podbox0.vx");
    host.netns.run(|| crate::apply_peers(&host.config)).unwrap();
    assert!(host.netns.sh("ip -d link show podbox0.vx").contains("vxlan id 10244"));
    let mut routed = host.config.clone();
    routed.peers.overlay = peers::Overlay::HostGw;
    let done = host.netns.run(|| crate::apply_peers(&routed)).unwrap();
    assert!(done.iter().any(|step| step.command == "ip link delete podbox0.vx"), "{done:?}");
    let routes = host.netns.sh("ip route show proto 112 type unicast");
    assert!(routes.contains("10.244.2.0/24 via 192.0.2.2 dev uplink0 src 10.244.1.1"), "{routes}");
    host.netns.sh("ip route del 10.244.2.0/24");
    host.detach("a");
    assert!(host.release_idle());
    assert_eq!(host.netns.sh("ip -6 route show proto 112 type unicast"), "");
}

#[test]
fn a_pod_that_knows_an_older_list_of_peers_does_not_bring_back_one_that_is_gone() {
    let mut host = host_with_a_peer(peers::Overlay::default());
    let ways =
        |host: &Host| host.netns.sh("ip route show proto 112 type unicast; ip -o link show type vxlan");
    let (first, second) = (Netns::new(), Netns::new());
    host.attach("a", &first, &[]).unwrap();
    assert!(ways(&host).contains("10.244.2.0/24"));
    let older = host.config.clone();
    host.config.peers.hosts.clear();
    host.netns.run(|| crate::apply_peers(&host.config)).unwrap();
    assert_eq!(ways(&host), "");
    host.config = older;
    host.attach("b", &second, &[]).unwrap();
    assert_eq!(ways(&host), "");
    host.detach("a");
    host.detach("b");
    assert!(host.release_idle());
}

#[test]
fn a_bridge_that_is_deleted_as_the_cable_is_plugged_in_is_made_again_for_the_same_lease() {
    use std::sync::atomic::{AtomicU32, Ordering};
    static LEFT: AtomicU32 = AtomicU32::new(0);
    let interfere = |step: &str| {
        if step == "plug the cable into the bridge"
            && LEFT.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok()
        {
            let done = Command::new("ip").args(["link", "del", "podbox0"]).status().unwrap();
            assert!(done.success());
        }
    };
    for (deleted, works) in [(TRIES - 1, true), (TRIES, false)] {
        let host = Host::new();
        let pod = Netns::new();
        LEFT.store(deleted, Ordering::Relaxed);
        let attached = host.netns.run(|| {
            let request = Request {
                id: "a",
                owner: "default/a",
                netns: pod.path(),
                ifname: "eth0",
                ports: &[],
                wishes: netplugin::Wishes::default(),
            };
            let world = World { interfere, ..World::new(&host.config, &request).unwrap() };
            world.attach().map(|(attachment, _)| attachment.addresses[0].to_string())
        });
        assert_eq!(LEFT.load(Ordering::Relaxed), 0);
        match attached {
            Ok(address) => assert!(works && address == "10.244.0.2/16", "{address}"),
            Err(error) => assert!(!works, "{}", support::chain(&error)),
        }
        host.detach("a");
        drop(pod);
        assert!(host.release_idle());
        host.wait_for_cables();
        assert_eq!(host.left_behind(), "");
    }
}

#[test]
fn containers_whose_leases_were_removed_keep_their_addresses_and_their_bridge() {
    let host = Host::new();
    let container = host.pod("cni-a");
    std::fs::remove_dir_all(&host.config.state_dir).unwrap();
    let pod = host.pod("b");
    assert_ne!(pod.ip4(), container.ip4());
    let wished = [container.ip4()];
    let netns = Netns::new();
    let refused = host.netns.run(|| {
        let wishes = netplugin::Wishes { addresses: &wished, ..netplugin::Wishes::default() };
        let request =
            Request { id: "c", owner: "default/c", netns: netns.path(), ifname: "eth0", ports: &[], wishes };
        crate::attach(&host.config, &request).unwrap_err()
    });
    assert!(support::chain(&refused).contains("a pod whose lease somebody has removed"), "{refused}");
    let unleased = host.netns.run(|| crate::unleased(&host.config)).unwrap();
    assert!(unleased.iter().map(ToString::to_string).eq([container.ip4().to_string()]), "{unleased:?}");
    host.detach("b");
    drop(pod);
    assert!(!host.release_idle(), "the container is on the network still");
    let plugged = host.netns.sh("ip -o link show master podbox0");
    assert!(plugged.contains(&container.attached.attachment.host_interface), "{plugged}");
    drop(container);
    host.wait_for_cables();
    assert!(host.release_idle());
    assert_eq!(host.left_behind(), "");
}
