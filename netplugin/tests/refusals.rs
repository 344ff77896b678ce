//! What is refused, in which words, and that nothing stays of it.

mod support;

use netplugin::Request;
use support::{Host, Netns, chain, tcp};

fn refused(host: &Host) -> String {
    let pod = Netns::new();
    let before = host.netns.sh("ip address; ip route; nft list ruleset");
    let error = host.attach("a", &pod, &[]).unwrap_err();
    assert_eq!(host.netns.sh("ip address; ip route; nft list ruleset"), before);
    assert!(!host.config.state_dir.exists());
    chain(&error)
}

#[test]
fn a_subnet_that_the_host_uses_already_is_refused_with_what_uses_it() {
    let host = Host::new();
    host.netns.sh("ip link add vpn0 type bridge; ip link set vpn0 up; ip route add 10.0.0.0/8 dev vpn0");
    let expected = "use subnet 10.244.0.0/16: it overlaps with the route to 10.0.0.0/8 by vpn0";
    assert_eq!(refused(&host), expected);
    assert_eq!(host.netns.run(|| netplugin::check(&host.config)).unwrap_err().to_string(), expected);
    host.netns.sh("ip route del 10.0.0.0/8; ip address add 10.244.7.1/24 dev vpn0");
    assert_eq!(refused(&host), "use subnet 10.244.0.0/16: it overlaps with address 10.244.7.1/24 of vpn0");
    host.netns.sh("ip address flush dev vpn0; ip address add fd00:10:244::7/128 dev vpn0");
    assert_eq!(
        refused(&host),
        "use subnet fd00:10:244::/64: it overlaps with address fd00:10:244::7/128 of vpn0"
    );
}

#[test]
fn a_bridge_name_that_belongs_to_something_else_is_refused() {
    let host = Host::new();
    host.netns.sh("ip link add podbox0 type veth peer name other0");
    assert_eq!(refused(&host), "use bridge podbox0: there is an interface of that name that is no bridge");
    host.netns.sh("ip link del podbox0; ip link add podbox0 address 02:00:00:00:00:01 type bridge");
    assert_eq!(
        refused(&host),
        "use bridge podbox0: there is a bridge of that name, made by someone else (its Ethernet address is 02:00:00:00:00:01, not 0a:58:0a:f4:00:01)"
    );
    host.netns.sh("ip link set podbox0 address 0a:58:0a:f4:00:01; ip address add 10.1.1.1/24 dev podbox0");
    assert_eq!(refused(&host), "use bridge podbox0: it has the address 10.1.1.1/24");
}

#[test]
fn a_full_pool_is_refused_with_its_size() {
    let mut host = Host::new();
    host.config.ipv4 = Some("10.244.0.0/29".parse().unwrap());
    let mut pods: Vec<_> = (0..5).map(|n| host.pod(&format!("pod-{n}"))).collect();
    let error = host.attach("late", &Netns::new(), &[]).unwrap_err();
    assert_eq!(chain(&error), "lease an address: all 5 addresses of 10.244.0.0/29 are leased");
    assert!(!host.config.state_dir.join("pods/late").exists());
    host.detach("pod-3");
    let error = host.attach("late", &Netns::new(), &[]).unwrap_err();
    assert!(chain(&error).contains("all 5 addresses"), "somebody has its namespace open: {error}");
    drop(pods.remove(3));
    host.pod("late");
}

#[test]
fn a_namespace_that_is_not_there_is_refused_by_name() {
    let host = Host::new();
    let request = Request {
        id: "a",
        owner: "default/a",
        netns: std::path::Path::new("/run/netns/none"),
        ifname: "eth0",
        ports: &[],
        wishes: netplugin::Wishes::default(),
    };
    let error = host.netns.run(|| netplugin::attach(&host.config, &request)).unwrap_err();
    assert_eq!(
        chain(&error),
        "enter network namespace /run/netns/none: No such file or directory (os error 2)"
    );
    assert_eq!(host.left_behind(), "");
}

#[test]
fn a_pod_that_has_an_interface_of_that_name_is_refused_and_nothing_stays() {
    let host = Host::new();
    let pod = Netns::new();
    pod.sh("ip link add eth0 type bridge");
    let error = host.attach("a", &pod, &[tcp(80, 80)]).unwrap_err();
    assert_eq!(chain(&error), "lay a cable into the pod: File exists (os error 17)");
    assert_eq!(host.left_behind(), "");
}

#[test]
fn a_configuration_without_sense_is_refused() {
    let host = Host::new();
    for spoil in [
        |c: &mut netplugin::NetworkConfig| c.bridge = "a/b".to_owned(),
        |c: &mut netplugin::NetworkConfig| c.bridge = "a-name-that-is-too-long".to_owned(),
        |c: &mut netplugin::NetworkConfig| (c.ipv4, c.ipv6) = (None, None),
        |c: &mut netplugin::NetworkConfig| c.ipv4 = c.ipv6,
        |c: &mut netplugin::NetworkConfig| c.ipv4 = Some("10.0.0.0/31".parse().unwrap()),
    ] {
        let mut config = host.config.clone();
        spoil(&mut config);
        assert!(matches!(netplugin::check(&config), Err(netplugin::NetError::Config { .. })));
    }
}
