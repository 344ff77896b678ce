//! Deaths: from the guardian's records, and where no guardian writes them, from the kernel.
//!
//! The guardian renames a file into `exits/` for every death, *before* it reaps. The supervisor watches the
//! directory and, when it begins, reads it: the same code for both. It deletes a record when the machine's memory
//! without that process has been written: a supervisor that is killed in between has a successor that reads it
//! again. The pidfd of a container is the alarm: if it says that the process is gone and no record comes, the
//! guardian that should have written it is gone too, and the kernel is asked (it remembers from Linux 6.15 on).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::unistd::getppid;
use runtime::plan::{Exit as RuntimeExit, Identity};
use runtime::process::{Process, start_time_of};
use tokio::sync::mpsc::unbounded_channel;

use crate::status;

use super::catalogue::Watcher;
use super::machine::{Exit, Memory};
use super::mending;
use super::readable::readable;
use super::world::{Message, World};

/// How long a record may take from the moment that the kernel reports the death.
const RECORD_PATIENCE: Duration = Duration::from_millis(500);

/// How long and how often it is looked whether a dead process has been reaped by whoever inherited it.
const REAPING_PAUSE: Duration = Duration::from_millis(50);
const REAPING_TRIES: u32 = 100;

/// One process's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Death {
    pub(super) process: Identity,
    pub(super) exit: Exit,
    pub(super) at: Timestamp,
}

/// Sends every death that is recorded, now and from now on. The inotify instance, of which a user has but a few, serves
/// others too: what happens in directories that they watch comes out of the channel.
pub(super) fn watch(world: &Arc<World>) -> io::Result<Watcher> {
    let inotify = Arc::new(Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?);
    // A record is renamed into place.
    let exits = inotify.add_watch(&world.dir.exits(), AddWatchFlags::IN_MOVED_TO)?;
    let changes = readable(&*inotify)?;
    let (others, news) = unbounded_channel();
    let (world, shared) = (Arc::clone(world), Arc::clone(&inotify));
    tokio::spawn(async move {
        collect(&world);
        loop {
            let Ok(mut ready) = changes.readable().await else { return };
            let mut is_ours = false;
            while let Ok(events) = inotify.read_events()
                && !events.is_empty()
            {
                for event in events {
                    // Which record it was does not matter: the directory is read anew, also if the kernel had no room
                    // to say what happened.
                    is_ours |= event.wd == exits || event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW);
                    if event.mask.intersects(mending::LEASES) {
                        // Only of leases one wants to know that.
                        world.mending.notify_one();
                    } else if event.wd != exits {
                        let _ = others.send((event.wd, event.name));
                    }
                }
            }
            ready.clear_ready();
            if is_ours {
                collect(&world);
            }
        }
    });
    Ok((shared, news))
}

/// Records that have been sent, and may not be deleted yet.
#[derive(Default)]
pub(super) struct Told(Mutex<Vec<(Identity, PathBuf)>>);

/// Sends all records that have not been sent.
fn collect(world: &World) {
    let Ok(entries) = fs::read_dir(world.dir.exits()) else { return };
    let mut told = world.told.0.lock().unwrap_or_else(PoisonError::into_inner);
    for path in entries.flatten().map(|entry| entry.path()) {
        let name = path.file_name().and_then(|name| name.to_str());
        if let Some(death) = name.and_then(|name| read(&path, name))
            && told.iter().all(|(process, _)| *process != death.process)
        {
            world.send(Message::Death(death));
            told.push((death.process, path));
        }
    }
}

/// Deletes the records of processes that have no part in what has been written down.
pub(super) fn forget(world: &World, memory: &Memory) {
    let has_part = |process: &Identity| {
        memory.containers.iter().any(|record| status::process(record).as_ref() == Some(process))
    };
    let mut told = world.told.0.lock().unwrap_or_else(PoisonError::into_inner);
    told.retain(|(process, path)| {
        // One that cannot be deleted is told to the next supervisor, who ignores it.
        has_part(process) || fs::remove_file(path).is_err_and(|error| error.kind() != io::ErrorKind::NotFound)
    });
}

/// How a process ended whose record has not been collected yet.
pub(super) fn recorded(world: &World, process: Identity) -> Option<Exit> {
    let entries = fs::read_dir(world.dir.exits()).ok()?;
    let deaths = entries.flatten().filter_map(|entry| read(&entry.path(), entry.file_name().to_str()?));
    deaths.into_iter().find(|death| death.process == process).map(|death| death.exit)
}

/// `<pid>.<start>` holding `exited CODE NANOS` or `killed SIGNAL NANOS`; on a full disk these are in the name too.
fn read(path: &Path, name: &str) -> Option<Death> {
    let mut parts = name.splitn(3, '.');
    let process = Identity { pid: parts.next()?.parse().ok()?, start: parts.next()?.parse().ok()? };
    let text = match parts.next() {
        Some(rest) => rest.replace('.', " "),
        None => fs::read_to_string(path).ok()?,
    };
    let mut words = text.split_whitespace();
    let exit = match (words.next()?, words.next()?.parse().ok()?) {
        ("exited", code) => Exit::Code(code),
        ("killed", signal) => Exit::Signal(signal),
        _ => return None,
    };
    let at = Timestamp::from_nanosecond(words.next()?.parse().ok()?).ok()?;
    Some(Death { process, exit, at })
}

/// Waits until the process is gone, gives the guardian time to record it, and then tells it in its place.
pub(super) fn alarm(world: &Arc<World>, process: Process) {
    let world = Arc::clone(world);
    tokio::spawn(async move {
        let Ok(gone) = readable(&process) else { return };
        if gone.readable().await.is_err() {
            return;
        }
        // From the moment on that the guardian has buried it, or that it is not the guardian's to bury.
        loop {
            let is_to_be_recorded = is_the_guardians(&process);
            tokio::time::sleep(RECORD_PATIENCE).await;
            if !is_to_be_recorded {
                break;
            }
        }
        let exit = match told_by_the_kernel(&process).await {
            Some(RuntimeExit::Code(code)) => Exit::Code(code.into()),
            Some(RuntimeExit::Signal(signal)) => Exit::Signal(signal),
            None => Exit::Unknown,
        };
        world.send(Message::Death(Death { process: process.identity(), exit, at: Timestamp::now() }));
    });
}

/// Whether this is a child of the guardian's that has not been reaped: its death will be recorded, though on a full disk
/// that may take until there is room.
pub(super) fn is_the_guardians(process: &Process) -> bool {
    let Identity { pid, start } = process.identity();
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The fields behind the name: state, parent.
    let parent =
        stat.rsplit_once(')').and_then(|(_, rest)| rest.split_ascii_whitespace().nth(1)?.parse().ok());
    parent == Some(getppid().as_raw()) && start_time_of(pid) == Some(start)
}

/// How a process ended that no guardian waits for any more. The kernel tells only when its new parent, mostly process 1,
/// has reaped it, and not every one is quick about that.
async fn told_by_the_kernel(process: &Process) -> Option<RuntimeExit> {
    let Identity { pid, start } = process.identity();
    for _ in 0..REAPING_TRIES {
        let is_zombie = start_time_of(pid) == Some(start);
        let exit = process.exit_after_reaping();
        if exit.is_some() || !is_zombie {
            return exit;
        }
        tokio::time::sleep(REAPING_PAUSE).await;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_tells_code_or_signal_and_when() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("17.400");
        fs::write(&path, "exited 3 1700000000000000000\n").unwrap();
        let death = read(&path, "17.400").unwrap();
        assert_eq!((death.process.pid, death.process.start), (17, 400));
        assert_eq!((death.exit, death.at.as_second()), (Exit::Code(3), 1_700_000_000));
        fs::write(&path, "killed 9 1700000000000000000\n").unwrap();
        assert_eq!(read(&path, "17.400").unwrap().exit, Exit::Signal(9));
        assert_eq!(read(&path, ".17"), None);
        fs::write(&path, "").unwrap();
        assert_eq!(read(&path, "17.400"), None);
        let death = read(&path, "17.400.exited.3.1700000000000000000").unwrap();
        assert_eq!((death.process.start, death.exit), (400, Exit::Code(3)));
        assert_eq!(death.at.as_second(), 1_700_000_000);
    }
}
