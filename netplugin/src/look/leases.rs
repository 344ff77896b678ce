//! Who holds which addresses and host ports, from the files that say so.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::config::{Mac, NetworkConfig, PortMapping, Subnet};
use crate::error::NetError;
use crate::{cni, ipam, recipe, state};

/// What one interface of one pod holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SeenLease {
    /// The pod's unique name.
    pub id: String,
    /// Who that is to a human.
    pub owner: String,
    /// The interface inside the pod.
    pub interface: String,
    /// IPv4 first.
    pub addresses: Vec<IpAddr>,
    /// The host ports that lead to it.
    pub ports: Vec<PortMapping>,
    /// Its Ethernet address.
    pub mac: Mac,
    /// The cable's end on the host, by its name.
    pub cable: String,
}

impl SeenLease {
    /// Whether another runtime's container has it, which came by the CNI plugin.
    #[must_use]
    pub fn is_of_cni(&self) -> bool {
        self.id.starts_with(cni::MARK)
    }
}

/// How full a subnet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Room {
    /// The subnet.
    pub subnet: Subnet,
    /// Addresses that pods hold.
    pub used: u32,
    /// Addresses that pods could still get.
    pub free: u32,
}

/// All leases of a network, sorted by their pods' names.
///
/// # Errors
/// If a state file cannot be read.
pub fn leases(config: &NetworkConfig) -> Result<Vec<SeenLease>, NetError> {
    let mut found = Vec::new();
    for id in state::names(&config.state_dir.join("pods"))? {
        for lease in ipam::leases_of(config, &id)? {
            found.push(SeenLease {
                mac: lease.mac(),
                cable: recipe::host_interface_of(config, (&lease.id, &lease.ifname)),
                id: lease.id,
                owner: lease.owner,
                interface: lease.ifname,
                addresses: lease.addresses,
                ports: lease.ports,
            });
        }
    }
    found.sort_by(|one, other| (&one.owner, &one.interface).cmp(&(&other.owner, &other.interface)));
    Ok(found)
}

/// How full a network's subnets are, given who holds what.
#[must_use]
pub fn room(config: &NetworkConfig, leases: &[SeenLease]) -> Vec<Room> {
    let rooms = config.subnets().map(|subnet| {
        let held = leases.iter().flat_map(|lease| &lease.addresses).filter(|held| subnet.contains(**held));
        let used = u32::try_from(held.count()).unwrap_or(u32::MAX);
        // The first is the gateway's.
        Room { subnet, used, free: (subnet.last_host() - 1).saturating_sub(used) }
    });
    rooms.collect()
}
