//! `spec.containers`.

use std::collections::BTreeSet;
use std::net::IpAddr;

use k8s_openapi::api::core::v1 as k8s;

use super::{Errors, Path, env, life, mounts, names, one_of, probe, resources, security, unique, volume};
use crate::pod::quantity::InvalidQuantity;

/// Checks all containers; `volumes` are the names of the pod's volumes.
pub(super) fn check_all(errors: &mut Errors, path: &Path<'_>, spec: &k8s::PodSpec, volumes: &BTreeSet<&str>) {
    let init = spec.init_containers.as_deref().unwrap_or(&[]);
    let names = spec.containers.iter().chain(init).map(|container| container.name.as_str()).collect();
    let around = Around { spec, volumes, names };
    let mut seen = BTreeSet::new();
    let mut host_ports = BTreeSet::new();
    let containers = path.field("containers");
    if spec.containers.is_empty() {
        errors.required(&containers, "");
    }
    for (index, container) in spec.containers.iter().enumerate() {
        let path = containers.index(index);
        unique(errors, &path.field("name"), &container.name, &mut seen);
        check(errors, &path, container, &around);
        host_port_conflicts(errors, &path.field("ports"), container, &mut host_ports);
    }
    let containers = path.field("initContainers");
    for (index, container) in init.iter().enumerate() {
        let path = containers.index(index);
        unique(errors, &path.field("name"), &container.name, &mut seen);
        check(errors, &path, container, &around);
        life::check_init(errors, &path, container);
        // They run one by one, so that only their own ports can be in each other's way.
        host_port_conflicts(errors, &path.field("ports"), container, &mut BTreeSet::new());
    }
}

/// What a container's fields may refer to.
struct Around<'a> {
    spec: &'a k8s::PodSpec,
    volumes: &'a BTreeSet<&'a str>,
    names: Vec<&'a str>,
}

fn check(errors: &mut Errors, path: &Path<'_>, container: &k8s::Container, around: &Around<'_>) {
    match container.name.as_str() {
        "" => errors.required(&path.field("name"), ""),
        text => errors.invalid_all(&path.field("name"), text, &names::label(text)),
    }
    basics(errors, path, container);
    ports(errors, &path.field("ports"), container, around.spec);
    let volumes = around.spec.volumes.as_deref().unwrap_or(&[]);
    let of_env = env::Around { containers: &around.names, volumes };
    env::check(errors, &path.field("env"), container.env.as_deref().unwrap_or(&[]), &of_env);
    env::check_from(errors, &path.field("envFrom"), container.env_from.as_deref().unwrap_or(&[]));
    if let Some(resources) = &container.resources {
        resources::check(errors, &path.field("resources"), resources);
        resources::check_resize_policy(errors, path, container, around.spec);
    }
    let list = container.volume_mounts.as_deref().unwrap_or(&[]);
    volume::check_mounts(errors, &path.field("volumeMounts"), list, around.volumes);
    mounts::check(errors, &path.field("volumeMounts"), container);
    probe::check_all(errors, path, container);
    life::check(errors, path, container, around.spec);
    if let Some(context) = &container.security_context {
        security::check_container(errors, &path.field("securityContext"), context, around.spec);
    }
}

fn basics(errors: &mut Errors, path: &Path<'_>, container: &k8s::Container) {
    let image = container.image.as_deref().unwrap_or("");
    if image.is_empty() {
        errors.required(&path.field("image"), "");
    } else if image.trim() != image {
        errors.invalid(&path.field("image"), image, "must not have leading or trailing whitespace");
    }
    one_of(
        errors,
        &path.field("imagePullPolicy"),
        container.image_pull_policy.as_deref(),
        &["Always", "IfNotPresent", "Never"],
    );
    one_of(
        errors,
        &path.field("terminationMessagePolicy"),
        container.termination_message_policy.as_deref(),
        &["File", "FallbackToLogsOnError"],
    );
}

fn ports(errors: &mut Errors, path: &Path<'_>, container: &k8s::Container, spec: &k8s::PodSpec) {
    let host_network = spec.host_network == Some(true);
    let mut seen = BTreeSet::new();
    for (index, port) in container.ports.iter().flatten().enumerate() {
        let path = path.index(index);
        if let Some(name) = port.name.as_deref().filter(|name| !name.is_empty()) {
            let wrong = names::port(name);
            errors.invalid_all(&path.field("name"), name, &wrong);
            if wrong.is_empty() {
                unique(errors, &path.field("name"), name, &mut seen);
            }
        }
        match port.container_port {
            0 => errors.required(&path.field("containerPort"), ""),
            1..=65535 => {}
            other => errors.invalid(&path.field("containerPort"), other, probe::PORT),
        }
        let host_port = port.host_port.unwrap_or(0);
        if !(0..=65535).contains(&host_port) {
            errors.invalid(&path.field("hostPort"), host_port, probe::PORT);
        } else if host_network && host_port != port.container_port {
            let detail = "must match `containerPort` when `hostNetwork` is true";
            errors.invalid(&path.field("hostPort"), host_port, detail);
        }
        one_of(errors, &path.field("protocol"), port.protocol.as_deref(), &["SCTP", "TCP", "UDP"]);
        let host_ip = port.host_ip.as_deref().filter(|ip| !ip.is_empty());
        if let Some(ip) = host_ip.filter(|ip| ip.parse::<IpAddr>().is_err()) {
            errors.invalid(&path.field("hostIP"), ip, super::IP);
        }
    }
}

fn host_port_conflicts(
    errors: &mut Errors,
    path: &Path<'_>,
    container: &k8s::Container,
    seen: &mut BTreeSet<String>,
) {
    for (index, port) in container.ports.iter().flatten().enumerate() {
        let Some(number) = port.host_port.filter(|number| *number > 0) else { continue };
        let (protocol, ip) = (port.protocol.as_deref().unwrap_or(""), port.host_ip.as_deref().unwrap_or(""));
        let key = format!("{protocol}/{ip}/{number}");
        if seen.contains(&key) {
            errors.duplicate(&path.index(index).field("hostPort"), &key);
        } else {
            seen.insert(key);
        }
    }
}

/// Reports a text that is no quantity, and guesses what was meant.
pub(super) fn bad_quantity(errors: &mut Errors, path: &Path<'_>, text: &str, why: InvalidQuantity) {
    errors.invalid(path, text, &why.to_string());
    let text = text.trim();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic() || c.is_whitespace());
    let suffix = text[digits.len()..].trim().to_ascii_lowercase();
    let meant = match suffix.as_str() {
        "k" | "kb" => "k",
        "ki" | "kib" => "Ki",
        "mb" => "M",
        "mi" | "mib" => "Mi",
        "g" | "gb" => "G",
        "gi" | "gib" => "Gi",
        "t" | "tb" => "T",
        "ti" | "tib" => "Ti",
        _ => return errors.hint("write it like 500m, 2, 64Mi or 1.5Gi"),
    };
    errors.hint(format!("did you mean {}{meant}?", digits.trim()));
}
