//! The other hosts of a flat space: a static list, each with the slices that its pods live in and the
//! address that the host itself is reached at.
//!
//! ```text
//!  this host  10.244.1.0/24                     peer b  10.244.2.0/24
//!  ┌────────────────────────────┐               ┌──────────────────────┐
//!  │ pods ── podbox0            │               │ podbox0 ── pods      │
//!  │            │ routing       │               │    │                 │
//!  │            ├── eth0 ═══════╪═ host-gw ═════╪═ eth0                │
//!  │            └── podbox0.vx ═╪═ vxlan ═══════╪═ podbox0.vx          │
//!  └────────────────────────────┘               └──────────────────────┘
//! ```
//!
//! `host-gw` is a route by the peer itself, which must be a neighbour on a link of this host: nothing is added
//! to a packet. `vxlan` is a tunnel over UDP (RFC 7348) and goes wherever UDP goes. Nobody is ever asked where
//! something is: every Ethernet address follows from a slice, and whatever leads to a peer is put down for good.
//!
//! [`plan`] decides what leads to the peers; [`record`] writes it down, makes it and takes it back.

mod check;
mod plan;
pub(crate) mod record;
mod way;

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::bridge;
use crate::config::{Described, NetworkConfig, Subnet};
use crate::error::NetError;
use crate::host::Ipv6;
use crate::netlink::Netlink;
use crate::state::{self, Sharing};

pub use check::{Place, Problem};
pub(crate) use plan::{Plan, plan};
pub(crate) use way::{Reach, Tunnel};

/// How packets get to the peers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Overlay {
    /// By a route: each peer is a neighbour on a link.
    HostGw,
    /// Through a tunnel over UDP.
    Vxlan(Vxlan),
}

/// What all hosts must agree upon for their tunnels to be one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Vxlan {
    /// The network's identifier (VNI), 24 bits.
    pub id: u32,
    /// The UDP port.
    pub port: u16,
}

impl Vxlan {
    /// None of the numbers that others use: flannel has 1, Calico 4096, and Docker's swarm counts up from there.
    pub const ID: u32 = 10_244;
    /// The port of RFC 7348, which firewalls and packet analysers know.
    pub const PORT: u16 = 4789;
}

impl Default for Vxlan {
    fn default() -> Vxlan {
        Vxlan { id: Vxlan::ID, port: Vxlan::PORT }
    }
}

/// A tunnel works across any network between the hosts, so that is what whoever says nothing gets.
impl Default for Overlay {
    fn default() -> Overlay {
        Overlay::Vxlan(Vxlan::default())
    }
}

/// Another host of the flat space.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// What it is called in texts.
    pub name: String,
    /// Where its pods live: at most one subnet of each family, IPv4 first. Its first decides the Ethernet address of its end of a
    /// tunnel, so all of them must be here.
    pub slices: Vec<Subnet>,
    /// Where the host is reached: at most one address of each family.
    pub addresses: Vec<IpAddr>,
}

impl Peer {
    fn address(&self, wanted: Family) -> Option<IpAddr> {
        self.addresses.iter().copied().find(|address| Family::of(*address) == wanted)
    }
}

/// The flat space beyond this host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peers {
    /// The whole space that the network's subnets are slices of, at most one subnet of each family. What goes to it
    /// is never masqueraded. A family that is not here ends with the network's own subnet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flat: Vec<Subnet>,
    /// How packets get there.
    #[serde(default)]
    pub overlay: Overlay,
    /// The interface that leads to the peers; whichever the host's routes say if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub underlay: Option<String>,
    /// Who is there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<Peer>,
}

/// A family of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Family {
    Ipv4,
    Ipv6,
}

impl Family {
    pub(crate) fn of(address: IpAddr) -> Family {
        if address.is_ipv4() { Family::Ipv4 } else { Family::Ipv6 }
    }
}

impl NetworkConfig {
    /// The flat space that one of the network's subnets is a slice of.
    #[must_use]
    pub fn space_of(&self, slice: Subnet) -> Subnet {
        let around = |flat: &&Subnet| flat.overlaps(&slice) && flat.prefix() <= slice.prefix();
        self.peers.flat.iter().find(around).copied().unwrap_or(slice)
    }

    /// What is wrong with the peers, each alone and all together; nothing of this depends on the host.
    ///
    /// # Errors
    /// The first problem, and where it is.
    pub fn check_peers(&self) -> Result<(), Problem> {
        check::check(self)
    }

    /// The tunnel's interface: the bridge's name with `.vx`.
    pub(crate) fn tunnel(&self) -> String {
        format!("{}.vx", self.bridge)
    }
}

/// A peer and what leads to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Led {
    /// The peer; for ways to somebody who is not in the configuration any more, a name of `-`.
    pub peer: Peer,
    /// What leads to it.
    pub state: LedState,
}

/// Whether the ways to a peer are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LedState {
    /// They are.
    Ready,
    /// They are not, or not all: no pod runs yet, the configuration is newer, or somebody took them away.
    Absent,
    /// They are, but not those that the configuration asks for now.
    Outdated,
    /// They are, and nobody wishes it any more.
    Stale,
}

/// The peers of the configuration with what leads to them now, and those to whom something still leads.
///
/// # Errors
/// When the kernel or a state file cannot be read.
pub fn peers(config: &NetworkConfig) -> Result<Vec<Led>, NetError> {
    let recorded = record::read(config)?.unwrap_or_default();
    let mut netlink = Netlink::route()?;
    let there = way::Present::read(&mut netlink)?;
    // One who cannot be reached as the configuration has it now is shown with what was made before.
    let planned = plan(&mut netlink, config, Ipv6::here()).map(|plan| plan.ways).unwrap_or_default();
    let is_there = |slice: &Subnet| recorded.ways.iter().any(|way| way.leads_to(*slice) && there.has(way));
    let state = |peer: &Peer| {
        let mut wished = planned.iter().filter(|way| way.is_for(peer));
        match peer.slices.iter().all(is_there) {
            false => LedState::Absent,
            true if wished.all(|way| recorded.ways.contains(way)) => LedState::Ready,
            true => LedState::Outdated,
        }
    };
    let hosts = config.peers.hosts.iter();
    let mut all: Vec<Led> = hosts.map(|peer| Led { peer: peer.clone(), state: state(peer) }).collect();
    let wished = |slice: &Subnet| config.peers.hosts.iter().any(|peer| peer.slices.contains(slice));
    for slice in recorded.ways.iter().filter_map(way::Way::slice).filter(|slice| !wished(slice)) {
        let peer = Peer { name: "-".to_owned(), slices: vec![slice], addresses: Vec::new() };
        all.push(Led { peer, state: LedState::Stale });
    }
    Ok(all)
}

/// The routes to other hosts that were made and are not there: where they lead, and by which interface.
pub(crate) fn missing_routes<'a>(
    netlink: &mut Netlink,
    record: &'a record::Record,
) -> Result<Vec<(Subnet, &'a str)>, NetError> {
    let there = way::Present::read(netlink)?;
    let missing = record.ways.iter().filter(|way| !there.has(way));
    Ok(missing.filter_map(way::Way::route).collect())
}

/// The interfaces by which routes lead to other hosts.
pub(crate) fn interfaces(record: &record::Record) -> impl Iterator<Item = &str> {
    record.ways.iter().filter_map(way::Way::route).map(|(_, by)| by)
}

/// The slices that routes lead to.
pub(crate) fn slices(record: &record::Record) -> impl Iterator<Item = Subnet> {
    record.ways.iter().filter_map(way::Way::slice)
}

/// Makes what leads to the peers what the configuration says, if the network is there: ways to those who are
/// gone go, and whatever is missing is made again. Without a pod there is no network, and nothing is done;
/// the first pod's [`crate::attach`] does it. Returns what was made and removed, as commands.
///
/// # Errors
/// [`NetError::Peer`] if a peer cannot be reached as the configuration has it; then nothing has changed.
pub fn apply_peers(config: &NetworkConfig) -> Result<Vec<Described>, NetError> {
    config.validate()?;
    if config.peers.hosts.is_empty() && !record::exists(config) {
        return Ok(Vec::new());
    }
    let Some(_lock) = state::lock_if_present(&config.state_dir, Sharing::Exclusive)? else {
        return Ok(Vec::new());
    };
    let mut netlink = Netlink::route()?;
    if !bridge::is_complete(&mut netlink, config)? {
        return Ok(Vec::new());
    }
    let plan = plan(&mut netlink, config, Ipv6::here())?;
    let mut done = record::apply(&mut netlink, config, &plan.ways)?;
    // Without peers it is as long as it is: a change of the uplink counts from the next time that the bridge is made.
    if let Some(mtu) = plan.mtu {
        let (before, mtu) = (
            bridge::recorded(config).unwrap_or(None).map(|bridge| bridge.mtu),
            mtu.min(bridge::mtu(&mut netlink, config)),
        );
        bridge::resize(&mut netlink, config, mtu)?;
        done.extend((before != Some(mtu)).then(|| Described {
            name: "let bridge and cables carry what the way to other hosts does".to_owned(),
            command: format!("ip link set {} mtu {mtu}", config.bridge),
        }));
    }
    Ok(done)
}
