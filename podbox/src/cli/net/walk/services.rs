//! The ways by Services: from the pod to each of its namespace, and from the host's node ports to the pod.

use std::net::{IpAddr, SocketAddr};

use netplugin::Window;

use crate::services::{Catalogue, Family, Service};

use super::super::super::pods::Found;
use super::super::super::{Failure, Session};
use super::{Host, Journey, Plug, hop, into_pod, leave, own};

/// To each Service of the pod's namespace that has an address.
pub(super) fn outward(
    session: &Session,
    found: &Found,
    pod: &mut Plug,
    host: &Host<'_>,
) -> Result<Vec<Journey>, Failure> {
    let catalogue = Catalogue::read(&session.settings.store);
    let mut journeys = Vec::new();
    let here = catalogue.services.values().filter(|service| service.namespace == found.pod.namespace);
    for (service, address) in here.flat_map(|one| one.cluster_ips.iter().map(move |ip| (one, *ip))) {
        journeys.push(to_service(&catalogue, service, address, (&mut *pod, host))?);
    }
    Ok(journeys)
}

/// The packet is translated as it leaves, so that what it is routed by is the address of a pod.
fn to_service(
    catalogue: &Catalogue,
    service: &Service,
    address: IpAddr,
    (pod, host): (&mut Plug, &Host<'_>),
) -> Result<Journey, Failure> {
    let shown = address.to_string();
    let title = format!("to Service {}/{}, {address}", service.namespace, service.name);
    let prefix = pod.side.prefix.clone();
    let (mut facts, mut table) = (Vec::new(), None);
    for seen in tables(&mut pod.side.window)? {
        let found: Vec<String> =
            seen.elements_with(&shown).map(|(map, element)| format!("@{map} {{ {element} }}")).collect();
        if found.is_empty() {
            continue;
        }
        let hooks = seen.chains.iter().filter_map(|chain| {
            Some(format!("chain {}: {} rules at {}", chain.name, chain.rules.len(), chain.hook.as_ref()?))
        });
        facts.extend(hooks);
        facts.extend(found);
        table = Some(seen.name);
    }
    let family = Family::of(address);
    let end = service
        .ports
        .iter()
        .find_map(|port| Some((port, catalogue.endpoints(service, port, family).first()?.address)));
    if let Some((port, end)) = end.filter(|_| table.is_some()) {
        facts.push(format!("port {}, for one, becomes {end}", port.port));
    } else if let Some(why) = catalogue.why_nobody(service) {
        facts.push(format!("refused: {why}"));
    } else {
        facts.push(format!("no rule leads {address} to a pod"));
    }
    let list = match &table {
        Some(table) => format!("{prefix}nft list table inet {table}"),
        None => format!("{prefix}nft list ruleset"),
    };
    let mut hops = vec![hop("pod: translation", facts, list)];
    if let Some((_, end)) = end.filter(|_| table.is_some()) {
        hops.extend(leave(pod, host, end.ip())?.0);
    }
    Ok(Journey { title, hops })
}

fn tables(window: &mut Window) -> Result<Vec<netplugin::SeenTable>, Failure> {
    let mut found = Vec::new();
    for name in window.tables().map_err(|error| Failure::host(&error))? {
        found.extend(window.table(&name).map_err(|error| Failure::host(&error))?);
    }
    Ok(found)
}

/// In by each node port of a Service that the pod is behind and gets the traffic of.
pub(super) fn by_node_ports(
    session: &Session,
    found: &Found,
    pod: &Plug,
    host: &mut Host<'_>,
) -> Result<Vec<Journey>, Failure> {
    let catalogue = Catalogue::read(&session.settings.store);
    let mut journeys = Vec::new();
    for service in catalogue.services.values() {
        let is_it = |uid: &str| uid == found.pod.uid;
        let Some(backend) = catalogue.receiving(service).into_iter().find(|one| is_it(&one.uid)) else {
            continue;
        };
        for port in &service.ports {
            let (Some(node_port), Some(target)) = (port.node_port, backend.port(port)) else { continue };
            let Some(own) = own(pod, None) else { continue };
            let mut hops = Vec::new();
            let wanted = node_port.to_string();
            for table in tables(&mut host.side.window)? {
                let facts: Vec<String> = table
                    .elements_with(&wanted)
                    .map(|(map, element)| format!("@{map} {{ {element} }}"))
                    .collect();
                if !facts.is_empty() {
                    let list = format!("nft list table inet {}", table.name);
                    hops.push(hop("host: translation", facts, list));
                }
            }
            hops.extend(into_pod(pod, host, own)?);
            let (name, end) =
                (format!("{}/{}", service.namespace, service.name), SocketAddr::new(own, target));
            journeys.push(Journey {
                title: format!("in by node port {node_port} of Service {name}, to {end}"),
                hops,
            });
        }
    }
    Ok(journeys)
}
