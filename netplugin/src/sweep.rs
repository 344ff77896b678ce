//! Cables that have lost their pod.
//!
//! A cable goes with its pod's network namespace. But that lives for as long as anybody is in it or has it
//! open, a debugger's `nsenter` or a mount that a killed test forgot, and its end on the host with it: with
//! an address that somebody else may get by now. So whoever removes an idle network looks for such ends.

use std::net::Ipv4Addr;

use nix::errno::Errno;

use crate::config::{Mac, NetworkConfig};
use crate::host::{self, Facts};
use crate::links::{self, Link};
use crate::netlink::{KernelError, Netlink};
use crate::recipe;

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
