//! Profiles of seccomp and AppArmor, `procMount`, and the user namespace: what a pod is kept in by.

use k8s_openapi::api::core::v1 as k8s;

use super::{APPARMOR, Errors, Path, one_of};

const TYPES: [&str; 3] = ["Localhost", "RuntimeDefault", "Unconfined"];
/// The longest path that the kernel takes, without its end.
const PROFILE_MAX: usize = 4095;
const USERS: &str = "when `hostUsers` is false";

/// What pod and containers have in common.
pub(super) fn check(
    errors: &mut Errors,
    path: &Path<'_>,
    seccomp: Option<&k8s::SeccompProfile>,
    app_armor: Option<&k8s::AppArmorProfile>,
) {
    if let Some(profile) = seccomp {
        check_seccomp(errors, &path.field("seccompProfile"), profile);
    }
    if let Some(profile) = app_armor {
        check_app_armor(errors, &path.field("appArmorProfile"), profile);
    }
}

fn check_seccomp(errors: &mut Errors, path: &Path<'_>, profile: &k8s::SeccompProfile) {
    match profile.type_.as_str() {
        "" => errors.required(&path.field("type"), "type is required when seccompProfile is set"),
        kind => one_of(errors, &path.field("type"), Some(kind), &TYPES),
    }
    let path = path.field("localhostProfile");
    match (profile.type_.as_str(), profile.localhost_profile.as_deref()) {
        ("Localhost", None) => errors.required(&path, "must be set when seccomp type is Localhost"),
        ("Localhost", Some(name)) => {
            if name.starts_with('/') {
                errors.invalid(&path, name, "must be a relative path");
            }
            if name.split('/').any(|part| part == "..") {
                errors.invalid(&path, name, "must not contain '..'");
            }
        }
        (_, None) => {}
        (_, Some(_)) => {
            let shown = serde_json::to_value(profile).unwrap_or_default();
            errors.invalid(&path, shown, "can only be set when seccomp type is Localhost");
        }
    }
}

fn check_app_armor(errors: &mut Errors, path: &Path<'_>, profile: &k8s::AppArmorProfile) {
    let required = "must be set when AppArmor type is Localhost";
    let name_path = path.field("localhostProfile");
    match (profile.type_.as_str(), profile.localhost_profile.as_deref()) {
        ("Localhost", None) => errors.required(&name_path, required),
        ("Localhost", Some(name)) => {
            if name.trim() != name {
                errors.invalid(&name_path, name, "must not be padded with whitespace");
            } else if name.is_empty() {
                errors.required(&name_path, required);
            }
            if name.len() > PROFILE_MAX {
                errors.too_long(&name_path, &format!("may not be more than {PROFILE_MAX} bytes"));
            }
        }
        ("RuntimeDefault" | "Unconfined", Some(name)) => {
            errors.invalid(&name_path, name, "can only be set when AppArmor type is Localhost");
        }
        ("RuntimeDefault" | "Unconfined", None) => {}
        ("", _) => errors.required(&path.field("type"), "type is required when appArmorProfile is set"),
        (kind, _) => one_of(errors, &path.field("type"), Some(kind), &TYPES),
    }
}

/// Checks one annotation, if it is the old form of `appArmorProfile`.
pub(super) fn check_annotation(errors: &mut Errors, path: &Path<'_>, pod: &k8s::Pod, key: &str, value: &str) {
    let Some(name) = key.strip_prefix(APPARMOR) else { return };
    let path = path.key(key);
    let spec = pod.spec.as_ref();
    let mut containers =
        spec.into_iter().flat_map(|spec| spec.init_containers.iter().flatten().chain(&spec.containers));
    if !containers.any(|container| container.name == name) {
        errors.invalid(&path, name, "container not found");
    }
    let known = ["", "runtime/default", "unconfined"].contains(&value) || value.starts_with("localhost/");
    if !known {
        errors.invalid(&path, value, &format!("invalid AppArmor profile name: {value:?}"));
    }
}

/// Checks what a user namespace goes together with.
pub(super) fn check_users(errors: &mut Errors, path: &Path<'_>, spec: &k8s::PodSpec) {
    if spec.host_users != Some(false) {
        return;
    }
    // The API server writes two of the names like this.
    for (asked, shown, field) in [
        (spec.host_network, "hostNetwork", "hostNetwork"),
        (spec.host_pid, "HostPID", "hostPID"),
        (spec.host_ipc, "HostIPC", "hostIPC"),
    ] {
        if asked == Some(true) {
            errors.forbidden(&path.field(shown), USERS);
            errors.blame(&path.field(field));
        }
    }
}

/// Checks how much of /proc a container sees.
pub(super) fn check_proc(
    errors: &mut Errors,
    path: &Path<'_>,
    context: &k8s::SecurityContext,
    spec: &k8s::PodSpec,
) {
    let path = path.field("procMount");
    let asked = context.proc_mount.as_deref();
    one_of(errors, &path, asked, &["Default", "Unmasked"]);
    if asked == Some("Unmasked") && spec.host_users != Some(false) {
        errors.invalid(&path, "Unmasked", "`hostUsers` must be false to use `Unmasked`");
    }
}

/// Refuses what only Windows has, in a pod that says that it is Linux's.
pub(super) fn check_windows(errors: &mut Errors, path: &Path<'_>, is_set: bool, spec: &k8s::PodSpec) {
    if is_set && spec.os.as_ref().is_some_and(|os| os.name == "linux") {
        errors.forbidden(&path.field("windowsOptions"), "windows options cannot be set for a linux pod");
    }
}
