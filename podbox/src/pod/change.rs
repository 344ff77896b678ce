//! What of a Pod may change while it runs: the API server's rules of an update, and of the resize subresource, in its
//! words. Pure, over the defaulted objects.
//!
//! Source: `validation.go` (ValidatePodUpdate, ValidatePodResize).

use serde_json::{Map, Value};

use super::field::{Errors, FieldError, Path};
use super::interfaces;

const ONLY: &str = "pod updates may not change fields other than `spec.containers[*].image`,\
    `spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,\
    `spec.tolerations` (only additions to existing tolerations),\
    `spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";
/// So many fields are named that may not change.
const NAMED: usize = 5;
const NOTHING: Value = Value::Null;

/// Whether a running pod of object `old` may become `new`; `classes` are the classes of service of both.
pub(crate) fn check(old: &Value, new: &Value, classes: (&str, &str)) -> Vec<FieldError> {
    let mut errors = Errors::default();
    of_the_network(&mut errors, &old["metadata"]["annotations"], &new["metadata"]["annotations"]);
    let path = Path::ROOT.field("spec");
    let (old, mut new) = (&old["spec"], new["spec"].clone());
    let count = |spec: &Value, list: &str| spec[list].as_array().map_or(0, Vec::len);
    let lists = ["containers", "initContainers"];
    for list in lists.into_iter().filter(|list| count(old, list) != count(&new, list)) {
        errors.forbidden(&path.field(list), "pod updates may not add or remove containers");
    }
    if lists.into_iter().any(|list| count(old, list) != count(&new, list)) {
        return errors.into_vec();
    }
    if classes.0 != classes.1 {
        errors.invalid(&path, classes.0, "Pod QOS Class may not change as a result of resizing");
    }
    deadline(&mut errors, &path.field("activeDeadlineSeconds"), old, &new);
    tolerations(&mut errors, &path.field("tolerations"), old, &new);
    for list in lists {
        let path = path.field(list);
        for index in 0..count(old, list) {
            container(&mut errors, &path.index(index), &old[list][index], &mut new[list][index]);
        }
    }
    for field in ["activeDeadlineSeconds", "tolerations"] {
        restore(&mut new, old, field);
    }
    let grace = "terminationGracePeriodSeconds";
    if old[grace].as_i64().is_some_and(|seconds| seconds < 0) && new[grace].as_i64() == Some(1) {
        restore(&mut new, old, grace);
    }
    the_rest(&mut errors, &path, old, &new);
    errors.into_vec()
}

/// An API server lets annotations change, and then the pod would not be what they say.
fn of_the_network(errors: &mut Errors, old: &Value, new: &Value) {
    let metadata = Path::ROOT.field("metadata");
    let annotations = metadata.field("annotations");
    for key in interfaces::ASKING.into_iter().filter(|key| old[key] != new[key]) {
        errors.forbidden(&annotations.key(key), "it counts when the pod is put on its network");
    }
}

/// Gives a field the value that it had.
fn restore(new: &mut Value, old: &Value, field: &str) {
    let Some(fields) = new.as_object_mut() else { return };
    match old.get(field) {
        Some(value) => drop(fields.insert(field.to_owned(), value.clone())),
        None => drop(fields.remove(field)),
    }
}

fn deadline(errors: &mut Errors, path: &Path<'_>, old: &Value, new: &Value) {
    let seconds = |spec: &Value| spec["activeDeadlineSeconds"].as_i64();
    match (seconds(old), seconds(new)) {
        (Some(before), Some(now)) if before < now => {
            errors.invalid(path, now, "must be less than or equal to previous value");
        }
        (Some(_), None) => {
            errors.invalid(path, NOTHING, "must not update from a positive integer to nil value");
        }
        _ => {}
    }
}

fn tolerations(errors: &mut Errors, path: &Path<'_>, old: &Value, new: &Value) {
    let all = |spec: &Value| -> Vec<Map<String, Value>> {
        let list = spec["tolerations"].as_array().into_iter().flatten();
        let bare = list.filter_map(Value::as_object).cloned().map(|mut one| {
            one.remove("tolerationSeconds");
            one
        });
        bare.collect()
    };
    let new = all(new);
    if all(old).iter().any(|one| !new.contains(one)) {
        errors.forbidden(path, "existing toleration can not be modified except its tolerationSeconds");
    }
}

/// Makes what may change in a container what it was.
fn container(errors: &mut Errors, path: &Path<'_>, old: &Value, new: &mut Value) {
    if old["image"] != new["image"] {
        // Where the manifest names no policy it follows from the image.
        restore(new, old, "image");
        restore(new, old, "imagePullPolicy");
    }
    let is_init = matches!(path.to_string().as_str(), text if text.starts_with("spec.initContainers"));
    let path = path.field("resources");
    if old["resources"] == new["resources"] {
        return;
    }
    if is_init && old["restartPolicy"] != "Always" {
        errors.forbidden(&path, "resources for non-sidecar init containers are immutable");
        return restore(new, old, "resources");
    }
    for (map, removed) in
        [("limits", "resource limits cannot be removed"), ("requests", "resource requests cannot be removed")]
    {
        let is_gone =
            |name: &str| !old["resources"][map][name].is_null() && new["resources"][map][name].is_null();
        if ["cpu", "memory"].into_iter().any(is_gone) {
            errors.forbidden(&path.field(map), removed);
        }
    }
    if others(&old["resources"]) != others(&new["resources"]) {
        errors.forbidden(&Path::ROOT.field("spec"), "only cpu and memory resources are mutable");
    }
    restore(new, old, "resources");
}

/// What of a container's resources is neither cpu nor memory.
fn others(resources: &Value) -> Value {
    let mut rest = resources.clone();
    for map in ["limits", "requests"] {
        if let Some(amounts) = rest.get_mut(map).and_then(Value::as_object_mut) {
            amounts.retain(|name, _| !matches!(name.as_str(), "cpu" | "memory"));
        }
    }
    if let Some(fields) = rest.as_object_mut() {
        fields.retain(|_, value| value.as_object().is_none_or(|amounts| !amounts.is_empty()));
    }
    rest
}

/// Nothing else may differ.
fn the_rest(errors: &mut Errors, path: &Path<'_>, old: &Value, new: &Value) {
    let mut fields = Vec::new();
    differences(path, old, new, &mut fields);
    if fields.is_empty() {
        return;
    }
    errors.forbidden(path, ONLY);
    if fields.len() > NAMED {
        fields.truncate(NAMED);
        fields.push("…".to_owned());
    }
    errors.hint(format!("changed: {}", fields.join(", ")));
}

fn differences(path: &Path<'_>, old: &Value, new: &Value, fields: &mut Vec<String>) {
    if old == new || fields.len() > NAMED {
        return;
    }
    match (old, new) {
        (Value::Object(before), Value::Object(now)) => {
            let names: std::collections::BTreeSet<_> = before.keys().chain(now.keys()).collect();
            for name in names {
                let of = |fields: &Map<String, Value>| fields.get(name).cloned().unwrap_or_default();
                differences(&path.field(name), &of(before), &of(now), fields);
            }
        }
        (Value::Array(before), Value::Array(now)) if before.len() == now.len() => {
            for (index, (before, now)) in before.iter().zip(now).enumerate() {
                differences(&path.index(index), before, now, fields);
            }
        }
        _ => fields.push(path.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(spec: &str, containers: &str) -> Value {
        let text = format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec:\n  restartPolicy: Always\n{spec}\n  containers:\n{containers}"
        );
        let source = crate::manifest::Source::new("p", text);
        let loaded = crate::manifest::load(&[source], &crate::manifest::Options::default());
        loaded.unwrap_or_else(|why| panic!("{why}")).pods.remove(0).object
    }

    fn said(old: &Value, new: &Value) -> Vec<String> {
        check(old, new, ("Burstable", "Burstable")).iter().map(ToString::to_string).collect()
    }

    const ONE: &str = "  - {name: c, image: 'i:1', command: [a], resources: {limits: {cpu: 1, memory: 1Gi}}}";

    #[test]
    fn images_resources_deadlines_and_more_tolerations_may_change() {
        let old =
            object("  tolerations: [{key: a, effect: NoExecute}]\n  terminationGracePeriodSeconds: -1", ONE);
        let new = object(
            "  tolerations: [{key: a, effect: NoExecute, tolerationSeconds: 3}, {key: b}]\n  terminationGracePeriodSeconds: 1\n  activeDeadlineSeconds: 9",
            "  - {name: c, image: 'i', command: [a], resources: {limits: {cpu: 2, memory: 2Gi}}}",
        );
        assert_eq!(said(&old, &new), [""; 0]);
    }

    #[test]
    fn nothing_else_may_change_and_the_fields_are_named() {
        let old = object("", ONE);
        let new = object("  hostname: h", &ONE.replace("[a]", "[b, c]"));
        let errors = check(&old, &new, ("Burstable", "Burstable"));
        assert_eq!(errors.len(), 1);
        assert_eq!(errors[0].to_string(), format!("spec: Forbidden: {ONLY}"));
        let hint = errors[0].hint.as_deref();
        assert_eq!(hint, Some("changed: spec.containers[0].command, spec.hostname"));
        let more = format!("{ONE}\n  - {{name: d, image: i}}");
        assert_eq!(
            said(&old, &object("", &more)),
            ["spec.containers: Forbidden: pod updates may not add or remove containers"]
        );
    }

    #[test]
    fn what_is_asked_of_the_network_may_not_change_and_other_annotations_may() {
        let with = |annotations: Value| {
            let mut object = object("", ONE);
            object["metadata"]["annotations"] = annotations;
            object
        };
        let old = with(serde_json::json!({"podbox.local/ip": "10.244.0.7", "a": "b"}));
        assert_eq!(
            said(&old, &with(serde_json::json!({"podbox.local/ip": "10.244.0.7", "a": "c"}))),
            [""; 0]
        );
        let why =
            "metadata.annotations[podbox.local/ip]: Forbidden: it counts when the pod is put on its network";
        assert_eq!(said(&old, &with(serde_json::json!({"podbox.local/ip": "10.244.0.8"}))), [why]);
        assert_eq!(said(&old, &object("", ONE)), [why]);
    }

    #[test]
    fn a_deadline_may_only_come_nearer() {
        let with = |seconds: u32| object(&format!("  activeDeadlineSeconds: {seconds}"), ONE);
        assert_eq!(said(&with(9), &with(8)), [""; 0]);
        assert_eq!(
            said(&with(8), &with(9)),
            ["spec.activeDeadlineSeconds: Invalid value: 9: must be less than or equal to previous value"]
        );
        assert_eq!(
            said(&with(8), &object("", ONE)),
            [
                "spec.activeDeadlineSeconds: Invalid value: null: must not update from a positive integer to nil value"
            ]
        );
    }

    #[test]
    fn tolerations_stay() {
        let old = object("  tolerations: [{key: a}]", ONE);
        assert_eq!(
            said(&old, &object("", ONE)),
            [
                "spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds"
            ]
        );
    }

    #[test]
    fn limits_may_change_but_not_go() {
        let old = object("", ONE);
        assert_eq!(
            said(&old, &object("", &ONE.replace("cpu: 1, ", ""))),
            [
                "spec.containers[0].resources.limits: Forbidden: resource limits cannot be removed",
                "spec.containers[0].resources.requests: Forbidden: resource requests cannot be removed"
            ]
        );
        let storage = ONE.replace("cpu: 1", "cpu: 1, ephemeral-storage: 1Gi");
        assert_eq!(
            said(&old, &object("", &storage)),
            ["spec: Forbidden: only cpu and memory resources are mutable"]
        );
        let init = |cpu: u32| {
            format!("  initContainers: [{{name: i, image: i, resources: {{limits: {{cpu: {cpu}}}}}}}]")
        };
        assert_eq!(
            said(&object(&init(1), ONE), &object(&init(2), ONE)),
            [
                "spec.initContainers[0].resources: Forbidden: resources for non-sidecar init containers are immutable"
            ]
        );
        let errors = check(&old, &old, ("Guaranteed", "Burstable"));
        assert_eq!(
            errors[0].to_string(),
            "spec: Invalid value: \"Guaranteed\": Pod QOS Class may not change as a result of resizing"
        );
    }
}
