//! The bridge: what all pods of a network share. Made by the first pod that needs it, removed when nobody
//! does; both under the exclusive lock.
//!
//! A file says that it is being made, and then that it is complete, with which number and for which
//! configuration. If the file does not say so, or the link's number is another, every step of making it is
//! done (again): each is harmless where it was done before. Without the file nothing here is ours to remove.

use std::path::PathBuf;

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use crate::config::{InterfaceAddress, Mac, NetworkConfig};
use crate::error::NetError;
use crate::host::{self, Facts, Ipv6};
use crate::links::{self, Link};
use crate::netlink::{KernelError, Netlink};
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

/// The bridge if it is complete.
pub(crate) fn find(netlink: &mut Netlink, config: &NetworkConfig) -> Result<Option<Bridge>, NetError> {
    let Some(bridge) = recorded(config) else { return Ok(None) };
    if bridge.config != own_part(config) {
        return Ok(None);
    }
    let link = find_link(netlink, config)?;
    Ok(link.is_some_and(|link| link.index == bridge.index && link.is_bridge).then_some(bridge))
}

/// Whether there is a complete bridge, be it for an older configuration.
pub(crate) fn is_complete(netlink: &mut Netlink, config: &NetworkConfig) -> Result<bool, NetError> {
    complete(netlink, config).map(|bridge| bridge.is_some())
}

/// What is written down of the bridge, complete or not.
pub(crate) fn recorded(config: &NetworkConfig) -> Option<Bridge> {
    state::read::<Bridge>(&file(config)).unwrap_or(None)
}

/// The bridge if it is complete, be it for an older configuration.
pub(crate) fn complete(netlink: &mut Netlink, config: &NetworkConfig) -> Result<Option<Bridge>, NetError> {
    let Some(bridge) = recorded(config) else { return Ok(None) };
    let link = find_link(netlink, config)?;
    Ok(link.is_some_and(|link| link.index == bridge.index && link.is_bridge).then_some(bridge))
}

fn find_link(netlink: &mut Netlink, config: &NetworkConfig) -> Result<Option<Facts>, NetError> {
    host::find_link(netlink, Link::Name(&config.bridge))
        .map_err(|source| NetError::Kernel { step: format!("look for the bridge {}", config.bridge), source })
}

/// Fails if the network cannot be here: something else has the bridge's name or the subnets' addresses.
pub(crate) fn check(netlink: &mut Netlink, config: &NetworkConfig) -> Result<Option<Facts>, NetError> {
    let link = find_link(netlink, config)?;
    let taken = |problem: String| NetError::BridgeTaken { bridge: config.bridge.clone(), problem };
    if let Some(link) = &link {
        if !link.is_bridge {
            return Err(taken("there is an interface of that name that is no bridge".to_owned()));
        }
        let expected = mac(config);
        if link.mac != Some(expected) {
            let its = link.mac.map_or_else(|| "none".to_owned(), |mac| mac.to_string());
            return Err(taken(format!(
                "there is a bridge of that name, made by someone else (its Ethernet address is {its}, not {expected})"
            )));
        }
        let addresses = host::addresses(netlink)
            .map_err(|source| NetError::Kernel { step: "list the host's addresses".to_owned(), source })?;
        let foreign = addresses.iter().find(|a| {
            a.index == link.index
                && a.is_global
                && !config.subnets().any(|s| s.gateway() == a.address && s.prefix() == a.prefix)
        });
        if let Some(address) = foreign {
            return Err(taken(format!("it has the address {}/{}", address.address, address.prefix)));
        }
    }
    host::check_subnets(netlink, config, link.as_ref().map(|link| link.index))?;
    Ok(link)
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

/// Makes the link, up, and returns its number.
pub(crate) fn make(
    netlink: &mut Netlink,
    config: &NetworkConfig,
    existing: Option<u32>,
    (ipv6, mtu): (Ipv6, u32),
) -> Result<u32, KernelError> {
    let (message, flags) = match existing {
        None => links::create_bridge(&config.bridge, mac(config), mtu),
        Some(index) => links::set_mtu(Link::Index(index), mtu),
    };
    netlink.push(message, flags);
    let link = Link::Name(&config.bridge);
    if ipv6 == Ipv6::On {
        let (message, flags) = links::no_link_local(link);
        netlink.push(message, flags);
    }
    let (message, flags) = links::up(link);
    netlink.push(message, flags);
    netlink.commit()?;
    let found = host::find_link(netlink, link)?;
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

/// Gives the bridge its addresses.
pub(crate) fn give_addresses(
    netlink: &mut Netlink,
    index: u32,
    addresses: &[InterfaceAddress],
) -> Result<(), KernelError> {
    for address in addresses {
        let (message, flags) = links::add_address(index, *address);
        netlink.push(message, flags);
    }
    netlink.commit()
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

/// Deletes the link if it is ours.
pub(crate) fn remove(netlink: &mut Netlink, config: &NetworkConfig) -> Result<(), NetError> {
    let Some(link) = find_link(netlink, config)? else { return Ok(()) };
    if !link.is_bridge || link.mac != Some(mac(config)) {
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
