//! Netlink messages as the bytes that they are.
//!
//! Who looks at a host that is not his meets links, rules and attributes of every kind that there is. So what is only
//! read is taken apart here, attribute by attribute; what is not understood is passed over and spoils nothing else.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_packet_core::{NLA_TYPE_MASK, NetlinkDeserializable, NetlinkHeader, NetlinkSerializable};

/// A message: its type, and all behind netlink's own header.
#[derive(Debug, Clone, Default)]
pub(crate) struct Raw {
    pub(crate) kind: u16,
    pub(crate) bytes: Vec<u8>,
}

impl Raw {
    /// A message of `kind` that begins with a subsystem's own header.
    pub(crate) fn new(kind: u16, header: &[u8]) -> Raw {
        Raw { kind, bytes: header.to_vec() }
    }

    /// Adds an attribute. The header before has a length that is a multiple of four.
    pub(crate) fn with(mut self, kind: u16, value: &[u8]) -> Raw {
        let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
        self.bytes.extend(length.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(value);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self
    }

    /// Adds a text, with the zero at its end that the kernel wants.
    pub(crate) fn with_text(self, kind: u16, text: &str) -> Raw {
        let mut bytes = text.as_bytes().to_vec();
        bytes.push(0);
        self.with(kind, &bytes)
    }

    /// The attributes behind a header of so many bytes.
    pub(crate) fn attributes(&self, header: usize) -> Attributes<'_> {
        Attributes(self.bytes.get(header..).unwrap_or_default())
    }

    /// A byte of the header.
    pub(crate) fn byte(&self, at: usize) -> u8 {
        self.bytes.get(at).copied().unwrap_or_default()
    }

    /// Two bytes of the header, in the host's order.
    pub(crate) fn short(&self, at: usize) -> u16 {
        let bytes = self.bytes.get(at..at + 2).and_then(|bytes| bytes.try_into().ok());
        bytes.map(u16::from_ne_bytes).unwrap_or_default()
    }

    /// Four bytes of the header, in the host's order.
    pub(crate) fn word(&self, at: usize) -> u32 {
        let bytes = self.bytes.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
        bytes.map(u32::from_ne_bytes).unwrap_or_default()
    }
}

impl NetlinkSerializable for Raw {
    fn message_type(&self) -> u16 {
        self.kind
    }

    fn buffer_len(&self) -> usize {
        self.bytes.len()
    }

    fn serialize(&self, buffer: &mut [u8]) {
        buffer[..self.bytes.len()].copy_from_slice(&self.bytes);
    }
}

impl NetlinkDeserializable for Raw {
    type Error = Infallible;

    fn deserialize(header: &NetlinkHeader, payload: &[u8]) -> Result<Raw, Infallible> {
        Ok(Raw { kind: header.message_type, bytes: payload.to_vec() })
    }
}

/// A row of attributes (`struct nlattr`), each a number and a value.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Attributes<'a>(pub(crate) &'a [u8]);

impl<'a> Attributes<'a> {
    /// All of them, until the first that is torn.
    pub(crate) fn all(self) -> impl Iterator<Item = (u16, &'a [u8])> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let length = usize::from(u16::from_ne_bytes(rest.get(..2)?.try_into().ok()?));
            let kind = u16::from_ne_bytes(rest.get(2..4)?.try_into().ok()?) & NLA_TYPE_MASK;
            let value = rest.get(4..length)?;
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
            Some((kind, value))
        })
    }

    pub(crate) fn get(self, kind: u16) -> Option<&'a [u8]> {
        self.all().find(|(of, _)| *of == kind).map(|(_, value)| value)
    }

    /// Attributes within one.
    pub(crate) fn nested(self, kind: u16) -> Attributes<'a> {
        Attributes(self.get(kind).unwrap_or_default())
    }

    /// A number in the host's byte order.
    pub(crate) fn number(self, kind: u16) -> Option<u32> {
        Some(u32::from_ne_bytes(self.get(kind)?.get(..4)?.try_into().ok()?))
    }

    /// A number as nf_tables has it, big end first.
    pub(crate) fn big(self, kind: u16) -> Option<u32> {
        Some(u32::from_be_bytes(self.get(kind)?.get(..4)?.try_into().ok()?))
    }

    /// The same of eight bytes.
    pub(crate) fn long(self, kind: u16) -> Option<u64> {
        Some(u64::from_be_bytes(self.get(kind)?.get(..8)?.try_into().ok()?))
    }

    pub(crate) fn text(self, kind: u16) -> Option<String> {
        Some(text(self.get(kind)?))
    }

    pub(crate) fn address(self, kind: u16) -> Option<IpAddr> {
        address(self.get(kind)?)
    }
}

/// Bytes up to the first zero, as a text.
pub(crate) fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// Four bytes or sixteen as an address.
pub(crate) fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).into()),
        16 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).into()),
        _ => None,
    }
}
