//! The process of a container: its arguments and its environment.

use crate::image::ImageConfig;
use crate::pod::{Container, EnvValue, FieldPath, Pod, ResourceField, Resources};

use super::Surroundings;
use super::expand::expand;
use super::resources::effective;

const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The environment as `NAME=value`: the image's below the container's own.
pub(super) fn environment(
    pod: &Pod,
    container: &Container,
    image: &ImageConfig,
    around: &Surroundings,
) -> Vec<String> {
    let mut env = Environment::default();
    env.set_line(DEFAULT_PATH);
    for line in &image.env {
        env.set_line(line);
    }
    env.set("HOSTNAME", if pod.host.network { around.node_name.clone() } else { pod.hostname.clone() });
    if container.tty {
        env.set("TERM", "xterm".to_owned());
    }
    // Only what the manifest has defined so far is seen by `$(NAME)`, not the image's variables.
    let mut own = Environment::default();
    for variable in &container.env {
        let value = match &variable.value {
            EnvValue::Literal(text) => expand(text, |name| own.get(name)),
            EnvValue::Field(path) => field(pod, path, around),
            EnvValue::Resource { container: name, resource, divisor_milli } => {
                let named = pod.containers.iter().find(|other| &other.name == name).unwrap_or(container);
                resource_field(&effective(pod, named), *resource, *divisor_milli, around)
            }
        };
        own.set(&variable.name, value);
    }
    for (name, value) in own.0 {
        env.set(&name, value);
    }
    env.0.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
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

/// The arguments: `command` replaces ENTRYPOINT and CMD, `args` alone replaces CMD.
pub(super) fn arguments(container: &Container, image: &ImageConfig, env: &[String]) -> Vec<String> {
    let lookup = |name: &str| env.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    let expand_all = |list: &[String]| list.iter().map(|text| expand(text, lookup)).collect::<Vec<_>>();
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

/// Variables in the order of their first definition, later values winning.
#[derive(Default)]
struct Environment(Vec<(String, String)>);

impl Environment {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn set(&mut self, name: &str, value: String) {
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some(entry) => entry.1 = value,
            None => self.0.push((name.to_owned(), value)),
        }
    }

    fn set_line(&mut self, line: &str) {
        let (name, value) = line.split_once('=').unwrap_or((line, ""));
        self.set(name, value.to_owned());
    }
}

fn field(pod: &Pod, path: &FieldPath, around: &Surroundings) -> String {
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
fn resource_field(
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
