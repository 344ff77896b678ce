//! What an ephemeral container may have: what does not make it a part of the pod's work.

use k8s_openapi::api::core::v1 as k8s;

use super::{Errors, Path};

const NOT_FOR_IT: &str = "cannot be set for an Ephemeral Container";

/// Checks what is an ephemeral container's own; `names` are those of the pod's other containers.
pub(super) fn check(
    errors: &mut Errors,
    path: &Path<'_>,
    container: &k8s::EphemeralContainer,
    names: &[&str],
) {
    let target = container.target_container_name.as_deref().filter(|name| !name.is_empty());
    if let Some(name) = target.filter(|name| !names.contains(name)) {
        errors.not_found(&path.field("targetContainerName"), name);
        errors.hint_names("the containers are", names.iter().copied());
    }
    for (field, given) in [
        ("ports", some(&container.ports)),
        ("resources", container.resources.as_ref().is_some_and(asks_for_something)),
        ("livenessProbe", container.liveness_probe.is_some()),
        ("readinessProbe", container.readiness_probe.is_some()),
        ("startupProbe", container.startup_probe.is_some()),
        ("lifecycle", container.lifecycle.is_some()),
        ("resizePolicy", some(&container.resize_policy)),
        ("restartPolicy", container.restart_policy.is_some()),
        ("restartPolicyRules", some(&container.restart_policy_rules)),
    ] {
        if given {
            errors.forbidden(&path.field(field), NOT_FOR_IT);
        }
    }
    let mounts = path.field("volumeMounts");
    for (index, mount) in container.volume_mounts.iter().flatten().enumerate() {
        let path = mounts.index(index);
        for (field, given) in [("subPath", &mount.sub_path), ("subPathExpr", &mount.sub_path_expr)] {
            if given.as_deref().is_some_and(|given| !given.is_empty()) {
                errors.forbidden(&path.field(field), NOT_FOR_IT);
            }
        }
    }
}

fn some<T>(list: &Option<Vec<T>>) -> bool {
    list.as_ref().is_some_and(|list| !list.is_empty())
}

fn asks_for_something(resources: &k8s::ResourceRequirements) -> bool {
    let given = |map: &Option<crate::pod::QuantityMap>| map.as_ref().is_some_and(|map| !map.is_empty());
    given(&resources.limits) || given(&resources.requests) || some(&resources.claims)
}
