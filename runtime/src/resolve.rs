//! Looking a path up below a directory, so that no link in it leads anywhere else (openat2(2), Linux 5.6).

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};

/// A look-up that a rename elsewhere in the tree has disturbed is tried so often.
const TRIES: usize = 16;

/// Opens `path`, looked up from `root` by these rules.
///
/// # Errors
/// Those of openat2(2); `EAGAIN` only if every look-up was disturbed.
pub fn open(root: impl AsFd, path: &Path, flags: OFlag, resolve: ResolveFlag) -> nix::Result<OwnedFd> {
    let how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(resolve);
    for _ in 0..TRIES {
        match openat2(root.as_fd(), path, how) {
            Err(Errno::EAGAIN) => {}
            other => return other,
        }
    }
    Err(Errno::EAGAIN)
}

/// A handle on `path` beneath `root`; links that lead out of it, and all absolute ones, are refused.
///
/// # Errors
/// `EXDEV` if the path leaves `root`, `ELOOP` for magic links, and what the kernel says.
pub fn beneath(root: impl AsFd, path: &Path) -> nix::Result<OwnedFd> {
    open(root, path, OFlag::O_PATH, ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS)
}
