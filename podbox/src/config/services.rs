//! `[network] services-ipv4`, `services-ipv6`, `node-ports`: what Services are given.

use netplugin::{NetworkConfig, Subnet};
use serde::{Deserialize, Serialize};

/// As kubeadm and a kube-apiserver have them, save for their sizes.
const IPV4: &str = "10.96.0.0/16";
const IPV6: &str = "fd70:6f64:626f:7900::/112";
const NODE_PORTS: (u16, u16) = (30_000, 32_767);

/// The keys, resolved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceSettings {
    /// Cluster IPs.
    pub ipv4: Option<Subnet>,
    /// The same of the other family.
    pub ipv6: Option<Subnet>,
    /// The first and the last port of the host that Services may have.
    pub node_ports: (u16, u16),
}

impl Default for ServiceSettings {
    fn default() -> Self {
        ServiceSettings { ipv4: IPV4.parse().ok(), ipv6: IPV6.parse().ok(), node_ports: NODE_PORTS }
    }
}

impl ServiceSettings {
    pub(super) fn resolve(file: &super::Network) -> Result<ServiceSettings, String> {
        let ports = file.node_ports.as_deref().map(ports).transpose()?;
        Ok(ServiceSettings {
            ipv4: super::subnet(file.services_ipv4.as_deref().unwrap_or(IPV4))?,
            ipv6: super::subnet(file.services_ipv6.as_deref().unwrap_or(IPV6))?,
            node_ports: ports.unwrap_or(NODE_PORTS),
        })
    }

    /// The ranges must be apart from the pods' own, of the right family, and have room.
    pub(super) fn check(&self, network: &NetworkConfig) -> Result<(), String> {
        for (key, range, is_ipv4) in [("services-ipv4", self.ipv4, true), ("services-ipv6", self.ipv6, false)]
        {
            let Some(range) = range else { continue };
            let wrong = |why: &str| Err(format!("network {key} = \"{range}\": {why}"));
            if range.network().is_ipv4() != is_ipv4 {
                return wrong("it is of the other family");
            }
            if range.last_host() < 16 {
                return wrong("it has no room for Services: 27 bits at most for IPv4, 123 for IPv6");
            }
            if let Some(pods) = network.subnets().find(|pods| pods.overlaps(&range)) {
                return wrong(&format!("it overlaps the pods' own addresses, {pods}"));
            }
        }
        Ok(())
    }
}

/// `FIRST-LAST`
fn ports(text: &str) -> Result<(u16, u16), String> {
    let parsed = text
        .split_once('-')
        .and_then(|(first, last)| Some((first.trim().parse().ok()?, last.trim().parse().ok()?)));
    match parsed {
        Some((first, last)) if first > 0 && first <= last => Ok((first, last)),
        _ => Err(format!("network node-ports = \"{text}\": write FIRST-LAST, such as 30000-32767")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_a_range_and_not_backwards() {
        assert_eq!(ports("30000-32767").unwrap(), NODE_PORTS);
        for wrong in ["", "30000", "5-4", "0-9", "a-b", "1-70000"] {
            assert!(ports(wrong).unwrap_err().contains("FIRST-LAST"), "{wrong}");
        }
    }
}
