//! PersistentVolumeClaim.

use k8s_openapi::api::core::v1 as k8s;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

use super::{Stored, set};
use crate::pod::field::{Errors, Path};
use crate::pod::{claims, names};

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
        claims::claim(errors, &path, spec);
        if let Some(class) = spec.storage_class_name.as_deref().filter(|class| !class.is_empty()) {
            errors.invalid_all(&path.field("storageClassName"), class, &names::subdomain(class));
        }
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
