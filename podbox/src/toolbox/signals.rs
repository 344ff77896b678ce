//! Ending on a signal, also as process 1.
//!
//! The kernel drops every signal that process 1 of a PID namespace has not asked for, SIGTERM included
//! (pid_namespaces(7)). "Asked for" means a handler, or that the signal is blocked: a blocked signal is kept
//! until somebody takes it. Blocking and taking needs no handler and so no unsafe code, and the rest of the
//! program never sees an interrupted system call.
//!
//! Threads inherit the mask, so [`Ends::claim`] comes before the first thread is made.

use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::SignalFd;
use std::os::fd::AsFd;
use std::time::Instant;

use super::failure::Failure;

/// The signals that end an applet, now kept for [`Ends::wait`].
pub(super) struct Ends {
    signals: SigSet,
}

impl Ends {
    /// Blocks SIGTERM and SIGINT in this thread and in those it will make.
    pub(super) fn claim() -> Result<Self, Failure> {
        let mut signals = SigSet::empty();
        signals.add(Signal::SIGTERM);
        signals.add(Signal::SIGINT);
        signals.thread_block().map_err(Failure::system("block signals"))?;
        Ok(Self { signals })
    }

    /// Sleeps until one of the signals arrives.
    pub(super) fn wait(&self) -> Result<Signal, Failure> {
        loop {
            match self.signals.wait() {
                Err(Errno::EINTR) => {}
                other => return other.map_err(Failure::system("wait for a signal")),
            }
        }
    }

    /// Sleeps until one of the signals arrives, or for `limit`; `None` if the time is up.
    pub(super) fn wait_for(&self, limit: Duration) -> Result<Option<Signal>, Failure> {
        let what = "wait for a signal";
        let fd = SignalFd::new(&self.signals).map_err(Failure::system(what))?;
        let end = Instant::now() + limit;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            // poll counts whole milliseconds; rounding up never wakes early, and a day at a time fits its type.
            let millis = left.as_micros().div_ceil(1000).min(86_400_000);
            let timeout = PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX);
            match poll(&mut [PollFd::new(fd.as_fd(), PollFlags::POLLIN)], timeout) {
                Ok(0) if Instant::now() >= end => return Ok(None),
                Ok(0) | Err(Errno::EINTR) => {}
                Ok(_) => return self.wait().map(Some),
                Err(errno) => return Err(Failure::system(what)(errno)),
            }
        }
    }
}

/// The exit code that a shell, and Kubernetes, reports for a process that `signal` ended.
pub(super) fn exit_code(signal: Signal) -> u8 {
    128 + u8::try_from(signal as i32).unwrap_or(0)
}
