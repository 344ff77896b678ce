//! One end of a connection: a network namespace, entered by a thread.

use std::fs::File;
use std::net::IpAddr;
use std::path::Path;
use std::thread;

use nix::sched::{CloneFlags, CpuSet, sched_getaffinity, sched_setaffinity, setns};
use nix::unistd::Pid;

use crate::failure::{Failure, Outcome, cannot};

/// A network namespace and the addresses that it has there.
#[derive(Debug)]
pub(crate) struct End {
    netns: File,
    /// IPv4, then IPv6.
    pub(crate) ips: Vec<IpAddr>,
}

/// Which processor a thread keeps to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Processor {
    /// The first that this program may use.
    First,
    /// The last.
    Last,
}

impl End {
    pub(crate) fn open(netns: &Path, ips: Vec<IpAddr>) -> Outcome<End> {
        let file = File::open(netns).map_err(cannot(format_args!("open {}", netns.display())))?;
        Ok(End { netns: file, ips })
    }

    /// Puts the calling thread, and only that, there.
    #[expect(
        clippy::disallowed_methods,
        reason = "a thread of the benchmark that does nothing else afterwards"
    )]
    pub(crate) fn enter(&self, processor: Processor) -> Outcome<()> {
        setns(&self.netns, CloneFlags::CLONE_NEWNET)
            .map_err(|error| Failure(format!("cannot enter a network namespace: {error}")))?;
        processor.keep();
        Ok(())
    }

    /// Does something there, in a thread of its own, and waits for it.
    pub(crate) fn run<T: Send>(&self, work: impl FnOnce() -> Outcome<T> + Send) -> Outcome<T> {
        let inside = || {
            self.enter(Processor::First)?;
            work()
        };
        thread::scope(|scope| scope.spawn(inside).join())
            .unwrap_or_else(|_| Err(Failure("a client has panicked".to_owned())))
    }
}

impl Processor {
    /// Keeps the calling thread there. Where that is not allowed the figures are noisier, no more.
    pub(crate) fn keep(self) {
        let me = Pid::from_raw(0);
        let Ok(allowed) = sched_getaffinity(me) else { return };
        let mut usable = (0..CpuSet::count()).filter(|cpu| allowed.is_set(*cpu).unwrap_or(false));
        let chosen = match self {
            Processor::First => usable.next(),
            Processor::Last => usable.next_back(),
        };
        let mut only = CpuSet::new();
        if chosen.is_some_and(|cpu| only.set(cpu).is_ok()) {
            let _ = sched_setaffinity(me, &only);
        }
    }
}
