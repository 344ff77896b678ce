//! Work directories: where a layer is unpacked before it may be seen.
//!
//! Each lives in `<root>/layers/.work/` (the same file system as its destination, so that a rename is
//! enough) and is locked by its owner with flock(2), which the kernel gives back however the owner ends.
//! So a directory that can be locked is a dead pull's, and whoever makes the next one removes it.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

use super::ImageError;
use super::store::{Store, WriteLock, make_directory, next_number, write_whole};

/// A work directory of a living pull. Removed with all that is left in it when dropped.
pub(crate) struct Work {
    path: PathBuf,
    _alive: Flock<File>,
}

impl Work {
    /// A new, empty one. Removes those that dead pulls left.
    pub(crate) fn new(store: &Store) -> Result<Work, ImageError> {
        let all = store.layers().join(".work");
        make_directory(&all)?;
        // Under the lock nobody can take a directory for dead between its making and its locking.
        let _lock = store.write_lock()?;
        sweep(&all)?;
        let path = all.join(format!("{}-{}", std::process::id(), next_number()));
        fs::create_dir(&path).map_err(ImageError::io("create directory", &path))?;
        let directory = File::open(&path).map_err(ImageError::io("open", &path))?;
        match Flock::lock(directory, FlockArg::LockExclusiveNonblock) {
            Ok(alive) => Ok(Work { path, _alive: alive }),
            Err((_, errno)) => Err(ImageError::io("lock", &path)(errno.into())),
        }
    }

    /// A path in here that nobody uses yet.
    pub(crate) fn fresh_path(&self) -> PathBuf {
        self.path.join(next_number().to_string())
    }

    /// Makes an unpacked layer visible. One that is there already stays: same name, same bytes.
    pub(crate) fn publish_layer(
        &self,
        store: &Store,
        from: &Path,
        layer: &super::layer::Unpacked,
    ) -> Result<(), ImageError> {
        let _lock: WriteLock = store.write_lock()?;
        let destination = store.layer_directory(&layer.diff_id);
        write_whole(&store.size_file(&layer.diff_id), layer.size.to_string().as_bytes())?;
        match fs::rename(from, &destination) {
            Ok(()) => Ok(()),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists
                ) =>
            {
                Ok(())
            }
            Err(error) => Err(ImageError::io("rename a finished layer to", &destination)(error)),
        }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next pull.
        let _ = fs::remove_dir_all(&self.path);
    }
}

fn sweep(all: &Path) -> Result<(), ImageError> {
    for entry in fs::read_dir(all).map_err(ImageError::io("read directory", all))? {
        let path = entry.map_err(ImageError::io("read directory", all))?.path();
        let Ok(directory) = File::open(&path) else { continue };
        if Flock::lock(directory, FlockArg::LockExclusiveNonblock).is_ok() {
            fs::remove_dir_all(&path).map_err(ImageError::io("remove", &path))?;
        }
    }
    Ok(())
}
