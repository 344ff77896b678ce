//! Which pods are behind which Services, from the v1 objects. Pure.
//!
//! Who is behind a Service: a pod of its namespace that has the labels and is not over. Whether it gets connections: if
//! it is ready and is not ending, or the Service publishes pods that are not (Kubernetes' endpointslice controller,
//! `podToEndpoint`).

use std::net::{IpAddr, SocketAddr};

use serde_json::Value;

use super::model::{Endpoint, ServicePart, ServicePort};

/// The Services of these objects, with those of these pods that are behind them.
#[must_use]
pub fn services(services: &[Value], pods: &[Value]) -> Vec<ServicePart> {
    services.iter().map(|service| part(service, pods)).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn part(service: &Value, pods: &[Value]) -> ServicePart {
    let (data, spec) = (&service["metadata"], &service["spec"]);
    let addresses = list(&spec["clusterIPs"]).iter().filter_map(Value::as_str);
    let ports = list(&spec["ports"]).iter().map(|port| service_port(service, port, pods));
    ServicePart {
        namespace: text(&data["namespace"]),
        name: text(&data["name"]),
        kind: text(&spec["type"]),
        addresses: addresses.filter(|ip| !matches!(*ip, "" | "None")).map(str::to_owned).collect(),
        external_name: spec["externalName"].as_str().map(str::to_owned),
        ports: ports.collect(),
    }
}

fn service_port(service: &Value, port: &Value, pods: &[Value]) -> ServicePort {
    let number = |value: &Value| value.as_u64().and_then(|number| u16::try_from(number).ok());
    let endpoints = pods.iter().filter_map(|pod| endpoint(service, port, pod));
    ServicePort {
        name: port["name"].as_str().filter(|name| !name.is_empty()).map(str::to_owned),
        port: number(&port["port"]).unwrap_or_default(),
        protocol: port["protocol"].as_str().unwrap_or("TCP").to_lowercase(),
        node_port: number(&port["nodePort"]).filter(|port| *port > 0),
        endpoints: endpoints.collect(),
    }
}

fn endpoint(service: &Value, port: &Value, pod: &Value) -> Option<Endpoint> {
    let selector = service["spec"]["selector"].as_object().filter(|selector| !selector.is_empty())?;
    let (data, status) = (&pod["metadata"], &pod["status"]);
    let same_namespace = data["namespace"] == service["metadata"]["namespace"];
    let selected = selector.iter().all(|(key, value)| data["labels"].get(key) == Some(value));
    let over = matches!(status["phase"].as_str(), Some("Succeeded" | "Failed"));
    if !same_namespace || !selected || over {
        return None;
    }
    let wants_six = service["spec"]["ipFamilies"][0] == "IPv6";
    let ips = list(&status["podIPs"]).iter().filter_map(|ip| ip["ip"].as_str()?.parse::<IpAddr>().ok());
    let ip = ips.into_iter().find(|ip| ip.is_ipv6() == wants_six)?;
    let target = port.get("targetPort").filter(|target| !target.is_null()).unwrap_or(&port["port"]);
    let number = match target {
        Value::String(name) => named_port(pod, name)?,
        number => number.as_u64()?,
    };
    let is_ready = |condition: &Value| condition["type"] == "Ready" && condition["status"] == "True";
    let ready = list(&status["conditions"]).iter().any(is_ready) && !data["deletionTimestamp"].is_string();
    Some(Endpoint {
        address: SocketAddr::new(ip, u16::try_from(number).ok()?).to_string(),
        pod: text(&data["name"]),
        ready: ready || service["spec"]["publishNotReadyAddresses"] == true,
    })
}

fn named_port(pod: &Value, name: &str) -> Option<u64> {
    let spec = &pod["spec"];
    let containers = list(&spec["containers"]).iter().chain(list(&spec["initContainers"]));
    let mut ports = containers.flat_map(|container| list(&container["ports"]));
    ports.find(|port| port["name"] == name)?["containerPort"].as_u64()
}
