//! The container's root: an overlay of image layers, or what takes its place where overlays are refused.
//!
//! In order of preference:
//! 1. overlay, the writable part in the scratch directory;
//! 2. overlay, the writable part in memory: an overlay may not have another overlay as its upper layer,
//!    and inside a container the disk usually is one;
//! 3. a plain copy of the layers, where overlays cannot be mounted at all.
//!
//! What is lost by 2 and 3 is said in a note.

mod copy;

use crate::plan::Rootfs;
use crate::recipe::{During, Fault};
use crate::sys::mount::{FsContext, MountAttributes, move_mount, open_tree, set_attributes};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, open};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::Mode;
use nix::sys::statfs::{TMPFS_MAGIC, statfs};
use std::ffi::CString;
use std::fs::DirBuilder;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// fsconfig(2) takes values of up to 255 bytes.
const LONGEST_VALUE: usize = 255;

/// The line of mount(8) that does the same.
pub(crate) fn command(rootfs: &Rootfs) -> String {
    match rootfs {
        Rootfs::Overlay { lower, scratch } => {
            let lower: Vec<_> = lower.iter().map(|path| path.display().to_string()).collect();
            let (lower, at) = (lower.join(":"), scratch.display());
            let (upper, work) = (format!("upperdir={at}/upper"), format!("workdir={at}/work"));
            format!("mount -t overlay -o nodev,lowerdir={lower},{upper},{work} overlay {at} && cd {at}")
        }
        Rootfs::Directory(path) => format!("mount --bind -o nodev {0} {0} && cd {0}", path.display()),
    }
}

/// Mounts the root, `nodev`, and gives a handle on it. Propagation from the host must have been stopped.
pub(crate) fn build(rootfs: &Rootfs, notes: &mut Vec<String>) -> Result<OwnedFd, Fault> {
    match rootfs {
        Rootfs::Directory(path) => bind(path),
        Rootfs::Overlay { lower, .. } if lower.is_empty() => Err(Fault::new("there is no layer")),
        Rootfs::Overlay { lower, scratch } => {
            let first = match overlay(lower, scratch) {
                Err(refused) if may_go_otherwise(&refused) => refused,
                other => return other,
            };
            notes.push(format!("the writable layer is in memory, on a tmpfs: {}", first.text));
            in_memory(scratch)?;
            let second = match overlay(lower, scratch) {
                Err(refused) if may_go_otherwise(&refused) => refused,
                other => return other,
            };
            notes.pop();
            notes.push(format!("the image was copied: overlays cannot be mounted: {}", second.text));
            // On disk again: a whole image in memory would be charged to the container.
            umount2(scratch, MntFlags::MNT_DETACH)?;
            let root = scratch.join("rootfs");
            copy::layers(lower, &root)?;
            bind(&root)
        }
    }
}

/// Refusals that say something about the host and not about this container.
fn may_go_otherwise(fault: &Fault) -> bool {
    let refusals =
        [Errno::EINVAL, Errno::EPERM, Errno::ENODEV, Errno::EOPNOTSUPP, Errno::ENOSYS, Errno::EACCES];
    fault.errno.is_some_and(|errno| refusals.contains(&Errno::from_raw(errno)))
}

fn bind(path: &Path) -> Result<OwnedFd, Fault> {
    let name = c_string(path)?;
    let flags = libc::OPEN_TREE_CLONE | libc::AT_RECURSIVE as u32;
    let root = open_tree(AT_FDCWD, &name, flags).during(path.display())?;
    let attributes =
        MountAttributes { set: libc::MOUNT_ATTR_NODEV, propagation: libc::MS_PRIVATE, ..Default::default() };
    set_attributes(root.as_fd(), attributes, libc::AT_RECURSIVE as u32)?;
    attach(root, path)
}

/// pivot_root wants a mount that is attached somewhere; its own directory will do.
fn attach(root: OwnedFd, path: &Path) -> Result<OwnedFd, Fault> {
    move_mount(root.as_fd(), handle(path)?.as_fd()).during(path.display())?;
    Ok(root)
}

fn handle(path: &Path) -> Result<OwnedFd, Fault> {
    open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).during(path.display())
}

fn c_string(path: &Path) -> Result<CString, Fault> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| Fault::new("zero byte in a path"))
}

/// Lays a tmpfs over the scratch directory, in this mount namespace only.
fn in_memory(scratch: &Path) -> Result<(), Fault> {
    let flags = MsFlags::MS_NODEV;
    mount(Some("scratch"), scratch, Some("tmpfs"), flags, Some("mode=0700")).during(scratch.display())
}

fn make_directory(path: &Path, mode: u32) -> Result<(), Fault> {
    match DirBuilder::new().mode(mode).create(path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error).during(path.display()),
        _ => Ok(()),
    }
}

fn overlay(lower: &[PathBuf], scratch: &Path) -> Result<OwnedFd, Fault> {
    let (upper, work) = (scratch.join("upper"), scratch.join("work"));
    // The upper directory's mode is the mode of the container's root.
    make_directory(&upper, 0o755)?;
    make_directory(&work, 0o700)?;
    // Without `volatile` the end of the container waits until its writable layer is on disk, and that layer
    // is thrown away next. In memory there is nothing to wait for.
    let volatile = !statfs(scratch).is_ok_and(|fs| fs.filesystem_type() == TMPFS_MAGIC);
    let mut options = vec![];
    if volatile {
        options.push(c"volatile");
    }
    match new_overlay(lower, &upper, &work, &options) {
        Ok(Some(root)) => return attach(root, scratch),
        Ok(None) => {}
        Err(fault) if volatile && fault.errno == Some(Errno::EINVAL as i32) => {
            // Before Linux 5.10 there is no `volatile`.
            if let Ok(Some(root)) = new_overlay(lower, &upper, &work, &[]) {
                return attach(root, scratch);
            }
            return Err(fault);
        }
        Err(fault) => return Err(fault),
    }
    old_overlay(lower, scratch)
}

/// The overlay by way of fsconfig, layer by layer (`lowerdir+`, Linux 6.8), so that their number and the
/// length of their paths do not matter. `None` if the kernel does not know that key.
fn new_overlay(
    lower: &[PathBuf],
    upper: &Path,
    work: &Path,
    flags: &[&std::ffi::CStr],
) -> Result<Option<OwnedFd>, Fault> {
    let context = FsContext::open(c"overlay").during("overlay")?;
    // Held until the superblock is made: long paths are given as /proc/self/fd/N.
    let mut held = Vec::new();
    for (index, path) in lower.iter().enumerate() {
        match context.set(c"lowerdir+", &short(path, &mut held)?) {
            Err(Errno::EINVAL) if index == 0 && path.is_dir() => return Ok(None),
            other => other.during(path.display())?,
        }
    }
    context.set(c"upperdir", &short(upper, &mut held)?).map_err(|errno| told(&context, errno))?;
    context.set(c"workdir", &short(work, &mut held)?).map_err(|errno| told(&context, errno))?;
    for flag in flags {
        context.flag(flag)?;
    }
    context.create().map_err(|errno| told(&context, errno))?;
    Ok(Some(context.mount(libc::MOUNT_ATTR_NODEV)?))
}

/// The errno together with what the kernel has to say about it.
fn told(context: &FsContext, errno: Errno) -> Fault {
    let fault = Fault::from(errno);
    match context.complaint() {
        Some(text) => Fault { text: format!("{} ({text})", fault.text), ..fault },
        None => fault,
    }
}

fn short(path: &Path, held: &mut Vec<OwnedFd>) -> Result<CString, Fault> {
    if path.as_os_str().len() <= LONGEST_VALUE {
        return c_string(path);
    }
    let fd = handle(path)?;
    let name = format!("/proc/self/fd/{}", fd.as_raw_fd());
    held.push(fd);
    c_string(Path::new(&name))
}

/// The overlay by way of mount(2). Its options are one string of less than a page, with colons and commas
/// between them, so every directory is named by its descriptor: short, and free of both.
fn old_overlay(lower: &[PathBuf], scratch: &Path) -> Result<OwnedFd, Fault> {
    let mut held = Vec::with_capacity(lower.len() + 2);
    let mut name = |path: &Path| -> Result<String, Fault> {
        held.push(handle(path)?);
        Ok(format!("/proc/self/fd/{}", held[held.len() - 1].as_raw_fd()))
    };
    let layers: Result<Vec<String>, Fault> = lower.iter().map(|path| name(path)).collect();
    let (upper, work) = (name(&scratch.join("upper"))?, name(&scratch.join("work"))?);
    let options = format!("lowerdir={},upperdir={upper},workdir={work}", layers?.join(":"));
    mount(Some("overlay"), scratch, Some("overlay"), MsFlags::MS_NODEV, Some(options.as_str()))?;
    handle(scratch)
}

/// Whether the directory's root must be made read-only after everything in it has been made.
pub(crate) fn make_read_only(root: &OwnedFd) -> Result<(), Fault> {
    let attributes = MountAttributes { set: libc::MOUNT_ATTR_RDONLY, ..Default::default() };
    Ok(set_attributes(root.as_fd(), attributes, 0)?)
}

/// Exchanges the process's root for `root` and lets go of the host's.
///
/// Both arguments of pivot_root are the same directory: the old root lands on top of the new one and is
/// detached from there, so that no directory for it is needed (pivot_root(2), NOTES).
pub(crate) fn pivot(root: &OwnedFd) -> Result<(), Fault> {
    nix::unistd::fchdir(root)?;
    nix::unistd::pivot_root(".", ".")?;
    umount2(".", MntFlags::MNT_DETACH).during("detach the old root")?;
    Ok(nix::unistd::chdir("/")?)
}
