//! `[[peer]]` and what `[network]` says of other hosts.

use std::net::IpAddr;
use std::ops::Range;

use netplugin::{NetworkConfig, Overlay, Peer, Peers, Place, Subnet, Vxlan};
use serde::Deserialize;
use toml::Spanned;

/// The flat spaces that the usual networks are part of; the IPv6 one holds 256 slices of /64.
const FLAT: [&str; 2] = ["10.244.0.0/16", "fd70:6f64:626f:7800::/56"];

/// A `[[peer]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct File {
    name: Spanned<String>,
    ipv4: Option<Spanned<String>>,
    ipv6: Option<Spanned<String>>,
    address: Spanned<Addresses>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Addresses {
    One(String),
    Several(Vec<String>),
}

/// The part of `[network]` that is about other hosts.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) flat: [Option<Spanned<String>>; 2],
    pub(super) overlay: Option<Way>,
    pub(super) vxlan_id: Option<u32>,
    pub(super) vxlan_port: Option<u16>,
    pub(super) underlay: Option<String>,
}

/// `[network] overlay`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Way {
    HostGw,
    Vxlan,
}

/// What is wrong, and where in the file, in bytes.
#[derive(Debug)]
pub(super) struct Wrong {
    pub(super) span: Option<Range<usize>>,
    pub(super) message: String,
}

impl Wrong {
    fn at(span: Range<usize>, message: impl Into<String>) -> Wrong {
        Wrong { span: Some(span), message: message.into() }
    }
}

/// Gives the network its peers.
pub(super) fn resolve(network: &mut NetworkConfig, shared: Shared, files: &[File]) -> Result<(), Wrong> {
    let vxlan =
        Vxlan { id: shared.vxlan_id.unwrap_or(Vxlan::ID), port: shared.vxlan_port.unwrap_or(Vxlan::PORT) };
    let mut hosts = Vec::with_capacity(files.len());
    for file in files {
        hosts.push(peer(file)?);
    }
    network.peers = Peers {
        flat: flat(network, &shared.flat, &hosts)?,
        overlay: match shared.overlay {
            Some(Way::HostGw) => Overlay::HostGw,
            Some(Way::Vxlan) | None => Overlay::Vxlan(vxlan),
        },
        underlay: shared.underlay,
        hosts,
    };
    network
        .check_peers()
        .map_err(|problem| Wrong { span: span(files, &shared.flat, problem.place), message: problem.text })
}

fn peer(file: &File) -> Result<Peer, Wrong> {
    let slices = [&file.ipv4, &file.ipv6].into_iter().flatten();
    let addresses = match file.address.get_ref() {
        Addresses::One(one) => std::slice::from_ref(one),
        Addresses::Several(several) => several,
    };
    let address = |text: &String| {
        text.parse::<IpAddr>().map_err(|_| {
            let message = format!("address \"{text}\" of peer {}: not an IP address", file.name.get_ref());
            Wrong::at(file.address.span(), message)
        })
    };
    let peer = Peer {
        name: file.name.get_ref().clone(),
        slices: slices.map(subnet).collect::<Result<_, _>>()?,
        addresses: addresses.iter().map(address).collect::<Result<_, _>>()?,
    };
    for (text, is_ipv4) in [(&file.ipv4, true), (&file.ipv6, false)] {
        let other = peer.slices.iter().find(|slice| slice.network().is_ipv4() != is_ipv4);
        if let (Some(text), Some(slice)) = (text, other)
            && text.get_ref() == &slice.to_string()
        {
            let family = if is_ipv4 { "IPv4" } else { "IPv6" };
            return Err(Wrong::at(
                text.span(),
                format!("slice {slice} of peer {} is not {family}", peer.name),
            ));
        }
    }
    Ok(peer)
}

fn subnet(text: &Spanned<String>) -> Result<Subnet, Wrong> {
    let parsed: Result<Subnet, _> = text.get_ref().parse();
    parsed.map_err(|error| Wrong::at(text.span(), error.to_string()))
}

/// The flat space: as it is written, and else the usual one, if this host has a slice of it and is not alone.
fn flat(
    network: &NetworkConfig,
    written: &[Option<Spanned<String>>; 2],
    hosts: &[Peer],
) -> Result<Vec<Subnet>, Wrong> {
    let mut spaces = Vec::new();
    for ((text, usual), own) in written.iter().zip(FLAT).zip([network.ipv4, network.ipv6]) {
        match (text, own) {
            (Some(text), Some(own)) => {
                let space = subnet(text)?;
                if !space.overlaps(&own) || space.prefix() > own.prefix() {
                    let message = format!("the flat space {space} does not hold this host's own slice {own}");
                    return Err(Wrong::at(text.span(), message));
                }
                spaces.push(space);
            }
            (None, Some(own)) if !hosts.is_empty() => {
                let space: Result<Subnet, _> = usual.parse();
                spaces.extend(
                    space.ok().filter(|space| space.overlaps(&own) && space.prefix() <= own.prefix()),
                );
            }
            _ => (),
        }
    }
    Ok(spaces)
}

fn span(files: &[File], flat: &[Option<Spanned<String>>; 2], place: Place) -> Option<Range<usize>> {
    match place {
        Place::Network => flat.iter().flatten().next().map(Spanned::span),
        Place::Name(peer) => Some(files.get(peer)?.name.span()),
        Place::Slice(peer, slice) => {
            let file = files.get(peer)?;
            [&file.ipv4, &file.ipv6].into_iter().flatten().nth(slice).map(Spanned::span)
        }
        Place::Address(peer, _) => Some(files.get(peer)?.address.span()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::config::{ConfigError, Flags, Settings, load};

    fn read(text: &str) -> Result<Settings, ConfigError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("podbox.toml");
        fs::write(&path, text).unwrap();
        load(&Flags { config: Some(path), ..Flags::default() })
    }

    const GOOD: &str = r#"[network]
ipv4 = "10.244.1.0/24"
ipv6 = "fd70:6f64:626f:7801::/64"

[[peer]]
name = "b"
ipv4 = "10.244.2.0/24"
ipv6 = "fd70:6f64:626f:7802::/64"
address = "192.0.2.2"

[[peer]]
name = "c"
ipv4 = "10.244.3.0/24"
address = ["192.0.2.3", "2001:db8::3"]
"#;

    #[test]
    fn peers_are_read_and_the_usual_flat_space_is_around_them() {
        let peers = read(GOOD).unwrap().network.peers;
        let flat: Vec<_> = peers.flat.iter().map(ToString::to_string).collect();
        assert_eq!(flat, FLAT);
        assert_eq!(peers.overlay, Overlay::Vxlan(Vxlan { id: 10_244, port: 4789 }));
        assert_eq!(peers.hosts.len(), 2);
        assert_eq!(peers.hosts[1].addresses.len(), 2);
        assert_eq!(peers.hosts[0].slices.len(), 2);
    }

    #[test]
    fn without_peers_the_flat_space_ends_with_this_host_unless_the_file_says_otherwise() {
        let own = "[network]\nipv4 = \"10.244.1.0/24\"\n";
        assert!(read(own).unwrap().network.peers.flat.is_empty());
        let wide = read(&format!("{own}flat-ipv4 = \"10.0.0.0/8\"\n")).unwrap();
        assert_eq!(wide.network.peers.flat[0].to_string(), "10.0.0.0/8");
    }

    #[test]
    fn what_is_wrong_is_told_with_line_and_column() {
        for (from, to, place, what) in [
            ("\"10.244.3.0/24\"", "\"10.244.2.0/24\"", ":13:8: ", "overlaps with 10.244.2.0/24 of peer b"),
            ("\"10.244.2.0/24\"", "\"10.244.1.0/25\"", ":7:8: ", "overlaps with this host's own"),
            ("\"10.244.2.0/24\"", "\"10.244.2.0\"", ":7:8: ", "no '/'"),
            ("\"10.244.2.0/24\"", "\"fd70:6f64:626f:7809::/64\"", ":7:8: ", "is not IPv4"),
            ("\"192.0.2.2\"", "\"next door\"", ":9:11: ", "not an IP address"),
            ("\"192.0.2.2\"", "\"192.0.2.3\"", ":14:11: ", "have the same address"),
            ("name = \"c\"", "name = \"b\"", ":12:8: ", "two peers are called b"),
            (
                "[network]\n",
                "[network]\nflat-ipv4 = \"10.1.0.0/16\"\n",
                ":2:13: ",
                "does not hold this host's own",
            ),
        ] {
            let error = read(&GOOD.replace(from, to)).unwrap_err().to_string();
            assert!(error.contains(place) && error.contains(what), "{error}");
        }
    }

    #[test]
    fn an_unknown_overlay_or_key_is_an_error_that_names_it() {
        let error =
            read(&GOOD.replace("[network]\n", "[network]\noverlay = \"gre\"\n")).unwrap_err().to_string();
        assert!(error.contains("`host-gw` or `vxlan`"), "{error}");
        let error =
            read(&GOOD.replace("name = \"c\"", "name = \"c\"\nslice = \"x\"")).unwrap_err().to_string();
        assert!(error.contains("slice"), "{error}");
    }
}
