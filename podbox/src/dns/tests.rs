//! Questions as bytes, answers as text.

use std::net::IpAddr;

use proptest::prelude::*;
use simple_dns::rdata::{OPT, RData};
use simple_dns::{CLASS, Name, OPCODE, Packet, PacketFlag, QCLASS, QTYPE, Question, RCODE, TYPE};

use crate::dns::{Alias, Endpoint, Entry, Names, Port, Reply, Transport, Zone, joined, respond, unanswered};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn http() -> Vec<Port> {
    vec![Port { name: Some("http".into()), protocol: "tcp", number: 80 }]
}

/// `web` with two addresses, `db` headless with a named and a nameless pod, `idle` headless without any, `out` elsewhere.
struct Known {
    crowd: u8,
}

impl Names for Known {
    fn has_namespace(&self, namespace: &str) -> bool {
        namespace == "default"
    }

    fn entry(&self, namespace: &str, service: &str) -> Option<Entry> {
        let endpoint = |hostname: Option<&str>, address: &str| Endpoint {
            hostname: hostname.map(str::to_owned),
            address: ip(address),
            ports: http(),
        };
        match (namespace, service) {
            ("default", "web") => {
                Some(Entry::Cluster { addresses: vec![ip("10.96.0.7"), ip("fd00::7")], ports: http() })
            }
            ("default", "four") => Some(Entry::Cluster { addresses: vec![ip("10.96.0.4")], ports: http() }),
            ("default", "db") => Some(Entry::Headless(vec![
                endpoint(Some("db-0"), "10.244.0.5"),
                endpoint(Some("db-0"), "fd01::5"),
                endpoint(None, "10.244.0.6"),
            ])),
            ("default", "crowd") => Some(Entry::Headless(
                (0..self.crowd).map(|n| endpoint(None, &format!("10.244.1.{n}"))).collect(),
            )),
            ("default", "idle") => Some(Entry::Headless(Vec::new())),
            ("default", "out") => Some(Entry::External("example.com.".into())),
            ("default", "alias") => Some(Entry::External("four.default.svc.cluster.local".into())),
            _ => None,
        }
    }

    fn names_of(&self, address: IpAddr) -> Vec<String> {
        match address.to_string().as_str() {
            "10.96.0.7" | "fd00::7" => vec!["web.default".into()],
            "10.244.0.5" => vec!["db-0.db.default".into()],
            _ => Vec::new(),
        }
    }
}

fn query(name: &str, kind: QTYPE, class: QCLASS) -> Packet<'static> {
    let mut packet = Packet::new_query(7);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    packet.questions.push(Question::new(Name::new(name).unwrap().into_owned(), kind, class, false));
    packet
}

fn reply_of(packet: &Packet<'_>, transport: Transport, crowd: u8) -> Reply {
    let zone = Zone::new("cluster.local.");
    respond(&packet.build_bytes_vec().unwrap(), transport, &zone, &Known { crowd })
}

fn ask(packet: &Packet<'_>) -> Vec<u8> {
    match reply_of(packet, Transport::Udp, 0) {
        Reply::Send(bytes) => bytes,
        other => panic!("{other:?}"),
    }
}

fn text(data: &RData<'_>) -> String {
    match data {
        RData::A(a) => std::net::Ipv4Addr::from_bits(a.address).to_string(),
        RData::AAAA(a) => std::net::Ipv6Addr::from_bits(a.address).to_string(),
        RData::CNAME(name) => name.0.to_string(),
        RData::PTR(name) => name.0.to_string(),
        RData::SRV(srv) => format!("{} {} {} {}", srv.priority, srv.weight, srv.port, srv.target),
        RData::TXT(txt) => String::from_utf8_lossy(txt.iter_raw().next().unwrap().0).into_owned(),
        RData::SOA(soa) => format!("{} {} {}", soa.mname, soa.rname, soa.minimum),
        RData::NS(name) => name.0.to_string(),
        other => format!("{other:?}"),
    }
}

/// The answers' data, or what the code is where there are none.
fn look(name: &str, kind: TYPE) -> Vec<String> {
    let bytes = ask(&query(name, kind.into(), CLASS::IN.into()));
    let reply = Packet::parse(&bytes).unwrap();
    assert!(reply.has_flags(PacketFlag::RESPONSE | PacketFlag::AUTHORITATIVE_ANSWER));
    assert_eq!((reply.id(), reply.questions[0].qname.to_string()), (7, name.to_owned()));
    if reply.answers.is_empty() {
        assert_eq!(text(&reply.name_servers[0].rdata), "ns.dns.cluster.local hostmaster.cluster.local 5");
        assert_eq!(reply.name_servers[0].ttl, 5);
        return vec![format!("{:?}", reply.rcode())];
    }
    assert_eq!(reply.rcode(), RCODE::NoError);
    assert!(reply.answers.iter().all(|record| record.ttl == 5 && record.name.to_string() == name));
    let mut answers: Vec<String> = reply.answers.iter().map(|record| text(&record.rdata)).collect();
    if kind == TYPE::A {
        answers.sort();
    }
    answers
}

#[test]
fn a_name_gets_what_coredns_gives() {
    for (name, kind, expected) in [
        ("web.default.svc.cluster.local", TYPE::A, "10.96.0.7"),
        ("WeB.Default.svc.CLUSTER.local", TYPE::AAAA, "fd00::7"),
        ("four.default.svc.cluster.local", TYPE::AAAA, "NoError"),
        ("web.default.svc.cluster.local", TYPE::TXT, "NoError"),
        ("none.default.svc.cluster.local", TYPE::A, "NameError"),
        ("web.other.svc.cluster.local", TYPE::A, "NameError"),
        ("default.svc.cluster.local", TYPE::A, "NoError"),
        ("other.svc.cluster.local", TYPE::A, "NameError"),
        ("svc.cluster.local", TYPE::A, "NoError"),
        ("cluster.local", TYPE::NS, "ns.dns.cluster.local"),
        ("cluster.local", TYPE::SOA, "ns.dns.cluster.local hostmaster.cluster.local 5"),
        ("nonsense.cluster.local", TYPE::A, "NameError"),
        ("dns-version.cluster.local", TYPE::TXT, "1.1.0"),
        ("dns-version.cluster.local", TYPE::A, "NoError"),
        ("_http._tcp.web.default.svc.cluster.local", TYPE::SRV, "0 100 80 web.default.svc.cluster.local"),
        ("_http._udp.web.default.svc.cluster.local", TYPE::SRV, "NameError"),
        ("x.web.default.svc.cluster.local", TYPE::A, "NameError"),
        ("db.default.svc.cluster.local", TYPE::A, "10.244.0.5 10.244.0.6"),
        ("db-0.db.default.svc.cluster.local", TYPE::A, "10.244.0.5"),
        ("db-0.db.default.svc.cluster.local", TYPE::AAAA, "fd01::5"),
        ("10-244-0-6.db.default.svc.cluster.local", TYPE::A, "10.244.0.6"),
        ("10-244-0-5.db.default.svc.cluster.local", TYPE::A, "NameError"),
        ("idle.default.svc.cluster.local", TYPE::A, "NameError"),
        ("out.default.svc.cluster.local", TYPE::CNAME, "example.com"),
        ("10-244-0-9.default.pod.cluster.local", TYPE::A, "10.244.0.9"),
        ("10-244-0-9.default.pod.cluster.local", TYPE::AAAA, "NoError"),
        ("fd01--5.default.pod.cluster.local", TYPE::AAAA, "fd01::5"),
        ("10-244-0.default.pod.cluster.local", TYPE::A, "NameError"),
        ("10-244-0-9.other.pod.cluster.local", TYPE::A, "NameError"),
        ("7.0.96.10.in-addr.arpa", TYPE::PTR, "web.default.svc.cluster.local"),
        ("5.0.244.10.in-addr.arpa", TYPE::PTR, "db-0.db.default.svc.cluster.local"),
        ("7.0.96.10.in-addr.arpa", TYPE::A, "NoError"),
    ] {
        assert_eq!(look(name, kind).join(" "), expected, "{name} {kind:?}");
    }
    let digits = format!("7.{}0.0.d.f.ip6.arpa", "0.".repeat(27));
    assert_eq!(look(&digits, TYPE::PTR), ["web.default.svc.cluster.local"]);
}

#[test]
fn where_a_headless_service_is_comes_with_its_addresses() {
    let name = "_http._tcp.db.default.svc.cluster.local";
    let below = "db.default.svc.cluster.local";
    assert_eq!(
        look(name, TYPE::SRV),
        [format!("0 50 80 db-0.{below}"), format!("0 50 80 10-244-0-6.{below}")]
    );
    let bytes = ask(&query(name, TYPE::SRV.into(), CLASS::IN.into()));
    let reply = Packet::parse(&bytes).unwrap();
    let helping: Vec<_> =
        reply.additional_records.iter().map(|r| format!("{} {}", r.name, text(&r.rdata))).collect();
    let expected = [
        format!("db-0.{below} 10.244.0.5"),
        format!("db-0.{below} fd01::5"),
        format!("10-244-0-6.{below} 10.244.0.6"),
    ];
    assert_eq!(helping, expected);
}

#[test]
fn what_is_not_the_clusters_is_somebody_elses() {
    for name in
        ["example.com", "local", "cluster.local.example", "9.0.96.10.in-addr.arpa", "notcluster.local"]
    {
        let packet = query(name, TYPE::A.into(), CLASS::IN.into());
        assert_eq!(reply_of(&packet, Transport::Udp, 0), Reply::Forward, "{name}");
    }
}

#[test]
fn what_is_wrong_is_told_as_such() {
    let name = "web.default.svc.cluster.local";
    let code = |packet: &Packet<'_>| Packet::parse(&ask(packet)).unwrap().rcode();
    assert_eq!(code(&query(name, QTYPE::ANY, CLASS::IN.into())), RCODE::Refused);
    assert_eq!(code(&query(name, QTYPE::AXFR, CLASS::IN.into())), RCODE::Refused);
    assert_eq!(code(&query(name, TYPE::A.into(), CLASS::CH.into())), RCODE::Refused);
    let mut two = query(name, TYPE::A.into(), CLASS::IN.into());
    two.questions.push(two.questions[0].clone());
    assert_eq!(code(&two), RCODE::FormatError);
    let mut notify = query(name, TYPE::A.into(), CLASS::IN.into());
    *notify.opcode_mut() = OPCODE::Notify;
    assert_eq!(code(&notify), RCODE::NotImplemented);
    let mut future = query(name, TYPE::A.into(), CLASS::IN.into());
    *future.opt_mut() = Some(OPT { opt_codes: Vec::new(), udp_packet_size: 1232, version: 0 });
    // Its time to live is a part of the code, the version, and two bytes of flags, of which the first bit is DO.
    let with = |ttl: [u8; 4]| {
        let mut bytes = future.build_bytes_vec().unwrap();
        let at = bytes.len() - 6;
        bytes[at..at + 4].copy_from_slice(&ttl);
        let zone = Zone::new("cluster.local");
        match respond(&bytes, Transport::Udp, &zone, &Known { crowd: 0 }) {
            Reply::Send(said) => said,
            other => panic!("{other:?}"),
        }
    };
    for flags in [[0, 0, 0x80, 0], [0, 0, 0x41, 0], [0, 0, 0, 1]] {
        let said = with(flags);
        let reply = Packet::parse(&said).unwrap();
        assert_eq!((reply.rcode(), reply.answers.len()), (RCODE::NoError, 1), "{flags:?}");
    }
    with([0, 255, 0, 0]);
    let said = with([0, 1, 0x80, 0]);
    // The record of EDNS, which is the last: root, type 41, size 1232, code 16 in two parts, version 0, no flags, no data.
    assert_eq!(said[said.len() - 11..], [0, 0, 41, 4, 208, 1, 0, 0, 0, 0, 0]);
    assert_eq!((said[3] & 0xf, Packet::parse(&said).unwrap().answers.len()), (0, 0));
    let mut twice = query(name, TYPE::A.into(), CLASS::IN.into());
    *twice.opt_mut() = Some(OPT { opt_codes: Vec::new(), udp_packet_size: 1232, version: 0 });
    let mut bytes = twice.build_bytes_vec().unwrap();
    let record = bytes[bytes.len() - 11..].to_vec();
    bytes.extend(record);
    bytes[11] = 2;
    let Reply::Send(said) = respond(&bytes, Transport::Udp, &Zone::new("cluster.local"), &Known { crowd: 0 })
    else {
        panic!()
    };
    assert_eq!(Packet::parse(&said).unwrap().rcode(), RCODE::FormatError);

    let whole = query(name, TYPE::A.into(), CLASS::IN.into()).build_bytes_vec().unwrap();
    let zone = Zone::new("cluster.local");
    let Reply::Send(bytes) = respond(&whole[..20], Transport::Udp, &zone, &Known { crowd: 0 }) else {
        panic!()
    };
    let reply = Packet::parse(&bytes).unwrap();
    assert_eq!((reply.id(), reply.rcode()), (7, RCODE::FormatError));
    assert_eq!(Packet::parse(&unanswered(&whole).unwrap()).unwrap().rcode(), RCODE::ServerFailure);
}

#[test]
fn a_long_answer_is_cut_for_a_datagram_and_whole_over_a_connection() {
    let mut packet = query("crowd.default.svc.cluster.local", TYPE::A.into(), CLASS::IN.into());
    let size = |packet: &Packet<'_>, transport| {
        let Reply::Send(bytes) = reply_of(packet, transport, 200) else { panic!() };
        let reply = Packet::parse(&bytes).unwrap();
        (bytes.len(), reply.answers.len(), reply.has_flags(PacketFlag::TRUNCATION))
    };
    let (length, answers, cut) = size(&packet, Transport::Udp);
    assert!(length <= 512 && (20..200).contains(&answers) && cut);
    *packet.opt_mut() = Some(OPT { opt_codes: Vec::new(), udp_packet_size: 65000, version: 0 });
    let (length, answers, cut) = size(&packet, Transport::Udp);
    assert!(length <= 1232 && (60..200).contains(&answers) && cut);
    let (_, answers, cut) = size(&packet, Transport::Tcp);
    assert!(answers == 200 && !cut);
}

fn aliased(name: &str, crowd: u8) -> Alias {
    let packet = query(name, TYPE::A.into(), CLASS::IN.into());
    match reply_of(&packet, Transport::Udp, crowd) {
        Reply::Follow(alias) => alias,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_alias_is_answered_with_what_it_stands_for() {
    let name = "alias.default.svc.cluster.local";
    let alias = aliased(name, 0);
    let zone = Zone::new("cluster.local");
    let Reply::Send(rest) = respond(&alias.question, Transport::Tcp, &zone, &Known { crowd: 0 }) else {
        panic!()
    };
    let message = query(name, TYPE::A.into(), CLASS::IN.into()).build_bytes_vec().unwrap();
    let whole = joined(&message, Transport::Udp, (&alias.reply, &[rest])).unwrap();
    let reply = Packet::parse(&whole).unwrap();
    let answers: Vec<String> =
        reply.answers.iter().map(|one| format!("{} {}", one.name, text(&one.rdata))).collect();
    let target = "four.default.svc.cluster.local";
    assert_eq!(answers, [format!("{name} {target}"), format!("{target} 10.96.0.4")]);
    assert_eq!((reply.id(), reply.rcode(), reply.opt().is_none()), (7, RCODE::NoError, true));

    // What is not the zone's is asked of others; what they do not know leaves the alias.
    let alias = aliased("out.default.svc.cluster.local", 0);
    assert_eq!(respond(&alias.question, Transport::Tcp, &zone, &Known { crowd: 0 }), Reply::Forward);
    let refusal = unanswered(&alias.question).unwrap();
    let whole = joined(&message, Transport::Udp, (&alias.reply, &[refusal])).unwrap();
    let reply = Packet::parse(&whole).unwrap();
    assert_eq!(
        (reply.rcode(), reply.answers.len(), text(&reply.answers[0].rdata)),
        (RCODE::NoError, 1, "example.com".into())
    );

    // It has no address of that family: the answer tells how long that may be kept.
    let packet = query(name, TYPE::AAAA.into(), CLASS::IN.into());
    let Reply::Follow(alias) = reply_of(&packet, Transport::Udp, 0) else { panic!() };
    let Reply::Send(rest) = respond(&alias.question, Transport::Tcp, &zone, &Known { crowd: 0 }) else {
        panic!()
    };
    let message = packet.build_bytes_vec().unwrap();
    let whole = joined(&message, Transport::Udp, (&alias.reply, &[rest])).unwrap();
    let reply = Packet::parse(&whole).unwrap();
    assert_eq!((reply.rcode(), reply.answers.len(), reply.name_servers.len()), (RCODE::NoError, 1, 1));
    assert!(matches!(reply.name_servers[0].rdata, RData::SOA(_)));
}

#[test]
fn the_first_of_several_addresses_is_not_always_the_same() {
    let firsts: std::collections::BTreeSet<String> = (0..64)
        .map(|id| {
            let mut packet = query("crowd.default.svc.cluster.local", TYPE::A.into(), CLASS::IN.into());
            packet.set_id(id);
            let Reply::Send(bytes) = reply_of(&packet, Transport::Tcp, 8) else { panic!() };
            let reply = Packet::parse(&bytes).unwrap();
            assert_eq!(reply.answers.len(), 8);
            text(&reply.answers[0].rdata)
        })
        .collect();
    assert_eq!(firsts.len(), 8, "{firsts:?}");
}

#[test]
fn whoever_knows_edns_gets_it_back() {
    let mut packet = query("web.default.svc.cluster.local", TYPE::A.into(), CLASS::IN.into());
    assert!(Packet::parse(&ask(&packet)).unwrap().opt().is_none());
    *packet.opt_mut() = Some(OPT { opt_codes: Vec::new(), udp_packet_size: 4096, version: 0 });
    let bytes = ask(&packet);
    let reply = Packet::parse(&bytes).unwrap();
    assert_eq!(reply.opt().map(|opt| (opt.udp_packet_size, opt.version)), Some((1232, 0)));
}

/// Whatever is asked: no panic, and what is sent can be read, has the question's number and is not too long.
fn check(bytes: &[u8], transport: Transport) {
    let zone = Zone::new("cluster.local");
    let sent = match respond(bytes, transport, &zone, &Known { crowd: 200 }) {
        Reply::Send(reply) => reply,
        Reply::Follow(alias) => {
            assert!(Packet::parse(&alias.question).unwrap().questions.len() == 1);
            joined(bytes, transport, (&alias.reply, &[bytes.to_vec()])).unwrap()
        }
        Reply::Forward => unanswered(bytes).unwrap(),
        Reply::Silence => return,
    };
    assert!(transport == Transport::Tcp || sent.len() <= 1232 || sent.len() <= bytes.len(), "{}", sent.len());
    let reply = Packet::parse(&sent).unwrap();
    assert!(sent[..2] == bytes[..2] && reply.has_flags(PacketFlag::RESPONSE));
}

/// Questions of all kinds, mutated. `hack/fuzz SECONDS` goes on for so long, from a seed that it prints.
#[test]
fn fuzz_of_names() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let end = number("PODBOX_FUZZ_SECONDS")
        .map(|seconds| std::time::Instant::now() + std::time::Duration::from_secs(seconds));
    let mut seed = number("PODBOX_FUZZ_SEED").unwrap_or(1);
    let names = ["web", "_http._tcp.db", "crowd", "out", "alias", "10-244-0-6.db", "none"];
    let mut cases = 0;
    while end.map_or(cases < 3000, |end| std::time::Instant::now() < end) {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut below = |limit: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state >> 11).unwrap() % limit
        };
        let name = format!("{}.default.svc.cluster.local", names[below(names.len())]);
        let kind = [TYPE::A, TYPE::AAAA, TYPE::SRV, TYPE::TXT, TYPE::SOA][below(5)];
        let mut packet = query(&name, kind.into(), CLASS::IN.into());
        if below(2) == 0 {
            *packet.opt_mut() = Some(OPT { opt_codes: Vec::new(), udp_packet_size: 4096, version: 0 });
        }
        let mut bytes = packet.build_bytes_vec().unwrap();
        for _ in 0..below(5) {
            let at = below(bytes.len());
            match below(4) {
                0 => bytes[at] ^= 1 << below(8),
                1 => bytes[at] = [0, 1, 63, 64, 192, 255][below(6)],
                2 => bytes.truncate(at.max(1)),
                _ => bytes.insert(at, bytes[below(bytes.len())]),
            }
        }
        for transport in [Transport::Udp, Transport::Tcp] {
            if let Err(panic) = std::panic::catch_unwind(|| check(&bytes, transport)) {
                eprintln!("PODBOX_FUZZ_SEED={seed} made this question:\n{bytes:02x?}");
                std::panic::resume_unwind(panic);
            }
        }
        (seed, cases) = (seed + 1, cases + 1);
    }
    println!("{cases} questions up to seed {seed}");
}

proptest! {
    #[test]
    fn any_bytes_get_an_answer_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        check(&bytes, Transport::Udp);
    }

    #[test]
    fn a_question_with_one_wrong_byte_gets_an_answer_or_none(at in 0usize..47, value in any::<u8>()) {
        let packet = query("web.default.svc.cluster.local", TYPE::A.into(), CLASS::IN.into());
        let mut bytes = packet.build_bytes_vec().unwrap();
        bytes[at] = value;
        check(&bytes, Transport::Udp);
    }
}
