//! Bringing back what somebody has taken away: whoever says `nft flush ruleset` means his own rules, and takes all.

use netlink_sys::protocols::NETLINK_ROUTE;

use super::{is_closed, netfilter, open};
use crate::bridge::{self, Bridge};
use crate::config::NetworkConfig;
use crate::error::NetError;
use crate::netlink::Netlink;
use crate::state::{self, Sharing};
use crate::{nft, ports};

/// What of a network may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Lost {
    table: bool,
    passages: bool,
}

/// Makes the network's table of address translation, with all held ports, and what others' chains let pass again if
/// somebody has removed them. It is looked first, without any lock, which is quick; only if something is missing the lock is
/// taken and it is looked once more, so that however many come together one does the work. Returns whether there was
/// anything to do. A network without a bridge has nothing to miss. The bridge's own record says what it was made for,
/// whatever the caller's configuration.
///
/// # Errors
/// What the kernel refuses.
pub fn restore(config: &NetworkConfig) -> Result<bool, NetError> {
    let nothing = Lost { table: false, passages: false };
    if lost(config)?.is_none_or(|(_, lost)| lost == nothing) {
        return Ok(false);
    }
    let Some(lock) = state::lock_if_present(&config.state_dir, Sharing::Exclusive)? else { return Ok(false) };
    let Some((bridge, lost)) = lost(config)? else {
        // Removed meanwhile; the lock's own file may have come back by our waiting for it.
        drop(lock);
        return crate::release_idle(config).map(|_| false);
    };
    let made_for = bridge.made_for();
    if lost.table {
        nft::make(made_for, &ports::all(config)?)?;
    }
    if lost.passages {
        open(made_for)?;
    }
    Ok(lost != nothing)
}

/// What is missing now; `None` without a complete bridge.
fn lost(config: &NetworkConfig) -> Result<Option<(Bridge, Lost)>, NetError> {
    let failed = |source| NetError::Kernel { step: "look for the network's rules".to_owned(), source };
    if !bridge::may_exist(config) {
        return Ok(None);
    }
    let mut route = Netlink::open(NETLINK_ROUTE).map_err(|error| failed(error.into()))?;
    let Some(bridge) = bridge::complete(&mut route, config)? else { return Ok(None) };
    let Some(mut netlink) = netfilter().map_err(failed)? else { return Ok(None) };
    let made_for = bridge.made_for();
    let table = bridge.translates && !nft::is_whole(&mut netlink, made_for).map_err(failed)?;
    let passages = is_closed(&mut netlink, made_for).map_err(failed)?;
    Ok(Some((bridge, Lost { table, passages })))
}
