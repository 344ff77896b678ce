//! A container's `restartPolicy`, `restartPolicyRules` and `lifecycle`.

use k8s_openapi::api::core::v1 as k8s;

use super::probe::OneHandler;
use super::{Errors, Path, one_of};

const RULES_MAX: usize = 20;
const CODES_MAX: usize = 255;
const ONLY_SIDECARS: &str = "may not be set for init containers without restartPolicy=Always";

/// Checks what holds for every container.
pub(super) fn check(errors: &mut Errors, path: &Path<'_>, container: &k8s::Container, spec: &k8s::PodSpec) {
    restart(errors, path, container);
    let Some(lifecycle) = &container.lifecycle else { return };
    let path = path.field("lifecycle");
    for (name, hook) in [("postStart", &lifecycle.post_start), ("preStop", &lifecycle.pre_stop)] {
        if let Some(hook) = hook {
            handler(errors, &path.field(name), hook, (container, spec));
        }
    }
    if let Some(signal) = lifecycle.stop_signal.as_deref().filter(|signal| !signal.is_empty()) {
        stop_signal(errors, &path.field("stopSignal"), signal, spec);
    }
}

/// Checks what an init container may not have unless it is a sidecar.
pub(super) fn check_init(errors: &mut Errors, path: &Path<'_>, container: &k8s::Container) {
    if container.restart_policy.as_deref() == Some("Always") {
        return;
    }
    for (field, there) in [
        ("lifecycle", container.lifecycle.is_some()),
        ("livenessProbe", container.liveness_probe.is_some()),
        ("readinessProbe", container.readiness_probe.is_some()),
        ("startupProbe", container.startup_probe.is_some()),
    ] {
        if there {
            errors.forbidden(&path.field(field), ONLY_SIDECARS);
        }
    }
}

fn restart(errors: &mut Errors, path: &Path<'_>, container: &k8s::Container) {
    let policy = path.field("restartPolicy");
    let rules = container.restart_policy_rules.as_deref().unwrap_or(&[]);
    if container.restart_policy.is_none() && !rules.is_empty() {
        errors.required(&policy, "must specify restartPolicy when restart rules are used");
    }
    one_of(errors, &policy, container.restart_policy.as_deref(), &["Always", "Never", "OnFailure"]);
    let path = path.field("restartPolicyRules");
    if rules.len() > RULES_MAX {
        errors.too_many(&path, rules.len(), RULES_MAX);
    }
    for (index, rule) in rules.iter().enumerate() {
        let path = path.index(index);
        one_of(errors, &path.field("action"), Some(&rule.action), &["Restart", "RestartAllContainers"]);
        let path = path.field("exitCodes");
        let Some(codes) = &rule.exit_codes else {
            errors.required(&path, "must be specified");
            continue;
        };
        one_of(errors, &path.field("operator"), Some(&codes.operator), &["In", "NotIn"]);
        let count = codes.values.as_ref().map_or(0, Vec::len);
        if count > CODES_MAX {
            errors.too_many(&path.field("values"), count, CODES_MAX);
        }
    }
}

fn handler(
    errors: &mut Errors,
    path: &Path<'_>,
    hook: &k8s::LifecycleHandler,
    (container, spec): (&k8s::Container, &k8s::PodSpec),
) {
    let mut one = OneHandler::default();
    let common = (hook.exec.as_ref(), hook.http_get.as_ref(), hook.tcp_socket.as_ref());
    one.check_common(errors, path, common, container);
    if let Some(sleep) = &hook.sleep {
        let path = path.field("sleep");
        let grace = spec.termination_grace_period_seconds.unwrap_or(30);
        if one.is_first(errors, &path) && !(0..=grace).contains(&sleep.seconds) {
            let detail =
                format!("must be non-negative and less than terminationGracePeriodSeconds ({grace})");
            errors.invalid(&path, sleep.seconds, &detail);
        }
    }
    one.check_given(errors, path, "give one of exec, httpGet, sleep");
}

fn stop_signal(errors: &mut Errors, path: &Path<'_>, signal: &str, spec: &k8s::PodSpec) {
    if spec.os.as_ref().is_none_or(|os| os.name.is_empty()) {
        errors.forbidden(path, "may not be set for containers with empty `spec.os.name`");
        errors.hint("add os: {name: linux} to the spec");
        return;
    }
    let known = signals();
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    one_of(errors, path, Some(signal), &known);
}

/// Linux's signals as the API spells them, sorted.
fn signals() -> Vec<String> {
    const NAMED: [&str; 35] = [
        "ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT", "KILL",
        "PIPE", "POLL", "PROF", "PWR", "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP",
        "TTIN", "TTOU", "URG", "USR1", "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ", "RTMIN",
    ];
    let named = NAMED.iter().map(|name| format!("SIG{name}"));
    let from_min = (1..=15).map(|more| format!("SIGRTMIN+{more}"));
    let from_max = (1..=14).map(|less| format!("SIGRTMAX-{less}"));
    let mut all: Vec<String> = named.chain(from_min).chain(from_max).collect();
    all.push("SIGRTMAX".to_owned());
    all.sort();
    all
}

#[cfg(test)]
#[path = "life_tests.rs"]
mod tests;
