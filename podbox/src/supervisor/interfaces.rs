//! A pod's interfaces: eth0 on its network, and those that its annotations ask for on further ones.

use std::fs::File;
use std::net::IpAddr;
use std::path::Path;

use netplugin::{Attachment, NetworkConfig, PortMapping, Request, WayOut, Wishes};
use serde_json::{Value, json};

use super::sandbox::{lines, port_mappings, tell};
use super::world::{Message, World};
use crate::config::Settings;
use crate::pod::interfaces::{self, FIRST, Further, Interfaces};
use crate::pod::{self, Pod};
use crate::report;
use crate::services;
use crate::store::{lock, write_atomic};

/// An interface that a pod is to have, and where.
struct Wish<'a> {
    network: &'a NetworkConfig,
    interface: &'a str,
    ports: &'a [PortMapping],
    wishes: Wishes<'a>,
}

fn wishes<'a>(
    settings: &'a Settings,
    asked: &'a Interfaces,
    ports: &'a [PortMapping],
) -> Result<Vec<Wish<'a>>, String> {
    let wishes = Wishes {
        addresses: &asked.addresses,
        mac: asked.mac,
        bandwidth: asked.bandwidth,
        way_out: WayOut::Here,
    };
    let mut all = vec![Wish { network: &settings.network, interface: FIRST, ports, wishes }];
    for further in &asked.further {
        let Further { network, interface, addresses, mac, .. } = further;
        let network = settings.network_of(network).ok_or_else(|| format!("there is no network {network}"))?;
        let wishes = Wishes { addresses, mac: *mac, way_out: WayOut::Elsewhere, ..Wishes::default() };
        all.push(Wish { network, interface, ports: &[], wishes });
    }
    Ok(all)
}

fn asked(pod: &Pod) -> Result<Interfaces, String> {
    interfaces::read(&pod.annotations).map_err(|wrong| {
        let told: Vec<String> = wrong.iter().map(|one| format!("{}: {}", one.key, one.detail)).collect();
        told.join("; ")
    })
}

/// Whether no Service has one of the ports of the host that the pod is to have. While what is returned lives, no Service gets
/// one: whoever gives ports to Services looks at those of pods under the same lock.
pub(super) fn admit(world: &World, ports: &[PortMapping]) -> Result<Option<File>, String> {
    if ports.is_empty() {
        return Ok(None);
    }
    let store = &world.settings.store;
    let lock = lock(&store.services_lock()).map_err(|error| report::chain(&error))?;
    for port in ports {
        let number = port.host_port;
        let wanted = (pod::Protocol::from(port.protocol), port.host_ip, number);
        if let Some(holder) = services::holder(store, wanted) {
            return Err(format!("host port {number}/{} is held by {holder}", port.protocol));
        }
    }
    Ok(Some(lock))
}

/// Takes the host ports of a pod that netplugin has no interface of: those that it listens on itself, or that a chain leads
/// to it.
pub(super) fn reserve(world: &World, ports: &[PortMapping]) -> Result<(), String> {
    if ports.is_empty() {
        return Ok(());
    }
    let (owner, pod) = (world.pod_name(), world.pod());
    let taken = netplugin::reserve(&world.settings.network, (&pod.uid, &owner), ports);
    taken.map_err(|error| report::chain(&error))
}

/// Puts the pod on its networks. The addresses are those of eth0, which are the pod's to all others.
pub(super) fn attach(world: &World) -> Result<Vec<IpAddr>, String> {
    let netns = world.netns();
    let (owner, pod) = (world.pod_name(), world.pod());
    let (asked, ports) = (asked(&pod)?, port_mappings(&pod));
    let mut attachments = Vec::new();
    for Wish { network, interface, ports, wishes } in wishes(&world.settings, &asked, &ports)? {
        let request =
            Request { id: &pod.uid, owner: &owner, netns: &netns, ifname: interface, ports, wishes };
        let attached = netplugin::attach(network, &request).map_err(|error| report::chain(&error))?;
        let steps = attached.trace.iter().map(|t| (&t.name, &t.command, t.micros));
        world.send(Message::Trace(lines("network", steps)));
        for note in &attached.attachment.notes {
            tell(world, "NetworkDegraded", note.clone());
        }
        attachments.push(attached.attachment);
    }
    if !asked.further.is_empty() {
        let status = status(&attachments, &asked.further).to_string();
        write_atomic(&world.dir.network_status(), status.as_bytes())
            .map_err(|error| report::chain(&error))?;
    }
    let first = attachments.first().map(|first| first.addresses.iter().map(|one| one.address).collect());
    Ok(first.unwrap_or_default())
}

/// What became of the pod's interfaces, as the standard has it in `k8s.v1.cni.cncf.io/network-status` (section 4.1.3).
fn status(attachments: &[Attachment], further: &[Further]) -> Value {
    let one = |(index, attachment): (usize, &Attachment)| {
        let further = index.checked_sub(1).and_then(|index| further.get(index));
        let namespace = further.and_then(|further| further.namespace.as_deref());
        let name = match namespace {
            Some(namespace) => format!("{namespace}/{}", attachment.network),
            None => attachment.network.clone(),
        };
        let ips: Vec<String> = attachment.addresses.iter().map(|one| one.address.to_string()).collect();
        let mut told = json!({
            "name": name, "interface": attachment.interface, "ips": ips,
            "mac": attachment.mac.to_string(), "mtu": attachment.mtu, "dns": {},
        });
        if index == 0 {
            told["default"] = json!(true);
        }
        told
    };
    attachments.iter().enumerate().map(one).collect()
}

/// Takes the pod off all networks, whichever it is on.
pub(super) fn detach(settings: &Settings, pod: &Pod) -> Vec<String> {
    let errors = settings.networks().flat_map(|network| netplugin::detach(network, &pod.uid));
    errors.map(|error| report::chain(&error)).collect()
}

/// Asks the same of each of a pod's interfaces: of its network, with what the pod asks for there.
///
/// # Errors
/// Annotations that ask for what is not there.
pub(super) fn each<T>(
    settings: &Settings,
    pod: &Pod,
    netns: &Path,
    act: impl Fn(&NetworkConfig, &Request<'_>) -> T,
) -> Result<Vec<T>, String> {
    let (owner, asked) = (format!("{}/{}", pod.namespace, pod.name), asked(pod)?);
    let ports = port_mappings(pod);
    let one = |Wish { network, interface, ports, wishes }| {
        act(network, &Request { id: &pod.uid, owner: &owner, netns, ifname: interface, ports, wishes })
    };
    Ok(wishes(settings, &asked, &ports)?.into_iter().map(one).collect())
}

/// What is missing of a running pod's networks, in words.
///
/// # Errors
/// If it cannot be found out.
pub fn lost(settings: &Settings, pod: &Pod, netns: &Path) -> Result<Vec<String>, String> {
    let mut all = Vec::new();
    for one in each(settings, pod, netns, netplugin::lost)? {
        let losses = one.map_err(|error| report::chain(&error))?;
        for loss in losses.iter().map(ToString::to_string) {
            if !all.contains(&loss) {
                all.push(loss);
            }
        }
    }
    // Nobody has led them anywhere before there was a table for them.
    if settings.store.host_services().join("host.json").exists() {
        let unled = netplugin::unled(&settings.network, &settings.service_ranges());
        let unled = unled.map_err(|error| report::chain(&error))?;
        all.extend(unled.iter().map(|loss| format!("{loss}, the Services' range")));
    }
    Ok(all)
}

/// The steps that put a pod on its networks, as commands.
///
/// # Errors
/// Annotations that ask for what is not there.
pub fn describe(settings: &Settings, pod: &Pod, netns: &Path) -> Result<Vec<netplugin::Described>, String> {
    let owner = format!("{}/{}", pod.namespace, pod.name);
    let (asked, ports) = (asked(pod)?, port_mappings(pod));
    let mut steps = Vec::new();
    for Wish { network, interface, ports, wishes } in wishes(settings, &asked, &ports)? {
        let request = Request { id: &pod.uid, owner: &owner, netns, ifname: interface, ports, wishes };
        steps.extend(netplugin::describe(network, &request));
    }
    Ok(steps)
}
