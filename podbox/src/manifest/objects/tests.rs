use serde_json::{Value, json};

use crate::manifest::{Loaded, Options, Severity, Source, load};

fn loaded(text: &str) -> Loaded {
    load(&[Source::new("x.yaml", text)], &Options::default()).unwrap_or_else(|why| panic!("{why}"))
}

fn object(text: &str) -> Value {
    loaded(text).objects.remove(0).object
}

fn errors(text: &str) -> Vec<String> {
    let Err(found) = load(&[Source::new("x.yaml", text)], &Options::default()) else { return Vec::new() };
    found.0.iter().filter(|one| one.severity == Severity::Error).map(super::super::Diagnostic::text).collect()
}

fn of(kind: &str, rest: &str) -> String {
    format!("apiVersion: v1\nkind: {kind}\nmetadata: {{name: a}}\n{rest}\n")
}

#[test]
fn a_config_map_keeps_what_was_written_even_if_it_is_empty() {
    let map = object(&of("ConfigMap", "data: {a: '', b.c: x}\nbinaryData: {d: AAE=}\nimmutable: true"));
    assert_eq!(map["data"], json!({"a": "", "b.c": "x"}));
    assert_eq!(map["binaryData"], json!({"d": "AAE="}));
    assert_eq!(map["metadata"], json!({"name": "a", "namespace": "default"}));
    assert_eq!((&map["kind"], &map["immutable"]), (&json!("ConfigMap"), &json!(true)));
}

#[test]
fn a_config_maps_keys_values_and_size_are_checked() {
    assert_eq!(
        errors(&of("ConfigMap", "data: {a: 1}")),
        ["data[a]: Invalid value: 1: cannot convert number to string"]
    );
    let wrong = errors(&of("ConfigMap", "data: {a b: x, ..c: u, d: z}\nbinaryData: {d: AAE=, e: '%'}"));
    assert!(
        wrong[0].starts_with("data[a b]: Invalid value: \"a b\": a valid config key must consist"),
        "{wrong:?}"
    );
    for want in [
        "data[..c]: Invalid value: \"..c\": must not start with '..'",
        "data[d]: Invalid value: \"d\": duplicate of key present in binaryData",
        "binaryData[e]: Invalid value: illegal base64 data at input byte 0",
    ] {
        assert!(wrong.iter().any(|one| one == want), "{want}: {wrong:?}");
    }
    let large = of("ConfigMap", &format!("data: {{a: {}}}", "x".repeat(1 << 20)));
    assert_eq!(errors(&large), ["data: Too long: may not be more than 1048576 bytes"]);
    assert_eq!(
        errors(&of("ConfigMap", "dat: {}")),
        ["unknown field \"dat\""].map(|text| format!("dat: {text}"))
    );
}

#[test]
fn a_secrets_plain_text_is_folded_into_its_data_and_wins() {
    let secret = object(&of("Secret", "data:\n  a: b25l\n  b: |\n   dH\n   dv\nstringData: {a: two}"));
    assert_eq!(secret["data"], json!({"a": "dHdv", "b": "dHdv"}));
    assert_eq!(secret["type"], "Opaque");
    assert_eq!(secret.get("stringData"), None);
}

#[test]
fn secrets_of_a_known_type_need_its_keys_and_never_show_a_value() {
    for (kind, data, want) in [
        ("kubernetes.io/tls", "{tls.crt: ''}", &["data[tls.key]: Required value"][..]),
        (
            "kubernetes.io/basic-auth",
            "{x: ''}",
            &["data[username]: Required value", "data[password]: Required value"],
        ),
        ("kubernetes.io/basic-auth", "{password: ''}", &[]),
        ("kubernetes.io/ssh-auth", "{ssh-privatekey: ''}", &["data[ssh-privatekey]: Required value"]),
        ("kubernetes.io/dockerconfigjson", "{}", &["data[.dockerconfigjson]: Required value"]),
        (
            "kubernetes.io/dockerconfigjson",
            "{.dockerconfigjson: c2VjcmV0}",
            &["data[.dockerconfigjson]: Invalid value: \"<secret contents redacted>\": it is no JSON object"],
        ),
        (
            "kubernetes.io/service-account-token",
            "{}",
            &["metadata.annotations[kubernetes.io/service-account.name]: Required value"],
        ),
        ("bootstrap.kubernetes.io/token", "{}", &[]),
    ] {
        assert_eq!(errors(&of("Secret", &format!("type: {kind}\ndata: {data}"))), want, "{kind}");
    }
}

#[test]
fn claims_and_volumes_are_checked_as_an_api_server_does() {
    assert_eq!(
        errors(&of("PersistentVolumeClaim", "spec: {}")),
        [
            "spec.accessModes: Required value: at least 1 access mode is required",
            "spec.resources[storage]: Required value"
        ]
    );
    let claim =
        "spec: {accessModes: [ReadWriteOncePod, X], volumeMode: Z, resources: {requests: {storage: 0}}}";
    assert_eq!(
        errors(&of("PersistentVolumeClaim", claim)),
        [
            "spec.accessModes: Unsupported value: \"X\": supported values: \"ReadOnlyMany\", \"ReadWriteMany\", \
             \"ReadWriteOnce\", \"ReadWriteOncePod\"",
            "spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes",
            "spec.volumeMode: Unsupported value: \"Z\": supported values: \"Block\", \"Filesystem\"",
            "spec.resources.requests[storage]: Invalid value: \"0\": must be greater than zero",
        ]
    );
    let volume = "spec: {accessModes: [ReadWriteOnce], capacity: {storage: 1Gi}, SOURCE}";
    let with = |source: &str| of("PersistentVolume", &volume.replace("SOURCE", source));
    assert_eq!(errors(&with("storageClassName: x")), ["spec: Required value: must specify a volume type"]);
    assert_eq!(errors(&with("nfs: {server: a, path: /b}")), ["spec.nfs: Forbidden: not supported by podbox"]);
    assert_eq!(
        errors(&with("hostPath: {path: /a/../b}")),
        ["spec.hostPath.path: Invalid value: \"/a/../b\": must not contain '..'"]
    );
    let volume = object(&with("hostPath: {path: /a}"));
    assert_eq!(volume["spec"]["persistentVolumeReclaimPolicy"], "Retain");
    assert_eq!(volume["spec"]["volumeMode"], "Filesystem");
    assert_eq!(volume["metadata"].get("namespace"), None);
}

#[test]
fn a_service_is_checked_and_given_its_defaults() {
    let good = "spec: {selector: {app: a}, ports: [{port: 80, targetPort: http}]}";
    let two = format!("{}---\n{}", of("Service", good), of("Service", good).replace("name: a", "name: b"));
    let services = loaded(&two);
    assert!(services.warnings.0.is_empty());
    assert_eq!(services.objects[0].object["spec"]["type"], "ClusterIP");
    assert_eq!(services.objects[0].object["spec"]["ports"][0]["protocol"], "TCP");
    let bad = "spec: {type: X, ports: [{port: 0}, {port: 80, name: a, protocol: Z}, {port: 81, name: a}]}";
    assert_eq!(
        errors(&of("Service", bad)),
        [
            "spec.type: Unsupported value: \"X\": supported values: \"ClusterIP\", \"ExternalName\", \
             \"LoadBalancer\", \"NodePort\"",
            "spec.ports[0].name: Required value",
            "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
            "spec.ports[1].protocol: Unsupported value: \"Z\": supported values: \"SCTP\", \"TCP\", \"UDP\"",
            "spec.ports[2].name: Duplicate value: \"a\"",
        ]
    );
    assert_eq!(errors(&of("Service", "spec: {type: ExternalName}")), ["spec.externalName: Required value"]);
}

#[test]
fn names_are_judged_by_their_kind() {
    let named = |kind: &str, name: &str| errors(&of(kind, "").replace("name: a", &format!("name: {name}")));
    assert!(named("ConfigMap", "a.b").is_empty());
    assert!(
        named("Namespace", "a.b")[0]
            .starts_with("metadata.name: Invalid value: \"a.b\": a lowercase RFC 1123 label")
    );
    assert!(
        errors(&of("Service", "spec: {clusterIP: None}").replace("name: a", "name: 1a"))[0]
            .contains("a DNS-1035 label must consist")
    );
    let placed = of("Namespace", "").replace("name: a", "name: a, namespace: b");
    assert_eq!(errors(&placed), ["metadata.namespace: Forbidden: not allowed on this type"]);
    let twice = format!("{0}---\n{0}", of("ConfigMap", ""));
    assert_eq!(errors(&twice), ["metadata.name: Duplicate value: \"a\""]);
}

#[test]
fn what_is_needed_first_comes_first_and_lists_may_be_of_one_kind() {
    let text = format!(
        "{}---\napiVersion: v1\nkind: SecretList\nitems: [{{metadata: {{name: b}}}}]\n---\n{}",
        of("ConfigMap", ""),
        of("Namespace", "status: {phase: Active}")
    );
    let all = loaded(&text);
    let kinds: Vec<&str> = all.objects.iter().map(|object| object.kind.kind()).collect();
    assert_eq!(kinds, ["Namespace", "ConfigMap", "Secret"]);
    assert_eq!(all.warnings.0.len(), 1, "the status that a server wrote");
}

#[test]
fn what_was_saved_from_podbox_belongs_to_no_set_any_more() {
    let saved = |kind: &str, rest: &str| {
        let annotations = "{name: a, annotations: {podbox.local/set: /old, b: c}}";
        of(kind, rest).replace("{name: a}", annotations)
    };
    let pod = "spec: {containers: [{name: c, image: podbox.local/toolbox}]}";
    let all = loaded(&format!("{}---\n{}", saved("ConfigMap", ""), saved("Pod", pod)));
    assert_eq!(all.objects[0].object["metadata"]["annotations"], json!({"b": "c"}));
    assert_eq!(all.pods[0].object["metadata"]["annotations"], json!({"b": "c"}));
    assert_eq!(all.pods[0].pod.annotations.len(), 1);
}
