//! Which rules a packet meets: nftables' tracing, for one flow, for as long as somebody listens.
//!
//! A packet that is marked (`meta nftrace set 1`) makes the kernel tell of every rule with a verdict that it meets, in
//! whosever table. The rule that marks it lies in a table that belongs to a socket (`NFT_TABLE_F_OWNER`, Linux 5.12): the
//! kernel removes the table when the socket closes, so nothing is left however the listener ends.
//! Source: `linux/netfilter/nf_tables.h` (`NFTA_TRACE_`), the kernel's `nf_tables_trace.c`.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use netlink_packet_core::{NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_netfilter::NetfilterProtoFamily;
use netlink_packet_netfilter::nftables::{
    ChainAttribute, ChainMessage, DataAttribute, Expressions, Hook, HookNumber, Immediate, InetHookNumber,
    Meta, MetaKey, NfTablesMessage, Register, RuleAttribute, RuleMessage, TableAttribute, TableFlags,
    TableMessage,
};
use netlink_sys::protocols::NETLINK_NETFILTER;
use netlink_sys::{Socket, SocketAddr as NetlinkAddress};

use crate::config::Protocol;
use crate::error::NetError;
use crate::look::trace_attributes;
use crate::netlink::{KernelError, Netlink};
use crate::netns;
use crate::nft::{Transaction, expression as ex};

/// The multicast group that traces are told to (`NFNLGRP_NFTRACE`).
const GROUP: u32 = 9;
/// Before connection tracking and everybody's rules.
const FIRST: i32 = -400;
/// The table's name, save for the number of the process.
const TABLE: &str = "podbox-path";

/// Packets of one sender, by address and port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flow {
    /// The protocol.
    pub protocol: Protocol,
    /// The sender's end; the unspecified address stands for all.
    pub source: SocketAddr,
}

/// What a packet met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Met {
    /// The table's family, as nft(8) calls it.
    pub family: &'static str,
    /// The table.
    pub table: String,
    /// The chain.
    pub chain: String,
    /// The rule's handle; none where the chain's policy decided.
    pub rule: Option<u64>,
    /// The rule in nft's words, if it could be read.
    pub text: Option<String>,
    /// `accept`, `drop`, `jump host_ports` …
    pub verdict: String,
    /// Whether the packet ends here.
    pub is_dropped: bool,
    /// Where the packet was going when it came into the chain, if that was told: before this rule has changed it.
    pub destination: Option<IpAddr>,
}

/// Hears which rules the packets of a flow meet in one network namespace.
#[derive(Debug)]
pub struct Tracer {
    events: Socket,
    /// The table ends with it.
    _owner: Netlink,
    look: crate::look::Window,
    texts: HashMap<(u8, String, String, u64), Option<String>>,
    destinations: HashMap<u32, IpAddr>,
}

impl Tracer {
    /// Begins to listen; `None` is the caller's own namespace.
    ///
    /// # Errors
    /// If the namespace is gone, or the kernel has no nf_tables or knows no owners.
    pub fn begin(netns: Option<&Path>, flow: &Flow) -> Result<Tracer, NetError> {
        let failed = |source| NetError::Kernel { step: "trace nftables rules".to_owned(), source };
        let open = || -> io::Result<(Socket, Netlink)> {
            let mut events = Socket::new(NETLINK_NETFILTER)?;
            events.bind(&NetlinkAddress::new(0, 0))?;
            events.add_membership(GROUP)?;
            events.set_non_blocking(true)?;
            Ok((events, Netlink::open(NETLINK_NETFILTER)?))
        };
        let opened = netns::within(netns, open).and_then(|opened| opened);
        let (events, mut owner) = opened.map_err(|error| failed(error.into()))?;
        let look = match netns {
            Some(path) => crate::look::Window::of(path)?,
            None => crate::look::Window::here()?,
        };
        let own = format!("{TABLE}-{}", std::process::id());
        make(&mut owner, NetfilterProtoFamily::Inet, &own, flow).map_err(failed)?;
        // Not every kernel has tables for bridges.
        let _ = make(&mut owner, NetfilterProtoFamily::Bridge, &own, flow);
        let (texts, destinations) = (HashMap::new(), HashMap::new());
        Ok(Tracer { events, _owner: owner, look, texts, destinations })
    }

    /// What was met since the last time, in order.
    pub fn heard(&mut self) -> Vec<Met> {
        let mut found = Vec::new();
        let mut buffer = vec![0; 32 << 10];
        while let Ok(length) = self.events.recv(&mut &mut buffer[..], libc::MSG_DONTWAIT) {
            for event in trace_attributes(&buffer[..length]) {
                // Whoever else traces in this namespace is heard too: a packet's number changes on its way, so what
                // somebody else's packets meet cannot be told apart here, but for the rules that mark them.
                if event.table.starts_with(TABLE) {
                    continue;
                }
                if let Some(destination) = event.destination {
                    self.destinations.insert(event.id, destination);
                }
                found.extend(self.met(event));
            }
        }
        found
    }

    fn met(&mut self, event: crate::look::Traced) -> Option<Met> {
        let text = event.rule.and_then(|handle| {
            let key = (event.family, event.table.clone(), event.chain.clone(), handle);
            let look = &mut self.look;
            let read = || look.rule_text(event.family, &event.table, &event.chain, handle);
            self.texts.entry(key).or_insert_with(read).clone()
        });
        Some(Met {
            family: event.family_name(),
            is_dropped: event.verdict == "drop",
            destination: self.destinations.get(&event.id).copied(),
            table: event.table,
            chain: event.chain,
            rule: event.rule,
            text,
            verdict: event.verdict,
        })
    }
}

/// Makes the table that marks the flow's packets where they come in and where they are born.
fn make(
    owner: &mut Netlink,
    family: NetfilterProtoFamily,
    table: &str,
    flow: &Flow,
) -> Result<(), KernelError> {
    let mut transaction = Transaction::begin_in(owner, family);
    let attributes = vec![TableAttribute::Name(table.to_owned()), TableAttribute::Flags(TableFlags::Owner)];
    transaction.push(NfTablesMessage::NewTable(TableMessage { attributes }), NLM_F_CREATE | NLM_F_EXCL);
    for (chain, hook) in [("arriving", InetHookNumber::PreRouting), ("leaving", InetHookNumber::LocalOut)] {
        let attributes = vec![
            ChainAttribute::Table(table.to_owned()),
            ChainAttribute::Name(chain.to_owned()),
            ChainAttribute::Hook(vec![
                Hook::Number(HookNumber::Inet(hook)),
                Hook::Priority(FIRST.cast_unsigned()),
            ]),
            ChainAttribute::Type("filter".to_owned()),
        ];
        transaction.push(NfTablesMessage::NewChain(ChainMessage { attributes }), NLM_F_CREATE);
        let attributes = vec![
            RuleAttribute::Table(table.to_owned()),
            RuleAttribute::Chain(chain.to_owned()),
            RuleAttribute::Expressions(mark(family, flow).into_iter().map(Into::into).collect()),
        ];
        transaction.push(NfTablesMessage::NewRule(RuleMessage { attributes }), NLM_F_CREATE | NLM_F_APPEND);
    }
    transaction.commit()
}

/// `ip saddr A tcp sport P meta nftrace set 1`
fn mark(family: NetfilterProtoFamily, flow: &Flow) -> Vec<Expressions> {
    const NFPROTO_IPV4: u8 = 2;
    const NFPROTO_IPV6: u8 = 10;
    let (offset, octets, number, ether) = match flow.source.ip() {
        IpAddr::V4(v4) => (12, v4.octets().to_vec(), NFPROTO_IPV4, 0x0800u16),
        IpAddr::V6(v6) => (8, v6.octets().to_vec(), NFPROTO_IPV6, 0x86dd),
    };
    let of_family = if family == NetfilterProtoFamily::Bridge {
        [ex::meta(MetaKey::EtherTypeProtocol, Register::Reg1), ex::equals(ether.to_be_bytes().to_vec())]
    } else {
        [ex::meta(MetaKey::Nfproto, Register::Reg1), ex::equals(vec![number])]
    };
    let length = octets.len() as u32;
    let mut all = of_family.to_vec();
    if !flow.source.ip().is_unspecified() {
        all.extend([ex::payload(ex::Base::Network, offset, length, Register::Reg1), ex::equals(octets)]);
    }
    all.extend([
        ex::meta(MetaKey::L4Proto, Register::Reg1),
        ex::equals(vec![flow.protocol.number()]),
        ex::payload(ex::Base::Transport, 0, 2, Register::Reg1),
        ex::equals(flow.source.port().to_be_bytes().to_vec()),
        Expressions::Immediate(vec![
            Immediate::DestinationRegister(Register::Reg1),
            Immediate::Data(DataAttribute::Value(vec![1])),
        ]),
        Expressions::Meta(vec![Meta::Key(MetaKey::NftraceBit), Meta::SourceRegister(Register::Reg1)]),
    ]);
    all
}
