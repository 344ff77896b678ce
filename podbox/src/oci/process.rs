//! The process of a container: its arguments and its environment.

use crate::environment::Variables;
use crate::image::ImageConfig;
use crate::pod::{Container, EnvValue, FieldPath, Pod, ResourceField, Resources};

use super::Surroundings;
use super::expand::expand;

const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The environment as `NAME=value`: the image's below the container's own.
pub(super) fn environment(
    pod: &Pod,
    container: &Container,
    image: &ImageConfig,
    around: &Surroundings,
) -> Vec<String> {
    let mut env = Variables::default();
    env.set_line(DEFAULT_PATH);
    for line in &image.env {
        env.set_line(line);
    }
    let hostname = if pod.host.network { &around.node_name } else { pod.kernel_hostname() };
    env.set("HOSTNAME", hostname.to_owned());
    if container.tty {
        env.set("TERM", "xterm".to_owned());
    }
    for (name, value) in around.environment.iter() {
        env.set(name, value.to_owned());
    }
    env.iter().map(|(name, value)| format!("{name}={value}")).collect()
}

/// A probe as it is asked: `$(NAME)` in its command is what the manifest itself says of that variable, not expanded
/// again; one that comes from elsewhere counts as empty. Commands of hooks are not expanded at all. Source: the kubelet's
/// `prober.go` and `ExpandContainerCommandOnlyStatic`.
#[must_use]
pub fn probe(container: &Container, probe: &probes::Spec) -> probes::Spec {
    let mut probe = probe.clone();
    let known = |name: &str| {
        let variable = container.env.iter().rev().find(|variable| variable.name == name)?;
        Some(if let EnvValue::Literal(text) = &variable.value { text.as_str() } else { "" })
    };
    if let probes::Handler::Exec { command } = &mut probe.handler {
        command.iter_mut().for_each(|word| *word = expand(word, known));
    }
    probe
}

/// The arguments: `command` replaces ENTRYPOINT and CMD, `args` alone replaces CMD. `$(NAME)` is what the manifest says,
/// never one of the image's variables.
pub(super) fn arguments(container: &Container, image: &ImageConfig, own: &Variables) -> Vec<String> {
    let expand_all =
        |list: &[String]| list.iter().map(|text| expand(text, |name| own.get(name))).collect::<Vec<_>>();
    let mut words = match &container.command {
        Some(command) => expand_all(command),
        None => image.entrypoint.clone(),
    };
    match (&container.args, &container.command) {
        (Some(args), _) => words.extend(expand_all(args)),
        (None, Some(_)) => {}
        (None, None) => words.extend(image.cmd.iter().cloned()),
    }
    words
}

/// The value of a field of the pod.
pub(crate) fn field(pod: &Pod, path: &FieldPath, around: &Surroundings) -> String {
    let joined = |ips: &[std::net::IpAddr]| ips.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let first = |ips: &[std::net::IpAddr]| ips.first().map(ToString::to_string).unwrap_or_default();
    match path {
        FieldPath::Name => pod.name.clone(),
        FieldPath::Namespace => pod.namespace.clone(),
        FieldPath::Uid => pod.uid.clone(),
        FieldPath::Label(key) => pod.labels.get(key).cloned().unwrap_or_default(),
        FieldPath::Annotation(key) => pod.annotations.get(key).cloned().unwrap_or_default(),
        FieldPath::NodeName => around.node_name.clone(),
        FieldPath::ServiceAccountName => pod.service_account.clone(),
        FieldPath::HostIp => first(&around.host_ips),
        FieldPath::HostIps => joined(&around.host_ips),
        FieldPath::PodIp => first(&around.pod_ips),
        FieldPath::PodIps => joined(&around.pod_ips),
    }
}

/// Value over divisor, rounded up. An unset limit is the pod's or else the node's own amount, an unset request is 0.
pub(crate) fn resource_field(
    resources: &Resources,
    field: ResourceField,
    divisor_milli: u64,
    around: &Surroundings,
) -> String {
    let milli = |amount: u64| u128::from(amount) * 1000;
    let value_milli = match field {
        ResourceField::RequestsCpu => u128::from(resources.cpu_request_milli.unwrap_or(0)),
        ResourceField::LimitsCpu => u128::from(resources.cpu_limit_milli.unwrap_or(around.node_cpu_milli)),
        ResourceField::RequestsMemory => milli(resources.memory_request_bytes.unwrap_or(0)),
        ResourceField::LimitsMemory => {
            milli(resources.memory_limit_bytes.unwrap_or(around.node_memory_bytes))
        }
        ResourceField::RequestsEphemeralStorage => milli(resources.storage_request_bytes.unwrap_or(0)),
        ResourceField::LimitsEphemeralStorage => {
            milli(resources.storage_limit_bytes.unwrap_or(around.node_storage_bytes))
        }
    };
    value_milli.div_ceil(u128::from(divisor_milli.max(1))).to_string()
}
