//! Asking by running a command. How a command gets into a container is the caller's business.

use std::{future::Future, pin::Pin, time::Duration};

/// A command that is running.
pub type ExecFuture<'a> = Pin<Box<dyn Future<Output = ExecResult> + Send + 'a>>;

/// Runs a command where the container's own processes run: its namespaces, cgroup, user, environment and
/// working directory.
pub trait Exec: Send + Sync + 'static {
    /// Runs `command` (no shell) for at most `timeout`.
    ///
    /// The implementation ends the command with everything that it started when `timeout` has passed, and also
    /// when the future is dropped, which is how a probe of a container that has ended is called off. A worker
    /// waits a little longer than `timeout` for the answer, and then counts the command as timed out itself.
    fn run<'a>(&'a self, command: &'a [String], timeout: Duration) -> ExecFuture<'a>;
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExecResult {
    /// It ran to its end.
    Exited {
        /// Its exit code; 128 + n for signal n.
        code: i32,
        /// What it wrote to stdout and stderr, in order; more than 10 KiB is not looked at.
        output: Vec<u8>,
    },
    /// It was still running when its time was over.
    TimedOut,
    /// It could not be started: the container or the program is not there. Says nothing about the health of
    /// the container.
    NotStarted(String),
}

/// For callers whose probes never run commands.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoExec;

impl Exec for NoExec {
    fn run<'a>(&'a self, _command: &'a [String], _timeout: Duration) -> ExecFuture<'a> {
        Box::pin(async { ExecResult::NotStarted("commands cannot be run here".to_owned()) })
    }
}
