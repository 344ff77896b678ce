//! The doors to system calls that need `unsafe`.
//!
//! Nothing else in podbox may use `unsafe`. Each function is one system call with types that cannot be
//! held wrongly, and each block says why it is sound. What `nix` offers safely is called through `nix`
//! where it is needed and does not pass through here.
#![allow(unsafe_code, reason = "the one module that may; every block carries its reason")]

pub(crate) mod bpf;
pub(crate) mod guard;
pub(crate) mod mount;
pub(crate) mod security;
pub(crate) mod task;
pub(crate) mod terminal;
pub(crate) mod xattr;

use nix::errno::Errno;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

/// The kernel's answer or its errno.
pub(crate) type Result<T> = nix::Result<T>;

/// Turns what a system call returned into a value or the errno it set.
fn check(returned: libc::c_long) -> Result<libc::c_long> {
    if returned < 0 { Err(Errno::last()) } else { Ok(returned) }
}

/// Takes ownership of a descriptor that a system call has just returned.
fn own(returned: libc::c_long) -> Result<OwnedFd> {
    let fd = check(returned)? as RawFd;
    // SAFETY: the kernel has just made this descriptor for us, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Takes ownership of a descriptor by its number, as received in a control message or set by a parent.
///
/// The caller must be the only one that knows the number; the stage's standard input is such a case.
pub(crate) fn adopt(fd: RawFd) -> OwnedFd {
    // SAFETY: callers pass numbers that they have just been given by the kernel or inherited at exec.
    unsafe { OwnedFd::from_raw_fd(fd) }
}
