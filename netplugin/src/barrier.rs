//! Where packets for the pods' ranges and the Services' end while no bridge leads on.
//!
//! The routes by the bridge go with it, and until it is made again its packets would leave by the host's default route, to
//! whoever is out there. So for each range there is an `unreachable` route too: it belongs to no interface, and counts only
//! where nothing else leads to exactly that range. Slices of other hosts are other ranges.
//!
//! Its metric is higher than anybody's: 255 in the upper byte, as the kernel's networking/vrf.rst has it for the same purpose
//! (a routing daemon reads that as the distance that never wins). The other bytes follow from the bridge's name, which nobody
//! else on the host has: podboxes may share a range of Services, and each has and removes routes of its own.

use nix::errno::Errno;

use crate::config::{NetworkConfig, Subnet};
use crate::error::NetError;
use crate::hash::fnv1a;
use crate::host;
use crate::links;
use crate::netlink::{KernelError, Netlink};

/// The metric of the network's routes of this kind.
fn metric(config: &NetworkConfig) -> u32 {
    const LAST: u32 = 0xff00_0000;
    let [.., a, b, c] = fnv1a([config.bridge.as_bytes()]).to_be_bytes();
    LAST | u32::from_be_bytes([0, a, b, c])
}

/// Adds requests for these ranges' routes to what is about to be sent.
pub(crate) fn push(netlink: &mut Netlink, config: &NetworkConfig, ranges: &[Subnet]) {
    for range in ranges {
        let (message, flags) = links::add_unreachable(*range, metric(config));
        netlink.push(message, flags);
    }
}

/// What [`push`] does, as commands.
pub(crate) fn commands(config: &NetworkConfig, ranges: &[Subnet]) -> Vec<String> {
    let (metric, protocol) = (metric(config), links::OUR_PROTOCOL);
    let command = |range| format!("ip route replace unreachable {range} metric {metric} proto {protocol}");
    ranges.iter().map(command).collect()
}

/// Those of `ranges` that have no such route.
pub(crate) fn missing(
    netlink: &mut Netlink,
    config: &NetworkConfig,
    ranges: &[Subnet],
) -> Result<Vec<Subnet>, KernelError> {
    let there = host::unreachable(netlink, metric(config))?;
    Ok(ranges.iter().filter(|range| !there.contains(range)).copied().collect())
}

/// Removes all of the network's, whatever ranges they were made for.
pub(crate) fn remove(netlink: &mut Netlink, config: &NetworkConfig) -> Result<(), NetError> {
    let failed =
        |source| NetError::Kernel { step: "remove the unreachable routes of the network".to_owned(), source };
    for range in host::unreachable(netlink, metric(config)).map_err(failed)? {
        let (message, flags) = links::delete_unreachable(range, metric(config));
        netlink.push(message, flags);
        match netlink.commit() {
            Err(error) if !error.is(Errno::ESRCH) => return Err(failed(error)),
            _ => {}
        }
    }
    Ok(())
}
