//! A pod's network made whole again after somebody has taken some of it away: the bridge, its addresses, the ways to other
//! hosts, the pod's cable.
//!
//! Whoever looks, looks without any lock first. Only if something is missing the network's lock is taken and it is looked
//! once more, so that of all pods that come together one makes what they share. Nothing is made for an interface without a
//! lease and without an address: its pod has left, and whoever removes an idle network is not fought with.
//!
//! What is made is what [`crate::attach`] makes, by the same steps. The shared part is made for what the bridge's own record
//! says it was made for, whatever the caller's configuration.

mod changes;
mod leases;
mod look;

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use crate::bridge;
use crate::config::{InterfaceAddress, NetworkConfig, Request, Subnet};
use crate::error::NetError;
use crate::host::Ipv6;
use crate::ipam::{self, Lease};
use crate::netlink::Netlink;
use crate::peers;
use crate::recipe::{self, Remedy};
use crate::state::{self, Sharing};

pub use changes::{Heeded, LinkChanges};

/// Something that a pod's network should have and has not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loss {
    /// Nothing says that an interface of the pod holds its addresses.
    Lease(String, Vec<IpAddr>),
    /// There is no bridge of that name, or another one than was made.
    Bridge(String),
    /// The bridge of that name has another one.
    Renamed(String, String),
    /// The bridge is switched off.
    BridgeDown(String),
    /// The bridge has not got an address.
    Address(String, InterfaceAddress),
    /// No route leads to the pods by the bridge.
    Route(String, Subnet),
    /// Nothing keeps packets for a range from leaving the host while no route leads there by the bridge.
    Barrier(Subnet),
    /// No route leads to another host's pods.
    Way(Subnet),
    /// There is no cable to an interface of the pod: its end's name on the host, and the interface's.
    Cable(String, String),
    /// The cable's end on the host is in another bridge than that of this name, or in none.
    Unplugged(String, String, String),
    /// The cable's end on the host is switched off.
    CableDown(String, String),
    /// The cable carries another number of bytes than the bridge: so many, and not so many.
    Size(String, String, (u32, u32)),
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Loss::Lease(interface, addresses) => {
                let told: Vec<String> = addresses.iter().map(ToString::to_string).collect();
                write!(f, "no lease of {} for {interface}", told.join(" and "))
            }
            Loss::Bridge(bridge) => write!(f, "no bridge {bridge}"),
            Loss::Renamed(bridge, is) => write!(f, "{bridge} renamed to {is}"),
            Loss::BridgeDown(bridge) => write!(f, "{bridge} down"),
            Loss::Address(bridge, address) => write!(f, "{bridge} without {address}"),
            Loss::Route(bridge, to) => write!(f, "no route to {to} by {bridge}"),
            Loss::Barrier(to) => write!(f, "no unreachable route to {to}"),
            Loss::Way(to) => write!(f, "no way to {to}"),
            Loss::Cable(cable, interface) => write!(f, "no cable {cable} to {interface}"),
            Loss::Unplugged(cable, interface, bridge) => {
                write!(f, "{cable}, the cable of {interface}, not plugged into {bridge}")
            }
            Loss::CableDown(cable, interface) => write!(f, "{cable}, the cable of {interface}, down"),
            Loss::Size(cable, interface, (is, wanted)) => {
                write!(f, "{cable}, the cable of {interface}, with an MTU of {is}, not {wanted}")
            }
        }
    }
}

/// What came of mending.
#[derive(Debug, Default)]
pub struct Mending {
    /// What was missing, and is there again.
    pub restored: Vec<Loss>,
    /// What could not be made, and why.
    pub failed: Vec<NetError>,
}

impl Mending {
    fn note(&mut self, result: Result<Vec<Loss>, NetError>) {
        match result {
            Ok(restored) => self.restored.extend(restored),
            Err(error) => self.failed.push(error),
        }
    }
}

/// What an interface of a pod, and the network that it is on, should have and have not; nothing if it holds no lease, nor an address
/// inside the pod that somebody has removed the lease of.
///
/// # Errors
/// If the kernel or a state file cannot be read.
pub fn lost(config: &NetworkConfig, request: &Request<'_>) -> Result<Vec<Loss>, NetError> {
    let lost = leases::lost(config, request)?;
    if lost.is_none() && lease(config, request)?.is_none() {
        return Ok(Vec::new());
    }
    let mut netlink = Netlink::route()?;
    let mut all: Vec<Loss> = lost.as_ref().map(leases::loss).into_iter().collect();
    all.extend(look::bridge(&mut netlink, config)?.losses);
    all.extend(look::ways(&mut netlink, config)?);
    all.extend(look::cable(&mut netlink, config, request)?);
    Ok(all)
}

/// The routes to ranges of virtual addresses that [`crate::lead_to_bridge`] should have made and that are not there.
///
/// # Errors
/// If the kernel cannot be asked.
pub fn unled(config: &NetworkConfig, ranges: &[Subnet]) -> Result<Vec<Loss>, NetError> {
    let mut netlink = Netlink::route()?;
    let Some(bridge) = bridge::find_link(&mut netlink, config)? else { return Ok(Vec::new()) };
    let possible = |range: &&Subnet| range.network().is_ipv4() || Ipv6::here() == Ipv6::On;
    let ranges: Vec<Subnet> = ranges.iter().filter(possible).copied().collect();
    look::unled(&mut netlink, config, (bridge.index, &ranges))
}

/// Whose changes are worth looking at, for an interface of a pod.
///
/// # Errors
/// If the kernel or a state file cannot be read.
pub fn heeded(config: &NetworkConfig, request: &Request<'_>) -> Result<Heeded, NetError> {
    look::heeded(&mut Netlink::route()?, config, request)
}

/// Makes what [`lost`] finds.
#[must_use]
pub fn mend(config: &NetworkConfig, request: &Request<'_>) -> Mending {
    let mut mending = Mending::default();
    mending.note(leases::mend(config, request));
    match lease(config, request) {
        Ok(Some(_)) => {}
        Ok(None) => return mending,
        Err(error) => {
            mending.failed.push(error);
            return mending;
        }
    }
    mending.note(mend_bridge(config, request));
    // Local pods talk without other hosts.
    mending.note(mend_ways(config));
    mending.note(mend_cable(config, request));
    mending
}

fn mend_bridge(config: &NetworkConfig, request: &Request<'_>) -> Result<Vec<Loss>, NetError> {
    let mut netlink = Netlink::route()?;
    if look::bridge(&mut netlink, config)?.losses.is_empty() {
        return Ok(Vec::new());
    }
    let Some(_lock) = state::lock_if_present(&config.state_dir, Sharing::Exclusive)? else {
        return Ok(Vec::new());
    };
    let mut found = look::bridge(&mut netlink, config)?;
    if found.losses.is_empty() || lease(config, request)?.is_none() {
        return Ok(Vec::new());
    }
    let mut restored = Vec::new();
    if bridge::rename_back(&mut netlink, config)? {
        restored = std::mem::replace(&mut found, look::bridge(&mut netlink, config)?).losses;
        if found.losses.is_empty() {
            return Ok(restored);
        }
    }
    restored.extend(found.losses.iter().cloned());
    if found.losses.iter().all(|loss| matches!(loss, Loss::Route(..) | Loss::Barrier(..)))
        && let Some(record) = &found.record
    {
        bridge::lead_to_pods(&mut netlink, record)?;
        return Ok(restored);
    }
    let mut beyond = peers::Plan::default();
    let made_for = found.record.as_ref().map_or(config, |record| record.made_for());
    let mtu = match found.record.as_ref().filter(|record| record.index != 0) {
        Some(record) => record.mtu,
        // Nobody has written down what it was.
        None => {
            beyond = peers::plan(&mut netlink, config, Ipv6::here())?;
            beyond.fit(bridge::mtu(&mut netlink, made_for))
        }
    };
    recipe::World::new(made_for, request)?.make_bridge_again((mtu, beyond))?;
    Ok(restored)
}

fn mend_ways(config: &NetworkConfig) -> Result<Vec<Loss>, NetError> {
    let mut netlink = Netlink::route()?;
    if look::ways(&mut netlink, config)?.is_empty() {
        return Ok(Vec::new());
    }
    let Some(_lock) = state::lock_if_present(&config.state_dir, Sharing::Exclusive)? else {
        return Ok(Vec::new());
    };
    let lost = look::ways(&mut netlink, config)?;
    if !lost.is_empty()
        && let Some(record) = peers::record::read(config)?
    {
        peers::record::apply(&mut netlink, config, &record.ways)?;
    }
    Ok(lost)
}

fn mend_cable(config: &NetworkConfig, request: &Request<'_>) -> Result<Vec<Loss>, NetError> {
    let mut netlink = Netlink::route()?;
    if look::cable(&mut netlink, config, request)?.is_empty() {
        return Ok(Vec::new());
    }
    // Whoever removes an idle network does so alone, and looks for leases first.
    let Some(_lock) = state::lock_if_present(&config.state_dir, Sharing::Shared)? else {
        return Ok(Vec::new());
    };
    let lost = look::cable(&mut netlink, config, request)?;
    let Some(lease) = lease(config, request)? else { return Ok(Vec::new()) };
    // Without a bridge there is nothing to plug it into, which has been told.
    let Some(bridge) = bridge::complete(&mut netlink, config)? else { return Ok(Vec::new()) };
    for loss in &lost {
        let how = match loss {
            Loss::Cable(..) => Remedy::Lay,
            Loss::Size(..) => Remedy::Resize,
            _ => Remedy::Plug,
        };
        let world = recipe::World::new(config, request)?;
        world.mend_cable((bridge.clone(), lease.clone()), how)?;
    }
    Ok(lost)
}

/// The file that tells what an interface of a pod holds. The files of its addresses are names of the same: whoever watches
/// it hears if one of them goes.
#[must_use]
pub fn lease_file(config: &NetworkConfig, request: &Request<'_>) -> PathBuf {
    ipam::file_of(config, request.id, request.ifname)
}

/// What the interface holds.
fn lease(config: &NetworkConfig, request: &Request<'_>) -> Result<Option<Lease>, NetError> {
    state::read(&ipam::file_of(config, request.id, request.ifname))
}

#[cfg(test)]
mod tests;
