//! The descriptor-based mount API (Linux 5.2, mount_setattr 5.12): a mount is built, changed and placed by
//! descriptor, so no path is looked up twice and a symlink swapped meanwhile cannot lead elsewhere.

use super::{Result, check, own};
use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

/// An open file system context, before it is a mount.
#[derive(Debug)]
pub(crate) struct FsContext(OwnedFd);

impl FsContext {
    /// fsopen(2) for a file system type.
    pub(crate) fn open(kind: &CStr) -> Result<Self> {
        // SAFETY: the name is a C string that outlives the call.
        own(unsafe { libc::syscall(libc::SYS_fsopen, kind.as_ptr(), libc::FSOPEN_CLOEXEC) }).map(Self)
    }

    /// Sets `key=value`. The kernel takes at most 255 bytes of value.
    pub(crate) fn set(&self, key: &CStr, value: &CStr) -> Result<()> {
        self.config(libc::FSCONFIG_SET_STRING, key.as_ptr(), value.as_ptr())
    }

    /// Sets a bare `key`.
    pub(crate) fn flag(&self, key: &CStr) -> Result<()> {
        self.config(libc::FSCONFIG_SET_FLAG, key.as_ptr(), std::ptr::null())
    }

    /// Makes the superblock from what was set.
    pub(crate) fn create(&self) -> Result<()> {
        self.config(libc::FSCONFIG_CMD_CREATE, std::ptr::null(), std::ptr::null())
    }

    /// Makes a detached mount with `MOUNT_ATTR_…` flags.
    pub(crate) fn mount(&self, attributes: u64) -> Result<OwnedFd> {
        let context = self.0.as_raw_fd();
        // SAFETY: three integers; the descriptor is ours and open.
        own(unsafe { libc::syscall(libc::SYS_fsmount, context, libc::FSMOUNT_CLOEXEC, attributes) })
    }

    /// What the kernel wrote about the last failure, if anything: far better than the errno.
    pub(crate) fn complaint(&self) -> Option<String> {
        let mut text = [0_u8; 512];
        let length = nix::unistd::read(&self.0, &mut text).ok()?;
        let line = String::from_utf8_lossy(&text[..length]);
        // The kernel puts "e ", "w " or "i " in front.
        Some(line.trim().trim_start_matches("e ").to_owned())
    }

    fn config(&self, command: libc::c_uint, key: *const i8, value: *const i8) -> Result<()> {
        let context = self.0.as_raw_fd();
        // SAFETY: key and value are null or C strings borrowed by the three callers through the call.
        check(unsafe { libc::syscall(libc::SYS_fsconfig, context, command, key, value, 0) }).map(drop)
    }
}

/// open_tree(2): with `OPEN_TREE_CLONE` a detached copy of the mount at `path`, with `AT_RECURSIVE` of all
/// below it too. An empty path means `directory` itself.
pub(crate) fn open_tree(directory: BorrowedFd<'_>, path: &CStr, flags: u32) -> Result<OwnedFd> {
    let flags = flags | libc::OPEN_TREE_CLOEXEC | empty_path(path);
    // SAFETY: the path is a C string, the descriptor borrowed.
    own(unsafe { libc::syscall(libc::SYS_open_tree, directory.as_raw_fd(), path.as_ptr(), flags) })
}

/// `AT_EMPTY_PATH` when the path is empty.
fn empty_path(path: &CStr) -> u32 {
    if path.is_empty() { libc::AT_EMPTY_PATH as u32 } else { 0 }
}

/// Places a detached mount on exactly the directory or file behind `target`.
pub(crate) fn move_mount(mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<()> {
    let flags = libc::MOVE_MOUNT_F_EMPTY_PATH | libc::MOVE_MOUNT_T_EMPTY_PATH;
    let (from, to, empty) = (mount.as_raw_fd(), target.as_raw_fd(), c"".as_ptr());
    // SAFETY: both descriptors are borrowed, both paths are the empty C string.
    check(unsafe { libc::syscall(libc::SYS_move_mount, from, empty, to, empty, flags) }).map(drop)
}

/// What mount_setattr(2) changes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct MountAttributes {
    /// `MOUNT_ATTR_…` to set.
    pub(crate) set: u64,
    /// `MOUNT_ATTR_…` to clear.
    pub(crate) clear: u64,
    /// `MS_PRIVATE`, `MS_SLAVE`, `MS_SHARED`, `MS_UNBINDABLE` or 0.
    pub(crate) propagation: u64,
}

impl MountAttributes {
    /// Whether there is nothing to change.
    pub(crate) fn is_empty(self) -> bool {
        self == Self::default()
    }
}

/// Maps the ids of a mount that was not placed yet by a user namespace (mount_setattr(2), MOUNT_ATTR_IDMAP).
pub(crate) fn map_ids(mount: BorrowedFd<'_>, namespace: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: mount_attr is plain integers; zero changes nothing.
    let mut attr: libc::mount_attr = unsafe { std::mem::zeroed() };
    attr.attr_set = libc::MOUNT_ATTR_IDMAP;
    attr.userns_fd = namespace.as_raw_fd() as u64;
    let (fd, flags) = (mount.as_raw_fd(), libc::AT_EMPTY_PATH);
    let (number, empty) = (libc::SYS_mount_setattr, c"".as_ptr());
    // SAFETY: the struct and its size agree and it lives through the call; both descriptors are borrowed.
    let returned = unsafe { libc::syscall(number, fd, empty, flags, &raw const attr, size_of_val(&attr)) };
    check(returned).map(drop)
}

/// mount_setattr(2) on the mount behind `mount`; `flags` is 0 or `AT_RECURSIVE`.
pub(crate) fn set_attributes(mount: BorrowedFd<'_>, attributes: MountAttributes, flags: u32) -> Result<()> {
    // SAFETY: mount_attr is plain integers; zero changes nothing.
    let mut attr: libc::mount_attr = unsafe { std::mem::zeroed() };
    attr.attr_set = attributes.set;
    attr.attr_clr = attributes.clear;
    attr.propagation = attributes.propagation;
    let (fd, flags) = (mount.as_raw_fd(), flags | libc::AT_EMPTY_PATH as u32);
    let (number, empty) = (libc::SYS_mount_setattr, c"".as_ptr());
    // SAFETY: the struct and its size agree and it lives through the call.
    let returned = unsafe { libc::syscall(number, fd, empty, flags, &raw const attr, size_of_val(&attr)) };
    check(returned).map(drop)
}
