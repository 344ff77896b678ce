//! The ways of a pod's packets: each hop with what the kernel says about it now.

mod services;

use std::net::IpAddr;

use netplugin::{NetworkConfig, SeenLink, SeenNeighbour, SeenRoute, SeenTable, Window};
use serde::Serialize;

use crate::pod::interfaces::FIRST;

use super::super::pods::{self, Found};
use super::super::{Failure, Session};
use super::gather::Links;

/// All that is told of one pod.
#[derive(Debug, Serialize)]
pub(super) struct Journeys {
    /// `default/web`.
    pub(super) pod: String,
    /// Its interfaces, in a line.
    pub(super) is: String,
    /// The file that is its network namespace.
    pub(super) netns: String,
    pub(super) journeys: Vec<Journey>,
}

/// One way.
#[derive(Debug, Serialize)]
pub(super) struct Journey {
    /// Whither.
    pub(super) title: String,
    pub(super) hops: Vec<Hop>,
}

/// One step of a way.
#[derive(Debug, Serialize)]
pub(super) struct Hop {
    /// Where it happens, and what: `pod: route`.
    pub(super) place: &'static str,
    /// What the kernel says.
    pub(super) facts: Vec<String>,
    /// How a reader sees it.
    pub(super) command: String,
}

fn hop(place: &'static str, facts: impl IntoIterator<Item = String>, command: String) -> Hop {
    Hop { place, facts: facts.into_iter().collect(), command }
}

/// A namespace, and what a reader types to be in it.
struct Side {
    window: Window,
    links: Links,
    neighbours: Vec<SeenNeighbour>,
    prefix: String,
}

impl Side {
    fn read(mut window: Window, prefix: String) -> Result<Side, Failure> {
        let links = Links::read(&mut window)?;
        let neighbours = window.neighbours().map_err(|error| Failure::host(&error))?;
        Ok(Side { window, links, neighbours, prefix })
    }

    fn name(&self, index: Option<u32>) -> String {
        let link = index.and_then(|index| self.links.by_index(index));
        link.map_or_else(|| "nowhere".to_owned(), |link| format!("{} ({})", link.name, link.index))
    }

    /// Where it would send a packet.
    fn route(&mut self, place: &'static str, far: IpAddr) -> Result<(Option<SeenRoute>, Hop), Failure> {
        let route = self.window.route_to(far).map_err(|error| Failure::host(&error))?;
        let fact = match &route {
            Some(SeenRoute { refused: Some(word), .. }) => format!("{far}: {word}"),
            Some(route) => {
                let via = route.via.map(|via| format!(" via {via}")).unwrap_or_default();
                let source = route.source.map(|source| format!(", from {source}")).unwrap_or_default();
                format!("{far}{via} leaves by {}{source}", self.name(route.index))
            }
            None => format!("there is no way to {far}: the packet ends here"),
        };
        Ok((route, hop(place, [fact], format!("{}ip route get {far}", self.prefix))))
    }

    /// At which Ethernet address the next hop is.
    fn neighbour(&self, place: &'static str, next: IpAddr) -> (Option<&SeenNeighbour>, Hop) {
        let known = self.neighbours.iter().find(|known| known.address == Some(next) && known.mac.is_some());
        let fact = match known {
            Some(SeenNeighbour { mac: Some(mac), state, .. }) => format!("{next} is at {mac} ({state})"),
            _ => format!("{next}: not known yet; the first packet asks for it"),
        };
        (known, hop(place, [fact], format!("{}ip neighbour show {next}", self.prefix)))
    }
}

/// A pod's end of its way: its namespace, and its interfaces with the other ends of their cables.
struct Plug {
    name: String,
    side: Side,
    first: Wire,
    further: Vec<Wire>,
    /// Of the first interface.
    addresses: Vec<IpAddr>,
}

/// Both ends of a cable.
struct Wire {
    inside: SeenLink,
    outside: SeenLink,
}

impl Wire {
    /// From the pod to the bridge, or the other way.
    fn hop(&self, pod: &str, host: &Side) -> Hop {
        let Wire { inside, outside } = self;
        let port = if outside.hairpin { ", hairpin" } else { "" };
        let facts = [
            format!(
                "{} ({}) of pod {pod} is the other end of {} ({})",
                inside.name, inside.index, outside.name, outside.index
            ),
            match outside.master {
                Some(_) => format!("which is a port of {}{port}", host.name(outside.master)),
                None => "which is no bridge's port: the host routes what comes in there".to_owned(),
            },
        ];
        hop("cable", facts, format!("ip -d link show {}", outside.name))
    }
}

impl Plug {
    fn read(found: &Found, host: &Side) -> Result<Option<Plug>, Failure> {
        let path = found.dir.namespaces().join("net");
        if found.pod.host.network || !path.exists() {
            return Ok(None);
        }
        let window = Window::of(&path).map_err(|error| Failure::host(&error))?;
        let side = Side::read(window, format!("nsenter --net={} ", path.display()))?;
        let wire = |link: &SeenLink| {
            Some(Wire { inside: link.clone(), outside: host.links.other_end(link)?.clone() })
        };
        let mut wires: Vec<Wire> = side.links.all().iter().filter_map(wire).collect();
        wires.sort_by_key(|wire| wire.inside.name != FIRST);
        let mut wires = wires.into_iter();
        let Some(first) = wires.next() else { return Ok(None) };
        let addresses = side.links.addresses_of(first.inside.index).iter().map(|held| held.address).collect();
        Ok(Some(Plug { name: found.name(), side, first, further: wires.collect(), addresses }))
    }

    /// The cable of the interface with that number.
    fn wire(&self, index: Option<u32>) -> &Wire {
        self.further.iter().find(|wire| Some(wire.inside.index) == index).unwrap_or(&self.first)
    }

    /// An interface in a line: `eth0 (2), 10.244.0.2/16, 0a:58:0a:f4:00:02, mtu 1500`.
    fn line(&self, wire: &Wire) -> String {
        let inside = &wire.inside;
        let held = self.side.links.addresses_of(inside.index);
        let addresses = held.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let mac = inside.mac.map(|mac| format!(", {mac}")).unwrap_or_default();
        format!("{} ({}), {addresses}{mac}, mtu {}", inside.name, inside.index, inside.mtu)
    }
}

/// What is on the host.
struct Host<'a> {
    side: Side,
    forwarding: Vec<SeenNeighbour>,
    table: Option<SeenTable>,
    config: &'a NetworkConfig,
}

impl Host<'_> {
    /// By which port the bridge sends a frame on.
    fn bridge(&self, wire: &Wire, mac: Option<netplugin::Mac>) -> Option<Hop> {
        let bridge = &self.side.links.by_index(wire.outside.master?)?.name;
        let own = self.side.links.by_name(bridge).and_then(|link| link.mac);
        let fact = match mac {
            None => format!("{bridge}: the Ethernet address is not known yet"),
            Some(mac) if Some(mac) == own => {
                format!("{mac} is {bridge}'s own: the packet goes up into the host")
            }
            Some(mac) => {
                let entry = self.forwarding.iter().find(|entry| entry.mac == Some(mac));
                match entry {
                    Some(entry) => format!("{mac} is behind port {}", self.side.name(Some(entry.index))),
                    None => format!("{mac} was not heard of yet: the frame goes out by every port"),
                }
            }
        };
        Some(hop("host: bridge", [fact], format!("bridge fdb show br {bridge}")))
    }

    /// The rules of a chain in which one of these words occurs.
    fn rules(&self, place: &'static str, chain: &str, words: &[String]) -> Hop {
        let command = format!("nft -a list chain inet {} {chain}", self.config.table());
        let rules = self.table.as_ref().and_then(|table| table.chain(chain));
        let fits = |text: &str| words.iter().any(|word| text.contains(word.as_str()));
        let found = rules.iter().flat_map(|chain| &chain.rules).filter(|rule| fits(&rule.text));
        let mut facts: Vec<String> =
            found.map(|rule| format!("{} # handle {}", rule.text, rule.handle)).collect();
        if facts.is_empty() {
            facts.push(format!("no rule of chain {chain} is about it"));
        }
        hop(place, facts, command)
    }
}

/// All ways of a pod.
pub(super) fn journeys(session: &Session, found: &Found) -> Result<Journeys, Failure> {
    let config = &session.settings.network;
    let mut window = Window::here().map_err(|error| Failure::host(&error))?;
    let forwarding = window.forwarding().unwrap_or_default();
    let table = window.table(&config.table()).unwrap_or_default();
    let mut host = Host { side: Side::read(window, String::new())?, forwarding, table, config };
    let Some(mut pod) = Plug::read(found, &host.side)? else {
        let why = if found.pod.host.network {
            "is in the host's network: its packets are the host's own"
        } else {
            "has no network now"
        };
        return Err(Failure::wrong(format!("pod {} {why}", found.name())));
    };
    let mut journeys = vec![to_gateway(&mut pod, &host)?];
    for other in pods::all(session, None) {
        if other.pod.uid != found.pod.uid
            // One that is just going has no way to it any more.
            && let Ok(Some(other)) = Plug::read(&other, &host.side)
        {
            journeys.push(to_pod(&mut pod, &other, &host)?);
            break;
        }
    }
    journeys.push(to_outside(&mut pod, &mut host)?);
    journeys.extend(to_peers(&mut pod, &mut host)?);
    journeys.extend(to_further_networks(&mut pod, &host)?);
    journeys.extend(services::outward(session, found, &mut pod, &host)?);
    journeys.extend(from_host_ports(found, &pod, &mut host)?);
    journeys.extend(services::by_node_ports(session, found, &pod, &mut host)?);
    let wires = std::iter::once(&pod.first).chain(&pod.further);
    Ok(Journeys {
        pod: found.name(),
        is: wires.map(|wire| pod.line(wire)).collect::<Vec<_>>().join("; "),
        netns: found.dir.namespaces().join("net").display().to_string(),
        journeys,
    })
}

/// The pod's own address of a family, or its first.
fn own(pod: &Plug, like: Option<IpAddr>) -> Option<IpAddr> {
    let fits = |address: &&IpAddr| like.is_none_or(|like| like.is_ipv4() == address.is_ipv4());
    pod.addresses.iter().find(fits).copied()
}

/// The first hops of whatever leaves the pod; the last value is the Ethernet address that it goes to.
fn leave(
    pod: &mut Plug,
    host: &Host<'_>,
    far: IpAddr,
) -> Result<(Vec<Hop>, Option<netplugin::Mac>), Failure> {
    let (route, first) = pod.side.route("pod: route", far)?;
    let Some(route) = route.filter(|route| route.refused.is_none()) else { return Ok((vec![first], None)) };
    if route.index.and_then(|index| pod.side.links.by_index(index)).is_some_and(|link| link.loopback) {
        // To itself: nothing leaves.
        return Ok((vec![first], None));
    }
    let (known, second) = pod.side.neighbour("pod: neighbour", route.via.unwrap_or(far));
    let mac = known.and_then(|known| known.mac);
    let wire = pod.wire(route.index);
    let mut hops = vec![first, second, wire.hop(&pod.name, &host.side)];
    hops.extend(host.bridge(wire, mac));
    Ok((hops, mac))
}

fn to_gateway(pod: &mut Plug, host: &Host<'_>) -> Result<Journey, Failure> {
    let own = own(pod, None);
    // Another plugin's network tells its gateway by its default route only.
    let routes = pod.side.window.routes().map_err(|error| Failure::host(&error))?;
    let default = routes.iter().filter(|route| route.to.prefix == 0).find_map(|route| route.via);
    let subnet = host.config.subnets().find(|subnet| own.is_some_and(|own| subnet.contains(own)));
    let Some(gateway) = subnet.map(|subnet| subnet.gateway()).or(default) else {
        return Ok(Journey { title: "to the gateway: it has none".to_owned(), hops: Vec::new() });
    };
    let (hops, _) = leave(pod, host, gateway)?;
    Ok(Journey { title: format!("to the host, {gateway}"), hops })
}

fn to_pod(pod: &mut Plug, other: &Plug, host: &Host<'_>) -> Result<Journey, Failure> {
    let title = format!("to pod {}", other.name);
    let Some(far) = own(pod, None).and_then(|address| own(other, Some(address))) else {
        return Ok(Journey { title, hops: Vec::new() });
    };
    let (mut hops, mac) = leave(pod, host, far)?;
    if mac.is_none() {
        // What it will turn out to be.
        hops.retain(|hop| hop.place != "host: bridge");
        hops.extend(host.bridge(&pod.first, other.first.inside.mac));
    }
    hops.push(other.first.hop(&other.name, &host.side));
    let fact = format!(
        "{far} is {}'s own; nothing has changed either address",
        other.side.name(Some(other.first.inside.index))
    );
    let show = format!("{}ip addr show {}", other.side.prefix, other.first.inside.name);
    hops.push(hop("other pod: arrives", [fact], show));
    Ok(Journey { title: format!("{title}, {far}"), hops })
}

fn to_outside(pod: &mut Plug, host: &mut Host<'_>) -> Result<Journey, Failure> {
    // Addresses of the documentation: nobody has a route of its own to them.
    let far: IpAddr = match own(pod, None) {
        Some(IpAddr::V6(_)) => [0x2001, 0xdb8, 0, 0, 0, 0, 0, 1].into(),
        _ => [192, 0, 2, 1].into(),
    };
    let (mut hops, _) = leave(pod, host, far)?;
    let (route, out) = host.side.route("host: route", far)?;
    hops.push(out);
    if route.is_some() {
        let subnets = host.config.subnets().filter(|subnet| subnet.network().is_ipv4() == far.is_ipv4());
        let subnets = subnets.map(|subnet| format!("saddr {subnet}")).collect::<Vec<_>>();
        let mut rules = host.rules("host: translation", "leaving", &subnets);
        rules.facts.retain(|rule| !rule.contains("ct status"));
        hops.push(rules);
    }
    Ok(Journey { title: format!("to outside, such as {far}"), hops })
}

/// To a pod of each other host.
fn to_peers(pod: &mut Plug, host: &mut Host<'_>) -> Result<Vec<Journey>, Failure> {
    let mut journeys = Vec::new();
    for led in netplugin::peers(host.config).map_err(|error| Failure::host(&error))? {
        let Some(own) = own(pod, None) else { continue };
        let family = |address: &IpAddr| address.is_ipv4() == own.is_ipv4();
        let Some(far) = led.peer.slices.iter().map(|slice| slice.gateway()).find(family) else { continue };
        let (mut hops, _) = leave(pod, host, far)?;
        let (route, out) = host.side.route("host: route", far)?;
        hops.push(out);
        if let Some(via) = route.and_then(|route| route.via) {
            hops.push(host.side.neighbour("host: neighbour", via).1);
        }
        let state = format!("{:?}", led.state).to_lowercase();
        journeys
            .push(Journey { title: format!("to host {}, {far} (its ways: {state})", led.peer.name), hops });
    }
    Ok(journeys)
}

/// By each further interface to the bridge at its other end.
fn to_further_networks(pod: &mut Plug, host: &Host<'_>) -> Result<Vec<Journey>, Failure> {
    let ends = pod.further.iter().filter_map(|wire| {
        let bridge = host.side.links.addresses_of(wire.outside.master?);
        Some((wire.inside.name.clone(), bridge.first()?.address))
    });
    let ends: Vec<(String, IpAddr)> = ends.collect();
    let mut journeys = Vec::new();
    for (name, far) in ends {
        let (hops, _) = leave(pod, host, far)?;
        journeys.push(Journey { title: format!("to the host by {name}, {far}"), hops });
    }
    Ok(journeys)
}

/// The last hops of what comes in from the host.
fn into_pod(pod: &Plug, host: &mut Host<'_>, own: IpAddr) -> Result<Vec<Hop>, Failure> {
    let mut hops = vec![host.side.route("host: route", own)?.1];
    hops.push(host.side.neighbour("host: neighbour", own).1);
    hops.extend(host.bridge(&pod.first, pod.first.inside.mac));
    hops.push(pod.first.hop(&pod.name, &host.side));
    Ok(hops)
}

/// In by each of the pod's host ports.
fn from_host_ports(found: &Found, pod: &Plug, host: &mut Host<'_>) -> Result<Vec<Journey>, Failure> {
    let mut journeys = Vec::new();
    let ports = found.pod.containers.iter().flat_map(|container| &container.ports);
    for port in ports {
        let Some(host_port) = port.host_port else { continue };
        let Some(own) = own(pod, port.host_ip) else { continue };
        let wanted = host_port.to_string();
        let elements: Vec<String> = host
            .table
            .iter()
            .flat_map(|table| table.elements_with(&wanted))
            .filter(|(_, element)| element.ends_with(&format!("{own} . {}", port.container_port)))
            .map(|(map, element)| format!("@{map} {{ {element} }}"))
            .collect();
        let elements =
            if elements.is_empty() { vec!["no element leads it to the pod".to_owned()] } else { elements };
        let table = host.config.table();
        let mut hops = vec![host.rules("host: arrives", "arriving", &["jump".to_owned()])];
        let family = if own.is_ipv4() { "dnat ip to" } else { "dnat ip6 to" };
        let mut look_up = host.rules("host: translation", "host_ports", &[family.to_owned()]);
        look_up.facts.extend(elements);
        look_up.command = format!("nft list table inet {table}");
        hops.push(look_up);
        hops.extend(into_pod(pod, host, own)?);
        let title = format!(
            "in by host port {host_port}, to {}",
            std::net::SocketAddr::new(own, port.container_port)
        );
        journeys.push(Journey { title, hops });
    }
    Ok(journeys)
}
