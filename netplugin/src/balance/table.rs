//! The table's chains, maps and rules. None of them belongs to one virtual address: those are elements.
//!
//! The registers that rules use, in words of four bytes, `W` to an address:
//!
//! ```text
//!  0        W            2W         2W+1    2W+2                     3W+2
//!  client   front        protocol   port    index, then backend      its port
//!  ────────── kept: whose, what ─────────
//!           ── backends, choices: what, which ───
//! ```
//!
//! Rules are such that nft(8) can print them, or its `list ruleset` would end with an assertion on every host where podbox is.
//! In particular it knows no length of what a map says, so that may be where a packet is sent, and nothing else: neither the
//! key of another map nor what is remembered. That is why each backend that clients stay with has a chain of its own.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use netlink_packet_netfilter::nftables::{
    ChainAttribute, ChainMessage, Expressions, InetHookNumber, MetaKey, NfTablesMessage, Register,
    RuleAttribute, RuleMessage, SetAttribute, SetFlags, SetMessage, Verdict,
};

use crate::config::Subnet;
use crate::nft::expression::{self as ex, Base};
use crate::nft::push_address;
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
    pub(super) fn words(self) -> usize {
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
/// The same for clients that stay with theirs: which chain remembers that.
pub(super) const CHOICES: [&str; 2] = ["choices4", "choices6"];
/// Which backend a client stays with: written by the kernel, and by us when a backend goes.
pub(super) const KEPT: [&str; 2] = ["kept4", "kept6"];

/// What remembers clients has room for so many.
const MOST_KEPT: u32 = 65_536;

/// What a map says.
enum Holds {
    Chains,
    Values(&'static [Type]),
    /// Values that the kernel writes, for a time.
    Kept(&'static [Type]),
}

/// A map of the table.
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
    map(CHOICES[0], &[IPV4, PROTOCOL, PORT, MARK], Holds::Chains),
    map(CHOICES[1], &[IPV6, PROTOCOL, PORT, MARK], Holds::Chains),
    map(KEPT[0], &[IPV4, IPV4, PROTOCOL, PORT], Holds::Kept(&[IPV4, PORT])),
    map(KEPT[1], &[IPV6, IPV6, PROTOCOL, PORT], Holds::Kept(&[IPV6, PORT])),
];

impl Map {
    /// What its values are made of, if they are no chains.
    pub(super) fn values(&self) -> &'static [Type] {
        match self.holds {
            Holds::Values(types) | Holds::Kept(types) => types,
            Holds::Chains => &[],
        }
    }

    /// As nft takes it, behind `add`.
    pub(super) fn text(&self, table: &str) -> String {
        let names = |types: &[Type]| types.iter().map(|kind| kind.0).collect::<Vec<_>>().join(" . ");
        let kind = match self.holds {
            Holds::Chains => format!("{} : verdict", names(self.key)),
            Holds::Values(value) => format!("{} : {}", names(self.key), names(value)),
            Holds::Kept(value) => {
                let kinds = format!("{} : {}", names(self.key), names(value));
                format!("{kinds}; size {MOST_KEPT}; flags dynamic,timeout")
            }
        };
        format!("map inet {table} {} '{{ type {kind}; }}'", self.name)
    }

    pub(super) fn message(&self, table: &str, id: u32) -> NfTablesMessage {
        /// `NFT_DATA_VERDICT`
        const VERDICT: u32 = 0xffff_ff00;
        let flags = match self.holds {
            Holds::Chains | Holds::Values(_) => SetFlags::Map,
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

/// A chain that elements lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Inner {
    /// One that chooses.
    Die(Die),
    /// One that remembers what was chosen.
    Keeper(Keeper),
}

impl Inner {
    pub(super) fn name(&self) -> String {
        match self {
            Inner::Die(die) => die.name(),
            Inner::Keeper(keeper) => keeper.name(),
        }
    }

    pub(super) fn rules(&self) -> Vec<Rule> {
        let rule = |expressions| Rule { chain: self.name(), expressions };
        match self {
            Inner::Die(die) => die.rules().into_iter().map(rule).collect(),
            Inner::Keeper(keeper) => vec![rule(keeper.rule())],
        }
    }
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
    fn name(&self) -> String {
        let start = start_of_name(self.subject, self.family);
        match self.affinity {
            None => format!("{start}_one_of_{}", self.sides),
            Some(time) => format!("{start}_same_of_{}_for_{}s", self.sides, time.as_secs()),
        }
    }

    fn rules(&self) -> Vec<Vec<Expressions>> {
        let (family, at) = (self.family, self.family as usize);
        let (words, (index, port)) = (family.words(), place_of_backend(family));
        let load = || load(self.subject, family);
        let roll = ex::random(self.sides, index);
        let Some(time) = self.affinity else {
            let backend = ex::look_up_in(BACKENDS[at], (register(words), index));
            // The family is known already; said for those who read it.
            return vec![[of_family(family), load(), vec![roll, backend, dnat(family)]].concat()];
        };
        // One that was sent somewhere before goes there again. To remember it for longer wants a value, whose place is taken by
        // nobody: it counts only if the time has run out at this very moment.
        let kept = || ex::look_up_in(KEPT[at], (register(0), index));
        let nobody = vec![0; 4 * words];
        let longer = [
            kept(),
            ex::constant(nobody.clone(), index),
            ex::constant(vec![0; 2], port),
            ex::remember(KEPT[at], (register(0), index), time),
        ];
        let again = vec![kept(), ex::differs_in(index, nobody), dnat(family)];
        let choose = ex::look_up_in(CHOICES[at], (register(words), Register::Verdict));
        vec![
            [client(family), load(), longer.to_vec(), again].concat(),
            [of_family(family), load(), vec![roll, choose]].concat(),
        ]
    }
}

/// A chain that leads a client to a backend, and remembers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Keeper {
    pub(super) subject: Subject,
    pub(super) backend: SocketAddr,
    pub(super) time: Duration,
}

impl Keeper {
    fn name(&self) -> String {
        let start = start_of_name(self.subject, Family::of(self.backend.ip()));
        // A name has no colons.
        let address = self.backend.ip().to_string().replace(':', "-");
        format!("{start}_keep_{address}_{}_for_{}s", self.backend.port(), self.time.as_secs())
    }

    fn rule(&self) -> Vec<Expressions> {
        let family = Family::of(self.backend.ip());
        let (kept, (index, port)) = (KEPT[family as usize], place_of_backend(family));
        let mut address = Vec::with_capacity(16);
        push_address(&mut address, self.backend.ip());
        let keep = vec![
            ex::constant(address, index),
            ex::constant(self.backend.port().to_be_bytes().to_vec(), port),
            // What is remembered of one that is gone would otherwise stay.
            ex::forget(kept, (register(0), index)),
            ex::remember(kept, (register(0), index), self.time),
            dnat(family),
        ];
        [client(family), load(self.subject, family), keep].concat()
    }
}

fn start_of_name(subject: Subject, family: Family) -> &'static str {
    match (subject, family) {
        (Subject::Address, Family::V4) => "ip4",
        (Subject::Address, Family::V6) => "ip6",
        (Subject::Port, Family::V4) => "port4",
        (Subject::Port, Family::V6) => "port6",
    }
}

/// Whose connection it is.
fn client(family: Family) -> Vec<Expressions> {
    let source = ex::payload(Base::Network, family.offsets().0, 4 * family.words() as u32, register(0));
    [of_family(family), vec![source]].concat()
}

/// What the connection is for. A port lies under the address of nobody.
fn load(subject: Subject, family: Family) -> Vec<Expressions> {
    let words = family.words();
    let address = match subject {
        Subject::Address => destination(family),
        Subject::Port => ex::constant(vec![0; 4 * words], register(words)),
    };
    [vec![address], protocol_and_port(family)].concat()
}

/// The registers of a backend's address and port; before that, of the number that was rolled.
fn place_of_backend(family: Family) -> (Register, Register) {
    let words = family.words();
    (register(2 * words + 2), register(3 * words + 2))
}

fn dnat(family: Family) -> Expressions {
    let (address, port) = place_of_backend(family);
    ex::dnat_from(family.number(), address, port)
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
    NfTablesMessage::NewChain(of_chain(table, name))
}

/// Deletes a chain with its rules.
pub(super) fn without_chain(table: &str, name: &str) -> NfTablesMessage {
    NfTablesMessage::DeleteChain(of_chain(table, name))
}

fn of_chain(table: &str, name: &str) -> ChainMessage {
    let attributes = vec![ChainAttribute::Table(table.to_owned()), ChainAttribute::Name(name.to_owned())];
    ChainMessage { attributes }
}

/// Takes all rules out of a chain.
pub(super) fn empty_chain(table: &str, name: &str) -> NfTablesMessage {
    let attributes = vec![RuleAttribute::Table(table.to_owned()), RuleAttribute::Chain(name.to_owned())];
    NfTablesMessage::DeleteRule(RuleMessage { attributes })
}
