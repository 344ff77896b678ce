//! The set that files make together, and what an earlier `up` of it made that they no longer hold.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::manifest::Loaded;
use crate::objects::set_of;
use crate::store::ObjectKind;

use super::super::removal::{self, Removal};
use super::super::{Failure, Session, out, pods};
use super::UpArgs;

/// What the set is called: as `--set` says, or else the files' absolute paths as they were given. Standard input has no
/// name, so it makes no set of its own.
pub(super) fn name(args: &UpArgs, files: &[String]) -> Result<Option<String>, Failure> {
    if let Some(set) = &args.set {
        return Ok(Some(set.clone()));
    }
    if files.is_empty() || files.iter().any(|file| file == "-") {
        return match args.prune {
            true => Err(Failure::wrong("what standard input held before is not known by a name")
                .hint("give it one: podbox up --set NAME --prune -")),
            false => Ok(None),
        };
    }
    let paths: BTreeSet<String> = files.iter().map(|file| plain(Path::new(file))).collect();
    Ok(Some(paths.into_iter().collect::<Vec<_>>().join(":")))
}

/// The absolute path without `.` and doubled or final slashes. Links are not followed: nothing is read for it.
fn plain(path: &Path) -> String {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    path.components().collect::<PathBuf>().display().to_string()
}

/// Kind (none for pods), namespace and name.
type Key = (Option<ObjectKind>, String, String);

/// All that the files hold.
pub(super) fn keys(loaded: &Loaded) -> BTreeSet<Key> {
    let pods = loaded.pods.iter().map(|one| (None, one.pod.namespace.clone(), one.pod.name.clone()));
    let objects = loaded.objects.iter().map(|one| (Some(one.kind), one.namespace.clone(), one.name.clone()));
    pods.chain(objects).collect()
}

/// Removes what belongs to the set and is not among `kept`.
///
/// # Errors
/// If something of it cannot be removed; the rest is.
pub(super) fn prune(session: &Session, set: &str, kept: &BTreeSet<Key>) -> Result<(), Failure> {
    let store = &session.settings.store;
    let mut failures = Vec::new();
    for found in pods::all(session, None) {
        let key = (None, found.pod.namespace.clone(), found.pod.name.clone());
        if kept.contains(&key) || set_of(&found.object()) != Some(set) {
            continue;
        }
        match found.stop(session, None) {
            Ok(_) => say(session, &format!("pod {}", found.name()))?,
            Err(failure) => failures.push(failure),
        }
    }
    for kind in ObjectKind::ALL.into_iter().rev() {
        for (namespace, name) in store.object_names(kind) {
            let object = store.object(kind, &namespace, &name).ok().flatten().unwrap_or_default();
            let key = (Some(kind), namespace.clone(), name.clone());
            if kept.contains(&key) || set_of(&object) != Some(set) {
                continue;
            }
            let removal = Removal { session, grace: None, volumes: false };
            match removal.remove(kind, &namespace, &name) {
                Ok(_) => say(session, &removal::shown(kind, &namespace, &name))?,
                Err(failure) => failures.push(failure),
            }
        }
    }
    Failure::all(failures).map(|_| ())
}

fn say(session: &Session, what: &str) -> Result<(), Failure> {
    if session.quiet { Ok(()) } else { out::line(format_args!("{what} pruned")) }
}
