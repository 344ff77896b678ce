//! `volumeMounts`, and volumes that are images.

use k8s_openapi::api::core::v1 as k8s;

use crate::pod::{Propagation, VolumeMount, VolumeSource};

/// One mount of a container.
pub(super) fn mount(mount: &k8s::VolumeMount, spec: &k8s::PodSpec) -> VolumeMount {
    VolumeMount {
        volume: mount.name.clone(),
        // The kubelet reads a relative path as one from the container's root.
        mount_path: if mount.mount_path.starts_with('/') {
            mount.mount_path.clone()
        } else {
            format!("/{}", mount.mount_path)
        },
        sub_path: mount.sub_path.clone().filter(|path| !path.is_empty()),
        sub_path_expr: mount.sub_path_expr.clone().filter(|path| !path.is_empty()),
        read_only: mount.read_only == Some(true) || super::volume::is_read_only(spec, &mount.name),
        recursive_read_only: matches!(mount.recursive_read_only.as_deref(), Some("Enabled" | "IfPossible")),
        propagation: match mount.mount_propagation.as_deref() {
            Some("HostToContainer") => Propagation::HostToContainer,
            Some("Bidirectional") => Propagation::Bidirectional,
            _ => Propagation::None,
        },
    }
}

/// `volumes[].image`.
pub(super) fn image(image: &k8s::ImageVolumeSource) -> VolumeSource {
    VolumeSource::Image {
        reference: image.reference.clone().unwrap_or_default(),
        pull_policy: super::pull_policy(image.pull_policy.as_deref()),
    }
}
