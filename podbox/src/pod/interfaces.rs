//! What a pod's annotations ask of its network interfaces.
//!
//! Kubernetes has no fields for these, so the names are those that people know: `kubernetes.io/ingress-bandwidth` and
//! `kubernetes.io/egress-bandwidth` as the kubelet reads them (pkg/util/bandwidth), `k8s.v1.cni.cncf.io/networks` as the
//! Network Plumbing Working Group's de-facto standard has it (sections 4.1.1 and 4.1.2), and for the addresses of eth0, for
//! which everybody has a name of his own, `podbox.local/ip` and `podbox.local/mac`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use netplugin::{Bandwidth, Mac, Rate};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::Quantity;

/// The addresses of eth0: one, or one of each family with a comma between.
pub const IP: &str = "podbox.local/ip";
/// The Ethernet address of eth0.
pub const MAC: &str = "podbox.local/mac";
/// Further networks.
pub const NETWORKS: &str = "k8s.v1.cni.cncf.io/networks";
/// What became of them.
pub const STATUS: &str = "k8s.v1.cni.cncf.io/network-status";
/// How much may come in, in bits a second.
pub const INGRESS: &str = "kubernetes.io/ingress-bandwidth";
/// How much may go out, in bits a second.
pub const EGRESS: &str = "kubernetes.io/egress-bandwidth";
/// What asks something of the pod's own network. It counts when the pod is put on it, and never again.
pub const ASKING: [&str; 5] = [IP, MAC, NETWORKS, INGRESS, EGRESS];
/// The interface that every pod has.
pub const FIRST: &str = "eth0";

/// All that a pod asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Interfaces {
    /// The addresses of eth0.
    pub addresses: Vec<IpAddr>,
    /// The Ethernet address of eth0.
    pub mac: Option<Mac>,
    /// The limits of eth0.
    pub bandwidth: Bandwidth,
    /// Interfaces on further networks.
    pub further: Vec<Further>,
}

/// An interface on a further network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Further {
    /// The network's name, as `podbox.toml` has it.
    pub network: String,
    /// The namespace that the annotation gives it; podbox's networks are in none.
    pub namespace: Option<String>,
    /// The interface's name.
    pub interface: String,
    /// The addresses it is to have.
    pub addresses: Vec<IpAddr>,
    /// The Ethernet address it is to have.
    pub mac: Option<Mac>,
}

/// An annotation that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// The annotation.
    pub key: &'static str,
    /// What is wrong, and what would be right.
    pub detail: String,
}

/// Reads the annotations.
///
/// # Errors
/// All that are wrong.
pub fn read(annotations: &BTreeMap<String, String>) -> Result<Interfaces, Vec<Wrong>> {
    let mut wrong = Vec::new();
    let mut found = Interfaces::default();
    let value = |key: &str| annotations.get(key).map(|text| text.trim());
    let mut note =
        |key, result: Result<(), String>| wrong.extend(result.err().map(|detail| Wrong { key, detail }));
    if let Some(text) = value(IP) {
        let read = text.split(',').map(address).collect::<Result<Vec<_>, _>>();
        note(IP, read.and_then(one_of_each).map(|read| found.addresses = read));
    }
    if let Some(text) = value(MAC) {
        note(MAC, mac(text).map(|read| found.mac = Some(read)));
    }
    if let Some(text) = value(INGRESS) {
        note(INGRESS, rate(text).map(|read| found.bandwidth.ingress = Some(read)));
    }
    if let Some(text) = value(EGRESS) {
        note(EGRESS, rate(text).map(|read| found.bandwidth.egress = Some(read)));
    }
    if let Some(text) = value(NETWORKS) {
        note(NETWORKS, further(text).map(|read| found.further = read));
    }
    if wrong.is_empty() { Ok(found) } else { Err(wrong) }
}

/// As in the kubelet, whose bounds these are.
fn rate(text: &str) -> Result<Rate, String> {
    const LEAST: i128 = 1_000;
    const MOST: i128 = 1_000_000_000_000_000;
    let quantity: Quantity =
        text.parse().map_err(|_| format!("{text:?} is no quantity of bits a second, such as 10M"))?;
    match quantity.whole() {
        bits if bits < LEAST => Err("resource is unreasonably small (< 1kbit)".to_owned()),
        bits if bits > MOST => Err("resource is unreasonably large (> 1Pbit)".to_owned()),
        bits => Ok(Rate { bits_per_second: u64::try_from(bits).unwrap_or(u64::MAX), burst: None }),
    }
}

/// An address, with or without the length of its prefix, which the network knows better.
fn address(text: &str) -> Result<IpAddr, String> {
    let alone = text.trim().split_once('/').map_or(text.trim(), |(address, _)| address);
    alone.parse().map_err(|_| format!("{text:?} is no IP address"))
}

fn one_of_each(addresses: Vec<IpAddr>) -> Result<Vec<IpAddr>, String> {
    let count = |v4: bool| addresses.iter().filter(|address| address.is_ipv4() == v4).count();
    if count(true) > 1 || count(false) > 1 {
        return Err("an interface has one address of a family".to_owned());
    }
    Ok(addresses)
}

fn mac(text: &str) -> Result<Mac, String> {
    let mac: Mac = text.parse().map_err(|why| format!("{text:?} is no Ethernet address: {why}"))?;
    match mac.is_unicast() {
        true => Ok(mac),
        false => Err(format!(
            "{text:?} is no address of one interface: its first byte must be even, and not all 0"
        )),
    }
}

/// The long form of an element; the short one is `[NAMESPACE/]NAME[@INTERFACE]`.
#[derive(Debug, Default, Deserialize)]
struct Element {
    name: String,
    namespace: Option<String>,
    interface: Option<String>,
    #[serde(default)]
    ips: Vec<String>,
    mac: Option<String>,
    #[serde(flatten)]
    other: BTreeMap<String, IgnoredAny>,
}

fn further(text: &str) -> Result<Vec<Further>, String> {
    let elements: Vec<Element> = if text.starts_with('[') {
        serde_json::from_str(text).map_err(|why| format!("it is no list of networks: {why}"))?
    } else {
        text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(short).collect()
    };
    let mut taken: BTreeSet<String> = [FIRST.to_owned(), "lo".to_owned()].into();
    let mut found = Vec::new();
    for (index, element) in elements.into_iter().enumerate() {
        if let Some(key) = element.other.keys().next() {
            return Err(format!(
                "{key:?} is not supported; an element has name, namespace, interface, ips and mac"
            ));
        }
        if element.name.is_empty() {
            return Err("an element has no name".to_owned());
        }
        let interface = element.interface.unwrap_or_else(|| format!("net{}", index + 1));
        let is_name = !interface.is_empty()
            && interface.len() <= 15
            && ![".", ".."].contains(&interface.as_str())
            && !interface.contains(|c: char| matches!(c, '/' | ':') || c.is_whitespace() || c == '\0');
        if !is_name {
            return Err(format!("{interface:?} cannot be an interface's name"));
        }
        if !taken.insert(interface.clone()) {
            return Err(format!("there would be two interfaces {interface}"));
        }
        let addresses = element.ips.iter().map(|text| address(text)).collect::<Result<Vec<_>, _>>()?;
        found.push(Further {
            network: element.name,
            namespace: element.namespace.filter(|namespace| !namespace.is_empty()),
            interface,
            addresses: one_of_each(addresses)?,
            mac: element.mac.as_deref().map(mac).transpose()?,
        });
    }
    Ok(found)
}

fn short(text: &str) -> Element {
    let (name, interface) = match text.rsplit_once('@') {
        Some((name, interface)) => (name, Some(interface.to_owned())),
        None => (text, None),
    };
    let (namespace, name) = match name.split_once('/') {
        Some((namespace, name)) => (Some(namespace.to_owned()), name),
        None => (None, name),
    };
    Element { name: name.to_owned(), namespace, interface, ..Element::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(key: &str, value: &str) -> Result<Interfaces, String> {
        read(&[(key.to_owned(), value.to_owned())].into()).map_err(|wrong| wrong[0].detail.clone())
    }

    #[test]
    fn addresses_are_one_or_one_of_each_family() {
        let both = one(IP, "10.1.2.3, fd00::7/64").unwrap().addresses;
        assert_eq!(both, ["10.1.2.3".parse::<IpAddr>().unwrap(), "fd00::7".parse().unwrap()]);
        assert!(one(IP, "10.1.2.3,10.1.2.4").unwrap_err().contains("one address of a family"));
        assert!(one(IP, "10.1.2").unwrap_err().contains("no IP address"));
    }

    #[test]
    fn an_ethernet_address_is_a_unicast_one() {
        assert_eq!(one(MAC, "02:00:00:00:00:0A").unwrap().mac.unwrap().to_string(), "02:00:00:00:00:0a");
        for wrong in
            ["01:00:00:00:00:01", "00:00:00:00:00:00", "02:00:00:00:00", "02-00-00-00-00-00", "+2:0:0:0:0:0"]
        {
            assert!(one(MAC, wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn bandwidth_is_a_quantity_within_the_kubelets_bounds() {
        assert_eq!(one(INGRESS, "10M").unwrap().bandwidth.ingress.unwrap().bits_per_second, 10_000_000);
        assert_eq!(one(EGRESS, "1Mi").unwrap().bandwidth.egress.unwrap().bits_per_second, 1 << 20);
        assert!(one(EGRESS, "999").unwrap_err().contains("unreasonably small"));
        assert!(one(EGRESS, "2P").unwrap_err().contains("unreasonably large"));
        assert!(one(EGRESS, "fast").unwrap_err().contains("no quantity"));
    }

    #[test]
    fn networks_are_names_or_objects_and_get_interfaces_by_number() {
        let short = one(NETWORKS, "blue, storage/red@data0").unwrap().further;
        let told: Vec<_> =
            short.iter().map(|f| (&*f.network, f.namespace.as_deref(), &*f.interface)).collect();
        assert_eq!(told, [("blue", None, "net1"), ("red", Some("storage"), "data0")]);
        let long =
            r#"[{"name": "blue", "ips": ["10.9.0.7/24"], "mac": "02:00:00:00:00:01"}, {"name": "blue"}]"#;
        let long = one(NETWORKS, long).unwrap().further;
        assert_eq!(long[0].addresses, ["10.9.0.7".parse::<IpAddr>().unwrap()]);
        assert_eq!(long[1].interface, "net2");
    }

    #[test]
    fn networks_that_cannot_be_had_are_refused() {
        for (text, why) in [
            ("blue@eth0", "two interfaces eth0"),
            ("blue@a,red@a", "two interfaces a"),
            ("blue@an-interface-too-long", "cannot be an interface's name"),
            (r#"[{"name": "blue", "deviceID": "x"}]"#, "\"deviceID\" is not supported"),
            (r#"[{"nam": "blue"}]"#, "missing field `name`"),
            ("[", "no list of networks"),
        ] {
            let told = one(NETWORKS, text).unwrap_err();
            assert!(told.contains(why), "{text}: {told}");
        }
    }
}
