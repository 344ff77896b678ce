//! A packet as a line for people, in the words that tcpdump's readers know.

use std::fmt;
use std::net::SocketAddr;

use super::packet::{Content, Ip, Packet, Tcp, Transport, protocol};

/// Shows what is in a packet; `1` is how long it was, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a>(pub &'a Packet, pub usize);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shown(packet, length) = self;
        match &packet.content {
            Content::Ip(ip) => shown_ip(f, ip, *length),
            Content::Arp(arp) => match arp.operation {
                1 => write!(f, "arp who-has {} tell {}", arp.target, arp.sender.1),
                2 => write!(f, "arp {} is-at {}", arp.sender.1, arp.sender.0),
                other => write!(f, "arp operation {other}"),
            },
            Content::Other(kind) => write!(f, "ethertype {kind:#06x}, length {length}"),
        }
    }
}

fn shown_ip(f: &mut fmt::Formatter<'_>, ip: &Ip, length: usize) -> fmt::Result {
    let name = name_of(ip.protocol);
    match (&ip.transport, ip.ends()) {
        (Transport::Tcp(tcp), Some((from, to))) => shown_tcp(f, tcp, from, to),
        (Transport::Udp { length, .. }, Some((from, to))) => write!(f, "udp {from} > {to}: length {length}"),
        (Transport::Icmp { kind, code, about }, _) => {
            let what = control_message(ip.protocol, *kind, *code);
            write!(f, "{name} {} > {}: {what}", ip.source, ip.destination)?;
            match about.as_ref().and_then(|about| about.ends().map(|ends| (name_of(about.protocol), ends))) {
                Some((name, (from, to))) => write!(f, " ({name} {from} > {to})"),
                None => Ok(()),
            }
        }
        _ => {
            let part = if ip.is_later_fragment { " fragment" } else { "" };
            write!(f, "{name}{part} {} > {}: length {length}", ip.source, ip.destination)
        }
    }
}

fn shown_tcp(f: &mut fmt::Formatter<'_>, tcp: &Tcp, from: SocketAddr, to: SocketAddr) -> fmt::Result {
    let Tcp { sequence, acknowledgement, window, length, .. } = tcp;
    write!(f, "tcp {from} > {to}: Flags [{}], seq {sequence}", flag_letters(tcp.flags))?;
    if tcp.flags & 16 != 0 {
        write!(f, ", ack {acknowledgement}")?;
    }
    write!(f, ", win {window}, length {length}")
}

/// tcpdump's letters: a dot is ACK.
#[must_use]
pub fn flag_letters(flags: u8) -> String {
    let letters = [(2, 'S'), (1, 'F'), (4, 'R'), (8, 'P'), (32, 'U'), (64, 'E'), (128, 'W'), (16, '.')];
    let set: String = letters.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, letter)| letter).collect();
    if set.is_empty() { "none".to_owned() } else { set }
}

/// A protocol's name, or its number.
#[must_use]
pub fn name_of(number: u8) -> String {
    match number {
        protocol::TCP => "tcp".to_owned(),
        protocol::UDP => "udp".to_owned(),
        protocol::ICMP => "icmp".to_owned(),
        protocol::ICMP6 => "icmp6".to_owned(),
        protocol::SCTP => "sctp".to_owned(),
        other => format!("ip-proto-{other}"),
    }
}

/// What a control message says. Sources: RFC 792, RFC 4443, RFC 4861.
#[must_use]
pub fn control_message(number: u8, kind: u8, code: u8) -> String {
    let text = match (number, kind, code) {
        (protocol::ICMP, 0, _) | (protocol::ICMP6, 129, _) => "echo reply",
        (protocol::ICMP, 8, _) | (protocol::ICMP6, 128, _) => "echo request",
        (protocol::ICMP, 3, 0) | (protocol::ICMP6, 1, 0) => "net unreachable",
        (protocol::ICMP, 3, 1) | (protocol::ICMP6, 1, 3) => "host unreachable",
        (protocol::ICMP, 3, 2) => "protocol unreachable",
        (protocol::ICMP, 3, 3) | (protocol::ICMP6, 1, 4) => "port unreachable",
        (protocol::ICMP, 3, 4) | (protocol::ICMP6, 2, _) => "packet too big",
        (protocol::ICMP, 3, 9 | 10 | 13) | (protocol::ICMP6, 1, 1) => "administratively prohibited",
        (protocol::ICMP, 11, _) | (protocol::ICMP6, 3, _) => "time exceeded",
        (protocol::ICMP6, 133, _) => "router solicitation",
        (protocol::ICMP6, 134, _) => "router advertisement",
        (protocol::ICMP6, 135, _) => "neighbour solicitation",
        (protocol::ICMP6, 136, _) => "neighbour advertisement",
        (protocol::ICMP6, 143, _) => "multicast listener report",
        _ => return format!("type {kind} code {code}"),
    };
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::packet::{flags, tests::carried, tests::segment};
    use super::*;

    #[test]
    fn a_line_says_who_talks_to_whom() {
        let show = |bytes: &[u8]| Shown(&Packet::read(1, bytes, bytes.len()), bytes.len()).to_string();
        let (a, b) = ("10.0.0.1:1234".parse().unwrap(), "10.0.0.2:80".parse().unwrap());
        assert_eq!(
            show(&segment(a, b, flags::SYN | flags::ACK)),
            "tcp 10.0.0.1:1234 > 10.0.0.2:80: Flags [S.], seq 0, ack 0, win 0, length 0"
        );
        let (a6, b6) = ("fd00::1".parse().unwrap(), "fd00::2".parse().unwrap());
        let datagram = [0, 7, 0, 8, 0, 11, 0, 0, 1, 2, 3];
        assert_eq!(show(&carried(a6, b6, 17, &datagram)), "udp [fd00::1]:7 > [fd00::2]:8: length 3");
        let lost = [&[3, 3, 0, 0, 0, 0, 0, 0], &carried(a.ip(), b.ip(), 17, &datagram)[14..]].concat();
        assert_eq!(
            show(&carried(b.ip(), a.ip(), 1, &lost)),
            "icmp 10.0.0.2 > 10.0.0.1: port unreachable (udp 10.0.0.1:7 > 10.0.0.2:8)"
        );
    }
}
