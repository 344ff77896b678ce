//! What the steps do.

use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use netlink_sys::protocols::NETLINK_ROUTE;
use nix::errno::Errno;

use super::{Fault, Inside, Joining, World, host_interface};
use crate::announce;
use crate::bridge::{self, Bridge};
use crate::config::{PortMapping, Subnet};
use crate::error::NetError;
use crate::host::{self, Ipv6};
use crate::in_use::Cables;
use crate::ipam::{self, Lease};
use crate::links::{self, Link, Message, Veth};
use crate::netlink::{KernelError, Netlink};
use crate::state::{self, Sharing};
use crate::way_back;
use crate::wishes::{Bandwidth, WayOut};
use crate::{firewall, netns, nft, owner, peers, ports, shaping, sweep, sysctl};

const LOOPBACK_INDEX: u32 = 1;

pub(super) fn enter(world: &mut World<'_>) -> Result<(), Fault> {
    let failed = |source| NetError::Netns { path: world.request.netns.to_owned(), source };
    let netns = netns::open(world.request.netns).map_err(failed)?;
    let (netlink, ipv6) = netns::inside(&netns, || {
        let ipv6 = Ipv6::here();
        if ipv6 == Ipv6::On {
            // A pod believes no router advertisements, since any other pod could send one (CVE-2020-10749),
            // and its addresses are given by us, so nobody needs to be asked whether they are free. Where
            // /proc cannot be written both stay as they are, which costs time only.
            let _ = sysctl::write("ipv6/conf/default/accept_ra", "0");
            let _ = sysctl::write("ipv6/conf/default/accept_dad", "0");
        }
        Netlink::open(NETLINK_ROUTE).map(|netlink| (netlink, ipv6))
    })
    .and_then(|opened| opened)
    .map_err(failed)?;
    world.inside = Some(Inside { netns, netlink, ipv6, index: 0 });
    Ok(())
}

pub(super) fn lease(world: &mut World<'_>) -> Result<(), Fault> {
    let subnets = world.subnets();
    if subnets.is_empty() {
        let problem = "it has only IPv6 addresses, and IPv6 is off on this host".to_owned();
        return Err(NetError::Config { network: world.config.name.clone(), problem }.into());
    }
    // Whoever removes an idle bridge does so alone and looks for leases first: once ours is written, the
    // bridge that we find stays.
    // An Ethernet address that was asked for is compared with everybody's.
    let sharing = if world.request.wishes.mac.is_some() { Sharing::Exclusive } else { Sharing::Shared };
    let deadline = Instant::now() + sweep::LEAVING;
    loop {
        let lock = state::lock(&world.config.state_dir, sharing)?;
        match find_or_lease(world, &subnets) {
            // What is in the way may be a cable whose pod has left, and that is about to go.
            Err(NetError::AddressHeld { .. } | NetError::PoolFull { .. })
                if Instant::now() < deadline && has_loose_cables(world)? =>
            {
                drop(lock);
                std::thread::sleep(sweep::LEAVING / 100);
            }
            result => {
                world.lease = Some(result?);
                return Ok(());
            }
        }
    }
}

/// Whether cables are there whose addresses nobody has leased.
fn has_loose_cables(world: &mut World<'_>) -> Result<bool, NetError> {
    Ok(!sweep::loose(&mut world.host, world.config)?.is_empty())
}

fn find_or_lease(world: &mut World<'_>, subnets: &[Subnet]) -> Result<Lease, NetError> {
    match ipam::find(world.config, world.request, subnets)? {
        ipam::Found::Fits(lease) => return Ok(lease),
        ipam::Found::Nothing => {}
        ipam::Found::Stale => {
            let mut errors = Vec::new();
            for lease in ipam::leases_of(world.config, world.request.id)? {
                if lease.ifname == world.request.ifname {
                    crate::give_back(world.config, &lease, &mut errors);
                }
            }
            if let Some(error) = errors.pop() {
                return Err(error);
            }
        }
    }
    let cables = Cables::of(&mut world.host, world.config, world.request);
    ipam::lease(world.config, world.request, subnets, &|address| cables.has(address))
}

pub(super) fn hold_ports(world: &mut World<'_>) -> Result<(), Fault> {
    let _lock = state::lock(&world.config.state_dir, Sharing::Exclusive)?;
    let Some(lease) = &world.lease else { return Ok(()) };
    let has_family = |host: IpAddr| lease.addresses.iter().any(|pod| pod.is_ipv4() == host.is_ipv4());
    let unreachable = |mapping: &&PortMapping| mapping.host_ip.is_some_and(|host| !has_family(host));
    if let Some(mapping) = lease.ports.iter().find(unreachable) {
        let host_ip = mapping.host_ip.map(|host| host.to_string()).unwrap_or_default();
        let problem = format!("a port of {host_ip} cannot be mapped: the pod has no address of that family");
        return Err(NetError::Request { id: lease.id.clone(), problem }.into());
    }
    Ok(ports::hold(world.config, lease)?)
}

/// Finds the complete bridge, or else takes the lock to make it, unless somebody else just did.
pub(super) fn find_bridge(world: &mut World<'_>) -> Result<(), Fault> {
    world.bridge = complete_bridge(world)?;
    if world.bridge.is_none() {
        let lock = state::lock(&world.config.state_dir, Sharing::Exclusive)?;
        world.bridge = complete_bridge(world)?;
        world.lock = world.bridge.is_none().then_some(lock);
    }
    Ok(())
}

fn complete_bridge(world: &mut World<'_>) -> Result<Option<Bridge>, NetError> {
    match world.joining {
        Joining::AsConfigured => bridge::find(&mut world.host, world.config),
        Joining::AsItIs => bridge::join(&mut world.host, world.config, world.request.id),
    }
}

pub(super) fn check_host(world: &mut World<'_>) -> Result<(), Fault> {
    ipam::forget_other_boots(world.config)?;
    bridge::rename_back(&mut world.host, world.config)?;
    owner::clear(&mut world.host, world.config)?;
    world.found = bridge::check(&mut world.host, world.config)?;
    if world.found.is_some() && bridge::recorded(world.config).is_ok_and(|record| record.is_none()) {
        sweep::remember_loose(&mut world.host, world.config)?;
    }
    // From here on there may be something to remove.
    bridge::remember(world.config, world.bridge.insert(Bridge::unfinished(world.config, false)))?;
    Ok(())
}

pub(super) fn make_bridge(world: &mut World<'_>) -> Result<(), Fault> {
    let existing = world.found.as_ref().map(|link| link.index);
    let made = bridge::make(&mut world.host, world.config, existing, (world.host_ipv6, world.mtu));
    let index = match made {
        Err(error) if error.is(Errno::EEXIST) && existing.is_none() => return Err(lost(world)?.into()),
        made => made?,
    };
    if let Some(bridge) = &mut world.bridge {
        (bridge.index, bridge.mtu) = (index, world.mtu);
    }
    Ok(())
}

/// Somebody else has made a bridge of that name in this very moment. What is written down is about none, then.
fn lost(world: &mut World<'_>) -> Result<NetError, NetError> {
    bridge::forget(world.config)?;
    bridge::check(&mut world.host, world.config)?;
    let problem = "somebody else has made it in this very moment; try again".to_owned();
    Ok(NetError::BridgeTaken { bridge: world.config.bridge.clone(), problem })
}

pub(super) fn address_bridge(world: &mut World<'_>) -> Result<(), Fault> {
    let index = bridge_index(world);
    Ok(bridge::give_addresses(&mut world.host, world.config, (index, world.host_ipv6))?)
}

pub(super) fn forward_packets(world: &mut World<'_>) -> Result<(), Fault> {
    let note = bridge::forward(&mut world.host, world.config, world.host_ipv6);
    if let Some(bridge) = &mut world.bridge {
        bridge.notes.extend(note);
    }
    Ok(())
}

/// Makes the ways to other hosts, unless a bridge that was there already has them: then whoever reads the
/// configuration last keeps them, and a pod that was started with an older one does not bring back what is gone.
pub(super) fn lead_beyond(world: &mut World<'_>) -> Result<(), Fault> {
    let kept = peers::record::read(world.config)?.filter(|record| record.complete && world.found.is_some());
    let ways = kept.map_or_else(|| std::mem::take(&mut world.beyond.ways), |record| record.ways);
    peers::record::apply(&mut world.host, world.config, &ways)?;
    Ok(())
}

pub(super) fn translate(world: &mut World<'_>) -> Result<(), Fault> {
    bridge::remember(world.config, &Bridge::unfinished(world.config, true))?;
    let made = nft::make(world.config, &ports::all(world.config)?)?;
    let Some(bridge) = &mut world.bridge else { return Ok(()) };
    bridge.translates = made == nft::Made::Yes;
    if !bridge.translates {
        bridge.notes.push(
            "pods reach beyond this host with their own addresses only, and host ports cannot be mapped: this kernel has no nf_tables"
                .to_owned(),
        );
    } else if world.config.ipv4.is_some() {
        // Lets answers to connections from 127.0.0.1 through the bridge; the table drops all else that
        // comes from there for 127.0.0.0/8.
        let name = format!("ipv4/conf/{}/route_localnet", world.config.bridge);
        if let Err(error) = sysctl::set(&name, "1") {
            bridge.notes.push(format!("host ports do not answer on 127.0.0.1: cannot {error}"));
        }
    }
    Ok(())
}

/// The record says already that there may be something to remove.
pub(super) fn open_firewall(world: &mut World<'_>) -> Result<(), Fault> {
    let notes = firewall::open(world.config)?;
    if let Some(bridge) = &mut world.bridge {
        bridge.notes.extend(notes);
    }
    Ok(())
}

pub(super) fn remember_bridge(world: &mut World<'_>) -> Result<(), Fault> {
    let Some(bridge) = &world.bridge else { return Ok(()) };
    Ok(bridge::remember(world.config, bridge)?)
}

fn bridge_index(world: &World<'_>) -> u32 {
    world.bridge.as_ref().map_or(0, |bridge| bridge.index)
}

/// Makes the cable. A cable of that name is left from an earlier try, maybe in a namespace that is dying: it
/// is deleted, which takes its time, but only then.
pub(super) fn lay_cable(world: &mut World<'_>) -> Result<(), Fault> {
    let name = host_interface(world.config, world.request);
    world.has_cable = true;
    match make_cable(world) {
        Err(Fault::Kernel(error)) if error.is(Errno::EEXIST) => {
            push(&mut world.host, links::delete(Link::Name(&name)));
            match world.host.commit() {
                Ok(()) => make_cable(world),
                // It has gone with its namespace in this very moment. Or it is the name inside the pod that is taken: then
                // the second try says so.
                Err(other) if other.is(Errno::ENODEV) => make_cable(world),
                Err(other) => Err(other.into()),
            }
        }
        result => result,
    }
}

fn make_cable(world: &mut World<'_>) -> Result<(), Fault> {
    let plan = world.plan();
    let veth = Veth {
        host: &plan.host_interface,
        host_mac: plan.host_mac,
        pod: world.request.ifname,
        pod_mac: plan.pod_mac,
        netns: world.inside()?.netns.as_raw_fd(),
        mtu: plan.mtu,
    };
    push(&mut world.host, links::create_veth(&veth));
    Ok(world.host.commit()?)
}

fn push(netlink: &mut Netlink, (message, flags): Message) {
    netlink.push(message, flags);
}

/// The interface's number cannot be chosen (the kernel ignores it in the peer's part of the message) and must
/// not be guessed: a namespace may hold others.
pub(super) fn address_pod(world: &mut World<'_>) -> Result<(), Fault> {
    let plan = world.plan();
    let ifname = world.request.ifname;
    let inside = world.inside()?;
    let link = host::find_link(&mut inside.netlink, Link::Name(ifname))?;
    inside.index = link.map_or(0, |link| link.index);
    for address in plan.addresses {
        push(&mut inside.netlink, links::add_address(inside.index, address));
    }
    Ok(inside.netlink.commit()?)
}

pub(super) fn raise(world: &mut World<'_>) -> Result<(), Fault> {
    let inside = world.inside()?;
    push(&mut inside.netlink, links::up(Link::Index(LOOPBACK_INDEX)));
    push(&mut inside.netlink, links::up(Link::Index(inside.index)));
    Ok(inside.netlink.commit()?)
}

pub(super) fn route_pod(world: &mut World<'_>) -> Result<(), Fault> {
    let plan = world.plan();
    let mac = bridge::mac(world.config);
    let way_out = world.request.wishes.way_out;
    let inside = world.inside()?;
    for gateway in plan.gateways {
        push(&mut inside.netlink, links::add_neighbour(inside.index, gateway, mac));
        if way_out == WayOut::Here {
            push(&mut inside.netlink, links::add_default_route(inside.index, gateway));
        }
    }
    Ok(inside.netlink.commit()?)
}

/// A kernel without policy routing lets answers leave by the way out, which is worth a note and no failure.
pub(super) fn lead_back(world: &mut World<'_>) -> Result<(), Fault> {
    let plan = world.plan();
    let inside = world.inside()?;
    match way_back::lead(&mut inside.netlink, inside.index, &plan.addresses) {
        Err(error) if [Errno::EOPNOTSUPP, Errno::EAFNOSUPPORT].iter().any(|errno| error.is(*errno)) => {
            let ifname = world.request.ifname;
            world.notes.push(format!(
                "what comes in by {ifname} from other networks is answered by the way out: this kernel has no policy routing: {error}"
            ));
            Ok(())
        }
        result => Ok(result?),
    }
}

/// A kernel without token buckets lets everything pass, which is worth a note and no failure.
pub(super) fn limit(world: &mut World<'_>) -> Result<(), Fault> {
    match try_limit(world) {
        Err(Fault::Kernel(error))
            if [Errno::ENOENT, Errno::EOPNOTSUPP].iter().any(|errno| error.is(*errno)) =>
        {
            world.notes.push(format!(
                "the pod's bandwidth is not limited: this kernel has no token bucket filter (sch_tbf): {error}"
            ));
            Ok(())
        }
        result => result,
    }
}

fn try_limit(world: &mut World<'_>) -> Result<(), Fault> {
    let plan = world.plan();
    let Bandwidth { ingress, egress } = world.request.wishes.bandwidth;
    if let Some(rate) = egress {
        let inside = world.inside()?;
        push(&mut inside.netlink, shaping::limit(inside.index, rate, plan.mtu));
        inside.netlink.commit()?;
    }
    if let Some(rate) = ingress {
        let link = host::find_link(&mut world.host, Link::Name(&plan.host_interface))?;
        let index = link.map_or(0, |link| link.index);
        push(&mut world.host, shaping::limit(index, rate, plan.mtu));
        world.host.commit()?;
    }
    Ok(())
}

pub(super) fn resize(world: &mut World<'_>) -> Result<(), Fault> {
    let plan = world.plan();
    let ifname = world.request.ifname;
    let inside = world.inside()?;
    inside.index = host::find_link(&mut inside.netlink, Link::Name(ifname))?.map_or(0, |link| link.index);
    push(&mut inside.netlink, links::set_mtu(Link::Index(inside.index), plan.mtu));
    inside.netlink.commit()?;
    push(&mut world.host, links::set_mtu(Link::Name(&plan.host_interface), plan.mtu));
    Ok(world.host.commit()?)
}

/// Last, when the pod's side is complete: the kernel then sets to work on the new port, and would hold the
/// lock that the pod's side needs.
pub(super) fn plug(world: &mut World<'_>) -> Result<(), Fault> {
    let name = host_interface(world.config, world.request);
    let bridge = bridge_index(world);
    push(&mut world.host, links::set_master(Link::Name(&name), bridge, world.host_ipv6));
    push(&mut world.host, links::raise_port(Link::Name(&name)));
    Ok(world.host.commit()?)
}

/// The kernel notices a carrier in a work queue of its own; until then the cable swallows every packet, and
/// the first connection would take a second. Asking for a link's state makes it notice at once (since Linux
/// 6.8); older kernels are asked again.
pub(super) fn await_carrier(world: &mut World<'_>) -> Result<(), Fault> {
    const PATIENCE: Duration = Duration::from_secs(1);
    let name = host_interface(world.config, world.request);
    let deadline = Instant::now() + PATIENCE;
    let inside = world.inside()?;
    let index = inside.index;
    await_live(&mut inside.netlink, Link::Index(index), deadline)?;
    await_live(&mut world.host, Link::Name(&name), deadline)?;
    await_live(&mut world.host, Link::Name(&world.config.bridge), deadline)
}

/// One that is not there any more will not carry anything either.
fn await_live(netlink: &mut Netlink, link: Link<'_>, deadline: Instant) -> Result<(), Fault> {
    loop {
        match host::find_link(netlink, link)? {
            None => return Err(KernelError::from(std::io::Error::from(Errno::ENODEV)).into()),
            Some(link) if link.is_live => return Ok(()),
            Some(_) if Instant::now() > deadline => return Ok(()),
            Some(_) => std::thread::sleep(Duration::from_micros(500)),
        }
    }
}

/// Whoever cannot be told finds out by himself, later.
pub(super) fn announce(world: &mut World<'_>) -> Result<(), Fault> {
    let plan = world.plan();
    let addresses: Vec<IpAddr> = plan.addresses.iter().map(|a| a.address).collect();
    let interface = world.request.ifname;
    let inside = world.inside()?;
    let told = netns::inside(&inside.netns, || announce::announce(interface, plan.pod_mac, &addresses));
    if let Err(error) = told.and_then(|told| told) {
        world
            .notes
            .push(format!("the pod's neighbours may look for it at an older Ethernet address: {error}"));
    }
    Ok(())
}

pub(super) fn map_ports(world: &mut World<'_>) -> Result<(), Fault> {
    if !world.bridge.as_ref().is_some_and(|bridge| bridge.translates) {
        return Err(NetError::NoNftables.into());
    }
    Ok(nft::map_ports(world.config, world.request.ports, world.addresses())?)
}
