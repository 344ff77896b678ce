//! What a pod may be particular about: its addresses, its Ethernet address, its bandwidth, its way out.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::config::{Mac, NetworkConfig, Subnet};
use crate::error::NetError;

/// What an interface is to have that it would not get by itself. By default nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wishes<'a> {
    /// Just these addresses, at most one of a family. A family that is not mentioned gets the address of the same
    /// host part, or any that is free.
    pub addresses: &'a [IpAddr],
    /// This Ethernet address instead of one made from the IP address.
    pub mac: Option<Mac>,
    /// How much may pass.
    pub bandwidth: Bandwidth,
    /// Whether the pod's default routes lead through this interface.
    pub way_out: WayOut,
}

/// Where a pod's packets to the rest of the world go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WayOut {
    /// Through this interface.
    #[default]
    Here,
    /// Through another of the pod's: this one reaches its own subnets only.
    Elsewhere,
}

/// How much may pass, seen from the pod. The kernel's token buckets (tc-tbf(8)) keep to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Bandwidth {
    /// Into the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingress: Option<Rate>,
    /// Out of the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress: Option<Rate>,
}

impl Bandwidth {
    pub(crate) fn is_unlimited(&self) -> bool {
        self.ingress.is_none() && self.egress.is_none()
    }
}

/// A rate and how far a moment may exceed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rate {
    /// In bits a second.
    pub bits_per_second: u64,
    /// What may pass at once after a silence, in bytes; what passes in 20 ms, and at least 16 KiB, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst: Option<u32>,
}

impl Rate {
    pub(crate) fn bytes_per_second(self) -> u64 {
        (self.bits_per_second / 8).max(1)
    }

    /// In bytes. Less than two packets would not even let one after the other pass.
    pub(crate) fn burst(self, mtu: u32) -> u32 {
        const LEAST: u64 = 16 * 1024;
        let usual = (self.bytes_per_second() / 50).clamp(LEAST, u64::from(u32::MAX / 4));
        let usual = u32::try_from(usual).unwrap_or(u32::MAX / 4);
        self.burst.unwrap_or(usual).max(mtu.saturating_mul(2))
    }

    /// How much may wait, in bytes: what passes in 25 ms, as the CNI project's bandwidth plugin has it, and a burst.
    pub(crate) fn queue(self, mtu: u32) -> u32 {
        let latency = u32::try_from(self.bytes_per_second() / 40).unwrap_or(u32::MAX / 2);
        latency.saturating_add(self.burst(mtu))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}bit", self.bits_per_second)
    }
}

/// Checks wishes that need no look at who else is there.
///
/// # Errors
/// [`NetError::AddressRefused`], or [`NetError::Config`] for an Ethernet address that no interface can have.
pub(crate) fn check(config: &NetworkConfig, wishes: &Wishes<'_>) -> Result<(), NetError> {
    for (index, address) in wishes.addresses.iter().enumerate() {
        config.check_address(*address)?;
        let twice = wishes.addresses[..index].iter().any(|other| other.is_ipv4() == address.is_ipv4());
        if twice {
            let problem = "an interface has one address of a family, and this is the second".to_owned();
            return Err(NetError::AddressRefused { address: *address, problem });
        }
    }
    match wishes.mac {
        Some(mac) if !mac.is_unicast() => Err(NetError::MacRefused {
            mac,
            problem: "it is no unicast address: its first byte must be even, and not all bytes 0".to_owned(),
        }),
        _ => Ok(()),
    }
}

impl NetworkConfig {
    /// Whether a pod of this network may ask for `address`.
    ///
    /// # Errors
    /// [`NetError::AddressRefused`] says why not: it is in none of the subnets, the gateway's, or means no one host.
    pub fn check_address(&self, address: IpAddr) -> Result<(), NetError> {
        let refused = |problem: String| Err(NetError::AddressRefused { address, problem });
        let subnets: Vec<Subnet> = self.subnets().collect();
        let Some(subnet) = subnets.iter().find(|subnet| subnet.contains(address)) else {
            let all: Vec<String> = subnets.iter().map(Subnet::to_string).collect();
            return refused(format!("it is not in network {}, which has {}", self.name, all.join(" and ")));
        };
        if address == subnet.gateway() {
            refused(format!("it is the gateway of {subnet}"))
        } else if address == subnet.network() {
            refused(format!("it is the first address of {subnet}, which no interface can have"))
        } else if subnet.is_broadcast(address) {
            refused(format!("it is the broadcast address of {subnet}"))
        } else {
            Ok(())
        }
    }
}
