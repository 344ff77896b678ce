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
    let mut one = OneHandler::default();
    let common = (probe.exec.as_ref(), probe.http_get.as_ref(), probe.tcp_socket.as_ref());
    one.check_common(errors, path, common, container);
    if let Some(grpc) = &probe.grpc {
        let path = path.field("grpc");
        // Its port is a number; the type of the field says so, and names do not get here.
        if one.is_first(errors, &path) {
            port(errors, &path.field("port"), &IntOrString::Int(grpc.port), container);
        }
    }
    one.check_given(errors, path, "give one of exec, httpGet, tcpSocket, grpc");
}

/// Probes and hooks have exactly one handler.
#[derive(Default)]
pub(super) struct OneHandler {
    given: bool,
}

/// The handlers that probes and hooks have in common.
pub(super) type CommonHandlers<'a> =
    (Option<&'a k8s::ExecAction>, Option<&'a k8s::HTTPGetAction>, Option<&'a k8s::TCPSocketAction>);

impl OneHandler {
    /// Whether the handler at `path` is the first one; a later one is a mistake, and is looked at no further.
    pub(super) fn is_first(&mut self, errors: &mut Errors, path: &Path<'_>) -> bool {
        if std::mem::replace(&mut self.given, true) {
            errors.forbidden(path, "may not specify more than 1 handler type");
            return false;
        }
        true
    }

    /// Checks the handlers that may stand both in a probe and in a hook.
    pub(super) fn check_common(
        &mut self,
        errors: &mut Errors,
        path: &Path<'_>,
        (exec, http, tcp): CommonHandlers<'_>,
        container: &k8s::Container,
    ) {
        if let Some(exec) = exec {
            let path = path.field("exec");
            if self.is_first(errors, &path) && exec.command.as_deref().unwrap_or(&[]).is_empty() {
                errors.required(&path.field("command"), "");
            }
        }
        if let Some(http) = http {
            let path = path.field("httpGet");
            if self.is_first(errors, &path) {
                http_get(errors, &path, http, container);
            }
        }
        if let Some(tcp) = tcp {
            let path = path.field("tcpSocket");
            if self.is_first(errors, &path) {
                port(errors, &path.field("port"), &tcp.port, container);
            }
        }
    }

    /// To be called last: none at all is a mistake too.
    pub(super) fn check_given(&self, errors: &mut Errors, path: &Path<'_>, hint: &str) {
        if !self.given {
            errors.required(path, "must specify a handler type");
            errors.hint(hint);
        }
    }
}

fn http_get(errors: &mut Errors, path: &Path<'_>, http: &k8s::HTTPGetAction, container: &k8s::Container) {
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

fn port(errors: &mut Errors, path: &Path<'_>, port: &IntOrString, container: &k8s::Container) {
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
