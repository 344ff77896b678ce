//! The shell's children, and files without names.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;

use nix::errno::Errno;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::super::signals::exit_code;
use super::traps::Traps;

/// Processes that were started behind `&` and have not been waited for.
#[derive(Clone, Debug, Default)]
pub(super) struct Children {
    jobs: Vec<i32>,
    last: Option<i32>,
    /// Those that ended while another one was waited for.
    ended: BTreeMap<i32, u8>,
}

/// How waiting for a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waited {
    /// The child ended with this code.
    Ended(u8),
    /// A trapped signal came first.
    Interrupted,
}

/// Whether a trapped signal ends the waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// No: a foreground command is waited for, then the trap runs.
    ToTheEnd,
    /// Yes: `wait` returns at once.
    UntilSignal,
}

impl Children {
    /// `$!`.
    pub(super) fn last(&self) -> Option<i32> {
        self.last
    }

    pub(super) fn jobs(&self) -> &[i32] {
        &self.jobs
    }

    pub(super) fn add(&mut self, pid: i32) {
        self.jobs.push(pid);
        self.last = Some(pid);
    }

    /// A subshell's parent's children are not its own.
    pub(super) fn forget(&mut self) {
        self.jobs.clear();
        self.ended.clear();
    }

    /// Waits for one child. 127 if there is no such child.
    pub(super) fn wait(&mut self, pid: i32, patience: Patience, traps: &mut Traps) -> Waited {
        let ended = loop {
            if let Some(code) = self.ended.remove(&pid) {
                break code;
            }
            // Process 1 gets all orphans; somebody has to take them off the table.
            let whom = if nix::unistd::getpid() == Pid::from_raw(1) { -1 } else { pid };
            let flags = if traps.watches() { WaitPidFlag::WNOHANG } else { WaitPidFlag::empty() };
            match waitpid(Pid::from_raw(whom), Some(flags)) {
                Ok(WaitStatus::Exited(who, code)) => {
                    self.ended.insert(who.as_raw(), u8::try_from(code & 0xff).unwrap_or(1));
                }
                Ok(WaitStatus::Signaled(who, signal, _)) => {
                    self.ended.insert(who.as_raw(), exit_code(signal));
                }
                Ok(WaitStatus::StillAlive) => {
                    if traps.sleep() && patience == Patience::UntilSignal {
                        return Waited::Interrupted;
                    }
                }
                Ok(_) | Err(Errno::EINTR) => {}
                Err(_) => break 127,
            }
        };
        self.jobs.retain(|job| *job != pid);
        Waited::Ended(ended)
    }
}

/// An empty file that only its descriptors hold.
pub(super) fn scratch() -> io::Result<File> {
    Ok(File::from(memfd_create("sh", MFdFlags::MFD_CLOEXEC)?))
}

/// The same with this content, to be read from its beginning.
pub(super) fn filled(bytes: &[u8]) -> io::Result<File> {
    use std::io::Seek;
    let mut file = scratch()?;
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file)
}

/// All that was written to it.
pub(super) fn content(file: &File) -> io::Result<Vec<u8>> {
    let length = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

/// The kernel's reason without its number.
pub(super) fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}
