//! `trap`: what to do on a signal, and at the end.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::rc::Rc;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::shell::{Shell, Stop};

/// The actions, and the signals that wait for theirs.
#[derive(Clone, Default)]
pub(super) struct Traps {
    exit: Option<String>,
    /// An empty action ignores the signal.
    actions: BTreeMap<i32, String>,
    /// Whether a terminal's interrupt shall not end the shell.
    session: bool,
    pending: Vec<Signal>,
    source: Option<Rc<SignalFd>>,
}

impl Traps {
    pub(super) fn take_exit(&mut self) -> Option<String> {
        self.exit.take()
    }

    pub(super) fn set_exit(&mut self, action: Option<String>) {
        self.exit = action;
    }

    /// A subshell has none, but what is ignored stays so; this process's mask is not its to change.
    pub(super) fn for_subshell(&self) -> Self {
        let ignored = self.actions.iter().filter(|(_, action)| action.is_empty());
        Self {
            actions: ignored.map(|(signal, action)| (*signal, action.clone())).collect(),
            ..Self::default()
        }
    }

    /// Sets or, with `None`, resets an action.
    pub(super) fn set(&mut self, signal: Signal, action: Option<String>) -> nix::Result<()> {
        match action {
            Some(action) => self.actions.insert(signal as i32, action),
            None => self.actions.remove(&(signal as i32)),
        };
        self.apply()
    }

    pub(super) fn keep_from_interrupts(&mut self) -> nix::Result<()> {
        self.session = true;
        self.apply()
    }

    fn apply(&mut self) -> nix::Result<()> {
        let mut watched = SigSet::empty();
        let mut blocked = SigSet::empty();
        for (number, action) in &self.actions {
            let signal = Signal::try_from(*number)?;
            blocked.add(signal);
            if !action.is_empty() {
                watched.add(signal);
            }
        }
        if self.session {
            watched.add(Signal::SIGINT);
        }
        if watched.iter().next().is_some() {
            // A child's end must wake the shell that waits for either.
            watched.add(Signal::SIGCHLD);
            let source = SignalFd::with_flags(&watched, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
            self.source = Some(Rc::new(source));
        } else {
            self.source = None;
        }
        watched.iter().for_each(|signal| blocked.add(signal));
        blocked.thread_set_mask()
    }

    /// Whether signals are taken from a descriptor, and children so wait to be asked for.
    pub(super) fn watches(&self) -> bool {
        self.source.is_some()
    }

    /// Whether this process blocks signals that a command must not inherit.
    pub(super) fn masks(&self) -> bool {
        self.source.is_some() || SigSet::thread_get_mask().is_ok_and(|mask| mask.iter().next().is_some())
    }

    /// The signals that commands ignore too.
    pub(super) fn ignored(&self) -> String {
        let names =
            self.actions.iter().filter(|(_, action)| action.is_empty()).map(|(signal, _)| signal.to_string());
        names.collect::<Vec<_>>().join(",")
    }

    /// Waits for a signal; whether it was another one than a child's end.
    pub(super) fn sleep(&mut self) -> bool {
        if let Some(source) = &self.source {
            let _ = poll(&mut [PollFd::new(source.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE);
        }
        self.collect();
        !self.pending.is_empty()
    }

    fn collect(&mut self) {
        let Some(source) = &self.source else { return };
        while let Ok(Some(info)) = source.read_signal() {
            match i32::try_from(info.ssi_signo).map(Signal::try_from) {
                Ok(Ok(Signal::SIGCHLD)) if !self.actions.contains_key(&(Signal::SIGCHLD as i32)) => {}
                Ok(Ok(signal)) => self.pending.push(signal),
                _ => {}
            }
        }
    }

    /// `trap` alone: lines that set the same traps again.
    pub(super) fn listing(&self) -> String {
        let quoted = |action: &str| action.replace('\'', "'\\''");
        let mut lines: Vec<String> = Vec::new();
        lines.extend(self.exit.iter().map(|action| format!("trap -- '{}' EXIT\n", quoted(action))));
        for (number, action) in &self.actions {
            let name = Signal::try_from(*number).map_or("?", |signal| &signal.as_str()[3..]);
            lines.push(format!("trap -- '{}' {name}\n", quoted(action)));
        }
        lines.concat()
    }
}

impl Shell {
    /// Runs the actions of the signals that have come.
    pub(super) fn run_traps(&mut self) -> Result<(), Stop> {
        self.traps.collect();
        for signal in std::mem::take(&mut self.traps.pending) {
            let Some(action) = self.traps.actions.get(&(signal as i32)).cloned() else {
                // Nobody asked for it but the session, which it brings back to its prompt.
                return Err(Stop::Failed(130));
            };
            let status = self.status;
            self.text(&action)?;
            self.status = status;
        }
        Ok(())
    }

    /// An interrupt from the terminal ends the command, not the session.
    pub(super) fn keep_from_interrupts(&mut self) {
        if self.traps.keep_from_interrupts().is_err() {
            self.complain("interrupts will end this shell");
        }
    }

    /// Waits until there is something to read; true if an interrupt came first.
    pub(super) fn interrupted_before_input(&mut self) -> bool {
        let (Some(source), Some(input)) = (self.traps.source.clone(), self.io.0[0].clone()) else {
            return false;
        };
        loop {
            let mut fds = [
                PollFd::new(source.as_fd(), PollFlags::POLLIN),
                PollFd::new(input.as_fd(), PollFlags::POLLIN),
            ];
            let _ = poll(&mut fds, PollTimeout::NONE);
            let readable = fds[1].any().unwrap_or(true);
            self.traps.collect();
            if self.traps.pending.contains(&Signal::SIGINT) {
                self.traps.pending.retain(|signal| *signal != Signal::SIGINT);
                return true;
            }
            if readable {
                return false;
            }
        }
    }
}
