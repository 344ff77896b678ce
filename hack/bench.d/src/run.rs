//! Whole processes, timed: from before fork and exec until their exit status is known.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::failure::{Failure, Outcome, cannot};

/// Runs `command` to its end. Its standard error goes to a file, because what it leaves behind (a guardian, a
/// conmon) may keep the descriptor for as long as the pod lives.
pub(crate) fn timed(command: &mut Command, errors: &Path) -> Outcome<Duration> {
    let name = format!("{command:?}");
    let log = File::create(errors).map_err(cannot(format_args!("create {}", errors.display())))?;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    let started = Instant::now();
    let status = command.status();
    let took = started.elapsed();
    let status = status.map_err(cannot(format_args!("run {name}")))?;
    if status.success() {
        return Ok(took);
    }
    let said = fs::read_to_string(errors).unwrap_or_default();
    Err(Failure(format!("{name} failed ({status}): {}", said.trim())))
}

/// As [`timed`], and what it printed.
pub(crate) fn output(command: &mut Command) -> Outcome<String> {
    let name = format!("{command:?}");
    let output = command.stdin(Stdio::null()).output().map_err(cannot(format_args!("run {name}")))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Failure(format!("{name} failed ({}): {}", output.status, said.trim())))
}

/// Where a program is, if it is installed.
pub(crate) fn find(program: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH")?;
    // A login shell of root has these, a build's environment may not.
    let more = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(std::path::PathBuf::from);
    std::env::split_paths(&path).chain(more).map(|dir| dir.join(program)).find(|file| file.is_file())
}
