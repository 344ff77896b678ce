//! A pod's volumes, each with a word on what its kind is.

use serde_json::Value;

use super::{Lines, items, text};

/// Describes volumes.
pub(super) fn describe(out: &mut Lines, volumes: &[Value]) {
    if volumes.is_empty() {
        return out.field(0, "Volumes", "<none>");
    }
    out.line(0, "Volumes:");
    for volume in volumes {
        out.line(1, format_args!("{}:", text(&volume["name"])));
        source(out, volume);
    }
}

fn source(out: &mut Lines, volume: &Value) {
    let kind = |out: &mut Lines, words: &str| out.field(2, "Type", words);
    if let Some(dir) = volume.get("hostPath") {
        kind(out, "HostPath (bare host directory volume)");
        out.field(2, "Path", &text(&dir["path"]));
        out.field(2, "HostPathType", &text(&dir["type"]));
    } else if let Some(dir) = volume.get("emptyDir") {
        kind(out, "EmptyDir (a temporary directory that shares a pod's lifetime)");
        out.field(2, "Medium", &text(&dir["medium"]));
        out.field(2, "SizeLimit", dir["sizeLimit"].as_str().unwrap_or("<unset>"));
    } else if let Some(secret) = volume.get("secret") {
        kind(out, "Secret (a volume populated by a Secret)");
        named(out, "SecretName", &secret["secretName"], secret);
    } else if let Some(map) = volume.get("configMap") {
        kind(out, "ConfigMap (a volume populated by a ConfigMap)");
        named(out, "Name", &map["name"], map);
    } else if let Some(info) = volume.get("downwardAPI") {
        kind(out, "DownwardAPI (a volume populated by information about the pod)");
        out.line(2, "Items:");
        facts(out, info);
    } else if let Some(projected) = volume.get("projected") {
        kind(out, "Projected (a volume that contains injected data from multiple sources)");
        items(&projected["sources"]).iter().for_each(|source| projection(out, source));
    } else if let Some(image) = volume.get("image") {
        kind(out, "Image (a container image or OCI artifact)");
        out.field(2, "Reference", &text(&image["reference"]));
        out.field(2, "PullPolicy", &text(&image["pullPolicy"]));
    } else if let Some(claim) = volume.get("persistentVolumeClaim") {
        kind(out, "PersistentVolumeClaim (a reference to a PersistentVolumeClaim in the same namespace)");
        out.field(2, "ClaimName", &text(&claim["claimName"]));
        out.field(2, "ReadOnly", if claim["readOnly"] == true { "true" } else { "false" });
    } else if let Some(ephemeral) = volume.get("ephemeral") {
        kind(
            out,
            "EphemeralVolume (an inline specification for a volume that gets created and deleted with the pod)",
        );
        let spec = &ephemeral["volumeClaimTemplate"]["spec"];
        out.field(2, "StorageClass", &text(&spec["storageClassName"]));
        out.field(2, "Volume", &text(&spec["volumeName"]));
        out.field(2, "VolumeMode", &text(&spec["volumeMode"]));
    } else {
        let name = volume.as_object().and_then(|volume| volume.keys().find(|key| *key != "name"));
        kind(out, name.map_or("<unknown>", String::as_str));
    }
}

fn named(out: &mut Lines, label: &str, name: &Value, source: &Value) {
    out.field(2, label, &text(name));
    out.field(2, "Optional", if source["optional"] == true { "true" } else { "false" });
}

fn projection(out: &mut Lines, source: &Value) {
    if let Some(secret) = source.get("secret") {
        named(out, "SecretName", &secret["name"], secret);
    } else if let Some(map) = source.get("configMap") {
        named(out, "ConfigMapName", &map["name"], map);
    } else if let Some(info) = source.get("downwardAPI") {
        out.field(2, "DownwardAPI", "true");
        facts(out, info);
    } else if let Some(token) = source.get("serviceAccountToken") {
        out.field(2, "TokenExpirationSeconds", &text(&token["expirationSeconds"]));
    }
}

fn facts(out: &mut Lines, info: &Value) {
    for item in items(&info["items"]) {
        let field =
            item.pointer("/fieldRef/fieldPath").or_else(|| item.pointer("/resourceFieldRef/resource"));
        out.line(3, format_args!("{} -> {}", text(field.unwrap_or(&Value::Null)), text(&item["path"])));
    }
}
