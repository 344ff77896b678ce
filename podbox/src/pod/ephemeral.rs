//! Ephemeral containers are containers under another type of the API, with one more field.

use k8s_openapi::api::core::v1 as k8s;

/// The container that an ephemeral one is, without its target.
pub(crate) fn as_container(of: &k8s::EphemeralContainer) -> k8s::Container {
    let of = of.clone();
    k8s::Container {
        args: of.args,
        command: of.command,
        env: of.env,
        env_from: of.env_from,
        image: of.image,
        image_pull_policy: of.image_pull_policy,
        lifecycle: of.lifecycle,
        liveness_probe: of.liveness_probe,
        name: of.name,
        ports: of.ports,
        readiness_probe: of.readiness_probe,
        resize_policy: of.resize_policy,
        resources: of.resources,
        restart_policy: of.restart_policy,
        restart_policy_rules: of.restart_policy_rules,
        security_context: of.security_context,
        startup_probe: of.startup_probe,
        stdin: of.stdin,
        stdin_once: of.stdin_once,
        termination_message_path: of.termination_message_path,
        termination_message_policy: of.termination_message_policy,
        tty: of.tty,
        volume_devices: of.volume_devices,
        volume_mounts: of.volume_mounts,
        working_dir: of.working_dir,
    }
}

/// The way back.
pub(crate) fn of_container(of: k8s::Container, target: Option<String>) -> k8s::EphemeralContainer {
    k8s::EphemeralContainer {
        args: of.args,
        command: of.command,
        env: of.env,
        env_from: of.env_from,
        image: of.image,
        image_pull_policy: of.image_pull_policy,
        lifecycle: of.lifecycle,
        liveness_probe: of.liveness_probe,
        name: of.name,
        ports: of.ports,
        readiness_probe: of.readiness_probe,
        resize_policy: of.resize_policy,
        resources: of.resources,
        restart_policy: of.restart_policy,
        restart_policy_rules: of.restart_policy_rules,
        security_context: of.security_context,
        startup_probe: of.startup_probe,
        stdin: of.stdin,
        stdin_once: of.stdin_once,
        target_container_name: target,
        termination_message_path: of.termination_message_path,
        termination_message_policy: of.termination_message_policy,
        tty: of.tty,
        volume_devices: of.volume_devices,
        volume_mounts: of.volume_mounts,
        working_dir: of.working_dir,
    }
}
