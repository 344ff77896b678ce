//! What an attachment has lost: the same facts that [`crate::attach`] made, looked up one by one.

use std::fs::File;
use std::net::IpAddr;

use netlink_sys::protocols::NETLINK_ROUTE;

use crate::config::{NetworkConfig, PortMapping, Request, Subnet};
use crate::error::NetError;
use crate::host;
use crate::ipam::{self, Lease};
use crate::links::{self, Link};
use crate::netlink::{KernelError, Netlink};
use crate::{netns, nft, recipe, state};

/// Whether the pod has an interface of that name, whoever made it.
///
/// # Errors
/// [`NetError::Netns`] if there is no such namespace.
pub(crate) fn has_interface(request: &Request<'_>) -> Result<bool, NetError> {
    let mut netlink = enter(request)?;
    let link = host::find_link(&mut netlink, Link::Name(request.ifname)).map_err(kernel)?;
    Ok(link.is_some())
}

/// Everything that the pod should have and has not, a sentence each.
///
/// # Errors
/// When it cannot be found out.
pub(crate) fn missing(config: &NetworkConfig, request: &Request<'_>) -> Result<Vec<String>, NetError> {
    let file = ipam::file_of(config, request.id, request.ifname);
    let Some(lease) = state::read::<Lease>(&file)? else {
        return Ok(vec![format!("nothing is leased to {} of {}", request.ifname, request.owner)]);
    };
    let mut missing = on_the_host(config, request, &lease)?;
    missing.extend(inside(config, request, &lease)?);
    Ok(missing)
}

fn on_the_host(
    config: &NetworkConfig,
    request: &Request<'_>,
    lease: &Lease,
) -> Result<Vec<String>, NetError> {
    let mut missing = Vec::new();
    let mut netlink = Netlink::open(NETLINK_ROUTE).map_err(|error| kernel(error.into()))?;
    let bridge = host::find_link(&mut netlink, Link::Name(&config.bridge)).map_err(kernel)?;
    let bridge = bridge.filter(|link| link.is_bridge);
    if bridge.is_none() {
        missing.push(format!("there is no bridge {}", config.bridge));
    }
    let cable = recipe::host_interface(config, request);
    match host::find_link(&mut netlink, Link::Name(&cable)).map_err(kernel)? {
        None => missing.push(format!("{cable}, the cable's end on the host, is gone")),
        Some(link) if link.master.is_none() || link.master != bridge.map(|bridge| bridge.index) => {
            missing.push(format!("{cable} is not plugged into {}", config.bridge));
        }
        Some(_) => {}
    }
    let lost = |mapping: &PortMapping| {
        format!("host port {}/{} does not lead to the container", mapping.host_port, mapping.protocol)
    };
    let wanted = request.ports.iter().filter(|mapping| !lease.ports.contains(mapping));
    missing.extend(wanted.map(lost));
    missing.extend(nft::unmapped(config, &lease.ports, &lease.addresses)?.iter().map(lost));
    Ok(missing)
}

fn inside(config: &NetworkConfig, request: &Request<'_>, lease: &Lease) -> Result<Vec<String>, NetError> {
    let mut netlink = enter(request)?;
    let ifname = request.ifname;
    let Some(link) = host::find_link(&mut netlink, Link::Name(ifname)).map_err(kernel)? else {
        return Ok(vec![format!("there is no interface {ifname}")]);
    };
    let mut missing = Vec::new();
    if !link.is_live {
        missing.push(format!("{ifname} is down"));
    }
    let addresses = host::addresses(&mut netlink).map_err(kernel)?;
    let routes = host::routes(&mut netlink).map_err(kernel)?;
    for address in &lease.addresses {
        let subnet = config.subnets().find(|subnet| subnet.contains(*address));
        let prefix = subnet.map_or(0, |subnet| subnet.prefix());
        let is_it =
            |has: &host::Address| (has.index, has.address, has.prefix) == (link.index, *address, prefix);
        if !addresses.iter().any(is_it) {
            missing.push(format!("{ifname} has no address {address}/{prefix}"));
        }
        let all = everywhere(*address);
        if !routes.iter().any(|route| Some(route.to) == all && route.index == Some(link.index)) {
            let gateway = subnet.map(|subnet| format!(" by {}", subnet.gateway())).unwrap_or_default();
            missing.push(format!("there is no default route{gateway}"));
        }
    }
    Ok(missing)
}

fn everywhere(like: IpAddr) -> Option<Subnet> {
    Subnet::new(like, 0).ok()
}

/// The pod's namespace may have lost its interface; with it the cable's other end goes.
///
/// # Errors
/// The kernel's refusal, save that there is no such link.
pub(crate) fn remove_cable(config: &NetworkConfig, request: &Request<'_>) -> Result<(), NetError> {
    let cable = recipe::host_interface(config, request);
    let failed = |source| NetError::Kernel { step: format!("delete {cable}"), source };
    let mut netlink = Netlink::open(NETLINK_ROUTE).map_err(|error| failed(error.into()))?;
    let (message, flags) = links::delete(Link::Name(&cable));
    netlink.push(message, flags);
    match netlink.commit() {
        Err(error) if !error.is(nix::errno::Errno::ENODEV) => Err(failed(error)),
        _ => Ok(()),
    }
}

/// Raises the loopback interface of a network namespace, for whoever gets the rest from other plugins.
///
/// # Errors
/// [`NetError::Netns`] or [`NetError::Kernel`].
pub fn raise_loopback(path: &std::path::Path) -> Result<(), NetError> {
    let mut netlink = enter_path(path)?;
    let (message, flags) = links::up(Link::Name("lo"));
    netlink.push(message, flags);
    netlink.commit().map_err(|source| NetError::Kernel { step: "raise lo in the pod".to_owned(), source })
}

fn enter(request: &Request<'_>) -> Result<Netlink, NetError> {
    enter_path(request.netns)
}

fn enter_path(path: &std::path::Path) -> Result<Netlink, NetError> {
    let failed = |source| NetError::Netns { path: path.to_owned(), source };
    let file: File = netns::open(path).map_err(failed)?;
    netns::inside(&file, || Netlink::open(NETLINK_ROUTE)).and_then(|opened| opened).map_err(failed)
}

fn kernel(source: KernelError) -> NetError {
    NetError::Kernel { step: "look for what the pod has".to_owned(), source }
}
