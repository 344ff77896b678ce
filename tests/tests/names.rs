//! The names of a cluster, as a pod finds them.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use e2e::{Host, PATIENCE, pod, wait_until};

const SLEEPER: &str = "  containers: [{name: c, image: podbox.local/host, command: [sleep, infinity]}]";

/// What glibc's resolver finds, by the search list; nothing if it finds nothing.
fn getent(host: &Host, name: &str) -> Vec<String> {
    let output = host.podbox(["exec", "client", "--", "getent", "ahosts", name]);
    let mut found: Vec<String> = output
        .text()
        .lines()
        .filter(|l| l.contains("STREAM"))
        .filter_map(|l| l.split(' ').next())
        .map(str::to_owned)
        .collect();
    found.sort();
    found
}

#[test]
fn a_pod_asks_the_clusters_dns_which_is_within_itself() {
    let host = Host::new();
    host.up(&pod("client", SLEEPER));
    let resolv = host.exec("client", &["cat", "/etc/resolv.conf"]);
    assert!(
        resolv.starts_with("search default.svc.cluster.local svc.cluster.local cluster.local"),
        "{resolv}"
    );
    let number = host.number();
    let servers =
        format!("\nnameserver 10.214.{number}.10\nnameserver fd70:6f64:e2f:{number:x}::a\noptions ndots:5");
    assert!(resolv.contains(&servers), "{resolv}");
    assert_eq!(getent(&host, "10-1-2-3.default.pod"), ["10.1.2.3"]);
    assert_eq!(getent(&host, "10-1-2-3.elsewhere.pod.cluster.local."), Vec::<String>::new());
    host.finish();
}

#[test]
fn names_are_answered_after_the_supervisor_was_killed() {
    let host = Host::new();
    host.up(&pod("client", SLEEPER));
    let old = host.supervisor("client");
    kill(Pid::from_raw(old.unwrap()), Signal::SIGKILL).unwrap();
    // What is asked in between is refused.
    wait_until("an answer", PATIENCE, || getent(&host, "10-1-2-3.default.pod") == ["10.1.2.3"]);
    assert_ne!(Some(host.next_supervisor("client", old)), old);
    host.finish();
}

#[test]
fn a_headless_service_has_the_addresses_of_the_pods_that_are_ready() {
    let host = Host::new();
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: db}\nspec: {clusterIP: None, ipFamilyPolicy: RequireDualStack, selector: {app: db}, ports: [{port: 80}]}\n";
    let server = "apiVersion: v1\nkind: Pod\nmetadata: {name: server, labels: {app: db}}\nspec:\n  hostname: first\n  subdomain: db\n  containers:\n  - name: c\n    image: podbox.local/host\n    command: [sh, -c, 'touch /ready; sleep infinity']\n    readinessProbe: {exec: {command: [test, -e, /ready]}, periodSeconds: 1, failureThreshold: 1}\n";
    let manifest = format!("{service}---\n{server}");
    host.up(&manifest);
    host.up(&pod("client", SLEEPER));
    let view = host.pod("server");
    let mut both = [view.ip(), view.ip6()];
    both.sort();
    for name in ["db", "db.default.svc", "first.db", "FIRST.db.default.svc.cluster.local."] {
        wait_until(name, PATIENCE, || getent(&host, name) == both);
    }
    let _ = host.exec("server", &["rm", "/ready"]);
    wait_until("no answer", PATIENCE, || getent(&host, "db").is_empty());
    let _ = host.exec("server", &["touch", "/ready"]);
    wait_until("an answer again", PATIENCE, || getent(&host, "db") == both);
    host.finish();
}
