//! The table's chains, maps and rules. None of them belongs to one virtual address: those are elements.
//!
//! The registers that rules use, in words of four bytes, `W` to an address:
//!
//! ```text
//!  0        W            2W         2W+1    2W+2                     3W+2
//!  client   front        protocol   port    index, then backend      its port
//!  ────────── kept: whose, what ─────────
//!           ────── backends: what, which ────────
//!           ────── live: what, where ─────────────────────────────────────────
//! ```

use std::net::IpAddr;
use std::time::Duration;

use netlink_packet_netfilter::nftables::{
    ChainAttribute, ChainMessage, Expressions, InetHookNumber, MetaKey, NfTablesMessage, Register,
    RuleAttribute, RuleMessage, SetAttribute, SetFlags, SetMessage, Verdict,
};

use crate::config::Subnet;
use crate::nft::expression::{self as ex, Base};
use crate::nft::rules::{
    Chain, IPV4, IPV6, MARK, PORT, PROTOCOL, Type, concatenation, destination_within, hooked, length,
};

/// Where the table is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// In a namespace that has clients only.
    Inside,
    /// In the one that packets from outside come through.
    Host,
}

/// A family of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Family {
    V4 = 0,
    V6 = 1,
}

impl Family {
    pub(super) fn of(address: IpAddr) -> Family {
        if address.is_ipv4() { Family::V4 } else { Family::V6 }
    }

    /// `NFPROTO_…`
    fn number(self) -> u8 {
        match self {
            Family::V4 => 2,
            Family::V6 => 10,
        }
    }

    /// An address in words of four bytes.
    fn words(self) -> usize {
        match self {
            Family::V4 => 1,
            Family::V6 => 4,
        }
    }

    /// Where a header has its source and its destination address, in bytes.
    fn offsets(self) -> (u32, u32) {
        match self {
            Family::V4 => (12, 16),
            Family::V6 => (8, 24),
        }
    }
}

const LOOK: &str = "look";
const LOOK_HOST: &str = "look_host";
const REFUSE: &str = "refuse";
const REFUSE_FORWARDED: &str = "refuse_forwarded";

/// How many virtual addresses there are does not change what the chains look like. Priorities as in [`crate::nft`]; what is
/// refused is so when everybody had his chance to lead it somewhere.
const INSIDE: &[Chain] = &[
    hooked(LOOK, "nat", (InetHookNumber::LocalOut, "output"), -100),
    hooked(REFUSE, "filter", (InetHookNumber::LocalOut, "output"), 0),
];
const HOST: &[Chain] = &[
    hooked(LOOK, "nat", (InetHookNumber::PreRouting, "prerouting"), -100),
    hooked(LOOK_HOST, "nat", (InetHookNumber::LocalOut, "output"), -100),
    hooked(REFUSE, "filter", (InetHookNumber::LocalOut, "output"), 0),
    hooked(REFUSE_FORWARDED, "filter", (InetHookNumber::Forward, "forward"), 0),
];

pub(super) fn base_chains(place: Place) -> &'static [Chain] {
    match place {
        Place::Inside => INSIDE,
        Place::Host => HOST,
    }
}

/// By family: which chain a virtual address leads to.
pub(super) const FRONTS: [&str; 2] = ["fronts4", "fronts6"];
/// The same of the host's ports.
pub(super) const PORTS: [&str; 2] = ["ports4", "ports6"];
/// Which backend a side of the die is.
pub(super) const BACKENDS: [&str; 2] = ["backends4", "backends6"];
/// Which backends there are, for clients that stay with theirs.
pub(super) const LIVE: [&str; 2] = ["live4", "live6"];
/// Which backend a client stays with: written by the kernel.
const KEPT: [&str; 2] = ["kept4", "kept6"];

/// What remembers clients has room for so many.
const MOST_KEPT: u32 = 65_536;

/// What a set holds.
enum Holds {
    Chains,
    Values(&'static [Type]),
    Nothing,
    /// Values that the kernel writes, for a time.
    Kept(&'static [Type]),
}

/// A set or map of the table.
pub(super) struct Map {
    pub(super) name: &'static str,
    pub(super) key: &'static [Type],
    holds: Holds,
}

const fn map(name: &'static str, key: &'static [Type], holds: Holds) -> Map {
    Map { name, key, holds }
}

pub(super) static MAPS: [Map; 10] = [
    map(FRONTS[0], &[IPV4, PROTOCOL, PORT], Holds::Chains),
    map(FRONTS[1], &[IPV6, PROTOCOL, PORT], Holds::Chains),
    map(PORTS[0], &[PROTOCOL, PORT], Holds::Chains),
    map(PORTS[1], &[PROTOCOL, PORT], Holds::Chains),
    map(BACKENDS[0], &[IPV4, PROTOCOL, PORT, MARK], Holds::Values(&[IPV4, PORT])),
    map(BACKENDS[1], &[IPV6, PROTOCOL, PORT, MARK], Holds::Values(&[IPV6, PORT])),
    map(LIVE[0], &[IPV4, PROTOCOL, PORT, IPV4, PORT], Holds::Nothing),
    map(LIVE[1], &[IPV6, PROTOCOL, PORT, IPV6, PORT], Holds::Nothing),
    map(KEPT[0], &[IPV4, IPV4, PROTOCOL, PORT], Holds::Kept(&[IPV4, PORT])),
    map(KEPT[1], &[IPV6, IPV6, PROTOCOL, PORT], Holds::Kept(&[IPV6, PORT])),
];

impl Map {
    /// What its values are made of, if they are no chains.
    pub(super) fn values(&self) -> &'static [Type] {
        match self.holds {
            Holds::Values(types) | Holds::Kept(types) => types,
            Holds::Chains | Holds::Nothing => &[],
        }
    }

    /// As nft takes it, behind `add`.
    pub(super) fn text(&self, table: &str) -> String {
        let names = |types: &[Type]| types.iter().map(|kind| kind.0).collect::<Vec<_>>().join(" . ");
        let (what, kind) = match self.holds {
            Holds::Chains => ("map", format!("{} : verdict", names(self.key))),
            Holds::Values(value) => ("map", format!("{} : {}", names(self.key), names(value))),
            Holds::Nothing => ("set", names(self.key)),
            Holds::Kept(value) => {
                let kinds = format!("{} : {}", names(self.key), names(value));
                ("map", format!("{kinds}; size {MOST_KEPT}; flags dynamic,timeout"))
            }
        };
        format!("{what} inet {table} {} '{{ type {kind}; }}'", self.name)
    }

    pub(super) fn message(&self, table: &str, id: u32) -> NfTablesMessage {
        /// `NFT_DATA_VERDICT`
        const VERDICT: u32 = 0xffff_ff00;
        let flags = match self.holds {
            Holds::Chains | Holds::Values(_) => SetFlags::Map,
            Holds::Nothing => SetFlags::empty(),
            Holds::Kept(_) => SetFlags::Map | SetFlags::Timeout | SetFlags::Eval,
        };
        let mut attributes = vec![
            SetAttribute::Table(table.to_owned()),
            SetAttribute::Name(self.name.to_owned()),
            SetAttribute::Flags(flags),
            SetAttribute::KeyType(concatenation(self.key)),
            SetAttribute::KeyLen(length(self.key)),
            SetAttribute::Id(id),
        ];
        match self.holds {
            Holds::Chains => attributes.extend([SetAttribute::DataType(VERDICT), SetAttribute::DataLen(16)]),
            Holds::Values(types) | Holds::Kept(types) => attributes
                .extend([SetAttribute::DataType(concatenation(types)), SetAttribute::DataLen(length(types))]),
            Holds::Nothing => {}
        }
        if matches!(self.holds, Holds::Kept(_)) {
            attributes.push(ex::set_size(MOST_KEPT));
        }
        NfTablesMessage::NewSet(SetMessage { attributes })
    }
}

/// A rule.
pub(super) struct Rule {
    pub(super) chain: String,
    pub(super) expressions: Vec<Expressions>,
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subject {
    /// A virtual address.
    Address,
    /// A port of the host, whichever of its addresses was meant.
    Port,
}

/// A chain that chooses among so many backends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Die {
    pub(super) subject: Subject,
    pub(super) family: Family,
    pub(super) sides: u32,
    pub(super) affinity: Option<Duration>,
}

impl Die {
    pub(super) fn name(&self) -> String {
        let subject = match self.subject {
            Subject::Address => "ip",
            Subject::Port => "port",
        };
        let family = if self.family == Family::V4 { 4 } else { 6 };
        match self.affinity {
            None => format!("{subject}{family}_one_of_{}", self.sides),
            Some(time) => format!("{subject}{family}_same_of_{}_for_{}s", self.sides, time.as_secs()),
        }
    }

    pub(super) fn rules(&self) -> Vec<Rule> {
        let (words, at) = (self.family.words(), self.family as usize);
        let (index, port) = (register(2 * words + 2), register(3 * words + 2));
        let dnat = || ex::dnat_from(self.family.number(), index, port);
        let rule = |expressions| Rule { chain: self.name(), expressions };
        let keep = |time: Duration| ex::remember(KEPT[at], (register(0), index), time);
        let roll = [ex::random(self.sides, index), ex::look_up_in(BACKENDS[at], (register(words), index))];
        let Some(time) = self.affinity else {
            // Known already; said for those who read it.
            return vec![rule([of_family(self.family), self.load(), roll.to_vec(), vec![dnat()]].concat())];
        };
        let source = ex::payload(Base::Network, self.family.offsets().0, 4 * words as u32, register(0));
        let client = [of_family(self.family), vec![source]].concat();
        // One that was sent somewhere before goes there again, if that is still there.
        let again = vec![
            ex::look_up_in(KEPT[at], (register(0), index)),
            ex::is_in(LIVE[at], register(words)),
            keep(time),
            dnat(),
        ];
        // What is remembered of one that is gone would otherwise stay.
        let gone = ex::forget(KEPT[at], (register(0), index));
        let anew = [roll.to_vec(), vec![gone, keep(time), dnat()]].concat();
        vec![rule([client.clone(), self.load(), again].concat()), rule([client, self.load(), anew].concat())]
    }

    /// What the connection is for.
    fn load(&self) -> Vec<Expressions> {
        let words = self.family.words();
        let address = match self.subject {
            Subject::Address => destination(self.family),
            Subject::Port => ex::constant(vec![0; 4 * words], register(words)),
        };
        [vec![address], protocol_and_port(self.family)].concat()
    }
}

fn register(word: usize) -> Register {
    /// `NFT_REG32_00`
    const FIRST: u32 = 8;
    Register::from(FIRST + word as u32)
}

fn destination(family: Family) -> Expressions {
    let words = family.words();
    ex::payload(Base::Network, family.offsets().1, 4 * words as u32, register(words))
}

fn protocol_and_port(family: Family) -> Vec<Expressions> {
    let words = family.words();
    vec![
        ex::meta(MetaKey::L4Proto, register(2 * words)),
        ex::payload(Base::Transport, 2, 2, register(2 * words + 1)),
    ]
}

fn of_family(family: Family) -> Vec<Expressions> {
    vec![ex::meta(MetaKey::Nfproto, Register::Reg1), ex::equals(vec![family.number()])]
}

/// The rules that do not depend on what the table leads to.
pub(super) fn base_rules(place: Place, ranges: &[Subnet]) -> Vec<Rule> {
    let mut rules = Vec::new();
    let looking: &[&str] = if place == Place::Host { &[LOOK, LOOK_HOST] } else { &[LOOK] };
    for chain in looking {
        for family in [Family::V4, Family::V6] {
            rules.push(look(chain, family));
        }
        if place == Place::Host {
            for family in [Family::V4, Family::V6] {
                rules.extend(look_for_port(chain, family));
            }
        }
    }
    let refusing: &[&str] = if place == Place::Host { &[REFUSE, REFUSE_FORWARDED] } else { &[REFUSE] };
    for chain in refusing {
        let rule = |expressions| Rule { chain: (*chain).to_owned(), expressions };
        if *chain == REFUSE {
            // Addresses that this namespace has itself, such as that of its name server.
            let to_itself =
                [ex::meta(MetaKey::Oifname, Register::Reg1), ex::equals(ex::interface_name("lo"))];
            rules.push(rule([to_itself.to_vec(), vec![ex::verdict(Verdict::Return, None)]].concat()));
        }
        for range in ranges {
            let matched = destination_within(*range);
            rules.push(rule([of_family(Family::of(range.network())), matched, vec![ex::refuse()]].concat()));
        }
    }
    rules
}

/// Where a virtual address leads.
fn look(chain: &str, family: Family) -> Rule {
    let words = family.words();
    let goto = ex::look_up_in(FRONTS[family as usize], (register(words), Register::Verdict));
    let expressions =
        [of_family(family), vec![destination(family)], protocol_and_port(family), vec![goto]].concat();
    Rule { chain: chain.to_owned(), expressions }
}

/// Where a port of one of the host's addresses leads. The kernel routes no answer to ::1, so nothing is led away from there.
fn look_for_port(chain: &str, family: Family) -> Vec<Rule> {
    let words = family.words();
    let mut rules = Vec::new();
    if family == Family::V6
        && chain == LOOK_HOST
        && let Ok(loopback) = Subnet::new(std::net::Ipv6Addr::LOCALHOST.into(), 128)
    {
        let spared = [of_family(family), destination_within(loopback)].concat();
        let expressions = [spared, vec![ex::verdict(Verdict::Return, None)]].concat();
        rules.push(Rule { chain: chain.to_owned(), expressions });
    }
    let goto = ex::look_up_in(PORTS[family as usize], (register(2 * words), Register::Verdict));
    let local = vec![ex::destination_type(), ex::equals(ex::LOCAL.to_ne_bytes().to_vec())];
    let expressions = [of_family(family), local, protocol_and_port(family), vec![goto]].concat();
    rules.push(Rule { chain: chain.to_owned(), expressions });
    rules
}

/// A chain that elements lead to.
pub(super) fn chain(table: &str, name: &str) -> NfTablesMessage {
    let attributes = vec![ChainAttribute::Table(table.to_owned()), ChainAttribute::Name(name.to_owned())];
    NfTablesMessage::NewChain(ChainMessage { attributes })
}

/// Takes all rules out of a chain.
pub(super) fn empty_chain(table: &str, name: &str) -> NfTablesMessage {
    let attributes = vec![RuleAttribute::Table(table.to_owned()), RuleAttribute::Chain(name.to_owned())];
    NfTablesMessage::DeleteRule(RuleMessage { attributes })
}
