//! Rotating log files, as kubelets do (`pkg/kubelet/logs/container_log_manager.go`).
//!
//! `0.log` becomes `0.log.20161006-001709`; of the rotated files all but the newest become
//! `0.log.20161005-001709.gz`. Renaming and removing is quick and happens while output waits; compressing
//! takes some 100 ms for 10 MiB and a third of a MiB of memory, so it is a function of its own.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::stamp::Stamp;

const GZIP: &str = ".gz";
const TEMPORARY: &str = ".tmp";

/// Renames the log out of the way and removes the oldest rotated files, so that with the new one `max_files` stay.
pub(super) fn rename(log: &Path, stamp: Stamp, max_files: usize) -> io::Result<()> {
    let old = rotated(log)?;
    let mut ending = stamp.compact();
    // Two rotations in one second, or a clock that was set back: the new name must sort after all others.
    if let Some(newest) = old.last().and_then(|path| ending_of(log, path))
        && newest >= ending
    {
        ending = successor(&newest);
    }
    fs::rename(log, with_ending(log, &ending))?;
    let surplus = (old.len() + 2).saturating_sub(max_files.max(2));
    for path in old.iter().take(surplus) {
        remove(path)?;
        remove(&with_ending(path, "gz"))?;
    }
    Ok(())
}

/// The log's rotated files, oldest first, compressed or not.
///
/// # Errors
/// Where the directory cannot be read.
pub fn rotated(log: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(log.parent().unwrap_or(Path::new(".")))? {
        let path = entry?.path();
        if ending_of(log, &path).is_some() {
            found.push(path);
        }
    }
    found.sort();
    // A killed compression leaves both forms; naming the plain one has it done again.
    found.dedup_by(|gzipped, plain| {
        gzipped.as_os_str().to_str().and_then(|name| name.strip_suffix(GZIP)) == plain.as_os_str().to_str()
    });
    Ok(found)
}

/// Compresses all rotated files of the log but the newest, which a reader that follows may still read.
///
/// Safe to be killed at any time and to be run twice at once: the compressed file appears whole, and only
/// then is the plain one removed.
///
/// # Errors
/// The first file that cannot be read or written; what remains is left as it was.
pub fn compress_older(log: &Path) -> io::Result<()> {
    let mut files = rotated(log)?;
    files.pop();
    for path in files.iter().filter(|path| path.extension().is_none_or(|extension| extension != "gz")) {
        compress(path)?;
    }
    Ok(())
}

fn compress(path: &Path) -> io::Result<()> {
    let name = path.as_os_str().to_string_lossy();
    let temporary = PathBuf::from(format!("{name}{TEMPORARY}"));
    let mut input = File::open(path)?;
    let mut output = GzEncoder::new(File::create(&temporary)?, Compression::fast());
    let copied = io::copy(&mut input, &mut output).and_then(|_| output.finish());
    let done = copied.and_then(|_| fs::rename(&temporary, format!("{name}{GZIP}")));
    if done.is_err() {
        remove(&temporary)?;
    }
    done.and_then(|()| remove(path))
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn with_ending(log: &Path, ending: &str) -> PathBuf {
    let mut name = log.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    name.into()
}

/// `YYYYMMDD-HHMMSS` of a rotated file of this log.
fn ending_of(log: &Path, path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    let rest = name.strip_prefix(log.file_name()?.to_str()?)?.strip_prefix('.')?;
    let ending = rest.strip_suffix(GZIP).unwrap_or(rest);
    let (day, time) = ending.split_once('-')?;
    let number = |text: &str, digits| text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
    (number(day, 8) && number(time, 6)).then(|| ending.to_owned())
}

/// The next ending in sorting order. It need not be a time of day, only a name that nobody has.
fn successor(ending: &str) -> String {
    let number: u64 = ending.replace('-', "").parse().unwrap_or(0) + 1;
    let digits = format!("{number:014}");
    format!("{}-{}", &digits[..8], &digits[8..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::read::GzDecoder;
    use std::io::Read;

    #[test]
    fn all_but_the_newest_rotated_file_are_compressed_and_hold_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("0.log");
        for (ending, text) in
            [("20200101-000001", "first"), ("20200101-000002", "second"), ("20200101-000003", "third")]
        {
            fs::write(with_ending(&log, ending), text).unwrap();
        }
        fs::write(dir.path().join("0.log.20200101-000001.tmp"), "left behind").unwrap();
        fs::write(dir.path().join("10.log.20200101-000001"), "another log's").unwrap();
        compress_older(&log).unwrap();
        compress_older(&log).unwrap();
        let names: Vec<String> = rotated(&log)
            .unwrap()
            .iter()
            .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
            .collect();
        assert_eq!(names, ["0.log.20200101-000001.gz", "0.log.20200101-000002.gz", "0.log.20200101-000003"]);
        let mut text = String::new();
        GzDecoder::new(File::open(dir.path().join(&names[0])).unwrap()).read_to_string(&mut text).unwrap();
        assert_eq!(text, "first");
    }

    #[test]
    fn a_name_that_is_taken_has_a_successor() {
        assert_eq!(successor("20161006-001709"), "20161006-001710");
        assert_eq!(successor("20161006-999999"), "20161007-000000");
    }
}
