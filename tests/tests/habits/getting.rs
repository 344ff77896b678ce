//! `get` of all kinds.

use std::fs;

use e2e::{Host, pod};
use serde_json::json;

use super::{IDLE, config_map, secret, service, store};

#[test]
fn kinds_are_asked_for_under_all_their_names() {
    let host = Host::new();
    store(&host, "configmaps", &config_map("default", "conf", &json!({"app": "web"})));
    for words in [&["cm"][..], &["ConfigMaps"], &["configmap", "conf"], &["cm/conf"], &["cm", "default/conf"]]
    {
        host.podbox(["get"].iter().chain(words).chain(&["-o", "name"])).ok().says("configmap/conf");
    }
    let table = host.podbox(["get", "cm"]).ok().stdout;
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["NAME", "DATA", "AGE"]);
    assert_eq!(rows[1][..2], ["conf", "3"]);
    host.podbox(["get", "cm", "nope"]).code(2).complains("configmap default/nope not found");
    host.podbox(["get", "cm", "nope", "--ignore-not-found"]).ok().quiet();
    host.podbox(["get", "pv"]).ok().complains("No resources found\n");
    host.podbox(["get", "secrets"]).ok().complains("No resources found in default namespace.");
    host.podbox(["get", "cm", "-A", "conf"]).code(2).complains("across all namespaces");
    host.podbox(["get", "deploy"]).code(2).complains("no resource type \"deploy\"");
    host.podbox(["get", "cm,deploy"]).code(2).complains("no resource type \"deploy\"");
    host.finish();
}

#[test]
fn several_kinds_come_in_tables_one_below_the_other_or_in_one_list() {
    let host = Host::new();
    store(&host, "configmaps", &config_map("default", "conf", &json!({})));
    store(&host, "secrets", &secret("key"));
    store(&host, "services", &service("web", &json!({"app": "web"})));
    host.up(&pod("web", IDLE));
    let all = host.podbox(["get", "all"]).ok().stdout;
    let (pods, services) = all.split_once("\n\n").unwrap_or_else(|| panic!("{all}"));
    assert!(pods.contains("\npod/web ") && services.contains("\nservice/web "), "{all}");
    assert!(!all.contains("conf"), "what pods are told is not part of it: {all}");
    let named = host.podbox(["get", "cm/conf", "secret/key", "-o", "name"]).ok().stdout;
    assert_eq!(named, "configmap/conf\nsecret/key\n");
    let list = host.podbox(["get", "secrets,cm", "-o", "json"]).ok().json();
    assert_eq!(list["kind"], "List");
    assert_eq!(list["items"][0]["data"]["password"], "aGVsbG8=", "as base64, as kubectl shows it");
    assert_eq!(list["items"][1]["kind"], "ConfigMap");
    host.podbox(["get", "pods,cm", "-w"]).code(2).complains("you may only specify a single resource type");
    let namespaces = host.podbox(["get", "ns", "-o", "name"]).ok().stdout;
    assert_eq!(namespaces, "namespace/default\n", "it need not be made");
    host.finish();
}

#[test]
fn labels_and_fields_select_objects_as_an_api_server_does() {
    let host = Host::new();
    for (namespace, name, app) in [("default", "a", "web"), ("default", "b", "db"), ("team", "c", "web")] {
        store(&host, "configmaps", &config_map(namespace, name, &json!({"app": app})));
    }
    store(&host, "secrets", &secret("key"));
    let names = |args: &[&str]| host.podbox(["get"].iter().chain(args).chain(&["-o", "name"])).ok().stdout;
    assert_eq!(names(&["cm", "-l", "app in (web),!tier"]), "configmap/a\n");
    assert_eq!(names(&["cm", "-A", "-l", "app=web"]), "configmap/a\nconfigmap/c\n");
    assert_eq!(names(&["cm", "-n", "team"]), "configmap/c\n");
    assert_eq!(names(&["cm", "--field-selector", "metadata.name!=a"]), "configmap/b\n");
    assert_eq!(names(&["secrets", "--field-selector", "type=Opaque"]), "secret/key\n");
    host.podbox(["get", "cm", "--field-selector", "type=Opaque"])
        .code(2)
        .complains("field label not supported: type");
    host.podbox(["get", "cm", "-l", "app is web"])
        .code(2)
        .complains("unable to parse requirement: found 'is', expected: in, notin, =, ==, !=, gt, lt");
    host.podbox(["get", "cm", "-o", "go-template={{.kind}}"]).code(2).complains("jsonpath=");
    let columns = host.podbox(["get", "cm", "-A", "-L", "app", "--no-headers"]).ok().stdout;
    let rows: Vec<Vec<&str>> = columns.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[2][..3], ["team", "c", "3"]);
    assert_eq!(rows[2].last(), Some(&"web"));
    host.finish();
}

#[test]
fn a_watch_of_objects_tells_what_comes_changes_and_goes() {
    let host = Host::new();
    let all = host.cmd(["get", "cm", "-A", "-w", "--output-watch-events"]).spawn();
    let later = host.cmd(["get", "cm", "--watch-only", "-o", "name"]).spawn();
    host.up(&pod("web", IDLE));
    store(&host, "configmaps", &config_map("team", "conf", &json!({})));
    all.wait_to_say("ADDED");
    let mut changed = config_map("team", "conf", &json!({}));
    changed["data"] = json!({});
    store(&host, "configmaps", &changed);
    all.wait_to_say("MODIFIED");
    fs::remove_file(host.root_dir().join("objects/configmaps/team/conf.json")).unwrap();
    all.wait_to_say("DELETED");
    store(&host, "configmaps", &config_map("default", "own", &json!({})));
    later.wait_to_say("configmap/own");
    assert!(!later.said().contains("/conf"), "another namespace's: {}", later.said());
    assert!(all.said().starts_with("EVENT"), "{}", all.said());
    host.finish();
}

#[test]
fn a_claim_is_bound_once_a_pod_has_it() {
    let host = Host::new();
    let claim = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data", "namespace": "default", "uid": "u"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, "volumeMode": "Filesystem"},
    });
    store(&host, "persistentvolumeclaims", &claim);
    let row = || {
        let table = host.podbox(["get", "pvc", "--no-headers"]).ok().stdout;
        table.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(row()[..2], ["data", "Pending"]);
    let spec = "
  volumes: [{name: v, persistentVolumeClaim: {claimName: data}}]
  containers:
  - {name: main, image: podbox.local/toolbox, command: [sleep, infinity], volumeMounts: [{name: v, mountPath: /v}]}
";
    host.up(&pod("user", spec));
    assert_eq!(row()[..5], ["data", "Bound", "pvc-u", "1Gi", "RWO"]);
    host.podbox(["describe", "pvc", "data"]).ok().says("Used By:       user");
    host.finish();
}
