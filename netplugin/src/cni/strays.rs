//! Plugins whose caller was killed over them. Who they are could not be written down before they ran, so they are known
//! by what they were told: the container's id in their environment, which whatever they start inherits.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, getpgrp};

/// How long those that were killed may take to go.
const PATIENCE: Duration = Duration::from_secs(5);

/// Kills the plugins that run for a container, with their process groups, and waits until they are gone. What a plugin
/// has started to stay (a DHCP client, a name server: a daemon begins a session of its own) is its own business.
///
/// # Errors
/// If one does not go.
pub(crate) fn end(container: &str) -> io::Result<()> {
    let begun = Instant::now();
    loop {
        let groups = groups(container);
        let Some(first) = groups.first() else { return Ok(()) };
        if begun.elapsed() > PATIENCE {
            return Err(io::Error::other(format!(
                "process group {first} does not end, though it was killed"
            )));
        }
        for group in &groups {
            // It may have ended by itself.
            let _ = killpg(Pid::from_raw(*group), Signal::SIGKILL);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The process groups of plugins that run for the container. The dead that nobody has reaped have no environment.
fn groups(container: &str) -> BTreeSet<i32> {
    let told = format!("CNI_CONTAINERID={container}").into_bytes();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let is_told = |pid: &i32| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == told)
    };
    pids.filter(is_told).filter_map(group).collect()
}

/// The process's group, unless it is a daemon's or this process's own.
fn group(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything.
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut numbers = rest.split_whitespace().skip(2).map(str::parse::<i32>);
    let (group, session) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    (group != session && group != getpgrp().as_raw()).then_some(group)
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::process::{Child, Command};

    use super::*;

    fn sleeper(container: &str) -> Child {
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 600 & sleep 600"]).env("CNI_CONTAINERID", container).process_group(0);
        command.spawn().unwrap()
    }

    #[test]
    fn a_containers_plugins_end_with_what_they_have_started_and_others_go_on() {
        let (mut stray, mut other) = (sleeper("stray-1"), sleeper("stray-12"));
        while groups("stray-1").is_empty() || groups("stray-12").is_empty() {
            std::thread::sleep(Duration::from_millis(1));
        }
        end("stray-1").unwrap();
        assert!(!stray.wait().unwrap().success());
        assert!(groups("stray-1").is_empty());
        assert!(other.try_wait().unwrap().is_none());
        end("stray-12").unwrap();
        other.wait().unwrap();
    }
}
