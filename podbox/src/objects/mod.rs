//! Stored objects as they change: what becomes of the one that is there when a manifest says something else.
//!
//! Pure. The rules are those of `pkg/registry/core` (what an update keeps) and of [`immutable`].

mod immutable;

use serde_json::{Value, json};

use crate::pod::field::FieldError;
use crate::store::ObjectKind;

/// The annotation that says which set of files an object or a pod came from, so that `up --prune` knows what they no
/// longer hold. It lies with the object, so it is written when that is, and gone with it.
pub const SET: &str = "podbox.local/set";

/// What becomes of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// There was none.
    Created,
    /// It is another one now.
    Configured,
    /// It is what was wished for.
    Unchanged,
}

impl Change {
    /// As `up` says it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Change::Created => "created",
            Change::Configured => "configured",
            Change::Unchanged => "unchanged",
        }
    }
}

/// What the object `live` becomes that shall be as `wished`, and whether that changes it.
///
/// # Errors
/// What may not change, in the API server's words.
pub fn change(
    kind: ObjectKind,
    live: Option<&Value>,
    wished: &Value,
) -> Result<(Change, Value), Vec<FieldError>> {
    let mut new = wished.clone();
    if kind == ObjectKind::Namespace {
        new["status"] = json!({"phase": "Active"});
    }
    let Some(live) = live else { return Ok((Change::Created, new)) };
    for (map, field) in [("metadata", "uid"), ("metadata", "creationTimestamp"), ("spec", "volumeName")] {
        keep(live, &mut new, (map, field));
    }
    if kind == ObjectKind::Service && new["spec"]["type"] != "ExternalName" {
        keep(live, &mut new, ("spec", "clusterIP"));
        keep(live, &mut new, ("spec", "clusterIPs"));
        keep(live, &mut new, ("spec", "ipFamilies"));
        keep(live, &mut new, ("spec", "ipFamilyPolicy"));
        release_the_second_family(&mut new["spec"], wished);
        keep_node_ports(live, &mut new);
    }
    let wrong = immutable::check(kind, live, &new);
    if !wrong.is_empty() {
        return Err(wrong);
    }
    let change = if without_set(live) == without_set(&new) { Change::Unchanged } else { Change::Configured };
    Ok((change, new))
}

/// Keeps a field of the object that is there, if nothing else is wished for.
fn keep(live: &Value, new: &mut Value, (map, field): (&str, &str)) {
    let is_wished = new[map].get(field).is_some_and(|value| !value.is_null() && *value != json!(""));
    if let Some(value) = live[map].get(field).filter(|_| !is_wished) {
        new[map][field] = value.clone();
    }
}

/// A Service that is to have one family from now on gives up the second of what it keeps.
fn release_the_second_family(spec: &mut Value, wished: &Value) {
    if spec["ipFamilyPolicy"] != "SingleStack" {
        return;
    }
    for field in ["clusterIPs", "ipFamilies"] {
        if let Some(list) = spec[field].as_array_mut().filter(|_| wished["spec"][field].is_null()) {
            list.truncate(1);
        }
    }
}

/// Keeps the host's ports of a Service's ports that stay, if no others are wished for.
fn keep_node_ports(live: &Value, new: &mut Value) {
    if !matches!(new["spec"]["type"].as_str(), Some("NodePort" | "LoadBalancer")) {
        return;
    }
    let empty = Vec::new();
    let old = live["spec"]["ports"].as_array().unwrap_or(&empty);
    for port in new["spec"]["ports"].as_array_mut().into_iter().flatten() {
        let same = |other: &&Value| other["port"] == port["port"] && other["protocol"] == port["protocol"];
        let kept = old.iter().find(same).map(|other| other["nodePort"].clone()).filter(Value::is_u64);
        if let Some(kept) = kept.filter(|_| port["nodePort"].as_u64().is_none_or(|number| number == 0)) {
            port["nodePort"] = kept;
        }
    }
}

/// Writes down which set an object comes from.
pub fn put_into_set(object: &mut Value, set: &str) {
    if object["metadata"]["annotations"].is_null() {
        object["metadata"]["annotations"] = json!({});
    }
    object["metadata"]["annotations"][SET] = json!(set);
}

/// The set that an object came from.
#[must_use]
pub fn set_of(object: &Value) -> Option<&str> {
    object["metadata"]["annotations"][SET].as_str()
}

/// The object without what only `--prune` is interested in.
#[must_use]
pub fn without_set(object: &Value) -> Value {
    let mut object = object.clone();
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else { return object };
    if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
        annotations.remove(SET);
        if annotations.is_empty() {
            metadata.remove("annotations");
        }
    }
    object
}

/// Whether a namespace is being removed.
#[must_use]
pub fn is_terminating(namespace: &Value) -> bool {
    !namespace["metadata"]["deletionTimestamp"].is_null()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(data: &Value) -> Value {
        json!({"metadata": {"name": "a"}, "data": data})
    }

    #[test]
    fn an_object_keeps_its_identity_and_says_whether_it_changed() {
        let kind = ObjectKind::ConfigMap;
        let (how, mut live) = change(kind, None, &map(&json!({"a": "1"}))).unwrap();
        assert_eq!(how, Change::Created);
        live["metadata"]["uid"] = json!("u");
        let mut wished = map(&json!({"a": "1"}));
        put_into_set(&mut wished, "s");
        let (how, new) = change(kind, Some(&live), &wished).unwrap();
        assert_eq!((how, set_of(&new)), (Change::Unchanged, Some("s")), "another set is no other object");
        let (how, new) = change(kind, Some(&live), &map(&json!({"a": "2"}))).unwrap();
        assert_eq!((how, &new["metadata"]["uid"]), (Change::Configured, &json!("u")));
    }

    #[test]
    fn a_service_gives_up_its_second_address_if_it_is_to_have_one_family() {
        let both = json!({"spec": {
            "type": "ClusterIP", "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1", "fd00::1"],
            "ipFamilies": ["IPv4", "IPv6"], "ipFamilyPolicy": "RequireDualStack",
        }});
        let kind = ObjectKind::Service;
        let wished = |policy: &Value| json!({"spec": {"type": "ClusterIP", "ipFamilyPolicy": policy}});
        let (how, new) = change(kind, Some(&both), &wished(&json!("SingleStack"))).unwrap();
        assert_eq!((how, &new["spec"]["clusterIPs"]), (Change::Configured, &json!(["10.0.0.1"])));
        assert_eq!(new["spec"]["ipFamilies"], json!(["IPv4"]));
        let (how, _) = change(kind, Some(&both), &wished(&Value::Null)).unwrap();
        assert_eq!(how, Change::Unchanged);
    }

    #[test]
    fn a_services_address_stays_if_none_is_wished_for() {
        let service = |ip: &str| json!({"spec": {"type": "ClusterIP", "clusterIP": ip}});
        let kind = ObjectKind::Service;
        let (_, new) = change(kind, Some(&service("10.0.0.1")), &service("")).unwrap();
        assert_eq!(new["spec"]["clusterIP"], "10.0.0.1");
        let wrong = change(kind, Some(&service("10.0.0.1")), &service("10.0.0.2")).unwrap_err();
        assert!(wrong[0].to_string().contains("may not change once set"), "{wrong:?}");
    }
}
