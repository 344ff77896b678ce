//! PersistentVolumeClaim.

use k8s_openapi::api::core::v1 as k8s;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

use super::{Stored, one_of, set};
use crate::pod::Quantity;
use crate::pod::field::{Errors, Path};
use crate::pod::names;

pub(super) const ACCESS_MODES: [&str; 4] =
    ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];
pub(super) const VOLUME_MODES: [&str; 2] = ["Block", "Filesystem"];
impl Stored for k8s::PersistentVolumeClaim {
    fn metadata(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }

    fn fill(&mut self) {
        set(&mut self.spec.get_or_insert_default().volume_mode, "Filesystem");
    }

    fn check(&self, errors: &mut Errors, path: &Path<'_>) {
        let path = path.field("spec");
        let Some(spec) = &self.spec else { return };
        let modes = spec.access_modes.as_deref().unwrap_or(&[]);
        access_modes(errors, &path, modes);
        let resources = path.field("resources");
        let requests = spec.resources.as_ref().and_then(|resources| resources.requests.as_ref());
        match requests.and_then(|requests| requests.get("storage")) {
            None => errors.required(&resources.key("storage"), ""),
            Some(size) => storage(errors, &resources.field("requests").key("storage"), &size.0),
        }
        if let Some(class) = spec.storage_class_name.as_deref().filter(|class| !class.is_empty()) {
            errors.invalid_all(&path.field("storageClassName"), class, &names::subdomain(class));
        }
        one_of(errors, &path.field("volumeMode"), spec.volume_mode.as_deref(), &VOLUME_MODES);
        for (field, is_there) in
            [("dataSource", spec.data_source.is_some()), ("dataSourceRef", spec.data_source_ref.is_some())]
        {
            if is_there {
                errors.forbidden(&path.field(field), "not supported by podbox: a claim begins empty");
            }
        }
    }

    fn write(&self) -> Result<Value, serde_json::Error> {
        serde_json::to_value(self)
    }
}

/// Checks `accessModes` of the spec at `path`.
pub(super) fn access_modes(errors: &mut Errors, path: &Path<'_>, modes: &[String]) {
    let at = path.field("accessModes");
    if modes.is_empty() {
        errors.required(&at, "at least 1 access mode is required");
    }
    for (index, mode) in modes.iter().enumerate().filter(|(_, mode)| !ACCESS_MODES.contains(&mode.as_str())) {
        errors.unsupported(&at, mode, &ACCESS_MODES);
        errors.blame(&at.index(index));
    }
    if modes.len() > 1 && modes.iter().any(|mode| mode == "ReadWriteOncePod") {
        errors.forbidden(&at, "may not use ReadWriteOncePod with other access modes");
    }
}

/// Checks a size of storage.
pub(super) fn storage(errors: &mut Errors, path: &Path<'_>, size: &str) {
    match size.parse::<Quantity>() {
        Err(why) => errors.invalid(path, size, &why.to_string()),
        Ok(size) if size.is_zero() || size.is_negative() => {
            errors.invalid(path, &size.to_string(), "must be greater than zero");
        }
        Ok(_) => {}
    }
}
