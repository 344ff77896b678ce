//! Objects of other kinds than Pod, on their way through `up`, `diff` and `down`.

mod diff;
mod down;
mod prune;
mod refused;
mod up;

use std::fs;

use e2e::Host;
use serde_json::Value;

/// A ConfigMap with one key, `a`.
fn map(name: &str, value: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{a: {value:?}}}\n")
}

/// A pod that prints what a ConfigMap says and then sleeps.
fn reader(name: &str, map: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  terminationGracePeriodSeconds: 0\n  \
         containers:\n  - name: c\n    image: podbox.local/toolbox\n    command: [sh, -c, 'echo $A; sleep 1000']\n    \
         env: [{{name: A, valueFrom: {{configMapKeyRef: {{name: {map}, key: a}}}}}}]\n"
    )
}

fn all(documents: &[&str]) -> String {
    documents.join("---\n")
}

/// A stored object, if there is one.
fn stored(host: &Host, resource: &str, name: &str) -> Option<Value> {
    let namespace = if matches!(resource, "namespaces" | "persistentvolumes") { "_" } else { "default" };
    let file = host.root_dir().join(format!("objects/{resource}/{namespace}/{name}.json"));
    Some(serde_json::from_slice(&fs::read(file).ok()?).expect("a stored object is JSON"))
}

/// Writes a manifest into the test's directory and gives its path.
fn file(host: &Host, name: &str, text: &str) -> String {
    let path = host.dir().join(name);
    fs::create_dir_all(path.parent().expect("a directory")).expect("make a directory");
    fs::write(&path, text).expect("write a manifest");
    path.display().to_string()
}
