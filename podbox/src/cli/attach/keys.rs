//! The keys that end a session and leave the container running, as docker and kubectl's users write them:
//! `ctrl-p,ctrl-q`.

use std::str::FromStr;

/// A sequence of bytes to wait for in what is typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct DetachKeys(Vec<u8>);

impl Default for DetachKeys {
    /// Ctrl-P, Ctrl-Q.
    fn default() -> DetachKeys {
        DetachKeys(vec![16, 17])
    }
}

impl FromStr for DetachKeys {
    type Err = String;

    /// Single characters and `ctrl-X` with X a letter or one of `@[\]^_`, with commas between them; nothing at all for
    /// no way out.
    fn from_str(text: &str) -> Result<DetachKeys, String> {
        let keys = text.split(',').filter(|_| !text.is_empty());
        keys.map(|key| byte(key).ok_or_else(|| format!("{key:?} is no key")))
            .collect::<Result<_, _>>()
            .map(DetachKeys)
    }
}

fn byte(key: &str) -> Option<u8> {
    match (key.as_bytes(), key.strip_prefix("ctrl-").map(str::as_bytes)) {
        ([one], _) => Some(*one),
        (_, Some([letter @ (b'a'..=b'z' | b'A'..=b'Z' | b'@' | b'['..=b'_')])) => Some(letter & 0x1f),
        _ => None,
    }
}

/// Looks for the keys in what comes.
#[derive(Debug)]
pub(super) struct Search<'a> {
    keys: &'a DetachKeys,
    /// How many of them have come in a row; they are held back until it is clear that they are not meant.
    matched: usize,
}

impl<'a> Search<'a> {
    pub(super) fn new(keys: &'a DetachKeys) -> Search<'a> {
        Search { keys, matched: 0 }
    }

    /// What is to be passed on of `typed`, and whether the keys are complete.
    pub(super) fn pass(&mut self, typed: &[u8]) -> (Vec<u8>, bool) {
        let keys = &self.keys.0;
        let mut out = Vec::with_capacity(typed.len() + self.matched);
        for &byte in typed {
            if keys.get(self.matched) == Some(&byte) {
                self.matched += 1;
                if self.matched == keys.len() {
                    return (out, true);
                }
                continue;
            }
            out.extend_from_slice(&keys[..self.matched]);
            self.matched = usize::from(keys.first() == Some(&byte));
            if self.matched == 0 {
                out.push(byte);
            }
        }
        (out, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_written_as_docker_has_them() {
        assert_eq!("ctrl-p,ctrl-q".parse(), Ok(DetachKeys::default()));
        assert_eq!("a,ctrl-[".parse(), Ok(DetachKeys(vec![b'a', 27])));
        assert_eq!("".parse(), Ok(DetachKeys(Vec::new())));
        assert_eq!("ctrl-1".parse::<DetachKeys>(), Err("\"ctrl-1\" is no key".to_owned()));
        assert!("a,,b".parse::<DetachKeys>().is_err());
    }

    #[test]
    fn the_keys_are_found_across_reads_and_anything_else_is_passed_on_whole() {
        let keys = DetachKeys::default();
        let mut search = Search::new(&keys);
        assert_eq!(search.pass(b"ls\x10"), (b"ls".to_vec(), false));
        assert_eq!(search.pass(b"x\x10\x10"), (b"\x10x\x10".to_vec(), false));
        assert_eq!(search.pass(b"\x11rest"), (Vec::new(), true));
        let none = DetachKeys(Vec::new());
        assert_eq!(Search::new(&none).pass(b"\x10\x11"), (b"\x10\x11".to_vec(), false));
    }
}
