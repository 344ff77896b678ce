//! The objects that are no pods, as commands read them.

use serde_json::{Value, json};

use crate::report;
use crate::store::{ObjectKind, Store};

use super::kinds::Kind;
use super::targets::Query;
use super::watch::Watch;
use super::{Failure, Session};

mod status;

/// The object of that name.
pub(super) fn find(
    session: &Session,
    kind: ObjectKind,
    namespace: &str,
    name: &str,
) -> Result<Value, Failure> {
    let store = &session.settings.store;
    if let Some(object) = store.object(kind, namespace, name).map_err(|error| Failure::host(&error))? {
        return Ok(whole(store, kind, (namespace, name), object));
    }
    if kind == ObjectKind::Namespace && namespaces(store).iter().any(|known| known == name) {
        return Ok(namespace_in_use(name));
    }
    let place = if kind.is_namespaced() { format!("{namespace}/") } else { String::new() };
    let failure = Failure::wrong(format!("{} {place}{name} not found", Kind::Object(kind).singular()));
    let elsewhere = store.object_names(kind).into_iter().find(|(_, known)| known == name);
    Err(match elsewhere {
        Some((elsewhere, _)) => {
            failure.hint(format!("there is one of that name in namespace {elsewhere}: -n {elsewhere}"))
        }
        None => failure,
    })
}

/// The objects of a kind that fit, by namespace and name. One whose file cannot be read is told and left out.
pub(super) fn fitting(session: &Session, kind: ObjectKind, query: &Query) -> Vec<Value> {
    let store = &session.settings.store;
    let mut objects: Vec<Value> = Vec::new();
    for (namespace, name) in names(store, kind) {
        if kind.is_namespaced() && !query.covers(&namespace) {
            continue;
        }
        match store.object(kind, &namespace, &name) {
            Ok(Some(object)) => objects.push(whole(store, kind, (&namespace, &name), object)),
            // Removed in this very moment, or a namespace that only is in use.
            Ok(None) if kind == ObjectKind::Namespace => objects.push(namespace_in_use(&name)),
            Ok(None) => {}
            Err(error) => anstream::eprintln!("warning: {}", report::chain(&error)),
        }
    }
    objects.retain(|object| query.fits(object));
    objects
}

/// The (namespace, name) of every object of a kind, sorted.
pub(super) fn names(store: &Store, kind: ObjectKind) -> Vec<(String, String)> {
    match kind {
        ObjectKind::Namespace => namespaces(store).into_iter().map(|name| (String::new(), name)).collect(),
        _ => store.object_names(kind),
    }
}

/// Every namespace: those that were made, `default`, and those that something lies in, for it need not be made first.
pub(super) fn namespaces(store: &Store) -> Vec<String> {
    let mut all = vec!["default".to_owned()];
    all.extend(store.object_names(ObjectKind::Namespace).into_iter().map(|(_, name)| name));
    all.extend(store.names().into_iter().map(|(namespace, ..)| namespace));
    for kind in ObjectKind::ALL.into_iter().filter(|kind| kind.is_namespaced()) {
        all.extend(store.object_names(kind).into_iter().map(|(namespace, _)| namespace));
    }
    all.sort();
    all.dedup();
    all
}

/// Watches for objects of the kind that come, change and go. To be called again after each change.
pub(super) fn watch(session: &Session, watch: &Watch, kind: ObjectKind) {
    let store = &session.settings.store;
    watch.add_nearest(&store.objects_of_kind(kind));
    // Also those in which nothing lies yet: a directory is there before its first file.
    for dir in store.object_dirs(kind) {
        watch.add_nearest(&dir);
    }
    match kind {
        ObjectKind::Namespace => watch.add_nearest(&store.names_dir()),
        // They are bound by supervisors, which leave a mark.
        ObjectKind::PersistentVolumeClaim | ObjectKind::PersistentVolume => {
            for namespace in namespaces(store) {
                watch.add_nearest(&store.claims_of(&namespace));
            }
        }
        ObjectKind::ServiceAccount
        | ObjectKind::ConfigMap
        | ObjectKind::Secret
        | ObjectKind::Endpoints
        | ObjectKind::EndpointSlice
        | ObjectKind::Service => {}
    }
}

/// An object with all that an API server would show of it.
fn whole(store: &Store, kind: ObjectKind, (namespace, name): (&str, &str), object: Value) -> Value {
    let mut object = complete(kind, namespace, name, object);
    status::add(store, kind, &mut object);
    object
}

/// What makes it an object of the API, where whoever stored it left that out.
fn complete(kind: ObjectKind, namespace: &str, name: &str, mut object: Value) -> Value {
    if !object.is_object() {
        object = json!({});
    }
    let mut whole = json!({"apiVersion": "v1", "kind": kind.kind()});
    if let (Some(whole), Some(object)) = (whole.as_object_mut(), object.as_object_mut()) {
        whole.append(object);
    }
    if !whole["metadata"].is_object() {
        whole["metadata"] = json!({});
    }
    whole["metadata"]["name"] = json!(name);
    if kind.is_namespaced() {
        whole["metadata"]["namespace"] = json!(namespace);
    }
    whole
}

fn namespace_in_use(name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name}},
        "spec": {"finalizers": ["kubernetes"]},
        "status": {"phase": "Active"},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_that_was_stored_without_its_head_has_one_and_keeps_the_rest() {
        let whole = complete(ObjectKind::ConfigMap, "team", "a", json!({"data": {"k": "v"}}));
        let metadata = json!({"name": "a", "namespace": "team"});
        assert_eq!(
            whole,
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"k": "v"}})
        );
        let whole = complete(ObjectKind::PersistentVolume, "", "pv", json!({"metadata": {"uid": "u"}}));
        assert_eq!(whole["metadata"], json!({"name": "pv", "uid": "u"}));
    }
}
