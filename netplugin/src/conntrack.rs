//! Forgetting connections that the kernel tracks, so that their next packet is looked at anew.

use std::net::{IpAddr, SocketAddr};

use netlink_packet_core::{DefaultNla, NLA_F_NESTED};
use netlink_packet_netfilter::{
    NetfilterHeader, NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily, NetfilterSubsystem,
};

use crate::config::Protocol;
use crate::netlink::Netlink;

const IPCTNL_MSG_CT_DELETE: u8 = 2;
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_DST_PORT: u16 = 3;
const CTA_FILTER: u16 = 25;
const CTA_FILTER_ORIG_FLAGS: u16 = 1;
const CTA_FILTER_REPLY_FLAGS: u16 = 2;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_TUPLE_IP: u16 = 1;
const CTA_IP_SRC: u16 = 1;
const CTA_IP_DST: u16 = 2;
const CTA_PROTO_SRC_PORT: u16 = 2;
/// Only these parts of a tuple count (`CTA_FILTER_F_` of the kernel's nf_internals.h).
const FILTER_PROTO_NUM_AND_DST_PORT: u32 = 1 << 3 | 1 << 5;
const FILTER_PROTO_NUM_AND_SRC_PORT: u32 = 1 << 3 | 1 << 4;
/// Address, protocol and port of the source.
const SOURCE: u32 = 1 << 0 | 1 << 3 | 1 << 4;
/// Address, protocol and port of the destination.
const DESTINATION: u32 = 1 << 1 | 1 << 3 | 1 << 5;

/// Forgets all tracked connections that were opened to a port, by a netfilter socket. Where the kernel cannot (no connection
/// tracking, or older than 5.9: no filter), old connections go on until they are idle for long enough.
pub(crate) fn forget(netlink: &mut Netlink, protocol: Protocol, port: u16) {
    for family in [NetfilterProtoFamily::IPv4, NetfilterProtoFamily::IPv6] {
        netlink.push(delete(family, protocol, port), 0);
        let _ = netlink.commit();
    }
}

/// Where clients of a Service send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Front {
    /// A virtual address and its port.
    Address(SocketAddr),
    /// A port of the host.
    Port(u16),
}

/// Forgets what was sent there: all of it, or what was led to one backend. Of IPv6 addresses the kernel takes all but the one
/// that is named (`ctnetlink_filter_match_tuple` has the comparison the wrong way round), so there only ports are compared: a
/// flow that is forgotten needlessly is looked at anew.
pub(crate) fn forget_front(
    netlink: &mut Netlink,
    protocol: Protocol,
    front: Front,
    backend: Option<SocketAddr>,
) {
    let (address, port) = match (front, backend) {
        (Front::Port(port), None) => return forget(netlink, protocol, port),
        (Front::Address(front), _) => (Some(front.ip()), front.port()),
        (Front::Port(port), Some(_)) => (None, port),
    };
    let Some(of) = address.or(backend.map(|backend| backend.ip())) else { return };
    let family = if of.is_ipv4() { NetfilterProtoFamily::IPv4 } else { NetfilterProtoFamily::IPv6 };
    let compared = |address: Option<IpAddr>| address.filter(IpAddr::is_ipv4);
    let part =
        |address: Option<IpAddr>, with: u32, without: u32| if address.is_some() { with } else { without };
    let address = compared(address);
    let mut tuples = vec![tuple(CTA_TUPLE_ORIG, (address, CTA_IP_DST), protocol, (port, CTA_PROTO_DST_PORT))];
    let mut parts = [part(address, DESTINATION, FILTER_PROTO_NUM_AND_DST_PORT), 0];
    if let Some(backend) = backend {
        let from = compared(Some(backend.ip()));
        let port = (backend.port(), CTA_PROTO_SRC_PORT);
        tuples.push(tuple(CTA_TUPLE_REPLY, (from, CTA_IP_SRC), protocol, port));
        parts[1] = part(from, SOURCE, FILTER_PROTO_NUM_AND_SRC_PORT);
    }
    netlink.push(deletion(family, tuples, parts), 0);
    let _ = netlink.commit();
}

/// One direction's ends. The attribute of an address is that of IPv4; that of IPv6 has a number that is greater by two.
fn tuple(
    kind: u16,
    (address, end): (Option<IpAddr>, u16),
    protocol: Protocol,
    (port, port_end): (u16, u16),
) -> DefaultNla {
    let address = address.map(|address| match address {
        IpAddr::V4(v4) => DefaultNla::new(end, v4.octets().to_vec()),
        IpAddr::V6(v6) => DefaultNla::new(end + 2, v6.octets().to_vec()),
    });
    let port = [
        DefaultNla::new(CTA_PROTO_NUM, vec![protocol.number()]),
        DefaultNla::new(port_end, port.to_be_bytes().to_vec()),
    ];
    let address = address.map(|address| nested(CTA_TUPLE_IP, &[address]));
    nested(kind, &address.into_iter().chain([nested(CTA_TUPLE_PROTO, &port)]).collect::<Vec<_>>())
}

fn delete(family: NetfilterProtoFamily, protocol: Protocol, port: u16) -> NetfilterMessage {
    let tuple = nested(
        CTA_TUPLE_PROTO,
        &[
            DefaultNla::new(CTA_PROTO_NUM, vec![protocol.number()]),
            DefaultNla::new(CTA_PROTO_DST_PORT, port.to_be_bytes().to_vec()),
        ],
    );
    deletion(family, vec![nested(CTA_TUPLE_ORIG, &[tuple])], [FILTER_PROTO_NUM_AND_DST_PORT, 0])
}

/// Deletes what fits the tuples in those parts that count, on the way there and on the way back.
fn deletion(
    family: NetfilterProtoFamily,
    mut tuples: Vec<DefaultNla>,
    [there, back]: [u32; 2],
) -> NetfilterMessage {
    let filter = [
        DefaultNla::new(CTA_FILTER_ORIG_FLAGS, there.to_ne_bytes().to_vec()),
        DefaultNla::new(CTA_FILTER_REPLY_FLAGS, back.to_ne_bytes().to_vec()),
    ];
    let inner = NetfilterMessageInner::Other {
        subsys: NetfilterSubsystem::Conntrack,
        message_type: IPCTNL_MSG_CT_DELETE,
        attributes: {
            tuples.push(nested(CTA_FILTER, &filter));
            tuples
        },
    };
    NetfilterMessage::new(NetfilterHeader::new(family, 0, 0), inner)
}

fn nested(kind: u16, attributes: &[DefaultNla]) -> DefaultNla {
    use netlink_packet_core::Emitable;
    let mut bytes = vec![0; attributes.buffer_len()];
    attributes.emit(&mut bytes);
    DefaultNla::new(kind | NLA_F_NESTED, bytes)
}
