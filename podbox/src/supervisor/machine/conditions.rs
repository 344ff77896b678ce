//! The pod's phase and conditions, from what is known. Source: kubelet `kubelet_pods.go` (getPhase) and
//! `status/generate.go`.

use jiff::Timestamp;

use super::ending::outcome;
use super::event::ConditionSet;
use super::memory::{Cause, Condition, Finished, Memory, Record, SandboxState, State, Terminated, Truth};
use crate::pod::{Container, Pod, RestartAction, Role};

/// The conditions that the machine itself keeps; nobody else may set them.
pub const OWN_CONDITIONS: [&str; 7] = [
    "PodReadyToStartContainers",
    "Initialized",
    "Ready",
    "ContainersReady",
    "PodScheduled",
    "AllContainersRestarting",
    RESIZING,
];

/// Limits are being changed; the condition is there only meanwhile.
const RESIZING: &str = "PodResizeInProgress";

/// `status.phase`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Some container has not been started yet.
    Pending,
    /// At least one runs, or will again.
    Running,
    /// All ended well, for good.
    Succeeded,
    /// All ended, not all of them well.
    Failed,
}

impl Phase {
    /// As the API spells it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Phase::Pending => "Pending",
            Phase::Running => "Running",
            Phase::Succeeded => "Succeeded",
            Phase::Failed => "Failed",
        }
    }
}

/// The pod's phase. It turns terminal only when nothing of the pod is left, as a kubelet's does.
#[must_use]
pub fn phase(pod: &Pod, memory: &Memory) -> Phase {
    match memory.finished {
        Some(Finished::Succeeded) => return Phase::Succeeded,
        Some(Finished::Failed) => return Phase::Failed,
        None => {}
    }
    let of = |role: Role| with_containers(pod, memory).filter(move |(one, _)| one.role == role);
    let initialized_once = of(Role::Main).any(|(_, record)| record.ever_started);
    let pending = of(Role::Init).any(|(_, record)| !record.passed)
        || (!initialized_once && of(Role::Sidecar).any(|(_, record)| !record.passed))
        || of(Role::Main).any(|(_, record)| never_ran(record));
    if pending { Phase::Pending } else { Phase::Running }
}

fn with_containers<'a>(
    pod: &'a Pod,
    memory: &'a Memory,
) -> impl Iterator<Item = (&'a Container, &'a Record)> + Clone {
    pod.containers.iter().zip(&memory.containers)
}

fn never_ran(record: &Record) -> bool {
    record.last.is_none() && is_waiting(record)
}

/// Whether its status is `waiting`: a kubelet does not call a container running before its postStart hook has
/// returned, nor one whose hook has failed.
#[must_use]
pub fn is_waiting(record: &Record) -> bool {
    match &record.state {
        State::Waiting { .. }
        | State::Pulling
        | State::Pulled
        | State::Creating
        | State::Created { .. }
        | State::Starting(_)
        | State::Stopping { cause: Cause::HookFailed, .. } => true,
        State::Running(_) | State::Stopping { .. } | State::Exited(_) => false,
    }
}

/// Whether the container is ready: it would be sent traffic or, if it is an init container, it has done its work.
#[must_use]
pub fn is_ready(role: Role, record: &Record) -> bool {
    match &record.state {
        _ if is_waiting(record) => false,
        State::Running(run) | State::Stopping { run, .. } => role != Role::Init && run.ready,
        State::Exited(end) => role == Role::Init && succeeded(end),
        _ => false,
    }
}

fn succeeded(end: &Terminated) -> bool {
    end.exit.code() == 0
}

/// A condition as it should be now.
struct Wanted {
    kind: &'static str,
    status: bool,
    reason: Option<&'static str>,
    message: Option<String>,
    /// The transition time of one that has not been there before.
    first: Timestamp,
}

/// Brings `memory.conditions` up to date; a transition time changes only with its status.
pub(super) fn update(pod: &Pod, memory: &mut Memory, now: Timestamp) {
    let accepted = memory.accepted;
    let has_network = matches!(memory.sandbox, SandboxState::Ready(_));
    let containers = containers_ready(pod, memory);
    let ready = if containers.0 { gates(pod, memory) } else { containers.clone() };
    let initialized = initialized(pod, memory);
    let scheduled = match &memory.unschedulable {
        None => (true, None, None),
        Some(why) => (false, Some("Unschedulable"), Some(why.clone())),
    };
    let wanted = |kind, (status, reason, message): Verdict, first| {
        Some(Wanted { kind, status, reason, message, first })
    };
    let restarts_all = (pod.containers.iter())
        .flat_map(|container| &container.restart_rules)
        .any(|rule| rule.action == RestartAction::RestartAllContainers);
    let restarting = restarts_all.then_some((memory.restart_all.is_some(), None, None));
    let all = [
        wanted("PodReadyToStartContainers", (has_network, None, None), now),
        wanted("Initialized", initialized, accepted),
        wanted("Ready", ready, now),
        wanted("ContainersReady", containers, now),
        wanted("PodScheduled", scheduled, accepted),
        restarting.and_then(|restarting| wanted("AllContainersRestarting", restarting, now)),
    ];
    for one in all.into_iter().flatten() {
        let condition = Condition {
            kind: one.kind.to_owned(),
            status: one.status.into(),
            since: one.first,
            reason: one.reason.map(str::to_owned),
            message: one.message,
        };
        put(memory, condition, now);
    }
    resizing(memory, now);
}

fn resizing(memory: &mut Memory, now: Timestamp) {
    let Some(resizing) = &memory.resizing else {
        return memory.conditions.retain(|condition| condition.kind != RESIZING);
    };
    let message = resizing.error.clone();
    let reason = message.as_ref().map(|_| "Error".to_owned());
    let condition = Condition { kind: RESIZING.to_owned(), status: Truth::True, since: now, reason, message };
    put(memory, condition, now);
}

/// Sets a condition that somebody else keeps.
pub(super) fn set(memory: &mut Memory, wanted: ConditionSet, now: Timestamp) {
    let ConditionSet { kind, status, reason, message } = wanted;
    if !OWN_CONDITIONS.contains(&kind.as_str()) {
        put(memory, Condition { kind, status, since: now, reason, message }, now);
    }
}

fn put(memory: &mut Memory, new: Condition, now: Timestamp) {
    match memory.conditions.iter_mut().find(|condition| condition.kind == new.kind) {
        Some(old) => {
            let since = if old.status == new.status { old.since } else { now };
            *old = Condition { since, ..new };
        }
        None => memory.conditions.push(new),
    }
}

/// Status, reason, message.
type Verdict = (bool, Option<&'static str>, Option<String>);

fn initialized(pod: &Pod, memory: &Memory) -> Verdict {
    if memory.finished == Some(Finished::Succeeded) {
        return (true, Some("PodCompleted"), None);
    }
    // Once a main container has been started the pod stays initialized, whatever its sidecars do.
    if with_containers(pod, memory).any(|(one, record)| one.role == Role::Main && record.ever_started) {
        return (true, None, None);
    }
    let done = |(one, record): &(&Container, &Record)| match (one.role, &record.state) {
        (Role::Main, _) => true,
        (Role::Init, _) => record.passed,
        (Role::Sidecar, State::Running(run)) => run.started,
        (Role::Sidecar, _) => false,
    };
    match names(with_containers(pod, memory).filter(|one| !done(one))) {
        None => (true, None, None),
        Some(names) => {
            let message = format!("containers with incomplete status: [{names}]");
            (false, Some("ContainersNotInitialized"), Some(message))
        }
    }
}

fn containers_ready(pod: &Pod, memory: &Memory) -> Verdict {
    // What the pod comes to is told at once, although the phase waits until nothing is left.
    let end = memory.finished.or(memory.over.map(|_| outcome(pod, memory)));
    match end {
        Some(Finished::Succeeded) => return (false, Some("PodCompleted"), None),
        Some(Finished::Failed) => return (false, Some("PodFailed"), None),
        None => {}
    }
    let unready = with_containers(pod, memory)
        .filter(|(one, record)| one.role != Role::Init && !is_ready(one.role, record));
    match names(unready) {
        None => (true, None, None),
        Some(names) => {
            let message = format!("containers with unready status: [{names}]");
            (false, Some("ContainersNotReady"), Some(message))
        }
    }
}

/// The pod's readiness beyond that of its containers: conditions that others set.
fn gates(pod: &Pod, memory: &Memory) -> Verdict {
    let unready = |gate: &String| {
        let condition = memory.conditions.iter().find(|condition| condition.kind == *gate);
        match condition.map(|condition| condition.status) {
            Some(Truth::True) => None,
            Some(status) => {
                let status = status.name();
                Some(format!("the status of pod readiness gate {gate:?} is not \"True\", but {status}"))
            }
            None => Some(format!("corresponding condition of pod readiness gate {gate:?} does not exist.")),
        }
    };
    let unready: Vec<String> = pod.readiness_gates.iter().filter_map(unready).collect();
    match unready.is_empty() {
        true => (true, None, None),
        false => (false, Some("ReadinessGatesNotReady"), Some(unready.join(", "))),
    }
}

fn names<'a>(some: impl Iterator<Item = (&'a Container, &'a Record)>) -> Option<String> {
    let names: Vec<&str> = some.map(|(one, _)| one.name.as_str()).collect();
    (!names.is_empty()).then(|| names.join(" "))
}
