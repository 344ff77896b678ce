//! The interfaces of a network namespace, for those who want to see.

use std::path::Path;

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;

use crate::config::{InterfaceAddress, Mac};
use crate::error::NetError;
use crate::host;
use crate::netlink::{KernelError, Netlink};
use crate::netns;

/// An interface and what it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Its number, which its namespace gives to no other.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its type (`ARPHRD_`, netdevice(7)).
    pub hardware: u16,
    /// Its Ethernet address, if it has one.
    pub mac: Option<Mac>,
    /// The longest packet that it sends, in bytes.
    pub mtu: u32,
    /// Whether it is switched on.
    pub is_up: bool,
    /// Whether it is a bridge.
    pub is_bridge: bool,
    /// The number of the bridge that it is a port of.
    pub master: Option<u32>,
    /// The number of a cable's other end, in the namespace where that is.
    pub peer: Option<u32>,
    /// Its addresses.
    pub addresses: Vec<InterfaceAddress>,
}

/// All interfaces of a network namespace; `None` is the calling thread's own.
///
/// # Errors
/// If the namespace cannot be entered, or the kernel refuses to tell.
pub fn interfaces(netns: Option<&Path>) -> Result<Vec<Interface>, NetError> {
    let kernel = |source| NetError::Kernel { step: "list the interfaces".to_owned(), source };
    let mut netlink = open(netns)?;
    all(&mut netlink).map_err(kernel)
}

/// A route socket of a network namespace.
pub(crate) fn open(netns: Option<&Path>) -> Result<Netlink, NetError> {
    let entered = netns::within(netns, || Netlink::open(NETLINK_ROUTE));
    entered.and_then(|opened| opened).map_err(|source| NetError::Netns {
        path: netns.unwrap_or(Path::new("/proc/thread-self/ns/net")).to_owned(),
        source,
    })
}

fn all(netlink: &mut Netlink) -> Result<Vec<Interface>, KernelError> {
    let links = netlink.dump(RouteNetlinkMessage::GetLink(LinkMessage::default()))?;
    let mut found: Vec<Interface> = links.iter().filter_map(interface).collect();
    for address in host::addresses(netlink)? {
        if let Some(of) = found.iter_mut().find(|interface| interface.index == address.index) {
            of.addresses.push(InterfaceAddress { address: address.address, prefix: address.prefix });
        }
    }
    Ok(found)
}

fn interface(message: &RouteNetlinkMessage) -> Option<Interface> {
    let RouteNetlinkMessage::NewLink(link) = message else { return None };
    let mut found = Interface {
        index: link.header.index,
        name: String::new(),
        hardware: u16::from(link.header.link_layer_type),
        mac: None,
        mtu: 0,
        is_up: link.header.flags.contains(LinkFlags::Up),
        is_bridge: false,
        master: None,
        peer: None,
        addresses: Vec::new(),
    };
    for attribute in &link.attributes {
        match attribute {
            LinkAttribute::IfName(name) => found.name.clone_from(name),
            LinkAttribute::Address(bytes) => found.mac = bytes.as_slice().try_into().ok().map(Mac),
            LinkAttribute::Mtu(mtu) => found.mtu = *mtu,
            LinkAttribute::Controller(master) => found.master = Some(*master),
            LinkAttribute::Link(peer) => found.peer = Some(*peer),
            LinkAttribute::LinkInfo(infos) => {
                found.is_bridge = infos.contains(&LinkInfo::Kind(InfoKind::Bridge));
            }
            _ => (),
        }
    }
    Some(found)
}
