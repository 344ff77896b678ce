//! The size of terminals.

use crate::sys;
use std::io;
use std::os::fd::BorrowedFd;

/// Rows and columns, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Lines.
    pub rows: u16,
    /// Characters in a line.
    pub columns: u16,
}

/// Reads a terminal's size (TIOCGWINSZ, ioctl_tty(2)).
///
/// # Errors
/// `ENOTTY` if it is no terminal.
pub fn size(terminal: BorrowedFd<'_>) -> io::Result<Size> {
    let (rows, columns) = sys::guard::terminal_size(terminal)?;
    Ok(Size { rows, columns })
}

/// Sets a terminal's size; its foreground processes get SIGWINCH.
///
/// # Errors
/// `ENOTTY` if it is no terminal.
pub fn set_size(terminal: BorrowedFd<'_>, size: Size) -> io::Result<()> {
    Ok(sys::terminal::set_size(terminal, size.rows, size.columns)?)
}
