//! The way down: preStop hooks, whose turn it is, signals, and the pod's end.
//!
//! All preStop hooks of a pod that ends run at once. Then a container is sent its stop signal, and SIGKILL when
//! its grace period is over, but no earlier than two seconds later. A sidecar waits before its signal until all
//! main containers and the sidecars after it have ended. Hooks and waiting are taken off the grace period. Source:
//! kubelet `kuberuntime_container.go` (killContainer) and `kuberuntime_termination_order.go`.

use super::notes::{note, warn};
use super::*;
use crate::pod::Role;

/// A container that is told to end has at least this long before SIGKILL (kubelet: minimumGracePeriodInSeconds).
const MINIMUM_GRACE: Duration = Duration::from_secs(2);

/// What an evicted pod has to end in (kubelet: immediateEvictionGracePeriodSeconds).
const EVICTION_GRACE: Duration = Duration::from_secs(1);

/// What a kubelet says of a pod that it ends for its age.
pub const DEADLINE_MESSAGE: &str = "Pod was active on the node longer than the specified deadline";

impl PodMachine {
    /// Whether the pod ends, so that nothing is started any more.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        self.memory.stop.is_some() || self.memory.over.is_some()
    }

    pub(super) fn pod_grace(&self) -> Duration {
        Duration::from_secs(self.pod.termination_grace_seconds)
    }

    /// How long each container has to end, if the pod ends.
    pub(super) fn grace_of_the_end(&self) -> Option<Duration> {
        let asked = self.memory.stop.as_ref().map(|stop| stop.grace);
        asked.or(self.memory.over.map(|over| match over {
            Over::Evicted => EVICTION_GRACE,
            Over::Completed | Over::DeadlineExceeded => self.pod_grace(),
        }))
    }

    pub(super) fn stop(&mut self, now: Now, grace: Option<Duration>, actions: &mut Vec<Action>) {
        let grace = grace.unwrap_or(self.pod_grace());
        // A second request may only bring the end nearer.
        if self.memory.stop.as_ref().is_some_and(|stop| stop.grace <= grace) {
            return;
        }
        self.memory.stop = Some(Stop { at: now, grace });
        self.end_all(now, grace, actions);
    }

    /// Ends a pod that takes more than it may. It fails, and stays as it is to be looked at.
    pub(super) fn evict(&mut self, now: Now, message: String, actions: &mut Vec<Action>) {
        if self.is_ending() {
            return;
        }
        actions.push(warn(None, "Evicted", message.clone()));
        self.memory.evicted = Some(message);
        self.memory.over = Some(Over::Evicted);
        self.end_all(now, EVICTION_GRACE, actions);
    }

    /// Ends a pod that has nothing left to do, or has done it for too long.
    pub(super) fn end_by_itself(&mut self, now: Now, actions: &mut Vec<Action>) {
        if self.is_ending() {
            return;
        }
        let over = if self.memory.deadline.is_some_and(|deadline| deadline <= now.mono) {
            actions.push(note(None, "DeadlineExceeded", DEADLINE_MESSAGE.to_owned()));
            Over::DeadlineExceeded
        } else if self.is_complete() {
            Over::Completed
        } else {
            return;
        };
        self.memory.over = Some(over);
        self.end_all(now, self.pod_grace(), actions);
    }

    /// Whether all main containers, or one init container in vain, have ended for good. What an exit leads to is
    /// decided when it happens, so whatever still is `Exited` stays so.
    fn is_complete(&self) -> bool {
        let records = || self.pod.containers.iter().zip(&self.memory.containers);
        let exited = |record: &Record| matches!(record.state, State::Exited(_));
        let failed_init = records()
            .any(|(container, record)| container.role == Role::Init && exited(record) && !record.passed);
        let mut mains = records().filter(|(container, _)| container.role == Role::Main);
        self.memory.restart_all.is_none() && (failed_init || mains.all(|(_, record)| exited(record)))
    }

    fn end_all(&mut self, now: Now, grace: Duration, actions: &mut Vec<Action>) {
        self.memory.restart_all = None;
        for index in 0..self.memory.containers.len() {
            let record = &mut self.memory.containers[index];
            match record.state {
                State::Starting(_) | State::Running(_) => {
                    let message = format!("Stopping container {}", record.name);
                    actions.push(note(Some(index), "Killing", message));
                    self.tell_to_end(now, index, (grace, Cause::Told), actions);
                }
                State::Stopping { .. } => self.hurry(now, index, grace, actions),
                State::Created { .. } => actions.push(Action::Signal(index, StopWith::Kill)),
                State::Creating
                | State::Waiting { .. }
                | State::Pulling
                | State::Pulled
                | State::Exited(_) => {}
            }
        }
    }

    /// Begins to end a container that runs.
    pub(super) fn tell_to_end(
        &mut self,
        now: Now,
        index: Index,
        (grace, cause): (Duration, Cause),
        actions: &mut Vec<Action>,
    ) {
        let record = &mut self.memory.containers[index];
        let run = match &record.state {
            State::Running(run) => run.clone(),
            State::Starting(run) => {
                actions.push(Action::AbandonHook(index));
                run.clone()
            }
            _ => return,
        };
        actions.push(Action::StoppingProbes(index));
        let ends = now.mono.plus(grace);
        let step = if grace.is_zero() {
            actions.push(Action::Signal(index, StopWith::Kill));
            StopStep::Killed
        } else if self.pod.containers[index].lifecycle.pre_stop.is_some() {
            actions.push(Action::RunHook(index, HookKind::PreStop));
            StopStep::PreStop { ends }
        } else {
            StopStep::Turn { ends }
        };
        record.state = State::Stopping { run, step, cause };
    }

    /// Shortens what is left to a container that already ends.
    fn hurry(&mut self, now: Now, index: Index, grace: Duration, actions: &mut Vec<Action>) {
        let State::Stopping { step, .. } = &mut self.memory.containers[index].state else { return };
        if grace.is_zero() && *step != StopStep::Killed {
            if matches!(step, StopStep::PreStop { .. }) {
                actions.push(Action::AbandonHook(index));
            }
            actions.push(Action::Signal(index, StopWith::Kill));
            *step = StopStep::Killed;
        }
        match step {
            StopStep::PreStop { ends } | StopStep::Turn { ends } => {
                *ends = now.mono.plus(grace).min(*ends);
            }
            StopStep::Signalled { kill_at } => {
                *kill_at = now.mono.plus(grace.max(MINIMUM_GRACE)).min(*kill_at);
            }
            StopStep::Killed => {}
        }
    }

    /// Takes every container that ends as far as it can go now.
    pub(super) fn go_on_ending(&mut self, now: Now, actions: &mut Vec<Action>) {
        for index in 0..self.memory.containers.len() {
            let its_turn = self.is_its_turn(index);
            let State::Stopping { step, .. } = &mut self.memory.containers[index].state else { continue };
            match *step {
                StopStep::PreStop { ends } if ends <= now.mono => {
                    actions.push(Action::AbandonHook(index));
                    *step = signalled(now, ends, index, actions);
                }
                StopStep::Turn { ends } if ends <= now.mono || its_turn => {
                    *step = signalled(now, ends, index, actions);
                }
                StopStep::Signalled { kill_at } if kill_at <= now.mono => {
                    actions.push(Action::Signal(index, StopWith::Kill));
                    *step = StopStep::Killed;
                }
                _ => {}
            }
        }
    }

    /// Whether nothing that has to end before container `index` is left. Only the end of a whole pod has an order.
    fn is_its_turn(&self, index: Index) -> bool {
        if !self.is_ending() || self.pod.containers[index].role != Role::Sidecar {
            return true;
        }
        let later = self.pod.containers.iter().zip(&self.memory.containers).skip(index + 1);
        !later.filter(|(container, _)| container.role != Role::Init).any(|(_, record)| has_process(record))
    }

    /// When the next thing is due that the ending of a container waits for.
    pub(super) fn stop_deadline(record: &Record) -> Option<Mono> {
        match record.state {
            State::Stopping { step: StopStep::PreStop { ends } | StopStep::Turn { ends }, .. } => Some(ends),
            State::Stopping { step: StopStep::Signalled { kill_at }, .. } => Some(kill_at),
            _ => None,
        }
    }

    /// Whether no process of the pod is left, nor one about to be.
    pub(super) fn finish_if_over(&mut self, actions: &mut Vec<Action>) {
        let sandbox_under_way = matches!(self.memory.sandbox, SandboxState::Making);
        if !self.is_ending() || sandbox_under_way || self.memory.containers.iter().any(has_process) {
            return;
        }
        self.memory.finished = Some(self.outcome());
        if let SandboxState::Ready(facts) = &self.memory.sandbox {
            self.memory.sandbox = SandboxState::Gone(facts.clone());
        }
        actions.push(Action::TearDown);
        actions.push(Action::Finish(self.leave()));
    }

    /// What a pod that ends comes to: only main containers count.
    fn outcome(&self) -> Finished {
        outcome(&self.pod, &self.memory)
    }

    pub(super) fn leave(&self) -> Leave {
        if self.memory.stop.is_some() { Leave::Nothing } else { Leave::Remains }
    }
}

/// What a pod comes to that ends as it is now.
pub(super) fn outcome(pod: &Pod, memory: &Memory) -> Finished {
    let well = |record: &Record| matches!(&record.state, State::Exited(end) if end.exit == Exit::Code(0));
    let mut mains = (pod.containers.iter().zip(&memory.containers))
        .filter(|(container, _)| container.role == Role::Main)
        .map(|(_, record)| record);
    match memory.over {
        Some(Over::DeadlineExceeded | Over::Evicted) => Finished::Failed,
        _ if mains.all(well) => Finished::Succeeded,
        _ => Finished::Failed,
    }
}

/// Whether a process of it is there, or about to be.
pub(super) fn has_process(record: &Record) -> bool {
    match record.state {
        State::Creating
        | State::Created { .. }
        | State::Starting(_)
        | State::Running(_)
        | State::Stopping { .. } => true,
        State::Waiting { .. } | State::Pulling | State::Pulled | State::Exited(_) => false,
    }
}

fn signalled(now: Now, ends: Mono, index: Index, actions: &mut Vec<Action>) -> StopStep {
    actions.push(Action::Signal(index, StopWith::Politely));
    StopStep::Signalled { kill_at: now.mono.plus(MINIMUM_GRACE).max(ends) }
}
