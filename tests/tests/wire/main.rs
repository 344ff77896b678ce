//! The wire itself: addresses of one's choice, further networks, bandwidth, the largest packet, neighbours, one family
//! alone, and pods beside the host's own. Every machine here is a network namespace of its own, so that uplinks and
//! forwarding are nobody else's.

mod annotations;
mod networks;
mod packets;
mod plain;

use std::fs::File;
use std::path::PathBuf;

use e2e::{Cmd, Host, bracketed, pod, wait_good};
use nix::sched::CloneFlags;

const ECHO: &str = r"
  containers:
  - {name: tcp, image: podbox.local/toolbox, command: [tcp-echo, --port, '9000']}
  - {name: udp, image: podbox.local/toolbox, command: [udp-echo, --port, '9001']}
";
const SLEEPER: &str = "  containers: [{name: c, image: podbox.local/toolbox, command: [sleep, infinity]}]";

/// How to ask each of the echoes: a flag for `connect`, and its port.
const ECHOES: [(&str, u16); 2] = [("--timeout=5s", 9000), ("-u", 9001)];

fn machine() -> Host {
    Host::builder().own_net().build()
}

/// A Pod with annotations, one on each line from the sixth on.
fn annotated(name: &str, annotations: &[(&str, &str)], spec: &str) -> String {
    let lines: String = annotations.iter().map(|(key, value)| format!("    {key}: '{value}'\n")).collect();
    pod(name, spec).replacen("spec:\n", &format!("  annotations:\n{lines}spec:\n"), 1)
}

/// The address without the port in `peer ADDRESS:PORT`.
fn peer(said: &str) -> String {
    let address = said.trim().strip_prefix("peer ").unwrap_or(said);
    address.rsplit_once(':').map_or(address, |(ip, _)| ip).trim_matches(['[', ']']).to_owned()
}

/// Waits until a pod's echoes answer the pod itself.
fn await_echoes(host: &Host, name: &str) {
    for (flag, port) in ECHOES {
        let at = format!("127.0.0.1:{port}");
        wait_good("the pod's own server", || host.podbox(["exec", name, "--", "connect", flag, &at, "hi"]));
    }
}

/// Whom both echoes at `to` see when a pod asks.
#[track_caller]
fn expect_seen(host: &Host, from: &str, to: &str, seen: &str) {
    for (flag, port) in ECHOES {
        let at = format!("{}:{port}", bracketed(to));
        assert_eq!(peer(&host.exec(from, &["connect", flag, &at, "peer"])), seen, "{from} to {at}");
    }
}

/// The pod's network namespace, as a file.
fn netns(host: &Host, name: &str) -> PathBuf {
    host.pod_dir(name).join("ns/net")
}

/// What `ip` prints in a pod's network namespace.
fn ip_in(host: &Host, name: &str, words: &str) -> String {
    let door = format!("--net={}", netns(host, name).display());
    Cmd::new("nsenter").args([&door, "ip"]).args(words.split(' ')).run().ok().stdout
}

/// What `ip` prints on the machine.
fn ip_on(host: &Host, words: &str) -> String {
    host.beside("ip").args(words.split(' ')).run().ok().stdout
}

/// Does something in a pod's network namespace.
#[expect(clippy::disallowed_methods, reason = "in a thread of its own, which ends")]
fn inside<T: Send>(host: &Host, name: &str, job: impl FnOnce() -> T + Send) -> T {
    let path = netns(host, name);
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let file = File::open(&path).expect("the pod has a network namespace");
            nix::sched::setns(file, CloneFlags::CLONE_NEWNET).expect("enter it");
            job()
        });
        thread.join().expect("the job does not panic")
    })
}
