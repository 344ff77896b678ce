//! Waiting for a descriptor to turn readable.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A descriptor of its own for the same file, registered with the event loop.
pub(super) fn readable(source: &impl AsFd) -> io::Result<AsyncFd<OwnedFd>> {
    let fd = source.as_fd().try_clone_to_owned()?;
    #[expect(
        deprecated,
        reason = "its replacement is unsafe, for types that may close what is registered; OwnedFd does not"
    )]
    AsyncFd::with_interest(fd, Interest::READABLE)
}
