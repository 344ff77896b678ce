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

/// Gives the loopback interface of a namespace an address of its own, if it has not got it, and listens there by UDP and
/// TCP: as `ip address replace ADDRESS/32 dev lo`.
///
/// # Errors
/// If the namespace is gone, the address cannot be had, or somebody has the port.
pub fn listen(namespace: &Path, address: IpAddr, port: u16) -> io::Result<(UdpSocket, TcpListener)> {
    netns::inside(&netns::open(namespace)?, || {
        let mut netlink = Netlink::open(NETLINK_ROUTE)?;
        let prefix = if address.is_ipv4() { 32 } else { 128 };
        let (message, flags) = links::add_address(LOOPBACK_INDEX, InterfaceAddress { address, prefix });
        netlink.push(message, flags);
        netlink.commit().map_err(io::Error::other)?;
        let at = SocketAddr::new(address, port);
        let (udp, tcp) = (UdpSocket::bind(at)?, TcpListener::bind(at)?);
        udp.set_nonblocking(true)?;
        tcp.set_nonblocking(true)?;
        Ok((udp, tcp))
    })?
}
