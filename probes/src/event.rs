//! The words of the events that probes cause.
//!
//! Source: kubelet `pkg/kubelet/prober/prober.go`.

use crate::{Kind, Outcome};

/// The reason and the message of the Warning event that a kubelet records for an outcome; none for a success.
#[must_use]
pub fn event_text(kind: Kind, outcome: &Outcome) -> Option<(&'static str, String)> {
    match outcome {
        Outcome::Success => None,
        Outcome::Warning(output) => Some(("ProbeWarning", format!("{kind} probe warning: {output}"))),
        Outcome::Failure(output) => Some(("Unhealthy", format!("{kind} probe failed: {output}"))),
        Outcome::Error(cause) => {
            Some(("Unhealthy", format!("{kind} probe errored and resulted in unknown state: {cause}")))
        }
        Outcome::Interrupted(cause) => {
            Some(("Unhealthy", format!("{kind} probe errored and resulted in failure state: {cause}")))
        }
    }
}
