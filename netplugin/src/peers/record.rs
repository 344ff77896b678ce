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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Ipv6;
    use crate::peers::{Overlay, Peer, Peers, plan};
    use crate::support::Host;

    /// A host on a link, with the address that it would have on its bridge, and a peer on the same link.
    fn host(overlay: Overlay) -> Host {
        let mut host = Host::new();
        host.netns.sh("ip link add uplink0 type bridge
             ip addr add 192.0.2.1/24 dev uplink0
             ip -6 addr add 2001:db8::1/64 dev uplink0 nodad
             ip link set uplink0 up
             ip addr add 10.244.1.1/32 dev lo
             ip -6 addr add fd00:10:244:1::1/128 dev lo nodad");
        host.config.ipv4 = Some("10.244.1.0/24".parse().unwrap());
        host.config.ipv6 = Some("fd00:10:244:1::/64".parse().unwrap());
        let peer = Peer {
            name: "b".to_owned(),
            slices: vec!["10.244.2.0/24".parse().unwrap(), "fd00:10:244:2::/64".parse().unwrap()],
            addresses: vec!["192.0.2.2".parse().unwrap(), "2001:db8::2".parse().unwrap()],
        };
        host.config.peers = Peers {
            flat: vec!["10.244.0.0/16".parse().unwrap(), "fd00:10:244::/48".parse().unwrap()],
            overlay,
            underlay: None,
            hosts: vec![peer],
        };
        std::fs::create_dir_all(&host.config.state_dir).unwrap();
        host
    }

    fn there(host: &Host) -> String {
        host.netns.sh("ip route show proto 112; ip -6 route show proto 112; ip -o link show type vxlan")
    }

    #[test]
    fn after_a_crash_between_any_two_ways_all_can_be_removed_and_all_can_be_made() {
        for overlay in [Overlay::HostGw, Overlay::default()] {
            for made in 0.. {
                let host = host(overlay.clone());
                let total = host.netns.run(|| {
                    let mut netlink = Netlink::route().unwrap();
                    let begin = |netlink: &mut Netlink| {
                        let ways = plan(netlink, &host.config, Ipv6::On).unwrap().ways;
                        let record = Record { ways: ways.clone(), complete: false };
                        state::replace(&file(&host.config), &record).unwrap();
                        ways.iter().take(made).for_each(|way| way.make(netlink).unwrap());
                        ways
                    };
                    begin(&mut netlink);
                    remove(&mut netlink, &host.config).unwrap();
                    assert_eq!(there(&host), "", "removed after {made}");
                    assert!(!exists(&host.config));
                    let ways = begin(&mut netlink);
                    apply(&mut netlink, &host.config, &ways).unwrap();
                    let routes = there(&host);
                    assert!(
                        routes.contains("10.244.2.0/24") && routes.contains("fd00:10:244:2::/64"),
                        "{routes}"
                    );
                    assert!(read(&host.config).unwrap().unwrap().complete);
                    apply(&mut netlink, &host.config, &[]).unwrap();
                    assert_eq!(there(&host), "", "made after {made}, and removed");
                    ways.len()
                });
                if made == total {
                    assert!(total >= 2, "{total}");
                    break;
                }
            }
        }
    }
}
