use std::net::SocketAddr;
use std::time::Duration;

use netplugin::Protocol;

use super::*;

fn hop(place: &str, interface: &str, way: &'static str, leg: Leg, what: &str) -> Hop {
    let ends = ["10.0.0.2:40000", "10.0.0.3:80"];
    let (source, destination) = if leg == Leg::Forth { (ends[0], ends[1]) } else { (ends[1], ends[0]) };
    Hop {
        after_nanoseconds: 0,
        place: place.to_owned(),
        interface: interface.to_owned(),
        index: 2,
        way,
        leg,
        source_mac: None,
        destination_mac: None,
        source: source.to_owned(),
        destination: destination.to_owned(),
        what: what.to_owned(),
    }
}

fn there() -> Vec<Hop> {
    vec![
        hop("pod default/a", "eth0", "out", Leg::Forth, "tcp [S]"),
        hop("host", "veth1", "in", Leg::Forth, "tcp [S]"),
        hop("host", "veth2", "out", Leg::Forth, "tcp [S]"),
        hop("pod default/b", "eth0", "in", Leg::Forth, "tcp [S]"),
    ]
}

/// Nothing is known but where it was seen.
fn evidence<'a>(hops: &'a [Hop], outcome: &'a Outcome) -> Evidence<'a> {
    Evidence {
        protocol: Protocol::Tcp,
        wanted: "10.0.0.3:80".parse().unwrap(),
        from: "pod default/a",
        to: Some("pod default/b"),
        hops,
        decisions: &[],
        outcome,
        listening: None,
        has_route: true,
        lost_neighbour: None,
        remark: None,
        reverse_filter: None,
    }
}

fn refusal() -> Outcome {
    Outcome::Failed(std::io::Error::from_raw_os_error(libc::ECONNREFUSED))
}

#[test]
fn an_answer_is_its_first_observers() {
    let mut hops = there();
    hops.push(hop("pod default/b", "eth0", "out", Leg::Back, "tcp [S.]"));
    let outcome = Outcome::Answered(Duration::from_micros(250));
    let (arrived, reason) = judge(&evidence(&hops, &outcome));
    assert!(arrived);
    assert_eq!(reason, "pod default/b accepted the connection after 0.250 ms");
}

#[test]
fn an_answer_that_comes_in_from_elsewhere_is_its_senders() {
    let mut hops = there();
    hops.truncate(3);
    hops.push(hop("host", "eth0", "in", Leg::Back, "tcp [S.]"));
    let sender = hops[3].source.clone();
    let outcome = Outcome::Answered(Duration::from_micros(250));
    let (arrived, reason) = judge(&Evidence { to: None, ..evidence(&hops, &outcome) });
    assert!(arrived);
    assert_eq!(reason, format!("{sender} accepted the connection after 0.250 ms"));
}

#[test]
fn a_refusal_names_what_is_listened_on_instead() {
    let mut hops = there();
    hops.push(hop("pod default/b", "eth0", "out", Leg::Back, "tcp [R.]"));
    let listening: Vec<SocketAddr> = vec!["0.0.0.0:8080".parse().unwrap(), "[::]:443".parse().unwrap()];
    let refusal = refusal();
    let all = Evidence { listening: Some(&listening), ..evidence(&hops, &refusal) };
    assert_eq!(
        judge(&all),
        (false, "pod default/b refused the connection: nothing listens on port 80/tcp (tcp ports that are listened on: 443, 8080)".to_owned())
    );
    let listening = vec!["127.0.0.1:80".parse().unwrap()];
    let all = Evidence { listening: Some(&listening), ..evidence(&hops, &refusal) };
    assert!(judge(&all).1.ends_with("takes only what comes to 127.0.0.1"), "{}", judge(&all).1);
}

#[test]
fn a_drop_is_told_before_all_else_with_its_rule() {
    let decision = Decision {
        place: "host".to_owned(),
        table: "table inet filter".to_owned(),
        chain: "forward".to_owned(),
        handle: Some(7),
        rule: Some("tcp dport 80 drop".to_owned()),
        verdict: "drop".to_owned(),
        dropped: true,
        destination: None,
    };
    let hops = &there()[..2];
    let silent = Outcome::Silent;
    let decisions = [decision];
    let all = Evidence { decisions: &decisions, has_route: false, ..evidence(hops, &silent) };
    let expected =
        "dropped by rule `tcp dport 80 drop` (handle 7) of chain forward of table inet filter in host";
    assert_eq!(judge(&all), (false, expected.to_owned()));
    let policy = [Decision { handle: None, rule: None, ..decisions[0].clone() }];
    let all = Evidence { decisions: &policy, ..evidence(hops, &silent) };
    assert_eq!(judge(&all).1, "dropped by the policy of chain forward of table inet filter in host");
}

#[test]
fn what_is_lost_was_seen_last_somewhere() {
    let hops = there();
    let silent = Outcome::Silent;
    assert_eq!(
        judge(&evidence(&hops[..3], &silent)).1,
        "it was seen last on veth2 of host (out); nobody says what became of it"
    );
    let neighbour = Some("10.0.0.3 on eth0 of pod default/a (FAILED)".to_owned());
    let all = Evidence { lost_neighbour: neighbour, ..evidence(&[], &silent) };
    assert_eq!(judge(&all).1, "nobody answered for 10.0.0.3 on eth0 of pod default/a (FAILED)");
    let all = Evidence { has_route: false, ..evidence(&[], &silent) };
    assert_eq!(judge(&all).1, "pod default/a knows no way to 10.0.0.3");
    let remark = Some("pod default/b is not ready".to_owned());
    let all = Evidence { remark, ..evidence(&hops, &silent) };
    assert!(judge(&all).1.ends_with("; pod default/b is not ready"));
}

#[test]
fn a_datagram_has_arrived_where_somebody_takes_it() {
    let hops = there();
    let silent = Outcome::Silent;
    let at: Vec<SocketAddr> = vec!["0.0.0.0:80".parse().unwrap()];
    let udp = Evidence { protocol: Protocol::Udp, listening: Some(&at), ..evidence(&hops, &silent) };
    assert!(judge(&udp).0);
    let short = Evidence { protocol: Protocol::Udp, listening: Some(&at), ..evidence(&hops[..3], &silent) };
    assert!(!judge(&short).0);
}

#[test]
fn an_interface_tells_of_a_packet_once_and_times_start_with_the_first() {
    let at = Duration::from_micros;
    let [a, b, c, d] = <[Hop; 4]>::try_from(there()).unwrap();
    let hops = in_order(vec![(at(30), c), (at(10), a.clone()), (at(1000), a), (at(20), b), (at(40), d)]);
    let told: Vec<(&str, u64)> = hops.iter().map(|hop| (&*hop.interface, hop.after_nanoseconds)).collect();
    assert_eq!(told, [("eth0", 0), ("veth1", 10_000), ("veth2", 20_000), ("eth0", 30_000)]);
}

#[test]
fn a_redirect_is_no_answer_and_an_error_is() {
    let quoted = Ip {
        source: "10.0.0.2".parse().unwrap(),
        destination: "10.0.0.3".parse().unwrap(),
        hops: 64,
        protocol: protocol::TCP,
        is_later_fragment: false,
        transport: Transport::Udp { source: 40000, destination: 80, length: 0 },
    };
    let followed = Followed { port: 40000, source: quoted.source, destinations: vec![quoted.destination] };
    for (number, kind, leg) in [
        (protocol::ICMP, 3, Some(Leg::Back)),
        (protocol::ICMP, 11, Some(Leg::Back)),
        (protocol::ICMP, 5, None),
        (protocol::ICMP6, 1, Some(Leg::Back)),
        (protocol::ICMP6, 137, None),
    ] {
        let about = Some(Box::new(quoted.clone()));
        let message =
            Ip { protocol: number, transport: Transport::Icmp { kind, code: 0, about }, ..quoted.clone() };
        assert_eq!(followed.leg(&message), leg, "protocol {number} type {kind}");
    }
}
