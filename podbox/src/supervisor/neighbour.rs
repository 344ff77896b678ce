//! Looking after the next pod behind a Service: one that nobody looks after any more is to get no traffic.
//!
//! A pod tells of itself how it is, so one whose guardian and supervisor were both killed would be told of as it was last.
//! Everybody who follows Services looks at one other pod behind them, the next in the order of the uids, by a pidfd of its
//! guardian: the kernel tells when that is gone, and nobody asks in between. If then nobody takes its place, the pod's file
//! is removed, which all others hear of, and the next but one becomes the next. A guardian whose supervisor dies starts
//! another; a supervisor whose guardian dies does too: in neither case the file goes. A pod that is taken up again tells of
//! itself anew.

use std::sync::Arc;
use std::time::Duration;

use runtime::plan::Identity;
use runtime::process::Process;

use crate::services::{Backend, Catalogue};
use crate::store::is_locked;

use super::readable::readable;
use super::world::World;

/// A pod is seen as abandoned if it is twice, with so much time between: for a moment nobody holds a lock that is handed on.
const TWICE: Duration = Duration::from_millis(200);
/// How often it is looked again, while it is not clear who looks after a pod whose guardian is gone.
const UNCLEAR: Duration = Duration::from_secs(1);

/// Begins to look.
pub(super) fn begin(world: &Arc<World>) {
    let world = Arc::clone(world);
    tokio::spawn(async move {
        let mut catalogue = world.known.follow();
        // Guardians that are gone, of pods that the catalogue still has.
        let mut buried = Vec::new();
        loop {
            let found = next(&catalogue.borrow_and_update(), &world.pod().uid, &mut buried);
            let Some((backend, guardian)) = found else {
                if catalogue.changed().await.is_err() {
                    return;
                }
                continue;
            };
            let process = Process::open(guardian).ok().flatten();
            // Without a descriptor for it there is nothing to hear.
            let alive = process.filter(Process::is_alive).map(|process| readable(&process));
            let gone = async {
                match &alive {
                    Some(Ok(fd)) => drop(fd.readable().await),
                    Some(Err(_)) => std::future::pending().await,
                    None => {}
                }
            };
            let stays = async {
                loop {
                    if catalogue.changed().await.is_err() {
                        return false;
                    }
                    let same = next(&catalogue.borrow_and_update(), &world.pod().uid, &mut buried);
                    if same.is_none_or(|(_, other)| other != guardian) {
                        return true;
                    }
                }
            };
            tokio::select! {
                goes_on = stays => if !goes_on { return },
                () = gone => {
                    bury(&world, &backend).await;
                    buried.push(guardian);
                }
            }
        }
    });
}

/// The pod behind a Service that comes after one's own, and its guardian; not one of those that are `buried`. While there is
/// no Service, it is nobody's business.
fn next(catalogue: &Catalogue, own: &str, buried: &mut Vec<Identity>) -> Option<(Backend, Identity)> {
    buried.retain(|one| catalogue.backends.values().any(|backend| backend.guardian == Some(*one)));
    if catalogue.services.is_empty() {
        return None;
    }
    let known = |backend: &Backend| {
        let guardian = backend.guardian.filter(|guardian| !buried.contains(guardian))?;
        Some((backend.clone(), guardian))
    };
    let (before, after): (Vec<&Backend>, Vec<&Backend>) =
        catalogue.backends.values().filter(|backend| backend.uid != own).partition(|b| b.uid.as_str() < own);
    after.into_iter().chain(before).find_map(known)
}

/// Removes what a pod tells of itself, once it is clear that nobody looks after it; or finds that somebody does.
async fn bury(world: &World, backend: &Backend) {
    let store = &world.settings.store;
    let file = store.endpoint(&backend.namespace, &backend.name);
    let still_says = || {
        let text = std::fs::read(&file).ok();
        let found: Option<Backend> = text.and_then(|text| serde_json::from_slice(&text).ok());
        found.is_some_and(|found| found.uid == backend.uid && found.guardian == backend.guardian)
    };
    let dir = store.pod(&backend.uid);
    let is_abandoned = || !is_locked(&dir.guardian_lock()) && !is_locked(&dir.supervisor_lock());
    while still_says() {
        if !is_abandoned() {
            tokio::time::sleep(UNCLEAR).await;
            continue;
        }
        tokio::time::sleep(TWICE).await;
        if is_abandoned() && still_says() {
            let _ = std::fs::remove_file(&file);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::services::Service;

    fn backend(uid: &str, guardian: Option<i32>) -> (String, Backend) {
        let guardian = guardian.map(|pid| Identity { pid, start: 1 });
        (uid.to_owned(), Backend { uid: uid.to_owned(), guardian, ..Backend::default() })
    }

    #[test]
    fn everybody_looks_at_the_next_one_and_so_at_all_in_a_ring() {
        let service = Service::of(&json!({
            "metadata": {"namespace": "default", "name": "web"},
            "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]},
        }));
        let services = [(("default".to_owned(), "web".to_owned()), service.unwrap())];
        let mut catalogue = Catalogue {
            services: Arc::new(services.into()),
            backends: [
                backend("b", Some(2)),
                backend("d", Some(4)),
                backend("e", None),
                backend("f", Some(6)),
            ]
            .into(),
            outside: Arc::default(),
        };
        let mut buried = Vec::new();
        let mut after = |own: &str| next(&catalogue, own, &mut buried).map(|(backend, _)| backend.uid);
        for (own, expected) in
            [("a", "b"), ("b", "d"), ("c", "d"), ("d", "f"), ("e", "f"), ("f", "b"), ("g", "b")]
        {
            assert_eq!(after(own).as_deref(), Some(expected), "{own}");
        }
        let mut buried = vec![Identity { pid: 4, start: 1 }, Identity { pid: 9, start: 1 }];
        let (other, _) = next(&catalogue, "b", &mut buried).unwrap();
        assert_eq!(
            (other.uid.as_str(), buried.len()),
            ("f", 1),
            "the next but one, and nobody who is forgotten"
        );
        catalogue.services = Arc::default();
        assert!(next(&catalogue, "b", &mut buried).is_none());
        catalogue.backends.retain(|uid, _| uid == "b");
        assert!(next(&catalogue, "b", &mut buried).is_none());
    }
}
