//! Objects other than Pods: read, defaulted and checked as an API server does, then kept as JSON.
//!
//! From `pkg/apis/core/validation/validation.go` and `pkg/apis/core/v1/defaults.go`.

mod account;
mod claim;
mod config_map;
mod endpoints;
mod metadata;
mod secret;
mod service;
mod volume;

use k8s_openapi::api::core::v1 as k8s;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::de;
use super::defaults::set;
use super::notes::Notes;
use super::tree::{NodeId, Tree};
use crate::objects::SET;
use crate::pod::field::{Errors, FieldError, Path};
use crate::pod::names;
use crate::store::ObjectKind;

/// Both together may not be larger, as etcd would not take it.
const MOST_DATA: usize = 1 << 20;

/// Where an object stands.
#[derive(Clone, Copy)]
pub(super) struct Place<'a, 't> {
    pub(super) tree: &'t Tree<'t>,
    pub(super) node: NodeId,
    pub(super) path: &'a Path<'a>,
}

/// An object that was read.
pub(super) struct Read {
    /// Empty where the kind knows none.
    pub(super) namespace: String,
    pub(super) name: String,
    /// With its defaults; `None` if it cannot be written as JSON.
    pub(super) object: Option<Value>,
    /// What an API server would refuse.
    pub(super) wrong: Vec<FieldError>,
    /// What is accepted and has no effect.
    pub(super) without_effect: Vec<FieldError>,
}

/// A kind of object that is stored.
trait Stored: DeserializeOwned {
    fn metadata(&mut self) -> &mut ObjectMeta;
    /// Fills in what an API server would.
    fn fill(&mut self) {}
    fn check(&self, errors: &mut Errors, path: &Path<'_>);
    /// Tells what has no effect here.
    fn warn(&self, _warnings: &mut Errors, _path: &Path<'_>) {}
    fn write(&self) -> Result<Value, serde_json::Error>;
}

/// Reads the object; `None` if its form was so wrong that nothing can be said of its content.
pub(super) fn read(kind: ObjectKind, place: Place<'_, '_>, namespace: &str, notes: &Notes) -> Option<Read> {
    let read = match kind {
        ObjectKind::Namespace => read_as::<k8s::Namespace>,
        ObjectKind::ServiceAccount => read_as::<k8s::ServiceAccount>,
        ObjectKind::ConfigMap => read_as::<config_map::ConfigMap>,
        ObjectKind::Secret => read_as::<secret::Secret>,
        ObjectKind::PersistentVolume => read_as::<k8s::PersistentVolume>,
        ObjectKind::PersistentVolumeClaim => read_as::<k8s::PersistentVolumeClaim>,
        ObjectKind::Endpoints => read_as::<k8s::Endpoints>,
        ObjectKind::EndpointSlice => read_as::<EndpointSlice>,
        ObjectKind::Service => read_as::<k8s::Service>,
    };
    read(kind, place, namespace, notes)
}

fn read_as<T: Stored>(
    kind: ObjectKind,
    place: Place<'_, '_>,
    namespace: &str,
    notes: &Notes,
) -> Option<Read> {
    let mut typed: T = de::read(place.tree, place.node, place.path, notes)?;
    let (mut wrong, mut without_effect) = (Errors::default(), Errors::default());
    let at = place.path.field("metadata");
    metadata::warn(&mut without_effect, place);
    metadata::fill(typed.metadata(), kind, namespace);
    leave_set(typed.metadata());
    metadata::check(&mut wrong, &at, (kind, typed.metadata()));
    typed.fill();
    typed.check(&mut wrong, place.path);
    typed.warn(&mut without_effect, place.path);
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let namespace = if kind.is_namespaced() { text(&typed.metadata().namespace) } else { String::new() };
    let name = text(&typed.metadata().name);
    let (wrong, without_effect) = (wrong.into_vec(), without_effect.into_vec());
    Some(Read { namespace, name, object: typed.write().ok(), wrong, without_effect })
}

/// Forgets which set of files an object belonged to that was saved from podbox: that is for the next `up` to say.
pub(super) fn leave_set(metadata: &mut ObjectMeta) {
    if let Some(annotations) = &mut metadata.annotations {
        annotations.remove(SET);
    }
}

/// Checks a key of a ConfigMap or a Secret, which is a file's name in a volume.
fn check_key(errors: &mut Errors, path: &Path<'_>, key: &str) {
    errors.invalid_all(path, key, &names::config_key(key));
}

/// Checks that a field has one of its values; a field that is not there is not checked.
fn one_of(errors: &mut Errors, path: &Path<'_>, value: Option<&str>, supported: &[&str]) {
    if let Some(value) = value.filter(|value| !value.is_empty() && !supported.contains(value)) {
        errors.unsupported(path, value, supported);
    }
}

/// The bytes that a base64 text stands for; line breaks in it do not count.
fn decode(errors: &mut Errors, path: &Path<'_>, text: &str) -> Vec<u8> {
    use base64::{DecodeError, Engine, engine::general_purpose::STANDARD};
    let text: String = text.chars().filter(|one| !matches!(one, '\n' | '\r')).collect();
    STANDARD.decode(&text).unwrap_or_else(|why| {
        let at = match why {
            DecodeError::InvalidByte(at, _) | DecodeError::InvalidLastSymbol(at, _) => at,
            DecodeError::InvalidLength(_) | DecodeError::InvalidPadding => text.len(),
        };
        // The value itself is not shown: it may be a secret.
        errors.say(path, format!("Invalid value: illegal base64 data at input byte {at}"));
        Vec::new()
    })
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    use base64::{Engine, engine::general_purpose::STANDARD};
    STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests;
