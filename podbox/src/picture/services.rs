//! Services with the pods that are behind them, as the picture has them. Pure.

use serde_json::Value;

use crate::services::{self, Backend, Catalogue, Family, Service, ServiceKind, ServicePort as Port};

use super::model::{Endpoint, ServicePart, ServicePort};

/// Those of the stored Services, with the pods that the catalogue knows behind them.
#[must_use]
pub fn services(objects: &[Value], catalogue: &Catalogue) -> Vec<ServicePart> {
    objects.iter().filter_map(|object| Some(part(object, &Service::of(object)?, catalogue))).collect()
}

fn part(object: &Value, service: &Service, catalogue: &Catalogue) -> ServicePart {
    let external_name = match &service.kind {
        ServiceKind::ExternalName(name) => Some(name.clone()),
        ServiceKind::ClusterIp | ServiceKind::NodePort => None,
    };
    ServicePart {
        namespace: service.namespace.clone(),
        name: service.name.clone(),
        // As it was written: a load balancer is treated as a port of the host.
        kind: object["spec"]["type"].as_str().unwrap_or("ClusterIP").to_owned(),
        addresses: service.cluster_ips.iter().map(ToString::to_string).collect(),
        external_name,
        ports: service.ports.iter().map(|port| service_port(service, port, catalogue)).collect(),
    }
}

/// All pods behind it, those too that get no connection now.
fn service_port(service: &Service, port: &Port, catalogue: &Catalogue) -> ServicePort {
    let family = service.families.first().copied().unwrap_or(Family::V4);
    let receiving: Vec<&str> =
        catalogue.receiving(service).into_iter().map(|backend| backend.uid.as_str()).collect();
    let endpoint = |backend: &Backend| {
        let end = services::Endpoint::at(backend, port, family)?;
        Some(Endpoint {
            address: end.address.to_string(),
            pod: backend.name.clone(),
            ready: receiving.contains(&backend.uid.as_str()),
        })
    };
    ServicePort {
        name: port.name.clone(),
        port: port.port,
        protocol: port.protocol.word().to_lowercase(),
        node_port: port.node_port,
        endpoints: catalogue.backends_of(service).filter_map(endpoint).collect(),
    }
}
