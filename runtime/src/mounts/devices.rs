//! `/dev`: the device nodes a container may use, and the links every program expects.

use super::clone_of;
use crate::devices::Access;
use crate::in_root::{self, Kind};
use crate::recipe::{During, Fault};
use crate::sys::mount::{MountAttributes, move_mount, open_tree, set_attributes};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, SFlag, fstatat, makedev, mknodat};
use nix::unistd::{Gid, Uid, fchownat, symlinkat};
use oci_spec::runtime::{LinuxDevice, LinuxDeviceType};
use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The nodes that every container gets (OCI runtime Spec, "Default Devices"): name, major, minor.
const DEFAULT_DEVICES: [(&str, u64, u64); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

/// The links that every container gets (the same chapter): target, name.
const LINKS: [(&str, &str); 5] = [
    ("/proc/self/fd", "fd"),
    ("/proc/self/fd/0", "stdin"),
    ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"),
    ("pts/ptmx", "ptmx"),
];

/// Where nodes are put, and how.
struct Place<'n> {
    access: Access,
    notes: &'n mut Vec<String>,
}

/// One node to be made.
struct Node<'a> {
    name: &'a OsStr,
    kind: SFlag,
    number: u64,
    mode: u32,
    owner: (u32, u32),
}

/// The lines of mknod(1) that make the same nodes.
pub(crate) fn nodes_command(devices: &[LinuxDevice]) -> String {
    let usual = DEFAULT_DEVICES.map(|(name, major, minor)| format!("mknod ./dev/{name} c {major} {minor}"));
    let own = devices.iter().map(|device| {
        let (kind, major, minor) = (device.typ(), device.major(), device.minor());
        format!("mknod .{} {} {major} {minor}", device.path().display(), kind.as_str())
    });
    usual.into_iter().chain(own).collect::<Vec<_>>().join("; ")
}

/// Puts the default nodes, the Spec's own and the links below `root`.
///
/// With [`Access::NoNodes`], a node is made in place, and then a mount of that one file, without `nodev`, is laid
/// over it. So the directory can be `nodev`, and only what was put here opens a device.
pub(crate) fn populate(
    root: BorrowedFd<'_>,
    devices: &[LinuxDevice],
    access: Access,
    notes: &mut Vec<String>,
) -> Result<(), Fault> {
    let mut place = Place { access, notes };
    let dev = in_root::make(root, Path::new("/dev"), Kind::Directory).during("/dev")?;
    for (name, major, minor) in DEFAULT_DEVICES {
        if devices.iter().any(|device| device.path().strip_prefix("/dev").is_ok_and(|own| own == name)) {
            continue;
        }
        let number = makedev(major, minor);
        let node = Node { name: name.as_ref(), kind: SFlag::S_IFCHR, number, mode: 0o666, owner: (0, 0) };
        place.put(&dev, &node, &Path::new("/dev").join(name)).during(format_args!("/dev/{name}"))?;
    }
    for device in devices {
        let path = device.path();
        let parent = path.parent().unwrap_or(Path::new("/"));
        let directory = in_root::make(root, parent, Kind::Directory).during(parent.display())?;
        node_of(device).and_then(|node| place.put(&directory, &node, path)).during(path.display())?;
    }
    for (target, name) in LINKS {
        match symlinkat(target, &dev, name) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(errno) => return Err(errno).during(format_args!("/dev/{name}")),
        }
    }
    Ok(())
}

fn node_of(device: &LinuxDevice) -> Result<Node<'_>, Fault> {
    let kind = match device.typ() {
        LinuxDeviceType::B => SFlag::S_IFBLK,
        LinuxDeviceType::C | LinuxDeviceType::U => SFlag::S_IFCHR,
        LinuxDeviceType::P => SFlag::S_IFIFO,
        LinuxDeviceType::A => return Err(Fault::new("a device is b, c or p")),
    };
    Ok(Node {
        name: device.path().file_name().ok_or_else(|| Fault::new("a device needs a name"))?,
        kind,
        number: makedev(device.major() as u64, device.minor() as u64),
        mode: device.file_mode().unwrap_or(0o666) & 0o7777,
        owner: (device.uid().unwrap_or(0), device.gid().unwrap_or(0)),
    })
}

impl Place<'_> {
    fn put(&mut self, directory: &OwnedFd, node: &Node<'_>, host: &Path) -> Result<(), Fault> {
        let (copy, attributes) = match make_node(directory, node) {
            Ok(()) if self.access == Access::ByRule => return Ok(()),
            Ok(()) => {
                let copy = open_tree_at(directory, node.name, libc::OPEN_TREE_CLONE)?;
                (copy, MountAttributes { clear: libc::MOUNT_ATTR_NODEV, ..Default::default() })
            }
            // Inside another container nodes may not be made, but the ones that are there can be shown. The
            // mount is read-only: writing to a device is no change of the file system, changing its mode is.
            Err(Errno::EPERM) => {
                const NOTE: &str = "device nodes may not be made here: the container uses the host's";
                if !self.notes.iter().any(|note| note == NOTE) {
                    self.notes.push(NOTE.to_owned());
                }
                let flags = OFlag::O_CREAT | OFlag::O_WRONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
                drop(openat(directory, node.name, flags, Mode::from_bits_truncate(0o666))?);
                let set = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC;
                let clear = libc::MOUNT_ATTR_NODEV;
                (clone_of(host, 0)?, MountAttributes { set, clear, propagation: libc::MS_PRIVATE })
            }
            Err(errno) => return Err(errno.into()),
        };
        set_attributes(copy.as_fd(), attributes, 0)?;
        let target = open_tree_at(directory, node.name, 0)?;
        Ok(move_mount(copy.as_fd(), target.as_fd())?)
    }
}

fn make_node(directory: &OwnedFd, node: &Node<'_>) -> nix::Result<()> {
    let mode = Mode::from_bits_truncate(node.mode);
    match mknodat(directory, node.name, node.kind, mode, node.number) {
        // Perhaps the image brings it. Nothing is ever removed here: this may be somebody's volume.
        Err(Errno::EEXIST) => {
            let there = fstatat(directory, node.name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
            let same =
                there.st_mode & SFlag::S_IFMT.bits() == node.kind.bits() && there.st_rdev == node.number;
            return if same { Ok(()) } else { Err(Errno::EEXIST) };
        }
        other => other?,
    }
    if node.owner != (0, 0) {
        let (uid, gid) = (Uid::from_raw(node.owner.0), Gid::from_raw(node.owner.1));
        fchownat(directory, node.name, Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW)?;
    }
    Ok(())
}

/// Opens a name in a directory as a handle, or with `OPEN_TREE_CLONE` a copy of its mount; never follows.
fn open_tree_at(directory: &OwnedFd, name: &OsStr, flags: u32) -> nix::Result<OwnedFd> {
    let name = CString::new(name.as_bytes()).map_err(|_| Errno::EINVAL)?;
    open_tree(directory.as_fd(), &name, flags | libc::AT_SYMLINK_NOFOLLOW as u32)
}
