//! Which devices are whose: a link `devices/VENDOR/CLASS/NAME` to the pod that has it, in the run directory.
//!
//! A link whose pod's directory is gone was left by somebody who was killed, and is free. Changes are made one at a time,
//! under a lock on the directory of all pods.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// The leases of all pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leases {
    root: PathBuf,
    pods: PathBuf,
}

/// Why devices could not be leased.
#[derive(Debug)]
pub enum NotFree {
    /// Only so many are free.
    Only(usize),
    /// They cannot be written down.
    Io(io::Error),
}

impl From<io::Error> for NotFree {
    fn from(error: io::Error) -> NotFree {
        NotFree::Io(error)
    }
}

impl Leases {
    /// Leases at `root`, of pods whose run directories are below `pods`.
    #[must_use]
    pub fn new(root: PathBuf, pods: PathBuf) -> Leases {
        Leases { root, pods }
    }

    /// Those of the devices that nobody has.
    #[must_use]
    pub fn free<'n>(&self, kind: &str, names: &[&'n str]) -> Vec<&'n str> {
        let place = self.root.join(kind);
        names.iter().copied().filter(|name| self.holder(&place.join(name)).is_none()).collect()
    }

    /// The devices of a kind that a pod has, by name.
    #[must_use]
    pub fn held(&self, uid: &str, kind: &str) -> Vec<String> {
        let place = self.root.join(kind);
        let mut names: Vec<_> = fs::read_dir(&place)
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| self.holder(&entry.path()).as_deref() == Some(uid))
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        names.sort();
        names
    }

    /// Leases `count` of the devices to a pod, which keeps those that it has.
    ///
    /// # Errors
    /// [`NotFree::Only`], and then no more are leased than before.
    pub fn take(&self, uid: &str, kind: &str, names: &[&str], count: usize) -> Result<(), NotFree> {
        let _one_at_a_time = self.lock()?;
        let missing = count.saturating_sub(self.held(uid, kind).len());
        let free = self.free(kind, names);
        if free.len() < missing {
            return Err(NotFree::Only(free.len()));
        }
        let place = self.root.join(kind);
        fs::create_dir_all(&place)?;
        for name in &free[..missing] {
            let link = place.join(name);
            match fs::remove_file(&link) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
                _ => symlink(uid, link)?,
            }
        }
        Ok(())
    }

    /// Gives all devices of a pod back, and removes directories in which none is left.
    ///
    /// # Errors
    /// The first link that stays.
    pub fn release(&self, uid: &str) -> io::Result<()> {
        if !self.root.exists() {
            return Ok(());
        }
        let _one_at_a_time = self.lock()?;
        for vendor in entries(&self.root) {
            for class in entries(&vendor) {
                for link in entries(&class) {
                    if fs::read_link(&link).is_ok_and(|holder| holder == Path::new(uid)) {
                        fs::remove_file(link)?;
                    }
                }
                // One that is not empty stays.
                let _ = fs::remove_dir(&class);
            }
            let _ = fs::remove_dir(&vendor);
        }
        let _ = fs::remove_dir(&self.root);
        Ok(())
    }

    /// The pod that has the device, if it is there.
    fn holder(&self, link: &Path) -> Option<String> {
        let uid = fs::read_link(link).ok()?.into_os_string().into_string().ok()?;
        self.pods.join(&uid).exists().then_some(uid)
    }

    fn lock(&self) -> io::Result<File> {
        let pods = File::open(&self.pods)?;
        pods.lock()?;
        Ok(pods)
    }
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}
