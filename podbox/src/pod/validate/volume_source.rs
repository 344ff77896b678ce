//! Where a volume comes from: `validateVolumeSource` and what it calls.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1 as k8s;

use super::{Errors, Path, env, names, one_of};
use crate::pod::{FieldPath, Quantity};

const MODE: &str = "must be a number between 0 and 0777 (octal), both inclusive";
const MODES: std::ops::RangeInclusive<i32> = 0..=0o777;
/// What a volume can tell of the pod itself.
const FIELDS: [&str; 5] =
    ["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];
/// Fields that exist, but not in a volume.
const ELSEWHERE: [&str; 10] = [
    "spec.hostNetwork",
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.schedulerName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.phase",
    "status.podIP",
    "status.podIPs",
];
const ACCESS_MODES: [&str; 4] = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];
/// What an emptyDir may be made of, beside the disk.
const MEDIA: [&str; 4] = ["Memory", "HugePages", "HugePages-2Mi", "HugePages-1Gi"];
const SHORTEST_TOKEN: i64 = 10 * 60;
const LONGEST_TOKEN: i64 = 1 << 32;

/// Every kind of source in the order in which the API server looks at them.
fn kinds(volume: &k8s::Volume) -> [(&'static str, bool); 30] {
    [
        ("emptyDir", volume.empty_dir.is_some()),
        ("hostPath", volume.host_path.is_some()),
        ("gitRepo", volume.git_repo.is_some()),
        ("gcePersistentDisk", volume.gce_persistent_disk.is_some()),
        ("awsElasticBlockStore", volume.aws_elastic_block_store.is_some()),
        ("secret", volume.secret.is_some()),
        ("nfs", volume.nfs.is_some()),
        ("iscsi", volume.iscsi.is_some()),
        ("glusterfs", volume.glusterfs.is_some()),
        ("flocker", volume.flocker.is_some()),
        ("persistentVolumeClaim", volume.persistent_volume_claim.is_some()),
        ("rbd", volume.rbd.is_some()),
        ("cinder", volume.cinder.is_some()),
        ("cephfs", volume.cephfs.is_some()),
        ("quobyte", volume.quobyte.is_some()),
        ("downwardAPI", volume.downward_api.is_some()),
        ("fc", volume.fc.is_some()),
        ("flexVolume", volume.flex_volume.is_some()),
        ("configMap", volume.config_map.is_some()),
        ("azureFile", volume.azure_file.is_some()),
        ("vsphereVolume", volume.vsphere_volume.is_some()),
        ("azureDisk", volume.azure_disk.is_some()),
        ("photonPersistentDisk", volume.photon_persistent_disk.is_some()),
        ("portworxVolume", volume.portworx_volume.is_some()),
        ("scaleIO", volume.scale_io.is_some()),
        ("projected", volume.projected.is_some()),
        ("storageos", volume.storageos.is_some()),
        ("csi", volume.csi.is_some()),
        ("ephemeral", volume.ephemeral.is_some()),
        ("image", volume.image.is_some()),
    ]
}

/// Checks the one source of a volume, the first if there are more. `containers` are the names of all.
pub(super) fn check(errors: &mut Errors, path: &Path<'_>, volume: &k8s::Volume, containers: &[&str]) {
    let mut given = kinds(volume).into_iter().filter(|(_, given)| *given).map(|(kind, _)| kind);
    let Some(kind) = given.next() else { return errors.required(path, "must specify a volume type") };
    for more in given {
        errors.forbidden(&path.field(more), "may not specify more than 1 volume type");
    }
    let path = path.field(kind);
    let around = (&path, containers);
    match kind {
        "emptyDir" => volume.empty_dir.iter().for_each(|dir| empty_dir(errors, &path, dir)),
        "hostPath" => volume.host_path.iter().for_each(|host| host_path(errors, &path, host)),
        "secret" => volume.secret.iter().for_each(|source| secret(errors, &path, source)),
        "configMap" => volume.config_map.iter().for_each(|source| config_map(errors, &path, source)),
        "downwardAPI" => volume.downward_api.iter().for_each(|facts| {
            mode(errors, &path.field("defaultMode"), facts.default_mode);
            downward(errors, around, facts.items.as_deref().unwrap_or_default());
        }),
        "projected" => volume.projected.iter().for_each(|source| projected(errors, around, source)),
        "persistentVolumeClaim" => {
            let claim = volume.persistent_volume_claim.as_ref();
            match claim.map_or("", |claim| &claim.claim_name) {
                "" => errors.required(&path.field("claimName"), ""),
                name => errors.invalid_all(&path.field("claimName"), name, &names::subdomain(name)),
            }
        }
        "image" => volume.image.iter().for_each(|source| image(errors, &path, source)),
        "ephemeral" => volume.ephemeral.iter().for_each(|source| ephemeral(errors, &path, source)),
        // The others are refused by name.
        _ => {}
    }
}

fn empty_dir(errors: &mut Errors, path: &Path<'_>, dir: &k8s::EmptyDirVolumeSource) {
    let medium = dir.medium.as_deref().filter(|medium| !medium.is_empty());
    one_of(errors, &path.field("medium"), medium, &MEDIA);
    let Some(limit) = &dir.size_limit else { return };
    match limit.0.parse::<Quantity>() {
        Ok(limit) if limit.is_negative() => {
            let detail = "SizeLimit field must be a valid resource quantity";
            errors.forbidden(&path.field("sizeLimit"), detail);
        }
        Ok(_) => {}
        Err(why) => super::container::bad_quantity(errors, &path.field("sizeLimit"), &limit.0, why),
    }
}

fn image(errors: &mut Errors, path: &Path<'_>, image: &k8s::ImageVolumeSource) {
    if image.reference.as_deref().is_none_or(str::is_empty) {
        errors.required(&path.field("reference"), "");
    }
    let policies = ["Always", "IfNotPresent", "Never"];
    one_of(errors, &path.field("pullPolicy"), image.pull_policy.as_deref(), &policies);
}

fn host_path(errors: &mut Errors, path: &Path<'_>, host: &k8s::HostPathVolumeSource) {
    let inner = path.field("path");
    if host.path.is_empty() {
        errors.required(&inner, "");
    } else if has_parent_step(&host.path) {
        errors.invalid(&inner, &host.path, "must not contain '..'");
    }
    one_of(
        errors,
        &path.field("type"),
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

pub(super) fn has_parent_step(path: &str) -> bool {
    path.split('/').any(|part| part == "..")
}

fn secret(errors: &mut Errors, path: &Path<'_>, secret: &k8s::SecretVolumeSource) {
    object_name(errors, &path.field("secretName"), secret.secret_name.as_deref().unwrap_or(""));
    mode(errors, &path.field("defaultMode"), secret.default_mode);
    items(errors, path, secret.items.as_deref());
}

fn config_map(errors: &mut Errors, path: &Path<'_>, map: &k8s::ConfigMapVolumeSource) {
    object_name(errors, &path.field("name"), &map.name);
    mode(errors, &path.field("defaultMode"), map.default_mode);
    items(errors, path, map.items.as_deref());
}

/// The API server looks only whether there is a name; an object of a name that none can have is never found.
fn object_name(errors: &mut Errors, path: &Path<'_>, name: &str) {
    match name {
        "" => errors.required(path, ""),
        name => errors.invalid_all(path, name, &names::subdomain(name)),
    }
}

fn mode(errors: &mut Errors, path: &Path<'_>, mode: Option<i32>) {
    if let Some(mode) = mode.filter(|mode| !MODES.contains(mode)) {
        errors.invalid(path, mode, MODE);
    }
}

fn items(errors: &mut Errors, path: &Path<'_>, items: Option<&[k8s::KeyToPath]>) {
    let list = path.field("items");
    for (index, item) in items.unwrap_or_default().iter().enumerate() {
        let path = list.index(index);
        if item.key.is_empty() {
            errors.required(&path.field("key"), "");
        }
        file_path(errors, &path.field("path"), &item.path);
        mode(errors, &path.field("mode"), item.mode);
    }
}

/// A path inside the volume, beside what belongs to whoever writes it.
fn file_path(errors: &mut Errors, path: &Path<'_>, file: &str) {
    if file.is_empty() {
        return errors.required(path, "");
    }
    if file.starts_with('/') {
        errors.invalid(path, file, "must be a relative path");
    }
    if has_parent_step(file) {
        errors.invalid(path, file, "must not contain '..'");
    }
    if file.starts_with("..") && !file.starts_with("../") && file != ".." {
        errors.invalid(path, file, "must not start with '..'");
    }
}

/// The API server names the volume, not the item: the item is what is at fault.
fn downward(
    errors: &mut Errors,
    (path, containers): (&Path<'_>, &[&str]),
    items: &[k8s::DownwardAPIVolumeFile],
) {
    let list = path.field("items");
    for (index, file) in items.iter().enumerate() {
        let item = list.index(index);
        file_path(errors, &path.field("path"), &file.path);
        mode(errors, &path.field("mode"), file.mode);
        match (&file.field_ref, &file.resource_field_ref) {
            (Some(field), resource) => {
                check_field(errors, &path.field("fieldRef"), field);
                if resource.is_some() {
                    let detail = "fieldRef and resourceFieldRef can not be specified simultaneously";
                    errors.invalid(path, "resource", detail);
                }
            }
            (None, Some(resource)) => {
                let path = path.field("resourceFieldRef");
                if resource.container_name.as_deref().unwrap_or("").is_empty() {
                    errors.required(&path.field("containerName"), "");
                }
                env::check_resource(errors, &path, resource, containers);
            }
            (None, None) => {
                errors.required(path, "one of fieldRef and resourceFieldRef is required");
                errors.blame(&item);
            }
        }
    }
}

fn check_field(errors: &mut Errors, path: &Path<'_>, field: &k8s::ObjectFieldSelector) {
    let path = path.field("fieldPath");
    let name = field.field_path.as_str();
    if name.is_empty() {
        return errors.required(&path, "");
    }
    if let Some(version) = field.api_version.as_deref().filter(|version| *version != "v1") {
        let detail = format!("error converting fieldPath: unsupported pod version: {version}");
        return errors.invalid(&path, name, &detail);
    }
    match FieldPath::parse(name) {
        Some(FieldPath::Label(key)) => errors.invalid_all(&path, name, &names::qualified(&key)),
        Some(FieldPath::Annotation(key)) => {
            errors.invalid_all(&path, name, &names::qualified(&key.to_lowercase()));
        }
        _ if FIELDS.contains(&name) => {}
        _ if ELSEWHERE.contains(&name) => errors.unsupported(&path, name, &FIELDS),
        _ => {
            let detail = format!("error converting fieldPath: field label not supported: {name}");
            errors.invalid(&path, name, &detail);
        }
    }
}

fn projected(
    errors: &mut Errors,
    (path, containers): (&Path<'_>, &[&str]),
    source: &k8s::ProjectedVolumeSource,
) {
    mode(errors, &path.field("defaultMode"), source.default_mode);
    let list = path.field("sources");
    let mut taken = BTreeSet::new();
    for (index, source) in source.sources.iter().flatten().enumerate() {
        let item = list.index(index);
        let mut count = 0;
        let mut take = |errors: &mut Errors, file: &str, shown: &str| {
            if !file.is_empty() && !taken.insert(file.to_owned()) {
                errors.invalid(path, shown, "conflicting duplicate paths");
                errors.blame(&item);
            }
        };
        if let Some(secret) = &source.secret {
            count += 1;
            let path = item.field("secret");
            object_name(errors, &path.field("name"), &secret.name);
            items(errors, &path, secret.items.as_deref());
            secret.items.iter().flatten().for_each(|one| take(errors, &one.path, &secret.name));
        }
        if let Some(map) = &source.config_map {
            count += 1;
            let path = item.field("configMap");
            object_name(errors, &path.field("name"), &map.name);
            items(errors, &path, map.items.as_deref());
            map.items.iter().flatten().for_each(|one| take(errors, &one.path, &map.name));
        }
        if let Some(facts) = &source.downward_api {
            count += 1;
            let files = facts.items.as_deref().unwrap_or_default();
            downward(errors, (&item.field("downwardAPI"), containers), files);
            files.iter().for_each(|one| take(errors, &one.path, &one.path));
        }
        if let Some(wanted) = &source.service_account_token {
            count += 1;
            token(errors, &item.field("serviceAccountToken"), wanted);
        }
        count += usize::from(source.cluster_trust_bundle.is_some());
        count += usize::from(source.pod_certificate.is_some());
        if count > 1 {
            errors.forbidden(&item, "may not specify more than 1 volume type per source");
        }
    }
}

fn token(errors: &mut Errors, path: &Path<'_>, token: &k8s::ServiceAccountTokenProjection) {
    let seconds = token.expiration_seconds.unwrap_or(60 * 60);
    let field = path.field("expirationSeconds");
    if seconds < SHORTEST_TOKEN {
        errors.invalid(&field, seconds, "may not specify a duration less than 10 minutes");
    } else if seconds > LONGEST_TOKEN {
        errors.invalid(&field, seconds, "may not specify a duration larger than 2^32 seconds");
    }
    file_path(errors, &path.field("path"), &token.path);
}

fn ephemeral(errors: &mut Errors, path: &Path<'_>, source: &k8s::EphemeralVolumeSource) {
    let path = path.field("volumeClaimTemplate");
    let Some(template) = &source.volume_claim_template else { return errors.required(&path, "") };
    let (path, spec) = (path.field("spec"), &template.spec);
    let field = path.field("accessModes");
    let modes = spec.access_modes.as_deref().unwrap_or_default();
    if modes.is_empty() {
        errors.required(&field, "at least 1 access mode is required");
    }
    for wrong in modes.iter().filter(|mode| !ACCESS_MODES.contains(&mode.as_str())) {
        errors.unsupported(&field, wrong, &ACCESS_MODES);
    }
    if modes.len() > 1 && modes.iter().any(|mode| mode == "ReadWriteOncePod") {
        errors.forbidden(&field, "may not use ReadWriteOncePod with other access modes");
    }
    let requests = spec.resources.as_ref().and_then(|resources| resources.requests.as_ref());
    let (resources, requests_path) = (path.field("resources"), path.field("resources"));
    match requests.and_then(|requests| requests.get("storage")) {
        None => errors.required(&resources.key("storage"), ""),
        Some(size) => match size.0.parse::<Quantity>() {
            Ok(size) if size.is_negative() || size.is_zero() => {
                let path = requests_path.field("requests");
                errors.invalid(&path.key("storage"), &size.to_string(), "must be greater than zero");
            }
            Ok(_) => {}
            Err(why) => {
                let path = requests_path.field("requests");
                super::container::bad_quantity(errors, &path.key("storage"), &size.0, why);
            }
        },
    }
    let mode = spec.volume_mode.as_deref();
    if mode == Some("Block") {
        errors
            .forbidden(&path.field("volumeMode"), "Block is not supported by podbox: it mounts file systems");
    } else {
        one_of(errors, &path.field("volumeMode"), mode, &["Block", "Filesystem"]);
    }
}

#[cfg(test)]
#[path = "volume_source_tests.rs"]
mod tests;
