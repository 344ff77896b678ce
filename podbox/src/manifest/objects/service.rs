//! Service: `SetDefaults_Service` and `ValidateService`.

pub(super) mod addresses;
mod exposure;
pub(super) mod ports;

use k8s_openapi::api::core::v1 as k8s;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::Value;

use super::{Stored, metadata, one_of, set};
use crate::pod::field::{Errors, Path};
use crate::pod::names;

/// What a client's stay takes by default and at most, in seconds.
const AFFINITY: i32 = 10_800;
const LONGEST_AFFINITY: i32 = 86_400;

/// Two annotations that mean the same; the second is the older one.
const TOPOLOGY: [&str; 2] =
    ["service.kubernetes.io/topology-mode", "service.kubernetes.io/topology-aware-hints"];

/// `spec.type`, which is never unset once defaults are filled in.
fn kind(spec: &k8s::ServiceSpec) -> &str {
    spec.type_.as_deref().unwrap_or("")
}

fn is_headless(spec: &k8s::ServiceSpec) -> bool {
    matches!(spec.cluster_ips.as_deref(), Some([only]) if only == "None")
}

fn says_something(text: &Option<String>) -> bool {
    text.as_deref().is_some_and(|text| !text.is_empty())
}

impl Stored for k8s::Service {
    fn metadata(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }

    fn fill(&mut self) {
        let spec = self.spec.get_or_insert_default();
        set(&mut spec.type_, "ClusterIP");
        set(&mut spec.session_affinity, "None");
        if spec.session_affinity.as_deref() == Some("ClientIP") {
            let config = spec.session_affinity_config.get_or_insert_default();
            config.client_ip.get_or_insert_default().timeout_seconds.get_or_insert(AFFINITY);
        }
        for port in spec.ports.iter_mut().flatten() {
            set(&mut port.protocol, "TCP");
            let unset = match &port.target_port {
                None | Some(IntOrString::Int(0)) => true,
                Some(IntOrString::Int(_)) => false,
                Some(IntOrString::String(name)) => name.is_empty(),
            };
            if unset {
                port.target_port = Some(IntOrString::Int(port.port));
            }
        }
        if exposure::from_outside(spec) {
            set(&mut spec.external_traffic_policy, "Cluster");
        }
        if matches!(kind(spec), "ClusterIP" | "NodePort" | "LoadBalancer") {
            spec.internal_traffic_policy.get_or_insert_with(|| "Cluster".to_owned());
        }
        if kind(spec) == "LoadBalancer" {
            spec.allocate_load_balancer_node_ports.get_or_insert(true);
        }
        addresses::fill(spec);
    }

    fn check(&self, errors: &mut Errors, path: &Path<'_>) {
        topology(errors, &path.field("metadata").field("annotations"), &self.metadata);
        exposure::source_ranges(errors, path, self);
        let path = path.field("spec");
        let Some(spec) = &self.spec else { return };
        let kinds = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
        one_of(errors, &path.field("type"), Some(kind(spec)), &kinds);
        metadata::labels(errors, &path.field("selector"), spec.selector.iter().flatten());
        affinity(errors, &path, spec);
        if kind(spec) == "ExternalName" {
            external_name(errors, &path, spec);
        } else {
            addresses::check(errors, &path, spec);
        }
        addresses::external(errors, &path.field("externalIPs"), spec);
        ports::check(errors, &path.field("ports"), spec);
        exposure::check(errors, &path, spec);
    }

    fn warn(&self, warnings: &mut Errors, path: &Path<'_>) {
        let path = path.field("spec");
        let Some(spec) = &self.spec else { return };
        let mut ignored = |field: &str, is_there: bool, why: &str| {
            if is_there {
                warnings.say(&path.field(field), format!("{why}: ignored"));
            }
        };
        let of_nobody =
            spec.session_affinity_config.is_some() && spec.session_affinity.as_deref() == Some("None");
        ignored("sessionAffinityConfig", of_nobody, "it means something with sessionAffinity: ClientIP only");
        let name = says_something(&spec.external_name) && kind(spec) != "ExternalName";
        ignored("externalName", name, "it means something with type: ExternalName only");
        let balancer = "there is no load balancer in front of this host";
        ignored("loadBalancerIP", says_something(&spec.load_balancer_ip), balancer);
        let ranges = spec.load_balancer_source_ranges.as_ref().is_some_and(|ranges| !ranges.is_empty());
        ignored("loadBalancerSourceRanges", ranges, &format!("{balancer} that would keep others out"));
        let health = spec.health_check_node_port.unwrap_or(0) != 0;
        ignored("healthCheckNodePort", health, &format!("{balancer} that would ask there"));
    }

    fn write(&self) -> Result<Value, serde_json::Error> {
        let mut object = serde_json::to_value(self)?;
        if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut)
            && spec.get("sessionAffinity").is_some_and(|affinity| affinity == "None")
        {
            spec.remove("sessionAffinityConfig");
        }
        Ok(object)
    }
}

fn topology(errors: &mut Errors, path: &Path<'_>, metadata: &ObjectMeta) {
    let [newer, older] = TOPOLOGY.map(|key| metadata.annotations.as_ref().and_then(|all| all.get(key)));
    if let (Some(newer), Some(older)) = (newer, older)
        && newer != older
    {
        let why = format!("must match annotations[{}] when both are specified", TOPOLOGY[1]);
        errors.invalid(&path.key(TOPOLOGY[0]), newer, &why);
    }
}

fn affinity(errors: &mut Errors, path: &Path<'_>, spec: &k8s::ServiceSpec) {
    let affinity = spec.session_affinity.as_deref();
    one_of(errors, &path.field("sessionAffinity"), affinity, &["ClientIP", "None"]);
    if affinity != Some("ClientIP") {
        return;
    }
    let client = spec.session_affinity_config.as_ref().and_then(|config| config.client_ip.as_ref());
    let seconds = client.and_then(|client| client.timeout_seconds);
    if let Some(seconds) = seconds.filter(|seconds| !(1..=LONGEST_AFFINITY).contains(seconds)) {
        let config = path.field("sessionAffinityConfig");
        let why = format!("must be greater than 0 and less than or equal to {LONGEST_AFFINITY}");
        errors.invalid(&config.field("clientIP").field("timeoutSeconds"), seconds, &why);
    }
}

fn external_name(errors: &mut Errors, path: &Path<'_>, spec: &k8s::ServiceSpec) {
    let name = path.field("externalName");
    // It may be written as a whole one, with a dot at its end.
    match spec.external_name.as_deref().map_or("", |name| name.strip_suffix('.').unwrap_or(name)) {
        "" => errors.required(&name, ""),
        text => errors.invalid_all(&name, text, &names::subdomain(text)),
    }
    const NOT_SET: &str = "may not be set for ExternalName services";
    if spec.cluster_ips.is_some() {
        errors.forbidden(&path.field("clusterIPs"), NOT_SET);
        if says_something(&spec.cluster_ip) {
            errors.blame(&path.field("clusterIP"));
        }
    }
    if spec.ip_families.as_ref().is_some_and(|families| !families.is_empty()) {
        errors.forbidden(&path.field("ipFamilies"), NOT_SET);
    }
    if spec.ip_family_policy.is_some() {
        errors.forbidden(&path.field("ipFamilyPolicy"), NOT_SET);
    }
}
