//! From a validated Kubernetes Pod to podbox's own.
//!
//! Only values that passed validation come here, so nothing can go wrong any more; where a type still leaves
//! room, the API server's default is taken.

use std::time::Duration;

use k8s_openapi::api::core::v1 as k8s;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{
    Container, ContainerSecurity, Dns, DnsPolicy, HostAlias, HostNamespaces, Pod, PodSecurity, Port,
    Protocol, PullPolicy, RestartPolicy, Role,
};

mod confinement;
mod env;
mod life;
mod mounts;
mod resources;
mod volume;

pub(crate) use volume::host_path_type;

/// The longest hostname that the kernel and Kubernetes agree on.
const HOSTNAME_MAX: usize = 63;
pub(crate) const CLUSTER_DOMAIN: &str = "cluster.local";

/// Converts; `uid` is left empty and `manifest_hash` is taken as it is.
pub(crate) fn convert(pod: &k8s::Pod, manifest_hash: String) -> Pod {
    let empty = k8s::PodSpec::default();
    let spec = pod.spec.as_ref().unwrap_or(&empty);
    let name = pod.metadata.name.clone().unwrap_or_default();
    let namespace = pod.metadata.namespace.clone().unwrap_or_default();
    // An override is the whole name: it has no domain behind it.
    let whole = spec.hostname_override.as_deref();
    let hostname =
        hostname(whole.or(spec.hostname.as_deref().filter(|name| !name.is_empty())).unwrap_or(&name));
    let fqdn = spec.subdomain.as_deref().filter(|subdomain| !subdomain.is_empty() && whole.is_none());
    let fqdn = fqdn.map(|subdomain| format!("{hostname}.{subdomain}.{namespace}.svc.{CLUSTER_DOMAIN}"));
    Pod {
        uid: String::new(),
        labels: pod.metadata.labels.clone().unwrap_or_default(),
        annotations: pod.metadata.annotations.clone().unwrap_or_default(),
        manifest_hash,
        hostname,
        fqdn,
        hostname_as_fqdn: spec.set_hostname_as_fqdn == Some(true),
        service_links: spec.enable_service_links != Some(false),
        containers: (spec.init_containers.iter().flatten())
            .map(|one| container(one, spec, life::init_role(one)))
            .chain(spec.containers.iter().map(|one| container(one, spec, Role::Main)))
            .chain(spec.ephemeral_containers.iter().flatten().map(|one| ephemeral(one, spec)))
            .collect(),
        volumes: (spec.volumes.iter().flatten()).filter_map(|volume| volume::volume(volume, &name)).collect(),
        restart_policy: life::policy(spec.restart_policy.as_deref()),
        // A negative period means one second, as it does to the API server at deletion.
        termination_grace_seconds: u64::try_from(spec.termination_grace_period_seconds.unwrap_or(30))
            .unwrap_or(1),
        active_deadline_seconds: spec.active_deadline_seconds.and_then(|seconds| u64::try_from(seconds).ok()),
        readiness_gates: (spec.readiness_gates.iter().flatten())
            .map(|gate| gate.condition_type.clone())
            .collect(),
        host: HostNamespaces {
            network: spec.host_network == Some(true),
            pid: spec.host_pid == Some(true),
            ipc: spec.host_ipc == Some(true),
        },
        share_process_namespace: spec.share_process_namespace == Some(true),
        host_aliases: spec.host_aliases.iter().flatten().map(host_alias).collect(),
        dns: dns(spec),
        security: pod_security(spec),
        resources: spec.resources.as_ref().map(resources::of),
        qos: resources::qos(spec),
        image_pull_secrets: (spec.image_pull_secrets.iter().flatten())
            .map(|secret| secret.name.clone())
            .filter(|name| !name.is_empty())
            .collect(),
        service_account: spec.service_account_name.clone().unwrap_or_default(),
        name,
        namespace,
    }
}

fn hostname(name: &str) -> String {
    let cut = &name[..name.floor_char_boundary(HOSTNAME_MAX)];
    if cut.len() == name.len() { name.to_owned() } else { cut.trim_end_matches(['-', '.']).to_owned() }
}

fn host_alias(alias: &k8s::HostAlias) -> HostAlias {
    HostAlias { ip: alias.ip.clone(), hostnames: alias.hostnames.clone().unwrap_or_default() }
}

fn dns(spec: &k8s::PodSpec) -> Dns {
    let policy = match spec.dns_policy.as_deref() {
        Some("ClusterFirstWithHostNet") => DnsPolicy::ClusterFirstWithHostNet,
        Some("Default") => DnsPolicy::Default,
        Some("None") => DnsPolicy::None,
        _ => DnsPolicy::ClusterFirst,
    };
    let config = spec.dns_config.clone().unwrap_or_default();
    Dns {
        policy,
        nameservers: config.nameservers.unwrap_or_default(),
        searches: config.searches.unwrap_or_default(),
        options: config
            .options
            .into_iter()
            .flatten()
            .map(|option| (option.name.unwrap_or_default(), option.value))
            .collect(),
    }
}

fn id(value: i64) -> u32 {
    u32::try_from(value).unwrap_or_default()
}

fn pod_security(spec: &k8s::PodSpec) -> PodSecurity {
    let user_namespace = spec.host_users == Some(false);
    let Some(context) = &spec.security_context else {
        return PodSecurity { user_namespace, ..PodSecurity::default() };
    };
    PodSecurity {
        user_namespace,
        supplemental_groups: context.supplemental_groups.iter().flatten().copied().map(id).collect(),
        strict_groups: context.supplemental_groups_policy.as_deref() == Some("Strict"),
        sysctls: context
            .sysctls
            .iter()
            .flatten()
            .map(|sysctl| (super::sysctl::dotted(&sysctl.name), sysctl.value.clone()))
            .collect(),
        fs_group: context.fs_group.map(id),
        fs_group_on_root_mismatch: context.fs_group_change_policy.as_deref() == Some("OnRootMismatch"),
    }
}

fn container(container: &k8s::Container, spec: &k8s::PodSpec, role: Role) -> Container {
    let words = |list: &Option<Vec<String>>| list.clone().filter(|list| !list.is_empty());
    let probe = |probe: &Option<k8s::Probe>| probe.as_ref().and_then(|probe| probe_spec(probe, container));
    Container {
        name: container.name.clone(),
        role,
        restart_policy: life::policy(container.restart_policy.as_deref().or(spec.restart_policy.as_deref())),
        restart_rules: container.restart_policy_rules.iter().flatten().map(life::rule).collect(),
        image: container.image.clone().unwrap_or_default(),
        pull_policy: pull_policy(container.image_pull_policy.as_deref()),
        command: words(&container.command),
        args: words(&container.args),
        working_dir: container.working_dir.clone().filter(|dir| !dir.is_empty()),
        env_from: container.env_from.iter().flatten().filter_map(env::from).collect(),
        env: container.env.iter().flatten().map(|variable| env::variable(variable, container)).collect(),
        ports: container.ports.iter().flatten().map(port).collect(),
        resources: container.resources.as_ref().map(resources::of).unwrap_or_default(),
        devices: resources::devices(container),
        resize: resources::resize_policy(container),
        mounts: container.volume_mounts.iter().flatten().map(|one| mounts::mount(one, spec)).collect(),
        termination_message_path: container.termination_message_path.clone().unwrap_or_default(),
        termination_message_policy: life::message_policy(container),
        stdin: container.stdin == Some(true),
        stdin_once: container.stdin_once == Some(true),
        tty: container.tty == Some(true),
        liveness: probe(&container.liveness_probe),
        readiness: probe(&container.readiness_probe),
        startup: probe(&container.startup_probe),
        lifecycle: life::lifecycle(container),
        security: security(container, spec),
        target: None,
    }
}

/// An ephemeral container runs once, whatever the pod's policy.
fn ephemeral(given: &k8s::EphemeralContainer, spec: &k8s::PodSpec) -> Container {
    Container {
        restart_policy: RestartPolicy::Never,
        target: given.target_container_name.clone().filter(|name| !name.is_empty()),
        ..container(&super::ephemeral::as_container(given), spec, Role::Ephemeral)
    }
}

fn pull_policy(text: Option<&str>) -> PullPolicy {
    match text {
        Some("Always") => PullPolicy::Always,
        Some("Never") => PullPolicy::Never,
        _ => PullPolicy::IfNotPresent,
    }
}

fn port(port: &k8s::ContainerPort) -> Port {
    Port {
        name: port.name.clone().filter(|name| !name.is_empty()),
        container_port: u16::try_from(port.container_port).unwrap_or_default(),
        host_port: port.host_port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0),
        host_ip: port.host_ip.as_deref().and_then(|ip| ip.parse().ok()),
        protocol: match port.protocol.as_deref() {
            Some("UDP") => Protocol::Udp,
            Some("SCTP") => Protocol::Sctp,
            _ => Protocol::Tcp,
        },
    }
}

fn security(container: &k8s::Container, spec: &k8s::PodSpec) -> ContainerSecurity {
    let empty_own = k8s::SecurityContext::default();
    let empty_pod = k8s::PodSecurityContext::default();
    let own = container.security_context.as_ref().unwrap_or(&empty_own);
    let pod = spec.security_context.as_ref().unwrap_or(&empty_pod);
    let caps = own.capabilities.clone().unwrap_or_default();
    let names = |list: Option<Vec<String>>| {
        let short = |name: String| {
            let name = name.to_ascii_uppercase();
            name.strip_prefix("CAP_").map(str::to_owned).unwrap_or(name)
        };
        list.into_iter().flatten().map(short).collect()
    };
    ContainerSecurity {
        run_as_user: own.run_as_user.or(pod.run_as_user).map(id),
        run_as_group: own.run_as_group.or(pod.run_as_group).map(id),
        run_as_non_root: own.run_as_non_root.or(pod.run_as_non_root) == Some(true),
        privileged: own.privileged == Some(true),
        allow_privilege_escalation: own.allow_privilege_escalation,
        read_only_root: own.read_only_root_filesystem == Some(true),
        add_capabilities: names(caps.add),
        drop_capabilities: names(caps.drop),
        ..confinement::of(container, spec)
    }
}

fn probe_spec(probe: &k8s::Probe, container: &k8s::Container) -> Option<probes::Spec> {
    let seconds = |value: Option<i32>, default: u64| {
        Duration::from_secs(value.map_or(default, |value| u64::try_from(value).unwrap_or(0)))
    };
    let times = |value: Option<i32>, default| value.and_then(|n| u32::try_from(n).ok()).unwrap_or(default);
    let named = |host: &Option<String>| host.clone().filter(|host| !host.is_empty());
    let handler = if let Some(exec) = &probe.exec {
        probes::Handler::Exec { command: exec.command.clone().unwrap_or_default() }
    } else if let Some(http) = &probe.http_get {
        let header = |header: &k8s::HTTPHeader| (header.name.clone(), header.value.clone());
        probes::Handler::HttpGet {
            https: http.scheme.as_deref() == Some("HTTPS"),
            host: named(&http.host),
            port: resolve_port(&http.port, container)?,
            path: http.path.clone().unwrap_or_default(),
            headers: http.http_headers.iter().flatten().map(header).collect(),
        }
    } else if let Some(tcp) = &probe.tcp_socket {
        probes::Handler::TcpSocket { host: named(&tcp.host), port: resolve_port(&tcp.port, container)? }
    } else {
        let grpc = probe.grpc.as_ref()?;
        let port = u16::try_from(grpc.port).ok()?;
        probes::Handler::Grpc { port, service: grpc.service.clone().unwrap_or_default() }
    };
    Some(probes::Spec {
        handler,
        initial_delay: seconds(probe.initial_delay_seconds, 0),
        period: seconds(probe.period_seconds, 10),
        timeout: seconds(probe.timeout_seconds, 1),
        success_threshold: times(probe.success_threshold, 1),
        failure_threshold: times(probe.failure_threshold, 3),
        termination_grace_seconds: probe
            .termination_grace_period_seconds
            .and_then(|grace| u64::try_from(grace).ok()),
    })
}

/// A name means one of the container's own ports.
fn resolve_port(port: &IntOrString, container: &k8s::Container) -> Option<u16> {
    let number = match port {
        IntOrString::Int(number) => *number,
        IntOrString::String(name) => {
            let mut ports = container.ports.iter().flatten();
            ports.find(|port| port.name.as_ref() == Some(name))?.container_port
        }
    };
    u16::try_from(number).ok()
}

#[cfg(test)]
#[path = "convert_tests.rs"]
mod tests;
