//! What the stored Services and pods say of names, read when somebody asks.

use std::net::IpAddr;

use serde_json::Value;

use super::zone::{Endpoint, Entry, Names, Port};
use crate::store::{ObjectKind, Store};

/// The names of everything that a store knows. Nothing is kept: a pod that is not ready any more is not in the next answer.
#[derive(Debug)]
pub struct Stored<'a>(pub &'a Store);

impl Names for Stored<'_> {
    fn has_namespace(&self, namespace: &str) -> bool {
        // What comes over the wire becomes part of a path.
        if !is_label(namespace) {
            return false;
        }
        namespace == "default"
            || matches!(self.0.object(ObjectKind::Namespace, "", namespace), Ok(Some(_)))
            || self.0.names().iter().any(|(of_pod, ..)| of_pod == namespace)
            || self.0.object_names(ObjectKind::Service).iter().any(|(of_service, _)| of_service == namespace)
    }

    fn entry(&self, namespace: &str, service: &str) -> Option<Entry> {
        if !is_label(namespace) || !is_label(service) {
            return None;
        }
        let object = self.0.object(ObjectKind::Service, namespace, service).ok().flatten()?;
        let spec = &object["spec"];
        if spec["type"] == "ExternalName" {
            return spec["externalName"].as_str().map(|name| Entry::External(name.to_owned()));
        }
        let addresses = cluster_ips(spec);
        if addresses.is_empty() {
            return Some(Entry::Headless(self.endpoints(namespace, service, spec)));
        }
        let ports = list(&spec["ports"]).filter_map(|port| self::port(port, &port["port"]));
        Some(Entry::Cluster { addresses, ports: ports.collect() })
    }

    fn names_of(&self, address: IpAddr) -> Vec<String> {
        let mut names = Vec::new();
        for (namespace, service) in self.0.object_names(ObjectKind::Service) {
            match self.entry(&namespace, &service) {
                Some(Entry::Cluster { addresses, .. }) if addresses.contains(&address) => {
                    names.push(format!("{service}.{namespace}"));
                }
                Some(Entry::Headless(endpoints)) => {
                    let there = endpoints.iter().filter(|endpoint| endpoint.address == address);
                    names.extend(there.map(|endpoint| format!("{}.{service}.{namespace}", endpoint.label())));
                }
                _ => {}
            }
        }
        names
    }
}

impl Stored<'_> {
    /// The addresses of the pods that the Service selects and that are ready, unless it wants them all.
    fn endpoints(&self, namespace: &str, service: &str, spec: &Value) -> Vec<Endpoint> {
        let Some(selector) = spec["selector"].as_object().filter(|selector| !selector.is_empty()) else {
            return Vec::new();
        };
        let always = spec["publishNotReadyAddresses"] == true;
        let mut endpoints = Vec::new();
        for (_, _, uid) in self.0.names().into_iter().filter(|(of_pod, ..)| of_pod == namespace) {
            let dir = self.0.pod(&uid);
            let (Some(pod), Some(status)) = (read(&dir.object()), read(&dir.status())) else { continue };
            let labels = &pod["metadata"]["labels"];
            let over = matches!(status["phase"].as_str(), Some("Succeeded" | "Failed"));
            if over || !selector.iter().all(|(key, value)| labels[key] == *value) {
                continue;
            }
            let ready = list(&status["conditions"]).any(|c| c["type"] == "Ready" && c["status"] == "True");
            if !ready && !always {
                continue;
            }
            let named = pod["spec"]["subdomain"] == service;
            let hostname = pod["spec"]["hostname"].as_str().filter(|_| named).map(str::to_owned);
            let ports: Vec<Port> =
                list(&spec["ports"]).filter_map(|port| self::port(port, target(port, &pod)?)).collect();
            for ip in list(&status["podIPs"]).filter_map(|ip| ip["ip"].as_str()?.parse().ok()) {
                endpoints.push(Endpoint { hostname: hostname.clone(), address: ip, ports: ports.clone() });
            }
        }
        endpoints
    }
}

/// Where a port of a Service leads in a pod: a number, or the port of that name.
fn target<'a>(port: &'a Value, pod: &'a Value) -> Option<&'a Value> {
    match &port["targetPort"] {
        Value::Null => Some(&port["port"]),
        Value::String(name) => list(&pod["spec"]["containers"])
            .flat_map(|container| list(&container["ports"]))
            .find(|declared| declared["name"] == name.as_str())
            .map(|declared| &declared["containerPort"]),
        number => Some(number),
    }
}

fn port(port: &Value, number: &Value) -> Option<Port> {
    Some(Port {
        name: port["name"].as_str().map(str::to_owned),
        protocol: match port["protocol"].as_str() {
            Some("UDP") => "udp",
            Some("SCTP") => "sctp",
            _ => "tcp",
        },
        number: u16::try_from(number.as_u64()?).ok()?,
    })
}

fn cluster_ips(spec: &Value) -> Vec<IpAddr> {
    let mut all: Vec<IpAddr> = list(&spec["clusterIPs"]).filter_map(|ip| ip.as_str()?.parse().ok()).collect();
    if let (true, Some(only)) = (all.is_empty(), spec["clusterIP"].as_str()) {
        all.extend(only.parse::<IpAddr>());
    }
    all
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn read(path: &std::path::Path) -> Option<Value> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

fn is_label(text: &str) -> bool {
    (1..64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}
