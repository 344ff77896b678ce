//! From the bytes of a question to those of its answer. Codec: simple-dns.

use std::net::IpAddr;

use simple_dns::rdata::{A, AAAA, CNAME, NS, OPT, PTR, RData, SOA, SRV, TXT};
use simple_dns::{
    CLASS, Name, OPCODE, Packet, PacketFlag, QCLASS, QTYPE, RCODE, ResourceRecord, SimpleDnsError, TYPE,
};

use super::TTL;
use super::alias::{self, Alias};
use super::zone::{Data, Found, Kind, Names, Zone};

/// The shortest message: a header.
pub(super) const HEADER: usize = 12;
/// In the header: this is an answer.
const IS_ANSWER: u8 = 0x80;
/// What a datagram may hold without EDNS, in bytes (RFC 1035, 4.2.1).
const PLAIN: usize = 512;
/// What a datagram may hold at most (DNS flag day 2020).
pub(super) const LARGEST: u16 = 1232;

/// How a question came, which limits its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// As a datagram.
    Udp,
    /// Over a connection.
    Tcp,
}

/// What is to be done about a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Send this.
    Send(Vec<u8>),
    /// Ask somebody else: the name is not the zone's.
    Forward,
    /// Ask again, for what the name stands for.
    Follow(Alias),
    /// Nothing: it was no question.
    Silence,
}

/// What a message gets.
#[must_use]
pub fn respond(message: &[u8], transport: Transport, zone: &Zone, names: &dyn Names) -> Reply {
    if message.len() < HEADER || message[2] & IS_ANSWER != 0 {
        return Reply::Silence;
    }
    match answer(message, transport, zone, names) {
        Ok(reply) => reply,
        Err(_) => failure(u16::from_be_bytes([message[0], message[1]]), RCODE::FormatError),
    }
}

/// What a message that is a question gets where nobody knows the answer: SERVFAIL.
#[must_use]
pub fn unanswered(message: &[u8]) -> Option<Vec<u8>> {
    let query = Packet::parse(message).ok()?;
    let mut reply = reply_to(&query, RCODE::ServerFailure);
    reply.set_flags(PacketFlag::RECURSION_AVAILABLE);
    reply.build_bytes_vec_compressed().ok()
}

fn failure(id: u16, code: RCODE) -> Reply {
    let mut packet = Packet::new_reply(id);
    *packet.rcode_mut() = code;
    packet.build_bytes_vec().map_or(Reply::Silence, Reply::Send)
}

/// An answer to the same question, which is given back as it was written.
fn reply_to<'a>(query: &Packet<'a>, code: RCODE) -> Packet<'a> {
    let mut reply = Packet::new_reply(query.id());
    *reply.opcode_mut() = query.opcode();
    *reply.rcode_mut() = code;
    if query.has_flags(PacketFlag::RECURSION_DESIRED) {
        reply.set_flags(PacketFlag::RECURSION_DESIRED);
    }
    reply.questions.clone_from(&query.questions);
    if query.opt().is_some() {
        *reply.opt_mut() = Some(OPT { opt_codes: Vec::new(), udp_packet_size: LARGEST, version: 0 });
    }
    reply
}

fn answer(
    message: &[u8],
    transport: Transport,
    zone: &Zone,
    names: &dyn Names,
) -> Result<Reply, SimpleDnsError> {
    let query = Packet::parse(message)?;
    let refuse = |code| Ok(Reply::Send(reply_to(&query, code).build_bytes_vec_compressed()?));
    if query.opcode() != OPCODE::StandardQuery {
        return Ok(failure(query.id(), RCODE::NotImplemented));
    }
    let [question] = &query.questions[..] else { return refuse(RCODE::FormatError) };
    if query.additional_records.iter().any(|record| matches!(record.rdata, RData::OPT(_))) {
        // One of them has been taken out already, and there may be only one (RFC 6891, 6.1.1).
        return refuse(RCODE::FormatError);
    }
    if super::wire::edns_version(message).is_some_and(|version| version != 0) {
        return bad_version(&query).map(Reply::Send);
    }
    let QTYPE::TYPE(kind) = question.qtype else { return refuse(RCODE::Refused) };
    if question.qclass != QCLASS::CLASS(CLASS::IN) {
        return refuse(RCODE::Refused);
    }
    let labels: Vec<String> =
        question.qname.iter().map(|label| label.to_string().to_ascii_lowercase()).collect();
    let (found, code) = match zone.look_up(names, &labels, kind_of(kind)) {
        Found::Elsewhere => return Ok(Reply::Forward),
        Found::NoName => ((Vec::new(), Vec::new()), RCODE::NameError),
        Found::Records(records, helping) => ((records, helping), RCODE::NoError),
    };
    let mut reply = reply_to(&query, code);
    reply.set_flags(PacketFlag::AUTHORITATIVE_ANSWER | PacketFlag::RECURSION_AVAILABLE);
    let (mut records, helping) = found;
    shuffle(&mut records, query.id());
    for data in &records {
        let data = rdata(data, zone)?;
        reply.answers.push(ResourceRecord::new(question.qname.clone(), CLASS::IN, TTL, data));
    }
    if records.is_empty() {
        let name = Name::new(zone.domain())?.into_owned();
        reply.name_servers.push(ResourceRecord::new(name, CLASS::IN, TTL, authority(zone)?));
    }
    for (name, address) in &helping {
        let name = Name::new(name)?.into_owned();
        reply.additional_records.push(ResourceRecord::new(name, CLASS::IN, TTL, address_data(*address)));
    }
    let whole = fitting(reply, limit(&query, transport))?;
    match &records[..] {
        [Data::Alias(target)] if matches!(kind, TYPE::A | TYPE::AAAA) => {
            let target = target.trim_end_matches('.');
            Ok(Reply::Follow(Alias {
                reply: whole,
                question: alias::question(&query, target, question.qtype)?,
            }))
        }
        _ => Ok(Reply::Send(whole)),
    }
}

/// The upper eight bits of a code are the first byte of its EDNS record's time to live (RFC 6891, 6.1.3). The library has them
/// in its last byte, so this is written here; the record is the last one, and nothing follows its time to live but a length of
/// two bytes.
fn bad_version(query: &Packet<'_>) -> Result<Vec<u8>, SimpleDnsError> {
    const BADVERS: u16 = 16;
    let mut bytes = reply_to(query, RCODE::NoError).build_bytes_vec_compressed()?;
    if let Some(first) = bytes.iter_mut().rev().nth(5) {
        *first = (BADVERS >> 4) as u8;
    }
    Ok(bytes)
}

/// Callers that take the first address are spread over all of them, as by CoreDNS' `loadbalance`. Whoever asks has drawn the
/// question's number, so there is nothing left to draw.
fn shuffle(records: &mut [Data], number: u16) {
    if !records.iter().all(|data| matches!(data, Data::Address(_))) {
        return;
    }
    // xorshift, which must not begin at zero.
    let mut state = (u32::from(number) << 1 | 1).wrapping_mul(0x9e37_79b9);
    for last in (1..records.len()).rev() {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        records.swap(last, state as usize % (last + 1));
    }
}

/// How long an answer to a question that came in this way may be, in bytes.
pub(super) fn limit(query: &Packet<'_>, transport: Transport) -> usize {
    match (transport, query.opt()) {
        (Transport::Tcp, _) => usize::from(u16::MAX),
        (Transport::Udp, Some(opt)) => usize::from(opt.udp_packet_size.min(LARGEST)).max(PLAIN),
        (Transport::Udp, None) => PLAIN,
    }
}

/// Without what only helps if it is too long, and if it still is, with as much as there is room for: the rest is to be asked for
/// over a connection. Resolvers that cannot (musl before 1.2.4) make do with it.
pub(super) fn fitting(mut reply: Packet<'_>, limit: usize) -> Result<Vec<u8>, SimpleDnsError> {
    let whole = reply.build_bytes_vec_compressed()?;
    if whole.len() <= limit {
        return Ok(whole);
    }
    reply.additional_records.clear();
    let needed = reply.build_bytes_vec_compressed()?;
    if needed.len() <= limit {
        return Ok(needed);
    }
    reply.set_flags(PacketFlag::TRUNCATION);
    // So many fit for certain, so many do not.
    let (mut fit, mut unfit) = (0, reply.answers.len());
    let answers = std::mem::take(&mut reply.answers);
    let mut cut = reply.build_bytes_vec_compressed()?;
    while unfit - fit > 1 {
        let middle = fit.midpoint(unfit);
        reply.answers = answers[..middle].to_vec();
        let longer = reply.build_bytes_vec_compressed()?;
        if longer.len() <= limit {
            (fit, cut) = (middle, longer);
        } else {
            unfit = middle;
        }
    }
    Ok(cut)
}

fn kind_of(kind: TYPE) -> Kind {
    match kind {
        TYPE::A => Kind::A,
        TYPE::AAAA => Kind::Aaaa,
        TYPE::SRV => Kind::Srv,
        TYPE::PTR => Kind::Ptr,
        TYPE::TXT => Kind::Txt,
        TYPE::NS => Kind::Ns,
        TYPE::SOA => Kind::Soa,
        TYPE::CNAME => Kind::Cname,
        _ => Kind::Other,
    }
}

fn address_data(address: IpAddr) -> RData<'static> {
    match address {
        IpAddr::V4(address) => RData::A(A { address: address.to_bits() }),
        IpAddr::V6(address) => RData::AAAA(AAAA { address: address.to_bits() }),
    }
}

fn rdata(data: &Data, zone: &Zone) -> Result<RData<'static>, SimpleDnsError> {
    let owned = |name: &str| Name::new(name).map(Name::into_owned);
    Ok(match data {
        Data::Address(address) => address_data(*address),
        Data::Alias(name) => RData::CNAME(CNAME(owned(name.trim_end_matches('.'))?)),
        Data::Service { weight, port, target } => {
            RData::SRV(SRV { priority: 0, weight: *weight, port: *port, target: owned(target)? })
        }
        Data::Pointer(name) => RData::PTR(PTR(owned(name)?)),
        Data::Text(text) => RData::TXT(TXT::new().with_string(text)?),
        Data::NameServer(name) => RData::NS(NS(owned(name)?)),
        Data::Authority => authority(zone)?,
    })
}

/// What the answer that there is nothing is kept by.
fn authority(zone: &Zone) -> Result<RData<'static>, SimpleDnsError> {
    let below = |label: &str| {
        let name = format!("{label}.{}", zone.domain());
        Name::new(&name).map(Name::into_owned)
    };
    Ok(RData::SOA(SOA {
        mname: below("ns.dns")?,
        rname: below("hostmaster")?,
        // Nobody transfers the zone, so nobody compares this.
        serial: 1,
        refresh: 7200,
        retry: 1800,
        expire: 86400,
        minimum: TTL,
    }))
}
