//! What is known: outcomes in, verdicts out. No clock, no I/O.
//!
//! A single outcome changes nothing by itself. The same result has to come back as often in a row as the
//! probe's threshold says, and only a change of what is believed is a verdict. What is believed before the
//! first probe is the whole policy of the three kinds: a container is alive until it is shown dead, unready
//! until it is shown ready, and of its start nothing is known.
//!
//! Source: kubelet `pkg/kubelet/prober/worker.go` (`newWorker` for the start values, the end of `doProbe` for
//! the counting).

use serde::{Deserialize, Serialize};

use crate::spec::{Kind, Probes, Spec};

/// How one probe ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It answered as it should.
    Success,
    /// It answered in a way that deserves an event, but counts as a success.
    Warning(String),
    /// It answered wrongly, too late or not at all.
    Failure(String),
    /// The prober itself broke, three times over: says nothing about the container and is not counted.
    Error(String),
    /// The answer began and broke off, three times over: not counted either.
    Interrupted(String),
}

impl Outcome {
    /// It is thrown away: tried again at once, and not counted.
    #[must_use]
    pub fn is_void(&self) -> bool {
        matches!(self, Self::Error(_) | Self::Interrupted(_))
    }
}

/// What a row of outcomes adds up to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Verdict {
    /// The startup probe succeeded: the other two begin.
    Started,
    /// The readiness probe succeeded often enough.
    Ready,
    /// The readiness probe failed often enough.
    NotReady,
    /// The liveness or the startup probe gave up: this run of the container must end.
    Unhealthy,
}

/// What a container's status shows, and what must survive the death of whoever runs the workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// There is no startup probe, or it has succeeded.
    pub started: bool,
    /// Started, and there is no readiness probe or its last verdict was good.
    pub ready: bool,
}

impl Known {
    /// What a freshly started container's status shows.
    #[must_use]
    pub fn at_start(probes: &Probes) -> Self {
        let started = probes.startup.is_none();
        Self { started, ready: started && probes.readiness.is_none() }
    }

    /// What it shows after a verdict.
    #[must_use]
    pub fn after(self, verdict: Verdict, probes: &Probes) -> Self {
        match verdict {
            Verdict::Started => Self { started: true, ready: self.ready || probes.readiness.is_none() },
            Verdict::Ready => Self { ready: true, ..self },
            Verdict::NotReady => Self { ready: false, ..self },
            // A failed liveness or startup probe does not make a container unready; its end will.
            Verdict::Unhealthy => self,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Belief {
    Unknown,
    Good,
    Bad,
}

/// Counts the outcomes of one probe.
#[derive(Clone, Debug)]
pub struct Threshold {
    kind: Kind,
    needed_good: u32,
    needed_bad: u32,
    believed: Belief,
    last: Belief,
    run: u32,
}

impl Threshold {
    /// A probe that has not been asked yet.
    #[must_use]
    pub fn new(kind: Kind, spec: &Spec) -> Self {
        let believed = match kind {
            Kind::Liveness => Belief::Good,
            Kind::Readiness => Belief::Bad,
            Kind::Startup => Belief::Unknown,
        };
        Self {
            kind,
            needed_good: spec.success_threshold,
            needed_bad: spec.failure_threshold,
            believed,
            last: Belief::Unknown,
            run: 0,
        }
    }

    /// The same, for a container that was already seen ready (by a supervisor that has died since).
    #[must_use]
    pub fn resumed(kind: Kind, spec: &Spec, known: Known) -> Self {
        let mut threshold = Self::new(kind, spec);
        if kind == Kind::Readiness && known.ready {
            threshold.believed = Belief::Good;
        }
        threshold
    }

    /// Takes one outcome; a verdict comes back only when what is believed has changed.
    pub fn record(&mut self, outcome: &Outcome) -> Option<Verdict> {
        let result = match outcome {
            Outcome::Success | Outcome::Warning(_) => Belief::Good,
            Outcome::Failure(_) => Belief::Bad,
            Outcome::Error(_) | Outcome::Interrupted(_) => return None,
        };
        if self.is_final() {
            return None;
        }
        if self.last == result {
            self.run = self.run.saturating_add(1);
        } else {
            self.last = result;
            self.run = 1;
        }
        let needed = if result == Belief::Good { self.needed_good } else { self.needed_bad };
        if self.run < needed || self.believed == result {
            return None;
        }
        self.believed = result;
        match (self.kind, result) {
            (Kind::Readiness, Belief::Good) => Some(Verdict::Ready),
            (Kind::Readiness, _) => Some(Verdict::NotReady),
            (Kind::Startup, Belief::Good) => Some(Verdict::Started),
            (Kind::Liveness, Belief::Good) => None,
            (Kind::Liveness | Kind::Startup, _) => Some(Verdict::Unhealthy),
        }
    }

    /// The last verdict of a readiness probe was good.
    pub(crate) fn is_ready(&self) -> bool {
        self.kind == Kind::Readiness && self.believed == Belief::Good
    }

    /// Nothing that comes later can change it: a startup probe has one verdict, and so has a failed liveness
    /// probe, because the run that it watches is about to be ended.
    #[must_use]
    pub fn is_final(&self) -> bool {
        match self.kind {
            Kind::Liveness => self.believed == Belief::Bad,
            Kind::Startup => self.believed != Belief::Unknown,
            Kind::Readiness => false,
        }
    }
}

#[cfg(test)]
mod tests;
