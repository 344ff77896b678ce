//! The pod's phase and conditions, from what is known. Source: kubelet `kubelet_pods.go` (getPhase) and
//! `status/generate.go`.

use jiff::Timestamp;

use super::memory::{Condition, Exit, Finished, Memory, Record, SandboxState, State};
use crate::pod::{Pod, RestartPolicy};

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

/// The pod's phase.
#[must_use]
pub fn phase(pod: &Pod, memory: &Memory) -> Phase {
    match memory.finished {
        Some(Finished::Succeeded) => return Phase::Succeeded,
        Some(Finished::Failed) => return Phase::Failed,
        None => {}
    }
    if memory.containers.iter().any(never_ran) {
        return Phase::Pending;
    }
    if memory.containers.iter().any(runs) || pod.restart_policy == RestartPolicy::Always {
        return Phase::Running;
    }
    let exits = memory.containers.iter().filter_map(|record| match &record.state {
        State::Exited(terminated) => Some(terminated.exit),
        _ => record.last.as_ref().map(|last| last.exit),
    });
    match pod.restart_policy {
        _ if exits.clone().all(|exit| exit == Exit::Code(0)) => Phase::Succeeded,
        RestartPolicy::Never => Phase::Failed,
        RestartPolicy::OnFailure | RestartPolicy::Always => Phase::Running,
    }
}

fn never_ran(record: &Record) -> bool {
    let waits = matches!(
        record.state,
        State::Waiting { .. } | State::Pulling | State::Pulled | State::Creating | State::Created { .. }
    );
    waits && record.last.is_none()
}

fn runs(record: &Record) -> bool {
    matches!(record.state, State::Running(_) | State::Stopping { .. })
}

/// Whether the container would be sent traffic.
#[must_use]
pub fn is_ready(record: &Record) -> bool {
    match &record.state {
        State::Running(run) | State::Stopping { run, .. } => run.ready,
        _ => false,
    }
}

/// Brings `memory.conditions` up to date; a transition time changes only with its status.
pub(super) fn update(pod: &Pod, memory: &mut Memory, now: Timestamp) {
    let accepted = memory.accepted;
    let has_network = matches!(memory.sandbox, SandboxState::Ready(_));
    let (ready, reason, message) = readiness(pod, memory);
    let finished = matches!(phase(pod, memory), Phase::Succeeded);
    let completed = finished.then_some("PodCompleted");
    let wanted = [
        ("PodReadyToStartContainers", has_network, None, None, now),
        ("Initialized", true, completed, None, accepted),
        ("Ready", ready, reason, message.clone(), now),
        ("ContainersReady", ready, reason, message, now),
        ("PodScheduled", true, None, None, accepted),
    ];
    for (kind, status, reason, message, since) in wanted {
        let reason = reason.map(str::to_owned);
        match memory.conditions.iter_mut().find(|condition| condition.kind == kind) {
            Some(condition) => {
                if condition.status != status {
                    condition.status = status;
                    condition.since = now;
                }
                condition.reason = reason;
                condition.message = message;
            }
            None => {
                memory.conditions.push(Condition { kind: kind.to_owned(), status, since, reason, message })
            }
        }
    }
}

fn readiness(pod: &Pod, memory: &Memory) -> (bool, Option<&'static str>, Option<String>) {
    match phase(pod, memory) {
        Phase::Succeeded => return (false, Some("PodCompleted"), None),
        Phase::Failed => return (false, Some("PodFailed"), None),
        Phase::Pending | Phase::Running => {}
    }
    let unready: Vec<&str> = memory
        .containers
        .iter()
        .filter(|record| !is_ready(record))
        .map(|record| record.name.as_str())
        .collect();
    if unready.is_empty() {
        return (true, None, None);
    }
    let message = format!("containers with unready status: [{}]", unready.join(" "));
    (false, Some("ContainersNotReady"), Some(message))
}
