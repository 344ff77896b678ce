//! One entry of a log file.

use super::stamp::{STAMP_LEN, Stamp};

/// Which of the container's outputs an entry comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Descriptor 1.
    Stdout,
    /// Descriptor 2.
    Stderr,
}

/// Whether the container's line ends with the entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tag {
    /// It does.
    Full,
    /// It goes on in the stream's next entry.
    Partial,
}

/// The longest head of an entry: stamp, stream and tag, each with its space.
pub(super) const HEAD_LEN: usize = STAMP_LEN + " stdout F ".len();

/// The head of an entry; both streams' names have six letters.
pub(super) fn head(stamp: Stamp, stream: Stream, tag: Tag) -> [u8; HEAD_LEN] {
    let mut head = [b' '; HEAD_LEN];
    head[..STAMP_LEN].copy_from_slice(stamp.as_bytes());
    head[STAMP_LEN + 1..HEAD_LEN - 3].copy_from_slice(match stream {
        Stream::Stdout => b"stdout",
        Stream::Stderr => b"stderr",
    });
    head[HEAD_LEN - 2] = match tag {
        Tag::Full => b'F',
        Tag::Partial => b'P',
    };
    head
}

/// An entry as it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// RFC 3339 time as it stands in the file; runtimes differ in zone and in digits.
    pub time: &'a str,
    /// Where it came from.
    pub stream: Stream,
    /// Whether the line is complete.
    pub tag: Tag,
    /// The container's bytes, without the newline.
    pub text: &'a [u8],
}

impl<'a> Entry<'a> {
    /// Reads a line of the file, with or without its newline; `None` if it is not an entry.
    ///
    /// Of several tags joined by `:` only the first counts, as in kubelets.
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let mut fields = line.splitn(4, |byte| *byte == b' ');
        let time = std::str::from_utf8(fields.next()?).ok()?;
        let stream = match fields.next()? {
            b"stdout" => Stream::Stdout,
            b"stderr" => Stream::Stderr,
            _ => return None,
        };
        let tag = match fields.next()?.split(|byte| *byte == b':').next()? {
            b"F" => Tag::Full,
            b"P" => Tag::Partial,
            _ => return None,
        };
        // A date's fixed places tell a time from chance words; the rest is read where it is needed.
        let looks_like_a_time = time.len() >= "2016-10-06T00:17:09Z".len()
            && time.as_bytes()[4] == b'-'
            && time.as_bytes()[10] == b'T'
            && time.as_bytes()[13] == b':';
        looks_like_a_time.then_some(Self { time, stream, tag, text: fields.next().unwrap_or(b"") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn the_head_has_the_form_that_kubelets_read() {
        let stamp = Stamp::new(UNIX_EPOCH + Duration::new(1_475_713_029, 669_794_202));
        assert_eq!(&head(stamp, Stream::Stdout, Tag::Full), b"2016-10-06T00:17:09.669794202Z stdout F ");
        assert_eq!(&head(stamp, Stream::Stderr, Tag::Partial), b"2016-10-06T00:17:09.669794202Z stderr P ");
    }

    #[test]
    fn other_runtimes_times_and_tags_are_understood() {
        let entry = Entry::parse(b"2016-10-06T00:17:09.66+02:00 stderr P:x:y  two  spaces \n").unwrap();
        assert_eq!(entry.time, "2016-10-06T00:17:09.66+02:00");
        assert_eq!(
            (entry.stream, entry.tag, entry.text),
            (Stream::Stderr, Tag::Partial, &b" two  spaces "[..])
        );
    }

    #[test]
    fn an_empty_line_is_an_entry_even_without_its_last_space() {
        for line in ["2016-10-06T00:17:09Z stdout F \n", "2016-10-06T00:17:09Z stdout F"] {
            assert_eq!(Entry::parse(line.as_bytes()).unwrap().text, b"", "{line:?}");
        }
    }

    #[test]
    fn what_is_no_entry_is_none() {
        for line in
            ["", "hello", "2016-10-06T00:17:09Z stdin F x", "2016-10-06T00:17:09Z stdout X x", "a stdout F x"]
        {
            assert_eq!(Entry::parse(line.as_bytes()), None, "{line:?}");
        }
    }
}
