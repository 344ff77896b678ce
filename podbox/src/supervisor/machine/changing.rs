//! What the pod is to be has changed while it runs: new images mean new starts, new resources mean new limits.
//!
//! Nothing here remembers a change. Every record knows what its run was made of, and whatever differs from what the pod
//! says now is brought in line, so that a supervisor that takes over half-way goes on by itself. Source: kubelet
//! `kuberuntime_manager.go` (computePodActions, computePodResizeAction, doPodResizeAction).

use serde::{Deserialize, Serialize};

use super::ending::has_process;
use super::notes::{note, warn};
use super::*;
use crate::pod::{Resources, Role};

/// How long after limits could not be changed it is tried again (a kubelet's sync period is a minute at most).
const TRY_AGAIN: Duration = Duration::from_secs(10);

/// Limits that are being changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resizing {
    /// It is being done right now.
    pub under_way: bool,
    /// It has been done at least once since the last change.
    pub tried: bool,
    /// Why it could not be done.
    pub error: Option<String>,
    /// Not before.
    pub again: Option<Mono>,
}

/// What became of an attempt to change limits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resized {
    /// What the containers have now.
    pub applied: Vec<(Index, Resources)>,
    /// The pod as a whole has what it should have.
    pub settled: bool,
    /// What stood in the way.
    pub error: Option<String>,
}

impl PodMachine {
    /// From now on the pod is to be this.
    pub(super) fn changed(&mut self, now: Now, pod: Pod) {
        if pod.active_deadline_seconds != self.pod.active_deadline_seconds {
            let age = now.wall.duration_since(self.memory.accepted);
            let age = Duration::try_from(age).unwrap_or_default();
            let seconds = pod.active_deadline_seconds.map(Duration::from_secs);
            self.memory.deadline = seconds.map(|whole| now.mono.plus(whole.saturating_sub(age)));
        }
        self.pod = pod;
        for index in 0..self.memory.containers.len() {
            let waits = matches!(self.memory.containers[index].state, State::Waiting { .. });
            if waits && self.is_of_another_image(index) {
                self.forget_failures(now, index);
            }
        }
        if let Some(resizing) = &mut self.memory.resizing {
            *resizing = Resizing { under_way: resizing.under_way, ..Resizing::default() };
        }
    }

    /// Whether the image that was asked for is not the one that the pod names now.
    pub(super) fn is_of_another_image(&self, index: Index) -> bool {
        let made_of = self.memory.containers[index].made_of.as_ref();
        made_of.is_some_and(|image| *image != self.pod.containers[index].image)
    }

    /// An image was looked for that nobody wants any more.
    pub(super) fn look_again(&mut self, now: Now, index: Index) {
        if matches!(self.memory.containers[index].state, State::Pulling | State::Pulled) {
            self.forget_failures(now, index);
        }
    }

    /// What went wrong with another image delays nothing: a kubelet's back-off is of one container of one definition.
    fn forget_failures(&mut self, now: Now, index: Index) {
        let record = &mut self.memory.containers[index];
        record.backoff = Backoff::default();
        record.pull_backoff = Backoff::default();
        record.why = None;
        record.made_of = None;
        record.state = State::Waiting { until: Some(now.mono) };
    }

    /// Brings in line what differs from what the pod says.
    pub(super) fn follow_changes(&mut self, now: Now, actions: &mut Vec<Action>) {
        for index in 0..self.memory.containers.len() {
            let container = &self.pod.containers[index];
            let other_image = self.is_of_another_image(index);
            let message = match &self.memory.containers[index].state {
                State::Pulled if other_image => {
                    self.look_again(now, index);
                    continue;
                }
                State::Starting(_) | State::Running(_) if container.role == Role::Init => continue,
                State::Starting(_) | State::Running(_) if other_image => {
                    format!("Container {} definition changed, will be restarted", container.name)
                }
                State::Starting(_) | State::Running(_)
                    if needs_restart(container, &self.memory.containers[index]) =>
                {
                    format!("Container {} resize requires restart", container.name)
                }
                _ => continue,
            };
            actions.push(note(Some(index), "Killing", message));
            self.memory.containers[index].asked = true;
            self.tell_to_end(now, index, (self.pod_grace(), Cause::Told), actions);
        }
        self.go_on_resizing(now, actions);
    }

    fn go_on_resizing(&mut self, now: Now, actions: &mut Vec<Action>) {
        let pairs = || self.pod.containers.iter().zip(&self.memory.containers);
        let behind = pairs().any(|(container, record)| is_behind(container, record));
        let ready = pairs().any(|(container, record)| is_to_be_resized(container, record));
        if behind && self.memory.resizing.is_none() {
            self.memory.resizing = Some(Resizing::default());
        }
        let Some(resizing) = &mut self.memory.resizing else { return };
        if resizing.again.is_some_and(|again| again > now.mono) {
            return;
        }
        resizing.again = None;
        if !resizing.under_way && (!resizing.tried || ready || !behind) {
            (resizing.under_way, resizing.tried) = (true, true);
            actions.push(Action::Resize);
        }
    }

    /// Limits have been changed, or not.
    pub(super) fn resized(&mut self, now: Now, done: Resized, actions: &mut Vec<Action>) {
        for (index, resources) in done.applied {
            self.memory.containers[index].applied = Some(resources);
        }
        let behind = |(container, record): (&Container, &Record)| is_behind(container, record);
        let all_done = !self.pod.containers.iter().zip(&self.memory.containers).any(behind);
        let Some(resizing) = &mut self.memory.resizing else { return };
        resizing.under_way = false;
        if let Some(error) = done.error {
            if resizing.error.as_ref() != Some(&error) {
                actions.push(warn(None, "ResizeError", format!("Pod resize error: {error}")));
            }
            resizing.error = Some(error);
            resizing.again = Some(now.mono.plus(TRY_AGAIN));
        } else if done.settled && all_done {
            self.memory.resizing = None;
            actions.push(note(None, "ResizeCompleted", format!("Pod resize completed: {}", self.in_json())));
        }
    }

    /// What the containers have, as a kubelet tells.
    fn in_json(&self) -> String {
        let containers: Vec<_> = (self.pod.main_containers())
            .map(|container| {
                let resources = crate::status::requirements(&container.resources);
                serde_json::json!({"name": container.name, "resources": resources})
            })
            .collect();
        serde_json::json!({ "containers": containers }).to_string()
    }
}

fn applied(record: &Record) -> Resources {
    record.applied.unwrap_or_default()
}

/// Of the resources only these can change.
fn cpu(of: &Resources) -> [Option<u64>; 2] {
    [of.cpu_request_milli, of.cpu_limit_milli]
}

fn memory(of: &Resources) -> [Option<u64>; 2] {
    [of.memory_request_bytes, of.memory_limit_bytes]
}

/// Whether a container that is there has other resources than it should have.
fn is_behind(container: &Container, record: &Record) -> bool {
    let (has, wants) = (applied(record), container.resources);
    let runs = has_process(record) && !matches!(record.state, State::Creating);
    container.role != Role::Init && runs && (cpu(&has) != cpu(&wants) || memory(&has) != memory(&wants))
}

/// Whether its resources can only change by a new start.
fn needs_restart(container: &Container, record: &Record) -> bool {
    let (has, wants) = (applied(record), container.resources);
    (container.resize.cpu_restarts && cpu(&has) != cpu(&wants))
        || (container.resize.memory_restarts && memory(&has) != memory(&wants))
}

/// Whether its limits are to be changed now, while it runs.
#[must_use]
pub fn is_to_be_resized(container: &Container, record: &Record) -> bool {
    let runs = matches!(record.state, State::Starting(_) | State::Running(_));
    runs && is_behind(container, record) && !needs_restart(container, record)
}

/// Whether all that is behind is to be changed now: then nothing of the pod needs its old limits any more.
#[must_use]
pub fn is_settled_by_resizing(pod: &Pod, memory: &Memory) -> bool {
    let mut pairs = pod.containers.iter().zip(&memory.containers);
    pairs.all(|(container, record)| !is_behind(container, record) || is_to_be_resized(container, record))
}
