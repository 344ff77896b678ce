//! Roles, restart rules and hooks.

use k8s_openapi::api::core::v1 as k8s;

use super::resolve_port;
use crate::pod::{Hook, Lifecycle, MessagePolicy, RestartAction, RestartPolicy, RestartRule, Role};

/// What one of `initContainers` is.
pub(super) fn init_role(container: &k8s::Container) -> Role {
    match container.restart_policy.as_deref() {
        Some("Always") => Role::Sidecar,
        _ => Role::Init,
    }
}

pub(super) fn policy(name: Option<&str>) -> RestartPolicy {
    match name {
        Some("Never") => RestartPolicy::Never,
        Some("OnFailure") => RestartPolicy::OnFailure,
        _ => RestartPolicy::Always,
    }
}

pub(super) fn rule(rule: &k8s::ContainerRestartRule) -> RestartRule {
    let codes = rule.exit_codes.as_ref();
    RestartRule {
        all_but: codes.is_some_and(|codes| codes.operator == "NotIn"),
        codes: codes.and_then(|codes| codes.values.clone()).unwrap_or_default(),
        action: match rule.action.as_str() {
            "RestartAllContainers" => RestartAction::RestartAllContainers,
            _ => RestartAction::Restart,
        },
    }
}

pub(super) fn message_policy(container: &k8s::Container) -> MessagePolicy {
    match container.termination_message_policy.as_deref() {
        Some("FallbackToLogsOnError") => MessagePolicy::FallbackToLogsOnError,
        _ => MessagePolicy::File,
    }
}

pub(super) fn lifecycle(container: &k8s::Container) -> Lifecycle {
    let Some(given) = &container.lifecycle else { return Lifecycle::default() };
    let hook = |handler: &Option<k8s::LifecycleHandler>| hook(handler.as_ref()?, container);
    Lifecycle {
        post_start: hook(&given.post_start),
        pre_stop: hook(&given.pre_stop),
        stop_signal: given.stop_signal.clone().filter(|signal| !signal.is_empty()),
    }
}

fn hook(handler: &k8s::LifecycleHandler, container: &k8s::Container) -> Option<Hook> {
    if let Some(exec) = &handler.exec {
        return Some(Hook::Exec(exec.command.clone().unwrap_or_default()));
    }
    if let Some(http) = &handler.http_get {
        return Some(Hook::HttpGet(probes::Call {
            https: http.scheme.as_deref() == Some("HTTPS"),
            host: http.host.clone().filter(|host| !host.is_empty()),
            port: resolve_port(&http.port, container)?,
            path: http.path.clone().unwrap_or_default(),
            headers: (http.http_headers.iter().flatten())
                .map(|header| (header.name.clone(), header.value.clone()))
                .collect(),
        }));
    }
    if let Some(sleep) = &handler.sleep {
        return Some(Hook::Sleep(u64::try_from(sleep.seconds).unwrap_or(0)));
    }
    handler.tcp_socket.as_ref().map(|_| Hook::TcpSocket)
}
