//! Whose a bridge is.
//!
//! Two state directories (two podboxes, or a CNI configuration with another `dataDir`) may name one bridge. Neither knows of
//! the other's leases: it would give out addresses that the other's pods have, and take the bridge away under them. So a
//! bridge carries the directory in which its leases lie: its alias (`ip link show`) is `podbox DIRECTORY`.
//!
//! The kernel takes an alias only for a link that is there already. A bridge without one is therefore one that is being
//! made, that an older podbox made, or that somebody was killed over; it belongs to whoever has written down that it
//! makes it.
//!
//! What somebody has left behind without pods is removed and made anew, never adopted: of several that want it only one can
//! delete the link of that number and make the next one, and the others then see whose that is.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use netlink_sys::protocols::NETLINK_ROUTE;
use nix::errno::Errno;

use crate::bridge::{self, Bridge};
use crate::config::NetworkConfig;
use crate::error::NetError;
use crate::hash::fnv1a;
use crate::host::{self, Facts};
use crate::ipam;
use crate::links::{self, Link};
use crate::netlink::{KernelError, Netlink};
use crate::state;

/// How the alias of a bridge begins that some podbox has made.
const MARK: &str = "podbox ";

/// The longest alias, in bytes (`IFALIASZ` of linux/if.h, less the zero).
const LONGEST: usize = 255;

/// How long whoever has just made a bridge may take to mark it.
const PATIENCE: Duration = Duration::from_millis(100);

/// How many pods an error names.
const NAMED: usize = 3;

/// Whose a bridge is, seen from one state directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Owner {
    /// This directory's.
    Us,
    /// It was another's, who has no pod on it; what that one wrote down of it, if it is there to be read.
    Nobody(Option<Box<NetworkConfig>>),
    /// Somebody else's; whose, as the rest of a sentence that begins with the bridge.
    Another(String),
}

/// The alias of a directory's bridge. One that has no room for the path ends with a number that follows from it (FNV-1a, 64
/// bits) and says so by three dots.
pub(crate) fn mark(state_dir: &Path) -> String {
    // One directory has one name, whichever way it is written: /var/run is a link to /run.
    let path = fs::canonicalize(state_dir).unwrap_or_else(|_| state_dir.to_owned());
    match path.to_str().filter(|text| MARK.len() + text.len() <= LONGEST) {
        Some(text) => format!("{MARK}{text}"),
        None => format!("{MARK}...{:016x}", fnv1a([path.as_os_str().as_bytes()])),
    }
}

/// The directory that a mark names; `None` if nobody has marked the link.
fn marked(link: &Facts) -> Option<PathBuf> {
    link.alias.as_deref()?.strip_prefix(MARK).map(PathBuf::from)
}

/// Finds out whose the bridge is.
///
/// # Errors
/// When it cannot be found out.
pub(crate) fn of(netlink: &mut Netlink, config: &NetworkConfig, link: &Facts) -> Result<Owner, NetError> {
    if link.alias.as_deref() == Some(&mark(&config.state_dir)) {
        return Ok(Owner::Us);
    }
    match marked(link) {
        Some(directory) => of_another(netlink, &directory, link),
        None if is_written_down(config, link) => Ok(Owner::Us),
        None => of_unmarked(netlink, config, link),
    }
}

/// Whether this directory has written down that it makes a bridge, or made this one.
fn is_written_down(config: &NetworkConfig, link: &Facts) -> bool {
    match bridge::recorded(config) {
        Ok(Some(bridge)) => bridge.index == 0 || bridge.index == link.index,
        Ok(None) => false,
        // A record that cannot be read may mean anything.
        Err(_) => true,
    }
}

fn of_another(netlink: &mut Netlink, directory: &Path, link: &Facts) -> Result<Owner, NetError> {
    let record: Option<Bridge> = state::read(&directory.join("bridge")).unwrap_or(None);
    let made = record.map(|bridge| bridge.made_for().clone()).filter(|made| made.bridge == link.name);
    let record = made.map(|made| NetworkConfig { state_dir: directory.to_owned(), ..made });
    let holders = holders(directory, None)?;
    let place = directory.display();
    if !holders.is_empty() {
        return Ok(Owner::Another(format!(
            "it belongs to the network whose leases lie in {place}, which {} on; use that directory, or another bridge and other subnets",
            named(&holders)
        )));
    }
    // Without a record the directory may have been removed, or be one that is not to be seen from here.
    if record.is_none() && has_cables(netlink, link)? {
        return Ok(Owner::Another(format!(
            "it belongs to the network whose leases lay in {place}, where nothing is to be found of it, and there are cables in it; if nobody needs them, `ip link delete {}`",
            link.name
        )));
    }
    Ok(Owner::Nobody(record.map(Box::new)))
}

/// Waits a moment, because it may be about to be marked.
fn of_unmarked(netlink: &mut Netlink, config: &NetworkConfig, link: &Facts) -> Result<Owner, NetError> {
    let expected = bridge::mac(config);
    if link.mac != Some(expected) {
        let its = link.mac.map_or_else(|| "none".to_owned(), |mac| mac.to_string());
        return Ok(Owner::Another(format!(
            "there is a bridge of that name, made by someone else (its Ethernet address is {its}, not {expected})"
        )));
    }
    if let Some(problem) = bridge::foreign_address(netlink, config, link)? {
        return Ok(Owner::Another(problem));
    }
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        std::thread::sleep(PATIENCE / 20);
        match host::find_link(netlink, Link::Index(link.index)).map_err(failed)? {
            Some(now) if marked(&now).is_some() => return of(netlink, config, &now),
            Some(_) => {}
            None => return Ok(Owner::Nobody(None)),
        }
    }
    match has_cables(netlink, link)? {
        true => Ok(Owner::Another(format!(
            "there is a bridge of that name with cables in it, and nothing tells whose it is (an older podbox's with another run directory?); if nobody needs them, `ip link delete {}`",
            link.name
        ))),
        false => Ok(Owner::Nobody(None)),
    }
}

fn has_cables(netlink: &mut Netlink, link: &Facts) -> Result<bool, NetError> {
    let cables = host::veths(netlink).map_err(failed)?;
    Ok(cables.iter().any(|cable| cable.master == Some(link.index)))
}

/// Who has addresses on the network of a state directory, apart from the pod `but`, sorted.
pub(crate) fn holders(directory: &Path, but: Option<&str>) -> Result<Vec<String>, NetError> {
    let mut holders = Vec::new();
    for id in state::names(&directory.join("pods"))?.iter().filter(|id| Some(id.as_str()) != but) {
        let leases = ipam::leases_in(directory, id)?;
        holders
            .extend(leases.into_iter().filter(|lease| !lease.addresses.is_empty()).map(|lease| lease.owner));
    }
    holders.sort();
    holders.dedup();
    Ok(holders)
}

/// `a is`, `a and b are`, `a, b, c and 4 others are`
pub(crate) fn named(holders: &[String]) -> String {
    match holders {
        [one] => format!("{one} is"),
        [first @ .., last] if holders.len() <= NAMED => format!("{} and {last} are", first.join(", ")),
        _ => {
            let (first, others) = holders.split_at(NAMED.min(holders.len()));
            format!("{} and {} others are", first.join(", "), others.len())
        }
    }
}

/// Whether there is a bridge of the network's name that is another directory's: by what it says, or because nothing is
/// written down of it here.
///
/// # Errors
/// When it cannot be found out.
pub fn is_anothers(config: &NetworkConfig) -> Result<bool, NetError> {
    let mut netlink = Netlink::open(NETLINK_ROUTE).map_err(|error| failed(error.into()))?;
    let found = host::find_link(&mut netlink, Link::Name(&config.bridge)).map_err(failed)?;
    let Some(link) = found.filter(|link| link.is_bridge) else { return Ok(false) };
    Ok(match marked(&link) {
        Some(_) => link.alias.as_deref() != Some(&mark(&config.state_dir)),
        None => !is_written_down(config, &link),
    })
}

/// Removes a bridge that another has left behind without pods, and what belongs to it, by what that one wrote down, as
/// that one would. The caller holds the lock of its own network alone.
///
/// # Errors
/// See [`NetError`].
pub(crate) fn clear(netlink: &mut Netlink, config: &NetworkConfig) -> Result<(), NetError> {
    let Some(link) = bridge::find_link(netlink, config)?.filter(|link| link.is_bridge) else { return Ok(()) };
    let Owner::Nobody(record) = of(netlink, config, &link)? else { return Ok(()) };
    if let Some(theirs) = record {
        if !crate::release_idle(&theirs)? {
            // Somebody has come back meanwhile.
            return Ok(());
        }
        // It has the bridge's name, and whoever would remove it sees that the bridge is another's by then.
        crate::balance::remove_here(&config.table())?;
    }
    let Some(now) = bridge::find_link(netlink, config)?.filter(|now| now.index == link.index) else {
        return Ok(());
    };
    // Somebody may have come meanwhile.
    if !matches!(of(netlink, config, &now)?, Owner::Nobody(_)) {
        return Ok(());
    }
    let (message, flags) = links::delete(Link::Index(link.index));
    netlink.push(message, flags);
    match netlink.commit() {
        Err(source) if !source.is(Errno::ENODEV) => Err(NetError::Kernel {
            step: format!("delete the bridge {} that nobody uses", config.bridge),
            source,
        }),
        _ => Ok(()),
    }
}

fn failed(source: KernelError) -> NetError {
    NetError::Kernel { step: "find out whose the bridge is".to_owned(), source }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    #[test]
    fn a_mark_names_the_directory_and_has_room_in_an_alias() {
        let directory = tempfile::tempdir().unwrap();
        let real = directory.path().join("real");
        fs::create_dir(&real).unwrap();
        std::os::unix::fs::symlink(&real, directory.path().join("link")).unwrap();
        assert_eq!(mark(&real), format!("podbox {}", fs::canonicalize(&real).unwrap().display()));
        assert_eq!(mark(&directory.path().join("link")), mark(&real), "one directory has one name");
        let long = |end: &str| PathBuf::from(format!("/{}{end}", "d".repeat(LONGEST)));
        assert!(mark(&long("a")).len() <= LONGEST && mark(&long("a")).starts_with("podbox ..."));
        assert_ne!(mark(&long("a")), mark(&long("b")));
        let odd = |byte: u8| PathBuf::from(OsStr::from_bytes(&[b'/', byte]));
        assert_ne!(mark(&odd(0xfe)), mark(&odd(0xff)), "what is no text is told apart as well");
    }

    #[test]
    fn those_who_hold_addresses_are_named_up_to_a_few() {
        let all: Vec<String> = ["a", "b", "c", "d", "e"].map(str::to_owned).into();
        let said = |count: usize| named(&all[..count]);
        assert_eq!([said(1), said(2), said(3)], ["a is", "a and b are", "a, b and c are"]);
        assert_eq!(said(5), "a, b, c and 2 others are");
    }
}
