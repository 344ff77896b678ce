//! podbox's flat network: every pod has addresses of its own from one address space and talks to every
//! other pod and to the host with them, unchanged.
//!
//! One bridge, a virtual cable from it into each pod, one file per leased address, and an nftables table
//! for the two cases that need translation: packets that leave the flat space, and ports of the host that
//! lead to a pod. All of it by netlink, without helper programs, and blocking: a pod is attached in less
//! time than a thread needs to be told to do it.
//!
//! The state directory holds all that is needed to take everything back, at any moment of any crash:
//! [`detach`] and [`release_idle`] look at nothing else.

mod announce;
mod balance;
mod barrier;
mod bridge;
pub mod cni;
mod config;
pub mod conflist;
mod conntrack;
mod dial;
mod error;
mod firewall;
mod hash;
mod host;
mod in_use;
mod inspect;
mod interfaces;
mod ipam;
mod links;
mod listen;
mod look;
mod mend;
mod netlink;
mod netns;
mod news;
mod nft;
mod occupied;
mod owner;
mod packets;
mod peers;
mod ports;
mod probe;
mod recipe;
mod shaping;
mod sockets;
mod state;
mod sweep;
mod sysctl;
mod trace;
mod way_back;
mod wishes;

#[cfg(test)]
extern crate self as netplugin;
#[cfg(test)]
#[path = "../tests/support/mod.rs"]
mod support;

use netlink_sys::protocols::NETLINK_ROUTE;

pub use balance::{Balance, Balancer, Front, NodePort, remove_here};
pub use config::{
    Attached, Attachment, Described, Firewall, InterfaceAddress, Mac, Masquerade, NetworkConfig, PortMapping,
    Protocol, Request, Subnet, SubnetError, Timed,
};
pub use dial::dial;
pub use error::NetError;
pub use firewall::{Changes, Review, restore, review};
pub use host::{host_addresses, is_address_of_host};
pub use inspect::raise_loopback;
pub use interfaces::{Interface, interfaces};
pub use listen::{Listeners, describe_listen, listen, listen_here, lost_addresses, restore_addresses};
pub use look::{
    Room, SeenAddress, SeenChain, SeenLease, SeenLink, SeenMap, SeenNeighbour, SeenRoute, SeenRule,
    SeenTable, Window, leases, room,
};
pub use mend::{Heeded, LinkChanges, Loss, Mending, heeded, lease_file, lost, mend, unled};
pub use netlink::KernelError;
pub use owner::is_anothers;
pub use packets::{Instruction, PacketSocket, Seen, Way};
pub use peers::{Led, LedState, Overlay, Peer, Peers, Place, Problem, Vxlan, apply_peers, peers};
pub use probe::Probe;
pub use sockets::{Socket, sockets};
pub use trace::{Flow, Met, Tracer};
pub use wishes::{Bandwidth, Rate, WayOut, Wishes};

use crate::ipam::Lease;
use crate::netlink::Netlink;
use crate::recipe::Joining;
use crate::state::Sharing;

/// Puts a pod on the network. On an error everything is undone. Asking again for the same id, interface and
/// ports gives the same addresses.
///
/// # Errors
/// See [`NetError`].
pub fn attach(config: &NetworkConfig, request: &Request<'_>) -> Result<Attached, NetError> {
    attach_by(config, request, Joining::AsConfigured)
}

pub(crate) fn attach_by(
    config: &NetworkConfig,
    request: &Request<'_>,
    joining: Joining,
) -> Result<Attached, NetError> {
    config.validate()?;
    validate(request)?;
    wishes::check(config, &request.wishes)?;
    let (attachment, trace) = recipe::World::new(config, request)?.joining(joining).attach()?;
    Ok(Attached { attachment, trace })
}

/// Takes ports of the host for a pod that has no interface here, because it uses the host's own: they lead nowhere, and
/// nobody else gets them. [`detach`] gives them back. Asking again changes nothing.
///
/// # Errors
/// [`NetError::PortHeld`] or [`NetError::PortInUse`], which name who has one; and the state files' own.
pub fn reserve(
    config: &NetworkConfig,
    (id, owner): (&str, &str),
    ports: &[PortMapping],
) -> Result<(), NetError> {
    if !is_file_name(id) {
        let problem = "the id cannot be a file's name".to_owned();
        return Err(NetError::Request { id: id.to_owned(), problem });
    }
    ports::reserve(config, (id, owner), ports)
}

/// What a pod would be told that wants this port of the host now; `None` if it is free.
///
/// # Errors
/// If a state file cannot be read.
pub fn port_in_the_way(config: &NetworkConfig, mapping: &PortMapping) -> Result<Option<NetError>, NetError> {
    ports::in_the_way(config, mapping)
}

/// Gives back all that the pod `id` holds, from the state files alone; what is not there counts as given
/// back. The veth goes with the pod's network namespace, and nobody waits for it; one that does not go, because
/// somebody has the namespace open, is deleted by [`release_idle`].
pub fn detach(config: &NetworkConfig, id: &str) -> Vec<NetError> {
    detach_those(config, id, |_| true)
}

/// As [`detach`], of one interface, whose cable goes at once.
pub(crate) fn detach_interface(config: &NetworkConfig, request: &Request<'_>) -> Vec<NetError> {
    // A cable's name follows from the bridge's and the pod's: on another's bridge it would be another's.
    let removed = is_anothers(config)
        .and_then(|anothers| if anothers { Ok(()) } else { inspect::remove_cable(config, request) });
    let mut errors: Vec<NetError> = removed.err().into_iter().collect();
    errors.extend(detach_those(config, request.id, |lease| lease.ifname == request.ifname));
    errors
}

fn detach_those(config: &NetworkConfig, id: &str, is_wanted: impl Fn(&Lease) -> bool) -> Vec<NetError> {
    let mut errors = Vec::new();
    if !is_file_name(id) {
        return errors;
    }
    match state::lock_if_present(&config.state_dir, Sharing::Shared) {
        Ok(None) => return errors,
        Ok(Some(_lock)) => match ipam::leases_of(config, id) {
            Ok(leases) => {
                let (wanted, others): (Vec<Lease>, Vec<Lease>) = leases.into_iter().partition(is_wanted);
                for lease in &wanted {
                    give_back(config, lease, &mut errors);
                }
                if errors.is_empty() && others.is_empty() {
                    errors.extend(ipam::forget_pod(config, id).err());
                }
            }
            Err(error) => errors.push(error),
        },
        Err(error) => errors.push(error),
    }
    errors
}

/// Gives back a lease: ports first, so that nothing leads to an address that somebody else may get.
pub(crate) fn give_back(config: &NetworkConfig, lease: &Lease, errors: &mut Vec<NetError>) {
    match ports::held_by(config, lease) {
        Ok(held) if !held.is_empty() && !lease.addresses.is_empty() => match is_anothers(config) {
            // So is the table, which may have the same port for the same address.
            Ok(true) => (),
            Ok(false) => errors.extend(nft::unmap_ports(config, &held, &lease.addresses).err()),
            Err(error) => errors.push(error),
        },
        Ok(_) => (),
        Err(error) => errors.push(error),
    }
    errors.extend(ports::forget(config, lease).err());
    errors.extend(ipam::give_back(config, lease).err());
}

/// Deletes the bridge, the nftables table and cables that have lost their pod if no pod holds a lease; the next [`attach`] makes them
/// again. It takes some tens of milliseconds, so call it when nobody waits. True if they are gone.
///
/// Forwarding (`net.ipv4.ip_forward`) stays as it is: others may rely on it by now.
///
/// # Errors
/// See [`NetError`].
pub fn release_idle(config: &NetworkConfig) -> Result<bool, NetError> {
    let Some(_lock) = state::lock_if_present(&config.state_dir, Sharing::Exclusive)? else { return Ok(true) };
    let pods = config.state_dir.join("pods");
    let ids = state::names(&pods)?;
    for id in &ids {
        if !ports::only_reserves(config, id)? {
            return Ok(false);
        }
    }
    if bridge::may_exist(config) {
        bridge::rename_back(&mut Netlink::route()?, config)?;
    }
    if bridge::may_exist(config) && is_anothers(config)? {
        // Somebody was quicker, and nothing that has the bridge's name is ours.
        bridge::forget(config)?;
    }
    if bridge::may_exist(config) {
        config.validate()?;
        if sweep::has_unleased(&mut Netlink::route()?, config)? {
            return Ok(false);
        }
        // It is not complete from here on. On a full disk the old record has to make room for the new one.
        let unfinished = bridge::Bridge::unfinished(config, bridge::may_translate(config));
        if bridge::remember(config, &unfinished).is_err() {
            bridge::forget(config)?;
            let _ = bridge::remember(config, &unfinished);
        }
        nft::remove(config)?;
        firewall::close(config)?;
        let mut netlink = Netlink::route()?;
        sweep::remove_cables(&mut netlink, config)
            .map_err(|source| NetError::Kernel { step: "delete cables without a pod".to_owned(), source })?;
        peers::record::remove(&mut netlink, config)?;
        bridge::remove(&mut netlink, config)?;
        barrier::remove(&mut netlink, config)?;
        bridge::forget(config)?;
    }
    if !ids.is_empty() {
        // The files are needed by pods that need nothing else.
        return Ok(true);
    }
    state::remove_file(&config.state_dir.join("last"))?;
    ipam::forget_chosen_macs(config)?;
    sweep::forget_loose(config)?;
    let _ = state::remove_directory(&config.state_dir.join("ports"));
    let _ = state::remove_directory(&pods);
    // The lock's file goes last; whoever waits for it sees that it is gone and makes a new one.
    state::remove_file(&config.state_dir.join("lock"))?;
    let _ = state::remove_directory(&config.state_dir);
    Ok(true)
}

/// The addresses of cables that are plugged in and that nobody has leased, for longer than a pod takes to leave: somebody has
/// removed the leases of containers that run. None of them is given out.
///
/// # Errors
/// If the kernel cannot be asked.
pub fn unleased(config: &NetworkConfig) -> Result<Vec<std::net::Ipv4Addr>, NetError> {
    let mut netlink = Netlink::route()?;
    let begun = std::time::Instant::now();
    loop {
        let found = sweep::loose(&mut netlink, config)?;
        if found.is_empty() || begun.elapsed() > sweep::LEAVING {
            return Ok(found);
        }
        std::thread::sleep(sweep::LEAVING / 20);
    }
}

/// Sends what is for these ranges of virtual addresses to the bridge, if there is one: packets that nobody translates end
/// there, and those that the host itself sends have the bridge's address as their source. Where somebody takes the bridge away, a
/// second route lets them end on the host. Both go with the network.
///
/// # Errors
/// What the kernel refuses.
pub fn lead_to_bridge(config: &NetworkConfig, ranges: &[Subnet]) -> Result<(), NetError> {
    let failed =
        |source| NetError::Kernel { step: "lead virtual addresses to the bridge".to_owned(), source };
    // Whoever removes an idle network does so alone: nothing is made behind his back that stays.
    let Some(_lock) = state::lock_if_present(&config.state_dir, Sharing::Shared)? else { return Ok(()) };
    let mut netlink = Netlink::open(NETLINK_ROUTE).map_err(|error| failed(error.into()))?;
    let found = host::find_link(&mut netlink, links::Link::Name(&config.bridge)).map_err(failed)?;
    let Some(bridge) = found.filter(|_| !is_anothers(config).unwrap_or(false)) else { return Ok(()) };
    for range in ranges {
        let (message, flags) = links::add_link_route(bridge.index, *range);
        netlink.push(message, flags);
        barrier::push(&mut netlink, config, &[*range]);
        match netlink.commit() {
            // This host has no such family.
            Err(error) if range.network().is_ipv6() => drop(error),
            result => result.map_err(failed)?,
        }
    }
    Ok(())
}

/// What [`lead_to_bridge`] does, as commands.
#[must_use]
pub fn describe_leading(config: &NetworkConfig, ranges: &[Subnet]) -> Described {
    let lead = |range| format!("ip route replace {range} dev {} scope link", config.bridge);
    let lines = ranges.iter().map(lead).chain(barrier::commands(config, ranges));
    Described {
        name: "lead virtual addresses to the bridge".to_owned(),
        command: lines.collect::<Vec<_>>().join("\n"),
    }
}

/// The steps of [`attach`] as commands that a reader could type. Touches nothing. Addresses are those that
/// the pod would get now.
#[must_use]
pub fn describe(config: &NetworkConfig, request: &Request<'_>) -> Vec<Described> {
    recipe::describe(config, request)
}

/// Whether the network can be here at all: no clash with the host's routes, addresses and interfaces.
/// [`attach`] checks this too, when it makes the bridge.
///
/// # Errors
/// [`NetError::SubnetClash`], [`NetError::BridgeTaken`] or [`NetError::Peer`], which name what is in the way.
pub fn check(config: &NetworkConfig) -> Result<(), NetError> {
    config.validate()?;
    let mut netlink = Netlink::route()?;
    bridge::check(&mut netlink, config)?;
    peers::plan(&mut netlink, config, host::Ipv6::here()).map(|_| ())
}

/// Whether the network's bridge is this state directory's, or can become so. It is quick, and says less than [`check`].
///
/// # Errors
/// [`NetError::BridgeTaken`], which says whose it is.
pub fn check_owner(config: &NetworkConfig) -> Result<(), NetError> {
    let mut netlink = Netlink::route()?;
    let Some(link) = bridge::find_link(&mut netlink, config)?.filter(|link| link.is_bridge) else {
        return Ok(());
    };
    match owner::of(&mut netlink, config, &link)? {
        owner::Owner::Another(problem) => {
            Err(NetError::BridgeTaken { bridge: config.bridge.clone(), problem })
        }
        owner::Owner::Us | owner::Owner::Nobody(_) => Ok(()),
    }
}

/// Fails if the host uses addresses of these ranges for something else than virtual addresses: [`lead_to_bridge`] would take
/// them away.
///
/// # Errors
/// [`NetError::SubnetClash`], which names what is in the way.
pub fn check_ranges(ranges: &[Subnet]) -> Result<(), NetError> {
    host::check_ranges(&mut Netlink::route()?, ranges)
}

fn validate(request: &Request<'_>) -> Result<(), NetError> {
    let wrong = |problem: String| Err(NetError::Request { id: request.id.to_owned(), problem });
    if !is_file_name(request.id) {
        return wrong("the id cannot be a file's name".to_owned());
    }
    if !config::is_interface_name(request.ifname) {
        return wrong(format!("{:?} cannot be an interface's name", request.ifname));
    }
    if let Some(mapping) = request.ports.iter().find(|p| p.host_port == 0 || p.container_port == 0) {
        return wrong(format!(
            "port 0 cannot be mapped ({} to {})",
            mapping.host_port, mapping.container_port
        ));
    }
    let loopback = std::net::IpAddr::from(std::net::Ipv6Addr::LOCALHOST);
    if request.ports.iter().any(|mapping| mapping.host_ip == Some(loopback)) {
        return wrong("a port of ::1 cannot be mapped: the kernel lets no answers back to it".to_owned());
    }
    match ports::clash_within(request.ports) {
        Some(twice) => wrong(format!("host port {}/{} is asked for twice", twice.host_port, twice.protocol)),
        None => Ok(()),
    }
}

fn is_file_name(text: &str) -> bool {
    !text.is_empty() && !text.starts_with('.') && text.len() < 200 && !text.contains(['/', '\0'])
}
