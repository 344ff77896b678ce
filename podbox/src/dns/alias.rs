//! A name that stands for another one: the question that is left, and the answer to both.
//!
//! Source: `backend_lookup.go` of CoreDNS' plugins. What cannot be found out about the other name is left out.

use simple_dns::rdata::{OPT, RData};
use simple_dns::{CLASS, Name, Packet, PacketFlag, QTYPE, Question, SimpleDnsError};

use super::answer::{LARGEST, Transport, fitting, limit};

/// More names in a row are not followed (CoreDNS: `len(previousRecords) > 7`).
pub const MOST_ALIASES: usize = 8;

/// What is known, and what is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alias {
    /// The answer that holds the alias only.
    pub reply: Vec<u8>,
    /// The question for what it stands for.
    pub question: Vec<u8>,
}

/// The same question for another name.
pub(super) fn question(query: &Packet<'_>, target: &str, kind: QTYPE) -> Result<Vec<u8>, SimpleDnsError> {
    let mut packet = Packet::new_query(query.id());
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    packet.questions.push(Question::new(Name::new(target)?, kind, CLASS::IN.into(), false));
    *packet.opt_mut() = Some(OPT { opt_codes: Vec::new(), udp_packet_size: LARGEST, version: 0 });
    packet.build_bytes_vec()
}

/// Whether it has to be asked for again over a connection.
#[must_use]
pub fn is_cut(reply: &[u8]) -> bool {
    reply.get(2).is_some_and(|flags| flags & 0x02 != 0)
}

/// One answer to `message`, of the first alias and what was found for it, in order.
#[must_use]
pub fn joined(message: &[u8], transport: Transport, (first, more): (&[u8], &[Vec<u8>])) -> Option<Vec<u8>> {
    let query = Packet::parse(message).ok()?;
    let mut reply = Packet::parse(first).ok()?;
    for more in more.iter().filter_map(|more| Packet::parse(more).ok()) {
        reply.answers.extend(more.answers);
        // How long it may be kept that there is nothing more (RFC 2308, 2.2).
        reply.name_servers = more.name_servers;
    }
    reply.name_servers.retain(|record| matches!(record.rdata, RData::SOA(_)));
    fitting(reply, limit(&query, transport)).ok()
}
