//! A message's bytes, where the library that reads it does not say what they are.
//!
//! Source: RFC 1035, 4.1; RFC 6891, 6.1.3.

use super::answer::HEADER;

/// The type of the record of EDNS.
pub(super) const TYPE_OPT: u16 = 41;

/// Which version of EDNS a message is of; `None` if it has no record of EDNS. It is the second byte of that record's time to
/// live; the library has the third, in which the flags are.
pub(super) fn edns_version(message: &[u8]) -> Option<u8> {
    let mut at = HEADER;
    for _ in 0..short(message, 4)? {
        at = after_name(message, at)? + 4;
    }
    let records = [short(message, 6)?, short(message, 8)?, short(message, 10)?];
    for _ in 0..records.into_iter().map(u32::from).sum() {
        let fields = after_name(message, at)?;
        if short(message, fields)? == TYPE_OPT {
            return message.get(fields + 5).copied();
        }
        at = fields + 10 + usize::from(short(message, fields + 8)?);
    }
    None
}

/// Where a name ends that begins at `at`.
pub(super) fn after_name(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *message.get(at)? {
            0 => return Some(at + 1),
            length @ 1..64 => at += 1 + usize::from(length),
            // The rest of it is elsewhere.
            192.. => return Some(at + 2),
            _ => return None,
        }
    }
}

/// Two bytes.
pub(super) fn short(message: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(message.get(at..at + 2)?.try_into().ok()?))
}

/// Four bytes.
pub(super) fn number(message: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(message.get(at..at + 4)?.try_into().ok()?))
}
