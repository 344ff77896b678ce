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
/// Only these parts of the tuple count.
const FILTER_PROTO_NUM_AND_DST_PORT: u32 = 1 << 3 | 1 << 5;

/// Forgets all tracked connections that were opened to a port, by a netfilter socket. Where the kernel cannot (no connection
/// tracking, or older than 5.9: no filter), old connections go on until they are idle for long enough.
pub(crate) fn forget(netlink: &mut Netlink, protocol: Protocol, port: u16) {
    for family in [NetfilterProtoFamily::IPv4, NetfilterProtoFamily::IPv6] {
        netlink.push(delete(family, protocol, port), 0);
        let _ = netlink.commit();
    }
}

/// Forgets all tracked connections that were led to a backend.
pub(crate) fn forget_backend(netlink: &mut Netlink, protocol: Protocol, backend: SocketAddr) {
    const CTA_TUPLE_REPLY: u16 = 2;
    const CTA_TUPLE_IP: u16 = 1;
    const CTA_IP_V4_SRC: u16 = 1;
    const CTA_IP_V6_SRC: u16 = 3;
    const CTA_PROTO_SRC_PORT: u16 = 2;
    /// Address, protocol and port of the source.
    const SOURCE: u32 = 1 << 0 | 1 << 3 | 1 << 4;
    let (family, address) = match backend.ip() {
        IpAddr::V4(v4) => (NetfilterProtoFamily::IPv4, DefaultNla::new(CTA_IP_V4_SRC, v4.octets().to_vec())),
        IpAddr::V6(v6) => (NetfilterProtoFamily::IPv6, DefaultNla::new(CTA_IP_V6_SRC, v6.octets().to_vec())),
    };
    let port = [
        DefaultNla::new(CTA_PROTO_NUM, vec![protocol.number()]),
        DefaultNla::new(CTA_PROTO_SRC_PORT, backend.port().to_be_bytes().to_vec()),
    ];
    let tuple = [nested(CTA_TUPLE_IP, &[address]), nested(CTA_TUPLE_PROTO, &port)];
    netlink.push(deletion(family, nested(CTA_TUPLE_REPLY, &tuple), [0, SOURCE]), 0);
    let _ = netlink.commit();
}

fn delete(family: NetfilterProtoFamily, protocol: Protocol, port: u16) -> NetfilterMessage {
    let tuple = nested(
        CTA_TUPLE_PROTO,
        &[
            DefaultNla::new(CTA_PROTO_NUM, vec![protocol.number()]),
            DefaultNla::new(CTA_PROTO_DST_PORT, port.to_be_bytes().to_vec()),
        ],
    );
    deletion(family, nested(CTA_TUPLE_ORIG, &[tuple]), [FILTER_PROTO_NUM_AND_DST_PORT, 0])
}

/// Deletes what fits a tuple in those parts that count, on the way there and on the way back.
fn deletion(family: NetfilterProtoFamily, tuple: DefaultNla, [there, back]: [u32; 2]) -> NetfilterMessage {
    let filter = [
        DefaultNla::new(CTA_FILTER_ORIG_FLAGS, there.to_ne_bytes().to_vec()),
        DefaultNla::new(CTA_FILTER_REPLY_FLAGS, back.to_ne_bytes().to_vec()),
    ];
    let inner = NetfilterMessageInner::Other {
        subsys: NetfilterSubsystem::Conntrack,
        message_type: IPCTNL_MSG_CT_DELETE,
        attributes: vec![tuple, nested(CTA_FILTER, &filter)],
    };
    NetfilterMessage::new(NetfilterHeader::new(family, 0, 0), inner)
}

fn nested(kind: u16, attributes: &[DefaultNla]) -> DefaultNla {
    use netlink_packet_core::Emitable;
    let mut bytes = vec![0; attributes.buffer_len()];
    attributes.emit(&mut bytes);
    DefaultNla::new(kind | NLA_F_NESTED, bytes)
}
