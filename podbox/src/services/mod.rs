//! Services: what they are and who is behind them. Pure, save for reading the files.
//!
//! There is no daemon that could know all of it, so every supervisor follows the same files: the stored Services, and one
//! file for each pod that some Service selects, in which the pod's own supervisor tells who it is and how it is.
//! ([`crate::supervisor`] writes and watches them; [`crate::dns`] and the tables of nftables are made from the [`Catalogue`].)

mod allot;
mod backend;
mod balance;
mod bounds;
mod node_ports;
mod outside;
mod service;
mod slices;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::store::{ObjectKind, Store};

pub use allot::{Allotment, allot};
pub use backend::{Backend, NamedPort, of_pod};
pub use balance::balance;
pub use bounds::Bounds;
pub use node_ports::{holder, node_ports};
pub use outside::{Outside, SERVICE_NAME, of_objects as outside};
pub use service::{Service, ServiceKind, ServicePort, Target};
pub use slices::{endpoint_slices, endpoints};

/// An address's family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Family {
    /// IPv4
    #[serde(rename = "IPv4")]
    V4,
    /// IPv6
    #[serde(rename = "IPv6")]
    V6,
}

impl Family {
    /// The family of an address.
    #[must_use]
    pub fn of(address: IpAddr) -> Family {
        if address.is_ipv4() { Family::V4 } else { Family::V6 }
    }

    /// As `ipFamilies` has it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Family::V4 => "IPv4",
            Family::V6 => "IPv6",
        }
    }
}

/// A number that follows from texts (FNV-1a), for what is to be the same again.
fn hash<'a>(texts: impl IntoIterator<Item = &'a str>) -> u64 {
    let bytes = texts.into_iter().flat_map(|text| text.bytes().chain([b'/']));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// The strings of a list.
fn strings(list: &serde_json::Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(|text| text.as_str().map(str::to_owned)).collect()
}

/// Where one port of a Service leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint<'a> {
    /// The pod's address and port.
    pub address: SocketAddr,
    /// The pod.
    pub backend: &'a Backend,
}

impl<'a> Endpoint<'a> {
    /// Of a pod; `None` if it has no such address or port.
    #[must_use]
    pub fn at(backend: &'a Backend, port: &ServicePort, family: Family) -> Option<Endpoint<'a>> {
        let ip = backend.ip(family)?;
        Some(Endpoint { address: SocketAddr::new(ip, backend.port(port)?), backend })
    }
}

/// All Services and all pods behind them, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Catalogue {
    /// By namespace and name. Shared, because pods change more often than Services do, and a change makes a new catalogue.
    pub services: Arc<BTreeMap<(String, String), Service>>,
    /// By uid.
    pub backends: BTreeMap<String, Backend>,
    /// Who else is behind them.
    pub outside: Arc<Outside>,
}

impl Catalogue {
    /// Reads all of it. What cannot be read is not there.
    #[must_use]
    pub fn read(store: &Store) -> Catalogue {
        Catalogue::services(store).with_backends_now(store)
    }

    /// Reads the Services and who is behind them beside pods.
    #[must_use]
    pub fn services(store: &Store) -> Catalogue {
        let mut catalogue = Catalogue::default();
        for (namespace, name) in store.object_names(ObjectKind::Service) {
            catalogue.read_service(store, &namespace, &name);
        }
        if !catalogue.services.is_empty() {
            catalogue.read_outside(store);
        }
        catalogue
    }

    /// The same Services, with the pods as they tell of themselves at this moment.
    #[must_use]
    pub fn with_backends_now(&self, store: &Store) -> Catalogue {
        let mut now = Catalogue { backends: BTreeMap::new(), ..self.clone() };
        if !now.services.is_empty() {
            now.backends =
                Backend::read_all(store).into_iter().map(|backend| (backend.uid.clone(), backend)).collect();
        }
        now
    }

    /// Reads one Service anew.
    pub fn read_service(&mut self, store: &Store, namespace: &str, name: &str) {
        let key = (namespace.to_owned(), name.to_owned());
        let found = store.object(ObjectKind::Service, namespace, name).ok().flatten();
        let services = Arc::make_mut(&mut self.services);
        match found.as_ref().and_then(Service::of) {
            Some(service) => services.insert(key, service),
            None => services.remove(&key),
        };
    }

    /// Reads anew who is behind Services beside pods.
    pub fn read_outside(&mut self, store: &Store) {
        self.outside = Arc::new(outside::read(store));
    }

    /// Reads one pod's file anew.
    pub fn read_backend(&mut self, store: &Store, file: &str) {
        let found = Backend::read(store, file);
        let path = store.endpoints_dir().join(file);
        self.backends.retain(|_, backend| store.endpoint(&backend.namespace, &backend.name) != path);
        self.backends.extend(found.map(|backend| (backend.uid.clone(), backend)));
    }

    /// The Service of that name.
    #[must_use]
    pub fn service(&self, namespace: &str, name: &str) -> Option<&Service> {
        self.services.get(&(namespace.to_owned(), name.to_owned()))
    }

    /// Whether some Service selects a pod of these labels in that namespace.
    #[must_use]
    pub fn selects(&self, namespace: &str, labels: &BTreeMap<String, String>) -> bool {
        self.services.values().any(|service| service.namespace == namespace && service.selects(labels))
    }

    /// The pods that a Service selects, in the order of their names, and who else is behind it.
    pub fn backends_of<'a>(&'a self, service: &'a Service) -> impl Iterator<Item = &'a Backend> {
        let mut found: Vec<_> = self.backends.values().filter(|backend| service.is_before(backend)).collect();
        found.sort_by(|a, b| a.name.cmp(&b.name));
        found.into_iter().chain(self.outside_of(service))
    }

    /// Who is behind a Service that is no pod.
    pub fn outside_of<'a>(&'a self, service: &Service) -> impl Iterator<Item = &'a Backend> + use<'a> {
        self.outside.of(service)
    }

    /// The pods of a Service that get its traffic now: those that are ready, or all that run with
    /// `publishNotReadyAddresses`; if there is none, those that still serve while they end (KEP-1669).
    #[must_use]
    pub fn receiving<'a>(&'a self, service: &'a Service) -> Vec<&'a Backend> {
        receiving(self.backends_of(service).collect(), service)
    }

    /// Why nobody gets a Service's traffic now, if nobody does.
    #[must_use]
    pub fn why_nobody(&self, service: &Service) -> Option<String> {
        let shown = format!("service {}/{}", service.namespace, service.name);
        match (self.backends_of(service).count(), self.receiving(service).len()) {
            (0, _) if service.selector.is_empty() => {
                Some(format!("{shown} has no selector, so that no pod is behind it, and no EndpointSlice"))
            }
            (0, _) => Some(format!("no pod fits the selector of {shown}")),
            (all, 0) => Some(format!("none of the {all} pods of {shown} is ready")),
            _ => None,
        }
    }

    /// Where a port of a Service leads now, in one family.
    #[must_use]
    pub fn endpoints<'a>(
        &'a self,
        service: &'a Service,
        port: &ServicePort,
        family: Family,
    ) -> Vec<Endpoint<'a>> {
        let receiving = self.receiving(service);
        receiving.into_iter().filter_map(|backend| Endpoint::at(backend, port, family)).collect()
    }
}

/// Those of a Service's pods that get its traffic now.
fn receiving<'a>(mut all: Vec<&'a Backend>, service: &Service) -> Vec<&'a Backend> {
    if all.iter().any(|backend| backend.ready) || service.publish_not_ready {
        all.retain(|backend| backend.ready || service.publish_not_ready);
    } else {
        all.retain(|backend| backend.serving && backend.terminating);
    }
    all
}

#[cfg(test)]
mod tests;
