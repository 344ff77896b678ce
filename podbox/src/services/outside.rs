//! Who is behind Services beside pods: the Endpoints and EndpointSlices of manifests. Pure, save for reading the files.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::Value;

use crate::store::{ObjectKind, Store};

use super::node_ports::protocol;
use super::{Backend, NamedPort, Service};

/// The label of an EndpointSlice that names its Service.
pub const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// By namespace and name of the Service.
type Behind = BTreeMap<(String, String), Vec<Backend>>;

/// All of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outside {
    slices: Behind,
    endpoints: Behind,
}

impl Outside {
    /// Those of a Service. The Endpoints of one that selects pods are its controller's own, who has written over them.
    pub fn of<'a>(&'a self, service: &Service) -> impl Iterator<Item = &'a Backend> + use<'a> {
        let key = (service.namespace.clone(), service.name.clone());
        let endpoints = if service.selector.is_empty() { self.endpoints.get(&key) } else { None };
        self.slices.get(&key).into_iter().chain(endpoints).flatten()
    }
}

/// All that are stored. What cannot be read is not there.
pub(super) fn read(store: &Store) -> Outside {
    let kinds = [ObjectKind::EndpointSlice, ObjectKind::Endpoints];
    let all = kinds.into_iter().flat_map(|kind| {
        let objects = store.object_names(kind).into_iter();
        objects.filter_map(move |(namespace, name)| store.object(kind, &namespace, &name).ok().flatten())
    });
    of_objects(all)
}

/// Those of stored objects; what is of another kind says nothing.
#[must_use]
pub fn of_objects(objects: impl IntoIterator<Item = Value>) -> Outside {
    let mut outside = Outside::default();
    for object in objects {
        let metadata = &object["metadata"];
        let (into, service, backends) = match object["kind"].as_str() {
            Some("EndpointSlice") => {
                (&mut outside.slices, &metadata["labels"][SERVICE_NAME], of_slice(&object))
            }
            Some("Endpoints") => (&mut outside.endpoints, &metadata["name"], of_endpoints(&object)),
            _ => continue,
        };
        let (Some(namespace), Some(service)) = (metadata["namespace"].as_str(), service.as_str()) else {
            continue;
        };
        into.entry((namespace.to_owned(), service.to_owned())).or_default().extend(backends);
    }
    outside
}

/// Of the addresses of an endpoint any will do, and the first is taken, as by kube-proxy.
fn of_slice(slice: &Value) -> Vec<Backend> {
    let ports = ports(&slice["ports"]);
    let endpoint = |endpoint: &Value| {
        let address = endpoint["addresses"][0].as_str()?.parse().ok()?;
        let is = |condition: &str| endpoint["conditions"][condition].as_bool();
        let ready = is("ready").unwrap_or(true);
        Some(Backend {
            ready,
            serving: is("serving").unwrap_or(ready),
            terminating: is("terminating").unwrap_or(false),
            ..backend(slice, endpoint, address, &ports)
        })
    };
    list(&slice["endpoints"]).iter().filter_map(endpoint).collect()
}

fn of_endpoints(endpoints: &Value) -> Vec<Backend> {
    let mut found = Vec::new();
    for subset in list(&endpoints["subsets"]) {
        let ports = ports(&subset["ports"]);
        for (field, ready) in [("addresses", true), ("notReadyAddresses", false)] {
            let one = |one: &Value| {
                let address = one["ip"].as_str()?.parse().ok()?;
                Some(Backend { ready, serving: ready, ..backend(endpoints, one, address, &ports) })
            };
            found.extend(list(&subset[field]).iter().filter_map(one));
        }
    }
    found
}

/// The address of one entry of an object, with nothing said of how it is.
fn backend(object: &Value, entry: &Value, address: IpAddr, ports: &[NamedPort]) -> Backend {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let name = format!("{}/{}", text(&object["kind"]).to_lowercase(), text(&object["metadata"]["name"]));
    let hostname = entry["hostname"].as_str().filter(|name| !name.is_empty()).map(str::to_owned);
    Backend {
        uid: format!("{name}/{address}"),
        namespace: text(&object["metadata"]["namespace"]),
        name,
        hostname,
        node: text(&entry["nodeName"]),
        ips: vec![address],
        ports: ports.to_vec(),
        is_outside: true,
        ..Backend::default()
    }
}

/// They have the names of the Service's ports.
fn ports(ports: &Value) -> Vec<NamedPort> {
    let port = |port: &Value| {
        let number = u16::try_from(port["port"].as_u64()?).ok()?;
        let name = port["name"].as_str().unwrap_or_default().to_owned();
        Some(NamedPort { name, protocol: protocol(port), number })
    };
    list(ports).iter().filter_map(port).collect()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn service(selector: &Value) -> Service {
        Service::of(&json!({"metadata": {"namespace": "team", "name": "db"}, "spec": {"selector": selector}}))
            .unwrap()
    }

    #[test]
    fn a_slice_tells_where_the_service_of_its_label_leads() {
        let slice = json!({
            "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"namespace": "team", "name": "db-1", "labels": {SERVICE_NAME: "db"}},
            "ports": [{"name": "sql", "port": 5432, "protocol": "TCP"}],
            "endpoints": [
                {"addresses": ["192.0.2.1"], "hostname": "first"},
                {"addresses": ["192.0.2.2"], "conditions": {"ready": false}},
                {"addresses": ["db.example.com"]},
            ],
        });
        let found = of_objects([slice, json!({"kind": "ConfigMap"})]);
        let behind: Vec<_> = found.of(&service(&json!({"app": "db"}))).collect();
        let told: Vec<_> =
            behind.iter().map(|one| (one.ips[0].to_string(), one.ready, one.serving)).collect();
        assert_eq!(told, [("192.0.2.1".to_owned(), true, true), ("192.0.2.2".to_owned(), false, false)]);
        assert_eq!(behind[0].hostname.as_deref(), Some("first"));
        assert_eq!((behind[0].name.as_str(), behind[0].ports[0].number), ("endpointslice/db-1", 5432));
    }

    #[test]
    fn endpoints_tell_it_of_the_service_of_their_name() {
        let endpoints = json!({
            "kind": "Endpoints", "metadata": {"namespace": "team", "name": "db"},
            "subsets": [{
                "addresses": [{"ip": "192.0.2.1"}], "notReadyAddresses": [{"ip": "192.0.2.2"}],
                "ports": [{"port": 5432}],
            }],
        });
        let found = of_objects([endpoints]);
        let ready: Vec<_> = found.of(&service(&json!({}))).map(|one| one.ready).collect();
        assert_eq!(ready, [true, false]);
        assert_eq!(found.of(&service(&json!({"app": "db"}))).count(), 0, "its controller writes them");
    }
}
