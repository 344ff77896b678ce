//! The way of a packet, as it was seen: where, when, with which addresses, which rules decided, and, if it was lost, why.
//!
//! Pure: whoever sends the packet and watches it hands in what was seen.

mod judge;
mod show;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use netplugin::{Mac, Met, Seen, Way};
use serde::Serialize;

use crate::capture::line::{flag_letters, name_of};
use crate::capture::packet::{Ip, Packet, Transport, protocol};

pub use judge::{Evidence, Outcome, judge};
pub use show::text;

/// A packet as one interface saw it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Hop {
    /// Nanoseconds since the first of all.
    pub after_nanoseconds: u64,
    /// `pod default/web`, or `host`.
    pub place: String,
    /// The interface's name.
    pub interface: String,
    /// Its number there.
    pub index: u32,
    /// `in` or `out`.
    pub way: &'static str,
    /// The request, or what came back.
    pub leg: Leg,
    /// The sender's Ethernet address.
    pub source_mac: Option<Mac>,
    /// The receiver's.
    pub destination_mac: Option<Mac>,
    /// The sender.
    pub source: String,
    /// The receiver.
    pub destination: String,
    /// `[S]`, `port unreachable` and the like.
    pub what: String,
}

/// There or back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Leg {
    /// The first packet.
    Forth,
    /// The first that came back.
    Back,
}

/// What a rule, or a chain's policy, did with the packet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Decision {
    /// Whose rules: `pod default/web`, or `host`.
    pub place: String,
    /// `table inet filter`
    pub table: String,
    /// The chain's name.
    pub chain: String,
    /// The rule's handle; none where it was the chain's policy.
    pub handle: Option<u64>,
    /// The rule, in nft's words, where it could be read.
    pub rule: Option<String>,
    /// What was decided.
    pub verdict: String,
    /// Whether the packet ended here.
    pub dropped: bool,
    /// Where the packet was going then.
    pub destination: Option<IpAddr>,
}

impl Decision {
    /// What was met in a place.
    #[must_use]
    pub fn new(place: &str, met: Met) -> Decision {
        Decision {
            place: place.to_owned(),
            table: format!("table {} {}", met.family, met.table),
            chain: met.chain,
            handle: met.rule,
            rule: met.text,
            verdict: met.verdict,
            dropped: met.is_dropped,
            destination: met.destination,
        }
    }
}

/// All that is told in the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Who sent it.
    pub from: String,
    /// To whom.
    pub to: String,
    /// `tcp` or `udp`.
    pub protocol: String,
    /// The sender's end.
    pub source: SocketAddr,
    /// The receiver's, as it was asked for.
    pub destination: SocketAddr,
    /// Where it was seen, in order.
    pub hops: Vec<Hop>,
    /// Which rules decided, in order.
    pub decisions: Vec<Decision>,
    /// Whether it arrived, and, with TCP, was answered well.
    pub arrived: bool,
    /// Why not, or how.
    pub reason: String,
    /// What could not be watched.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unseen: Vec<String>,
}

/// Whose packets are followed.
#[derive(Clone, Debug)]
pub struct Followed {
    /// The sender's port, which nobody changes without need.
    pub port: u16,
    /// The sender's address.
    pub source: IpAddr,
    /// All addresses that it may be going to.
    pub destinations: Vec<IpAddr>,
}

impl Followed {
    /// Which way a packet goes, if it is one of those, or complains of one.
    #[must_use]
    pub fn leg(&self, ip: &Ip) -> Option<Leg> {
        let concerns = |ip: &Ip| {
            ip.source == self.source
                || ip.destination == self.source
                || self.destinations.iter().any(|one| *one == ip.source || *one == ip.destination)
        };
        if let Transport::Icmp { kind, about: Some(about), .. } = &ip.transport {
            if !is_complaint(ip.protocol, *kind) {
                return None;
            }
            let (from, _) = about.ends()?;
            return (from.port() == self.port && concerns(about)).then_some(Leg::Back);
        }
        let (from, to) = ip.ends().filter(|_| concerns(ip))?;
        match (from.port() == self.port, to.port() == self.port) {
            (true, _) => Some(Leg::Forth),
            (_, true) => Some(Leg::Back),
            _ => None,
        }
    }
}

/// Whether a control message says that a packet was lost. A redirect (RFC 792, RFC 4861) quotes one as well, but that one
/// went on.
fn is_complaint(number: u8, kind: u8) -> bool {
    match number {
        protocol::ICMP => matches!(kind, 3 | 11 | 12),
        _ => matches!(kind, 1..=4),
    }
}

/// Where something was seen.
#[derive(Clone, Copy, Debug)]
pub struct Spot<'a> {
    /// `pod default/web`, or `host`.
    pub place: &'a str,
    /// The interface.
    pub interface: &'a str,
}

impl Hop {
    /// What one interface saw. `first` is when the first of all was seen.
    #[must_use]
    pub fn new(spot: Spot<'_>, seen: &Seen, packet: &Packet, leg: Leg) -> Option<Hop> {
        let ip = packet.ip()?;
        let (source, destination) = match ip.ends() {
            Some((source, destination)) => (source.to_string(), destination.to_string()),
            None => (ip.source.to_string(), ip.destination.to_string()),
        };
        let what = match &ip.transport {
            Transport::Tcp(tcp) => format!("tcp [{}]", flag_letters(tcp.flags)),
            Transport::Icmp { kind, code, .. } => {
                crate::capture::line::control_message(ip.protocol, *kind, *code)
            }
            Transport::Udp { .. } | Transport::Other => name_of(ip.protocol),
        };
        Some(Hop {
            after_nanoseconds: 0,
            place: spot.place.to_owned(),
            interface: spot.interface.to_owned(),
            index: seen.index,
            way: if seen.way == Way::Out { "out" } else { "in" },
            leg,
            source_mac: packet.cable.map(|(source, _)| source),
            destination_mac: packet.cable.map(|(_, destination)| destination),
            source,
            destination,
            what,
        })
    }
}

/// Puts what was seen in the order of time. An interface sees a packet once: what comes later there is sent again, or is
/// the conversation's next packet.
#[must_use]
pub fn in_order(mut seen: Vec<(Duration, Hop)>) -> Vec<Hop> {
    seen.sort_by_key(|(at, _)| *at);
    let first = seen.first().map(|(at, _)| *at).unwrap_or_default();
    let mut hops: Vec<Hop> = Vec::new();
    for (at, mut hop) in seen {
        let same = |known: &&Hop| {
            (&known.place, known.index, known.way, known.leg) == (&hop.place, hop.index, hop.way, hop.leg)
        };
        if !hops.iter().any(|known| same(&known)) {
            hop.after_nanoseconds = u64::try_from((at - first).as_nanos()).unwrap_or(u64::MAX);
            hops.push(hop);
        }
    }
    hops
}

#[cfg(test)]
mod tests;
