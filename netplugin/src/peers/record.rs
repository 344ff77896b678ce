//! The file that remembers what leads to peers: written before anything is made, so that all of it can be found
//! again whatever the configuration says by then.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::way::Way;
use crate::config::{Described, NetworkConfig};
use crate::error::NetError;
use crate::netlink::Netlink;
use crate::state;

/// What there is, or may be.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// In the order in which they are made.
    pub(crate) ways: Vec<Way>,
    /// Whether all of them, and nothing else, are there.
    pub(crate) complete: bool,
}

fn file(config: &NetworkConfig) -> PathBuf {
    config.state_dir.join("peers")
}

pub(crate) fn exists(config: &NetworkConfig) -> bool {
    file(config).exists()
}

pub(crate) fn read(config: &NetworkConfig) -> Result<Option<Record>, NetError> {
    state::read(&file(config))
}

fn step(name: &str, command: String) -> Described {
    Described { name: name.to_owned(), command }
}

fn failed(command: &str, source: crate::netlink::KernelError) -> NetError {
    NetError::Kernel { step: format!("lead the way to other hosts: {command}"), source }
}

/// Makes what there is what is wished, and says what has changed. The caller holds the lock alone.
pub(crate) fn apply(
    netlink: &mut Netlink,
    config: &NetworkConfig,
    wished: &[Way],
) -> Result<Vec<Described>, NetError> {
    let before = read(config)?.unwrap_or_default();
    if wished.is_empty() && before.ways.is_empty() {
        return Ok(Vec::new());
    }
    let stale: Vec<&Way> = before.ways.iter().filter(|way| !wished.contains(way)).collect();
    let both = wished.iter().cloned().chain(stale.iter().map(|way| (*way).clone())).collect();
    if !stale.is_empty() || !before.complete || before.ways.len() != wished.len() {
        state::replace(&file(config), &Record { ways: both, complete: false })?;
    }
    let mut done = Vec::new();
    for way in stale.iter().rev() {
        way.remove(netlink).map_err(|source| failed(&way.undo_command(), source))?;
        done.push(step("remove what nobody wishes any more", way.undo_command()));
    }
    // All of them: with a tunnel goes what is led through it, and somebody may have flushed a table.
    for way in wished {
        way.make(netlink).map_err(|source| failed(&way.command(), source))?;
        if !before.ways.contains(way) {
            done.push(step("lead the way to another host", way.command()));
        }
    }
    if wished.is_empty() {
        state::remove_file(&file(config))?;
    } else {
        state::replace(&file(config), &Record { ways: wished.to_vec(), complete: true })?;
    }
    Ok(done)
}

/// Removes all there may be. The caller holds the lock alone.
pub(crate) fn remove(netlink: &mut Netlink, config: &NetworkConfig) -> Result<(), NetError> {
    let Some(record) = read(config)? else { return Ok(()) };
    for way in record.ways.iter().rev() {
        way.remove(netlink).map_err(|source| failed(&way.undo_command(), source))?;
    }
    state::remove_file(&file(config)).map(|_| ())
}

/// How a reader would make all of it.
pub(crate) fn commands(ways: &[Way]) -> String {
    ways.iter().map(Way::command).collect::<Vec<_>>().join("\n")
}
