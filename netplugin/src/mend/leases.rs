//! Leases whose files somebody has removed while their pods run.
//!
//! What an interface holds is then what it has: the pod's own network namespace tells. It is asked only if a file is missing.

use std::net::IpAddr;

use netlink_sys::protocols::NETLINK_ROUTE;

use super::{Loss, lease};
use crate::config::{NetworkConfig, Request};
use crate::error::NetError;
use crate::host;
use crate::ipam::{self, Lease};
use crate::links::Link;
use crate::netlink::{KernelError, Netlink};
use crate::state::{self, Sharing};
use crate::{netns, nft, ports};

/// The lease that an interface should have and has not whole.
pub(super) fn lost(config: &NetworkConfig, request: &Request<'_>) -> Result<Option<Lease>, NetError> {
    if let Some(lease) = lease(config, request)? {
        return Ok((!ipam::is_whole(config, &lease)).then_some(lease));
    }
    let addresses = inside(config, request)?;
    if addresses.is_empty() { Ok(None) } else { ipam::seen(request, addresses).map(Some) }
}

pub(super) fn loss(lease: &Lease) -> Loss {
    Loss::Lease(lease.ifname.clone(), lease.addresses.clone())
}

/// Takes it again, with the host's ports that the pod has.
pub(super) fn mend(config: &NetworkConfig, request: &Request<'_>) -> Result<Vec<Loss>, NetError> {
    if lost(config, request)?.is_none() {
        return Ok(Vec::new());
    }
    let _lock = state::lock(&config.state_dir, Sharing::Exclusive)?;
    let Some(lease) = lost(config, request)? else { return Ok(Vec::new()) };
    ipam::restore(config, &lease)?;
    ports::hold(config, &lease)?;
    let unmapped = nft::unmapped(config, &lease.ports, &lease.addresses)?;
    if !unmapped.is_empty() {
        nft::map_ports(config, &unmapped, &lease.addresses)?;
    }
    Ok(vec![loss(&lease)])
}

/// The network's addresses that the pod's interface has, in the order of the subnets; none if the pod has left.
fn inside(config: &NetworkConfig, request: &Request<'_>) -> Result<Vec<IpAddr>, NetError> {
    let Ok(file) = netns::open(request.netns) else { return Ok(Vec::new()) };
    let entered = netns::inside(&file, || Netlink::open(NETLINK_ROUTE)).and_then(|opened| opened);
    let mut netlink = entered.map_err(|source| NetError::Netns { path: request.netns.to_owned(), source })?;
    let failed = |source: KernelError| NetError::Kernel {
        step: "look for the addresses that a pod has".to_owned(),
        source,
    };
    let Some(link) = host::find_link(&mut netlink, Link::Name(request.ifname)).map_err(failed)? else {
        return Ok(Vec::new());
    };
    let all = host::addresses(&mut netlink).map_err(failed)?;
    let own = || all.iter().filter(|has| has.index == link.index).map(|has| has.address);
    Ok(config.subnets().filter_map(|subnet| own().find(|address| subnet.contains(*address))).collect())
}
