//! Address translation: one nftables table for the network, made once, and map elements for the host ports.
//!
//! The rules never change while pods come and go. A mapped port is an element of a map, which the kernel
//! adds in microseconds; a pod without ports touches nothing here. Nothing is translated between pods or
//! between the host and a pod's own address. What is:
//!
//! - `leaving`: a packet from a pod to an address outside the flat space gets the host's address.
//! - `host_ports`, for what arrives from outside (`arriving`) and from the host itself (`from_host`): a
//!   packet to one of the host's addresses and a mapped port goes to the pod. It keeps its source, except
//!   where the answer would not come back this way: from a pod (the answer would go straight over the
//!   bridge, untranslated) and from the host's loopback address (which no answer can be sent to).
//! - `guard`: the host accepts answers for 127.0.0.1 from the bridge for the sake of the latter, so whatever
//!   a pod sends to 127.0.0.0/8 is dropped before (CVE-2020-8558).
//!
//! Nothing else of anybody's tables is touched, save for what [`crate::firewall`] puts in the chains of some.

pub(crate) mod expression;
pub(crate) mod rules;

use std::net::IpAddr;

use netlink_packet_core::{Emitable, NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_netfilter::nftables::{
    ChainAttribute, ChainMessage, DataAttribute, Hook, HookNumber, ListAttribute, NfTablesMessage,
    RuleAttribute, RuleMessage, SetAttribute, SetElementAttribute, SetElementList, SetElementMessage,
    SetFlags, SetMessage, TableAttribute, TableMessage,
};
use netlink_packet_netfilter::none::ControlMessage;
use netlink_packet_netfilter::{NetfilterHeader, NetfilterMessage, NetfilterProtoFamily};
use netlink_sys::protocols::NETLINK_NETFILTER;
use nix::errno::Errno;

use crate::config::{NetworkConfig, PortMapping, Protocol};
use crate::conntrack;
use crate::error::NetError;
use crate::firewall;
use crate::netlink::{KernelError, Netlink};
use crate::ports::Hold;
use rules::{Chain, Map};

/// Whether the table could be made.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Made {
    Yes,
    /// This kernel cannot.
    Unsupported,
}

/// Batches of changes are addressed to the nf_tables subsystem by its number.
const NFNL_SUBSYS_NFTABLES: u16 = 10;

/// Changes that the kernel makes all at once or not at all.
pub(crate) struct Transaction<'a> {
    netlink: &'a mut Netlink,
    family: NetfilterProtoFamily,
}

impl Transaction<'_> {
    pub(crate) fn begin(netlink: &mut Netlink) -> Transaction<'_> {
        Transaction::begin_in(netlink, NetfilterProtoFamily::Inet)
    }

    /// For tables of another family.
    pub(crate) fn begin_in(netlink: &mut Netlink, family: NetfilterProtoFamily) -> Transaction<'_> {
        // Kernels before 6.10 never acknowledge the brackets.
        netlink.push_unacknowledged(bracket(ControlMessage::BatchBegin), 0);
        Transaction { netlink, family }
    }

    pub(crate) fn push(&mut self, message: NfTablesMessage, flags: u16) {
        let header = NetfilterHeader::new(self.family, 0, 0);
        self.netlink.push(NetfilterMessage::new(header, message), flags);
    }

    pub(crate) fn commit(self) -> Result<(), KernelError> {
        self.netlink.push_unacknowledged(bracket(ControlMessage::BatchEnd), 0);
        self.netlink.commit()
    }
}

fn bracket(message: ControlMessage) -> NetfilterMessage {
    let header = NetfilterHeader::new(NetfilterProtoFamily::Unspec, 0, NFNL_SUBSYS_NFTABLES);
    NetfilterMessage::new(header, message)
}

/// Makes the table, in place of one that is there, with the elements of all held ports.
pub(crate) fn make(config: &NetworkConfig, holds: &[Hold]) -> Result<Made, NetError> {
    let failed =
        |source| NetError::Kernel { step: "make the table of address translation".to_owned(), source };
    match try_make(config, holds) {
        Ok(()) => Ok(Made::Yes),
        // No such netlink protocol, no such subsystem, no such chain type.
        Err(error)
            if [Errno::EPROTONOSUPPORT, Errno::EOPNOTSUPP, Errno::ENOENT, Errno::EINVAL]
                .iter()
                .any(|errno| error.is(*errno)) =>
        {
            Ok(Made::Unsupported)
        }
        Err(error) => Err(failed(error)),
    }
}

/// Whether the table is there with all its rules. Elements are not looked at.
pub(crate) fn is_whole(netlink: &mut Netlink, config: &NetworkConfig) -> Result<bool, KernelError> {
    let found = firewall::rules_by_chain(netlink, &config.table())?;
    let wanted = rules::rules(config);
    let wanted_in = |chain: &str| wanted.iter().filter(|rule| rule.chain == chain).count();
    Ok(rules::CHAINS.iter().all(|chain| found.get(chain.name).copied().unwrap_or(0) == wanted_in(chain.name)))
}

fn try_make(config: &NetworkConfig, holds: &[Hold]) -> Result<(), KernelError> {
    let mut netlink = Netlink::open(NETLINK_NETFILTER)?;
    match send_table(&mut netlink, config, holds, Existing::IsAnError) {
        Err(error) if error.is(Errno::EEXIST) => send_table(&mut netlink, config, holds, Existing::GoesFirst),
        result => result,
    }
}

/// What becomes of a table that is there. Deleting anything makes the kernel wait for a grace period, some
/// 10 ms: only if need be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Existing {
    IsAnError,
    GoesFirst,
}

fn send_table(
    netlink: &mut Netlink,
    config: &NetworkConfig,
    holds: &[Hold],
    existing: Existing,
) -> Result<(), KernelError> {
    let table = config.table();
    let mut transaction = Transaction::begin(netlink);
    let name = || TableMessage { attributes: vec![TableAttribute::Name(table.clone())] };
    if existing == Existing::GoesFirst {
        // Made first, so that deleting it cannot fail.
        transaction.push(NfTablesMessage::NewTable(name()), NLM_F_CREATE);
        transaction.push(NfTablesMessage::DeleteTable(name()), 0);
    }
    transaction.push(NfTablesMessage::NewTable(name()), NLM_F_CREATE | NLM_F_EXCL);
    for chain in rules::CHAINS {
        transaction.push(new_chain(&table, chain), NLM_F_CREATE);
    }
    for (id, map) in (1..).zip(rules::MAPS) {
        transaction.push(new_map(&table, map, id), NLM_F_CREATE);
    }
    for rule in rules::rules(config) {
        let attributes = vec![
            RuleAttribute::Table(table.clone()),
            RuleAttribute::Chain(rule.chain.to_owned()),
            RuleAttribute::Expressions(rule.expressions.into_iter().map(Into::into).collect()),
        ];
        transaction.push(NfTablesMessage::NewRule(RuleMessage { attributes }), NLM_F_CREATE | NLM_F_APPEND);
    }
    for hold in holds {
        for element in elements(&hold.mapping, &hold.addresses) {
            transaction.push(NfTablesMessage::NewSetElement(element.message(&table)), NLM_F_CREATE);
        }
    }
    transaction.commit()
}

pub(crate) fn new_chain(table: &str, chain: &Chain) -> NfTablesMessage {
    let mut attributes =
        vec![ChainAttribute::Table(table.to_owned()), ChainAttribute::Name(chain.name.to_owned())];
    if let Some(hook) = &chain.hook {
        attributes.push(ChainAttribute::Hook(vec![
            Hook::Number(HookNumber::Inet(hook.number)),
            Hook::Priority(hook.priority.cast_unsigned()),
        ]));
        attributes.push(ChainAttribute::Type(hook.kind.to_owned()));
    }
    NfTablesMessage::NewChain(ChainMessage { attributes })
}

fn new_map(table: &str, map: &Map, id: u32) -> NfTablesMessage {
    let attributes = vec![
        SetAttribute::Table(table.to_owned()),
        SetAttribute::Name(map.name.to_owned()),
        SetAttribute::Flags(SetFlags::Map),
        SetAttribute::KeyType(rules::concatenation(map.key)),
        SetAttribute::KeyLen(rules::length(map.key)),
        SetAttribute::DataType(rules::concatenation(map.value)),
        SetAttribute::DataLen(rules::length(map.value)),
        SetAttribute::Id(id),
    ];
    NfTablesMessage::NewSet(SetMessage { attributes })
}

/// Deletes the table if it is there.
pub(crate) fn remove(config: &NetworkConfig) -> Result<(), NetError> {
    let failed =
        |source| NetError::Kernel { step: format!("delete the nftables table {}", config.table()), source };
    let mut netlink = match Netlink::open(NETLINK_NETFILTER).map_err(KernelError::from) {
        Err(error) if is_absent(&error) => return Ok(()),
        opened => opened.map_err(failed)?,
    };
    let mut transaction = Transaction::begin(&mut netlink);
    let attributes = vec![TableAttribute::Name(config.table())];
    transaction.push(NfTablesMessage::DeleteTable(TableMessage { attributes }), 0);
    let result = transaction.commit();
    netlink.close_later();
    match result {
        Err(source) if !is_absent(&source) && !was_never_made(config, &source) => Err(failed(source)),
        _ => Ok(()),
    }
}

fn is_absent(error: &KernelError) -> bool {
    [Errno::ENOENT, Errno::EPROTONOSUPPORT, Errno::EOPNOTSUPP, Errno::EINVAL].iter().any(|e| error.is(*e))
}

/// Whoever may not look whether there is a table is told nothing else than that. If it was never made, because
/// whoever tried had no right to either, nothing is wrong.
fn was_never_made(config: &NetworkConfig, error: &KernelError) -> bool {
    error.is(Errno::EPERM) && !crate::bridge::may_translate(config)
}

/// One element of a map: where a packet to a host port goes.
#[derive(Debug, PartialEq, Eq)]
struct Element {
    map: &'static Map,
    key: Vec<u8>,
    value: Vec<u8>,
    text: String,
}

impl Element {
    /// Whether the kernel's answer to a question for the key holds the value too: the key may lead elsewhere.
    fn is_in(&self, found: &NetfilterMessage) -> bool {
        let mut bytes = vec![0; found.buffer_len()];
        found.emit(&mut bytes);
        bytes.windows(self.value.len()).any(|part| part == self.value)
    }

    fn message(&self, table: &str) -> SetElementMessage {
        let pair = vec![
            SetElementAttribute::Key(DataAttribute::Value(self.key.clone())),
            SetElementAttribute::Data(DataAttribute::Value(self.value.clone())),
        ];
        let attributes = vec![
            SetElementList::Table(table.to_owned()),
            SetElementList::Set(self.map.name.to_owned()),
            SetElementList::Elements(vec![ListAttribute::Element(pair)]),
        ];
        SetElementMessage { attributes }
    }
}

/// The elements that lead a host port to a pod: for each of the pod's addresses whose family was asked for.
fn elements(mapping: &PortMapping, addresses: &[IpAddr]) -> Vec<Element> {
    let fits = |address: &&IpAddr| mapping.host_ip.is_none_or(|host| host.is_ipv4() == address.is_ipv4());
    addresses.iter().filter(fits).map(|address| element(mapping, *address)).collect()
}

fn element(mapping: &PortMapping, address: IpAddr) -> Element {
    let specific = mapping.host_ip.filter(|host| !host.is_unspecified());
    let map = rules::map_for(address, specific);
    let mut key = Vec::with_capacity(24);
    let mut text = String::new();
    if let Some(host) = specific {
        push_address(&mut key, host);
        text += &format!("{host} . ");
    }
    // Every part of a concatenation begins at a multiple of four bytes.
    key.extend([mapping.protocol.number(), 0, 0, 0]);
    push_port(&mut key, mapping.host_port);
    let mut value = Vec::with_capacity(20);
    push_address(&mut value, address);
    push_port(&mut value, mapping.container_port);
    text += &format!("{} . {} : {address} . {}", mapping.protocol, mapping.host_port, mapping.container_port);
    Element { map, key, value, text }
}

pub(crate) fn push_address(bytes: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(v4) => bytes.extend(v4.octets()),
        IpAddr::V6(v6) => bytes.extend(v6.octets()),
    }
}

pub(crate) fn push_port(bytes: &mut Vec<u8>, port: u16) {
    bytes.extend(port.to_be_bytes());
    bytes.extend([0, 0]);
}

/// Leads host ports to a pod. If somebody flushed the table, all of it is made again.
pub(crate) fn map_ports(
    config: &NetworkConfig,
    ports: &[PortMapping],
    addresses: &[IpAddr],
) -> Result<(), NetError> {
    let failed = |source| NetError::Kernel { step: "lead the host ports to the pod".to_owned(), source };
    let table = config.table();
    let mut netlink = Netlink::open(NETLINK_NETFILTER).map_err(|error| failed(error.into()))?;
    let mut transaction = Transaction::begin(&mut netlink);
    for element in ports.iter().flat_map(|mapping| elements(mapping, addresses)) {
        transaction.push(NfTablesMessage::NewSetElement(element.message(&table)), NLM_F_CREATE);
    }
    match transaction.commit() {
        Ok(()) => (),
        // The table is gone, or an element is left from a crash and leads elsewhere.
        Err(error) if [Errno::ENOENT, Errno::EEXIST, Errno::EBUSY].iter().any(|e| error.is(*e)) => {
            try_make(config, &crate::ports::all(config)?).map_err(failed)?;
        }
        Err(error) => return Err(failed(error)),
    }
    forget_connections(&mut netlink, ports);
    Ok(())
}

/// Takes the elements of host ports away, where they are.
pub(crate) fn unmap_ports(
    config: &NetworkConfig,
    ports: &[PortMapping],
    addresses: &[IpAddr],
) -> Result<(), NetError> {
    let table = config.table();
    let failed = |source| NetError::Kernel { step: "take the host ports from the pod".to_owned(), source };
    let mut netlink = Netlink::open(NETLINK_NETFILTER).map_err(|error| failed(error.into()))?;
    let mut problem = None;
    // One transaction each: a missing element would undo the others' removal.
    for element in ports.iter().flat_map(|mapping| elements(mapping, addresses)) {
        let mut transaction = Transaction::begin(&mut netlink);
        transaction.push(NfTablesMessage::DeleteSetElement(element.message(&table)), 0);
        let refusal = transaction.commit().err();
        problem = problem.or(refusal.filter(|error| !is_absent(error) && !was_never_made(config, error)));
    }
    forget_connections(&mut netlink, ports);
    netlink.close_later();
    problem.map_or(Ok(()), |source| Err(failed(source)))
}

/// Those host ports that do not lead to the pod, whoever took them away.
pub(crate) fn unmapped(
    config: &NetworkConfig,
    ports: &[PortMapping],
    addresses: &[IpAddr],
) -> Result<Vec<PortMapping>, NetError> {
    if ports.is_empty() {
        return Ok(Vec::new());
    }
    let failed =
        |source| NetError::Kernel { step: "look for the host ports' translation".to_owned(), source };
    let table = config.table();
    let mut netlink = Netlink::open(NETLINK_NETFILTER).map_err(|error| failed(error.into()))?;
    let mut missing = Vec::new();
    for mapping in ports {
        for element in elements(mapping, addresses) {
            let message = NfTablesMessage::GetSetElement(element.message(&table));
            let header = NetfilterHeader::new(NetfilterProtoFamily::Inet, 0, 0);
            match netlink.get(NetfilterMessage::new(header, message)) {
                Ok(found) if element.is_in(&found) => {}
                Ok(_) => missing.push(*mapping),
                Err(error) if is_absent(&error) => missing.push(*mapping),
                Err(error) => return Err(failed(error)),
            }
        }
    }
    missing.dedup();
    Ok(missing)
}

/// A flow of UDP packets is translated as its first packet was, for as long as it lasts. After a change it
/// must be looked at anew.
fn forget_connections(netlink: &mut Netlink, ports: &[PortMapping]) {
    for mapping in ports.iter().filter(|mapping| mapping.protocol == Protocol::Udp) {
        conntrack::forget(netlink, mapping.protocol, mapping.host_port);
    }
}

/// The commands that [`make`] stands for.
pub(crate) fn commands(config: &NetworkConfig) -> String {
    let table = config.table();
    let mut lines = vec![format!("nft add table inet {table}")];
    lines.extend(rules::CHAINS.iter().map(|chain| format!("nft add chain inet {table} {}", chain.text())));
    lines.extend(rules::MAPS.iter().map(|map| format!("nft add map inet {table} {}", map.text())));
    let rules = rules::rules(config);
    lines.extend(rules.iter().map(|r| format!("nft 'add rule inet {table} {} {}'", r.chain, r.text)));
    lines.join("\n")
}

/// The commands that [`map_ports`] stands for.
pub(crate) fn add_commands(config: &NetworkConfig, ports: &[PortMapping], addresses: &[IpAddr]) -> String {
    let table = config.table();
    let elements = ports.iter().flat_map(|mapping| elements(mapping, addresses));
    let lines = elements.map(|e| format!("nft 'add element inet {table} {} {{ {} }}'", e.map.name, e.text));
    lines.collect::<Vec<_>>().join("\n")
}
