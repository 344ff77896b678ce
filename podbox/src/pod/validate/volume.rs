//! `spec.volumes` and `volumeMounts`.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1 as k8s;

use super::volume_source::has_parent_step;
use super::{Errors, Path, names, unique, volume_source};

/// Checks the volumes and gives back their names; `containers` are the names of all.
pub(super) fn check_all<'v>(
    errors: &mut Errors,
    path: &Path<'_>,
    volumes: &'v [k8s::Volume],
    containers: &[&str],
) -> BTreeSet<&'v str> {
    let mut seen = BTreeSet::new();
    for (index, volume) in volumes.iter().enumerate() {
        let path = path.index(index);
        let name = path.field("name");
        match volume.name.as_str() {
            "" => errors.required(&name, ""),
            text => errors.invalid_all(&name, text, &names::label(text)),
        }
        unique(errors, &name, &volume.name, &mut seen);
        volume_source::check(errors, &path, volume, containers);
    }
    seen
}

/// Whether a path in a container, which starts from the root in any case, leads to the root itself.
fn is_root(path: &str) -> bool {
    let mut depth = 0_usize;
    for part in path.split('/') {
        depth = match part {
            "" | "." => depth,
            ".." => depth.saturating_sub(1),
            _ => depth + 1,
        };
    }
    depth == 0
}

/// Checks a container's mounts against the pod's volumes.
pub(super) fn check_mounts(
    errors: &mut Errors,
    path: &Path<'_>,
    mounts: &[k8s::VolumeMount],
    volumes: &BTreeSet<&str>,
) {
    let mut seen = BTreeSet::new();
    for (index, mount) in mounts.iter().enumerate() {
        let path = path.index(index);
        let name = path.field("name");
        if mount.name.is_empty() {
            errors.required(&name, "");
        } else if !volumes.contains(mount.name.as_str()) {
            errors.not_found(&name, &mount.name);
            if !volumes.is_empty() {
                errors.hint_names("spec.volumes has", volumes.iter().copied());
            }
        }
        let mount_path = path.field("mountPath");
        if mount.mount_path.is_empty() {
            errors.required(&mount_path, "");
        } else if is_root(&mount.mount_path) {
            errors.invalid(&mount_path, &mount.mount_path, "must not be the container's root");
            errors.hint(
                "the root is the image's: a volume over it would be the program's alone, and exec and \
                 probes would go on seeing the image; mount it at a directory of its own",
            );
        } else if !seen.insert(mount.mount_path.as_str()) {
            errors.invalid(&mount_path, &mount.mount_path, "must be unique");
        }
        let sub_path = mount.sub_path.as_deref().unwrap_or("");
        if sub_path.starts_with('/') {
            errors.invalid(&path.field("subPath"), sub_path, "must be a relative path");
        }
        if has_parent_step(sub_path) {
            errors.invalid(&path.field("subPath"), sub_path, "must not contain '..'");
        }
    }
}
