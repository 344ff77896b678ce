//! Netlink messages for links, addresses, neighbours and routes, and the commands that mean the same.

use std::net::IpAddr;
use std::os::fd::RawFd;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage, AddressScope};
use netlink_packet_route::link::{
    AfSpecInet6, AfSpecUnspec, BridgeStpState, In6AddrGenMode, InfoBridge, InfoBridgePort, InfoData,
    InfoKind, InfoPortData, InfoPortKind, InfoVeth, InfoVxlan, LinkAttribute, LinkExtentMask, LinkFlags,
    LinkInfo, LinkMessage,
};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteProtocol, RouteScope,
    RouteType, RouteVia,
};
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::config::{InterfaceAddress, Mac, Subnet};
use crate::host::Ipv6;
use crate::peers::{Family, Reach, Tunnel};

/// One request and its flags.
pub(crate) type Message = (RouteNetlinkMessage, u16);

/// Which link a message is about.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Link<'a> {
    /// By its number in the socket's namespace.
    Index(u32),
    /// By its name.
    Name(&'a str),
}

fn link(which: Link<'_>) -> LinkMessage {
    let mut message = LinkMessage::default();
    match which {
        Link::Index(index) => message.header.index = index,
        Link::Name(name) => message.attributes.push(LinkAttribute::IfName(name.to_owned())),
    }
    message
}

fn raise(message: &mut LinkMessage) {
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
}

/// `ip link show` of one link.
pub(crate) fn get_link(which: Link<'_>) -> RouteNetlinkMessage {
    without_statistics(link(which))
}

/// `ip link show type veth`: to be dumped. Other kinds of links, which the host may have of its own, need not be
/// understood.
pub(crate) fn get_veths() -> RouteNetlinkMessage {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Veth)]));
    without_statistics(message)
}

fn without_statistics(mut message: LinkMessage) -> RouteNetlinkMessage {
    message.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    RouteNetlinkMessage::GetLink(message)
}

/// `ip link set up`
pub(crate) fn up(which: Link<'_>) -> Message {
    let mut message = link(which);
    raise(&mut message);
    (RouteNetlinkMessage::SetLink(message), 0)
}

/// `ip link set down`
pub(crate) fn down(which: Link<'_>) -> Message {
    let mut message = link(which);
    message.header.change_mask = LinkFlags::Up;
    (RouteNetlinkMessage::SetLink(message), 0)
}

/// `ip link set name`
pub(crate) fn rename(index: u32, name: &str) -> Message {
    let mut message = link(Link::Index(index));
    message.attributes.push(LinkAttribute::IfName(name.to_owned()));
    (RouteNetlinkMessage::SetLink(message), 0)
}

/// `ip link set mtu`
pub(crate) fn set_mtu(which: Link<'_>, mtu: u32) -> Message {
    let mut message = link(which);
    message.attributes.push(LinkAttribute::Mtu(mtu));
    (RouteNetlinkMessage::SetLink(message), 0)
}

/// `ip link set alias`. The kernel does not take it in the message that makes a link.
pub(crate) fn set_alias(which: Link<'_>, alias: &str) -> Message {
    let mut message = link(which);
    message.attributes.push(LinkAttribute::IfAlias(alias.to_owned()));
    (RouteNetlinkMessage::SetLink(message), 0)
}

/// `ip link delete`
pub(crate) fn delete(which: Link<'_>) -> Message {
    (RouteNetlinkMessage::DelLink(link(which)), 0)
}

/// A bridge that forwards from the first moment: no spanning tree, no delay, no multicast snooping (which
/// drops neighbour solicitations when its timers and ours disagree). With a MAC of its own: otherwise it
/// takes the lowest of its ports' and changes it when pods come and go, and connections break.
pub(crate) fn create_bridge(name: &str, mac: Mac, mtu: u32) -> Message {
    let mut message = link(Link::Name(name));
    message.attributes.push(LinkAttribute::Address(mac.0.to_vec()));
    message.attributes.push(LinkAttribute::Mtu(mtu));
    message.attributes.push(LinkAttribute::LinkInfo(vec![
        LinkInfo::Kind(InfoKind::Bridge),
        LinkInfo::Data(InfoData::Bridge(vec![
            InfoBridge::ForwardDelay(0),
            InfoBridge::StpState(BridgeStpState::Disabled),
            InfoBridge::MulticastSnooping(false),
        ])),
    ]));
    (RouteNetlinkMessage::NewLink(message), NLM_F_CREATE | NLM_F_EXCL)
}

/// No link-local IPv6 address by itself. The kernel takes this attribute only in a message that changes a
/// link, not in the one that makes it.
pub(crate) fn no_link_local(which: Link<'_>) -> Message {
    let mut message = link(which);
    message.attributes.push(generate_no_address());
    (RouteNetlinkMessage::SetLink(message), 0)
}

fn generate_no_address() -> LinkAttribute {
    let mode = AfSpecInet6::AddrGenMode(In6AddrGenMode::None);
    LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(vec![mode])])
}

/// A virtual cable.
#[derive(Debug)]
pub(crate) struct Veth<'a> {
    /// Its end on the host.
    pub(crate) host: &'a str,
    /// That end's Ethernet address.
    pub(crate) host_mac: Mac,
    /// Its end in the pod.
    pub(crate) pod: &'a str,
    /// That end's Ethernet address.
    pub(crate) pod_mac: Mac,
    /// The pod's network namespace.
    pub(crate) netns: RawFd,
    /// Both ends' largest packet.
    pub(crate) mtu: u32,
}

/// Makes a cable with one end born inside the pod. Moving a finished link into a namespace instead would wait
/// some 20 ms for grace periods. The pod's end cannot be raised here: "up" in the peer's part of the message
/// fails with ENOTCONN. One queue is what a veth uses anyway, but unless it is asked for, the kernel makes one per
/// processor and waits two grace periods (some 0.8 ms) to get rid of the others.
pub(crate) fn create_veth(veth: &Veth<'_>) -> Message {
    let queues = || [LinkAttribute::NumTxQueues(1), LinkAttribute::NumRxQueues(1)];
    let mut peer = link(Link::Name(veth.pod));
    peer.attributes.extend(queues());
    peer.attributes.push(LinkAttribute::Address(veth.pod_mac.0.to_vec()));
    peer.attributes.push(LinkAttribute::Mtu(veth.mtu));
    peer.attributes.push(LinkAttribute::NetNsFd(veth.netns));
    let mut message = link(Link::Name(veth.host));
    message.attributes.extend(queues());
    message.attributes.push(LinkAttribute::Address(veth.host_mac.0.to_vec()));
    message.attributes.push(LinkAttribute::Mtu(veth.mtu));
    message.attributes.push(LinkAttribute::LinkInfo(vec![
        LinkInfo::Kind(InfoKind::Veth),
        LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
    ]));
    (RouteNetlinkMessage::NewLink(message), NLM_F_CREATE | NLM_F_EXCL)
}

/// `ip link set master`. A port of a bridge needs no IPv6 address of its own.
pub(crate) fn set_master(which: Link<'_>, master: u32, ipv6: Ipv6) -> Message {
    let mut message = link(which);
    if ipv6 == Ipv6::On {
        message.attributes.push(generate_no_address());
    }
    message.attributes.push(LinkAttribute::Controller(master));
    (RouteNetlinkMessage::SetLink(message), 0)
}

/// Raises a port of a bridge, and lets it send a frame back where it came from, for a pod that talks to itself through a
/// mapped port. The kernel ignores these options in RTM_SETLINK and when the link is made; it must be
/// RTM_NEWLINK without NLM_F_CREATE.
pub(crate) fn raise_port(which: Link<'_>) -> Message {
    let mut message = link(which);
    raise(&mut message);
    message.attributes.push(LinkAttribute::LinkInfo(vec![
        LinkInfo::PortKind(InfoPortKind::Bridge),
        LinkInfo::PortData(InfoPortData::BridgePort(vec![InfoBridgePort::HairpinMode(true)])),
    ]));
    (RouteNetlinkMessage::NewLink(message), 0)
}

/// This host's end of a tunnel: `ip link add … type vxlan`. It learns nothing: whatever it is to know is put down for
/// good. Without a local address the routes decide which one packets leave with, also after it has changed; for
/// IPv6 the unspecified one says so, because the kernel makes an IPv4 tunnel of one that has none.
pub(crate) fn create_tunnel(tunnel: &Tunnel, underlay: Option<u32>) -> Message {
    let mut options =
        vec![InfoVxlan::Id(tunnel.id), InfoVxlan::Port(tunnel.port), InfoVxlan::Learning(false)];
    if tunnel.family == Family::Ipv6 {
        options.push(InfoVxlan::Local6(std::net::Ipv6Addr::UNSPECIFIED));
    }
    options.extend(underlay.map(InfoVxlan::Link));
    let mut message = link(Link::Name(&tunnel.name));
    message.attributes.push(LinkAttribute::Address(tunnel.mac.0.to_vec()));
    message.attributes.push(LinkAttribute::Mtu(tunnel.mtu));
    message.attributes.push(LinkAttribute::LinkInfo(vec![
        LinkInfo::Kind(InfoKind::Vxlan),
        LinkInfo::Data(InfoData::Vxlan(options)),
    ]));
    (RouteNetlinkMessage::NewLink(message), NLM_F_CREATE | NLM_F_EXCL)
}

fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

/// `ip address replace`, usable at once: `nodad` spares IPv6 its second of duplicate address detection.
pub(crate) fn add_address(index: u32, address: InterfaceAddress) -> Message {
    let mut message = AddressMessage::default();
    message.header.family = family(address.address);
    message.header.prefix_len = address.prefix;
    message.header.scope = AddressScope::Universe;
    message.header.index = index;
    message.attributes.push(AddressAttribute::Local(address.address));
    message.attributes.push(AddressAttribute::Address(address.address));
    match address.address {
        IpAddr::V4(v4) => {
            let host_bits = u32::MAX.checked_shr(u32::from(address.prefix)).unwrap_or(0);
            message.attributes.push(AddressAttribute::Broadcast((u32::from(v4) | host_bits).into()));
        }
        IpAddr::V6(_) => message.header.flags = AddressHeaderFlags::Nodad,
    }
    (RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_REPLACE)
}

/// `ip neighbour replace … nud permanent`: the first packet to the gateway waits for no answer.
pub(crate) fn add_neighbour(index: u32, address: IpAddr, mac: Mac) -> Message {
    let mut message = NeighbourMessage::default();
    message.header.family = family(address);
    message.header.ifindex = index;
    message.header.state = NeighbourState::Permanent;
    message.header.kind = RouteType::Unicast;
    message.attributes.push(NeighbourAttribute::Destination(neighbour(address)));
    message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.0.to_vec()));
    (RouteNetlinkMessage::NewNeighbour(message), NLM_F_CREATE | NLM_F_REPLACE)
}

/// `ip route replace default via …`
pub(crate) fn add_default_route(index: u32, gateway: IpAddr) -> Message {
    let mut message = RouteMessage::default();
    message.header.address_family = family(gateway);
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::Boot;
    message.header.scope = RouteScope::Universe;
    message.header.kind = RouteType::Unicast;
    message.attributes.push(RouteAttribute::Gateway(RouteAddress::from(gateway)));
    message.attributes.push(RouteAttribute::Oif(index));
    (RouteNetlinkMessage::NewRoute(message), NLM_F_CREATE | NLM_F_REPLACE)
}

/// The same route, in another table: `table …`
pub(crate) fn in_table((message, flags): Message, table: u32) -> Message {
    let RouteNetlinkMessage::NewRoute(mut route) = message else { return (message, flags) };
    // The header has room for the first 256.
    route.header.table = RouteHeader::RT_TABLE_UNSPEC;
    route.attributes.push(RouteAttribute::Table(table));
    (RouteNetlinkMessage::NewRoute(route), flags)
}

/// Before the rules for the main and the default table, which have 32766 and 32767. A number that the kernel chooses is another
/// each time, and then the same rule is no duplicate.
pub(crate) const RULE_PRIORITY: u32 = 32_000;

/// `ip rule add from … lookup … priority …`
pub(crate) fn add_rule(from: IpAddr, table: u32) -> Message {
    let mut message = RuleMessage::default();
    message.header.family = family(from);
    message.header.src_len = if from.is_ipv4() { 32 } else { 128 };
    message.header.action = RuleAction::ToTable;
    message.attributes.push(RuleAttribute::Source(from));
    message.attributes.push(RuleAttribute::Table(table));
    message.attributes.push(RuleAttribute::Priority(RULE_PRIORITY));
    (RouteNetlinkMessage::NewRule(message), NLM_F_CREATE | NLM_F_EXCL)
}

/// The number by which podbox's routes are told from others (`proto`). The kernel keeps those below 4 for itself, and
/// iproute2's rt_protos has nobody of this number.
pub(crate) const OUR_PROTOCOL: u8 = 112;

/// A route to a slice.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) to: Subnet,
    pub(crate) via: IpAddr,
    /// The interface.
    pub(crate) index: u32,
    pub(crate) reach: Reach,
    /// What the host's own packets have as their source.
    pub(crate) source: IpAddr,
}

/// `ip route replace`
pub(crate) fn add_route(route: &Route) -> Message {
    let mut message = route_by(route.to, route.via);
    message.header.scope = RouteScope::Universe;
    message.header.kind = RouteType::Unicast;
    if route.reach == Reach::OnLink {
        message.header.flags = RouteFlags::Onlink;
    }
    message.attributes.push(RouteAttribute::Oif(route.index));
    message.attributes.push(RouteAttribute::PrefSource(RouteAddress::from(route.source)));
    (RouteNetlinkMessage::NewRoute(message), NLM_F_CREATE | NLM_F_REPLACE)
}

/// `ip route delete`
pub(crate) fn delete_route(to: Subnet, via: IpAddr) -> Message {
    let mut message = route_by(to, via);
    message.header.scope = RouteScope::NoWhere;
    (RouteNetlinkMessage::DelRoute(message), 0)
}

fn route_by(to: Subnet, via: IpAddr) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family(to.network());
    message.header.destination_prefix_length = to.prefix();
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::Other(OUR_PROTOCOL);
    message.attributes.push(RouteAttribute::Destination(RouteAddress::from(to.network())));
    message.attributes.push(match via {
        IpAddr::V6(v6) if to.network().is_ipv4() => RouteAttribute::Via(RouteVia::Inet6(v6)),
        same => RouteAttribute::Gateway(RouteAddress::from(same)),
    });
    message
}

/// `bridge fdb replace … self permanent`: frames for an Ethernet address leave by a tunnel for a host.
pub(crate) fn add_forward(index: u32, mac: Mac, to: IpAddr) -> Message {
    (RouteNetlinkMessage::NewNeighbour(forward(index, mac, to)), NLM_F_CREATE | NLM_F_REPLACE)
}

/// `bridge fdb delete … self`
pub(crate) fn delete_forward(index: u32, mac: Mac, to: IpAddr) -> Message {
    (RouteNetlinkMessage::DelNeighbour(forward(index, mac, to)), 0)
}

fn forward(index: u32, mac: Mac, to: IpAddr) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Bridge;
    message.header.ifindex = index;
    message.header.state = NeighbourState::Permanent;
    message.header.flags = NeighbourFlags::Own;
    message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.0.to_vec()));
    message.attributes.push(NeighbourAttribute::Destination(neighbour(to)));
    message
}

fn neighbour(address: IpAddr) -> NeighbourAddress {
    match address {
        IpAddr::V4(v4) => NeighbourAddress::Inet(v4),
        IpAddr::V6(v6) => NeighbourAddress::Inet6(v6),
    }
}

/// `bridge fdb get MAC br BRIDGE`
pub(crate) fn get_forward(bridge: u32, mac: Mac) -> RouteNetlinkMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Bridge;
    message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.0.to_vec()));
    message.attributes.push(NeighbourAttribute::Controller(bridge));
    RouteNetlinkMessage::GetNeighbour(message)
}

/// The number of the port that the answer to [`get_forward`] tells of.
pub(crate) fn port_of(answer: &RouteNetlinkMessage) -> Option<u32> {
    match answer {
        RouteNetlinkMessage::NewNeighbour(message) => Some(message.header.ifindex),
        _ => None,
    }
}

/// `ip neighbour delete`
pub(crate) fn delete_neighbour(index: u32, address: IpAddr) -> Message {
    let mut message = NeighbourMessage::default();
    message.header.family = family(address);
    message.header.ifindex = index;
    message.attributes.push(NeighbourAttribute::Destination(neighbour(address)));
    (RouteNetlinkMessage::DelNeighbour(message), 0)
}

/// `ip route replace SUBNET dev …`: its addresses are asked for there.
pub(crate) fn add_link_route(index: u32, to: Subnet) -> Message {
    let message = link_route(index, to, RouteProtocol::Boot);
    (RouteNetlinkMessage::NewRoute(message), NLM_F_CREATE | NLM_F_REPLACE)
}

fn link_route(index: u32, to: Subnet, by: RouteProtocol) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family(to.network());
    message.header.destination_prefix_length = to.prefix();
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = by;
    message.header.scope = RouteScope::Link;
    message.header.kind = RouteType::Unicast;
    message.attributes.push(RouteAttribute::Destination(RouteAddress::from(to.network())));
    message.attributes.push(RouteAttribute::Oif(index));
    message
}

/// The route that the kernel makes with a bridge's address: `ip route replace SUBNET dev … proto kernel scope link src …`.
pub(crate) fn add_pods_route(index: u32, to: Subnet) -> Message {
    let mut message = link_route(index, to, RouteProtocol::Kernel);
    if to.network().is_ipv4() {
        message.attributes.push(RouteAttribute::PrefSource(RouteAddress::from(to.gateway())));
    } else {
        // As the kernel's own (IP6_RT_PRIO_ADDRCONF), which others then take the place of.
        message.header.scope = RouteScope::Universe;
        message.attributes.push(RouteAttribute::Priority(256));
    }
    (RouteNetlinkMessage::NewRoute(message), NLM_F_CREATE | NLM_F_REPLACE)
}

/// `ip route replace unreachable … metric … proto 112`
pub(crate) fn add_unreachable(to: Subnet, metric: u32) -> Message {
    (RouteNetlinkMessage::NewRoute(unreachable(to, metric)), NLM_F_CREATE | NLM_F_REPLACE)
}

/// `ip route delete unreachable … metric … proto 112`
pub(crate) fn delete_unreachable(to: Subnet, metric: u32) -> Message {
    (RouteNetlinkMessage::DelRoute(unreachable(to, metric)), 0)
}

fn unreachable(to: Subnet, metric: u32) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family(to.network());
    message.header.destination_prefix_length = to.prefix();
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::Other(OUR_PROTOCOL);
    message.header.scope = RouteScope::Universe;
    message.header.kind = RouteType::Unreachable;
    message.attributes.push(RouteAttribute::Destination(RouteAddress::from(to.network())));
    message.attributes.push(RouteAttribute::Priority(metric));
    message
}
