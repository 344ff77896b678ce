//! What leads to the peers, from the configuration and from where the host's routes say that they are.

use std::net::IpAddr;

use super::check::tunnel_family;
use super::record;
use super::way::{Reach, Tunnel, Way};
use super::{Family, Overlay, Peer, Vxlan};
use crate::config::{Mac, NetworkConfig, Subnet};
use crate::error::NetError;
use crate::host::{self, Ipv6, Towards};
use crate::links::Link;
use crate::netlink::{KernelError, Netlink};

/// What an IPv6 link carries at least (RFC 8200, section 5), in bytes.
const IPV6_MINIMUM: u32 = 1280;
/// What Ethernet carries, in bytes.
const ETHERNET: u32 = 1500;

/// What is to be made for the peers.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// In the order in which they are made.
    pub(crate) ways: Vec<Way>,
    /// The largest packet that reaches every peer in one piece, in bytes; `None` without peers.
    pub(crate) mtu: Option<u32>,
}

impl Plan {
    /// The pods' largest packet, in bytes, where `mtu` leaves the host otherwise.
    pub(crate) fn fit(&self, mtu: u32) -> u32 {
        self.mtu.map_or(mtu, |ours| ours.min(mtu))
    }
}

/// A peer, and how this host gets to the addresses that count.
struct Located<'a> {
    peer: &'a Peer,
    towards: Vec<(IpAddr, Towards)>,
}

/// Looks for the peers and decides what leads to them. Changes nothing.
///
/// # Errors
/// [`NetError::Peer`] if `host-gw` has no way to a peer or a router in between, or if something else has a peer's
/// addresses here; [`NetError::Config`] if the configured MTU does not fit.
pub(crate) fn plan(netlink: &mut Netlink, config: &NetworkConfig, ipv6: Ipv6) -> Result<Plan, NetError> {
    let peers = &config.peers;
    if peers.hosts.is_empty() {
        return Ok(Plan::default());
    }
    let mut located = Vec::with_capacity(peers.hosts.len());
    for peer in &peers.hosts {
        located.push(locate(netlink, config, peer, ipv6)?);
    }
    no_clash(netlink, config)?;
    let link = smallest_link(netlink, &located)?;
    match &peers.overlay {
        Overlay::HostGw => {
            let mtu = config.mtu.unwrap_or(link.mtu);
            Ok(Plan { ways: routes_by_peers(netlink, config, &located, ipv6), mtu: Some(mtu) })
        }
        Overlay::Vxlan(vxlan) => {
            let family = tunnel_family(&peers.hosts).unwrap_or(Family::Ipv4);
            let mtu = fit_tunnel(config, family, &link, ipv6)?;
            Ok(Plan { ways: tunnelled(config, vxlan, (family, mtu), ipv6), mtu: Some(mtu) })
        }
    }
}

fn trouble(peer: &Peer, problem: String) -> NetError {
    NetError::Peer { peer: peer.name.clone(), problem }
}

/// The addresses of a peer that packets go to.
fn relevant(config: &NetworkConfig, peer: &Peer, ipv6: Ipv6) -> Vec<IpAddr> {
    match config.peers.overlay {
        Overlay::Vxlan(_) => {
            tunnel_family(&config.peers.hosts).and_then(|family| peer.address(family)).into_iter().collect()
        }
        Overlay::HostGw => {
            let mut addresses: Vec<IpAddr> =
                slices(peer, ipv6).filter_map(|slice| next_hop(peer, slice)).collect();
            addresses.dedup();
            addresses
        }
    }
}

/// The slices that this host can have anything to do with.
fn slices(peer: &Peer, ipv6: Ipv6) -> impl Iterator<Item = Subnet> + '_ {
    peer.slices.iter().copied().filter(move |slice| slice.network().is_ipv4() || ipv6 == Ipv6::On)
}

/// The peer's address that a route to a slice goes by: of the slice's family, or, for IPv4, of the other (RFC 8950).
fn next_hop(peer: &Peer, slice: Subnet) -> Option<IpAddr> {
    let same = peer.address(Family::of(slice.network()));
    same.or_else(|| peer.address(Family::Ipv6).filter(|_| slice.network().is_ipv4()))
}

fn locate<'a>(
    netlink: &mut Netlink,
    config: &NetworkConfig,
    peer: &'a Peer,
    ipv6: Ipv6,
) -> Result<Located<'a>, NetError> {
    let mut by = None;
    if let Some(name) = &config.peers.underlay {
        let link = host::find_link(netlink, Link::Name(name)).map_err(kernel("look for the underlay"))?;
        by = Some(link.ok_or_else(|| trouble(peer, format!("there is no interface {name}")))?.index);
    }
    let mut towards = Vec::new();
    for address in relevant(config, peer, ipv6) {
        let found = host::towards(netlink, address, by).map_err(kernel("look for the way to a peer"))?;
        let Some(found) = found else {
            // A tunnel begins to work when there is a route; meanwhile this host's own pods need not wait for it.
            if matches!(config.peers.overlay, Overlay::Vxlan(_)) {
                continue;
            }
            return Err(trouble(peer, format!("this host has no route to {address}")));
        };
        if found.is_own {
            return Err(trouble(peer, format!("{address} is an address of this host itself")));
        }
        if let (Overlay::HostGw, Some(router)) = (&config.peers.overlay, found.gateway) {
            let problem = format!(
                "{address} is not on a link of this host, packets to it go by {router}, which knows nothing of pods: use [network] overlay = \"vxlan\""
            );
            return Err(trouble(peer, problem));
        }
        towards.push((address, found));
    }
    Ok(Located { peer, towards })
}

fn kernel(step: &'static str) -> impl Fn(KernelError) -> NetError {
    move |source| NetError::Kernel { step: step.to_owned(), source }
}

/// Nobody else may have a peer's slice on this host: no address in it, no route to it that we have not made.
fn no_clash(netlink: &mut Netlink, config: &NetworkConfig) -> Result<(), NetError> {
    let record = record::read(config)?;
    // Somebody has removed what was written down: what leads to the very slice, and is marked as ours, is that.
    let is_lost = record.is_none();
    let recorded = record.unwrap_or_default();
    let addresses = host::addresses(netlink).map_err(kernel("list the host's addresses"))?;
    let routes = host::routes(netlink).map_err(kernel("list the host's routes"))?;
    for peer in &config.peers.hosts {
        for slice in &peer.slices {
            if let Some(address) = addresses.iter().find(|a| slice.contains(a.address)) {
                let name = host::name_of(netlink, address.index);
                let problem = format!(
                    "its slice {slice} overlaps with address {}/{} of {name}",
                    address.address, address.prefix
                );
                return Err(trouble(peer, problem));
            }
            let ours = |route: &host::Route| {
                let is_recorded = recorded.ways.iter().any(|way| way.leads_to(route.to));
                route.is_ours && (is_recorded || is_lost && route.to == *slice)
            };
            let foreign =
                routes.iter().find(|route| route.to.prefix() > 0 && route.to.overlaps(slice) && !ours(route));
            if let Some(route) = foreign {
                let by = route.index.map(|index| format!(" by {}", host::name_of(netlink, index)));
                let problem = format!(
                    "its slice {slice} overlaps with the route to {}{}",
                    route.to,
                    by.unwrap_or_default()
                );
                return Err(trouble(peer, problem));
            }
        }
    }
    Ok(())
}

/// The link to a peer that carries the least.
struct Uplink {
    name: String,
    mtu: u32,
}

/// A host without a way to any peer yet gets a tunnel for what links usually carry.
fn smallest_link(netlink: &mut Netlink, located: &[Located<'_>]) -> Result<Uplink, NetError> {
    let mut indexes: Vec<u32> =
        located.iter().flat_map(|l| l.towards.iter().map(|(_, towards)| towards.index)).collect();
    indexes.sort_unstable();
    indexes.dedup();
    let mut smallest: Option<Uplink> = None;
    for index in indexes {
        let link =
            host::find_link(netlink, Link::Index(index)).map_err(kernel("look at the link to a peer"))?;
        let Some((name, mtu)) = link.and_then(|link| Some((link.name, link.mtu?))) else { continue };
        if smallest.as_ref().is_none_or(|so_far| mtu < so_far.mtu) {
            smallest = Some(Uplink { name, mtu });
        }
    }
    Ok(smallest.unwrap_or_else(|| Uplink { name: "a usual link".to_owned(), mtu: ETHERNET }))
}

/// What a tunnel adds to a packet, in bytes: the inner Ethernet header (14), VXLAN's (8), UDP's (8) and the outer
/// IP header.
fn overhead(family: Family) -> u32 {
    match family {
        Family::Ipv4 => 14 + 8 + 8 + 20,
        Family::Ipv6 => 14 + 8 + 8 + 40,
    }
}

/// The largest packet for the tunnel.
fn fit_tunnel(config: &NetworkConfig, family: Family, link: &Uplink, ipv6: Ipv6) -> Result<u32, NetError> {
    let Uplink { name, mtu } = link;
    let wrong = |problem| Err(NetError::Config { network: config.name.clone(), problem });
    let room = mtu.saturating_sub(overhead(family));
    let wished = config.mtu.unwrap_or(room);
    if wished > room {
        return wrong(format!(
            "mtu {wished} does not fit into the tunnel: {name} carries {mtu} bytes, which leaves {room}"
        ));
    }
    if config.ipv6.is_some() && ipv6 == Ipv6::On && wished < IPV6_MINIMUM {
        return wrong(format!(
            "the tunnel carries {wished} bytes, and IPv6 needs {IPV6_MINIMUM}: {name} has {mtu}"
        ));
    }
    Ok(wished)
}

/// The address that this host talks to pods of a slice's family from, its own pods' gateway: so it is the same to
/// all pods of the flat space, and answers come back the same way.
fn source(config: &NetworkConfig, slice: Subnet) -> Option<IpAddr> {
    let same = |own: &Subnet| own.network().is_ipv4() == slice.network().is_ipv4();
    config.subnets().find(same).map(|own| own.gateway())
}

fn routes_by_peers(
    netlink: &mut Netlink,
    config: &NetworkConfig,
    located: &[Located<'_>],
    ipv6: Ipv6,
) -> Vec<Way> {
    let mut ways = Vec::new();
    for Located { peer, towards } in located {
        for slice in slices(peer, ipv6) {
            let hop =
                next_hop(peer, slice).and_then(|hop| towards.iter().find(|(address, _)| *address == hop));
            let (Some((via, towards)), Some(source)) = (hop, source(config, slice)) else { continue };
            let by = host::name_of(netlink, towards.index);
            ways.push(Way::Route { to: slice, via: *via, by, reach: Reach::Neighbour, source });
        }
    }
    ways
}

/// The Ethernet address of a host's end of the tunnel: everybody can tell it from the host's first slice.
fn tunnel_mac(first: Option<&Subnet>) -> Mac {
    const TUNNEL: u8 = 0x06;
    let gateway = first.map(Subnet::gateway);
    Mac::of(TUNNEL, gateway.unwrap_or(std::net::Ipv4Addr::UNSPECIFIED.into()))
}

fn tunnelled(config: &NetworkConfig, vxlan: &Vxlan, (family, mtu): (Family, u32), ipv6: Ipv6) -> Vec<Way> {
    let name = config.tunnel();
    let mut ways = vec![Way::Tunnel(Tunnel {
        name: name.clone(),
        id: vxlan.id,
        port: vxlan.port,
        family,
        mac: tunnel_mac(config.subnets().next().as_ref()),
        mtu,
        underlay: config.peers.underlay.clone(),
    })];
    for peer in &config.peers.hosts {
        let Some(to) = peer.address(family) else { continue };
        let mac = tunnel_mac(peer.slices.first());
        ways.push(Way::Forward { by: name.clone(), mac, to });
        for slice in slices(peer, ipv6) {
            let Some(source) = source(config, slice) else { continue };
            let via = slice.gateway();
            ways.push(Way::Neighbour { by: name.clone(), address: via, mac });
            ways.push(Way::Route { to: slice, via, by: name.clone(), reach: Reach::OnLink, source });
        }
    }
    ways
}
