//! What nftables' tracing tells: one message for each rule or policy that decided something.

use std::net::IpAddr;

use netlink_packet_core::NetlinkBuffer;

use super::raw::{self, Attributes};
use super::words;

const HEADER: usize = 4;

/// A step of a traced packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Traced {
    /// The same for all steps of one packet.
    pub(crate) id: u32,
    pub(crate) family: u8,
    pub(crate) table: String,
    pub(crate) chain: String,
    pub(crate) rule: Option<u64>,
    pub(crate) verdict: String,
    /// Told with a packet's first step in each chain that has a hook.
    pub(crate) destination: Option<IpAddr>,
}

impl Traced {
    pub(crate) fn family_name(&self) -> &'static str {
        match self.family {
            1 => "inet",
            2 => "ip",
            3 => "arp",
            5 => "netdev",
            7 => "bridge",
            10 => "ip6",
            _ => "unknown",
        }
    }
}

/// The steps in what was received at once.
pub(crate) fn trace_attributes(mut bytes: &[u8]) -> Vec<Traced> {
    const TRACE: u16 = 10 << 8 | 17;
    let mut found = Vec::new();
    while let Ok(message) = NetlinkBuffer::new_checked(bytes) {
        let length = message.length() as usize;
        if message.message_type() == TRACE {
            found.extend(traced(message.payload()));
        }
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        if bytes.len() < 16 {
            break;
        }
    }
    found
}

/// Source: `enum nft_trace_attributes`.
fn traced(payload: &[u8]) -> Option<Traced> {
    const POLICY: u32 = 1;
    let [table, chain, rule, kind, verdict, id, network] = [1, 2, 3, 4, 5, 6, 8];
    let all = Attributes(payload.get(HEADER..)?);
    let of_policy = || match all.big(16) {
        Some(0) => "drop".to_owned(),
        _ => "accept".to_owned(),
    };
    let kind = all.big(kind)?;
    let rule = all.long(rule);
    if kind != POLICY && rule.is_none() {
        // The end of a chain.
        return None;
    }
    Some(Traced {
        id: all.big(id)?,
        // The header has the chain's family; NFTA_TRACE_NFPROTO is the packet's.
        family: *payload.first()?,
        table: all.text(table)?,
        chain: all.text(chain)?,
        rule: rule.filter(|_| kind != POLICY),
        verdict: if kind == POLICY { of_policy() } else { words::verdict(all.nested(verdict)) },
        destination: all.get(network).and_then(destination),
    })
}

fn destination(header: &[u8]) -> Option<IpAddr> {
    match header.first()? >> 4 {
        4 => raw::address(header.get(16..20)?),
        6 => raw::address(header.get(24..40)?),
        _ => None,
    }
}
