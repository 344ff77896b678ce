//! Who is meant: a pod, a Service, an address or the host, with a port.

use std::net::{IpAddr, SocketAddr};

use netplugin::Protocol;

use crate::path::{Hop, Leg};
use crate::services::{Backend, Catalogue, Service, ServiceKind, ServicePort};

use super::super::super::names;
use super::super::super::pods::{self, Found};
use super::super::super::{Failure, Session};
use super::ports::{self, number};
use super::{PathArgs, Place};

/// More pods behind a Service are not watched.
const MOST: usize = 32;

/// Where a packet is to go.
pub(super) struct Target {
    /// For people.
    pub(super) name: String,
    pub(super) address: SocketAddr,
    /// Where it may come out.
    pub(super) receivers: Vec<Place>,
    /// What is known beforehand and could explain a failure.
    pub(super) remark: Option<String>,
}

impl Target {
    /// Finds out who is meant by `args.to`, if `from` sends.
    pub(super) fn find(
        session: &Session,
        args: &PathArgs,
        protocol: Protocol,
        from: &Place,
    ) -> Result<Target, Failure> {
        let (name, port) = split(&args.to);
        if let Ok(address) = name.trim_matches(['[', ']']).parse::<IpAddr>() {
            choose(&[address], args, name)?;
            return Target::at(
                session,
                SocketAddr::new(address, number(port, "an address")?),
                protocol,
                from,
            );
        }
        if name == "host" {
            let host = Place::host(session);
            let port = number(port, "host")?;
            let address = choose(&host.addresses, args, "the host")?;
            return Ok(Target::of_host(session, host, SocketAddr::new(address, port), protocol));
        }
        if let Some((namespace, service)) = service_name(name, &args.namespace) {
            return Target::service(session, args, (namespace, service), (port, protocol));
        }
        let (namespace, pod) = names::pod_name(name, &args.namespace);
        Target::pod(session, args, &pods::find(session, namespace, pod)?, (port, protocol))
    }

    /// Whoever has an address: a Service, the sender itself, the host, a pod; else a stranger.
    fn at(
        session: &Session,
        address: SocketAddr,
        protocol: Protocol,
        from: &Place,
    ) -> Result<Target, Failure> {
        let ip = address.ip();
        let catalogue = Catalogue::read(&session.settings.store);
        let has =
            |service: &&Service| service.cluster_ips.contains(&ip) || service.external_ips.contains(&ip);
        if let Some(service) = catalogue.services.values().find(has) {
            return Ok(Target::behind(session, &catalogue, service, address, protocol));
        }
        let host = Place::host(session);
        let own = ip.is_loopback() && from.netns.is_none();
        if own || host.addresses.contains(&ip) {
            return Ok(Target::of_host(session, host, address, protocol));
        }
        let places = pods::all(session, None).into_iter().filter_map(|found| Place::of(session, &found).ok());
        let owner = if ip.is_loopback() {
            Some(from.clone())
        } else {
            places.into_iter().find(|place| place.netns.is_some() && place.addresses.contains(&ip))
        };
        let name = owner.as_ref().map_or_else(|| ip.to_string(), |owner| owner.name.clone());
        Ok(Target { name, address, receivers: owner.into_iter().collect(), remark: None })
    }

    /// The host, or the pods that a port of it leads to: those of a node port, or the one with that host port.
    fn of_host(session: &Session, host: Place, address: SocketAddr, protocol: Protocol) -> Target {
        let port = address.port();
        let mut receivers = behind_host_port(session, port, protocol);
        let catalogue = Catalogue::read(&session.settings.store);
        let is_its =
            |one: &ServicePort| one.node_port == Some(port) && one.protocol.on_the_wire() == protocol;
        let service = catalogue.services.values().find(|service| service.ports.iter().any(is_its));
        let mut remark = None;
        if let Some(service) = service {
            receivers.extend(places_of(session, &catalogue, service));
            let nobody = catalogue.why_nobody(service);
            let is = format!("{port}/{protocol} is the node port of {}", shown(service));
            remark = nobody.map(|nobody| format!("{is}; {nobody}"));
        }
        receivers.push(host);
        Target { name: "host".to_owned(), address, receivers, remark }
    }

    fn pod(
        session: &Session,
        args: &PathArgs,
        found: &Found,
        (port, protocol): (Option<&str>, Protocol),
    ) -> Result<Target, Failure> {
        let place = Place::of(session, found)?;
        let address = choose(&place.addresses, args, &place.name)?;
        let port = ports::of_pod(found, port, protocol)?;
        let remark = (!found.is_ready()).then(|| format!("pod {} is not ready", found.name()));
        let address = SocketAddr::new(address, port);
        Ok(Target { name: format!("pod {}", found.name()), address, receivers: vec![place], remark })
    }

    fn service(
        session: &Session,
        args: &PathArgs,
        (namespace, name): (&str, &str),
        (port, protocol): (Option<&str>, Protocol),
    ) -> Result<Target, Failure> {
        let catalogue = Catalogue::read(&session.settings.store);
        let service = catalogue.service(namespace, name);
        let service =
            service.ok_or_else(|| Failure::wrong(format!("service {namespace}/{name} not found")))?;
        let shown = shown(service);
        if let ServiceKind::ExternalName(other) = &service.kind {
            return Err(Failure::wrong(format!(
                "{shown} is of type ExternalName: it has no address, its name stands for {other}"
            ))
            .hint(format!("name an address of {other}")));
        }
        if service.is_headless() {
            let pods = catalogue.backends_of(service).map(|backend| &*backend.name).collect::<Vec<_>>();
            let pods = if pods.is_empty() { "nobody".to_owned() } else { pods.join(", ") };
            return Err(Failure::wrong(format!("{shown} has no address of its own: it is headless"))
                .hint(format!("its pods are reached at theirs: name one of them (behind it: {pods})")));
        }
        let address = choose(&service.cluster_ips, args, &shown)?;
        let port = ports::of_service(&shown, service, (port, protocol))?;
        Ok(Target::behind(session, &catalogue, service, SocketAddr::new(address, port), protocol))
    }

    /// The pods behind a Service, at one of its addresses.
    fn behind(
        session: &Session,
        catalogue: &Catalogue,
        service: &Service,
        address: SocketAddr,
        protocol: Protocol,
    ) -> Target {
        let shown = shown(service);
        let is_its = |one: &ServicePort| one.port == address.port() && one.protocol.on_the_wire() == protocol;
        let remark = if service.ports.iter().any(is_its) {
            catalogue.why_nobody(service)
        } else {
            Some(format!("{shown} has no {protocol} port {}: {}", address.port(), ports::listed(service)))
        };
        Target { name: shown, address, receivers: places_of(session, catalogue, service), remark }
    }

    /// Where the packet came out, or the only one where it could have.
    pub(super) fn receiver_of(&self, hops: &[Hop]) -> Option<&Place> {
        let last = hops.iter().rev().find(|hop| hop.leg == Leg::Forth && hop.way == "in");
        let came_out = self.receivers.iter().find(|place| last.is_some_and(|hop| hop.place == place.name));
        came_out.or(match self.receivers.as_slice() {
            [only] => Some(only),
            _ => None,
        })
    }
}

/// The port is behind the last colon, unless that is an IPv6 address's own.
fn split(text: &str) -> (&str, Option<&str>) {
    if text.parse::<IpAddr>().is_ok() {
        return (text, None);
    }
    text.rsplit_once(':').map_or((text, None), |(name, port)| (name, Some(port)))
}

/// `svc/NAME`, or a name as DNS has it: `NAME.NAMESPACE.svc` and what follows.
fn service_name<'a>(text: &'a str, namespace: &'a str) -> Option<(&'a str, &'a str)> {
    if let Some((kind, name)) = text.split_once('/')
        && matches!(kind, "svc" | "service" | "services")
    {
        return Some((namespace, name));
    }
    let (name, rest) = text.split_once('.')?;
    let (namespace, rest) = rest.split_once('.').unwrap_or((rest, ""));
    (rest == "svc" || rest.starts_with("svc.")).then_some((namespace, name))
}

/// The address to go to: the first IPv4 one, or the first that there is; with `-6` an IPv6 one.
fn choose(all: &[IpAddr], args: &PathArgs, whose: &str) -> Result<IpAddr, Failure> {
    let wanted = all.iter().find(|address| address.is_ipv6() == args.ipv6);
    if let Some(address) = wanted.or(all.first().filter(|_| !args.ipv6)) {
        return Ok(*address);
    }
    Err(Failure::wrong(match all {
        [] => format!("{whose} has no address"),
        _ => format!("{whose} has no IPv6 address: IPv4 only"),
    }))
}

/// `service default/web`
fn shown(service: &Service) -> String {
    format!("service {}/{}", service.namespace, service.name)
}

/// The networks of the pods that get a Service's traffic now.
fn places_of(session: &Session, catalogue: &Catalogue, service: &Service) -> Vec<Place> {
    let receiving = catalogue.receiving(service).into_iter().take(MOST);
    let place = |backend: &Backend| {
        Place::of(session, &pods::find(session, &backend.namespace, &backend.name).ok()?).ok()
    };
    receiving.filter_map(place).collect()
}

/// The pods that have a port of the host.
fn behind_host_port(session: &Session, port: u16, protocol: Protocol) -> Vec<Place> {
    let has_it = |found: &Found| {
        let mut ports = found.pod.containers.iter().flat_map(|container| &container.ports);
        ports.any(|one| one.host_port == Some(port) && one.protocol.on_the_wire() == protocol)
    };
    let pods = pods::all(session, None).into_iter().filter(has_it);
    pods.filter_map(|found| Place::of(session, &found).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_behind_the_last_colon() {
        for (text, name, port) in [
            ("web", "web", None),
            ("web:80", "web", Some("80")),
            ("svc/web:http", "svc/web", Some("http")),
            ("fd00::1", "fd00::1", None),
            ("[fd00::1]:80", "[fd00::1]", Some("80")),
        ] {
            assert_eq!(split(text), (name, port));
        }
    }

    #[test]
    fn a_service_is_told_by_its_kind_or_its_name_in_dns() {
        assert_eq!(service_name("svc/web", "here"), Some(("here", "web")));
        assert_eq!(service_name("web.shop.svc", "here"), Some(("shop", "web")));
        assert_eq!(service_name("web.shop.svc.cluster.local", "here"), Some(("shop", "web")));
        assert_eq!(service_name("shop/web", "here"), None);
        assert_eq!(service_name("web.shop", "here"), None);
    }
}
