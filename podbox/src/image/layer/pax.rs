//! What a pax header says of the entry behind it: records `LENGTH KEY=VALUE\n` (pax(1), "pax Extended Header").

use std::io;

use super::entries::wrong;

/// Keys and values, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Records(Vec<(Vec<u8>, Vec<u8>)>);

impl Records {
    /// Takes the records apart. A value may hold any byte, newlines too: its length says where it ends.
    pub(super) fn parse(mut bytes: &[u8]) -> io::Result<Records> {
        let mut out = Vec::new();
        while !bytes.is_empty() {
            let (record, rest) = split(bytes).ok_or_else(|| wrong("a pax record is malformed"))?;
            out.push(record);
            bytes = rest;
        }
        Ok(Records(out))
    }

    /// The last value under this key. An empty one says that the header's own field holds.
    pub(super) fn get(&self, key: &str) -> Option<&[u8]> {
        let found = self.0.iter().rev().find(|(name, _)| name == key.as_bytes());
        found.map(|(_, value)| value.as_slice()).filter(|value| !value.is_empty())
    }

    /// All values under keys that begin so, by the rest of the key.
    pub(super) fn below(&self, start: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
        let rest = |key: &[u8]| key.strip_prefix(start.as_bytes()).map(<[u8]>::to_owned);
        self.0.iter().filter_map(|(key, value)| Some((rest(key)?, value.clone()))).collect()
    }

    /// A time: `SECONDS[.FRACTION]`, possibly negative, as seconds and nanoseconds.
    pub(super) fn time(&self, key: &str) -> Option<(i64, i64)> {
        let text = std::str::from_utf8(self.get(key)?).ok()?;
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let seconds: i64 = whole.parse().ok()?;
        let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
        let nanoseconds: i64 = digits.parse().ok()?;
        match (whole.starts_with('-'), nanoseconds) {
            (true, 1..) => Some((seconds.checked_sub(1)?, 1_000_000_000 - nanoseconds)),
            _ => Some((seconds, nanoseconds)),
        }
    }
}

type Record = (Vec<u8>, Vec<u8>);

fn split(bytes: &[u8]) -> Option<(Record, &[u8])> {
    let space = bytes.iter().position(|byte| *byte == b' ')?;
    let length = usize::try_from(decimal(&bytes[..space]).ok()?).ok()?;
    let rest = bytes.get(length..)?;
    let record = bytes.get(space + 1..length)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|byte| *byte == b'=')?;
    Some(((record[..equals].to_owned(), record[equals + 1..].to_owned()), rest))
}

/// A number as pax writes them.
pub(super) fn decimal(text: &[u8]) -> io::Result<u64> {
    let number = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    number.ok_or_else(|| wrong("a number in a pax record is none"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_may_hold_newlines_and_ends_where_its_length_says() {
        let records = Records::parse(b"14 a=x\n\n9 b=y\n10 path=p\n6 c==\n8 path=\n").expect("records");
        assert_eq!(records.get("a"), Some(&b"x\n\n9 b=y"[..]));
        assert_eq!(records.get("b"), None);
        assert_eq!(records.get("c"), Some(&b"="[..]));
        assert_eq!(records.get("path"), None, "the last says nothing");
    }

    #[test]
    fn malformed_records_are_refused() {
        for bytes in ["x", "5 a=b", "99 a=b\n", "4 a\n", "1 a=b\n", "0 a=b\n", "-6 a=b\n", "6 a=bc"] {
            assert!(Records::parse(bytes.as_bytes()).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn times_have_fractions_and_may_lie_before_the_epoch() {
        for (text, expected) in [
            ("1700000000.5", Some((1_700_000_000, 500_000_000))),
            ("12", Some((12, 0))),
            ("-1.25", Some((-2, 750_000_000))),
            ("0.1234567899", Some((0, 123_456_789))),
            ("soon", None),
        ] {
            let record = format!("{:2} mtime={text}\n", text.len() + 10);
            let records = Records::parse(record.as_bytes()).expect("a record");
            assert_eq!(records.time("mtime"), expected, "{text}");
        }
    }
}
