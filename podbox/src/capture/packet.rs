//! What is in a packet, as far as it tells who talks to whom. Bytes that end too early, or that nobody understands, are no
//! error: what is known up to there is told.
//!
//! Sources: RFC 826 (ARP), 791 (IPv4), 8200 (IPv6), 9293 (TCP), 768 (UDP), 792 and 4443 (ICMP).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use netplugin::Mac;

/// Ethernet's numbers of what it carries.
pub const ETHERNET_IPV4: u16 = 0x0800;
/// As above.
pub const ETHERNET_IPV6: u16 = 0x86dd;
/// As above.
pub const ETHERNET_ARP: u16 = 0x0806;
const ETHERNET_VLAN: [u16; 2] = [0x8100, 0x88a8];

/// A packet's headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Who sent it over the cable, and to whom, where it was on one.
    pub cable: Option<(Mac, Mac)>,
    /// What it carries.
    pub content: Content,
}

/// What is behind a packet's first header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A question or an answer about who has an address.
    Arp(Arp),
    /// A packet of either family.
    Ip(Ip),
    /// Something else, with Ethernet's number for it.
    Other(u16),
}

/// Who has an address?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arp {
    /// 1 asks, 2 answers.
    pub operation: u16,
    /// Who says it.
    pub sender: (Mac, Ipv4Addr),
    /// The address that it is about, or that is answered.
    pub target: Ipv4Addr,
}

/// An IP header and what follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ip {
    /// Who sent it.
    pub source: IpAddr,
    /// To whom.
    pub destination: IpAddr,
    /// How many more routers it may pass.
    pub hops: u8,
    /// What its last header says it carries (IANA's protocol numbers).
    pub protocol: u8,
    /// Whether it is not the first piece of a packet that was cut: then it has no ports.
    pub is_later_fragment: bool,
    /// What it carries.
    pub transport: Transport,
}

/// What an IP packet carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A segment.
    Tcp(Tcp),
    /// A datagram.
    Udp {
        /// The sender's port.
        source: u16,
        /// The receiver's.
        destination: u16,
        /// How many bytes of content.
        length: usize,
    },
    /// A control message of either family.
    Icmp {
        /// What it is.
        kind: u8,
        /// What it is, more exactly.
        code: u8,
        /// The packet that it complains of.
        about: Option<Box<Ip>>,
    },
    /// Something else, or too short.
    Other,
}

/// A TCP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tcp {
    /// The sender's port.
    pub source: u16,
    /// The receiver's.
    pub destination: u16,
    /// The number of its first byte.
    pub sequence: u32,
    /// The number of the byte that is expected next.
    pub acknowledgement: u32,
    /// FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32.
    pub flags: u8,
    /// How much the sender has room for, unscaled.
    pub window: u16,
    /// How many bytes of content.
    pub length: usize,
}

/// FIN, SYN, RST and ACK in [`Tcp::flags`].
pub mod flags {
    /// The sender has nothing more to say.
    pub const FIN: u8 = 1;
    /// A connection begins.
    pub const SYN: u8 = 2;
    /// There is no such connection.
    pub const RST: u8 = 4;
    /// The sender has something to say now.
    pub const PSH: u8 = 8;
    /// The acknowledgement counts.
    pub const ACK: u8 = 16;
    /// There is something urgent.
    pub const URG: u8 = 32;
}

/// IANA's numbers of protocols.
pub mod protocol {
    /// ICMP for IPv4.
    pub const ICMP: u8 = 1;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// ICMP for IPv6.
    pub const ICMP6: u8 = 58;
    /// SCTP.
    pub const SCTP: u8 = 132;
}

/// An interface's type, as far as packets differ by it (`ARPHRD_`).
fn has_ethernet_header(hardware: u16) -> bool {
    matches!(hardware, libc::ARPHRD_ETHER | libc::ARPHRD_LOOPBACK)
}

impl Packet {
    /// Reads a packet as it was seen on an interface of a type (`ARPHRD_`); `length` is how long it was, which may be more
    /// than there is.
    #[must_use]
    pub fn read(hardware: u16, bytes: &[u8], length: usize) -> Packet {
        if !has_ethernet_header(hardware) {
            return Packet { cable: None, content: bare(bytes, length) };
        }
        let Some((header, mut rest)) = bytes.split_first_chunk::<14>() else {
            return Packet { cable: None, content: Content::Other(0) };
        };
        let [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, k0, k1] = *header;
        let cable = Some((Mac([s0, s1, s2, s3, s4, s5]), Mac([d0, d1, d2, d3, d4, d5])));
        let mut kind = u16::from_be_bytes([k0, k1]);
        while ETHERNET_VLAN.contains(&kind)
            && let Some((tag, behind)) = rest.split_first_chunk::<4>()
        {
            kind = u16::from_be_bytes([tag[2], tag[3]]);
            rest = behind;
        }
        let left = length.saturating_sub(bytes.len() - rest.len());
        let content = match kind {
            ETHERNET_ARP => arp(rest).map(Content::Arp),
            ETHERNET_IPV4 | ETHERNET_IPV6 => ip(rest, left).map(Content::Ip),
            _ => None,
        };
        Packet { cable, content: content.unwrap_or(Content::Other(kind)) }
    }

    /// The IP header, if there is one.
    #[must_use]
    pub fn ip(&self) -> Option<&Ip> {
        match &self.content {
            Content::Ip(ip) => Some(ip),
            Content::Arp(_) | Content::Other(_) => None,
        }
    }
}

impl Ip {
    /// Both ends, where the packet has ports.
    #[must_use]
    pub fn ends(&self) -> Option<(SocketAddr, SocketAddr)> {
        let (source, destination) = match self.transport {
            Transport::Tcp(tcp) => (tcp.source, tcp.destination),
            Transport::Udp { source, destination, .. } => (source, destination),
            Transport::Icmp { .. } | Transport::Other => return None,
        };
        Some((SocketAddr::new(self.source, source), SocketAddr::new(self.destination, destination)))
    }
}

fn bare(bytes: &[u8], length: usize) -> Content {
    let kind = match bytes.first().map(|first| first >> 4) {
        Some(4) => ETHERNET_IPV4,
        Some(6) => ETHERNET_IPV6,
        _ => 0,
    };
    ip(bytes, length).map_or(Content::Other(kind), Content::Ip)
}

fn arp(bytes: &[u8]) -> Option<Arp> {
    // For Ethernet and IPv4, the only ones there are.
    let bytes: &[u8; 28] = bytes.first_chunk()?;
    if bytes[..6] != [0, 1, 8, 0, 6, 4] {
        return None;
    }
    let mac = |at: usize| Some(Mac(*bytes.get(at..)?.first_chunk()?));
    let address = |at: usize| Some(Ipv4Addr::from(*bytes.get(at..)?.first_chunk::<4>()?));
    Some(Arp {
        operation: u16::from_be_bytes([bytes[6], bytes[7]]),
        sender: (mac(8)?, address(14)?),
        target: address(24)?,
    })
}

fn ip(bytes: &[u8], length: usize) -> Option<Ip> {
    match bytes.first()? >> 4 {
        4 => ipv4(bytes, length),
        6 => ipv6(bytes, length),
        _ => None,
    }
}

fn ipv4(bytes: &[u8], length: usize) -> Option<Ip> {
    let header: &[u8; 20] = bytes.first_chunk()?;
    let header_length = usize::from(header[0] & 0x0f) * 4;
    let total = usize::from(u16::from_be_bytes([header[2], header[3]]));
    // A packet that the card cuts later may be longer than the field can say.
    let total = if total == 0 { length } else { total };
    let is_later_fragment = u16::from_be_bytes([header[6], header[7]]) & 0x1fff != 0;
    let [.., a, b, c, d, e, f, g, h] = *header;
    let rest = bytes.get(header_length.max(20)..).unwrap_or_default();
    let left = total.saturating_sub(header_length);
    Some(Ip {
        source: Ipv4Addr::new(a, b, c, d).into(),
        destination: Ipv4Addr::new(e, f, g, h).into(),
        hops: header[8],
        protocol: header[9],
        is_later_fragment,
        transport: if is_later_fragment { Transport::Other } else { transport(header[9], rest, left) },
    })
}

fn ipv6(bytes: &[u8], length: usize) -> Option<Ip> {
    let (header, mut rest) = bytes.split_first_chunk::<40>()?;
    let said = usize::from(u16::from_be_bytes([header[4], header[5]]));
    let mut left = if said == 0 { length.saturating_sub(40) } else { said };
    let address = |at: usize| Some(Ipv6Addr::from(*header.get(at..)?.first_chunk::<16>()?));
    let mut protocol = header[6];
    let mut is_later_fragment = false;
    // Hop-by-hop options, routing, destination options; a fragment's header has a length of its own.
    while let (0 | 43 | 44 | 60, Some(extension)) = (protocol, rest.first_chunk::<8>()) {
        let own = if protocol == 44 { 8 } else { (usize::from(extension[1]) + 1) * 8 };
        if protocol == 44 {
            is_later_fragment = u16::from_be_bytes([extension[2], extension[3]]) >> 3 != 0;
        }
        protocol = extension[0];
        rest = rest.get(own..).unwrap_or_default();
        left = left.saturating_sub(own);
    }
    Some(Ip {
        source: address(8)?.into(),
        destination: address(24)?.into(),
        hops: header[7],
        protocol,
        is_later_fragment,
        transport: if is_later_fragment { Transport::Other } else { transport(protocol, rest, left) },
    })
}

fn transport(number: u8, bytes: &[u8], length: usize) -> Transport {
    let read = match number {
        protocol::TCP => tcp(bytes, length).map(Transport::Tcp),
        protocol::UDP => udp(bytes, length),
        protocol::ICMP | protocol::ICMP6 => icmp(number, bytes, length),
        _ => None,
    };
    read.unwrap_or(Transport::Other)
}

fn tcp(bytes: &[u8], length: usize) -> Option<Tcp> {
    let [a, b, c, d, e, f, g, h, i, j, k, l, offset, flags, w0, w1] = *bytes.first_chunk::<16>()?;
    Some(Tcp {
        source: u16::from_be_bytes([a, b]),
        destination: u16::from_be_bytes([c, d]),
        sequence: u32::from_be_bytes([e, f, g, h]),
        acknowledgement: u32::from_be_bytes([i, j, k, l]),
        flags,
        window: u16::from_be_bytes([w0, w1]),
        length: length.saturating_sub(usize::from(offset >> 4) * 4),
    })
}

fn udp(bytes: &[u8], length: usize) -> Option<Transport> {
    let [a, b, c, d, ..] = *bytes.first_chunk::<8>()?;
    Some(Transport::Udp {
        source: u16::from_be_bytes([a, b]),
        destination: u16::from_be_bytes([c, d]),
        length: length.saturating_sub(8),
    })
}

fn icmp(number: u8, bytes: &[u8], length: usize) -> Option<Transport> {
    let (header, rest) = bytes.split_first_chunk::<8>()?;
    let kind = header[0];
    // Those that quote what they complain of.
    let complains = if number == protocol::ICMP { matches!(kind, 3 | 4 | 5 | 11 | 12) } else { kind < 128 };
    // A quoted packet quotes nothing: whoever sends deep ones is not followed.
    let about = if complains { quoted(rest, length.saturating_sub(8)) } else { None };
    Some(Transport::Icmp { kind, code: header[1], about: about.map(Box::new) })
}

/// A quoted packet is cut, often after the ports.
fn quoted(bytes: &[u8], length: usize) -> Option<Ip> {
    let version = bytes.first()? >> 4;
    let (number, at) = match version {
        4 => (*bytes.get(9)?, usize::from(bytes[0] & 0x0f) * 4),
        6 => (*bytes.get(6)?, 40),
        _ => return None,
    };
    if matches!(number, protocol::ICMP | protocol::ICMP6) {
        return None;
    }
    let mut found = ip(bytes, length)?;
    if let (Transport::Other, Some([a, b, c, d])) =
        (&found.transport, bytes.get(at..).and_then(<[u8]>::first_chunk))
        && number == protocol::TCP
    {
        found.transport = Transport::Tcp(Tcp {
            source: u16::from_be_bytes([*a, *b]),
            destination: u16::from_be_bytes([*c, *d]),
            sequence: 0,
            acknowledgement: 0,
            flags: 0,
            window: 0,
            length: 0,
        });
    }
    Some(found)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// An Ethernet packet with a TCP segment of no content.
    pub(crate) fn segment(from: SocketAddr, to: SocketAddr, flags: u8) -> Vec<u8> {
        let mut tcp = vec![0; 20];
        tcp[0..2].copy_from_slice(&from.port().to_be_bytes());
        tcp[2..4].copy_from_slice(&to.port().to_be_bytes());
        (tcp[12], tcp[13]) = (5 << 4, flags);
        carried(from.ip(), to.ip(), protocol::TCP, &tcp)
    }

    /// An Ethernet packet that carries something from an address to another one.
    pub(crate) fn carried(from: IpAddr, to: IpAddr, number: u8, content: &[u8]) -> Vec<u8> {
        let mut bytes = vec![2; 12];
        match (from, to) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                bytes.extend(ETHERNET_IPV4.to_be_bytes());
                let total = u16::try_from(20 + content.len()).unwrap().to_be_bytes();
                bytes.extend([0x45, 0, total[0], total[1], 0, 0, 0, 0, 64, number, 0, 0]);
                bytes.extend(from.octets().into_iter().chain(to.octets()));
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                bytes.extend(ETHERNET_IPV6.to_be_bytes());
                let length = u16::try_from(content.len()).unwrap().to_be_bytes();
                bytes.extend([0x60, 0, 0, 0, length[0], length[1], number, 64]);
                bytes.extend(from.octets().into_iter().chain(to.octets()));
            }
            _ => panic!("two families"),
        }
        bytes.extend(content);
        bytes
    }

    fn read(bytes: &[u8]) -> Packet {
        Packet::read(libc::ARPHRD_ETHER, bytes, bytes.len())
    }

    #[test]
    fn a_segment_tells_its_ends_and_flags_on_both_families() {
        for (from, to) in [("10.0.0.1:1234", "10.0.0.2:80"), ("[fd00::1]:1234", "[fd00::2]:80")] {
            let (from, to): (SocketAddr, SocketAddr) = (from.parse().unwrap(), to.parse().unwrap());
            let bytes = segment(from, to, flags::SYN);
            let packet = read(&bytes);
            let ip = packet.ip().unwrap();
            assert_eq!(ip.ends(), Some((from, to)));
            assert!(matches!(ip.transport, Transport::Tcp(Tcp { flags: flags::SYN, length: 0, .. })));
            // Without the Ethernet header, as on a tunnel.
            assert_eq!(Packet::read(libc::ARPHRD_NONE, &bytes[14..], bytes.len() - 14).ip(), Some(ip));
        }
    }

    #[test]
    fn a_complaint_tells_what_it_is_about() {
        let (from, to): (SocketAddr, SocketAddr) =
            ("10.0.0.1:1234".parse().unwrap(), "10.0.0.2:80".parse().unwrap());
        let complained = segment(from, to, flags::SYN);
        // Eight bytes of the segment are all that a router must quote.
        let quote = [&[3, 3, 0, 0, 0, 0, 0, 0], &complained[14..14 + 28]].concat();
        let packet = read(&carried(to.ip(), from.ip(), protocol::ICMP, &quote));
        let Transport::Icmp { kind: 3, code: 3, about: Some(about) } = &packet.ip().unwrap().transport else {
            panic!("{packet:?}")
        };
        assert_eq!(about.ends(), Some((from, to)));
    }

    #[test]
    fn an_extension_header_and_a_tag_are_passed_over() {
        let (from, to): (SocketAddr, SocketAddr) =
            ("[fd00::1]:7".parse().unwrap(), "[fd00::2]:8".parse().unwrap());
        let udp = [0, 7, 0, 8, 0, 8, 0, 0];
        let options = [&[protocol::UDP, 0, 1, 4, 0, 0, 0, 0], &udp[..]].concat();
        let mut bytes = carried(from.ip(), to.ip(), 60, &options);
        bytes.splice(12..12, [0x81, 0, 0, 5]);
        assert_eq!(read(&bytes).ip().unwrap().ends(), Some((from, to)));
    }

    #[test]
    fn a_question_for_an_address_is_read() {
        let mut bytes = vec![0xff; 6];
        bytes.extend([2, 0, 0, 0, 0, 1, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 10, 0, 0, 1]);
        bytes.extend([0, 0, 0, 0, 0, 0, 10, 0, 0, 2]);
        let Content::Arp(arp) = read(&bytes).content else { panic!() };
        assert_eq!((arp.operation, arp.target), (1, "10.0.0.2".parse().unwrap()));
        assert_eq!(arp.sender, (Mac([2, 0, 0, 0, 0, 1]), "10.0.0.1".parse().unwrap()));
    }

    proptest! {
        #[test]
        fn nothing_that_arrives_is_too_strange(
            bytes in proptest::collection::vec(any::<u8>(), 0..200), hardware in prop_oneof![Just(1u16), Just(65534)],
        ) {
            let _ = Packet::read(hardware, &bytes, bytes.len());
        }

        #[test]
        fn a_packet_may_end_anywhere(at in 0usize..80, kind in 0u8..=255, code in 0u8..=255) {
            let to: SocketAddr = "10.0.0.2:80".parse().unwrap();
            let inner = segment("10.0.0.1:1".parse().unwrap(), to, 2);
            let quote = [&[kind, code, 0, 0, 0, 0, 0, 0], &inner[14..]].concat();
            let bytes = carried(to.ip(), "10.0.0.1".parse().unwrap(), protocol::ICMP, &quote);
            let _ = Packet::read(1, &bytes[..at.min(bytes.len())], bytes.len());
        }
    }
}
