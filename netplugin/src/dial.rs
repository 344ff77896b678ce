//! Connections that begin inside a pod's network namespace.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;

use crate::netns;

/// Connects to an address as a process of that namespace would. The connection stays in there, whoever uses it.
///
/// # Errors
/// If the namespace is gone, or nobody listens there.
pub fn dial(namespace: &Path, address: SocketAddr) -> io::Result<TcpStream> {
    netns::inside(&netns::open(namespace)?, || TcpStream::connect(address))?
}
