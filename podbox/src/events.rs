//! Events: what happened to a pod, in the kubelet's words, for people.
//!
//! The supervisor appends one line per occurrence to `events.jsonl`; readers fold equal ones into one v1.Event
//! with a count, as client-go's event correlator does. The file is cut to its last half when it grows past
//! [`LIMIT`], so a container that crashes for weeks does not fill /run.

use std::borrow::Cow;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::pod::{Pod, Role};
use crate::store::{StoreError, write_atomic};

/// Bytes after which the older half of the file is dropped.
const LIMIT: u64 = 1 << 20;

/// The longest message, in bytes: what a plugin of others has printed may be of any length, and a line that is longer than the
/// whole file may be would be cut off with it. There is room for the longest that a kubelet writes: what a probe said, of which
/// it keeps 10 KiB (`maxRespBodyLength` in pkg/probe/exec/exec.go), and the words before it.
const LONGEST: usize = 16 << 10;

/// The reason of the event that says that a pod has got another supervisor, because the one before was gone.
pub const SUPERVISOR_RESTARTED: &str = "SupervisorRestarted";

/// One occurrence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Occurrence {
    /// When.
    pub at: Timestamp,
    /// `Warning` instead of `Normal`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub warning: bool,
    /// One word.
    pub reason: String,
    /// A sentence.
    pub message: String,
    /// The container it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
}

/// The file, open for appending.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: Option<File>,
}

impl Journal {
    /// A journal at `path`; the file is made at the first event.
    #[must_use]
    pub fn new(path: PathBuf) -> Journal {
        Journal { path, file: None }
    }

    /// Appends occurrences in one write. Events are for people: a full disk must not stop a pod, so a failure to
    /// write one is not an error.
    pub fn append(&mut self, occurrences: &[Occurrence]) {
        let mut lines = Vec::new();
        for occurrence in occurrences {
            if serde_json::to_writer(&mut lines, &shortened(occurrence)).is_ok() {
                lines.push(b'\n');
            }
        }
        if lines.is_empty() {
            return;
        }
        if self.file.is_none() {
            self.file = OpenOptions::new().create(true).append(true).open(&self.path).ok();
        }
        if let Some(file) = &mut self.file {
            let _ = file.write_all(&lines);
            if file.metadata().is_ok_and(|data| data.len() > LIMIT) {
                let _ = self.cut();
            }
        }
    }

    fn cut(&mut self) -> Result<(), StoreError> {
        let text = fs::read_to_string(&self.path).unwrap_or_default();
        let middle = text.len() / 2;
        let start =
            text.as_bytes()[middle..].iter().position(|&byte| byte == b'\n').map_or(0, |at| middle + at + 1);
        self.file = None;
        write_atomic(&self.path, &text.as_bytes()[start..])
    }
}

/// With a message of at most [`LONGEST`] bytes, and a mark if that is not all of it.
fn shortened(occurrence: &Occurrence) -> Cow<'_, Occurrence> {
    if occurrence.message.len() <= LONGEST {
        return Cow::Borrowed(occurrence);
    }
    let end = occurrence.message.floor_char_boundary(LONGEST);
    Cow::Owned(Occurrence { message: format!("{}…", &occurrence.message[..end]), ..occurrence.clone() })
}

/// All occurrences in the file; an unfinished last line is left out.
#[must_use]
pub fn read(path: &Path) -> Vec<Occurrence> {
    File::open(path).map(|file| read_open(&file)).unwrap_or_default()
}

/// The same of a file that is open: whoever holds it so can read what came last even after the pod was removed.
#[must_use]
pub fn read_open(mut file: &File) -> Vec<Occurrence> {
    let mut text = String::new();
    let read = file.seek(SeekFrom::Start(0)).and_then(|_| file.read_to_string(&mut text));
    if read.is_err() {
        return Vec::new();
    }
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// Equal occurrences folded together: the first, how often, and when last. In the order of their last occurrence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folded {
    /// The first one.
    pub first: Occurrence,
    /// How many.
    pub count: u32,
    /// When the last one was.
    pub last: Timestamp,
}

/// Folds equal occurrences.
#[must_use]
pub fn fold(occurrences: Vec<Occurrence>) -> Vec<Folded> {
    let mut folded: Vec<Folded> = Vec::new();
    for occurrence in occurrences {
        let same = folded.iter().position(|known| {
            known.first.reason == occurrence.reason
                && known.first.message == occurrence.message
                && known.first.container == occurrence.container
        });
        match same {
            Some(at) => {
                let mut known = folded.remove(at);
                known.count += 1;
                known.last = occurrence.at;
                folded.push(known);
            }
            None => folded.push(Folded { last: occurrence.at, count: 1, first: occurrence }),
        }
    }
    folded
}

/// A v1.Event.
#[must_use]
pub fn object(pod: &Pod, node: &str, index: usize, event: &Folded) -> Value {
    let component = if event.first.reason == "Scheduled" { "default-scheduler" } else { "kubelet" };
    let mut involved = json!({
        "apiVersion": "v1", "kind": "Pod", "name": pod.name, "namespace": pod.namespace, "uid": pod.uid,
    });
    if let Some(container) = &event.first.container {
        let role = pod.containers.iter().find(|one| one.name == *container).map(|one| one.role);
        let list = match role {
            Some(Role::Main) => "containers",
            Some(Role::Init | Role::Sidecar) => "initContainers",
            // The Pod that was started did not have it.
            Some(Role::Ephemeral) | None => "ephemeralContainers",
        };
        involved["fieldPath"] = Value::String(format!("spec.{list}{{{container}}}"));
    }
    json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "name": format!("{}.{:x}{index:02x}", pod.name, event.first.at.as_nanosecond()),
            "namespace": pod.namespace,
            "creationTimestamp": whole_seconds(event.first.at),
        },
        "involvedObject": involved,
        "type": if event.first.warning { "Warning" } else { "Normal" },
        "reason": event.first.reason,
        "message": event.first.message,
        "count": event.count,
        "firstTimestamp": whole_seconds(event.first.at),
        "lastTimestamp": whole_seconds(event.last),
        "source": { "component": component, "host": node },
        "reportingComponent": component,
        "reportingInstance": node,
    })
}

/// A time as the API prints it: whole seconds, UTC.
#[must_use]
pub fn whole_seconds(time: Timestamp) -> String {
    Timestamp::from_second(time.as_second()).unwrap_or(time).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64, reason: &str, message: &str) -> Occurrence {
        Occurrence {
            at: Timestamp::from_second(second).unwrap(),
            warning: false,
            reason: reason.into(),
            message: message.into(),
            container: None,
        }
    }

    #[test]
    fn equal_events_are_counted_and_come_where_the_last_one_was() {
        let folded = fold(vec![
            at(1, "BackOff", "x"),
            at(2, "Started", "c"),
            at(3, "BackOff", "x"),
            at(4, "BackOff", "y"),
        ]);
        let seen: Vec<_> =
            folded.iter().map(|f| (f.first.reason.as_str(), f.count, f.last.as_second())).collect();
        assert_eq!(seen, [("Started", 1, 2), ("BackOff", 2, 3), ("BackOff", 1, 4)]);
    }

    #[test]
    fn a_message_of_any_length_is_told_of_as_far_as_there_is_room() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        let mut journal = Journal::new(path.clone());
        journal.append(&[at(1, "Failed", &"é".repeat(600_000)), at(2, "BackOff", "short")]);
        let said = read(&path);
        assert_eq!((said.len(), &*said[1].message), (2, "short"));
        assert!(said[0].message.starts_with("éé") && said[0].message.ends_with('…'));
        assert!(said[0].message.len() <= LONGEST + '…'.len_utf8());
    }

    #[test]
    fn a_journal_is_cut_before_it_fills_the_disk_and_stays_readable() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        let mut journal = Journal::new(path.clone());
        let long = "m".repeat(4000);
        for second in 0..600 {
            journal.append(&[at(second, "BackOff", &long)]);
        }
        assert!(fs::metadata(&path).unwrap().len() <= LIMIT);
        let last = read(&path).pop().unwrap();
        assert_eq!(last.at.as_second(), 599);
    }

    #[test]
    fn an_unfinished_last_line_is_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        Journal::new(path.clone()).append(&[at(1, "A", "b")]);
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"at\":").unwrap();
        assert_eq!(read(&path).len(), 1);
    }
}
