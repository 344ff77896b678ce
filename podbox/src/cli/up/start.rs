//! From a manifest's pod to a guardian. Of several `up`s that start pods of one name at once, one wins.
//!
//! Whoever wants a name first has a guardian wait in the directory of its new pod, and hold its lock: from before the
//! name is taken until the pod is over somebody holds it. A name whose pod is not written down yet, but whose lock
//! is held, is on its way; one whose lock is free was left by somebody who was killed.

use std::time::{Duration, Instant};

use crate::context::Context;
use crate::manifest::LoadedPod;
use crate::pod::Pod;
use crate::store::{
    ClaimError, PodDir, Store, StoreError, is_locked, make_apart, remove, try_lock, write_atomic,
};

use super::super::pods::{self, Care, Found, PATIENCE};
use super::super::watch::Watch;
use super::super::{Failure, Session};
use super::ahead::{Ahead, new_uid};
use super::{Start, UpArgs, previous};

/// Starts a pod, unless it runs already.
pub(super) fn start(
    session: &Session,
    args: &UpArgs,
    (mut loaded, ahead): (LoadedPod, Option<Ahead>),
    watch: &Watch,
) -> Result<Start, Failure> {
    let store = &session.settings.store;
    loaded.pod.uid = match &ahead {
        Some(ahead) => ahead.uid.clone(),
        None => new_uid()?,
    };
    let (pod, dir) = (loaded.pod.clone(), store.pod(&loaded.pod.uid));
    let started = claim(session, args, (&loaded, ahead), watch).and_then(|claim| match claim {
        Claim::Mine(guardian) => guard(session, loaded, guardian),
        Claim::Unchanged(found) => Ok(Start::Unchanged(*found)),
        Claim::Configured(found) => Ok(Start::Configured(*found)),
    });
    if !matches!(started, Ok(Start::Fresh(..))) {
        for path in [dir.run(), dir.data()] {
            let _ = remove(path);
        }
        store.release(&pod.namespace, &pod.name, &pod.uid);
    }
    started
}

/// What became of the wish for a name.
enum Claim {
    /// It is taken for the new pod, whose guardian waits.
    Mine(Ahead),
    /// This pod has it, and is what was wished for.
    Unchanged(Box<Found>),
    /// This pod has it, and becomes what was wished for.
    Configured(Box<Found>),
}

fn claim(
    session: &Session,
    args: &UpArgs,
    (loaded, mut ahead): (&LoadedPod, Option<Ahead>),
    watch: &Watch,
) -> Result<Claim, Failure> {
    let (store, pod) = (&session.settings.store, &loaded.pod);
    let begun = Instant::now();
    loop {
        let Some(holder) = store.find(&pod.namespace, &pod.name) else {
            let mine = ahead.take().map_or_else(|| Ahead::start(session, pod.uid.clone()), Ok)?;
            match store.claim(&pod.namespace, &pod.name, &pod.uid) {
                Ok(()) => return Ok(Claim::Mine(mine)),
                Err(ClaimError::Taken { .. }) => ahead = Some(mine),
                Err(ClaimError::Store(error)) => return Err(Failure::host(&error)),
            }
            continue;
        };
        let dir = store.pod(&holder);
        // Written after the pod: whoever sees it and no pod looks in the wrong place.
        let written = PodDir::context(dir.run()).exists();
        match pods::read(store, &holder) {
            Some(found) => {
                if let Some(claim) = settle(session, args, (found, loaded), watch)? {
                    return Ok(claim);
                }
            }
            None if is_locked(&dir.guardian_lock()) => {
                if written || begun.elapsed() > PATIENCE {
                    return Err(elsewhere(store, pod));
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            None => clear(store, pod, &holder)?,
        }
    }
}

fn elsewhere(store: &Store, pod: &Pod) -> Failure {
    let (namespace, name, root) = (&pod.namespace, &pod.name, store.data.display());
    Failure::wrong(format!("pod {namespace}/{name} runs already, under another --root than {root}"))
}

/// Clears a name away that leads nowhere, because whoever took it was killed.
fn clear(store: &Store, pod: &Pod, holder: &str) -> Result<(), Failure> {
    let left = store.pod(holder);
    // One `up` at a time, and none after the name has gone to another. A directory that is gone needs no lock.
    let place = try_lock(&left.guardian_lock());
    let mine = !matches!(place, Ok(None));
    if mine && store.find(&pod.namespace, &pod.name).as_deref() == Some(holder) {
        for path in [left.run(), left.data()] {
            remove(path).map_err(|error| Failure::host(&error))?;
        }
        store.release(&pod.namespace, &pod.name, holder);
    }
    Ok(())
}

fn guard(session: &Session, loaded: LoadedPod, guardian: Ahead) -> Result<Start, Failure> {
    let dir = session.settings.store.pod(&loaded.pod.uid);
    write_files(session, &loaded, &dir).map_err(|error| Failure::host(&error))?;
    let (guardian, bell) = guardian.go()?;
    Ok(Start::Fresh(Found { pod: loaded.pod, dir }, guardian, bell))
}

/// The name is taken: by the same pod, by one that has ended or is about to, or by another one. `None` means that it is
/// free now.
fn settle(
    session: &Session,
    args: &UpArgs,
    (found, loaded): (Found, &LoadedPod),
    watch: &Watch,
) -> Result<Option<Claim>, Failure> {
    // An `up` is about to start it, or has been killed over it: which of the two shows in a moment.
    let begun = Instant::now();
    let begins = || found.care() == Care::Guarded && !found.dir.machine().exists();
    while begins() && begun.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(1));
    }
    let care = found.care();
    let same = found.pod.manifest_hash == loaded.pod.manifest_hash;
    // Over, or left by an `up` that was killed before anything ran.
    if care == Care::Finished || (care == Care::Abandoned && !found.dir.machine().exists()) {
        previous::end(session, watch, &found)?;
        return Ok(None);
    }
    // Somebody has asked for its end: whatever it was, it goes, and leaves nothing.
    let ending = found.memory().is_some_and(|memory| memory.stop.is_some());
    if ending {
        previous::end(session, watch, &found)?;
        return Ok(None);
    }
    if same && !args.replace {
        found.readopt_if_abandoned()?;
        found.mend();
        return Ok(Some(Claim::Unchanged(Box::new(found))));
    }
    if !args.replace {
        found.readopt_if_abandoned()?;
        let refused = |why: String| {
            let running = format!("pod {} is already running with another manifest", found.name());
            Failure::wrong(format!("{running}: {why}")).hint("`podbox up --replace` takes it down first")
        };
        found.update(&loaded.pod, &loaded.object).map_err(refused)?;
        found.mend();
        return Ok(Some(Claim::Configured(Box::new(found))));
    }
    previous::end(session, watch, &found)?;
    Ok(None)
}

/// Starts a pod whose run directory went with the last boot; `None` if there is nothing to start.
pub(super) fn start_again(session: &Session, uid: &str) -> Result<Option<Start>, Failure> {
    let store = &session.settings.store;
    let Some(found) = pods::read(store, uid) else { return Ok(None) };
    if found.dir.run().exists() || found.dir.finished().exists() {
        return Ok(None);
    }
    let guardian = Ahead::start(session, uid.to_owned())?;
    match store.claim(&found.pod.namespace, &found.pod.name, uid) {
        Ok(()) => {}
        Err(ClaimError::Taken { .. }) => {
            anstream::eprintln!(
                "warning: the name of pod {} is taken by another one; not started",
                found.name()
            );
            return Ok(None);
        }
        Err(ClaimError::Store(error)) => return Err(Failure::host(&error)),
    }
    let context = Context { uid: uid.to_owned(), settings: session.settings.clone() };
    context.write(&found.dir).map_err(|error| Failure::host(&error))?;
    let (guardian, bell) = guardian.go()?;
    Ok(Some(Start::Fresh(found, guardian, bell)))
}

fn write_files(session: &Session, loaded: &LoadedPod, dir: &PodDir) -> Result<(), StoreError> {
    make_apart(dir.run())?;
    make_apart(dir.data())?;
    write_atomic(&dir.pod(), &json(&loaded.pod))?;
    write_atomic(&dir.object(), &json(&loaded.object))?;
    let context = Context { uid: loaded.pod.uid.clone(), settings: session.settings.clone() };
    context.write(dir)
}

/// Values of ours have string keys only, so writing them as JSON cannot fail.
fn json(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}
