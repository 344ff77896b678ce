//! What is in the picture.

use std::net::IpAddr;

use netplugin::{InterfaceAddress, Mac, Room};
use serde::{Deserialize, Serialize};

/// All that is in the picture.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Picture {
    /// This host.
    pub hosts: Vec<HostPart>,
    /// The other hosts of the flat space.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub peers: Vec<PeerPart>,
    /// Services of all hosts.
    pub services: Vec<ServicePart>,
}

/// Another host, as far as it can be seen from here.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerPart {
    /// Its name.
    pub name: String,
    /// Where it is reached.
    pub addresses: Vec<String>,
    /// The addresses of its pods.
    pub slices: Vec<String>,
    /// What leads to it is there: `ready`, `absent`, `outdated`, `stale`.
    pub state: String,
}

impl PeerPart {
    /// `10.244.1.0/24 at 192.0.2.8, ready`
    #[must_use]
    pub fn what(&self) -> String {
        format!("{} at {}, {}", self.slices.join(", "), self.addresses.join(", "), self.state)
    }
}

/// A host.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostPart {
    /// The node's name.
    pub name: String,
    /// The links by which packets leave it.
    pub uplinks: Vec<End>,
    /// The networks that pods are plugged into.
    pub networks: Vec<NetworkPart>,
    /// Its pods, also those that have no network of their own.
    pub pods: Vec<PodPart>,
}

/// A network of pods.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkPart {
    /// As the configuration calls it; somebody else's is called by its bridge.
    pub name: String,
    /// Its addresses, and how many are taken; none of a network that is somebody else's.
    pub subnets: Vec<Room>,
    /// What leaves it gets the host's address.
    pub masquerade: bool,
    /// The bridge, if it is there: it comes with the first pod and goes with the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bridge: Option<End>,
    /// The nftables table (family inet) with its rules, if it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
}

/// A link and what it has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct End {
    /// Its number in its namespace.
    pub index: u32,
    /// Its name there.
    pub name: String,
    /// Its Ethernet address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<Mac>,
    /// Its largest packet, in bytes.
    pub mtu: u32,
    /// It can carry packets.
    pub live: bool,
    /// Its addresses, IPv4 first, without those of the link alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<InterfaceAddress>,
}

/// A pod.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodPart {
    /// Its namespace, as Kubernetes means it.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// `Pending`, `Running`, `Succeeded`, `Failed`, `Unknown`; `attached by CNI` for what another runtime has started.
    pub phase: String,
    /// Its condition `Ready` is `True`.
    pub ready: bool,
    /// It is in the host's network.
    pub host_network: bool,
    /// The file that is its network namespace, while there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub netns: Option<String>,
    /// The namespace's number, as `lsns` and `/proc/PID/ns/net` show it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub netns_inode: Option<u64>,
    /// Its interfaces, each with the other end of its cable.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cables: Vec<Cable>,
    /// Its containers.
    pub containers: Vec<ContainerPart>,
}

impl PodPart {
    /// `default/web`; only a container of another runtime may have no namespace.
    #[must_use]
    pub fn full_name(&self) -> String {
        match self.namespace.as_str() {
            "" => self.name.clone(),
            namespace => format!("{namespace}/{}", self.name),
        }
    }

    /// `Running, ready`
    #[must_use]
    pub fn state(&self) -> String {
        let ready = match (self.ready, self.phase.as_str()) {
            (true, _) => ", ready",
            (false, "Running") => ", not ready",
            _ => "",
        };
        format!("{}{ready}", self.phase)
    }
}

/// A virtual cable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cable {
    /// The end in the pod.
    pub inside: End,
    /// The end on the host, if that is where it leads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outside: Option<End>,
    /// The bridge that the outer end is plugged into.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bridge: Option<String>,
    /// The bridge that it is not plugged into and should be: somebody has taken it out, or deleted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unplugged_from: Option<String>,
}

impl Cable {
    /// `unplugged from podbox0`
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.unplugged_from.as_ref().map(|bridge| format!("unplugged from {bridge}"))
    }
}

/// A container and the ports that its manifest tells of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerPart {
    /// Its name.
    pub name: String,
    /// Its ports.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<PortPart>,
}

impl ContainerPart {
    /// `web: 8080/tcp http (host port 80)`
    #[must_use]
    pub fn what(&self) -> String {
        let ports = self.ports.iter().map(|port| match port.on_host() {
            Some(on_host) => format!("{} ({on_host})", port.what()),
            None => port.what(),
        });
        let ports = ports.collect::<Vec<_>>().join(", ");
        if ports.is_empty() { self.name.clone() } else { format!("{}: {ports}", self.name) }
    }
}

/// A port of a container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PortPart {
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its number.
    pub port: u16,
    /// `tcp`, `udp` or `sctp`.
    pub protocol: String,
    /// The host's port that leads to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_port: Option<u16>,
    /// Only at this address of the host.
    #[serde(default, rename = "hostIP", skip_serializing_if = "Option::is_none")]
    pub host_ip: Option<IpAddr>,
}

impl PortPart {
    /// `8080/tcp http`
    #[must_use]
    pub fn what(&self) -> String {
        let name = self.name.as_ref().map(|name| format!(" {name}")).unwrap_or_default();
        format!("{}/{}{name}", self.port, self.protocol)
    }

    /// `host port 127.0.0.1:80`
    #[must_use]
    pub fn on_host(&self) -> Option<String> {
        let port = self.host_port?;
        Some(match self.host_ip {
            Some(ip) => format!("host port {}", std::net::SocketAddr::new(ip, port)),
            None => format!("host port {port}"),
        })
    }
}

/// A Service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServicePart {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// `ClusterIP`, `NodePort`, `ExternalName`, `LoadBalancer`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its own addresses; none of a headless one.
    pub addresses: Vec<String>,
    /// The name that it stands for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_name: Option<String>,
    /// Its ports.
    pub ports: Vec<ServicePort>,
}

impl ServicePart {
    /// `default/web`.
    #[must_use]
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// `ClusterIP 10.96.0.7`
    #[must_use]
    pub fn what(&self) -> String {
        match (&self.external_name, self.addresses.is_empty()) {
            (Some(name), _) => format!("{} {name}", self.kind),
            (None, true) => format!("{}, headless", self.kind),
            (None, false) => format!("{} {}", self.kind, self.addresses.join(", ")),
        }
    }
}

/// A port of a Service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServicePort {
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its number.
    pub port: u16,
    /// `tcp`, `udp` or `sctp`.
    pub protocol: String,
    /// The port of every host that leads here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_port: Option<u16>,
    /// The pods that are behind it.
    pub endpoints: Vec<Endpoint>,
}

impl ServicePort {
    /// `80/tcp http, node port 30080`
    #[must_use]
    pub fn what(&self) -> String {
        let name = self.name.as_ref().map(|name| format!(" {name}")).unwrap_or_default();
        let node = self.node_port.map(|port| format!(", node port {port}")).unwrap_or_default();
        format!("{}/{}{name}{node}", self.port, self.protocol)
    }
}

impl ServicePart {
    /// Its head, and the ports that no arrow tells of because nobody is behind them.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!("service {}", self.full_name()), self.what()];
        let nobody = self.ports.iter().filter(|port| port.endpoints.is_empty());
        lines.extend(nobody.map(|port| format!("{}: nobody is behind it", port.what())));
        lines
    }
}

/// A pod behind a port of a Service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Endpoint {
    /// Where connections go: `10.244.0.2:8080`.
    pub address: String,
    /// The pod's name; its namespace is the Service's.
    pub pod: String,
    /// It gets connections.
    pub ready: bool,
}
