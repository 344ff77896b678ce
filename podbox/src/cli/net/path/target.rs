//! Who is meant: a pod, a Service, an address or the host, with a port.

use std::net::{IpAddr, SocketAddr};

use netplugin::Protocol;

use crate::path::{Hop, Leg};
use crate::pod;
use crate::services::{Catalogue, Service};

use super::super::super::names;
use super::super::super::pods::{self, Found};
use super::super::super::{Failure, Session};
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
    pub(super) fn find(session: &Session, args: &PathArgs, protocol: Protocol) -> Result<Target, Failure> {
        let (name, port) = split(&args.to);
        if let Ok(address) = name.trim_matches(['[', ']']).parse::<IpAddr>() {
            return Target::at(session, address, port);
        }
        if name == "host" {
            let host = Place::host(session);
            let port = number(port, "host")?;
            let wanted = host.addresses.iter().find(|address| address.is_ipv6() == args.ipv6);
            let address = wanted.or(host.addresses.first()).copied();
            let address = address.ok_or_else(|| Failure::wrong("the host has no address among pods"))?;
            let address = SocketAddr::new(address, port);
            let mut receivers = behind_host_port(session, port);
            receivers.push(host);
            return Ok(Target { name: "host".to_owned(), address, receivers, remark: None });
        }
        if let Some((namespace, service)) = service_name(name, &args.namespace) {
            return Target::service(session, args, (namespace, service), port);
        }
        let (namespace, pod) = names::pod_name(name, &args.namespace);
        Target::pod(session, args, &pods::find(session, namespace, pod)?, (port, protocol))
    }

    fn at(session: &Session, address: IpAddr, port: Option<&str>) -> Result<Target, Failure> {
        let port = number(port, "an address")?;
        let places = pods::all(session, None).into_iter().filter_map(|found| Place::of(session, &found).ok());
        let owner =
            places.into_iter().find(|place| place.netns.is_some() && place.addresses.contains(&address));
        let name = owner.as_ref().map_or_else(|| address.to_string(), |owner| owner.name.clone());
        let receivers = owner.into_iter().collect();
        Ok(Target { name, address: SocketAddr::new(address, port), receivers, remark: None })
    }

    fn pod(
        session: &Session,
        args: &PathArgs,
        found: &Found,
        (port, protocol): (Option<&str>, Protocol),
    ) -> Result<Target, Failure> {
        let place = Place::of(session, found)?;
        let wanted = place.addresses.iter().find(|address| address.is_ipv6() == args.ipv6);
        let address = wanted.or(place.addresses.first()).copied();
        let address = address.ok_or_else(|| Failure::pod(format!("{} has no address", place.name)))?;
        let port = port_of_pod(found, port, protocol)?;
        let remark = (!is_ready(found)).then(|| format!("pod {} is not ready", found.name()));
        let address = SocketAddr::new(address, port);
        Ok(Target { name: format!("pod {}", found.name()), address, receivers: vec![place], remark })
    }

    fn service(
        session: &Session,
        args: &PathArgs,
        (namespace, name): (&str, &str),
        port: Option<&str>,
    ) -> Result<Target, Failure> {
        let shown = format!("service {namespace}/{name}");
        let catalogue = Catalogue::read(&session.settings.store);
        let service = catalogue.service(namespace, name);
        let service = service.ok_or_else(|| Failure::wrong(format!("{shown} not found")))?;
        let ips = &service.cluster_ips;
        let address = ips.iter().find(|ip| ip.is_ipv6() == args.ipv6).or(ips.first()).copied();
        let address = address.ok_or_else(|| {
            Failure::wrong(format!("{shown} has no address of its own"))
                .hint("its pods are reached at theirs: name one of them")
        })?;
        let port = port_of_service(&shown, service, port)?;
        let all = catalogue.backends_of(service).count();
        let receiving = catalogue.receiving(service);
        let remark = match (all, receiving.len()) {
            (0, _) => Some(format!("no pod fits the selector of {shown}")),
            (all, 0) => Some(format!("none of the {all} pods of {shown} is ready")),
            _ => None,
        };
        let places = receiving.into_iter().take(MOST).filter_map(|backend| {
            Place::of(session, &pods::find(session, &backend.namespace, &backend.name).ok()?).ok()
        });
        Ok(Target {
            name: shown,
            address: SocketAddr::new(address, port),
            receivers: places.collect(),
            remark,
        })
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

fn number(port: Option<&str>, what: &str) -> Result<u16, Failure> {
    let port = port.ok_or_else(|| Failure::wrong(format!("{what} needs a port: TO:PORT")))?;
    let number = port.parse().ok().filter(|port| *port > 0);
    number.ok_or_else(|| Failure::wrong(format!("{port:?} is no port number from 1 to 65535")))
}

fn port_of_pod(found: &Found, port: Option<&str>, protocol: Protocol) -> Result<u16, Failure> {
    let of_protocol = |one: &&pod::Port| match one.protocol {
        pod::Protocol::Tcp => protocol == Protocol::Tcp,
        pod::Protocol::Udp => protocol == Protocol::Udp,
        pod::Protocol::Sctp => false,
    };
    let mut ports = found.pod.containers.iter().flat_map(|container| &container.ports).filter(of_protocol);
    match port {
        Some(name) if name.parse::<u16>().is_err() => ports
            .find(|one| one.name.as_deref() == Some(name))
            .map(|one| one.container_port)
            .ok_or_else(|| Failure::wrong(format!("pod {} has no {protocol} port {name:?}", found.name()))),
        Some(_) => number(port, "a pod"),
        None => ports.next().map(|one| one.container_port).ok_or_else(|| {
            Failure::wrong(format!("pod {} names no {protocol} port: say which, TO:PORT", found.name()))
        }),
    }
}

fn port_of_service(shown: &str, service: &Service, port: Option<&str>) -> Result<u16, Failure> {
    let mut ports = service.ports.iter();
    let found = match port {
        None => ports.next(),
        Some(text) => match text.parse() {
            Ok(number) => return Ok(number),
            Err(_) => ports.find(|one| one.name.as_deref() == Some(text)),
        },
    };
    let found = found.map(|port| port.port);
    found.ok_or_else(|| Failure::wrong(format!("{shown} has no port {}", port.unwrap_or_default())))
}

/// The pods that a port of the host leads to.
fn behind_host_port(session: &Session, port: u16) -> Vec<Place> {
    let has_it = |found: &Found| {
        let mut ports = found.pod.containers.iter().flat_map(|container| &container.ports);
        ports.any(|one| one.host_port == Some(port))
    };
    let pods = pods::all(session, None).into_iter().filter(has_it);
    pods.filter_map(|found| Place::of(session, &found).ok()).collect()
}

fn is_ready(found: &Found) -> bool {
    let conditions = found.status().0.and_then(|status| status.conditions).unwrap_or_default();
    conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
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
