//! Objects that are no pods as rows of tables, by kubectl's rules (`pkg/printers/internalversion/printers.go`). Pure.

use jiff::Timestamp;
use serde_json::Value;

use super::age::human_duration;
use super::describe::{items, text};
use super::pods;

/// The columns of one kind's table.
pub struct Columns {
    /// The heads of those that are always shown.
    pub heads: &'static [&'static str],
    /// The heads of those that only `wide` shows; they come after the others.
    pub wide: &'static [&'static str],
    /// All cells of an object's row, the wide ones included.
    pub row: fn(&Value, Timestamp) -> Vec<String>,
}

/// The columns of the table of a kind; those of any object if it is none that has its own.
#[must_use]
pub fn columns(kind: &str) -> Columns {
    let columns = |heads, wide, row| Columns { heads, wide, row };
    match kind {
        "Pod" => columns(&pods::HEADS, &pods::WIDE, pods::row),
        "ConfigMap" => columns(&["NAME", "DATA", "AGE"], &[], config_map),
        "Secret" => columns(&["NAME", "TYPE", "DATA", "AGE"], &[], secret),
        "Service" => {
            columns(&["NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE"], &["SELECTOR"], service)
        }
        "EndpointSlice" => columns(&["NAME", "ADDRESSTYPE", "PORTS", "ENDPOINTS", "AGE"], &[], slice),
        "Endpoints" => columns(&["NAME", "ENDPOINTS", "AGE"], &[], endpoints),
        "Namespace" => columns(&["NAME", "STATUS", "AGE"], &[], namespace),
        "ServiceAccount" => columns(&["NAME", "SECRETS", "AGE"], &[], service_account),
        "PersistentVolume" => columns(
            &[
                "NAME",
                "CAPACITY",
                "ACCESS MODES",
                "RECLAIM POLICY",
                "STATUS",
                "CLAIM",
                "STORAGECLASS",
                "VOLUMEATTRIBUTESCLASS",
                "REASON",
                "AGE",
            ],
            &["VOLUMEMODE"],
            volume,
        ),
        "PersistentVolumeClaim" => columns(
            &[
                "NAME",
                "STATUS",
                "VOLUME",
                "CAPACITY",
                "ACCESS MODES",
                "STORAGECLASS",
                "VOLUMEATTRIBUTESCLASS",
                "AGE",
            ],
            &["VOLUMEMODE"],
            claim,
        ),
        _ => columns(&["NAME", "AGE"], &[], |object, now| vec![name(object), age(object, now)]),
    }
}

fn config_map(object: &Value, now: Timestamp) -> Vec<String> {
    let entries = count(&object["data"]) + count(&object["binaryData"]);
    vec![name(object), entries.to_string(), age(object, now)]
}

fn secret(object: &Value, now: Timestamp) -> Vec<String> {
    vec![name(object), text(&object["type"]), count(&object["data"]).to_string(), age(object, now)]
}

fn namespace(object: &Value, now: Timestamp) -> Vec<String> {
    vec![name(object), text(&object["status"]["phase"]), age(object, now)]
}

fn service_account(object: &Value, now: Timestamp) -> Vec<String> {
    vec![name(object), count(&object["secrets"]).to_string(), age(object, now)]
}

fn service(object: &Value, now: Timestamp) -> Vec<String> {
    let spec = &object["spec"];
    let address = spec["clusterIPs"][0].as_str().or(spec["clusterIP"].as_str());
    vec![
        name(object),
        text(&spec["type"]),
        none(address.unwrap_or_default().to_owned()),
        external(object),
        none(items(&spec["ports"]).iter().map(port).collect::<Vec<_>>().join(",")),
        age(object, now),
        pairs(&spec["selector"]),
    ]
}

/// `80/TCP`, `80:30080/TCP`.
fn port(port: &Value) -> String {
    let protocol = port["protocol"].as_str().unwrap_or("TCP");
    match port["nodePort"].as_u64().filter(|node| *node > 0) {
        Some(node) => format!("{}:{node}/{protocol}", text(&port["port"])),
        None => format!("{}/{protocol}", text(&port["port"])),
    }
}

/// As many as kubectl shows of one object, and the number of the others.
fn some(all: &[String]) -> String {
    const SHOWN: usize = 3;
    let more = all.len().saturating_sub(SHOWN);
    let shown = all[..all.len().min(SHOWN)].join(",");
    match (all.len(), more) {
        (0, _) => "<none>".to_owned(),
        (_, 0) => shown,
        _ => format!("{shown} + {more} more..."),
    }
}

fn slice(object: &Value, now: Timestamp) -> Vec<String> {
    let ports: Vec<_> = items(&object["ports"]).iter().map(|port| text(&port["port"])).collect();
    let addresses: Vec<_> = items(&object["endpoints"])
        .iter()
        .flat_map(|endpoint| items(&endpoint["addresses"]))
        .map(text)
        .collect();
    let ports = if ports.is_empty() { "<unset>".to_owned() } else { some(&ports) };
    let addresses = if addresses.is_empty() { "<unset>".to_owned() } else { some(&addresses) };
    vec![name(object), text(&object["addressType"]), ports, addresses, age(object, now)]
}

fn endpoints(object: &Value, now: Timestamp) -> Vec<String> {
    let mut all = Vec::new();
    for subset in items(&object["subsets"]) {
        for port in items(&subset["ports"]) {
            let address = |address: &Value| match text(&address["ip"]) {
                six if six.contains(':') => format!("[{six}]:{}", text(&port["port"])),
                four => format!("{four}:{}", text(&port["port"])),
            };
            all.extend(items(&subset["addresses"]).iter().map(address));
        }
    }
    vec![name(object), some(&all), age(object, now)]
}

/// Where a Service is reached from outside.
fn external(service: &Value) -> String {
    let spec = &service["spec"];
    let own = items(&spec["externalIPs"]).iter().map(text);
    match spec["type"].as_str().unwrap_or("ClusterIP") {
        "ExternalName" => text(&spec["externalName"]),
        "LoadBalancer" => {
            let ingress = items(&service["status"]["loadBalancer"]["ingress"]).iter();
            let given = ingress.map(|at| text(at.get("ip").unwrap_or(&at["hostname"])));
            let all = given.chain(own).collect::<Vec<_>>();
            if all.is_empty() { "<pending>".to_owned() } else { all.join(",") }
        }
        _ => none(own.collect::<Vec<_>>().join(",")),
    }
}

fn volume(object: &Value, now: Timestamp) -> Vec<String> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let claim = &spec["claimRef"];
    let claim = claim["name"].as_str().map(|name| format!("{}/{name}", text(&claim["namespace"])));
    vec![
        name(object),
        text(&spec["capacity"]["storage"]),
        access_modes(&spec["accessModes"]),
        text(&spec["persistentVolumeReclaimPolicy"]),
        phase(object),
        claim.unwrap_or_default(),
        text(&spec["storageClassName"]),
        unset(&spec["volumeAttributesClassName"]),
        text(&status["reason"]),
        age(object, now),
        unset(&spec["volumeMode"]),
    ]
}

fn claim(object: &Value, now: Timestamp) -> Vec<String> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let bound = spec["volumeName"].as_str().is_some_and(|volume| !volume.is_empty());
    let of_volume = |text: String| if bound { text } else { String::new() };
    vec![
        name(object),
        phase(object),
        text(&spec["volumeName"]),
        of_volume(text(&status["capacity"]["storage"])),
        of_volume(access_modes(&status["accessModes"])),
        text(&spec["storageClassName"]),
        unset(&spec["volumeAttributesClassName"]),
        age(object, now),
        unset(&spec["volumeMode"]),
    ]
}

fn phase(object: &Value) -> String {
    if object["metadata"]["deletionTimestamp"].is_string() {
        return "Terminating".to_owned();
    }
    text(&object["status"]["phase"])
}

/// `RWO,ROX`: each once, in kubectl's order.
pub(super) fn access_modes(modes: &Value) -> String {
    let known = [
        ("ReadWriteOnce", "RWO"),
        ("ReadOnlyMany", "ROX"),
        ("ReadWriteMany", "RWX"),
        ("ReadWriteOncePod", "RWOP"),
    ];
    let given = |mode: &str| items(modes).iter().any(|given| given == mode);
    let short = known.into_iter().filter(|(mode, _)| given(mode)).map(|(_, short)| short);
    short.collect::<Vec<_>>().join(",")
}

/// `app=web,tier=front`; `<none>` if there are none.
pub(super) fn pairs(map: &Value) -> String {
    let pairs = map.as_object().into_iter().flatten().map(|(key, value)| format!("{key}={}", text(value)));
    none(pairs.collect::<Vec<_>>().join(","))
}

fn name(object: &Value) -> String {
    text(&object["metadata"]["name"])
}

fn age(object: &Value, now: Timestamp) -> String {
    let then = object["metadata"]["creationTimestamp"].as_str().and_then(|text| text.parse().ok());
    let age = |then: Timestamp| human_duration(now.duration_since(then).unsigned_abs());
    then.map_or_else(|| "<unknown>".to_owned(), age)
}

fn none(text: String) -> String {
    if text.is_empty() { "<none>".to_owned() } else { text }
}

fn unset(value: &Value) -> String {
    value.as_str().unwrap_or("<unset>").to_owned()
}

fn count(value: &Value) -> usize {
    value.as_object().map(serde_json::Map::len).or(value.as_array().map(Vec::len)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn cells(object: &Value) -> Vec<String> {
        let now = "2026-01-01T00:01:00Z".parse().unwrap();
        let columns = columns(object["kind"].as_str().unwrap());
        let cells = (columns.row)(object, now);
        assert_eq!(cells.len(), columns.heads.len() + columns.wide.len());
        cells
    }

    fn object(kind: &str, rest: Value) -> Value {
        let mut object =
            json!({"kind": kind, "metadata": {"name": "a", "creationTimestamp": "2026-01-01T00:00:00Z"}});
        object.as_object_mut().unwrap().append(&mut rest.as_object().unwrap().clone());
        object
    }

    #[test]
    fn what_holds_data_is_counted() {
        let map = object("ConfigMap", json!({"data": {"a": "", "b": ""}, "binaryData": {"c": ""}}));
        assert_eq!(cells(&map), ["a", "3", "60s"]);
        let secret = object("Secret", json!({"type": "Opaque", "data": {"a": ""}}));
        assert_eq!(cells(&secret), ["a", "Opaque", "1", "60s"]);
        assert_eq!(cells(&json!({"kind": "ConfigMap", "metadata": {"name": "b"}})), ["b", "0", "<unknown>"]);
    }

    #[test]
    fn a_service_tells_its_addresses_and_ports() {
        let spec = json!({"spec": {"type": "NodePort", "clusterIP": "10.96.0.1", "selector": {"app": "web"},
            "ports": [{"port": 80, "nodePort": 30080, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]}});
        let row = ["a", "NodePort", "10.96.0.1", "<none>", "80:30080/TCP,53/UDP", "60s", "app=web"];
        assert_eq!(cells(&object("Service", spec)), row);
        let name = json!({"spec": {"type": "ExternalName", "externalName": "example.com"}});
        let row = ["a", "ExternalName", "<none>", "example.com", "<none>", "60s", "<none>"];
        assert_eq!(cells(&object("Service", name)), row);
        let balanced =
            json!({"spec": {"type": "LoadBalancer", "clusterIPs": ["None"], "ports": [{"port": 1}]}});
        assert_eq!(cells(&object("Service", balanced))[2..5], ["None", "<pending>", "1/TCP"]);
    }

    #[test]
    fn a_claim_shows_its_volumes_size_only_once_it_is_bound() {
        let rest = |volume: &str| {
            json!({"spec": {"volumeName": volume, "storageClassName": "", "volumeMode": "Filesystem"},
                "status": {"phase": "Bound", "capacity": {"storage": "1Gi"},
                    "accessModes": ["ReadWriteMany", "ReadWriteOnce"]}})
        };
        let bound = cells(&object("PersistentVolumeClaim", rest("pv")));
        assert_eq!(bound, ["a", "Bound", "pv", "1Gi", "RWO,RWX", "", "<unset>", "60s", "Filesystem"]);
        assert_eq!(cells(&object("PersistentVolumeClaim", rest("")))[2..5], ["", "", ""]);
    }

    #[test]
    fn a_volume_names_the_claim_that_has_it() {
        let rest = json!({"spec": {"capacity": {"storage": "5Gi"}, "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain", "claimRef": {"namespace": "team", "name": "data"}},
            "status": {"phase": "Bound"}});
        assert_eq!(
            cells(&object("PersistentVolume", rest)),
            ["a", "5Gi", "RWO", "Retain", "Bound", "team/data", "", "<unset>", "", "60s", "<unset>"]
        );
    }

    #[test]
    fn what_has_no_table_of_its_own_has_a_name_and_an_age() {
        assert_eq!(cells(&object("Gateway", json!({}))), ["a", "60s"]);
    }
}
