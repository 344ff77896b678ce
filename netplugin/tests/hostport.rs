//! Host ports: from everywhere, to one pod, and to nobody else.

mod support;

use std::net::IpAddr;
use std::time::Duration;

use netplugin::{NetError, PortMapping, Protocol};
use support::{Host, Netns, chain, tcp, udp};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn at(host_ip: &str, mapping: PortMapping) -> PortMapping {
    PortMapping { host_ip: Some(ip(host_ip)), ..mapping }
}

#[test]
fn a_host_port_is_reached_from_outside_with_the_clients_own_address() {
    let host = Host::new();
    let outside = host.outside();
    let pod = host.pod_with("web", &[tcp(8080, 80), udp(5353, 53)]);
    pod.netns.serve_tcp("[::]:80");
    pod.netns.serve_udp("0.0.0.0:53");
    assert_eq!(outside.seen_by_tcp("192.168.77.1:8080"), Ok(ip("192.168.77.2")));
    assert_eq!(outside.seen_by_udp("192.168.77.1:5353"), Ok(ip("192.168.77.2")));
    assert_eq!(outside.seen_by_tcp("[fd77::1]:8080"), Ok(ip("fd77::2")));
    assert!(outside.seen_by_tcp("192.168.77.1:8081").is_err());
}

#[test]
fn a_host_port_is_reached_from_the_host_by_each_of_its_addresses() {
    let host = Host::new();
    let _outside = host.outside();
    let pod = host.pod_with("web", &[tcp(8080, 80), udp(5353, 53)]);
    pod.netns.serve_tcp("[::]:80");
    pod.netns.serve_udp("0.0.0.0:53");
    assert_eq!(host.netns.seen_by_tcp("192.168.77.1:8080"), Ok(ip("192.168.77.1")));
    assert_eq!(host.netns.seen_by_tcp("[fd77::1]:8080"), Ok(ip("fd77::1")));
    assert_eq!(host.netns.seen_by_tcp("10.244.0.1:8080"), Ok(ip("10.244.0.1")));
    // Nobody could answer a loopback address: it becomes the bridge's.
    assert_eq!(host.netns.seen_by_tcp("127.0.0.1:8080"), Ok(ip("10.244.0.1")));
    assert_eq!(host.netns.seen_by_udp("127.0.0.1:5353"), Ok(ip("10.244.0.1")));
    // The kernel lets no answer back to ::1. So that is refused at once, and who calls "localhost" goes on
    // with 127.0.0.1.
    assert_eq!(host.netns.seen_by_tcp("[::1]:8080"), Err("Connection refused (os error 111)".to_owned()));
}

#[test]
fn a_host_port_is_reached_from_pods_and_from_the_pod_itself() {
    let host = Host::new();
    let _outside = host.outside();
    let pod = host.pod_with("web", &[tcp(8080, 80), udp(5353, 53)]);
    let other = host.pod("other");
    pod.netns.serve_tcp("[::]:80");
    pod.netns.serve_udp("0.0.0.0:53");
    for client in [&other, &pod] {
        assert_eq!(client.netns.seen_by_tcp("192.168.77.1:8080"), Ok(ip("10.244.0.1")));
        assert_eq!(client.netns.seen_by_udp("192.168.77.1:5353"), Ok(ip("10.244.0.1")));
        assert_eq!(client.netns.seen_by_tcp("10.244.0.1:8080"), Ok(ip("10.244.0.1")));
        assert_eq!(client.netns.seen_by_tcp("[fd77::1]:8080"), Ok(ip("fd00:10:244::1")));
    }
    // Straight to the pod, nothing is translated, host port or not.
    assert_eq!(other.netns.seen_by_tcp(&format!("{}:80", pod.ip4())), Ok(other.ip4()));
}

#[test]
fn a_host_ip_is_honoured() {
    let host = Host::new();
    let outside = host.outside();
    host.netns.sh("ip address add 192.168.77.9/24 dev up0");
    let ports =
        [at("192.168.77.9", tcp(8080, 80)), at("127.0.0.1", tcp(8081, 80)), at("fd77::1", tcp(8082, 80))];
    let pod = host.pod_with("web", &ports);
    pod.netns.serve_tcp("[::]:80");
    assert_eq!(outside.seen_by_tcp("192.168.77.9:8080"), Ok(ip("192.168.77.2")));
    assert!(outside.seen_by_tcp("192.168.77.1:8080").is_err());
    assert_eq!(host.netns.seen_by_tcp("127.0.0.1:8081"), Ok(ip("10.244.0.1")));
    assert!(outside.seen_by_tcp("192.168.77.1:8081").is_err());
    assert_eq!(outside.seen_by_tcp("[fd77::1]:8082"), Ok(ip("fd77::2")));
    // The same port of another address is free.
    let second = host.pod_with("second", &[at("192.168.77.1", tcp(8080, 80))]);
    second.netns.serve_tcp("0.0.0.0:80");
    assert_eq!(outside.seen_by_tcp("192.168.77.1:8080"), Ok(ip("192.168.77.2")));
}

#[test]
fn a_port_that_is_held_is_refused_by_name_and_nothing_stays() {
    let host = Host::new();
    let _web = host.pod_with("web", &[tcp(8080, 80)]);
    let pod = Netns::new();
    let error = host.attach("late", &pod, &[tcp(9090, 80), tcp(8080, 80)]).unwrap_err();
    assert_eq!(chain(&error), "host port 8080/tcp is held by default/web");
    let error = host.attach("late", &pod, &[at("192.168.77.1", tcp(8080, 80))]).unwrap_err();
    assert_eq!(chain(&error), "host port 192.168.77.1:8080/tcp is held by default/web");
    assert!(!host.config.state_dir.join("pods/late").exists());
    host.pod_with("third", &[tcp(9090, 80), udp(8080, 80)]);
    // Once given back, it is free.
    host.detach("web");
    host.pod_with("late", &[tcp(8080, 80)]);
}

#[test]
fn a_port_that_a_program_of_the_host_listens_on_is_refused_with_its_name_and_nothing_stays() {
    let host = Host::new();
    let own = format!("process {})", std::process::id());
    let pod = Netns::new();
    host.netns.serve_tcp("0.0.0.0:8080");
    host.netns.serve_tcp("127.0.0.1:8081");
    host.netns.serve_tcp("[::]:8082");
    host.netns.serve_tcp("[::1]:8083");
    host.netns.serve_udp("127.0.0.1:5353");
    let cases = [
        ("8080/tcp", "0.0.0.0:8080", tcp(8080, 80)),
        ("127.0.0.1:8080/tcp", "0.0.0.0:8080", at("127.0.0.1", tcp(8080, 80))),
        ("8081/tcp", "127.0.0.1:8081", tcp(8081, 80)),
        ("8082/tcp", "[::]:8082", tcp(8082, 80)),
        ("0.0.0.0:8082/tcp", "[::]:8082", at("0.0.0.0", tcp(8082, 80))),
        ("8083/tcp", "[::1]:8083", tcp(8083, 80)),
        ("[::]:8083/tcp", "[::1]:8083", at("::", tcp(8083, 80))),
        ("5353/udp", "127.0.0.1:5353", udp(5353, 53)),
    ];
    for (port, address, mapping) in cases {
        let error = chain(&host.attach("web", &pod, &[tcp(9090, 80), mapping]).unwrap_err());
        let expected = format!("host port {port} is in use by ");
        assert!(error.starts_with(&expected) && error.ends_with(&format!("{own} at {address}")), "{error}");
        assert_eq!(host.left_behind(), "", "{port}");
    }
}

#[test]
fn a_program_at_another_address_family_or_protocol_is_in_no_pods_way() {
    let host = Host::new();
    let _outside = host.outside();
    host.netns.serve_tcp("127.0.0.1:8080");
    host.netns.serve_tcp("[::1]:8081");
    host.netns.serve_udp("0.0.0.0:8082");
    let ports = [at("192.168.77.1", tcp(8080, 80)), at("0.0.0.0", tcp(8081, 81)), tcp(8082, 82)];
    host.pod_with("web", &ports);
}

#[test]
fn a_port_is_free_again_when_its_program_has_gone_even_if_its_connections_linger() {
    let host = Host::new();
    let (listener, client, server) = host.netns.run(|| {
        let listener = std::net::TcpListener::bind("127.0.0.1:8080").unwrap();
        let client = std::net::TcpStream::connect("127.0.0.1:8080").unwrap();
        let server = listener.accept().unwrap().0;
        (listener, client, server)
    });
    let netns = Netns::new();
    let error = host.attach("web", &netns, &[tcp(8080, 80)]).unwrap_err();
    assert!(matches!(error, NetError::PortInUse { port: 8080, .. }), "{error}");
    drop(listener);
    // The server's end closes first, so it is the one that keeps its port for a minute.
    drop(server);
    drop(client);
    host.pod_with("web", &[tcp(8080, 80)]);
}

#[test]
fn a_connection_that_has_the_ports_number_by_chance_is_in_no_pods_way_and_goes_on() {
    let host = Host::new();
    let outside = host.outside();
    outside.serve_tcp("192.168.77.2:7");
    host.netns.sh("sysctl -qw net.ipv4.ip_local_port_range='40000 40000'");
    let (mut stream, socket) = host.netns.run(|| {
        let stream = std::net::TcpStream::connect("192.168.77.2:7").unwrap();
        let socket = std::net::UdpSocket::bind("192.168.77.1:40001").unwrap();
        socket.connect("192.168.77.2:7").unwrap();
        (stream, socket)
    });
    assert_eq!(stream.local_addr().unwrap().port(), 40_000);
    host.pod_with("web", &[tcp(40_000, 80), udp(40_001, 53)]);
    let mut text = String::new();
    std::io::Read::read_to_string(&mut stream, &mut text).unwrap();
    assert_eq!(text, "192.168.77.1");
    drop(socket);
}

#[test]
fn a_pod_that_holds_its_port_already_keeps_it_whoever_listens_there_by_now() {
    let host = Host::new();
    let pod = host.pod_with("web", &[tcp(8080, 80)]);
    host.netns.serve_tcp("0.0.0.0:8080");
    host.attach("web", &pod.netns, &[tcp(8080, 80)]).unwrap();
}

#[test]
fn ports_that_cannot_be_mapped_are_refused() {
    let host = Host::new();
    let pod = Netns::new();
    let twice = vec![tcp(80, 80), tcp(80, 81)];
    for ports in [vec![tcp(0, 80)], vec![tcp(80, 0)], twice, vec![at("::1", tcp(80, 80))]] {
        let error = host.attach("a", &pod, &ports).unwrap_err();
        assert!(matches!(error, NetError::Request { .. }), "{error}");
    }
}

#[test]
fn a_pod_cannot_reach_the_hosts_loopback_address() {
    let host = Host::new();
    let _web = host.pod_with("web", &[tcp(8080, 80)]);
    host.netns.serve_tcp("127.0.0.1:90");
    let pod = host.pod("evil");
    pod.netns.sh(
        "ip address del 127.0.0.1/8 dev lo; ip route add 127.0.0.1/32 via 10.244.0.1 dev eth0 src 10.244.0.3
         sysctl -qw net.ipv4.conf.eth0.route_localnet=1",
    );
    let reached = pod.netns.run(|| {
        std::net::TcpStream::connect_timeout(&"127.0.0.1:90".parse().unwrap(), Duration::from_millis(700))
    });
    assert!(reached.is_err());
}

#[test]
fn a_udp_client_reaches_the_next_pod_that_gets_the_port() {
    let host = Host::new();
    let outside = host.outside();
    let socket = outside.run(|| std::net::UdpSocket::bind("192.168.77.2:4000").unwrap());
    let ask = || {
        socket.send_to(b"who?", "192.168.77.1:5353").unwrap();
        let mut buffer = [0; 100];
        socket.set_read_timeout(Some(support::PATIENCE)).unwrap();
        socket.recv(&mut buffer).map(|_| ())
    };
    let first = host.pod_with("first", &[udp(5353, 53)]);
    first.netns.serve_udp("0.0.0.0:53");
    ask().unwrap();
    host.detach("first");
    let second = host.pod_with("second", &[udp(5353, 53)]);
    let server = second.netns.serve_udp("0.0.0.0:53");
    assert_eq!(server.port(), 53);
    // The same socket, so the same flow: it would still lead to the first pod, which is still there.
    let seen = second.netns.sh("cat /proc/thread-self/net/snmp | grep '^Udp:' | tail -1");
    ask().unwrap();
    let now = second.netns.sh("cat /proc/thread-self/net/snmp | grep '^Udp:' | tail -1");
    assert_ne!(seen, now, "the second pod got no packet");
}

#[test]
fn a_flushed_ruleset_is_made_again_by_the_next_pod_with_ports() {
    let host = Host::new();
    let web = host.pod_with("web", &[tcp(8080, 80)]);
    web.netns.serve_tcp("[::]:80");
    host.netns.sh("nft flush ruleset");
    let _other = host.pod_with("other", &[tcp(8081, 80)]);
    assert_eq!(host.netns.seen_by_tcp("127.0.0.1:8080"), Ok(ip("10.244.0.1")));
}

#[test]
fn nothing_is_left_of_host_ports_after_detach_and_release() {
    let host = Host::new();
    let sctp = PortMapping { protocol: Protocol::Sctp, ..tcp(7000, 70) };
    let pod = host.pod_with("web", &[tcp(8080, 80), udp(5353, 53), sctp, at("127.0.0.1", tcp(9090, 90))]);
    let elements = host.netns.sh("nft list table inet podbox0 | grep -c elements");
    assert_eq!(elements.trim(), "3");
    host.detach("web");
    assert!(!host.netns.sh("nft list table inet podbox0").contains("elements"));
    assert_eq!(host.netns.sh(&format!("ls {}/ports", host.config.state_dir.display())), "");
    drop(pod);
    assert!(host.release_idle());
    host.wait_for_cables();
    assert_eq!(host.left_behind(), "");
}

#[test]
fn a_port_of_the_host_is_reserved_for_who_listens_on_it_himself() {
    let host = Host::new();
    let reserve = |id: &str, ports: &[PortMapping]| {
        host.netns.run(|| netplugin::reserve(&host.config, (id, &format!("default/{id}")), ports))
    };
    let wanted = [tcp(8080, 8080), at("127.0.0.1", tcp(8081, 8081))];
    reserve("native", &wanted).unwrap();
    // He may ask again, also when he listens already.
    host.netns.serve_tcp("0.0.0.0:8080");
    reserve("native", &wanted).unwrap();
    let held = "host port 8080/tcp is held by default/native";
    assert_eq!(chain(&reserve("second", &[tcp(8080, 8080)]).unwrap_err()), held);
    let pod = Netns::new();
    assert_eq!(chain(&host.attach("web", &pod, &[tcp(8080, 80)]).unwrap_err()), held);
    let error = chain(&host.attach("web", &pod, &[tcp(8081, 80)]).unwrap_err());
    assert_eq!(error, "host port 8081/tcp is held by default/native");
    assert!(host.attach("web", &pod, &[at("192.168.77.1", tcp(8081, 80))]).is_ok());
    // Nothing leads away what is his.
    assert!(!host.netns.sh("nft list ruleset").contains("8080"));
    let error = chain(&reserve("second", &[udp(9000, 9000), at("192.168.77.1", tcp(8081, 1))]).unwrap_err());
    assert_eq!(error, "host port 192.168.77.1:8081/tcp is held by default/web");
    assert!(!host.config.state_dir.join("pods/second").exists());
    assert!(!host.config.state_dir.join("ports/9000-udp-any").exists());
    let way = |mapping| {
        let found = host.netns.run(|| netplugin::port_in_the_way(&host.config, &mapping)).unwrap();
        found.map(|error| chain(&error))
    };
    assert_eq!(way(tcp(8080, 1)).as_deref(), Some(held));
    assert_eq!(way(tcp(8082, 1)), None);
    host.netns.serve_udp("127.0.0.1:8082");
    assert!(way(udp(8082, 1)).unwrap().starts_with("host port 8082/udp is in use by "));
    // The bridge goes with the last pod that is on it; his ports stay his.
    host.detach("web");
    assert!(host.release_idle());
    assert!(!host.netns.sh("ip link").contains("podbox0"));
    assert_eq!(way(tcp(8080, 1)).as_deref(), Some(held));
    host.detach("native");
    assert!(host.release_idle());
    drop(pod);
    host.wait_for_cables();
    assert_eq!(host.left_behind(), "");
}
