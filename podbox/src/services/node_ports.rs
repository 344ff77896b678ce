//! Ports of the host: each has one owner, a pod or a Service.

use std::net::IpAddr;

use serde_json::Value;

use crate::pod::Protocol;
use crate::store::{ObjectKind, Store};

use super::strings;

/// The ports of the host that a Service has: `spec` of the stored object.
#[must_use]
pub fn node_ports(spec: &Value) -> Vec<(Protocol, u16)> {
    let ports = spec["ports"].as_array().into_iter().flatten();
    let held = ports.filter_map(|port| {
        let number = u16::try_from(port["nodePort"].as_u64()?).ok().filter(|number| *number > 0)?;
        Some((protocol(port), number))
    });
    held.collect()
}

/// The addresses and ports from elsewhere that lead to a Service: `spec` of the stored object.
pub(super) fn external_ends(spec: &Value) -> Vec<(IpAddr, Protocol, u16)> {
    let ips = strings(&spec["externalIPs"]).into_iter().filter_map(|ip| ip.parse().ok());
    let ports = spec["ports"].as_array().map(Vec::as_slice).unwrap_or_default();
    let end = |ip: IpAddr, port: &Value| {
        let number = u16::try_from(port["port"].as_u64()?).ok()?;
        Some((ip, protocol(port), number))
    };
    ips.flat_map(|ip| ports.iter().filter_map(move |port| end(ip, port))).collect()
}

/// The Service that has a port of the host, at one of its addresses or at any, as `service NAMESPACE/NAME`. One that cannot be
/// read has none.
#[must_use]
pub fn holder(store: &Store, (protocol, at, number): (Protocol, Option<IpAddr>, u16)) -> Option<String> {
    let meant =
        |ip: IpAddr| at.is_none_or(|at| at == ip || (at.is_unspecified() && at.is_ipv4() == ip.is_ipv4()));
    let leads_there = |end: &(IpAddr, Protocol, u16)| {
        (end.1, end.2) == (protocol, number) && meant(end.0) && netplugin::is_address_of_host(end.0)
    };
    let has_it = |(namespace, name): &(String, String)| {
        let found = store.object(ObjectKind::Service, namespace, name).ok().flatten();
        found.is_some_and(|service| {
            let spec = &service["spec"];
            node_ports(spec).contains(&(protocol, number)) || external_ends(spec).iter().any(leads_there)
        })
    };
    let (namespace, name) = store.object_names(ObjectKind::Service).into_iter().find(has_it)?;
    Some(format!("service {namespace}/{name}"))
}

/// What a port of a Service speaks.
pub(super) fn protocol(port: &Value) -> Protocol {
    match port["protocol"].as_str() {
        Some("UDP") => Protocol::Udp,
        Some("SCTP") => Protocol::Sctp,
        _ => Protocol::Tcp,
    }
}
