//! The pod's state machine: (state, event) → actions. Pure: no I/O, no clock, no randomness.
//!
//! One container's way (a container that waits for its sandbox or its back-off stays where it is):
//!
//! ```text
//! Waiting ─► Pulling ─► Pulled ─► Creating ─► Created ─► Running ─► Stopping ─► Exited ─► Waiting …
//!    ▲          │                    │           │          │                      ▲
//!    └──────────┴────────────────────┘           └──────────┴──────────────────────┘
//!      the image or the set-up failed: back-off        it ended or would not start
//! ```
//!
//! The supervisor feeds events in, writes [`Memory`] down, then carries the actions out, in that order: nothing
//! is started before the fact that it exists has been written. The machine has no notion of having crashed; a
//! new supervisor loads the memory, turns what it finds into ordinary events and goes on.

mod conditions;
mod event;
mod memory;
#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::clock::{Mono, Now};
use crate::pod::{Pod, RestartPolicy};
use crate::restart::{Backoff, BackoffSettings, wants_restart};

pub use conditions::{Phase, is_ready, phase};
pub use event::*;
pub use memory::*;

/// A container that is told to end has at least this long before SIGKILL (kubelet: minimumGracePeriodInSeconds).
const MINIMUM_GRACE: Duration = Duration::from_secs(2);

/// How long a failed pull's own error stands before the back-off does.
const SHOW_ERROR: Duration = Duration::from_secs(1);

/// The machine of one pod.
#[derive(Clone, Debug)]
pub struct PodMachine {
    pod: Pod,
    backoff: BackoffSettings,
    memory: Memory,
}

impl PodMachine {
    /// A machine for a pod that was accepted just now.
    #[must_use]
    pub fn new(pod: Pod, backoff: BackoffSettings, now: Now) -> PodMachine {
        let containers = pod
            .containers
            .iter()
            .map(|container| Record {
                name: container.name.clone(),
                attempt: 0,
                state: State::Waiting { until: Some(now.mono) },
                why: None,
                last: None,
                backoff: Backoff::default(),
                pull_backoff: Backoff::default(),
                image: None,
                ever_started: false,
            })
            .collect();
        let memory = Memory {
            accepted: now.wall,
            sandbox: SandboxState::Absent { until: None },
            containers,
            stop: None,
            finished: None,
            conditions: Vec::new(),
        };
        PodMachine { pod, backoff, memory }
    }

    /// A machine that goes on from what another supervisor wrote down. What was under way in that supervisor
    /// (a pull, a stage) ended with it and is begun again.
    #[must_use]
    pub fn resume(pod: Pod, backoff: BackoffSettings, mut memory: Memory, now: Now) -> PodMachine {
        if memory.sandbox == SandboxState::Making {
            memory.sandbox = SandboxState::Absent { until: None };
        }
        for record in &mut memory.containers {
            match record.state {
                State::Pulling => record.state = State::Waiting { until: Some(now.mono) },
                State::Creating => record.state = State::Pulled,
                _ => {}
            }
        }
        PodMachine { pod, backoff, memory }
    }

    /// What is known.
    #[must_use]
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// The Pod.
    #[must_use]
    pub fn pod(&self) -> &Pod {
        &self.pod
    }

    /// When [`Event::Tick`] is due, if ever.
    #[must_use]
    pub fn deadline(&self) -> Option<Mono> {
        let containers = self.memory.containers.iter().filter_map(|record| match record.state {
            State::Waiting { until } if self.memory.stop.is_none() => until,
            State::Stopping { kill_at, .. } => kill_at,
            _ => None,
        });
        let sandbox = match self.memory.sandbox {
            SandboxState::Absent { until } if self.memory.stop.is_none() => until,
            _ => None,
        };
        containers.chain(sandbox).min()
    }

    /// Takes one event in and tells what to do.
    pub fn step(&mut self, now: Now, event: Event) -> Vec<Action> {
        if self.memory.finished.is_some() {
            return self.after_the_end(&event);
        }
        let mut actions = Vec::new();
        self.take(now, event, &mut actions);
        self.kill_what_is_overdue(now, &mut actions);
        if self.memory.stop.is_none() {
            self.start_what_may_start(now, &mut actions);
        }
        self.finish_if_over(&mut actions);
        conditions::update(&self.pod, &mut self.memory, now.wall);
        actions
    }

    fn take(&mut self, now: Now, event: Event, actions: &mut Vec<Action>) {
        match event {
            Event::Begin | Event::Tick => {}
            Event::Told(note) => actions.push(Action::Note(note)),
            Event::SandboxReady(facts) => self.memory.sandbox = SandboxState::Ready(facts),
            Event::SandboxFailed(failure) => {
                let until = Some(now.mono.plus(self.backoff.initial));
                self.memory.sandbox = SandboxState::Absent { until };
                actions.push(Action::Note(Note {
                    warning: true,
                    reason: failure.reason,
                    message: failure.message,
                    container: None,
                }));
            }
            Event::GateClosed(index) => self.gate_closed(index),
            Event::Pulling(index) => {
                let message = format!("Pulling image \"{}\"", self.pod.containers[index].image);
                actions.push(note(Some(index), "Pulling", message));
            }
            Event::ImageFound(index, image, arrival) => self.image_found(index, image, &arrival, actions),
            Event::ImageFailed(index, failure) => self.image_failed(now, index, failure, actions),
            Event::Created(index, process) => self.created(index, process, actions),
            Event::CreateFailed(index, failure) => self.create_failed(now, index, failure, actions),
            Event::Started(index) => self.started(now, index, actions),
            Event::StartFailed(index, message) => self.start_failed(now, index, message, actions),
            Event::Exited(index, ending) => self.exited(now, index, ending, actions),
            Event::Probe(index, report) => self.probed(now, index, &report, actions),
            Event::Stop(grace) => self.stop(now, grace, actions),
        }
    }

    /// A finished pod answers nothing but the wish to be removed.
    fn after_the_end(&mut self, event: &Event) -> Vec<Action> {
        match event {
            Event::Stop(_) => vec![Action::Finish(Leave::Nothing)],
            Event::Begin => vec![Action::TearDown, Action::Finish(self.leave())],
            _ => Vec::new(),
        }
    }

    fn image_found(&mut self, index: Index, image: ImageFacts, arrival: &Arrival, actions: &mut Vec<Action>) {
        if !matches!(self.memory.containers[index].state, State::Pulling) {
            return;
        }
        let reference = &self.pod.containers[index].image;
        let message = match arrival {
            Arrival::Present => format!("Container image \"{reference}\" already present on machine"),
            Arrival::Pulled { took, size } => {
                let took = seconds(*took);
                format!(
                    "Successfully pulled image \"{reference}\" in {took} ({took} including waiting). Image size: {size} bytes."
                )
            }
        };
        actions.push(note(Some(index), "Pulled", message));
        let record = &mut self.memory.containers[index];
        record.image = Some(image);
        record.pull_backoff = Backoff::default();
        if record.why.as_ref().is_some_and(|why| why.reason != "CrashLoopBackOff") {
            record.why = None;
        }
        record.state = State::Pulled;
    }

    fn image_failed(&mut self, now: Now, index: Index, failure: Failure, actions: &mut Vec<Action>) {
        if !matches!(self.memory.containers[index].state, State::Pulling) {
            return;
        }
        let reference = self.pod.containers[index].image.clone();
        if failure.reason == "ErrImagePull" || failure.reason == "RegistryUnavailable" {
            let message = format!("Failed to pull image \"{reference}\": {}", failure.message);
            actions.push(warn(Some(index), "Failed", message));
            actions.push(warn(Some(index), "Failed", format!("Error: {}", failure.reason)));
        } else {
            actions.push(warn(
                Some(index),
                "Failed",
                format!("Error: {}: {}", failure.reason, failure.message),
            ));
        }
        let settings = self.backoff;
        let record = &mut self.memory.containers[index];
        record.pull_backoff.note(now.mono, now.mono, settings);
        let over = record.pull_backoff.over().unwrap_or(now.mono);
        record.why = Some(Why { reason: failure.reason, message: failure.message });
        // The error itself is shown for a moment, then that it is being waited.
        let shown = SHOW_ERROR.min(over.since(now.mono) / 2);
        record.state = State::Waiting { until: Some(now.mono.plus(shown)) };
    }

    fn created(&mut self, index: Index, process: ProcessId, actions: &mut Vec<Action>) {
        if !matches!(self.memory.containers[index].state, State::Creating) {
            return;
        }
        let name = &self.pod.containers[index].name;
        actions.push(note(Some(index), "Created", format!("Created container: {name}")));
        self.memory.containers[index].state = State::Created { process };
        let next = if self.memory.stop.is_some() {
            Action::Signal(index, StopWith::Kill)
        } else {
            Action::Go(index)
        };
        actions.push(next);
    }

    fn gate_closed(&mut self, index: Index) {
        let record = &mut self.memory.containers[index];
        if matches!(record.state, State::Created { .. }) {
            record.state = State::Pulled;
        }
    }

    fn create_failed(&mut self, now: Now, index: Index, failure: Failure, actions: &mut Vec<Action>) {
        if !matches!(self.memory.containers[index].state, State::Creating) {
            return;
        }
        actions.push(warn(Some(index), "Failed", format!("Error: {}", failure.message)));
        let settings = self.backoff;
        let record = &mut self.memory.containers[index];
        actions.push(Action::Forget(index, record.attempt));
        record.backoff.note(now.mono, now.mono, settings);
        let pending = record.backoff.pending(now.mono, now.mono, settings);
        record.why = Some(Why { reason: failure.reason, message: failure.message });
        record.state = State::Waiting { until: pending.map(|(_, until)| until) };
    }

    fn started(&mut self, now: Now, index: Index, actions: &mut Vec<Action>) {
        let container = &self.pod.containers[index];
        let record = &mut self.memory.containers[index];
        let State::Created { process } = record.state else { return };
        let started = container.startup.is_none();
        let ready = started && container.readiness.is_none();
        let run = Run { process, since: now, started, ready };
        record.why = None;
        record.ever_started = true;
        actions.push(note(Some(index), "Started", format!("Started container {}", container.name)));
        if let Some(stop) = &self.memory.stop {
            // It slipped through its gate while the pod was told to end.
            let kill_at = now.mono.plus(stop.grace.max(MINIMUM_GRACE));
            record.state = State::Stopping { run, kill_at: Some(kill_at) };
            actions.push(Action::Signal(index, StopWith::Politely));
            return;
        }
        record.state = State::Running(run);
        if container.liveness.is_some() || container.readiness.is_some() || container.startup.is_some() {
            actions.push(Action::StartProbes(index));
        }
    }

    fn start_failed(&mut self, now: Now, index: Index, message: String, actions: &mut Vec<Action>) {
        if !matches!(self.memory.containers[index].state, State::Created { .. }) {
            return;
        }
        actions.push(warn(Some(index), "Failed", format!("Error: failed to start container: {message}")));
        let attempt = self.memory.containers[index].attempt;
        actions.push(Action::Forget(index, attempt));
        let terminated = Terminated {
            attempt,
            exit: Exit::Code(128),
            reason: "StartError".to_owned(),
            message: Some(message.clone()),
            started: None,
            ended: now,
        };
        let record = &mut self.memory.containers[index];
        record.why = Some(Why { reason: "RunContainerError".to_owned(), message });
        record.state = State::Exited(terminated);
    }

    fn exited(&mut self, now: Now, index: Index, ending: Ending, actions: &mut Vec<Action>) {
        let record = &mut self.memory.containers[index];
        let started = match &record.state {
            State::Running(run) | State::Stopping { run, .. } => Some(run.since.wall),
            State::Created { .. } => None,
            _ => return,
        };
        let reason = match ending.exit {
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
        record.why = None;
        actions.push(Action::Forget(index, record.attempt));
    }

    fn probed(&mut self, now: Now, index: Index, report: &probes::Report, actions: &mut Vec<Action>) {
        if let Some((reason, message)) = probes::event_text(report.kind, &report.outcome) {
            actions.push(warn(Some(index), reason, message));
        }
        let Some(verdict) = report.verdict else { return };
        let container = &self.pod.containers[index];
        let record = &mut self.memory.containers[index];
        let (State::Running(run) | State::Stopping { run, .. }) = &mut record.state else { return };
        match verdict {
            probes::Verdict::Started => {
                run.started = true;
                run.ready |= container.readiness.is_none();
            }
            probes::Verdict::Ready => run.ready = true,
            probes::Verdict::NotReady => run.ready = false,
            probes::Verdict::Unhealthy => self.unhealthy(now, index, report.kind, actions),
        }
    }

    /// Liveness or startup has given up: the container is killed, and its restart policy decides what follows.
    fn unhealthy(&mut self, now: Now, index: Index, kind: probes::Kind, actions: &mut Vec<Action>) {
        let container = &self.pod.containers[index];
        let record = &mut self.memory.containers[index];
        let State::Running(run) = &record.state else { return };
        let (word, spec) = match kind {
            probes::Kind::Startup => ("startup", &container.startup),
            probes::Kind::Liveness | probes::Kind::Readiness => ("liveness", &container.liveness),
        };
        let restarts = match self.pod.restart_policy {
            RestartPolicy::Always | RestartPolicy::OnFailure => ", will be restarted",
            RestartPolicy::Never => "",
        };
        let message = format!("Container {} failed {word} probe{restarts}", container.name);
        actions.push(note(Some(index), "Killing", message));
        let seconds = spec.as_ref().and_then(|spec| spec.termination_grace_seconds);
        let grace = Duration::from_secs(seconds.unwrap_or(self.pod.termination_grace_seconds));
        record.state = stopping(run.clone(), now, grace, index, actions);
    }

    fn stop(&mut self, now: Now, grace: Option<Duration>, actions: &mut Vec<Action>) {
        let grace = grace.unwrap_or(Duration::from_secs(self.pod.termination_grace_seconds));
        let first = self.memory.stop.is_none();
        if !first && self.memory.stop.as_ref().is_some_and(|stop| stop.grace <= grace) {
            return;
        }
        self.memory.stop = Some(Stop { at: now, grace });
        for index in 0..self.memory.containers.len() {
            let record = &mut self.memory.containers[index];
            match &record.state {
                State::Running(run) => {
                    let message = format!("Stopping container {}", record.name);
                    actions.push(note(Some(index), "Killing", message));
                    record.state = stopping(run.clone(), now, grace, index, actions);
                }
                // A second, shorter request may only bring the end nearer.
                State::Stopping { run, kill_at: Some(_) } => {
                    let run = run.clone();
                    record.state = stopping(run, now, grace, index, actions);
                }
                State::Created { .. } => actions.push(Action::Signal(index, StopWith::Kill)),
                State::Stopping { .. }
                | State::Creating
                | State::Waiting { .. }
                | State::Pulling
                | State::Pulled
                | State::Exited(_) => {}
            }
        }
    }

    fn kill_what_is_overdue(&mut self, now: Now, actions: &mut Vec<Action>) {
        for (index, record) in self.memory.containers.iter_mut().enumerate() {
            if let State::Stopping { kill_at, .. } = &mut record.state
                && kill_at.is_some_and(|at| at <= now.mono)
            {
                *kill_at = None;
                actions.push(Action::Signal(index, StopWith::Kill));
            }
        }
    }

    fn start_what_may_start(&mut self, now: Now, actions: &mut Vec<Action>) {
        if let SandboxState::Absent { until } = self.memory.sandbox
            && until.is_none_or(|until| until <= now.mono)
        {
            self.memory.sandbox = SandboxState::Making;
            actions.push(Action::MakeSandbox);
        }
        let sandbox_ready = matches!(self.memory.sandbox, SandboxState::Ready(_));
        for index in 0..self.memory.containers.len() {
            if let State::Exited(terminated) = &self.memory.containers[index].state {
                let terminated = terminated.clone();
                self.restart_or_rest(now, index, terminated, actions);
            }
            let record = &mut self.memory.containers[index];
            match record.state {
                State::Waiting { until: Some(until) }
                    if until <= now.mono
                        && record.pull_backoff.over().is_some_and(|over| over > now.mono) =>
                {
                    let image = &self.pod.containers[index].image;
                    let message = format!("Back-off pulling image \"{image}\"");
                    actions.push(note(Some(index), "BackOff", message.clone()));
                    let cause = record.why.take().map(|why| format!(": {}: {}", why.reason, why.message));
                    let message = message + &cause.unwrap_or_default();
                    record.why = Some(Why { reason: "ImagePullBackOff".to_owned(), message });
                    record.state = State::Waiting { until: record.pull_backoff.over() };
                }
                State::Waiting { until: Some(until) } if until <= now.mono => {
                    record.state = State::Pulling;
                    actions.push(Action::FindImage(index));
                }
                State::Pulled if sandbox_ready => {
                    record.state = State::Creating;
                    actions.push(Action::Create(index));
                }
                _ => {}
            }
        }
    }

    /// Decides what follows a run's end: nothing, a restart now, or a restart after a back-off.
    fn restart_or_rest(&mut self, now: Now, index: Index, ended: Terminated, actions: &mut Vec<Action>) {
        if !wants_restart(self.pod.restart_policy, ended.exit.code()) {
            return;
        }
        let record = &mut self.memory.containers[index];
        let pending = record.backoff.pending(ended.ended.mono, now.mono, self.backoff);
        if let Some((delay, until)) = pending {
            let place = format!("{}_{}({})", self.pod.name, self.pod.namespace, self.pod.uid);
            let message = format!(
                "back-off {} restarting failed container={} pod={place}",
                seconds(delay),
                record.name
            );
            actions.push(warn(
                Some(index),
                "BackOff",
                format!("Back-off restarting failed container {} in pod {place}", record.name),
            ));
            record.why = Some(Why { reason: "CrashLoopBackOff".to_owned(), message });
            record.state = State::Waiting { until: Some(until) };
        } else {
            record.state = State::Waiting { until: Some(now.mono) };
        }
        // The try is noted when it begins, which is when the back-off is over.
        let begins = pending.map_or(now.mono, |(_, until)| until);
        record.backoff.note(ended.ended.mono, begins, self.backoff);
        record.attempt += 1;
        record.last = Some(ended);
    }

    /// Whether no process of the container is left, nor one about to be.
    fn finish_if_over(&mut self, actions: &mut Vec<Action>) {
        let stopping = self.memory.stop.is_some();
        let quiet = |record: &Record| match record.state {
            State::Exited(_) => true,
            State::Waiting { .. } | State::Pulling | State::Pulled => stopping,
            State::Creating | State::Created { .. } | State::Running(_) | State::Stopping { .. } => false,
        };
        let sandbox_under_way = matches!(self.memory.sandbox, SandboxState::Making);
        if sandbox_under_way || !self.memory.containers.iter().all(quiet) {
            return;
        }
        let well = |record: &Record| match &record.state {
            State::Exited(terminated) => terminated.exit == Exit::Code(0),
            _ => false,
        };
        let all_well = self.memory.containers.iter().all(well);
        self.memory.finished = Some(if all_well { Finished::Succeeded } else { Finished::Failed });
        if let SandboxState::Ready(facts) = &self.memory.sandbox {
            self.memory.sandbox = SandboxState::Gone(facts.clone());
        }
        actions.push(Action::TearDown);
        actions.push(Action::Finish(self.leave()));
    }

    fn leave(&self) -> Leave {
        if self.memory.stop.is_some() { Leave::Nothing } else { Leave::Remains }
    }
}

/// The state of a run that is told to end, and the telling.
fn stopping(run: Run, now: Now, grace: Duration, index: Index, actions: &mut Vec<Action>) -> State {
    actions.push(Action::StoppingProbes(index));
    if grace.is_zero() {
        actions.push(Action::Signal(index, StopWith::Kill));
        return State::Stopping { run, kill_at: None };
    }
    actions.push(Action::Signal(index, StopWith::Politely));
    State::Stopping { run, kill_at: Some(now.mono.plus(grace.max(MINIMUM_GRACE))) }
}

fn note(container: Option<Index>, reason: &str, message: String) -> Action {
    Action::Note(Note { warning: false, reason: reason.to_owned(), message, container })
}

fn warn(container: Option<Index>, reason: &str, message: String) -> Action {
    Action::Note(Note { warning: true, reason: reason.to_owned(), message, container })
}

/// A duration as Go prints it, to the millisecond: `1m20s`, `1.234s`, `15ms`.
fn seconds(duration: Duration) -> String {
    let millis = duration.as_millis();
    if millis < 1000 {
        return format!("{millis}ms");
    }
    let (minutes, rest) = (millis / 60_000, millis % 60_000);
    let mut text = if minutes > 0 { format!("{minutes}m") } else { String::new() };
    let fraction = format!("{:03}", rest % 1000);
    let fraction = fraction.trim_end_matches('0');
    let dot = if fraction.is_empty() { "" } else { "." };
    text.push_str(&format!("{}{dot}{fraction}s", rest / 1000));
    text
}
