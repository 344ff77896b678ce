//! `env` and `envFrom`.

use k8s_openapi::api::core::v1 as k8s;

use super::{Errors, Path, names};
use crate::pod::{FieldPath, Quantity, ResourceField};

const SOURCES: &str =
    "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`";
const FIELDS: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
/// Fields that exist, but not in an environment variable.
const ELSEWHERE: [&str; 6] = [
    "metadata.annotations",
    "metadata.labels",
    "spec.hostNetwork",
    "spec.restartPolicy",
    "spec.schedulerName",
    "status.phase",
];
const RESOURCES: [&str; 6] = [
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];
const MEMORY_DIVISORS: [&str; 13] =
    ["1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"];

/// What variables may refer to.
pub(super) struct Around<'a> {
    /// The names of all containers.
    pub(super) containers: &'a [&'a str],
    /// The pod's volumes.
    pub(super) volumes: &'a [k8s::Volume],
}

/// Checks one container's variables.
pub(super) fn check(errors: &mut Errors, path: &Path<'_>, env: &[k8s::EnvVar], around: &Around<'_>) {
    for (index, variable) in env.iter().enumerate() {
        let path = path.index(index);
        match variable.name.as_str() {
            "" => errors.required(&path.field("name"), ""),
            name => errors.invalid_all(&path.field("name"), name, &names::env(name)),
        }
        if let Some(source) = &variable.value_from {
            let path = path.field("valueFrom");
            check_source(errors, &path, source, around);
            if variable.value.as_deref().is_some_and(|value| !value.is_empty()) {
                errors.invalid(&path, "", "may not be specified when `value` is not empty");
            }
        }
    }
}

fn check_source(errors: &mut Errors, path: &Path<'_>, source: &k8s::EnvVarSource, around: &Around<'_>) {
    let given = [
        source.field_ref.is_some(),
        source.resource_field_ref.is_some(),
        source.config_map_key_ref.is_some(),
        source.secret_key_ref.is_some(),
        source.file_key_ref.is_some(),
    ];
    match given.into_iter().filter(|given| *given).count() {
        0 => errors.invalid(path, "", SOURCES),
        1 => {}
        _ => errors.invalid(path, "", "may not have more than one field specified at a time"),
    }
    if let Some(field) = &source.field_ref {
        check_field(errors, &path.field("fieldRef"), field);
    }
    if let Some(resource) = &source.resource_field_ref {
        check_resource(errors, &path.field("resourceFieldRef"), resource, around.containers);
    }
    if let Some(from) = &source.config_map_key_ref {
        check_object_key(errors, &path.field("configMapKeyRef"), &from.name, &from.key);
    }
    if let Some(from) = &source.secret_key_ref {
        check_object_key(errors, &path.field("secretKeyRef"), &from.name, &from.key);
    }
    if let Some(file) = &source.file_key_ref {
        check_file_key(errors, &path.field("fileKeyRef"), file, around.volumes);
    }
}

fn check_object_key(errors: &mut Errors, path: &Path<'_>, name: &str, key: &str) {
    errors.invalid_all(&path.field("name"), name, &names::subdomain(name));
    match key {
        "" => errors.required(&path.field("key"), ""),
        key => errors.invalid_all(&path.field("key"), key, &names::config_key(key)),
    }
}

fn check_file_key(
    errors: &mut Errors,
    path: &Path<'_>,
    file: &k8s::FileKeySelector,
    volumes: &[k8s::Volume],
) {
    let volume_name = path.field("volumeName");
    match volumes.iter().find(|volume| volume.name == file.volume_name) {
        _ if file.volume_name.is_empty() => errors.required(&volume_name, ""),
        None => errors.not_found(&volume_name, &file.volume_name),
        Some(volume) if volume.empty_dir.is_none() => {
            errors.invalid(&volume_name, &file.volume_name, "referenced volume must be of type emptyDir");
        }
        Some(_) => {}
    }
    match file.key.as_str() {
        "" => errors.required(&path.field("key"), ""),
        key => errors.invalid_all(&path.field("key"), key, &names::env(key)),
    }
    match file.path.as_str() {
        "" => errors.required(&path.field("path"), ""),
        inside => super::mounts::check_inside(errors, &path.field("path"), inside),
    }
}

/// Checks one container's `envFrom`.
pub(super) fn check_from(errors: &mut Errors, path: &Path<'_>, sources: &[k8s::EnvFromSource]) {
    for (index, source) in sources.iter().enumerate() {
        let one = path.index(index);
        if let Some(prefix) = source.prefix.as_deref().filter(|prefix| !prefix.is_empty()) {
            errors.invalid_all(&one.field("prefix"), prefix, &names::env(prefix));
        }
        let of_map = source.config_map_ref.as_ref().map(|from| ("configMapRef", from.name.as_str()));
        let of_secret = source.secret_ref.as_ref().map(|from| ("secretRef", from.name.as_str()));
        for (field, name) in [of_map, of_secret].into_iter().flatten() {
            let path = one.field(field);
            match name {
                "" => errors.required(&path.field("name"), ""),
                name => errors.invalid_all(&path.field("name"), name, &names::subdomain(name)),
            }
        }
        // The API server names the list here, not the entry.
        match (of_map, of_secret) {
            (None, None) => errors.invalid(path, "", "must specify one of: `configMapRef` or `secretRef`"),
            (Some(_), Some(_)) => {
                errors.invalid(path, "", "may not have more than one field specified at a time");
            }
            _ => {}
        }
    }
}

fn check_field(errors: &mut Errors, path: &Path<'_>, field: &k8s::ObjectFieldSelector) {
    let path = path.field("fieldPath");
    let name = field.field_path.as_str();
    if name.is_empty() {
        return errors.required(&path, "");
    }
    if field.api_version.as_deref().is_some_and(|version| version != "v1") {
        let version = field.api_version.as_deref().unwrap_or("");
        let detail = format!("error converting fieldPath: unsupported pod version: {version}");
        return errors.invalid(&path, name, &detail);
    }
    match FieldPath::parse(name) {
        Some(FieldPath::Label(key)) => check_key(errors, &path, name, &key),
        Some(FieldPath::Annotation(key)) => check_key(errors, &path, name, &key.to_lowercase()),
        Some(_) => {}
        None if ELSEWHERE.contains(&name) => errors.unsupported(&path, name, &FIELDS),
        None => {
            let detail = format!("error converting fieldPath: field label not supported: {name}");
            errors.invalid(&path, name, &detail);
        }
    }
}

/// Checks the key in `metadata.labels['key']`.
fn check_key(errors: &mut Errors, path: &Path<'_>, name: &str, key: &str) {
    errors.invalid_all(path, name, &names::qualified(key));
}

/// Checks a `resourceFieldRef`.
pub(super) fn check_resource(
    errors: &mut Errors,
    path: &Path<'_>,
    resource: &k8s::ResourceFieldSelector,
    containers: &[&str],
) {
    let name = path.field("resource");
    let field = match resource.resource.as_str() {
        "" => return errors.required(&name, ""),
        text => match ResourceField::parse(text) {
            Some(field) => field,
            None => return errors.unsupported(&name, text, &RESOURCES),
        },
    };
    let container = resource.container_name.as_deref().filter(|name| !name.is_empty());
    if let Some(container) = container.filter(|name| !containers.contains(name)) {
        errors.not_found(&path.field("containerName"), container);
        errors.hint_names("spec.containers has", containers.iter().copied());
    }
    let Some(text) = &resource.divisor else { return };
    let path = path.field("divisor");
    let divisor = match text.0.parse::<Quantity>() {
        Ok(divisor) if divisor.is_zero() => return,
        Ok(divisor) => divisor.to_string(),
        Err(why) => return super::container::bad_quantity(errors, &path, &text.0, why),
    };
    let cpu = matches!(field, ResourceField::RequestsCpu | ResourceField::LimitsCpu);
    if cpu && !matches!(divisor.as_str(), "1" | "1m") {
        let detail = "only divisor's values 1m and 1 are supported with the cpu resource";
        errors.invalid(&path, &divisor, detail);
    } else if !cpu && !MEMORY_DIVISORS.contains(&divisor.as_str()) {
        let resource = resource.resource.split_once('.').map_or("memory", |(_, resource)| resource);
        let detail = format!(
            "only divisor's values {} are supported with the {resource} resource",
            MEMORY_DIVISORS.join(", ")
        );
        errors.invalid(&path, &divisor, &detail);
    }
}
