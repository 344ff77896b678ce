//! Pseudo terminals by descriptor.

use super::{Result, check, own};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

/// Lets the other side of a freshly opened `ptmx` be opened.
pub(crate) fn unlock(master: BorrowedFd<'_>) -> Result<()> {
    let locked: libc::c_int = 0;
    // SAFETY: TIOCSPTLCK reads one int.
    check(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &raw const locked) }.into()).map(drop)
}

/// Opens the other side by the master alone (Linux 4.13): no path, so no path in the container to be fooled by.
pub(crate) fn open_peer(master: BorrowedFd<'_>) -> Result<OwnedFd> {
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: TIOCGPTPEER takes open flags as an integer and returns a new descriptor.
    own(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, flags) }.into())
}

/// Sets the window's size, in characters.
pub(crate) fn set_size(terminal: BorrowedFd<'_>, rows: u16, columns: u16) -> Result<()> {
    let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCSWINSZ reads one winsize.
    check(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) }.into()).map(drop)
}

/// Makes the terminal the controlling one of this session; the caller has called setsid.
pub(crate) fn make_controlling(terminal: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: TIOCSCTTY takes an integer.
    check(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSCTTY, 0) }.into()).map(drop)
}
