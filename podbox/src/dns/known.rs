//! What the catalogue of Services says of names.

use std::net::IpAddr;

use super::zone::{Endpoint, Entry, Names, Port};
use crate::pod::Protocol;
use crate::services::{Backend, Catalogue, Service, ServiceKind, ServicePort};
use crate::store::{ObjectKind, Store};

/// The names of everything that is known at this moment.
#[derive(Debug)]
pub struct Known<'a> {
    /// Services, and the pods behind them.
    pub catalogue: &'a Catalogue,
    /// Where namespaces are.
    pub store: &'a Store,
}

impl Names for Known<'_> {
    fn has_namespace(&self, namespace: &str) -> bool {
        // What comes over the wire becomes part of a path.
        if !is_label(namespace) {
            return false;
        }
        namespace == "default"
            || self.catalogue.services.keys().any(|(of_service, _)| of_service == namespace)
            || matches!(self.store.object(ObjectKind::Namespace, "", namespace), Ok(Some(_)))
            || self.store.names().iter().any(|(of_pod, ..)| of_pod == namespace)
    }

    fn entry(&self, namespace: &str, service: &str) -> Option<Entry> {
        let service = self.catalogue.service(namespace, service)?;
        Some(match &service.kind {
            ServiceKind::ExternalName(name) => Entry::External(name.clone()),
            _ if service.is_headless() => Entry::Headless(self.endpoints(service)),
            _ => Entry::Cluster {
                addresses: service.cluster_ips.clone(),
                ports: service.ports.iter().map(|port| self::port(port, port.port)).collect(),
            },
        })
    }

    fn names_of(&self, address: IpAddr) -> Vec<String> {
        let mut names = Vec::new();
        for ((namespace, name), service) in &*self.catalogue.services {
            if service.cluster_ips.contains(&address) {
                names.push(format!("{name}.{namespace}"));
            } else if service.is_headless()
                && self.catalogue.backends_of(service).any(|one| one.ips.contains(&address))
            {
                let there =
                    self.endpoints(service).into_iter().filter(|endpoint| endpoint.address == address);
                names.extend(there.map(|endpoint| format!("{}.{name}.{namespace}", endpoint.label())));
            }
        }
        names
    }
}

impl Known<'_> {
    /// The addresses of those behind a headless Service that get traffic now.
    fn endpoints(&self, service: &Service) -> Vec<Endpoint> {
        let of_one = |backend: &&Backend| -> Vec<Endpoint> {
            let named = backend.is_outside || backend.subdomain.as_deref() == Some(service.name.as_str());
            let hostname = backend.hostname.clone().filter(|_| named);
            let ports = service.ports.iter().filter_map(|port| Some(self::port(port, backend.port(port)?)));
            let ports: Vec<Port> = ports.collect();
            let ips = service.families.iter().filter_map(|family| backend.ip(*family));
            ips.map(|address| Endpoint { hostname: hostname.clone(), address, ports: ports.clone() })
                .collect()
        };
        // Those that end and still serve are for whoever has been led there (KEP-1669), not for whoever asks.
        let named = |backend: &&&Backend| service.publish_not_ready || !backend.terminating;
        self.catalogue.receiving(service).iter().filter(named).flat_map(of_one).collect()
    }
}

fn port(port: &ServicePort, number: u16) -> Port {
    let protocol = match port.protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        Protocol::Sctp => "sctp",
    };
    Port { name: port.name.clone(), protocol, number }
}

fn is_label(text: &str) -> bool {
    (1..64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}
