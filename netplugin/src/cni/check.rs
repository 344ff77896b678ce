//! CHECK: whether a container still has all that it was given.

use super::address;
use super::config::PluginConfig;
use super::environment::Environment;
use super::error::{CniError, Code};
use super::plugin::Ask;
use super::result::{Ip, Shape};
use crate::inspect;
use crate::ipam::{self, Lease};
use crate::state;

/// Looks at everything.
///
/// # Errors
/// [`Code::Incomplete`] with all that is missing; else why it cannot be found out.
pub(crate) fn check(environment: &Environment, config: &PluginConfig) -> Result<(), CniError> {
    let Some(previous) = &config.previous else {
        return Err(CniError::new(Code::InvalidConfig, "CHECK is not given the result of ADD (prevResult)"));
    };
    let previous = Shape::read(previous)
        .map_err(|error| CniError::new(Code::Decode, format!("read prevResult: {error}")))?;
    address::pass_on(environment, config)?;
    let ask = Ask::new(environment);
    let request = ask.request(&config.wanted);
    let mut missing = inspect::missing(&config.network, &request)?;
    let lease: Option<Lease> = state::read(&ipam::file_of(&config.network, request.id, request.ifname))?;
    if let Some(lease) = lease {
        missing.extend(others(&previous, &environment.ifname, &lease));
    }
    if missing.is_empty() {
        return Ok(());
    }
    let message = format!("{} of {} is not as it was made", environment.ifname, environment.container);
    Err(CniError::new(Code::Incomplete, message).with_details(missing.join("; ")))
}

/// Addresses of this interface that the runtime believes in and that are not leased to it. Other plugins of the chain
/// may have added addresses of other interfaces.
fn others(previous: &Shape, ifname: &str, lease: &Lease) -> Vec<String> {
    let is_here = |ip: &&Ip| match ip.interface.and_then(|index| previous.interfaces.get(index)) {
        Some(interface) => interface.name == ifname,
        None => true,
    };
    let known = |ip: &&Ip| ip.bare().is_some_and(|address| lease.addresses.contains(&address));
    let unknown = previous.ips.iter().filter(is_here).filter(|ip| !known(ip));
    unknown.map(|ip| format!("{} is not leased to it", ip.address)).collect()
}
