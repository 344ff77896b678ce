//! Further networks, which pods join by annotation: `[networks.NAME]` in `podbox.toml`.

use std::collections::BTreeMap;

use netplugin::{Masquerade, NetworkConfig};
use serde::Deserialize;

use super::subnet;
use crate::store::Store;

/// One of them, as the file has it. It has no addresses but those that are given here: whoever wants a second network
/// knows what is free.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Further {
    bridge: Option<String>,
    ipv4: Option<String>,
    ipv6: Option<String>,
    mtu: Option<u32>,
    masquerade: Option<bool>,
}

/// The networks, by name. `first` is the one that every pod is on.
///
/// # Errors
/// A sentence that names two networks that would meet, or one that cannot be.
pub(super) fn resolve(
    file: BTreeMap<String, Further>,
    first: &NetworkConfig,
    store: &Store,
) -> Result<Vec<NetworkConfig>, String> {
    let mut all = vec![first.clone()];
    for (name, further) in file {
        let network = network(&name, further, (first, store))?;
        if let Some(other) = all.iter().find(|other| other.name == name) {
            return Err(format!("networks.{name}: [network] has the name {} already", other.name));
        }
        if let Some(other) =
            all.iter().find(|other| other.bridge == network.bridge || other.table() == network.table())
        {
            return Err(format!(
                "networks.{name}: the bridge {} is network {}'s",
                network.bridge, other.name
            ));
        }
        for subnet in network.subnets() {
            let overlap = |other: &&NetworkConfig| other.subnets().any(|theirs| theirs.overlaps(&subnet));
            if let Some(other) = all.iter().find(overlap) {
                return Err(format!("networks.{name}: {subnet} overlaps with network {}", other.name));
            }
        }
        all.push(network);
    }
    all.remove(0);
    Ok(all)
}

fn network(
    name: &str,
    further: Further,
    (first, store): (&NetworkConfig, &Store),
) -> Result<NetworkConfig, String> {
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
    if name.is_empty() || name.starts_with('.') || !name.chars().all(is_name) {
        return Err(format!("networks: {name:?} is no name: lower case letters, digits, '-' and '.'"));
    }
    let family = |text: Option<String>| text.map_or(Ok(None), |text| subnet(&text));
    let within = |why: String| format!("networks.{name}: {why}");
    let (ipv4, ipv6) = (family(further.ipv4).map_err(within)?, family(further.ipv6).map_err(within)?);
    if ipv4.is_none() && ipv6.is_none() {
        return Err(within("it needs addresses: ipv4, ipv6 or both".to_owned()));
    }
    // A dot, so that it is never the name of a table of the first network's.
    let bridge = further.bridge.unwrap_or_else(|| format!("podbox.{name}"));
    if bridge.len() > 15 {
        return Err(within(format!(
            "{bridge:?} is longer than the 15 bytes of an interface's name; set bridge"
        )));
    }
    Ok(NetworkConfig {
        name: name.to_owned(),
        bridge,
        ipv4,
        ipv6,
        mtu: further.mtu,
        firewall: first.firewall,
        beside: Vec::new(),
        masquerade: if further.masquerade == Some(false) { Masquerade::Never } else { Masquerade::Egress },
        peers: netplugin::Peers::default(),
        state_dir: store.leases(name),
    })
}

/// Tells each network of the others.
pub(super) fn introduce(first: &mut NetworkConfig, further: &mut [NetworkConfig]) {
    let subnets: Vec<Vec<_>> =
        std::iter::once(&*first).chain(&*further).map(|network| network.subnets().collect()).collect();
    for (index, network) in std::iter::once(first).chain(further).enumerate() {
        let others = subnets.iter().enumerate().filter(|(other, _)| *other != index);
        network.beside = others.flat_map(|(_, subnets)| subnets.iter().copied()).collect();
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Flags, load};

    fn settings(text: &str) -> Result<crate::config::Settings, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("podbox.toml");
        std::fs::write(&path, text).unwrap();
        load(&Flags { config: Some(path), ..Flags::default() }).map_err(|error| error.to_string())
    }

    #[test]
    fn a_further_network_has_a_bridge_and_leases_of_its_own() {
        let settings = settings("[networks.blue]\nipv4 = \"10.99.0.0/24\"\n").unwrap();
        let blue = settings.network_of("blue").unwrap();
        assert_eq!((&*blue.bridge, blue.ipv6), ("podbox.blue", None));
        assert!(blue.state_dir.ends_with("ipam/blue"));
        assert_eq!(settings.networks().count(), 2);
        assert_eq!(settings.network.beside, blue.subnets().collect::<Vec<_>>());
        assert_eq!(blue.beside, settings.network.subnets().collect::<Vec<_>>());
    }

    #[test]
    fn networks_that_would_meet_are_refused() {
        for (text, why) in [
            ("[networks.blue]\n", "needs addresses"),
            ("[networks.blue]\nipv4 = \"10.244.8.0/24\"\n", "overlaps with network podbox"),
            ("[networks.podbox]\nipv4 = \"10.9.8.0/24\"\n", "has the name podbox already"),
            ("[networks.blue]\nbridge = \"podbox0\"\nipv4 = \"10.9.8.0/24\"\n", "is network podbox's"),
            ("[networks.a-longer-name]\nipv4 = \"10.9.8.0/24\"\n", "15 bytes"),
            ("[networks.Blue]\nipv4 = \"10.9.8.0/24\"\n", "is no name"),
        ] {
            let told = settings(text).unwrap_err();
            assert!(told.contains(why), "{text}: {told}");
        }
    }
}
