//! Addresses that another plugin gives: `ipam.type` names it, and it is called as we were, by sections 4 and 2 of the
//! specification ("Delegated plugins").

use std::net::IpAddr;
use std::time::Duration;

use super::call::{CallError, Caller};
use super::config::PluginConfig;
use super::environment::{Command, Environment};
use super::error::{CniError, Code};
use super::result::Shape;

/// How long a plugin for addresses may take: DHCP asks over a network.
const LIMIT: Duration = Duration::from_secs(60);

/// What another plugin has given: its result, and the addresses in it.
#[derive(Debug, Clone)]
pub(crate) struct Given {
    pub(crate) shape: Shape,
    pub(crate) addresses: Vec<IpAddr>,
}

/// Has addresses given; `None` if they are given here.
///
/// # Errors
/// What the plugin says; [`Code::InvalidConfig`] if its addresses or routes are not of this network. What it has given
/// is given back then.
pub(crate) fn lease(environment: &Environment, config: &PluginConfig) -> Result<Option<Given>, CniError> {
    let Some(name) = &config.delegate else { return Ok(None) };
    let answer = call(name, environment, config)?;
    let given = Shape::read(&answer)
        .map_err(|error| CniError::new(Code::Decode, format!("read the result of {name}: {error}")))
        .and_then(|shape| understand(name, shape, config));
    if given.is_err() {
        // The first error is the one to tell.
        let _ = release(environment, config);
    }
    given.map(Some)
}

/// Has them given back.
///
/// # Errors
/// What the plugin says.
pub(crate) fn release(environment: &Environment, config: &PluginConfig) -> Result<(), CniError> {
    let environment = Environment { command: Command::Del, ..environment.clone() };
    pass_on(&environment, config)
}

/// Lets the plugin for addresses, if there is one, do its part of the command.
///
/// # Errors
/// What the plugin says.
pub(crate) fn pass_on(environment: &Environment, config: &PluginConfig) -> Result<(), CniError> {
    match &config.delegate {
        Some(name) => call(name, environment, config).map(|_| ()),
        None => Ok(()),
    }
}

fn understand(name: &str, shape: Shape, config: &PluginConfig) -> Result<Given, CniError> {
    let wrong = |problem: String| CniError::new(Code::InvalidConfig, format!("{name} gives {problem}"));
    let mut addresses = Vec::new();
    for ip in &shape.ips {
        let address = ip.bare().ok_or_else(|| wrong(format!("{:?}, which is no address", ip.address)))?;
        let Some(subnet) = config.network.subnets().find(|subnet| subnet.contains(address)) else {
            return Err(wrong(format!("{address}, which is in none of the subnets")));
        };
        if let Some(gateway) = ip.gateway.filter(|gateway| *gateway != subnet.gateway()) {
            return Err(wrong(format!(
                "the gateway {gateway}; the bridge's address is {}",
                subnet.gateway()
            )));
        }
        addresses.push(address);
    }
    if addresses.is_empty() {
        return Err(wrong("no address".to_owned()));
    }
    let ours = |gateway: IpAddr| config.network.subnets().any(|subnet| subnet.gateway() == gateway);
    let foreign = shape.routes.iter().find(|route| route.gw.is_some_and(|gateway| !ours(gateway)));
    if let Some(route) = foreign {
        return Err(wrong(format!("a route to {} by somebody else than the bridge", route.dst)));
    }
    Ok(Given { shape, addresses })
}

fn call(name: &str, environment: &Environment, config: &PluginConfig) -> Result<serde_json::Value, CniError> {
    let caller = Caller { directories: environment.path.clone(), limit: LIMIT };
    let args: Vec<_> = environment.args.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let path = std::env::join_paths(&environment.path).unwrap_or_default();
    let parameters = [
        ("CNI_COMMAND", environment.command.as_str().to_owned()),
        ("CNI_CONTAINERID", environment.container.clone()),
        ("CNI_NETNS", environment.netns.display().to_string()),
        ("CNI_IFNAME", environment.ifname.clone()),
        ("CNI_ARGS", args.join(";")),
        ("CNI_PATH", path.to_string_lossy().into_owned()),
    ];
    caller.call(name, &parameters, &config.whole).map_err(|error| match error {
        CallError::Refused { name, error } => {
            CniError { msg: format!("{name}: {}", error.msg), cni_version: String::new(), ..*error }
        }
        CallError::Missing { .. } => CniError::new(Code::InvalidConfig, error.to_string()),
        other => CniError::new(Code::Delegate, other.to_string()),
    })
}
