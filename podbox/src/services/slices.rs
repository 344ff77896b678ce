//! EndpointSlices and Endpoints, as the controllers of a cluster would write them. They are made when somebody asks.

use serde_json::{Value, json};

use super::{Backend, Catalogue, Family, Service, ServiceKind, ServicePort, Target, hash};

/// The slices of a Service: one a family, with all its pods and how they are. `service` is the stored object.
#[must_use]
pub fn endpoint_slices(catalogue: &Catalogue, object: &Value) -> Vec<Value> {
    let Some(service) = Service::of(object).filter(|service| !service.selector.is_empty()) else {
        return Vec::new();
    };
    if matches!(service.kind, ServiceKind::ExternalName(_)) {
        return Vec::new();
    }
    service.families.iter().map(|family| slice(catalogue, object, &service, *family)).collect()
}

fn slice(catalogue: &Catalogue, object: &Value, service: &Service, family: Family) -> Value {
    let backends: Vec<&Backend> =
        catalogue.backends_of(service).filter(|backend| backend.ip(family).is_some()).collect();
    let endpoint = |backend: &&Backend| {
        let mut endpoint = json!({
            "addresses": [backend.ip(family)],
            "conditions": {
                "ready": backend.ready || service.publish_not_ready,
                "serving": backend.serving || service.publish_not_ready,
                "terminating": backend.terminating,
            },
            "nodeName": backend.node,
            "targetRef": {
                "kind": "Pod", "name": backend.name, "namespace": backend.namespace, "uid": backend.uid,
            },
        });
        if let Some(hostname) =
            backend.hostname.as_ref().filter(|_| backend.subdomain.as_deref() == Some(service.name.as_str()))
        {
            endpoint["hostname"] = json!(hostname);
        }
        endpoint
    };
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": format!("{}-{}", service.name, suffix(object, family)),
            "namespace": service.namespace,
            "labels": {
                "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
                "kubernetes.io/service-name": service.name,
            },
            "creationTimestamp": object["metadata"]["creationTimestamp"],
            "ownerReferences": [{
                "apiVersion": "v1", "kind": "Service", "name": service.name, "uid": object["metadata"]["uid"],
                "controller": true, "blockOwnerDeletion": true,
            }],
        },
        "addressType": family.word(),
        "endpoints": backends.iter().map(endpoint).collect::<Vec<_>>(),
        "ports": service.ports.iter().filter_map(|port| slice_port(port, &backends)).collect::<Vec<_>>(),
    })
}

/// A named port leads to what the pods call so; where they differ a cluster has several slices, and this is the first's.
fn slice_port(port: &ServicePort, backends: &[&Backend]) -> Option<Value> {
    let number = match &port.target {
        Target::Number(number) => *number,
        Target::Name(_) => backends.iter().find_map(|backend| backend.port(port))?,
    };
    Some(
        json!({"name": port.name.clone().unwrap_or_default(), "port": number, "protocol": port.protocol.word()}),
    )
}

/// Five characters that belong to the Service and the family, where a cluster would make them up.
fn suffix(object: &Value, family: Family) -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut hash = hash([object["metadata"]["uid"].as_str().unwrap_or_default(), family.word()]);
    (0..5)
        .map(|_| {
            let letter = ALPHABET[(hash % ALPHABET.len() as u64) as usize];
            hash /= ALPHABET.len() as u64;
            char::from(letter)
        })
        .collect()
}

/// The older form: one object, the ready addresses apart from the others.
#[must_use]
pub fn endpoints(catalogue: &Catalogue, object: &Value) -> Option<Value> {
    let slices = endpoint_slices(catalogue, object);
    let slice = slices.first()?;
    let all = slice["endpoints"].as_array().cloned().unwrap_or_default();
    let address = |endpoint: &Value| {
        json!({
            "ip": endpoint["addresses"][0], "nodeName": endpoint["nodeName"], "targetRef": endpoint["targetRef"],
        })
    };
    let of = |ready: bool| -> Vec<Value> {
        all.iter().filter(|endpoint| endpoint["conditions"]["ready"] == ready).map(address).collect()
    };
    let mut subset = json!({"ports": slice["ports"]});
    for (field, addresses) in [("addresses", of(true)), ("notReadyAddresses", of(false))] {
        if !addresses.is_empty() {
            subset[field] = json!(addresses);
        }
    }
    let metadata = &object["metadata"];
    let mut made = json!({
        "apiVersion": "v1", "kind": "Endpoints",
        "metadata": {
            "name": metadata["name"], "namespace": metadata["namespace"],
            "creationTimestamp": metadata["creationTimestamp"],
        },
    });
    if !all.is_empty() {
        made["subsets"] = json!([subset]);
    }
    Some(made)
}
