//! What the containers of a Pod come to together, of one resource, as Kubernetes counts.
//!
//! Init containers come before the main ones, so only the largest counts, with the sidecars that run beside it.
//! Source: `component-helpers/resource/helpers.go` (AggregateContainerRequests, AggregateContainerLimits).

use k8s_openapi::api::core::v1 as k8s;

use super::{Quantity, QuantityMap};

/// What the containers request of a resource; `None` if none of them requests any.
pub(crate) fn requests(spec: &k8s::PodSpec, resource: &str) -> Option<Quantity> {
    together(spec, resource, |resources| resources.requests.as_ref())
}

/// What the containers may have of a resource; `None` if none of them has a limit.
pub(crate) fn limits(spec: &k8s::PodSpec, resource: &str) -> Option<Quantity> {
    together(spec, resource, |resources| resources.limits.as_ref())
}

fn together(
    spec: &k8s::PodSpec,
    resource: &str,
    which: fn(&k8s::ResourceRequirements) -> Option<&QuantityMap>,
) -> Option<Quantity> {
    let amount = |container: &k8s::Container| {
        let map = which(container.resources.as_ref()?)?;
        map.get(resource)?.0.parse::<Quantity>().ok()
    };
    let larger = |one: Option<Quantity>, other: Option<Quantity>| match (one, other) {
        (Some(one), Some(other)) => Some(if one.amount_cmp(other).is_lt() { other } else { one }),
        (one, other) => one.or(other),
    };
    let plus = |one: Option<Quantity>, other: Option<Quantity>| match (one, other) {
        (Some(one), Some(other)) => Some(one + other),
        (one, other) => one.or(other),
    };
    let (mut sidecars, mut before) = (None, None);
    for container in spec.init_containers.iter().flatten() {
        let with = plus(sidecars, amount(container));
        if container.restart_policy.as_deref() == Some("Always") {
            sidecars = with;
        }
        before = larger(before, with);
    }
    let main = spec.containers.iter().map(amount).fold(sidecars, plus);
    larger(main, before)
}
