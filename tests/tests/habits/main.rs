//! kubectl's habits on the reading side: kinds, selectors, formats, completion, manual pages.

use std::fs;

use e2e::Host;
use serde_json::{Value, json};

mod completion;
mod describing;
mod getting;

const IDLE: &str = r"
  containers:
  - {name: main, image: podbox.local/toolbox, command: [sleep, infinity]}
";

/// Stores an object as `up` does.
fn store(host: &Host, resource: &str, object: &Value) {
    let meta = &object["metadata"];
    let namespace = meta["namespace"].as_str().unwrap_or("_");
    let dir = host.root_dir().join("objects").join(resource).join(namespace);
    fs::create_dir_all(&dir).unwrap();
    let name = meta["name"].as_str().unwrap();
    let new = dir.join(format!("{name}.json.new"));
    fs::write(&new, object.to_string()).unwrap();
    fs::rename(new, dir.join(format!("{name}.json"))).unwrap();
}

fn config_map(namespace: &str, name: &str, labels: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace, "uid": format!("{namespace}-{name}"), "labels": labels,
            "creationTimestamp": "2020-01-01T00:00:00Z"},
        "data": {"b": "2\n", "a": "1"}, "binaryData": {"c": "AAEC"},
    })
}

fn secret(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
        "metadata": {"name": name, "namespace": "default", "uid": name},
        "data": {"password": "aGVsbG8="},
    })
}

fn service(name: &str, selector: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": name, "namespace": "default", "uid": name},
        "spec": {"type": "ClusterIP", "clusterIP": "10.96.0.7", "clusterIPs": ["10.96.0.7"], "selector": selector,
            "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack", "sessionAffinity": "None",
            "internalTrafficPolicy": "Cluster",
            "ports": [{"name": "http", "port": 80, "targetPort": "web", "protocol": "TCP"}]},
    })
}
