use serde_json::json;

use super::*;
use crate::manifest::{Options, Source, load};

fn pod(container: &str) -> Pod {
    let text = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: p, namespace: ns}}\nspec:\n  containers:\n  - {{name: c, image: i, {container}}}\n  volumes: [{{name: v, emptyDir: {{}}}}]\n"
    );
    let mut loaded =
        load(&[Source::new("p", text)], &Options::default()).unwrap_or_else(|why| panic!("{why}"));
    loaded.pods.remove(0).pod
}

fn known() -> Known {
    Known::default()
        .with(Referent::ConfigMap, "map", &json!({"data": {"A": "1", "B": "2"}}))
        .with(Referent::ConfigMap, "other", &json!({"data": {"A": "other"}}))
        .with(Referent::Secret, "secret", &json!({"data": {"B": "Ym90aA==", "raw": "/w=="}}))
        .with_file("v", "f.env", "X='from file'\n")
}

fn resolve(container: &str) -> Result<Vec<(String, String)>, String> {
    let pod = pod(container);
    let own = own(&pod, &pod.containers[0], &Surroundings::default(), &known());
    let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    own.map(|own| own.iter().map(owned).collect()).map_err(|error| error.to_string())
}

fn lines(container: &str) -> Vec<String> {
    let found = resolve(container).unwrap_or_else(|why| panic!("{why}"));
    found.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
}

#[test]
fn later_sources_win_and_env_wins_over_env_from() {
    let from = "envFrom: [{configMapRef: {name: map}}, {configMapRef: {name: other}}, {prefix: S_, configMapRef: {name: map}}]";
    assert_eq!(lines(from), ["A=other", "B=2", "S_A=1", "S_B=2"]);
    let both = format!("{from}, env: [{{name: B, value: own-$(A)}}, {{name: A, value: last}}]");
    assert_eq!(lines(&both), ["A=last", "B=own-other", "S_A=1", "S_B=2"]);
}

#[test]
fn keys_of_objects_and_variables_of_files_are_values() {
    let env = "env: [{name: M, valueFrom: {configMapKeyRef: {name: map, key: A}}}, {name: S, valueFrom: {secretKeyRef: {name: secret, key: B}}}, {name: F, valueFrom: {fileKeyRef: {volumeName: v, path: f.env, key: X}}}, {name: T, value: $(S)/$(F)/$(LATER)}, {name: LATER, value: x}]";
    assert_eq!(lines(env), ["M=1", "S=both", "F=from file", "T=both/from file/$(LATER)", "LATER=x"]);
}

#[test]
fn what_is_optional_and_missing_leaves_the_variable_as_it_was() {
    let optional = "envFrom: [{configMapRef: {name: none, optional: true}}, {configMapRef: {name: map}}], env: [{name: A, valueFrom: {configMapKeyRef: {name: none, key: k, optional: true}}}, {name: B, valueFrom: {configMapKeyRef: {name: map, key: k, optional: true}}}, {name: C, valueFrom: {fileKeyRef: {volumeName: v, path: none, key: k, optional: true}}}, {name: D, valueFrom: {fileKeyRef: {volumeName: v, path: f.env, key: k, optional: true}}}]";
    assert_eq!(lines(optional), ["A=1", "B=2"]);
}

#[test]
fn what_is_missing_is_said_in_the_kubelets_words() {
    for (container, want) in [
        ("envFrom: [{configMapRef: {name: none}}]", "configmap \"none\" not found"),
        ("envFrom: [{secretRef: {name: none}}]", "secret \"none\" not found"),
        ("env: [{name: A, valueFrom: {secretKeyRef: {name: none, key: k}}}]", "secret \"none\" not found"),
        (
            "env: [{name: A, valueFrom: {configMapKeyRef: {name: map, key: k}}}]",
            "couldn't find key k in ConfigMap ns/map",
        ),
        (
            "env: [{name: A, valueFrom: {secretKeyRef: {name: secret, key: k}}}]",
            "couldn't find key k in Secret ns/secret",
        ),
        ("envFrom: [{secretRef: {name: secret}}]", "the value of key raw in Secret ns/secret is no text"),
        (
            "env: [{name: A, valueFrom: {fileKeyRef: {volumeName: v, path: none, key: k}}}]",
            "couldn't parse env file",
        ),
        (
            "env: [{name: A, valueFrom: {fileKeyRef: {volumeName: v, path: f.env, key: k}}}]",
            "environment variable key \"k\" not found in file \"f.env\"",
        ),
    ] {
        assert_eq!(resolve(container).unwrap_err(), want, "{container}");
    }
}

#[test]
fn services_stand_behind_all_and_are_seen_by_expansion() {
    let pod = pod("env: [{name: WEB_PORT, value: mine}, {name: URL, value: $(WEB_SERVICE_HOST)}]");
    let services = vec![
        ("WEB_SERVICE_HOST".to_owned(), "10.0.0.1".to_owned()),
        ("WEB_PORT".to_owned(), "theirs".to_owned()),
    ];
    let mut known = Known::default();
    known.services = services;
    let own = own(&pod, &pod.containers[0], &Surroundings::default(), &known).unwrap();
    assert_eq!(own.get("WEB_PORT"), Some("mine"));
    assert_eq!(own.get("URL"), Some("10.0.0.1"));
    assert_eq!(own.get("WEB_SERVICE_HOST"), Some("10.0.0.1"));
}
