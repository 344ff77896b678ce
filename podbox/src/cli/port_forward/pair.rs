//! `[LOCAL:]REMOTE`.

use crate::pod::{Pod, Protocol};
use crate::services::{Service, ServicePort, Target};

use super::super::Failure;

/// A local port and one of the pod's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pair {
    /// 0: any that is free.
    pub(super) local: u16,
    pub(super) remote: u16,
}

impl Pair {
    /// `REMOTE`, `LOCAL:REMOTE` or `:REMOTE`. The remote port may have a name that a container of the pod has given it;
    /// without a local port it is the local one, too. Of a Service it is the Service's port, and the pod's is the one that
    /// it leads to.
    pub(super) fn parse(text: &str, pod: &Pod, service: Option<&Service>) -> Result<Pair, Failure> {
        let lower = text.to_ascii_lowercase();
        let text = match lower.rsplit_once('/') {
            Some((ports, "tcp")) => &text[..ports.len()],
            Some((ports, protocol)) => {
                let protocol = protocol.to_ascii_uppercase();
                let port = ports.rsplit(':').next().unwrap_or(ports);
                return Err(Failure::wrong(format!("{protocol} protocol is not supported for {port}")));
            }
            None => text,
        };
        let wrong = || Failure::wrong(format!("invalid port format '{text}'"));
        let (local, remote) = match text.split_once(':') {
            Some((local, remote)) if !remote.contains(':') => (Some(local), remote),
            Some(_) => return Err(wrong()),
            None => (None, text),
        };
        let (named, remote) = match service {
            Some(service) => behind_service(remote, service, pod)?,
            None => number_of(remote, pod).map(|number| (number, number))?,
        };
        let local = match local {
            None => named,
            Some("") => 0,
            Some(local) => local.parse().map_err(|_| {
                Failure::wrong(format!("error parsing local port '{local}': it is no port number"))
            })?,
        };
        Ok(Pair { local, remote })
    }
}

/// A Service's port by number or name, and the pod's port that it leads to; of a headless one the same
/// (kubectl `portforward.go`, translateServicePortToTargetPort).
fn behind_service(text: &str, service: &Service, pod: &Pod) -> Result<(u16, u16), Failure> {
    let name = &service.name;
    let number: Option<u16> = text.parse().ok();
    let is_it = |port: &&ServicePort| match number {
        Some(number) => port.port == number,
        None => port.name.as_deref() == Some(text),
    };
    let mut ports: Vec<&ServicePort> = service.ports.iter().filter(is_it).collect();
    // Of two protocols with one number only one can be forwarded.
    ports.sort_by_key(|port| port.protocol != Protocol::Tcp);
    let Some(port) = ports.first() else {
        return Err(Failure::wrong(match number {
            Some(number) => format!("Service {name} does not have a service port {number}"),
            None => format!("Service '{name}' does not have a named port '{text}'"),
        }));
    };
    if port.protocol != Protocol::Tcp {
        return Err(Failure::wrong(format!("{} protocol is not supported for {text}", port.protocol.word())));
    }
    let remote = match &port.target {
        _ if service.is_headless() => port.port,
        Target::Number(number) => *number,
        Target::Name(name) => number_of(name, pod)?,
    };
    Ok((port.port, remote))
}

fn number_of(text: &str, pod: &Pod) -> Result<u16, Failure> {
    match text.parse() {
        Ok(0) => return Err(Failure::wrong("remote port must be > 0")),
        Ok(number) => return Ok(number),
        Err(_) => {}
    }
    let mut ports = pod.containers.iter().flat_map(|container| &container.ports);
    let port = ports
        .find(|port| port.name.as_deref() == Some(text))
        .ok_or_else(|| Failure::wrong(format!("pod '{}' does not have a named port '{text}'", pod.name)))?;
    match port.protocol {
        Protocol::Tcp => Ok(port.container_port),
        _ => Err(Failure::wrong(format!("UDP protocol is not supported for {text}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{Options, Source, load};

    fn pod() -> Pod {
        let text = "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  containers:\n  - name: c\n    \
                    image: podbox.local/toolbox\n    ports:\n    - {name: http, containerPort: 8080}\n    \
                    - {name: dns, containerPort: 53, protocol: UDP}\n";
        load(&[Source::new("x", text)], &Options::default()).unwrap().pods.remove(0).pod
    }

    #[test]
    fn ports_are_written_as_kubectl_has_them() {
        let pod = pod();
        for (text, local, remote) in [
            ("80", 80, 80),
            ("8000:80", 8000, 80),
            (":80", 0, 80),
            ("http", 8080, 8080),
            ("81:http/TCP", 81, 8080),
        ] {
            assert_eq!(Pair::parse(text, &pod, None).unwrap(), Pair { local, remote }, "{text}");
        }
        for (text, why) in [
            ("1:2:3", "invalid port format '1:2:3'"),
            ("80:0", "remote port must be > 0"),
            ("70000:80", "error parsing local port '70000': it is no port number"),
            ("web", "pod 'web' does not have a named port 'web'"),
            ("dns", "UDP protocol is not supported for dns"),
            ("5353:53/udp", "UDP protocol is not supported for 53"),
        ] {
            assert_eq!(Pair::parse(text, &pod, None).unwrap_err().message(), why);
        }
    }

    #[test]
    fn a_services_port_leads_to_the_one_that_the_pod_calls_so() {
        let pod = pod();
        let object = serde_json::json!({
            "metadata": {"name": "front"},
            "spec": {"clusterIPs": ["10.96.0.7"], "ports": [
                {"name": "web", "port": 80, "targetPort": "http"},
                {"name": "admin", "port": 81, "targetPort": 9090},
                {"name": "dns", "port": 53, "protocol": "UDP"},
            ]},
        });
        let mut service = Service::of(&object).unwrap();
        for (text, local, remote) in [
            ("80", 80, 8080),
            ("web", 80, 8080),
            ("8000:web", 8000, 8080),
            (":81", 0, 9090),
            ("admin", 81, 9090),
        ] {
            assert_eq!(Pair::parse(text, &pod, Some(&service)).unwrap(), Pair { local, remote }, "{text}");
        }
        for (text, why) in [
            ("8080", "Service front does not have a service port 8080"),
            ("http", "Service 'front' does not have a named port 'http'"),
            ("dns", "UDP protocol is not supported for dns"),
        ] {
            assert_eq!(Pair::parse(text, &pod, Some(&service)).unwrap_err().message(), why);
        }
        service.cluster_ips.clear();
        assert_eq!(Pair::parse("web", &pod, Some(&service)).unwrap(), Pair { local: 80, remote: 80 });
    }
}
