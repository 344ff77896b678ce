//! How to ask: one `Spec`, one `Outcome`, nothing kept.

use std::net::IpAddr;

/// Whom to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The pod's address; the host's own for a pod in the host's network.
    pub ip: IpAddr,
}
