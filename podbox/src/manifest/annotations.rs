//! Annotations that podbox would read, and that have no effect as they stand: nobody else would tell.

use super::suggest;
use crate::pod::field::{Errors, FieldError, Path};
use crate::pod::{Pod, interfaces};

/// In front of podbox's own.
const OWN: &str = "podbox.local/";
const KNOWN: &[&str] = &[interfaces::IP, interfaces::MAC];

/// All of them, for a Pod that stands at `path`.
pub(super) fn without_effect(pod: &Pod, path: &Path<'_>) -> Vec<FieldError> {
    let mut found = Errors::default();
    let metadata = path.field("metadata");
    let annotations = metadata.field("annotations");
    for key in pod.annotations.keys() {
        if key.starts_with(OWN) && !KNOWN.contains(&key.as_str()) {
            let near = suggest::nearest(key, KNOWN).map(|near| format!("; did you mean {near}?"));
            let near = near.unwrap_or_default();
            found.say(&annotations.key(key), format!("podbox knows no such annotation{near}"));
        } else if pod.host.network && interfaces::ASKING.contains(&key.as_str()) {
            let why = "without effect: the pod has the host's network";
            found.say(&annotations.key(key), why.to_owned());
        }
    }
    found.into_vec()
}
