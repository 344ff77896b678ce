//! For the process that outlives a pod's supervisor: it adopts orphans, and learns of deaths before it reaps.

use crate::sys::guard as sys;
use nix::sys::signal::{SigSet, Signal};
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

/// How a child ended. It is still a zombie: its /proc entry is there until [`reap`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Death {
    /// Who.
    pub pid: i32,
    /// `exited` or `killed`.
    pub word: &'static str,
    /// The exit code, or the signal's number.
    pub number: i32,
}

/// From now on, orphaned descendants become children of this process (PR_SET_CHILD_SUBREAPER, prctl(2)).
///
/// # Errors
/// What prctl(2) says.
pub fn become_subreaper() -> io::Result<()> {
    Ok(nix::sys::prctl::set_child_subreaper(true)?)
}

/// The next child that has died, without reaping it; `None` if there is none.
///
/// # Errors
/// What waitid(2) says.
pub fn next_death() -> io::Result<Option<Death>> {
    Ok(sys::peek_death(None)?.map(death))
}

/// The death of this child, without reaping it; `None` if it lives. [`next_death`] tells of it too, but only after any
/// that came before and has not been reaped.
///
/// # Errors
/// What waitid(2) says.
pub fn death_of(child: i32) -> io::Result<Option<Death>> {
    Ok(sys::peek_death(Some(child.cast_unsigned()))?.map(death))
}

fn death((pid, code, number): (i32, i32, i32)) -> Death {
    let word = if code == libc::CLD_EXITED { "exited" } else { "killed" };
    Death { pid, word, number }
}

/// Reaps a child that has died.
///
/// # Errors
/// What waitpid(2) says.
pub fn reap(pid: i32) -> io::Result<()> {
    Ok(sys::reap(pid)?)
}

/// Which of two processes goes on after [`fork`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forked {
    /// The one that forked; the other's pid.
    Parent(i32),
    /// The other.
    Child,
}

/// Copies this process, which must have one thread. For a program that would only start itself anew: the C library's
/// start alone takes half a millisecond where a hypervisor answers CPUID.
///
/// # Errors
/// `EUSERS` with more than one thread, else what fork(2) says.
pub fn fork() -> io::Result<Forked> {
    Ok(sys::fork()?.map_or(Forked::Child, Forked::Parent))
}

/// Shows these words as this process's command line (`ps`, /proc/PID/cmdline) instead of those it was started with. It
/// keeps them if the new ones need more room: whoever means to call this starts with an empty argument at the end.
pub fn show_command_line(words: &[&OsStr]) {
    let line: Vec<u8> = words.iter().flat_map(|word| word.as_bytes().iter().copied().chain([0])).collect();
    sys::overwrite_command_line(&line);
}

/// Ignores a signal.
///
/// # Errors
/// What signal(2) says.
pub fn ignore(signal: Signal) -> io::Result<()> {
    Ok(sys::ignore(signal)?)
}

/// Sleeps until one of `signals`, which must be blocked, comes, or until `limit` has passed (`EAGAIN`).
///
/// # Errors
/// `EAGAIN`, or `EINTR` for another signal.
pub fn wait_signal(signals: &SigSet, limit: Option<Duration>) -> nix::Result<()> {
    sys::wait_signal(signals, limit)
}

/// Makes this process's heap as small as it can be: for those that run as long as a pod does.
pub fn slim_heap() {
    sys::slim_heap();
}
