//! The trace: every step that was really taken for a pod, with its duration and the command that a reader could
//! type, one JSON line each in `trace.jsonl`.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::clock::Mono;

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceLine {
    /// When it ended, on the monotonic clock.
    pub at: Mono,
    /// Who took it: `sandbox`, `network`, `container/web`, `supervisor`.
    pub actor: String,
    /// What it does.
    pub step: String,
    /// What one could type to do the same; empty where there is no such command.
    pub command: String,
    /// How long it took.
    pub micros: u64,
}

/// Appends lines. The trace is for people; that it cannot be written is no reason to stop a pod.
pub(super) fn append(path: &Path, lines: &[TraceLine]) {
    let mut bytes = Vec::new();
    for line in lines {
        if serde_json::to_writer(&mut bytes, line).is_ok() {
            bytes.push(b'\n');
        }
    }
    if let Ok(mut file) = OpenOptions::new().create(true).append(true).open(path) {
        let _ = file.write_all(&bytes);
    }
}

/// Reads a trace.
#[must_use]
pub fn read(path: &Path) -> Vec<TraceLine> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}
