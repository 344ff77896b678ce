//! `podbox net path`: a packet is followed, and what became of it is told.

use e2e::{Cmd, Host, PATIENCE, client_and_server, pod, wait_good, wait_until};
use nix::sys::signal::Signal;
use serde_json::Value;

const SERVER: &str = r"
  containers:
  - {name: web, image: podbox.local/toolbox, command: [tcp-echo, --port, '9000'], ports: [{containerPort: 9000, name: talk}]}
  - {name: names, image: podbox.local/toolbox, command: [udp-echo, --port, '9001']}
";

/// The pod's network namespace by its name for `ip netns`.
fn netns(host: &Host, name: &str) -> String {
    let alias = std::fs::read_to_string(host.pod_dir(name).join("netns-alias")).unwrap();
    alias.trim().rsplit('/').next().unwrap().to_owned()
}

fn nft(netns: Option<&str>, words: &str) -> e2e::Output {
    match netns {
        Some(netns) => Cmd::new("ip").args(["netns", "exec", netns, "nft", words]).run(),
        None => Cmd::new("nft").args([words]).run(),
    }
}

/// Where it was seen on its way there: place, interface, direction.
fn stations(report: &Value) -> Vec<(String, String, String)> {
    let hops = report["hops"].as_array().unwrap();
    let text = |hop: &Value, key: &str| hop[key].as_str().unwrap_or_default().to_owned();
    let there = hops.iter().filter(|hop| hop["leg"] == "forth");
    there.map(|hop| (text(hop, "place"), text(hop, "interface"), text(hop, "way"))).collect()
}

/// Who traces hears what all traced packets of a namespace meet, so one test traces at a time.
fn alone() -> std::sync::MutexGuard<'static, ()> {
    static TRACING: std::sync::Mutex<()> = std::sync::Mutex::new(());
    TRACING.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[test]
fn a_connection_between_pods_is_seen_on_every_cable_end() {
    let _alone = alone();
    let host = Host::new();
    let (server, client) = client_and_server(&host, SERVER);
    for (args, source) in [(&["talk"][..], &client), (&["9000", "-6"][..], &host.pod("client").ip6())] {
        let to = format!("server:{}", args[0]);
        let mut words = vec!["net", "path", "client", to.as_str(), "-o", "json"];
        words.extend(&args[1..]);
        let report = host.podbox(words).ok().json();
        let seen = stations(&report);
        assert_eq!(seen.len(), 4, "{report:#}");
        assert_eq!(seen[0], ("pod default/client".into(), "eth0".into(), "out".into()), "{report:#}");
        assert_eq!((&*seen[1].0, &*seen[1].2), ("host", "in"), "{report:#}");
        assert_eq!((&*seen[2].0, &*seen[2].2), ("host", "out"), "{report:#}");
        assert_eq!(seen[3], ("pod default/server".into(), "eth0".into(), "in".into()), "{report:#}");
        // Nobody has changed its address.
        let last = &report["hops"][3];
        assert!(last["source"].as_str().unwrap().contains(source.as_str()), "{report:#}");
        assert_eq!(report["arrived"], true);
    }
    let shown = host.podbox(["net", "path", "client", "server"]).ok();
    shown
        .says("arrived: pod default/server accepted the connection after")
        .says("tcp [S]")
        .says("back: tcp [S.]");
    host.podbox(["net", "path", "client", &format!("{server}:9001"), "--udp"]).ok().says("answered after");
    host.podbox(["net", "path", "host", "server:9000"]).ok().says("accepted the connection");
    host.finish();
}

#[test]
fn a_port_of_the_host_is_followed_to_its_pod() {
    let _alone = alone();
    let host = Host::new();
    client_and_server(&host, SERVER);
    let port = host.port(1).to_string();
    let behind = SERVER.replace("name: talk", &format!("name: talk, hostPort: {port}"));
    host.up(&pod("behind", &behind));
    let at = format!("host:{port}");
    wait_good("the port", || host.podbox(["net", "path", "client", &at]));
    let report = host.podbox(["net", "path", "client", &at, "-o", "json"]).ok().json();
    let seen = stations(&report);
    assert_eq!(seen[seen.len() - 1].0, "pod default/behind", "{report:#}");
    let shown = host.podbox(["net", "path", "client", &at]).ok();
    shown.says(" translated").says("map @any_ports4").says("arrived: pod default/behind accepted");
    host.finish();
}

#[test]
fn a_port_that_nobody_listens_on_is_told_with_those_that_are() {
    let _alone = alone();
    let host = Host::new();
    client_and_server(&host, SERVER);
    let closed = host.podbox(["net", "path", "client", "server:81"]).code(1);
    closed
        .says("lost: pod default/server refused the connection: nothing listens on port 81/tcp")
        .says("9000");
    let closed = host.podbox(["net", "path", "client", "server:82", "--udp"]).code(1);
    closed.says("port unreachable").says("nothing listens on port 82/udp").says("9001");
    host.podbox(["net", "path", "client", "server:nothing"]).code(2).complains("no tcp port \"nothing\"");
    host.podbox(["net", "path", "client", "nobody:80"]).code(2).complains("not found");
    host.finish();
}

#[test]
fn a_strangers_rule_that_drops_it_is_quoted() {
    let _alone = alone();
    let host = Host::new();
    client_and_server(&host, SERVER);
    let inside = netns(&host, "server");
    nft(Some(&inside), "add table inet stranger").ok();
    nft(Some(&inside), "add chain inet stranger gate { type filter hook input priority 0; }").ok();
    nft(Some(&inside), "add rule inet stranger gate tcp dport 9000 drop").ok();
    let lost = host.podbox(["net", "path", "client", "server", "--timeout", "1s"]).code(1);
    lost.says("lost: dropped by rule `meta l4proto tcp th dport 9000 drop`")
        .says("of chain gate of table inet stranger in pod default/server");
    nft(Some(&inside), "flush chain inet stranger gate").ok();
    nft(Some(&inside), "add chain inet stranger gate { policy drop; }").ok();
    let lost = host.podbox(["net", "path", "client", "server", "--timeout", "300ms"]).code(1);
    lost.says("dropped by the policy of chain gate of table inet stranger in pod default/server");
    host.finish();
}

/// A table of the host that ends with the test, however it ends.
struct Foreign(String);

impl Drop for Foreign {
    fn drop(&mut self) {
        nft(None, &format!("delete table inet {}", self.0));
    }
}

#[test]
fn a_rule_of_the_host_that_drops_it_is_quoted_and_no_table_is_left_after_a_kill() {
    let _alone = alone();
    let host = Host::new();
    client_and_server(&host, SERVER);
    let foreign = Foreign(format!("stranger{}", host.number()));
    let (table, bridge, port) = (&foreign.0, host.bridge(), host.port(3));
    nft(None, &format!("add table inet {table}")).ok();
    nft(None, &format!("add chain inet {table} gate {{ type filter hook input priority 0; }}")).ok();
    nft(None, &format!("add rule inet {table} gate iifname {bridge} tcp dport {port} drop")).ok();
    let at = format!("host:{port}");
    let lost = host.podbox(["net", "path", "client", &at, "--timeout", "300ms"]).code(1);
    lost.says(&format!("th dport {port} drop`"))
        .says(&format!("of chain gate of table inet {table} in host"));
    let mut running = host.cmd(["net", "path", "client", &at, "--timeout", "60s"]).spawn();
    let own = format!("podbox-path-{}", running.pid());
    let inside = netns(&host, "client");
    let there = || [None, Some(&*inside)].map(|place| nft(place, "list tables").ok().stdout.contains(&own));
    wait_until("both tables are there", PATIENCE, || there() == [true, true]);
    running.signal(Signal::SIGKILL);
    running.end(PATIENCE);
    wait_until("both tables are gone", PATIENCE, || there() == [false, false]);
    drop(foreign);
    host.finish();
}

#[test]
fn a_packet_to_the_outside_is_seen_with_its_new_source() {
    let _alone = alone();
    let host = Host::new();
    let outside = host.outside();
    client_and_server(&host, SERVER);
    let listener = outside.toolbox(&["tcp-echo", "--port", "9000"]).spawn();
    let at = format!("{}:9000", outside.own());
    wait_good("the server outside", || host.podbox(["exec", "client", "--", "connect", &at, "hi"]));
    let report = host.podbox(["net", "path", "client", &at, "-o", "json"]).ok().json();
    let hops = report["hops"].as_array().unwrap();
    let uplink = format!("pbo{}h", host.number());
    let left = hops.iter().find(|hop| hop["interface"] == *uplink && hop["leg"] == "forth");
    let left = left.unwrap_or_else(|| panic!("it was not seen on {uplink}: {report:#}"));
    assert!(left["source"].as_str().unwrap().starts_with(&outside.host()), "{report:#}");
    let masqueraded = report["decisions"].as_array().unwrap().iter().any(|one| {
        one["chain"] == "leaving" && one["rule"].as_str().is_some_and(|rule| rule.contains("masquerade"))
    });
    assert!(masqueraded, "the rule that changed it: {report:#}");
    host.podbox(["net", "path", "client", &at]).ok().says("source translated");
    drop(listener);
    // Nobody has that address there.
    let nobody = at.replace(".2:9000", ".77:9000");
    let lost = host.podbox(["net", "path", "client", &nobody, "--timeout", "300ms"]).code(1);
    lost.says("lost: nobody answered for 198.18.").says(&format!("on {uplink} of host"));
    host.finish();
}

#[test]
fn a_service_is_followed_to_the_pod_that_is_ready_and_its_translation_is_told() {
    let _alone = alone();
    let host = Host::new();
    client_and_server(&host, SERVER);
    let behind = pod("behind", SERVER).replace("name: behind", "name: behind\n  labels: {app: talk}");
    let unready = SERVER.replacen(
        "name: talk}]}",
        "name: talk}], readinessProbe: {exec: {command: [\"false\"]}, periodSeconds: 1}}",
        1,
    );
    let unready = pod("unready", &unready).replace("name: unready", "name: unready\n  labels: {app: talk}");
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: talk}\nspec:\n  selector: {app: talk}\n  ports: [{name: talk, port: 80, targetPort: talk}]\n";
    host.up(service);
    let lost = host.podbox(["net", "path", "client", "svc/talk", "--timeout", "300ms"]).code(1);
    lost.says("no pod fits the selector of service default/talk");
    host.up(&unready);
    wait_until("the pod that is not ready to be known", PATIENCE, || {
        let lost = host.podbox(["net", "path", "client", "svc/talk", "--timeout", "300ms"]);
        lost.to_string().contains("none of the 1 pods of service default/talk is ready")
    });
    host.up_ready(&behind);
    wait_good("the Service", || host.podbox(["net", "path", "client", "svc/talk:talk"]));
    let report = host.podbox(["net", "path", "client", "svc/talk", "-o", "json"]).ok().json();
    let seen = stations(&report);
    assert_eq!(seen[seen.len() - 1].0, "pod default/behind", "{report:#}");
    assert_eq!(report["arrived"], true, "{report:#}");
    // It is translated before it leaves: on the wire it is from the pod to the pod.
    let first = &report["hops"][0];
    assert!(first["destination"].as_str().unwrap().ends_with(":9000"), "{report:#}");
    host.podbox(["net", "path", "client", "talk.default.svc:80"]).ok().says("arrived: pod default/behind");
    // Who describes and draws it says the same.
    let end = format!("{}:9000", host.pod("behind").ip());
    let described = host.podbox(["describe", "svc", "talk"]).ok();
    let line = described.stdout.lines().find(|line| line.starts_with("Endpoints:")).unwrap();
    assert_eq!(line.split_whitespace().nth(1), Some(end.as_str()), "{described}");
    let drawn = host.podbox(["net", "graph", "-o", "json"]).ok().json();
    let ends = drawn["services"][0]["ports"][0]["endpoints"].as_array().unwrap();
    let ends: Vec<_> = ends.iter().map(|end| (end["pod"].as_str().unwrap(), end["ready"] == true)).collect();
    assert_eq!(ends, [("behind", true), ("unready", false)], "{drawn:#}");
    host.finish();
}

const FRONT: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: front}\nspec:\n  type: NodePort\n  ipFamilies: [IPv4]\n  selector: {app: talk}\n  ports: [{name: talk, port: 80, targetPort: talk}]\n";

#[test]
fn a_node_port_is_followed_to_its_pod_from_wherever_it_is_asked() {
    let _alone = alone();
    let host = Host::new();
    client_and_server(&host, SERVER);
    host.up(FRONT);
    let object = host.podbox(["get", "svc", "front", "-o", "json"]).ok().json();
    let port = object["spec"]["ports"][0]["nodePort"].as_u64().unwrap();
    let cluster = object["spec"]["clusterIP"].as_str().unwrap();
    let at = format!("host:{port}");
    let lost = host.podbox(["net", "path", "client", &at, "--timeout", "300ms"]).code(1);
    lost.says(&format!("{port}/tcp is the node port of service default/front; no pod fits the selector"));
    host.up_ready(&pod("behind", SERVER).replace("name: behind", "name: behind\n  labels: {app: talk}"));
    wait_good("the node port", || host.podbox(["net", "path", "client", &at]));
    let loopback = format!("127.0.0.1:{port}");
    for (from, to) in [("client", &at), ("host", &at), ("host", &loopback)] {
        let report = host.podbox(["net", "path", from, to, "-o", "json"]).ok().json();
        let seen = stations(&report);
        let last = seen.last().unwrap_or_else(|| panic!("{from} to {to}: {report:#}"));
        assert_eq!((&*last.0, &*last.2), ("pod default/behind", "in"), "{from} to {to}: {report:#}");
        assert!(report["reason"].as_str().unwrap().starts_with("pod default/behind"), "{report:#}");
        assert!(!report["source"].as_str().unwrap().starts_with("0.0.0.0"), "{report:#}");
    }
    let address = format!("{cluster}:80");
    let report = host.podbox(["net", "path", "client", &address, "-o", "json"]).ok().json();
    assert_eq!(report["to"], "service default/front", "{report:#}");
    assert_eq!(stations(&report).last().unwrap().0, "pod default/behind", "{report:#}");
    let closed = host.podbox(["net", "path", "client", &format!("{cluster}:81"), "--timeout", "300ms"]);
    closed.code(1).says("service default/front has no tcp port 81: its ports are 80/tcp (talk)");
    host.finish();
}

#[test]
fn what_cannot_be_followed_is_said_before_anything_is_sent() {
    let host = Host::new();
    host.up(&pod(
        "client",
        "  containers: [{name: c, image: podbox.local/toolbox, command: [sleep, infinity]}]",
    ));
    host.up(FRONT);
    host.up("apiVersion: v1\nkind: Service\nmetadata: {name: away}\nspec: {type: ExternalName, externalName: example.org}\n");
    host.up("apiVersion: v1\nkind: Service\nmetadata: {name: bare}\nspec: {clusterIP: None, selector: {app: talk}, ports: [{port: 80}]}\n");
    for (to, flag, why) in [
        ("svc/front", "-6", "service default/front has no IPv6 address: IPv4 only"),
        ("svc/front:81", "--timeout=1s", "has no tcp port 81: its ports are 80/tcp (talk)"),
        ("svc/front:http", "--timeout=1s", "has no tcp port http: its ports are 80/tcp (talk)"),
        ("svc/front:80", "--udp", "has no udp port 80: its ports are 80/tcp (talk)"),
        (
            "svc/away:80",
            "--timeout=1s",
            "is of type ExternalName: it has no address, its name stands for example.org",
        ),
        ("svc/bare:80", "--timeout=1s", "has no address of its own: it is headless"),
        ("svc/nobody:80", "--timeout=1s", "service default/nobody not found"),
        ("192.0.2.1:80", "-6", "192.0.2.1 has no IPv6 address"),
    ] {
        host.podbox(["net", "path", "client", to, flag]).code(2).complains(why);
    }
    host.up("apiVersion: v1\nkind: Service\nmetadata: {name: alone}\nspec: {ports: [{port: 80}]}\n");
    let lost = host.podbox(["net", "path", "client", "svc/alone", "--timeout", "300ms"]).code(1);
    lost.says("service default/alone has no selector, so that no pod is behind it");
    host.finish();
}
