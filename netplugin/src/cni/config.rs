//! The network's configuration, as a runtime hands it over on standard input.
//!
//! The keys are those of the reference `bridge` plugin where they mean the same. What that plugin can do and this one
//! cannot (VLANs, filters for Ethernet addresses) is refused: a container that is less separated than its
//! configuration says would be worse than none.

use std::net::IpAddr;
use std::path::PathBuf;

use serde::Deserialize;
use serde_json::Value;

use super::environment::{Environment, is_id};
use super::error::{CniError, Code};
use super::result::Dns;
use super::version::Version;
use crate::config::{Firewall, Mac, Masquerade, NetworkConfig, PortMapping, Protocol, Subnet};
use crate::{Bandwidth, Rate};

/// The plugin's own name, as `type` says it and as the program is called.
pub(crate) const TYPE: &str = "podbox-bridge";

/// Where leases lie unless `dataDir` says otherwise: where a podbox that was given no `--run` has its own.
const DATA_DIR: &str = "/run/podbox/ipam";

const BRIDGE: &str = "podbox0";

/// Keys of the reference plugin that ask for something that there is not here.
const NOT_HERE: [&str; 6] =
    ["vlan", "vlanTrunk", "macspoofchk", "portIsolation", "disableContainerInterface", "promiscMode"];

/// Values of keys that are always as they are here.
const ALWAYS: [&str; 3] = ["isGateway", "isDefaultGateway", "hairpinMode"];

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Input {
    name: Option<String>,
    bridge: Option<String>,
    subnets: Option<Vec<String>>,
    mtu: Option<u32>,
    ip_masq: Option<bool>,
    firewall: Option<Firewall>,
    data_dir: Option<PathBuf>,
    ipam: Option<Ipam>,
    dns: Option<Dns>,
    runtime_config: Option<RuntimeConfig>,
    args: Option<Args>,
    #[serde(rename = "cni.dev/valid-attachments")]
    valid_attachments: Option<Vec<Attachment>>,
}

#[derive(Debug, Default, Deserialize)]
struct Ipam {
    #[serde(rename = "type")]
    kind: Option<String>,
}

/// What the runtime says of one container; see [`folded`].
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(rename_all = "lowercase")]
struct RuntimeConfig {
    #[serde(rename = "portmappings")]
    port_mappings: Option<Vec<Port>>,
    ips: Option<Vec<String>>,
    mac: Option<String>,
    dns: Option<RuntimeDns>,
    bandwidth: Option<Limits>,
}

#[derive(Debug, Default, Clone, Deserialize)]
struct RuntimeDns {
    servers: Option<Vec<String>>,
    searches: Option<Vec<String>>,
    options: Option<Vec<String>>,
}

#[derive(Debug, Default, Clone, Deserialize)]
struct Port {
    #[serde(rename = "hostport")]
    host_port: u16,
    #[serde(rename = "containerport")]
    container_port: u16,
    protocol: Option<String>,
    #[serde(rename = "hostip")]
    host_ip: Option<String>,
}

/// Limits of what goes through the cable; 0 is none.
#[derive(Debug, Default, Clone, Copy, Deserialize)]
#[serde(default)]
struct Limits {
    /// Into the container, in bits per second.
    #[serde(rename = "ingressrate")]
    ingress_rate: u64,
    /// In bits.
    #[serde(rename = "ingressburst")]
    ingress_burst: u64,
    /// Out of the container, in bits per second.
    #[serde(rename = "egressrate")]
    egress_rate: u64,
    /// In bits.
    #[serde(rename = "egressburst")]
    egress_burst: u64,
}

impl Limits {
    fn bandwidth(self) -> Bandwidth {
        let rate = |bits_per_second: u64, burst: u64| {
            let burst = (burst > 0).then(|| u32::try_from(burst / 8).unwrap_or(u32::MAX));
            (bits_per_second > 0).then_some(Rate { bits_per_second, burst })
        };
        Bandwidth {
            ingress: rate(self.ingress_rate, self.ingress_burst),
            egress: rate(self.egress_rate, self.egress_burst),
        }
    }
}

#[derive(Debug, Default, Clone, Deserialize)]
struct Args {
    cni: Option<CniArgs>,
}

#[derive(Debug, Default, Clone, Deserialize)]
struct CniArgs {
    ips: Option<Vec<String>>,
    mac: Option<String>,
}

/// One that the runtime knows of.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Attachment {
    /// The container's id.
    #[serde(rename = "containerID")]
    pub(crate) container: String,
    /// The interface in it.
    pub(crate) ifname: String,
}

/// What one container wants beside an interface.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) ports: Vec<PortMapping>,
    /// Addresses of its own choice, at most one of each family.
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) mac: Option<Mac>,
    pub(crate) bandwidth: Bandwidth,
}

/// The configuration, understood.
#[derive(Debug, Clone)]
pub(crate) struct PluginConfig {
    pub(crate) version: Version,
    pub(crate) network: NetworkConfig,
    /// The plugin that has the addresses, if it is not this one.
    pub(crate) delegate: Option<String>,
    pub(crate) dns: Dns,
    pub(crate) wanted: Wanted,
    /// What CHECK and DEL are given.
    pub(crate) previous: Option<Value>,
    pub(crate) valid: Option<Vec<Attachment>>,
    /// As it came, for other plugins.
    pub(crate) whole: Value,
}

impl PluginConfig {
    /// Understands standard input.
    ///
    /// # Errors
    /// [`Code::Decode`], [`Code::IncompatibleVersion`], [`Code::UnsupportedField`] or [`Code::InvalidConfig`].
    pub(crate) fn read(whole: Value, environment: &Environment) -> Result<PluginConfig, CniError> {
        let version = version_of(&whole)?;
        let mut relevant = whole.clone();
        relevant["runtimeConfig"] = folded(&whole["runtimeConfig"]);
        let takes_back = environment.command.takes_back();
        if !takes_back {
            refuse_what_is_not_here(&whole)?;
        } else if let Some(relevant) = relevant.as_object_mut() {
            // What makes a network, or what one container wanted, does not matter to taking it away: nothing must stay
            // because of that.
            for key in ["runtimeConfig", "args", "subnets", "mtu", "dns", "ipMasq", "firewall"] {
                relevant.remove(key);
            }
        }
        let input: Input = serde_json::from_value(relevant)
            .map_err(|error| CniError::new(Code::Decode, format!("read the configuration: {error}")))?;
        let network = if takes_back { network_to_leave(&input, &whole)? } else { network(&input)? };
        let runtime = input.runtime_config.clone().unwrap_or_default();
        let kind = input.ipam.and_then(|ipam| ipam.kind).filter(|kind| !kind.is_empty() && kind != TYPE);
        let wanted = match takes_back {
            false => wanted(&runtime, input.args.as_ref(), environment)?,
            true => Wanted::default(),
        };
        Ok(PluginConfig {
            version,
            network,
            delegate: kind,
            dns: dns(runtime.dns, input.dns),
            wanted,
            previous: whole.get("prevResult").filter(|value| !value.is_null()).cloned(),
            valid: input.valid_attachments,
            whole,
        })
    }
}

/// All keys in small letters. Go's decoder takes them in any, and containerd relies on it: it writes `HostPort` where the
/// convention says `hostPort`.
fn folded(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            map.iter().map(|(key, value)| (key.to_ascii_lowercase(), folded(value))).collect()
        }
        Value::Array(list) => list.iter().map(folded).collect(),
        other => other.clone(),
    }
}

/// The version that a configuration is written in.
///
/// # Errors
/// [`Code::Decode`] if it is no text, [`Code::IncompatibleVersion`] if it is not spoken here.
pub(crate) fn version_of(whole: &Value) -> Result<Version, CniError> {
    let text = match &whole["cniVersion"] {
        Value::Null => "",
        Value::String(text) => text,
        other => {
            return Err(CniError::new(Code::Decode, format!("cniVersion is {other}; it must be a text")));
        }
    };
    Version::of(text).ok_or_else(|| {
        let known: Vec<_> = Version::ALL.iter().map(|version| version.as_str()).collect();
        CniError::new(Code::IncompatibleVersion, format!("cniVersion {text:?} is not spoken here"))
            .with_details(format!("these are: {}", known.join(", ")))
    })
}

fn refuse_what_is_not_here(whole: &Value) -> Result<(), CniError> {
    let is_set =
        |value: &Value| !matches!(value, Value::Null | Value::Bool(false)) && value.as_u64() != Some(0);
    let refuse = |key: &str, why: &str| {
        Err(CniError::new(Code::UnsupportedField, format!("{key}: {} cannot be had{why}", whole[key])))
    };
    if let Some(key) = NOT_HERE.iter().find(|key| is_set(&whole[**key])) {
        return refuse(key, "");
    }
    match ALWAYS.iter().find(|key| whole[**key] == Value::Bool(false)) {
        Some(key) => refuse(key, ": it is always true on a flat network; leave the key out"),
        None => Ok(()),
    }
}

/// The network's name, the directory of its leases and its bridge.
fn place(input: &Input) -> Result<(String, PathBuf, String), CniError> {
    let name = input.name.clone().unwrap_or_default();
    if !is_id(&name) {
        return Err(wrong(format!(
            "name is {name:?}; it must begin with a letter or digit and go on with those, '_', '.' and '-'"
        )));
    }
    let data_dir = input.data_dir.clone().unwrap_or_else(|| DATA_DIR.into());
    if !data_dir.is_absolute() {
        return Err(wrong(format!("dataDir is {:?}; it must begin with /", data_dir.display().to_string())));
    }
    let bridge = input.bridge.clone().filter(|name| !name.is_empty()).unwrap_or_else(|| BRIDGE.to_owned());
    let state_dir = data_dir.join(&name);
    Ok((name, state_dir, bridge))
}

fn network(input: &Input) -> Result<NetworkConfig, CniError> {
    let (name, state_dir, bridge) = place(input)?;
    let (ipv4, ipv6) = subnets(input.subnets.as_deref().unwrap_or_default())?;
    let mtu = input.mtu.filter(|mtu| *mtu != 0);
    // What each family demands of every link (RFC 791, RFC 8200), and the most that a veth takes.
    let least = if ipv6.is_some() { 1280 } else { 68 };
    if let Some(mtu) = mtu.filter(|mtu| !(least..=65535).contains(mtu)) {
        return Err(wrong(format!("mtu is {mtu}; it must be from {least} to 65535")));
    }
    let network = NetworkConfig {
        bridge,
        ipv4,
        ipv6,
        mtu,
        firewall: input.firewall.unwrap_or_default(),
        beside: Vec::new(),
        masquerade: if input.ip_masq == Some(false) { Masquerade::Never } else { Masquerade::Egress },
        peers: crate::peers::Peers::default(),
        state_dir,
        name,
    };
    network.validate()?;
    Ok(network)
}

/// The network as it is written down, for whoever only takes something back. One of which nothing is written down has no
/// bridge, and so no subnets that would have to be right.
fn network_to_leave(input: &Input, whole: &Value) -> Result<NetworkConfig, CniError> {
    let (name, state_dir, bridge) = place(input)?;
    let texts: Vec<String> = serde_json::from_value(whole["subnets"].clone()).unwrap_or_default();
    let (ipv4, ipv6) = subnets(&texts).unwrap_or_default();
    let unknown = NetworkConfig {
        bridge,
        ipv4,
        ipv6,
        mtu: None,
        firewall: Firewall::default(),
        beside: Vec::new(),
        masquerade: Masquerade::default(),
        peers: crate::peers::Peers::default(),
        state_dir,
        name,
    };
    // One that cannot be read is not believed, and not needed for giving leases back.
    let record = crate::bridge::recorded(&unknown).ok().flatten();
    Ok(match record {
        Some(record) => {
            NetworkConfig { name: unknown.name, state_dir: unknown.state_dir, ..record.made_for().clone() }
        }
        None => unknown,
    })
}

fn subnets(texts: &[String]) -> Result<(Option<Subnet>, Option<Subnet>), CniError> {
    let (mut ipv4, mut ipv6) = (None, None);
    for text in texts {
        let subnet: Subnet = text.parse().map_err(|error| wrong(format!("subnets: {error}")))?;
        let place = if subnet.network().is_ipv4() { &mut ipv4 } else { &mut ipv6 };
        if place.replace(subnet).is_some() {
            return Err(wrong(format!("subnets: {text} is the second one of its family")));
        }
    }
    if texts.is_empty() {
        return Err(wrong(
            "subnets is missing; write for example \"subnets\": [\"10.244.0.0/16\", \"fd70:6f64:626f:7800::/64\"]",
        ));
    }
    Ok((ipv4, ipv6))
}

fn ports(runtime: &RuntimeConfig) -> Result<Vec<PortMapping>, CniError> {
    let mapping = |port: &Port| {
        let wrong = |what: &str, text: &str| {
            wrong(format!("runtimeConfig.portMappings: {what} {text:?} of port {} is none", port.host_port))
        };
        let protocol = port.protocol.as_deref().unwrap_or_default();
        Ok(PortMapping {
            host_ip: match port.host_ip.as_deref().unwrap_or_default() {
                "" => None,
                text => Some(text.parse().map_err(|_| wrong("hostIP", text))?),
            },
            host_port: port.host_port,
            container_port: port.container_port,
            protocol: match protocol.to_ascii_lowercase().as_str() {
                "" | "tcp" => Protocol::Tcp,
                "udp" => Protocol::Udp,
                "sctp" => Protocol::Sctp,
                _ => return Err(wrong("protocol", protocol)),
            },
        })
    };
    runtime.port_mappings.iter().flatten().map(mapping).collect()
}

fn wanted(
    runtime: &RuntimeConfig,
    args: Option<&Args>,
    environment: &Environment,
) -> Result<Wanted, CniError> {
    Ok(Wanted {
        ports: ports(runtime)?,
        addresses: addresses(runtime, args, environment)?,
        mac: mac(runtime, args, environment)?,
        bandwidth: runtime.bandwidth.unwrap_or_default().bandwidth(),
    })
}

/// By the runtime's capability, else by the older ways of saying the same.
fn addresses(
    runtime: &RuntimeConfig,
    args: Option<&Args>,
    environment: &Environment,
) -> Result<Vec<IpAddr>, CniError> {
    let by_args = || args?.cni.as_ref()?.ips.clone();
    let by_environment = || environment.arg("IP").map(|text| text.split(',').map(str::to_owned).collect());
    let texts = runtime.ips.clone().or_else(by_args).or_else(by_environment).unwrap_or_default();
    let address = |text: &String| {
        let bare = text.split('/').next().unwrap_or_default();
        bare.parse().map_err(|_| wrong(format!("ips: {text:?} is no address")))
    };
    texts.iter().map(address).collect()
}

fn mac(
    runtime: &RuntimeConfig,
    args: Option<&Args>,
    environment: &Environment,
) -> Result<Option<Mac>, CniError> {
    let by_args = || args?.cni.as_ref()?.mac.clone();
    let by_environment = || environment.arg("MAC").map(str::to_owned);
    let text = runtime.mac.clone().or_else(by_args).or_else(by_environment).filter(|text| !text.is_empty());
    let mac = |text: String| {
        let mac = Mac::try_from(text.clone());
        mac.map_err(|problem| wrong(format!("mac: {text:?} is no Ethernet address: {problem}")))
    };
    text.map(mac).transpose()
}

/// What the runtime says for this container beats what the network says for all, list by list.
fn dns(runtime: Option<RuntimeDns>, network: Option<Dns>) -> Dns {
    let mut dns = network.unwrap_or_default();
    let runtime = runtime.unwrap_or_default();
    let lists = [
        (runtime.servers, &mut dns.nameservers),
        (runtime.searches, &mut dns.search),
        (runtime.options, &mut dns.options),
    ];
    for (list, place) in lists {
        if let Some(list) = list.filter(|list| !list.is_empty()) {
            *place = list;
        }
    }
    dns
}

fn wrong(message: impl Into<String>) -> CniError {
    CniError::new(Code::InvalidConfig, message)
}
