//! Reading containers' output back: `logs`, and what `up` shows in the foreground.
//!
//! A container's directory holds one log per attempt, and each log may have rotated parts, of which the
//! older are compressed; they are read as one. Partial entries are joined, so that what is printed is what
//! the container wrote, byte for byte, a missing last newline included.
//!
//! Following waits in inotify and wakes for nothing but new output. A watch is set before anything is read:
//! whatever is written later causes an event, and whatever was written before is read. Nothing is missed in
//! between, and nothing is ever looked at again "to be sure".

mod cursor;
mod follow;
mod lines;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use cursor::Cursor;
use lines::Printer;

pub use follow::follow;

/// One container whose output is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The container's directory of logs.
    pub dir: PathBuf,
    /// Which of its attempts.
    pub pick: Pick,
    /// What each line begins with; may be empty. See [`pod_label`] and [`aligned_labels`].
    pub label: String,
}

/// Which attempts of a container are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pick {
    /// The latest one.
    Current,
    /// The one before the latest (`--previous`).
    Previous,
    /// The one with this number and all after it, also those that are yet to come.
    Onwards(u32),
}

/// Which lines are wanted, and how they look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// Only so many of the last lines of each container; counted before `since` is looked at, as a kubelet does.
    pub tail: Option<u64>,
    /// Only entries of this time or later.
    pub since: Option<SystemTime>,
    /// Whether the time stands before each line.
    pub times: Times,
    /// So many bytes at most, the labels included.
    pub limit_bytes: Option<u64>,
}

/// Whether times are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Times {
    /// No.
    #[default]
    Hidden,
    /// Before each line, as the entry has them.
    Shown,
}

/// Why logs could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// A file or directory of logs.
    #[error("read log {}", path.display())]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// The kernel's reason.
        #[source]
        source: io::Error,
    },
    /// There was only one attempt so far, or none.
    #[error("read the previous container's log in {}: there is none", dir.display())]
    NoPrevious {
        /// The container's directory of logs.
        dir: PathBuf,
    },
    /// The reader of what is printed has gone, or its disk is full.
    #[error("print logs")]
    Print(#[source] io::Error),
    /// The kernel gives no inotify watch.
    #[error("watch logs in {}", path.display())]
    Watch {
        /// The directory.
        path: PathBuf,
        /// The kernel's reason.
        #[source]
        source: io::Error,
    },
}

impl ReadError {
    fn read(path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Read { path, source }
    }
}

/// Prints what there is, one source after the other.
///
/// A container that has not been started yet prints nothing.
///
/// # Errors
/// The first file that cannot be read, a missing previous attempt, or a failing `out`.
pub fn print(sources: &[Source], query: &Query, out: &mut dyn Write) -> Result<(), ReadError> {
    let mut printer = Printer::new(out, query);
    for (id, source) in sources.iter().enumerate() {
        let mut cursor = Cursor::new(id, source);
        cursor.read(&mut printer, query)?;
        cursor.end(&mut printer)?;
        if printer.is_full() {
            break;
        }
    }
    printer.flush()
}

/// `[pod/web/app] `: the label of kubectl's `--prefix`.
pub fn pod_label(pod: &str, container: &str) -> String {
    format!("[pod/{pod}/{container}] ")
}

/// `app     | `: labels of one width, as docker compose has them.
pub fn aligned_labels(names: &[&str]) -> Vec<String> {
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    names.iter().map(|name| format!("{name:<width$} | ")).collect()
}

/// The numbers of the attempts that have a log in this directory, in order; none if there is no directory.
///
/// # Errors
/// Where the directory is there but cannot be read.
pub fn attempts(dir: &Path) -> io::Result<Vec<u32>> {
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut numbers = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        numbers.extend(name.to_str().and_then(|name| name.strip_suffix(".log")?.parse::<u32>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

#[cfg(test)]
mod tests;
