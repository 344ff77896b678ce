//! A Service as it is needed to send traffic: read from the stored v1 object, which has been checked.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use serde_json::Value;

use crate::pod::Protocol;

use super::{Backend, Family, node_ports};

/// `sessionAffinityConfig.clientIP.timeoutSeconds`, if it is not said.
const AFFINITY_SECONDS: u64 = 10800;

/// A Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// `metadata.namespace`
    pub namespace: String,
    /// `metadata.name`
    pub name: String,
    /// `spec.type`
    pub kind: ServiceKind,
    /// `spec.clusterIPs`; none for a headless Service and for an external name.
    pub cluster_ips: Vec<IpAddr>,
    /// `spec.externalIPs`
    pub external_ips: Vec<IpAddr>,
    /// `spec.ipFamilies`
    pub families: Vec<Family>,
    /// `spec.ports`
    pub ports: Vec<ServicePort>,
    /// `spec.selector`; without one nobody is behind it.
    pub selector: BTreeMap<String, String>,
    /// With `sessionAffinity: ClientIP`, how long a client stays with its pod.
    pub affinity: Option<Duration>,
    /// `spec.publishNotReadyAddresses`
    pub publish_not_ready: bool,
}

/// What a Service is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceKind {
    /// An address in the cluster, or headless.
    ClusterIp,
    /// The same, and a port of the host. A load balancer is that much of one.
    NodePort,
    /// Another name for this one.
    ExternalName(String),
}

/// A port of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    /// `name`
    pub name: Option<String>,
    /// `protocol`
    pub protocol: Protocol,
    /// `port`
    pub port: u16,
    /// `targetPort`
    pub target: Target,
    /// `nodePort`
    pub node_port: Option<u16>,
    /// `appProtocol`
    pub app_protocol: Option<String>,
}

/// The port of the pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The same of all.
    Number(u16),
    /// What each calls so.
    Name(String),
}

impl Service {
    /// From the stored object; `None` if it is none.
    #[must_use]
    pub fn of(object: &Value) -> Option<Service> {
        let (metadata, spec) = (&object["metadata"], &object["spec"]);
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let kind = match spec["type"].as_str() {
            Some("ExternalName") => ServiceKind::ExternalName(text(&spec["externalName"])?),
            Some("NodePort" | "LoadBalancer") => ServiceKind::NodePort,
            _ => ServiceKind::ClusterIp,
        };
        let addresses = |list: &Value| -> Vec<IpAddr> {
            list.as_array().into_iter().flatten().filter_map(|ip| ip.as_str()?.parse().ok()).collect()
        };
        let cluster_ips = match &kind {
            ServiceKind::ExternalName(_) => Vec::new(),
            _ => addresses(&spec["clusterIPs"]),
        };
        let families = spec["ipFamilies"].as_array().into_iter().flatten();
        let families =
            families.map(|family| if family == "IPv6" { Family::V6 } else { Family::V4 }).collect();
        let seconds = spec["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"].as_u64();
        let selector = spec["selector"].as_object().into_iter().flatten();
        Some(Service {
            namespace: text(&metadata["namespace"]).unwrap_or_else(|| "default".to_owned()),
            name: text(&metadata["name"])?,
            cluster_ips,
            external_ips: addresses(&spec["externalIPs"]),
            families,
            ports: spec["ports"].as_array().into_iter().flatten().filter_map(port).collect(),
            selector: selector.filter_map(|(key, value)| Some((key.clone(), text(value)?))).collect(),
            affinity: (spec["sessionAffinity"] == "ClientIP")
                .then(|| Duration::from_secs(seconds.unwrap_or(AFFINITY_SECONDS))),
            publish_not_ready: spec["publishNotReadyAddresses"] == true,
            kind,
        })
    }

    /// Whether it has no address of its own, and its name stands for all pods behind it.
    #[must_use]
    pub fn is_headless(&self) -> bool {
        self.cluster_ips.is_empty() && !matches!(self.kind, ServiceKind::ExternalName(_))
    }

    /// Whether it is before that pod.
    #[must_use]
    pub fn is_before(&self, pod: &Backend) -> bool {
        pod.namespace == self.namespace && self.selects(&pod.labels)
    }

    /// Whether it selects a pod of these labels.
    #[must_use]
    pub fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        !self.selector.is_empty() && self.selector.iter().all(|(key, value)| labels.get(key) == Some(value))
    }
}

fn port(port: &Value) -> Option<ServicePort> {
    let number = |value: &Value| u16::try_from(value.as_u64()?).ok().filter(|number| *number > 0);
    let own = number(&port["port"])?;
    let name = |value: &Value| value.as_str().filter(|name| !name.is_empty()).map(str::to_owned);
    Some(ServicePort {
        name: name(&port["name"]),
        protocol: node_ports::protocol(port),
        port: own,
        target: match &port["targetPort"] {
            Value::String(name) => Target::Name(name.clone()),
            value => Target::Number(number(value).unwrap_or(own)),
        },
        node_port: number(&port["nodePort"]),
        app_protocol: name(&port["appProtocol"]),
    })
}
