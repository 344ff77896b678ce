//! `metadata` of stored objects.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{Place, set};
use crate::manifest::de::SERVER_SIDE_METADATA;
use crate::pod::field::{Errors, Path};
use crate::pod::names;
use crate::store::ObjectKind;

const DNS_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an \
                        alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or \
                        'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const IGNORED: &str = "written by the API server of a cluster: ignored";
const ANNOTATIONS_MAX: usize = 256 * 1024;

pub(super) fn fill(metadata: &mut ObjectMeta, kind: ObjectKind, namespace: &str) {
    if kind.is_namespaced() {
        set(&mut metadata.namespace, namespace);
    }
    if let (ObjectKind::Namespace, Some(name)) = (kind, metadata.name.clone()) {
        metadata.labels.get_or_insert_default().insert("kubernetes.io/metadata.name".to_owned(), name);
    }
}

/// Tells of what only a cluster's API server writes, as manifests saved from one have it.
pub(super) fn warn(warnings: &mut Errors, place: Place<'_, '_>) {
    let entry =
        |node, key: &str| place.tree.entry(node, key).filter(|entry| !place.tree.is_null(entry.value));
    if entry(place.node, "status").is_some() {
        warnings.say(&place.path.field("status"), IGNORED.to_owned());
    }
    let Some(metadata) = entry(place.node, "metadata") else { return };
    let path = place.path.field("metadata");
    for key in SERVER_SIDE_METADATA.iter().chain(&["finalizers", "ownerReferences"]) {
        if entry(metadata.value, key).is_some() {
            warnings.say(&path.field(key), IGNORED.to_owned());
        }
    }
}

pub(super) fn check(errors: &mut Errors, path: &Path<'_>, (kind, metadata): (ObjectKind, &mut ObjectMeta)) {
    let at = path.field("name");
    match (metadata.name.as_deref().unwrap_or(""), kind) {
        ("", _) => errors.required(&at, "name or generateName is required"),
        (name, ObjectKind::Namespace) => errors.invalid_all(&at, name, &names::label(name)),
        (name, ObjectKind::Service) => {
            let wrong = names::label(name);
            if !wrong.is_empty() || name.starts_with(|first: char| first.is_ascii_digit()) {
                errors.invalid(&at, name, DNS_1035);
            }
        }
        (name, _) => errors.invalid_all(&at, name, &names::subdomain(name)),
    }
    let namespace = metadata.namespace.as_deref().unwrap_or("");
    if kind.is_namespaced() {
        errors.invalid_all(&path.field("namespace"), namespace, &names::label(namespace));
    } else if !namespace.is_empty() {
        errors.forbidden(&path.field("namespace"), "not allowed on this type");
    }
    labels(errors, &path.field("labels"), metadata.labels.iter().flatten());
    let annotations = path.field("annotations");
    let mut size = 0;
    for (key, value) in metadata.annotations.iter().flatten() {
        errors.invalid_all(&annotations, key, &names::qualified(&key.to_lowercase()));
        size += key.len() + value.len();
    }
    if size > ANNOTATIONS_MAX {
        errors.too_long(&annotations, &format!("may not be more than {ANNOTATIONS_MAX} bytes"));
    }
    // Both are a cluster's: what holds an object there, or makes it go with another, is not here.
    metadata.finalizers = None;
    metadata.owner_references = None;
}

/// Checks labels, or what chooses by them.
pub(super) fn labels<'a>(
    errors: &mut Errors,
    path: &Path<'_>,
    labels: impl Iterator<Item = (&'a String, &'a String)>,
) {
    for (key, value) in labels {
        errors.invalid_all(path, key, &names::qualified(key));
        errors.invalid_all(&path.key(key), value, &names::label_value(value));
    }
}
