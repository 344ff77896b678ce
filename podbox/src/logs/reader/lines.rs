//! From entries to lines on the screen.
//!
//! Several writers share one screen: two streams of each of several containers. A line is put together
//! before it is printed, so that no two mix. Only two things are printed before their newline is there: a
//! prompt, when its container alone is looked at and has nothing more to say; and a line that has grown too
//! long to hold. Then the line is *open*: its rest follows without a label, unless another line had to be
//! printed meanwhile; that one first ends the open one.

use std::io::{BufWriter, Write};
use std::time::SystemTime;

use super::super::entry::{Entry, Stream, Tag};
use super::super::stamp::{STAMP_LEN, Stamp};
use super::{Query, ReadError, Times};

/// A line longer than this is printed in parts.
const HOLD: usize = 256 << 10;

/// Whose line it is: the source's number and the stream.
pub(super) type Writer = (usize, Stream);

/// Whose line it is when its writer has gone.
const NOBODY: Writer = (usize::MAX, Stream::Stdout);

/// What a writer has begun and not yet ended.
#[derive(Debug, Default)]
pub(super) struct Pending(Vec<u8>);

/// The screen.
pub(super) struct Printer<'a> {
    out: BufWriter<&'a mut dyn Write>,
    times: Times,
    since: Option<(SystemTime, Stamp)>,
    /// Bytes that may still be printed.
    left: u64,
    open: Option<Writer>,
}

impl<'a> Printer<'a> {
    pub(super) fn new(out: &'a mut dyn Write, query: &Query) -> Self {
        Self {
            out: BufWriter::with_capacity(32 << 10, out),
            times: query.times,
            since: query.since.map(|since| (since, Stamp::new(since))),
            left: query.limit_bytes.unwrap_or(u64::MAX),
            open: None,
        }
    }

    /// Whether nothing more may be printed.
    pub(super) fn is_full(&self) -> bool {
        self.left == 0
    }

    /// Takes the next entry of a writer.
    pub(super) fn entry(
        &mut self,
        writer: Writer,
        label: &str,
        entry: &Entry<'_>,
        pending: &mut Pending,
    ) -> Result<(), ReadError> {
        if self.is_too_old(entry.time) {
            return Ok(());
        }
        let Pending(line) = pending;
        if line.is_empty() && self.open != Some(writer) {
            line.extend_from_slice(label.as_bytes());
            if self.times == Times::Shown {
                line.extend_from_slice(entry.time.as_bytes());
                line.push(b' ');
            }
        }
        line.extend_from_slice(entry.text);
        match entry.tag {
            Tag::Full => {
                line.push(b'\n');
                self.show(writer, pending)?;
                self.open = None;
            }
            Tag::Partial if line.len() > HOLD => self.show(writer, pending)?,
            Tag::Partial => {}
        }
        Ok(())
    }

    /// Prints what a writer has begun, without its newline.
    pub(super) fn show(&mut self, writer: Writer, pending: &mut Pending) -> Result<(), ReadError> {
        if pending.0.is_empty() {
            return Ok(());
        }
        if self.open.is_some_and(|open| open != writer) {
            self.write(b"\n")?;
        }
        self.write(&pending.0)?;
        pending.0.clear();
        self.open = Some(writer);
        Ok(())
    }

    /// Says that nobody will go on with a line that is open.
    pub(super) fn abandon(&mut self) {
        self.open = self.open.map(|_| NOBODY);
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), ReadError> {
        let fits = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
        self.left -= fits as u64;
        self.out.write_all(&bytes[..fits]).map_err(ReadError::Print)
    }

    pub(super) fn flush(&mut self) -> Result<(), ReadError> {
        self.out.flush().map_err(ReadError::Print)
    }

    fn is_too_old(&self, time: &str) -> bool {
        let Some((since, stamp)) = &self.since else { return false };
        // podbox's own stamps compare as text.
        if time.len() == STAMP_LEN && time.ends_with('Z') {
            return time.as_bytes() < stamp.as_bytes().as_slice();
        }
        time.parse::<jiff::Timestamp>().is_ok_and(|time| SystemTime::from(time) < *since)
    }
}
