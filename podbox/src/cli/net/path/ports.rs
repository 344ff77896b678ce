//! Which port is meant: by number, by name, or the first that there is.

use netplugin::Protocol;

use crate::services::{Service, ServicePort};

use super::super::super::Failure;
use super::super::super::pods::Found;

/// A number that must be given.
pub(super) fn number(port: Option<&str>, what: &str) -> Result<u16, Failure> {
    let port = port.ok_or_else(|| Failure::wrong(format!("{what} needs a port: TO:PORT")))?;
    let number = port.parse().ok().filter(|port| *port > 0);
    number.ok_or_else(|| Failure::wrong(format!("{port:?} is no port number from 1 to 65535")))
}

/// Of a pod: any number, or a name that one of its containers gives.
pub(super) fn of_pod(found: &Found, port: Option<&str>, protocol: Protocol) -> Result<u16, Failure> {
    let all = found.pod.containers.iter().flat_map(|container| &container.ports);
    let mut ports = all.filter(|one| one.protocol.on_the_wire() == protocol);
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

/// Of a Service: one that it has.
pub(super) fn of_service(
    shown: &str,
    service: &Service,
    (port, protocol): (Option<&str>, Protocol),
) -> Result<u16, Failure> {
    let fits = |one: &&ServicePort| match port {
        _ if one.protocol.on_the_wire() != protocol => false,
        None => true,
        Some(text) => one.name.as_deref() == Some(text) || text.parse() == Ok(one.port),
    };
    service.ports.iter().find(fits).map(|one| one.port).ok_or_else(|| {
        let wanted = port.map(|port| format!(" {port}")).unwrap_or_default();
        Failure::wrong(format!("{shown} has no {protocol} port{wanted}: {}", listed(service)))
    })
}

/// `its ports are 80/tcp (http), 53/udp`
pub(super) fn listed(service: &Service) -> String {
    let one = |port: &ServicePort| {
        let name = port.name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
        format!("{}/{}{name}", port.port, port.protocol.on_the_wire())
    };
    format!("its ports are {}", service.ports.iter().map(one).collect::<Vec<_>>().join(", "))
}
