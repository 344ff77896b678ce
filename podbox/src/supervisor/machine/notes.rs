//! The words of events.

use std::time::Duration;

use super::event::{Action, Arrival, Index, Note};

pub(super) fn note(container: Option<Index>, reason: &str, message: String) -> Action {
    Action::Note(Note { warning: false, reason: reason.to_owned(), message, container })
}

pub(super) fn warn(container: Option<Index>, reason: &str, message: String) -> Action {
    Action::Note(Note { warning: true, reason: reason.to_owned(), message, container })
}

/// What is said of an image that is there.
pub(in crate::supervisor) fn pulled(reference: &str, arrival: &Arrival) -> String {
    match arrival {
        Arrival::Present => format!("Container image \"{reference}\" already present on machine"),
        Arrival::Pulled { took, size } => {
            let took = seconds(*took);
            format!(
                "Successfully pulled image \"{reference}\" in {took} ({took} including waiting). Image size: {size} bytes."
            )
        }
    }
}

/// A duration as Go prints it, to the millisecond: `1m20s`, `1.234s`, `15ms`.
pub(super) fn seconds(duration: Duration) -> String {
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
