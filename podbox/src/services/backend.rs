//! What a pod tells of itself to those who send it traffic: `endpoints/<namespace>_<name>.json` in the run directory.
//!
//! Writer: the pod's own supervisor, and only while some Service selects the pod.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;

use runtime::plan::Identity;
use serde::{Deserialize, Serialize};

use crate::pod::{Pod, Protocol, Role};
use crate::store::Store;

use super::{Family, ServicePort, Target};

/// A pod behind a Service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backend {
    /// `metadata.uid`
    pub uid: String,
    /// `metadata.namespace`
    pub namespace: String,
    /// `metadata.name`
    pub name: String,
    /// `metadata.labels`
    pub labels: BTreeMap<String, String>,
    /// `spec.hostname`, if the pod has a subdomain: its name in the Service's domain.
    pub hostname: Option<String>,
    /// `spec.subdomain`: the headless Service whose domain that is.
    pub subdomain: Option<String>,
    /// `spec.nodeName`
    pub node: String,
    /// `status.podIPs`
    pub ips: Vec<IpAddr>,
    /// It is ready, and does not end.
    pub ready: bool,
    /// It is ready, though it may be ending.
    pub serving: bool,
    /// It is ending.
    pub terminating: bool,
    /// The ports that have names.
    pub ports: Vec<NamedPort>,
    /// Its guardian. Once nobody is in its place, nobody looks after the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guardian: Option<Identity>,
    /// It is no pod: its ports have the names of the Service's.
    #[serde(default, skip)]
    pub is_outside: bool,
}

/// A named port of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedPort {
    /// `name`
    pub name: String,
    /// `protocol`
    pub protocol: Protocol,
    /// `containerPort`
    pub number: u16,
}

/// What of a [`Backend`] does not change while the pod runs.
#[must_use]
pub fn of_pod(pod: &Pod, node: &str) -> Backend {
    // HOSTNAME.SUBDOMAIN.NAMESPACE.svc.DOMAIN
    let mut names = pod.fqdn.iter().flat_map(|name| name.split('.')).map(str::to_owned);
    let (hostname, subdomain) = (names.next(), names.next());
    let named = pod.containers.iter().filter(|container| container.role != Role::Ephemeral);
    let ports = named.flat_map(|container| &container.ports).filter_map(|port| {
        Some(NamedPort { name: port.name.clone()?, protocol: port.protocol, number: port.container_port })
    });
    Backend {
        uid: pod.uid.clone(),
        namespace: pod.namespace.clone(),
        name: pod.name.clone(),
        labels: pod.labels.clone(),
        hostname,
        subdomain,
        node: node.to_owned(),
        ips: Vec::new(),
        ready: false,
        serving: false,
        terminating: false,
        ports: ports.collect(),
        guardian: None,
        is_outside: false,
    }
}

impl Backend {
    /// Its address in a family.
    #[must_use]
    pub fn ip(&self, family: Family) -> Option<IpAddr> {
        self.ips.iter().copied().find(|ip| Family::of(*ip) == family)
    }

    /// The number of the port that a Service's port leads to.
    #[must_use]
    pub fn port(&self, port: &ServicePort) -> Option<u16> {
        if self.is_outside {
            let name = port.name.as_deref().unwrap_or_default();
            let same = |own: &&NamedPort| own.name == name && own.protocol == port.protocol;
            return Some(self.ports.iter().find(same)?.number);
        }
        match &port.target {
            Target::Number(number) => Some(*number),
            Target::Name(name) => {
                let named = |own: &&NamedPort| own.name == *name && own.protocol == port.protocol;
                Some(self.ports.iter().find(named)?.number)
            }
        }
    }

    /// All that are there.
    pub(super) fn read_all(store: &Store) -> Vec<Backend> {
        let entries = fs::read_dir(store.endpoints_dir()).into_iter().flatten().flatten();
        entries.filter_map(|entry| Backend::read(store, entry.file_name().to_str()?)).collect()
    }

    /// The one of that file.
    pub(super) fn read(store: &Store, file: &str) -> Option<Backend> {
        if file.starts_with('.') || !file.ends_with(".json") {
            return None;
        }
        serde_json::from_slice(&fs::read(store.endpoints_dir().join(file)).ok()?).ok()
    }
}
