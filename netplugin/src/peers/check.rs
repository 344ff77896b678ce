//! What can be said against a list of peers without looking at the host.

use std::net::IpAddr;

use super::{Family, Overlay, Peer};
use crate::config::{NetworkConfig, Subnet, is_interface_name};

/// Longest name of an interface, in bytes.
const LONGEST: usize = 15;

/// Where in the configuration a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In what all peers share.
    Network,
    /// A peer's name, by the peer's number in the list.
    Name(usize),
    /// A peer's subnet, by the peer's and its own number.
    Slice(usize, usize),
    /// A peer's address, by the peer's and its own number.
    Address(usize, usize),
}

/// What is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// What.
    pub text: String,
}

fn wrong(place: Place, text: impl Into<String>) -> Result<(), Problem> {
    Err(Problem { place, text: text.into() })
}

pub(super) fn check(config: &NetworkConfig) -> Result<(), Problem> {
    shared(config)?;
    let hosts = &config.peers.hosts;
    for (number, peer) in hosts.iter().enumerate() {
        let before = &hosts[..number];
        name(number, peer, before)?;
        slices(config, number, peer, before)?;
        addresses(config, number, peer, before)?;
    }
    underlay(config)
}

fn shared(config: &NetworkConfig) -> Result<(), Problem> {
    for flat in &config.peers.flat {
        if let Some(own) = config.subnets().find(|own| own.network().is_ipv4() == flat.network().is_ipv4())
            && !holds(flat, &own)
        {
            return wrong(
                Place::Network,
                format!("the flat space {flat} does not hold this host's own slice {own}"),
            );
        }
    }
    if let Some(name) = config.peers.underlay.as_ref().filter(|name| !is_interface_name(name)) {
        return wrong(Place::Network, format!("the underlay {name:?} is not an interface's name"));
    }
    if let Overlay::Vxlan(vxlan) = &config.peers.overlay
        && !config.peers.hosts.is_empty()
    {
        if vxlan.id == 0 || vxlan.id >= 1 << 24 {
            return wrong(Place::Network, format!("the VXLAN id {} is not within 1 and 16777215", vxlan.id));
        }
        if vxlan.port == 0 {
            return wrong(Place::Network, "the VXLAN port is 0");
        }
        let tunnel = config.tunnel();
        if tunnel.len() > LONGEST {
            let text = format!(
                "the tunnel's name {tunnel} is longer than 15 bytes: give the bridge a name of at most 12"
            );
            return wrong(Place::Network, text);
        }
    }
    Ok(())
}

fn holds(outer: &Subnet, inner: &Subnet) -> bool {
    outer.overlaps(inner) && outer.prefix() <= inner.prefix()
}

fn name(number: usize, peer: &Peer, before: &[Peer]) -> Result<(), Problem> {
    let place = Place::Name(number);
    if peer.name.is_empty() || peer.name.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return wrong(place, format!("{:?} is no name for a peer", peer.name));
    }
    if before.iter().any(|other| other.name == peer.name) {
        return wrong(place, format!("two peers are called {}", peer.name));
    }
    if peer.slices.is_empty() {
        return wrong(place, format!("peer {} has no slice: write ipv4 = or ipv6 =", peer.name));
    }
    if peer.addresses.is_empty() {
        return wrong(place, format!("peer {} has no address", peer.name));
    }
    Ok(())
}

fn slices(config: &NetworkConfig, number: usize, peer: &Peer, before: &[Peer]) -> Result<(), Problem> {
    for (index, slice) in peer.slices.iter().enumerate() {
        let place = Place::Slice(number, index);
        let family = |subnet: &Subnet| Family::of(subnet.network());
        let Some(own) = config.subnets().find(|own| family(own) == family(slice)) else {
            return wrong(
                place,
                format!("slice {slice} of peer {}: this network has no such addresses", peer.name),
            );
        };
        if own.overlaps(slice) {
            return wrong(
                place,
                format!("slice {slice} of peer {} overlaps with this host's own, {own}", peer.name),
            );
        }
        if let Some((other, theirs)) = before
            .iter()
            .find_map(|other| Some((other, other.slices.iter().find(|theirs| theirs.overlaps(slice))?)))
        {
            let text =
                format!("slice {slice} of peer {} overlaps with {theirs} of peer {}", peer.name, other.name);
            return wrong(place, text);
        }
        let space = config.space_of(own);
        if !holds(&space, slice) {
            let key = if slice.network().is_ipv4() { "flat-ipv4" } else { "flat-ipv6" };
            let text = format!(
                "slice {slice} of peer {} lies outside the flat space {space}: give the whole space as [network] {key}",
                peer.name
            );
            return wrong(place, text);
        }
        if slice.prefix() > if slice.network().is_ipv4() { 30 } else { 126 } {
            return wrong(place, format!("slice {slice} of peer {} has no room for a pod", peer.name));
        }
    }
    Ok(())
}

fn addresses(config: &NetworkConfig, number: usize, peer: &Peer, before: &[Peer]) -> Result<(), Problem> {
    for (index, address) in peer.addresses.iter().enumerate() {
        let place = Place::Address(number, index);
        if !is_a_hosts(*address) {
            return wrong(place, format!("{address} of peer {} is no address of a host", peer.name));
        }
        if let Some(space) =
            config.subnets().map(|own| config.space_of(own)).find(|space| space.contains(*address))
        {
            let text = format!("address {address} of peer {} lies in the pods' own space {space}", peer.name);
            return wrong(place, text);
        }
        if let Some(other) = before.iter().find(|other| other.addresses.contains(address)) {
            return wrong(
                place,
                format!("peers {} and {} have the same address {address}", other.name, peer.name),
            );
        }
    }
    Ok(())
}

fn is_a_hosts(address: IpAddr) -> bool {
    let broadcast = address == IpAddr::from([255; 4]);
    // A link-local address means nothing without its link.
    let local = matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
    !(address.is_unspecified() || address.is_loopback() || address.is_multicast() || broadcast || local)
}

/// One tunnel has one family of addresses outside; a route to IPv6 pods goes by an IPv6 address.
fn underlay(config: &NetworkConfig) -> Result<(), Problem> {
    let hosts = &config.peers.hosts;
    match config.peers.overlay {
        Overlay::Vxlan(_) => {
            if hosts.is_empty() || tunnel_family(hosts).is_some() {
                return Ok(());
            }
            let odd = hosts.iter().position(|peer| peer.address(Family::Ipv4).is_none()).unwrap_or(0);
            let text = "the peers have no family of addresses in common, and one tunnel cannot have two";
            wrong(Place::Address(odd, 0), text)
        }
        Overlay::HostGw => {
            for (number, peer) in hosts.iter().enumerate() {
                let ipv6 = peer.slices.iter().position(|slice| slice.network().is_ipv6());
                if let Some(index) = ipv6.filter(|_| peer.address(Family::Ipv6).is_none()) {
                    let text = format!(
                        "slice {} of peer {} needs an IPv6 address of the peer to go by: address = [\"IPV4\", \"IPV6\"], or overlay = \"vxlan\"",
                        peer.slices[index], peer.name
                    );
                    return wrong(Place::Slice(number, index), text);
                }
            }
            Ok(())
        }
    }
}

/// The family that all peers have an address of: IPv4 rather than IPv6, whose header is longer.
pub(super) fn tunnel_family(hosts: &[Peer]) -> Option<Family> {
    [Family::Ipv4, Family::Ipv6]
        .into_iter()
        .find(|family| hosts.iter().all(|peer| peer.address(*family).is_some()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::Vxlan;
    use crate::support;

    fn network() -> NetworkConfig {
        let mut config = support::config("/nowhere".into());
        config.ipv4 = Some("10.244.1.0/24".parse().unwrap());
        config.ipv6 = Some("fd70:6f64:626f:7801::/64".parse().unwrap());
        config.peers.flat =
            vec!["10.244.0.0/16".parse().unwrap(), "fd70:6f64:626f:7800::/56".parse().unwrap()];
        config.peers.hosts = vec![peer("b", 2), peer("c", 3)];
        config
    }

    fn peer(name: &str, number: u8) -> Peer {
        Peer {
            name: name.to_owned(),
            slices: vec![
                format!("10.244.{number}.0/24").parse().unwrap(),
                format!("fd70:6f64:626f:780{number}::/64").parse().unwrap(),
            ],
            addresses: vec![
                format!("192.0.2.{number}").parse().unwrap(),
                format!("2001:db8::{number}").parse().unwrap(),
            ],
        }
    }

    /// The problem after a change, with its place.
    fn said(change: impl FnOnce(&mut NetworkConfig)) -> (Place, String) {
        let mut config = network();
        change(&mut config);
        let problem = config.check_peers().unwrap_err();
        (problem.place, problem.text)
    }

    #[test]
    fn peers_that_fit_together_are_fine_whichever_way_leads_to_them() {
        for overlay in [Overlay::HostGw, Overlay::default()] {
            let mut config = network();
            config.peers.overlay = overlay;
            assert_eq!(config.check_peers(), Ok(()));
        }
    }

    #[test]
    fn each_contradiction_is_told_with_its_place() {
        let slice = |text: &str| -> Subnet { text.parse().unwrap() };
        type Change = Box<dyn FnOnce(&mut NetworkConfig)>;
        let cases: Vec<(Change, Place, &str)> = vec![
            (Box::new(|c| c.peers.hosts[1].name = "b".into()), Place::Name(1), "two peers are called b"),
            (Box::new(|c| c.peers.hosts[0].name = String::new()), Place::Name(0), "no name"),
            (Box::new(|c| c.peers.hosts[1].slices.clear()), Place::Name(1), "no slice"),
            (Box::new(|c| c.peers.hosts[1].addresses.clear()), Place::Name(1), "no address"),
            (
                Box::new(move |c| c.peers.hosts[1].slices[0] = slice("10.244.2.128/25")),
                Place::Slice(1, 0),
                "10.244.2.128/25 of peer c overlaps with 10.244.2.0/24 of peer b",
            ),
            (
                Box::new(move |c| c.peers.hosts[0].slices[0] = slice("10.244.0.0/23")),
                Place::Slice(0, 0),
                "overlaps with this host's own, 10.244.1.0/24",
            ),
            (
                Box::new(move |c| c.peers.hosts[0].slices[1] = slice("fd00::/64")),
                Place::Slice(0, 1),
                "outside the flat space fd70:6f64:626f:7800::/56: give the whole space as [network] flat-ipv6",
            ),
            (Box::new(|c| c.ipv6 = None), Place::Slice(0, 1), "this network has no such addresses"),
            (
                Box::new(|c| c.peers.hosts[1].addresses[0] = [192, 0, 2, 2].into()),
                Place::Address(1, 0),
                "peers b and c have the same address 192.0.2.2",
            ),
            (
                Box::new(|c| c.peers.hosts[1].addresses[0] = [10, 244, 9, 9].into()),
                Place::Address(1, 0),
                "lies in the pods' own space 10.244.0.0/16",
            ),
            (
                Box::new(|c| c.peers.hosts[0].addresses[1] = "fe80::1".parse().unwrap()),
                Place::Address(0, 1),
                "no address of a host",
            ),
            (
                Box::new(move |c| c.peers.flat[0] = slice("10.245.0.0/16")),
                Place::Network,
                "does not hold this host's own slice 10.244.1.0/24",
            ),
            (
                Box::new(|c| c.peers.overlay = Overlay::Vxlan(Vxlan { id: 1 << 24, port: 4789 })),
                Place::Network,
                "id 16777216",
            ),
            (Box::new(|c| c.bridge = "a-long-bridge".into()), Place::Network, "at most 12"),
            (
                Box::new(|c| {
                    c.peers.hosts[0].addresses.truncate(1);
                    c.peers.hosts[1].addresses.remove(0);
                }),
                Place::Address(1, 0),
                "no family of addresses in common",
            ),
            (
                Box::new(|c| {
                    c.peers.overlay = Overlay::HostGw;
                    c.peers.hosts[0].addresses.truncate(1);
                }),
                Place::Slice(0, 1),
                "needs an IPv6 address",
            ),
        ];
        for (change, place, text) in cases {
            let (where_, what) = said(change);
            assert_eq!(where_, place, "{what}");
            assert!(what.contains(text), "{what:?} does not say {text:?}");
        }
    }
}
