//! What confines a container beside its user and its capabilities: profiles and labels.

use k8s_openapi::api::core::v1 as k8s;

use crate::pod::{AppArmorProfile, ContainerSecurity, SeLinuxOptions, SeccompProfile};

/// The container's own, or else the pod's.
pub(super) fn of(container: &k8s::Container, spec: &k8s::PodSpec) -> ContainerSecurity {
    let (own, pod) = (container.security_context.as_ref(), spec.security_context.as_ref());
    let seccomp = own.and_then(|own| own.seccomp_profile.as_ref());
    let app_armor = own.and_then(|own| own.app_armor_profile.as_ref());
    let selinux = own.and_then(|own| own.se_linux_options.as_ref());
    ContainerSecurity {
        seccomp: (seccomp.or_else(|| pod?.seccomp_profile.as_ref())).map(seccomp_profile).unwrap_or_default(),
        app_armor: (app_armor.or_else(|| pod?.app_armor_profile.as_ref()))
            .map(app_armor_profile)
            .unwrap_or_default(),
        selinux: selinux.or_else(|| pod?.se_linux_options.as_ref()).map(selinux_options),
        unmasked_proc: own.and_then(|own| own.proc_mount.as_deref()) == Some("Unmasked"),
        ..ContainerSecurity::default()
    }
}

fn seccomp_profile(given: &k8s::SeccompProfile) -> SeccompProfile {
    match given.type_.as_str() {
        "RuntimeDefault" => SeccompProfile::RuntimeDefault,
        "Localhost" => SeccompProfile::Localhost(given.localhost_profile.clone().unwrap_or_default()),
        _ => SeccompProfile::Unconfined,
    }
}

fn app_armor_profile(given: &k8s::AppArmorProfile) -> AppArmorProfile {
    match given.type_.as_str() {
        "RuntimeDefault" => AppArmorProfile::RuntimeDefault,
        "Localhost" => AppArmorProfile::Localhost(given.localhost_profile.clone().unwrap_or_default()),
        _ => AppArmorProfile::Unconfined,
    }
}

fn selinux_options(given: &k8s::SELinuxOptions) -> SeLinuxOptions {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    SeLinuxOptions {
        user: text(&given.user),
        role: text(&given.role),
        kind: text(&given.type_),
        level: text(&given.level),
    }
}
