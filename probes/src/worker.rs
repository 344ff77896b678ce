//! When to ask.
//!
//! One task per probe of one attempt (one run of one container). It sleeps until it may ask, asks, tells, and
//! sleeps until the next tick. Nothing else wakes it, and it is gone when its [`Workers`] are dropped.
//!
//! ```text
//!            start            startup succeeds              the pod is deleted        dropped
//! startup    ask, ask, ask ... ends                         ends                      -
//! liveness   held back         ask, ask, ... (failed: ends) ends                      -
//! readiness  held back         ask, ask, ...                ask, ask, ...             ends
//! ```
//!
//! - The first probe comes at once when it is allowed: when the container is `initialDelaySeconds` old and,
//!   for liveness and readiness, the startup probe has succeeded. (A kubelet's ticker runs from the time at
//!   which it first saw the pod, so that its first probe comes up to a period later.)
//! - Ticks come every `periodSeconds` from there, and do not queue: of the ticks that pass while a probe is
//!   under way, the first is made up for at once and the others are dropped.
//! - A poke makes an unready container's readiness be asked at once, and the ticks count anew from there.
//!
//! Source: kubelet `pkg/kubelet/prober/worker.go` and `prober_manager.go`.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, mpsc, watch},
    task::AbortHandle,
    time::{Instant, Interval, MissedTickBehavior, interval, sleep_until},
};

use crate::{Exec, Kind, Known, Outcome, Probes, Spec, Target, Threshold, Verdict, ask::ask};

/// A poke is heard once in this time at most, so that a caller who pokes on every report does not spin.
const POKE_INTERVAL: Duration = Duration::from_secs(1);

/// One run of one container, as far as probes care.
pub struct Attempt {
    /// What to ask.
    pub probes: Probes,
    /// Whom to ask.
    pub target: Target,
    /// How to run a command in it.
    pub exec: Arc<dyn Exec>,
    /// The container's age; more than zero when it is found running by a new supervisor.
    pub started_ago: Duration,
    /// What was known of it before; [`Known::at_start`] for a new one.
    pub known: Known,
    /// Where reports go. A channel of the attempt's own, dropped with its [`Workers`], is what keeps a late
    /// report from being taken for one about the next run. A receiver that is gone is no error.
    pub reports: mpsc::UnboundedSender<Report>,
}

/// Something worth telling: a failure, a warning, an error, or a verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Which probe.
    pub kind: Kind,
    /// How it ended this time; see [`crate::event_text`].
    pub outcome: Outcome,
    /// Set when it changed what is known; see [`Known::after`].
    pub verdict: Option<Verdict>,
}

/// The running workers of one attempt. Dropping it cancels them all, and any probe under way, at once.
#[must_use = "dropping the workers cancels them"]
pub struct Workers {
    tasks: [Option<AbortHandle>; 3],
    shared: Option<Arc<Shared>>,
}

/// What the workers of one attempt have in common.
struct Shared {
    target: Target,
    exec: Arc<dyn Exec>,
    reports: mpsc::UnboundedSender<Report>,
    phase: watch::Sender<Phase>,
    poke: Notify,
    /// A readiness worker is at work and its container is not ready.
    pokable: AtomicBool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Starting,
    Started,
    Failed,
}

/// Starts the workers of an attempt; with no probes nothing is started.
///
/// # Panics
///
/// Outside a tokio runtime. Any kind of runtime with timers and I/O will do.
pub fn start(attempt: Attempt) -> Workers {
    let Attempt { probes, target, exec, started_ago, known, reports } = attempt;
    let Probes { liveness, readiness, startup } = probes;
    if liveness.is_none() && readiness.is_none() && startup.is_none() {
        return Workers { tasks: [None, None, None], shared: None };
    }
    let startup = startup.filter(|_| !known.started);
    let phase = if startup.is_some() { Phase::Starting } else { Phase::Started };
    let shared = Arc::new(Shared {
        target,
        exec,
        reports,
        phase: watch::Sender::new(phase),
        poke: Notify::new(),
        pokable: AtomicBool::new(false),
    });
    let now = Instant::now();
    let spawn = |kind, spec: Option<Spec>| {
        let spec = spec?;
        let worker = Worker {
            kind,
            threshold: Threshold::resumed(kind, &spec, known),
            allowed_at: now + spec.initial_delay.saturating_sub(started_ago),
            spec,
            shared: Arc::clone(&shared),
        };
        Some(tokio::spawn(worker.run()).abort_handle())
    };
    let tasks =
        [spawn(Kind::Startup, startup), spawn(Kind::Liveness, liveness), spawn(Kind::Readiness, readiness)];
    Workers { tasks, shared: Some(shared) }
}

impl Workers {
    /// The pod is being deleted: liveness and startup end, readiness goes on.
    ///
    /// As in a kubelet, a startup probe that has not given its verdict then counts as a success, so that the
    /// container is `Started` and readiness is asked while it ends.
    pub fn stopping(&self) {
        let Some(shared) = &self.shared else { return };
        for task in self.tasks.iter().take(2).flatten() {
            task.abort();
        }
        if *shared.phase.borrow() == Phase::Starting {
            shared.phase.send_replace(Phase::Started);
            shared.tell(Kind::Startup, Outcome::Success, Some(Verdict::Started));
        }
    }

    /// Something about the container's status has changed and it is not ready: ask its readiness now instead
    /// of waiting for the period. Does nothing if it is ready, held back, or was asked within the last second.
    pub fn poke(&self) {
        if let Some(shared) = &self.shared
            && shared.pokable.load(Ordering::Relaxed)
        {
            shared.poke.notify_one();
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        for task in self.tasks.iter().flatten() {
            task.abort();
        }
    }
}

impl fmt::Debug for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workers").field("tasks", &self.tasks.iter().flatten().count()).finish()
    }
}

impl Shared {
    fn tell(&self, kind: Kind, outcome: Outcome, verdict: Option<Verdict>) {
        // Nobody listens any more: the attempt is about to be dropped.
        let _ = self.reports.send(Report { kind, outcome, verdict });
    }
}

struct Worker {
    kind: Kind,
    spec: Spec,
    threshold: Threshold,
    allowed_at: Instant,
    shared: Arc<Shared>,
}

impl Worker {
    async fn run(mut self) {
        if self.kind != Kind::Startup && !self.held_back().await {
            return;
        }
        sleep_until(self.allowed_at).await;
        let mut ticks = interval(self.spec.period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut asked_at = None;
        while !self.threshold.is_final() {
            self.next(&mut ticks, asked_at).await;
            asked_at = Some(Instant::now());
            // Boxed, so that a worker is small while it sleeps, which is nearly always.
            let outcome = Box::pin(ask(&self.spec, self.shared.target, &*self.shared.exec)).await;
            self.take(outcome);
        }
    }

    /// Waits for the start to be over; false if it never will be.
    async fn held_back(&self) -> bool {
        let mut phase = self.shared.phase.subscribe();
        let settled = phase.wait_for(|phase| *phase != Phase::Starting).await;
        settled.is_ok_and(|phase| *phase == Phase::Started)
    }

    /// Waits for the next tick, or for a poke.
    async fn next(&self, ticks: &mut Interval, asked_at: Option<Instant>) {
        if self.kind != Kind::Readiness {
            ticks.tick().await;
            return;
        }
        self.shared.pokable.store(!self.threshold.is_ready(), Ordering::Relaxed);
        loop {
            tokio::select! {
                biased;
                _ = ticks.tick() => return,
                () = self.shared.poke.notified() => {
                    if asked_at.is_some_and(|at| at.elapsed() >= POKE_INTERVAL) && !self.threshold.is_ready() {
                        ticks.reset();
                        return;
                    }
                }
            }
        }
    }

    fn take(&mut self, outcome: Outcome) {
        let verdict = self.threshold.record(&outcome);
        match (self.kind, verdict) {
            (Kind::Startup, Some(Verdict::Started)) => {
                self.shared.phase.send_replace(Phase::Started);
            }
            (Kind::Startup, Some(_)) => {
                self.shared.phase.send_replace(Phase::Failed);
            }
            _ => {}
        }
        if verdict.is_some() || outcome != Outcome::Success {
            self.shared.tell(self.kind, outcome, verdict);
        }
    }
}

#[cfg(test)]
mod tests;
