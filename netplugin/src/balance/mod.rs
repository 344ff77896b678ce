//! Virtual addresses: addresses that no interface has, and that lead to one of several backends.
//!
//! They are translated where a connection begins: in the client's own network namespace, as it leaves. So nothing between
//! two namespaces is ever translated on the wire, answers need no way back through a third, and a server sees the client's
//! own address. One table (`podbox-services`) in each namespace that has clients; on the host it also has the ports that
//! lead there from outside.
//!
//! However many virtual addresses there are, a connection's first packet meets one map that says how many backends
//! there are, a chain that rolls a die with so many sides, and one map that says which backend that is. Later packets meet
//! none of it. A change is a change of elements, in one transaction.

mod describe;
mod elements;
mod kept;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use netlink_packet_core::{NLM_F_APPEND, NLM_F_CREATE};
use netlink_packet_netfilter::nftables::{
    NfTablesMessage, RuleAttribute, RuleMessage, TableAttribute, TableMessage,
};
use netlink_sys::protocols::NETLINK_NETFILTER;
use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use crate::config::{Protocol, Subnet};
use crate::conntrack;
use crate::error::NetError;
use crate::firewall;
use crate::netlink::{KernelError, Netlink};
use crate::netns;
use crate::nft::Transaction;
use elements::Holding;
use table::Place;

/// The table in a namespace that has clients only.
const INSIDE: &str = "podbox-services";

/// The host's table, of the network whose own is called that.
fn table_here(network: &str) -> String {
    format!("{network}-services")
}

/// One virtual address and port, and where it leads.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Front {
    /// The address.
    pub address: IpAddr,
    /// The protocol.
    pub protocol: Protocol,
    /// The port.
    pub port: u16,
    /// How long a client that says nothing more stays with its backend; `None`: every connection goes where chance sends it.
    pub affinity: Option<Duration>,
    /// Of the same family as the address. Without any, connections are refused.
    pub backends: Vec<SocketAddr>,
}

/// A port of all addresses of the host that leads to backends.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NodePort {
    /// The protocol.
    pub protocol: Protocol,
    /// The port.
    pub port: u16,
    /// As [`Front::affinity`].
    pub affinity: Option<Duration>,
    /// Of both families.
    pub backends: Vec<SocketAddr>,
}

/// All that a table holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Balance {
    /// Virtual addresses.
    pub fronts: Vec<Front>,
    /// Ports of the host: only where the host is.
    pub node_ports: Vec<NodePort>,
    /// The ranges that virtual addresses come from. What goes to an address there and leads nowhere is refused.
    pub ranges: Vec<Subnet>,
}

impl Balance {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.fronts.is_empty() && self.node_ports.is_empty()
    }

    /// Whether some clients stay with their backend.
    fn has_affinity(&self) -> bool {
        self.fronts.iter().any(|front| front.affinity.is_some())
            || self.node_ports.iter().any(|port| port.affinity.is_some())
    }
}

/// The way to one namespace's table.
pub struct Balancer {
    netlink: Netlink,
    table: String,
    place: Place,
    /// What the table holds, if that is known.
    held: Option<Balance>,
}

impl Balancer {
    /// For clients in a network namespace of their own, which is this file.
    ///
    /// # Errors
    /// If it cannot be entered, or has no netfilter sockets.
    pub fn inside(netns: &Path) -> Result<Balancer, NetError> {
        let failed = |source| NetError::State { action: "enter", path: netns.to_owned(), source };
        let file: File = netns::open(netns).map_err(failed)?;
        let netlink = netns::inside(&file, || Netlink::open(NETLINK_NETFILTER))
            .and_then(|opened| opened)
            .map_err(failed)?;
        Ok(Balancer { netlink, table: INSIDE.to_owned(), place: Place::Inside, held: None })
    }

    /// For clients in the network namespace of the caller, and whoever comes through it. `held` is what the table holds as
    /// far as the caller knows.
    ///
    /// # Errors
    /// If there are no netfilter sockets.
    pub fn here(table: &str, held: Option<Balance>) -> Result<Balancer, NetError> {
        let failed = |error: std::io::Error| NetError::Kernel {
            step: "open a netfilter socket".to_owned(),
            source: error.into(),
        };
        let netlink = Netlink::open(NETLINK_NETFILTER).map_err(failed)?;
        Ok(Balancer { netlink, table: table_here(table), place: Place::Host, held })
    }

    /// Makes the table hold what is wanted, in one transaction. Without anything wanted there is no table.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn apply(&mut self, wanted: &Balance) -> Result<(), NetError> {
        if self.held.as_ref() == Some(wanted) {
            return Ok(());
        }
        let before = self.held.take();
        let failed =
            |source| NetError::Kernel { step: "lead virtual addresses to their backends".to_owned(), source };
        if wanted.is_empty() {
            self.remove().map_err(failed)?;
        } else {
            let changed = match &before {
                Some(before) if !before.is_empty() && before.ranges == wanted.ranges => {
                    self.change(before, wanted)
                }
                _ => Err(KernelError::from(std::io::Error::from(Errno::ENOENT))),
            };
            match changed {
                Ok(()) => (),
                // There is no such table, or it holds something else: somebody has flushed it, or died half-way.
                Err(error) if [Errno::ENOENT, Errno::EEXIST, Errno::EBUSY].iter().any(|e| error.is(*e)) => {
                    self.make(wanted).map_err(failed)?;
                }
                Err(error) => return Err(failed(error)),
            }
        }
        self.forget_connections(before.as_ref(), wanted);
        if let Some(before) = &before {
            kept::forget_gone(&mut self.netlink, &self.table, before, wanted).map_err(failed)?;
        }
        self.held = Some(wanted.clone());
        Ok(())
    }

    /// Whether the table has the rules that every packet meets, for these ranges. What is flushed takes these along, so neither
    /// chains of single numbers of backends nor elements need be looked at, however many there are.
    ///
    /// # Errors
    /// If the kernel does not tell.
    pub fn is_whole(&mut self, ranges: &[Subnet]) -> Result<bool, NetError> {
        let failed =
            |source| NetError::Kernel { step: "look for the rules of virtual addresses".to_owned(), source };
        let found = firewall::rules_by_chain(&mut self.netlink, &self.table).map_err(failed)?;
        let base = table::base_rules(self.place, ranges);
        let count_in = |chain: &str| base.iter().filter(|rule| rule.chain == chain).count();
        Ok(base.iter().all(|rule| found.get(&rule.chain) == Some(&count_in(&rule.chain))))
    }

    /// Makes the table again if somebody has removed it, or some of the rules that every packet meets. Returns whether there was
    /// anything to do.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn restore(&mut self, wanted: &Balance) -> Result<bool, NetError> {
        if wanted.is_empty() || self.is_whole(&wanted.ranges)? {
            return Ok(false);
        }
        self.held = None;
        self.apply(wanted).map(|()| true)
    }

    /// What its socket is known by.
    pub(crate) fn port(&self) -> std::io::Result<u32> {
        self.netlink.port()
    }

    fn table_message(&self) -> TableMessage {
        TableMessage { attributes: vec![TableAttribute::Name(self.table.clone())] }
    }

    fn remove(&mut self) -> Result<(), KernelError> {
        let message = self.table_message();
        let mut transaction = Transaction::begin(&mut self.netlink);
        transaction.push(NfTablesMessage::DeleteTable(message), 0);
        match transaction.commit() {
            Err(error) if error.is(Errno::ENOENT) => Ok(()),
            result => result,
        }
    }

    /// All of it, in the place of what is there; clients that stay with their backend do so nevertheless.
    fn make(&mut self, wanted: &Balance) -> Result<(), KernelError> {
        let (message, holding) = (self.table_message(), Holding::of(wanted));
        let remembered = match wanted.has_affinity() {
            true => kept::remembered(&mut self.netlink, &self.table, &holding),
            false => Vec::new(),
        };
        let mut transaction = Transaction::begin(&mut self.netlink);
        // Made first, so that deleting it cannot fail.
        transaction.push(NfTablesMessage::NewTable(message.clone()), NLM_F_CREATE);
        transaction.push(NfTablesMessage::DeleteTable(message.clone()), 0);
        transaction.push(NfTablesMessage::NewTable(message), NLM_F_CREATE);
        let inner = holding.chains();
        for chain in table::base_chains(self.place) {
            transaction.push(crate::nft::new_chain(&self.table, chain), NLM_F_CREATE);
        }
        for chain in &inner {
            transaction.push(table::chain(&self.table, &chain.name()), NLM_F_CREATE);
        }
        for (id, map) in (1..).zip(&table::MAPS) {
            transaction.push(map.message(&self.table, id), NLM_F_CREATE);
        }
        let base = table::base_rules(self.place, &wanted.ranges);
        for rule in base.into_iter().chain(inner.iter().flat_map(table::Inner::rules)) {
            add_rule(&mut transaction, &self.table, rule);
        }
        for message in
            elements::messages(&self.table, &holding.elements().all()).into_iter().chain(remembered)
        {
            transaction.push(NfTablesMessage::NewSetElement(message), NLM_F_CREATE);
        }
        transaction.commit()
    }

    /// The difference only.
    fn change(&mut self, before: &Balance, wanted: &Balance) -> Result<(), KernelError> {
        let (old, new) = (Holding::of(before), Holding::of(wanted));
        let (gone, come) = (old.without(&new), new.without(&old));
        let mut transaction = Transaction::begin(&mut self.netlink);
        let (unneeded, needed) = (old.chains(), new.chains());
        for chain in needed.difference(&unneeded) {
            transaction.push(table::chain(&self.table, &chain.name()), NLM_F_CREATE);
            // One that somebody has left is there already.
            transaction.push(table::empty_chain(&self.table, &chain.name()), 0);
            chain.rules().into_iter().for_each(|rule| add_rule(&mut transaction, &self.table, rule));
        }
        let (gone, come) = (gone.elements(), come.elements());
        let (gone, come) = (gone.without(&come), come.without(&gone));
        let without_values: Vec<_> = gone.into_iter().map(|(key, _)| (key, None)).collect();
        for message in elements::messages(&self.table, &without_values) {
            transaction.push(NfTablesMessage::DeleteSetElement(message), 0);
        }
        for message in elements::messages(&self.table, &come) {
            transaction.push(NfTablesMessage::NewSetElement(message), NLM_F_CREATE);
        }
        // Nothing leads there any more.
        for chain in unneeded.difference(&needed) {
            transaction.push(table::without_chain(&self.table, &chain.name()), 0);
        }
        transaction.commit()
    }

    /// A flow of UDP packets that began while there was no table is tracked as not translated, for as long as it lasts: its next
    /// packet is looked at anew, as is that of every other flow to such an address or port. For whoever has made a table again
    /// that somebody had removed. Of TCP nothing need be forgotten: a connection waits for its first packet, which ends.
    pub fn forget_untranslated(&mut self, balance: &Balance) {
        for front in udp_backends(balance).into_keys() {
            conntrack::forget_front(&mut self.netlink, Protocol::Udp, front, None);
        }
    }

    /// A flow of UDP packets goes where its first packet went, for as long as it lasts. It must be looked at anew where its
    /// backend is not behind that address or port any more, and where there was nobody before, as by kube-proxy
    /// (pkg/proxy/conntrack/cleanup.go).
    fn forget_connections(&mut self, before: Option<&Balance>, wanted: &Balance) {
        let Some(before) = before else { return };
        let (old, new) = (udp_backends(before), udp_backends(wanted));
        let nobody = BTreeSet::new();
        for front in old.keys().chain(new.keys().filter(|front| !old.contains_key(front))) {
            let [old, new] = [&old, &new].map(|all| all.get(front).unwrap_or(&nobody));
            if old.is_empty() != new.is_empty() {
                conntrack::forget_front(&mut self.netlink, Protocol::Udp, *front, None);
                continue;
            }
            for backend in old.difference(new) {
                conntrack::forget_front(&mut self.netlink, Protocol::Udp, *front, Some(*backend));
            }
        }
    }
}

/// Who is behind which address or port, of those for UDP.
fn udp_backends(balance: &Balance) -> BTreeMap<conntrack::Front, BTreeSet<SocketAddr>> {
    let fronts = balance.fronts.iter().filter(|front| front.protocol == Protocol::Udp);
    let ports = balance.node_ports.iter().filter(|port| port.protocol == Protocol::Udp);
    let fronts = fronts.map(|front| {
        let address = SocketAddr::new(front.address, front.port);
        (conntrack::Front::Address(address), &front.backends)
    });
    let ports = ports.map(|port| (conntrack::Front::Port(port.port), &port.backends));
    fronts.chain(ports).map(|(front, backends)| (front, backends.iter().copied().collect())).collect()
}

fn add_rule(transaction: &mut Transaction<'_>, table: &str, rule: table::Rule) {
    let attributes = vec![
        RuleAttribute::Table(table.to_owned()),
        RuleAttribute::Chain(rule.chain),
        RuleAttribute::Expressions(rule.expressions.into_iter().map(Into::into).collect()),
    ];
    transaction.push(NfTablesMessage::NewRule(RuleMessage { attributes }), NLM_F_CREATE | NLM_F_APPEND);
}

/// Removes the table of [`Balancer::here`], if there is one.
///
/// # Errors
/// What the kernel refuses.
pub fn remove_here(table: &str) -> Result<(), NetError> {
    match Balancer::here(table, None) {
        Ok(mut balancer) => balancer.apply(&Balance::default()),
        // Without such sockets there is no table.
        Err(_) => Ok(()),
    }
}
