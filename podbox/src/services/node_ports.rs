//! Ports of the host: each has one owner, a pod or a Service.

use serde_json::Value;

use crate::pod::Protocol;
use crate::store::{ObjectKind, Store};

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

/// The Service that has a port of the host, as `service NAMESPACE/NAME`. One that cannot be read has none.
#[must_use]
pub fn holder(store: &Store, (protocol, number): (Protocol, u16)) -> Option<String> {
    let has_it = |(namespace, name): &(String, String)| {
        let found = store.object(ObjectKind::Service, namespace, name).ok().flatten();
        found.is_some_and(|service| node_ports(&service["spec"]).contains(&(protocol, number)))
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
