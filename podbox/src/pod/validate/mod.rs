//! The API server's checks of a Pod, in its words, all mistakes together.
//!
//! The rules follow `pkg/apis/core/validation/validation.go`, as far as they concern fields that podbox
//! honours. They look at the defaulted object, as the API server's do.

mod confinement;
mod container;
mod env;
mod ephemeral;
mod life;
mod mounts;
pub(crate) mod names;
mod probe;
mod resources;
mod scheduling;
mod security;
mod selector;
mod volume;
pub(crate) mod volume_source;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use k8s_openapi::api::core::v1 as k8s;

use super::field::{Errors, FieldError, Path};
use super::interfaces;

const IP: &str = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
/// What `activeDeadlineSeconds` may be.
const DEADLINES: std::ops::RangeInclusive<i64> = 1..=i32::MAX as i64;
const HOSTNAME_OVERRIDE_MAX: usize = 64;
const ANNOTATIONS_MAX: usize = 256 * 1024;
/// What the API server still turns into `appArmorProfile`, for the container whose name follows.
pub(crate) const APPARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";

/// All that is wrong with a defaulted Pod that stands at `path`.
pub(crate) fn pod(pod: &k8s::Pod, path: &Path<'_>) -> Vec<FieldError> {
    let mut errors = Errors::default();
    metadata(&mut errors, &path.field("metadata"), pod);
    let spec_path = path.field("spec");
    match &pod.spec {
        Some(spec) => check_spec(&mut errors, &spec_path, spec),
        None => errors.required(&spec_path.field("containers"), ""),
    }
    errors.into_vec()
}

fn metadata(errors: &mut Errors, path: &Path<'_>, pod: &k8s::Pod) {
    let meta = &pod.metadata;
    match meta.name.as_deref().unwrap_or("") {
        // That it is not supported is said where it stands.
        "" if meta.generate_name.as_deref().is_some_and(|prefix| !prefix.is_empty()) => {}
        "" => errors.required(&path.field("name"), "name or generateName is required"),
        name => errors.invalid_all(&path.field("name"), name, &names::subdomain(name)),
    }
    let namespace = meta.namespace.as_deref().unwrap_or("");
    errors.invalid_all(&path.field("namespace"), namespace, &names::label(namespace));
    selector::labels(errors, &path.field("labels"), meta.labels.iter().flatten());
    let annotations = path.field("annotations");
    let mut size = 0;
    for (key, value) in meta.annotations.iter().flatten() {
        errors.invalid_all(&annotations, key, &names::qualified(&key.to_lowercase()));
        size += key.len() + value.len();
        confinement::check_annotation(errors, &annotations, pod, key, value);
    }
    for wrong in
        interfaces::read(meta.annotations.as_ref().unwrap_or(&BTreeMap::new())).err().unwrap_or_default()
    {
        let value = meta.annotations.as_ref().and_then(|all| all.get(wrong.key)).map_or("", String::as_str);
        errors.invalid(&annotations.key(wrong.key), value, &wrong.detail);
    }
    if size > ANNOTATIONS_MAX {
        errors.too_long(&annotations, &format!("may not be more than {ANNOTATIONS_MAX} bytes"));
    }
}

fn check_spec(errors: &mut Errors, path: &Path<'_>, spec: &k8s::PodSpec) {
    one_of(
        errors,
        &path.field("restartPolicy"),
        spec.restart_policy.as_deref(),
        &["Always", "OnFailure", "Never"],
    );
    if let Some(seconds) = spec.active_deadline_seconds.filter(|seconds| !DEADLINES.contains(seconds)) {
        let detail = format!("must be between 1 and {}, inclusive", i32::MAX);
        errors.invalid(&path.field("activeDeadlineSeconds"), seconds, &detail);
    }
    let gates = path.field("readinessGates");
    for (index, gate) in spec.readiness_gates.iter().flatten().enumerate() {
        let kind = gate.condition_type.as_str();
        let path = gates.index(index);
        errors.invalid_all(&path.field("conditionType"), kind, &names::qualified(kind));
    }
    for (field, value) in [("hostname", &spec.hostname), ("subdomain", &spec.subdomain)] {
        if let Some(name) = value.as_deref().filter(|name| !name.is_empty()) {
            errors.invalid_all(&path.field(field), name, &names::label(name));
        }
    }
    node(errors, path, spec);
    scheduling::check(errors, path, spec);
    if let Some(account) = &spec.service_account_name {
        errors.invalid_all(&path.field("serviceAccountName"), account, &names::subdomain(account));
    }
    dns(errors, path, spec);
    host_aliases(errors, &path.field("hostAliases"), spec);
    let all = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    let names: Vec<&str> = all.map(|container| container.name.as_str()).collect();
    let volumes = spec.volumes.as_deref().unwrap_or(&[]);
    let volumes = volume::check_all(errors, &path.field("volumes"), volumes, &names);
    security::check_pod(errors, path, spec);
    resources::check_pod(errors, path, spec);
    container::check_all(errors, path, spec, &volumes);
}

/// Checks what names the pod to its kernel, and what kind of node it needs.
fn node(errors: &mut Errors, path: &Path<'_>, spec: &k8s::PodSpec) {
    if let Some(name) = &spec.hostname_override {
        let path = path.field("hostnameOverride");
        errors.invalid_all(&path, name, &names::subdomain(name));
        if name.len() > HOSTNAME_OVERRIDE_MAX {
            errors.too_long(&path, &format!("may not be more than {HOSTNAME_OVERRIDE_MAX} bytes"));
        }
        let others = [("hostNetwork", spec.host_network), ("setHostnameAsFQDN", spec.set_hostname_as_fqdn)];
        for (other, _) in others.iter().filter(|(_, value)| *value == Some(true)) {
            errors.forbidden(&path, &format!("may not be specified when `{other}` is true"));
        }
    }
    if let Some(os) = &spec.os {
        let path = path.field("os");
        match os.name.as_str() {
            "" => errors.required(&path.field("name"), "cannot be empty"),
            "linux" => {}
            "windows" => errors.forbidden(&path.field("name"), "a Linux node runs no pods for windows"),
            other => errors.unsupported(&path.field("name"), other, &["linux", "windows"]),
        }
    }
    if let Some(class) = &spec.runtime_class_name {
        let path = path.field("runtimeClassName");
        let wrong = names::subdomain(class);
        errors.invalid_all(&path, class, &wrong);
        if wrong.is_empty() {
            // What the admission plugin says where nobody has made one, as here nobody can.
            errors.forbidden(&path, &format!("pod rejected: RuntimeClass \"{class}\" not found"));
        }
    }
}

/// Checks that a field has one of its values; a field that is not there is not checked.
fn one_of(errors: &mut Errors, path: &Path<'_>, value: Option<&str>, supported: &[&str]) {
    if let Some(value) = value.filter(|value| !supported.contains(value)) {
        errors.unsupported(path, value, supported);
    }
}

fn host_aliases(errors: &mut Errors, path: &Path<'_>, spec: &k8s::PodSpec) {
    for (index, alias) in spec.host_aliases.iter().flatten().enumerate() {
        let path = path.index(index);
        if alias.ip.parse::<IpAddr>().is_err() {
            errors.invalid(&path.field("ip"), &alias.ip, IP);
        }
        let hostnames = path.field("hostnames");
        for (index, name) in alias.hostnames.iter().flatten().enumerate() {
            errors.invalid_all(&hostnames.index(index), name, &names::subdomain(name));
        }
    }
}

fn dns(errors: &mut Errors, path: &Path<'_>, spec: &k8s::PodSpec) {
    one_of(
        errors,
        &path.field("dnsPolicy"),
        spec.dns_policy.as_deref(),
        &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"],
    );
    let none = spec.dns_policy.as_deref() == Some("None");
    let policy = path.field("dnsPolicy");
    let path = path.field("dnsConfig");
    let Some(config) = &spec.dns_config else {
        if none {
            errors.required(&path, "must provide `dnsConfig` when `dnsPolicy` is None");
            errors.blame(&policy);
        }
        return;
    };
    let nameservers = config.nameservers.as_deref().unwrap_or(&[]);
    let nameservers_path = path.field("nameservers");
    if none && nameservers.is_empty() {
        let detail = "must provide at least one DNS nameserver when `dnsPolicy` is None";
        errors.required(&nameservers_path, detail);
    }
    if nameservers.len() > 3 {
        let shown = serde_json::Value::from(nameservers);
        errors.invalid(&nameservers_path, shown, "must not have more than 3 nameservers");
    }
    for (index, server) in nameservers.iter().enumerate() {
        if server.parse::<IpAddr>().is_err() {
            errors.invalid(&nameservers_path.index(index), server, IP);
        }
    }
    searches(errors, &path.field("searches"), config.searches.as_deref().unwrap_or(&[]));
    let options = path.field("options");
    for (index, option) in config.options.iter().flatten().enumerate() {
        if option.name.as_deref().unwrap_or("").is_empty() {
            errors.required(&options.index(index), "must not be empty");
        }
    }
}

fn searches(errors: &mut Errors, path: &Path<'_>, searches: &[String]) {
    let shown = || serde_json::Value::from(searches);
    if searches.len() > 32 {
        errors.invalid(path, shown(), "must not have more than 32 search paths");
    }
    if searches.join(" ").len() > 2048 {
        let detail = "must not have more than 2048 characters (including spaces) in the search list";
        errors.invalid(path, shown(), detail);
    }
    for (index, search) in searches.iter().enumerate().filter(|(_, search)| *search != ".") {
        let name = search.strip_suffix('.').unwrap_or(search);
        errors.invalid_all(&path.index(index), search, &names::search_path(name));
    }
}

/// Checks that a name is new among its siblings.
fn unique<'n>(errors: &mut Errors, path: &Path<'_>, name: &'n str, seen: &mut BTreeSet<&'n str>) {
    if !name.is_empty() && !seen.insert(name) {
        errors.duplicate(path, name);
    }
}

#[cfg(test)]
mod tests;
