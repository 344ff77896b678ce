//! What follows a container's end: nothing, a new start, or a new start of all.

use super::ending::has_process;
use super::notes::{note, seconds, warn};
use super::*;
use crate::pod::Role;
use crate::restart::{Next, after_exit};

impl PodMachine {
    pub(super) fn exited(&mut self, now: Now, index: Index, ending: Ending, actions: &mut Vec<Action>) {
        let record = &mut self.memory.containers[index];
        let (started, cause) = match &record.state {
            State::Starting(run) | State::Running(run) => (Some(run.since.wall), Cause::Told),
            State::Stopping { run, cause, .. } => (Some(run.since.wall), *cause),
            State::Created { .. } => (None, Cause::Told),
            _ => return,
        };
        let reason = match ending.exit {
            _ if cause == Cause::RestartAll => "RestartingAllContainers",
            _ if ending.oom => "OOMKilled",
            Exit::Code(0) => "Completed",
            Exit::Code(_) | Exit::Signal(_) => "Error",
            Exit::Unknown => "ContainerStatusUnknown",
        };
        let message = ending.message.or_else(|| {
            (ending.exit == Exit::Unknown)
                .then(|| "The container could not be located when the pod was terminated".to_owned())
        });
        let ended = Now { mono: now.mono, wall: ending.at };
        record.state = State::Exited(Terminated {
            attempt: record.attempt,
            exit: ending.exit,
            reason: reason.to_owned(),
            message,
            started,
            ended,
        });
        if cause != Cause::HookFailed {
            record.why = None;
        }
        actions.push(Action::Forget(index, record.attempt));
        self.after_exit(now, index, cause, actions);
    }

    /// Decides what follows a run's end. A pod that ends, or is about to start all anew, has decided already.
    pub(super) fn after_exit(&mut self, now: Now, index: Index, cause: Cause, actions: &mut Vec<Action>) {
        if self.is_ending() || self.memory.restart_all.is_some() {
            return;
        }
        let container = &self.pod.containers[index];
        let record = &self.memory.containers[index];
        let State::Exited(end) = &record.state else { return };
        let next = match cause {
            _ if record.asked => return self.restart(now.mono, index),
            // A kubelet starts it in the same breath in which it killed it, whatever the exit code came to be.
            Cause::Unhealthy if container.restart_policy != RestartPolicy::Never => Next::Restart,
            _ => after_exit(container, end.exit.code()),
        };
        match next {
            Next::Rest => {}
            Next::Restart => {
                let begins = self.back_off(now, index, actions);
                self.restart(begins, index);
            }
            Next::RestartAll => self.end_all_to_restart(now, index, actions),
        }
    }

    /// Notes a new try and tells when it may begin.
    fn back_off(&mut self, now: Now, index: Index, actions: &mut Vec<Action>) -> Mono {
        let record = &mut self.memory.containers[index];
        let State::Exited(end) = &record.state else { return now.mono };
        let ended = end.ended.mono;
        let pending = record.backoff.pending(ended, now.mono, self.backoff);
        // The try is noted when it begins, which is when the back-off is over.
        let begins = pending.map_or(now.mono, |(_, until)| until);
        record.backoff.note(ended, begins, self.backoff);
        if let Some((delay, _)) = pending {
            let place = format!("{}_{}({})", self.pod.name, self.pod.namespace, self.pod.uid);
            let name = &record.name;
            let delay = seconds(delay);
            let message = format!("back-off {delay} restarting failed container={name} pod={place}");
            let event = format!("Back-off restarting failed container {name} in pod {place}");
            actions.push(warn(Some(index), "BackOff", event));
            record.why = Some(Why { reason: "CrashLoopBackOff".to_owned(), message });
        }
        begins
    }

    /// Makes an ended run the last one; the next begins when the time has come.
    fn restart(&mut self, begins: Mono, index: Index) {
        let record = &mut self.memory.containers[index];
        let next = State::Waiting { until: Some(begins) };
        let State::Exited(end) = std::mem::replace(&mut record.state, next) else { return };
        record.attempt += 1;
        record.before = record.last.replace(end);
        record.asked = false;
    }

    /// Somebody wants one container, or all main ones, to start anew: politely, at once, and whatever the policy.
    pub(super) fn restart_asked(
        &mut self,
        now: Now,
        (which, grace): (Option<Index>, Option<Duration>),
        actions: &mut Vec<Action>,
    ) {
        let grace = grace.unwrap_or(self.pod_grace());
        if self.is_ending() || self.memory.restart_all.is_some() {
            return;
        }
        for index in 0..self.memory.containers.len() {
            let role = self.pod.containers[index].role;
            let is_meant = which.map_or(role == Role::Main, |which| which == index);
            if !is_meant || role == Role::Ephemeral {
                continue;
            }
            self.restart_one(now, index, grace, actions);
        }
    }

    fn restart_one(&mut self, now: Now, index: Index, grace: Duration, actions: &mut Vec<Action>) {
        let record = &mut self.memory.containers[index];
        match record.state {
            State::Starting(_) | State::Running(_) => {
                record.asked = true;
                let message = format!("Stopping container {}, will be restarted", record.name);
                actions.push(note(Some(index), "Killing", message));
                self.tell_to_end(now, index, (grace, Cause::Told), actions);
            }
            State::Stopping { .. } => record.asked = true,
            // No back-off keeps it from beginning.
            State::Waiting { .. } => {
                record.pull_backoff = Backoff::default();
                record.state = State::Waiting { until: Some(now.mono) };
            }
            // What is done is done: init containers run again only with all the others.
            State::Exited(_) if self.pod.containers[index].role == Role::Init => {}
            State::Exited(_) => self.restart(now.mono, index),
            State::Pulling | State::Pulled | State::Creating | State::Created { .. } => {}
        }
    }

    /// A rule wants all containers to start anew: they are killed without preStop hooks, order or grace (KEP-5532).
    fn end_all_to_restart(&mut self, now: Now, by: Index, actions: &mut Vec<Action>) {
        let begins = self.back_off(now, by, actions);
        self.memory.restart_all = Some(begins);
        for index in self.all_but_ephemeral() {
            let record = &mut self.memory.containers[index];
            match &record.state {
                State::Starting(run) | State::Running(run) | State::Stopping { run, .. } => {
                    let message = format!("Stopping container {}, all will be restarted", record.name);
                    actions.push(note(Some(index), "Killing", message));
                    let run = run.clone();
                    record.state = State::Stopping { run, step: StopStep::Killed, cause: Cause::RestartAll };
                    actions.push(Action::AbandonHook(index));
                    actions.push(Action::StoppingProbes(index));
                    actions.push(Action::Signal(index, StopWith::Kill));
                }
                State::Created { .. } => actions.push(Action::Signal(index, StopWith::Kill)),
                State::Waiting { .. }
                | State::Pulling
                | State::Pulled
                | State::Creating
                | State::Exited(_) => {}
            }
        }
    }

    /// Once all have ended, the pod begins anew in its sandbox, init containers first.
    pub(super) fn begin_anew(&mut self) {
        let Some(begins) = self.memory.restart_all else { return };
        if self.all_but_ephemeral().any(|index| has_process(&self.memory.containers[index])) {
            return;
        }
        self.memory.restart_all = None;
        for index in self.all_but_ephemeral() {
            self.restart(begins, index);
            let record = &mut self.memory.containers[index];
            record.passed = false;
            record.asked = false;
        }
    }
}
