//! Masked and read-only paths: what of /proc and /sys a container may not see or change.

use super::{find, tmpfs};
use crate::in_root::kind_of;
use crate::recipe::{During, Fault};
use crate::sys::mount::{MountAttributes, move_mount, open_tree, set_attributes};
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::sys::stat::{Mode, SFlag, fstat, makedev};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Covers each path: a file with `/dev/null`, a directory with an empty read-only tmpfs (one for all).
///
/// The null device is the host's own, and is looked at before it is used: something else in its place
/// could be written to through the covered files (CVE-2025-31133).
pub(crate) fn mask(root: BorrowedFd<'_>, paths: &[String]) -> Result<(), Fault> {
    let mut null: Option<OwnedFd> = None;
    let mut empty: Option<OwnedFd> = None;
    for path in paths {
        let Some(target) = find(root, path)? else { continue };
        let directory = kind_of(target.as_fd())? == SFlag::S_IFDIR;
        let cover = match if directory { &empty } else { &null } {
            Some(source) => copy_of(source),
            // The first is placed itself: before Linux 6.15 only what is placed can be copied.
            None if directory => {
                let made = tmpfs(c"0555", ATTRIBUTES | libc::MOUNT_ATTR_NODEV)?;
                empty = Some(made.try_clone()?);
                Ok(made)
            }
            None => copy_of(null.insert(null_device()?)),
        };
        move_mount(cover.during(path)?.as_fd(), target.as_fd()).during(path)?;
    }
    Ok(())
}

const ATTRIBUTES: u64 = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC;

fn copy_of(source: &OwnedFd) -> Result<OwnedFd, Fault> {
    let copy = open_tree(source.as_fd(), c"", libc::OPEN_TREE_CLONE)?;
    let private = MountAttributes { set: ATTRIBUTES, propagation: libc::MS_PRIVATE, ..Default::default() };
    set_attributes(copy.as_fd(), private, 0)?;
    Ok(copy)
}

fn null_device() -> Result<OwnedFd, Fault> {
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let null = openat(AT_FDCWD, "/dev/null", flags, Mode::empty()).during("/dev/null")?;
    let stat = fstat(&null)?;
    if stat.st_mode & SFlag::S_IFMT.bits() != SFlag::S_IFCHR.bits() || stat.st_rdev != makedev(1, 3) {
        return Err(Fault::new("/dev/null is not the null device"));
    }
    Ok(null)
}

/// Binds each path onto itself, read-only with all that is below.
pub(crate) fn read_only(root: BorrowedFd<'_>, paths: &[String]) -> Result<(), Fault> {
    for path in paths {
        let Some(target) = find(root, path)? else { continue };
        let flags = libc::OPEN_TREE_CLONE | libc::AT_RECURSIVE as u32;
        let copy = open_tree(target.as_fd(), c"", flags).during(path)?;
        let attributes = MountAttributes {
            set: libc::MOUNT_ATTR_RDONLY,
            propagation: libc::MS_PRIVATE,
            ..Default::default()
        };
        set_attributes(copy.as_fd(), attributes, libc::AT_RECURSIVE as u32).during(path)?;
        move_mount(copy.as_fd(), target.as_fd()).during(path)?;
    }
    Ok(())
}
