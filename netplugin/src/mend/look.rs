//! What of a pod's network is not there. Changes nothing.

use std::collections::BTreeSet;

use super::{Heeded, Loss};
use crate::barrier;
use crate::bridge::{self, Bridge};
use crate::config::{NetworkConfig, Request, Subnet};
use crate::error::NetError;
use crate::host::{self, Facts, Ipv6};
use crate::ipam;
use crate::links::Link;
use crate::netlink::{KernelError, Netlink};
use crate::peers::{self, record};
use crate::recipe;

/// The bridge as it is.
pub(super) struct Found {
    /// What is written down of it.
    pub(super) record: Option<Bridge>,
    pub(super) losses: Vec<Loss>,
}

fn kernel(source: KernelError) -> NetError {
    NetError::Kernel { step: "look for what is missing of the network".to_owned(), source }
}

fn find(netlink: &mut Netlink, name: &str) -> Result<Option<Facts>, NetError> {
    host::find_link(netlink, Link::Name(name)).map_err(kernel)
}

/// One that is not complete has an index of 0, which no link has.
pub(super) fn bridge(netlink: &mut Netlink, config: &NetworkConfig) -> Result<Found, NetError> {
    let record = bridge::recorded(config).unwrap_or(None);
    let name = &config.bridge;
    let link = find(netlink, name)?.filter(|link| link.is_bridge);
    if let Some(link) = bridge::renamed(netlink, config)? {
        return Ok(Found { record, losses: vec![Loss::Renamed(name.clone(), link.name)] });
    }
    let (Some(link), Some(made)) = (link, &record) else {
        return Ok(Found { record, losses: vec![Loss::Bridge(name.clone())] });
    };
    if link.index != made.index {
        return Ok(Found { record, losses: vec![Loss::Bridge(name.clone())] });
    }
    let mut losses = Vec::new();
    if !link.is_up {
        losses.push(Loss::BridgeDown(name.clone()));
    }
    let there = host::addresses(netlink).map_err(kernel)?;
    let wanted = bridge::addresses(made.made_for(), Ipv6::here()).into_iter();
    let missing = wanted.filter(|wanted| {
        let is_it = |has: &host::Address| {
            (has.index, has.address, has.prefix) == (link.index, wanted.address, wanted.prefix)
        };
        !there.iter().any(is_it)
    });
    losses.extend(missing.map(|address| Loss::Address(name.clone(), address)));
    if losses.is_empty() {
        let own = ipam::subnets(made.made_for(), Ipv6::here());
        losses.extend(unled(netlink, made.made_for(), (link.index, &own))?);
    }
    Ok(Found { record, losses })
}

/// The routes to `ranges` that are not there: those by a link, and those that count without it.
pub(super) fn unled(
    netlink: &mut Netlink,
    config: &NetworkConfig,
    (index, ranges): (u32, &[Subnet]),
) -> Result<Vec<Loss>, NetError> {
    let there = host::routes(netlink).map_err(kernel)?;
    let is_led = |to: &Subnet| there.iter().any(|route| route.to == *to && route.index == Some(index));
    let unled = ranges.iter().filter(|to| !is_led(to)).map(|to| Loss::Route(config.bridge.clone(), *to));
    let open = barrier::missing(netlink, config, ranges).map_err(kernel)?;
    Ok(unled.chain(open.into_iter().map(Loss::Barrier)).collect())
}

/// Routes that are written down as made and are not there. One by an interface that is not up could not be made either.
pub(super) fn ways(netlink: &mut Netlink, config: &NetworkConfig) -> Result<Vec<Loss>, NetError> {
    let Some(record) = record::read(config)?.filter(|record| record.complete) else { return Ok(Vec::new()) };
    let mut lost = Vec::new();
    for (to, by) in peers::missing_routes(netlink, &record)? {
        if *by == config.tunnel() || find(netlink, by)?.is_some_and(|link| link.is_up) {
            lost.push(Loss::Way(to));
        }
    }
    Ok(lost)
}

/// At most one thing at a time, save for the size: a cable that is not there is not plugged in either.
pub(super) fn cable(
    netlink: &mut Netlink,
    config: &NetworkConfig,
    request: &Request<'_>,
) -> Result<Vec<Loss>, NetError> {
    let (name, interface) = (recipe::host_interface(config, request), request.ifname.to_owned());
    let Some(link) = find(netlink, &name)? else { return Ok(vec![Loss::Cable(name, interface)]) };
    let bridge = bridge::complete(netlink, config)?;
    let mut lost = Vec::new();
    // One that has another name is told of as such.
    let index = match &bridge {
        Some(bridge) => Some(bridge.index),
        None => bridge::renamed(netlink, config)?.map(|link| link.index),
    };
    if link.master.is_none() || link.master != index {
        lost.push(Loss::Unplugged(name.clone(), interface.clone(), config.bridge.clone()));
    } else if !link.is_up {
        lost.push(Loss::CableDown(name.clone(), interface.clone()));
    }
    if let (Some(is), Some(bridge)) = (link.mtu, bridge)
        && is != bridge.mtu
    {
        lost.push(Loss::Size(name, interface, (is, bridge.mtu)));
    }
    Ok(lost)
}

/// The bridge, the tunnel and the cable; the interfaces by which routes lead to other hosts; and those routes.
pub(super) fn heeded(
    netlink: &mut Netlink,
    config: &NetworkConfig,
    request: &Request<'_>,
) -> Result<Heeded, NetError> {
    let mut heeded = Heeded::default();
    let tunnel = config.tunnel();
    for name in [&config.bridge, &tunnel, &recipe::host_interface(config, request)] {
        heeded.own.extend(find(netlink, name)?.map(|link| link.index));
    }
    config.subnets().for_each(|subnet| heeded.lead_to(subnet));
    let record = record::read(config)?.unwrap_or_default();
    peers::slices(&record).for_each(|slice| heeded.lead_beyond(slice));
    let beyond: BTreeSet<&str> = peers::interfaces(&record).filter(|name| *name != tunnel).collect();
    for name in beyond {
        heeded.beyond.extend(find(netlink, name)?.map(|link| link.index));
    }
    Ok(heeded)
}
