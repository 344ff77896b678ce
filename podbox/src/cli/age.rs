//! Ages as kubectl prints them.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use crate::output::age::human_duration;

/// The time from `then` to `now`.
pub(super) fn since(then: Timestamp, now: Timestamp) -> String {
    human_duration(Duration::try_from(now.duration_since(then)).unwrap_or_default())
}

/// The time from a timestamp in an object to `now`.
pub(super) fn of(then: &Value, now: Timestamp) -> String {
    let then = then.as_str().and_then(|text| text.parse().ok());
    then.map_or_else(|| "<unknown>".to_owned(), |then| since(then, now))
}
