//! `spec.ports`: `validateServicePort`, and what no two of them may share.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1 as k8s;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{is_headless, kind, one_of};
use crate::pod::field::{Errors, Path};
use crate::pod::names;

pub(in super::super) const PORT: &str = "must be between 1 and 65535, inclusive";
/// The kubelet's own port, which an API server keeps load balancers from.
const KUBELET: i32 = 10_250;

pub(super) fn check(errors: &mut Errors, path: &Path<'_>, spec: &k8s::ServiceSpec) {
    let ports = spec.ports.as_deref().unwrap_or(&[]);
    if ports.is_empty() && !is_headless(spec) && kind(spec) != "ExternalName" {
        errors.required(path, "");
    }
    let mut names = BTreeSet::new();
    let (mut own, mut of_host) = (BTreeSet::new(), BTreeSet::new());
    for (index, port) in ports.iter().enumerate() {
        let path = path.index(index);
        name(errors, &path.field("name"), port.name.as_deref().unwrap_or(""), (ports.len(), &mut names));
        one(errors, &path, port);
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        if kind(spec) == "LoadBalancer" && port.port == KUBELET {
            let why = format!("may not expose port {KUBELET} externally since it is used by kubelet");
            errors.invalid(&path, KUBELET, &why);
        }
        if !own.insert((protocol, port.port)) {
            let shown = format!("{{\"protocol\":{protocol:?},\"port\":{}}}", port.port);
            errors.say(&path, format!("Duplicate value: {shown}"));
        }
        let node_port = port.node_port.filter(|number| *number != 0);
        if kind(spec) == "ClusterIP" && node_port.is_some() {
            errors.forbidden(&path.field("nodePort"), "may not be used when `type` is 'ClusterIP'");
        }
        if let Some(number) = node_port.filter(|number| !of_host.insert((protocol, *number))) {
            errors.say(&path.field("nodePort"), format!("Duplicate value: {number}"));
        }
    }
}

fn name<'a>(
    errors: &mut Errors,
    path: &Path<'_>,
    name: &'a str,
    (count, seen): (usize, &mut BTreeSet<&'a str>),
) {
    if name.is_empty() {
        if count > 1 {
            errors.required(path, "");
        }
        return;
    }
    errors.invalid_all(path, name, &names::label(name));
    if !seen.insert(name) {
        errors.duplicate(path, name);
    }
}

fn one(errors: &mut Errors, path: &Path<'_>, port: &k8s::ServicePort) {
    if !(1..=65535).contains(&port.port) {
        errors.invalid(&path.field("port"), port.port, PORT);
    }
    one_of(errors, &path.field("protocol"), port.protocol.as_deref(), &["SCTP", "TCP", "UDP"]);
    match &port.target_port {
        // It follows from `port` if it is not written.
        Some(IntOrString::Int(target)) if !(1..=65535).contains(target) && *target != port.port => {
            errors.invalid(&path.field("targetPort"), *target, PORT);
        }
        Some(IntOrString::String(target)) => {
            errors.invalid_all(&path.field("targetPort"), target, &names::port(target));
        }
        _ => {}
    }
    if let Some(protocol) = &port.app_protocol {
        errors.invalid_all(&path.field("appProtocol"), protocol, &names::qualified(protocol));
    }
}
