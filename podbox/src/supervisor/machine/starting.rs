//! The way up: whose turn it is, images, set-up, the gate, the postStart hook.
//!
//! Init containers begin one after another: each when those before it have ended well, or, if they are sidecars,
//! have been started. Main containers begin side by side once all of these have passed; only one whose
//! predecessor has a postStart hook waits for that hook, as in a kubelet. Source: kubelet
//! `kuberuntime_manager.go` (SyncPod) and `kuberuntime_container.go` (computeInitContainerActions, startContainer).

use super::notes::{note, pulled, warn};
use super::*;
use crate::pod::{Resources, Role};

/// How long a failed pull's own error stands before the back-off does.
const SHOW_ERROR: Duration = Duration::from_secs(1);

/// The delays between tries to mount a volume. Source: kubelet `util/goroutinemap/exponentialbackoff`.
const MOUNT_BACKOFF: BackoffSettings =
    BackoffSettings { initial: Duration::from_millis(500), max: Duration::from_secs(122) };

impl PodMachine {
    /// Whether container `index` may begin now, as far as the others are concerned.
    pub(super) fn may_start(&self, index: Index) -> bool {
        let role = self.pod.containers[index].role;
        if role == Role::Init && self.memory.containers[index].passed {
            return false;
        }
        let earlier = || self.pod.containers[..index].iter().zip(&self.memory.containers);
        let passed =
            |(container, record): (&Container, &Record)| container.role == Role::Main || record.passed;
        let held_up = |(container, record): (&Container, &Record)| {
            let hook = container.role == Role::Main && container.lifecycle.post_start.is_some();
            hook && is_on_its_way(&record.state)
        };
        let order = earlier().all(passed);
        order && (role != Role::Main || !earlier().any(held_up))
    }

    /// Notes whose turn is over, so that those after them may begin.
    ///
    /// Whoever stands before one that was made has had its turn, whatever became of the knowledge of how it ended: what
    /// is done must not be done again under those that rely on it. Like a kubelet this looks from the last to the first,
    /// and takes a main container for a proof only while it is there (computeInitContainerActions).
    pub(super) fn note_who_has_passed(&mut self) {
        let mut later_is_there = false;
        for (container, record) in self.pod.containers.iter().zip(&mut self.memory.containers).rev() {
            record.passed |= match (container.role, &record.state) {
                (Role::Main, _) => false,
                _ if later_is_there => true,
                (Role::Init, State::Exited(end)) => end.exit == Exit::Code(0),
                (Role::Sidecar, State::Running(run)) => run.started,
                _ => false,
            };
            later_is_there |= match &record.state {
                State::Created { .. } | State::Starting(_) | State::Running(_) | State::Stopping { .. } => {
                    true
                }
                State::Exited(_) => container.role != Role::Main,
                State::Waiting { .. } | State::Pulling | State::Pulled | State::Creating => false,
            };
        }
    }

    pub(super) fn start_what_may_start(&mut self, now: Now, actions: &mut Vec<Action>) {
        if let SandboxState::Absent { until } = self.memory.sandbox
            && until.is_none_or(|until| until <= now.mono)
        {
            self.memory.sandbox = SandboxState::Making;
            actions.push(Action::MakeSandbox);
        }
        if self.memory.restart_all.is_some() {
            return;
        }
        let sandbox_ready = matches!(self.memory.sandbox, SandboxState::Ready(_));
        for index in 0..self.memory.containers.len() {
            if !self.may_start(index) {
                continue;
            }
            let record = &mut self.memory.containers[index];
            match record.state {
                State::Waiting { until: Some(until) } if until <= now.mono => {
                    if record.pull_backoff.over().is_some_and(|over| over > now.mono) {
                        self.wait_for_pull(index, actions);
                    } else {
                        record.made_of = Some(self.pod.containers[index].image.clone());
                        record.state = State::Pulling;
                        actions.push(Action::FindImage(index));
                    }
                }
                State::Pulled if sandbox_ready => {
                    let resources = self.pod.containers[index].resources;
                    record.applied = Some(resources).filter(|some| *some != Resources::default());
                    record.state = State::Creating;
                    actions.push(Action::Create(index));
                }
                _ => {}
            }
        }
    }

    pub(super) fn sandbox_ready(&mut self, facts: SandboxFacts) {
        self.memory.sandbox = SandboxState::Ready(facts);
        self.memory.mount_backoff = Backoff::default();
        self.memory.unschedulable = None;
    }

    /// What lacks a volume is tried again sooner than what the host does not give, as in a kubelet.
    pub(super) fn sandbox_failed(&mut self, now: Now, failure: Failure, actions: &mut Vec<Action>) {
        let unschedulable = failure.reason == "FailedScheduling";
        let until = if unschedulable || failure.reason == "FailedMount" {
            self.memory.mount_backoff.note(now.mono, now.mono, MOUNT_BACKOFF);
            self.memory.mount_backoff.over()
        } else {
            self.memory.mount_backoff = Backoff::default();
            Some(now.mono.plus(self.backoff.initial))
        };
        self.memory.unschedulable = unschedulable.then(|| failure.message.clone());
        self.memory.sandbox = SandboxState::Absent { until };
        actions.push(warn(None, &failure.reason, failure.message));
    }

    /// Whoever waits for a volume looks again at once.
    pub(super) fn objects_changed(&mut self) {
        let waits_for_volumes = self.memory.mount_backoff.over().is_some();
        if let SandboxState::Absent { until } = &mut self.memory.sandbox
            && waits_for_volumes
        {
            *until = None;
        }
    }

    /// The failed pull's own error has been shown; what follows is the back-off.
    fn wait_for_pull(&mut self, index: Index, actions: &mut Vec<Action>) {
        let unpulled = self.memory.containers[index].unpulled.as_ref();
        let reference = unpulled.unwrap_or(&self.pod.containers[index].image);
        let message = format!("Back-off pulling image \"{reference}\"");
        actions.push(note(Some(index), "BackOff", message.clone()));
        actions.push(warn(Some(index), "Failed", "Error: ImagePullBackOff".to_owned()));
        let record = &mut self.memory.containers[index];
        let cause = record.why.take().map(|why| format!(": {}: {}", why.reason, why.message));
        let message = message + &cause.unwrap_or_default();
        record.why = Some(Why { reason: "ImagePullBackOff".to_owned(), message });
        record.state = State::Waiting { until: record.pull_backoff.over() };
    }

    pub(super) fn image_found(
        &mut self,
        index: Index,
        image: ImageFacts,
        arrival: &Arrival,
        actions: &mut Vec<Action>,
    ) {
        if !matches!(self.memory.containers[index].state, State::Pulling) {
            return;
        }
        let reference = &self.pod.containers[index].image;
        actions.push(note(Some(index), "Pulled", pulled(reference, arrival)));
        let record = &mut self.memory.containers[index];
        record.image = Some(image);
        record.pull_backoff = Backoff::default();
        let stays = |why: &Why| {
            matches!(why.reason.as_str(), "CrashLoopBackOff" | "PostStartHookError" | CONFIG_ERROR)
        };
        record.why.take_if(|why| !stays(why));
        record.state = State::Pulled;
    }

    pub(super) fn image_failed(
        &mut self,
        now: Now,
        (index, of_volume): (Index, Option<String>),
        failure: Failure,
        actions: &mut Vec<Action>,
    ) {
        if !matches!(self.memory.containers[index].state, State::Pulling) {
            return;
        }
        let reference = of_volume.as_ref().unwrap_or(&self.pod.containers[index].image);
        let was_pulled = failure.reason == "ErrImagePull";
        let (reason, message) = match failure.reason.as_str() {
            "ErrImageNeverPull" => ("ErrImageNeverPull", failure.message.clone()),
            "InvalidImageName" => (
                "InspectFailed",
                format!("Failed to apply default image tag \"{reference}\": {}", failure.message),
            ),
            _ => ("Failed", format!("Failed to pull image \"{reference}\": {}", failure.message)),
        };
        actions.push(warn(Some(index), reason, message));
        actions.push(warn(Some(index), "Failed", format!("Error: {}", failure.reason)));
        let settings = self.backoff;
        let record = &mut self.memory.containers[index];
        record.unpulled = of_volume;
        record.pull_backoff.note(now.mono, now.mono, settings);
        let over = record.pull_backoff.over().unwrap_or(now.mono);
        record.why = Some(Why { reason: failure.reason, message: failure.message });
        // A pull's own error is shown for a moment, then that it is being waited. Others stand until the next try.
        let shown = SHOW_ERROR.min(over.since(now.mono) / 2);
        let until = if was_pulled { now.mono.plus(shown) } else { over };
        record.state = State::Waiting { until: Some(until) };
    }

    pub(super) fn created(&mut self, index: Index, process: ProcessId, actions: &mut Vec<Action>) {
        if !matches!(self.memory.containers[index].state, State::Creating) {
            return;
        }
        let name = &self.pod.containers[index].name;
        actions.push(note(Some(index), "Created", format!("Created container: {name}")));
        self.memory.containers[index].state = State::Created { process };
        let unwanted = self.is_ending() || self.memory.restart_all.is_some();
        let next = if unwanted { Action::Signal(index, StopWith::Kill) } else { Action::Go(index) };
        actions.push(next);
    }

    pub(super) fn gate_closed(&mut self, index: Index) {
        let record = &mut self.memory.containers[index];
        if matches!(record.state, State::Created { .. }) {
            record.state = State::Pulled;
        }
    }

    pub(super) fn create_failed(
        &mut self,
        now: Now,
        index: Index,
        failure: Failure,
        actions: &mut Vec<Action>,
    ) {
        if !matches!(self.memory.containers[index].state, State::Creating) {
            return;
        }
        actions.push(warn(Some(index), "Failed", format!("Error: {}", failure.message)));
        let settings = self.backoff;
        let record = &mut self.memory.containers[index];
        if failure.reason == CONFIG_ERROR {
            // What has never been made does not back off: it is looked at again with every sync. Its files are not
            // forgotten, since that takes a moment, and the next try, of the same number, may begin in this very one.
            record.why = Some(Why { reason: failure.reason, message: failure.message });
            record.state = State::Waiting { until: Some(now.mono.plus(settings.initial)) };
            return;
        }
        actions.push(Action::Forget(index, record.attempt));
        record.backoff.note(now.mono, now.mono, settings);
        let pending = record.backoff.pending(now.mono, now.mono, settings);
        record.why = Some(Why { reason: failure.reason, message: failure.message });
        record.state = State::Waiting { until: pending.map(|(_, until)| until) };
    }

    /// What it lacked may be there: it is tried at once.
    pub(super) fn mended(&mut self, now: Now, index: Index) {
        let record = &mut self.memory.containers[index];
        if record.lacks_something() && matches!(record.state, State::Waiting { until: Some(_) }) {
            record.state = State::Waiting { until: Some(now.mono) };
        }
    }

    pub(super) fn started(&mut self, now: Now, index: Index, actions: &mut Vec<Action>) {
        let grace_of_the_end = self.grace_of_the_end();
        let container = &self.pod.containers[index];
        let record = &mut self.memory.containers[index];
        let State::Created { process } = record.state else { return };
        let started = container.startup.is_none();
        let ready = started && container.readiness.is_none();
        let run = Run { process, since: now, started, ready };
        record.ever_started = true;
        actions.push(note(Some(index), "Started", format!("Started container {}", container.name)));
        if self.memory.restart_all.is_some() {
            record.state = State::Stopping { run, step: StopStep::Killed, cause: Cause::RestartAll };
            actions.push(Action::Signal(index, StopWith::Kill));
        } else if let Some(grace) = grace_of_the_end {
            // It slipped through its gate while the pod was told to end.
            record.state = State::Running(run);
            self.tell_to_end(now, index, (grace, Cause::Told), actions);
        } else if container.lifecycle.post_start.is_some() {
            record.state = State::Starting(run);
            actions.push(Action::RunHook(index, HookKind::PostStart));
        } else {
            self.runs(index, run, actions);
        }
    }

    /// From here on the container counts as running.
    pub(super) fn runs(&mut self, index: Index, run: Run, actions: &mut Vec<Action>) {
        let container = &self.pod.containers[index];
        let record = &mut self.memory.containers[index];
        record.why = None;
        record.state = State::Running(run);
        if container.liveness.is_some() || container.readiness.is_some() || container.startup.is_some() {
            actions.push(Action::StartProbes(index));
        }
    }

    pub(super) fn start_failed(
        &mut self,
        now: Now,
        index: Index,
        message: String,
        actions: &mut Vec<Action>,
    ) {
        if !matches!(self.memory.containers[index].state, State::Created { .. }) {
            return;
        }
        actions.push(warn(Some(index), "Failed", format!("Error: failed to start container: {message}")));
        let record = &mut self.memory.containers[index];
        actions.push(Action::Forget(index, record.attempt));
        record.why = Some(Why { reason: "RunContainerError".to_owned(), message: message.clone() });
        record.state = State::Exited(Terminated {
            attempt: record.attempt,
            exit: Exit::Code(128),
            reason: "StartError".to_owned(),
            message: Some(message),
            started: None,
            ended: now,
        });
        self.after_exit(now, index, Cause::Told, actions);
    }
}

/// Whether a start is under way.
fn is_on_its_way(state: &State) -> bool {
    match state {
        State::Pulling | State::Pulled | State::Creating | State::Created { .. } | State::Starting(_) => true,
        State::Waiting { .. } | State::Running(_) | State::Stopping { .. } | State::Exited(_) => false,
    }
}
