//! Which of a pod's devices are which container's. Pure.

use std::collections::BTreeMap;

use super::ANNOTATION;
use crate::pod::{Container, Pod, Role};

/// How many devices of each kind a pod needs at one time: init containers use those of the containers after them, as a
/// kubelet's device manager lets them.
#[must_use]
pub fn asked(pod: &Pod) -> BTreeMap<String, u64> {
    let mut kinds: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for container in &pod.containers {
        for (kind, count) in &container.devices {
            let (stay, before) = kinds.entry(kind.clone()).or_default();
            match container.role {
                Role::Init => *before = (*before).max(*count),
                Role::Sidecar | Role::Main => *stay += count,
            }
        }
    }
    kinds.into_iter().map(|(kind, (stay, before))| (kind, stay.max(before))).collect()
}

/// The container's part of the devices of a kind that its pod has: always the same one.
#[must_use]
pub fn of_container<'n>(pod: &Pod, container: &Container, kind: &str, held: &'n [String]) -> &'n [String] {
    let count = |one: &Container| {
        let count = one.devices.get(kind).copied().unwrap_or(0);
        usize::try_from(count).unwrap_or(usize::MAX)
    };
    let before: usize = match container.role {
        Role::Init => 0,
        Role::Sidecar | Role::Main => {
            let stay = pod.containers.iter().filter(|one| one.role != Role::Init);
            stay.take_while(|one| one.name != container.name).map(count).sum()
        }
    };
    let end = (before + count(container)).min(held.len());
    &held[before.min(end)..end]
}

/// The devices that annotations name, as (kind, name).
///
/// # Errors
/// A text that names none.
pub(super) fn annotated(pod: &Pod) -> Result<Vec<(String, String)>, String> {
    let values = pod.annotations.iter().filter(|(key, _)| key.starts_with(ANNOTATION));
    let names = values.flat_map(|(key, value)| value.split(',').map(move |name| (key, name.trim())));
    names
        .map(|(key, name)| {
            let parts = name.split_once('=').filter(|(kind, name)| kind.contains('/') && !name.is_empty());
            let (kind, name) = parts.ok_or_else(|| {
                format!(
                    "metadata.annotations[{key}]: {name:?} is not VENDOR/CLASS=NAME, which names a CDI device"
                )
            })?;
            Ok((kind.to_owned(), name.to_owned()))
        })
        .collect()
}

/// All devices of one container, as (kind, name); `held` tells which of a kind its pod has.
///
/// # Errors
/// As [`annotated`], or if the pod has fewer than it needs.
pub(super) fn all_of(
    pod: &Pod,
    container: &Container,
    held: impl Fn(&str) -> Vec<String>,
) -> Result<Vec<(String, String)>, String> {
    let mut all = annotated(pod)?;
    for (kind, count) in &container.devices {
        let held = held(kind);
        let mine = of_container(pod, container, kind, &held);
        if u64::try_from(mine.len()).unwrap_or(u64::MAX) < *count {
            return Err(format!("the pod has not been given {count} devices of {kind}"));
        }
        all.extend(mine.iter().map(|name| (kind.clone(), name.clone())));
    }
    all.dedup();
    Ok(all)
}
