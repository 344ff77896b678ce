//! The one door into another network namespace.
//!
//! `setns(2)` changes the calling *thread*. A thread of its own enters, does its work and ends, so that no
//! other code ever runs in the wrong namespace.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::sched::CloneFlags;

/// Opens a namespace's file.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    File::open(path)
}

/// Whether the file is the namespace that the calling thread is in. One that cannot be looked at is not.
pub(crate) fn is_own(path: &Path) -> bool {
    let identity = |path: &Path| fs::metadata(path).map(|data| (data.dev(), data.ino())).ok();
    let own = identity(Path::new("/proc/thread-self/ns/net"));
    own.is_some() && own == identity(path)
}

/// Does `job` inside the network namespace and returns what it returns.
#[expect(clippy::disallowed_methods, reason = "this is the door; the thread ends after the job")]
pub(crate) fn inside<T: Send>(netns: &File, job: impl FnOnce() -> T + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("netns".to_owned())
            .stack_size(256 * 1024)
            .spawn_scoped(scope, || {
                nix::sched::setns(netns, CloneFlags::CLONE_NEWNET)?;
                Ok(job())
            })?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Does `job` inside a network namespace, or, with none, where the calling thread is.
pub(crate) fn within<T: Send>(netns: Option<&Path>, job: impl FnOnce() -> T + Send) -> io::Result<T> {
    match netns {
        Some(path) => inside(&open(path)?, job),
        None => Ok(job()),
    }
}
