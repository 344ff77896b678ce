//! What happens to a pod ([`Event`]), and what the machine wants done about it ([`Action`]).

use std::time::Duration;

use jiff::Timestamp;

use crate::pod::Pod;

use super::changing::Resized;
use super::memory::{Exit, ImageFacts, ProcessId, SandboxFacts, Truth};

/// A container, by its place in the Pod.
pub type Index = usize;

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A supervisor begins, for a new pod or for one that another left.
    Begin,
    /// The sandbox is there.
    SandboxReady(SandboxFacts),
    /// The sandbox could not be made.
    SandboxFailed(Failure),
    /// The registry is being asked.
    Pulling(Index),
    /// The image is there.
    ImageFound(Index, ImageFacts, Arrival),
    /// The image is not to be had.
    ImageFailed(Index, Failure),
    /// The image of one of its volumes is not to be had: the reference, and why.
    VolumeImageFailed(Index, String, Failure),
    /// The attempt is set up and waits at its gate.
    Created(Index, ProcessId),
    /// The attempt could not be set up.
    CreateFailed(Index, Failure),
    /// What the container lacked in its configuration may be there now.
    Mended(Index),
    /// The attempt left its gate unused: whoever held it open is gone.
    GateClosed(Index),
    /// The attempt's program runs.
    Started(Index),
    /// The attempt's program could not be run.
    StartFailed(Index, String),
    /// The attempt's first process ended.
    Exited(Index, Ending),
    /// A hook has returned.
    HookDone(Index, HookEnd),
    /// A probe has something to say.
    Probe(Index, probes::Report),
    /// Something that people should read, and that changes nothing.
    Told(Note),
    /// The pod is to end; `None` is its own grace period.
    Stop(Option<Duration>),
    /// A container, or each main container if none is named, is to be ended and started again; the grace period is
    /// the pod's own if none is given.
    Restart(Option<Index>, Option<Duration>),
    /// Somebody sets a condition, such as one that a readiness gate waits for.
    SetCondition(ConditionSet),
    /// Something that the pod's volumes refer to has changed.
    ObjectsChanged,
    /// From now on the pod is to be this; its containers are the same ones, in the same order.
    Changed(Box<Pod>),
    /// Limits have been changed, or could not be.
    Resized(Resized),
    /// The pod takes more of the host than it may, and is to fail with these words.
    Evict(String),
    /// A deadline has come.
    Tick,
}

/// How an image came to be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// It was in the store.
    Present,
    /// It was pulled.
    Pulled {
        /// How long that took.
        took: Duration,
        /// Bytes, compressed.
        size: u64,
    },
}

/// A failure in the kubelet's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// `ErrImagePull`, `CreateContainerError`, …
    pub reason: String,
    /// For people.
    pub message: String,
}

/// The reason of a container whose configuration does not make a container, at least not yet.
pub const CONFIG_ERROR: &str = "CreateContainerConfigError";

/// Which of a container's hooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookKind {
    /// `lifecycle.postStart`.
    PostStart,
    /// `lifecycle.preStop`.
    PreStop,
}

/// How a hook ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookEnd {
    /// Of which attempt it was.
    pub attempt: u32,
    /// Which one it was.
    pub kind: HookKind,
    /// What went wrong, if anything did.
    pub outcome: Result<(), String>,
}

/// A condition as somebody wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConditionSet {
    /// Its name.
    pub kind: String,
    /// Whether it holds.
    pub status: Truth,
    /// A word.
    pub reason: Option<String>,
    /// A sentence.
    pub message: Option<String>,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Ending {
    /// Code or signal.
    pub exit: Exit,
    /// The kernel killed it for memory.
    pub oom: bool,
    /// The termination message.
    pub message: Option<String>,
    /// When, by the record.
    pub at: Timestamp,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Make the namespaces and wire them.
    MakeSandbox,
    /// Look the image up; pull it if the policy says so.
    FindImage(Index),
    /// Set up the current attempt.
    Create(Index),
    /// Let it run.
    Go(Index),
    /// Run one of its hooks, and tell how it ended.
    RunHook(Index, HookKind),
    /// Nobody waits for its hook any more.
    AbandonHook(Index),
    /// Tell it to end.
    Signal(Index, StopWith),
    /// Watch it.
    StartProbes(Index),
    /// It ends: liveness and startup are no longer asked, readiness is.
    StoppingProbes(Index),
    /// It ended: forget its probes, cgroup and files.
    Forget(Index, u32),
    /// Give the containers that run, and the pod, the limits that the pod names now; tell what came of it.
    Resize,
    /// Note an event.
    Note(Note),
    /// Take the sandbox down; nothing runs in it any more.
    TearDown,
    /// The supervisor's work is done.
    Finish(Leave),
}

/// How to tell a container to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopWith {
    /// Its stop signal, the image's STOPSIGNAL, or SIGTERM.
    Politely,
    /// SIGKILL.
    Kill,
}

/// What a finished supervisor leaves behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// The pod's status, events and logs, until `down`.
    Remains,
    /// Nothing.
    Nothing,
}

/// A v1.Event to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// `Warning`, or else `Normal`.
    pub warning: bool,
    /// One word.
    pub reason: String,
    /// A sentence.
    pub message: String,
    /// The container it is about; the pod if none.
    pub container: Option<Index>,
}
