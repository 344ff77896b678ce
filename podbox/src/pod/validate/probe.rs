//! `livenessProbe`, `readinessProbe`, `startupProbe`.

use k8s_openapi::api::core::v1 as k8s;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{Errors, Path, names, one_of};

pub(super) const PORT: &str = "must be between 1 and 65535, inclusive";

/// Checks a container's three probes.
pub(super) fn check_all(errors: &mut Errors, path: &Path<'_>, container: &k8s::Container) {
    for (name, probe) in [
        ("livenessProbe", &container.liveness_probe),
        ("readinessProbe", &container.readiness_probe),
        ("startupProbe", &container.startup_probe),
    ] {
        let Some(probe) = probe else { continue };
        let path = path.field(name);
        numbers(errors, &path, name, probe);
        handler(errors, &path, probe, container);
    }
}

fn numbers(errors: &mut Errors, path: &Path<'_>, name: &str, probe: &k8s::Probe) {
    for (field, value) in [
        ("initialDelaySeconds", probe.initial_delay_seconds),
        ("timeoutSeconds", probe.timeout_seconds),
        ("periodSeconds", probe.period_seconds),
        ("successThreshold", probe.success_threshold),
        ("failureThreshold", probe.failure_threshold),
    ] {
        if let Some(value) = value.filter(|value| *value < 0) {
            errors.invalid(&path.field(field), value, "must be greater than or equal to 0");
        }
    }
    let readiness = name == "readinessProbe";
    if let Some(successes) = probe.success_threshold.filter(|n| *n != 1 && !readiness) {
        errors.invalid(&path.field("successThreshold"), successes, "must be 1");
    }
    let grace_path = path.field("terminationGracePeriodSeconds");
    match probe.termination_grace_period_seconds {
        Some(grace) if readiness => {
            errors.invalid(&grace_path, grace, "must not be set for readinessProbes");
        }
        Some(grace) if grace <= 0 => errors.invalid(&grace_path, grace, "must be greater than 0"),
        _ => {}
    }
}

fn handler(errors: &mut Errors, path: &Path<'_>, probe: &k8s::Probe, container: &k8s::Container) {
    let mut one = false;
    let mut first = |errors: &mut Errors, path: &Path<'_>| {
        if std::mem::replace(&mut one, true) {
            errors.forbidden(path, "may not specify more than 1 handler type");
            return false;
        }
        true
    };
    if let Some(exec) = &probe.exec {
        let path = path.field("exec");
        if first(errors, &path) && exec.command.as_deref().unwrap_or(&[]).is_empty() {
            errors.required(&path.field("command"), "");
        }
    }
    if let Some(http) = &probe.http_get {
        let path = path.field("httpGet");
        if first(errors, &path) {
            http_get(errors, &path, http, container);
        }
    }
    if let Some(tcp) = &probe.tcp_socket {
        let path = path.field("tcpSocket");
        if first(errors, &path) {
            port(errors, &path.field("port"), &tcp.port, container);
        }
    }
    if let Some(grpc) = &probe.grpc {
        let path = path.field("grpc");
        // Its port is a number; the type of the field says so, and names do not get here.
        if first(errors, &path) {
            port(errors, &path.field("port"), &IntOrString::Int(grpc.port), container);
        }
    }
    if !one {
        errors.required(path, "must specify a handler type");
        errors.hint("give one of exec, httpGet, tcpSocket, grpc");
    }
}

pub(super) fn http_get(
    errors: &mut Errors,
    path: &Path<'_>,
    http: &k8s::HTTPGetAction,
    container: &k8s::Container,
) {
    if http.path.as_deref().unwrap_or("").is_empty() {
        errors.required(&path.field("path"), "");
    }
    port(errors, &path.field("port"), &http.port, container);
    one_of(errors, &path.field("scheme"), http.scheme.as_deref(), &["HTTP", "HTTPS"]);
    let headers = path.field("httpHeaders");
    for (index, header) in http.http_headers.iter().flatten().enumerate() {
        let path = headers.index(index);
        errors.invalid_all(&path.field("name"), &header.name, &names::header(&header.name));
    }
}

pub(super) fn port(errors: &mut Errors, path: &Path<'_>, port: &IntOrString, container: &k8s::Container) {
    match port {
        IntOrString::Int(number) if !(1..=65535).contains(number) => errors.invalid(path, *number, PORT),
        IntOrString::Int(_) => {}
        IntOrString::String(name) => {
            let wrong = names::port(name);
            if !wrong.is_empty() {
                errors.invalid_all(path, name, &wrong);
                if name.parse::<u16>().is_ok() {
                    errors.hint(format!("a port's number stands without quotes: {name}"));
                }
                return;
            }
            let ports = container.ports.as_deref().unwrap_or(&[]);
            if !ports.iter().any(|port| port.name.as_ref() == Some(name)) {
                // The API server lets this pass and every probe then fails: better said at once.
                errors.not_found(path, name);
                let mut known = ports.iter().filter_map(|port| port.name.as_deref()).peekable();
                if known.peek().is_none() {
                    errors.hint(format!("no port of container {} has a name", container.name));
                } else {
                    errors.hint_names(&format!("container {} names the ports", container.name), known);
                }
            }
        }
    }
}
