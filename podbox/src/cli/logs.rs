//! `podbox logs`: a container's output.

use crate::supervisor::machine::Record;

use super::Failure;
use super::pods::Found;

/// The container of that name, or the first one.
pub(super) fn choose<'a>(
    records: &'a [Record],
    name: Option<&str>,
    found: &Found,
) -> Result<&'a Record, Failure> {
    let chosen = match name {
        Some(name) => records.iter().find(|record| record.name == name),
        None => records.first(),
    };
    chosen.ok_or_else(|| {
        let known: Vec<&str> = records.iter().map(|record| record.name.as_str()).collect();
        Failure::wrong(format!(
            "container {} is not valid for pod {}; it has {}",
            name.unwrap_or_default(),
            found.pod.name,
            known.join(", ")
        ))
    })
}
