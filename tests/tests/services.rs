//! Services: one address for several pods, of which only those that are ready get traffic.

use std::collections::BTreeMap;
use std::net::TcpStream;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use e2e::{Cmd, Host, Output, PATIENCE, pod, wait_good, wait_until};

const IDLE: &str = "  containers: [{name: c, image: podbox.local/toolbox, command: [sleep, infinity]}]";

/// A Service called web for the pods that [`server`] makes, with these lines in its `spec`.
fn service(lines: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: web}}\nspec:\n  selector: {{app: web}}\n  ports: [{{name: http, port: 80, targetPort: http}}]\n{lines}"
    )
}

/// A pod that answers with its name, and is ready while `/ready` is there.
fn server(name: &str) -> String {
    pod(
        name,
        r"
  terminationGracePeriodSeconds: 5
  containers:
  - name: c
    image: podbox.local/toolbox
    command: [sh, -c, 'touch /ready; exec http --port 8080']
    ports: [{name: http, containerPort: 8080}]
    readinessProbe: {exec: {command: [test, -e, /ready]}, periodSeconds: 1, failureThreshold: 1}
",
    )
    .replace(&format!("name: {name}"), &format!("name: {name}\n  labels: {{app: web}}"))
}

fn client(host: &Host) {
    host.up(&pod("client", IDLE));
}

fn address(host: &Host, path: &str) -> String {
    host.podbox(["get", "svc", "web", "-o", &format!("jsonpath={{{path}}}")]).ok().text().trim().to_owned()
}

/// Asks from the client pod.
fn ask(host: &Host, url: &str) -> Output {
    host.podbox(["exec", "client", "--", "get", url])
}

fn endpoints(host: &Host) -> usize {
    let listed = host.podbox(["get", "endpoints", "web", "-o", "json"]).ok().json();
    listed["subsets"][0]["addresses"].as_array().map_or(0, Vec::len)
}

/// Who has answered so many questions, and how often.
fn answers(host: &Host, url: &str, count: usize) -> BTreeMap<String, u32> {
    let script = format!("for i in $(seq {count}); do get {url}; done");
    let mut seen = BTreeMap::new();
    for line in host.exec("client", &["sh", "-c", &script]).lines() {
        *seen.entry(line.trim_start_matches("You've hit ").to_owned()).or_default() += 1;
    }
    seen
}

#[test]
fn a_service_leads_to_its_ready_pods_on_both_families_and_the_server_sees_the_client() {
    let host = Host::new();
    host.up(&service("  ipFamilyPolicy: RequireDualStack\n")).says("service/web created");
    host.up_ready(&server("one"));
    client(&host);
    wait_until("an endpoint", PATIENCE, || endpoints(&host) == 1);
    for path in [".spec.clusterIPs[0]", ".spec.clusterIPs[1]"] {
        let ip = address(&host, path);
        let at = if ip.contains(':') { format!("http://[{ip}]/") } else { format!("http://{ip}/") };
        let said = wait_good("the Service", || ask(&host, &at));
        assert!(said.text().contains("one"), "{}", said.text());
        wait_good("the Service, from the host", || host.podbox(["toolbox", "get", &at]));
        // From a pod behind it: it may lead to the pod itself.
        host.podbox(["exec", "one", "--", "get", &at]).ok();
    }
    host.up(&pod(
        "echo",
        "  containers: [{name: c, image: podbox.local/toolbox, command: [tcp-echo, --port, '9000']}]",
    )
    .replace("name: echo", "name: echo\n  labels: {app: echo}"));
    host.up("apiVersion: v1\nkind: Service\nmetadata: {name: echo}\nspec:\n  selector: {app: echo}\n  ports: [{port: 9000}]\n");
    let at = host.podbox(["get", "svc", "echo", "-o", "jsonpath={.spec.clusterIP}:9000"]).ok();
    let said = wait_good("the other Service", || {
        host.podbox(["exec", "client", "--", "connect", at.text().trim(), "peer"])
    });
    assert!(said.text().contains(&host.pod("client").ip()), "{}", said.text());
    host.finish();
}

#[test]
fn connections_are_spread_evenly_over_the_ready_pods() {
    let host = Host::new();
    host.up(&service(""));
    for name in ["one", "two", "three"] {
        host.up_ready(&server(name));
    }
    client(&host);
    wait_until("three endpoints", PATIENCE, || endpoints(&host) == 3);
    let url = format!("http://{}/", address(&host, ".spec.clusterIP"));
    wait_until("all three to be led to", PATIENCE, || answers(&host, &url, 20).len() == 3);
    let seen = answers(&host, &url, 300);
    // Chi-squared with two degrees of freedom: a fair die is above this once in a hundred thousand runs.
    let squared = |count: u32| f64::from(count.abs_diff(100)).powi(2) / 100.0;
    let sum: f64 = seen.values().map(|count| squared(*count)).sum();
    assert!(seen.len() == 3 && sum < 23.0, "{seen:?}: {sum}");
    host.finish();
}

#[test]
fn a_pod_that_is_not_ready_gets_no_new_connection_and_gets_them_again() {
    let host = Host::new();
    host.up(&service(""));
    host.up_ready(&server("one"));
    host.up_ready(&server("two"));
    client(&host);
    wait_until("both endpoints", PATIENCE, || endpoints(&host) == 2);
    let url = format!("http://{}/", address(&host, ".spec.clusterIP"));
    wait_until("both to be led to", PATIENCE, || answers(&host, &url, 20).len() == 2);
    let _ = host.exec("two", &["rm", "/ready"]);
    host.wait_pod("two", "not ready", |pod| !pod.is("Ready"));
    wait_until("one endpoint", Duration::from_secs(2), || answers(&host, &url, 10).len() == 1);
    assert_eq!(answers(&host, &url, 60).keys().collect::<Vec<_>>(), ["one"]);
    let slices = host.podbox(["get", "endpointslices", "-o", "json"]).ok().json();
    assert_eq!(slices["items"][0]["endpoints"][1]["conditions"]["ready"], false);
    let _ = host.exec("two", &["touch", "/ready"]);
    host.wait_pod("two", "ready again", |pod| pod.is("Ready"));
    wait_until("two endpoints", PATIENCE, || answers(&host, &url, 20).len() == 2);
    host.finish();
}

#[test]
fn without_a_ready_pod_connections_are_refused_at_once_and_so_is_what_nobody_has() {
    let host = Host::new();
    host.up(&service(""));
    client(&host);
    let ip = address(&host, ".spec.clusterIP");
    let unused = format!("{}.200", ip.rsplit_once('.').expect("an IPv4 address").0);
    let refused = |output: &Output| output.to_string().contains("refused");
    for at in [format!("http://{ip}/"), format!("http://{ip}:81/"), format!("http://{unused}/")] {
        let begun = Instant::now();
        wait_until("a refusal", PATIENCE, || refused(&ask(&host, &at)));
        wait_until("a refusal on the host", PATIENCE, || refused(&host.podbox(["toolbox", "get", &at])));
        assert!(begun.elapsed() < Duration::from_secs(10), "nothing may hang");
    }
    host.finish();
}

#[test]
fn a_port_of_the_host_leads_there_from_outside_host_loopback_and_pods() {
    let host = Host::new();
    let outside = host.outside();
    host.up(&service("  type: NodePort\n  ipFamilyPolicy: PreferDualStack\n"));
    host.up_ready(&server("one"));
    client(&host);
    wait_until("an endpoint", PATIENCE, || endpoints(&host) == 1);
    let port = address(&host, ".spec.ports[0].nodePort");
    for at in [outside.host(), format!("[{}]", outside.host6())] {
        let url = format!("http://{at}:{port}/");
        wait_good("the port from outside", || outside.toolbox(&["get", &url]).run());
        wait_good("the port from the host", || host.podbox(["toolbox", "get", &url]));
        wait_good("the port from a pod", || ask(&host, &url));
    }
    wait_good("the port from loopback", || {
        host.podbox(["toolbox", "get", &format!("http://127.0.0.1:{port}/")])
    });
    host.finish();
}

#[test]
fn a_client_stays_with_its_pod_until_that_is_gone() {
    let host = Host::builder().own_net().build();
    host.up(&service("  type: NodePort\n  ipFamilyPolicy: RequireDualStack\n  sessionAffinity: ClientIP\n"));
    host.up_ready(&server("one"));
    host.up_ready(&server("two"));
    client(&host);
    wait_until("both endpoints", PATIENCE, || endpoints(&host) == 2);
    let [ip, ip6] = [".spec.clusterIPs[0]", ".spec.clusterIPs[1]"].map(|path| address(&host, path));
    let port = address(&host, ".spec.ports[0].nodePort");
    let gateway = host
        .podbox(["get", "pod", "client", "-o", "jsonpath={.status.hostIP}"])
        .ok()
        .text()
        .trim()
        .to_owned();
    let urls = [format!("http://{ip}/"), format!("http://[{ip6}]/"), format!("http://{gateway}:{port}/")];
    for url in &urls {
        wait_good("the Service", || ask(&host, url));
        let first = answers(&host, url, 30);
        assert_eq!(first.len(), 1, "{url}: {first:?}");
        let (here, other) = if first.contains_key("one") { ("one", "two") } else { ("two", "one") };
        let _ = host.exec(here, &["rm", "/ready"]);
        wait_until("the other one", PATIENCE, || answers(&host, url, 5).keys().eq([other]));
        // And there it stays.
        let _ = host.exec(here, &["touch", "/ready"]);
        wait_until("both endpoints again", PATIENCE, || endpoints(&host) == 2);
        assert_eq!(answers(&host, url, 30).keys().collect::<Vec<_>>(), [other], "{url}");
    }
    // What nft(8) cannot print, it does not leave out: it ends.
    let alias = std::fs::read_to_string(host.pod_dir("client").join("netns-alias")).unwrap();
    let netns = format!("--net={}", alias.trim());
    for listed in [
        host.beside("nft").args(["list", "ruleset"]).run().ok(),
        Cmd::new("nsenter").args([netns.as_str(), "nft", "list", "ruleset"]).run().ok(),
    ] {
        let one = host.pod("one").ip();
        listed
            .says("map kept4 {")
            .says("ip saddr . ip daddr . meta l4proto . th dport timeout 3h : ")
            .says(&format!("_keep_{one}_8080_for_10800s {{"))
            .says(&format!("dnat ip to {one}:8080"));
    }
    // A chain for a backend goes with it.
    let [stays, goes] = ["one", "two"].map(|pod| format!("_keep_{}_8080_for_10800s", host.pod(pod).ip()));
    host.podbox(["down", "two"]).ok();
    wait_until("its chain to go", PATIENCE, || {
        let listed = host.beside("nft").args(["list", "ruleset"]).run().ok().stdout;
        listed.contains(&stays) && !listed.contains(&goes)
    });
    host.finish();
}

#[test]
fn clients_stay_with_their_pods_over_the_deaths_of_their_supervisors() {
    let host = Host::new();
    host.up(&service("  ipFamilyPolicy: RequireDualStack\n  sessionAffinity: ClientIP\n"));
    for name in ["one", "two", "three"] {
        host.up_ready(&server(name));
    }
    wait_until("three endpoints", PATIENCE, || endpoints(&host) == 3);
    let [ip, ip6] = [".spec.clusterIPs[0]", ".spec.clusterIPs[1]"].map(|path| address(&host, path));
    let urls = [format!("http://{ip}/"), format!("http://[{ip6}]/")];
    // A supervisor that dies again and again has to wait ever longer for the next one, so there are several.
    for name in ["a", "b", "c", "d", "e"] {
        host.up(&pod(name, IDLE));
        // Until it has a table of its own, the host's leads it.
        let netns = format!("--net={}", host.pod_dir(name).join("ns/net").display());
        wait_until("its table", PATIENCE, || {
            let tables = Cmd::new("nsenter").args([netns.as_str(), "nft", "list", "tables"]).run().ok();
            tables.stdout.contains("podbox-services")
        });
        let ask = |url: &String| host.podbox(["exec", name, "--", "get", url]);
        let answers = || urls.each_ref().map(|url| ask(url).ok().text().to_owned());
        let first = urls.each_ref().map(|url| wait_good("the Service", || ask(url)).text().to_owned());
        let mut old = host.next_supervisor(name, None);
        for round in 0..6 {
            host.kill(old);
            assert_eq!(answers(), first, "{name}: while it is dead, {round}");
            old = host.next_supervisor(name, Some(old));
            // It makes the table once it has read what there is.
            std::thread::sleep(Duration::from_millis(100));
            assert_eq!(answers(), first, "{name}: {round}");
        }
        host.down(&[name, "--grace-period", "0"]);
    }
    host.finish();
}

#[test]
fn a_service_that_changes_or_goes_is_followed_and_a_killed_supervisor_changes_nothing() {
    let host = Host::new();
    host.up(&service(""));
    host.up_ready(&server("one"));
    client(&host);
    let ip = address(&host, ".spec.clusterIP");
    wait_good("the Service", || ask(&host, &format!("http://{ip}/")));
    let old = host.next_supervisor("client", None);
    host.kill(old);
    ask(&host, &format!("http://{ip}/")).ok();
    let _ = host.next_supervisor("client", Some(old));
    host.up(&service("").replace("port: 80,", "port: 81,")).says("service/web configured");
    assert_eq!(address(&host, ".spec.clusterIP"), ip);
    wait_good("the new port", || ask(&host, &format!("http://{ip}:81/")));
    wait_until("the old port to be refused", PATIENCE, || {
        ask(&host, &format!("http://{ip}/")).to_string().contains("refused")
    });
    host.podbox(["down", "svc/web"]).ok();
    wait_until("the address to be nobody's", PATIENCE, || !ask(&host, &format!("http://{ip}:81/")).good());
    host.up(&service(""));
    assert_eq!(address(&host, ".spec.clusterIP"), ip, "the same name mostly gets the same address");
    wait_good("the Service again", || ask(&host, &format!("http://{ip}/")));
    host.finish();
}

#[test]
fn a_label_that_changes_while_a_pod_runs_changes_which_services_lead_to_it() {
    let host = Host::new();
    host.up(&service(""));
    host.up_ready(&server("one"));
    wait_until("an endpoint", PATIENCE, || endpoints(&host) == 1);
    host.up(&server("one").replace("app: web", "app: other")).says("configured");
    wait_until("no endpoint", PATIENCE, || endpoints(&host) == 0);
    host.up(&server("one")).says("configured");
    wait_until("an endpoint again", PATIENCE, || endpoints(&host) == 1);
    host.finish();
}

#[test]
fn addresses_and_ports_that_are_taken_or_out_of_range_are_refused_by_name() {
    let host = Host::new();
    host.up(&service(""));
    let ip = address(&host, ".spec.clusterIP");
    let other = |lines: &str| service(lines).replace("name: web", "name: other");
    host.try_up(&other(&format!("  clusterIP: {ip}\n")), &[])
        .code(2)
        .complains("provided IP is already allocated");
    host.try_up(&other("  clusterIP: 192.0.2.1\n"), &[]).code(2).complains("The range of valid IPs is");
    host.try_up(&other("  type: NodePort\n").replace("port: 80,", "port: 80, nodePort: 80,"), &[])
        .code(2)
        .complains("The range of valid ports is");
    host.podbox(["get", "svc", "other"]).code(2);
    host.up(&service("")).says("service/web unchanged");
    host.finish();
}

#[test]
fn what_can_never_be_is_told_at_its_place_before_anything_is_stored() {
    let host = Host::new();
    let manifest = host.dir().join("service.yaml");
    let ip = |number: u32| format!("10.214.{}.{number}", host.number());
    let (network, broadcast, dns) = (ip(0), ip(255), ip(10));
    for (line, why) in [
        (
            "  externalIPs: [127.0.0.1]",
            "spec.externalIPs[0]: Invalid value: \"127.0.0.1\": may not be in the loopback",
        ),
        (&format!("  externalIPs: [{}]", host.gateway()), "may not be one of the pods' own addresses"),
        (&format!("  externalIPs: [{dns}]"), "may not be in the range of cluster IPs"),
        (&format!("  clusterIP: {network}"), "The range of valid IPs is"),
        (&format!("  clusterIP: {broadcast}"), "The range of valid IPs is"),
        (&format!("  clusterIP: {dns}"), "already allocated to the pods' name server"),
        ("  type: NodePort", "The range of valid ports is"),
    ] {
        let text = service(line).replace(
            "port: 80,",
            if line.contains("Node") { "port: 80, nodePort: 80," } else { "port: 80," },
        );
        std::fs::write(&manifest, text).unwrap();
        let file = manifest.to_str().unwrap();
        for command in [&["validate", file][..], &["plan", file], &["up", "-d", file]] {
            host.podbox(command).code(2).complains(why).complains(&format!("--> {file}:"));
        }
    }
    host.podbox(["get", "svc", "web"]).code(2);
    host.finish();
}

#[test]
fn an_external_address_leads_there_and_is_taken_from_nobody_who_listens_there() {
    let host = Host::new();
    let outside = host.outside();
    let (ip, port) = (outside.host(), host.port(1));
    let external =
        service(&format!("  externalIPs: [{ip}]\n")).replace("port: 80,", &format!("port: {port},"));
    let program = host.cmd(["toolbox", "tcp-echo", "--port", &port.to_string()]).spawn();
    let at = format!("{ip}:{port}");
    wait_good("the program", || host.podbox(["toolbox", "connect", &at, "hi"]));
    host.try_up(&external, &[])
        .code(2)
        .complains(&format!("spec.externalIPs: Invalid value: \"{ip}\": host port {at}/tcp is in use by"));
    host.cmd(["plan", "-"]).input(external.clone()).run().code(2).complains("is in use by");
    wait_good("the program still", || outside.toolbox(&["connect", &at, "hi"]).run());
    drop(program);
    wait_until("the program to be gone", PATIENCE, || !host.podbox(["toolbox", "connect", &at, "hi"]).good());
    host.up(&external);
    host.up_ready(&server("one"));
    client(&host);
    let url = format!("http://{at}/");
    wait_good("the address from outside", || outside.toolbox(&["get", &url]).run());
    wait_good("the address from the host", || host.podbox(["toolbox", "get", &url]));
    wait_good("the address from a pod", || ask(&host, &url));
    let pod =
        server("two").replace("containerPort: 8080}", &format!("containerPort: 8080, hostPort: {port}}}"));
    host.try_up(&pod, &[]).code(3).complains("service default/web");
    host.finish();
}

#[test]
fn whoever_has_waited_for_a_pod_to_be_ready_finds_it_among_the_endpoints() {
    let host = Host::new();
    host.up_ready(&server("one"));
    host.up(&service(""));
    assert_eq!(endpoints(&host), 1, "of a pod that was there before the Service");
    let status = host.pod_dir("one").join("status.json");
    let endpoint = host.run_dir().join("endpoints/default_one.json");
    let read = |path: &Path| -> Value { serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap() };
    let is_ready = || {
        let conditions = read(&status)["conditions"].clone();
        let ready = conditions.as_array().unwrap().iter().find(|one| one["type"] == "Ready").cloned();
        ready.is_some_and(|ready| ready["status"] == "True")
    };
    for round in 0..4 {
        for (change, wanted) in [(["rm", "/ready"], false), (["touch", "/ready"], true)] {
            let _ = host.exec("one", &change);
            let begun = Instant::now();
            // Without a pause: what was written a moment later must not pass.
            while is_ready() != wanted {
                assert!(begun.elapsed() < PATIENCE, "the pod should be ready: {wanted}");
            }
            assert_eq!(read(&endpoint)["ready"], wanted, "in round {round}");
        }
    }
    host.finish();
}

#[test]
fn addresses_that_the_host_has_a_way_to_are_not_taken_from_it() {
    let host = Host::builder().own_net().build();
    let range = format!("10.214.{}.0/24", host.number());
    host.beside("ip").args(["link", "add", "wan", "type", "veth", "peer", "name", "far"]).run().ok();
    host.beside("ip").args(["link", "set", "wan", "up"]).run().ok();
    host.beside("ip").args(["route", "add", &range, "dev", "wan"]).run().ok();
    let way = || host.beside("ip").args(["route", "show", &range]).run().ok().stdout;
    let before = way();
    host.try_up(&service(""), &[])
        .code(3)
        .complains(&format!("it overlaps with the route to {range} by wan"))
        .complains("services-ipv4");
    host.podbox(["get", "svc", "web"]).code(2);
    assert_eq!(way(), before);
    host.beside("ip").args(["link", "del", "wan"]).run().ok();
    host.up(&service("")).says("service/web created");
    host.finish();
}

#[test]
fn a_pod_that_ends_drains_while_others_take_over() {
    let host = Host::new();
    host.up(&service(""));
    host.up_ready(&server("one"));
    host.up_ready(
        &server("two")
            .replace("exec http --port 8080", "trap \"sleep 3; exit 0\" TERM; http --port 8080 & wait; wait"),
    );
    client(&host);
    wait_until("both endpoints", PATIENCE, || endpoints(&host) == 2);
    let url = format!("http://{}/", address(&host, ".spec.clusterIP"));
    wait_until("both to be led to", PATIENCE, || answers(&host, &url, 20).len() == 2);
    let mut down = host.cmd(["down", "two"]).spawn();
    host.wait_pod("two", "its end to begin", |pod| !pod.text("metadata.deletionTimestamp").is_empty());
    wait_until("only the other one", Duration::from_secs(2), || answers(&host, &url, 10).len() == 1);
    assert_eq!(answers(&host, &url, 30).keys().collect::<Vec<_>>(), ["one"]);
    down.end(PATIENCE);
    host.finish();
}

#[test]
fn many_pods_that_end_at_once_refuse_nobody() {
    let host = Host::new();
    host.up(&service(""));
    let names: Vec<String> = (0..12).map(|index| format!("many-{index}")).collect();
    let all: Vec<String> = names.iter().map(|name| server(name)).collect();
    host.up_ready(&all.join("---\n"));
    client(&host);
    wait_until("all endpoints", PATIENCE, || endpoints(&host) == 12);
    let ip = address(&host, ".spec.clusterIP");
    wait_good("the Service", || ask(&host, &format!("http://{ip}/")));
    let script = format!("for i in $(seq 250); do connect -t 2s {ip}:80 || echo refused $i; done; echo done");
    let mut asking = host.cmd(["exec", "client", "--", "sh", "-c", &script]).spawn();
    let (stop, wrong) = (AtomicBool::new(false), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                if let Err(error) = TcpStream::connect((ip.as_str(), 80)) {
                    wrong.lock().unwrap().push(error.to_string());
                }
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        std::thread::sleep(Duration::from_millis(200));
        host.down(&names[..10].iter().map(String::as_str).collect::<Vec<_>>());
        std::thread::sleep(Duration::from_millis(300));
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(wrong.into_inner().unwrap(), [""; 0], "from the host");
    asking.wait_to_say("done");
    let said = asking.said();
    asking.end(PATIENCE);
    assert!(!said.contains("refused"), "from a pod: {said}");
    host.finish();
}

#[test]
fn hundreds_of_services_fit_into_one_transaction_and_one_of_them_can_change() {
    let host = Host::new();
    host.up(&server("one"));
    host.up(&server("two"));
    client(&host);
    let named = |name: &str| {
        let lines = "  ipFamilyPolicy: RequireDualStack\n";
        format!("---\n{}", service(lines).replace("name: web}", &format!("name: {name}}}")))
    };
    let all: String = (0..240).map(|number| named(&format!("web-{number}"))).collect();
    host.up(&all);
    let url = |name: &str, family: usize| {
        let path = format!("jsonpath={{.spec.clusterIPs[{family}]}}");
        let ip = host.podbox(["get", "svc", name, "-o", &path]).ok().text().trim().to_owned();
        if family == 0 { format!("http://{ip}/") } else { format!("http://[{ip}]/") }
    };
    let answered = |url: &str| ask(&host, url).good();
    let (first, last) = (url("web-0", 0), url("web-239", 1));
    wait_until("the first and the last Service", PATIENCE, || answered(&first) && answered(&last));
    wait_until("both pods", PATIENCE, || answers(&host, &last, 40).len() == 2);
    host.podbox(["down", "svc/web-0"]).ok();
    wait_until("the one that has gone to lead nowhere", PATIENCE, || !answered(&first));
    assert!(answered(&last));
    host.finish();
}

#[test]
fn a_plan_tells_what_a_service_gets_and_its_commands_make_the_same_maps() {
    let host = Host::builder().own_net().build();
    host.up_ready(&server("one"));
    let wanted = service("  type: NodePort\n");
    host.up(&wanted);
    wait_until("an endpoint", PATIENCE, || endpoints(&host) == 1);
    let plan = host.cmd(["plan", "-"]).input(wanted).run().ok();
    let (ip, port) = (address(&host, ".spec.clusterIP"), address(&host, ".spec.ports[0].nodePort"));
    let end = format!("{} . 8080", host.pod("one").ip());
    let plan = plan
        .says("## service default/web")
        .says(&format!("# addresses: {ip}"))
        .says(&format!("# port {port}/tcp of the host"))
        .says("# behind it while it is ready: pod default/one")
        .says(&format!("fronts4 {{ {ip} . tcp . 80 : goto ip4_one_of_1 }}"))
        .says(&format!("backends4 {{ {ip} . tcp . 80 . 0 : {end} }}"));
    let of_host = plan.stdout.split("## services, on the host").nth(1).unwrap();
    let commands: Vec<&str> = of_host.lines().filter(|line| line.starts_with("nft ")).collect();
    let table = commands[0].rsplit(' ').next().unwrap();
    // The same under another name, typed.
    let script = commands.join("\n").replace(table, "typed");
    host.beside("sh").args(["-ec", script.as_str()]).run().ok();
    let elements = |table: &str| {
        let listed = host.beside("nft").args(["list", "table", "inet", table]).run().ok().stdout;
        let lines = listed.lines().map(|line| line.trim().to_owned());
        let mut lines: Vec<String> = lines.filter(|line| line.starts_with("elements")).collect();
        lines.sort();
        lines
    };
    assert_eq!(elements("typed"), elements(table));
    assert!(!elements(table).is_empty());
    host.beside("nft").args(["delete", "table", "inet", "typed"]).run().ok();
    host.finish();
}
