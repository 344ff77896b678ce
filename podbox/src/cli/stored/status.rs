//! The status of objects that are no pods: what a cluster's controllers would write, read from what supervisors have done.

use std::fs;

use serde_json::{Value, json};

use crate::store::{ObjectKind, Store};

/// Completes an object by its status, where whoever stored it has written none.
pub(super) fn add(store: &Store, kind: ObjectKind, object: &mut Value) {
    if object["status"]["phase"].is_string() {
        return;
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (namespace, name) = (text(&object["metadata"]["namespace"]), text(&object["metadata"]["name"]));
    match kind {
        ObjectKind::Namespace => object["status"] = json!({"phase": "Active"}),
        ObjectKind::PersistentVolume => volume(store, &name, object),
        ObjectKind::PersistentVolumeClaim => claim(store, &namespace, &name, object),
        ObjectKind::ServiceAccount
        | ObjectKind::ConfigMap
        | ObjectKind::Secret
        | ObjectKind::Endpoints
        | ObjectKind::EndpointSlice
        | ObjectKind::Service => {}
    }
}

/// A volume is bound once a supervisor has marked it as somebody's.
fn volume(store: &Store, name: &str, object: &mut Value) {
    let owner = owner(store, name);
    object["status"] = json!({"phase": if owner.is_some() { "Bound" } else { "Available" }});
    if let Some((namespace, claim)) = owner {
        let whole = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": namespace, "name": claim});
        object["spec"]["claimRef"] = whole;
    }
}

/// A claim is bound once its content has a place: a PersistentVolume's, or a directory of its own, which counts as a
/// volume that was made for it. It is lost once its volume is no object any more.
fn claim(store: &Store, namespace: &str, name: &str, object: &mut Value) {
    let place = store.claim_dir(namespace, name);
    if fs::symlink_metadata(&place).is_err() {
        object["status"] = json!({"phase": "Pending"});
        return;
    }
    let own = store.volume_of(namespace, name).filter(|_| place.is_symlink());
    let volume =
        own.as_ref().and_then(|volume| store.object(ObjectKind::PersistentVolume, "", volume).ok()?);
    if let (Some(gone), None) = (&own, &volume) {
        object["spec"]["volumeName"] = json!(gone);
        object["status"] = json!({"phase": "Lost"});
        return;
    }
    let (capacity, modes) = match &volume {
        Some(volume) => (&volume["spec"]["capacity"], &volume["spec"]["accessModes"]),
        None => (&object["spec"]["resources"]["requests"], &object["spec"]["accessModes"]),
    };
    let status =
        json!({"phase": "Bound", "capacity": {"storage": capacity["storage"]}, "accessModes": modes});
    // As provisioners call what they make.
    let made = || format!("pvc-{}", object["metadata"]["uid"].as_str().unwrap_or(name));
    object["spec"]["volumeName"] = json!(own.unwrap_or_else(made));
    object["status"] = status;
}

/// The (namespace, name) of the claim that a volume is bound to.
fn owner(store: &Store, volume: &str) -> Option<(String, String)> {
    let link = fs::read_link(store.bound_mark(volume)).ok()?;
    let (namespace, name) = link.to_str()?.split_once('/')?;
    Some((namespace.to_owned(), name.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::store::{Layers, make_dir, make_parent};

    fn with_status(store: &Store, kind: ObjectKind, mut object: Value) -> Value {
        add(store, kind, &mut object);
        object
    }

    #[test]
    fn claims_and_volumes_are_bound_as_supervisors_have_bound_them() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name| dir.path().join(name);
        let store = Store { run: path("run"), data: path("data"), logs: path("logs"), layers: Layers::Disk };
        let volume = json!({"metadata": {"name": "pv"}, "spec": {"capacity": {"storage": "5Gi"}, "accessModes": ["RWO"]}});
        store.keep_object(ObjectKind::PersistentVolume, ("", "pv"), &volume).unwrap();
        let claim = |name: &str| {
            let meta = json!({"namespace": "team", "name": name, "uid": "u"});
            let spec = json!({"resources": {"requests": {"storage": "1Gi"}}, "accessModes": ["RWX"]});
            let object = json!({"metadata": meta, "spec": spec});
            with_status(&store, ObjectKind::PersistentVolumeClaim, object)
        };
        let volume = || with_status(&store, ObjectKind::PersistentVolume, volume.clone());
        assert_eq!(claim("data")["status"], json!({"phase": "Pending"}));
        assert_eq!(volume()["status"]["phase"], "Available");

        make_parent(&store.claim_dir("team", "data")).unwrap();
        make_parent(&store.bound_mark("pv")).unwrap();
        symlink("/srv/pv", store.claim_dir("team", "data")).unwrap();
        symlink("team/data", store.bound_mark("pv")).unwrap();
        make_dir(&store.claim_dir("team", "own")).unwrap();
        assert_eq!(claim("data")["spec"]["volumeName"], "pv");
        assert_eq!(claim("data")["status"]["capacity"]["storage"], "5Gi");
        assert_eq!(volume()["status"]["phase"], "Bound");
        assert_eq!(volume()["spec"]["claimRef"]["name"], "data");
        assert_eq!(claim("own")["spec"]["volumeName"], "pvc-u");
        assert_eq!(claim("own")["status"]["capacity"]["storage"], "1Gi");

        store.drop_object(ObjectKind::PersistentVolume, "", "pv").unwrap();
        assert_eq!(claim("data")["spec"]["volumeName"], "pv");
        assert_eq!(claim("data")["status"], json!({"phase": "Lost"}));
    }
}
