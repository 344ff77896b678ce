//! The bridge: what all pods of a network share. Made by the first pod that needs it, removed when nobody
//! does; both under the exclusive lock.
//!
//! A file says that it is being made, and then that it is complete, with which number and for which
//! configuration. If the file does not say so, or the link's number is another, every step of making it is
//! done (again): each is harmless where it was done before. Without the file nothing here is ours to remove, and neither is
//! what says that it is another's ([`crate::owner`]).

use std::path::PathBuf;

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use crate::barrier;
use crate::config::{InterfaceAddress, Mac, Masquerade, NetworkConfig};
use crate::error::NetError;
use crate::host::{self, Facts, Ipv6};
use crate::links::{self, Link};
use crate::netlink::{KernelError, Netlink};
use crate::owner::{self, Owner};
use crate::state;
use crate::sysctl;

/// What is known about a complete bridge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Bridge {
    /// Its number on the host.
    pub(crate) index: u32,
    /// The largest packet on it, in bytes.
    pub(crate) mtu: u32,
    /// Whether the nftables table was made, or is about to be.
    pub(crate) translates: bool,
    /// What this host could not give.
    pub(crate) notes: Vec<String>,
    /// What it was made for, without the peers: who they are makes no difference to the bridge.
    config: NetworkConfig,
}

impl Bridge {
    /// A bridge that is about to be made, or to be removed, with or without its table.
    pub(crate) fn unfinished(config: &NetworkConfig, translates: bool) -> Bridge {
        Bridge { index: 0, mtu: DEFAULT_MTU, translates, notes: Vec::new(), config: own_part(config) }
    }

    /// What it was made for, without the peers.
    pub(crate) fn made_for(&self) -> &NetworkConfig {
        &self.config
    }

    /// The first key of a CNI configuration that says something else than the network is: the key, what it says, and what
    /// is. No `mtu` says nothing.
    fn difference(&self, asked: &NetworkConfig) -> Option<(&'static str, String, String)> {
        let has = &self.config;
        let subnets =
            |config: &NetworkConfig| config.subnets().map(|s| s.to_string()).collect::<Vec<_>>().join(", ");
        let masquerade = |config: &NetworkConfig| (config.masquerade == Masquerade::Egress).to_string();
        let firewall = |config: &NetworkConfig| format!("{:?}", config.firewall).to_lowercase();
        let mtu = asked.mtu.filter(|mtu| *mtu != self.mtu && has.mtu != Some(*mtu));
        let mtu = mtu.map_or_else(Default::default, |mtu| (mtu.to_string(), self.mtu.to_string()));
        let all = [
            ("subnets", subnets(asked), subnets(has)),
            ("mtu", mtu.0, mtu.1),
            ("ipMasq", masquerade(asked), masquerade(has)),
            ("firewall", firewall(asked), firewall(has)),
        ];
        all.into_iter().find(|(_, asked, has)| asked != has)
    }
}

/// What the bridge is made for.
fn own_part(config: &NetworkConfig) -> NetworkConfig {
    let mut own = config.clone();
    own.peers.hosts.clear();
    own
}

fn file(config: &NetworkConfig) -> PathBuf {
    config.state_dir.join("bridge")
}

/// The bridge's own Ethernet address, the same whenever it is made: pods remember it.
pub(crate) fn mac(config: &NetworkConfig) -> Mac {
    let gateway = config.subnets().next().map(|subnet| subnet.gateway());
    Mac::of(0x0a, gateway.unwrap_or(std::net::Ipv4Addr::UNSPECIFIED.into()))
}

/// What is written down of the bridge.
pub(crate) fn recorded(config: &NetworkConfig) -> Result<Option<Bridge>, NetError> {
    state::read(&file(config))
}

/// The bridge if it is complete.
pub(crate) fn find(netlink: &mut Netlink, config: &NetworkConfig) -> Result<Option<Bridge>, NetError> {
    Ok(complete(netlink, config)?.filter(|bridge| bridge.config == own_part(config)))
}

/// The bridge if it is complete and as `request` says, for somebody who joins and changes nothing: what only podbox's own
/// configuration tells may be as it is.
///
/// # Errors
/// [`NetError::Config`] if it is not and somebody else than the pod `id` is on the network, who would be changed with it.
pub(crate) fn join(
    netlink: &mut Netlink,
    config: &NetworkConfig,
    id: &str,
) -> Result<Option<Bridge>, NetError> {
    let Some(bridge) = complete(netlink, config)? else { return Ok(None) };
    let Some((key, asked, has)) = bridge.difference(config) else { return Ok(Some(bridge)) };
    let others = owner::holders(&config.state_dir, Some(id))?;
    if others.is_empty() {
        return Ok(None);
    }
    let who = owner::named(&others);
    let problem = format!(
        "{key} is {asked}, and the network runs with {has}, which {who} on: say the same, or end those first"
    );
    Err(NetError::Config { network: config.name.clone(), problem })
}

/// Whether there is a complete bridge, be it for an older configuration.
pub(crate) fn is_complete(netlink: &mut Netlink, config: &NetworkConfig) -> Result<bool, NetError> {
    complete(netlink, config).map(|bridge| bridge.is_some())
}

/// The bridge if it is complete, be it for an older configuration.
pub(crate) fn complete(netlink: &mut Netlink, config: &NetworkConfig) -> Result<Option<Bridge>, NetError> {
    let Some(bridge) = recorded(config).unwrap_or(None) else { return Ok(None) };
    let link = find_link(netlink, config)?;
    Ok(link.is_some_and(|link| link.index == bridge.index && link.is_bridge).then_some(bridge))
}

pub(crate) fn find_link(netlink: &mut Netlink, config: &NetworkConfig) -> Result<Option<Facts>, NetError> {
    host::find_link(netlink, Link::Name(&config.bridge))
        .map_err(|source| NetError::Kernel { step: format!("look for the bridge {}", config.bridge), source })
}

/// The bridge, if somebody has given it another name, and nothing has its own.
pub(crate) fn renamed(netlink: &mut Netlink, config: &NetworkConfig) -> Result<Option<Facts>, NetError> {
    let Some(bridge) = recorded(config).unwrap_or(None) else { return Ok(None) };
    if bridge.index == 0 || bridge.config.bridge != config.bridge || find_link(netlink, config)?.is_some() {
        return Ok(None);
    }
    let found = host::find_link(netlink, Link::Index(bridge.index)).map_err(|source| NetError::Kernel {
        step: format!("look for the bridge {}", config.bridge),
        source,
    })?;
    let mark = owner::mark(&config.state_dir);
    Ok(found.filter(|link| link.is_bridge && link.alias.as_deref() == Some(&mark)))
}

/// Gives the bridge its name again, if somebody has given it another one; true if so. The caller holds the lock alone.
pub(crate) fn rename_back(netlink: &mut Netlink, config: &NetworkConfig) -> Result<bool, NetError> {
    let Some(link) = renamed(netlink, config)? else { return Ok(false) };
    let step = || format!("give the bridge {} its name again, which is {} now", config.bridge, link.name);
    let failed = |source| NetError::Kernel { step: step(), source };
    let (rename, flags) = links::rename(link.index, &config.bridge);
    netlink.push(rename.clone(), flags);
    match netlink.commit() {
        // Before Linux 6.2 only what is switched off can get another name. What it loses by that is made again.
        Err(error) if error.is(Errno::EBUSY) => {
            let which = Link::Index(link.index);
            for (message, flags) in [links::down(which), (rename, flags), links::up(which)] {
                netlink.push(message, flags);
            }
            netlink.commit().map_err(failed)?;
        }
        result => result.map_err(failed)?,
    }
    Ok(true)
}

/// Fails if the network cannot be here: something else has the bridge's name or the subnets' addresses. Returns the bridge
/// if it is there and this network's.
pub(crate) fn check(netlink: &mut Netlink, config: &NetworkConfig) -> Result<Option<Facts>, NetError> {
    loop {
        let link = find_link(netlink, config)?;
        let number = link.as_ref().map(|link| link.index);
        match check_with(netlink, config, link) {
            // Somebody has made the bridge meanwhile: that, and whose it is, is what is to be told.
            Err(NetError::SubnetClash { .. })
                if find_link(netlink, config)?.map(|now| now.index) != number => {}
            result => return result,
        }
    }
}

fn check_with(
    netlink: &mut Netlink,
    config: &NetworkConfig,
    link: Option<Facts>,
) -> Result<Option<Facts>, NetError> {
    let taken = |problem: String| NetError::BridgeTaken { bridge: config.bridge.clone(), problem };
    let mut ours = None;
    if let Some(link) = &link {
        if !link.is_bridge {
            return Err(taken("there is an interface of that name that is no bridge".to_owned()));
        }
        match owner::of(netlink, config, link)? {
            Owner::Another(problem) => return Err(taken(problem)),
            // It will be removed.
            Owner::Nobody(_) => {}
            Owner::Us => {
                let expected = mac(config);
                if let Some(its) = link.mac.filter(|its| *its != expected) {
                    return Err(taken(format!(
                        "it was made for other subnets (its Ethernet address is {its}, not {expected}); it goes with its last pod"
                    )));
                }
                if let Some(problem) = foreign_address(netlink, config, link)? {
                    return Err(taken(problem));
                }
                ours = Some(link.clone());
            }
        }
    }
    host::check_subnets(netlink, config, link.as_ref().map(|link| link.index))?;
    Ok(ours)
}

/// What is wrong with a bridge that has an address which the network does not give it.
pub(crate) fn foreign_address(
    netlink: &mut Netlink,
    config: &NetworkConfig,
    link: &Facts,
) -> Result<Option<String>, NetError> {
    let addresses = host::addresses(netlink)
        .map_err(|source| NetError::Kernel { step: "list the host's addresses".to_owned(), source })?;
    let foreign = addresses.iter().find(|a| {
        a.index == link.index
            && a.is_global
            && !config.subnets().any(|s| s.gateway() == a.address && s.prefix() == a.prefix)
    });
    Ok(foreign.map(|address| format!("it has the address {}/{}", address.address, address.prefix)))
}

/// Ethernet's.
const DEFAULT_MTU: u32 = 1500;

/// The largest packet of a bridge that is about to be made, in bytes.
pub(crate) fn mtu(netlink: &mut Netlink, config: &NetworkConfig) -> u32 {
    // Less than this and the kernel takes IPv6 from an interface (RFC 8200, section 5); more than this no veth has.
    let least = if config.ipv6.is_some() { 1280 } else { 576 };
    let uplink = || host::uplink_mtu(netlink, &config.bridge).unwrap_or(DEFAULT_MTU).clamp(least, 65535);
    config.mtu.unwrap_or_else(uplink)
}

/// Makes the link, up, with the mark of its owner, and returns its number.
pub(crate) fn make(
    netlink: &mut Netlink,
    config: &NetworkConfig,
    existing: Option<u32>,
    (ipv6, mtu): (Ipv6, u32),
) -> Result<u32, KernelError> {
    let index = match existing {
        None => create(netlink, config, mtu)?,
        Some(index) => {
            let (message, flags) = links::set_mtu(Link::Index(index), mtu);
            netlink.push(message, flags);
            index
        }
    };
    // By its number: what has the name by now may be somebody else's.
    let link = Link::Index(index);
    let (message, flags) = links::set_alias(link, &owner::mark(&config.state_dir));
    netlink.push(message, flags);
    if ipv6 == Ipv6::On {
        let (message, flags) = links::no_link_local(link);
        netlink.push(message, flags);
    }
    let (message, flags) = links::up(link);
    netlink.push(message, flags);
    netlink.commit()?;
    Ok(index)
}

fn create(netlink: &mut Netlink, config: &NetworkConfig, mtu: u32) -> Result<u32, KernelError> {
    let (message, flags) = links::create_bridge(&config.bridge, mac(config), mtu);
    netlink.push(message, flags);
    netlink.commit()?;
    let found = host::find_link(netlink, Link::Name(&config.bridge))?;
    found.map(|link| link.index).ok_or_else(|| std::io::Error::from(Errno::ENODEV).into())
}

/// The bridge's addresses: the pods' gateways, and for IPv6 a link-local one, from which the host asks for a
/// pod's Ethernet address when it forwards somebody else's packet. The kernel would make one itself, but
/// after a second of duplicate address detection.
pub(crate) fn addresses(config: &NetworkConfig, ipv6: Ipv6) -> Vec<InterfaceAddress> {
    let subnets = crate::ipam::subnets(config, ipv6);
    let gateways = subnets.iter().map(|s| InterfaceAddress { address: s.gateway(), prefix: s.prefix() });
    let link_local = InterfaceAddress { address: [0xfe80, 0, 0, 0, 0, 0, 0, 1].into(), prefix: 64 };
    let has_ipv6 = subnets.iter().any(|subnet| subnet.network().is_ipv6());
    gateways.chain(has_ipv6.then_some(link_local)).collect()
}

/// From now on the bridge carries packets of `mtu` bytes, and whatever is plugged in is to do so too.
pub(crate) fn resize(netlink: &mut Netlink, config: &NetworkConfig, mtu: u32) -> Result<(), NetError> {
    let Some(bridge) = complete(netlink, config)?.filter(|bridge| bridge.mtu != mtu) else { return Ok(()) };
    let (message, flags) = links::set_mtu(Link::Index(bridge.index), mtu);
    // Those who hear of the link's change find it written down.
    remember(config, &Bridge { mtu, ..bridge })?;
    netlink.push(message, flags);
    let step = || format!("let the bridge {} carry {mtu} bytes", config.bridge);
    netlink.commit().map_err(|source| NetError::Kernel { step: step(), source })
}

/// Gives the bridge its addresses, with which the kernel makes the routes to the pods, and makes those that count without it.
pub(crate) fn give_addresses(
    netlink: &mut Netlink,
    config: &NetworkConfig,
    (index, ipv6): (u32, Ipv6),
) -> Result<(), KernelError> {
    for address in addresses(config, ipv6) {
        let (message, flags) = links::add_address(index, address);
        netlink.push(message, flags);
    }
    barrier::push(netlink, config, &crate::ipam::subnets(config, ipv6));
    netlink.commit()
}

/// Makes the routes to the pods again, which the kernel makes with the bridge's addresses, and those that count without it.
pub(crate) fn lead_to_pods(netlink: &mut Netlink, bridge: &Bridge) -> Result<(), NetError> {
    let config = bridge.made_for();
    let subnets = crate::ipam::subnets(config, Ipv6::here());
    for subnet in &subnets {
        let (message, flags) = links::add_pods_route(bridge.index, *subnet);
        netlink.push(message, flags);
    }
    barrier::push(netlink, config, &subnets);
    let step = || format!("lead the pods' addresses to the bridge {}", config.bridge);
    netlink.commit().map_err(|source| NetError::Kernel { step: step(), source })
}

/// Lets the host pass packets on between its interfaces. Where /proc/sys cannot be written the network still
/// works within this host, so the problem is returned as a note.
pub(crate) fn forward(netlink: &mut Netlink, config: &NetworkConfig, ipv6: Ipv6) -> Option<String> {
    let v4 = if config.ipv4.is_some() { sysctl::set("ipv4/ip_forward", "1") } else { Ok(()) };
    let v6 = if config.ipv6.is_some() && ipv6 == Ipv6::On { forward_ipv6(netlink) } else { Ok(()) };
    let error = v4.and(v6).err()?;
    let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
    Some(format!("pods cannot reach beyond this host: cannot {error}{}", cause.unwrap_or_default()))
}

/// A host that forwards ignores router advertisements, unless `accept_ra` is 2 (the kernel's
/// networking/ip-sysctl.rst), and drops the default route that it learned from one. So whichever interface
/// has learned routes is told to go on first.
fn forward_ipv6(netlink: &mut Netlink) -> Result<(), NetError> {
    const SWITCH: &str = "ipv6/conf/all/forwarding";
    if sysctl::read(SWITCH).as_deref() == Some("1") {
        return Ok(());
    }
    let routes = host::routes(netlink).unwrap_or_default();
    for index in routes.iter().filter(|route| route.is_advertised).filter_map(|route| route.index) {
        let name = host::name_of(netlink, index);
        let setting = format!("ipv6/conf/{name}/accept_ra");
        if sysctl::read(&setting).as_deref() == Some("1") {
            sysctl::set(&setting, "2")?;
        }
    }
    sysctl::set(SWITCH, "1")
}

/// Whether the bridge was made, or began to be made, by us.
pub(crate) fn may_exist(config: &NetworkConfig) -> bool {
    file(config).exists()
}

/// Whether the nftables table was made, or began to be made, by us. A record that cannot be read may mean
/// anything.
pub(crate) fn may_translate(config: &NetworkConfig) -> bool {
    state::read::<Bridge>(&file(config)).map_or(true, |bridge| bridge.is_some_and(|bridge| bridge.translates))
}

/// Forgets the bridge, once it is removed.
pub(crate) fn forget(config: &NetworkConfig) -> Result<(), NetError> {
    state::remove_file(&file(config)).map(|_| ())
}

/// Writes down how far the bridge has come.
pub(crate) fn remember(config: &NetworkConfig, bridge: &Bridge) -> Result<(), NetError> {
    state::replace(&file(config), bridge)
}

/// Deletes the link if it is ours. The caller has seen that it is not another's.
pub(crate) fn remove(netlink: &mut Netlink, config: &NetworkConfig) -> Result<(), NetError> {
    let Some(link) = find_link(netlink, config)? else { return Ok(()) };
    let is_marked = link.alias.as_deref() == Some(&owner::mark(&config.state_dir));
    if !link.is_bridge || !(is_marked || link.mac == Some(mac(config))) {
        return Ok(());
    }
    let (message, flags) = links::delete(Link::Index(link.index));
    netlink.push(message, flags);
    match netlink.commit() {
        Err(source) if !source.is(Errno::ENODEV) => {
            Err(NetError::Kernel { step: format!("delete the bridge {}", config.bridge), source })
        }
        _ => Ok(()),
    }
}
