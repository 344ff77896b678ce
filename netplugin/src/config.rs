//! What a network is, what a pod asks of it, and what it gets: the values at this crate's border.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::NetError;
use crate::peers::Peers;
use crate::wishes::Wishes;

/// A range of addresses such as `10.244.0.0/16`. Its first address is the bridge's, the pods' gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Subnet {
    network: IpAddr,
    prefix: u8,
}

/// Why a text is no [`Subnet`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("read {text:?} as a subnet: {problem}")]
pub struct SubnetError {
    text: String,
    problem: &'static str,
}

impl Subnet {
    /// The subnet of `prefix` bits that `address` lies in.
    ///
    /// # Errors
    /// When the family has fewer than `prefix` bits.
    pub fn new(address: IpAddr, prefix: u8) -> Result<Subnet, SubnetError> {
        if prefix > bits(address) {
            let text = format!("{address}/{prefix}");
            return Err(SubnetError { text, problem: "the prefix is longer than the address" });
        }
        Ok(Subnet { network: mask(address, prefix), prefix })
    }

    /// The first address of all, which no interface may have.
    #[must_use]
    pub fn network(&self) -> IpAddr {
        self.network
    }

    /// How many bits all its addresses share.
    #[must_use]
    pub fn prefix(&self) -> u8 {
        self.prefix
    }

    /// The bridge's own address: the first that an interface may have.
    #[must_use]
    pub fn gateway(&self) -> IpAddr {
        self.host(1)
    }

    /// The address whose host part is `number`.
    #[must_use]
    pub fn host(&self, number: u32) -> IpAddr {
        match self.network {
            IpAddr::V4(v4) => Ipv4Addr::from(u32::from(v4) | number).into(),
            IpAddr::V6(v6) => Ipv6Addr::from(u128::from(v6) | u128::from(number)).into(),
        }
    }

    /// Whether `address` lies in this subnet.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.network.is_ipv4() && mask(address, self.prefix) == self.network
    }

    /// Whether the two have an address in common.
    #[must_use]
    pub fn overlaps(&self, other: &Subnet) -> bool {
        let shorter = self.prefix.min(other.prefix);
        self.network.is_ipv4() == other.network.is_ipv4()
            && mask(self.network, shorter) == mask(other.network, shorter)
    }

    /// Whether somebody may have `address` here: it lies in the subnet, and is neither its first nor the one for broadcasts.
    #[must_use]
    pub fn may_be_had(&self, address: IpAddr) -> bool {
        self.contains(address) && address != self.network && !self.is_broadcast(address)
    }

    /// Whether packets to `address` go to everybody.
    pub(crate) fn is_broadcast(&self, address: IpAddr) -> bool {
        match (address, self.network) {
            (IpAddr::V4(address), IpAddr::V4(network)) => {
                let host_bits = u32::MAX.checked_shr(u32::from(self.prefix)).unwrap_or(0);
                u32::from(address) == u32::from(network) | host_bits
            }
            _ => false,
        }
    }

    /// The host part of an address of this subnet, unless it is beyond all that are given by turns.
    pub(crate) fn number_of(&self, address: IpAddr) -> Option<u32> {
        match (address, self.network) {
            (IpAddr::V4(a), IpAddr::V4(n)) => u32::from(a).checked_sub(u32::from(n)),
            (IpAddr::V6(a), IpAddr::V6(n)) => u32::try_from(u128::from(a).checked_sub(u128::from(n))?).ok(),
            _ => None,
        }
    }

    /// The highest host part that a pod may have. IPv4 keeps its last address for broadcasts. Very wide
    /// subnets are used up to a million pods only, which bounds every search.
    #[must_use]
    pub fn last_host(&self) -> u32 {
        let host_bits = u32::from(bits(self.network) - self.prefix).min(20);
        let highest = (1u32 << host_bits) - 1;
        if self.network.is_ipv4() { highest.saturating_sub(1) } else { highest }
    }
}

fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn mask(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let keep = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            Ipv4Addr::from(u32::from(v4) & keep).into()
        }
        IpAddr::V6(v6) => {
            let keep = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            Ipv6Addr::from(u128::from(v6) & keep).into()
        }
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

impl FromStr for Subnet {
    type Err = SubnetError;

    fn from_str(text: &str) -> Result<Subnet, SubnetError> {
        let wrong = |problem| SubnetError { text: text.to_owned(), problem };
        let (address, prefix) = text.split_once('/').ok_or_else(|| wrong("there is no '/'"))?;
        let address = address.parse().map_err(|_| wrong("the address is not one"))?;
        let prefix = prefix.parse().map_err(|_| wrong("the prefix length is not a number"))?;
        let subnet = Subnet::new(address, prefix).map_err(|e| wrong(e.problem))?;
        if subnet.network != address {
            return Err(wrong("bits are set beyond the prefix"));
        }
        Ok(subnet)
    }
}

impl From<Subnet> for String {
    fn from(subnet: Subnet) -> String {
        subnet.to_string()
    }
}

impl TryFrom<String> for Subnet {
    type Error = SubnetError;

    fn try_from(text: String) -> Result<Subnet, SubnetError> {
        text.parse()
    }
}

/// What happens to the source address of a packet that leaves the flat space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Masquerade {
    /// It becomes the host's, so that answers find their way back.
    #[default]
    Egress,
    /// It stays the pod's: the networks around know the way to the pods.
    Never,
}

/// What is done about chains of others that might stop the network's packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Firewall {
    /// They are told to let pass what comes from the bridge and what goes to it.
    #[default]
    Open,
    /// Nothing: they are the host's business.
    Leave,
}

/// A flat network: one bridge, one address space, every pod with addresses of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkConfig {
    /// Its name, for error texts.
    pub name: String,
    /// The bridge's interface name: at most 15 bytes. It names the nftables table too, so that several
    /// networks of one host never meet.
    pub bridge: String,
    /// The pods' IPv4 addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv4: Option<Subnet>,
    /// The pods' IPv6 addresses. A host without IPv6 leaves them out and says so in
    /// [`Attachment::notes`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv6: Option<Subnet>,
    /// The subnets of the host's other networks: it leads there itself, so a packet keeps its source. Not what lies
    /// beyond them on other hosts, who know no way back to this network's pods.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub beside: Vec<Subnet>,
    /// In bytes; if absent, that of the interface that the host's default route leads through when the bridge is
    /// made (the least, where there are several), and 1500 without any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// The other hosts of the flat space.
    #[serde(default)]
    pub peers: Peers,
    /// What leaves the flat space with whose address.
    #[serde(default)]
    pub masquerade: Masquerade,
    /// What becomes of others' rules that are in the way.
    #[serde(default)]
    pub firewall: Firewall,
    /// Where leases and held ports are kept, one file each; on a file system that does not survive a boot.
    pub state_dir: PathBuf,
}

impl NetworkConfig {
    /// Its subnets, IPv4 first.
    pub fn subnets(&self) -> impl Iterator<Item = Subnet> + use<> {
        self.ipv4.into_iter().chain(self.ipv6)
    }

    /// The nftables table (family inet) that holds this network's rules.
    #[must_use]
    pub fn table(&self) -> String {
        if self.bridge.starts_with("podbox") {
            self.bridge.clone()
        } else {
            format!("podbox-{}", self.bridge)
        }
    }

    /// Whether such a network can be.
    ///
    /// # Errors
    /// What is wrong with it, and what would be right.
    pub fn validate(&self) -> Result<(), NetError> {
        let wrong =
            |problem: &str| Err(NetError::Config { network: self.name.clone(), problem: problem.to_owned() });
        if !is_interface_name(&self.bridge) {
            return wrong(
                "the bridge's name is not an interface name: 15 bytes at most, without '/', ':' and spaces",
            );
        }
        // RFC 791; RFC 8200, section 5.
        let least = if self.ipv6.is_some() { 1280 } else { 68 };
        if let Some(mtu) = self.mtu.filter(|mtu| !(least..=65535).contains(mtu)) {
            return wrong(&format!(
                "mtu is {mtu}; it must be {least} to 65535, or not be set: then it is that of the uplink"
            ));
        }
        match (self.ipv4, self.ipv6) {
            (None, None) => wrong("it has no subnet"),
            (Some(v4), _) if v4.network.is_ipv6() => wrong("ipv4 holds an IPv6 subnet"),
            (_, Some(v6)) if v6.network.is_ipv4() => wrong("ipv6 holds an IPv4 subnet"),
            (Some(v4), _) if v4.prefix > 30 => wrong("the IPv4 subnet has no room for a pod"),
            (_, Some(v6)) if v6.prefix > 126 => wrong("the IPv6 subnet has no room for a pod"),
            _ => self.check_peers().or_else(|problem| wrong(&problem.text)),
        }
    }
}

/// The kernel's own rule (`dev_valid_name`).
pub(crate) fn is_interface_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 15
        && name != "."
        && name != ".."
        && !name.bytes().any(|b| b == b'/' || b == b':' || b.is_ascii_whitespace() || b == 0)
}

/// A transport protocol that ports can be mapped for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Protocol {
    /// The default, as in a Pod's `ports`.
    #[default]
    Tcp,
    /// Its connection-tracking entries are flushed when a mapping changes.
    Udp,
    /// Needs the kernel's SCTP connection tracking.
    Sctp,
}

impl Protocol {
    pub(crate) fn number(self) -> u8 {
        match self {
            Protocol::Tcp => 6,
            Protocol::Udp => 17,
            Protocol::Sctp => 132,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Sctp => "sctp",
        })
    }
}

/// One port of the host that leads to a port of the pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PortMapping {
    /// Only this address of the host; all of them, of both families, if absent. `0.0.0.0` and `::` mean
    /// all of one family.
    #[serde(default, rename = "hostIP", skip_serializing_if = "Option::is_none")]
    pub host_ip: Option<IpAddr>,
    /// The port on the host.
    pub host_port: u16,
    /// The port in the pod.
    pub container_port: u16,
    /// TCP if absent.
    #[serde(default)]
    pub protocol: Protocol,
}

/// One pod's wish to be on a network.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The pod's unique name, a file name: its UID.
    pub id: &'a str,
    /// Who that is to a human, for error texts: `default/web`.
    pub owner: &'a str,
    /// A file that is the pod's network namespace.
    pub netns: &'a Path,
    /// The interface's name inside the pod: `eth0`.
    pub ifname: &'a str,
    /// The host ports it wants.
    pub ports: &'a [PortMapping],
    /// What else it is particular about.
    pub wishes: Wishes<'a>,
}

/// An interface's address with the length of its prefix: `10.244.0.5/16`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct InterfaceAddress {
    /// The address alone.
    pub address: IpAddr,
    /// How many leading bits its neighbours share.
    pub prefix: u8,
}

impl fmt::Display for InterfaceAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl From<InterfaceAddress> for String {
    fn from(address: InterfaceAddress) -> String {
        address.to_string()
    }
}

impl TryFrom<String> for InterfaceAddress {
    type Error = SubnetError;

    fn try_from(text: String) -> Result<InterfaceAddress, SubnetError> {
        let wrong = |problem| SubnetError { text: text.clone(), problem };
        let (address, prefix) = text.split_once('/').ok_or_else(|| wrong("there is no '/'"))?;
        let address = address.parse().map_err(|_| wrong("the address is not one"))?;
        let prefix = prefix.parse().map_err(|_| wrong("the prefix length is not a number"))?;
        Ok(InterfaceAddress { address, prefix })
    }
}

/// An Ethernet address, written `0a:58:0a:f4:00:05`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Mac(pub [u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> String {
        mac.to_string()
    }
}

impl TryFrom<String> for Mac {
    type Error = String;

    fn try_from(text: String) -> Result<Mac, String> {
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let part = parts.next().ok_or("an Ethernet address has six parts")?;
            let is_hex = matches!(part.len(), 1 | 2) && part.bytes().all(|b| b.is_ascii_hexdigit());
            *byte = u8::from_str_radix(part, 16)
                .ok()
                .filter(|_| is_hex)
                .ok_or_else(|| format!("{part:?} is no byte in hexadecimal digits"))?;
        }
        if parts.next().is_some() {
            Err("an Ethernet address has six parts".to_owned())
        } else {
            Ok(Mac(bytes))
        }
    }
}

impl FromStr for Mac {
    type Err = String;

    fn from_str(text: &str) -> Result<Mac, String> {
        Mac::try_from(text.to_owned())
    }
}

impl Mac {
    /// Whether an interface can have it: the kernel's rule (`is_valid_ether_addr`).
    #[must_use]
    pub fn is_unicast(&self) -> bool {
        self.0[0] & 1 == 0 && self.0 != [0; 6]
    }

    /// Whether it is one that [`Mac::of`] makes for a bridge.
    pub(crate) fn is_bridges(self) -> bool {
        matches!(self.0, [0x0a, 0x58 | 0x59, ..])
    }

    /// A locally administered address made from an IP address, so that the same pod address always has
    /// the same Ethernet address and nobody's ARP cache is ever wrong. `kind` keeps the ends of a veth apart.
    pub(crate) fn of(kind: u8, address: IpAddr) -> Mac {
        match address {
            IpAddr::V4(v4) => {
                let [a, b, c, d] = v4.octets();
                Mac([kind, 0x58, a, b, c, d])
            }
            IpAddr::V6(v6) => {
                let octets = v6.octets();
                Mac([kind, 0x59, octets[12], octets[13], octets[14], octets[15]])
            }
        }
    }
}

/// What a pod got: the same facts as a CNI result, in one flat value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attachment {
    /// [`NetworkConfig::name`].
    pub network: String,
    /// The interface in the pod.
    pub interface: String,
    /// The interface's Ethernet address.
    pub mac: Mac,
    /// The interface's largest packet, in bytes.
    pub mtu: u32,
    /// IPv4 first.
    pub addresses: Vec<InterfaceAddress>,
    /// The default routes' next hops, in the order of the addresses; none where the way out is another interface's.
    pub gateways: Vec<IpAddr>,
    /// The bridge that the pod is plugged into.
    pub bridge: String,
    /// The other end of the pod's cable, on the host.
    pub host_interface: String,
    /// The host ports that lead here.
    pub ports: Vec<PortMapping>,
    /// What this host could not give, each a sentence to show: for example that it has no IPv6.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// A finished [`crate::attach`].
#[derive(Debug, Clone)]
pub struct Attached {
    /// What the pod has now.
    pub attachment: Attachment,
    /// What was done, in order.
    pub trace: Vec<Timed>,
}

/// A step that was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timed {
    /// What it is for, in the imperative: "give the pod its addresses".
    pub name: String,
    /// How a reader would type it; several lines where it takes several commands.
    pub command: String,
    /// How long it took, in microseconds.
    pub micros: u64,
}

/// A step that would be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Described {
    /// See [`Timed::name`].
    pub name: String,
    /// See [`Timed::command`].
    pub command: String,
}
