//! Claims: which PersistentVolume a claim is bound to, or else a directory of its own, as hostPath provisioners make one.
//!
//! A binding is written down where the claim's directory would lie, as a link to the volume's path; a mark beside it says
//! whose the volume is. Both stay until the claim is removed. Source: `controller/volume/persistentvolume`
//! (findMatchingVolume), the scheduler's plugins `volumebinding` and `volumerestrictions`.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{Place, VolumeError, host_path, io_error, open_to_all};
use crate::pod::{HostPathType, Pod, Quantity};
use crate::report;
use crate::store::{ObjectKind, Store, StoreError};

const UNBOUND: &str = "pod has unbound immediate PersistentVolumeClaims";
const IN_USE: &str =
    "1 node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode";

/// What a claim is bound to.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Choice<'v> {
    /// This PersistentVolume.
    Volume(&'v Value),
    /// A directory, made for it.
    Directory,
    /// Nothing that there is.
    Nothing,
}

/// Where the content of a stored claim lies; bound now if it was not before.
///
/// # Errors
/// [`VolumeError::Unschedulable`] if there is no such claim, nothing to bind it to, or another pod has it for itself.
pub(super) fn directory(place: &Place<'_>, claim: &str) -> Result<PathBuf, VolumeError> {
    let kind = ObjectKind::PersistentVolumeClaim;
    let found = place.store.object(kind, &place.pod.namespace, claim).map_err(from_store)?;
    let Some(object) = found else {
        return Err(VolumeError::Unschedulable(format!("persistentvolumeclaim {claim:?} not found")));
    };
    if object["spec"]["volumeMode"] == "Block" {
        let why = format!("volume {claim} has volumeMode Block, but is specified in volumeMounts");
        return Err(VolumeError::Content(why));
    }
    let alone = strings(&object["spec"]["accessModes"]).any(|mode| mode == "ReadWriteOncePod");
    if alone && !hold(place, claim)? {
        return Err(VolumeError::Unschedulable(IN_USE.to_owned()));
    }
    bound(place, claim, &object["spec"])
}

/// Where the content of a pod's own claim lies. A stored claim of its name is somebody else's, and so is one of a pod whose
/// name and volume make the same name together.
pub(super) fn ephemeral(place: &Place<'_>, claim: &str, spec: &Value) -> Result<PathBuf, VolumeError> {
    let (kind, namespace) = (ObjectKind::PersistentVolumeClaim, &place.pod.namespace);
    let is_stored = place.store.object(kind, namespace, claim).map_err(from_store)?.is_some();
    if is_stored || !hold(place, claim)? {
        let why = format!(
            "PVC {namespace}/{claim} was not created for pod {namespace}/{} (pod is not owner)",
            place.pod.name
        );
        return Err(VolumeError::Unschedulable(why));
    }
    bound(place, claim, spec)
}

/// Lets a claim go that this pod had for itself.
pub(super) fn let_go(pod: &Pod, store: &Store, claim: &str) {
    if holds_alone(pod, store, claim) {
        let _ = fs::remove_file(store.holder_mark(&pod.namespace, claim));
    }
}

fn holds_alone(pod: &Pod, store: &Store, claim: &str) -> bool {
    let mark = store.holder_mark(&pod.namespace, claim);
    fs::read_link(mark).is_ok_and(|holder| holder == Path::new(&pod.uid))
}

/// Removes a claim that lived with this pod. One that was bound to a PersistentVolume leaves its content there.
pub(super) fn remove(pod: &Pod, store: &Store, claim: &str) {
    if holds_alone(pod, store, claim) {
        // What cannot be removed now is in nobody's way: the next pod of this name finds it.
        let _ = store.unbind(&pod.namespace, claim);
        let _ = crate::store::remove(&store.claim_dir(&pod.namespace, claim));
        let_go(pod, store, claim);
    }
}

/// Whether a claim's content is a PersistentVolume of type `hostPath`.
pub(super) fn is_of_the_host(store: &Store, path: &Path) -> bool {
    let is_there = |volume: &Value| volume["spec"]["hostPath"]["path"].as_str().map(Path::new) == Some(path);
    volumes(store).is_ok_and(|volumes| volumes.iter().any(is_there))
}

fn bound(place: &Place<'_>, claim: &str, spec: &Value) -> Result<PathBuf, VolumeError> {
    let dir = place.store.claim_dir(&place.pod.namespace, claim);
    let volumes = volumes(place.store)?;
    if let Ok(path) = fs::read_link(&dir) {
        let volume = volumes.iter().find(|volume| path_of(volume).is_some_and(|(there, _)| there == path));
        check(&path, volume)?;
        return Ok(path);
    }
    if dir.is_dir() {
        return Ok(dir);
    }
    crate::store::make_parent(&dir).map_err(from_store)?;
    let who = format!("{}/{claim}", place.pod.namespace);
    let mut taken: Vec<String> = Vec::new();
    loop {
        match choose(spec, &who, &volumes, &taken) {
            Choice::Volume(volume) => {
                let name = name_of(volume);
                if !mark(place.store, name, &who)? {
                    taken.push(name.to_owned());
                    continue;
                }
                let (path, _) = path_of(volume).unwrap_or_default();
                check(&path, Some(volume))?;
                symlink(&path, &dir).map_err(io_error("link", &dir))?;
                return Ok(path);
            }
            Choice::Directory => {
                fs::create_dir(&dir).map_err(io_error("create", &dir))?;
                open_to_all(&dir)?;
                return Ok(dir);
            }
            Choice::Nothing => return Err(VolumeError::Unschedulable(UNBOUND.to_owned())),
        }
    }
}

/// What a claim may be bound to: the volume that it names or that names it, else the smallest that fits, else a directory.
fn choose<'v>(spec: &Value, who: &str, volumes: &'v [Value], taken: &[String]) -> Choice<'v> {
    let free = |volume: &&Value| !taken.iter().any(|name| name == name_of(volume));
    let fitting = volumes.iter().filter(free).filter(|volume| satisfies(spec, volume));
    let owner = |volume: &Value| {
        let owner = &volume["spec"]["claimRef"];
        Some(format!("{}/{}", owner["namespace"].as_str()?, owner["name"].as_str()?))
    };
    if let Some(name) = spec["volumeName"].as_str().filter(|name| !name.is_empty()) {
        let named = fitting.into_iter().find(|volume| name_of(volume) == name);
        let named = named.filter(|volume| owner(volume).is_none_or(|owner| owner == who));
        return named.map_or(Choice::Nothing, Choice::Volume);
    }
    let mut fitting: Vec<&Value> = fitting.collect();
    if let Some(own) = fitting.iter().find(|volume| owner(volume).as_deref() == Some(who)) {
        return Choice::Volume(own);
    }
    fitting.retain(|volume| owner(volume).is_none() && selects(&spec["selector"], volume));
    fitting.sort_by(|one, other| {
        let sizes = (size(&one["spec"]["capacity"]), size(&other["spec"]["capacity"]));
        sizes.0.amount_cmp(sizes.1).then_with(|| name_of(one).cmp(name_of(other)))
    });
    match (fitting.first(), spec["storageClassName"].as_str()) {
        (Some(volume), _) => Choice::Volume(volume),
        // The empty class asks for a volume that somebody has made, and so does a selector: no provisioner takes one.
        (None, Some("")) => Choice::Nothing,
        (None, _) if asks_for_labels(&spec["selector"]) => Choice::Nothing,
        (None, _) => Choice::Directory,
    }
}

/// Whether a volume has the class, the size and the modes that a claim asks for, and a path that podbox can mount.
fn satisfies(spec: &Value, volume: &Value) -> bool {
    let has = &volume["spec"];
    let class = |spec: &Value| spec["storageClassName"].as_str().unwrap_or("").to_owned();
    let mode = |spec: &Value| spec["volumeMode"].as_str().unwrap_or("Filesystem").to_owned();
    let wanted = size(&spec["resources"]["requests"]);
    class(spec) == class(has)
        && mode(spec) == mode(has)
        && size(&has["capacity"]).amount_cmp(wanted).is_ge()
        && strings(&spec["accessModes"]).all(|mode| strings(&has["accessModes"]).any(|has| has == mode))
        && path_of(volume).is_some()
}

fn asks_for_labels(selector: &Value) -> bool {
    let labels = selector["matchLabels"].as_object().is_some_and(|labels| !labels.is_empty());
    labels || selector["matchExpressions"].as_array().is_some_and(|list| !list.is_empty())
}

fn selects(selector: &Value, volume: &Value) -> bool {
    let labels = &volume["metadata"]["labels"];
    let wanted = selector["matchLabels"].as_object();
    let expressions = selector["matchExpressions"].as_array();
    wanted.into_iter().flatten().all(|(key, value)| labels[key] == *value)
        && expressions.into_iter().flatten().all(|one| holds(one, labels))
}

/// One of `matchExpressions`. A label that is not there is in no list.
fn holds(expression: &Value, labels: &Value) -> bool {
    let label = expression["key"].as_str().and_then(|key| labels[key].as_str());
    let listed = label.is_some_and(|label| strings(&expression["values"]).any(|value| value == label));
    match expression["operator"].as_str() {
        Some("In") => listed,
        Some("NotIn") => !listed,
        Some("Exists") => label.is_some(),
        Some("DoesNotExist") => label.is_none(),
        _ => false,
    }
}

fn size(resources: &Value) -> Quantity {
    resources["storage"].as_str().and_then(|text| text.parse().ok()).unwrap_or(Quantity::ZERO)
}

fn strings(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str)
}

fn name_of(volume: &Value) -> &str {
    volume["metadata"]["name"].as_str().unwrap_or("")
}

/// The host's path behind a PersistentVolume, and what has to be there: a `local` one is never made.
fn path_of(volume: &Value) -> Option<(PathBuf, HostPathType)> {
    let spec = &volume["spec"];
    if let Some(path) = spec["hostPath"]["path"].as_str() {
        let kind = crate::pod::host_path_type(spec["hostPath"]["type"].as_str());
        return Some((path.into(), kind));
    }
    spec["local"]["path"].as_str().map(|path| (path.into(), HostPathType::Directory))
}

fn check(path: &Path, volume: Option<&Value>) -> Result<(), VolumeError> {
    match volume.and_then(path_of) {
        Some((_, HostPathType::Directory)) | None if !path.exists() => {
            Err(VolumeError::Content(format!("path {:?} does not exist", path.display().to_string())))
        }
        Some((_, kind)) => host_path::check(path, kind),
        None => Ok(()),
    }
}

/// Every PersistentVolume.
fn volumes(store: &Store) -> Result<Vec<Value>, VolumeError> {
    let kind = ObjectKind::PersistentVolume;
    let read = |(_, name): (String, String)| {
        let mut volume = store.object(kind, "", &name).map_err(from_store)?.unwrap_or_default();
        // The file's name is the volume's.
        volume["metadata"]["name"] = json!(name);
        Ok(volume)
    };
    store.object_names(kind).into_iter().map(read).collect()
}

/// Writes down whose a volume is; false if it is another claim's. A mark of a claim that is bound no more counts nothing.
fn mark(store: &Store, volume: &str, who: &str) -> Result<bool, VolumeError> {
    let mark = store.bound_mark(volume);
    let is_bound = |owner: &Path| {
        let (namespace, claim) = owner.to_str().and_then(|owner| owner.split_once('/')).unwrap_or_default();
        store.claim_dir(namespace, claim).is_symlink()
    };
    exclusively(&mark, Path::new(who), is_bound)
}

/// Takes a claim for this pod alone; false if another has it. A pod that has ended, or is no more, has no claim.
fn hold(place: &Place<'_>, claim: &str) -> Result<bool, VolumeError> {
    let mark = place.store.holder_mark(&place.pod.namespace, claim);
    let lives = |uid: &Path| {
        let dir = place.store.pod(&uid.display().to_string());
        dir.pod().exists() && !dir.finished().exists()
    };
    exclusively(&mark, Path::new(&place.pod.uid), lives)
}

/// Makes a link that only one can make, in the place of one whose target counts no more; false if another's counts.
fn exclusively(mark: &Path, mine: &Path, counts: impl Fn(&Path) -> bool) -> Result<bool, VolumeError> {
    crate::store::make_parent(mark).map_err(from_store)?;
    loop {
        match symlink(mine, mark) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            made => return made.map(|()| true).map_err(io_error("link", mark)),
        }
        match fs::read_link(mark) {
            Ok(owner) if owner == mine => return Ok(true),
            Ok(owner) if counts(&owner) => return Ok(false),
            // Given back in this very moment, or left behind.
            _ => crate::store::remove(mark).map_err(from_store)?,
        }
    }
}

fn from_store(error: StoreError) -> VolumeError {
    VolumeError::Content(report::chain(&error))
}

#[cfg(test)]
#[path = "claim_tests.rs"]
mod tests;
