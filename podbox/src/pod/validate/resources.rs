//! `resources` of containers and of whole pods, and `resizePolicy`.
//!
//! Source: `validation.go` (ValidateResourceRequirements, validatePodResourceConsistency, validateResizePolicy).

use std::cmp::Ordering;
use std::collections::BTreeSet;

use k8s_openapi::api::core::v1 as k8s;

use super::container::bad_quantity;
use super::{Errors, Path, names, one_of};
use crate::pod::{Quantity, QuantityMap, aggregate};

/// What `spec.resources` may hold.
const OF_PODS: [&str; 3] = ["cpu", "hugepages-", "memory"];
/// Sizes of huge pages that x86-64 has, and their bytes.
const HUGE_PAGES: [(&str, i128); 2] = [("hugepages-2Mi", 2 << 20), ("hugepages-1Gi", 1 << 30)];

/// Checks the resources of a container, or of a pod.
pub(super) fn check(errors: &mut Errors, path: &Path<'_>, resources: &k8s::ResourceRequirements) {
    let empty = QuantityMap::new();
    let limits = resources.limits.as_ref().unwrap_or(&empty);
    let requests = resources.requests.as_ref().unwrap_or(&empty);
    for (field, quantities) in [("limits", limits), ("requests", requests)] {
        let path = path.field(field);
        for (name, text) in quantities {
            // A request that was only filled in from a limit repeats the limit's mistake.
            if field == "limits" || limits.get(name) != Some(text) {
                amount(errors, &path.key(name), name, &text.0);
            }
        }
    }
    for (name, request) in requests {
        request_and_limit(errors, path, (name, &request.0), limits.get(name).map(|limit| limit.0.as_str()));
    }
    let has = |wanted: fn(&str) -> bool| limits.keys().chain(requests.keys()).any(|name| wanted(name));
    if has(|name| name.starts_with("hugepages-")) && !has(|name| matches!(name, "cpu" | "memory")) {
        errors.forbidden(path, "HugePages require cpu or memory");
    }
}

fn amount(errors: &mut Errors, path: &Path<'_>, name: &str, text: &str) {
    if name.contains('/') {
        resource_name(errors, path, name);
    }
    let quantity = match text.parse::<Quantity>() {
        Err(why) => return bad_quantity(errors, path, text, why),
        Ok(quantity) => quantity,
    };
    if quantity.is_negative() {
        errors.invalid(path, text, "must be greater than or equal to 0");
    }
    if name.contains('/') && !quantity.is_whole() {
        errors.invalid(path, text, "must be an integer");
    }
    let page = HUGE_PAGES.iter().find(|(known, _)| *known == name);
    if page.is_some_and(|(_, bytes)| quantity.whole() <= 0 || quantity.whole() % bytes != 0) {
        errors.invalid(path, text, &format!("{text} is not positive integer multiple of {name}"));
    }
}

/// Whether a resource is what a device plugin may offer.
fn resource_name(errors: &mut Errors, path: &Path<'_>, name: &str) {
    let wrong = names::qualified(name);
    errors.invalid_all(path, name, &wrong);
    let kubernetes = name.split('/').next().is_some_and(|domain| domain.contains("kubernetes.io"));
    if wrong.is_empty() && (kubernetes || name.starts_with("requests.")) {
        errors.invalid(path, name, "doesn't follow extended resource name standard");
    }
}

fn request_and_limit(
    errors: &mut Errors,
    path: &Path<'_>,
    (name, request): (&str, &str),
    limit: Option<&str>,
) {
    let shared_out = name.contains('/') || name.starts_with("hugepages-");
    let Some(limit) = limit else {
        if shared_out {
            errors.required(&path.field("limits"), "Limit must be set for non overcommitable resources");
            errors.blame(&path.field("requests").key(name));
        }
        return;
    };
    let (Ok(most), Ok(wanted)) = (limit.parse::<Quantity>(), request.parse::<Quantity>()) else { return };
    let detail = match wanted.amount_cmp(most) {
        Ordering::Equal => return,
        _ if shared_out => format!("must be equal to {name} limit of {limit}"),
        Ordering::Less => return,
        Ordering::Greater => format!("must be less than or equal to {name} limit of {limit}"),
    };
    errors.invalid(&path.field("requests"), request, &detail);
}

/// Checks `spec.resources` and what of it the containers exceed.
pub(super) fn check_pod(errors: &mut Errors, spec_path: &Path<'_>, spec: &k8s::PodSpec) {
    let Some(resources) = &spec.resources else { return };
    let path = spec_path.field("resources");
    for (field, map) in [("limits", &resources.limits), ("requests", &resources.requests)] {
        let path = path.field(field);
        for name in map.iter().flatten().map(|(name, _)| name) {
            if !matches!(name.as_str(), "cpu" | "memory") && !name.starts_with("hugepages-") {
                errors.unsupported(&path.key(name), name, &OF_PODS);
            }
        }
    }
    check(errors, &path, resources);
    for (name, text) in resources.requests.iter().flatten() {
        let (Ok(own), Some(sum)) = (text.0.parse::<Quantity>(), aggregate::requests(spec, name)) else {
            continue;
        };
        if own.amount_cmp(sum).is_lt() {
            let detail = format!("must be greater than or equal to aggregate container requests of {sum}");
            errors.invalid(&path.field("requests").key(name), &text.0, &detail);
        }
    }
    let limits = resources.limits.iter().flatten();
    for (name, text, own) in limits.filter_map(|(name, text)| Some((name, text, text.0.parse().ok()?))) {
        limit_of_the_whole(errors, spec_path, spec, (name, &text.0, own));
    }
}

fn limit_of_the_whole(
    errors: &mut Errors,
    spec_path: &Path<'_>,
    spec: &k8s::PodSpec,
    (name, text, own): (&str, &str, Quantity),
) {
    let path = spec_path.field("resources");
    if name.starts_with("hugepages-")
        && let Some(sum) = aggregate::limits(spec, name).filter(|sum| own.amount_cmp(*sum).is_lt())
    {
        let detail = format!("must be greater than or equal to aggregate container limits of {sum}");
        errors.invalid(&path.field("limits").key(name), text, &detail);
    }
    for (index, container) in spec.containers.iter().enumerate() {
        let limits = container.resources.as_ref().and_then(|resources| resources.limits.as_ref());
        let Some(limit) = limits.and_then(|limits| limits.get(name)) else { continue };
        if limit.0.parse::<Quantity>().is_ok_and(|limit| limit.amount_cmp(own).is_gt()) {
            // The API server's own path, which leads nowhere.
            let reported = path.field("containers");
            let reported = reported.index(index);
            let reported = reported.key(name);
            let detail = format!("must be less than or equal to pod limits of {text}");
            errors.invalid(&reported.field("limits"), &limit.0, &detail);
            let (containers, resources) = (spec_path.field("containers"), "resources");
            let container = containers.index(index);
            errors.blame(&container.field(resources).field("limits").key(name));
        }
    }
}

/// Checks a container's `resizePolicy`.
pub(super) fn check_resize_policy(
    errors: &mut Errors,
    path: &Path<'_>,
    container: &k8s::Container,
    spec: &k8s::PodSpec,
) {
    let path = path.field("resizePolicy");
    let mut seen = BTreeSet::new();
    let policy = container.restart_policy.as_deref().or(spec.restart_policy.as_deref());
    for (index, one) in container.resize_policy.iter().flatten().enumerate() {
        if !seen.insert(one.resource_name.as_str()) {
            errors.duplicate(&path.index(index), &one.resource_name);
        }
        if one.resource_name.is_empty() {
            errors.required(&path, "");
        } else {
            one_of(errors, &path, Some(&one.resource_name), &["cpu", "memory"]);
        }
        if one.restart_policy.is_empty() {
            errors.required(&path, "");
        } else {
            one_of(errors, &path, Some(&one.restart_policy), &["NotRequired", "RestartContainer"]);
        }
        if policy == Some("Never") && one.restart_policy != "NotRequired" {
            let detail = "must be 'NotRequired' when `restartPolicy` is 'Never'";
            errors.invalid(&path, &one.restart_policy, detail);
        }
    }
}
