use super::super::Place;
use super::*;
use crate::manifest::{Options, Source, load};
use crate::pod::Pod;
use crate::store::{Layers, Store};
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use std::os::unix::fs::PermissionsExt;

fn pod(account: &str) -> Pod {
    let text = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: p, namespace: team}}\nspec: {{serviceAccountName: {account}, containers: [{{name: c, image: i}}]}}\n"
    );
    let mut pod = load(&[Source::new("p", text)], &Options::default()).unwrap().pods.remove(0).pod;
    pod.uid = "uid-of-the-pod".to_owned();
    pod
}

fn in_store(dir: &Path) -> Store {
    Store { run: dir.join("run"), data: dir.join("data"), logs: dir.join("logs"), layers: Layers::Disk }
}

fn wanted(audience: Option<&str>) -> TokenFile {
    TokenFile { path: "token".to_owned(), audience: audience.map(str::to_owned), expiration_seconds: 3600 }
}

fn decoded(part: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

#[test]
fn a_token_says_what_kubernetes_bound_tokens_say_and_is_signed() {
    let dir = tempfile::tempdir().unwrap();
    let (store, pod, tokens) = (in_store(dir.path()), pod("robot"), Tokens::default());
    let account = json!({"metadata": {"name": "robot", "uid": "uid-of-the-robot"}});
    store.keep_object(ObjectKind::ServiceAccount, ("team", "robot"), &account).unwrap();
    let pod_dir = store.pod(&pod.uid);
    let place = Place { pod: &pod, dir: &pod_dir, store: &store, tokens: &tokens };
    let token = tokens.token(&place, "v", &wanted(Some("vault"))).unwrap();
    let parts: Vec<&str> = token.split('.').collect();
    let [header, claims, signature] = parts[..] else { panic!("{token}") };
    assert_eq!(decoded(header)["alg"], "ES256");
    let said = decoded(claims);
    assert_eq!(said["aud"], json!(["vault"]));
    assert_eq!(said["sub"], "system:serviceaccount:team:robot");
    assert_eq!(said["kubernetes.io"]["pod"], json!({"name": "p", "uid": "uid-of-the-pod"}));
    assert_eq!(said["kubernetes.io"]["serviceaccount"], json!({"name": "robot", "uid": "uid-of-the-robot"}));
    assert_eq!(said["exp"].as_u64().unwrap() - said["iat"].as_u64().unwrap(), 3600);
    let key = key(&store.token_key()).unwrap();
    let text = format!("{header}.{claims}");
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.public_key().as_ref())
        .verify(text.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).unwrap())
        .unwrap();
    let mode = fs::metadata(store.token_key()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(fs::read_dir(&store.data).unwrap().count(), 2, "the key and the objects");
}

#[test]
fn a_token_is_used_for_80_percent_of_its_life() {
    let dir = tempfile::tempdir().unwrap();
    let (store, pod, tokens) = (in_store(dir.path()), pod("default"), Tokens::default());
    let pod_dir = store.pod(&pod.uid);
    let place = Place { pod: &pod, dir: &pod_dir, store: &store, tokens: &tokens };
    assert_eq!(tokens.next(), None);
    let first = tokens.token(&place, "v", &wanted(None)).unwrap();
    let claims = decoded(first.split('.').nth(1).unwrap());
    assert_eq!(claims["aud"], json!([ISSUER]));
    let left = tokens.next().unwrap().as_secs();
    assert!((2870..=2880).contains(&left), "{left}");
    assert_eq!(tokens.token(&place, "v", &wanted(None)).unwrap(), first);
    assert_ne!(tokens.token(&place, "other", &wanted(None)).unwrap(), first);
    tokens.0.lock().unwrap().values_mut().for_each(|signed| signed.renew = 0);
    assert_ne!(tokens.token(&place, "v", &wanted(None)).unwrap(), first);
}

#[test]
fn an_account_that_is_not_there_has_no_token() {
    let dir = tempfile::tempdir().unwrap();
    let (store, pod, tokens) = (in_store(dir.path()), pod("robot"), Tokens::default());
    let pod_dir = store.pod(&pod.uid);
    let place = Place { pod: &pod, dir: &pod_dir, store: &store, tokens: &tokens };
    let why = tokens.token(&place, "v", &wanted(None)).unwrap_err();
    assert_eq!(why, "serviceaccounts \"robot\" not found");
    assert!(!store.token_key().exists());
}
