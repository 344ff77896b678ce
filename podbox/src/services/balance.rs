//! From Services to virtual addresses and backends. Pure.

use std::net::SocketAddr;

use netplugin::{Balance, Front, NodePort, Subnet};

use super::{Backend, Catalogue, Endpoint, Family, ServiceKind, ServicePort, receiving};

/// What the table of one network namespace has to hold. Node ports and external addresses are the host's business.
#[must_use]
pub fn balance(catalogue: &Catalogue, ranges: &[Subnet]) -> Balance {
    let mut balance = Balance { ranges: ranges.to_vec(), ..Balance::default() };
    // In order once, and not for each of a thousand Services.
    let mut pods: Vec<&Backend> = catalogue.backends.values().collect();
    pods.sort_by(|a, b| a.name.cmp(&b.name));
    for service in catalogue.services.values() {
        let selected = pods.iter().copied().filter(|pod| service.is_before(pod));
        let receiving = receiving(selected.chain(catalogue.outside_of(service)).collect(), service);
        for port in &service.ports {
            let led_to = |family| addresses(&receiving, port, family);
            let fronts = service.cluster_ips.iter().chain(&service.external_ips);
            balance.fronts.extend(fronts.map(|address| Front {
                address: *address,
                protocol: port.protocol.on_the_wire(),
                port: port.port,
                affinity: service.affinity,
                backends: led_to(Family::of(*address)),
            }));
            if let (ServiceKind::NodePort, Some(number)) = (&service.kind, port.node_port) {
                balance.node_ports.push(NodePort {
                    protocol: port.protocol.on_the_wire(),
                    port: number,
                    affinity: service.affinity,
                    backends: service.families.iter().flat_map(|family| led_to(*family)).collect(),
                });
            }
        }
    }
    balance
}

fn addresses(receiving: &[&Backend], port: &ServicePort, family: Family) -> Vec<SocketAddr> {
    let endpoints = receiving.iter().filter_map(|backend| Endpoint::at(backend, port, family));
    endpoints.map(|endpoint| endpoint.address).collect()
}
