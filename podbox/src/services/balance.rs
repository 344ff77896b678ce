//! From Services to virtual addresses and backends. Pure.

use netplugin::{Balance, Front, NodePort, Subnet};

use super::{Catalogue, Family, Service, ServiceKind, ServicePort};

/// What the table of one network namespace has to hold. Node ports and external addresses are the host's business.
#[must_use]
pub fn balance(catalogue: &Catalogue, ranges: &[Subnet]) -> Balance {
    let mut balance = Balance { ranges: ranges.to_vec(), ..Balance::default() };
    for service in catalogue.services.values() {
        for port in &service.ports {
            let addresses = service.cluster_ips.iter().chain(&service.external_ips);
            balance.fronts.extend(addresses.map(|address| Front {
                address: *address,
                protocol: port.protocol.on_the_wire(),
                port: port.port,
                affinity: service.affinity,
                backends: addresses_of(catalogue, service, port, Family::of(*address)),
            }));
            if let (ServiceKind::NodePort, Some(number)) = (&service.kind, port.node_port) {
                let of = |family: &Family| addresses_of(catalogue, service, port, *family);
                balance.node_ports.push(NodePort {
                    protocol: port.protocol.on_the_wire(),
                    port: number,
                    affinity: service.affinity,
                    backends: service.families.iter().flat_map(of).collect(),
                });
            }
        }
    }
    balance
}

fn addresses_of(
    catalogue: &Catalogue,
    service: &Service,
    port: &ServicePort,
    family: Family,
) -> Vec<std::net::SocketAddr> {
    catalogue.endpoints(service, port, family).into_iter().map(|endpoint| endpoint.address).collect()
}
