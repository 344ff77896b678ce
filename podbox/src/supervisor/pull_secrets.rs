//! `imagePullSecrets`: who a pod is to its registries.
//!
//! Source: kubelet `kubelet_pods.go` (getPullSecretsForPod) and `credentialprovider/secrets`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::pod::Pod;
use crate::store::{ObjectKind, Store};

use super::machine::Note;

/// The contents of the pod's pull secrets, or else of its account's, in the form of docker's config.json, and the names
/// of those that are not there. One of another type opens nothing.
pub(super) fn read(store: &Store, pod: &Pod) -> (Vec<String>, Vec<String>) {
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    let mut names = pod.image_pull_secrets.clone();
    if names.is_empty() {
        names = of_account(store, pod);
    }
    for name in names {
        match store.object(ObjectKind::Secret, &pod.namespace, &name) {
            Ok(Some(secret)) => found.extend(config(&secret)),
            Ok(None) | Err(_) => missing.push(name),
        }
    }
    (found, missing)
}

/// What the pod's account gives to pods that name no secrets (admission plugin `serviceaccount`).
fn of_account(store: &Store, pod: &Pod) -> Vec<String> {
    let account = store.object(ObjectKind::ServiceAccount, &pod.namespace, &pod.service_account);
    let account = account.ok().flatten().unwrap_or_default();
    let secrets = account["imagePullSecrets"].as_array();
    secrets.into_iter().flatten().filter_map(|secret| Some(secret["name"].as_str()?.to_owned())).collect()
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

    #[test]
    fn a_pod_that_names_no_secrets_has_its_accounts() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name| dir.path().join(name);
        let store = Store {
            run: path("run"),
            data: path("data"),
            logs: path("logs"),
            layers: crate::store::Layers::Disk,
        };
        let pod = |more: &str| {
            let text = format!(
                "{{apiVersion: v1, kind: Pod, metadata: {{name: a}}, spec: {{serviceAccountName: bot, {more} \
                 containers: [{{name: c, image: podbox.local/toolbox}}]}}}}"
            );
            let source = crate::manifest::Source::new("x", text);
            crate::manifest::load(&[source], &Default::default()).unwrap().pods.remove(0).pod
        };
        let account = json!({"imagePullSecrets": [{"name": "login"}]});
        store.keep_object(ObjectKind::ServiceAccount, ("default", "bot"), &account).unwrap();
        assert_eq!(read(&store, &pod("")), (vec![], vec!["login".to_owned()]));
        let secret = json!({"data": {".dockerconfigjson": STANDARD.encode("{}")}});
        store.keep_object(ObjectKind::Secret, ("default", "login"), &secret).unwrap();
        assert_eq!(read(&store, &pod("")), (vec!["{}".to_owned()], vec![]));
        assert_eq!(read(&store, &pod("imagePullSecrets: [{name: own}],")), (vec![], vec!["own".to_owned()]));
    }
}
