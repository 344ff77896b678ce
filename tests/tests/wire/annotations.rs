//! Addresses of one's choice and limits of bandwidth.

use std::fs::Permissions;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use e2e::{Host, pod};

use super::{ECHO, SLEEPER, annotated, await_echoes, expect_seen, inside, ip_in, machine};

const IP: &str = "podbox.local/ip";
const MAC: &str = "podbox.local/mac";
const NETWORKS: &str = "k8s.v1.cni.cncf.io/networks";
const INGRESS: &str = "kubernetes.io/ingress-bandwidth";
const EGRESS: &str = "kubernetes.io/egress-bandwidth";
const OWN_MAC: &str = "02:00:00:00:00:77";

fn chosen(host: &Host) -> (String, String) {
    (host.slice().replace(".0/24", ".77"), host.slice6().replace("::/64", "::4d"))
}

#[test]
fn a_pod_has_the_addresses_that_it_asks_for_whatever_is_killed_and_nobody_else_gets_them() {
    let host = machine();
    let (four, six) = chosen(&host);
    let manifest = annotated("web", &[(IP, &four), (MAC, OWN_MAC)], ECHO);
    host.up(&manifest);
    host.up(&pod("client", SLEEPER));
    let expect = || {
        let view = host.pod("web");
        assert_eq!((view.ip(), view.ip6()), (four.clone(), six.clone()));
        let inside = host.exec("web", &["addr", "eth0"]);
        for address in [format!(" {four}/24"), format!(" {six}/64"), format!("link {OWN_MAC}")] {
            assert!(inside.contains(&address), "{inside}");
        }
        await_echoes(&host, "web");
        let client = host.pod("client");
        expect_seen(&host, "client", &four, &client.ip());
        expect_seen(&host, "client", &six, &client.ip6());
    };
    expect();
    let supervisor = host.supervisor("web");
    host.kill(supervisor.expect("it has one"));
    let _ = host.next_supervisor("web", supervisor);
    host.podbox(["restart", "web"]).ok();
    expect();
    for annotation in [(IP, four.as_str()), (IP, six.as_str()), (MAC, OWN_MAC)] {
        let held = format!("address {} is held by default/web", annotation.1);
        host.try_up(&annotated("other", &[annotation], SLEEPER), &[]).code(3).complains(&held);
        host.podbox(["get", "pod", "other"]).code(2);
    }
    host.finish();
}

#[test]
fn a_neighbour_that_knows_an_older_ethernet_address_is_told_the_new_one_at_once() {
    let host = machine();
    let (four, six) = chosen(&host);
    host.up(&pod("client", SLEEPER));
    let chosen = format!("{four},{six}");
    for macs in [&[(MAC, OWN_MAC)][..], &[(MAC, "02:00:00:00:00:78")], &[]] {
        host.up(&annotated("web", &[&[(IP, chosen.as_str())][..], macs].concat(), ECHO));
        await_echoes(&host, "web");
        let (own, own6) = (host.pod("client").ip(), host.pod("client").ip6());
        expect_seen(&host, "client", &four, &own);
        expect_seen(&host, "client", &six, &own6);
        let link = host.exec("web", &["addr", "eth0"]);
        let mac = link.split("link ").nth(1).and_then(|rest| rest.split_whitespace().next());
        let mac = mac.expect("it has an Ethernet address");
        assert!(macs.iter().all(|(_, asked)| *asked == mac), "{link}");
        let known = ip_in(&host, "client", "neighbour show dev eth0");
        let of_web = |line: &&str| [&four, &six].iter().any(|ip| line.starts_with(&format!("{ip} ")));
        let entries: Vec<&str> = known.lines().filter(of_web).collect();
        assert_eq!(entries.len(), 2, "{known}");
        assert!(entries.iter().all(|entry| entry.contains(mac)), "{known}");
        host.down(&["web", "--grace-period", "0"]);
    }
    host.finish();
}

#[test]
fn an_annotation_that_cannot_be_honoured_is_told_with_its_place_and_the_machine_stays_as_it_is() {
    let host = machine();
    let (four, _) = chosen(&host);
    let (gateway, gateway6) = (host.gateway(), host.gateway6());
    let twice = format!("{four},{four}");
    let blue = r#"[{"name": "blue", "ips": ["10.1.2.3"]}]"#;
    for (key, value, why) in [
        (IP, "10.9.9.9", "it is not in network podbox"),
        (IP, gateway.as_str(), "it is the gateway of "),
        (IP, gateway6.as_str(), "it is the gateway of "),
        (IP, twice.as_str(), "one address of a family"),
        (IP, "seven", "is no IP address"),
        (MAC, "01:00:00:00:00:01", "its first byte must be even"),
        (MAC, "02:00", "is no Ethernet address"),
        (INGRESS, "fast", "is no quantity of bits a second"),
        (EGRESS, "999", "unreasonably small"),
        (NETWORKS, "blue", "Not found: \"blue\""),
        (NETWORKS, blue, "Not found: \"blue\""),
        (NETWORKS, r#"[{"name": "podbox", "ips": ["10.1.2.3"]}]"#, "it is not in network podbox"),
    ] {
        let refused = host.try_up(&annotated("web", &[(key, value)], SLEEPER), &[]).code(2).complains(why);
        let column = 4 + key.len() + 2 + 1;
        refused
            .complains(&format!("metadata.annotations[{key}]: "))
            .complains(&format!("<stdin>:6:{column}"))
            .complains("1 mistake in the manifest; nothing was changed");
    }
    host.podbox(["get", "pod", "web"]).code(2);
    host.expect_nothing_left();
    host.finish();
}

/// How long it takes to send so many bytes from one pod to another.
fn duration(host: &Host, from: &str, to: &str, bytes: usize) -> Duration {
    let address: std::net::IpAddr = host.pod(to).ip().parse().expect("an address");
    let at = SocketAddr::new(address, 5001);
    let listener = inside(host, to, || TcpListener::bind(at).expect("listen in the pod"));
    std::thread::scope(|scope| {
        let sink = scope.spawn(|| {
            let (mut stream, _) = listener.accept().expect("somebody connects");
            let (mut buffer, mut total) = (vec![0; 1 << 16], 0);
            while let Ok(length @ 1..) = stream.read(&mut buffer) {
                total += length;
            }
            total
        });
        let mut stream = inside(host, from, || TcpStream::connect(at).expect("connect from the pod"));
        let started = Instant::now();
        stream.write_all(&vec![0; bytes]).expect("send it all");
        drop(stream);
        assert_eq!(sink.join().expect("it does not panic"), bytes);
        started.elapsed()
    })
}

#[test]
fn bandwidth_is_limited_each_way_by_the_kubelets_annotations() {
    const BYTES: usize = 2 << 20;
    // At eight million bits a second, less what may pass at once.
    let least = Duration::from_secs(1);
    let host = machine();
    host.up(&pod("free", SLEEPER));
    host.up(&annotated("in", &[(INGRESS, "8M")], SLEEPER));
    host.up(&annotated("out", &[(EGRESS, "8M")], SLEEPER));
    for (from, to, is_limited) in
        [("free", "in", true), ("in", "free", false), ("out", "free", true), ("free", "out", false)]
    {
        let took = duration(&host, from, to, BYTES);
        assert_eq!(took > least, is_limited, "{from} to {to}: {took:?}");
    }
    host.finish();
}

#[test]
fn a_cni_network_judges_chosen_addresses_by_itself_and_has_no_further_networks() {
    let host = machine();
    let manifest = |key, value| {
        let path = host.dir().join("web.yaml");
        std::fs::write(&path, annotated("web", &[(key, value)], SLEEPER)).expect("write a manifest");
        path.display().to_string()
    };
    host.podbox(["plan", &manifest(IP, "192.0.2.77")]).code(2).complains("it is not in network podbox");
    let dir = host.dir().display();
    host.configure(
        &format!("cni = \"other\"\ncni-conf-dir = \"{dir}/net.d\"\ncni-bin-dirs = [\"{dir}/bin\"]"),
        "",
    );
    let (net, bin) = (host.dir().join("net.d"), host.dir().join("bin"));
    for path in [&net, &bin] {
        std::fs::create_dir_all(path).expect("make a directory");
    }
    let plugin = bin.join("own");
    std::fs::write(&plugin, "#!/bin/sh\n").expect("write a plugin");
    std::fs::set_permissions(&plugin, Permissions::from_mode(0o755)).expect("make it a program");
    let chain = r#"{"cniVersion": "1.0.0", "name": "other", "plugins": [{"type": "own", "capabilities": {"ips": true}}]}"#;
    std::fs::write(net.join("10-other.conflist"), chain).expect("write a chain");
    // The plugin is handed the address.
    host.podbox(["plan", &manifest(IP, "192.0.2.77")]).ok().says("192.0.2.77");
    host.podbox(["plan", &manifest(NETWORKS, "blue")])
        .code(2)
        .complains("Forbidden: pods are on the CNI network other here");
    host.finish();
}
