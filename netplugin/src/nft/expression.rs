//! The expressions that rules are made of: small instructions of the kernel's packet-matching machine
//! (`linux/netfilter/nf_tables.h`). Each loads something into a register, compares one or acts.

use std::time::Duration;

use netlink_packet_core::{DefaultNla, NLA_F_NESTED};
use netlink_packet_netfilter::nftables::{
    Bitwise, Cmp, DataAttribute, Expressions, Immediate, Lookup, Meta, MetaKey, Operator, Payload, Register,
    SetAttribute, Verdict, VerdictAttribute,
};

/// Where a header begins.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Base {
    Network = 1,
    Transport = 2,
}

/// Load a fact about the packet.
pub(crate) fn meta(key: MetaKey, to: Register) -> Expressions {
    Expressions::Meta(vec![Meta::Key(key), Meta::DestinationRegister(to)])
}

/// Load `length` bytes of a header.
pub(crate) fn payload(base: Base, offset: u32, length: u32, to: Register) -> Expressions {
    Expressions::Payload(vec![
        Payload::DestinationRegister(to),
        Payload::Base(base as u32),
        Payload::Offset(offset),
        Payload::Len(length),
    ])
}

/// Go on only if the first register equals `value`.
pub(crate) fn equals(value: Vec<u8>) -> Expressions {
    compare(Operator::Equal, value)
}

/// Go on only if the first register differs from `value`.
pub(crate) fn differs(value: Vec<u8>) -> Expressions {
    compare(Operator::NotEqual, value)
}

/// Go on only if a register, and those behind it as far as `value` is long, differs from it.
pub(crate) fn differs_in(from: Register, value: Vec<u8>) -> Expressions {
    compare_in(from, Operator::NotEqual, value)
}

fn compare(operator: Operator, value: Vec<u8>) -> Expressions {
    compare_in(Register::Reg1, operator, value)
}

fn compare_in(from: Register, operator: Operator, value: Vec<u8>) -> Expressions {
    Expressions::Cmp(vec![
        Cmp::SourceRegister(from),
        Cmp::Op(operator),
        Cmp::Data(DataAttribute::Value(value)),
    ])
}

/// Keep only the bits of `mask` in the first register.
pub(crate) fn keep(mask: Vec<u8>) -> Expressions {
    let length = mask.len();
    Expressions::Bitwise(vec![
        Bitwise::SourceRegister(Register::Reg1),
        Bitwise::DestinationRegister(Register::Reg1),
        Bitwise::Length(u32::try_from(length).unwrap_or(0)),
        Bitwise::Mask(DataAttribute::Value(mask)),
        Bitwise::Xor(DataAttribute::Value(vec![0; length])),
    ])
}

/// Look the registers up in a map and load what it says; go on only if it says something.
pub(crate) fn look_up(map: &str) -> Expressions {
    Expressions::Lookup(vec![
        Lookup::Set(map.to_owned()),
        Lookup::SourceRegister(Register::Reg1),
        Lookup::DestinationRegister(Register::Reg1),
    ])
}

/// Look registers up in a map and load what it says, or go where it says; go on only if it says something.
pub(crate) fn look_up_in(map: &str, (from, to): (Register, Register)) -> Expressions {
    Expressions::Lookup(vec![
        Lookup::Set(map.to_owned()),
        Lookup::SourceRegister(from),
        Lookup::DestinationRegister(to),
    ])
}

/// Count the packets that come here.
pub(crate) fn counter() -> Expressions {
    other("counter", &[])
}

/// Load a value.
pub(crate) fn constant(value: Vec<u8>, to: Register) -> Expressions {
    Expressions::Immediate(vec![
        Immediate::DestinationRegister(to),
        Immediate::Data(DataAttribute::Value(value)),
    ])
}

/// Roll a die: load a number below `sides`, in the host's byte order.
pub(crate) fn random(sides: u32, to: Register) -> Expressions {
    const NFTA_NG_DREG: u16 = 1;
    const NFTA_NG_MODULUS: u16 = 2;
    const NFTA_NG_TYPE: u16 = 3;
    const NFT_NG_RANDOM: u32 = 1;
    other("numgen", &[(NFTA_NG_DREG, to.into()), (NFTA_NG_MODULUS, sides), (NFTA_NG_TYPE, NFT_NG_RANDOM)])
}

/// Write into a map, for a time, that the key registers mean what the value registers hold. What they mean already they go on
/// meaning, for that time anew.
pub(crate) fn remember(map: &str, (key, value): (Register, Register), time: Duration) -> Expressions {
    const NFTA_DYNSET_SREG_DATA: u16 = 5;
    const NFTA_DYNSET_TIMEOUT: u16 = 6;
    const NFT_DYNSET_OP_UPDATE: u32 = 1;
    let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let more = vec![
        DefaultNla::new(NFTA_DYNSET_SREG_DATA, u32::from(value).to_be_bytes().to_vec()),
        DefaultNla::new(NFTA_DYNSET_TIMEOUT, millis.to_be_bytes().to_vec()),
    ];
    change_map(map, key, NFT_DYNSET_OP_UPDATE, more)
}

/// Take what the key registers mean out of a map, if they mean anything there. The kernel wants to hear of registers for the
/// value too, whatever they hold.
pub(crate) fn forget(map: &str, (key, value): (Register, Register)) -> Expressions {
    const NFTA_DYNSET_SREG_DATA: u16 = 5;
    const NFT_DYNSET_OP_DELETE: u32 = 2;
    let value = DefaultNla::new(NFTA_DYNSET_SREG_DATA, u32::from(value).to_be_bytes().to_vec());
    change_map(map, key, NFT_DYNSET_OP_DELETE, vec![value])
}

fn change_map(map: &str, key: Register, operation: u32, more: Vec<DefaultNla>) -> Expressions {
    const NFTA_DYNSET_SET_NAME: u16 = 1;
    const NFTA_DYNSET_OP: u16 = 3;
    const NFTA_DYNSET_SREG_KEY: u16 = 4;
    let number = |kind, value: u32| DefaultNla::new(kind, value.to_be_bytes().to_vec());
    let mut attributes = vec![
        DefaultNla::new(NFTA_DYNSET_SET_NAME, [map.as_bytes(), &[0]].concat()),
        number(NFTA_DYNSET_OP, operation),
        number(NFTA_DYNSET_SREG_KEY, key.into()),
    ];
    attributes.extend(more);
    Expressions::Other { expression_type: "dynset".to_owned(), attributes }
}

/// Answer that nobody listens there: a connection is refused at once.
pub(crate) fn refuse() -> Expressions {
    const NFTA_REJECT_TYPE: u16 = 1;
    const NFTA_REJECT_ICMP_CODE: u16 = 2;
    const NFT_REJECT_ICMPX_UNREACH: u32 = 2;
    const NFT_REJECT_ICMPX_PORT_UNREACH: u8 = 1;
    Expressions::Other {
        expression_type: "reject".to_owned(),
        attributes: vec![
            DefaultNla::new(NFTA_REJECT_TYPE, NFT_REJECT_ICMPX_UNREACH.to_be_bytes().to_vec()),
            DefaultNla::new(NFTA_REJECT_ICMP_CODE, vec![NFT_REJECT_ICMPX_PORT_UNREACH]),
        ],
    }
}

/// How many elements a set may have.
pub(crate) fn set_size(most: u32) -> SetAttribute {
    const NFTA_SET_DESC: u16 = 9;
    const NFTA_SET_DESC_SIZE: u16 = 1;
    let mut bytes = Vec::with_capacity(8);
    bytes.extend(8_u16.to_ne_bytes());
    bytes.extend(NFTA_SET_DESC_SIZE.to_ne_bytes());
    bytes.extend(most.to_be_bytes());
    SetAttribute::Other(DefaultNla::new(NFTA_SET_DESC | NLA_F_NESTED, bytes))
}

/// `RTN_LOCAL`: the address is one of this host's.
pub(crate) const LOCAL: u32 = 2;

/// All 16 bytes, so that the name is matched to its end.
pub(crate) fn interface_name(name: &str) -> Vec<u8> {
    let mut bytes = name.as_bytes().to_vec();
    bytes.resize(16, 0);
    bytes
}

/// Whose is the destination address? Loads an `RTN_` route type, in the host's byte order.
pub(crate) fn destination_type() -> Expressions {
    const NFTA_FIB_DREG: u16 = 1;
    const NFTA_FIB_RESULT: u16 = 2;
    const NFTA_FIB_FLAGS: u16 = 3;
    const NFT_FIB_RESULT_ADDRTYPE: u32 = 3;
    const NFTA_FIB_F_DADDR: u32 = 2;
    other(
        "fib",
        &[
            (NFTA_FIB_DREG, Register::Reg1.into()),
            (NFTA_FIB_RESULT, NFT_FIB_RESULT_ADDRTYPE),
            (NFTA_FIB_FLAGS, NFTA_FIB_F_DADDR),
        ],
    )
}

/// What is known about the packet's connection: `IPS_` bits, in the host's byte order.
pub(crate) fn connection_status() -> Expressions {
    const NFTA_CT_DREG: u16 = 1;
    const NFTA_CT_KEY: u16 = 2;
    const NFT_CT_STATUS: u32 = 2;
    other("ct", &[(NFTA_CT_DREG, Register::Reg1.into()), (NFTA_CT_KEY, NFT_CT_STATUS)])
}

/// Change the destination to the address in the first register and the port in `port`.
pub(crate) fn dnat(family: u8, port: Register) -> Expressions {
    dnat_from(family, Register::Reg1, port)
}

/// Change the destination to the address and port in these registers.
pub(crate) fn dnat_from(family: u8, address: Register, port: Register) -> Expressions {
    const NFTA_NAT_TYPE: u16 = 1;
    const NFTA_NAT_FAMILY: u16 = 2;
    const NFTA_NAT_REG_ADDR_MIN: u16 = 3;
    const NFTA_NAT_REG_PROTO_MIN: u16 = 5;
    const NFT_NAT_DNAT: u32 = 1;
    other(
        "nat",
        &[
            (NFTA_NAT_TYPE, NFT_NAT_DNAT),
            (NFTA_NAT_FAMILY, family.into()),
            (NFTA_NAT_REG_ADDR_MIN, address.into()),
            (NFTA_NAT_REG_PROTO_MIN, port.into()),
        ],
    )
}

/// Change the source to the address of the interface that the packet leaves by.
pub(crate) fn masquerade() -> Expressions {
    other("masq", &[])
}

/// Decide about the packet, or go on in another chain.
pub(crate) fn verdict(verdict: Verdict, chain: Option<&str>) -> Expressions {
    let mut attributes = vec![VerdictAttribute::Code(verdict)];
    attributes.extend(chain.map(|chain| VerdictAttribute::Chain(chain.to_owned())));
    Expressions::Immediate(vec![
        Immediate::DestinationRegister(Register::Verdict),
        Immediate::Data(DataAttribute::Verdict(attributes)),
    ])
}

/// An expression that the library has no type for. Numbers in attributes are big-endian.
fn other(name: &str, attributes: &[(u16, u32)]) -> Expressions {
    Expressions::Other {
        expression_type: name.to_owned(),
        attributes: attributes
            .iter()
            .map(|(kind, value)| DefaultNla::new(*kind, value.to_be_bytes().to_vec()))
            .collect(),
    }
}
