//! What the API server accepts and a kubelet then refuses: no mistake in the manifest, and yet it will not run.
//!
//! Each is judged by what refuses it later, so that both always say the same.

use std::net::IpAddr;

use k8s_openapi::api::core::v1 as k8s;
use netplugin::NetworkConfig;

use super::{Networks, Options};
use crate::chain;
use crate::image;
use crate::pod::field::{Errors, FieldError, Path};
use crate::pod::{ContainerSecurity, Pod, interfaces, sysctl};

/// All of it, for a Pod that stands at `path`: `written` as the user did, `pod` as it would run.
pub(super) fn foresee(
    written: &k8s::Pod,
    pod: &Pod,
    path: &Path<'_>,
    allowed_sysctls: &[String],
) -> Vec<FieldError> {
    let mut found = Errors::default();
    let Some(spec) = &written.spec else { return Vec::new() };
    let path = path.field("spec");
    let context = path.field("securityContext");
    let sysctls = spec.security_context.iter().flat_map(|context| context.sysctls.iter().flatten());
    let sysctls_path = context.field("sysctls");
    for (index, sysctl) in sysctls.enumerate() {
        if let Some(why) = sysctl::refusal(&sysctl::dotted(&sysctl.name), allowed_sysctls) {
            found.say(&sysctls_path.index(index).field("name"), refused("pod", &why));
        }
    }
    let init = spec.init_containers.as_deref().unwrap_or(&[]);
    let mut of_pod = false;
    for (list, containers) in [("initContainers", init), ("containers", &spec.containers)] {
        let list = path.field(list);
        for (index, container) in containers.iter().enumerate() {
            let path = list.index(index);
            let Some(made) = pod.containers.iter().find(|made| made.name == container.name) else { continue };
            if let Err(why) = image::parse_reference(&made.image) {
                let why = format!("{}: {}", why.reason(), why.message());
                found.say(&path.field("image"), refused("container", &why));
            }
            if !made.security.is_root_against_its_policy() {
                continue;
            }
            if container.security_context.as_ref().is_some_and(|own| own.run_as_user.is_some()) {
                found.say(&path.field("securityContext").field("runAsUser"), root());
            } else if !std::mem::replace(&mut of_pod, true) {
                found.say(&context.field("runAsUser"), root());
            }
        }
    }
    found.into_vec()
}

/// A port of the host that a container of a pod's own network asks for, and where it does.
struct HostPort<'a> {
    list: &'static str,
    container: usize,
    index: usize,
    port: &'a k8s::ContainerPort,
    /// An init container comes and goes: its ports are nobody's. A sidecar stays.
    stays: bool,
}

impl HostPort<'_> {
    /// Its path, below that of the Pod.
    fn at<T>(&self, path: &Path<'_>, then: impl FnOnce(&Path<'_>) -> T) -> T {
        let (spec, list) = (path.field("spec"), self.list);
        let list = spec.field(list);
        let container = list.index(self.container);
        then(&container.field("ports").index(self.index))
    }
}

fn all_host_ports(written: &k8s::Pod) -> Vec<HostPort<'_>> {
    let Some(spec) = written.spec.as_ref().filter(|spec| spec.host_network != Some(true)) else {
        return Vec::new();
    };
    let mut all = Vec::new();
    let init = spec.init_containers.as_deref().unwrap_or(&[]);
    for (list, containers) in [("initContainers", init), ("containers", &spec.containers)] {
        for (container, one) in containers.iter().enumerate() {
            let stays = list == "containers" || one.restart_policy.as_deref() == Some("Always");
            let ports = one.ports.iter().flatten().enumerate();
            let ports = ports.filter(|(_, port)| port.host_port.unwrap_or(0) > 0);
            all.extend(ports.map(|(index, port)| HostPort { list, container, index, port, stays }));
        }
    }
    all
}

/// Ports of the host that cannot be led to a pod's own network: at addresses where none can be, or none at all.
pub(super) fn host_ports(written: &k8s::Pod, path: &Path<'_>, networks: &Networks) -> Vec<FieldError> {
    let mut errors = Errors::default();
    let none = match networks {
        Networks::Chain { name, maps_ports: false } => Some(chain::no_ports(name)),
        _ => None,
    };
    for one in all_host_ports(written) {
        if let Some(why) = none.as_deref().filter(|_| one.stays) {
            one.at(path, |path| errors.forbidden(&path.field("hostPort"), why));
        }
        let Some(ip) = one.port.host_ip.as_deref() else { continue };
        if let Some(why) = ip.parse().ok().and_then(unmappable) {
            one.at(path, |path| errors.invalid(&path.field("hostIP"), ip, why));
        }
    }
    errors.into_vec()
}

/// Ports of the host at addresses that it does not have, though it may get them.
pub(super) fn strange_addresses(written: &k8s::Pod, path: &Path<'_>, options: &Options) -> Vec<FieldError> {
    let mut warnings = Errors::default();
    let Some(is_of_host) = options.is_of_host else { return Vec::new() };
    // The bridge may not be there yet.
    let is_gateway = |ip: IpAddr| match &options.networks {
        Networks::Own(networks) => {
            networks.iter().flat_map(NetworkConfig::subnets).any(|subnet| subnet.gateway() == ip)
        }
        Networks::Unknown | Networks::Chain { .. } => false,
    };
    for one in all_host_ports(written) {
        let Some(ip) = one.port.host_ip.as_deref().and_then(|ip| ip.parse::<IpAddr>().ok()) else { continue };
        if !ip.is_unspecified() && unmappable(ip).is_none() && !is_gateway(ip) && !is_of_host(ip) {
            let why = format!(
                "this host does not have {ip} now: until it does, nobody gets to the pod by this port"
            );
            one.at(path, |path| warnings.say(&path.field("hostIP"), why));
        }
    }
    warnings.into_vec()
}

fn unmappable(ip: IpAddr) -> Option<&'static str> {
    match ip {
        IpAddr::V6(ip) if ip.is_loopback() => Some(
            "the kernel lets no answers back to ::1; 127.0.0.1 can be mapped, and so can the host's own IPv6 addresses",
        ),
        IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some() => {
            Some("write it as the IPv4 address that it stands for")
        }
        ip if ip.is_multicast() => Some("no host has it: it is a multicast address"),
        _ => None,
    }
}

/// What a pod's annotations ask of networks that this host does not have, or that they cannot give to anybody.
pub(super) fn networks(pod: &Pod, path: &Path<'_>, networks: &Networks) -> Vec<FieldError> {
    let Ok(asked) = interfaces::read(&pod.annotations) else { return Vec::new() };
    let mut errors = Errors::default();
    let metadata = path.field("metadata");
    let annotations = metadata.field("annotations");
    let networks = match networks {
        Networks::Unknown => return Vec::new(),
        Networks::Own(networks) => networks,
        Networks::Chain { name, .. } => {
            if !asked.further.is_empty() {
                let only = format!(
                    "pods are on the CNI network {name} here, which [network] cni names, and on no other"
                );
                errors.forbidden(&annotations.key(interfaces::NETWORKS), &only);
            }
            return errors.into_vec();
        }
    };
    let Some(first) = networks.first() else { return Vec::new() };
    let mut check = |network: &NetworkConfig, key: &str, addresses: &[IpAddr]| {
        for address in addresses {
            if let Err(why) = network.check_address(*address) {
                errors.invalid(&annotations.key(key), address.to_string().as_str(), &why.to_string());
            }
        }
    };
    check(first, interfaces::IP, &asked.addresses);
    let named = |name: &str| networks.iter().find(|network| network.name == name);
    for further in &asked.further {
        if let Some(network) = named(&further.network) {
            check(network, interfaces::NETWORKS, &further.addresses);
        }
    }
    for further in asked.further.iter().filter(|further| named(&further.network).is_none()) {
        errors.not_found(&annotations.key(interfaces::NETWORKS), &further.network);
        errors.hint_names("networks", networks.iter().map(|network| network.name.as_str()));
    }
    errors.into_vec()
}

fn refused(what: &str, why: &str) -> String {
    format!("the kubelet would refuse the {what}: {why}")
}

fn root() -> String {
    refused("container", &format!("CreateContainerConfigError: {}", ContainerSecurity::ROOT_AGAINST_POLICY))
}
