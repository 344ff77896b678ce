//! Two state directories that name one bridge: it is one's, and the other touches nothing of it.

mod support;

use std::fs;

use netplugin::{NetError, NetworkConfig};
use support::{Host, Netns, chain, config, tcp};

/// The same network with its leases elsewhere.
fn elsewhere(host: &Host, name: &str) -> NetworkConfig {
    let state_dir = host.config.state_dir.with_file_name(name);
    NetworkConfig { state_dir, ..host.config.clone() }
}

fn attach(
    host: &Host,
    config: &NetworkConfig,
    id: &str,
    pod: &Netns,
) -> Result<netplugin::Attached, NetError> {
    let owner = format!("default/{id}");
    let wishes = netplugin::Wishes::default();
    let ports = [tcp(8080, 80)];
    let request =
        netplugin::Request { id, owner: &owner, netns: pod.path(), ifname: "eth0", ports: &ports, wishes };
    host.netns.run(|| netplugin::attach(config, &request))
}

fn leave(host: &Host, config: &NetworkConfig, id: &str) {
    host.netns.run(|| {
        assert!(netplugin::detach(config, id).is_empty());
        assert!(netplugin::release_idle(config).unwrap());
    });
}

const SEEN: &str = "ip address; ip route; nft list ruleset";

#[test]
fn another_directorys_bridge_is_refused_and_nothing_of_it_changes() {
    let host = Host::new();
    let pod = host.pod_with("a", &[tcp(8080, 80)]);
    let before = host.netns.sh(SEEN);
    let other = NetworkConfig { masquerade: netplugin::Masquerade::Never, ..elsewhere(&host, "other") };
    let place = fs::canonicalize(&host.config.state_dir).unwrap();
    let expected = format!(
        "use bridge podbox0: it belongs to the network whose leases lie in {}, which default/a is on; use that directory, or another bridge and other subnets",
        place.display()
    );
    // The port is the same, and the address would be: what is undone must not be the first one's.
    assert_eq!(chain(&attach(&host, &other, "b", &Netns::new()).unwrap_err()), expected);
    for asked in [netplugin::check, netplugin::check_owner] {
        assert_eq!(host.netns.run(|| asked(&other)).unwrap_err().to_string(), expected);
    }
    leave(&host, &other, "b");
    assert_eq!(host.netns.sh(SEEN), before);
    assert!(!other.state_dir.exists());
    pod.netns.serve_tcp("[::]:80");
    host.netns.seen_by_tcp("127.0.0.1:8080").unwrap();
    drop(pod);
    host.detach("a");
    assert!(host.release_idle());
    assert_eq!(host.left_behind(), "");
}

#[test]
fn what_another_has_left_without_pods_is_taken_down_and_made_anew() {
    let host = Host::new();
    drop(host.pod_with("a", &[tcp(8080, 80)]));
    host.wait_for_cables();
    host.detach("a");
    let number = "ip -o link show podbox0 | cut -d: -f1";
    let before = host.netns.sh(number);
    let other = elsewhere(&host, "other");
    let pod = Netns::new();
    attach(&host, &other, "b", &pod).unwrap();
    assert_ne!(host.netns.sh(number), before, "whoever deletes it first makes it");
    assert!(!host.config.state_dir.exists(), "the first one's is taken down with all that it has");
    leave(&host, &other, "b");
    assert_eq!(host.left_behind(), "");
}

#[test]
fn a_bridge_whose_directory_is_gone_is_nobodys_unless_cables_are_in_it() {
    let host = Host::new();
    let pod = host.pod("a");
    fs::remove_dir_all(&host.config.state_dir).unwrap();
    let other = elsewhere(&host, "other");
    let told = chain(&attach(&host, &other, "b", &Netns::new()).unwrap_err());
    let place = host.config.state_dir.display();
    assert!(
        told.contains(&format!("whose leases lay in {place}")) && told.contains("`ip link delete podbox0`"),
        "{told}"
    );
    drop(pod);
    host.wait_for_cables();
    attach(&host, &other, "b", &Netns::new()).unwrap();
    leave(&host, &other, "b");
    host.wait_for_cables();
    assert_eq!(host.left_behind(), "");
}

#[test]
fn a_bridge_without_a_mark_is_whose_record_says_so() {
    let host = Host::new();
    let _pod = host.pod("a");
    // As an older podbox has left it.
    host.netns.sh("ip link set podbox0 alias ''");
    let other = elsewhere(&host, "other");
    let told = chain(&attach(&host, &other, "b", &Netns::new()).unwrap_err());
    assert!(told.contains("nothing tells whose it is"), "{told}");
    leave(&host, &other, "a");
    host.netns.sh("nft list table inet podbox0; ip -o link show master podbox0 | grep -q ' pb'");
    assert!(!other.state_dir.exists());
    let second = host.pod("c");
    let mut changed = host.config.clone();
    changed.masquerade = netplugin::Masquerade::Never;
    attach(&host, &changed, "d", &Netns::new()).unwrap();
    let shown = host.netns.sh("ip link show podbox0");
    let place = fs::canonicalize(&host.config.state_dir).unwrap();
    assert!(shown.contains(&format!("alias podbox {}", place.display())), "{shown}");
    for id in ["a", "c", "d"] {
        host.detach(id);
    }
    drop(second);
    assert!(host.release_idle());
    assert_eq!(host.left_behind(), "");
}

#[test]
fn other_subnets_wait_until_nobody_is_on_the_network() {
    let host = Host::new();
    let pod = host.pod("a");
    let changed = NetworkConfig { ipv4: Some("10.245.0.0/16".parse().unwrap()), ..host.config.clone() };
    let before = host.netns.sh(SEEN);
    let told = chain(&attach(&host, &changed, "b", &Netns::new()).unwrap_err());
    assert_eq!(
        told,
        "use bridge podbox0: it was made for other subnets (its Ethernet address is 0a:58:0a:f4:00:01, not 0a:58:0a:f5:00:01); it goes with its last pod"
    );
    assert_eq!(host.netns.sh(SEEN), before);
    drop(pod);
    host.wait_for_cables();
    host.detach("a");
    // Whoever looks after the network now has the new configuration.
    assert!(host.netns.run(|| netplugin::release_idle(&changed)).unwrap());
    assert_eq!(host.left_behind(), "");
    attach(&host, &changed, "b", &Netns::new()).unwrap();
    leave(&host, &changed, "b");
}

#[test]
fn of_directories_that_begin_at_once_one_gets_the_bridge() {
    for round in 0..20 {
        let host = Host::new();
        let configs: Vec<_> = (0..4).map(|n| elsewhere(&host, &format!("d{n}"))).collect();
        // In half of the rounds there is one already, which nobody uses.
        if round % 2 == 0 {
            drop(host.pod("idle"));
            host.detach("idle");
        }
        let pods: Vec<_> = (0..8).map(|_| Netns::new()).collect();
        let results: Vec<_> = std::thread::scope(|scope| {
            let one = |(n, pod): (usize, &Netns)| {
                let (config, host) = (&configs[n % 4], &host);
                let request = netplugin::Request {
                    id: &format!("p{n}"),
                    owner: &format!("default/p{n}"),
                    netns: pod.path(),
                    ifname: "eth0",
                    ports: &[],
                    wishes: netplugin::Wishes::default(),
                };
                (n % 4, host.netns.run(|| netplugin::attach(config, &request)))
            };
            let threads: Vec<_> =
                pods.iter().enumerate().map(|each| scope.spawn(move || one(each))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let mut winners: Vec<usize> =
            results.iter().filter(|(_, result)| result.is_ok()).map(|(n, _)| *n).collect();
        winners.dedup();
        assert_eq!(winners.len(), 1, "round {round}: {results:?}");
        assert_eq!(
            results.iter().filter(|(n, _)| *n == winners[0]).filter(|(_, r)| r.is_ok()).count(),
            2,
            "{results:?}"
        );
        for (n, result) in &results {
            let Err(error) = result else { continue };
            assert!(matches!(error, NetError::BridgeTaken { .. }), "{n}: {}", chain(error));
        }
        for n in 0..8 {
            leave_quietly(&host, &configs[n % 4], &format!("p{n}"));
        }
        drop(pods);
        host.wait_for_cables();
        for config in &configs {
            host.netns.run(|| netplugin::release_idle(config)).unwrap();
        }
        host.release_idle();
        assert_eq!(host.left_behind(), "");
    }
}

fn leave_quietly(host: &Host, config: &NetworkConfig, id: &str) {
    let errors = host.netns.run(|| netplugin::detach(config, id));
    assert!(errors.is_empty(), "{errors:?}");
}

#[test]
fn a_directory_that_is_written_in_two_ways_is_one() {
    let host = Host::new();
    let _pod = host.pod("a");
    let link = host.config.state_dir.parent().unwrap().with_file_name("link");
    std::os::unix::fs::symlink(host.config.state_dir.parent().unwrap(), &link).unwrap();
    let same = NetworkConfig { ..config(link.join("default")) };
    attach(&host, &same, "b", &Netns::new()).unwrap();
}
