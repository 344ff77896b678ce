//! A Service, with the pods that are behind it.

use serde_json::Value;

use crate::services::{Catalogue, Family, Service};

use super::super::objects::pairs;
use super::{Lines, items, text};

/// So many addresses of pods are shown, and only the number of the others.
const SHOWN: usize = 3;

/// Describes what a Service has beside its head.
pub(super) fn describe(out: &mut Lines, service: &Value, catalogue: &Catalogue) {
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
    let ends = endpoints(service, catalogue);
    for (index, port) in items(&spec["ports"]).iter().enumerate() {
        describe_port(out, port, ends.get(index).map(Vec::as_slice).unwrap_or_default());
    }
    out.field(0, "Session Affinity", &text(&spec["sessionAffinity"]));
    given(out, "External Traffic Policy", &text(&spec["externalTrafficPolicy"]));
    if let Some(port) = spec["healthCheckNodePort"].as_u64().filter(|port| *port > 0) {
        out.field(0, "HealthCheck NodePort", &port.to_string());
    }
    given(out, "Internal Traffic Policy", &text(&spec["internalTrafficPolicy"]));
    given(out, "LoadBalancer Source Ranges", &list(&spec["loadBalancerSourceRanges"]).unwrap_or_default());
    out.field(0, "Events", "<none>");
}

fn describe_port(out: &mut Lines, port: &Value, ends: &[String]) {
    let name = port["name"].as_str().filter(|name| !name.is_empty()).unwrap_or("<unset>");
    let protocol = text(&port["protocol"]);
    let target = port.get("targetPort").filter(|target| !target.is_null()).unwrap_or(&port["port"]);
    out.field(0, "Port", &format!("{name}\t{}/{protocol}", text(&port["port"])));
    out.field(0, "TargetPort", &format!("{}/{protocol}", text(target)));
    if let Some(node) = port["nodePort"].as_u64().filter(|node| *node > 0) {
        out.field(0, "NodePort", &format!("{name}\t{node}/{protocol}"));
    }
    let shown = ends[..ends.len().min(SHOWN)].join(",");
    let more = ends.len().saturating_sub(SHOWN);
    let more = if more > 0 { format!(" + {more} more...") } else { String::new() };
    out.field(0, "Endpoints", &if ends.is_empty() { none() } else { shown + &more });
}

/// Where each port leads now, in the Service's first family, as kubectl has it.
fn endpoints(object: &Value, catalogue: &Catalogue) -> Vec<Vec<String>> {
    let Some(service) = Service::of(object) else { return Vec::new() };
    let family = service.families.first().copied().unwrap_or(Family::V4);
    let of_port = |port| {
        let ends = catalogue.endpoints(&service, port, family);
        ends.iter().map(|end| end.address.to_string()).collect()
    };
    service.ports.iter().map(of_port).collect()
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
