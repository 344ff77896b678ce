//! While a container runs: what its probes and hooks say.

use super::notes::{note, warn};
use super::*;

impl PodMachine {
    /// A hook has returned. One of an attempt or a step that is over says nothing any more.
    pub(super) fn hook_done(&mut self, now: Now, index: Index, end: HookEnd, actions: &mut Vec<Action>) {
        let record = &mut self.memory.containers[index];
        if record.attempt != end.attempt {
            return;
        }
        match (&mut record.state, end.kind) {
            (State::Starting(run), HookKind::PostStart) => {
                let run = run.clone();
                match end.outcome {
                    Ok(()) => self.runs(index, run, actions),
                    Err(message) => self.post_start_failed(now, index, message, actions),
                }
            }
            (State::Stopping { step: step @ StopStep::PreStop { .. }, .. }, HookKind::PreStop) => {
                if end.outcome.is_err() {
                    // The words of the failure stay out of the event, because servers may put secrets into them.
                    actions.push(warn(Some(index), "FailedPreStopHook", "PreStopHook failed".to_owned()));
                }
                if let StopStep::PreStop { ends } = *step {
                    *step = StopStep::Turn { ends };
                }
            }
            _ => {}
        }
    }

    /// A container whose postStart hook failed is ended as any other, with its grace period and its preStop hook.
    fn post_start_failed(&mut self, now: Now, index: Index, message: String, actions: &mut Vec<Action>) {
        actions.push(warn(Some(index), "FailedPostStartHook", "PostStartHook failed".to_owned()));
        actions.push(note(Some(index), "Killing", "FailedPostStartHook".to_owned()));
        let why = Why { reason: "PostStartHookError".to_owned(), message };
        self.memory.containers[index].why = Some(why);
        let grace = self.pod_grace();
        self.tell_to_end(now, index, (grace, Cause::HookFailed), actions);
    }

    pub(super) fn probed(
        &mut self,
        now: Now,
        index: Index,
        report: &probes::Report,
        actions: &mut Vec<Action>,
    ) {
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

    /// Liveness or startup has given up: the container is killed, and unless its policy is Never it starts again.
    fn unhealthy(&mut self, now: Now, index: Index, kind: probes::Kind, actions: &mut Vec<Action>) {
        let container = &self.pod.containers[index];
        if !matches!(self.memory.containers[index].state, State::Running(_)) {
            return;
        }
        let (word, spec) = match kind {
            probes::Kind::Startup => ("startup", &container.startup),
            probes::Kind::Liveness | probes::Kind::Readiness => ("liveness", &container.liveness),
        };
        let restarts = match container.restart_policy {
            RestartPolicy::Always | RestartPolicy::OnFailure => ", will be restarted",
            RestartPolicy::Never => "",
        };
        let message = format!("Container {} failed {word} probe{restarts}", container.name);
        actions.push(note(Some(index), "Killing", message));
        let seconds = spec.as_ref().and_then(|spec| spec.termination_grace_seconds);
        let grace = seconds.map_or(self.pod_grace(), Duration::from_secs);
        self.tell_to_end(now, index, (grace, Cause::Unhealthy), actions);
    }
}
