//! Sockets that are inside a pod's network namespace, whoever uses them.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;

use netlink_sys::protocols::NETLINK_ROUTE;

use crate::config::InterfaceAddress;
use crate::links;
use crate::netlink::Netlink;
use crate::netns;

const LOOPBACK_INDEX: u32 = 1;

/// A socket of each kind, at an address.
pub type Listeners = (IpAddr, (UdpSocket, TcpListener));

/// Gives the loopback interface of a namespace addresses of its own, if it has not got them, and listens there by UDP and
/// TCP: as `ip address replace ADDRESS/32 dev lo`.
///
/// # Errors
/// If the namespace is gone, an address cannot be had, or somebody has the port.
pub fn listen(namespace: &Path, addresses: &[IpAddr], port: u16) -> io::Result<Vec<Listeners>> {
    netns::inside(&netns::open(namespace)?, || {
        let mut netlink = Netlink::open(NETLINK_ROUTE)?;
        for address in addresses {
            let prefix = if address.is_ipv4() { 32 } else { 128 };
            let own = InterfaceAddress { address: *address, prefix };
            let (message, flags) = links::add_address(LOOPBACK_INDEX, own);
            netlink.push(message, flags);
        }
        netlink.commit().map_err(io::Error::other)?;
        let bind = |address: &IpAddr| {
            let at = SocketAddr::new(*address, port);
            let (udp, tcp) = (UdpSocket::bind(at)?, TcpListener::bind(at)?);
            udp.set_nonblocking(true)?;
            tcp.set_nonblocking(true)?;
            Ok((*address, (udp, tcp)))
        };
        addresses.iter().map(bind).collect()
    })?
}
