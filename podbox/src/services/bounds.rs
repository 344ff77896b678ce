//! What of a host's addresses and ports Services may have at all, whoever else has some of it. Pure.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use netplugin::Subnet;
use serde_json::Value;

use crate::pod::field::{Errors, FieldError, Path};

use super::{Family, strings};

/// The name server's place in each range.
const DNS: u32 = 10;

/// Where addresses and ports of Services come from.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// The ranges of cluster IPs, IPv4 first.
    pub ranges: Vec<Subnet>,
    /// The ports of the host.
    pub node_ports: RangeInclusive<u16>,
    /// The addresses of pods, and of this host as their gateway.
    pub pods: Vec<Subnet>,
}

impl Bounds {
    /// The addresses of the name server.
    pub fn dns(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.ranges.iter().map(|range| range.host(DNS))
    }

    pub(super) fn range(&self, family: Family) -> Option<Subnet> {
        self.ranges.iter().copied().find(|range| Family::of(range.network()) == family)
    }

    /// What a manifest's Service, a v1 object that stands at `path`, asks for and can never have here.
    #[must_use]
    pub fn check(&self, service: &Value, path: &Path<'_>) -> Vec<FieldError> {
        let mut errors = Errors::default();
        let (spec, path) = (&service["spec"], path.field("spec"));
        if spec["type"] == "ExternalName" {
            return Vec::new();
        }
        let wished = strings(&spec["clusterIPs"]);
        let at = path.field("clusterIPs");
        for (index, text) in wished.iter().enumerate() {
            let Some(why) = text.parse().ok().and_then(|ip| self.refuse_address(ip)) else { continue };
            errors.invalid(&at, Value::from(wished.as_slice()), &why);
            // The first is mostly written as the only one.
            let written = if index == 0 { path.field("clusterIP") } else { at.index(index) };
            errors.blame(&written);
        }
        let at = path.field("externalIPs");
        for (index, text) in strings(&spec["externalIPs"]).iter().enumerate() {
            if let Some(why) = text.parse().ok().and_then(|ip| self.refuse_external(ip)) {
                errors.invalid(&at.index(index), text, &why);
            }
        }
        let at = path.field("ports");
        for (index, port) in spec["ports"].as_array().into_iter().flatten().enumerate() {
            let Some(number) = port["nodePort"].as_i64().filter(|number| *number != 0) else { continue };
            if let Err(why) = self.node_port(number) {
                errors.invalid(&at.index(index).field("nodePort"), number, &why);
            }
        }
        errors.into_vec()
    }

    /// Why no Service may have an address of its own that is asked for, in the words of an API server's allocator.
    pub(super) fn refuse_address(&self, ip: IpAddr) -> Option<String> {
        let range = self.range(Family::of(ip))?;
        let why = if !range.may_be_had(ip) {
            format!("the provided IP ({ip}) is not in the valid range. The range of valid IPs is {range}")
        } else if self.dns().any(|dns| dns == ip) {
            "provided IP is already allocated to the pods' name server".to_owned()
        } else {
            return None;
        };
        Some(format!("failed to allocate IP {ip}: {why}"))
    }

    /// Why an address that is led to pods from elsewhere may not be this one: others mean somebody else by it.
    fn refuse_external(&self, ip: IpAddr) -> Option<String> {
        let holds = |subnets: &[Subnet]| subnets.iter().find(|subnet| subnet.contains(ip)).copied();
        if let Some(pods) = holds(&self.pods) {
            return Some(format!("may not be one of the pods' own addresses ({pods})"));
        }
        holds(&self.ranges).map(|range| format!("may not be in the range of cluster IPs ({range})"))
    }

    /// A port of the host that is asked for.
    ///
    /// # Errors
    /// Why it cannot be had, in the words of an API server's allocator.
    pub(super) fn node_port(&self, number: i64) -> Result<u16, String> {
        let (first, last) = (self.node_ports.start(), self.node_ports.end());
        let port = u16::try_from(number).ok().filter(|number| self.node_ports.contains(number));
        port.ok_or_else(|| {
            format!("provided port is not in the valid range. The range of valid ports is {first}-{last}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn refused(spec: &Value) -> Vec<String> {
        let bounds = Bounds {
            ranges: vec!["10.96.0.0/24".parse().unwrap(), "fd00::/112".parse().unwrap()],
            node_ports: 30_000..=30_003,
            pods: vec!["10.244.0.0/16".parse().unwrap()],
        };
        let found = bounds.check(&json!({"spec": spec}), &Path::ROOT);
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn addresses_must_be_such_as_a_host_may_have_in_the_range() {
        let ip = |ip: &str| refused(&json!({"clusterIP": ip, "clusterIPs": [ip]}));
        for good in ["10.96.0.1", "10.96.0.254", "fd00::1", "fd00::ffff", "None"] {
            assert_eq!(ip(good), [""; 0], "{good}");
        }
        for (wrong, range) in [
            ("10.96.0.0", "10.96.0.0/24"),
            ("10.96.0.255", "10.96.0.0/24"),
            ("10.97.0.1", "10.96.0.0/24"),
            ("fd00::", "fd00::/112"),
            ("fd01::1", "fd00::/112"),
        ] {
            let why = format!(
                "spec.clusterIPs: Invalid value: [\"{wrong}\"]: failed to allocate IP {wrong}: the provided IP \
                 ({wrong}) is not in the valid range. The range of valid IPs is {range}"
            );
            assert_eq!(ip(wrong), [why]);
        }
        assert!(ip("10.96.0.10")[0].ends_with("provided IP is already allocated to the pods' name server"));
    }

    #[test]
    fn nobody_is_led_away_from_a_pod_or_from_another_service() {
        let ips = ["192.0.2.1", "10.244.0.1", "10.96.0.10", "fd00::5"];
        assert_eq!(
            refused(&json!({"externalIPs": ips})),
            [
                "spec.externalIPs[1]: Invalid value: \"10.244.0.1\": may not be one of the pods' own addresses \
                 (10.244.0.0/16)",
                "spec.externalIPs[2]: Invalid value: \"10.96.0.10\": may not be in the range of cluster IPs \
                 (10.96.0.0/24)",
                "spec.externalIPs[3]: Invalid value: \"fd00::5\": may not be in the range of cluster IPs (fd00::/112)",
            ]
        );
    }

    #[test]
    fn ports_of_the_host_come_from_their_range() {
        let port = |number: i64| refused(&json!({"ports": [{"port": 80}, {"port": 81, "nodePort": number}]}));
        assert_eq!(port(0), [""; 0]);
        assert_eq!(port(30_003), [""; 0]);
        for wrong in [-5, 80, 30_004, 70_000] {
            let why = "provided port is not in the valid range. The range of valid ports is 30000-30003";
            assert_eq!(port(wrong), [format!("spec.ports[1].nodePort: Invalid value: {wrong}: {why}")]);
        }
    }
}
