//! Telling the neighbours whose Ethernet address an IP address has now: an announcement of RFC 5227, section 3, and an
//! unsolicited neighbour advertisement of RFC 4861, section 7.2.6. Only those listen who knew another one.
//!
//! Mostly there is nothing to tell, because the same IP address always has the same Ethernet address. But once somebody has asked
//! for one of his own, an IP address may have had another a moment ago, and a neighbour would go on with what it knows for
//! half a minute and more.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{LinkAddr, MsgFlags, sendto};
use socket2::{Domain, Socket, Type};

use crate::config::Mac;

const EVERYBODY: Mac = Mac([0xff; 6]);
/// The Ethernet address of the group of all nodes (RFC 2464, section 7).
const ALL_NODES_MAC: Mac = Mac([0x33, 0x33, 0, 0, 0, 1]);
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ARP: [u8; 2] = [0x08, 0x06];
const IPV6: [u8; 2] = [0x86, 0xdd];
const ICMPV6: u8 = 58;

/// Announces addresses on an interface of the calling thread's network namespace.
///
/// # Errors
/// If the interface is not there, or the kernel sends nothing.
pub(crate) fn announce(interface: &str, mac: Mac, addresses: &[IpAddr]) -> io::Result<()> {
    let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
    let link = link_address(interface)?;
    for address in addresses {
        let frame = match *address {
            IpAddr::V4(v4) => arp(mac, v4),
            IpAddr::V6(v6) => advertisement(mac, v6),
        };
        sendto(socket.as_raw_fd(), &frame, &link, MsgFlags::empty())?;
    }
    Ok(())
}

/// Where a packet socket sends: the kernel tells it with the list of interfaces.
fn link_address(interface: &str) -> io::Result<LinkAddr> {
    let mut all = getifaddrs()?.filter(|entry| entry.interface_name == interface);
    all.find_map(|entry| entry.address?.as_link_addr().copied()).ok_or_else(|| Errno::ENODEV.into())
}

fn ethernet(to: Mac, from: Mac, kind: [u8; 2]) -> Vec<u8> {
    [&to.0[..], &from.0, &kind].concat()
}

/// An ARP request for one's own address (RFC 826).
fn arp(mac: Mac, address: Ipv4Addr) -> Vec<u8> {
    const ETHERNET_IPV4_REQUEST: [u8; 8] = [0, 1, 0x08, 0, 6, 4, 0, 1];
    let mut frame = ethernet(EVERYBODY, mac, ARP);
    frame.extend(ETHERNET_IPV4_REQUEST);
    frame.extend(mac.0);
    frame.extend(address.octets());
    frame.extend([0; 6]);
    frame.extend(address.octets());
    frame
}

/// An unsolicited neighbour advertisement that overrides what is known (RFC 4861, section 4.4).
fn advertisement(mac: Mac, address: Ipv6Addr) -> Vec<u8> {
    const ADVERTISEMENT: u8 = 136;
    const OVERRIDE: u8 = 0x20;
    const TARGET_LINK_ADDRESS: [u8; 2] = [2, 1];
    let mut message = vec![ADVERTISEMENT, 0, 0, 0, OVERRIDE, 0, 0, 0];
    message.extend(address.octets());
    message.extend(TARGET_LINK_ADDRESS);
    message.extend(mac.0);
    let length = u8::try_from(message.len()).unwrap_or(u8::MAX);
    let sum =
        checksum(&[&address.octets(), &ALL_NODES.octets(), &[0, 0, 0, length, 0, 0, 0, ICMPV6], &message]);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let mut frame = ethernet(ALL_NODES_MAC, mac, IPV6);
    frame.extend([0x60, 0, 0, 0, 0, length, ICMPV6, 255]);
    frame.extend(address.octets());
    frame.extend(ALL_NODES.octets());
    frame.extend(message);
    frame
}

/// The Internet's checksum (RFC 1071) of parts of an even length each.
fn checksum(parts: &[&[u8]]) -> u16 {
    let words = parts.iter().flat_map(|part| part.chunks_exact(2));
    let mut sum: u32 = words.map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum();
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: Mac = Mac([2, 0, 0, 0, 0, 7]);

    #[test]
    fn an_arp_announcement_asks_everybody_for_its_own_address() {
        let frame = arp(MAC, Ipv4Addr::new(10, 9, 8, 7));
        assert_eq!(frame.len(), 42);
        assert_eq!((&frame[..6], &frame[6..12]), (&[0xff; 6][..], &MAC.0[..]));
        assert_eq!((&frame[28..32], &frame[38..42]), (&[10, 9, 8, 7][..], &[10, 9, 8, 7][..]));
    }

    /// A receiver sums everything, the checksum too, and must get 0.
    #[test]
    fn an_advertisements_checksum_is_right() {
        let frame = advertisement(MAC, "fd00::7".parse().unwrap());
        assert_eq!(frame.len(), 14 + 40 + 32);
        let (addresses, message) = (&frame[22..54], &frame[54..]);
        assert_eq!(checksum(&[addresses, &[0, 0, 0, 32, 0, 0, 0, 58], message]), 0);
    }
}
