//! The kernel's answers (netlink sockets follow).

use std::io;

/// The kernel's refusal of a netlink message: its error number and, where it gave one, its own words
/// (`NLMSGERR_ATTR_MSG`).
#[derive(Debug, thiserror::Error)]
#[error("{errno}{}", .text.as_ref().map(|t| format!(" ({t})")).unwrap_or_default())]
pub struct KernelError {
    /// The error number.
    pub errno: io::Error,
    /// The kernel's words.
    pub text: Option<String>,
}
