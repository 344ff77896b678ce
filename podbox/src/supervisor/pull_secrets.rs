//! `imagePullSecrets`: who a pod is to its registries.
//!
//! Source: kubelet `kubelet_pods.go` (getPullSecretsForPod) and `credentialprovider/secrets`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::pod::Pod;
use crate::store::{ObjectKind, Store};

use super::machine::Note;

/// The contents of the pod's pull secrets, in the form of docker's config.json, and the names of those that are not
/// there. One of another type opens nothing.
pub(super) fn read(store: &Store, pod: &Pod) -> (Vec<String>, Vec<String>) {
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for name in &pod.image_pull_secrets {
        match store.object(ObjectKind::Secret, &pod.namespace, name) {
            Ok(Some(secret)) => found.extend(config(&secret)),
            Ok(None) | Err(_) => missing.push(name.clone()),
        }
    }
    (found, missing)
}

/// `.dockerconfigjson`, or the older `.dockercfg`, which is what stands under `auths` in the newer.
fn config(secret: &Value) -> Option<String> {
    let data = |key: &str| String::from_utf8(STANDARD.decode(secret["data"][key].as_str()?).ok()?).ok();
    data(".dockerconfigjson").or_else(|| {
        let auths: Value = serde_json::from_str(&data(".dockercfg")?).ok()?;
        Some(json!({"auths": auths}).to_string())
    })
}

/// What is said where a pull has failed and some secrets are missing.
pub(super) fn missing_note(missing: &[String]) -> Note {
    Note {
        warning: true,
        reason: "FailedToRetrieveImagePullSecret".to_owned(),
        message: format!(
            "Unable to retrieve some image pull secrets ({}); attempting to pull the image may not succeed.",
            missing.join(", ")
        ),
        container: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_types_of_secret_are_read_as_dockers_configuration() {
        let secret = |key: &str, text: &str| json!({"data": {key: STANDARD.encode(text)}});
        let new = r#"{"auths":{"r":{"auth":"x"}}}"#;
        assert_eq!(config(&secret(".dockerconfigjson", new)).as_deref(), Some(new));
        assert_eq!(config(&secret(".dockercfg", r#"{"r":{"auth":"x"}}"#)).as_deref(), Some(new));
        assert_eq!(config(&secret("other", new)), None);
    }
}
