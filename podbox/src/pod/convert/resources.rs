//! Resources, and the class of service that follows from them.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1 as k8s;

use crate::pod::{QosClass, Quantity, QuantityMap, ResizePolicy, Resources};

/// The resources that podbox knows by name.
pub(super) fn of(given: &k8s::ResourceRequirements) -> Resources {
    let find = |map: &Option<QuantityMap>, name: &str| map.as_ref()?.get(name)?.0.parse::<Quantity>().ok();
    let milli = |quantity: Quantity| u64::try_from(quantity.milli()).unwrap_or(u64::MAX);
    let bytes = |quantity: Quantity| u64::try_from(quantity.whole()).unwrap_or(u64::MAX);
    Resources {
        cpu_request_milli: find(&given.requests, "cpu").map(milli),
        cpu_limit_milli: find(&given.limits, "cpu").map(milli),
        memory_request_bytes: find(&given.requests, "memory").map(bytes),
        memory_limit_bytes: find(&given.limits, "memory").map(bytes),
        storage_request_bytes: find(&given.requests, "ephemeral-storage").map(bytes),
        storage_limit_bytes: find(&given.limits, "ephemeral-storage").map(bytes),
        hugepages_2mi_bytes: find(&given.limits, "hugepages-2Mi").map(bytes),
        hugepages_1gi_bytes: find(&given.limits, "hugepages-1Gi").map(bytes),
    }
}

/// How many devices of each kind; none of a kind is not to ask for it.
pub(super) fn devices(container: &k8s::Container) -> BTreeMap<String, u64> {
    let limits = container.resources.iter().flat_map(|resources| resources.limits.iter().flatten());
    limits
        .filter(|(name, _)| name.contains('/'))
        .filter_map(|(name, text)| {
            let count = u64::try_from(text.0.parse::<Quantity>().ok()?.whole()).ok()?;
            (count > 0).then(|| (name.clone(), count))
        })
        .collect()
}

pub(super) fn resize_policy(container: &k8s::Container) -> ResizePolicy {
    let restarts = |resource: &str| {
        let mut policies = container.resize_policy.iter().flatten();
        policies.any(|one| one.resource_name == resource && one.restart_policy == "RestartContainer")
    };
    ResizePolicy { cpu_restarts: restarts("cpu"), memory_restarts: restarts("memory") }
}

/// See kubernetes.io "Pod Quality of Service Classes": only cpu and memory count, and zero is nothing. Resources of the
/// pod as a whole decide alone.
pub(super) fn qos(spec: &k8s::PodSpec) -> QosClass {
    let whole = spec.resources.as_ref().filter(|whole| whole.requests.is_some() || whole.limits.is_some());
    let containers = spec.init_containers.iter().flatten().chain(&spec.containers);
    let of_containers = containers.map(|container| container.resources.as_ref());
    match whole {
        Some(whole) => class(std::iter::once(Some(whole))),
        None => class(of_containers),
    }
}

fn class<'r>(all: impl Iterator<Item = Option<&'r k8s::ResourceRequirements>>) -> QosClass {
    let (mut anything, mut guaranteed) = (false, true);
    for given in all {
        let requests = amounts(given.and_then(|resources| resources.requests.as_ref()));
        let limits = amounts(given.and_then(|resources| resources.limits.as_ref()));
        anything |= !requests.is_empty() || !limits.is_empty();
        guaranteed &= limits.len() == 2
            && limits.iter().all(|(name, limit)| {
                requests.get(name).is_some_and(|request| request.amount_cmp(*limit).is_eq())
            });
    }
    match (anything, guaranteed) {
        (false, _) => QosClass::BestEffort,
        (true, true) => QosClass::Guaranteed,
        (true, false) => QosClass::Burstable,
    }
}

fn amounts(map: Option<&QuantityMap>) -> BTreeMap<&str, Quantity> {
    let all = map.into_iter().flatten().filter(|(name, _)| matches!(name.as_str(), "cpu" | "memory"));
    let parsed = all.filter_map(|(name, text)| Some((name.as_str(), text.0.parse::<Quantity>().ok()?)));
    parsed.filter(|(_, quantity)| !quantity.is_zero()).collect()
}
