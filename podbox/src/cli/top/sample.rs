//! One look at what is used: from the cgroups, or from /proc where a host has none that can be written.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use runtime::cgroup::{Cgroups, Usage};

use crate::oci;
use crate::status;

use super::super::pods::Found;

/// What one container has used so far, and what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reading {
    pub(super) attempt: u32,
    pub(super) cpu: Duration,
    pub(super) memory_bytes: u64,
}

/// The containers of a pod that ran at one moment.
pub(super) struct Sample {
    pub(super) at: Instant,
    pub(super) containers: BTreeMap<String, Reading>,
}

pub(super) fn of_pod(found: &Found) -> Sample {
    let cgroups = Cgroups::detect();
    let mut sample = Sample { at: Instant::now(), containers: BTreeMap::new() };
    for record in found.memory().map(|memory| memory.containers).unwrap_or_default() {
        let Some(process) = status::process(&record) else { continue };
        let group = cgroups.at(&oci::container_path(&found.pod, &record.name, record.attempt));
        let (cpu, memory_bytes) = match group.usage() {
            Usage { cpu: Some(cpu), working_set: Some(bytes), .. } => (cpu, bytes),
            _ => of_processes(process.pid),
        };
        let reading = Reading { attempt: record.attempt, cpu, memory_bytes };
        sample.containers.insert(record.name, reading);
    }
    sample
}

/// What a process and all below it have used, and what of the memory they hold.
fn of_processes(first: i32) -> (Duration, u64) {
    let all = processes();
    let mut family = vec![first];
    let mut next = 0;
    while next < family.len() {
        let parent = family[next];
        family.extend(all.iter().filter(|one| one.parent == parent).map(|one| one.pid));
        next += 1;
    }
    let members = all.iter().filter(|one| family.contains(&one.pid));
    members.fold((Duration::ZERO, 0), |(cpu, bytes), one| (cpu + one.cpu, bytes + one.resident_bytes))
}

struct Process {
    pid: i32,
    parent: i32,
    cpu: Duration,
    resident_bytes: u64,
}

fn processes() -> Vec<Process> {
    let names = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = names.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let texts = pids.filter_map(|pid| Some((pid, fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)));
    texts.filter_map(|(pid, text)| process(pid, &text)).collect()
}

/// A line of `/proc/PID/stat` (proc(5)); the command's name may hold anything, brackets too.
fn process(pid: i32, stat: &str) -> Option<Process> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some(Process {
        pid,
        parent: fields.get(1)?.parse().ok()?,
        cpu: ticks(number(11)? + number(12)?),
        resident_bytes: number(21)? * page_bytes(),
    })
}

/// The kernel shows times in hundredths of a second to everybody (USER_HZ).
fn ticks(count: u64) -> Duration {
    Duration::from_millis(count * 10)
}

fn page_bytes() -> u64 {
    let size = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok().flatten();
    size.and_then(|size| u64::try_from(size).ok()).unwrap_or(4096)
}

/// What the host uses.
pub(super) struct HostSample {
    pub(super) at: Instant,
    pub(super) reading: Reading,
}

pub(super) fn host() -> HostSample {
    let (stat, memory) = (fs::read_to_string("/proc/stat"), fs::read_to_string("/proc/meminfo"));
    let reading = Reading {
        attempt: 0,
        cpu: busy(&stat.unwrap_or_default()),
        memory_bytes: held(&memory.unwrap_or_default()),
    };
    HostSample { at: Instant::now(), reading }
}

/// All the time in which processors were not idle. What guests use is in it already (proc(5)).
fn busy(stat: &str) -> Duration {
    let line = stat.lines().next().unwrap_or_default();
    let numbers: Vec<u64> = line.split_whitespace().skip(1).filter_map(|word| word.parse().ok()).collect();
    let [user, nice, system, _idle, _wait, irq, softirq, steal, ..] = numbers[..] else {
        return Duration::ZERO;
    };
    ticks(user + nice + system + irq + softirq + steal)
}

/// What could not be given to somebody else.
fn held(meminfo: &str) -> u64 {
    let kib = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0)
    };
    kib("MemTotal").saturating_sub(kib("MemAvailable")) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_whatever_it_calls_itself() {
        let line =
            "7 (a) 9 (b) S 4 7 7 0 -1 4194560 1 0 0 0 12 30 0 0 20 0 1 0 99 1000 25 18446744073709551615";
        let read = process(7, line).unwrap();
        assert_eq!((read.parent, read.cpu), (4, Duration::from_millis(420)));
        assert_eq!(read.resident_bytes, 25 * page_bytes());
    }

    #[test]
    fn the_host_is_busy_when_it_is_not_idle() {
        assert_eq!(busy("cpu  1 2 3 400 50 6 7 8 9 0\ncpu0 1"), Duration::from_millis(270));
        assert_eq!(held("MemTotal: 100 kB\nMemFree: 1 kB\nMemAvailable: 30 kB\n"), 70 * 1024);
    }

    #[test]
    fn without_cgroups_a_familys_use_is_summed_up() {
        let (_, bytes) = of_processes(std::process::id().cast_signed());
        assert!(bytes > 0);
    }
}
