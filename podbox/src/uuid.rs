//! Identifiers that nobody else has (RFC 9562).

use std::fs::File;
use std::io::{self, Read};

/// A random one (version 4).
///
/// # Errors
/// If the kernel gives no random numbers.
pub fn random() -> io::Result<String> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(of(bytes, 4))
}

/// One of these bytes, but for those that tell the version.
#[must_use]
pub fn of(mut bytes: [u8; 16], version: u8) -> String {
    bytes[6] = bytes[6] & 0x0f | version << 4;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_tells_its_version_and_is_written_in_five_groups() {
        assert_eq!(of([0xff; 16], 8), "ffffffff-ffff-8fff-bfff-ffffffffffff");
        assert_ne!(random().unwrap(), random().unwrap());
    }
}
