//! Pods on somebody else's network: `[network] cni = "NAME"` has a chain of CNI plugins do what netplugin does
//! otherwise. What a kubelet's runtime (containerd) hands to plugins is handed to them here.

pub mod owed;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use netplugin::cni::{Caller, Overseer};
use netplugin::conflist::{Added, Record, find};
use netplugin::{Described, PortMapping};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::pod::{Pod, Quantity};
use crate::report;
use crate::store::{PodDir, remove};

/// How long a plugin may take. DHCP asks over a network; whatever needs more than this hangs.
pub const LIMIT: Duration = Duration::from_secs(60);

/// How far a moment may exceed a pod's bandwidth, in bits: containerd's value.
const BURST: u64 = i32::MAX as u64;

/// The capability of plugins that lead ports of the host to a pod.
const PORT_MAPPINGS: &str = "portMappings";

/// The annotation for addresses of the pod's own choice.
const IP: &str = "podbox.local/ip";

/// The annotation for its Ethernet address.
const MAC: &str = "podbox.local/mac";

/// Which chain, and where it lies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainSettings {
    /// The network's name, as its file has it.
    pub name: String,
    /// Where files with chains lie.
    pub conf_dir: PathBuf,
    /// Where plugins lie, in the order in which they are looked for.
    pub bin_dirs: Vec<PathBuf>,
}

impl ChainSettings {
    /// Whether the chain and all its plugins are there.
    ///
    /// # Errors
    /// A sentence that names what is not, and what is there instead.
    pub fn check(&self) -> Result<(), String> {
        let chain = find(&self.conf_dir, &self.name).map_err(|error| report::chain(&error))?;
        for plugin in &chain.plugins {
            let name = plugin.get("type").and_then(Value::as_str).unwrap_or_default();
            let found = self.caller().find(name);
            found.map_err(|error| format!("{}: {}", chain.source.display(), report::chain(&error)))?;
        }
        Ok(())
    }

    /// Whether the chain leads ports of the host to pods; `true` as well if it cannot be read, which [`Self::check`] tells.
    #[must_use]
    pub fn maps_ports(&self) -> bool {
        find(&self.conf_dir, &self.name).map_or(true, |chain| chain.has_capability(PORT_MAPPINGS))
    }

    fn caller(&self) -> Caller {
        Caller { directories: self.bin_dirs.clone(), limit: LIMIT }
    }
}

/// Puts the pod on the network, and raises its loopback interface, which no chain does. It takes as long as the plugins do.
///
/// # Errors
/// What a plugin said, or that the chain cannot be run, or leads no ports to pods. What was made is taken back.
pub fn attach(
    settings: &ChainSettings,
    pod: &Pod,
    (dir, overseer): (&PodDir, &Overseer),
    ports: &[PortMapping],
) -> Result<Added, String> {
    let mut record = record(settings, pod, dir, ports)?;
    if let Some(port) = ports.first().filter(|_| !record.chain.has_capability(PORT_MAPPINGS)) {
        return Err(format!("host port {}/{}: {}", port.host_port, port.protocol, no_ports(&settings.name)));
    }
    netplugin::raise_loopback(&record.netns).map_err(|error| report::chain(&error))?;
    record.add(&dir.chain(), overseer).map_err(|error| report::chain(&error))
}

/// Why a pod on a chain can have no host port, if it cannot.
#[must_use]
pub fn no_ports(network: &str) -> String {
    format!(
        "pods are on the CNI network {network} here, and none of its plugins declares the capability portMappings: nothing would lead from the host's port to the pod"
    )
}

/// Whether the ports of the host that a pod names lead to it, as far as a chain has to do with it.
#[must_use]
pub fn leads_ports(dir: &PodDir) -> bool {
    match read(dir) {
        Ok(Some(record)) => record.chain.has_capability(PORT_MAPPINGS),
        Ok(None) | Err(_) => true,
    }
}

/// What [`attach`] would do, as commands.
///
/// # Errors
/// That the chain cannot be found, or an annotation makes no sense.
pub fn describe(
    settings: &ChainSettings,
    pod: &Pod,
    dir: &PodDir,
    ports: &[PortMapping],
) -> Result<Vec<Described>, String> {
    let record = record(settings, pod, dir, ports)?;
    let loopback = Described {
        name: "raise the pod's loopback interface".to_owned(),
        command: format!("nsenter --net={} ip link set lo up", record.netns.display()),
    };
    Ok(std::iter::once(loopback).chain(record.describe()).collect())
}

/// Takes the pod off the network again, if a chain has put it there: by the record alone. Plugins that a supervisor has left,
/// because it was killed, are ended first: they would make what is taken back.
pub fn detach(dir: &PodDir, overseer: &Overseer) -> Vec<String> {
    let record = match read(dir) {
        Ok(Some(record)) => record,
        Ok(None) => return Vec::new(),
        Err(error) => return vec![error],
    };
    let mut errors = take_back(&record, overseer);
    if errors.is_empty() {
        errors.extend(remove(&dir.chain()).err().map(|error| report::chain(&error)));
    }
    errors
}

fn take_back(record: &Record, overseer: &Overseer) -> Vec<String> {
    if let Err(error) = record.end_strays() {
        return vec![report::chain(&error)];
    }
    record.delete(overseer).iter().map(|error| report::chain(error)).collect()
}

/// What a chain has made for the pod, or was about to make.
fn read(dir: &PodDir) -> Result<Option<Record>, String> {
    let path = dir.chain();
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("read {}: {error}", path.display())),
    };
    parse(&path, &text).map(Some)
}

fn parse(path: &Path, text: &[u8]) -> Result<Record, String> {
    serde_json::from_slice(text).map_err(|error| format!("understand {}: {error}", path.display()))
}

fn record(
    settings: &ChainSettings,
    pod: &Pod,
    dir: &PodDir,
    ports: &[PortMapping],
) -> Result<Record, String> {
    let chain = find(&settings.conf_dir, &settings.name).map_err(|error| report::chain(&error))?;
    let args = [
        ("IgnoreUnknown", "1"),
        ("K8S_POD_NAMESPACE", &pod.namespace),
        ("K8S_POD_NAME", &pod.name),
        ("K8S_POD_INFRA_CONTAINER_ID", &pod.uid),
        ("K8S_POD_UID", &pod.uid),
    ];
    Ok(Record {
        chain,
        caller: settings.caller(),
        version: String::new(),
        container: pod.uid.clone(),
        netns: netns(dir),
        ifname: "eth0".to_owned(),
        args: args.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        capabilities: capabilities(pod, ports)?,
        result: None,
    })
}

fn netns(dir: &PodDir) -> PathBuf {
    let all: PathBuf = dir.namespaces();
    Path::join(&all, "net")
}

/// Values for the conventional capabilities (CNI's CONVENTIONS.md), of which each plugin gets those that it declares.
fn capabilities(pod: &Pod, ports: &[PortMapping]) -> Result<Map<String, Value>, String> {
    let mut all = Map::new();
    if !ports.is_empty() {
        let mapping = |port: &PortMapping| {
            json!({
                "hostPort": port.host_port,
                "containerPort": port.container_port,
                "protocol": port.protocol.to_string(),
                "hostIP": port.host_ip.map(|address| address.to_string()).unwrap_or_default(),
            })
        };
        all.insert(PORT_MAPPINGS.to_owned(), ports.iter().map(mapping).collect());
    }
    let dns = &pod.dns;
    if !(dns.nameservers.is_empty() && dns.searches.is_empty() && dns.options.is_empty()) {
        let option = |(name, value): &(String, Option<String>)| match value {
            Some(value) => format!("{name}:{value}"),
            None => name.clone(),
        };
        let options: Vec<_> = dns.options.iter().map(option).collect();
        let value = json!({"servers": dns.nameservers, "searches": dns.searches, "options": options});
        all.insert("dns".to_owned(), value);
    }
    if let Some(text) = pod.annotations.get(IP) {
        let addresses: Vec<_> = text.split(',').map(str::trim).collect();
        all.insert("ips".to_owned(), json!(addresses));
    }
    if let Some(text) = pod.annotations.get(MAC) {
        all.insert("mac".to_owned(), json!(text.trim()));
    }
    if let Some(value) = bandwidth(pod)? {
        all.insert("bandwidth".to_owned(), value);
    }
    all.insert("io.kubernetes.cri.pod-annotations".to_owned(), json!(pod.annotations));
    Ok(all)
}

/// Kubernetes' annotations, in bits per second.
fn bandwidth(pod: &Pod) -> Result<Option<Value>, String> {
    let mut limits = Map::new();
    for direction in ["ingress", "egress"] {
        let key = format!("kubernetes.io/{direction}-bandwidth");
        let Some(text) = pod.annotations.get(&key) else { continue };
        let quantity: Quantity =
            text.parse().map_err(|error| format!("annotation {key}: {text:?}: {error}"))?;
        let rate =
            u64::try_from(quantity.whole()).map_err(|_| format!("annotation {key}: {text:?} is negative"))?;
        limits.insert(format!("{direction}Rate"), rate.into());
        limits.insert(format!("{direction}Burst"), BURST.into());
    }
    Ok((!limits.is_empty()).then_some(Value::Object(limits)))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use netplugin::Protocol;

    use super::*;

    fn pod(annotations: &[(&str, &str)]) -> Pod {
        let mut pod: Pod = serde_json::from_str(include_str!("testdata/older/pod.json")).unwrap();
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        pod.annotations = annotations.iter().map(own).collect();
        pod
    }

    #[test]
    fn plugins_are_handed_what_containerd_hands_them() {
        let mut pod = pod(&[
            ("kubernetes.io/ingress-bandwidth", "10M"),
            ("podbox.local/ip", "10.1.2.3, fd00::3"),
            ("podbox.local/mac", "02:00:00:00:00:01"),
        ]);
        pod.dns.nameservers = vec!["192.0.2.1".to_owned()];
        pod.dns.options = vec![("ndots".to_owned(), Some("2".to_owned())), ("edns0".to_owned(), None)];
        let port = PortMapping {
            host_ip: Some(Ipv4Addr::LOCALHOST.into()),
            host_port: 8080,
            container_port: 80,
            protocol: Protocol::Udp,
        };
        let all = capabilities(&pod, &[port]).unwrap();
        let mapping =
            json!([{"hostPort": 8080, "containerPort": 80, "protocol": "udp", "hostIP": "127.0.0.1"}]);
        assert_eq!(all["portMappings"], mapping);
        assert_eq!(all["bandwidth"], json!({"ingressRate": 10_000_000, "ingressBurst": i32::MAX}));
        assert_eq!(all["ips"], json!(["10.1.2.3", "fd00::3"]));
        assert_eq!(all["mac"], "02:00:00:00:00:01");
        assert_eq!(all["dns"]["options"], json!(["ndots:2", "edns0"]));
    }

    #[test]
    fn a_bandwidth_that_makes_no_sense_names_its_annotation() {
        for text in ["fast", "-1M"] {
            let error = capabilities(&pod(&[("kubernetes.io/egress-bandwidth", text)]), &[]).unwrap_err();
            assert!(
                error.contains("annotation kubernetes.io/egress-bandwidth") && error.contains(text),
                "{error}"
            );
        }
    }
}
