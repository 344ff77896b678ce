//! Stages: fresh copies of the program that do one privileged thing and leave.
//!
//! A stage has one thread and no async runtime, so it may clone, change namespaces and drop privileges,
//! which a supervisor may not. The conversation, on one socket that is both standard input and output:
//!
//! ```text
//! caller → stage   a plan                one JSON object on one line
//! stage → caller   {"ready":{…}}         or {"failed":{"step":…,"errno":…,"text":…}}
//! ```
//!
//! and then, depending on the stage:
//!
//! ```text
//! container:  caller → init    "go"                   init waits at its gate for it; end of file: it leaves
//!             init → caller    end of file            exec has worked: the socket is close-on-exec
//!                              {"failed":{…}}         or it has not
//! exec:       stage → caller   {"started":{…}}        and at the end {"exited":{…}}
//!             caller → stage   {"args":[…]}           a stage that stays: as often as there is something to run,
//!             stage → caller   {"exited":{…}}         or {"failed":{…}}, and then the next
//! ```
//!
//! Run by hand, `podbox stage sandbox < plan.json` works too: a pipe or a file will do.

pub(crate) mod console;
pub(crate) mod container;
pub(crate) mod exec;
pub(crate) mod init;
mod labels;
mod program;
mod reaper;
pub(crate) mod sandbox;
mod user;
pub(crate) mod userns;

use crate::launch::{Inbox, StageKind, send};
use crate::plan::{Failure, FromStage};
use crate::recipe::{During, Fault};
use nix::fcntl::{FcntlArg, fcntl};
use nix::unistd::{dup2_stdin, dup2_stdout};
use serde::de::DeserializeOwned;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::ExitCode;

/// What `main` calls when the program's first argument is `stage`, with the arguments after it, before
/// anything else exists: no thread, no logging, no parsed command line.
///
/// Exit codes: 0 done, 1 a step failed (said on the socket), 2 no such stage.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let word = args.into_iter().next().unwrap_or_default();
    let kinds = [StageKind::Sandbox, StageKind::Container, StageKind::Exec];
    match kinds.into_iter().find(|kind| word == kind.as_str()) {
        Some(kind) => run(kind),
        None => {
            eprintln!(
                "podbox stage: there is no stage {}; there are sandbox, container and exec",
                word.display()
            );
            ExitCode::from(2)
        }
    }
}

/// What a process does that was forked to be a stage ([`crate::guard::fork`]), with its end of the conversation. It has
/// one thread, and holds nothing of what its parent held.
///
/// Exit codes: as [`main`].
pub fn take_over(kind: StageKind, socket: OwnedFd) -> ExitCode {
    crate::sys::task::reset_signals();
    let placed = dup2_stdin(&socket).and_then(|()| dup2_stdout(&socket));
    drop(socket);
    match placed {
        Ok(()) => run(kind),
        // Whoever would have talked to it finds the socket closed.
        Err(_) => ExitCode::FAILURE,
    }
}

fn run(kind: StageKind) -> ExitCode {
    let stage: fn(&mut Channel) -> Result<(), Failure> = match kind {
        StageKind::Sandbox => sandbox::run,
        StageKind::Container => container::run,
        StageKind::Exec => exec::run,
    };
    if kind != StageKind::Exec {
        // What a stage makes must not appear after somebody has cleaned up behind its dead parent. (One that is the
        // guardian's child holds its supervisor's lock instead.) The container's init does not inherit this; it waits
        // at its gate, and sees it closed. (The exec stage must live on for a moment, to end what it has started.)
        let _ = nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL);
    }
    let Ok(mut channel) = Channel::open() else { return ExitCode::FAILURE };
    match stage(&mut channel) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // If the caller has gone there is nobody to tell; what was made is undone either way.
            let _ = channel.say(&FromStage::Failed(failure));
            ExitCode::FAILURE
        }
    }
}

/// The stage's end of the conversation. Its descriptors are close-on-exec and not 0 to 2, which belong to
/// the container later.
#[derive(Debug)]
pub(crate) struct Channel {
    input: OwnedFd,
    output: OwnedFd,
    inbox: Inbox,
}

impl Channel {
    fn open() -> io::Result<Self> {
        let keep = |fd: BorrowedFd<'_>| -> io::Result<OwnedFd> {
            Ok(crate::sys::adopt(fcntl(fd, FcntlArg::F_DUPFD_CLOEXEC(3))?))
        };
        Ok(Self {
            input: keep(io::stdin().as_fd())?,
            output: keep(io::stdout().as_fd())?,
            inbox: Inbox::default(),
        })
    }

    /// Reads the plan.
    pub(crate) fn plan<P: DeserializeOwned>(&mut self) -> Result<P, Failure> {
        self.read_plan().map_err(|fault| fault.at("read the plan"))
    }

    fn read_plan<P: DeserializeOwned>(&mut self) -> Result<P, Fault> {
        let line = self.inbox.line(self.input.as_fd())?.ok_or_else(|| Fault::new("there is none"))?;
        serde_json::from_str(&line).map_err(io::Error::from).during("not a plan")
    }

    /// The descriptors that came with the plan.
    pub(crate) fn take_fds(&mut self) -> Vec<OwnedFd> {
        self.inbox.take_fds()
    }

    /// Says something to the caller.
    pub(crate) fn say(&self, message: &FromStage) -> io::Result<()> {
        self.say_with(message, &[])
    }

    /// As [`Channel::say`], with descriptors beside it.
    pub(crate) fn say_with(&self, message: &FromStage, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut line = serde_json::to_vec(message)?;
        line.push(b'\n');
        send(self.output.as_fd(), &line, fds)
    }

    /// The next line from the caller, or `None` when it has gone.
    pub(crate) fn hear(&mut self) -> io::Result<Option<String>> {
        self.inbox.line(self.input.as_fd())
    }

    /// To wait on: readable when the caller speaks or hangs up.
    pub(crate) fn input(&self) -> BorrowedFd<'_> {
        self.input.as_fd()
    }
}
