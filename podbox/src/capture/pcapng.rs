//! The pcapng format: a section, its interfaces, packets, and at the end how many of them were lost.
//!
//! Source: IETF draft-ietf-opsawg-pcapng, sections 3 and 4. All numbers are little-endian; every block's length stands at
//! its beginning and at its end, options are padded to four bytes.

use std::io::{self, Write};
use std::net::IpAddr;
use std::time::Duration;

use netplugin::{Interface, Way};

const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const STATISTICS: u32 = 5;
const PACKET: u32 = 6;

/// Packets in the interface's own form: with an Ethernet header, or with none.
const LINKTYPE_ETHERNET: u16 = 1;
const LINKTYPE_RAW: u16 = 101;

/// What is in a packet's block.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// The number that [`Writer::interface`] gave.
    pub interface: u32,
    /// When it was seen, since 1970.
    pub at: Duration,
    /// Its direction.
    pub way: Way,
    /// How long it was, in bytes.
    pub length: usize,
    /// As much of it as is kept.
    pub bytes: &'a [u8],
    /// A word about it.
    pub comment: Option<&'a str>,
}

/// Writes one section.
#[derive(Debug)]
pub struct Writer<W: Write> {
    out: W,
    interfaces: u32,
    /// The most that is kept of a packet, in bytes.
    limit: u32,
}

impl<W: Write> Writer<W> {
    /// Begins a section.
    ///
    /// # Errors
    /// The file's.
    pub fn new(out: W, limit: u32) -> io::Result<Writer<W>> {
        let mut writer = Writer { out, interfaces: 0, limit };
        let mut block = Block::new(SECTION);
        block.u32(0x1a2b_3c4d);
        block.u16(1);
        block.u16(0);
        // How long the section will be is not known.
        block.bytes(&(-1i64).to_le_bytes());
        block.option(3, b"Linux");
        block.option(4, concat!("podbox ", env!("CARGO_PKG_VERSION")).as_bytes());
        writer.write(block)?;
        Ok(writer)
    }

    /// Introduces an interface and gives the number by which packets name it.
    ///
    /// # Errors
    /// The file's.
    pub fn interface(
        &mut self,
        interface: &Interface,
        description: &str,
        filter: Option<&str>,
    ) -> io::Result<u32> {
        let mut block = Block::new(INTERFACE);
        block.u16(link_type(interface.hardware));
        block.u16(0);
        block.u32(self.limit);
        block.option(2, interface.name.as_bytes());
        block.option(3, description.as_bytes());
        for address in &interface.addresses {
            match address.address {
                IpAddr::V4(v4) => {
                    let mask = u32::MAX.checked_shl(32 - u32::from(address.prefix)).unwrap_or(0);
                    block.option(4, &[v4.octets(), mask.to_be_bytes()].concat());
                }
                IpAddr::V6(v6) => block.option(5, &[&v6.octets()[..], &[address.prefix]].concat()),
            }
        }
        if let Some(mac) = interface.mac {
            block.option(6, &mac.0);
        }
        // Times are in 10^-9 seconds.
        block.option(9, &[9]);
        if let Some(filter) = filter {
            // 0: a filter's text, as libpcap has them.
            block.option(11, &[&[0], filter.as_bytes()].concat());
        }
        self.write(block)?;
        self.interfaces += 1;
        Ok(self.interfaces - 1)
    }

    /// Writes a packet.
    ///
    /// # Errors
    /// The file's.
    pub fn packet(&mut self, record: &Record<'_>) -> io::Result<()> {
        let kept = &record.bytes[..record.bytes.len().min(self.limit as usize)];
        let mut block = Block::new(PACKET);
        block.u32(record.interface);
        block.time(record.at);
        block.u32(u32::try_from(kept.len()).unwrap_or(u32::MAX));
        block.u32(u32::try_from(record.length).unwrap_or(u32::MAX));
        block.padded(kept);
        block.option(2, &direction(record.way).to_le_bytes());
        if let Some(comment) = record.comment {
            block.option(1, comment.as_bytes());
        }
        self.write(block)
    }

    /// Says of an interface how many packets came, and how many of all were lost because nobody fetched them in time.
    ///
    /// # Errors
    /// The file's.
    pub fn statistics(&mut self, interface: u32, at: Duration, received: u64, lost: u64) -> io::Result<()> {
        let mut block = Block::new(STATISTICS);
        block.u32(interface);
        block.time(at);
        block.option(4, &received.to_le_bytes());
        block.option(5, &lost.to_le_bytes());
        self.write(block)
    }

    /// Hands on what was written.
    ///
    /// # Errors
    /// The file's.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    fn write(&mut self, block: Block) -> io::Result<()> {
        self.out.write_all(&block.finish())
    }
}

/// Whether packets of an interface of that type (`ARPHRD_`) can be written.
#[must_use]
pub fn can_write(hardware: u16) -> bool {
    matches!(
        hardware,
        libc::ARPHRD_ETHER
            | libc::ARPHRD_LOOPBACK
            | libc::ARPHRD_NONE
            | libc::ARPHRD_TUNNEL
            | libc::ARPHRD_TUNNEL6
            | libc::ARPHRD_SIT
            | libc::ARPHRD_PPP
    )
}

fn link_type(hardware: u16) -> u16 {
    match hardware {
        libc::ARPHRD_ETHER | libc::ARPHRD_LOOPBACK => LINKTYPE_ETHERNET,
        _ => LINKTYPE_RAW,
    }
}

/// `epb_flags`: two bits for the direction, three for how it was received.
fn direction(way: Way) -> u32 {
    const IN: u32 = 1;
    match way {
        Way::In => IN | 1 << 2,
        Way::InMulticast => IN | 2 << 2,
        Way::InBroadcast => IN | 3 << 2,
        Way::InForeign => IN | 4 << 2,
        Way::Out => 2,
    }
}

/// A block in the making.
struct Block {
    bytes: Vec<u8>,
    has_options: bool,
}

impl Block {
    fn new(kind: u32) -> Block {
        let mut block = Block { bytes: Vec::with_capacity(256), has_options: false };
        block.u32(kind);
        block.u32(0);
        block
    }

    fn u16(&mut self, value: u16) {
        self.bytes(&value.to_le_bytes());
    }

    fn u32(&mut self, value: u32) {
        self.bytes(&value.to_le_bytes());
    }

    /// The upper half first, whatever the order of bytes.
    fn time(&mut self, at: Duration) {
        let nanoseconds = u64::try_from(at.as_nanos()).unwrap_or(u64::MAX);
        self.u32((nanoseconds >> 32) as u32);
        self.u32(nanoseconds as u32);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    fn padded(&mut self, bytes: &[u8]) {
        self.bytes(bytes);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn option(&mut self, code: u16, value: &[u8]) {
        let value = &value[..value.len().min(usize::from(u16::MAX))];
        self.has_options = true;
        self.u16(code);
        self.u16(value.len() as u16);
        self.padded(value);
    }

    fn finish(mut self) -> Vec<u8> {
        if self.has_options {
            self.u32(0);
        }
        let length = (self.bytes.len() + 4) as u32;
        self.bytes[4..8].copy_from_slice(&length.to_le_bytes());
        self.u32(length);
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use netplugin::{InterfaceAddress, Mac};

    fn blocks(mut bytes: &[u8]) -> Vec<(u32, Vec<u8>)> {
        let mut found = Vec::new();
        while !bytes.is_empty() {
            let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
            let length = number(4) as usize;
            assert_eq!(length % 4, 0);
            assert_eq!(number(length - 4) as usize, length, "both lengths are the same");
            found.push((number(0), bytes[8..length - 4].to_vec()));
            bytes = &bytes[length..];
        }
        found
    }

    fn eth0() -> Interface {
        let address = |text: &str, prefix| InterfaceAddress { address: text.parse().unwrap(), prefix };
        Interface {
            index: 2,
            name: "eth0".to_owned(),
            hardware: libc::ARPHRD_ETHER,
            mac: Some(Mac([2, 0, 0, 0, 0, 9])),
            mtu: 1500,
            is_up: true,
            is_bridge: false,
            master: None,
            peer: None,
            addresses: vec![address("10.0.0.9", 16), address("fd00::9", 64)],
        }
    }

    #[test]
    fn a_section_is_made_of_whole_blocks() {
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&mut bytes, 64).unwrap();
        let interface = writer.interface(&eth0(), "eth0 of default/web", Some("tcp port 80")).unwrap();
        let at = Duration::new(1_700_000_000, 123_456_789);
        for content in [&[7; 61][..], &[7; 100][..]] {
            let record = Record {
                interface,
                at,
                way: Way::Out,
                length: content.len(),
                bytes: content,
                comment: Some("web"),
            };
            writer.packet(&record).unwrap();
        }
        writer.statistics(interface, at, 2, 1).unwrap();
        let blocks = blocks(&bytes);
        assert_eq!(
            blocks.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(),
            [SECTION, INTERFACE, PACKET, PACKET, STATISTICS]
        );
        let packet = &blocks[3].1;
        let number = |at: usize| u64::from(u32::from_le_bytes(packet[at..at + 4].try_into().unwrap()));
        assert_eq!((number(12), number(16)), (64, 100), "kept and whole length");
        assert_eq!(number(4) << 32 | number(8), 1_700_000_000_123_456_789, "nanoseconds");
        let holds =
            |block: usize, bytes: &[u8]| blocks[block].1.windows(bytes.len()).any(|part| part == bytes);
        assert!(holds(1, &[4, 0, 8, 0, 10, 0, 0, 9, 255, 255, 0, 0]), "the address with its mask");
        assert!(holds(1, b"\0tcp port 80"));
        assert!(holds(3, &[2, 0, 4, 0, 2, 0, 0, 0]), "outbound");
    }
}
