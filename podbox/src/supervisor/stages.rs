//! Talking to stages from async code.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use runtime::launch::{Inbox, Launched, SelfExe, StageKind, launch, send, send_plan};
use runtime::plan::{ExecRun, Failure, FromStage};
use serde::Serialize;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::UnixStream;
use tokio::net::unix::pipe;

use crate::guardian::FirstStages;

use super::readable::readable;

/// A stage under way.
pub(super) struct Conversation {
    pub(super) socket: UnixStream,
    inbox: Inbox,
    stage: Option<Reaping>,
}

/// The stage as a child that has to be reaped.
struct Reaping {
    fd: AsyncFd<OwnedFd>,
}

/// Why a stage gave no good answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum StageError {
    #[error("talk to the stage")]
    Talk(#[source] io::Error),
    #[error("the stage ended without an answer")]
    Silent,
    #[error(transparent)]
    Failed(Failure),
}

impl Conversation {
    /// Starts a stage, which waits for its plan.
    pub(super) fn start(exe: &SelfExe, kind: StageKind) -> io::Result<Conversation> {
        let Launched { pidfd, socket, .. } = launch(exe, kind)?;
        socket.set_nonblocking(true)?;
        let stage = Some(Reaping { fd: readable(&pidfd)? });
        Ok(Conversation { socket: UnixStream::from_std(socket)?, inbox: Inbox::default(), stage })
    }

    /// With a stage that is the guardian's child, and is reaped by it.
    fn of_the_guardian(socket: std::os::unix::net::UnixStream) -> io::Result<Conversation> {
        socket.set_nonblocking(true)?;
        Ok(Conversation { socket: UnixStream::from_std(socket)?, inbox: Inbox::default(), stage: None })
    }

    /// Gives the stage its plan, and lets it hold the lock for as long as it lives: whoever waits for the lock to clean
    /// up behind a dead supervisor waits for its stages too, so that nothing appears afterwards.
    pub(super) async fn give_with<P: Serialize>(&mut self, plan: &P, lock: &File) -> io::Result<()> {
        // An empty beginning of the plan, because a descriptor needs a byte to go with.
        send(self.socket.as_fd(), b" ", &[lock.as_fd()])?;
        self.give(plan).await
    }

    /// Gives the stage its plan.
    pub(super) async fn give<P: Serialize>(&mut self, plan: &P) -> io::Result<()> {
        let mut line = serde_json::to_vec(plan)?;
        line.push(b'\n');
        self.socket.write_all(&line).await
    }

    /// Tells an exec stage that stays to run a program. It reads nothing; what it writes comes out of the pipe.
    pub(super) fn order(&self, run: &ExecRun, nothing: &File) -> io::Result<pipe::Receiver> {
        let (output, theirs) = io::pipe()?;
        send_plan(&self.socket, run, &[nothing.as_fd(), theirs.as_fd(), theirs.as_fd()])?;
        pipe::Receiver::from_owned_fd(output.into())
    }

    /// The next answer; `None` at end of file.
    pub(super) async fn answer(&mut self) -> io::Result<Option<FromStage>> {
        loop {
            self.socket.readable().await?;
            let (socket, inbox) = (&self.socket, &mut self.inbox);
            match socket.try_io(Interest::READABLE, || inbox.answer(socket.as_fd())) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return other,
            }
        }
    }

    /// Waits for `Ready`.
    pub(super) async fn ready(&mut self) -> Result<runtime::plan::Ready, StageError> {
        let answer = self.answer().await.map_err(StageError::Talk)?;
        match answer {
            Some(FromStage::Ready(ready)) => Ok(ready),
            Some(FromStage::Failed(failure)) => Err(StageError::Failed(failure)),
            Some(FromStage::Started(_) | FromStage::Exited(_)) | None => Err(StageError::Silent),
        }
    }

    /// Waits for the stage's end, so that it does not stay a zombie.
    pub(super) async fn reap(&mut self) {
        if let Some(stage) = self.stage.take() {
            stage.reap().await;
        }
    }
}

impl Drop for Conversation {
    /// Hanging up makes the stage leave; somebody still has to reap it.
    fn drop(&mut self) {
        if let Some(stage) = self.stage.take() {
            tokio::spawn(stage.reap());
        }
    }
}

impl Reaping {
    async fn reap(self) {
        // It cannot fail for a child that nobody else reaps; if it does, there is nothing to wait for.
        if self.fd.readable().await.is_ok() {
            let _ = runtime::launch::reap(self.fd.get_ref().as_fd());
        }
    }
}

/// Stages that were started before their plans were known, while the supervisor had to wait anyway.
#[derive(Default)]
pub(super) struct Warm(Mutex<Vec<(StageKind, Conversation)>>);

impl Warm {
    /// Those that the guardian has started.
    pub(super) fn of(stages: FirstStages) -> Warm {
        let talk = |(kind, socket)| Some((kind, Conversation::of_the_guardian(socket).ok()?));
        Warm(Mutex::new(stages.into_iter().filter_map(talk).collect()))
    }

    /// Starts as many of a kind as are missing of `count`, and lets go of what is more.
    pub(super) fn be(&self, exe: &SelfExe, (kind, count): (StageKind, usize)) {
        let mut there = 0;
        self.stages().retain(|(known, _)| {
            there += usize::from(*known == kind);
            *known != kind || there <= count
        });
        (there..count).for_each(|_| self.add(exe, kind));
    }

    /// Starts a stage. One that cannot be started is started, and missed, when it is needed.
    fn add(&self, exe: &SelfExe, kind: StageKind) {
        self.stages().extend(Conversation::start(exe, kind).ok().map(|stage| (kind, stage)));
    }

    /// One that waits, or a new one.
    pub(super) fn take(&self, exe: &SelfExe, kind: StageKind) -> io::Result<Conversation> {
        let waiting = {
            let mut stages = self.stages();
            let found = stages.iter().position(|(known, _)| *known == kind);
            found.map(|index| stages.swap_remove(index).1)
        };
        waiting.map_or_else(|| Conversation::start(exe, kind), Ok)
    }

    /// Lets go of those that nobody has needed: they leave when they are hung up on.
    pub(super) fn clear(&self) {
        self.stages().clear();
    }

    /// The same, until they have left.
    pub(super) async fn dismiss(&self) {
        let waiting = std::mem::take(&mut *self.stages());
        for (_, mut stage) in waiting {
            // It leaves anyway once this process has.
            let _ = stage.socket.shutdown().await;
            stage.reap().await;
        }
    }

    fn stages(&self) -> MutexGuard<'_, Vec<(StageKind, Conversation)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reaps a child when it has ended, whenever that is.
pub(super) fn reap_soon(child: &runtime::process::Process) -> io::Result<()> {
    tokio::spawn(Reaping { fd: readable(child)? }.reap());
    Ok(())
}
