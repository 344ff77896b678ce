//! Objects that are no pods, described line for line as kubectl does it.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value};

use crate::services::Catalogue;

use super::{Lines, annotations, claim, endpoints, pairs, service, text};

/// What stands in relation to an object: of its namespace, or of all if it has none.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// v1 Pods.
    pub pods: Vec<Value>,
    /// The names of Secrets.
    pub secrets: Vec<String>,
    /// Who is behind which Service.
    pub catalogue: Catalogue,
}

/// Describes an object that is no pod.
#[must_use]
pub fn describe_object(object: &Value, around: &Surroundings) -> String {
    let mut out = Lines::default();
    let tail = match object["kind"].as_str().unwrap_or_default() {
        "ConfigMap" => {
            head(&mut out, object);
            config_map(object)
        }
        "Secret" => {
            head(&mut out, object);
            secret(object)
        }
        "Namespace" => {
            namespace(&mut out, object);
            "\nNo resource quota.\n\nNo LimitRange resource.\n".to_owned()
        }
        "ServiceAccount" => {
            head(&mut out, object);
            service_account(&mut out, object, &around.secrets);
            String::new()
        }
        "Service" => {
            head(&mut out, object);
            service::describe(&mut out, object, &around.catalogue);
            String::new()
        }
        "Endpoints" => {
            head(&mut out, object);
            endpoints::describe(&mut out, object);
            String::new()
        }
        "EndpointSlice" => {
            head(&mut out, object);
            endpoints::describe_slice(&mut out, object);
            String::new()
        }
        "PersistentVolume" => {
            claim::describe_volume(&mut out, object);
            String::new()
        }
        "PersistentVolumeClaim" => {
            claim::describe(&mut out, object, &around.pods);
            String::new()
        }
        _ => {
            head(&mut out, object);
            String::new()
        }
    };
    out.aligned() + &tail
}

fn head(out: &mut Lines, object: &Value) {
    let meta = &object["metadata"];
    out.field(0, "Name", &text(&meta["name"]));
    if meta["namespace"].is_string() {
        out.field(0, "Namespace", &text(&meta["namespace"]));
    }
    pairs(out, "Labels", &meta["labels"]);
    annotations(out, &meta["annotations"]);
}

/// The data stands as it is: no tab of it is aligned.
fn config_map(object: &Value) -> String {
    let mut out = String::from("\nData\n====\n");
    for (key, value) in entries(&object["data"]) {
        out += &format!("{key}:\n----\n{}\n\n", text(value));
    }
    out += "\nBinaryData\n====\n";
    for (key, value) in entries(&object["binaryData"]) {
        out += &format!("{key}: {} bytes\n", size(value));
    }
    out + "\nEvents:  <none>\n"
}

/// The values of a Secret are nobody's business here: `get -o yaml` has them.
fn secret(object: &Value) -> String {
    let mut out = Lines::default();
    for (key, value) in entries(&object["data"]) {
        out.line(0, format_args!("{key}:\t{} bytes", size(value)));
    }
    format!("\nType:  {}\n\nData\n====\n{}", text(&object["type"]), out.aligned())
}

fn namespace(out: &mut Lines, object: &Value) {
    head(out, object);
    out.field(0, "Status", &text(&object["status"]["phase"]));
}

fn service_account(out: &mut Lines, object: &Value, secrets: &[String]) {
    for (title, list) in [
        ("Image pull secrets", &object["imagePullSecrets"]),
        ("Mountable secrets", &object["secrets"]),
        ("Tokens", &Value::Null),
    ] {
        let shown = |item: &Value| {
            let name = text(&item["name"]);
            let missing = if secrets.contains(&name) { "" } else { " (not found)" };
            format!("{name}{missing}")
        };
        let mut lines = super::items(list).iter().map(shown);
        out.field(0, title, &lines.next().unwrap_or_else(|| "<none>".to_owned()));
        lines.for_each(|line| out.line(0, format_args!("\t{line}")));
    }
    out.field(0, "Events", "<none>");
}

fn entries(map: &Value) -> impl Iterator<Item = (&String, &Value)> {
    map.as_object().into_iter().flat_map(Map::iter)
}

/// How many bytes a text in base64 stands for.
fn size(value: &Value) -> usize {
    BASE64_STANDARD.decode(value.as_str().unwrap_or_default()).map_or(0, |bytes| bytes.len())
}
