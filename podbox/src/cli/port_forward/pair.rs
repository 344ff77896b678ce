//! `[LOCAL:]REMOTE`.

use crate::pod::{Pod, Protocol};

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
    /// without a local port it is the local one, too.
    pub(super) fn parse(text: &str, pod: &Pod) -> Result<Pair, Failure> {
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
        let remote = number_of(remote, pod)?;
        let local = match local {
            None => remote,
            Some("") => 0,
            Some(local) => local.parse().map_err(|_| {
                Failure::wrong(format!("error parsing local port '{local}': it is no port number"))
            })?,
        };
        Ok(Pair { local, remote })
    }
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
            assert_eq!(Pair::parse(text, &pod).unwrap(), Pair { local, remote }, "{text}");
        }
        for (text, why) in [
            ("1:2:3", "invalid port format '1:2:3'"),
            ("80:0", "remote port must be > 0"),
            ("70000:80", "error parsing local port '70000': it is no port number"),
            ("web", "pod 'web' does not have a named port 'web'"),
            ("dns", "UDP protocol is not supported for dns"),
            ("5353:53/udp", "UDP protocol is not supported for 53"),
        ] {
            assert_eq!(Pair::parse(text, &pod).unwrap_err().message(), why);
        }
    }
}
