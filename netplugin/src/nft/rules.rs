//! What the table holds: chains, maps and rules, each with the text that `nft` would take for it.

use std::net::IpAddr;

use netlink_packet_netfilter::nftables::{Expressions, InetHookNumber, MetaKey, Register, Verdict};

use super::expression::{self as ex, Base};
use crate::config::{Masquerade, NetworkConfig, Subnet};

/// A chain, and where packets enter it.
pub(crate) struct Chain {
    pub(super) name: &'static str,
    pub(super) hook: Option<ChainHook>,
}

/// Where packets enter a chain.
pub(crate) struct ChainHook {
    pub(super) kind: &'static str,
    pub(super) number: InetHookNumber,
    name: &'static str,
    pub(super) priority: i32,
}

impl Chain {
    /// As nft takes it, behind the table.
    pub(crate) fn text(&self) -> String {
        match &self.hook {
            Some(hook) => format!(
                "{} '{{ type {} hook {} priority {}; }}'",
                self.name, hook.kind, hook.name, hook.priority
            ),
            None => self.name.to_owned(),
        }
    }
}

pub(crate) const fn hooked(
    name: &'static str,
    kind: &'static str,
    hook: (InetHookNumber, &'static str),
    priority: i32,
) -> Chain {
    Chain { name, hook: Some(ChainHook { kind, number: hook.0, name: hook.1, priority }) }
}

const GUARD: &str = "guard";
const ARRIVING: &str = "arriving";
const FROM_HOST: &str = "from_host";
const HOST_PORTS: &str = "host_ports";
const LEAVING: &str = "leaving";

/// All chains. The priorities are those of `linux/netfilter_ipv4.h`: raw (before connection tracking),
/// destination and source address translation.
pub(super) const CHAINS: &[Chain] = &[
    Chain { name: HOST_PORTS, hook: None },
    hooked(GUARD, "filter", (InetHookNumber::PreRouting, "prerouting"), -300),
    hooked(ARRIVING, "nat", (InetHookNumber::PreRouting, "prerouting"), -100),
    hooked(FROM_HOST, "nat", (InetHookNumber::LocalOut, "output"), -100),
    hooked(LEAVING, "nat", (InetHookNumber::PostRouting, "postrouting"), 100),
];

/// A type that map keys and values are made of: its name, its number for `nft`, its length in bytes.
pub(crate) type Type = (&'static str, u32, u32);
pub(crate) const IPV4: Type = ("ipv4_addr", 7, 4);
pub(crate) const IPV6: Type = ("ipv6_addr", 8, 16);
pub(crate) const PROTOCOL: Type = ("inet_proto", 12, 1);
pub(crate) const PORT: Type = ("inet_service", 13, 2);
/// A number in the host's byte order.
pub(crate) const MARK: Type = ("mark", 19, 4);

/// A map from a packet's destination to a pod's address and port.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Map {
    pub(super) name: &'static str,
    pub(super) key: &'static [Type],
    pub(super) value: &'static [Type],
}

impl Map {
    pub(super) fn text(&self) -> String {
        let names = |types: &[Type]| types.iter().map(|t| t.0).collect::<Vec<_>>().join(" . ");
        format!("{} '{{ type {} : {}; }}'", self.name, names(self.key), names(self.value))
    }
}

/// All maps: for one address of the host and for any, for each family.
pub(super) static MAPS: &[&Map] = &[&ADDRESS4, &ANY4, &ADDRESS6, &ANY6];
static ADDRESS4: Map = Map { name: "address_ports4", key: &[IPV4, PROTOCOL, PORT], value: &[IPV4, PORT] };
static ANY4: Map = Map { name: "any_ports4", key: &[PROTOCOL, PORT], value: &[IPV4, PORT] };
static ADDRESS6: Map = Map { name: "address_ports6", key: &[IPV6, PROTOCOL, PORT], value: &[IPV6, PORT] };
static ANY6: Map = Map { name: "any_ports6", key: &[PROTOCOL, PORT], value: &[IPV6, PORT] };

/// The map that leads to `pod`, keyed by the host's address or not.
pub(super) fn map_for(pod: IpAddr, host: Option<IpAddr>) -> &'static Map {
    match (pod, host) {
        (IpAddr::V4(_), Some(_)) => &ADDRESS4,
        (IpAddr::V4(_), None) => &ANY4,
        (IpAddr::V6(_), Some(_)) => &ADDRESS6,
        (IpAddr::V6(_), None) => &ANY6,
    }
}

/// The number of a concatenated type: six bits each (nft's `TYPE_BITS`).
pub(crate) fn concatenation(types: &[Type]) -> u32 {
    types.iter().fold(0, |sum, (_, number, _)| sum << 6 | number)
}

/// The length of a concatenation: each part fills whole registers of four bytes.
pub(crate) fn length(types: &[Type]) -> u32 {
    types.iter().map(|(_, _, length)| length.next_multiple_of(4)).sum()
}

/// A rule.
pub(super) struct Rule {
    pub(super) chain: &'static str,
    pub(super) text: String,
    pub(super) expressions: Vec<Expressions>,
}

/// A rule in the making: each condition adds its words and its expressions.
struct Draft(Rule);

const NFPROTO_IPV4: u8 = 2;
const NFPROTO_IPV6: u8 = 10;
const NF_DROP: u32 = 0;
const IPS_DST_NAT: u32 = 1 << 5;

/// Where a header's address is.
#[derive(Clone, Copy)]
enum Side {
    Source,
    Destination,
}

fn rule(chain: &'static str) -> Draft {
    Draft(Rule { chain, text: String::new(), expressions: Vec::new() })
}

impl Draft {
    fn add(mut self, text: &str, expressions: impl IntoIterator<Item = Expressions>) -> Draft {
        if !self.0.text.is_empty() && !text.is_empty() {
            self.0.text.push(' ');
        }
        self.0.text += text;
        self.0.expressions.extend(expressions);
        self
    }

    fn end(self, text: &str, last: Expressions) -> Rule {
        self.add(text, [last]).0
    }

    fn arrives_by(self, interface: &str) -> Draft {
        let by = [ex::meta(MetaKey::Iifname, Register::Reg1), ex::equals(ex::interface_name(interface))];
        self.add(&format!("iifname \"{interface}\""), by)
    }

    fn leaves_by(self, interface: &str) -> Draft {
        let by = [ex::meta(MetaKey::Oifname, Register::Reg1), ex::equals(ex::interface_name(interface))];
        self.add(&format!("oifname \"{interface}\""), by)
    }

    fn leaves_not_by(self, interface: &str) -> Draft {
        let by = [ex::meta(MetaKey::Oifname, Register::Reg1), ex::differs(ex::interface_name(interface))];
        self.add(&format!("oifname != \"{interface}\""), by)
    }

    /// The first condition on an address of a family must be this one.
    fn of_family(self, subnet: Subnet) -> Draft {
        let number = if subnet.network().is_ipv4() { NFPROTO_IPV4 } else { NFPROTO_IPV6 };
        self.add("", [ex::meta(MetaKey::Nfproto, Register::Reg1), ex::equals(vec![number])])
    }

    fn within(self, side: Side, subnet: Subnet) -> Draft {
        let (text, mut expressions) = address_in(side, subnet);
        expressions.push(ex::equals(octets(subnet.network())));
        self.add(&format!("{text} {}", short(subnet)), expressions)
    }

    fn outside(self, side: Side, subnet: Subnet) -> Draft {
        let (text, mut expressions) = address_in(side, subnet);
        expressions.push(ex::differs(octets(subnet.network())));
        self.add(&format!("{text} != {}", short(subnet)), expressions)
    }

    fn for_the_host(self) -> Draft {
        let local = [ex::destination_type(), ex::equals(ex::LOCAL.to_ne_bytes().to_vec())];
        self.add("fib daddr type local", local)
    }

    fn has_a_new_destination(self) -> Draft {
        let status =
            [ex::connection_status(), ex::keep(IPS_DST_NAT.to_ne_bytes().to_vec()), ex::differs(vec![0; 4])];
        self.add("ct status dnat", status)
    }

    fn masquerade(self) -> Rule {
        self.end("masquerade", ex::masquerade())
    }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// Without the prefix where it is the whole address, as `nft` prints it.
fn short(subnet: Subnet) -> String {
    let whole = if subnet.network().is_ipv4() { 32 } else { 128 };
    if subnet.prefix() == whole { subnet.network().to_string() } else { subnet.to_string() }
}

/// Loads an address and keeps the bits that a subnet is told by.
fn address_in(side: Side, subnet: Subnet) -> (String, Vec<Expressions>) {
    let is_ipv4 = subnet.network().is_ipv4();
    let (header, length) = if is_ipv4 { ("ip", 4) } else { ("ip6", 16) };
    let (word, offset) = match (side, is_ipv4) {
        (Side::Source, true) => ("saddr", 12),
        (Side::Destination, true) => ("daddr", 16),
        (Side::Source, false) => ("saddr", 8),
        (Side::Destination, false) => ("daddr", 24),
    };
    let mut expressions = vec![ex::payload(Base::Network, offset, length, Register::Reg1)];
    if u32::from(subnet.prefix()) < length * 8 {
        let mut mask = vec![0u8; length as usize];
        for bit in 0..usize::from(subnet.prefix()) {
            mask[bit / 8] |= 0x80 >> (bit % 8);
        }
        expressions.push(ex::keep(mask));
    }
    (format!("{header} {word}"), expressions)
}

/// Go on only if the destination address lies in a subnet.
pub(crate) fn destination_within(subnet: Subnet) -> Vec<Expressions> {
    let (_, mut expressions) = address_in(Side::Destination, subnet);
    expressions.push(ex::equals(octets(subnet.network())));
    expressions
}

fn subnet(address: impl Into<IpAddr>, prefix: u8) -> Option<Subnet> {
    Subnet::new(address.into(), prefix).ok()
}

/// The multicast addresses of a subnet's family.
fn multicast(pods: Subnet) -> Option<Subnet> {
    if pods.network().is_ipv4() {
        subnet([224, 0, 0, 0], 4)
    } else {
        subnet([0xff00, 0, 0, 0, 0, 0, 0, 0], 8)
    }
}

/// All rules of a network.
pub(super) fn rules(config: &NetworkConfig) -> Vec<Rule> {
    let bridge = config.bridge.as_str();
    let jump = |chain| {
        let jump = ex::verdict(Verdict::Jump, Some(HOST_PORTS));
        rule(chain).for_the_host().end(&format!("jump {HOST_PORTS}"), jump)
    };
    let mut rules = vec![jump(ARRIVING)];
    // The kernel routes no packet from a real interface to ::1, so answers to it could never come back.
    if let Some(loopback) = subnet(std::net::Ipv6Addr::LOCALHOST, 128) {
        let spared = rule(FROM_HOST).of_family(loopback).within(Side::Destination, loopback);
        rules.push(spared.end("return", ex::verdict(Verdict::Return, None)));
    }
    rules.push(jump(FROM_HOST));
    rules.extend(MAPS.iter().copied().map(translate));
    rules.push(rule(LEAVING).leaves_by("lo").end("return", ex::verdict(Verdict::Return, None)));
    for pods in config.subnets() {
        let to_pods = || rule(LEAVING).leaves_by(bridge).of_family(pods);
        if pods.network().is_ipv4()
            && let Some(loopback) = subnet([127, 0, 0, 0], 8)
        {
            let drop = ex::verdict(Verdict::Other(NF_DROP), None);
            let forged = rule(GUARD).arrives_by(bridge).of_family(loopback);
            rules.push(forged.within(Side::Destination, loopback).end("drop", drop));
            rules.push(to_pods().within(Side::Source, loopback).masquerade());
        }
        rules.push(to_pods().within(Side::Source, pods).has_a_new_destination().masquerade());
        if config.masquerade == Masquerade::Egress
            && let Some(multicast) = multicast(pods)
        {
            let outward = rule(LEAVING).leaves_not_by(bridge).of_family(pods).within(Side::Source, pods);
            let own = outward.outside(Side::Destination, config.space_of(pods));
            let same = |other: &&Subnet| other.network().is_ipv4() == pods.network().is_ipv4();
            let beside = config.beside.iter().filter(same);
            let outward = beside.fold(own, |draft, other| draft.outside(Side::Destination, *other));
            rules.push(outward.outside(Side::Destination, multicast).masquerade());
        }
    }
    rules
}

/// The rule that looks a packet's destination up in a map and sends it where the map says.
fn translate(map: &Map) -> Rule {
    const REGISTERS: [Register; 6] = [
        Register::Reg32_00,
        Register::Reg32_01,
        Register::Reg32_02,
        Register::Reg32_03,
        Register::Reg32_04,
        Register::Reg32_05,
    ];
    let (family, word, number, daddr) = if map.value[0] == IPV4 {
        (NFPROTO_IPV4, "ip", "ipv4", 16)
    } else {
        (NFPROTO_IPV6, "ip6", "ipv6", 24)
    };
    let address_words = map.value[0].2 as usize / 4;
    let by_address = map.key.len() == 3;
    let first = if by_address { address_words } else { 0 };
    let mut expressions = vec![ex::meta(MetaKey::Nfproto, Register::Reg1), ex::equals(vec![family])];
    let mut key = format!("meta l4proto . th dport map @{}", map.name);
    if by_address {
        expressions.push(ex::payload(Base::Network, daddr, map.key[0].2, Register::Reg1));
        key = format!("{word} daddr . {key}");
    }
    expressions.push(ex::meta(MetaKey::L4Proto, REGISTERS[first]));
    expressions.push(ex::payload(Base::Transport, 2, 2, REGISTERS[first + 1]));
    expressions.push(ex::look_up(map.name));
    expressions.push(ex::dnat(family, REGISTERS[address_words]));
    Rule { chain: HOST_PORTS, text: format!("meta nfproto {number} dnat {word} to {key}"), expressions }
}
