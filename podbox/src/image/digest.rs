//! SHA-256 digests in the form that OCI writes them: `sha256:` and 64 lower-case hexadecimal digits.

use std::cell::RefCell;
use std::io::{self, Read};
use std::rc::Rc;

use sha2::{Digest as _, Sha256};

/// The digest of these bytes.
pub(crate) fn of(bytes: &[u8]) -> String {
    text(Sha256::digest(bytes).as_slice())
}

/// The hexadecimal part, if this is a well-formed SHA-256 digest.
///
/// Only SHA-256 is taken: it is what registries serve, and one algorithm means one directory.
pub(crate) fn hex(digest: &str) -> Option<&str> {
    let hex = digest.strip_prefix("sha256:")?;
    let digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    (hex.len() == 64 && hex.bytes().all(digit)).then_some(hex)
}

fn text(hash: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut out = String::with_capacity(7 + 2 * hash.len());
    out.push_str("sha256:");
    for byte in hash {
        out.push(DIGITS[usize::from(byte >> 4)].into());
        out.push(DIGITS[usize::from(byte & 15)].into());
    }
    out
}

/// A running digest that outlives the reader that feeds it.
#[derive(Clone, Default)]
pub(crate) struct Running(Rc<RefCell<Sha256>>);

impl Running {
    /// The digest of all that was fed.
    pub(crate) fn finish(&self) -> String {
        text(self.0.borrow().clone().finalize().as_slice())
    }
}

/// Hands bytes through and digests them on the way.
pub(crate) struct Tee<R> {
    inner: R,
    running: Running,
}

impl<R: Read> Tee<R> {
    pub(crate) fn new(inner: R) -> (Tee<R>, Running) {
        let running = Running::default();
        (Tee { inner, running: running.clone() }, running)
    }
}

impl<R: Read> Read for Tee<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.running.0.borrow_mut().update(&buffer[..count]);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_of_nothing_is_the_well_known_one() {
        let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(of(b""), empty);
        assert_eq!(hex(empty).map(str::len), Some(64));
    }

    #[test]
    fn a_digest_that_could_be_a_path_is_refused() {
        assert_eq!(hex("sha256:../../etc/passwd"), None);
        assert_eq!(hex(&format!("sha256:{}", "A".repeat(64))), None);
        assert_eq!(hex(&format!("sha512:{}", "a".repeat(64))), None);
    }
}
