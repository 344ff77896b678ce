//! What is no pod: stored before the pods start, and put back if they cannot.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::manifest::{LoadedObject, LoadedPod};
use crate::objects::{self, Change};
use crate::pod::field::FieldError;
use crate::services::{self, Outside, Service};
use crate::store::{ObjectKind, Store, StoreError, lock};
use crate::uuid;

use super::super::{Failure, Session, out, removal};

/// What this command has stored.
#[derive(Default)]
pub(super) struct Applied(Vec<One>);

struct One {
    kind: ObjectKind,
    namespace: String,
    name: String,
    change: Change,
    before: Option<Value>,
    after: Value,
}

/// Stores the objects. Whether all of them may change is asked before the first does.
///
/// # Errors
/// If one may not change or cannot be written; then all are as they were.
pub(super) fn apply(
    session: &Session,
    loaded: Vec<LoadedObject>,
    set: Option<&str>,
) -> Result<Applied, Failure> {
    let store = &session.settings.store;
    let mut all: Vec<One> = Vec::with_capacity(loaded.len());
    // Until all of them are stored, so that nobody else is given the same.
    let has_services = loaded.iter().any(|one| one.kind == ObjectKind::Service);
    if has_services {
        refuse_ranges(session)?;
    }
    let lock = has_services.then(|| lock(&store.services_lock())).transpose();
    let _lock = lock.map_err(|error| Failure::host(&error))?;
    let stored = if has_services { stored_services(store)? } else { BTreeMap::new() };
    for LoadedObject { kind, namespace, name, mut object } in loaded {
        refuse_terminating(session, &namespace, (kind.resource(), &name))?;
        if kind == ObjectKind::Namespace {
            refuse_terminating(session, &name, (kind.resource(), &name))?;
        }
        let before = store.object(kind, &namespace, &name).map_err(|error| Failure::host(&error))?;
        if let Some(set) = set {
            objects::put_into_set(&mut object, set);
        }
        let changed = objects::change(kind, before.as_ref(), &object);
        let (change, mut after) = changed.map_err(|wrong| refused(kind, &name, &wrong))?;
        if kind == ObjectKind::Service {
            let given = all.iter().filter(|one| one.kind == kind).map(|one| &one.after);
            give(session, (before.as_ref(), &mut after), (&stored, given))?;
        }
        if change == Change::Created {
            after["metadata"]["uid"] = json!(uuid::random().map_err(|error| Failure::host(&error))?);
            after["metadata"]["creationTimestamp"] = json!(format!("{:.0}", jiff::Timestamp::now()));
        }
        all.push(One { kind, namespace, name, change, before, after });
    }
    let mut applied = Applied::default();
    for one in all {
        if one.before.as_ref() == Some(&one.after) {
            applied.0.push(one);
            continue;
        }
        let kept = store.keep_object(one.kind, (&one.namespace, &one.name), &one.after);
        if let Err(error) = kept {
            applied.put_back(session);
            return Err(Failure::host(&error));
        }
        applied.0.push(one);
    }
    Ok(applied)
}

/// The Services of a manifest as they would be stored now, with the addresses and ports that they would get. Nothing is.
pub(in crate::cli) fn planned_services(
    session: &Session,
    loaded: &[LoadedObject],
) -> Result<Vec<Value>, Failure> {
    let (store, kind) = (&session.settings.store, ObjectKind::Service);
    if loaded.iter().any(|one| one.kind == kind) {
        refuse_ranges(session)?;
    }
    let (stored, mut all) = (stored_services(store)?, Vec::new());
    for LoadedObject { namespace, name, object, .. } in loaded.iter().filter(|one| one.kind == kind) {
        let before = store.object(kind, namespace, name).map_err(|error| Failure::host(&error))?;
        let changed = objects::change(kind, before.as_ref(), object);
        let (_, mut after) = changed.map_err(|wrong| refused(kind, name, &wrong))?;
        give(session, (before.as_ref(), &mut after), (&stored, all.iter()))?;
        all.push(after);
    }
    Ok(all)
}

/// Who would be behind Services beside pods, by what is stored and by a manifest.
pub(in crate::cli) fn planned_outside(session: &Session, loaded: &[LoadedObject]) -> Outside {
    let store = &session.settings.store;
    let mut objects: Vec<Value> = Vec::new();
    for kind in [ObjectKind::EndpointSlice, ObjectKind::Endpoints] {
        let given = || loaded.iter().filter(move |one| one.kind == kind);
        let is_given = |namespace: &str, name: &str| {
            given().any(|one| (one.namespace.as_str(), one.name.as_str()) == (namespace, name))
        };
        let stored = store.object_names(kind).into_iter();
        let stored = stored.filter(|(namespace, name)| !is_given(namespace, name));
        objects.extend(
            stored.filter_map(|(namespace, name)| store.object(kind, &namespace, &name).ok().flatten()),
        );
        objects.extend(given().map(|one| one.object.clone()));
    }
    services::outside(objects)
}

/// Fails if the host uses addresses for something else that Services would be given.
fn refuse_ranges(session: &Session) -> Result<(), Failure> {
    let ranges = session.settings.service_ranges();
    netplugin::check_ranges(&ranges).map_err(|error| Failure::host(&error))
}

/// Gives a Service the addresses and ports that it lacks, beside those that are stored and those that were given some before it.
fn give<'a>(
    session: &Session,
    (before, service): (Option<&Value>, &mut Value),
    (stored, given): (&'a BTreeMap<(String, String), Value>, impl Iterator<Item = &'a Value>),
) -> Result<(), Failure> {
    let [namespace, name] =
        ["namespace", "name"].map(|key| service["metadata"][key].as_str().unwrap_or_default().to_owned());
    let own = (namespace, name);
    let others = stored.iter().filter(|(key, _)| **key != own).map(|(_, object)| object).chain(given);
    services::allot(service, before, others, &session.settings.allotment())
        .map_err(|wrong| invalid(ObjectKind::Service, &own.1, &wrong))
}

/// All Services that there are, by namespace and name.
fn stored_services(store: &Store) -> Result<BTreeMap<(String, String), Value>, Failure> {
    let read = |(namespace, name): (String, String)| {
        let object = store.object(ObjectKind::Service, &namespace, &name);
        object.map(|object| Some(((namespace, name), object?))).transpose()
    };
    let all = store.object_names(ObjectKind::Service).into_iter().filter_map(read);
    all.collect::<Result<_, _>>().map_err(|error| Failure::host(&error))
}

/// Refuses pods of a namespace that is being removed. `default` never is, so it is not even looked at.
pub(super) fn refuse_in_terminating(session: &Session, pods: &[LoadedPod]) -> Result<(), Failure> {
    pods.iter()
        .try_for_each(|loaded| refuse_terminating(session, &loaded.pod.namespace, ("pods", &loaded.pod.name)))
}

fn refuse_terminating(
    session: &Session,
    namespace: &str,
    (resource, name): (&str, &str),
) -> Result<(), Failure> {
    if matches!(namespace, "" | "default") {
        return Ok(());
    }
    let found = session.settings.store.object(ObjectKind::Namespace, "", namespace);
    if !found.map_err(|error| Failure::host(&error))?.is_some_and(|found| objects::is_terminating(&found)) {
        return Ok(());
    }
    let why = format!(
        "{resource} {name:?} is forbidden: unable to create new content in namespace {namespace} because it is being \
         terminated"
    );
    Err(Failure::wrong(why).hint(format!("`podbox down ns/{namespace}` goes on removing it")))
}

/// The API server's words for an object that it refuses.
fn invalid(kind: ObjectKind, name: &str, wrong: &[FieldError]) -> Failure {
    let all: Vec<String> = wrong.iter().map(ToString::to_string).collect();
    Failure::wrong(format!("The {} {name:?} is invalid: {}", kind.kind(), all.join("; ")))
}

/// The same for an update, with what there is to do about it.
pub(in crate::cli) fn refused(kind: ObjectKind, name: &str, wrong: &[FieldError]) -> Failure {
    let word = removal::word(kind);
    invalid(kind, name, wrong)
        .hint(format!("`podbox down {word}/{name}` removes it; then it can be made anew"))
}

/// Removes what was not there before. A claim that a pod has used meanwhile must not keep its volume from others.
fn remove_again(store: &Store, one: &One) -> Result<(), StoreError> {
    store.drop_object(one.kind, &one.namespace, &one.name)?;
    if one.kind == ObjectKind::PersistentVolumeClaim {
        store.unbind(&one.namespace, &one.name)?;
    }
    Ok(())
}

impl Applied {
    /// Puts all back as it was before this command.
    pub(super) fn put_back(&self, session: &Session) {
        let store = &session.settings.store;
        for one in self.0.iter().rev().filter(|one| one.before.as_ref() != Some(&one.after)) {
            let what = removal::shown(one.kind, &one.namespace, &one.name);
            let done = match &one.before {
                Some(before) => store.keep_object(one.kind, (&one.namespace, &one.name), before),
                None => remove_again(store, one),
            };
            if let Err(error) = done {
                let why = Failure::host(&error);
                anstream::eprintln!("error: put {what} back: {}", why.message());
            } else if !session.quiet {
                let how = if one.before.is_some() { "put back" } else { "removed again" };
                anstream::eprintln!("{what} {how}");
            }
        }
    }

    /// The Services that are new or others now.
    pub(super) fn services(&self) -> Vec<Service> {
        let changed = self.0.iter().filter(|one| one.before.as_ref() != Some(&one.after));
        changed
            .filter(|one| one.kind == ObjectKind::Service)
            .filter_map(|one| Service::of(&one.after))
            .collect()
    }

    /// Says what became of each.
    pub(super) fn say(&self, session: &Session) -> Result<(), Failure> {
        self.0.iter().filter(|_| !session.quiet).try_for_each(|one| {
            let what = removal::shown(one.kind, &one.namespace, &one.name);
            out::line(format_args!("{what} {}", one.change.word()))
        })
    }
}
