//! `fsGroup`: a volume's files belong to a group of the pod's, and the group may do with them what their owner may.
//!
//! Source: kubelet `volume/volume_linux.go` (SetVolumeOwnership).

use std::fs::{self, Permissions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, SFlag, fstat};
use nix::unistd::{Gid, fchownat};

use crate::volumes::{self, Place};

const SET_GID: u32 = 0o2000;
const OF_DIRECTORIES: u32 = 0o110;

/// When a volume is gone through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// `Always`.
    Always,
    /// `OnRootMismatch`: only if its root does not have the group and the mode yet.
    OnRootMismatch,
}

/// Gives all that lies in the volume at `path`, and its root, to `group`; `read_only` volumes are only made readable.
/// Links are not followed.
///
/// # Errors
/// The first file that cannot be changed. What vanishes meanwhile is no error.
pub fn apply(path: &Path, group: u32, read_only: bool, policy: Policy) -> io::Result<()> {
    let of_files = if read_only { 0o440 } else { 0o660 };
    if policy == Policy::OnRootMismatch {
        let root = fs::metadata(path)?;
        let wanted = of_files | OF_DIRECTORIES | SET_GID;
        if root.gid() == group && root.permissions().mode() & wanted == wanted {
            return Ok(());
        }
    }
    go_through(&handle(AT_FDCWD, path)?, group, of_files)
}

/// Does so for every volume of the pod that a kubelet does it for, if the pod asks for it.
///
/// # Errors
/// The first volume that cannot be changed, by name.
pub fn apply_to_all(place: &Place<'_>) -> Result<(), (String, io::Error)> {
    let security = &place.pod.security;
    let Some(group) = security.fs_group else { return Ok(()) };
    let policy = if security.fs_group_on_root_mismatch { Policy::OnRootMismatch } else { Policy::Always };
    for volume in place.pod.volumes.iter().filter(|volume| volumes::takes_a_group(place, volume)) {
        let root = volumes::found_root_of(volume, place.dir);
        apply(&root, group, false, policy).map_err(|error| (volume.name.clone(), error))?;
    }
    Ok(())
}

/// By descriptors: a container that swaps a file for a link meanwhile changes nothing outside of the volume. A directory
/// comes after what it holds, as the root tells whether all has been done.
fn go_through(entry: &OwnedFd, group: u32, of_files: u32) -> io::Result<()> {
    let facts = fstat(entry)?;
    let kind = SFlag::from_bits_truncate(facts.st_mode & SFlag::S_IFMT.bits());
    let itself = format!("/proc/self/fd/{}", entry.as_raw_fd());
    if kind == SFlag::S_IFDIR {
        for below in fs::read_dir(&itself)? {
            let name = below?.file_name();
            if let Some(below) = there(handle(entry, Path::new(&name)))? {
                go_through(&below, group, of_files)?;
            }
        }
    }
    fchownat(entry, "", None, Some(Gid::from_raw(group)), AtFlags::AT_EMPTY_PATH)?;
    if kind == SFlag::S_IFLNK {
        return Ok(());
    }
    let more = if kind == SFlag::S_IFDIR { OF_DIRECTORIES | SET_GID } else { 0 };
    fs::set_permissions(&itself, Permissions::from_mode((facts.st_mode & 0o7777) | of_files | more))
}

fn handle(directory: impl AsFd, name: &Path) -> io::Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    Ok(openat(directory, name, flags, Mode::empty())?)
}

fn there<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    fn own_group() -> u32 {
        nix::unistd::getegid().as_raw()
    }

    #[test]
    fn the_group_may_what_the_owner_may_and_links_are_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("volume");
        let outside = dir.path().join("outside");
        fs::create_dir_all(root.join("below")).unwrap();
        for path in [&outside, &root.join("file")] {
            fs::write(path, "").unwrap();
            fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
        }
        for path in [&root, &root.join("below")] {
            fs::set_permissions(path, Permissions::from_mode(0o700)).unwrap();
        }
        symlink(&outside, root.join("link")).unwrap();
        apply(&root, own_group(), false, Policy::Always).unwrap();
        assert_eq!(mode(&root), 0o2770);
        assert_eq!(mode(&root.join("below")), 0o2770);
        assert_eq!(mode(&root.join("file")), 0o660);
        assert_eq!(mode(&outside), 0o600);
    }

    #[test]
    fn a_read_only_volume_is_only_made_readable() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        fs::set_permissions(dir.path().join("file"), Permissions::from_mode(0o400)).unwrap();
        apply(dir.path(), own_group(), true, Policy::Always).unwrap();
        assert_eq!(mode(&dir.path().join("file")), 0o440);
    }

    #[test]
    fn on_root_mismatch_a_right_root_vouches_for_the_rest() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        fs::set_permissions(dir.path(), Permissions::from_mode(0o2770)).unwrap();
        apply(dir.path(), own_group(), false, Policy::OnRootMismatch).unwrap();
        assert_eq!(mode(&file), 0o600);
        fs::set_permissions(dir.path(), Permissions::from_mode(0o770)).unwrap();
        apply(dir.path(), own_group(), false, Policy::OnRootMismatch).unwrap();
        assert_eq!(mode(&file), 0o660);
    }
}
