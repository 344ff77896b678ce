//! Which packets are wanted: a part of the language that tcpdump's users know (pcap-filter(7)).
//!
//! `and` and `or` bind equally and group from the left, as there; `not` binds tighter. What differs: a port's protocol is
//! written before it (`tcp port 80`), names of hosts are not looked up.

mod compile;
mod parse;

use std::fmt;
use std::net::IpAddr;

pub use compile::{TooLong, compile};
pub use parse::{FilterError, parse};

/// A filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// All but these.
    Not(Box<Filter>),
    /// Both are true.
    And(Box<Filter>, Box<Filter>),
    /// One of them is true, or both.
    Or(Box<Filter>, Box<Filter>),
    /// One thing.
    Is(Primitive),
}

/// One thing that is asked of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Primitive {
    /// It is of this kind.
    Kind(Kind),
    /// One of its addresses lies in this network, which is a single address if the prefix is the whole.
    Net(Side, IpAddr, u8),
    /// One of its ports, of TCP, UDP or SCTP, or of the one given, lies between these.
    Port(Option<Transport>, Side, u16, u16),
}

/// Kinds of packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// IPv4.
    Ip,
    /// IPv6.
    Ip6,
    /// ARP.
    Arp,
    /// ICMP for IPv4.
    Icmp,
    /// ICMP for IPv6.
    Icmp6,
    /// One with ports, of either family.
    With(Transport),
}

/// Protocols with ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

/// Which of a packet's two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// One of them.
    Either,
    /// Its sender.
    Source,
    /// Its receiver.
    Destination,
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Filter::Not(inner) => match **inner {
                Filter::Is(_) | Filter::Not(_) => write!(f, "not {inner}"),
                _ => write!(f, "not ({inner})"),
            },
            Filter::And(left, right) => write!(f, "{left} and {}", Operand(right)),
            Filter::Or(left, right) => write!(f, "{left} or {}", Operand(right)),
            Filter::Is(primitive) => write!(f, "{primitive}"),
        }
    }
}

/// What stands on the right: grouped from the left, so that a pair there needs brackets.
struct Operand<'a>(&'a Filter);

impl fmt::Display for Operand<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Filter::And(..) | Filter::Or(..) => write!(f, "({})", self.0),
            other => write!(f, "{other}"),
        }
    }
}

impl fmt::Display for Primitive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Primitive::Kind(kind) => write!(f, "{kind}"),
            Primitive::Net(side, address, prefix) if *prefix == whole(*address) => {
                write!(f, "{side}host {address}")
            }
            Primitive::Net(side, address, prefix) => write!(f, "{side}net {address}/{prefix}"),
            Primitive::Port(transport, side, first, last) => {
                if let Some(transport) = transport {
                    write!(f, "{} ", Kind::With(*transport))?;
                }
                match first == last {
                    true => write!(f, "{side}port {first}"),
                    false => write!(f, "{side}portrange {first}-{last}"),
                }
            }
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Ip => "ip",
            Kind::Ip6 => "ip6",
            Kind::Arp => "arp",
            Kind::Icmp => "icmp",
            Kind::Icmp6 => "icmp6",
            Kind::With(Transport::Tcp) => "tcp",
            Kind::With(Transport::Udp) => "udp",
            Kind::With(Transport::Sctp) => "sctp",
        })
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Side::Either => "",
            Side::Source => "src ",
            Side::Destination => "dst ",
        })
    }
}

/// The prefix that is a whole address.
fn whole(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// An address without the bits behind a prefix.
fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            IpAddr::V4((v4.to_bits() & mask).into())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            IpAddr::V6((v6.to_bits() & mask).into())
        }
    }
}

#[cfg(test)]
mod tests;
