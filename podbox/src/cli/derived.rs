//! Objects that a cluster's controllers would write, and that are made here when somebody looks: EndpointSlices and
//! Endpoints of Services.

use serde_json::Value;

use crate::services::{self, Catalogue};
use crate::store::ObjectKind;

use super::kinds::{Derived, Kind};
use super::targets::Query;
use super::watch::Watch;
use super::{Failure, Session, stored};

/// All of a kind.
fn all(session: &Session, kind: Derived) -> Vec<Value> {
    let store = &session.settings.store;
    let catalogue = Catalogue::read(store);
    let names = store.object_names(ObjectKind::Service);
    let services = names
        .iter()
        .filter_map(|(namespace, name)| store.object(ObjectKind::Service, namespace, name).ok().flatten());
    let mut all: Vec<Value> = services
        .flat_map(|service| match kind {
            Derived::EndpointSlices => services::endpoint_slices(&catalogue, &service),
            Derived::Endpoints => services::endpoints(&catalogue, &service).into_iter().collect(),
        })
        .collect();
    // What a controller writes is its own.
    let name = |object: &Value| ["namespace", "name"].map(|key| object["metadata"][key].clone());
    let derived: Vec<_> = all.iter().map(name).collect();
    let written = stored::fitting(session, kind.written(), &Query::within(None));
    all.extend(written.into_iter().filter(|object| !derived.contains(&name(object))));
    all
}

/// The objects that fit, by namespace and name.
pub(super) fn fitting(session: &Session, kind: Derived, query: &Query) -> Vec<Value> {
    let covered = |object: &Value| query.covers(object["metadata"]["namespace"].as_str().unwrap_or_default());
    all(session, kind).into_iter().filter(|object| covered(object) && query.fits(object)).collect()
}

/// The object of that name.
pub(super) fn find(session: &Session, kind: Derived, namespace: &str, name: &str) -> Result<Value, Failure> {
    let is_it =
        |object: &Value| object["metadata"]["namespace"] == namespace && object["metadata"]["name"] == name;
    all(session, kind).into_iter().find(is_it).ok_or_else(|| {
        Failure::wrong(format!("{} {namespace}/{name} not found", Kind::Derived(kind).singular()))
    })
}

/// Watches for whatever changes them. To be called again after each change.
pub(super) fn watch(session: &Session, watch: &Watch, kind: Derived) {
    for kind in [ObjectKind::Service, kind.written()] {
        stored::watch(session, watch, kind);
    }
    watch.add_nearest(&session.settings.store.endpoints_dir());
}
