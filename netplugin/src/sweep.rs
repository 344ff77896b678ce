//! Cables that have lost their pod.
//!
//! A cable goes with its pod's network namespace. But that lives for as long as anybody is in it or has it
//! open, a debugger's `nsenter` or a mount that a killed test forgot, and its end on the host with it: with
//! an address that somebody else may get by now. So whoever removes an idle network looks for such ends.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use nix::errno::Errno;

use crate::config::{Mac, NetworkConfig};
use crate::error::NetError;
use crate::host::{self, Facts};
use crate::ipam;
use crate::links::{self, Link};
use crate::netlink::{KernelError, Netlink};
use crate::recipe;
use crate::state;

/// How long the cable of a pod that has left may stay, until the kernel has taken down its network namespace.
pub(crate) const LEAVING: Duration = Duration::from_secs(1);

/// Deletes every cable of this network. The caller holds the lock alone and has seen that there is no pod.
pub(crate) fn remove_cables(netlink: &mut Netlink, config: &NetworkConfig) -> Result<(), KernelError> {
    let bridge = host::find_link(netlink, Link::Name(&config.bridge))?.map(|link| link.index);
    for cable in host::veths(netlink)?.iter().filter(|link| is_ours(config, bridge, link)) {
        let (message, flags) = links::delete(Link::Index(cable.index));
        netlink.push(message, flags);
        match netlink.commit() {
            // It was about to go by itself.
            Err(error) if error.is(Errno::ENODEV) => {}
            result => result?,
        }
    }
    Ok(())
}

/// The addresses of cables that are plugged in without a lease: their pods have just left, or somebody has removed the
/// leases of pods that run.
pub(crate) fn loose(netlink: &mut Netlink, config: &NetworkConfig) -> Result<Vec<Ipv4Addr>, NetError> {
    let failed = |source| NetError::Kernel { step: "look for cables without a lease".to_owned(), source };
    let bridge = host::find_link(netlink, Link::Name(&config.bridge)).map_err(failed)?;
    let Some(bridge) = bridge.map(|link| link.index) else { return Ok(Vec::new()) };
    let cables = host::veths(netlink).map_err(failed)?;
    let plugged =
        cables.iter().filter(|link| link.master == Some(bridge) && recipe::is_host_interface(&link.name));
    let addresses = plugged.filter_map(|link| made_from(link.mac?));
    Ok(addresses.filter(|address| !ipam::address_file(config, (*address).into()).exists()).collect())
}

/// Writes down that the bridge was there with cables in it, and no lease: then cables without a lease may be of containers
/// that run, and whoever would remove an idle network leaves it to them.
pub(crate) fn remember_loose(netlink: &mut Netlink, config: &NetworkConfig) -> Result<(), NetError> {
    match loose(netlink, config)?.is_empty() {
        true => Ok(()),
        false => state::replace(&lost_leases(config), &true),
    }
}

/// Whether containers may run whose leases somebody has removed.
pub(crate) fn has_unleased(netlink: &mut Netlink, config: &NetworkConfig) -> Result<bool, NetError> {
    Ok(lost_leases(config).exists() && !loose(netlink, config)?.is_empty())
}

/// Once nobody is on the network.
pub(crate) fn forget_loose(config: &NetworkConfig) -> Result<(), NetError> {
    state::remove_file(&lost_leases(config)).map(|_| ())
}

fn lost_leases(config: &NetworkConfig) -> PathBuf {
    config.state_dir.join("lost-leases")
}

/// Whether a veth is a cable's end that was made for this network: one of its bridge's, or, where it is in no
/// bridge, with an Ethernet address made from one of its IPv4 addresses, which no other network of this host
/// has. One without bridge and IPv4 address could be anybody's, and stays.
fn is_ours(config: &NetworkConfig, bridge: Option<u32>, link: &Facts) -> bool {
    let was_in_subnet = || match link.mac {
        Some(mac) => made_from(mac)
            .is_some_and(|address| config.ipv4.is_some_and(|subnet| subnet.contains(address.into()))),
        None => false,
    };
    let in_place = if link.master.is_some() { link.master == bridge } else { was_in_subnet() };
    recipe::is_host_interface(&link.name) && in_place
}

/// The pod's address that the Ethernet address of a cable's end on the host was made from.
fn made_from(mac: Mac) -> Option<Ipv4Addr> {
    let [.., a, b, c, d] = mac.0;
    let address = Ipv4Addr::new(a, b, c, d);
    (mac == recipe::host_mac(address.into())).then_some(address)
}
