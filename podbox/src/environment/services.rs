//! Services as variables: `{NAME}_SERVICE_HOST`, `{NAME}_PORT_80_TCP_ADDR` and the like. Pure.
//!
//! Only Services with a cluster IP have them. Source: kubelet `envvars/envvars.go` (FromServices).

use serde_json::Value;

/// The variables of all `services`, which are v1 objects of one namespace.
pub(super) fn variables(services: &[Value]) -> Vec<(String, String)> {
    services.iter().flat_map(|service| of_one(service).unwrap_or_default()).collect()
}

/// `None` if it has no cluster IP, or no port.
fn of_one(service: &Value) -> Option<Vec<(String, String)>> {
    let ip = service["spec"]["clusterIP"].as_str().filter(|ip| !matches!(*ip, "" | "None"))?;
    let name = variable_name(service["metadata"]["name"].as_str()?);
    let ports = service["spec"]["ports"].as_array()?;
    let mut found = vec![(format!("{name}_SERVICE_HOST"), ip.to_owned())];
    found.push((format!("{name}_SERVICE_PORT"), number(ports.first()?)));
    for port in ports {
        if let Some(of_port) = port["name"].as_str().filter(|of_port| !of_port.is_empty()) {
            found.push((format!("{name}_SERVICE_PORT_{}", variable_name(of_port)), number(port)));
        }
    }
    // What containers that docker had linked found.
    for (index, port) in ports.iter().enumerate() {
        let protocol = port["protocol"].as_str().filter(|protocol| !protocol.is_empty()).unwrap_or("TCP");
        let (number, lower) = (number(port), protocol.to_lowercase());
        let host = if ip.contains(':') { format!("[{ip}]") } else { ip.to_owned() };
        let url = format!("{lower}://{host}:{number}");
        if index == 0 {
            found.push((format!("{name}_PORT"), url.clone()));
        }
        let of_port = format!("{name}_PORT_{number}_{}", protocol.to_uppercase());
        found.push((format!("{of_port}_PROTO"), lower));
        found.push((format!("{of_port}_PORT"), number));
        found.push((format!("{of_port}_ADDR"), ip.to_owned()));
        found.push((of_port, url));
    }
    Some(found)
}

fn number(port: &Value) -> String {
    port["port"].as_u64().unwrap_or_default().to_string()
}

/// `my-db` as `MY_DB`.
fn variable_name(name: &str) -> String {
    let name = name.replace(['-', '.'], "_").to_uppercase();
    if name.starts_with(|first: char| first.is_ascii_digit()) { format!("_{name}") } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_service_shows_itself_by_host_port_and_links() {
        let service = json!({
            "metadata": {"name": "my-db"},
            "spec": {"clusterIP": "10.9.8.7", "ports": [
                {"name": "sql", "port": 5432, "protocol": "TCP"}, {"name": "stats-9", "port": 53, "protocol": "UDP"},
            ]},
        });
        let text: Vec<String> =
            variables(&[service]).iter().map(|(name, value)| format!("{name}={value}")).collect();
        for line in [
            "MY_DB_SERVICE_HOST=10.9.8.7",
            "MY_DB_SERVICE_PORT=5432",
            "MY_DB_SERVICE_PORT_SQL=5432",
            "MY_DB_SERVICE_PORT_STATS_9=53",
            "MY_DB_PORT=tcp://10.9.8.7:5432",
            "MY_DB_PORT_5432_TCP=tcp://10.9.8.7:5432",
            "MY_DB_PORT_5432_TCP_PROTO=tcp",
            "MY_DB_PORT_5432_TCP_PORT=5432",
            "MY_DB_PORT_5432_TCP_ADDR=10.9.8.7",
            "MY_DB_PORT_53_UDP=udp://10.9.8.7:53",
        ] {
            assert!(text.iter().any(|have| have == line), "{line} is not in {text:?}");
        }
        assert_eq!(text.len(), 13);
    }

    #[test]
    fn a_service_without_a_cluster_ip_shows_nothing() {
        for ip in [json!("None"), json!(""), json!(null)] {
            let service =
                json!({"metadata": {"name": "a"}, "spec": {"clusterIP": ip, "ports": [{"port": 80}]}});
            assert!(variables(&[service]).is_empty());
        }
        let unnamed =
            json!({"metadata": {"name": "1a"}, "spec": {"clusterIP": "::1", "ports": [{"port": 80}]}});
        let found = variables(&[unnamed]);
        assert!(found.contains(&("_1A_SERVICE_HOST".to_owned(), "::1".to_owned())));
        assert!(found.contains(&("_1A_PORT".to_owned(), "tcp://[::1]:80".to_owned())));
    }
}
