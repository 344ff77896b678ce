//! Who is behind a Service: Endpoints and EndpointSlices, line for line as kubectl describes them (`describe.go`,
//! describeEndpoints and describeEndpointSliceV1).

use serde_json::Value;

use super::{Lines, items, text};

/// What Endpoints have beside their head.
pub(super) fn describe(out: &mut Lines, object: &Value) {
    out.line(0, "Subsets:");
    for subset in items(&object["subsets"]) {
        for (title, key) in [("Addresses", "addresses"), ("NotReadyAddresses", "notReadyAddresses")] {
            let all: Vec<String> = items(&subset[key]).iter().map(|address| text(&address["ip"])).collect();
            out.field(1, title, &if all.is_empty() { "<none>".to_owned() } else { all.join(",") });
        }
        if !items(&subset["ports"]).is_empty() {
            ports(out, 1, &subset["ports"]);
        }
        out.line(0, "");
    }
    out.field(0, "Events", "<none>");
}

/// What an EndpointSlice has beside its head.
pub(super) fn describe_slice(out: &mut Lines, slice: &Value) {
    out.field(0, "AddressType", &text(&slice["addressType"]));
    if items(&slice["ports"]).is_empty() {
        out.line(0, "Ports: <unset>");
    } else {
        ports(out, 0, &slice["ports"]);
    }
    let all = items(&slice["endpoints"]);
    out.line(0, if all.is_empty() { "Endpoints: <none>" } else { "Endpoints:" });
    for endpoint in all {
        let addresses: Vec<String> = items(&endpoint["addresses"]).iter().map(text).collect();
        out.field(1, "- Addresses", &addresses.join(", "));
        out.line(2, "Conditions:");
        out.field(3, "Ready", &set(&endpoint["conditions"]["ready"]));
        out.field(2, "Hostname", &set(&endpoint["hostname"]));
        if let Some(name) = endpoint["targetRef"]["name"].as_str() {
            out.field(2, "TargetRef", &format!("{}/{name}", text(&endpoint["targetRef"]["kind"])));
        }
        out.field(2, "NodeName", &set(&endpoint["nodeName"]));
        out.field(2, "Zone", &set(&endpoint["zone"]));
    }
    out.field(0, "Events", "<none>");
}

fn ports(out: &mut Lines, level: usize, ports: &Value) {
    out.line(level, "Ports:");
    out.line(level + 1, "Name\tPort\tProtocol");
    out.line(level + 1, "----\t----\t--------");
    for port in items(ports) {
        let (number, protocol) = (set(&port["port"]), text(&port["protocol"]));
        out.line(level + 1, format_args!("{}\t{number}\t{protocol}", set(&port["name"])));
    }
}

fn set(value: &Value) -> String {
    match value {
        Value::Null => "<unset>".to_owned(),
        Value::String(word) if word.is_empty() => "<unset>".to_owned(),
        value => text(value),
    }
}
