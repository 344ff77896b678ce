//! Secret: `stringData` goes into `data`, and some types need some keys.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{MOST_DATA, Stored, check_key, decode, encode, set};
use crate::pod::field::{Errors, Path};

#[derive(Default, Deserialize, Serialize)]
#[serde(rename = "Secret", rename_all = "camelCase", default)]
pub(super) struct Secret {
    metadata: ObjectMeta,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    data: BTreeMap<String, String>,
    #[serde(skip_serializing)]
    string_data: BTreeMap<String, String>,
    #[serde(rename = "type")]
    type_: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    immutable: Option<bool>,
}

/// Where a token says whose it is.
const ACCOUNT: &str = "kubernetes.io/service-account.name";

impl Stored for Secret {
    fn metadata(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }

    fn fill(&mut self) {
        set(&mut self.type_, "Opaque");
    }

    fn check(&self, errors: &mut Errors, path: &Path<'_>) {
        let (data, text) = (path.field("data"), path.field("stringData"));
        let mut bytes = BTreeMap::new();
        for (key, value) in &self.data {
            let at = data.key(key);
            check_key(errors, &at, key);
            bytes.insert(key.as_str(), decode(errors, &at, value));
        }
        for (key, value) in &self.string_data {
            check_key(errors, &text.key(key), key);
            bytes.insert(key, value.clone().into_bytes());
        }
        if bytes.values().map(Vec::len).sum::<usize>() > MOST_DATA {
            let at = if self.data.is_empty() { text } else { data };
            errors.too_long(&at, &format!("may not be more than {MOST_DATA} bytes"));
        }
        self.check_type(errors, path, &bytes);
    }

    fn write(&self) -> Result<Value, serde_json::Error> {
        let mut object = json!({"apiVersion": "v1", "kind": "Secret"});
        if let (Value::Object(object), Value::Object(fields)) = (&mut object, serde_json::to_value(self)?) {
            object.extend(fields);
        }
        for (key, value) in &self.data {
            object["data"][key] = json!(encode(decode(&mut Errors::default(), &Path::ROOT, value)));
        }
        for (key, value) in &self.string_data {
            object["data"][key] = json!(encode(value));
        }
        Ok(object)
    }
}

impl Secret {
    fn check_type(&self, errors: &mut Errors, path: &Path<'_>, bytes: &BTreeMap<&str, Vec<u8>>) {
        let data = path.field("data");
        let missing = |key: &str| !bytes.contains_key(key);
        let mut need = |key: &str, is_missing: bool| {
            if is_missing {
                errors.required(&data.key(key), "");
                errors.blame(&path.field("type"));
            }
        };
        match self.type_.as_deref().unwrap_or_default() {
            "kubernetes.io/tls" => ["tls.crt", "tls.key"].into_iter().for_each(|key| need(key, missing(key))),
            "kubernetes.io/basic-auth" if missing("username") && missing("password") => {
                ["username", "password"].into_iter().for_each(|key| need(key, true));
            }
            "kubernetes.io/ssh-auth" => {
                need("ssh-privatekey", bytes.get("ssh-privatekey").is_none_or(Vec::is_empty));
            }
            "kubernetes.io/dockercfg" => configuration(errors, path, (".dockercfg", bytes)),
            "kubernetes.io/dockerconfigjson" => configuration(errors, path, (".dockerconfigjson", bytes)),
            "kubernetes.io/service-account-token" => {
                let annotations = self.metadata.annotations.as_ref();
                if annotations.and_then(|all| all.get(ACCOUNT)).is_none_or(String::is_empty) {
                    let metadata = path.field("metadata");
                    errors.required(&metadata.field("annotations").key(ACCOUNT), "");
                }
            }
            _ => {}
        }
    }
}

fn configuration(errors: &mut Errors, path: &Path<'_>, (key, bytes): (&str, &BTreeMap<&str, Vec<u8>>)) {
    let data = path.field("data");
    let at = data.key(key);
    let kind = path.field("type");
    match bytes.get(key) {
        None => errors.required(&at, ""),
        Some(text) => match serde_json::from_slice::<serde_json::Map<String, Value>>(text) {
            Ok(_) => return,
            // serde's message could hold a part of the secret.
            Err(_) => errors.invalid(&at, "<secret contents redacted>", "it is no JSON object"),
        },
    }
    errors.blame(&kind);
}
