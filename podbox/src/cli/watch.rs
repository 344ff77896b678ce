//! Waiting for something to change in a pod's directory, without polling.

use std::cell::RefCell;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::Failure;

/// Watches directories for files that are written or renamed into place, and listens to bells.
///
/// A command that is in a hurry listens and does not watch: closing an inotify descriptor that has ever watched
/// something takes the kernel up to some tens of milliseconds (it waits until nobody can be looking at the marks).
pub(super) struct Watch {
    inotify: Inotify,
    /// Sockets whose other ends are written to when something has changed.
    bells: RefCell<Vec<UnixStream>>,
    interrupts: Option<SignalFd>,
    /// Waits also end when nobody reads standard output any more.
    heard: bool,
}

/// Why a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Woken {
    /// Something changed.
    Changed,
    /// The descriptor that was given turned readable.
    Ready,
    /// Ctrl-C, or a request to end.
    Interrupted,
    /// Nobody reads standard output any more.
    Unheard,
    /// The time is over.
    TimedOut,
}

impl Watch {
    pub(super) fn new() -> Result<Watch, Failure> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK);
        let inotify = inotify.map_err(|errno| Failure::cannot(format!("watch for changes: {errno}")))?;
        Ok(Watch { inotify, bells: RefCell::default(), interrupts: None, heard: false })
    }

    /// From now on SIGINT, SIGTERM and SIGHUP end a wait instead of the process.
    pub(super) fn catch_interrupts(&mut self) -> Result<(), Failure> {
        let mut signals = SigSet::empty();
        for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
            signals.add(signal);
        }
        let caught = signals
            .thread_block()
            .and_then(|()| SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK));
        self.interrupts = Some(caught.map_err(|errno| Failure::cannot(format!("catch signals: {errno}")))?);
        Ok(())
    }

    /// Adds a bell, until nobody is left who could ring it.
    pub(super) fn listen(&self, bell: UnixStream) {
        self.bells.borrow_mut().push(bell);
    }

    /// From now on a wait also ends when the reader of standard output has gone: a quiet `podbox get -w | head -1`
    /// would otherwise learn it only from the next change.
    pub(super) fn mind_the_reader(&mut self) {
        self.heard = true;
    }

    /// Adds a directory, or the nearest one above it that is there, so that its making is noticed.
    pub(super) fn add_nearest(&self, dir: &Path) {
        let nearest = || dir.ancestors().find(|dir| dir.is_dir());
        let mut watched = None;
        // Made just before it would have been noticed: look again.
        while nearest() != watched {
            watched = nearest();
            watched.into_iter().for_each(|there| self.add(there));
        }
    }

    /// Adds a directory; one that is gone has nothing to tell.
    pub(super) fn add(&self, dir: &Path) {
        let flags = AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_MODIFY
            | AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_DELETE_SELF;
        let _ = self.inotify.add_watch(dir, flags);
    }

    /// Waits for a change, for `also` to turn readable, for an interrupt, or until `deadline`.
    pub(super) fn wait(
        &self,
        also: Option<BorrowedFd<'_>>,
        deadline: Option<Instant>,
    ) -> Result<Woken, Failure> {
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let mut bells = self.bells.borrow_mut();
            let mut fds = vec![PollFd::new(self.inotify.as_fd(), PollFlags::POLLIN)];
            fds.extend(self.interrupts.as_ref().map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN)));
            fds.extend(also.map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
            let first_bell = fds.len();
            fds.extend(bells.iter().map(|bell| PollFd::new(bell.as_fd(), PollFlags::POLLIN)));
            let (stdout, reader) = (std::io::stdout(), fds.len());
            // No event is asked for: the kernel tells the other side's end (POLLERR) unasked.
            fds.extend(self.heard.then(|| PollFd::new(stdout.as_fd(), PollFlags::empty())));
            match poll(&mut fds, timeout(left)) {
                Ok(0) => return Ok(Woken::TimedOut),
                Ok(_) => {}
                Err(Errno::EINTR) => continue,
                Err(errno) => return Err(Failure::cannot(format!("wait for changes: {errno}"))),
            }
            let readable = |index: usize| fds.get(index).and_then(PollFd::any).unwrap_or(false);
            if self.interrupts.is_some() && readable(1) {
                self.interrupts.as_ref().map(SignalFd::read_signal);
                return Ok(Woken::Interrupted);
            }
            if readable(0) {
                while self.inotify.read_events().is_ok_and(|events| !events.is_empty()) {}
                return Ok(Woken::Changed);
            }
            if also.is_some() && readable(first_bell - 1) {
                return Ok(Woken::Ready);
            }
            if readable(reader) {
                return Ok(Woken::Unheard);
            }
            let rung: Vec<bool> = (first_bell..reader).map(readable).collect();
            drop(fds);
            let mut rung = rung.into_iter();
            bells.retain_mut(|bell| !rung.next().unwrap_or(false) || silence(bell));
            return Ok(Woken::Changed);
        }
    }
}

/// Takes in how often the bell was rung; false if it never will be again.
fn silence(bell: &mut UnixStream) -> bool {
    matches!(bell.read(&mut [0; 64]), Ok(1..))
}

/// Rounded up, so that a wait never ends before its deadline.
fn timeout(left: Option<Duration>) -> PollTimeout {
    match left {
        None => PollTimeout::NONE,
        Some(left) => PollTimeout::try_from(left.as_millis().saturating_add(1)).unwrap_or(PollTimeout::MAX),
    }
}
