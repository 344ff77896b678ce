//! Sockets that are inside a pod's network namespace, whoever uses them.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;

use netlink_sys::protocols::NETLINK_ROUTE;

use crate::config::{Described, InterfaceAddress};
use crate::host;
use crate::links::{self, Link};
use crate::netlink::Netlink;
use crate::netns;

/// Of the loopback interface, in every namespace.
pub(crate) const LOOPBACK_INDEX: u32 = 1;

/// A socket of each kind, at one address.
pub type Listeners = (UdpSocket, TcpListener);

/// Gives the loopback interface of a namespace addresses of its own, if it has not got them, and listens there by UDP and
/// TCP: see [`describe_listen`]. It may be done while the namespace is being attached.
///
/// # Errors
/// If the namespace is gone. For one address: if it cannot be had, or somebody has the port.
pub fn listen(
    namespace: &Path,
    addresses: &[IpAddr],
    port: u16,
) -> io::Result<Vec<(IpAddr, io::Result<Listeners>)>> {
    netns::inside(&netns::open(namespace)?, || {
        let mut netlink = Netlink::open(NETLINK_ROUTE)?;
        raise(&mut netlink)?;
        let mut one = |address: IpAddr| {
            give(&mut netlink, address)?;
            listen_here(address, port)
        };
        Ok(addresses.iter().map(|address| (*address, one(*address))).collect())
    })?
}

/// Which of these addresses the loopback interface of a namespace has not got.
///
/// # Errors
/// If the namespace is gone, or the kernel does not tell.
pub fn lost_addresses(namespace: &Path, addresses: &[IpAddr]) -> io::Result<Vec<IpAddr>> {
    let namespace = netns::open(namespace)?;
    netns::inside(&namespace, || lost(&mut Netlink::open(NETLINK_ROUTE)?, addresses))?
}

/// Gives the loopback interface of a namespace these addresses again. Whoever listens there needs nothing else.
///
/// # Errors
/// If the namespace is gone, or the kernel refuses one.
pub fn restore_addresses(namespace: &Path, addresses: &[IpAddr]) -> io::Result<()> {
    netns::inside(&netns::open(namespace)?, || {
        let mut netlink = Netlink::open(NETLINK_ROUTE)?;
        raise(&mut netlink)?;
        addresses.iter().try_for_each(|address| give(&mut netlink, *address))
    })?
}

fn lost(netlink: &mut Netlink, addresses: &[IpAddr]) -> io::Result<Vec<IpAddr>> {
    let found = host::addresses(netlink).map_err(io::Error::other)?;
    let has =
        |address: &IpAddr| found.iter().any(|one| one.index == LOOPBACK_INDEX && one.address == *address);
    Ok(addresses.iter().copied().filter(|address| !has(address)).collect())
}

/// An IPv6 address of an interface that is down is none to bind to.
fn raise(netlink: &mut Netlink) -> io::Result<()> {
    let (message, flags) = links::up(Link::Index(LOOPBACK_INDEX));
    netlink.push(message, flags);
    netlink.commit().map_err(io::Error::other)
}

fn give(netlink: &mut Netlink, address: IpAddr) -> io::Result<()> {
    let own = InterfaceAddress { address, prefix: prefix(address) };
    let (message, flags) = links::add_address(LOOPBACK_INDEX, own);
    netlink.push(message, flags);
    netlink.commit().map_err(io::Error::other)
}

/// Listens at an address of the calling thread's network namespace, by UDP and TCP.
///
/// # Errors
/// If there is no such address, or somebody has the port.
pub fn listen_here(address: IpAddr, port: u16) -> io::Result<Listeners> {
    let at = SocketAddr::new(address, port);
    let (udp, tcp) = (UdpSocket::bind(at)?, TcpListener::bind(at)?);
    udp.set_nonblocking(true)?;
    tcp.set_nonblocking(true)?;
    Ok((udp, tcp))
}

/// What [`listen`] does, as commands.
#[must_use]
pub fn describe_listen(namespace: &Path, addresses: &[IpAddr]) -> Vec<Described> {
    let inside = format!("nsenter --net={}", namespace.display());
    let one = |address: &IpAddr| Described {
        name: format!("listen at {address}"),
        command: format!("{inside} ip address replace {address}/{} dev lo", prefix(*address)),
    };
    addresses.iter().map(one).collect()
}

fn prefix(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}
