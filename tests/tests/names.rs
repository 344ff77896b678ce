//! The names of a cluster, as a pod finds them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use e2e::{Cmd, Host, PATIENCE, pod, wait_good, wait_until};

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
    let made = format!("ip address replace 10.214.{number}.10/32 dev lo");
    host.podbox(["trace", "client"]).ok().says("## names").says(&made);
    let manifest = host.dir().join("client.yaml");
    fs::write(&manifest, pod("client", SLEEPER)).unwrap();
    host.podbox(["plan", manifest.to_str().unwrap()]).ok().says("## names").says(&made);
    assert_eq!(getent(&host, "10-1-2-3.default.pod"), ["10.1.2.3"]);
    assert_eq!(getent(&host, "10-1-2-3.elsewhere.pod.cluster.local."), Vec::<String>::new());
    host.finish();
}

#[test]
fn a_pod_that_names_the_clusters_dns_itself_is_answered_there_and_one_that_does_not_has_the_port_for_itself()
{
    let host = Host::new();
    let server = format!("10.214.{}.10", host.number());
    let own = format!(
        "  dnsPolicy: None\n  dnsConfig: {{nameservers: [{server}], searches: [default.pod.cluster.local]}}\n{SLEEPER}"
    );
    host.up(&pod("client", &own));
    assert_eq!(
        host.exec("client", &["cat", "/etc/resolv.conf"]).trim(),
        format!("search default.pod.cluster.local\nnameserver {server}")
    );
    assert_eq!(getent(&host, "10-1-2-3"), ["10.1.2.3"]);
    let old = host.supervisor("client");
    kill(Pid::from_raw(old.unwrap()), Signal::SIGKILL).unwrap();
    wait_until("an answer", PATIENCE, || getent(&host, "10-1-2-3") == ["10.1.2.3"]);
    let _ = host.next_supervisor("client", old);
    let serves = "  containers: [{name: c, image: podbox.local/toolbox, command: [tcp-echo, --port, '53']}]";
    host.up(&pod("server", &format!("  dnsPolicy: Default\n{serves}")));
    wait_good("its own server", || host.podbox(["exec", "server", "--", "connect", "127.0.0.1:53", "hi"]));
    host.finish();
}

/// Opens a hundred connections, asks nothing, and then asks by one more.
const CROWD: &str = r#"
import socket, struct, sys
open = [socket.create_connection((sys.argv[1], 53), 10) for _ in range(100)]
name = b"".join(bytes([len(part)]) + part for part in b"10-1-2-3.default.pod.cluster.local".split(b".")) + b"\0"
question = struct.pack(">HHHHHH", 7, 0x100, 1, 0, 0, 0) + name + struct.pack(">HH", 1, 1)
one = socket.create_connection((sys.argv[1], 53), 5)
one.settimeout(5)
one.sendall(struct.pack(">H", len(question)) + question)
length, = struct.unpack(">H", one.recv(2))
print(".".join(str(byte) for byte in one.recv(length)[-4:]))
"#;

#[test]
fn connections_that_are_left_open_keep_nobody_out() {
    let host = Host::new();
    host.up(&pod("client", SLEEPER));
    let netns = fs::read_to_string(host.pod_dir("client").join("netns-alias")).unwrap();
    let server = format!("10.214.{}.10", host.number());
    let door = format!("--net={}", netns.trim());
    let asked = Cmd::new("nsenter").args([door.as_str(), "python3", "-c", CROWD, &server]).run().ok();
    assert_eq!(asked.text().trim(), "10.1.2.3");
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

const SERVICES: &str = "apiVersion: v1
kind: Service
metadata: {name: web}
spec: {clusterIP: CLUSTER-IP, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: out}
spec: {type: ExternalName, externalName: up.example}
---
apiVersion: v1
kind: Service
metadata: {name: twice}
spec: {type: ExternalName, externalName: out.default.svc.cluster.local}
---
apiVersion: v1
kind: Service
metadata: {name: crowd}
spec: {type: ExternalName, externalName: big.example}
---
";

/// A program that asks as this C library does, in a directory of the test.
fn resolver(host: &Host, compiler: &str) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/names/resolve.c");
    let program = host.dir().join("programs").join(compiler);
    fs::create_dir_all(program.parent().unwrap()).unwrap();
    let linked = if compiler == "musl-gcc" { "-static" } else { "-pie" };
    let words = [linked, "-o", program.to_str().unwrap(), source.to_str().unwrap()];
    Cmd::new(compiler).args(words).run().ok();
}

/// Its lines: the sorted addresses of each name.
fn found(lines: &str) -> BTreeMap<&str, Vec<&str>> {
    lines
        .lines()
        .filter_map(|line| line.split_once(": "))
        .map(|(name, addresses)| {
            let mut addresses: Vec<&str> = addresses.split(' ').collect();
            addresses.sort_unstable();
            (name, addresses)
        })
        .collect()
}

/// The host's first name server is silent, the second one fails, and all of them are at addresses of its own, as where
/// systemd-resolved or dnsmasq serve.
#[test]
fn glibc_and_musl_find_what_the_cluster_and_the_host_know() {
    let host = Host::builder().own_net().build();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/names/upstream.py");
    let places = ["127.0.0.53", "127.0.0.54", "127.0.0.55"];
    let mut upstream = host.beside("python3").args([script.to_str().unwrap()]).args(places).spawn();
    upstream.wait_to_say("ready");
    let resolv = host.dir().join("resolv.conf");
    fs::write(&resolv, "nameserver 127.0.0.55\nnameserver 127.0.0.54\nnameserver 127.0.0.53\n").unwrap();
    for compiler in ["gcc", "musl-gcc"] {
        resolver(&host, compiler);
    }
    let ip = format!("10.214.{}.20", host.number());
    let mount =
        format!("  volumes: [{{name: p, hostPath: {{path: {}}}}}]", host.dir().join("programs").display());
    let client = "  containers: [{name: c, image: podbox.local/host, command: [sleep, infinity], volumeMounts: [{name: p, mountPath: /p}]}]";
    let manifest = host.dir().join("client.yaml");
    let text =
        format!("{}{}", SERVICES.replace("CLUSTER-IP", &ip), pod("client", &format!("{mount}\n{client}")));
    fs::write(&manifest, text).unwrap();
    let lines = "mount --bind $resolv /etc/resolv.conf
$podbox up -d $manifest
for program in gcc musl-gcc; do
    echo == $program
    $podbox exec client -- /p/$program web web.default.svc out twice none gone.example. up.example crowd big.example times.example
done
$podbox down -f $manifest --grace-period 0";
    let cmd = host.beside("unshare").args(["--mount", "sh", "-ec", lines]).limit(PATIENCE * 3);
    let cmd = cmd.env("podbox", e2e::binary()).env("manifest", manifest).env("resolv", resolv);
    let said = host.environment(cmd).run().ok();
    let (_, both) = said.stdout.split_once("== gcc").unwrap();
    let (glibc, musl) = both.split_once("== musl-gcc").unwrap();
    for (library, lines) in [("glibc", glibc), ("musl", musl)] {
        let found = found(lines);
        for (name, expected) in [
            ("web", &[ip.as_str()][..]),
            ("web.default.svc", &[ip.as_str()]),
            ("out", &["192.0.2.1"]),
            ("twice", &["192.0.2.1"]),
            ("none", &["name", "no"]),
            ("gone.example.", &["name", "no"]),
            ("up.example", &["192.0.2.1"]),
        ] {
            assert_eq!(found[name], expected, "{library} {name}\n{said}");
        }
        // All three names of up.example are kept, once with EDNS for the aliases and once without. A slow machine may have
        // had to ask for each again.
        let times: usize = found["times.example"][0].rsplit_once('.').unwrap().1.parse().unwrap();
        assert!((2..=4).contains(&times), "{library}: {times} questions\n{said}");
        // What a datagram does not hold comes over a connection, which musl makes since 1.2.4 only.
        for name in ["crowd", "big.example"] {
            let number = found[name].len();
            assert!(
                number == 100 || (library == "musl" && number >= 3),
                "{library} {name}: {number}\n{said}"
            );
        }
    }
    upstream.signal(Signal::SIGTERM);
    upstream.end(PATIENCE);
    host.finish();
}

/// The name servers that a pod's containers see.
fn servers(host: &Host, pod: &str) -> Vec<String> {
    let resolv = host.exec(pod, &["cat", "/etc/resolv.conf"]);
    resolv.lines().filter_map(|line| line.strip_prefix("nameserver ")).map(str::to_owned).collect()
}

#[test]
fn a_pod_with_the_hosts_network_asks_the_clusters_dns_if_it_says_so() {
    let host = Host::builder().own_net().build();
    let ip = format!("10.214.{}.20", host.number());
    let on_host = |name: &str, policy: &str| {
        pod(name, &format!("  hostNetwork: true\n  dnsPolicy: {policy}\n{SLEEPER}"))
    };
    let services = SERVICES.replace("CLUSTER-IP", &ip);
    host.up(&format!("{services}{}", on_host("client", "ClusterFirstWithHostNet")));
    host.up(&on_host("other", "ClusterFirstWithHostNet"));
    host.up(&on_host("plain", "ClusterFirst"));
    assert_eq!(getent(&host, "web"), [ip.as_str()]);
    let (client, other) = (servers(&host, "client"), servers(&host, "other"));
    assert!(client.len() == 1 && client[0].starts_with("127.") && client != other, "{client:?} {other:?}");
    let plain = host.exec("plain", &["cat", "/etc/resolv.conf"]);
    assert!(!plain.contains("cluster.local") && !plain.contains("ndots:5"), "{plain}");

    let old = host.supervisor("client");
    kill(Pid::from_raw(old.unwrap()), Signal::SIGKILL).unwrap();
    wait_until("an answer at the same address", PATIENCE, || getent(&host, "web") == [ip.as_str()]);
    assert_ne!(Some(host.next_supervisor("client", old)), old);
    for name in ["client", "other", "plain"] {
        host.podbox(["down", name, "--grace-period", "0"]).ok();
    }
    let listening = host.beside("ss").args(["-lnH", "--udp", "--tcp"]).run().ok();
    assert!(!listening.stdout.contains(":53 "), "{listening}");
    host.finish();
}
