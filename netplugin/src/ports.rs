//! Which pod has which host port: one file a mapping.
//!
//! Two mappings clash if some packet could mean both: same protocol, same port, and one of them wants every
//! address or both want the same. Ports are taken under the exclusive lock, so that two pods cannot
//! overlook each other. A port that a program of the host listens on is refused as well. It is not kept
//! from programs that start later (podman and early kubelets did that, by a socket of their own): the socket
//! would have to outlive every supervisor, and a connection to `[::1]`, which is not translated, would hang
//! in its queue instead of being refused.

use std::net::IpAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::config::{NetworkConfig, PortMapping};
use crate::error::NetError;
use crate::ipam::{self, Lease};
use crate::occupied::{self, Occupant};
use crate::state::{self, Sharing};

/// What holds ports without an interface is written down as an interface's lease would be, under a name that none can have:
/// it is too long.
const OF_THE_HOST: &str = "ports-of-the-host";

/// A held port, as its file tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hold {
    /// The pod that has it.
    pub(crate) id: String,
    /// Who that is to a human.
    pub(crate) owner: String,
    /// What was asked for.
    pub(crate) mapping: PortMapping,
    /// Where it leads: the pod's addresses; none if the pod uses the host's.
    pub(crate) addresses: Vec<IpAddr>,
}

/// Takes ports for somebody who uses the host's addresses. They lead nowhere: he listens on them himself. What he holds
/// already, he keeps.
pub(crate) fn reserve(
    config: &NetworkConfig,
    (id, owner): (&str, &str),
    ports: &[PortMapping],
) -> Result<(), NetError> {
    let _lock = state::lock(&config.state_dir, Sharing::Exclusive)?;
    ipam::forget_other_boots(config)?;
    let lease = ipam::reservation((id, owner), OF_THE_HOST, ports)?;
    ipam::keep(config, &lease)?;
    hold(config, &lease).inspect_err(|_| {
        let _ = forget(config, &lease);
        let _ = ipam::give_back(config, &lease);
        let _ = ipam::forget_pod_if_empty(config, id);
    })
}

/// Whether all that a pod holds are ports of the host: it needs no bridge.
pub(crate) fn only_reserves(config: &NetworkConfig, id: &str) -> Result<bool, NetError> {
    let leases = ipam::leases_of(config, id)?;
    Ok(!leases.is_empty() && leases.iter().all(|lease| lease.ifname == OF_THE_HOST))
}

/// Who would be in the way of a mapping: a pod that holds the port, or a program of the host that listens on it, as the
/// error that a pod would get.
pub(crate) fn in_the_way(
    config: &NetworkConfig,
    mapping: &PortMapping,
) -> Result<Option<NetError>, NetError> {
    let holds = all(config)?;
    if let Some(hold) = holds.iter().find(|hold| clash(&hold.mapping, mapping)) {
        return Ok(Some(held_by_another(mapping, hold)));
    }
    Ok(occupied::occupant(mapping, &[]).map(|occupant| in_use(mapping, occupant)))
}

/// Takes all of a lease's ports. The caller holds the lock alone. What was taken before one was found to be
/// somebody else's is given back with the lease.
pub(crate) fn hold(config: &NetworkConfig, lease: &Lease) -> Result<(), NetError> {
    let directory = config.state_dir.join("ports");
    state::make_directory(&directory)?;
    let names = state::names(&directory)?;
    for mapping in &lease.ports {
        // Only what begins alike can clash: with many pods, reading all of them would take its time.
        let start = format!("{}-{}-", mapping.host_port, mapping.protocol);
        let mut held: Vec<Hold> = Vec::new();
        for name in names.iter().filter(|name| name.starts_with(&start)) {
            held.extend(state::read(&directory.join(name))?);
        }
        let clash = held.iter().find(|hold| hold.id != lease.id && clash(&hold.mapping, mapping));
        if let Some(hold) = clash {
            return Err(held_by_another(mapping, hold));
        }
        // What this pod holds already was free when it took it. Whoever listens there by now came later.
        let is_held = held.iter().any(|hold| hold.id == lease.id && hold.mapping == *mapping);
        if !is_held && let Some(occupant) = occupied::occupant(mapping, &lease.addresses) {
            return Err(in_use(mapping, occupant));
        }
        let hold = Hold {
            id: lease.id.clone(),
            owner: lease.owner.clone(),
            mapping: *mapping,
            addresses: lease.addresses.clone(),
        };
        state::replace(&file(config, mapping), &hold)?;
    }
    Ok(())
}

fn held_by_another(mapping: &PortMapping, hold: &Hold) -> NetError {
    NetError::PortHeld {
        host_ip: mapping.host_ip,
        port: mapping.host_port,
        protocol: mapping.protocol,
        holder: hold.owner.clone(),
    }
}

fn in_use(mapping: &PortMapping, occupant: Occupant) -> NetError {
    NetError::PortInUse {
        host_ip: mapping.host_ip,
        port: mapping.host_port,
        protocol: mapping.protocol,
        address: occupant.address,
        program: occupant.program,
    }
}

/// The mappings of a lease that it really holds.
pub(crate) fn held_by(config: &NetworkConfig, lease: &Lease) -> Result<Vec<PortMapping>, NetError> {
    let mut held = Vec::new();
    for mapping in &lease.ports {
        let hold: Option<Hold> = state::read(&file(config, mapping))?;
        if hold.is_some_and(|hold| hold.id == lease.id) {
            held.push(*mapping);
        }
    }
    Ok(held)
}

/// Gives back a lease's ports.
pub(crate) fn forget(config: &NetworkConfig, lease: &Lease) -> Result<(), NetError> {
    for mapping in held_by(config, lease)? {
        state::remove_file(&file(config, &mapping))?;
    }
    Ok(())
}

/// Every held port.
pub(crate) fn all(config: &NetworkConfig) -> Result<Vec<Hold>, NetError> {
    let directory = config.state_dir.join("ports");
    let mut holds = Vec::new();
    for name in state::names(&directory)? {
        holds.extend(state::read(&directory.join(name))?);
    }
    Ok(holds)
}

/// The first pair of mappings in one request that would clash with each other.
pub(crate) fn clash_within(ports: &[PortMapping]) -> Option<PortMapping> {
    ports.iter().enumerate().find(|(i, one)| ports[..*i].iter().any(|other| clash(one, other))).map(|p| *p.1)
}

fn clash(one: &PortMapping, other: &PortMapping) -> bool {
    one.host_port == other.host_port
        && one.protocol == other.protocol
        && match (one.host_ip, other.host_ip) {
            (None, _) | (_, None) => true,
            (Some(a), Some(b)) => {
                a == b || (a.is_ipv4() == b.is_ipv4() && (a.is_unspecified() || b.is_unspecified()))
            }
        }
}

fn file(config: &NetworkConfig, mapping: &PortMapping) -> PathBuf {
    let address = mapping.host_ip.map_or_else(|| "any".to_owned(), |address| address.to_string());
    config.state_dir.join("ports").join(format!("{}-{}-{address}", mapping.host_port, mapping.protocol))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Protocol;

    fn mapping(host_ip: Option<&str>, host_port: u16, protocol: Protocol) -> PortMapping {
        PortMapping {
            host_ip: host_ip.map(|ip| ip.parse().unwrap()),
            host_port,
            container_port: 80,
            protocol,
        }
    }

    #[test]
    fn mappings_clash_only_if_a_packet_could_mean_both() {
        use Protocol::{Tcp, Udp};
        let cases = [
            ("the same port", mapping(None, 80, Tcp), mapping(None, 80, Tcp), true),
            ("another port", mapping(None, 80, Tcp), mapping(None, 81, Tcp), false),
            ("another protocol", mapping(None, 80, Tcp), mapping(None, 80, Udp), false),
            ("one of all addresses", mapping(None, 80, Tcp), mapping(Some("10.0.0.1"), 80, Tcp), true),
            ("two addresses", mapping(Some("10.0.0.2"), 80, Tcp), mapping(Some("10.0.0.1"), 80, Tcp), false),
            ("all of IPv4", mapping(Some("0.0.0.0"), 80, Tcp), mapping(Some("10.0.0.1"), 80, Tcp), true),
            ("the other family", mapping(Some("0.0.0.0"), 80, Tcp), mapping(Some("::1"), 80, Tcp), false),
        ];
        for (name, one, other, expected) in cases {
            assert_eq!(clash(&one, &other), expected, "{name}");
            assert_eq!(clash(&other, &one), expected, "{name}, the other way round");
        }
    }
}
