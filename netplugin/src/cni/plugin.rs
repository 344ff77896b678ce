//! The commands.

use std::path::Path;

use serde_json::{Value, json};

use super::config::{PluginConfig, TYPE, Wanted, version_of};
use super::environment::{Command, Environment};
use super::error::{CniError, Code};
use super::result::{Dns, Interface, Ip, Route, Shape};
use super::version::Version;
use super::{address, check};
use crate::config::{Attachment, NetworkConfig, Request};
use crate::error::NetError;
use crate::recipe::Joining;
use crate::{Wishes, bridge, inspect, ipam, netns, state};

/// In front of the ids of what runtimes attach, so that it is told apart from what podbox attaches itself: a pod's id
/// is a UUID, which has no such beginning.
pub(crate) const MARK: &str = "cni-";

/// What the process prints and how it ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// For standard output: a result, an error object, or nothing.
    pub output: String,
    /// Whether it was done. A process that could not do it ends with 1.
    pub done: bool,
}

/// Does what a runtime asks for. `variable` looks an environment variable up; `input` is standard input.
#[must_use]
pub fn answer(variable: &dyn Fn(&str) -> Option<String>, input: &[u8]) -> Answer {
    let print = |value: &Value| format!("{value:#}\n");
    match respond(variable, input) {
        Ok(Value::Null) => Answer { output: String::new(), done: true },
        Ok(value) => Answer { output: print(&value), done: true },
        Err(mut error) => {
            let asked: Option<Version> =
                serde_json::from_slice(input).ok().and_then(|whole: Value| version_of(&whole).ok());
            error.cni_version = asked.unwrap_or(Version::NEWEST).as_str().to_owned();
            Answer { output: print(&json!(error)), done: false }
        }
    }
}

fn respond(variable: &dyn Fn(&str) -> Option<String>, input: &[u8]) -> Result<Value, CniError> {
    let environment = Environment::read(variable)?;
    if environment.command == Command::Version {
        return versions(input);
    }
    let config = PluginConfig::read(decode(input)?, &environment)?;
    let known = match environment.command {
        Command::Check => config.version.has_check(),
        Command::Gc | Command::Status => config.version.has_gc(),
        _ => true,
    };
    if !known {
        let message = format!("cniVersion {} has no {}", config.version, environment.command.as_str());
        return Err(CniError::new(Code::IncompatibleVersion, message));
    }
    match environment.command {
        Command::Add => add(&environment, &config),
        Command::Del => del(&environment, &config).map(|()| Value::Null),
        Command::Check => check::check(&environment, &config).map(|()| Value::Null),
        Command::Status => status(&environment, &config).map(|()| Value::Null),
        Command::Gc => collect(&environment, &config).map(|()| Value::Null),
        Command::Version => Ok(Value::Null),
    }
}

fn decode(input: &[u8]) -> Result<Value, CniError> {
    let whole: Value = serde_json::from_slice(input).map_err(|error| {
        CniError::new(Code::Decode, format!("read the configuration from standard input: {error}"))
    })?;
    if whole.is_object() {
        Ok(whole)
    } else {
        Err(CniError::new(Code::Decode, "the configuration is no object"))
    }
}

/// The answer is in the version that was asked with, where it is known here. Runtimes of old ask without any input.
fn versions(input: &[u8]) -> Result<Value, CniError> {
    let whole = if input.iter().all(u8::is_ascii_whitespace) { Value::Null } else { decode(input)? };
    let asked = match &whole["cniVersion"] {
        Value::Null => Version::NEWEST,
        _ => version_of(&whole).unwrap_or(Version::NEWEST),
    };
    let all: Vec<_> = Version::ALL.iter().map(|version| version.as_str()).collect();
    Ok(json!({"cniVersion": asked.as_str(), "supportedVersions": all}))
}

/// The names under which an attachment is known here.
#[derive(Debug)]
pub(crate) struct Ask<'a> {
    id: String,
    owner: String,
    netns: &'a Path,
    ifname: &'a str,
}

impl<'a> Ask<'a> {
    pub(crate) fn new(environment: &'a Environment) -> Ask<'a> {
        Ask {
            id: format!("{MARK}{}", environment.container),
            owner: environment.owner(),
            netns: &environment.netns,
            ifname: &environment.ifname,
        }
    }

    /// With what the container wants.
    pub(crate) fn request<'b>(&'b self, wanted: &'b Wanted) -> Request<'b> {
        Request {
            id: &self.id,
            owner: &self.owner,
            netns: self.netns,
            ifname: self.ifname,
            ports: &wanted.ports,
            wishes: Wishes {
                addresses: &wanted.addresses,
                mac: wanted.mac,
                bandwidth: wanted.bandwidth,
                ..Wishes::default()
            },
        }
    }
}

fn add(environment: &Environment, config: &PluginConfig) -> Result<Value, CniError> {
    refuse_the_hosts_own(environment)?;
    let ask = Ask::new(environment);
    if inspect::has_interface(&ask.request(&config.wanted))? {
        let message = format!("{} has an interface {} already", environment.container, environment.ifname);
        return Err(CniError::new(Code::InvalidEnvironment, message));
    }
    let given = address::lease(environment, config)?;
    let mut wanted = config.wanted.clone();
    if let Some(given) = &given {
        // What the container asked for, the plugin for addresses has heard too.
        wanted.addresses.clone_from(&given.addresses);
    }
    // What this configuration says else than the network is would change it for all who are on it.
    match crate::attach_by(&config.network, &ask.request(&wanted), Joining::AsItIs) {
        Ok(attached) => {
            // Between two calls nobody listens: what was flushed meanwhile comes back with the next container. If it does
            // not, that is no fault of this one's.
            let _ = crate::restore(&config.network);
            let mut shape = shape(environment, config, &attached.attachment);
            if let Some(given) = given.filter(|_| shape.dns == Dns::default()) {
                shape.dns = given.shape.dns;
            }
            Ok(shape.write(config.version))
        }
        Err(error) => {
            let _ = address::release(environment, config);
            Err(error.into())
        }
    }
}

/// A container that is in the host's network has no use for a cable, and the host none for a container's addresses.
fn refuse_the_hosts_own(environment: &Environment) -> Result<(), CniError> {
    let netns = &environment.netns;
    match netns::is_own(netns) {
        true => Err(CniError::new(
            Code::InvalidEnvironment,
            format!(
                "CNI_NETNS is {}, which is the network namespace of the host itself; it must be the container's own",
                netns.display()
            ),
        )),
        false => Ok(()),
    }
}

/// The bridge, the cable's two ends, and what the container's end has.
fn shape(environment: &Environment, config: &PluginConfig, attachment: &Attachment) -> Shape {
    let on_host = |name: &str, mac: Option<String>| Interface {
        name: name.to_owned(),
        mac: mac.unwrap_or_default(),
        mtu: Some(attachment.mtu),
        sandbox: String::new(),
    };
    let inside = Interface {
        name: attachment.interface.clone(),
        mac: attachment.mac.to_string(),
        mtu: Some(attachment.mtu),
        sandbox: environment.netns.display().to_string(),
    };
    let cable_mac =
        attachment.addresses.first().map(|first| crate::recipe::host_mac(first.address).to_string());
    let interfaces = vec![
        on_host(&attachment.bridge, Some(bridge::mac(&config.network).to_string())),
        on_host(&attachment.host_interface, cable_mac),
        inside,
    ];
    let gateways = || attachment.gateways.iter().copied();
    let ips = attachment.addresses.iter().zip(gateways()).map(|(address, gateway)| Ip {
        address: address.to_string(),
        gateway: Some(gateway),
        interface: Some(interfaces.len() - 1),
    });
    let routes = gateways().map(|gateway| Route {
        dst: if gateway.is_ipv4() { "0.0.0.0/0" } else { "::/0" }.to_owned(),
        gw: Some(gateway),
    });
    Shape { ips: ips.collect(), routes: routes.collect(), dns: config.dns.clone(), interfaces }
}

/// As often as it is asked for, whether or not there is anything: what is not there is taken back.
fn del(environment: &Environment, config: &PluginConfig) -> Result<(), CniError> {
    let ask = Ask::new(environment);
    let mut errors = crate::detach_interface(&config.network, &ask.request(&Wanted::default()));
    let released = address::pass_on(environment, config);
    errors.extend(crate::release_idle(&config.network).err());
    first_of(errors)?;
    released
}

/// Whether ADD could work: nothing of the host is in the network's way, and the plugin for addresses can work too.
fn status(environment: &Environment, config: &PluginConfig) -> Result<(), CniError> {
    crate::check(&config.network).map_err(|error| {
        let error = CniError::from(error);
        CniError { code: Code::NotAvailable as u32, ..error }
    })?;
    address::pass_on(environment, config)
}

/// Takes back all that runtimes have attached and none of them knows of. What podbox attached itself is not theirs.
fn collect(environment: &Environment, config: &PluginConfig) -> Result<(), CniError> {
    let Some(valid) = &config.valid else {
        let message = "GC is not given the attachments that are to stay (cni.dev/valid-attachments)";
        return Err(CniError::new(Code::InvalidConfig, message));
    };
    let mut errors = Vec::new();
    for (id, ifname) in attachments(&config.network)? {
        let container = id.strip_prefix(MARK).unwrap_or_default();
        if valid.iter().any(|known| known.container == container && known.ifname == ifname) {
            continue;
        }
        let netns = Path::new("");
        let wishes = Wishes::default();
        let request = Request { id: &id, owner: "", netns, ifname: &ifname, ports: &[], wishes };
        errors.extend(crate::detach_interface(&config.network, &request));
    }
    let collected = address::pass_on(environment, config);
    errors.extend(crate::release_idle(&config.network).err());
    first_of(errors)?;
    collected
}

/// What runtimes have attached: ids with the mark, and interfaces.
fn attachments(network: &NetworkConfig) -> Result<Vec<(String, String)>, NetError> {
    let mut found = Vec::new();
    for id in state::names(&network.state_dir.join("pods"))?.into_iter().filter(|id| id.starts_with(MARK)) {
        let leases = ipam::leases_of(network, &id)?;
        found.extend(leases.into_iter().map(|lease| (id.clone(), lease.ifname)));
    }
    Ok(found)
}

fn first_of(errors: Vec<NetError>) -> Result<(), CniError> {
    let mut errors = errors.into_iter();
    let Some(first) = errors.next() else { return Ok(()) };
    let mut first = CniError::from(first);
    let others: Vec<_> = errors.map(|error| error.to_string()).collect();
    if !others.is_empty() {
        first.details = [first.details, others.join("; ")].join("; ");
    }
    Err(first)
}

impl Command {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Command::Add => "ADD",
            Command::Del => "DEL",
            Command::Check => "CHECK",
            Command::Status => "STATUS",
            Command::Gc => "GC",
            Command::Version => "VERSION",
        }
    }
}

/// The name under which a copy of podbox, or a link to it, is this plugin.
pub const PROGRAM: &str = TYPE;

#[cfg(test)]
mod tests;
