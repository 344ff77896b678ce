//! One thing of the kernel's that leads to peers: made, removed and told as a command.

use std::net::IpAddr;

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use super::{Family, Peer};
use crate::config::{Mac, Subnet};
use crate::host::{self, Ipv6};
use crate::links::{self, Link, Message};
use crate::netlink::{KernelError, Netlink};

/// This host's end of the tunnel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tunnel {
    pub(crate) name: String,
    /// The VNI.
    pub(crate) id: u32,
    /// The UDP port.
    pub(crate) port: u16,
    /// Of the addresses outside.
    pub(crate) family: Family,
    pub(crate) mac: Mac,
    /// In bytes.
    pub(crate) mtu: u32,
    /// The interface that packets leave by, where the routes shall not say.
    pub(crate) underlay: Option<String>,
}

/// How a route's next hop is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Reach {
    /// As any neighbour's address on the link.
    Neighbour,
    /// It is there, whatever the link's own addresses say.
    OnLink,
}

/// One of the things that lead to peers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Way {
    /// The tunnel's end: all that goes by it ends with it.
    Tunnel(Tunnel),
    /// Frames for an Ethernet address leave for a host.
    Forward { by: String, mac: Mac, to: IpAddr },
    /// The Ethernet address of a peer's gateway.
    Neighbour { by: String, address: IpAddr, mac: Mac },
    /// A slice lies behind a gateway.
    Route { to: Subnet, via: IpAddr, by: String, reach: Reach, source: IpAddr },
}

impl Way {
    /// The slice that a route leads to.
    pub(super) fn slice(&self) -> Option<Subnet> {
        match self {
            Way::Route { to, .. } => Some(*to),
            _ => None,
        }
    }

    /// Of a route, the slice and the interface.
    pub(super) fn route(&self) -> Option<(Subnet, &str)> {
        match self {
            Way::Route { to, by, .. } => Some((*to, by)),
            _ => None,
        }
    }

    /// Whether it is something that packets to a peer need.
    pub(super) fn is_for(&self, peer: &Peer) -> bool {
        match self {
            Way::Tunnel(_) => true,
            Way::Forward { to, .. } => peer.addresses.contains(to),
            Way::Neighbour { address, .. } => peer.slices.iter().any(|slice| slice.contains(*address)),
            Way::Route { to, .. } => peer.slices.contains(to),
        }
    }

    /// Whether it is the route to a slice.
    pub(super) fn leads_to(&self, slice: Subnet) -> bool {
        self.slice() == Some(slice)
    }

    /// Makes it; where it is already, that is fine.
    pub(super) fn make(&self, netlink: &mut Netlink) -> Result<(), KernelError> {
        let index = |netlink: &mut Netlink, name: &str| index_of(netlink, name);
        let message = match self {
            Way::Tunnel(tunnel) => return make_tunnel(netlink, tunnel),
            Way::Forward { by, mac, to } => links::add_forward(index(netlink, by)?, *mac, *to),
            Way::Neighbour { by, address, mac } => links::add_neighbour(index(netlink, by)?, *address, *mac),
            Way::Route { to, via, by, reach, source } => {
                let index = index(netlink, by)?;
                links::add_route(&links::Route { to: *to, via: *via, index, reach: *reach, source: *source })
            }
        };
        commit(netlink, message)
    }

    /// Removes it, where it is.
    pub(super) fn remove(&self, netlink: &mut Netlink) -> Result<(), KernelError> {
        let removed = match self {
            Way::Tunnel(tunnel) => return remove_tunnel(netlink, tunnel),
            Way::Route { to, via, .. } => commit(netlink, links::delete_route(*to, *via)),
            Way::Forward { by, mac, to } => match index_of(netlink, by) {
                Ok(index) => commit(netlink, links::delete_forward(index, *mac, *to)),
                Err(error) => Err(error),
            },
            Way::Neighbour { by, address, .. } => match index_of(netlink, by) {
                Ok(index) => commit(netlink, links::delete_neighbour(index, *address)),
                Err(error) => Err(error),
            },
        };
        match removed {
            Err(error) if is_absent(&error) => Ok(()),
            result => result,
        }
    }

    /// How a reader would make it.
    pub(super) fn command(&self) -> String {
        match self {
            Way::Tunnel(tunnel) => tunnel_command(tunnel),
            Way::Forward { by, mac, to } => {
                format!("bridge fdb replace {mac} dev {by} dst {to} self permanent")
            }
            Way::Neighbour { by, address, mac } => {
                format!("ip neighbour replace {address} lladdr {mac} dev {by} nud permanent")
            }
            Way::Route { to, via, by, reach, source } => {
                let onlink = if *reach == Reach::OnLink { " onlink" } else { "" };
                let protocol = links::OUR_PROTOCOL;
                format!(
                    "{} via {} dev {by}{onlink} src {source} proto {protocol}",
                    route("replace", *to),
                    hop(*to, *via)
                )
            }
        }
    }

    /// How a reader would remove it.
    pub(super) fn undo_command(&self) -> String {
        match self {
            Way::Tunnel(tunnel) => format!("ip link delete {}", tunnel.name),
            Way::Forward { by, mac, to } => format!("bridge fdb delete {mac} dev {by} dst {to} self"),
            Way::Neighbour { by, address, .. } => format!("ip neighbour delete {address} dev {by}"),
            Way::Route { to, via, .. } => {
                let protocol = links::OUR_PROTOCOL;
                format!("{} via {} proto {protocol}", route("delete", *to), hop(*to, *via))
            }
        }
    }
}

fn route(verb: &str, to: Subnet) -> String {
    let family = if to.network().is_ipv4() { "-4" } else { "-6" };
    format!("ip {family} route {verb} {to}")
}

/// The next hop, with its family where that is not the destination's.
fn hop(to: Subnet, via: IpAddr) -> String {
    if to.network().is_ipv4() && via.is_ipv6() { format!("inet6 {via}") } else { via.to_string() }
}

fn tunnel_command(tunnel: &Tunnel) -> String {
    let Tunnel { name, id, port, mac, mtu, .. } = tunnel;
    let local = if tunnel.family == Family::Ipv6 { " local ::" } else { "" };
    let by = tunnel.underlay.as_ref().map(|by| format!(" dev {by}")).unwrap_or_default();
    format!(
        "ip link add {name} address {mac} mtu {mtu} type vxlan id {id} dstport {port}{local}{by} nolearning\n\
         ip link set {name} addrgenmode none\nip link set {name} up"
    )
}

fn commit(netlink: &mut Netlink, (message, flags): Message) -> Result<(), KernelError> {
    netlink.push(message, flags);
    netlink.commit()
}

fn is_absent(error: &KernelError) -> bool {
    [Errno::ENODEV, Errno::ESRCH, Errno::ENOENT, Errno::EADDRNOTAVAIL].iter().any(|errno| error.is(*errno))
}

fn index_of(netlink: &mut Netlink, name: &str) -> Result<u32, KernelError> {
    let link = host::find_link(netlink, Link::Name(name))?;
    link.map(|link| link.index).ok_or_else(|| std::io::Error::from(Errno::ENODEV).into())
}

fn is_ours(link: &host::Facts, tunnel: &Tunnel) -> bool {
    link.is_tunnel && link.mac == Some(tunnel.mac)
}

/// A tunnel that is there is the one that was written down: whoever changes one removes the old one first.
fn make_tunnel(netlink: &mut Netlink, tunnel: &Tunnel) -> Result<(), KernelError> {
    match host::find_link(netlink, Link::Name(&tunnel.name))? {
        Some(link) if is_ours(&link, tunnel) => (),
        Some(_) => {
            let text = format!("{} is an interface that somebody else has made", tunnel.name);
            return Err(KernelError { errno: Errno::EEXIST.into(), text: Some(text) });
        }
        None => {
            let underlay = tunnel.underlay.as_ref().map(|name| index_of(netlink, name)).transpose()?;
            commit(netlink, links::create_tunnel(tunnel, underlay))?;
        }
    }
    let link = Link::Name(&tunnel.name);
    if Ipv6::here() == Ipv6::On {
        commit(netlink, links::no_link_local(link))?;
    }
    commit(netlink, links::up(link))
}

fn remove_tunnel(netlink: &mut Netlink, tunnel: &Tunnel) -> Result<(), KernelError> {
    let link = host::find_link(netlink, Link::Name(&tunnel.name))?;
    let Some(link) = link.filter(|link| is_ours(link, tunnel)) else { return Ok(()) };
    match commit(netlink, links::delete(Link::Index(link.index))) {
        Err(error) if is_absent(&error) => Ok(()),
        result => result,
    }
}

/// What is there of all ways, as far as it is looked at: the routes.
pub(super) struct Present {
    routes: Vec<host::Route>,
}

impl Present {
    pub(super) fn read(netlink: &mut Netlink) -> Result<Present, crate::NetError> {
        let routes = host::routes(netlink).map_err(|source| crate::NetError::Kernel {
            step: "list the host's routes".to_owned(),
            source,
        })?;
        Ok(Present { routes })
    }

    /// Whether a route is there.
    pub(super) fn has(&self, way: &Way) -> bool {
        let Way::Route { to, via, .. } = way else { return false };
        self.routes.iter().any(|route| route.is_ours && route.to == *to && route.gateway == Some(*via))
    }
}
