//! Exec probes and hooks: a command in the container, by the runtime's exec stage.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use probes::{ExecFuture, ExecResult};
use runtime::plan::{Exit, FromStage, Identity, Leftovers};
use tokio::net::unix::pipe;

use crate::exec::{self, Terminal};
use crate::store::AttemptDir;

use super::stages::Conversation;
use super::world::World;

/// As much output as a kubelet keeps.
const OUTPUT_LIMIT: usize = 10 * 1024;

/// Runs commands in one attempt of one container.
pub(super) struct InContainer {
    pub(super) world: Arc<World>,
    pub(super) dir: AttemptDir,
    pub(super) target: Identity,
}

impl probes::Exec for InContainer {
    fn run<'a>(&'a self, command: &'a [String], timeout: Duration) -> ExecFuture<'a> {
        Box::pin(async move {
            match tokio::time::timeout(timeout, self.ask(command, Leftovers::Kill)).await {
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
        InContainer { world, dir, target }
    }

    /// Runs a command for as long as it takes. What it leaves in the background stays there.
    pub(super) async fn to_the_end(&self, command: &[String]) -> io::Result<ExecResult> {
        self.ask(command, Leftovers::Leave).await
    }

    async fn ask(&self, command: &[String], leftovers: Leftovers) -> io::Result<ExecResult> {
        let plan = exec::plan(&self.dir, self.target, command, Terminal::None, leftovers)?;
        let (mut stage, output) = Conversation::begin_exec(&self.world.exe, &plan)?;
        let mut kept = Vec::new();
        let mut open = true;
        loop {
            tokio::select! {
                answer = stage.answer() => match answer? {
                    Some(FromStage::Started(_)) => {}
                    Some(FromStage::Exited(exit)) => {
                        while read(&output, &mut kept) {}
                        stage.reap().await;
                        return Ok(ExecResult::Exited { code: exit_code(exit), output: kept });
                    }
                    Some(FromStage::Failed(failure)) => {
                        stage.reap().await;
                        return Ok(ExecResult::NotStarted(failure.text));
                    }
                    Some(FromStage::Ready(_)) | None => return Err(io::ErrorKind::UnexpectedEof.into()),
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
