//! `/sys/fs/cgroup` as a container sees it: its own cgroup is the root.

use super::options::Options;
use super::{make, move_onto, tmpfs};
use crate::cgroup::Cgroup;
use crate::recipe::{During, Fault};
use crate::sys::mount::{MountAttributes, move_mount, open_tree, set_attributes};
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::sys::stat::{Mode, mkdirat};
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// With v2 alone, the file system itself, whose root is the root of the cgroup namespace. With v1, a tmpfs
/// with one directory a hierarchy, into which the container's own directories are bound: programs look for
/// the controllers by these names.
pub(super) fn place(
    cgroup: Option<&Cgroup>,
    target: &OwnedFd,
    options: &Options,
    notes: &mut Vec<String>,
) -> Result<(), Fault> {
    let views = cgroup.map(Cgroup::views).unwrap_or_default();
    if views.is_empty() {
        return match make("cgroup2", None, options, libc::MOUNT_ATTR_NODEV) {
            Ok(made) => move_onto(&made, target),
            Err(fault) => {
                notes.push(format!("/sys/fs/cgroup is empty in the container: {}", fault.text));
                Ok(())
            }
        };
    }
    let flags = options.own.set | libc::MOUNT_ATTR_NODEV;
    let top = tmpfs(c"0755", flags & !libc::MOUNT_ATTR_RDONLY)?;
    move_onto(&top, target)?;
    for (name, directory) in views {
        let name = CString::new(name).map_err(|_| Fault::new("zero byte in a controller's name"))?;
        mkdirat(&top, name.as_c_str(), Mode::from_bits_truncate(0o755)).during(name.to_string_lossy())?;
        let copy = match &directory {
            Some(directory) => copy_of(directory, flags)?,
            None => match make("cgroup", None, &just(&name, options), libc::MOUNT_ATTR_NODEV) {
                Ok(made) => made,
                // Only shown for programs that look for it; it limits nothing here.
                Err(_) => continue,
            },
        };
        let point = openat(&top, name.as_c_str(), OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?;
        move_mount(copy.as_fd(), point.as_fd()).during(name.to_string_lossy())?;
    }
    let read_only = MountAttributes { set: flags & libc::MOUNT_ATTR_RDONLY, ..Default::default() };
    if read_only.is_empty() { Ok(()) } else { Ok(set_attributes(top.as_fd(), read_only, 0)?) }
}

fn copy_of(directory: &Path, flags: u64) -> Result<OwnedFd, Fault> {
    let path =
        CString::new(directory.as_os_str().as_bytes()).map_err(|_| Fault::new("zero byte in a path"))?;
    let copy = open_tree(AT_FDCWD, &path, libc::OPEN_TREE_CLONE).during(directory.display())?;
    let attributes = MountAttributes { set: flags, propagation: libc::MS_PRIVATE, ..Default::default() };
    set_attributes(copy.as_fd(), attributes, 0)?;
    Ok(copy)
}

/// The mount's attributes, and as the only option the hierarchy's name.
fn just(name: &CString, options: &Options) -> Options {
    Options { data: vec![(name.clone(), None)], ..options.clone() }
}
