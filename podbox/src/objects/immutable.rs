//! What of a stored object may not change, in the API server's words (`pkg/apis/core/validation`, the `...Update`s).

use serde_json::Value;

use crate::pod::Quantity;
use crate::pod::field::{Errors, FieldError, Path};
use crate::store::ObjectKind;

const WHEN_SET: &str = "field is immutable when `immutable` is set";
const CLAIM: &str = "spec is immutable after creation except resources.requests and volumeAttributesClassName for \
                     bound claims";
const SOURCE: &str = "spec.persistentvolumesource is immutable after creation";

/// All that may not change and does.
pub(super) fn check(kind: ObjectKind, live: &Value, new: &Value) -> Vec<FieldError> {
    let mut errors = Errors::default();
    match kind {
        ObjectKind::ConfigMap => sealed(&mut errors, (live, new), &["data", "binaryData"]),
        ObjectKind::Secret => {
            if live["type"] != new["type"] {
                errors.invalid(&Path::ROOT.field("type"), new["type"].clone(), "field is immutable");
            }
            sealed(&mut errors, (live, new), &["data"]);
        }
        ObjectKind::PersistentVolumeClaim => claim(&mut errors, &live["spec"], &new["spec"]),
        ObjectKind::PersistentVolume => volume(&mut errors, &live["spec"], &new["spec"]),
        ObjectKind::Service => service(&mut errors, &live["spec"], &new["spec"]),
        ObjectKind::EndpointSlice => {
            if live["addressType"] != new["addressType"] {
                let path = Path::ROOT.field("addressType");
                errors.invalid(&path, new["addressType"].clone(), "field is immutable");
            }
        }
        ObjectKind::Namespace | ObjectKind::ServiceAccount | ObjectKind::Endpoints => {}
    }
    errors.into_vec()
}

/// An object that was declared immutable stays so, and keeps its fields.
fn sealed(errors: &mut Errors, (live, new): (&Value, &Value), fields: &[&str]) {
    if live["immutable"] != true {
        return;
    }
    for field in [&["immutable"], fields].concat() {
        if live[field] != new[field] {
            errors.forbidden(&Path::ROOT.field(field), WHEN_SET);
        }
    }
}

fn claim(errors: &mut Errors, live: &Value, new: &Value) {
    let rest = |spec: &Value| {
        let mut spec = spec.clone();
        if let Some(fields) = spec.as_object_mut() {
            fields.remove("resources");
            fields.remove("volumeAttributesClassName");
        }
        spec
    };
    let path = Path::ROOT.field("spec");
    if rest(live) != rest(new) {
        errors.forbidden(&path, CLAIM);
    }
    let size = |spec: &Value| -> Quantity {
        let text = spec["resources"]["requests"]["storage"].as_str();
        text.and_then(|text| text.parse().ok()).unwrap_or(Quantity::ZERO)
    };
    if size(new).amount_cmp(size(live)).is_lt() {
        let (resources, requests) = (path.field("resources"), "requests");
        let path = resources.field(requests);
        errors.forbidden(&path.field("storage"), "field can not be less than status.capacity");
    }
}

fn volume(errors: &mut Errors, live: &Value, new: &Value) {
    let path = Path::ROOT.field("spec");
    if ["hostPath", "local"].iter().any(|source| live[source] != new[source]) {
        errors.forbidden(&path.field("persistentvolumesource"), SOURCE);
    }
    if live["volumeMode"] != new["volumeMode"] {
        errors.invalid(&path.field("volumeMode"), new["volumeMode"].clone(), "field is immutable");
    }
}

fn service(errors: &mut Errors, live: &Value, new: &Value) {
    let ip = |spec: &Value| spec["clusterIP"].as_str().unwrap_or("").to_owned();
    let both_have = [live, new].iter().all(|spec| spec["type"] != "ExternalName");
    if both_have && !ip(live).is_empty() && ip(live) != ip(new) {
        let path = Path::ROOT.field("spec");
        let ips = Value::from(vec![ip(new)]);
        errors.invalid(&path.field("clusterIPs").index(0), ips, "may not change once set");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn said(kind: ObjectKind, live: &Value, new: &Value) -> Vec<String> {
        check(kind, live, new).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_immutable_object_refuses_all_that_it_says_it_refuses() {
        let live = json!({"data": {"a": "1"}, "immutable": true, "metadata": {}});
        let kind = ObjectKind::ConfigMap;
        assert!(
            said(kind, &live, &json!({"data": {"a": "1"}, "immutable": true, "metadata": {"labels": {}}}))
                .is_empty()
        );
        assert_eq!(
            said(kind, &live, &json!({"data": {"a": "2"}})),
            [
                "immutable: Forbidden: field is immutable when `immutable` is set",
                "data: Forbidden: field is immutable when `immutable` is set",
            ]
        );
        let typed = |kind: &str| json!({"type": kind});
        assert_eq!(
            said(ObjectKind::Secret, &typed("Opaque"), &typed("x/y")),
            ["type: Invalid value: \"x/y\": field is immutable"]
        );
    }

    #[test]
    fn a_claim_may_grow_and_nothing_else() {
        let claim = |size: &str, mode: &str| json!({"spec": {"accessModes": [mode], "resources": {"requests": {"storage": size}}}});
        let kind = ObjectKind::PersistentVolumeClaim;
        let live = claim("1Gi", "ReadWriteOnce");
        assert!(said(kind, &live, &claim("2Gi", "ReadWriteOnce")).is_empty());
        assert_eq!(said(kind, &live, &claim("1Gi", "ReadWriteMany")), [format!("spec: Forbidden: {CLAIM}")]);
        assert_eq!(
            said(kind, &live, &claim("1Mi", "ReadWriteOnce")),
            ["spec.resources.requests.storage: Forbidden: field can not be less than status.capacity"]
        );
    }

    #[test]
    fn a_volume_stays_where_it_lies() {
        let volume = |path: &str| json!({"spec": {"hostPath": {"path": path}, "volumeMode": "Filesystem"}});
        assert_eq!(
            said(ObjectKind::PersistentVolume, &volume("/a"), &volume("/b")),
            [format!("spec.persistentvolumesource: Forbidden: {SOURCE}")]
        );
    }
}
