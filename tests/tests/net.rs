//! `podbox net`: what it shows is what the kernel has, and every command that it names shows the same.

use e2e::{Cmd, Host, pod};
use serde_json::Value;

const SERVER: &str = r"
  containers:
  - name: web
    image: podbox.local/toolbox
    command: [http, --port, '8080']
    ports:
    - {name: http, containerPort: 8080, hostPort: PORT}
    readinessProbe: {httpGet: {path: /readyz, port: http}, periodSeconds: 1}
";
const CLIENT: &str = "  containers: [{name: c, image: podbox.local/toolbox, command: [sleep, infinity]}]";
const SERVICE: &str = r"
apiVersion: v1
kind: Service
metadata: {name: front}
spec:
  selector: {app: server}
  ports: [{name: http, port: 80, targetPort: http}]
";

fn server(host: &Host) -> String {
    let manifest = pod("server", SERVER).replace("PORT", &host.port(0).to_string());
    manifest.replacen("  name: server", "  name: server\n  labels: {app: server}", 1)
}

fn graph(host: &Host) -> Value {
    host.podbox(["net", "graph", "-o", "json"]).ok().json()
}

fn pod_in<'a>(graph: &'a Value, name: &str) -> &'a Value {
    let pods = graph["hosts"][0]["pods"].as_array().expect("there are pods");
    pods.iter().find(|pod| pod["name"] == name).unwrap_or_else(|| panic!("no pod {name}: {graph:#}"))
}

/// What a program that the reader has says of it.
fn ip(words: &str) -> Value {
    Cmd::new("ip").args(words.split(' ')).run().ok().json()
}

#[test]
fn the_picture_has_the_numbers_and_addresses_that_ip_shows() {
    let host = Host::new();
    host.up_ready(&server(&host));
    host.up(&pod("client", CLIENT));
    host.up(SERVICE);
    let graph = graph(&host);
    let bridge = &graph["hosts"][0]["networks"][0]["bridge"];
    let shown = &ip(&format!("-j link show {}", host.bridge()))[0];
    assert_eq!((&bridge["index"], &bridge["mac"]), (&shown["ifindex"], &shown["address"]));
    for name in ["server", "client"] {
        let pod = pod_in(&graph, name);
        let cable = &pod["cables"][0];
        let netns = pod["netns"].as_str().expect("it has a namespace");
        let inside =
            Cmd::new("nsenter").args([&format!("--net={netns}"), "ip", "-j", "addr", "show", "eth0"]);
        let inside = &inside.run().ok().json()[0];
        assert_eq!(cable["inside"]["index"], inside["ifindex"]);
        assert_eq!(cable["inside"]["mac"], inside["address"]);
        assert_eq!(inside["link_index"], cable["outside"]["index"], "they are ends of one cable");
        let view = host.pod(name);
        for ip in [view.ip(), view.ip6()] {
            let addresses = cable["inside"]["addresses"].to_string();
            assert!(addresses.contains(&format!("\"{ip}/")), "{ip} in {addresses}");
        }
        let outside = cable["outside"]["name"].as_str().expect("the cable has another end");
        let outside = &ip(&format!("-j link show {outside}"))[0];
        assert_eq!(outside["master"], host.bridge().as_str());
        assert_eq!(cable["bridge"], host.bridge().as_str());
    }
    let endpoint = &graph["services"][0]["ports"][0]["endpoints"][0];
    assert_eq!(endpoint["address"], format!("{}:8080", host.pod("server").ip()));
    assert_eq!((&endpoint["pod"], &endpoint["ready"]), (&"server".into(), &true.into()));
    host.finish();
}

#[test]
fn every_kind_of_picture_tells_of_every_pod_and_is_well_formed() {
    let host = Host::new();
    host.up_ready(&server(&host));
    host.up(&pod("client", CLIENT));
    host.up(SERVICE);
    for format in ["text", "svg", "dot", "mermaid", "json"] {
        let drawn = host.podbox(["net", "graph", "-o", format]).ok().stdout;
        for word in ["server", "client", "front", &host.bridge(), &host.pod("client").ip(), "8080"] {
            assert!(drawn.contains(word), "{word} in {format}:\n{drawn}");
        }
        if format == "svg" {
            let parse = "import sys, xml.dom.minidom as m; m.parseString(sys.stdin.buffer.read())";
            Cmd::new("python3").args(["-c", parse]).input(drawn).run().ok();
        }
    }
    let ours = host.podbox(["net", "graph", "-n", "elsewhere"]).ok();
    assert_eq!(ours.stderr, "No resources found in elsewhere namespace.\n");
    let ours = ours.stdout;
    assert!(!ours.contains("server") && ours.contains(&host.bridge()), "{ours}");
    host.finish();
}

#[test]
fn a_host_without_pods_and_pods_without_a_network_can_be_drawn() {
    let host = Host::new();
    let empty = host.podbox(["net", "graph"]).ok().stdout;
    assert!(empty.contains("it comes with the first pod"), "{empty}");
    let over =
        "  restartPolicy: Never\n  containers: [{name: c, image: podbox.local/toolbox, command: ['true']}]";
    host.try_up(&pod("over", over), &["--wait", "complete"]).ok();
    let of_host = "  hostNetwork: true\n  containers: [{name: c, image: podbox.local/toolbox, command: [sleep, infinity]}]";
    host.up(&pod("of-host", of_host));
    let drawn = host.podbox(["net", "graph"]).ok().stdout;
    assert!(drawn.contains("default/over   Succeeded"), "{drawn}");
    assert!(drawn.contains("in the host's network\n   default/of-host   Running"), "{drawn}");
    host.podbox(["net", "show", "of-host"]).code(2).complains("its packets are the host's own");
    host.podbox(["net", "show", "over"]).code(2).complains("has no network now");
    host.podbox(["net", "show", "nobody"]).code(2).complains("not found");
    host.finish();
}

#[test]
fn a_pod_that_is_not_ready_is_drawn_behind_its_service_as_one_that_gets_nothing() {
    let host = Host::new();
    host.up_ready(&server(&host));
    host.up(SERVICE);
    let drawn = host.podbox(["net", "graph"]).ok().stdout;
    assert!(drawn.contains(":8080   server\n"), "{drawn}");
    let _ = host.exec("server", &["get", "http://127.0.0.1:8080/fail/readyz"]);
    host.wait_pod("server", "not ready", |pod| !pod.is("Ready"));
    let drawn = host.podbox(["net", "graph"]).ok().stdout;
    assert!(drawn.contains("─✗") && drawn.contains("not ready: gets no connection"), "{drawn}");
    host.finish();
}

#[test]
fn the_ways_of_a_pod_name_what_the_kernel_has_and_commands_that_work() {
    let host = Host::new();
    host.up_ready(&server(&host));
    host.up(&pod("client", CLIENT));
    let journeys = host.podbox(["net", "show", "server", "-o", "json"]).ok().json();
    let text = host.podbox(["net", "show", "server"]).ok().stdout;
    let ways = journeys["journeys"].as_array().expect("ways");
    let way = |start: &str| {
        let found =
            ways.iter().find(|way| way["title"].as_str().is_some_and(|title| title.starts_with(start)));
        found.unwrap_or_else(|| panic!("no way {start}: {journeys:#}"))
    };
    let all = |way: &Value| way["hops"].to_string();
    let (server, client) = (host.pod("server").ip(), host.pod("client").ip());
    assert!(all(way("to the host")).contains("the packet goes up into the host"), "{text}");
    assert!(
        all(way("to pod default/client")).contains(&format!("{client} leaves by eth0 (2), from {server}")),
        "{text}"
    );
    let inward = all(way("in by host port"));
    assert!(inward.contains(&format!("tcp . {} : {server} . 8080", host.port(0))), "{text}");
    assert!(inward.contains("dnat ip to meta l4proto . th dport map @any_ports4"), "{text}");
    for way in ways {
        for hop in way["hops"].as_array().expect("hops") {
            let command = hop["command"].as_str().expect("a command");
            // No route to the documentation's addresses is an answer too.
            if !command.contains("route get") {
                Cmd::new("sh").args(["-c", command]).run().ok();
            }
        }
    }
    host.finish();
}

#[test]
fn rules_are_told_in_the_words_of_nft() {
    let host = Host::new();
    host.up_ready(&server(&host));
    let table = format!("podbox-{}", host.bridge());
    let shown = host.podbox(["net", "show", "server", "-o", "json"]).ok().json();
    let listed = Cmd::new("nft").args(["-a", "list", "table", "inet", &table]).run().ok().stdout;
    let mut rules = 0;
    for hop in
        shown["journeys"].as_array().into_iter().flatten().flat_map(|way| way["hops"].as_array()).flatten()
    {
        for fact in hop["facts"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if let Some((rule, handle)) = fact.split_once(" # handle ") {
                let line = listed.lines().find(|line| line.ends_with(&format!(" # handle {handle}")));
                let line = line.unwrap_or_else(|| panic!("no rule {handle} in\n{listed}"));
                assert_eq!(line.trim().split(" # ").next(), Some(rule), "in\n{listed}");
                rules += 1;
            }
        }
    }
    assert!(rules >= 3, "{shown:#}");
    host.finish();
}

#[test]
fn the_list_of_networks_counts_leases() {
    let host = Host::new();
    let free = |table: &str, column: usize| {
        let row =
            table.lines().nth(1).and_then(|row| row.split_whitespace().nth(column)?.parse::<u32>().ok());
        row.unwrap_or_else(|| panic!("{table}"))
    };
    let before = host.podbox(["net", "ls"]).ok().stdout;
    host.up(&pod("client", CLIENT));
    let after = host.podbox(["net", "ls"]).ok().stdout;
    assert_eq!((free(&before, 5), free(&before, 6)), (0, 253), "{before}");
    assert_eq!((free(&after, 5), free(&after, 6)), (1, 252), "{after}");
    let listed = host.podbox(["net", "ls", "-o", "json"]).ok().json();
    assert_eq!(listed[0]["bridge"]["name"], host.bridge().as_str());
    host.finish();
}

/// What `net show` tells of one way of a pod: the facts and commands of all its hops.
fn way(host: &Host, pod: &str, start: &str) -> String {
    let shown = host.podbox(["net", "show", pod, "-o", "json"]).ok().json();
    let ways = shown["journeys"].as_array().expect("ways");
    let found = ways.iter().find(|way| way["title"].as_str().is_some_and(|title| title.starts_with(start)));
    found.unwrap_or_else(|| panic!("no way {start}: {shown:#}"))["hops"].to_string()
}

#[test]
fn the_way_to_a_service_goes_on_to_the_pod_behind_it_and_says_if_there_is_none() {
    let host = Host::new();
    host.up(&pod("client", CLIENT));
    host.up(&SERVICE.replace("spec:\n", "spec:\n  type: NodePort\n"));
    let nobody = way(&host, "client", "to Service default/front");
    assert!(
        nobody.contains("refused: no pod fits the selector of service default/front")
            && !nobody.contains("pod: route"),
        "{nobody}"
    );
    host.up_ready(&server(&host));
    let server = host.pod("server").ip();
    let leads = format!("port 80, for one, becomes {server}:8080");
    e2e::wait_until("the Service to lead there", e2e::PATIENCE, || {
        way(&host, "client", "to Service default/front").contains(&leads)
    });
    let there = way(&host, "client", "to Service default/front");
    assert!(there.contains(&format!("{server} leaves by eth0 (2)")), "{there}");
    let object = host.podbox(["get", "svc", "front", "-o", "json"]).ok().json();
    let port = object["spec"]["ports"][0]["nodePort"].as_u64().unwrap();
    let inward =
        way(&host, "server", &format!("in by node port {port} of Service default/front, to {server}:8080"));
    assert!(inward.contains(&format!("tcp . {port} : ")), "{inward}");
    assert!(inward.contains(&format!("which is a port of {}", host.bridge())), "{inward}");
    let _ = host.exec("server", &["get", "http://127.0.0.1:8080/fail/readyz"]);
    host.wait_pod("server", "not ready", |pod| !pod.is("Ready"));
    e2e::wait_until("the Service to lead nowhere", e2e::PATIENCE, || {
        way(&host, "client", "to Service default/front")
            .contains("refused: none of the 1 pods of service default/front is ready")
    });
    host.finish();
}

#[test]
fn marks_are_told_as_nft_tells_them() {
    let host = Host::new();
    host.up_ready(&server(&host));
    host.up(&pod("client", CLIENT));
    let alias = std::fs::read_to_string(host.pod_dir("client").join("netns-alias")).unwrap();
    let netns = alias.trim().rsplit('/').next().unwrap();
    let nft = |words: &str| Cmd::new("ip").args(["netns", "exec", netns, "nft", words]).run().ok().stdout;
    nft("add table inet marks");
    nft("add chain inet marks gate { type filter hook output priority 0; }");
    nft("add rule inet marks gate tcp dport 8080 meta mark set 0x1f");
    nft("add rule inet marks gate meta mark 0x1f ct mark set 0x2 accept");
    let report = host.podbox(["net", "path", "client", "server", "-o", "json"]).ok().json();
    let rules: Vec<_> =
        report["decisions"].as_array().unwrap().iter().filter(|one| one["chain"] == "gate").collect();
    let listed = nft("list table inet marks");
    let rule = rules
        .iter()
        .find_map(|one| one["rule"].as_str().filter(|_| one["verdict"] == "accept"))
        .unwrap_or_else(|| panic!("{report:#}"));
    assert_eq!(rule, "meta mark 0x0000001f ct mark set 0x00000002 accept", "{listed}");
    assert!(listed.contains(rule), "{listed}");
    host.finish();
}
