use std::time::Duration;

use proptest::prelude::*;
use simple_dns::rdata::{A, OPT, RData, SOA};
use simple_dns::{CLASS, Name, Packet, PacketFlag, Question, RCODE, ResourceRecord, TYPE};
use tokio::time::Instant;

use super::{Cache, MOST};
use crate::dns::Transport::{Tcp, Udp};

fn question(id: u16, name: &str) -> Packet<'static> {
    let mut packet = Packet::new_query(id);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    let name = Name::new(name).unwrap().into_owned();
    packet.questions.push(Question::new(name, TYPE::A.into(), CLASS::IN.into(), false));
    packet
}

fn record(name: &str, ttl: u32, data: RData<'static>) -> ResourceRecord<'static> {
    ResourceRecord::new(Name::new(name).unwrap().into_owned(), CLASS::IN, ttl, data)
}

/// An answer with an address for each of these times.
fn answer(name: &str, ttls: &[u32]) -> Vec<u8> {
    let mut packet = question(1, name).into_reply();
    packet.answers = ttls.iter().map(|ttl| record(name, *ttl, RData::A(A { address: 1 }))).collect();
    *packet.opt_mut() = Some(OPT { opt_codes: Vec::new(), udp_packet_size: 1232, version: 0 });
    packet.build_bytes_vec_compressed().unwrap()
}

fn denial(name: &str, ttl: u32, minimum: u32) -> Vec<u8> {
    let mut packet = question(1, name).into_reply();
    *packet.rcode_mut() = RCODE::NameError;
    let own = || Name::new("example").unwrap();
    let (mname, rname) = (own(), own());
    let soa = SOA { mname, rname, serial: 1, refresh: 1, retry: 1, expire: 1, minimum };
    packet.name_servers.push(record("example", ttl, RData::SOA(soa)));
    packet.build_bytes_vec_compressed().unwrap()
}

fn bytes(packet: &Packet<'_>) -> Vec<u8> {
    packet.build_bytes_vec().unwrap()
}

fn after(now: Instant, seconds: u64) -> Instant {
    now + Duration::from_secs(seconds)
}

/// How many seconds this answer to a question for `a.example` is kept.
fn kept(reply: &[u8]) -> u64 {
    let (mut cache, now) = (Cache::default(), Instant::now());
    let asked = bytes(&question(1, "a.example"));
    cache.keep(&asked, Udp, (reply, now));
    (0..100).find(|seconds| cache.answer(&asked, Udp, after(now, *seconds)).is_none()).unwrap()
}

#[test]
fn an_answer_is_kept_as_long_as_it_may_be_and_30_seconds_at_most() {
    assert_eq!(kept(&answer("a.example", &[300, 20, 60])), 20);
    assert_eq!(kept(&answer("a.example", &[300])), 30);
    assert_eq!(kept(&answer("a.example", &[0])), 0);
    assert_eq!(kept(&denial("a.example", 10, 300)), 10);
    assert_eq!(kept(&denial("a.example", 300, 7)), 7);
    // Nobody says for how long there is nothing.
    assert_eq!(kept(&answer("a.example", &[])), 0);
    assert_eq!(kept(&answer("b.example", &[60])), 0, "an answer to something else");
    let mut cut = answer("a.example", &[60]);
    cut[2] |= 2;
    assert_eq!(kept(&cut), 0);
    let mut failed = answer("a.example", &[60]);
    failed[3] |= 2;
    assert_eq!(kept(&failed), 0);
}

#[test]
fn what_is_kept_grows_old_and_has_the_askers_number_and_letters() {
    let (mut cache, now) = (Cache::default(), Instant::now());
    cache.keep(&bytes(&question(1, "a.example")), Udp, (&answer("a.example", &[300, 20]), now));
    let reply = cache.answer(&bytes(&question(9, "A.exAMple")), Udp, after(now, 12)).unwrap();
    let reply = Packet::parse(&reply).unwrap();
    assert_eq!((reply.id(), reply.questions[0].qname.to_string()), (9, "A.exAMple".to_owned()));
    assert_eq!(reply.answers.iter().map(|one| one.ttl).collect::<Vec<_>>(), [288, 8]);
    assert_eq!(reply.opt().unwrap().udp_packet_size, 1232, "which has no time to live");

    // Another transport, kind or flag is another question.
    assert!(cache.answer(&bytes(&question(9, "a.example")), Tcp, now).is_none());
    let mut other = question(9, "a.example");
    other.questions[0].qtype = TYPE::AAAA.into();
    assert!(cache.answer(&bytes(&other), Udp, now).is_none());
    let mut checking = question(9, "a.example");
    checking.set_flags(PacketFlag::CHECKING_DISABLED);
    assert!(cache.answer(&bytes(&checking), Udp, now).is_none());
}

#[test]
fn there_is_an_end_to_what_is_kept() {
    let (mut cache, now) = (Cache::default(), Instant::now());
    let mut keep =
        |name: &str, ttl| cache.keep(&bytes(&question(1, name)), Udp, (&answer(name, &[ttl]), now));
    keep("short.example", 5);
    for number in 0..MOST {
        keep(&format!("n{number}.example"), 20);
    }
    assert!(cache.0.len() <= MOST);
    assert!(cache.answer(&bytes(&question(1, "short.example")), Udp, now).is_none(), "the first to end");
    let last = format!("n{}.example", MOST - 1);
    assert!(cache.answer(&bytes(&question(1, &last)), Udp, now).is_some());
    let later = after(now, 25);
    cache.keep(&bytes(&question(1, "z.example")), Udp, (&answer("z.example", &[9]), later));
    assert_eq!(cache.0.len(), 1, "what is over has gone");
}

proptest! {
    #[test]
    fn any_reply_is_kept_or_not(at in 0usize..100, value in any::<u8>(), end in 0usize..200) {
        let asked = bytes(&question(1, "a.example"));
        let mut reply = answer("a.example", &[60, 60, 60]);
        if let Some(byte) = reply.get_mut(at) {
            *byte = value;
        }
        reply.truncate(end);
        let (mut cache, now) = (Cache::default(), Instant::now());
        cache.keep(&asked, Udp, (&reply, now));
        if let Some(again) = cache.answer(&asked, Udp, now) {
            prop_assert!(again.len() == reply.len() && again[..2] == asked[..2]);
        }
    }
}
