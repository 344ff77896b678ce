//! `spec.volumes` and `volumeMounts`.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1 as k8s;

use super::{Errors, Path, names, one_of, unique};
use crate::pod::Quantity;

/// What an emptyDir may be made of, beside the disk.
const MEDIA: [&str; 4] = ["Memory", "HugePages", "HugePages-2Mi", "HugePages-1Gi"];

/// Checks the volumes and gives back their names.
pub(super) fn check_all<'v>(
    errors: &mut Errors,
    path: &Path<'_>,
    volumes: &'v [k8s::Volume],
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
        source(errors, &path, volume);
    }
    seen
}

fn source(errors: &mut Errors, path: &Path<'_>, volume: &k8s::Volume) {
    if let Some(dir) = &volume.empty_dir {
        let path = path.field("emptyDir");
        let medium = dir.medium.as_deref().filter(|medium| !medium.is_empty());
        one_of(errors, &path.field("medium"), medium, &MEDIA);
        if let Some(limit) = &dir.size_limit {
            match limit.0.parse::<Quantity>() {
                Ok(limit) if limit.is_negative() => {
                    let detail = "SizeLimit field must be a valid resource quantity";
                    errors.forbidden(&path.field("sizeLimit"), detail);
                }
                Ok(_) => {}
                Err(why) => super::container::bad_quantity(errors, &path.field("sizeLimit"), &limit.0, why),
            }
        }
    }
    if let Some(host) = &volume.host_path {
        let path_of_source = path.field("hostPath");
        if volume.empty_dir.is_some() {
            errors.forbidden(&path_of_source, "may not specify more than 1 volume type");
            return;
        }
        let path = path_of_source.field("path");
        if host.path.is_empty() {
            errors.required(&path, "");
        } else if has_parent_step(&host.path) {
            errors.invalid(&path, &host.path, "must not contain '..'");
        }
        one_of(
            errors,
            &path_of_source.field("type"),
            host.type_.as_deref(),
            &[
                "",
                "BlockDevice",
                "CharDevice",
                "Directory",
                "DirectoryOrCreate",
                "File",
                "FileOrCreate",
                "Socket",
            ],
        );
    }
}

fn has_parent_step(path: &str) -> bool {
    path.split('/').any(|part| part == "..")
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
