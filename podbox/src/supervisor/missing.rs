//! Waiting for an object that a container's environment lacks: the directories are watched where it would appear.
//!
//! Only containers that lack one are waited for, so nobody else pays for a watch.

use std::io;
use std::path::Path;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use crate::environment::{self, EnvironmentError};
use crate::report;

use super::container::{Unmade, environment_of, surroundings};
use super::machine::{Index, SandboxFacts};
use super::readable::readable;
use super::world::World;

/// Returns when making the environment would no longer end in the same way. Never, if that cannot be watched: the
/// container is tried again from time to time anyway.
pub(super) async fn until_mended(
    world: &World,
    (index, sandbox): (Index, &SandboxFacts),
    missing: &EnvironmentError,
) {
    if let Err(error) = watch(world, (index, sandbox), missing).await {
        report::log(format_args!("supervisor: watch the objects of the store: {error}"));
        std::future::pending::<()>().await;
    }
}

async fn watch(
    world: &World,
    (index, sandbox): (Index, &SandboxFacts),
    missing: &EnvironmentError,
) -> io::Result<()> {
    let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
    let changes = readable(&inotify)?;
    loop {
        let pod = world.pod();
        let container = &pod.containers[index];
        let around = surroundings(world, container, sandbox);
        for kind in environment::are_needed(container) {
            let dir = world.settings.store.objects_of(kind, &pod.namespace);
            add_nearest(&inotify, &dir)?;
        }
        // Looked at after the watches are there, so that nothing is missed in between.
        if !matches!(environment_of(world, &pod, container, &around), Err(Unmade::Refers(error)) if error == *missing)
        {
            return Ok(());
        }
        let mut ready = changes.readable().await?;
        while inotify.read_events().is_ok_and(|events| !events.is_empty()) {}
        ready.clear_ready();
    }
}

/// Watches the directory, or while there is none the nearest one above it, where it has to appear.
fn add_nearest(inotify: &Inotify, dir: &Path) -> io::Result<()> {
    let flags = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_ONLYDIR;
    let mut ancestors = dir.ancestors().peekable();
    while let Some(at) = ancestors.next() {
        match inotify.add_watch(at, flags) {
            Ok(_) => {
                // What it was watched for may have appeared before the watch did.
                return match dir.ancestors().take_while(|path| *path != at).last() {
                    Some(below) if below.exists() => add_nearest(inotify, dir),
                    _ => Ok(()),
                };
            }
            Err(nix::errno::Errno::ENOENT) if ancestors.peek().is_some() => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}
