//! The files that remember who holds what.
//!
//! ```text
//! <state_dir>/
//!   lock                    flock: shared to lease, exclusive to make or remove what pods share
//!   bridge                  written when the bridge is complete
//!   last                    the host part that was leased last: where the next search begins
//!   pods/<id>/<interface>   what a pod holds; written first, removed last
//!   <address>               the same file under the name of each address it holds
//!   ports/<port>-<protocol>-<host address>   who holds that port
//! ```
//!
//! A lease is a hard link: `link(2)` makes the second name of a file that is complete already, and fails
//! if the name is taken, in one step. So no lease is ever empty, torn or given twice, and after a crash at
//! any moment the pod's own file tells what it may hold.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::NetError;

/// How a lock may be shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sharing {
    /// With others that lease.
    Shared,
    /// With nobody.
    Exclusive,
}

/// How often directories are made that others remove.
const TRIES: u32 = 1000;

/// Takes the network's lock; dropping the file gives it back. Makes the directories.
pub(crate) fn lock(state_dir: &Path, sharing: Sharing) -> Result<File, NetError> {
    let path = state_dir.join("lock");
    let failed = |action| move |source| NetError::State { action, path: state_dir.join("lock"), source };
    let mut tries = TRIES;
    loop {
        let file = match OpenOptions::new().create(true).append(true).open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == ErrorKind::NotFound => {
                let made =
                    ["pods", "ports"].iter().try_for_each(|name| make_directory(&state_dir.join(name)));
                match made {
                    // Somebody removes an idle network meanwhile, directory by directory.
                    Err(NetError::State { source, .. })
                        if source.kind() == ErrorKind::NotFound && tries > 0 =>
                    {
                        tries -= 1;
                    }
                    made => made?,
                }
                continue;
            }
            Err(e) => return Err(failed("create")(e)),
        };
        match sharing {
            Sharing::Shared => file.lock_shared(),
            Sharing::Exclusive => file.lock(),
        }
        .map_err(failed("lock"))?;
        // Whoever removes an idle network removes the lock's file too: then this is not the lock any more.
        let ours = file.metadata().map_err(failed("look at"))?;
        if fs::metadata(&path).is_ok_and(|now| now.ino() == ours.ino() && now.dev() == ours.dev()) {
            return Ok(file);
        }
    }
}

/// As [`lock`], but `None` if the network has no state at all.
pub(crate) fn lock_if_present(state_dir: &Path, sharing: Sharing) -> Result<Option<File>, NetError> {
    if state_dir.join("lock").exists() { lock(state_dir, sharing).map(Some) } else { Ok(None) }
}

/// Makes a directory and those above it.
pub(crate) fn make_directory(path: &Path) -> Result<(), NetError> {
    fs::create_dir_all(path).map_err(|source| NetError::State {
        action: "make directory",
        path: path.to_owned(),
        source,
    })
}

/// Removes a file; true if it was there.
pub(crate) fn remove_file(path: &Path) -> Result<bool, NetError> {
    absent_is_fine(fs::remove_file(path), path)
}

/// Removes an empty directory; true if it was there.
pub(crate) fn remove_directory(path: &Path) -> Result<bool, NetError> {
    absent_is_fine(fs::remove_dir(path), path)
}

fn absent_is_fine(result: io::Result<()>, path: &Path) -> Result<bool, NetError> {
    match result {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
        Err(source) => Err(NetError::State { action: "remove", path: path.to_owned(), source }),
    }
}

/// The names in a directory; none if there is no such directory. Temporary files are left out.
pub(crate) fn names(directory: &Path) -> Result<Vec<String>, NetError> {
    let failed = |source| NetError::State { action: "list", path: directory.to_owned(), source };
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(failed(e)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.map_err(failed)?.file_name();
        if let Ok(name) = name.into_string()
            && !name.starts_with('.')
        {
            names.push(name);
        }
    }
    Ok(names)
}

/// Reads a JSON file; `None` if it is not there.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, NetError> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
        Err(source) => return Err(NetError::State { action: "read", path: path.to_owned(), source }),
    };
    serde_json::from_slice(&text)
        .map(Some)
        .map_err(|source| NetError::Corrupt { path: path.to_owned(), source })
}

/// Writes a JSON file so that nobody ever sees half of it; it takes the place of an older one.
pub(crate) fn replace<T: Serialize>(path: &Path, value: &T) -> Result<(), NetError> {
    let temporary = write_aside(path, value)?;
    fs::rename(&temporary, path).map_err(|source| {
        let _ = fs::remove_file(&temporary);
        NetError::State { action: "write", path: path.to_owned(), source }
    })
}

/// Gives a file a second name unless that name is taken; true if it has it now.
pub(crate) fn link(from: &Path, to: &Path) -> Result<bool, NetError> {
    match fs::hard_link(from, to) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(source) => Err(NetError::State { action: "create", path: to.to_owned(), source }),
    }
}

fn write_aside<T: Serialize>(path: &Path, value: &T) -> Result<PathBuf, NetError> {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let unique = COUNTER.fetch_add(1, Ordering::Relaxed);
    let temporary = path.with_file_name(format!(".{name}.{}.{unique}", std::process::id()));
    let failed = |source| NetError::State { action: "write", path: path.to_owned(), source };
    let text = serde_json::to_vec(value).map_err(|e| failed(e.into()))?;
    fs::write(&temporary, text).map_err(|e| {
        let _ = fs::remove_file(&temporary);
        failed(e)
    })?;
    Ok(temporary)
}
