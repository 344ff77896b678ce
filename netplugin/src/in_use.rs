//! Addresses that are in use, whatever the leases say.
//!
//! Somebody may remove the files of leases while their pods run. But the Ethernet address of a cable's end on the host is
//! made from the pod's first address, and a bridge knows the Ethernet addresses of its ports. So the kernel tells, by one
//! question that costs a few microseconds, whether a cable of that address is plugged in.

use std::cell::RefCell;
use std::net::IpAddr;

use crate::config::{NetworkConfig, Request};
use crate::host;
use crate::links::{self, Link};
use crate::netlink::Netlink;
use crate::recipe;

/// The cables of a network's bridge, seen by whoever looks for a free address.
pub(crate) struct Cables<'a> {
    netlink: RefCell<&'a mut Netlink>,
    /// The bridge's number, if there is one.
    bridge: Option<u32>,
    /// The number of the asker's own cable, which an earlier try may have left.
    own: Option<u32>,
}

impl<'a> Cables<'a> {
    /// Looks for the bridge. What cannot be found out counts as free: then the leases decide alone.
    pub(crate) fn of(netlink: &'a mut Netlink, config: &NetworkConfig, request: &Request<'_>) -> Cables<'a> {
        let mut number =
            |name: &str| host::find_link(netlink, Link::Name(name)).ok().flatten().map(|link| link.index);
        let bridge = number(&config.bridge);
        let own = bridge.and_then(|_| number(&recipe::host_interface(config, request)));
        Cables { netlink: RefCell::new(netlink), bridge, own }
    }

    /// Whether somebody else's cable of this first address is plugged in.
    pub(crate) fn has(&self, address: IpAddr) -> bool {
        let Some(bridge) = self.bridge else { return false };
        let asked = links::get_forward(bridge, recipe::host_mac(address));
        let port = self.netlink.borrow_mut().get(asked).ok().and_then(|found| links::port_of(&found));
        port.is_some_and(|port| port != bridge && Some(port) != self.own)
    }
}
