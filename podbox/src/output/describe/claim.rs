//! PersistentVolumes and the claims on them.

use serde_json::Value;

use super::super::objects::access_modes;
use super::{Lines, annotations, items, pairs, text};

/// Describes a PersistentVolumeClaim; `pods` are those of its namespace.
pub(super) fn describe(out: &mut Lines, claim: &Value, pods: &[Value]) {
    let (meta, spec, status) = (&claim["metadata"], &claim["spec"], &claim["status"]);
    out.field(0, "Name", &text(&meta["name"]));
    out.field(0, "Namespace", &text(&meta["namespace"]));
    out.field(0, "StorageClass", &text(&spec["storageClassName"]));
    out.field(0, "Status", &text(&status["phase"]));
    out.field(0, "Volume", &text(&spec["volumeName"]));
    pairs(out, "Labels", &meta["labels"]);
    annotations(out, &meta["annotations"]);
    out.field(0, "Finalizers", &words(&meta["finalizers"]));
    let bound = spec["volumeName"].as_str().is_some_and(|volume| !volume.is_empty());
    let of_volume = |text: String| if bound { text } else { String::new() };
    out.field(0, "Capacity", &of_volume(text(&status["capacity"]["storage"])));
    out.field(0, "Access Modes", &of_volume(access_modes(&status["accessModes"])));
    if spec["volumeMode"].is_string() {
        out.field(0, "VolumeMode", &text(&spec["volumeMode"]));
    }
    let mut users =
        pods.iter().filter(|pod| uses(pod, &meta["name"])).map(|pod| text(&pod["metadata"]["name"]));
    out.field(0, "Used By", &users.next().unwrap_or_else(|| "<none>".to_owned()));
    users.for_each(|pod| out.line(0, format_args!("\t{pod}")));
    out.field(0, "Events", "<none>");
}

/// Whether a pod has a volume of that claim; an ephemeral volume's claim is called after pod and volume.
fn uses(pod: &Value, claim: &Value) -> bool {
    items(&pod["spec"]["volumes"]).iter().any(|volume| {
        let own = || format!("{}-{}", text(&pod["metadata"]["name"]), text(&volume["name"]));
        volume["persistentVolumeClaim"]["claimName"] == *claim
            || (volume["ephemeral"].is_object() && *claim == own())
    })
}

/// Describes a PersistentVolume.
pub(super) fn describe_volume(out: &mut Lines, volume: &Value) {
    let (meta, spec, status) = (&volume["metadata"], &volume["spec"], &volume["status"]);
    out.field(0, "Name", &text(&meta["name"]));
    pairs(out, "Labels", &meta["labels"]);
    annotations(out, &meta["annotations"]);
    out.field(0, "Finalizers", &words(&meta["finalizers"]));
    out.field(0, "StorageClass", &text(&spec["storageClassName"]));
    out.field(0, "Status", &text(&status["phase"]));
    let claim = &spec["claimRef"];
    let claim = claim["name"].as_str().map(|name| format!("{}/{name}", text(&claim["namespace"])));
    out.field(0, "Claim", &claim.unwrap_or_default());
    out.field(0, "Reclaim Policy", &text(&spec["persistentVolumeReclaimPolicy"]));
    out.field(0, "Access Modes", &access_modes(&spec["accessModes"]));
    if spec["volumeMode"].is_string() {
        out.field(0, "VolumeMode", &text(&spec["volumeMode"]));
    }
    out.field(0, "Capacity", &text(&spec["capacity"]["storage"]));
    affinity(out, &spec["nodeAffinity"]["required"]["nodeSelectorTerms"]);
    out.field(0, "Message", &text(&status["message"]));
    out.line(0, "Source:");
    source(out, spec);
    out.field(0, "Events", "<none>");
}

fn source(out: &mut Lines, spec: &Value) {
    if let Some(dir) = spec.get("hostPath") {
        out.field(2, "Type", "HostPath (bare host directory volume)");
        out.field(2, "Path", &text(&dir["path"]));
        out.field(2, "HostPathType", &text(&dir["type"]));
    } else if let Some(dir) = spec.get("local") {
        out.field(2, "Type", "LocalVolume (a persistent volume backed by local storage on a node)");
        out.field(2, "Path", &text(&dir["path"]));
    } else {
        out.line(2, "<unknown>");
    }
}

fn affinity(out: &mut Lines, terms: &Value) {
    if items(terms).is_empty() {
        return out.field(0, "Node Affinity", "<none>");
    }
    out.field(0, "Node Affinity", "");
    out.field(1, "Required Terms", "");
    for (index, term) in items(terms).iter().enumerate() {
        let shown = |rule: &Value| {
            let (key, operator) = (text(&rule["key"]), text(&rule["operator"]).to_lowercase());
            let values = items(&rule["values"]);
            if values.is_empty() {
                format!("{key} {operator}")
            } else {
                format!("{key} {operator} {}", words(&rule["values"]))
            }
        };
        let mut rules = items(&term["matchExpressions"]).iter().map(shown);
        out.field(2, &format!("Term {index}"), &rules.next().unwrap_or_else(|| "<none>".to_owned()));
        rules.for_each(|rule| out.line(2, format_args!("\t{rule}")));
    }
}

/// A list as Go prints it: `[a, b]` in kubectl's words of finalizers and values.
fn words(values: &Value) -> String {
    format!("[{}]", items(values).iter().map(text).collect::<Vec<_>>().join(", "))
}
