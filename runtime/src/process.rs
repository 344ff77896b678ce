//! A process by identity: pid, start time and a pidfd.
//!
//! A pid is a number that the kernel hands out again. A pidfd means one process for ever, but it cannot be
//! written to a file; pid and start time can. So a process is found by the pair and then held by the pidfd,
//! and the start time is compared *after* the pidfd was opened: if the pair matches then, the pidfd is of
//! the process that was meant.

use crate::plan::{Exit, Identity};
use crate::sys::task;
use nix::errno::Errno;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

/// A process that was running when it was opened. Its descriptor turns readable when it has ended.
#[derive(Debug)]
pub struct Process {
    identity: Identity,
    fd: OwnedFd,
}

impl Process {
    /// Opens the process with this pid and start time. `None` if there is none (any more).
    ///
    /// # Errors
    /// What pidfd_open(2) says, except that there is no such process.
    pub fn open(identity: Identity) -> io::Result<Option<Self>> {
        let fd = match task::pidfd_open(identity.pid) {
            Ok(fd) => fd,
            // EINVAL: the number is now a thread's that leads no process.
            Err(Errno::ESRCH | Errno::EINVAL) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        };
        Ok((start_time_of(identity.pid) == Some(identity.start)).then_some(Self { identity, fd }))
    }

    /// Opens the process that has this pid now, whoever it is.
    ///
    /// # Errors
    /// What pidfd_open(2) says; `ESRCH` if there is none.
    pub fn of_pid(pid: i32) -> io::Result<Self> {
        let fd = task::pidfd_open(pid)?;
        let start = start_time_of(pid).ok_or(Errno::ESRCH)?;
        Ok(Self { identity: Identity { pid, start }, fd })
    }

    /// Pid and start time, to be written down.
    #[must_use]
    pub const fn identity(&self) -> Identity {
        self.identity
    }

    /// Its pid as the host sees it.
    #[must_use]
    pub const fn pid(&self) -> i32 {
        self.identity.pid
    }

    /// Sends a signal by number. A process that has ended already is success.
    ///
    /// # Errors
    /// What pidfd_send_signal(2) says.
    pub fn signal(&self, signal: i32) -> io::Result<()> {
        match task::pidfd_send_signal(self.fd.as_fd(), signal) {
            Err(Errno::ESRCH) => Ok(()),
            other => Ok(other?),
        }
    }

    /// Whether it still runs; a zombie does not.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        let mut poll = [nix::poll::PollFd::new(self.fd.as_fd(), nix::poll::PollFlags::POLLIN)];
        nix::poll::poll(&mut poll, nix::poll::PollTimeout::ZERO) == Ok(0)
    }

    /// How it ended, after somebody else has reaped it; only Linux 6.15 and later remember. `None` while it
    /// runs, while it is a zombie, or where the kernel forgets.
    #[must_use]
    pub fn exit_after_reaping(&self) -> Option<Exit> {
        task::pidfd_exit_status(self.fd.as_fd()).map(Exit::from_status)
    }
}

impl AsFd for Process {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Process {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

impl From<Process> for OwnedFd {
    fn from(process: Process) -> Self {
        process.fd
    }
}

/// When the process with this pid started: field 22 of `/proc/PID/stat`, in clock ticks since boot. It can
/// be read of a zombie too. `None` if there is no such process.
#[must_use]
pub fn start_time_of(pid: i32) -> Option<u64> {
    // In one read: the kernel counts half of what there is to know of a process for each.
    let mut line = [0; 1024];
    let length = std::fs::File::open(format!("/proc/{pid}/stat")).ok()?.read(&mut line).ok()?;
    parse_stat(&String::from_utf8_lossy(&line[..length])).map(|identity| identity.start)
}

/// Pid and start time from a line of `/proc/PID/stat`. The second field is the program's name in
/// parentheses and may itself hold spaces and parentheses, so the fields are counted from its last one.
pub(crate) fn parse_stat(stat: &str) -> Option<Identity> {
    let pid = stat.split(' ').next()?.parse().ok()?;
    let start = stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(19)?.parse().ok()?;
    Some(Identity { pid, start })
}

/// Waits for a child and reaps it.
pub(crate) fn reap(child: nix::unistd::Pid) -> io::Result<Exit> {
    wait_for(Id::Pid(child))
}

/// Waits for the child behind a pidfd and reaps it.
pub(crate) fn reap_fd(child: BorrowedFd<'_>) -> io::Result<Exit> {
    wait_for(Id::PIDFd(child))
}

fn wait_for(id: Id<'_>) -> io::Result<Exit> {
    loop {
        match waitid(copy_of(&id), WaitPidFlag::WEXITED) {
            Ok(WaitStatus::Exited(_, code)) => return Ok(Exit::Code(code as u8)),
            Ok(WaitStatus::Signaled(_, signal, _)) => return Ok(Exit::Signal(signal as i32)),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// `Id` is not `Copy`.
fn copy_of<'a>(id: &Id<'a>) -> Id<'a> {
    match id {
        Id::PIDFd(fd) => Id::PIDFd(*fd),
        Id::Pid(pid) => Id::Pid(*pid),
        _ => Id::All,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_name_with_spaces_and_parentheses_does_not_shift_the_fields() {
        let rest = (4..=52).map(|n| n.to_string()).collect::<Vec<_>>().join(" ");
        let stat = format!("17 (a) b (c) S {rest}");
        assert_eq!(parse_stat(&stat), Some(Identity { pid: 17, start: 22 }));
    }

    #[test]
    fn another_start_time_is_another_process() {
        let me = Process::of_pid(std::process::id() as i32).unwrap().identity();
        assert!(Process::open(me).unwrap().is_some());
        assert!(Process::open(Identity { start: me.start + 1, ..me }).unwrap().is_none());
    }

    #[test]
    fn a_pid_that_nobody_has_is_no_process() {
        assert!(Process::open(Identity { pid: i32::MAX - 1, start: 1 }).unwrap().is_none());
    }

    #[test]
    fn the_exit_of_a_process_that_somebody_else_reaped_is_known_on_new_kernels() {
        let mut child = std::process::Command::new("/bin/sh").args(["-c", "exit 7"]).spawn().unwrap();
        let process = Process::of_pid(child.id() as i32).unwrap();
        child.wait().unwrap();
        assert!(!process.is_alive());
        assert!(matches!(process.exit_after_reaping(), Some(Exit::Code(7)) | None));
        process.signal(libc::SIGTERM).unwrap();
    }
}
