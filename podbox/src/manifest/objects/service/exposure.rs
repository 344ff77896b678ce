//! How traffic gets to a Service: `validateServiceExternalTrafficPolicy` and what is about load balancers.

use std::net::IpAddr;

use k8s_openapi::api::core::v1 as k8s;

use super::ports::PORT;
use super::{kind, one_of};
use crate::pod::field::{Errors, Path};
use crate::pod::names;

const FOR_BALANCERS: &str = "may only be used when `type` is 'LoadBalancer'";
const RANGE: &str = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
/// The older form of `loadBalancerSourceRanges`, with commas between.
const SOURCE_RANGES: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";

/// Whether others than pods are meant to get there.
pub(super) fn from_outside(spec: &k8s::ServiceSpec) -> bool {
    match kind(spec) {
        "NodePort" | "LoadBalancer" => true,
        "ClusterIP" => spec.external_ips.as_ref().is_some_and(|ips| !ips.is_empty()),
        _ => false,
    }
}

pub(super) fn check(errors: &mut Errors, path: &Path<'_>, spec: &k8s::ServiceSpec) {
    let policies = ["Cluster", "Local"];
    one_of(errors, &path.field("internalTrafficPolicy"), spec.internal_traffic_policy.as_deref(), &policies);
    let outside = path.field("externalTrafficPolicy");
    match spec.external_traffic_policy.as_deref().filter(|policy| !policy.is_empty()) {
        Some(policy) if !from_outside(spec) => {
            errors.invalid(&outside, policy, "may only be set for externally-accessible services");
        }
        policy => one_of(errors, &outside, policy, &policies),
    }
    let distributions = ["PreferClose", "PreferSameNode", "PreferSameZone"];
    if let Some(wish) = spec.traffic_distribution.as_deref().filter(|wish| !distributions.contains(wish)) {
        errors.unsupported(&path.field("trafficDistribution"), wish, &distributions);
    }
    health(errors, &path.field("healthCheckNodePort"), spec);
    let is_balancer = kind(spec) == "LoadBalancer";
    if spec.allocate_load_balancer_node_ports.is_some() && !is_balancer {
        errors.forbidden(&path.field("allocateLoadBalancerNodePorts"), FOR_BALANCERS);
    }
    let class = path.field("loadBalancerClass");
    match &spec.load_balancer_class {
        Some(name) if is_balancer => errors.invalid_all(&class, name, &names::qualified(name)),
        Some(_) => errors.forbidden(&class, FOR_BALANCERS),
        None => {}
    }
}

fn health(errors: &mut Errors, path: &Path<'_>, spec: &k8s::ServiceSpec) {
    let Some(port) = spec.health_check_node_port.filter(|port| *port != 0) else { return };
    let is_local = spec.external_traffic_policy.as_deref() == Some("Local");
    if kind(spec) != "LoadBalancer" || !is_local {
        let why = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
        errors.invalid(path, port, why);
    } else if !(1..=65535).contains(&port) {
        errors.invalid(path, port, PORT);
    }
}

/// The field if it says something, else the annotation.
pub(super) fn source_ranges(errors: &mut Errors, path: &Path<'_>, service: &k8s::Service) {
    let Some(spec) = &service.spec else { return };
    let is_balancer = kind(spec) == "LoadBalancer";
    let ranges = spec.load_balancer_source_ranges.as_deref().unwrap_or(&[]);
    if !ranges.is_empty() {
        let path = path.field("spec");
        // So an API server spells it.
        let (named, written) =
            (path.field("LoadBalancerSourceRanges"), path.field("loadBalancerSourceRanges"));
        if !is_balancer {
            errors.forbidden(&named, FOR_BALANCERS);
            errors.blame(&written);
        }
        for (index, range) in ranges.iter().enumerate().filter(|(_, range)| !is_range(range)) {
            errors.invalid(&named.index(index), range.trim(), RANGE);
            errors.blame(&written.index(index));
        }
        return;
    }
    let annotation = service.metadata.annotations.as_ref().and_then(|all| all.get(SOURCE_RANGES));
    if let Some(text) = annotation {
        let metadata = path.field("metadata");
        let annotations = metadata.field("annotations");
        let at = annotations.key(SOURCE_RANGES);
        if !is_balancer {
            errors.forbidden(&at, FOR_BALANCERS);
        }
        for range in text.split(',').filter(|range| !text.trim().is_empty() && !is_range(range)) {
            errors.invalid(&at, range.trim(), RANGE);
        }
    }
}

/// `ADDRESS/BITS`, with blanks around it.
fn is_range(text: &str) -> bool {
    let Some((address, bits)) = text.trim().split_once('/') else { return false };
    let most = match address.parse() {
        Ok(IpAddr::V4(_)) => 32,
        Ok(IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    bits.bytes().all(|byte| byte.is_ascii_digit()) && bits.parse::<u8>().is_ok_and(|bits| bits <= most)
}
