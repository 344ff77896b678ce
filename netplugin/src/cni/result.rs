//! What a plugin says when it has done what it should: section 5 of the specification, "Success", in the shape of
//! each version.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::version::Version;

/// An interface, in the container or on the host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// Its name there.
    #[serde(default)]
    pub name: String,
    /// Its Ethernet address.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub mac: String,
    /// Its largest packet, in bytes. Since 1.1.0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// The network namespace that it is in; empty for the host's.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub sandbox: String,
}

/// An address that a container has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ip {
    /// With the length of its prefix: `10.244.0.5/16`.
    pub address: String,
    /// The next hop of the default route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
    /// Which of the interfaces has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<usize>,
}

impl Ip {
    /// The address alone.
    #[must_use]
    pub fn bare(&self) -> Option<IpAddr> {
        self.address.split('/').next()?.parse().ok()
    }
}

/// A route that a container has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Where to: `0.0.0.0/0`.
    pub dst: String,
    /// By which next hop; the gateway's if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gw: Option<IpAddr>,
}

/// Where names are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dns {
    /// Whom to ask, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nameservers: Vec<String>,
    /// The local domain.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub domain: String,
    /// What is appended to short names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub search: Vec<String>,
    /// As in resolv.conf.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}

/// A result, in the shape of the newest version.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// All that were made, the host's too.
    #[serde(default)]
    pub interfaces: Vec<Interface>,
    /// In the order in which the container should use them.
    #[serde(default)]
    pub ips: Vec<Ip>,
    /// The container's.
    #[serde(default)]
    pub routes: Vec<Route>,
    /// Empty if the network has no opinion.
    #[serde(default)]
    pub dns: Dns,
}

impl Shape {
    /// Reads a result of any version. Keys that mean nothing here are passed over; `null` is an empty list, as
    /// Go's encoder writes it.
    ///
    /// # Errors
    /// The decoder's, with the key.
    pub fn read(value: &Value) -> Result<Shape, serde_json::Error> {
        let mut map = value.as_object().cloned().unwrap_or_default();
        map.retain(|_, value| !value.is_null());
        for (key, version) in [("ip4", "4"), ("ip6", "6")] {
            if let Some(old) = map.remove(key) {
                unfold(&mut map, &old, version);
            }
        }
        serde_json::from_value(Value::Object(map))
    }

    /// The result as a runtime of that version wants it.
    #[must_use]
    pub fn write(&self, version: Version) -> Value {
        if version < Version::V0_3_0 {
            return self.folded(version);
        }
        let mut value =
            json!({"cniVersion": version.as_str(), "interfaces": self.interfaces, "ips": self.ips});
        if version < Version::V1_1_0 {
            for interface in each(&mut value["interfaces"]) {
                interface.remove("mtu");
            }
        }
        if version < Version::V1_0_0 {
            for ip in each(&mut value["ips"]) {
                let is_v6 = ip.get("address").and_then(Value::as_str).is_some_and(|text| text.contains(':'));
                ip.insert("version".to_owned(), if is_v6 { "6" } else { "4" }.into());
            }
        }
        if !self.routes.is_empty() {
            value["routes"] = json!(self.routes);
        }
        value["dns"] = json!(self.dns);
        value
    }

    /// The shape before 0.3.0: one address of each family.
    fn folded(&self, version: Version) -> Value {
        let mut value = json!({"cniVersion": version.as_str(), "dns": self.dns});
        for (key, is_v6) in [("ip4", false), ("ip6", true)] {
            let Some(ip) = self.ips.iter().find(|ip| ip.address.contains(':') == is_v6) else { continue };
            let routes: Vec<_> =
                self.routes.iter().filter(|route| route.dst.contains(':') == is_v6).collect();
            value[key] = json!({"ip": ip.address, "routes": routes});
            if let Some(gateway) = ip.gateway {
                value[key]["gateway"] = json!(gateway);
            }
        }
        value
    }
}

fn each(list: &mut Value) -> impl Iterator<Item = &mut Map<String, Value>> {
    list.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut)
}

/// Moves one family's address and routes of the old shape into the lists of the new one.
fn unfold(map: &mut Map<String, Value>, old: &Value, version: &str) {
    let mut ip = json!({"version": version, "address": old["ip"]});
    if !old["gateway"].is_null() {
        ip["gateway"] = old["gateway"].clone();
    }
    push(map, "ips", ip);
    for route in old["routes"].as_array().into_iter().flatten() {
        push(map, "routes", route.clone());
    }
}

fn push(map: &mut Map<String, Value>, key: &str, value: Value) {
    if let Some(list) = map.entry(key).or_insert_with(|| json!([])).as_array_mut() {
        list.push(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both() -> Shape {
        Shape {
            interfaces: vec![
                Interface { name: "podbox0".into(), mac: "0e:58:0a:f4:00:01".into(), ..Interface::default() },
                Interface {
                    name: "eth0".into(),
                    mac: "0a:58:0a:f4:00:05".into(),
                    mtu: Some(1500),
                    sandbox: "/run/netns/x".into(),
                },
            ],
            ips: vec![
                Ip {
                    address: "10.244.0.5/16".into(),
                    gateway: "10.244.0.1".parse().ok(),
                    interface: Some(1),
                },
                Ip { address: "fd70::5/64".into(), gateway: "fd70::1".parse().ok(), interface: Some(1) },
            ],
            routes: vec![
                Route { dst: "0.0.0.0/0".into(), gw: "10.244.0.1".parse().ok() },
                Route { dst: "::/0".into(), gw: "fd70::1".parse().ok() },
            ],
            dns: Dns { nameservers: vec!["9.9.9.9".into()], ..Dns::default() },
        }
    }

    #[test]
    fn each_version_has_its_shape() {
        let value = both().write(Version::V0_2_0);
        assert_eq!(value["ip4"]["ip"], "10.244.0.5/16");
        assert_eq!(value["ip6"]["routes"][0]["dst"], "::/0");
        assert!(value.get("ips").is_none());
        let value = both().write(Version::V0_4_0);
        assert_eq!((&value["ips"][0]["version"], &value["ips"][1]["version"]), (&json!("4"), &json!("6")));
        assert!(value["interfaces"][1].get("mtu").is_none());
        let value = both().write(Version::V1_0_0);
        assert!(value["ips"][0].get("version").is_none());
        assert!(value["interfaces"][1].get("mtu").is_none());
        let value = both().write(Version::V1_1_0);
        assert_eq!(value["interfaces"][1]["mtu"], 1500);
    }

    #[test]
    fn what_is_written_in_any_version_is_read_as_far_as_that_version_can_say_it() {
        for version in Version::ALL {
            let read = Shape::read(&both().write(version)).unwrap();
            let bare = |shape: &Shape| shape.ips.iter().map(Ip::bare).collect::<Vec<_>>();
            assert_eq!(bare(&read), bare(&both()), "{version}");
            assert_eq!((read.routes, read.dns), (both().routes, both().dns), "{version}");
        }
        assert_eq!(Shape::read(&both().write(Version::V1_1_0)).unwrap(), both());
    }

    #[test]
    fn an_empty_list_may_be_null() {
        let read = Shape::read(&json!({"cniVersion": "0.4.0", "ips": null, "routes": null, "dns": {}}));
        assert_eq!(read.unwrap(), Shape::default());
    }
}
