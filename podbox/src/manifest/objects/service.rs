//! Service: checked as a whole, so that it is right when its time comes.

use std::collections::BTreeSet;
use std::net::IpAddr;

use k8s_openapi::api::core::v1 as k8s;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::Value;

use super::{Stored, metadata, one_of, set};
use crate::pod::field::{Errors, Path};
use crate::pod::names;

const IP: &str = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
const PORT: &str = "must be between 1 and 65535, inclusive";

impl Stored for k8s::Service {
    fn metadata(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }

    fn fill(&mut self) {
        let spec = self.spec.get_or_insert_default();
        set(&mut spec.type_, "ClusterIP");
        set(&mut spec.session_affinity, "None");
        for port in spec.ports.iter_mut().flatten() {
            set(&mut port.protocol, "TCP");
            if matches!(&port.target_port, None | Some(IntOrString::Int(0))) {
                port.target_port = Some(IntOrString::Int(port.port));
            }
        }
        if spec.type_.as_deref() == Some("ExternalName") {
            return;
        }
        set(&mut spec.internal_traffic_policy, "Cluster");
        if matches!(spec.type_.as_deref(), Some("NodePort" | "LoadBalancer")) {
            set(&mut spec.external_traffic_policy, "Cluster");
        }
        match (&spec.cluster_ip, &spec.cluster_ips) {
            (Some(ip), None) => spec.cluster_ips = Some(vec![ip.clone()]),
            (None, Some(ips)) => spec.cluster_ip = ips.first().cloned(),
            _ => {}
        }
    }

    fn check(&self, errors: &mut Errors, path: &Path<'_>) {
        let path = path.field("spec");
        let Some(spec) = &self.spec else { return };
        let kind = spec.type_.as_deref().unwrap_or("");
        let kinds = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
        one_of(errors, &path.field("type"), Some(kind), &kinds);
        let affinity = spec.session_affinity.as_deref();
        one_of(errors, &path.field("sessionAffinity"), affinity, &["ClientIP", "None"]);
        let policies = ["Cluster", "Local"];
        let inside = spec.internal_traffic_policy.as_deref();
        one_of(errors, &path.field("internalTrafficPolicy"), inside, &policies);
        let outside = spec.external_traffic_policy.as_deref();
        one_of(errors, &path.field("externalTrafficPolicy"), outside, &policies);
        metadata::labels(errors, &path.field("selector"), spec.selector.iter().flatten());
        if kind == "ExternalName" {
            external_name(errors, &path, spec);
        } else {
            addresses(errors, &path, spec);
        }
        let is_headless = spec.cluster_ip.as_deref() == Some("None");
        let ports = spec.ports.as_deref().unwrap_or(&[]);
        let path = path.field("ports");
        if ports.is_empty() && !is_headless && kind != "ExternalName" {
            errors.required(&path, "");
        }
        check_ports(errors, &path, (kind, ports));
    }

    fn write(&self) -> Result<Value, serde_json::Error> {
        serde_json::to_value(self)
    }
}

fn external_name(errors: &mut Errors, path: &Path<'_>, spec: &k8s::ServiceSpec) {
    let name = path.field("externalName");
    match spec.external_name.as_deref().unwrap_or("") {
        "" => errors.required(&name, ""),
        text => errors.invalid_all(&name, text, &names::subdomain(text.strip_suffix('.').unwrap_or(text))),
    }
    if spec.cluster_ip.as_deref().is_some_and(|ip| !ip.is_empty()) {
        errors.forbidden(&path.field("clusterIP"), "may not be set when `type` is 'ExternalName'");
    }
}

fn addresses(errors: &mut Errors, path: &Path<'_>, spec: &k8s::ServiceSpec) {
    let ips = spec.cluster_ips.as_deref().unwrap_or(&[]);
    let at = path.field("clusterIPs");
    let single = path.field("clusterIP");
    if let (Some(one), Some(first)) = (&spec.cluster_ip, ips.first())
        && one != first
    {
        errors.invalid(&at, Value::from(ips), "first value must match `clusterIP`");
    }
    if spec.external_name.as_deref().is_some_and(|name| !name.is_empty()) {
        errors.forbidden(&path.field("externalName"), "may only be set when `type` is 'ExternalName'");
    }
    for (index, ip) in ips.iter().enumerate() {
        let at = at.index(index);
        let kind = spec.type_.as_deref().unwrap_or("");
        if ip == "None" && kind != "ClusterIP" {
            errors.invalid(&at, ip, &format!("may not be set to 'None' for {kind} services"));
            errors.blame(&single);
        } else if ip != "None" && !ip.is_empty() && ip.parse::<IpAddr>().is_err() {
            errors.invalid(&at, ip, IP);
            errors.blame(&single);
        }
    }
    let external = path.field("externalIPs");
    for (index, ip) in spec.external_ips.iter().flatten().enumerate() {
        if ip.parse::<IpAddr>().is_err() {
            errors.invalid(&external.index(index), ip, IP);
        }
    }
    let families = path.field("ipFamilies");
    for (index, family) in spec.ip_families.iter().flatten().enumerate() {
        one_of(errors, &families.index(index), Some(family), &["IPv4", "IPv6"]);
    }
    let policies = ["PreferDualStack", "RequireDualStack", "SingleStack"];
    one_of(errors, &path.field("ipFamilyPolicy"), spec.ip_family_policy.as_deref(), &policies);
}

fn check_ports(errors: &mut Errors, path: &Path<'_>, (kind, ports): (&str, &[k8s::ServicePort])) {
    let (mut seen_names, mut seen_ports) = (BTreeSet::new(), BTreeSet::new());
    for (index, port) in ports.iter().enumerate() {
        let path = path.index(index);
        let name = port.name.as_deref().unwrap_or("");
        if name.is_empty() && ports.len() > 1 {
            errors.required(&path.field("name"), "");
        } else if !name.is_empty() {
            errors.invalid_all(&path.field("name"), name, &names::label(name));
            if !seen_names.insert(name) {
                errors.duplicate(&path.field("name"), name);
            }
        }
        if !(1..=65535).contains(&port.port) {
            errors.invalid(&path.field("port"), port.port, PORT);
        }
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        one_of(errors, &path.field("protocol"), Some(protocol), &["SCTP", "TCP", "UDP"]);
        match &port.target_port {
            Some(IntOrString::Int(target)) if !(1..=65535).contains(target) && *target != port.port => {
                errors.invalid(&path.field("targetPort"), *target, PORT);
            }
            Some(IntOrString::String(target)) => {
                errors.invalid_all(&path.field("targetPort"), target, &names::port(target));
            }
            _ => {}
        }
        if kind == "ClusterIP" && port.node_port.unwrap_or(0) != 0 {
            errors.forbidden(&path.field("nodePort"), "may not be used when `type` is 'ClusterIP'");
        }
        if !seen_ports.insert((protocol, port.port)) {
            let shown = format!("{{\"protocol\":{protocol:?},\"port\":{}}}", port.port);
            errors.say(&path, format!("Duplicate value: {shown}"));
        }
    }
}
