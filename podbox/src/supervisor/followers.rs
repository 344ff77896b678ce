//! Waiting until others' tables lead elsewhere, before a pod that ends is told so.
//!
//! Whoever follows Services has a file in `services/followers` in the run directory with the uids of all pods that are ending
//! and that its tables do not lead to any more, or only as the last resort. A pod that ends tells of it first and then waits
//! until it is in all of these files, so that nobody's next connection meets a program that has stopped listening; but not
//! long. Followers that end themselves are not waited for.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::services::Catalogue;
use crate::store::is_locked;

use super::world::World;

/// How long the signal that ends a pod is held back at most. Mostly it takes a twentieth of it; dozens of pods that end at
/// once need all processors for a while.
const PATIENCE: Duration = Duration::from_millis(500);
/// How often it is looked meanwhile.
const STEP: Duration = Duration::from_millis(4);

fn directory(world: &World) -> PathBuf {
    world.settings.store.followers_dir()
}

fn own_file(world: &World) -> PathBuf {
    directory(world).join(&world.pod().uid)
}

/// This supervisor's tables know that these pods are ending. If it cannot be said, they wait a little longer.
pub(super) fn know<'a>(world: &World, ending: impl Iterator<Item = &'a String>) {
    let (path, text) = (own_file(world), ending.map(|uid| format!("{uid}\n")).collect::<String>());
    if fs::write(&path, &text).is_err() {
        let _ = fs::create_dir_all(directory(world)).and_then(|()| fs::write(&path, &text));
    }
}

/// This supervisor is not to be waited for any more.
pub(super) fn forget(world: &World) {
    let _ = fs::remove_file(own_file(world));
}

/// Whether somebody is led to this pod, and would be led to another one in its place.
pub(super) fn lead_here(world: &World) -> bool {
    has_successor(&world.known.catalogue(), &world.pod().uid)
}

/// Waits until nobody is led to this pod any more, which is about to end.
pub(super) async fn let_go(world: &World) {
    let _ = tokio::time::timeout(PATIENCE, all_know(world)).await;
}

/// Whether some Service that selects a pod leads to others too.
fn has_successor(catalogue: &Catalogue, own: &str) -> bool {
    let Some(pod) = catalogue.backends.get(own) else { return false };
    let others = || catalogue.backends.values().filter(|other| other.uid != own && other.ready);
    let mut services = catalogue.services.values().filter(|service| service.is_before(pod));
    services.any(|service| others().any(|other| service.is_before(other)))
}

async fn all_know(world: &World) {
    world.known.told_of_its_end().await;
    let entries = fs::read_dir(directory(world)).into_iter().flatten().flatten();
    let mut others: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    let own = &world.pod().uid;
    while let Some(other) = others.last() {
        // One that is not there any more is not waited for.
        let knows = fs::read_to_string(other).map_or(true, |ending| ending.lines().any(|uid| uid == own));
        if knows || !is_there(world, other) {
            others.pop();
        } else {
            tokio::time::sleep(STEP).await;
        }
    }
}

/// Whether somebody makes a follower's tables: one that was killed does not.
fn is_there(world: &World, follower: &Path) -> bool {
    let uid = follower.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    is_locked(&world.settings.store.pod(uid).supervisor_lock())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::services::{Backend, Service};

    #[test]
    fn a_pod_waits_only_if_others_would_get_its_traffic() {
        let service = Service::of(&json!({
            "metadata": {"namespace": "default", "name": "web"},
            "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]},
        }));
        let backend = |uid: &str, app: &str, ready: bool| {
            let labels = [("app".to_owned(), app.to_owned())].into();
            let namespace = "default".to_owned();
            (uid.to_owned(), Backend { uid: uid.to_owned(), namespace, labels, ready, ..Backend::default() })
        };
        let catalogue = |backends: &[(String, Backend)]| {
            let mut catalogue = Catalogue::default();
            let key = ("default".to_owned(), "web".to_owned());
            std::sync::Arc::make_mut(&mut catalogue.services).insert(key, service.clone().unwrap());
            catalogue.backends.extend(backends.iter().cloned());
            catalogue
        };
        let own = backend("own", "web", true);
        assert!(has_successor(&catalogue(&[own.clone(), backend("b", "web", true)]), "own"));
        for others in [vec![], vec![backend("b", "web", false)], vec![backend("b", "db", true)]] {
            assert!(!has_successor(&catalogue(&[vec![own.clone()], others].concat()), "own"));
        }
        assert!(!has_successor(&catalogue(&[backend("b", "web", true)]), "own"), "nobody leads to it");
    }
}
