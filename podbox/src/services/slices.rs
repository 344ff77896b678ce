//! EndpointSlices and Endpoints, as the controllers of a cluster would write them. They are made when somebody asks.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Backend, Catalogue, Family, Service, ServiceKind, ServicePort, hash};

/// The port that each of a Service's ports leads to; `None` for what a pod has no port of that name for.
type Ports = Vec<Option<u16>>;

/// The slices of a Service, with all its pods and how they are: for each family one, or as many as its pods have different
/// numbers of the ports that it names (`pkg/controller/endpointslice`, by port map). `object` is the stored one.
#[must_use]
pub fn endpoint_slices(catalogue: &Catalogue, object: &Value) -> Vec<Value> {
    let Some(service) = Service::of(object).filter(|service| !service.selector.is_empty()) else {
        return Vec::new();
    };
    if matches!(service.kind, ServiceKind::ExternalName(_)) {
        return Vec::new();
    }
    let of_family = |family: &Family| {
        let mut groups: BTreeMap<Ports, Vec<&Backend>> = BTreeMap::new();
        // What is outside has been written as it is.
        let pods = catalogue.backends_of(&service).filter(|backend| !backend.is_outside);
        for backend in pods.filter(|backend| backend.ip(*family).is_some()) {
            let ports = service.ports.iter().map(|port| backend.port(port)).collect();
            groups.entry(ports).or_default().push(backend);
        }
        if groups.is_empty() {
            groups.insert(Ports::new(), Vec::new());
        }
        let slices =
            groups.iter().map(|(ports, backends)| slice(object, &service, *family, (ports, backends)));
        slices.collect::<Vec<_>>()
    };
    service.families.iter().flat_map(of_family).collect()
}

fn slice(
    object: &Value,
    service: &Service,
    family: Family,
    (ports, backends): (&Ports, &[&Backend]),
) -> Value {
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
            "name": format!("{}-{}", service.name, suffix(object, family, ports)),
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
        "ports": service.ports.iter().zip(ports).filter_map(|(port, number)| slice_port(port, *number)).collect::<Vec<_>>(),
    })
}

fn slice_port(port: &ServicePort, number: Option<u16>) -> Option<Value> {
    let number = number?;
    Some(
        json!({"name": port.name.clone().unwrap_or_default(), "port": number, "protocol": port.protocol.word()}),
    )
}

/// Five characters that belong to the Service, the family and the ports, where a cluster would make them up.
fn suffix(object: &Value, family: Family, ports: &Ports) -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut hash =
        hash([object["metadata"]["uid"].as_str().unwrap_or_default(), family.word(), &format!("{ports:?}")]);
    (0..5)
        .map(|_| {
            let letter = ALPHABET[(hash % ALPHABET.len() as u64) as usize];
            hash /= ALPHABET.len() as u64;
            char::from(letter)
        })
        .collect()
}

/// The older form: one object, a subset for each slice of the first family, the ready addresses apart from the others.
#[must_use]
pub fn endpoints(catalogue: &Catalogue, object: &Value) -> Option<Value> {
    let slices = endpoint_slices(catalogue, object);
    let first = slices.first()?["addressType"].clone();
    let subsets: Vec<Value> =
        slices.iter().filter(|slice| slice["addressType"] == first).filter_map(subset).collect();
    let metadata = &object["metadata"];
    let mut made = json!({
        "apiVersion": "v1", "kind": "Endpoints",
        "metadata": {
            "name": metadata["name"], "namespace": metadata["namespace"],
            "creationTimestamp": metadata["creationTimestamp"],
        },
    });
    if !subsets.is_empty() {
        made["subsets"] = json!(subsets);
    }
    Some(made)
}

fn subset(slice: &Value) -> Option<Value> {
    let all = slice["endpoints"].as_array().filter(|all| !all.is_empty())?;
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
    Some(subset)
}
