//! Further networks, by `[networks.NAME]` and the standard's annotation.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use e2e::{Host, PodView, pod};
use serde_json::{Value, json};

use super::{
    ECHO, SLEEPER, annotated, await_echoes, bracketed, expect_seen, inside, ip_in, ip_on, machine, peer,
};

const NETWORKS: &str = "k8s.v1.cni.cncf.io/networks";
const STATUS: &str = "k8s.v1.cni.cncf.io/network-status";

/// A machine with the networks blue (both families) and red (IPv4).
fn with_networks() -> Host {
    let host = machine();
    let number = host.number();
    host.configure(
        "",
        &format!(
            "[networks.blue]\nbridge = \"pbt{number}b\"\nipv4 = \"10.215.{number}.0/24\"\nipv6 = \"fd70:6f64:e30:{number:x}::/64\"\n\
             [networks.red]\nbridge = \"pbt{number}r\"\nipv4 = \"10.216.{number}.0/24\"\nmtu = 1400\n"
        ),
    );
    host
}

fn blue(host: &Host, last: u8) -> String {
    format!("10.215.{}.{last}", host.number())
}

fn blue6(host: &Host, last: u8) -> String {
    format!("fd70:6f64:e30:{:x}::{last:x}", host.number())
}

fn red(host: &Host, last: u8) -> String {
    format!("10.216.{}.{last}", host.number())
}

fn status(view: &PodView) -> Vec<Value> {
    let text = view.0["metadata"]["annotations"][STATUS].as_str().expect("the annotation");
    serde_json::from_str(text).expect("it is JSON")
}

#[test]
fn a_pod_joins_further_networks_by_name_and_by_object_and_tells_what_it_has_got() {
    let host = with_networks();
    host.up(&annotated("one", &[(NETWORKS, "blue, storage/red@data0")], ECHO));
    let objects = json!([
        {"name": "red", "interface": "data0", "ips": [red(&host, 77)], "mac": "02:00:00:00:00:77"},
        {"name": "blue", "ips": [format!("{}/24", blue(&host, 9))]},
    ]);
    host.up(&annotated("two", &[(NETWORKS, &objects.to_string())], ECHO));
    let (one, two) = (host.pod("one"), host.pod("two"));
    let told = status(&one);
    let of = |index: usize, key: &str| told[index][key].clone();
    assert_eq!(of(0, "ips"), json!([one.ip(), one.ip6()]), "{told:?}");
    assert_eq!([of(0, "default"), of(1, "default")], [json!(true), Value::Null]);
    assert_eq!([of(1, "name"), of(2, "name")], [json!("blue"), json!("storage/red")]);
    assert_eq!([of(0, "interface"), of(1, "interface"), of(2, "interface")], ["eth0", "net1", "data0"]);
    assert_eq!(of(1, "ips"), json!([blue(&host, 2), blue6(&host, 2)]));
    assert_eq!([of(2, "ips"), of(2, "mtu")], [json!([red(&host, 2)]), json!(1400)]);
    let told = status(&two);
    assert_eq!(told[1]["ips"], json!([red(&host, 77)]));
    assert_eq!(told[1]["mac"], "02:00:00:00:00:77");
    assert_eq!(told[2]["ips"], json!([blue(&host, 9), blue6(&host, 9)]));
    assert_eq!(told[2]["interface"], "net2");
    // The addresses in the status are eth0's, and so is the way out.
    assert!(one.ip().starts_with("10.213."), "{}", one.ip());
    for name in ["one", "two"] {
        let ways = ip_in(&host, name, "route show default") + &ip_in(&host, name, "-6 route show default");
        assert_eq!(ways.lines().filter(|line| line.contains("dev eth0")).count(), 2, "{ways}");
        assert_eq!(ways.lines().count(), 2, "{ways}");
        await_echoes(&host, name);
    }
    for (to, from) in [
        (blue(&host, 9), blue(&host, 2)),
        (blue6(&host, 9), blue6(&host, 2)),
        (red(&host, 77), red(&host, 2)),
    ] {
        expect_seen(&host, "one", &to, &from);
        expect_seen(&host, "two", &from, &to);
    }
    host.down(&["one", "two", "--grace-period", "0"]);
    host.expect_nothing_left();
    host.finish();
}

/// Who a datagram of the client's comes from, for a socket of the server's that has the address `at` itself: one for all
/// addresses would answer from that of the way out. It must be answered.
fn datagram(host: &Host, at: &str) -> String {
    const PATIENCE: Duration = Duration::from_secs(10);
    let at = SocketAddr::new(at.parse().expect("an address"), 9002);
    let socket = |to: SocketAddr| {
        let socket = UdpSocket::bind(to).expect("bind a socket in the pod");
        socket.set_read_timeout(Some(PATIENCE)).expect("set its patience");
        socket
    };
    let any = SocketAddr::new(if at.is_ipv4() { [0; 4].into() } else { [0; 16].into() }, 0);
    let (server, client) = (inside(host, "server", || socket(at)), inside(host, "client", || socket(any)));
    client.connect(at).expect("there is a way");
    client.send(b"hello").expect("it leaves");
    let (_, from) = server.recv_from(&mut [0; 16]).expect("it arrives");
    server.send_to(b"hello", from).expect("the answer leaves");
    assert_eq!(client.recv(&mut [0; 16]).expect("the answer arrives"), 5);
    from.ip().to_string()
}

#[test]
fn from_one_network_to_another_a_packet_keeps_its_pods_address_even_past_a_strict_filter() {
    let host = with_networks();
    // What an uplink would be, so that there is an outside that needs the machine's address.
    let number = host.number();
    for words in [
        "link add eth0 type veth peer name eth1".to_owned(),
        format!("addr add 198.18.{number}.1/24 dev eth0"),
        "link set eth0 up".to_owned(),
        "link set eth1 up".to_owned(),
        format!("route add default via 198.18.{number}.2"),
    ] {
        ip_on(&host, &words);
    }
    // As many firewalls have it: what is no part of a connection that both directions were seen of is dropped.
    let nft = |words: &str| host.beside("nft").args(words.split(' ')).run().ok();
    nft("add table inet strict");
    nft("add chain inet strict forward { type filter hook forward priority 0; }");
    nft("add rule inet strict forward ct state invalid drop");
    let strict = "  securityContext: {sysctls: [{name: net.ipv4.conf.all.rp_filter, value: '1'}]}\n";
    let manifest =
        annotated("server", &[(NETWORKS, "blue")], &format!("{strict}{}", ECHO.trim_matches('\n')));
    host.try_up(&manifest, &["--allow-unsafe-sysctls", "net.ipv4.conf.*"]).ok();
    host.up(&pod("client", ECHO));
    await_echoes(&host, "server");
    await_echoes(&host, "client");
    let client = host.pod("client");
    for (to, own) in [(blue(&host, 2), client.ip()), (blue6(&host, 2), client.ip6())] {
        let at = format!("{}:9000", bracketed(&to));
        assert_eq!(peer(&host.exec("client", &["connect", &at, "peer"])), own, "{at}");
        assert_eq!(datagram(&host, &to), own);
    }
    // The other way it leaves by eth0, which the client knows.
    let server = host.pod("server");
    expect_seen(&host, "server", &client.ip(), &server.ip());
    // The rules of both networks spare the other's addresses, on both families.
    let rules = host.beside("nft").args(["list", "ruleset"]).run().ok().stdout;
    let masquerades: Vec<&str> = rules.lines().filter(|line| line.contains("oifname !=")).collect();
    let spared = |own: &str, other: &str| {
        let of = |line: &&&str| {
            line.contains(&format!("saddr {own} ")) && line.contains(&format!("daddr != {other} "))
        };
        assert_eq!(masquerades.iter().filter(of).count(), 1, "{own} to {other}\n{rules}");
    };
    let (slice, slice6) = (host.slice(), host.slice6());
    let (other, other6) = (blue(&host, 0) + "/24", format!("fd70:6f64:e30:{number:x}::/64"));
    spared(&slice, &other);
    spared(&other, &slice);
    spared(&slice6, &other6);
    spared(&other6, &slice6);
    nft("delete table inet strict");
    host.finish();
}

#[test]
fn an_address_on_a_further_network_is_refused_like_one_on_the_first() {
    let host = with_networks();
    let object = |ip: &str| json!([{"name": "blue", "ips": [ip]}]).to_string();
    host.up(&annotated("holder", &[(NETWORKS, &object(&blue(&host, 7)))], SLEEPER));
    let held = format!("address {} is held by default/holder", blue(&host, 7));
    host.try_up(&annotated("web", &[(NETWORKS, &object(&blue(&host, 7)))], SLEEPER), &[])
        .code(3)
        .complains(&held);
    for (ip, why) in [
        (red(&host, 7), "it is not in network blue"),
        (blue(&host, 1), "it is the gateway of "),
        (blue(&host, 255), "it is the broadcast address of "),
    ] {
        host.try_up(&annotated("web", &[(NETWORKS, &object(&ip))], SLEEPER), &[])
            .code(2)
            .complains(why)
            .complains(&format!("metadata.annotations[{NETWORKS}]"))
            .complains("<stdin>:6:");
    }
    host.try_up(&annotated("web", &[(NETWORKS, "green")], SLEEPER), &[])
        .code(2)
        .complains("Not found: \"green\"")
        .complains("help: networks podbox, blue, red");
    host.podbox(["get", "pod", "web"]).code(2);
    // What could not be had has left nothing on the first network either.
    host.down(&["holder", "--grace-period", "0"]);
    host.expect_nothing_left();
    host.finish();
}

#[test]
fn a_pod_keeps_its_interfaces_when_its_supervisor_is_killed() {
    let host = with_networks();
    host.up(&annotated("web", &[(NETWORKS, "blue")], ECHO));
    host.up(&annotated("client", &[(NETWORKS, "blue")], SLEEPER));
    let before = (host.exec("web", &["addr"]), status(&host.pod("web")));
    let supervisor = host.supervisor("web");
    host.kill(supervisor.expect("it has one"));
    let _ = host.next_supervisor("web", supervisor);
    await_echoes(&host, "web");
    assert_eq!((host.exec("web", &["addr"]), status(&host.pod("web"))), before);
    let own = peer(&host.exec("client", &["connect", &format!("{}:9000", blue(&host, 2)), "peer"]));
    assert_eq!(own, blue(&host, 3));
    host.finish();
}

#[test]
fn a_packet_to_a_further_network_is_followed_by_the_interface_that_the_route_says() {
    let host = with_networks();
    for name in ["one", "two"] {
        host.up(&annotated(name, &[(NETWORKS, "blue")], ECHO));
    }
    let told = status(&host.pod("two"));
    let far = told[1]["ips"][0].as_str().expect("an address").to_owned();
    let own = status(&host.pod("one"))[1]["ips"][0].as_str().expect("an address").to_owned();
    let report = host.podbox(["net", "path", "one", &format!("{far}:9"), "-o", "json"]).code(1).json();
    assert_eq!(report["to"], "pod default/two", "{report:#}");
    assert!(report["source"].as_str().unwrap().starts_with(&format!("{own}:")), "{report:#}");
    let hops = report["hops"].as_array().unwrap();
    assert_eq!(
        (&hops[0]["place"], &hops[0]["interface"]),
        (&json!("pod default/one"), &json!("net1")),
        "{report:#}"
    );
    let came = hops.iter().rfind(|hop| hop["leg"] == "forth").unwrap();
    assert_eq!(
        (&came["place"], &came["interface"]),
        (&json!("pod default/two"), &json!("net1")),
        "{report:#}"
    );
    let shown = host.podbox(["net", "show", "one"]).ok();
    shown
        .says(&format!("; net1 (3), {own}/24"))
        .says("to the host by net1, 10.215.")
        .says(&format!("bridge fdb show br pbt{}b", host.number()));
    host.finish();
}
