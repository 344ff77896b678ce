//! The pod's state machine: (state, event) → actions. Pure: no I/O, no clock, no randomness.
//!
//! The supervisor feeds events in, writes [`Memory`] down, then carries the actions out, in that order: nothing
//! is started before the fact that it exists has been written. The machine has no notion of having crashed; a
//! new supervisor loads the memory, turns what it finds into ordinary events and goes on.
//!
//! What an event makes of a container's state, for one with both hooks in a pod that never restarts by itself (rows
//! and columns in which nothing happens are left out; `Pulled` waits for the sandbox, and between `PreStop` and
//! `Signalled` a sidecar waits for its `Turn`):
//!
//! ```text
//!          image  no image set up  not set up gate shut started  no start postStart
//! Pulling  Pulled Waiting
//! Creating                 Created Waiting
//! Created                                     Pulled    Starting Exited
//! Starting                                                                Running
//!
//!           it failed unhealthy restart stop    preStop   time      exit
//! Waiting                       Pulling                   Pulling
//! Created                                                           Exited
//! Starting  PreStop             PreStop PreStop                     Exited
//! Running             PreStop   PreStop PreStop                     Exited
//! PreStop                                       Signalled Signalled Exited
//! Signalled                                               Killed    Exited
//! Killed                                                            Exited
//! Exited                        Pulling
//! ```
//!
//! A test renders this table from the machine itself. `Exited` is where a run rests that is not followed by another;
//! otherwise its container is `Waiting` at once, as the next attempt.
//!
//! Init containers, sidecars, main and ephemeral containers are records of one table; `adding` lets it grow, `starting` tells whose turn it is,
//! `running` what probes and hooks say, `ending` how a container and how the pod ends, `restarting` what follows.

mod adding;
mod changing;
mod conditions;
mod ending;
mod event;
mod memory;
mod notes;
mod restarting;
mod running;
mod starting;
#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::clock::{Mono, Now};
use crate::pod::{Container, Pod, RestartPolicy};
use crate::restart::{Backoff, BackoffSettings};

pub use adding::Added;
pub use changing::{Resized, Resizing, is_settled_by_resizing, is_to_be_resized};
pub use conditions::{OWN_CONDITIONS, Phase, is_ready, is_waiting, phase};
pub use ending::DEADLINE_MESSAGE;
pub use event::*;
pub use memory::*;
pub(super) use notes::pulled;

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
        let containers = pod.containers.iter().map(|container| Record::new(&container.name, now)).collect();
        let deadline = pod.active_deadline_seconds;
        let memory = Memory {
            accepted: now.wall,
            sandbox: SandboxState::Absent { until: None },
            containers,
            deadline: deadline.map(|seconds| now.mono.plus(Duration::from_secs(seconds))),
            restart_all: None,
            over: None,
            evicted: None,
            unschedulable: None,
            mount_backoff: Backoff::default(),
            resizing: None,
            stop: None,
            finished: None,
            conditions: Vec::new(),
            added: Vec::new(),
        };
        PodMachine { pod, backoff, memory }
    }

    /// A machine that goes on from what another supervisor wrote down. What was under way in that supervisor
    /// (a pull, a stage) ended with it and is begun again. The Pod is the complete one (see [`Memory::complete`]).
    #[must_use]
    pub fn resume(pod: Pod, backoff: BackoffSettings, mut memory: Memory, now: Now) -> PodMachine {
        // Whatever it failed by may have been the other supervisor's end.
        if matches!(memory.sandbox, SandboxState::Making | SandboxState::Absent { .. }) {
            memory.sandbox = SandboxState::Absent { until: None };
        }
        if let Some(resizing) = &mut memory.resizing {
            resizing.under_way = false;
            resizing.tried = false;
        }
        for record in &mut memory.containers {
            match record.state {
                State::Pulling => record.state = State::Waiting { until: Some(now.mono) },
                State::Creating => record.state = State::Pulled,
                // Nobody watches any more for what it lacks.
                State::Waiting { until: Some(_) } if record.lacks_something() => {
                    record.state = State::Waiting { until: Some(now.mono) };
                }
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
        if self.memory.finished.is_some() {
            return None;
        }
        let starts = !self.is_ending();
        let waits = |(index, record): (Index, &Record)| match record.state {
            State::Waiting { until } if !self.is_to_begin_anew(index) && self.may_start(index) => until,
            _ => None,
        };
        let records = || self.memory.containers.iter();
        let sandbox = match self.memory.sandbox {
            SandboxState::Absent { until } => until,
            _ => None,
        };
        let resize = self.memory.resizing.as_ref().and_then(|resizing| resizing.again);
        let resize = resize.filter(|_| self.memory.restart_all.is_none());
        let to_start = (records().enumerate().filter_map(waits))
            .chain(sandbox)
            .chain(self.memory.deadline)
            .chain(resize);
        let to_end = records().filter_map(Self::stop_deadline);
        to_start.filter(|_| starts).chain(to_end).min()
    }

    /// Takes one event in and tells what to do.
    pub fn step(&mut self, now: Now, event: Event) -> Vec<Action> {
        if self.memory.finished.is_some() {
            return self.after_the_end(&event);
        }
        let mut actions = Vec::new();
        self.take(now, event, &mut actions);
        self.note_who_has_passed();
        self.end_by_itself(now, &mut actions);
        if !self.is_ending() && self.memory.restart_all.is_none() {
            self.follow_changes(now, &mut actions);
        }
        self.go_on_ending(now, &mut actions);
        self.begin_anew();
        if !self.is_ending() {
            self.start_what_may_start(now, &mut actions);
        }
        self.finish_if_over(&mut actions);
        conditions::update(&self.pod, &mut self.memory, now.wall);
        actions
    }

    fn take(&mut self, now: Now, event: Event, actions: &mut Vec<Action>) {
        match event {
            Event::Begin => self.take_up(actions),
            Event::Tick => {}
            Event::Told(note) => actions.push(Action::Note(note)),
            Event::SandboxReady(facts) => self.sandbox_ready(facts),
            Event::SandboxFailed(failure) => self.sandbox_failed(now, failure, actions),
            Event::ObjectsChanged => self.objects_changed(),
            Event::GateClosed(index) => self.gate_closed(index),
            Event::Pulling(index) => {
                let message = format!("Pulling image \"{}\"", self.pod.containers[index].image);
                actions.push(notes::note(Some(index), "Pulling", message));
            }
            Event::ImageFound(index, ..) | Event::ImageFailed(index, _)
                if self.is_of_another_image(index) =>
            {
                self.look_again(now, index);
            }
            Event::ImageFound(index, image, arrival) => self.image_found(index, image, &arrival, actions),
            Event::ImageFailed(index, failure) => self.image_failed(now, (index, None), failure, actions),
            Event::VolumeImageFailed(index, reference, failure) => {
                self.image_failed(now, (index, Some(reference)), failure, actions);
            }
            Event::Created(index, process) => self.created(index, process, actions),
            Event::Mended(index) => self.mended(now, index),
            Event::CreateFailed(index, failure) => self.create_failed(now, index, failure, actions),
            Event::Started(index) => self.started(now, index, actions),
            Event::StartFailed(index, message) => self.start_failed(now, index, message, actions),
            Event::Exited(index, ending) => self.exited(now, index, ending, actions),
            Event::HookDone(index, end) => self.hook_done(now, index, end, actions),
            Event::Probe(index, report) => self.probed(now, index, &report, actions),
            Event::Restart(which, grace) => self.restart_asked(now, (which, grace), actions),
            Event::Add(added) => self.add(now, *added),
            Event::SetCondition(wanted) => conditions::set(&mut self.memory, wanted, now.wall),
            Event::Changed(pod) => self.changed(now, *pod),
            Event::Resized(done) => self.resized(now, done, actions),
            Event::Evict(message) => self.evict(now, message, actions),
            Event::Stop(grace) => self.stop(now, grace, actions),
        }
    }

    /// Takes up what another supervisor may have left half-done.
    ///
    /// A hook that was under way died with that supervisor, and is run again: hooks run at least once, also in a
    /// kubelet that is started anew, and one that never ended may not have done what it is there for. A preStop
    /// hook has what is left of its grace period. SIGKILL is sent once more, since it may never have been sent;
    /// a stop signal is not, since some programs take a second one for impatience, and SIGKILL follows anyway.
    fn take_up(&mut self, actions: &mut Vec<Action>) {
        for (index, record) in self.memory.containers.iter().enumerate() {
            match record.state {
                State::Starting(_) => actions.push(Action::RunHook(index, HookKind::PostStart)),
                State::Stopping { step: StopStep::PreStop { .. }, .. } => {
                    actions.push(Action::RunHook(index, HookKind::PreStop));
                }
                State::Stopping { step: StopStep::Killed, .. } => {
                    actions.push(Action::Signal(index, StopWith::Kill));
                }
                _ => {}
            }
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
}
