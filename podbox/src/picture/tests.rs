use serde_json::json;

use super::*;
use crate::pod::Protocol;
use crate::services::{Backend, Catalogue, NamedPort};

/// What `podbox net graph -o json` printed for examples/network.yaml; only the host has got names and numbers that are
/// nobody's.
const EXAMPLE: &str = include_str!("../testdata/network.json");
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

fn example() -> Picture {
    serde_json::from_str(EXAMPLE).unwrap()
}

/// Compares with a document, or writes it if `PODBOX_WRITE_DOCS` is set.
fn same_as_document(path: &str, find: impl Fn(&str) -> Option<(usize, usize)>, drawn: &str) {
    let path = std::path::Path::new(ROOT).join(path);
    let document = std::fs::read_to_string(&path).unwrap_or_default();
    let (start, end) =
        find(&document).unwrap_or_else(|| panic!("{}: no place for the picture", path.display()));
    if document[start..end] == *drawn {
        return;
    }
    assert!(std::env::var_os("PODBOX_WRITE_DOCS").is_some(), "{}: {}", path.display(), drawn);
    std::fs::write(path, format!("{}{drawn}{}", &document[..start], &document[end..])).unwrap();
}

#[test]
fn the_pictures_in_the_documents_are_those_that_the_command_draws() {
    const COMMAND: &str = "$ podbox net graph\n";
    let block = |document: &str| {
        let start = document.find(COMMAND)? + COMMAND.len();
        Some((start, start + document[start..].find("```")?))
    };
    same_as_document("README.md", block, &text(&example()));
    same_as_document("docs/network.svg", |document| Some((0, document.len())), &svg(&example()));
}

#[test]
fn the_text_is_narrow_and_its_boxes_are_closed() {
    let mut picture = example();
    picture.hosts[0].pods[0].name = "a-name-that-is-as-long-as-names-may-be".repeat(4);
    let drawn = text(&picture);
    for line in drawn.lines() {
        assert!(line.chars().count() <= 100, "{line}");
    }
    let count = |sign: char| drawn.matches(sign).count();
    assert_eq!(count('┌'), count('┐'));
    assert_eq!(count('┘'), count('┐'));
}

#[test]
fn many_pods_are_a_line_each_and_very_many_are_counted() {
    let mut picture = example();
    let pod = picture.hosts[0].pods[0].clone();
    let pods = |number| (0..number).map(|at| PodPart { name: format!("p{at}"), ..pod.clone() }).collect();
    picture.hosts[0].pods = pods(20);
    let drawn = text(&picture);
    assert!(drawn.contains("default/p19") && !drawn.contains("┌ pod"), "{drawn}");
    picture.hosts[0].pods = pods(100);
    let drawn = text(&picture);
    assert!(drawn.contains("and 40 more pods") && !drawn.contains("default/p99"), "{drawn}");
}

#[test]
fn pods_on_the_networks_of_others_are_drawn_where_they_are() {
    let mut picture = example();
    let host = &mut picture.hosts[0];
    let mut other = host.networks[0].clone();
    (other.name, other.subnets) = ("cni0".to_owned(), Vec::new());
    other.bridge.as_mut().unwrap().name = "cni0".to_owned();
    host.networks.push(other);
    host.pods[0].cables[0].bridge = Some("cni0".to_owned());
    host.pods[1].cables[0].bridge = None;
    let drawn = text(&picture);
    let below = drawn.split_once("cni0 (5)").map(|(_, below)| below).unwrap();
    assert!(below.contains("pod default/client"), "{drawn}");
    assert!(below.contains("pods on other networks\n   default/web   Running, ready   eth0 (2)"), "{drawn}");
}

#[test]
fn a_pod_whose_cable_is_unplugged_is_drawn_where_it_belongs() {
    let mut picture = example();
    let host = &mut picture.hosts[0];
    let cable = &mut host.pods[0].cables[0];
    cable.unplugged_from = cable.bridge.take();
    let drawn = text(&picture);
    assert!(drawn.contains("─ ✗ unplugged ─") && !drawn.contains("on other networks"), "{drawn}");
    // A cable that has gone has no numbers.
    let cable = &mut picture.hosts[0].pods[0].cables[0];
    (cable.outside, cable.inside.index, cable.inside.mtu) = (None, 0, 0);
    let drawn = text(&picture);
    assert!(!drawn.contains("(0)") && !drawn.contains("mtu 0"), "{drawn}");
    picture.hosts[0].networks[0].bridge = None;
    assert!(text(&picture).contains("pods on other networks\n   default/client"), "{drawn}");
}

#[test]
fn other_hosts_are_drawn_with_what_leads_to_them() {
    let peer = PeerPart {
        name: "next".to_owned(),
        addresses: vec!["192.0.2.8".to_owned()],
        slices: vec!["10.244.1.0/24".to_owned()],
        state: "ready".to_owned(),
    };
    let picture = Picture { peers: vec![peer], ..example() };
    assert!(text(&picture).contains("\nhost next   10.244.1.0/24 at 192.0.2.8, ready\n"));
    for drawn in [svg(&picture), dot(&picture), mermaid(&picture)] {
        assert!(
            drawn.contains("host next") && drawn.contains("10.244.1.0/24 at 192.0.2.8, ready"),
            "{drawn}"
        );
    }
}

#[test]
fn names_cannot_break_out_of_a_picture() {
    let mut picture = example();
    picture.hosts[0].name = "\"><script>&\u{7}\\".to_owned();
    let drawn = svg(&picture);
    assert!(drawn.contains("&quot;&gt;&lt;script&gt;&amp;\\<"), "{drawn}");
    assert!(dot(&picture).contains(r#"label="host \"><script>&"#));
    assert!(mermaid(&picture).contains("host #quot;#gt;#lt;script#gt;&"));
}

#[test]
fn nothing_at_all_can_be_drawn_too() {
    let empty = Picture::default();
    assert_eq!(text(&empty), "");
    assert!(svg(&empty).ends_with("</svg>\n"));
    assert!(dot(&empty).ends_with("}\n"));
    let host = HostPart { name: "a".to_owned(), ..HostPart::default() };
    assert_eq!(text(&Picture { hosts: vec![host], ..Picture::default() }), "host a\n");
}

#[test]
fn a_pod_is_behind_a_service_while_it_is_selected_and_gets_connections_only_if_it_is_ready() {
    let service = json!({"metadata": {"namespace": "a", "name": "web"}, "spec": {
        "type": "ClusterIP", "clusterIPs": ["10.96.0.7"], "ipFamilies": ["IPv4"], "selector": {"app": "web"},
        "ports": [{"port": 80, "targetPort": "http", "protocol": "TCP"}],
    }});
    let backend = |name: &str, namespace: &str, ready: bool| Backend {
        uid: format!("{namespace}/{name}"),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        labels: [("app".to_owned(), "web".to_owned())].into(),
        hostname: None,
        subdomain: None,
        node: "host".to_owned(),
        ips: vec!["fd00::2".parse().unwrap(), "10.0.0.2".parse().unwrap()],
        ready,
        serving: ready,
        terminating: name == "ending",
        ports: vec![NamedPort { name: "http".to_owned(), protocol: Protocol::Tcp, number: 8080 }],
        guardian: None,
        is_outside: false,
    };
    let all = [
        backend("good", "a", true),
        backend("bad", "a", false),
        backend("else", "b", true),
        backend("ending", "a", false),
    ];
    let catalogue = Catalogue {
        backends: all.into_iter().map(|one| (one.uid.clone(), one)).collect(),
        ..Catalogue::default()
    };
    let found = services(&[service], &catalogue);
    let behind: Vec<_> = found[0].ports[0].endpoints.iter().map(|e| (e.pod.as_str(), e.ready)).collect();
    assert_eq!(behind, [("bad", false), ("ending", false), ("good", true)]);
    assert_eq!(found[0].ports[0].endpoints[0].address, "10.0.0.2:8080");
    assert_eq!(found[0].addresses, ["10.96.0.7"]);
}

#[test]
fn one_pod_is_one_pod() {
    let mut picture = example();
    picture.hosts[0].networks[0].subnets[0].used = 1;
    assert!(text(&picture).contains("1 pod, room for"), "{}", text(&picture));
}

#[test]
fn every_picture_tells_of_a_port_that_nobody_is_behind() {
    let mut picture = example();
    let port = &mut picture.services[0].ports[0];
    (port.endpoints, port.node_port) = (Vec::new(), Some(30080));
    for drawn in [text(&picture), svg(&picture), dot(&picture), mermaid(&picture)] {
        assert!(drawn.contains("80/tcp http") && drawn.contains("node port 30080"), "{drawn}");
        assert!(drawn.contains("nobody is behind it"), "{drawn}");
    }
}
