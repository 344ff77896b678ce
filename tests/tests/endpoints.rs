//! Services that lead elsewhere than to pods: EndpointSlices and Endpoints of manifests. And what becomes of flows when a Service
//! leads elsewhere than before.

use std::time::Duration;

use e2e::{Host, PATIENCE, pod, wait_good, wait_until};

const CLIENT: &str = "  containers: [{name: c, image: podbox.local/toolbox, command: [sleep, infinity]}]";

/// A Service without a selector, with these lines in its `spec`.
fn service(lines: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: db}}\nspec:\n  ports: [{{name: sql, port: 80}}]\n{lines}---\n"
    )
}

/// Where it leads: addresses with what is said of each.
fn slice(port: u16, endpoints: &[(&str, &str)]) -> String {
    let endpoints: Vec<String> =
        endpoints.iter().map(|(ip, more)| format!("{{addresses: ['{ip}']{more}}}")).collect();
    format!(
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: db-1\n  labels: {{kubernetes.io/service-name: db}}\naddressType: IPv4\nports: [{{name: sql, port: {port}}}]\nendpoints: [{}]\n",
        endpoints.join(", ")
    )
}

#[test]
fn a_service_without_a_selector_leads_where_its_slices_say_and_follows_them() {
    let host = Host::new();
    let outside = host.outside();
    let (own, port) = (outside.own(), host.port(1));
    let server = outside.toolbox(&["tcp-echo", "--port", &port.to_string()]).spawn();
    wait_good("the server", || host.podbox(["toolbox", "connect", &format!("{own}:{port}"), "hi"]));
    // One that is not ready gets nothing.
    let manifest = service("") + &slice(port, &[(&own, ""), ("192.0.2.1", ", conditions: {ready: false}")]);
    host.cmd(["plan", "-"])
        .input(manifest.clone())
        .run()
        .ok()
        .says(&format!("# behind it: {own} of endpointslice/db-1"))
        .says("# behind it, but not ready: 192.0.2.1 of endpointslice/db-1")
        .says(&format!(" . tcp . 80 . 0 : {own} . {port}"));
    host.up(&manifest).says("endpointslice/db-1 created").says("service/db created");
    host.up(&pod("client", CLIENT));
    let ip = host.podbox(["get", "svc", "db", "-o", "jsonpath={.spec.clusterIP}"]).ok();
    let at = format!("{}:80", ip.text().trim());
    for _ in 0..5 {
        wait_good("the server, from a pod", || host.podbox(["exec", "client", "--", "connect", &at, "hi"]));
    }
    wait_good("the server, from the host", || host.podbox(["toolbox", "connect", &at, "hi"]));
    host.podbox(["exec", "client", "--", "connect", "db:80", "hi"]).ok();
    host.podbox(["get", "endpointslices"]).ok().says("db-1").says(&own);
    host.podbox(["describe", "svc", "db"]).ok().says(&format!("{own}:{port}"));
    host.up(&manifest).says("endpointslice/db-1 unchanged");
    let refused =
        || host.podbox(["exec", "client", "--", "connect", &at, "hi"]).to_string().contains("refused");
    host.up(&slice(port, &[(&own, ", conditions: {ready: false}")])).says("endpointslice/db-1 configured");
    wait_until("a refusal", PATIENCE, refused);
    host.up(&slice(port, &[(&own, "")]));
    wait_good("the server again", || host.podbox(["exec", "client", "--", "connect", &at, "hi"]));
    host.podbox(["down", "endpointslice/db-1"]).ok();
    wait_until("a refusal without it", PATIENCE, refused);
    let endpoints = format!(
        "apiVersion: v1\nkind: Endpoints\nmetadata: {{name: db}}\nsubsets: [{{addresses: [{{ip: {own}}}], ports: [{{name: sql, port: {port}}}]}}]\n"
    );
    host.up(&endpoints).says("endpoints/db created");
    wait_good("the server by Endpoints", || host.podbox(["exec", "client", "--", "connect", &at, "hi"]));
    host.podbox(["get", "ep", "db"]).ok().says(&format!("{own}:{port}"));
    drop(server);
    host.finish();
}

#[test]
fn the_name_of_a_headless_service_stands_for_the_addresses_of_its_slices() {
    let host = Host::new();
    host.up(&(service("  clusterIP: None\n")
        + &slice(5432, &[("192.0.2.1", ", hostname: first"), ("192.0.2.2", "")])));
    host.up(&pod("client", CLIENT));
    let resolved = |name: &str| -> Vec<String> {
        let said = host.podbox(["exec", "client", "--", "resolve", name]);
        let mut found: Vec<String> = said.text().lines().map(str::to_owned).collect();
        found.sort();
        found
    };
    wait_until("both addresses", PATIENCE, || resolved("db") == ["192.0.2.1", "192.0.2.2"]);
    assert_eq!(resolved("first.db"), ["192.0.2.1"]);
    host.finish();
}

#[test]
fn what_is_wrong_with_endpoints_is_told_at_its_place() {
    let host = Host::new();
    let manifest = host.dir().join("slice.yaml");
    let text = slice(0, &[("127.0.0.1", ""), ("fd00::1", ""), ("192.0.2.1", ", hostname: A")]);
    std::fs::write(&manifest, text).unwrap();
    let file = manifest.to_str().unwrap();
    host.podbox(["validate", file])
        .code(2)
        .complains("ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive")
        .complains(
            "endpoints[0].addresses[0]: Invalid value: \"127.0.0.1\": may not be in the loopback range",
        )
        .complains("endpoints[1].addresses[0]: Invalid value: \"fd00::1\": must be a valid IPv4 address")
        .complains("endpoints[2].hostname: Invalid value: \"A\": a lowercase RFC 1123 label")
        .complains(&format!("--> {file}:"));
    std::fs::write(&manifest, slice(1, &[("192.0.2.1", "")]).replace("discovery.k8s.io/v1", "v1")).unwrap();
    host.podbox(["validate", file]).code(2).complains("write apiVersion: discovery.k8s.io/v1");
    std::fs::write(
        &manifest,
        "apiVersion: v1\nkind: Endpoints\nmetadata: {name: db}\nsubsets: [{ports: [{port: 1}]}]\n",
    )
    .unwrap();
    host.podbox(["validate", file]).code(2).complains("subsets[0]: Required value: must specify `addresses`");
    let unlabelled =
        slice(1, &[("192.0.2.1", "")]).replace("  labels: {kubernetes.io/service-name: db}\n", "");
    std::fs::write(&manifest, unlabelled).unwrap();
    host.podbox(["validate", file]).ok().complains("without the label kubernetes.io/service-name");
    host.finish();
}

/// Sends by UDP from one port to another every 20 ms, and says each answer that it gets.
const SENDS: &str = r#"
import socket, sys, time
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
s = socket.socket(family, socket.SOCK_DGRAM)
s.bind(("", int(sys.argv[3])))
s.settimeout(0.02)
while True:
    try:
        s.sendto(b"hi", (sys.argv[1], int(sys.argv[2])))
        s.recvfrom(999)
        print("answered", flush=True)
    except OSError:
        pass
    time.sleep(0.02)
"#;

#[test]
fn a_flow_of_udp_follows_its_service() {
    let host = Host::builder().own_net().build();
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: udp}\nspec:\n  type: NodePort\n  \
                   ipFamilyPolicy: RequireDualStack\n  selector: {app: udp}\n  ports: [{port: 99, protocol: UDP, targetPort: 9001}]\n";
    host.up(service);
    // What keeps the network while nobody is behind the Service.
    host.up(&pod(
        "other",
        "  containers:\n  - {name: c, image: podbox.local/toolbox, command: [sleep, infinity]}",
    ));
    let of = |path: &str| {
        let path = format!("jsonpath={{.spec.{path}}}");
        host.podbox(["get", "svc", "udp", "-o", &path]).ok().text().to_owned()
    };
    let node_port = of("ports[0].nodePort");
    let ways = [
        (of("clusterIPs[0]"), "99".to_owned()),
        (of("clusterIPs[1]"), "99".to_owned()),
        ("127.0.0.1".to_owned(), node_port.clone()),
        (host.gateway(), node_port),
    ];
    let clients: Vec<_> = (24_000..)
        .zip(&ways)
        .map(|(port, (to, at))| host.beside("python3").args(["-c", SENDS, to, at, &port.to_string()]).spawn())
        .collect();
    let echo = "  terminationGracePeriodSeconds: 0\n  containers:\n  - {name: c, image: podbox.local/toolbox, command: [udp-echo, --port, '9001']}";
    host.up(&pod("echo", echo).replace("name: echo", "name: echo\n  labels: {app: udp}"));
    let counts =
        || clients.iter().map(|client| client.said().matches("answered").count()).collect::<Vec<_>>();
    let goes_on = |when: &str| {
        let before = counts();
        wait_until(when, PATIENCE, || counts().iter().zip(&before).all(|(now, before)| now > before));
    };
    goes_on("those who had sent to nobody to be answered");
    host.up(&service.replace("selector: {app: udp}", "selector: {app: nobody}"));
    let is_silent = || {
        let before = counts();
        std::thread::sleep(Duration::from_millis(400));
        counts() == before
    };
    wait_until("nobody to be answered by a pod that is not selected", PATIENCE, is_silent);
    host.up(service);
    goes_on("all to be answered again");
    host.down(&["svc/udp"]);
    wait_until("nobody to be answered by a Service that is gone", PATIENCE, is_silent);
    drop(clients);
    host.down(&["--all", "--grace-period", "0"]);
    host.finish();
}
