//! Keeping a running pod's volumes up to date: objects that change, tokens that get old, directories that grow.
//!
//! A pod whose volumes know none of that has no watch and no timer.

use std::fs::DirBuilder;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::io::unix::AsyncFd;

use crate::report;
use crate::store::ObjectKind;
use crate::volumes::{self, usage};

use super::machine::{Event, Note};
use super::readable::readable;
use super::storage;
use super::world::World;

/// How often volumes on disk are measured (kubelet: evictionMonitoringPeriod).
const MEASURED: Duration = Duration::from_secs(10);
/// What is written together is looked at together.
const SETTLED: Duration = Duration::from_millis(20);
/// How soon tokens are looked at again, whatever they say.
const AGAIN: Duration = Duration::from_secs(10);

/// Begins whatever the pod's volumes need.
pub(super) fn begin(world: &Arc<World>) -> io::Result<()> {
    let pod = world.pod();
    if usage::has_limits(&pod) || storage::has_limits(&pod) {
        tokio::spawn(measure(Arc::clone(world)));
    }
    let kinds = volumes::kinds(&pod);
    if kinds.is_empty() {
        return Ok(());
    }
    let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
    let (store, namespace) = (&world.settings.store, &pod.namespace);
    // Where it is told that another pod has let a claim go.
    let claims = kinds.contains(&ObjectKind::PersistentVolumeClaim).then(|| store.claims_of(namespace));
    for dir in kinds.into_iter().map(|kind| store.objects_of(kind, namespace)).chain(claims) {
        if let Err(error) = watch(&inotify, &dir) {
            // A full disk, say. The pod goes on with what it has, and looks again when it is retried.
            report::log(format_args!("supervisor: watch {}: {error}", dir.display()));
        }
    }
    let changes = readable(&inotify)?;
    tokio::spawn(keep(Arc::clone(world), inotify, changes));
    Ok(())
}

/// Watches a directory from before there is anything in it. Secrets are nobody's business.
fn watch(inotify: &Inotify, dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let flags = AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_CLOSE_WRITE | AddWatchFlags::IN_DELETE;
    inotify.add_watch(dir, flags)?;
    Ok(())
}

/// Writes files anew when an object has changed or a token gets old.
async fn keep(world: Arc<World>, inotify: Inotify, changes: AsyncFd<OwnedFd>) {
    let has_tokens = volumes::kinds(&world.pod()).contains(&ObjectKind::ServiceAccount);
    let mut told = Vec::new();
    loop {
        // Also at the beginning: what changed while no supervisor lived is news too.
        refresh(&world, &mut told);
        let wait = match world.tokens.next() {
            Some(left) => left.max(AGAIN),
            // Not signed yet: the volume is about to be made, or lacks something.
            None if has_tokens => AGAIN,
            None => Duration::MAX,
        };
        match tokio::time::timeout(wait, changes.readable()).await {
            Err(_) => continue,
            Ok(Err(_)) => return,
            Ok(Ok(mut ready)) => {
                tokio::time::sleep(SETTLED).await;
                while inotify.read_events().is_ok_and(|events| !events.is_empty()) {}
                ready.clear_ready();
            }
        }
        world.event(Event::ObjectsChanged);
    }
}

/// What could not be written is told once, until it is something else.
fn refresh(world: &World, told: &mut Vec<String>) {
    let failed = volumes::refresh(&world.volumes(&world.pod()));
    let messages: Vec<String> = failed.iter().map(|(name, error)| volumes::unmounted(name, error)).collect();
    for message in messages.iter().filter(|message| !told.contains(message)) {
        let note = Note {
            warning: true,
            reason: "FailedMount".to_owned(),
            message: message.clone(),
            container: None,
        };
        world.event(Event::Told(note));
    }
    *told = messages;
}

/// Measures what the pod has on the disk, if any of that has a limit, until one is passed.
async fn measure(world: Arc<World>) {
    loop {
        tokio::time::sleep(MEASURED).await;
        let walker = Arc::clone(&world);
        // A walk may take long, and the loop must not wait for it.
        let walk = tokio::task::spawn_blocking(move || {
            let pod = walker.pod();
            usage::over_limit(&pod, &walker.dir).or_else(|| storage::over_limit(&pod, &walker.dir))
        });
        if let Ok(Some(message)) = walk.await {
            return world.event(Event::Evict(message));
        }
    }
}
