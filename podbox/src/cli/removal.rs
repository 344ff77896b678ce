//! Removing stored objects as a cluster does: a claim in use stays, a namespace takes all that lies in it along.

use serde_json::{Value, json};

use crate::report;
use crate::store::{ObjectKind, StoreError};

use super::pods::{self, Found};
use super::{Failure, Session};

/// How objects are removed.
#[derive(Clone, Copy)]
pub(super) struct Removal<'s> {
    pub(super) session: &'s Session,
    /// Seconds that the pods of a namespace get; their own if none.
    pub(super) grace: Option<u64>,
    /// Whether what claims hold goes too.
    pub(super) volumes: bool,
}

/// `configmap`, as kubectl has it in front of a name.
pub(super) fn word(kind: ObjectKind) -> String {
    kind.kind().to_lowercase()
}

/// `configmap/web`, with its namespace if that is another than `default`.
pub(super) fn shown(kind: ObjectKind, namespace: &str, name: &str) -> String {
    match namespace {
        "" | "default" => format!("{}/{name}", word(kind)),
        _ => format!("{}/{name} of namespace {namespace}", word(kind)),
    }
}

impl Removal<'_> {
    /// Removes an object; false if there is none.
    ///
    /// # Errors
    /// If it is a claim that a pod uses, the namespace `default`, or if the disk says no.
    pub(super) fn remove(&self, kind: ObjectKind, namespace: &str, name: &str) -> Result<bool, Failure> {
        let store = &self.session.settings.store;
        let there = store.object(kind, namespace, name).map_err(host)?.is_some();
        match kind {
            ObjectKind::Namespace => return self.remove_namespace(name),
            ObjectKind::PersistentVolumeClaim if there => {
                if let Some(user) = self.user_of(namespace, name) {
                    let what = shown(kind, namespace, name);
                    let why = format!("{what} is used by pod {}: it is protected", user.name());
                    return Err(Failure::wrong(why).hint("take the pod down first"));
                }
            }
            _ => {}
        }
        store.drop_object(kind, namespace, name).map_err(host)?;
        if kind == ObjectKind::PersistentVolumeClaim {
            self.let_claim_go(namespace, name)?;
        }
        Ok(there)
    }

    /// A pod that mounts the claim and is not over.
    fn user_of(&self, namespace: &str, claim: &str) -> Option<Found> {
        let mounts = |pod: &Found| {
            let object = pod.object();
            let volumes = object["spec"]["volumes"].as_array();
            volumes.into_iter().flatten().any(|volume| volume["persistentVolumeClaim"]["claimName"] == claim)
        };
        let pods = pods::all(self.session, Some(namespace));
        pods.into_iter().find(|pod| pod.care() != pods::Care::Finished && mounts(pod))
    }

    /// A claim without its object is bound to nothing. The directory that it was given stays with what is in it, and a
    /// claim of the same name finds it again.
    fn let_claim_go(&self, namespace: &str, claim: &str) -> Result<(), Failure> {
        let store = &self.session.settings.store;
        store.unbind(namespace, claim).map_err(host)?;
        if self.volumes {
            crate::store::remove(&store.claim_dir(namespace, claim)).map_err(host)?;
        }
        Ok(())
    }

    /// Marks a namespace as one that is being removed: from then on nothing new begins in it.
    ///
    /// # Errors
    /// For `default`, which every host has.
    pub(super) fn begin_namespace(&self, name: &str) -> Result<(), Failure> {
        if name == "default" {
            let why = "namespaces \"default\" is forbidden: this namespace may not be deleted";
            return Err(Failure::wrong(why));
        }
        let (store, kind) = (&self.session.settings.store, ObjectKind::Namespace);
        let known = store.object(kind, "", name).map_err(host)?;
        let mut object = known
            .unwrap_or_else(|| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}));
        object["metadata"]["deletionTimestamp"] = json!(format!("{:.0}", jiff::Timestamp::now()));
        object["status"] = json!({"phase": "Terminating"});
        store.keep_object(kind, ("", name), &object).map_err(host)
    }

    /// Whether a namespace is there: as an object, or because something lies in it. `default` always is.
    pub(super) fn has_namespace(&self, name: &str) -> bool {
        let store = &self.session.settings.store;
        let is_made = store.object(ObjectKind::Namespace, "", name).ok().flatten().is_some();
        is_made
            || name == "default"
            || store.names().iter().any(|(namespace, ..)| namespace == name)
            || !self.content(name).is_empty()
    }

    fn content(&self, namespace: &str) -> Vec<(ObjectKind, String)> {
        let store = &self.session.settings.store;
        let kinds = ObjectKind::ALL.into_iter().rev().filter(|kind| kind.is_namespaced());
        kinds
            .flat_map(|kind| store.object_names(kind).into_iter().map(move |(of, name)| (kind, of, name)))
            .filter(|(_, of, _)| of == namespace)
            .map(|(kind, _, name)| (kind, name))
            .collect()
    }

    /// Removes a namespace with everything in it. One that cannot be emptied stays marked, as in a cluster.
    fn remove_namespace(&self, name: &str) -> Result<bool, Failure> {
        if !self.has_namespace(name) {
            return Ok(false);
        }
        self.begin_namespace(name)?;
        // An `up` that looked before the mark was there may have begun one more meanwhile.
        loop {
            let pods = pods::all(self.session, Some(name));
            if pods.is_empty() {
                break;
            }
            for pod in pods {
                pod.stop(self.session, self.grace)?;
            }
        }
        for (kind, object) in self.content(name) {
            self.remove(kind, name, &object)?;
        }
        self.session.settings.store.drop_object(ObjectKind::Namespace, "", name).map_err(host)?;
        Ok(true)
    }
}

fn host(error: StoreError) -> Failure {
    Failure::cannot(report::chain(&error))
}

/// An object as it is shown to people who compare: what a Secret holds is nobody's business.
pub(super) fn masked(kind: ObjectKind, mut object: Value, other: Option<&Value>, side: &str) -> Value {
    if kind != ObjectKind::Secret {
        return object;
    }
    let before = other.map(|other| other["data"].clone()).unwrap_or_default();
    for (key, value) in object["data"].as_object_mut().into_iter().flatten() {
        let differs = before.get(key).is_some_and(|there| there != value);
        *value = json!(if differs { format!("*** ({side})") } else { "***".to_owned() });
    }
    object
}
