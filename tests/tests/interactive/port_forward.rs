//! `podbox port-forward`.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;

use e2e::{Background, Host, PATIENCE, pod};
use nix::sys::signal::Signal;

fn echo(host: &Host) {
    host.up(&pod(
        "echo",
        "  terminationGracePeriodSeconds: 0\n  containers:\n  - name: c\n    image: podbox.local/toolbox\n    \
         command: [tcp-echo, --peer]\n    ports: [{name: back, containerPort: 9000}]",
    ));
}

/// The ports that a forwarder tells that it listens on, on the IPv4 loopback.
fn told(forwarder: &Background, remote: u16) -> u16 {
    let end = format!(" -> {remote}");
    forwarder.wait_to_say(&end);
    let said = forwarder.said();
    let line =
        said.lines().find(|line| line.starts_with("Forwarding from 127.0.0.1:") && line.ends_with(&end));
    let line = line.unwrap_or_else(|| panic!("no IPv4 loopback in {said}"));
    line["Forwarding from 127.0.0.1:".len()..line.len() - end.len()].parse().expect("a port number")
}

/// Says something, then that it was all, and hears what comes back.
fn ask(address: (&str, u16), bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).expect("the forwarder listens");
    let mut heard = Vec::new();
    thread::scope(|scope| {
        scope.spawn(|| {
            (&stream).write_all(bytes).expect("it takes everything");
            stream.shutdown(Shutdown::Write).expect("half a connection can be closed");
        });
        (&stream).read_to_end(&mut heard).expect("it answers to the end");
    });
    stream.flush().expect("nothing is buffered");
    heard
}

#[test]
fn many_connections_reach_the_pods_loopback_whole_and_by_both_families() {
    let host = Host::new();
    echo(&host);
    let mut forwarder = host.cmd(["port-forward", "pod/echo", ":back"]).spawn();
    let port = told(&forwarder, 9000);
    let big = vec![b'x'; 3 << 20];
    thread::scope(|scope| {
        for index in 0..8 {
            let (big, address) = (&big, if index % 2 == 0 { "127.0.0.1" } else { "::1" });
            scope.spawn(move || {
                let heard = ask((address, port), big);
                let (greeting, rest) =
                    heard.split_at(heard.iter().position(|byte| *byte == b'\n').unwrap() + 1);
                let greeting = String::from_utf8_lossy(greeting);
                assert!(greeting.starts_with("peer 127.0.0.1:"), "it came from {greeting}");
                assert!(rest == big.as_slice(), "{} bytes came back", rest.len());
            });
        }
    });
    forwarder.wait_to_say(&format!("Handling connection for {port}"));
    forwarder.signal(Signal::SIGINT);
    assert_eq!(forwarder.end(PATIENCE), 0);
    host.down(&["echo"]).ok();
    host.finish();
}

#[test]
fn what_cannot_be_forwarded_is_told_and_the_pods_end_is_the_forwarders() {
    let host = Host::new();
    echo(&host);
    let local = host.port(0);
    let words = ["port-forward", "echo", "--address", "127.0.0.1", ":7", &format!("{local}:9000")];
    let mut forwarder = host.cmd(words).spawn();
    let nobody = told(&forwarder, 7);
    assert_eq!(ask(("127.0.0.1", nobody), b""), b"");
    forwarder.wait_to_say(&format!(
        "an error occurred forwarding {nobody} -> 7: failed to connect to localhost:7"
    ));
    // The other port is none the worse for it.
    assert!(ask(("127.0.0.1", local), b"peer").starts_with(b"peer 127.0.0.1"));
    let taken = host.podbox(["port-forward", "echo", "--address", "127.0.0.1", &format!("{local}:9000")]);
    taken.code(3).complains(&format!("unable to listen on port {local}"));
    host.podbox(["port-forward", "echo", "53/udp"]).code(2).complains("UDP protocol is not supported for 53");
    host.podbox(["port-forward", "echo", "--address", "here", "9000"])
        .code(2)
        .complains("here is not a valid IP");
    host.down(&["echo"]).ok();
    forwarder.wait_to_say("lost connection to pod");
    assert_eq!(forwarder.end(PATIENCE), 1);
    host.finish();
}

#[test]
fn a_service_stands_for_one_of_its_pods() {
    let host = Host::new();
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: front}\nspec:\n  selector: {app: echo}\n  \
                   ports: [{name: web, port: 80, targetPort: back}]\n";
    host.up(service);
    for words in [
        &["logs", "svc/front"][..],
        &["exec", "svc/front", "--", "true"],
        &["port-forward", "svc/front", "80"],
    ] {
        host.podbox(words).code(1).complains("service default/front has no pod: none fits its selector");
    }
    for (name, command) in [("a-broken", "[sleep, infinity]"), ("echo", "[tcp-echo, --peer]")] {
        let unready = if name == "echo" { "" } else { "    readinessProbe: {exec: {command: ['false']}}\n" };
        let spec = format!(
            "  terminationGracePeriodSeconds: 0\n  containers:\n  - name: c\n    image: podbox.local/toolbox\n{unready}    \
             command: {command}\n    ports: [{{name: back, containerPort: 9000}}]"
        );
        host.up(&pod(name, &spec).replacen("metadata:\n", "metadata:\n  labels: {app: echo}\n", 1));
    }
    host.wait_pod("echo", "ready", |pod| pod.is("Ready"));
    let name = host.podbox(["exec", "service/front", "--", "hostname"]).ok().stdout;
    assert_eq!(name.trim(), "echo", "the one that is ready, though another comes first");
    let logs = host.podbox(["logs", "svc/front"]).ok();
    assert!(logs.stderr.contains("Found 2 pods, using pod/echo"), "{logs}");
    let mut forwarder = host.cmd(["port-forward", "svc/front", ":web"]).spawn();
    let port = told(&forwarder, 9000);
    assert!(ask(("127.0.0.1", port), b"hi").ends_with(b"hi"));
    forwarder.signal(Signal::SIGINT);
    assert_eq!(forwarder.end(PATIENCE), 0);
    host.podbox(["port-forward", "svc/front", "81"])
        .code(2)
        .complains("Service front does not have a service port 81");
    host.up("apiVersion: v1\nkind: Service\nmetadata: {name: bare}\nspec: {ports: [{port: 80}]}\n");
    let bare = host.podbox(["exec", "svc/bare", "--", "true"]).code(2);
    bare.complains("invalid service 'bare': Service is defined without a selector");
    host.podbox(["logs", "svc/nobody"]).code(2).complains("service default/nobody not found");
    host.down(&["echo", "a-broken"]).ok();
    host.finish();
}
