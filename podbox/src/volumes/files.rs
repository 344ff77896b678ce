//! What the files of a volume say. Source: kubelet `volume/configmap`, `volume/secret`, `volume/projected`.

use std::path::{Component, Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::writer::{File, Payload};
use super::{Place, VolumeError, downward};
use crate::pod::{Files, FilesFrom, KeysOf, Pod};
use crate::report;
use crate::store::ObjectKind;

/// The ConfigMap that a cluster puts into every namespace, and that manifests which come out of a cluster mount
/// (`kube-api-access-…`). Where nobody has stored one it vouches for nobody: there is no API server.
const ROOT_CA: &str = "kube-root-ca.crt";

/// All files of a volume.
///
/// # Errors
/// [`VolumeError::Content`] with everything that is missing.
pub(super) fn payload(place: &Place<'_>, volume: &str, files: &Files) -> Result<Payload, VolumeError> {
    let mut payload = Payload::new();
    let mut wrong = Vec::new();
    for source in &files.sources {
        if let Err(why) = add(place, (volume, source), files.default_mode, &mut payload) {
            wrong.push(why);
        }
    }
    match wrong.len() {
        0 => Ok(payload),
        1 => Err(VolumeError::Content(wrong.remove(0))),
        _ => Err(VolumeError::Content(format!("[{}]", wrong.join(", ")))),
    }
}

fn add(
    place: &Place<'_>,
    (volume, source): (&str, &FilesFrom),
    mode: u32,
    payload: &mut Payload,
) -> Result<(), String> {
    match source {
        FilesFrom::ConfigMap(keys) => {
            for (path, file) in of_object(place, ObjectKind::ConfigMap, keys, mode)? {
                put(payload, &path, file)?;
            }
        }
        FilesFrom::Secret(keys) => {
            for (path, file) in of_object(place, ObjectKind::Secret, keys, mode)? {
                put(payload, &path, file)?;
            }
        }
        FilesFrom::Downward(facts) => {
            for fact in facts {
                let data = downward::text(place, &fact.fact).into_bytes();
                let file = File { data, mode: fact.mode.unwrap_or(mode), owner: None };
                put(payload, &fact.path, file)?;
            }
        }
        FilesFrom::Token(wanted) => {
            let owner = only_user(place.pod);
            let token = place.tokens.token(place, volume, wanted);
            let data = token.map_err(|why| format!("failed to fetch token: {why}"))?.into_bytes();
            // Whoever reads it is known: nobody else may.
            let mode = if owner.is_some() { 0o600 } else { mode };
            put(payload, &wanted.path, File { data, mode, owner })?;
        }
    }
    Ok(())
}

/// The user whom all containers run as, if the manifest says so. Source: kubelet `volume/util` (FsUserFrom).
fn only_user(pod: &Pod) -> Option<u32> {
    let mut users = pod.containers.iter().map(|container| container.security.run_as_user);
    let first = users.next()??;
    users.all(|user| user == Some(first)).then_some(first)
}

fn of_object(
    place: &Place<'_>,
    kind: ObjectKind,
    keys: &KeysOf,
    mode: u32,
) -> Result<Vec<(String, File)>, String> {
    let name = &keys.name;
    let found =
        place.store.object(kind, &place.pod.namespace, name).map_err(|error| report::chain(&error))?;
    let is_given = kind == ObjectKind::ConfigMap && name == ROOT_CA;
    let found = found.or_else(|| is_given.then(|| json!({"data": {"ca.crt": ""}})));
    let Some(object) = found else {
        let kind = kind.kind().to_ascii_lowercase();
        return if keys.optional { Ok(Vec::new()) } else { Err(format!("{kind} {name:?} not found")) };
    };
    let file = |data, mode| File { data, mode, owner: None };
    if keys.items.is_empty() {
        let maps = [&object["data"], &object["binaryData"]];
        let names = maps.into_iter().filter_map(Value::as_object).flat_map(|map| map.keys());
        let all = names.filter_map(|key| Some((key.clone(), file(value(&object, kind, key)?, mode))));
        return Ok(all.collect());
    }
    let mut files = Vec::new();
    for item in &keys.items {
        match value(&object, kind, &item.key) {
            Some(data) => files.push((item.path.clone(), file(data, item.mode.unwrap_or(mode)))),
            None if keys.optional => {}
            None if kind == ObjectKind::Secret => {
                return Err(format!("references non-existent secret key: {}", item.key));
            }
            None => return Err(format!("configmap references non-existent config key: {}", item.key)),
        }
    }
    Ok(files)
}

/// What an object says under a key: a Secret's data is base64, a ConfigMap's only where it is binary.
fn value(object: &Value, kind: ObjectKind, key: &str) -> Option<Vec<u8>> {
    let text = |map: &str| object[map][key].as_str();
    if kind == ObjectKind::Secret {
        return STANDARD.decode(text("data")?).ok();
    }
    match text("data") {
        Some(plain) => Some(plain.as_bytes().to_vec()),
        None => STANDARD.decode(text("binaryData")?).ok(),
    }
}

/// Puts a file in its place, later ones over earlier ones. A path that leads out is no manifest's: it is a key's.
fn put(payload: &mut Payload, path: &str, file: File) -> Result<(), String> {
    let clean: PathBuf = Path::new(path).components().filter(|part| *part != Component::CurDir).collect();
    let plain = |part: Component<'_>| matches!(part, Component::Normal(_));
    if path.is_empty() || path.starts_with("..") || !clean.components().all(plain) {
        return Err(format!("invalid path: {path:?}"));
    }
    payload.insert(clean, file);
    Ok(())
}

#[cfg(test)]
#[path = "files_tests.rs"]
mod tests;
