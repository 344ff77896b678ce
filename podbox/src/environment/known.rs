//! What environments refer to, as it is at one moment: read from the store and from the pod's volumes.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::services;
use crate::pod::{Container, EnvValue, Pod, Referent};
use crate::store::{ObjectKind, Store, StoreError};
use crate::subpath;

/// The entries of an object; `None` for one whose bytes are no text.
type Entries = BTreeMap<String, Option<String>>;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    objects: BTreeMap<(Referent, String), Entries>,
    files: BTreeMap<(String, String), String>,
    pub(super) services: Vec<(String, String)>,
}

impl Known {
    /// Reads what `container` refers to; `roots` tells where the pod's volumes lie.
    ///
    /// # Errors
    /// If an object is there and cannot be read.
    pub fn read(
        store: &Store,
        pod: &Pod,
        container: &Container,
        roots: impl Fn(&str) -> Option<PathBuf>,
    ) -> Result<Known, StoreError> {
        let mut known = Known::default();
        for (kind, name) in referents(container) {
            let kept = kind_in_store(kind);
            if let Some(object) = store.object(kept, &pod.namespace, name)? {
                known.objects.insert((kind, name.to_owned()), entries(kind, &object));
            }
        }
        for variable in &container.env {
            let EnvValue::File { volume, path, .. } = &variable.value else { continue };
            let text = roots(volume).and_then(|root| subpath::read_inside(&root, path).ok());
            known.files.extend(text.map(|text| ((volume.clone(), path.clone()), text)));
        }
        if pod.service_links {
            known.services = services::variables(&all_services(store, &pod.namespace));
        }
        Ok(known)
    }

    pub(super) fn object(&self, kind: Referent, name: &str) -> Option<&Entries> {
        self.objects.get(&(kind, name.to_owned()))
    }

    pub(super) fn file(&self, volume: &str, path: &str) -> Option<&str> {
        self.files.get(&(volume.to_owned(), path.to_owned())).map(String::as_str)
    }

    pub(super) fn service(&self, name: &str) -> Option<&str> {
        self.services.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    #[cfg(test)]
    pub(super) fn with(mut self, kind: Referent, name: &str, object: &Value) -> Known {
        self.objects.insert((kind, name.to_owned()), entries(kind, object));
        self
    }

    #[cfg(test)]
    pub(super) fn with_file(mut self, volume: &str, path: &str, text: &str) -> Known {
        self.files.insert((volume.to_owned(), path.to_owned()), text.to_owned());
        self
    }
}

/// Under which kind the store keeps it.
fn kind_in_store(kind: Referent) -> ObjectKind {
    match kind {
        Referent::ConfigMap => ObjectKind::ConfigMap,
        Referent::Secret => ObjectKind::Secret,
    }
}

/// The kinds of object that a container's environment refers to.
pub fn are_needed(container: &Container) -> impl Iterator<Item = ObjectKind> {
    let kinds: Vec<Referent> = referents(container).map(|(kind, _)| kind).collect();
    [Referent::ConfigMap, Referent::Secret]
        .into_iter()
        .filter(move |kind| kinds.contains(kind))
        .map(kind_in_store)
}

fn referents(container: &Container) -> impl Iterator<Item = (Referent, &str)> {
    let whole = container.env_from.iter().map(|from| (from.kind, from.name.as_str()));
    whole.chain(container.env.iter().filter_map(|variable| match &variable.value {
        EnvValue::Key { kind, name, .. } => Some((*kind, name.as_str())),
        _ => None,
    }))
}

fn entries(kind: Referent, object: &Value) -> Entries {
    let data = object["data"].as_object();
    data.into_iter().flatten().map(|(key, value)| (key.clone(), text(kind, value))).collect()
}

fn text(kind: Referent, value: &Value) -> Option<String> {
    let value = value.as_str()?;
    match kind {
        Referent::ConfigMap => Some(value.to_owned()),
        Referent::Secret => String::from_utf8(STANDARD.decode(value).ok()?).ok(),
    }
}

/// A Service that cannot be read shows nothing, as one that is not there.
fn all_services(store: &Store, namespace: &str) -> Vec<Value> {
    let Ok(files) = fs::read_dir(store.objects_of(ObjectKind::Service, namespace)) else { return Vec::new() };
    let mut names: Vec<String> = files
        .flatten()
        .filter_map(|file| Some(file.file_name().to_str()?.strip_suffix(".json")?.to_owned()))
        .collect();
    names.sort();
    let read = |name: &String| store.object(ObjectKind::Service, namespace, name).ok().flatten();
    names.iter().filter_map(read).collect()
}
