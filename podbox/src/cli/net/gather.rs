//! What the kernel says of the network, put together with whose it is.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;

use netplugin::{
    InterfaceAddress, Led, Masquerade, NetworkConfig, PortMapping, SeenAddress, SeenLease, SeenLink, Window,
    leases, room,
};

use crate::chain;
use crate::node;
use crate::picture::{
    self, Cable, ContainerPart, End, HostPart, NetworkPart, PeerPart, Picture, PodPart, PortPart,
};
use crate::pod::{Container, Role};
use crate::services::Catalogue;
use crate::store::ObjectKind;

use super::super::pods::{self, Found};
use super::super::targets::Query;
use super::super::{Failure, Session, stored};

/// The links of a namespace with their addresses.
pub(super) struct Links {
    links: Vec<SeenLink>,
    addresses: Vec<SeenAddress>,
}

impl Links {
    /// Reads them.
    pub(super) fn read(window: &mut Window) -> Result<Links, Failure> {
        let links = window.links().map_err(|error| Failure::host(&error))?;
        let addresses = window.addresses().map_err(|error| Failure::host(&error))?;
        Ok(Links { links, addresses })
    }

    pub(super) fn all(&self) -> &[SeenLink] {
        &self.links
    }

    pub(super) fn by_name(&self, name: &str) -> Option<&SeenLink> {
        self.links.iter().find(|link| link.name == name)
    }

    pub(super) fn by_index(&self, index: u32) -> Option<&SeenLink> {
        self.links.iter().find(|link| link.index == index)
    }

    /// Its addresses that are valid beyond the link, IPv4 first.
    pub(super) fn addresses_of(&self, index: u32) -> Vec<InterfaceAddress> {
        let own = self.addresses.iter().filter(|held| held.index == index && held.global);
        let mut found: Vec<_> = own.map(|held| held.address).collect();
        found.sort_by_key(|held| held.address.is_ipv6());
        found
    }

    pub(super) fn end(&self, link: &SeenLink) -> End {
        End {
            index: link.index,
            name: link.name.clone(),
            mac: link.mac,
            mtu: link.mtu,
            live: link.live,
            addresses: self.addresses_of(link.index),
        }
    }

    /// The other end, here, of a cable whose end `inside` is in another namespace.
    pub(super) fn other_end(&self, inside: &SeenLink) -> Option<&SeenLink> {
        let index = inside.peer?;
        self.by_index(index).filter(|link| link.kind == "veth" && link.peer == Some(inside.index))
    }
}

/// The whole picture; `None` is every namespace.
pub(super) fn picture(session: &Session, namespace: Option<&str>) -> Result<Picture, Failure> {
    let mut window = Window::here().map_err(|error| Failure::host(&error))?;
    let links = Links::read(&mut window)?;
    let found = pods::all(session, namespace);
    let objects: Vec<_> = found.iter().map(Found::object).collect();
    let mut pods: Vec<_> =
        found.iter().zip(&objects).map(|(pod, object)| self::pod(pod, object, &links)).collect();
    for config in session.settings.networks() {
        pods.extend(containers(config, namespace, &links)?);
    }
    let networks = networks(session, &mut window, (&links, &pods))?;
    let host = HostPart {
        name: node::name(),
        uplinks: uplinks(&mut window, &links, &session.settings.network.bridge)?,
        networks,
        pods,
    };
    let services = stored::fitting(session, ObjectKind::Service, &Query::within(namespace));
    let catalogue = Catalogue::read(&session.settings.store);
    let peers = peers(session)?;
    Ok(Picture { hosts: vec![host], peers, services: picture::services(&services, &catalogue) })
}

/// The other hosts, and whether what leads to them is there.
fn peers(session: &Session) -> Result<Vec<PeerPart>, Failure> {
    let found = netplugin::peers(&session.settings.network).map_err(|error| Failure::host(&error))?;
    let part = |led: Led| PeerPart {
        name: led.peer.name,
        addresses: led.peer.addresses.iter().map(ToString::to_string).collect(),
        slices: led.peer.slices.iter().map(ToString::to_string).collect(),
        state: format!("{:?}", led.state).to_lowercase(),
    };
    Ok(found.into_iter().map(part).collect())
}

/// The links by which packets leave for everywhere else.
fn uplinks(window: &mut Window, links: &Links, bridge: &str) -> Result<Vec<End>, Failure> {
    let routes = window.routes().map_err(|error| Failure::host(&error))?;
    let default = routes.iter().filter(|route| route.to.prefix == 0).filter_map(|route| route.index);
    let mut found: BTreeMap<u32, End> = BTreeMap::new();
    for link in default.filter_map(|index| links.by_index(index)).filter(|link| link.name != bridge) {
        found.insert(link.index, links.end(link));
    }
    Ok(found.into_values().collect())
}

/// All networks that podbox's pods and other runtimes' containers are on, as they are now.
pub(super) fn all_networks(
    session: &Session,
    window: &mut Window,
    links: &Links,
) -> Result<Vec<NetworkPart>, Failure> {
    let found = pods::all(session, None);
    let pods: Vec<_> = found.iter().map(|pod| self::pod(pod, &pod.object(), links)).collect();
    networks(session, window, (links, &pods))
}

/// podbox's own networks, if pods get theirs from them or somebody else's containers are on them, and those of others that
/// pods are plugged into.
fn networks(
    session: &Session,
    window: &mut Window,
    (links, pods): (&Links, &[PodPart]),
) -> Result<Vec<NetworkPart>, Failure> {
    let mut networks = Vec::new();
    for config in session.settings.networks() {
        let network = network(config, window, links)?;
        let is_used = network.bridge.is_some() || network.subnets.iter().any(|room| room.used > 0);
        if session.settings.chain.is_none() || is_used {
            networks.push(network);
        }
    }
    let own = session.settings.networks().filter(|config| !is_anothers(config));
    let own: Vec<&str> = own.map(|config| config.bridge.as_str()).collect();
    networks.extend(other_networks(pods, links, &own));
    Ok(networks)
}

/// A network of this podbox.
fn network(config: &NetworkConfig, window: &mut Window, links: &Links) -> Result<NetworkPart, Failure> {
    let held = leases(config).map_err(|error| Failure::host(&error))?;
    let tables = window.tables().unwrap_or_default();
    // The table has the bridge's name, so it is another's too.
    let is_ours = !is_anothers(config);
    Ok(NetworkPart {
        name: config.name.clone(),
        subnets: room(config, &held),
        masquerade: config.masquerade == Masquerade::Egress,
        bridge: links
            .by_name(&config.bridge)
            .filter(|link| link.kind == "bridge" && is_ours)
            .map(|link| links.end(link)),
        table: Some(config.table()).filter(|table| tables.contains(table) && is_ours),
    })
}

/// Whether the bridge of the network's name belongs to another one, such as another podbox's. What cannot be found out is drawn.
fn is_anothers(config: &NetworkConfig) -> bool {
    netplugin::is_anothers(config).unwrap_or(false)
}

/// Other runtimes' containers that are on the network, as far as it can be seen from outside: whoever put them there knows
/// where their namespaces are. A kubelet's runtime tells the pod's name, and others none.
fn containers(config: &NetworkConfig, wanted: Option<&str>, links: &Links) -> Result<Vec<PodPart>, Failure> {
    let held = leases(config).map_err(|error| Failure::host(&error))?;
    let part = |lease: SeenLease| {
        let (namespace, name) = lease.owner.split_once('/').unwrap_or(("", &lease.owner));
        let outside = links.by_name(&lease.cable);
        let within = |address: &IpAddr| {
            let subnet = config.subnets().find(|subnet| subnet.contains(*address))?;
            Some(InterfaceAddress { address: *address, prefix: subnet.prefix() })
        };
        let bridge = outside.and_then(|end| links.by_index(end.master?)).map(|bridge| bridge.name.clone());
        let cable = Cable {
            // What can be told without looking inside. Its end is not there either, if the cable has gone.
            inside: End {
                index: outside.and_then(|end| end.peer).unwrap_or_default(),
                name: lease.interface.clone(),
                mac: Some(lease.mac),
                mtu: outside.map_or(0, |end| end.mtu),
                live: outside.is_some_and(|end| end.live),
                addresses: lease.addresses.iter().filter_map(within).collect(),
            },
            outside: outside.map(|end| links.end(end)),
            unplugged_from: bridge.is_none().then(|| config.bridge.clone()),
            bridge,
        };
        PodPart {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            uid: lease.id.clone(),
            phase: "attached by CNI".to_owned(),
            ready: false,
            host_network: false,
            netns: None,
            netns_inode: None,
            cables: vec![cable],
            containers: mapped(&lease).into_iter().collect(),
        }
    };
    let parts = held.into_iter().filter(SeenLease::is_of_cni).map(part);
    Ok(parts.filter(|part| wanted.is_none_or(|wanted| part.namespace == wanted)).collect())
}

/// The ports of the host that lead to a container of which nothing else is known.
fn mapped(lease: &SeenLease) -> Option<ContainerPart> {
    let port = |mapping: &PortMapping| PortPart {
        name: None,
        port: mapping.container_port,
        protocol: mapping.protocol.to_string(),
        host_port: Some(mapping.host_port),
        host_ip: mapping.host_ip,
    };
    let ports: Vec<_> = lease.ports.iter().map(port).collect();
    (!ports.is_empty()).then(|| ContainerPart { name: "container".to_owned(), ports })
}

/// The bridges of others that pods are plugged into.
fn other_networks(pods: &[PodPart], links: &Links, own: &[&str]) -> Vec<NetworkPart> {
    let plugs = pods.iter().flat_map(|pod| &pod.cables).filter_map(|cable| cable.bridge.as_deref());
    let bridges: BTreeSet<&str> = plugs.filter(|bridge| !own.contains(bridge)).collect();
    let network = |bridge: &str| NetworkPart {
        name: bridge.to_owned(),
        subnets: Vec::new(),
        masquerade: false,
        bridge: links.by_name(bridge).map(|link| links.end(link)),
        table: None,
    };
    bridges.into_iter().map(network).collect()
}

/// A pod: what its files say of it, and what is in its namespace.
fn pod(found: &Found, object: &serde_json::Value, host: &Links) -> PodPart {
    let conditions = &object["status"]["conditions"];
    let is_ready =
        |condition: &&serde_json::Value| condition["type"] == "Ready" && condition["status"] == "True";
    let netns = found.dir.namespaces().join("net");
    let inside = if found.pod.host.network { None } else { Window::of(&netns).ok() };
    let cables =
        inside.and_then(|mut window| Links::read(&mut window).ok()).map(|inside| cables(&inside, host));
    let has_netns = cables.is_some();
    PodPart {
        namespace: found.pod.namespace.clone(),
        name: found.pod.name.clone(),
        uid: found.pod.uid.clone(),
        phase: object["status"]["phase"].as_str().unwrap_or("Pending").to_owned(),
        ready: conditions.as_array().is_some_and(|all| all.iter().any(|one| is_ready(&one))),
        host_network: found.pod.host.network,
        netns: has_netns.then(|| netns.display().to_string()),
        netns_inode: fs::metadata(&netns).ok().filter(|_| has_netns).map(|data| data.ino()),
        cables: cables.unwrap_or_default(),
        containers: found.pod.containers.iter().map(|one| container(found, one)).collect(),
    }
}

fn cables(inside: &Links, host: &Links) -> Vec<Cable> {
    let own = inside.all().iter().filter(|link| !link.loopback && link.up);
    let cable = |link: &SeenLink| {
        let outside = host.other_end(link);
        let bridge = outside.and_then(|end| host.by_index(end.master?)).map(|bridge| bridge.name.clone());
        let outside = outside.map(|end| host.end(end));
        Cable { inside: inside.end(link), outside, bridge, unplugged_from: None }
    };
    own.map(cable).collect()
}

fn container(found: &Found, container: &Container) -> ContainerPart {
    // What an init container names leads nowhere, and on somebody else's network it may not either.
    let is_led = container.role != Role::Init && (found.pod.host.network || chain::leads_ports(&found.dir));
    let ports = container.ports.iter().map(|port| PortPart {
        name: port.name.clone(),
        port: port.container_port,
        protocol: format!("{:?}", port.protocol).to_lowercase(),
        host_port: port.host_port.filter(|_| is_led),
        host_ip: port.host_ip,
    });
    ContainerPart { name: container.name.clone(), ports: ports.collect() }
}
