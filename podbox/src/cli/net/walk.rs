//! The ways of a pod's packets: each hop with what the kernel says about it now.

use std::net::IpAddr;

use netplugin::{NetworkConfig, SeenLink, SeenNeighbour, SeenRoute, SeenTable, Window};
use serde::Serialize;

use crate::picture;
use crate::services::Catalogue;
use crate::store::ObjectKind;

use super::super::pods::{self, Found};
use super::super::targets::Query;
use super::super::{Failure, Session, stored};
use super::gather::Links;

/// All that is told of one pod.
#[derive(Debug, Serialize)]
pub(super) struct Journeys {
    /// `default/web`.
    pub(super) pod: String,
    /// Its interface, in a line.
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

/// A pod's end of its way: its namespace, its interface, and the other end of the cable.
struct Plug {
    name: String,
    side: Side,
    inside: SeenLink,
    outside: SeenLink,
    addresses: Vec<IpAddr>,
}

impl Plug {
    fn read(found: &Found, host: &Side) -> Result<Option<Plug>, Failure> {
        let path = found.dir.namespaces().join("net");
        if found.pod.host.network || !path.exists() {
            return Ok(None);
        }
        let window = Window::of(&path).map_err(|error| Failure::host(&error))?;
        let side = Side::read(window, format!("nsenter --net={} ", path.display()))?;
        let plugged = side.links.all().iter().find_map(|link| Some((link, host.links.other_end(link)?)));
        let Some((inside, outside)) = plugged.map(|(inside, outside)| (inside.clone(), outside.clone()))
        else {
            return Ok(None);
        };
        let addresses = side.links.addresses_of(inside.index).iter().map(|held| held.address).collect();
        Ok(Some(Plug { name: found.name(), side, inside, outside, addresses }))
    }

    /// From the pod to the bridge, or the other way.
    fn cable(&self, host: &Side) -> Hop {
        let (inside, outside) = (&self.inside, &self.outside);
        let port = if outside.hairpin { ", hairpin" } else { "" };
        let facts = [
            format!(
                "{} ({}) of pod {} is the other end of {} ({})",
                inside.name, inside.index, self.name, outside.name, outside.index
            ),
            format!("which is a port of {}{port}", host.name(outside.master)),
        ];
        hop("cable", facts, format!("ip -d link show {}", outside.name))
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
    fn bridge(&self, mac: Option<netplugin::Mac>) -> Hop {
        let bridge = &self.config.bridge;
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
        hop("host: bridge", [fact], format!("bridge fdb show br {bridge}"))
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
    journeys.extend(to_services(session, found, &mut pod)?);
    journeys.extend(from_host_ports(found, &pod, &mut host)?);
    let held = pod.side.links.addresses_of(pod.inside.index);
    let addresses = held.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let mac = pod.inside.mac.map(|mac| format!(", {mac}")).unwrap_or_default();
    Ok(Journeys {
        pod: found.name(),
        is: format!("{} ({}), {addresses}{mac}, mtu {}", pod.inside.name, pod.inside.index, pod.inside.mtu),
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
    let Some(route) = route else { return Ok((vec![first], None)) };
    let (known, second) = pod.side.neighbour("pod: neighbour", route.via.unwrap_or(far));
    let mac = known.and_then(|known| known.mac);
    Ok((vec![first, second, pod.cable(&host.side), host.bridge(mac)], mac))
}

fn to_gateway(pod: &mut Plug, host: &Host<'_>) -> Result<Journey, Failure> {
    let own = own(pod, None);
    let subnet = host.config.subnets().find(|subnet| own.is_some_and(|own| subnet.contains(own)));
    let Some(gateway) = subnet.map(|subnet| subnet.gateway()) else {
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
        hops.pop();
        hops.push(host.bridge(other.inside.mac));
    }
    hops.push(other.cable(&host.side));
    let fact = format!(
        "{far} is {}'s own; nothing has changed either address",
        other.side.name(Some(other.inside.index))
    );
    let show = format!("{}ip addr show {}", other.side.prefix, other.inside.name);
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

/// To each Service of the pod's namespace that has an address.
fn to_services(session: &Session, found: &Found, pod: &mut Plug) -> Result<Vec<Journey>, Failure> {
    let query = Query::within(Some(&found.pod.namespace));
    let stored = stored::fitting(session, ObjectKind::Service, &query);
    let mut journeys = Vec::new();
    for service in picture::services(&stored, &Catalogue::default()) {
        for address in &service.addresses {
            journeys.push(to_service(&service.full_name(), address, pod)?);
        }
    }
    Ok(journeys)
}

fn to_service(name: &str, address: &str, pod: &mut Plug) -> Result<Journey, Failure> {
    let mut hops = Vec::new();
    for table in pod.side.window.tables().map_err(|error| Failure::host(&error))? {
        let Some(table) = pod.side.window.table(&table).map_err(|error| Failure::host(&error))? else {
            continue;
        };
        let mut facts: Vec<String> = table
            .chains
            .iter()
            .filter_map(|chain| {
                Some(format!("chain {}: {} rules at {}", chain.name, chain.rules.len(), chain.hook.as_ref()?))
            })
            .collect();
        let found: Vec<String> =
            table.elements_with(address).map(|(map, element)| format!("@{map} {{ {element} }}")).collect();
        if found.is_empty() {
            continue;
        }
        facts.extend(found);
        let command = format!("{}nft list table inet {}", pod.side.prefix, table.name);
        hops.push(hop("pod: translation", facts, command));
    }
    if hops.is_empty() {
        let command = format!("{}nft list ruleset", pod.side.prefix);
        hops.push(hop("pod: translation", [format!("no rule leads {address} to a pod")], command));
    }
    if let Ok(address) = address.parse() {
        hops.push(pod.side.route("pod: route", address)?.1);
    }
    Ok(Journey { title: format!("to Service {name}, {address}"), hops })
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
        hops.push(host.side.route("host: route", own)?.1);
        hops.push(host.side.neighbour("host: neighbour", own).1);
        hops.push(host.bridge(pod.inside.mac));
        hops.push(pod.cable(&host.side));
        let title = format!(
            "in by host port {host_port}, to {}",
            std::net::SocketAddr::new(own, port.container_port)
        );
        journeys.push(Journey { title, hops });
    }
    Ok(journeys)
}
