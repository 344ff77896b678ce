//! The pod's and the containers' `securityContext`, and the namespaces shared with the host.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1 as k8s;
use oci_spec::runtime::Capability;

use super::{Errors, Path, confinement, names, one_of};

const ID: &str = "must be between 0 and 2147483647, inclusive";

fn id(errors: &mut Errors, path: &Path<'_>, value: Option<i64>) {
    if let Some(value) = value.filter(|value| i32::try_from(*value).map_or(true, |value| value < 0)) {
        errors.invalid(path, value, ID);
    }
}

/// Checks what holds for the whole pod.
pub(super) fn check_pod(errors: &mut Errors, spec_path: &Path<'_>, spec: &k8s::PodSpec) {
    let path = spec_path.field("securityContext");
    if spec.host_pid == Some(true) && spec.share_process_namespace == Some(true) {
        let detail = "ShareProcessNamespace and HostPID cannot both be enabled";
        errors.invalid(&path.field("shareProcessNamespace"), true, detail);
        errors.blame(&spec_path.field("shareProcessNamespace"));
    }
    confinement::check_users(errors, spec_path, spec);
    let Some(context) = &spec.security_context else { return };
    id(errors, &path.field("runAsUser"), context.run_as_user);
    id(errors, &path.field("runAsGroup"), context.run_as_group);
    id(errors, &path.field("fsGroup"), context.fs_group);
    let policy = context.fs_group_change_policy.as_deref();
    one_of(errors, &path.field("fsGroupChangePolicy"), policy, &["Always", "OnRootMismatch"]);
    let groups = path.field("supplementalGroups");
    for (index, group) in context.supplemental_groups.iter().flatten().enumerate() {
        id(errors, &groups.index(index), Some(*group));
    }
    one_of(
        errors,
        &path.field("supplementalGroupsPolicy"),
        context.supplemental_groups_policy.as_deref(),
        &["Merge", "Strict"],
    );
    let (seccomp, app_armor) = (context.seccomp_profile.as_ref(), context.app_armor_profile.as_ref());
    confinement::check(errors, &path, seccomp, app_armor);
    confinement::check_windows(errors, &path, context.windows_options.is_some(), spec);
    sysctls(errors, &path.field("sysctls"), context.sysctls.as_deref().unwrap_or(&[]), spec);
}

fn sysctls(errors: &mut Errors, path: &Path<'_>, sysctls: &[k8s::Sysctl], spec: &k8s::PodSpec) {
    let mut seen = BTreeSet::new();
    for (index, sysctl) in sysctls.iter().enumerate() {
        let path = path.index(index);
        let path = path.field("name");
        if sysctl.name.is_empty() {
            errors.required(&path, "");
            continue;
        }
        errors.invalid_all(&path, &sysctl.name, &names::sysctl(&sysctl.name));
        let name = sysctl.name.replace('/', ".");
        if spec.host_network == Some(true) && name.starts_with("net.") {
            let detail = "may not be specified when 'hostNetwork' is true";
            errors.invalid(&path, &sysctl.name, detail);
        }
        if spec.host_ipc == Some(true) && is_ipc(&name) {
            errors.invalid(&path, &sysctl.name, "may not be specified when 'hostIPC' is true");
        }
        if !seen.insert(name) {
            errors.duplicate(&path, &sysctl.name);
        }
    }
}

fn is_ipc(name: &str) -> bool {
    name == "kernel.sem"
        || ["kernel.shm", "kernel.msg", "fs.mqueue."].iter().any(|prefix| name.starts_with(prefix))
}

/// The API takes any name, and the runtime below a kubelet then fails the container: better said at once.
fn capabilities(errors: &mut Errors, path: &Path<'_>, given: Option<&k8s::Capabilities>) {
    let Some(given) = given else { return };
    for (field, list) in [("add", &given.add), ("drop", &given.drop)] {
        let path = path.field(field);
        for (index, name) in list.iter().flatten().enumerate() {
            if !is_capability(name) {
                errors.invalid(&path.index(index), name, "is no capability of Linux");
                errors.hint("as in capabilities(7), with or without CAP_: NET_ADMIN, CAP_SYS_TIME, ALL");
            }
        }
    }
}

fn is_capability(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    let short = name.strip_prefix("CAP_").unwrap_or(&name);
    short == "ALL" || short.parse::<Capability>().is_ok()
}

/// Checks one container's context.
pub(super) fn check_container(
    errors: &mut Errors,
    path: &Path<'_>,
    context: &k8s::SecurityContext,
    spec: &k8s::PodSpec,
) {
    id(errors, &path.field("runAsUser"), context.run_as_user);
    id(errors, &path.field("runAsGroup"), context.run_as_group);
    let (seccomp, app_armor) = (context.seccomp_profile.as_ref(), context.app_armor_profile.as_ref());
    confinement::check(errors, path, seccomp, app_armor);
    confinement::check_proc(errors, path, context, spec);
    confinement::check_windows(errors, path, context.windows_options.is_some(), spec);
    capabilities(errors, &path.field("capabilities"), context.capabilities.as_ref());
    if context.allow_privilege_escalation != Some(false) {
        return;
    }
    let shown = || serde_json::to_value(context).unwrap_or_default();
    if context.privileged == Some(true) {
        let detail = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true";
        errors.invalid(path, shown(), detail);
    }
    let added = context.capabilities.iter().flat_map(|caps| caps.add.iter().flatten());
    // Only this spelling is looked at, although it is the other one that container runtimes document.
    if added.into_iter().any(|cap| cap == "CAP_SYS_ADMIN") {
        let detail = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN";
        errors.invalid(path, shown(), detail);
    }
}
