//! PersistentVolume: a directory of this host, by hostPath or local.

use k8s_openapi::api::core::v1 as k8s;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};

use super::{Stored, one_of, set};
use crate::pod::field::{Errors, Path};
use crate::pod::{claims, names};

const RECLAIM: [&str; 3] = ["Delete", "Recycle", "Retain"];
/// What a spec has beside its source.
const NO_SOURCE: [&str; 9] = [
    "accessModes",
    "capacity",
    "claimRef",
    "mountOptions",
    "nodeAffinity",
    "persistentVolumeReclaimPolicy",
    "storageClassName",
    "volumeAttributesClassName",
    "volumeMode",
];

impl Stored for k8s::PersistentVolume {
    fn metadata(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }

    fn fill(&mut self) {
        let spec = self.spec.get_or_insert_default();
        set(&mut spec.persistent_volume_reclaim_policy, "Retain");
        set(&mut spec.volume_mode, "Filesystem");
        if let Some(host) = &mut spec.host_path {
            host.type_.get_or_insert_default();
        }
    }

    fn check(&self, errors: &mut Errors, path: &Path<'_>) {
        let path = path.field("spec");
        let Some(spec) = &self.spec else { return };
        claims::access_modes(errors, &path, spec.access_modes.as_deref().unwrap_or(&[]));
        let capacity = path.field("capacity");
        match spec.capacity.as_ref().filter(|capacity| !capacity.is_empty()) {
            None => errors.required(&capacity, ""),
            Some(sizes) => match sizes.get("storage") {
                Some(size) if sizes.len() == 1 => claims::storage(errors, &capacity.key("storage"), &size.0),
                _ => {
                    let sizes = json!(sizes).to_string();
                    errors
                        .say(&capacity, format!("Unsupported value: {sizes}: supported values: \"storage\""));
                }
            },
        }
        let reclaim = spec.persistent_volume_reclaim_policy.as_deref();
        one_of(errors, &path.field("persistentVolumeReclaimPolicy"), reclaim, &RECLAIM);
        claims::volume_mode(errors, &path, spec.volume_mode.as_deref());
        if let Some(class) = spec.storage_class_name.as_deref().filter(|class| !class.is_empty()) {
            errors.invalid_all(&path.field("storageClassName"), class, &names::subdomain(class));
        }
        if let Some(claim) = &spec.claim_ref {
            let path = path.field("claimRef");
            for (field, value) in [("name", &claim.name), ("namespace", &claim.namespace)] {
                if value.as_deref().unwrap_or("").is_empty() {
                    errors.required(&path.field(field), "");
                }
            }
        }
        source(errors, &path, spec);
    }

    fn warn(&self, warnings: &mut Errors, path: &Path<'_>) {
        let Some(spec) = &self.spec else { return };
        let path = path.field("spec");
        if spec.node_affinity.is_some() {
            warnings.say(&path.field("nodeAffinity"), "there is only this node: ignored".to_owned());
        }
        if spec.mount_options.as_ref().is_some_and(|options| !options.is_empty()) {
            let why = "a directory of this host is bound as it is: ignored";
            warnings.say(&path.field("mountOptions"), why.to_owned());
        }
        if spec.persistent_volume_reclaim_policy.as_deref() != Some("Retain") {
            let why = "podbox never removes what lies in a directory of this host: it does as Retain says";
            warnings.say(&path.field("persistentVolumeReclaimPolicy"), why.to_owned());
        }
    }

    fn write(&self) -> Result<Value, serde_json::Error> {
        serde_json::to_value(self)
    }
}

/// Checks that the volume is one directory of this host.
fn source(errors: &mut Errors, path: &Path<'_>, spec: &k8s::PersistentVolumeSpec) {
    let fields = json!(spec);
    let sources: Vec<&String> = fields
        .as_object()
        .into_iter()
        .flat_map(|fields| fields.keys())
        .filter(|field| !NO_SOURCE.contains(&field.as_str()))
        .collect();
    if sources.is_empty() {
        errors.required(path, "must specify a volume type");
    }
    for other in sources.iter().skip(1) {
        errors.forbidden(&path.field(other), "may not specify more than 1 volume type");
    }
    for foreign in sources.iter().filter(|source| !matches!(source.as_str(), "hostPath" | "local")) {
        errors.forbidden(&path.field(foreign), "not supported by podbox");
        errors.hint("podbox takes hostPath and local here: mount it on this host and name the directory");
    }
    let host = spec.host_path.as_ref().map(|host| ("hostPath", &host.path));
    let local = spec.local.as_ref().map(|local| ("local", &local.path));
    for (field, directory) in host.into_iter().chain(local) {
        let field = path.field(field);
        let at = field.field("path");
        if directory.is_empty() {
            errors.required(&at, "");
        } else if directory.split('/').any(|step| step == "..") {
            errors.invalid(&at, directory, "must not contain '..'");
        } else if !directory.starts_with('/') {
            errors.invalid(&at, directory, "must be an absolute path");
        }
    }
}
