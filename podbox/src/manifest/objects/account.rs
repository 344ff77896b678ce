//! Namespace and ServiceAccount: there is little to say about them.

use k8s_openapi::api::core::v1 as k8s;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

use super::Stored;
use crate::pod::field::{Errors, Path};

impl Stored for k8s::Namespace {
    fn metadata(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }

    fn check(&self, _errors: &mut Errors, _path: &Path<'_>) {}

    /// What a cluster waits for before it removes a namespace is not here.
    fn fill(&mut self) {
        self.spec = None;
    }

    fn write(&self) -> Result<Value, serde_json::Error> {
        serde_json::to_value(self)
    }
}

impl Stored for k8s::ServiceAccount {
    fn metadata(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }

    fn check(&self, _errors: &mut Errors, _path: &Path<'_>) {}

    fn write(&self) -> Result<Value, serde_json::Error> {
        serde_json::to_value(self)
    }
}
