//! What `down` is about beside pods.

use std::collections::BTreeSet;

use crate::manifest::Strictness;
use crate::pod::names as names_of_objects;
use crate::store::ObjectKind;

use super::super::kinds::Kind;
use super::super::pods::{self, Found};
use super::super::removal::{self, Removal};
use super::super::{Failure, Session, names, out};

/// What the arguments mean.
#[derive(Default)]
pub(super) struct Chosen {
    pub(super) pods: Vec<Found>,
    /// By kind, namespace and name, in the order in which they are needed.
    pub(super) objects: BTreeSet<(ObjectKind, String, String)>,
    /// Those that a word names, which must be there.
    named: BTreeSet<(ObjectKind, String, String)>,
    pub(super) missing: Vec<Failure>,
}

impl Chosen {
    /// Takes an object that is named after its kind: `cm web`.
    pub(super) fn name(&mut self, kind: &str, name: &str, namespace: &str) {
        let Some(kind) = Kind::object(kind) else { return };
        let namespace = if kind.is_namespaced() { namespace } else { "" };
        self.named.insert((kind, namespace.to_owned(), name.to_owned()));
    }

    /// Takes an object that is named in one word with its kind, `cm/web`; false if the word is of another form.
    pub(super) fn name_in_one(&mut self, word: &str, namespace: &str) -> bool {
        let Some((kind, name)) = word.split_once('/') else { return false };
        if Kind::object(kind).is_none() || name.contains('/') {
            return false;
        }
        self.name(kind, name, namespace);
        true
    }

    /// Takes all that the manifests hold.
    ///
    /// # Errors
    /// If one of them is wrong.
    pub(super) fn hold(&mut self, session: &Session, files: &[String]) -> Result<(), Failure> {
        if !files.is_empty() {
            // They may have been stored and started although they have fields that nobody knows.
            let loaded = names::load(files, Strictness::Ignore, &[])?;
            for pod in loaded.pods {
                self.pods.extend(pods::find(session, &pod.pod.namespace, &pod.pod.name).ok());
            }
            self.objects.extend(loaded.objects.into_iter().map(|one| (one.kind, one.namespace, one.name)));
        }
        self.pods.dedup_by(|a, b| a.pod.uid == b.pod.uid);
        Ok(())
    }

    /// Tells which of the named objects are not there.
    pub(super) fn look(&mut self, removal: Removal<'_>) {
        let store = &removal.session.settings.store;
        for (kind, namespace, name) in std::mem::take(&mut self.named) {
            // A word of the command line becomes a part of a path.
            let is_name = |text: &str| names_of_objects::subdomain(text).is_empty();
            let is_good = is_name(&name) && (namespace.is_empty() || is_name(&namespace));
            let is_there = || match kind {
                ObjectKind::Namespace => removal.has_namespace(&name),
                _ => matches!(store.object(kind, &namespace, &name), Ok(Some(_))),
            };
            if is_good && is_there() {
                self.objects.insert((kind, namespace, name));
            } else {
                self.missing.push(Failure::wrong(format!("{} {name:?} not found", kind.resource())));
            }
        }
    }

    /// The pods that go: those that are meant, and all of the namespaces that are; from here on nothing new begins in
    /// these. `default` is refused later, when the rest has gone.
    ///
    /// # Errors
    /// If the disk says no.
    pub(super) fn with_namespaces(&self, removal: Removal<'_>) -> Result<Vec<Found>, Failure> {
        let mut found = self.pods.clone();
        let namespaces = self.objects.iter().filter(|(kind, ..)| *kind == ObjectKind::Namespace);
        for (_, _, name) in namespaces.filter(|(_, _, name)| name != "default") {
            if removal.has_namespace(name) {
                removal.begin_namespace(name)?;
                found.extend(pods::all(removal.session, Some(name)));
            }
        }
        let mut seen = BTreeSet::new();
        found.retain(|pod| seen.insert(pod.pod.uid.clone()));
        Ok(found)
    }
}

/// Removes the objects, those first that need others; tells what could not be removed.
pub(super) fn remove_all(
    removal: Removal<'_>,
    objects: &BTreeSet<(ObjectKind, String, String)>,
) -> Vec<Failure> {
    let mut failures = Vec::new();
    for (kind, namespace, name) in objects.iter().rev() {
        match removal.remove(*kind, namespace, name) {
            Ok(true) if !removal.session.quiet => {
                let what = removal::shown(*kind, namespace, name);
                failures.extend(out::line(format_args!("{what} removed")).err());
            }
            Ok(_) => {}
            Err(failure) => failures.push(failure),
        }
    }
    failures
}
