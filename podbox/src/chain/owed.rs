//! What plugins have not taken back of pods that are gone. The pod does not wait for a plugin that fails, so what DEL
//! needs moves from its directory to one that outlives it, and DEL is tried again when there is occasion.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use netplugin::cni::Overseer;

use super::{Record, parse, take_back};
use crate::report;
use crate::store::{PodDir, Store, make_dir, remove};

/// An attachment whose pod is gone.
#[derive(Debug)]
pub struct Owed {
    /// Where it is written down.
    pub file: PathBuf,
    /// Whose it was: `NAMESPACE/NAME`, as far as it is known.
    pub pod: String,
    /// The network.
    pub network: String,
}

/// Keeps what is left of a chain's work for a pod that is about to be removed altogether. `Some` tells where, and what
/// comes of it.
pub fn keep(dir: &PodDir, store: &Store, uid: &str) -> Option<String> {
    if !dir.chain().exists() {
        return None;
    }
    let file = store.owed_dir().join(format!("{uid}.json"));
    let kept = make_dir(&store.owed_dir()).map_err(|error| report::chain(&error)).and_then(|()| {
        fs::rename(dir.chain(), &file).map_err(|error| format!("keep {}: {error}", file.display()))
    });
    Some(match kept {
        Ok(()) => format!(
            "the pod is gone, and what the plugins have not taken back is written down in {}: the next pod on a CNI network and `podbox down --all` have them try again",
            file.display()
        ),
        Err(error) => error,
    })
}

/// All that is owed, for people.
#[must_use]
pub fn list(store: &Store) -> Vec<Owed> {
    let told = |file: PathBuf| {
        let record = fs::read(&file).ok().and_then(|text| parse(&file, &text).ok());
        let (pod, network) = record.as_ref().map_or_else(
            || (file.display().to_string(), "unknown".to_owned()),
            |record| (owner(record), record.chain.name.clone()),
        );
        Owed { file, pod, network }
    };
    files(store).into_iter().map(told).collect()
}

/// Has plugins try again, each with little time. Tells what is still owed, and why. What somebody else has in hand is left to
/// them.
#[must_use]
pub fn settle(store: &Store) -> Vec<String> {
    let errors: Vec<String> = files(store).iter().flat_map(|file| settle_one(file)).collect();
    if errors.is_empty() {
        // It is not empty while somebody else has something in hand.
        let _ = fs::remove_dir(store.owed_dir());
    }
    errors
}

fn settle_one(file: &Path) -> Vec<String> {
    // Whoever was quicker has removed it, or holds it.
    let Ok(held) = File::open(file) else { return Vec::new() };
    if held.try_lock().is_err() || !file.exists() {
        return Vec::new();
    }
    let record = fs::read(file).map_err(|error| format!("read {}: {error}", file.display()));
    let record = match record.and_then(|text| parse(file, &text)) {
        Ok(record) => record,
        Err(error) => return vec![error],
    };
    let overseer = match Overseer::new() {
        Ok(overseer) => overseer,
        Err(error) => return vec![error.to_string()],
    };
    overseer.hurry();
    let mut errors = take_back(&record, &overseer);
    if errors.is_empty() {
        errors.extend(remove(file).err().map(|error| report::chain(&error)));
    }
    let pod = owner(&record);
    errors.into_iter().map(|error| format!("what is left of pod {pod}: {error}")).collect()
}

fn owner(record: &Record) -> String {
    let arg = |name: &str| {
        let (_, value) = record.args.iter().find(|(key, _)| key == name)?;
        Some(value.as_str())
    };
    match (arg("K8S_POD_NAMESPACE"), arg("K8S_POD_NAME")) {
        (Some(namespace), Some(name)) => format!("{namespace}/{name}"),
        _ => record.container.clone(),
    }
}

fn files(store: &Store) -> Vec<PathBuf> {
    let entries = fs::read_dir(store.owed_dir()).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    files.sort();
    files
}
