//! Where everything lies on disk. No other module knows a path under the run, data or log directory.
//!
//! Rules: one writer per file; a file is written under a temporary name and renamed, so a reader never sees
//! half of it; "is it alive?" is a held lock, never a pid file; a name is taken by an exclusive symlink.

mod apart;
mod objects;
mod pod_dir;

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use serde::{Deserialize, Serialize};

use crate::cdi::Leases;

pub use apart::make_apart;
pub use objects::ObjectKind;
pub use pod_dir::{AttemptDir, PodDir};

/// The three directories that podbox writes to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Store {
    /// Dies with the boot: `/run/podbox`.
    pub run: PathBuf,
    /// Survives it: `/var/lib/podbox`.
    pub data: PathBuf,
    /// Container logs: `/var/log/pods`.
    pub logs: PathBuf,
    /// Where containers' writable layers lie.
    pub layers: Layers,
}

/// Where the writable layers of containers lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layers {
    /// In the directory that survives a reboot, though they do not: what a container writes should not fill the
    /// machine's memory, which the run directory mostly is.
    Disk,
    /// In the run directory: faster to make and to remove.
    Memory,
}

/// What went wrong with a file of the store.
#[derive(Debug, thiserror::Error)]
#[error("{action} {}", path.display())]
pub struct StoreError {
    /// What was being done, as a verb.
    pub action: &'static str,
    /// To which path.
    pub path: PathBuf,
    /// The system's answer.
    #[source]
    pub source: io::Error,
}

impl StoreError {
    fn new(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
        let path = path.to_path_buf();
        move |source| StoreError { action, path, source }
    }
}

/// Why a pod's name could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// Another pod has it.
    #[error("the name is taken by pod {uid}")]
    Taken {
        /// That pod's uid.
        uid: String,
    },
    /// The disk said no.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Store {
    /// The image store's root.
    #[must_use]
    pub fn images(&self) -> PathBuf {
        self.data.clone()
    }

    /// The network's leases: one file per address.
    #[must_use]
    pub fn leases(&self, network: &str) -> PathBuf {
        self.run.join("ipam").join(network)
    }

    /// Which devices of the host are whose.
    #[must_use]
    pub fn device_leases(&self) -> Leases {
        Leases::new(self.run.join("devices"), self.pods_dir())
    }

    /// The directories of one pod.
    #[must_use]
    pub fn pod(&self, uid: &str) -> PodDir {
        PodDir::new(self, uid)
    }

    /// Takes the name `namespace/name` for `uid`, if nobody has it.
    ///
    /// # Errors
    /// [`ClaimError::Taken`] if another pod holds the name.
    pub fn claim(&self, namespace: &str, name: &str, uid: &str) -> Result<(), ClaimError> {
        let link = self.name_link(namespace, name);
        make_parent(&link)?;
        match symlink(Path::new("../pods").join(uid), &link) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => match self.find(namespace, name) {
                Some(uid) => Err(ClaimError::Taken { uid }),
                // It was given back in this very moment.
                None if link.symlink_metadata().is_err() => self.claim(namespace, name, uid),
                None => Err(StoreError::new("take the name", &link)(error).into()),
            },
            Err(error) => Err(StoreError::new("take the name", &link)(error).into()),
        }
    }

    /// Gives the name back, if `uid` still holds it.
    pub fn release(&self, namespace: &str, name: &str, uid: &str) {
        if self.find(namespace, name).as_deref() == Some(uid) {
            // Nothing is left to do if it fails: the next claim of the name finds a pod that is gone.
            let _ = fs::remove_file(self.name_link(namespace, name));
        }
    }

    /// The uid of the pod that holds `namespace/name`.
    #[must_use]
    pub fn find(&self, namespace: &str, name: &str) -> Option<String> {
        let target = fs::read_link(self.name_link(namespace, name)).ok()?;
        Some(target.file_name()?.to_str()?.to_owned())
    }

    /// Every pod that has a name, as (namespace, name, uid), sorted.
    #[must_use]
    pub fn names(&self) -> Vec<(String, String, String)> {
        let Ok(entries) = fs::read_dir(self.names_dir()) else { return Vec::new() };
        let mut names: Vec<_> = entries
            .flatten()
            .filter_map(|entry| {
                let file = entry.file_name().into_string().ok()?;
                let (namespace, name) = file.split_once('_')?;
                Some((namespace.to_owned(), name.to_owned(), self.find(namespace, name)?))
            })
            .collect();
        names.sort();
        names
    }

    /// The uids of all pod directories under the run directory, named or not.
    #[must_use]
    pub fn uids(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.pods_dir()) else { return Vec::new() };
        let mut uids: Vec<_> =
            entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
        uids.sort();
        uids
    }

    /// The uids of all pods whose Pod is on disk, also from before the last boot.
    #[must_use]
    pub fn stored_uids(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.data.join("pods")) else { return Vec::new() };
        let mut uids: Vec<_> =
            entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
        uids.sort();
        uids
    }

    /// What CNI plugins have not taken back of pods that are gone, a file each, by the pod's uid.
    #[must_use]
    pub fn owed_dir(&self) -> PathBuf {
        self.data.join("cni-owed")
    }

    /// The directory that is watched to learn that a name comes or goes.
    #[must_use]
    pub fn names_dir(&self) -> PathBuf {
        self.run.join("by-name")
    }

    /// The directory that is watched to learn that a pod's directory comes or goes.
    #[must_use]
    pub fn pods_dir(&self) -> PathBuf {
        self.run.join("pods")
    }

    /// Where pods behind Services tell of themselves, a file each.
    #[must_use]
    pub fn endpoints_dir(&self) -> PathBuf {
        self.run.join("endpoints")
    }

    /// What one of them tells.
    #[must_use]
    pub fn endpoint(&self, namespace: &str, name: &str) -> PathBuf {
        self.endpoints_dir().join(format!("{namespace}_{name}.json"))
    }

    /// What the host's table of Services holds, and the lock of those who change it.
    #[must_use]
    pub fn host_services(&self) -> PathBuf {
        self.run.join("services")
    }

    /// Which ending pods the tables of followers of Services know, a file each, by the follower's uid.
    #[must_use]
    pub fn followers_dir(&self) -> PathBuf {
        self.host_services().join("followers")
    }

    /// Held while addresses and ports for Services are given out.
    #[must_use]
    pub fn services_lock(&self) -> PathBuf {
        self.data.join("services.lock")
    }

    fn name_link(&self, namespace: &str, name: &str) -> PathBuf {
        self.names_dir().join(format!("{namespace}_{name}"))
    }
}

/// Writes `path` so that a reader sees either the old content or the new one.
///
/// A file that is there changes places with the new one and is then removed. A plain rename over it would do
/// too, but makes ext4 write the new file to disk at once (`auto_da_alloc`, ext4(5)), which costs more than all
/// the rest, for files that the next change replaces again.
///
/// # Errors
/// If the temporary file beside it cannot be written or put in its place; the old file is then untouched.
pub fn write_atomic(path: &Path, content: &[u8]) -> Result<(), StoreError> {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".new");
    let temporary = path.with_file_name(name);
    let written = fs::write(&temporary, content).and_then(|()| replace(&temporary, path));
    written.map_err(|error| {
        let _ = fs::remove_file(&temporary);
        StoreError::new("write", path)(error)
    })
}

/// Puts `new` in the place of `path`, in one step.
fn replace(new: &Path, path: &Path) -> io::Result<()> {
    let exchange = || renameat2(AT_FDCWD, new, AT_FDCWD, path, RenameFlags::RENAME_EXCHANGE);
    if exchange().is_err() {
        // Nothing is there to change places with, or the file system cannot do it.
        return fs::rename(new, path);
    }
    fs::remove_file(new).inspect_err(|_| {
        // What was there is no file: it goes back.
        let _ = exchange();
    })
}

/// Makes the directory that `path` lies in.
///
/// # Errors
/// If it cannot be made.
pub fn make_parent(path: &Path) -> Result<(), StoreError> {
    path.parent().map_or(Ok(()), make_dir)
}

/// Makes a directory and those above it; it may be there already.
///
/// # Errors
/// If it cannot be made.
pub fn make_dir(path: &Path) -> Result<(), StoreError> {
    fs::create_dir_all(path).map_err(StoreError::new("create", path))
}

/// Takes an exclusive lock that lives as long as the returned file, and waits for it. Makes the directory that it lies in.
///
/// # Errors
/// If the lock file cannot be opened or locked.
pub fn lock(path: &Path) -> Result<File, StoreError> {
    make_parent(path)?;
    let taken =
        File::options().create(true).append(true).open(path).and_then(|file| file.lock().map(|()| file));
    taken.map_err(StoreError::new("lock", path))
}

/// Takes an exclusive lock that lives as long as the returned file; `None` if somebody holds it.
///
/// # Errors
/// If the lock file cannot be opened.
pub fn try_lock(path: &Path) -> Result<Option<File>, StoreError> {
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(StoreError::new("open", path))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(fs::TryLockError::WouldBlock) => Ok(None),
        Err(fs::TryLockError::Error(error)) => Err(StoreError::new("lock", path)(error)),
    }
}

/// Whether somebody holds the lock. Looking makes no file: the directory may be on its way out. Those who look do not
/// take each other for a holder.
#[must_use]
pub fn is_locked(path: &Path) -> bool {
    let Ok(file) = File::options().write(true).open(path) else { return false };
    matches!(file.try_lock_shared(), Err(fs::TryLockError::WouldBlock))
}

/// Removes a file or a directory with everything in it; what is not there is removed already.
///
/// # Errors
/// If something under it cannot be removed.
pub fn remove(path: &Path) -> Result<(), StoreError> {
    let mut tries = 0;
    loop {
        let removed = match fs::symlink_metadata(path) {
            Ok(data) if data.is_dir() => fs::remove_dir_all(path),
            Ok(_) => fs::remove_file(path),
            Err(error) => Err(error),
        };
        match removed {
            // Somebody made a file in it meanwhile, such as a guardian that writes a last death down.
            Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty && tries < 50 => {
                tries += 1;
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(StoreError::new("remove", path)(error));
            }
            _ => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(dir: &Path) -> Store {
        Store { run: dir.join("run"), data: dir.join("data"), logs: dir.join("logs"), layers: Layers::Disk }
    }

    #[test]
    fn a_name_is_held_by_one_pod_until_that_pod_releases_it() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path());
        store.claim("default", "web", "a").unwrap();
        assert!(matches!(store.claim("default", "web", "b"), Err(ClaimError::Taken { uid }) if uid == "a"));
        store.release("default", "web", "b");
        assert_eq!(store.find("default", "web").as_deref(), Some("a"));
        store.release("default", "web", "a");
        assert_eq!(store.find("default", "web"), None);
        store.claim("default", "web", "b").unwrap();
        assert_eq!(store.names(), [("default".into(), "web".into(), "b".into())]);
    }

    #[test]
    fn a_failed_write_leaves_the_old_file_and_no_temporary_one() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("busy");
        fs::create_dir(&target).unwrap();
        fs::write(target.join("file"), "x").unwrap();
        assert!(write_atomic(&target, b"new").is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_lock_is_free_again_when_its_holder_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let held = try_lock(&path).unwrap();
        assert!(held.is_some());
        assert!(try_lock(&path).unwrap().is_none());
        drop(held);
        assert!(try_lock(&path).unwrap().is_some());
    }
}
