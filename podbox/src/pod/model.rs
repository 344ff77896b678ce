//! The fields of a [`Pod`], in podbox's own words: units in the names, sums resolved, no `Option` that a
//! default has filled.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Volume, VolumeMount};

/// One validated and defaulted Pod.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pod {
    /// `metadata.name`.
    pub name: String,
    /// `metadata.namespace`, `default` if the manifest names none.
    pub namespace: String,
    /// A random UUID given at `up`; names the pod's directories.
    pub uid: String,
    /// `metadata.labels`.
    pub labels: BTreeMap<String, String>,
    /// `metadata.annotations`.
    pub annotations: BTreeMap<String, String>,
    /// SHA-256 (hex) over the submitted document in canonical JSON: the same manifest has the same hash.
    pub manifest_hash: String,
    /// The kernel hostname and the name in /etc/hosts, at most 63 characters.
    pub hostname: String,
    /// `HOST.SUBDOMAIN.NAMESPACE.svc.cluster.local` where `spec.subdomain` is set.
    pub fqdn: Option<String>,
    /// `spec.setHostnameAsFQDN`: the kernel's hostname is the whole name, where there is one.
    #[serde(default)]
    pub hostname_as_fqdn: bool,
    /// `spec.enableServiceLinks`.
    #[serde(default)]
    pub service_links: bool,
    /// `spec.initContainers`, then `spec.containers`, then `spec.ephemeralContainers`, each in order; at least one of the
    /// second.
    pub containers: Vec<Container>,
    /// `spec.volumes`.
    pub volumes: Vec<Volume>,
    /// `spec.restartPolicy`.
    pub restart_policy: RestartPolicy,
    /// `spec.terminationGracePeriodSeconds`, in seconds.
    pub termination_grace_seconds: u64,
    /// `spec.activeDeadlineSeconds`, in seconds from `status.startTime`.
    pub active_deadline_seconds: Option<u64>,
    /// `spec.readinessGates`: conditions that have to be `True` before the pod is ready.
    pub readiness_gates: Vec<String>,
    /// Which namespaces of the host the pod uses instead of its own.
    pub host: HostNamespaces,
    /// `spec.shareProcessNamespace`.
    pub share_process_namespace: bool,
    /// `spec.hostAliases`.
    pub host_aliases: Vec<HostAlias>,
    /// `spec.dnsPolicy` and `spec.dnsConfig`.
    pub dns: Dns,
    /// `spec.securityContext`.
    pub security: PodSecurity,
    /// `spec.resources`, defaults applied: what all containers may have together.
    #[serde(default)]
    pub resources: Option<Resources>,
    /// `status.qosClass`.
    pub qos: QosClass,
    /// The names in `spec.imagePullSecrets`.
    #[serde(default)]
    pub image_pull_secrets: Vec<String>,
    /// `spec.serviceAccountName` (only visible through fieldRef).
    pub service_account: String,
}

impl Pod {
    /// What the kernel and /etc/hostname call the pod.
    #[must_use]
    pub fn kernel_hostname(&self) -> &str {
        self.fqdn.as_deref().filter(|_| self.hostname_as_fqdn).unwrap_or(&self.hostname)
    }

    /// The containers of `spec.containers`: what the pod is there for.
    pub fn main_containers(&self) -> impl Iterator<Item = &Container> {
        self.containers.iter().filter(|container| container.role == Role::Main)
    }

    /// Whether there is anything in `spec.initContainers`.
    #[must_use]
    pub fn has_init_containers(&self) -> bool {
        self.containers.iter().any(|container| container.role.is_initial())
    }
}

/// `spec.hostNetwork`, `spec.hostPID`, `spec.hostIPC`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostNamespaces {
    /// The host's network namespace (and UTS namespace: the hostname is the host's too).
    pub network: bool,
    /// The host's PID namespace.
    pub pid: bool,
    /// The host's IPC namespace.
    pub ipc: bool,
}

/// One line of `spec.hostAliases`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostAlias {
    /// The address.
    pub ip: String,
    /// Its names.
    pub hostnames: Vec<String>,
}

/// How the pod's resolv.conf is made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dns {
    /// `spec.dnsPolicy`.
    pub policy: DnsPolicy,
    /// `spec.dnsConfig.nameservers`.
    pub nameservers: Vec<String>,
    /// `spec.dnsConfig.searches`.
    pub searches: Vec<String>,
    /// `spec.dnsConfig.options`.
    pub options: Vec<(String, Option<String>)>,
}

/// `spec.dnsPolicy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum DnsPolicy {
    /// The cluster's DNS, or the host's where there is none.
    #[default]
    ClusterFirst,
    /// As `ClusterFirst`, also with `hostNetwork`.
    ClusterFirstWithHostNet,
    /// The host's resolv.conf.
    Default,
    /// Only `dnsConfig`.
    None,
}

/// `spec.restartPolicy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RestartPolicy {
    /// Restart after any exit.
    #[default]
    Always,
    /// Restart after an exit code other than 0.
    OnFailure,
    /// Never restart.
    Never,
}

/// What a container is in its pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// One of `initContainers`: has to end well before the next one begins.
    Init,
    /// One of `initContainers` with restartPolicy Always: has to be started before the next one begins, and stays.
    Sidecar,
    /// One of `containers`.
    Main,
    /// One of `ephemeralContainers`: added to a pod that is there already, to look around in it. Nothing of what the pod
    /// comes to depends on it.
    Ephemeral,
}

impl Role {
    /// Whether it is one of `initContainers`.
    #[must_use]
    pub fn is_initial(self) -> bool {
        matches!(self, Role::Init | Role::Sidecar)
    }
}

/// One of a container's `restartPolicyRules`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestartRule {
    /// `exitCodes.operator: NotIn`: the rule is for all codes but these.
    pub all_but: bool,
    /// `exitCodes.values`.
    pub codes: Vec<i32>,
    /// `action`.
    pub action: RestartAction,
}

/// What a restart rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RestartAction {
    /// Starts the container again.
    Restart,
    /// Starts the whole pod again, in its sandbox.
    RestartAllContainers,
}

/// A handler of `lifecycle.postStart` or `lifecycle.preStop`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Hook {
    /// `exec.command`, no shell.
    Exec(Vec<String>),
    /// `httpGet`, named ports resolved.
    HttpGet(probes::Call),
    /// `tcpSocket`: the API takes it, and a kubelet cannot run it.
    TcpSocket,
    /// `sleep.seconds`.
    Sleep(u64),
}

/// `lifecycle`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lifecycle {
    /// `postStart`: runs when the container has been started, which counts as running only then.
    pub post_start: Option<Hook>,
    /// `preStop`: runs before the container is told to end.
    pub pre_stop: Option<Hook>,
    /// `stopSignal`, as in `SIGUSR1`; `None` is the image's.
    pub stop_signal: Option<String>,
}

/// Where a container's termination message comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MessagePolicy {
    /// The file at `terminationMessagePath`.
    File,
    /// The end of the log, where the file is empty and the container failed.
    FallbackToLogsOnError,
}

/// `status.qosClass`, see kubernetes.io "Quality of Service classes".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum QosClass {
    /// Every container has equal requests and limits for cpu and memory.
    Guaranteed,
    /// Something is requested or limited.
    Burstable,
    /// Nothing is requested or limited.
    BestEffort,
}

/// Pod-level `securityContext`, as far as containers do not override it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodSecurity {
    /// `supplementalGroups`.
    pub supplemental_groups: Vec<u32>,
    /// `supplementalGroupsPolicy: Strict` (default `Merge`).
    pub strict_groups: bool,
    /// `sysctls`, `/` in names already turned into `.`.
    pub sysctls: BTreeMap<String, String>,
    /// `spec.hostUsers: false`: ids inside the pod are other ids outside.
    #[serde(default)]
    pub user_namespace: bool,
    /// `fsGroup`: the group of what the pod's volumes hold, and one of every container's.
    #[serde(default)]
    pub fs_group: Option<u32>,
    /// `fsGroupChangePolicy: OnRootMismatch` (default `Always`).
    #[serde(default)]
    pub fs_group_on_root_mismatch: bool,
}

/// One container, pod-level defaults already merged in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Container {
    /// Unique in the pod.
    pub name: String,
    /// What it is in the pod.
    pub role: Role,
    /// Its own `restartPolicy`, or else the pod's.
    pub restart_policy: RestartPolicy,
    /// `restartPolicyRules`: the first that fits an exit code beats the policy.
    pub restart_rules: Vec<RestartRule>,
    /// As written.
    pub image: String,
    /// `imagePullPolicy`.
    pub pull_policy: PullPolicy,
    /// `command`; `None` keeps the image's ENTRYPOINT.
    pub command: Option<Vec<String>>,
    /// `args`; `None` keeps the image's CMD (unless `command` is set).
    pub args: Option<Vec<String>>,
    /// `workingDir`.
    pub working_dir: Option<String>,
    /// `envFrom`, in order.
    #[serde(default)]
    pub env_from: Vec<EnvFrom>,
    /// `env`, in order.
    pub env: Vec<EnvVar>,
    /// `ports`.
    pub ports: Vec<Port>,
    /// `resources`.
    pub resources: Resources,
    /// How many devices of each kind (`VENDOR/CLASS`) `resources` asks for.
    #[serde(default)]
    pub devices: BTreeMap<String, u64>,
    /// `resizePolicy`.
    #[serde(default)]
    pub resize: ResizePolicy,
    /// `volumeMounts`.
    pub mounts: Vec<VolumeMount>,
    /// `terminationMessagePath`.
    pub termination_message_path: String,
    /// `terminationMessagePolicy`.
    pub termination_message_policy: MessagePolicy,
    /// `stdin`.
    pub stdin: bool,
    /// `stdinOnce`.
    pub stdin_once: bool,
    /// `tty`.
    pub tty: bool,
    /// `livenessProbe`, named ports resolved.
    pub liveness: Option<probes::Spec>,
    /// `readinessProbe`, named ports resolved.
    pub readiness: Option<probes::Spec>,
    /// `startupProbe`, named ports resolved.
    pub startup: Option<probes::Spec>,
    /// `lifecycle`.
    pub lifecycle: Lifecycle,
    /// `securityContext` over the pod's.
    pub security: ContainerSecurity,
    /// `targetContainerName` of an ephemeral container: whose processes it is among.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
}

/// `imagePullPolicy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PullPolicy {
    /// Ask the registry at every start.
    Always,
    /// Pull only what is not there.
    IfNotPresent,
    /// Never pull.
    Never,
}

/// A kind of object that environment variables come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Referent {
    /// A ConfigMap.
    ConfigMap,
    /// A Secret.
    Secret,
}

/// One entry of `envFrom`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvFrom {
    /// `prefix`: put in front of every key.
    pub prefix: String,
    /// The kind of object.
    pub kind: Referent,
    /// Its name.
    pub name: String,
    /// `optional`: nothing is wrong if it is not there.
    pub optional: bool,
}

/// One entry of `env`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvVar {
    /// The name.
    pub name: String,
    /// Where the value comes from.
    pub value: EnvValue,
}

/// Where an environment variable's value comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EnvValue {
    /// `value`, before `$(VAR)` expansion.
    Literal(String),
    /// `valueFrom.fieldRef.fieldPath`.
    Field(FieldPath),
    /// `valueFrom.resourceFieldRef`.
    Resource {
        /// The container whose resources are meant (its own if the manifest names none).
        container: String,
        /// Which resource.
        resource: ResourceField,
        /// The divisor in thousandths: `1` is 1000, `1m` is 1, `1Mi` is 1048576000.
        divisor_milli: u64,
    },
    /// `valueFrom.configMapKeyRef`, `valueFrom.secretKeyRef`.
    Key {
        /// The kind of object.
        kind: Referent,
        /// Its name.
        name: String,
        /// Which of its keys.
        key: String,
        /// Nothing is wrong if object or key is not there.
        optional: bool,
    },
    /// `valueFrom.fileKeyRef`.
    File {
        /// The volume's name.
        volume: String,
        /// The file's path in it.
        path: String,
        /// Which of the file's variables.
        key: String,
        /// Nothing is wrong if file or key is not there.
        optional: bool,
    },
}

/// A `fieldPath` of the downward API that may stand in `env`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FieldPath {
    /// `metadata.name`
    Name,
    /// `metadata.namespace`
    Namespace,
    /// `metadata.uid`
    Uid,
    /// `metadata.labels['KEY']`
    Label(String),
    /// `metadata.annotations['KEY']`
    Annotation(String),
    /// `spec.nodeName`
    NodeName,
    /// `spec.serviceAccountName`
    ServiceAccountName,
    /// `status.hostIP`
    HostIp,
    /// `status.hostIPs`, joined by commas
    HostIps,
    /// `status.podIP`
    PodIp,
    /// `status.podIPs`, joined by commas
    PodIps,
}

/// A `resource` of the downward API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ResourceField {
    /// `requests.cpu`
    RequestsCpu,
    /// `limits.cpu`
    LimitsCpu,
    /// `requests.memory`
    RequestsMemory,
    /// `limits.memory`
    LimitsMemory,
    /// `requests.ephemeral-storage`
    RequestsEphemeralStorage,
    /// `limits.ephemeral-storage`
    LimitsEphemeralStorage,
}

/// One entry of `ports`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// `name`.
    pub name: Option<String>,
    /// `containerPort`.
    pub container_port: u16,
    /// `hostPort`.
    pub host_port: Option<u16>,
    /// `hostIP`.
    pub host_ip: Option<std::net::IpAddr>,
    /// `protocol`.
    pub protocol: Protocol,
}

/// A port's transport protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Protocol {
    /// TCP
    Tcp,
    /// UDP
    Udp,
    /// SCTP
    Sctp,
}

impl Protocol {
    /// As manifests have it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Protocol::Tcp => "TCP",
            Protocol::Udp => "UDP",
            Protocol::Sctp => "SCTP",
        }
    }

    /// As those have it who know nothing of Kubernetes.
    #[must_use]
    pub fn on_the_wire(self) -> netplugin::Protocol {
        match self {
            Protocol::Tcp => netplugin::Protocol::Tcp,
            Protocol::Udp => netplugin::Protocol::Udp,
            Protocol::Sctp => netplugin::Protocol::Sctp,
        }
    }
}

impl From<netplugin::Protocol> for Protocol {
    fn from(protocol: netplugin::Protocol) -> Protocol {
        match protocol {
            netplugin::Protocol::Tcp => Protocol::Tcp,
            netplugin::Protocol::Udp => Protocol::Udp,
            netplugin::Protocol::Sctp => Protocol::Sctp,
        }
    }
}

/// `resources`, defaults applied (a limit without a request is also the request).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// `requests.cpu`, thousandths of a core.
    pub cpu_request_milli: Option<u64>,
    /// `limits.cpu`, thousandths of a core.
    pub cpu_limit_milli: Option<u64>,
    /// `requests.memory`, bytes.
    pub memory_request_bytes: Option<u64>,
    /// `limits.memory`, bytes.
    pub memory_limit_bytes: Option<u64>,
    /// `requests.ephemeral-storage`, bytes.
    pub storage_request_bytes: Option<u64>,
    /// `limits.ephemeral-storage`, bytes.
    pub storage_limit_bytes: Option<u64>,
    /// `hugepages-2Mi`, bytes; limit and request are the same.
    #[serde(default)]
    pub hugepages_2mi_bytes: Option<u64>,
    /// `hugepages-1Gi`, bytes; limit and request are the same.
    #[serde(default)]
    pub hugepages_1gi_bytes: Option<u64>,
}

/// `resizePolicy`: what a container needs when its resources change while it runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResizePolicy {
    /// A new start for a change of its CPU.
    pub cpu_restarts: bool,
    /// A new start for a change of its memory.
    pub memory_restarts: bool,
}

/// Container-level `securityContext` over the pod's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerSecurity {
    /// `runAsUser`; `None` is the image's user.
    pub run_as_user: Option<u32>,
    /// `runAsGroup`; `None` is the user's own group.
    pub run_as_group: Option<u32>,
    /// `runAsNonRoot`.
    pub run_as_non_root: bool,
    /// `privileged`.
    pub privileged: bool,
    /// `allowPrivilegeEscalation`; `false` sets no_new_privs.
    pub allow_privilege_escalation: Option<bool>,
    /// `readOnlyRootFilesystem`.
    pub read_only_root: bool,
    /// `capabilities.add`, upper case without `CAP_`, `ALL` allowed.
    pub add_capabilities: Vec<String>,
    /// `capabilities.drop`, upper case without `CAP_`, `ALL` allowed.
    pub drop_capabilities: Vec<String>,
    /// `seccompProfile`.
    #[serde(default)]
    pub seccomp: SeccompProfile,
    /// `appArmorProfile`.
    #[serde(default)]
    pub app_armor: AppArmorProfile,
    /// `seLinuxOptions`.
    #[serde(default)]
    pub selinux: Option<SeLinuxOptions>,
    /// `procMount: Unmasked`.
    #[serde(default)]
    pub unmasked_proc: bool,
}

/// `seccompProfile`: which system calls the kernel takes from a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SeccompProfile {
    /// All.
    #[default]
    Unconfined,
    /// Those that containerd's default profile allows.
    RuntimeDefault,
    /// Those that a file of the host allows; the path is relative to the directory of profiles.
    Localhost(String),
}

/// `appArmorProfile`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum AppArmorProfile {
    /// Nobody asked.
    #[default]
    Unset,
    /// None, said so.
    Unconfined,
    /// The one that container runtimes load.
    RuntimeDefault,
    /// One that is loaded on the host, by its name.
    Localhost(String),
}

/// `seLinuxOptions`: the parts of a label; empty ones are the policy's business.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeLinuxOptions {
    /// Of the label: its user.
    pub user: String,
    /// Its role.
    pub role: String,
    /// Its type.
    pub kind: String,
    /// Its level.
    pub level: String,
}

impl ContainerSecurity {
    /// What a kubelet says where [`Self::is_root_against_its_policy`].
    pub const ROOT_AGAINST_POLICY: &str = "container's runAsUser breaks non-root policy";

    /// Whether it asks for user 0 and for a user that is not 0.
    #[must_use]
    pub fn is_root_against_its_policy(&self) -> bool {
        self.run_as_non_root && self.run_as_user == Some(0)
    }
}
