//! What the machine remembers: the whole state of a pod, as it is written to `machine.json`.
//!
//! A field exists only in the states where it means something. The file is written before anything that
//! depends on it is done, so a supervisor that takes over after a crash knows at least as much as happened.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::time::Duration;

use crate::clock::{Mono, Now};
use crate::pod::Resources;
use crate::restart::Backoff;

use super::changing::Resizing;

/// A process by pid and start time.
pub use runtime::plan::Identity as ProcessId;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exit {
    /// By itself.
    Code(i32),
    /// By a signal.
    Signal(i32),
    /// Nobody saw it: guardian and supervisor were both gone.
    Unknown,
}

impl Exit {
    /// The code that a kubelet reports: 128+N for signal N, 137 for a container that was lost sight of.
    #[must_use]
    pub fn code(self) -> i32 {
        match self {
            Exit::Code(code) => code,
            Exit::Signal(signal) => 128 + signal,
            Exit::Unknown => 137,
        }
    }
}

/// Everything that is known of a pod at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// When the pod was accepted: `status.startTime`.
    pub accepted: Timestamp,
    /// The shared namespaces and their network.
    pub sandbox: SandboxState,
    /// One record per container, in the Pod's order: init containers and sidecars first.
    pub containers: Vec<Record>,
    /// When `activeDeadlineSeconds` are over.
    pub deadline: Option<Mono>,
    /// All containers are being ended, to be started again no earlier than this.
    pub restart_all: Option<Mono>,
    /// The pod ends by itself.
    pub over: Option<Over>,
    /// Why it is evicted, if it is.
    #[serde(default)]
    pub evicted: Option<String>,
    /// Why no scheduler would send the pod here, while it would not.
    #[serde(default)]
    pub unschedulable: Option<String>,
    /// Delays tries to mount what could not be mounted.
    #[serde(default)]
    pub mount_backoff: Backoff,
    /// Limits are being changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resizing: Option<Resizing>,
    /// The pod is to end.
    pub stop: Option<Stop>,
    /// All is over; set once.
    pub finished: Option<Finished>,
    /// `status.conditions`, with their transition times.
    pub conditions: Vec<Condition>,
}

/// The sandbox's state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SandboxState {
    /// Not there; to be made when the time has come.
    Absent {
        /// Not before.
        until: Option<Mono>,
    },
    /// Being made.
    Making,
    /// There.
    Ready(SandboxFacts),
    /// Taken down.
    Gone(SandboxFacts),
}

impl SandboxState {
    /// The facts, as long as there are or were any.
    #[must_use]
    pub fn facts(&self) -> Option<&SandboxFacts> {
        match self {
            SandboxState::Ready(facts) | SandboxState::Gone(facts) => Some(facts),
            SandboxState::Absent { .. } | SandboxState::Making => None,
        }
    }
}

/// What came of making the sandbox.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxFacts {
    /// `status.podIPs`.
    pub ips: Vec<std::net::IpAddr>,
    /// Process 1 of a shared PID namespace.
    pub reaper: Option<ProcessId>,
}

/// One container's past and present.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The container's name.
    pub name: String,
    /// Which run this is; also `restartCount`.
    pub attempt: u32,
    /// Where it stands.
    pub state: State,
    /// Why it waits, if there is more to say than "being created".
    pub why: Option<Why>,
    /// The run before this one.
    pub last: Option<Terminated>,
    /// The run before that one: `lastState` while the last one still is the state.
    #[serde(default)]
    pub before: Option<Terminated>,
    /// Delays restarts.
    pub backoff: Backoff,
    /// Delays pulls.
    pub pull_backoff: Backoff,
    /// The image that is not to be had, if it is a volume's and not its own.
    #[serde(default)]
    pub unpulled: Option<String>,
    /// The image of this run.
    pub image: Option<ImageFacts>,
    /// Some run of it has been started.
    pub ever_started: bool,
    /// Of an init container: it has ended well; of a sidecar: it has been started. Those after it may begin.
    pub passed: bool,
    /// Somebody wants it to be started again when it has ended, whatever its policy says.
    pub asked: bool,
    /// The image, as the Pod named it when this run was begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made_of: Option<String>,
    /// The resources that this run has been given last; `None` where that is none at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied: Option<Resources>,
}

impl Record {
    /// Whether it waits because its configuration does not make a container, at least not yet.
    #[must_use]
    pub fn lacks_something(&self) -> bool {
        self.why.as_ref().is_some_and(|why| why.reason == super::CONFIG_ERROR)
    }
}

/// Where a container stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum State {
    /// Nothing is under way until `until`.
    Waiting {
        /// When to go on; `None` if only another event can tell.
        until: Option<Mono>,
    },
    /// Its image is looked for or pulled.
    Pulling,
    /// Its image is there; the sandbox is not yet.
    Pulled,
    /// A stage builds it.
    Creating,
    /// It is set up and waits at its gate, or has just been let go.
    Created {
        /// Its first process.
        process: ProcessId,
    },
    /// Its program runs, and its postStart hook too.
    Starting(Run),
    /// It runs.
    Running(Run),
    /// It is being ended.
    Stopping {
        /// The run that ends.
        run: Run,
        /// How far that has come.
        step: StopStep,
        /// Why.
        cause: Cause,
    },
    /// It ended.
    Exited(Terminated),
}

/// How far the ending of a container has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StopStep {
    /// Its preStop hook runs.
    PreStop {
        /// When its grace period is over.
        ends: Mono,
    },
    /// It waits for those that have to end before it.
    Turn {
        /// When its grace period is over.
        ends: Mono,
    },
    /// It has been sent its stop signal.
    Signalled {
        /// When SIGKILL follows.
        kill_at: Mono,
    },
    /// It has been sent SIGKILL.
    Killed,
}

/// Why a container is being ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// The pod ends, or somebody asked for a restart.
    Told,
    /// Its liveness or startup probe has given up.
    Unhealthy,
    /// Its postStart hook has failed.
    HookFailed,
    /// A restart rule starts all containers again.
    RestartAll,
}

/// A run of a container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Its first process.
    pub process: ProcessId,
    /// Since when.
    pub since: Now,
    /// The startup probe has passed, or there is none.
    pub started: bool,
    /// The readiness probe passes, or there is none.
    pub ready: bool,
}

/// How a run ended: `state.terminated`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Terminated {
    /// Which run.
    pub attempt: u32,
    /// How.
    pub exit: Exit,
    /// `Completed`, `Error`, `OOMKilled`, `StartError`, `ContainerStatusUnknown`, `RestartingAllContainers`.
    pub reason: String,
    /// The termination message.
    pub message: Option<String>,
    /// When it began, if it did.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub ended: Now,
}

/// A waiting container's reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Why {
    /// `CrashLoopBackOff`, `ErrImagePull`, …
    pub reason: String,
    /// For people.
    pub message: String,
}

/// The image that a run uses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageFacts {
    /// `containerStatuses[].image`.
    pub reference: String,
    /// `containerStatuses[].imageID`.
    pub id: String,
    /// The image's STOPSIGNAL.
    pub stop_signal: Option<String>,
}

/// A request to end the pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// When it came: `metadata.deletionTimestamp` is this plus the grace period.
    pub at: Now,
    /// The grace period.
    pub grace: Duration,
}

/// Why a pod ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Over {
    /// Its main containers have ended for good, or an init container has failed for good.
    Completed,
    /// It has been there for its `activeDeadlineSeconds`.
    DeadlineExceeded,
    /// It took more of the host's disk than it may.
    Evicted,
}

/// The end of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Finished {
    /// All containers ended well.
    Succeeded,
    /// At least one did not.
    Failed,
}

/// The status of a condition, as the API spells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Truth {
    /// It holds.
    True,
    /// It does not.
    False,
    /// Nobody knows.
    Unknown,
}

impl Truth {
    /// As the API spells it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Truth::True => "True",
            Truth::False => "False",
            Truth::Unknown => "Unknown",
        }
    }
}

impl From<bool> for Truth {
    fn from(holds: bool) -> Truth {
        if holds { Truth::True } else { Truth::False }
    }
}

/// One of `status.conditions`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// Its name.
    pub kind: String,
    /// Whether it holds.
    pub status: Truth,
    /// Since when.
    pub since: Timestamp,
    /// A word.
    pub reason: Option<String>,
    /// A sentence.
    pub message: Option<String>,
}
