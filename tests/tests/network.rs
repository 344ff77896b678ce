//! The flat network: everybody is reached at, and seen with, his own address.

use std::time::{Duration, Instant};

use e2e::{Host, bracketed, pod, wait_good};

const ECHO: &str = r"
  containers:
  - {name: tcp, image: podbox.local/toolbox, command: [tcp-echo, --port, '9000']}
  - {name: udp, image: podbox.local/toolbox, command: [udp-echo, --port, '9001']}
  - {name: web, image: podbox.local/toolbox, command: [http, --port, '8080']}
";

/// Two pods that can talk, ready to.
fn pair(host: &Host) -> [e2e::PodView; 2] {
    host.up(&pod("server", ECHO));
    host.up(&pod("client", ECHO));
    for name in ["server", "client"] {
        for (port, flag) in [("9000", "-a"), ("9001", "-u")] {
            let at = format!("127.0.0.1:{port}");
            wait_good("the pod's own server", || {
                host.podbox(["exec", name, "--", "connect", flag, &at, "hi"])
            });
        }
    }
    [host.pod("server"), host.pod("client")]
}

/// The address without the port in `peer ADDRESS:PORT`.
fn peer(said: &str) -> String {
    let address = said.trim().strip_prefix("peer ").unwrap_or(said);
    address.rsplit_once(':').map_or(address, |(ip, _)| ip).trim_matches(['[', ']']).to_owned()
}

#[test]
fn pods_see_each_others_own_addresses_by_tcp_and_udp_on_both_families() {
    let host = Host::new();
    let [server, client] = pair(&host);
    for (to, from) in [(server.ip(), client.ip()), (server.ip6(), client.ip6())] {
        assert!(!to.is_empty() && !from.is_empty());
        let tcp = format!("{}:9000", bracketed(&to));
        assert_eq!(peer(&host.exec("client", &["connect", &tcp, "peer"])), from, "TCP");
        let udp = format!("{}:9001", bracketed(&to));
        assert_eq!(peer(&host.exec("client", &["connect", "-u", &udp, "peer"])), from, "UDP");
    }
    host.finish();
}

#[test]
fn the_host_reaches_pods_with_an_address_of_its_own_and_pods_reach_the_host() {
    let host = Host::new();
    let [server, client] = pair(&host);
    for (to, gateway) in [(server.ip(), host.gateway()), (server.ip6(), host.gateway6())] {
        let tcp = format!("{}:9000", bracketed(&to));
        assert_eq!(peer(host.podbox(["toolbox", "connect", &tcp, "peer"]).ok().text()), gateway, "TCP");
        let udp = format!("{}:9001", bracketed(&to));
        assert_eq!(peer(host.podbox(["toolbox", "connect", "-u", &udp, "peer"]).ok().text()), gateway, "UDP");
    }
    let port = host.port(0).to_string();
    let own = host.cmd(["toolbox", "tcp-echo", "--port", &port]).spawn();
    for (to, from) in [(host.gateway(), client.ip()), (host.gateway6(), client.ip6())] {
        let at = format!("{}:{port}", bracketed(&to));
        let output =
            wait_good("the host's server", || host.podbox(["exec", "client", "--", "connect", &at, "peer"]));
        assert_eq!(peer(output.text()), from);
    }
    drop(own);
    host.finish();
}

#[test]
fn a_pod_reaches_itself_at_its_own_address() {
    let host = Host::new();
    let [server, _] = pair(&host);
    for ip in [server.ip(), server.ip6()] {
        let at = format!("{}:9000", bracketed(&ip));
        assert_eq!(peer(&host.exec("server", &["connect", &at, "peer"])), ip);
    }
    host.finish();
}

#[test]
fn addresses_differ_and_are_given_again_only_after_they_are_given_back() {
    let host = Host::builder().ipv4_prefix(29).build();
    let sleeper = "  containers: [{name: c, image: podbox.local/toolbox, command: [sleep, infinity]}]";
    let mut ips = Vec::new();
    for index in 0..5 {
        host.up(&pod(&format!("p{index}"), sleeper));
        ips.push(host.pod(&format!("p{index}")).ip());
    }
    ips.sort();
    ips.dedup();
    assert_eq!(ips.len(), 5, "{ips:?}");
    host.try_up(&pod("p5", sleeper), &[]).code(3).complains("all 5 addresses of").complains("are leased");
    host.podbox(["get", "pod", "p5"]).code(2);
    let free = host.pod("p2").ip();
    host.down(&["p2", "--grace-period", "0"]);
    host.up(&pod("p5", sleeper));
    assert_eq!(host.pod("p5").ip(), free);
    host.finish();
}

#[test]
fn what_leaves_for_outside_has_the_hosts_address_and_comes_back() {
    let host = Host::new();
    let outside = host.outside();
    pair(&host);
    let tcp = outside.toolbox(&["tcp-echo", "--port", "9000"]).spawn();
    let udp = outside.toolbox(&["udp-echo", "--port", "9001"]).spawn();
    for (to, from) in [(outside.own(), outside.host()), (outside.own6(), outside.host6())] {
        for (flag, port) in [("--timeout=5s", "9000"), ("-u", "9001")] {
            let at = format!("{}:{port}", bracketed(&to));
            let output = wait_good("an answer from outside", || {
                host.podbox(["exec", "client", "--", "connect", flag, &at, "peer"])
            });
            assert_eq!(peer(output.text()), from, "{at}");
        }
    }
    drop((tcp, udp));
    host.finish();
}

#[test]
fn without_masquerade_a_packet_keeps_the_pods_address() {
    let host = Host::builder().network("masquerade = false").build();
    let outside = host.outside();
    let [_, client] = pair(&host);
    let udp = outside.toolbox(&["udp-echo", "--port", "9001"]).spawn();
    // The neighbour has no way back, so the host tells it one, as a router next door would know.
    outside.toolbox(&["true"]).run().ok();
    e2e::Cmd::new("ip")
        .args([
            "-n",
            &format!("pbo{}", host.number()),
            "route",
            "add",
            &format!("{}/32", client.ip()),
            "via",
            &outside.host(),
        ])
        .run()
        .ok();
    let output = wait_good("an answer from outside", || {
        let at = format!("{}:9001", outside.own());
        host.podbox(["exec", "client", "--", "connect", "-u", &at, "peer"])
    });
    assert_eq!(peer(output.text()), client.ip());
    drop(udp);
    host.finish();
}

const PORTS: &str = r"
  containers:
  - name: tcp
    image: podbox.local/toolbox
    command: [tcp-echo, --port, '9000']
    ports: [{containerPort: 9000, hostPort: TCP}]
  - name: udp
    image: podbox.local/toolbox
    command: [udp-echo, --port, '9001']
    ports: [{containerPort: 9001, hostPort: UDP, protocol: UDP}]
";

fn with_ports(host: &Host) -> String {
    PORTS
        .replace("TCP}", &format!("{}}}", host.port(1)))
        .replace("hostPort: UDP,", &format!("hostPort: {},", host.port(2)))
}

#[test]
fn a_host_port_leads_to_the_pod_from_outside_the_host_loopback_and_another_pod() {
    let host = Host::new();
    let outside = host.outside();
    host.up(&pod("server", &with_ports(&host)));
    host.up(&pod("client", ECHO));
    let (tcp, udp) = (host.port(1), host.port(2));
    for (family_host, own) in [(outside.host(), outside.own()), (outside.host6(), outside.own6())] {
        let at = |port: u16| format!("{}:{port}", bracketed(&family_host));
        let output =
            wait_good("the port from outside", || outside.toolbox(&["connect", &at(tcp), "peer"]).run());
        assert_eq!(peer(output.text()), own);
        assert_eq!(peer(outside.toolbox(&["connect", "-u", &at(udp), "peer"]).run().ok().text()), own);
        host.podbox(["toolbox", "connect", &at(tcp), "from", "the", "host"]).ok().says("from the host");
        host.podbox(["toolbox", "connect", "-u", &at(udp), "from", "the", "host"]).ok().says("from the host");
        assert_eq!(host.exec("client", &["connect", &at(tcp), "from", "a", "pod"]), "from a pod");
        assert_eq!(host.exec("client", &["connect", "-u", &at(udp), "from", "a", "pod"]), "from a pod");
        // The pod itself, by way of the host.
        assert_eq!(host.exec("server", &["connect", &at(tcp), "hairpin"]), "hairpin");
    }
    for port in [format!("127.0.0.1:{tcp}"), format!("localhost:{tcp}")] {
        host.podbox(["toolbox", "connect", &port, "from", "loopback"]).ok().says("from loopback");
    }
    host.podbox(["toolbox", "connect", "-u", &format!("127.0.0.1:{udp}"), "from", "loopback"])
        .ok()
        .says("from loopback");
    host.down(&["server", "--grace-period", "0"]);
    let closed =
        outside.toolbox(&["connect", "--timeout", "2s", &format!("{}:{tcp}", outside.host()), "x"]).run();
    assert!(!closed.good(), "the port is still open\n{closed}");
    host.finish();
}

#[test]
fn a_host_ip_limits_the_port_to_that_address() {
    let host = Host::new();
    let outside = host.outside();
    let spec = with_ports(&host).replace("containerPort: 9000,", "containerPort: 9000, hostIP: 127.0.0.1,");
    host.up(&pod("server", &spec));
    let port = host.port(1);
    wait_good("the port on loopback", || {
        host.podbox(["toolbox", "connect", &format!("127.0.0.1:{port}"), "hello"])
    });
    for closed in [
        outside.toolbox(&["connect", "--timeout", "2s", &format!("{}:{port}", outside.host()), "x"]).run(),
        host.podbox(["toolbox", "connect", "--timeout", "2s", &format!("{}:{port}", outside.host()), "x"]),
    ] {
        assert!(!closed.good(), "the port is open on another address\n{closed}");
    }
    host.finish();
}

#[test]
fn a_pod_cannot_reach_the_hosts_loopback_services() {
    let host = Host::new();
    host.up(&pod("server", &with_ports(&host)));
    host.up(&pod("client", ECHO));
    let port = host.port(3).to_string();
    let secret = host.cmd(["toolbox", "tcp-echo", "--port", &port]).spawn();
    wait_good("the host's server", || host.podbox(["toolbox", "connect", &format!("127.0.0.1:{port}")]));
    // A pod that has bent its own routes sends what is for 127.0.0.1 over the bridge, where the host listens for
    // the sake of host ports on loopback.
    let alias = std::fs::read_to_string(host.pod_dir("client").join("netns-alias")).unwrap();
    let netns = alias.trim().rsplit('/').next().unwrap().to_owned();
    let inside =
        |words: &str| e2e::Cmd::new("ip").args(["netns", "exec", &netns]).args(words.split(' ')).run().ok();
    inside("ip addr flush dev lo");
    inside("sysctl -qw net.ipv4.conf.all.route_localnet=1");
    inside(&format!("ip route add 127.0.0.1/32 via {} dev eth0", host.gateway()));
    let at = format!("127.0.0.1:{port}");
    let closed = host.podbox(["exec", "client", "--", "connect", "--timeout", "2s", &at, "x"]);
    assert!(!closed.good(), "{closed}");
    drop(secret);
    host.finish();
}

#[test]
fn a_host_port_that_is_taken_is_refused_with_its_holders_name() {
    let host = Host::new();
    host.up(&pod("first", &with_ports(&host)));
    let taken = format!("host port {}", host.port(1));
    host.try_up(&pod("second", &with_ports(&host)), &[]).code(3).complains(&taken).complains("default/first");
    host.podbox(["get", "pod", "second"]).code(2);
    // Another address, protocol or port is no conflict.
    let other = with_ports(&host)
        .replace(&format!("hostPort: {}", host.port(1)), &format!("hostPort: {}", host.port(4)));
    let other = other.replace(&format!("hostPort: {}", host.port(2)), &format!("hostPort: {}", host.port(5)));
    host.up(&pod("second", &other));
    host.down(&["first", "--grace-period", "0"]);
    host.up(&pod("third", &with_ports(&host)));
    host.finish();
}

#[test]
fn a_host_port_that_a_program_of_the_host_listens_on_is_refused_until_the_program_has_gone() {
    let host = Host::new();
    let (tcp, udp) = (host.port(1), host.port(2));
    let programs = [("tcp-echo", tcp, "tcp", "-a"), ("udp-echo", udp, "udp", "-u")];
    for (applet, port, protocol, flag) in programs {
        let program = host.cmd(["toolbox", applet, "--port", &port.to_string()]).spawn();
        let at = format!("127.0.0.1:{port}");
        wait_good("the host's server", || host.podbox(["toolbox", "connect", flag, &at, "hi"]));
        let watcher = host.cmd(["events", "-w"]).spawn();
        let began = Instant::now();
        let failed = host.try_up(&pod("web", &with_ports(&host)), &[]).code(3);
        assert!(began.elapsed() < Duration::from_secs(30), "it waited for nothing");
        assert_eq!(failed.stderr.matches("error: ").count(), 1, "one clear error\n{failed}");
        let who = format!("(process {}) at ", program.pid());
        let what = format!("Failed to create pod sandbox: host port {port}/{protocol} is in use by ");
        failed.complains(&what).complains(&who);
        watcher.wait_to_say("FailedCreatePodSandBox");
        watcher.wait_to_say(&what);
        drop(watcher);
        host.podbox(["get", "pod", "web"]).code(2);
        host.expect_nothing_left();
        // The program goes on as if nobody had asked.
        host.podbox(["toolbox", "connect", flag, &at, "still", "there"]).ok().says("still there");
        drop(program);
    }
    host.up(&pod("web", &with_ports(&host)));
    wait_good("the pod's server", || {
        host.podbox(["toolbox", "connect", &format!("127.0.0.1:{tcp}"), "from", "the", "pod"])
    });
    host.finish();
}

#[test]
fn a_host_port_that_a_pod_of_the_hosts_network_listens_on_is_refused() {
    let host = Host::new();
    let command = format!("command: [tcp-echo, --port, '{}']", host.port(1));
    let spec =
        format!("  hostNetwork: true\n  containers: [{{name: c, image: podbox.local/toolbox, {command}}}]\n");
    host.up(&pod("native", &spec));
    wait_good("its server", || {
        host.podbox(["toolbox", "connect", &format!("127.0.0.1:{}", host.port(1)), "hi"])
    });
    let who = format!("tcp is in use by tcp-echo (process {})", host.container_process("native", "c"));
    host.try_up(&pod("web", &with_ports(&host)), &[]).code(3).complains(&who);
    host.down(&["native", "--grace-period", "0"]);
    host.up(&pod("web", &with_ports(&host)));
    host.finish();
}

#[test]
fn a_bridge_address_in_use_is_refused_and_named_and_the_host_stays_as_it_is() {
    let host = Host::new();
    let dummy = format!("pbo{}d", host.number());
    let ip = |words: &str| e2e::Cmd::new("ip").args(words.split(' ')).run().ok();
    ip(&format!("link add {dummy} type bridge"));
    ip(&format!("addr add {}/24 dev {dummy}", host.gateway()));
    ip(&format!("link set {dummy} up"));
    let sleeper =
        pod("web", "  containers: [{name: c, image: podbox.local/toolbox, command: [sleep, infinity]}]");
    host.try_up(&sleeper, &[]).code(3).complains("overlaps with").complains(&dummy).complains("hint: ");
    host.expect_nothing_left();
    host.podbox(["system", "check"]).code(3).says("overlaps with");
    ip(&format!("link del {dummy}"));
    host.up(&sleeper);
    host.finish();
}

#[test]
fn a_bridge_name_that_is_somebody_elses_is_refused() {
    let host = Host::new();
    let ip = |words: &str| e2e::Cmd::new("ip").args(words.split(' ')).run().ok();
    ip(&format!("link add {} type veth peer name pbo{}d", host.bridge(), host.number()));
    let sleeper =
        pod("web", "  containers: [{name: c, image: podbox.local/toolbox, command: [sleep, infinity]}]");
    host.try_up(&sleeper, &[]).code(3).complains(&format!("use bridge {}", host.bridge()));
    ip(&format!("link del {}", host.bridge()));
    host.finish();
}

#[test]
fn the_pods_network_namespace_is_there_for_ip_netns() {
    let host = Host::new();
    host.up(&pod("seen", ECHO));
    let list = e2e::Cmd::new("ip").args(["netns", "list"]).run().ok();
    let name = std::fs::read_to_string(host.pod_dir("seen").join("netns-alias")).unwrap();
    let name = name.trim().rsplit('/').next().unwrap().to_owned();
    assert!(name.starts_with("default_seen"), "{name}");
    assert!(list.stdout.contains(&name), "{list}");
    let addresses =
        e2e::Cmd::new("ip").args(["netns", "exec", &name, "ip", "addr", "show", "eth0"]).run().ok();
    assert!(addresses.stdout.contains(&host.pod("seen").ip()), "{addresses}");
    host.finish();
}
