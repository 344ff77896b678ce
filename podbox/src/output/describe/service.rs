//! A Service, with the pods that are behind it.

use serde_json::Value;

use super::super::objects::pairs;
use super::{Lines, items, text};

/// So many addresses of pods are shown, and only the number of the others.
const SHOWN: usize = 3;

/// Describes what a Service has beside its head; `pods` are those of its namespace.
pub(super) fn describe(out: &mut Lines, service: &Value, pods: &[Value]) {
    let (spec, status) = (&service["spec"], &service["status"]);
    out.field(0, "Selector", &pairs(&spec["selector"]));
    out.field(0, "Type", &text(&spec["type"]));
    given(out, "IP Family Policy", &text(&spec["ipFamilyPolicy"]));
    out.field(0, "IP Families", &list(&spec["ipFamilies"]).unwrap_or_else(none));
    out.field(0, "IP", &text(&spec["clusterIP"]));
    out.field(0, "IPs", &list(&spec["clusterIPs"]).unwrap_or_else(none));
    given(out, "External IPs", &list(&spec["externalIPs"]).unwrap_or_default());
    given(out, "Desired LoadBalancer IP", &text(&spec["loadBalancerIP"]));
    given(out, "External Name", &text(&spec["externalName"]));
    let ingress = items(&status["loadBalancer"]["ingress"]).iter();
    let ingress = ingress.map(|at| text(at.get("ip").unwrap_or(&at["hostname"]))).collect::<Vec<_>>();
    given(out, "LoadBalancer Ingress", &ingress.join(", "));
    items(&spec["ports"]).iter().for_each(|port| describe_port(out, service, port, pods));
    out.field(0, "Session Affinity", &text(&spec["sessionAffinity"]));
    given(out, "External Traffic Policy", &text(&spec["externalTrafficPolicy"]));
    if let Some(port) = spec["healthCheckNodePort"].as_u64().filter(|port| *port > 0) {
        out.field(0, "HealthCheck NodePort", &port.to_string());
    }
    given(out, "Internal Traffic Policy", &text(&spec["internalTrafficPolicy"]));
    given(out, "LoadBalancer Source Ranges", &list(&spec["loadBalancerSourceRanges"]).unwrap_or_default());
    out.field(0, "Events", "<none>");
}

fn describe_port(out: &mut Lines, service: &Value, port: &Value, pods: &[Value]) {
    let name = port["name"].as_str().filter(|name| !name.is_empty()).unwrap_or("<unset>");
    let protocol = text(&port["protocol"]);
    out.field(0, "Port", &format!("{name}\t{}/{protocol}", text(&port["port"])));
    out.field(0, "TargetPort", &format!("{}/{protocol}", text(target(port))));
    if let Some(node) = port["nodePort"].as_u64().filter(|node| *node > 0) {
        out.field(0, "NodePort", &format!("{name}\t{node}/{protocol}"));
    }
    let all: Vec<String> = pods.iter().filter_map(|pod| endpoint(service, port, pod)).collect();
    let shown = all[..all.len().min(SHOWN)].join(",");
    let more = all.len().saturating_sub(SHOWN);
    let more = if more > 0 { format!(" + {more} more...") } else { String::new() };
    out.field(0, "Endpoints", &if all.is_empty() { none() } else { shown + &more });
}

/// Where the port leads; to the same port if nothing is said.
fn target(port: &Value) -> &Value {
    port.get("targetPort").filter(|target| !target.is_null()).unwrap_or(&port["port"])
}

/// The address and port by which a pod is behind a Service: it has the labels, and is ready.
fn endpoint(service: &Value, port: &Value, pod: &Value) -> Option<String> {
    let selector = service["spec"]["selector"].as_object().filter(|selector| !selector.is_empty())?;
    let labels = &pod["metadata"]["labels"];
    let selected = selector.iter().all(|(key, value)| labels.get(key) == Some(value));
    let over = matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"))
        || pod["metadata"]["deletionTimestamp"].is_string();
    let is_ready = |condition: &Value| condition["type"] == "Ready" && condition["status"] == "True";
    let ready = items(&pod["status"]["conditions"]).iter().any(is_ready)
        || service["spec"]["publishNotReadyAddresses"] == true;
    if !selected || over || !ready {
        return None;
    }
    let six = service["spec"]["ipFamilies"][0] == "IPv6";
    let ips = items(&pod["status"]["podIPs"]).iter().filter_map(|ip| ip["ip"].as_str());
    let ip = ips.into_iter().find(|ip| ip.contains(':') == six)?;
    let number = match target(port) {
        Value::String(name) => container_port(pod, name)?,
        number => number.as_u64()?,
    };
    Some(if six { format!("[{ip}]:{number}") } else { format!("{ip}:{number}") })
}

fn container_port(pod: &Value, name: &str) -> Option<u64> {
    let containers = items(&pod["spec"]["containers"]).iter().chain(items(&pod["spec"]["initContainers"]));
    let mut ports = containers.flat_map(|container| items(&container["ports"]));
    ports.find(|port| port["name"] == name)?["containerPort"].as_u64()
}

fn given(out: &mut Lines, name: &str, value: &str) {
    if !value.is_empty() {
        out.field(0, name, value);
    }
}

fn list(values: &Value) -> Option<String> {
    let values = items(values);
    (!values.is_empty()).then(|| values.iter().map(text).collect::<Vec<_>>().join(","))
}

fn none() -> String {
    "<none>".to_owned()
}
