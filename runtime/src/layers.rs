//! An image's layers in sight of the host, as they look to a pod with a user namespace of its own.
//!
//! The kernel maps no ids of an overlay as a whole, so its layers are mapped, and a layer has to be mounted somewhere for
//! that. A thread makes those mounts in a mount namespace of its own, which goes with it: whatever is killed meanwhile,
//! none of them is left on the host.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::thread;

use nix::fcntl::{AT_FDCWD, OFlag, open};
use nix::mount::{MsFlags, mount};
use nix::sys::stat::Mode;

use crate::recipe::{During, Fault};
use crate::sandbox::USER;
use crate::sys::mount::{map_ids, move_mount, open_tree};
use crate::sys::task;

/// Mounts the layers, the topmost first, read-only at the empty directory `at`; what is root's in them is the root's of the
/// user namespace that is pinned in `pin_dir`.
///
/// # Errors
/// What the kernel refuses, with the path that it was about.
pub fn mount_for_users(layers: &[&Path], at: &Path, pin_dir: &Path) -> io::Result<()> {
    let made = thread::scope(|scope| {
        let aside = scope.spawn(|| overlay_aside(layers, at, pin_dir));
        aside.join().unwrap_or_else(|_| Err(Fault::new("the thread that mounts has ended early")))
    });
    let placed = made.and_then(|overlay| Ok(move_mount(overlay.as_fd(), handle(at)?.as_fd())?));
    placed.map_err(|fault| io::Error::other(fault.text))
}

/// The overlay, attached nowhere. The calling thread is in another mount namespace afterwards.
fn overlay_aside(layers: &[&Path], at: &Path, pin_dir: &Path) -> Result<OwnedFd, Fault> {
    let users = File::open(pin_dir.join(USER)).during("the pod's user namespace")?;
    task::unshare(libc::CLONE_NEWNS).during("a mount namespace")?;
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_PRIVATE | MsFlags::MS_REC, none)?;
    // Below all, since there have to be two; seen before anything is mounted over it.
    let below = handle(at)?;
    let mapped = layers.iter().map(|layer| mapped(layer, at, users.as_fd()));
    let held: Vec<OwnedFd> = mapped.chain([Ok(below)]).collect::<Result<_, Fault>>()?;
    // By descriptors: the options have room for less than a page, and know colons and commas.
    let names: Vec<String> = held.iter().map(|fd| format!("/proc/self/fd/{}", fd.as_raw_fd())).collect();
    let options = format!("lowerdir={}", names.join(":"));
    mount(Some("overlay"), at, Some("overlay"), MsFlags::MS_RDONLY, Some(options.as_str()))
        .during("overlay of id-mapped layers (Linux 5.19)")?;
    Ok(open_tree(AT_FDCWD, &c_string(at)?, libc::OPEN_TREE_CLONE)?)
}

/// A layer once more, with ids of the namespace, on top of what is at `at` already: overlays take mounted layers only.
fn mapped(layer: &Path, at: &Path, users: BorrowedFd<'_>) -> Result<OwnedFd, Fault> {
    let copy = open_tree(AT_FDCWD, &c_string(layer)?, libc::OPEN_TREE_CLONE).during(layer.display())?;
    map_ids(copy.as_fd(), users).during(layer.display())?;
    move_mount(copy.as_fd(), handle(at)?.as_fd()).during(at.display())?;
    Ok(copy)
}

fn handle(path: &Path) -> Result<OwnedFd, Fault> {
    open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).during(path.display())
}

fn c_string(path: &Path) -> Result<CString, Fault> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| Fault::new("zero byte in a path"))
}
