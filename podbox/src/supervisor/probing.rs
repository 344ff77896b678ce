//! Exec probes and hooks: a command in the container, by the runtime's exec stage.
//!
//! A stage that has answered is kept for the next command, because starting one costs more than most commands
//! do. Two probes that ask at the same time have one each. A command that takes too long takes its stage along:
//! hanging up is how a stage is told to end a program with everything that it has started.

use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use probes::{ExecFuture, ExecResult};
use runtime::launch::StageKind;
use runtime::plan::{ExecRun, Exit, FromStage, Identity, Stay};
use tokio::net::unix::pipe;

use crate::exec::{self, Terminal};
use crate::store::AttemptDir;

use super::stages::Conversation;
use super::world::World;

/// As much output as a kubelet keeps.
const OUTPUT_LIMIT: usize = 10 * 1024;

/// What a pipe holds, in reads: when the command has ended, what is there is read, and no more than that.
const LAST_READS: usize = 16;

/// Runs commands in one attempt of one container.
pub(super) struct InContainer {
    world: Arc<World>,
    dir: AttemptDir,
    target: Identity,
    idle: Mutex<Vec<Visitor>>,
}

/// An exec stage that has nothing to do at the moment.
struct Visitor {
    stage: Conversation,
    nothing: File,
}

impl probes::Exec for InContainer {
    fn run<'a>(&'a self, command: &'a [String], timeout: Duration) -> ExecFuture<'a> {
        Box::pin(async move {
            match tokio::time::timeout(timeout, self.to_the_end(command)).await {
                Ok(Ok(result)) => result,
                Ok(Err(error)) => ExecResult::NotStarted(error.to_string()),
                // Dropping the conversation hangs up, and the stage ends the command with all it started.
                Err(_) => ExecResult::TimedOut,
            }
        })
    }
}

impl InContainer {
    /// For the attempt whose files are in `dir` and whose first process is `target`.
    pub(super) fn new(world: Arc<World>, dir: AttemptDir, target: Identity) -> InContainer {
        InContainer { world, dir, target, idle: Mutex::default() }
    }

    /// Runs a command for as long as it takes. What it leaves in the background stays there.
    pub(super) async fn to_the_end(&self, command: &[String]) -> io::Result<ExecResult> {
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = idle().pop();
        let mut visitor = match waiting {
            Some(visitor) => visitor,
            None => self.begin().await?,
        };
        Ok(match visitor.run(command).await? {
            Answer::Ended { code, output } => {
                idle().push(visitor);
                ExecResult::Exited { code, output }
            }
            Answer::NoProgram(text) => {
                idle().push(visitor);
                ExecResult::NotStarted(text)
            }
            Answer::NoWayIn(text) => ExecResult::NotStarted(text),
        })
    }

    async fn begin(&self) -> io::Result<Visitor> {
        let mut plan = exec::plan(&self.dir, self.target, &[], Terminal::None)?;
        plan.stay = Stay::UntilHangUp;
        let mut stage = Conversation::start(&self.world.exe, StageKind::Exec)?;
        stage.give(&plan).await?;
        Ok(Visitor { stage, nothing: File::open("/dev/null")? })
    }
}

/// What a stage says of one command.
enum Answer {
    /// It ran to its end.
    Ended { code: i32, output: Vec<u8> },
    /// It cannot be run; the stage waits for another.
    NoProgram(String),
    /// The container cannot be entered, and the stage is good for nothing.
    NoWayIn(String),
}

impl Visitor {
    async fn run(&mut self, command: &[String]) -> io::Result<Answer> {
        let output = self.stage.order(&ExecRun { args: command.to_vec() }, &self.nothing)?;
        let mut kept = Vec::new();
        let mut open = true;
        loop {
            tokio::select! {
                answer = self.stage.answer() => match answer? {
                    Some(FromStage::Exited(exit)) => {
                        // What it has left in the background may write for ever, and keeps nobody waiting.
                        (0..LAST_READS).all(|_| read(&output, &mut kept));
                        return Ok(Answer::Ended { code: exit_code(exit), output: kept });
                    }
                    Some(FromStage::Failed(failure)) => {
                        // Only a process that was inside has an exit code.
                        let inside = failure.exit_code.is_some();
                        let answer = if inside { Answer::NoProgram } else { Answer::NoWayIn };
                        return Ok(answer(failure.text));
                    }
                    Some(FromStage::Started(_) | FromStage::Ready(_)) | None => {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                },
                readable = output.readable(), if open => {
                    readable?;
                    open = read(&output, &mut kept) || !at_end(&output);
                }
            }
        }
    }
}

fn exit_code(exit: Exit) -> i32 {
    match exit {
        Exit::Code(code) => code.into(),
        Exit::Signal(signal) => 128 + signal,
    }
}

/// Reads what is there, keeping no more than the limit; false when there is nothing (now, or any more).
fn read(output: &pipe::Receiver, kept: &mut Vec<u8>) -> bool {
    let mut buffer = [0; 4096];
    match output.try_read(&mut buffer) {
        Ok(length @ 1..) => {
            let room = OUTPUT_LIMIT.saturating_sub(kept.len());
            kept.extend_from_slice(&buffer[..length.min(room)]);
            true
        }
        Ok(_) | Err(_) => false,
    }
}

/// Whether all writers are gone.
fn at_end(output: &pipe::Receiver) -> bool {
    matches!(output.try_read(&mut [0; 1]), Ok(0))
}
