//! The end of one log file, as a termination message shows it.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use super::entry::{Entry, Tag};

/// The last `lines` lines that the container wrote, and of these the last `bytes` bytes.
///
/// # Errors
/// The file cannot be read.
pub fn last(path: &Path, lines: usize, bytes: usize) -> io::Result<Vec<u8>> {
    let mut reader = BufReader::new(File::open(path)?);
    let mut kept: VecDeque<Vec<u8>> = VecDeque::new();
    let mut goes_on = false;
    let mut raw = Vec::new();
    while reader.read_until(b'\n', &mut raw)? > 0 {
        if let Some(entry) = Entry::parse(&raw) {
            if !goes_on {
                kept.push_back(Vec::new());
            }
            goes_on = entry.tag == Tag::Partial;
            if let Some(line) = kept.back_mut() {
                line.extend_from_slice(entry.text);
                if !goes_on {
                    line.push(b'\n');
                }
                // More of one line is never shown.
                line.drain(..line.len().saturating_sub(bytes));
            }
            if kept.len() > lines {
                kept.pop_front();
            }
        }
        raw.clear();
    }
    let mut all: Vec<u8> = kept.into_iter().flatten().collect();
    all.drain(..all.len().saturating_sub(bytes));
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(entries: &[&str]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        let line = |entry: &&str| format!("2016-10-06T00:17:09.669794202Z stdout {entry}\n");
        std::fs::write(file.path(), entries.iter().map(line).collect::<String>()).unwrap();
        file
    }

    #[test]
    fn the_last_lines_are_kept_and_partial_entries_joined() {
        let file = log(&["F one", "P tw", "F o", "F three"]);
        assert_eq!(last(file.path(), 2, 100).unwrap(), b"two\nthree\n");
        assert_eq!(last(file.path(), 80, 8).unwrap(), b"o\nthree\n");
    }

    #[test]
    fn a_line_longer_than_all_is_cut_at_its_front() {
        let file = log(&[&format!("F {}z", "y".repeat(5000))]);
        let end = last(file.path(), 80, 2048).unwrap();
        assert_eq!((end.len(), &end[2046..]), (2048, &b"z\n"[..]));
    }

    #[test]
    fn an_empty_log_has_no_end() {
        assert_eq!(last(log(&[]).path(), 80, 2048).unwrap(), b"");
    }
}
