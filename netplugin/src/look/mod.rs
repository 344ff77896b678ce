//! What is there: links, addresses, routes, neighbours and rules of a network namespace, read from the kernel.
//!
//! A [`Window`] looks into one namespace and changes nothing. What it returns is what `ip`, `bridge` and `nft` would
//! show there, in values; message layouts are those of rtnetlink(7) and `linux/netfilter/nf_tables.h`.

mod leases;
pub(crate) mod raw;
mod tables;
mod traced;
mod words;

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use netlink_sys::protocols::{NETLINK_NETFILTER, NETLINK_ROUTE};
use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use crate::config::{InterfaceAddress, Mac};
use crate::error::NetError;
use crate::netlink::{KernelError, Netlink};
use crate::netns;
use raw::Raw;

pub use leases::{Room, SeenLease, leases, room};
pub(crate) use tables::{RawElement, raw_elements, rule_in_words};
pub(crate) use traced::{Traced, trace_attributes};

pub use tables::{SeenChain, SeenMap, SeenRule, SeenTable};

/// A link of a namespace, as `ip -d link` shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SeenLink {
    /// Its number in its namespace.
    pub index: u32,
    /// Its name there.
    pub name: String,
    /// `veth`, `bridge`, `vxlan` …; empty for what is hardware, or loopback.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// Its Ethernet address, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<Mac>,
    /// Its largest packet, in bytes.
    pub mtu: u32,
    /// Somebody has set it up.
    pub up: bool,
    /// It can carry packets: up, and so is its other end.
    pub live: bool,
    /// It is the loopback interface.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub loopback: bool,
    /// The bridge that it is a port of, by its number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub master: Option<u32>,
    /// The other end of a cable, by its number in the namespace where that end is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<u32>,
    /// As a bridge's port: frames may leave where they came in.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hairpin: bool,
}

/// An address and the link that has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenAddress {
    /// The link's number.
    pub index: u32,
    /// The address, with the length of its prefix.
    pub address: InterfaceAddress,
    /// Valid everywhere, and not only on the link or the host.
    pub global: bool,
}

/// A way, as `ip route` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenRoute {
    /// Where it leads; `0.0.0.0/0` and `::/0` are the default.
    pub to: InterfaceAddress,
    /// The next hop; none if the destination is a neighbour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<IpAddr>,
    /// The link's number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<u32>,
    /// The address that one's own packets get.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<IpAddr>,
    /// The destination is one of the namespace's own addresses.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub local: bool,
    /// Where packets end: `unreachable`, `blackhole`, `prohibit`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// Who is behind an address or an Ethernet address: `ip neighbour`, `bridge fdb`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenNeighbour {
    /// The link's number.
    pub index: u32,
    /// The neighbour's address; none in a bridge's table, save where a tunnel says whither.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// Its Ethernet address, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<Mac>,
    /// `PERMANENT`, `REACHABLE`, `STALE`, `FAILED` …
    pub state: String,
}

/// A look into a network namespace.
#[derive(Debug)]
pub struct Window {
    links: Netlink,
    rules: Option<Netlink>,
}

impl Window {
    /// Looks around where this process is.
    ///
    /// # Errors
    /// If no netlink socket can be opened.
    pub fn here() -> Result<Window, NetError> {
        Window::open().map_err(|error| failed("open a netlink socket")(error.into()))
    }

    /// Looks into the namespace that a file is.
    ///
    /// # Errors
    /// [`NetError::Netns`] if it is not there, or no namespace.
    pub fn of(path: &Path) -> Result<Window, NetError> {
        let no_entry = |source| NetError::Netns { path: PathBuf::from(path), source };
        let file = netns::open(path).map_err(no_entry)?;
        netns::inside(&file, Window::open).and_then(|opened| opened).map_err(no_entry)
    }

    fn open() -> std::io::Result<Window> {
        // A kernel without nf_tables has no rules to look at.
        Ok(Window { links: Netlink::open(NETLINK_ROUTE)?, rules: Netlink::open(NETLINK_NETFILTER).ok() })
    }

    /// `ip -d link`
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn links(&mut self) -> Result<Vec<SeenLink>, NetError> {
        const IFLA_EXT_MASK: u16 = 29;
        const SKIP_STATISTICS: u32 = 1 << 3;
        let ask = Raw::new(libc::RTM_GETLINK, &[0; 16]).with(IFLA_EXT_MASK, &SKIP_STATISTICS.to_ne_bytes());
        let found = self.links.dump(ask).map_err(failed("list links"))?;
        Ok(found.iter().filter(|message| message.kind == libc::RTM_NEWLINK).map(link).collect())
    }

    /// `ip addr`
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn addresses(&mut self) -> Result<Vec<SeenAddress>, NetError> {
        let ask = Raw::new(libc::RTM_GETADDR, &[0; 8]);
        let found = self.links.dump(ask).map_err(failed("list addresses"))?;
        Ok(found.iter().filter_map(address).collect())
    }

    /// `ip route; ip -6 route`: the main table, without what is local.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn routes(&mut self) -> Result<Vec<SeenRoute>, NetError> {
        const RT_TABLE_MAIN: u32 = 254;
        let mut routes = Vec::new();
        for family in [libc::AF_INET, libc::AF_INET6] {
            let mut header = [0; 12];
            header[0] = u8::try_from(family).unwrap_or_default();
            match self.links.dump(Raw::new(libc::RTM_GETROUTE, &header)) {
                Ok(found) => {
                    let main = found.iter().filter(|message| table(message) == RT_TABLE_MAIN);
                    routes.extend(main.filter_map(route).filter(|route| !route.local));
                }
                Err(error) if error.is(Errno::EOPNOTSUPP) || error.is(Errno::EAFNOSUPPORT) => (),
                Err(error) => return Err(failed("list routes")(error)),
            }
        }
        Ok(routes)
    }

    /// `ip route get FAR`: where the kernel would send a packet of this namespace. `None`: nowhere.
    ///
    /// # Errors
    /// The kernel's refusal, save that it knows no way.
    pub fn route_to(&mut self, far: IpAddr) -> Result<Option<SeenRoute>, NetError> {
        const RTA_DST: u16 = 1;
        let mut header = [0; 12];
        let bytes = match far {
            IpAddr::V4(v4) => v4.octets().to_vec(),
            IpAddr::V6(v6) => v6.octets().to_vec(),
        };
        let family = if far.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
        header[0] = u8::try_from(family).unwrap_or_default();
        header[1] = u8::try_from(bytes.len() * 8).unwrap_or_default();
        let ask = Raw::new(libc::RTM_GETROUTE, &header).with(RTA_DST, &bytes);
        let nowhere = [Errno::ENETUNREACH, Errno::EHOSTUNREACH, Errno::EACCES, Errno::EINVAL];
        match self.links.get(ask) {
            Ok(message) => Ok(route(&message)),
            Err(error) if nowhere.iter().any(|errno| error.is(*errno)) => Ok(None),
            Err(error) => Err(failed("ask for a route")(error)),
        }
    }

    /// `ip neighbour`
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn neighbours(&mut self) -> Result<Vec<SeenNeighbour>, NetError> {
        self.neighbours_of(0).map_err(failed("list neighbours"))
    }

    /// `bridge fdb`: which Ethernet addresses are behind which port.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn forwarding(&mut self) -> Result<Vec<SeenNeighbour>, NetError> {
        let family = u8::try_from(libc::AF_BRIDGE).unwrap_or_default();
        self.neighbours_of(family).map_err(failed("list what bridges have learned"))
    }

    fn neighbours_of(&mut self, family: u8) -> Result<Vec<SeenNeighbour>, KernelError> {
        let mut header = [0; 12];
        header[0] = family;
        let found = self.links.dump(Raw::new(libc::RTM_GETNEIGH, &header))?;
        Ok(found.iter().filter(|message| message.kind == libc::RTM_NEWNEIGH).map(neighbour).collect())
    }

    /// The names of the namespace's nftables tables of family inet.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn tables(&mut self) -> Result<Vec<String>, NetError> {
        match &mut self.rules {
            Some(netlink) => tables::names(netlink).map_err(failed("list nftables tables")),
            None => Ok(Vec::new()),
        }
    }

    /// `nft list table inet NAME`; `None` if there is none.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn table(&mut self, name: &str) -> Result<Option<SeenTable>, NetError> {
        let Some(netlink) = &mut self.rules else { return Ok(None) };
        tables::read(netlink, name).map_err(failed("list an nftables table"))
    }
}

impl Window {
    /// One rule of a table of any family (`NFPROTO_`), in nft's words; `None` if it is gone or cannot be read.
    pub(crate) fn rule_text(&mut self, family: u8, table: &str, chain: &str, handle: u64) -> Option<String> {
        tables::rule_text(self.rules.as_mut()?, family, (table, chain), handle)
    }
}

fn failed(step: &str) -> impl FnOnce(KernelError) -> NetError {
    let step = step.to_owned();
    move |source| NetError::Kernel { step, source }
}

fn link(message: &Raw) -> SeenLink {
    const HEADER: usize = 16;
    const OPERSTATE_UP: u8 = 6;
    let [mac, name, mtu, peer, master, state, info] = [1, 3, 4, 5, 10, 16, 18];
    let [kind, port_kind, port] = [1, 4, 5];
    const BRPORT_HAIRPIN: u16 = 4;
    let all = message.attributes(HEADER);
    let info = all.nested(info);
    let flags = message.word(8).cast_signed();
    let kind = info.text(kind).unwrap_or_default();
    let is_port = info.text(port_kind).as_deref() == Some("bridge");
    SeenLink {
        index: message.word(4),
        name: all.text(name).unwrap_or_default(),
        mac: all.get(mac).and_then(|bytes| bytes.try_into().ok()).map(Mac).filter(|mac| mac.0 != [0; 6]),
        mtu: all.number(mtu).unwrap_or_default(),
        up: flags & libc::IFF_UP != 0,
        live: all.get(state).is_some_and(|state| state.first() == Some(&OPERSTATE_UP)),
        loopback: flags & libc::IFF_LOOPBACK != 0,
        master: all.number(master),
        peer: all.number(peer).filter(|peer| *peer > 0 && kind == "veth"),
        hairpin: is_port && info.nested(port).get(BRPORT_HAIRPIN) == Some(&[1]),
        kind,
    }
}

fn address(message: &Raw) -> Option<SeenAddress> {
    const HEADER: usize = 8;
    let [ifa_address, ifa_local] = [1, 2];
    let all = message.attributes(HEADER);
    let address = all.address(ifa_local).or_else(|| all.address(ifa_address))?;
    let address = InterfaceAddress { address, prefix: message.byte(1) };
    Some(SeenAddress { index: message.word(4), address, global: message.byte(3) == 0 })
}

fn table(message: &Raw) -> u32 {
    const RTA_TABLE: u16 = 15;
    message.attributes(12).number(RTA_TABLE).unwrap_or_else(|| message.byte(4).into())
}

fn route(message: &Raw) -> Option<SeenRoute> {
    const HEADER: usize = 12;
    const RTN_UNICAST: u8 = 1;
    const RTN_LOCAL: u8 = 2;
    let [destination, link, gateway, source] = [1, 4, 5, 7];
    let all = message.attributes(HEADER);
    let any: IpAddr = match i32::from(message.byte(0)) {
        libc::AF_INET => std::net::Ipv4Addr::UNSPECIFIED.into(),
        libc::AF_INET6 => std::net::Ipv6Addr::UNSPECIFIED.into(),
        _ => return None,
    };
    let to = InterfaceAddress { address: all.address(destination).unwrap_or(any), prefix: message.byte(1) };
    let refused = match message.byte(7) {
        RTN_UNICAST | RTN_LOCAL => None,
        6 => Some("blackhole"),
        7 => Some("unreachable"),
        8 => Some("prohibit"),
        _ => return None,
    };
    Some(SeenRoute {
        to,
        via: all.address(gateway),
        index: all.number(link),
        source: all.address(source),
        local: message.byte(7) == RTN_LOCAL,
        refused: refused.map(str::to_owned),
    })
}

fn neighbour(message: &Raw) -> SeenNeighbour {
    const HEADER: usize = 12;
    let [address, mac] = [1, 2];
    let all = message.attributes(HEADER);
    let state = match message.short(8) {
        0x01 => "INCOMPLETE",
        0x02 => "REACHABLE",
        0x04 => "STALE",
        0x08 => "DELAY",
        0x10 => "PROBE",
        0x20 => "FAILED",
        0x40 => "NOARP",
        0x80 => "PERMANENT",
        _ => "NONE",
    };
    SeenNeighbour {
        index: message.word(4),
        address: all.address(address),
        mac: all.get(mac).and_then(|bytes| bytes.try_into().ok()).map(Mac),
        state: state.to_owned(),
    }
}
