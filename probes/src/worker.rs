//! When to ask.

use std::{sync::Arc, time::Duration};

use tokio::sync::mpsc;

use crate::{Exec, Kind, Known, Outcome, Probes, Target, Verdict};

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
    /// Where reports go. A receiver that is gone is no error.
    pub reports: mpsc::UnboundedSender<Report>,
}

/// Something worth telling: a failure, a warning, an error, or a verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Which probe.
    pub kind: Kind,
    /// How it ended this time; see [`crate::event_text`].
    pub outcome: Outcome,
    /// Set when it changed what is known.
    pub verdict: Option<Verdict>,
}

/// The running workers of one attempt. Dropping it cancels them all, and any probe under way, at once.
#[derive(Debug)]
#[must_use = "dropping the workers cancels them"]
pub struct Workers {}

/// Starts the workers of an attempt; must be called inside a tokio runtime (any flavour; plain tasks).
///
/// With no probes nothing is started.
pub fn start(attempt: Attempt) -> Workers {
    drop(attempt);
    Workers {}
}

impl Workers {
    /// The pod is being deleted: liveness and startup end, readiness goes on.
    pub fn stopping(&self) {}

    /// The container's status has been looked at and it is not ready: probe readiness now, do not wait for the
    /// period. Does nothing if it is ready or held back.
    pub fn poke(&self) {}
}
