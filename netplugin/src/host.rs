//! What the host is already: its addresses, its routes, its links.

use std::net::IpAddr;

use netlink_packet_route::address::{AddressAttribute, AddressMessage, AddressScope};
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage, State};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteType, RouteVia,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use nix::errno::Errno;

use crate::config::{Mac, NetworkConfig, Subnet};
use crate::error::NetError;
use crate::links::{self, Link};
use crate::netlink::{KernelError, Netlink};

/// Whether pods here have IPv6 addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ipv6 {
    /// They do.
    On,
    /// The kernel has no IPv6, or its administrator switched it off.
    Off,
}

impl Ipv6 {
    /// In the calling thread's network namespace.
    pub(crate) fn here() -> Ipv6 {
        if crate::sysctl::ipv6_is_on() { Ipv6::On } else { Ipv6::Off }
    }
}

/// A link, as far as we care.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) index: u32,
    pub(crate) name: String,
    /// What somebody has noted on it (ifalias).
    pub(crate) alias: Option<String>,
    pub(crate) mac: Option<Mac>,
    /// Its largest packet, in bytes.
    pub(crate) mtu: Option<u32>,
    pub(crate) is_loopback: bool,
    pub(crate) is_bridge: bool,
    /// Whether it is a VXLAN tunnel's end.
    pub(crate) is_tunnel: bool,
    /// The bridge that it is a port of.
    pub(crate) master: Option<u32>,
    /// Whether somebody has set it up.
    pub(crate) is_up: bool,
    /// Whether it can carry packets: up, with a carrier, and the kernel has noticed.
    pub(crate) is_live: bool,
}

/// Looks a link up; `None` if there is none.
pub(crate) fn find_link(netlink: &mut Netlink, which: Link<'_>) -> Result<Option<Facts>, KernelError> {
    match netlink.get(links::get_link(which)) {
        Ok(RouteNetlinkMessage::NewLink(link)) => Ok(Some(facts(&link))),
        Ok(_) => Ok(None),
        Err(error) if error.is(Errno::ENODEV) => Ok(None),
        Err(error) => Err(error),
    }
}

/// All virtual cables' ends.
pub(crate) fn veths(netlink: &mut Netlink) -> Result<Vec<Facts>, KernelError> {
    let found = netlink.dump(links::get_veths())?;
    let facts = |message: &RouteNetlinkMessage| match message {
        RouteNetlinkMessage::NewLink(link) => Some(facts(link)),
        _ => None,
    };
    Ok(found.iter().filter_map(facts).collect())
}

fn facts(link: &LinkMessage) -> Facts {
    let mut facts = Facts {
        index: link.header.index,
        name: String::new(),
        alias: None,
        mac: None,
        mtu: None,
        is_loopback: link.header.flags.contains(LinkFlags::Loopback),
        is_bridge: false,
        is_tunnel: false,
        master: None,
        is_up: link.header.flags.contains(LinkFlags::Up),
        is_live: false,
    };
    for attribute in &link.attributes {
        match attribute {
            LinkAttribute::IfName(name) => facts.name.clone_from(name),
            LinkAttribute::IfAlias(alias) => facts.alias = Some(alias.clone()),
            LinkAttribute::Address(bytes) => facts.mac = bytes.as_slice().try_into().ok().map(Mac),
            LinkAttribute::Mtu(mtu) => facts.mtu = Some(*mtu),
            LinkAttribute::Controller(master) => facts.master = Some(*master),
            LinkAttribute::OperState(state) => facts.is_live = *state == State::Up,
            LinkAttribute::LinkInfo(infos) => {
                facts.is_bridge = infos.contains(&LinkInfo::Kind(InfoKind::Bridge));
                facts.is_tunnel = infos.contains(&LinkInfo::Kind(InfoKind::Vxlan));
            }
            _ => (),
        }
    }
    facts
}

/// An address of an interface.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Address {
    pub(crate) index: u32,
    pub(crate) address: IpAddr,
    pub(crate) prefix: u8,
    pub(crate) is_global: bool,
}

/// All addresses of all interfaces.
pub(crate) fn addresses(netlink: &mut Netlink) -> Result<Vec<Address>, KernelError> {
    let found = netlink.dump(RouteNetlinkMessage::GetAddress(AddressMessage::default()))?;
    Ok(found.iter().filter_map(address).collect())
}

fn address(message: &RouteNetlinkMessage) -> Option<Address> {
    let RouteNetlinkMessage::NewAddress(message) = message else { return None };
    // IFA_LOCAL is the interface's own where the link has two ends; IPv6 has IFA_ADDRESS only.
    let of = |attribute: &AddressAttribute| match attribute {
        AddressAttribute::Local(address) => Some((0, *address)),
        AddressAttribute::Address(address) => Some((1, *address)),
        _ => None,
    };
    let (_, address) = message.attributes.iter().filter_map(of).min()?;
    Some(Address {
        index: message.header.index,
        address,
        prefix: message.header.prefix_len,
        is_global: message.header.scope == AddressScope::Universe,
    })
}

/// A way that the host knows. One with several next hops counts once for each.
#[derive(Debug, Clone)]
pub(crate) struct Route {
    pub(crate) to: Subnet,
    pub(crate) index: Option<u32>,
    /// The next hop.
    pub(crate) gateway: Option<IpAddr>,
    pub(crate) is_advertised: bool,
    /// Whether some podbox made it.
    pub(crate) is_ours: bool,
}

/// The host's routes in every table, except those that follow from its own addresses.
pub(crate) fn routes(netlink: &mut Netlink) -> Result<Vec<Route>, KernelError> {
    Ok(route_messages(netlink)?.iter().flat_map(ways).collect())
}

/// The destinations of `unreachable` routes of that metric that some podbox made.
pub(crate) fn unreachable(netlink: &mut Netlink, metric: u32) -> Result<Vec<Subnet>, KernelError> {
    let is_such = |message: &RouteMessage| {
        message.header.kind == RouteType::Unreachable
            && message.header.protocol == RouteProtocol::Other(links::OUR_PROTOCOL)
            && message.attributes.contains(&RouteAttribute::Priority(metric))
    };
    let destination = |message: &RouteNetlinkMessage| match message {
        RouteNetlinkMessage::NewRoute(message) if is_such(message) => destination(message),
        _ => None,
    };
    Ok(route_messages(netlink)?.iter().filter_map(destination).collect())
}

fn route_messages(netlink: &mut Netlink) -> Result<Vec<RouteNetlinkMessage>, KernelError> {
    let mut found = Vec::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut message = RouteMessage::default();
        message.header.address_family = family;
        match netlink.dump(RouteNetlinkMessage::GetRoute(message)) {
            Ok(messages) => found.extend(messages),
            Err(error) if error.is(Errno::EOPNOTSUPP) || error.is(Errno::EAFNOSUPPORT) => (),
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

fn ways(message: &RouteNetlinkMessage) -> Vec<Route> {
    let RouteNetlinkMessage::NewRoute(message) = message else { return Vec::new() };
    let Some(route) = route(message) else { return Vec::new() };
    let hops = message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::MultiPath(hops) => Some(hops),
        _ => None,
    });
    match hops {
        Some(hops) => {
            let through = |index| Route { index: Some(index), ..route.clone() };
            hops.iter().map(|hop| through(hop.interface_index)).collect()
        }
        None => vec![route],
    }
}

fn route(message: &RouteMessage) -> Option<Route> {
    const LOCAL_TABLE: u8 = 255;
    let header = &message.header;
    if header.table == LOCAL_TABLE || header.kind != RouteType::Unicast {
        return None;
    }
    let to = destination(message)?;
    let gateway = message.attributes.iter().find_map(gateway);
    let index = message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Oif(oif) => Some(*oif),
        _ => None,
    });
    let is_advertised = header.protocol == RouteProtocol::Ra;
    let is_ours = header.protocol == RouteProtocol::Other(links::OUR_PROTOCOL);
    Some(Route { to, index, gateway, is_advertised, is_ours })
}

fn destination(message: &RouteMessage) -> Option<Subnet> {
    let unspecified: IpAddr = match message.header.address_family {
        AddressFamily::Inet => std::net::Ipv4Addr::UNSPECIFIED.into(),
        AddressFamily::Inet6 => std::net::Ipv6Addr::UNSPECIFIED.into(),
        _ => return None,
    };
    let told = message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Destination(RouteAddress::Inet(v4)) => Some((*v4).into()),
        RouteAttribute::Destination(RouteAddress::Inet6(v6)) => Some((*v6).into()),
        _ => None,
    });
    Subnet::new(told.unwrap_or(unspecified), message.header.destination_prefix_length).ok()
}

fn gateway(attribute: &RouteAttribute) -> Option<IpAddr> {
    match attribute {
        RouteAttribute::Gateway(RouteAddress::Inet(v4)) | RouteAttribute::Via(RouteVia::Inet(v4)) => {
            Some((*v4).into())
        }
        RouteAttribute::Gateway(RouteAddress::Inet6(v6)) | RouteAttribute::Via(RouteVia::Inet6(v6)) => {
            Some((*v6).into())
        }
        _ => None,
    }
}

/// Where a packet to somewhere would go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Towards {
    /// The link that it leaves by.
    pub(crate) index: u32,
    /// The router that it goes by, unless the destination is on the link.
    pub(crate) gateway: Option<IpAddr>,
    /// Whether the destination is this host.
    pub(crate) is_own: bool,
}

/// Where the host would send what is for `far`, by any link or by one; `None` if it would not.
pub(crate) fn towards(
    netlink: &mut Netlink,
    far: IpAddr,
    by: Option<u32>,
) -> Result<Option<Towards>, KernelError> {
    const UNREACHABLE: [Errno; 4] = [Errno::ENETUNREACH, Errno::EHOSTUNREACH, Errno::EACCES, Errno::EINVAL];
    let answer = match netlink.get(way_to(far, by)) {
        Ok(RouteNetlinkMessage::NewRoute(answer)) => answer,
        Ok(_) => return Ok(None),
        Err(error) if UNREACHABLE.iter().any(|errno| error.is(*errno)) => return Ok(None),
        Err(error) => return Err(error),
    };
    let index = answer.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Oif(index) => Some(*index),
        _ => None,
    });
    let is_own = answer.header.kind == RouteType::Local;
    if !is_own && answer.header.kind != RouteType::Unicast {
        return Ok(None);
    }
    let gateway = answer.attributes.iter().find_map(gateway);
    Ok(index.map(|index| Towards { index, gateway, is_own }))
}

/// `ip route get`
fn way_to(far: IpAddr, by: Option<u32>) -> RouteNetlinkMessage {
    let mut message = RouteMessage::default();
    message.header.table = RouteHeader::RT_TABLE_UNSPEC;
    (message.header.address_family, message.header.destination_prefix_length) =
        if far.is_ipv4() { (AddressFamily::Inet, 32) } else { (AddressFamily::Inet6, 128) };
    message.attributes.push(RouteAttribute::Destination(far.into()));
    message.attributes.extend(by.map(RouteAttribute::Oif));
    RouteNetlinkMessage::GetRoute(message)
}

/// The largest packet, in bytes, that can leave the host: the least MTU of the interfaces that default routes lead
/// through, save the bridge's own; `None` without any.
pub(crate) fn uplink_mtu(netlink: &mut Netlink, bridge: &str) -> Option<u32> {
    let mut indexes: Vec<u32> =
        routes(netlink).ok()?.iter().filter(|r| r.to.prefix() == 0).filter_map(|r| r.index).collect();
    indexes.sort_unstable();
    indexes.dedup();
    let link = |index| find_link(netlink, Link::Index(index)).ok().flatten();
    let uplinks =
        indexes.into_iter().filter_map(link).filter(|link| !link.is_loopback && link.name != bridge);
    uplinks.filter_map(|link| link.mtu).min()
}

/// A link's name, for error texts.
pub(crate) fn name_of(netlink: &mut Netlink, index: u32) -> String {
    match find_link(netlink, Link::Index(index)) {
        Ok(Some(link)) => link.name,
        _ => format!("link {index}"),
    }
}

/// Fails if the host uses the network's addresses for something else than its bridge.
pub(crate) fn check_subnets(
    netlink: &mut Netlink,
    config: &NetworkConfig,
    bridge: Option<u32>,
) -> Result<(), NetError> {
    let routes = routes(netlink).map_err(failed("list the host's routes"))?;
    let subnets: Vec<Subnet> = config.subnets().collect();
    let ours: Vec<u32> = bridge.into_iter().collect();
    nobody_else(netlink, &subnets, (&routes, &ours))
}

/// Fails if the host uses addresses of these ranges of Services for something else. Bridges of podboxes may share a range, because
/// nothing of it is ever on the wire.
pub(crate) fn check_ranges(netlink: &mut Netlink, ranges: &[Subnet]) -> Result<(), NetError> {
    let routes = routes(netlink).map_err(failed("list the host's routes"))?;
    let mut indexes: Vec<u32> = routes.iter().filter_map(|route| route.index).collect();
    indexes.sort_unstable();
    indexes.dedup();
    let mut is_podboxs = |index: &u32| {
        let link = find_link(netlink, Link::Index(*index)).ok().flatten();
        link.is_some_and(|link| link.is_bridge && link.mac.is_some_and(Mac::is_bridges))
    };
    indexes.retain(|index| is_podboxs(index));
    nobody_else(netlink, ranges, (&routes, &indexes))
}

fn failed(step: &str) -> impl FnOnce(KernelError) -> NetError {
    let step = step.to_owned();
    move |source| NetError::Kernel { step, source }
}

/// Fails if another link than `ours` has addresses of these subnets or routes to them.
fn nobody_else(
    netlink: &mut Netlink,
    subnets: &[Subnet],
    (routes, ours): (&[Route], &[u32]),
) -> Result<(), NetError> {
    let addresses = addresses(netlink).map_err(failed("list the host's addresses"))?;
    for subnet in subnets {
        let taken = |address: &&Address| {
            let theirs = Subnet::new(address.address, address.prefix);
            !ours.contains(&address.index) && theirs.is_ok_and(|theirs| theirs.overlaps(subnet))
        };
        if let Some(address) = addresses.iter().find(taken) {
            let name = name_of(netlink, address.index);
            let holder = format!("address {}/{} of {name}", address.address, address.prefix);
            return Err(NetError::SubnetClash { subnet: *subnet, holder });
        }
        let taken = |route: &&Route| {
            route.to.prefix() > 0
                && route.index.is_none_or(|index| !ours.contains(&index))
                && route.to.overlaps(subnet)
        };
        if let Some(route) = routes.iter().find(taken) {
            let via = route.index.map(|index| format!(" by {}", name_of(netlink, index)));
            let holder = format!("the route to {}{}", route.to, via.unwrap_or_default());
            return Err(NetError::SubnetClash { subnet: *subnet, holder });
        }
    }
    Ok(())
}

/// The host's own addresses as a pod's status tells them (`hostIP`, `hostIPs`): the primary one first, at
/// most one of each family, never empty. Primary is what the host would send from to the world; without a
/// way out, its first global address; without any, the gateway of the network.
#[must_use]
pub fn host_addresses(config: &NetworkConfig) -> Vec<IpAddr> {
    let found = Netlink::open(NETLINK_ROUTE).map(|mut netlink| own_addresses(&mut netlink, config));
    match found {
        Ok(found) if !found.is_empty() => found,
        _ => config.subnets().map(|subnet| subnet.gateway()).take(1).collect(),
    }
}

fn own_addresses(netlink: &mut Netlink, config: &NetworkConfig) -> Vec<IpAddr> {
    // Addresses of the documentation: nobody has a route of its own to them.
    let somewhere: [IpAddr; 2] = [[192, 0, 2, 1].into(), [0x2001, 0xdb8, 0, 0, 0, 0, 0, 1].into()];
    let mut all = None;
    let mut found = Vec::new();
    for far in somewhere {
        let address = source_towards(netlink, far).or_else(|| {
            let all = all.get_or_insert_with(|| addresses(netlink).unwrap_or_default());
            let ours = |address: IpAddr| config.subnets().any(|subnet| subnet.contains(address));
            all.iter()
                .find(|a| a.is_global && a.address.is_ipv4() == far.is_ipv4() && !ours(a.address))
                .map(|a| a.address)
        });
        found.extend(address);
    }
    found
}

/// Whether packets to an address go to this host itself, as far as the kernel tells.
#[must_use]
pub fn is_address_of_host(address: IpAddr) -> bool {
    let Ok(mut netlink) = Netlink::open(NETLINK_ROUTE) else { return false };
    let answer = netlink.get(way_to(address, None));
    matches!(answer, Ok(RouteNetlinkMessage::NewRoute(route)) if route.header.kind == RouteType::Local)
}

/// The address that the host would send from to `far`.
fn source_towards(netlink: &mut Netlink, far: IpAddr) -> Option<IpAddr> {
    let RouteNetlinkMessage::NewRoute(answer) = netlink.get(way_to(far, None)).ok()? else {
        return None;
    };
    answer.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::PrefSource(RouteAddress::Inet(v4)) if !v4.is_loopback() => Some((*v4).into()),
        RouteAttribute::PrefSource(RouteAddress::Inet6(v6)) if !v6.is_loopback() => Some((*v6).into()),
        _ => None,
    })
}
