//! Writing a container's output down.
//!
//! A chunk goes in as it came from the pipe and leaves as whole entries in one write. What a chunk ends with
//! is written at once, as a P entry if no newline ended it: nothing stays in memory, so a supervisor that is
//! killed loses nothing that it took from the pipe, and a reader that follows sees a prompt when it is
//! printed. (conmon does the same; containerd holds such an ending back until it is complete.)
//!
//! Neither do entries depend on one another, so a writer needs no state but the file and its size.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::entry::{HEAD_LEN, Stream, Tag, head};
use super::rotate;
use super::stamp::Stamp;

/// The most text that one entry holds, in bytes: containerd's `max_container_log_line_size`.
pub const ENTRY_MAX: usize = 16 << 10;

/// How much is gathered for one write. More would be memory that a supervisor holds for each burst.
const GATHER: usize = 32 << 10;

/// When to begin a new file, and how many to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes after which a file is rotated; kubelet's `containerLogMaxSize`.
    pub max_bytes: u64,
    /// Files kept in all, the current one included, at least 2; kubelet's `containerLogMaxFiles`.
    pub max_files: usize,
}

impl Default for Limits {
    /// 10 MiB and 5 files, as a kubelet does.
    fn default() -> Self {
        Self { max_bytes: 10 << 20, max_files: 5 }
    }
}

/// What a write did beside writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "after a rotation the older files want to be compressed"]
pub enum Written {
    /// Nothing.
    Appended,
    /// The file was rotated; [`rotate::compress_older`] is due, in a process or thread that may take its time.
    Rotated,
}

/// Why output could not be written.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The log file or its directory could not be made.
    #[error("open log {}", path.display())]
    Open {
        /// The log file.
        path: PathBuf,
        /// The kernel's reason.
        #[source]
        source: io::Error,
    },
    /// The entries could not be written; the file ends with the last whole entry.
    #[error("write log {}", path.display())]
    Write {
        /// The log file.
        path: PathBuf,
        /// The kernel's reason.
        #[source]
        source: io::Error,
    },
    /// The file could not be rotated; writing goes on in it.
    #[error("rotate log {}", path.display())]
    Rotate {
        /// The log file.
        path: PathBuf,
        /// The kernel's reason.
        #[source]
        source: io::Error,
    },
}

/// The log of one attempt.
#[derive(Debug)]
pub struct LogWriter {
    path: PathBuf,
    file: File,
    size: u64,
    limits: Limits,
    /// No new try to rotate before this size: a failing one must not be repeated for every chunk.
    rotate_at: u64,
}

impl LogWriter {
    /// Opens the log at `path` for appending and makes it and its directories where needed.
    ///
    /// # Errors
    /// [`LogError::Open`].
    pub fn open(path: impl Into<PathBuf>, limits: Limits) -> Result<Self, LogError> {
        let path = path.into();
        match open(&path) {
            Ok((file, size)) => Ok(Self { path, file, size, limits, rotate_at: limits.max_bytes }),
            Err(source) => Err(LogError::Open { path, source }),
        }
    }

    /// The current file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends what the container printed, stamped with `now`.
    ///
    /// # Errors
    /// [`LogError::Write`]: from some entry on, nothing was written. [`LogError::Rotate`]: all was written.
    pub fn write(&mut self, stream: Stream, chunk: &[u8], now: SystemTime) -> Result<Written, LogError> {
        let stamp = Stamp::new(now);
        let (full, partial) = (head(stamp, stream, Tag::Full), head(stamp, stream, Tag::Partial));
        let mut gathered = Vec::with_capacity(GATHER.min(chunk.len() + 4 * (HEAD_LEN + 1)));
        for piece in Pieces(chunk) {
            let head = match piece.tag {
                Tag::Full => &full,
                Tag::Partial => &partial,
            };
            if gathered.len() + HEAD_LEN + piece.text.len() + 1 > GATHER {
                self.append(&gathered)?;
                gathered.clear();
            }
            gathered.extend_from_slice(head);
            gathered.extend_from_slice(piece.text);
            gathered.push(b'\n');
        }
        self.append(&gathered)?;
        if self.size < self.rotate_at { Ok(Written::Appended) } else { self.rotate(stamp) }
    }

    fn append(&mut self, entries: &[u8]) -> Result<(), LogError> {
        if let Err(source) = self.file.write_all(entries) {
            // Half an entry would run into the next one. If the cut fails too, the reader copes.
            let _ = self.file.set_len(self.size);
            return Err(LogError::Write { path: self.path.clone(), source });
        }
        self.size += entries.len() as u64;
        Ok(())
    }

    fn rotate(&mut self, stamp: Stamp) -> Result<Written, LogError> {
        self.rotate_at = self.size + self.limits.max_bytes;
        let rotated =
            rotate::rename(&self.path, stamp, self.limits.max_files).and_then(|()| open(&self.path));
        match rotated {
            Ok((file, size)) => {
                (self.file, self.size, self.rotate_at) = (file, size, self.limits.max_bytes);
                Ok(Written::Rotated)
            }
            Err(source) => Err(LogError::Rotate { path: self.path.clone(), source }),
        }
    }
}

/// Opens for appending, and ends a line that a crash has cut, so that the next entry begins on its own.
fn open(path: &Path) -> io::Result<(File, u64)> {
    let mut options = File::options();
    options.read(true).append(true).create(true).mode(0o640);
    let mut file = match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            path.parent().map_or(Ok(()), fs::create_dir_all)?;
            options.open(path)?
        }
        other => other?,
    };
    let mut size = file.metadata()?.len();
    let mut last = [b'\n'];
    if size > 0 {
        file.read_exact_at(&mut last, size - 1)?;
    }
    if last != *b"\n" {
        file.write_all(b"\n")?;
        size += 1;
    }
    Ok((file, size))
}

struct Piece<'a> {
    tag: Tag,
    text: &'a [u8],
}

/// Cuts a chunk into entries.
struct Pieces<'a>(&'a [u8]);

impl<'a> Iterator for Pieces<'a> {
    type Item = Piece<'a>;

    fn next(&mut self) -> Option<Piece<'a>> {
        if self.0.is_empty() {
            return None;
        }
        // One byte beyond the limit is looked at: a newline there still ends a full entry of the greatest length.
        let window = &self.0[..self.0.len().min(ENTRY_MAX + 1)];
        let (tag, length, skip) = match window.iter().position(|byte| *byte == b'\n') {
            Some(newline) => (Tag::Full, newline, 1),
            None => (Tag::Partial, window.len().min(ENTRY_MAX), 0),
        };
        let text = &self.0[..length];
        self.0 = &self.0[length + skip..];
        Some(Piece { tag, text })
    }
}

#[cfg(test)]
mod tests {
    use super::super::Entry;
    use super::*;
    use proptest::prelude::*;
    use std::time::{Duration, UNIX_EPOCH};
    use tempfile::TempDir;

    const NOW: SystemTime = UNIX_EPOCH;

    fn log(limits: Limits) -> (TempDir, LogWriter) {
        let dir = tempfile::tempdir().unwrap();
        let writer = LogWriter::open(dir.path().join("pod/web/0.log"), limits).unwrap();
        (dir, writer)
    }

    fn content(writer: &LogWriter) -> String {
        fs::read_to_string(writer.path()).unwrap()
    }

    #[test]
    fn lines_become_full_entries_and_the_unfinished_rest_a_partial_one() {
        let (_dir, mut writer) = log(Limits::default());
        assert_eq!(writer.write(Stream::Stdout, b"one\n\ntwo", NOW).unwrap(), Written::Appended);
        assert_eq!(writer.write(Stream::Stderr, b"oh\n", NOW).unwrap(), Written::Appended);
        assert_eq!(
            content(&writer),
            "1970-01-01T00:00:00.000000000Z stdout F one\n\
             1970-01-01T00:00:00.000000000Z stdout F \n\
             1970-01-01T00:00:00.000000000Z stdout P two\n\
             1970-01-01T00:00:00.000000000Z stderr F oh\n"
        );
    }

    #[test]
    fn a_line_of_exactly_the_limit_is_whole_and_one_byte_more_is_cut() {
        let (_dir, mut writer) = log(Limits::default());
        let mut line = vec![b'x'; ENTRY_MAX];
        line.push(b'\n');
        let _ = writer.write(Stream::Stdout, &line, NOW).unwrap();
        assert_eq!(content(&writer).matches(" F ").count(), 1);
        assert_eq!(content(&writer).matches(" P ").count(), 0);
        line.insert(0, b'x');
        let _ = writer.write(Stream::Stdout, &line, NOW).unwrap();
        assert_eq!(content(&writer).matches(" P ").count(), 1);
        assert!(content(&writer).ends_with(" F x\n"));
    }

    #[test]
    fn a_log_that_a_crash_cut_goes_on_with_a_line_of_its_own() {
        let (_dir, writer) = log(Limits::default());
        let path = writer.path().to_owned();
        fs::write(&path, "1970-01-01T00:00:00.000000000Z stdout F cut of").unwrap();
        let mut writer = LogWriter::open(path, Limits::default()).unwrap();
        let _ = writer.write(Stream::Stdout, b"next\n", NOW).unwrap();
        assert_eq!(content(&writer).lines().count(), 2);
    }

    #[test]
    fn a_grown_file_is_rotated_and_the_oldest_are_removed() {
        let (_dir, mut writer) = log(Limits { max_bytes: 100, max_files: 3 });
        let mut rotations = 0;
        for second in 0..20 {
            let now = UNIX_EPOCH + Duration::from_secs(second);
            let line = format!("line {second}\n");
            rotations +=
                u32::from(writer.write(Stream::Stdout, line.as_bytes(), now).unwrap() == Written::Rotated);
        }
        assert_eq!(rotations, 6);
        let mut names: Vec<String> = fs::read_dir(writer.path().parent().unwrap())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["0.log", "0.log.19700101-000014", "0.log.19700101-000017"]);
        assert_eq!(content(&writer).lines().count(), 2);
    }

    #[test]
    fn two_rotations_within_a_second_overwrite_nothing() {
        let (_dir, mut writer) = log(Limits { max_bytes: 1, max_files: 9 });
        for line in ["a\n", "b\n", "c\n"] {
            assert_eq!(writer.write(Stream::Stdout, line.as_bytes(), NOW).unwrap(), Written::Rotated);
        }
        assert_eq!(fs::read_dir(writer.path().parent().unwrap()).unwrap().count(), 4);
    }

    #[test]
    fn a_full_disk_leaves_whole_entries_only() {
        let (_dir, mut writer) = log(Limits::default());
        let _ = writer.write(Stream::Stdout, b"before\n", NOW).unwrap();
        let before = content(&writer);
        writer.file = File::options().write(true).open("/dev/full").unwrap();
        assert!(matches!(writer.write(Stream::Stdout, b"lost\n", NOW), Err(LogError::Write { .. })));
        assert_eq!(content(&writer), before);
        assert_eq!(writer.size, before.len() as u64);
    }

    /// What a reader makes of the entries: partial texts joined, a newline after each full one.
    fn joined(text: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            let entry = Entry::parse(line).unwrap();
            assert!(entry.text.len() <= ENTRY_MAX);
            out.extend_from_slice(entry.text);
            out.extend((entry.tag == Tag::Full).then_some(b'\n'));
        }
        out
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn reading_the_entries_gives_back_every_byte_however_it_was_chunked(
            chunks in prop::collection::vec(prop_oneof![
                prop::collection::vec(any::<u8>(), 0..40),
                prop::collection::vec(prop_oneof![Just(b'\n'), Just(b'x')], 0..200),
                (ENTRY_MAX - 2..3 * ENTRY_MAX).prop_map(|length| vec![b'y'; length]),
            ], 0..12)
        ) {
            let (_dir, mut writer) = log(Limits::default());
            for chunk in &chunks {
                let _ = writer.write(Stream::Stdout, chunk, NOW).unwrap();
            }
            prop_assert_eq!(joined(&fs::read(writer.path()).unwrap()), chunks.concat());
        }
    }
}
