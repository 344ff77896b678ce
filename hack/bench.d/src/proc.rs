//! What /proc says of processes: memory, wake-ups, and the birth of new ones.

use std::fs;
use std::time::{Duration, Instant};

use crate::failure::{Failure, Outcome};

/// A process id of the host.
pub(crate) type Pid = i32;

/// Every process with its command line.
pub(crate) fn processes() -> Vec<(Pid, Vec<String>)> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.map(|pid| (pid, command_line(pid))).filter(|(_, words)| !words.is_empty()).collect()
}

/// Its words; none for a kernel thread, a zombie or nobody.
pub(crate) fn command_line(pid: Pid) -> Vec<String> {
    let text = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words = text.split(|byte| *byte == 0).filter(|word| !word.is_empty());
    words.map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

/// The process whose last word is `marker` and that is a `sleep`, not one that is about to become it.
pub(crate) fn sleeper(marker: &str) -> Option<Pid> {
    processes().into_iter().find(|(_, words)| is_sleeper(words, marker)).map(|(pid, _)| pid)
}

fn is_sleeper(words: &[String], marker: &str) -> bool {
    words.len() == 2 && words[1] == marker && words[0].ends_with("sleep")
}

/// How long a process may take from getting its id to being seen.
const BIRTH: Duration = Duration::from_millis(50);

/// Waits until a process younger than this call sleeps `marker`, and tells how long after `since` it was seen
/// to. Looks every 100 µs at the id given out last, so it costs little and the host's other processes nothing.
pub(crate) fn await_sleeper(marker: &str, first: Pid, since: Instant) -> Outcome<Duration> {
    // With the time of each: an id is given out before its process can be seen.
    let mut candidates: Vec<(Pid, Instant)> = Vec::new();
    let mut seen = first;
    while since.elapsed() < Duration::from_secs(20) {
        let latest = last_pid().unwrap_or(seen);
        if latest < seen {
            // The numbers have started again from the bottom.
            candidates.extend((seen + 1..=pid_max()).map(|pid| (pid, Instant::now())));
            seen = 0;
        }
        candidates.extend((seen + 1..=latest).map(|pid| (pid, Instant::now())));
        seen = latest;
        if candidates.iter().any(|(pid, _)| is_sleeper(&command_line(*pid), marker)) {
            return Ok(since.elapsed());
        }
        candidates.retain(|(pid, since)| {
            since.elapsed() < BIRTH || fs::exists(format!("/proc/{pid}")).unwrap_or(false)
        });
        std::thread::sleep(Duration::from_micros(100));
    }
    Err(Failure(format!("nothing took the place of the killed process sleep {marker}")))
}

/// The largest process id; the kernel's own default where it does not tell.
fn pid_max() -> Pid {
    let text = fs::read_to_string("/proc/sys/kernel/pid_max").unwrap_or_default();
    text.trim().parse().unwrap_or(32768)
}

/// The process id given out last (the last field of /proc/loadavg, proc(5)).
pub(crate) fn last_pid() -> Option<Pid> {
    fs::read_to_string("/proc/loadavg").ok()?.split_whitespace().last()?.parse().ok()
}

/// Memory of one process, KiB.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    /// Proportional set size: shared pages count by the share.
    pub(crate) pss: u64,
    /// Pages of its own that it has written.
    pub(crate) dirty: u64,
}

/// Reads /proc/PID/smaps_rollup.
pub(crate) fn memory(pid: Pid) -> Memory {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    Memory { pss: field(&text, "Pss:"), dirty: field(&text, "Private_Dirty:") }
}

fn field(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// How often all threads of a process have been switched to and away from.
pub(crate) fn switches(pid: Pid) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    tasks
        .map(|task| {
            let text = fs::read_to_string(task.path().join("status")).unwrap_or_default();
            field(&text, "voluntary_ctxt_switches:") + field(&text, "nonvoluntary_ctxt_switches:")
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_and_a_command_line() {
        let me = std::process::id().cast_signed();
        assert!(memory(me).pss > 0);
        assert!(!command_line(me).is_empty());
    }

    #[test]
    fn a_sleeper_is_known_by_its_marker_alone() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert!(is_sleeper(&words("/bin/sleep 17"), "17"));
        assert!(!is_sleeper(&words("runc init"), "17"));
        assert!(!is_sleeper(&words("/bin/sleep 18"), "17"));
        assert!(!is_sleeper(&words("sh -c sleep 17"), "17"));
    }
}
