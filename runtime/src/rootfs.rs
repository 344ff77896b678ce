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

use crate::devices::Access;
use crate::plan::Rootfs;
use crate::recipe::{During, Fault};
use crate::stage::userns::Users;
use crate::sys::mount::{FsContext, MountAttributes, move_mount, open_tree, set_attributes};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, open};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::Mode;
use nix::sys::statfs::{TMPFS_MAGIC, statfs};
use std::ffi::{CStr, CString};
use std::fs::DirBuilder;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// fsconfig(2) takes values of up to 255 bytes.
const LONGEST_VALUE: usize = 255;

/// The line of mount(8) that does the same.
pub(crate) fn command(rootfs: &Rootfs, devices: Access) -> String {
    let nodev = devices == Access::NoNodes;
    match rootfs {
        Rootfs::Overlay { lower, scratch } => {
            let lower: Vec<_> = lower.iter().map(|path| path.display().to_string()).collect();
            let (lower, at) = (lower.join(":"), scratch.display());
            let (upper, work) = (format!("upperdir={at}/upper"), format!("workdir={at}/work"));
            let first = if nodev { "nodev," } else { "" };
            format!("mount -t overlay -o {first}lowerdir={lower},{upper},{work} overlay {at} && cd {at}")
        }
        Rootfs::Directory(path) => {
            let options = if nodev { " -o nodev" } else { "" };
            format!("mount --bind{options} {0} {0} && cd {0}", path.display())
        }
    }
}

/// Mounts the root and gives a handle on it. Propagation from the host must have been stopped.
pub(crate) fn build(
    rootfs: &Rootfs,
    users: Option<&Users>,
    devices: Access,
    notes: &mut Vec<String>,
) -> Result<OwnedFd, Fault> {
    let overlay = |lower: &[PathBuf], scratch: &Path| match users {
        None => overlay(lower, scratch, devices),
        Some(users) => {
            let layers = mapped(lower, scratch, users)?;
            overlay(&layers, scratch, devices).during("overlay of id-mapped layers (Linux 5.19)")
        }
    };
    match rootfs {
        Rootfs::Directory(path) => bind(path, users, devices),
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
            if users.is_some() {
                return Err(second);
            }
            notes.push(format!("the image was copied: overlays cannot be mounted: {}", second.text));
            // On disk again: a whole image in memory would be charged to the container.
            umount2(scratch, MntFlags::MNT_DETACH)?;
            let root = scratch.join("rootfs");
            copy::layers(lower, &root)?;
            bind(&root, None, devices)
        }
    }
}

/// Refusals that say something about the host and not about this container.
fn may_go_otherwise(fault: &Fault) -> bool {
    let refusals =
        [Errno::EINVAL, Errno::EPERM, Errno::ENODEV, Errno::EOPNOTSUPP, Errno::ENOSYS, Errno::EACCES];
    fault.errno.is_some_and(|errno| refusals.contains(&Errno::from_raw(errno)))
}

/// The layers again, below the scratch directory and in this mount namespace only, so that what is root's in them is
/// the user namespace's root's; and a directory of that root's for what is written.
fn mapped(lower: &[PathBuf], scratch: &Path, users: &Users) -> Result<Vec<PathBuf>, Fault> {
    let owner = Some(users.root());
    let upper = scratch.join("upper");
    make_directory(&upper, 0o755)?;
    std::os::unix::fs::chown(&upper, owner, owner).during(upper.display())?;
    let places = scratch.join("lower");
    make_directory(&places, 0o700)?;
    let place = |(index, path): (usize, &PathBuf)| {
        let place = places.join(index.to_string());
        make_directory(&place, 0o700)?;
        let copy = open_tree(AT_FDCWD, &c_string(path)?, libc::OPEN_TREE_CLONE).during(path.display())?;
        users.map(copy.as_fd()).during(path.display())?;
        attach(copy, &place)?;
        Ok(place)
    };
    lower.iter().enumerate().map(place).collect()
}

fn bind(path: &Path, users: Option<&Users>, devices: Access) -> Result<OwnedFd, Fault> {
    let name = c_string(path)?;
    let flags = libc::OPEN_TREE_CLONE | libc::AT_RECURSIVE as u32;
    let root = open_tree(AT_FDCWD, &name, flags).during(path.display())?;
    let attributes =
        MountAttributes { set: devices.implied(), propagation: libc::MS_PRIVATE, ..Default::default() };
    set_attributes(root.as_fd(), attributes, libc::AT_RECURSIVE as u32)?;
    users.map_or(Ok(()), |users| users.map(root.as_fd()))?;
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

fn overlay(lower: &[PathBuf], scratch: &Path, devices: Access) -> Result<OwnedFd, Fault> {
    let (upper, work) = (scratch.join("upper"), scratch.join("work"));
    // The upper directory's mode is the mode of the container's root.
    make_directory(&upper, 0o755)?;
    make_directory(&work, 0o700)?;
    // Without `volatile` the end of the container waits until its writable layer is on disk, and that layer
    // is thrown away next. In memory there is nothing to wait for.
    let volatile = !statfs(scratch).is_ok_and(|fs| fs.filesystem_type() == TMPFS_MAGIC);
    if !takes_layers_one_by_one() {
        return old_overlay(lower, scratch, volatile, devices);
    }
    let options: &[&CStr] = if volatile { &[c"volatile"] } else { &[] };
    let context = new_overlay(lower, &upper, &work, options)?;
    attach(context.mount(devices.implied())?, scratch)
}

/// Whether overlayfs knows `lowerdir+` (Linux 6.8). Asking it costs a line in the kernel's log for every container:
/// before 6.5 it takes any key, and complains about it only when the file system is made.
fn takes_layers_one_by_one() -> bool {
    let Ok(name) = nix::sys::utsname::uname() else { return false };
    let release = name.release().to_string_lossy();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|part| part.parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(6), Some(8))
}

/// The overlay by way of fsconfig, layer by layer, so that their number and the length of their paths do not
/// matter; to be mounted.
fn new_overlay(lower: &[PathBuf], upper: &Path, work: &Path, flags: &[&CStr]) -> Result<FsContext, Fault> {
    let context = FsContext::open(c"overlay").during("overlay")?;
    // Held until the superblock is made: long paths are given as /proc/self/fd/N.
    let mut held = Vec::new();
    for path in lower {
        context.set(c"lowerdir+", &short(path, &mut held)?).during(path.display())?;
    }
    context.set(c"upperdir", &short(upper, &mut held)?).map_err(|errno| told(&context, errno))?;
    context.set(c"workdir", &short(work, &mut held)?).map_err(|errno| told(&context, errno))?;
    for flag in flags {
        context.flag(flag)?;
    }
    context.create().map_err(|errno| told(&context, errno))?;
    Ok(context)
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
fn old_overlay(lower: &[PathBuf], scratch: &Path, volatile: bool, devices: Access) -> Result<OwnedFd, Fault> {
    let mut held = Vec::with_capacity(lower.len() + 2);
    let mut name = |path: &Path| -> Result<String, Fault> {
        held.push(handle(path)?);
        Ok(format!("/proc/self/fd/{}", held[held.len() - 1].as_raw_fd()))
    };
    let layers: Result<Vec<String>, Fault> = lower.iter().map(|path| name(path)).collect();
    let (upper, work) = (name(&scratch.join("upper"))?, name(&scratch.join("work"))?);
    let volatile = if volatile { ",volatile" } else { "" };
    let options = format!("lowerdir={},upperdir={upper},workdir={work}{volatile}", layers?.join(":"));
    let flags = if devices == Access::NoNodes { MsFlags::MS_NODEV } else { MsFlags::empty() };
    mount(Some("overlay"), scratch, Some("overlay"), flags, Some(options.as_str()))?;
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
