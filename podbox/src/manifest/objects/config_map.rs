//! ConfigMap. Read into a type of our own, so that a wrong base64 text is found with its place.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{MOST_DATA, Stored, check_key, decode};
use crate::pod::field::{Errors, Path};

#[derive(Default, Deserialize, Serialize)]
#[serde(rename = "ConfigMap", rename_all = "camelCase", default)]
pub(super) struct ConfigMap {
    metadata: ObjectMeta,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    data: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    binary_data: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    immutable: Option<bool>,
}

impl Stored for ConfigMap {
    fn metadata(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }

    fn check(&self, errors: &mut Errors, path: &Path<'_>) {
        let (data, binary) = (path.field("data"), path.field("binaryData"));
        let mut size = 0;
        for (key, value) in &self.data {
            let at = data.key(key);
            check_key(errors, &at, key);
            size += key.len() + value.len();
            if self.binary_data.contains_key(key) {
                errors.invalid(&at, key, "duplicate of key present in binaryData");
            }
        }
        for (key, value) in &self.binary_data {
            let at = binary.key(key);
            check_key(errors, &at, key);
            size += key.len() + decode(errors, &at, value).len();
        }
        if size > MOST_DATA {
            let at = if self.data.is_empty() { binary } else { data };
            errors.too_long(&at, &format!("may not be more than {MOST_DATA} bytes"));
        }
    }

    fn write(&self) -> Result<Value, serde_json::Error> {
        let mut object = json!({"apiVersion": "v1", "kind": "ConfigMap"});
        if let (Value::Object(object), Value::Object(fields)) = (&mut object, serde_json::to_value(self)?) {
            object.extend(fields);
        }
        Ok(object)
    }
}
