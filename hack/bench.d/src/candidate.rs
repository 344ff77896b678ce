//! What is measured: somebody who can bring a pod up and down.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::failure::{Failure, Outcome};
use crate::proc;

/// One pod of a run.
pub(crate) type PodNumber = u32;

/// A process that a candidate keeps beside the containers.
#[derive(Clone, Debug)]
pub(crate) struct Helper {
    pub(crate) role: &'static str,
    pub(crate) pid: proc::Pid,
}

/// One of those that are compared. Times are those of a whole process as a shell would start it, except the
/// floor's, which has no process around it.
pub(crate) trait Candidate {
    /// As the tables call it.
    fn name(&self) -> &'static str;
    /// What exactly was measured.
    fn version(&self) -> String;
    /// False for a bare runtime, whose "pod" is one container with no network.
    fn has_pods(&self) -> bool;
    /// How long what it leaves running after an answer may disturb whoever comes next.
    fn settle(&self) -> Duration;
    /// Brings a pod up, until its containers have been exec'd.
    fn up(&mut self, pod: PodNumber) -> Outcome<Duration>;
    /// Takes it down, with no grace.
    fn down(&mut self, pod: PodNumber) -> Outcome<Duration>;
    /// Runs `true` in its first container.
    fn exec(&mut self, pod: PodNumber) -> Outcome<Duration>;
    /// Kills first processes; how long each replacement took to run. Empty: it restarts nothing.
    fn restart(&mut self, pod: PodNumber) -> Outcome<Vec<Duration>>;
    /// How long the containers of a pod took to start when they were last started; empty: it does not tell.
    fn starts(&self, _pod: PodNumber) -> Outcome<Vec<Duration>> {
        Ok(Vec::new())
    }
    /// Its helpers, of all pods that are up.
    fn helpers(&self) -> Vec<Helper>;
}

/// What container `container` of a pod sleeps: a number that no other process on the host has, so that its
/// process can be found whatever namespace it is in.
pub(crate) fn marker(owner: u32, pod: PodNumber, container: u32) -> String {
    (owner * 10_000_000 + pod * 10 + container).to_string()
}

/// SIGKILLs the process that sleeps `marker` and waits for the next one that does.
pub(crate) fn kill_and_await(marker: &str) -> Outcome<Duration> {
    let pid = proc::sleeper(marker).ok_or_else(|| Failure(format!("no process sleeps {marker}")))?;
    let latest = proc::last_pid().unwrap_or(pid);
    let started = Instant::now();
    kill(Pid::from_raw(pid), Signal::SIGKILL)
        .map_err(|error| Failure(format!("cannot kill {pid}: {error}")))?;
    proc::await_sleeper(marker, latest, started)
}

/// A Pod of two containers that sleep.
pub(crate) fn manifest(name: &str, image: &str, sleeps: [&str; 2]) -> String {
    let container = |name: &str, sleep: &str| {
        format!(
            "  - name: {name}\n    image: {image}\n    imagePullPolicy: Never\n    command: [/bin/sleep, \"{sleep}\"]\n"
        )
    };
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: {name}\nspec:\n  restartPolicy: Always\n  containers:\n{}{}",
        container("a", sleeps[0]),
        container("b", sleeps[1])
    )
}
