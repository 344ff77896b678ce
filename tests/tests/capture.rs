//! `podbox capture`: what is seen, whose it is, and that others can read it.

use std::path::Path;
use std::time::Duration;

use e2e::{Background, Cmd, Host, PATIENCE, client_and_server, pod};
use nix::sys::signal::Signal;

const SERVER: &str = r"
  containers:
  - {name: web, image: podbox.local/toolbox, command: [tcp-echo, --port, '9000']}
  - {name: names, image: podbox.local/toolbox, command: [udp-echo, --port, '9001']}
";
const CLIENT: &str = "  containers: [{name: shell, image: podbox.local/toolbox, command: [sleep, infinity]}]";

/// A capture that has begun.
fn capture(host: &Host, args: &[&str]) -> Background {
    let running = host.cmd(["capture"].iter().chain(args)).spawn();
    running.wait_to_say("Ctrl-C ends it");
    running
}

/// What tshark reads from a file, a line a packet, fields apart by tabs.
fn tshark(file: &Path, fields: &[&str]) -> Vec<Vec<String>> {
    let mut cmd = Cmd::new("tshark").args(["-n", "-r", file.to_str().unwrap(), "-T", "fields"]);
    for field in fields {
        cmd = cmd.args(["-e", field]);
    }
    let output = cmd.run().ok();
    output.stdout.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect()
}

#[test]
fn a_file_is_read_by_tshark_with_direction_and_container() {
    let host = Host::new();
    let (server, client) = client_and_server(&host, SERVER);
    let file = host.dir().join("server.pcapng");
    let mut running = capture(&host, &["server", "-w", file.to_str().unwrap(), "tcp", "port", "9000"]);
    assert_eq!(host.exec("client", &["connect", &format!("{server}:9000"), "hello"]), "hello");
    // Not wanted.
    host.podbox(["exec", "client", "--", "connect", "-u", &format!("{server}:9001"), "no"]).ok();
    running.signal(Signal::SIGINT);
    assert_eq!(running.end(PATIENCE), 0, "{}", running.said());
    assert!(running.said().contains(" packets captured, 0 dropped by the kernel"), "{}", running.said());
    let fields = [
        "ip.src",
        "ip.dst",
        "tcp.flags.syn",
        "frame.packet_flags_direction",
        "frame.comment",
        "frame.interface_name",
    ];
    let packets = tshark(&file, &fields);
    assert!(packets.len() >= 6, "a connection has more packets: {packets:?}");
    let first = &packets[0];
    assert_eq!(first[..2], [client.clone(), server.clone()], "{packets:?}");
    assert!(matches!(&*first[2], "1" | "True"), "it begins with a SYN: {packets:?}");
    for packet in &packets {
        let direction = if packet[0] == client { "1" } else { "2" };
        assert!(packet[3].ends_with(direction), "{packet:?} should have direction {direction}");
        assert_eq!(packet[4], "container web");
        assert_eq!(packet[5], "eth0");
    }
    let about = Cmd::new("capinfos").args(["-M", file.to_str().unwrap()]).run().ok();
    about.says("eth0").says("of pod default/server").says("tcp port 9000").says("nanosec");
    host.finish();
}

#[test]
fn lines_tell_who_talks_to_whom_and_end_after_a_number_or_a_time() {
    let host = Host::new();
    let (server, client) = client_and_server(&host, SERVER);
    let mut running = capture(&host, &["server", "-c", "2", "udp", "port", "9001"]);
    host.podbox(["exec", "client", "--", "connect", "-u", &format!("{server}:9001"), "hello"]).ok();
    assert_eq!(running.end(PATIENCE), 0, "{}", running.said());
    let said = running.said();
    assert!(said.contains("In  names udp") && said.contains("Out names udp"), "{said}");
    assert!(said.contains(&format!("> {server}:9001: length 6")) && said.contains(&client), "{said}");
    assert!(said.contains("2 packets captured"), "{said}");
    let quiet = host.podbox(["capture", "client", "--duration", "100ms", "icmp"]).ok();
    quiet.complains("0 packets captured");
    host.finish();
}

#[test]
fn loopback_is_seen_once_among_all_interfaces() {
    let host = Host::new();
    client_and_server(&host, SERVER);
    let file = host.dir().join("any.pcapng");
    let mut running =
        capture(&host, &["server", "-i", "any", "-w", file.to_str().unwrap(), "-c", "4", "udp"]);
    host.podbox(["exec", "server", "-c", "web", "--", "connect", "-u", "127.0.0.1:9001", "self"]).ok();
    let own = format!("{}:9001", host.pod("server").ip());
    host.podbox(["exec", "client", "--", "connect", "-u", &own, "other"]).ok();
    assert_eq!(running.end(PATIENCE), 0, "{}", running.said());
    let packets = tshark(&file, &["frame.interface_name", "udp.length"]);
    let of = |name: &str| packets.iter().filter(|packet| packet[0] == name).count();
    assert_eq!((of("lo"), of("eth0")), (2, 2), "{packets:?}");
    host.finish();
}

#[test]
fn a_stream_ends_when_its_reader_does() {
    let host = Host::new();
    let (server, _) = client_and_server(&host, SERVER);
    let at = format!("{server}:9001");
    let script = "\"$0\" capture server -w - udp dst port 9001 2>/dev/null | tshark -n -l -i - -c 1 -T fields -e udp.dstport 2>/dev/null";
    let pipe = host.environment(Cmd::new("sh")).args(["-c", script, e2e::binary().to_str().unwrap()]).spawn();
    e2e::wait_until("tshark reads a packet from the pipe", Duration::from_secs(30), || {
        host.podbox(["exec", "client", "--", "connect", "-u", &at, "hello"]).ok();
        pipe.said().contains("9001")
    });
    drop(pipe);
    host.finish();
}

#[test]
fn what_makes_no_sense_is_refused_with_its_place() {
    let host = Host::new();
    host.up(&pod("client", CLIENT));
    let wrong = host.podbox(["capture", "client", "tcp", "and", "prot", "80"]).code(2);
    wrong.complains("\"prot\" is none of its words").complains("tcp and prot 80\n          ^^^^");
    host.podbox(["capture", "client", "-i", "eth7"]).code(2).complains("no interface eth7").complains("eth0");
    host.podbox(["capture", "nobody"]).code(2).complains("pod default/nobody not found");
    let native = "  hostNetwork: true\n  containers: [{name: c, image: podbox.local/toolbox, command: [sleep, infinity]}]";
    host.up(&pod("native", native));
    host.podbox(["capture", "native"]).code(2).complains("in the host's network").complains("-i NAME");
    host.podbox(["capture", "native", "-i", "lo", "--duration", "50ms"]).ok();
    host.finish();
}
