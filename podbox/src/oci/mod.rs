//! (Pod, Container, Image, surroundings) → OCI runtime Spec. Pure: the same input gives the same Spec.

mod devices;
mod expand;
mod mounts;
mod process;
mod resources;
pub mod seccomp;
mod security;

use std::net::IpAddr;
use std::path::PathBuf;

use oci_spec::runtime::{
    Linux, LinuxBuilder, LinuxDevice, LinuxNamespace, LinuxNamespaceBuilder, LinuxNamespaceType,
    LinuxSeccomp, Process, ProcessBuilder, RootBuilder, Spec, SpecBuilder, UserBuilder,
};
use runtime::plan::{GroupPolicy, IdRange, UserSpec};

use crate::cdi::Edits;
use crate::environment::Variables;
use crate::image::Image;
use crate::pod::{Container, ContainerSecurity, Pod};
use crate::store::AttemptDir;
use crate::subpath::MountSource;

pub use expand::expand;
pub use process::probe;
pub(crate) use process::{field, resource_field};
pub(crate) use resources::together;
pub use resources::{class_limits, container_limits, container_path, effective, pod_limits, pod_path};

/// What a Spec depends on beside the Pod: the host, the sandbox and where volumes lie.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// The host's name: `spec.nodeName`.
    pub node_name: String,
    /// The host's addresses, primary first.
    pub host_ips: Vec<IpAddr>,
    /// The pod's addresses, primary first.
    pub pod_ips: Vec<IpAddr>,
    /// All the host's processors, in thousandths.
    pub node_cpu_milli: u64,
    /// All the host's memory.
    pub node_memory_bytes: u64,
    /// The size of the file system that volumes lie on.
    pub node_storage_bytes: u64,
    /// Pinned namespaces: `net`, `ipc`, `uts`, and `pid` if it is shared.
    pub namespaces: PathBuf,
    /// The pod's /dev/shm.
    pub shm: PathBuf,
    /// hosts, hostname, resolv.conf.
    pub etc: PathBuf,
    /// The device nodes of the host, for privileged containers.
    pub host_devices: Vec<LinuxDevice>,
    /// What lies behind each volume mount of the container, in the order of its mounts.
    pub volumes: Vec<MountSource>,
    /// The environment that the manifest gives to the container.
    pub environment: Variables,
    /// The AppArmor profile of the container's program.
    pub app_armor: Option<String>,
    /// The SELinux label of the container's program.
    pub selinux_label: Option<String>,
    /// The ids of the host that the pod's user namespace has, pinned as `user`.
    pub users: Option<IdRange>,
    /// What the container's system calls are filtered by.
    pub seccomp: Option<LinuxSeccomp>,
    /// What the container's devices need.
    pub cdi: Vec<Edits>,
}

/// Why a Spec cannot be made: the kubelet's CreateContainerConfigError.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Neither the manifest nor the image names a program.
    #[error("no command specified")]
    NoCommand,
    /// `runAsNonRoot` and user 0.
    #[error("{} (pod: \"{pod}\", container: {container})", ContainerSecurity::ROOT_AGAINST_POLICY)]
    RootAsked {
        /// `name_namespace(uid)`
        pod: String,
        /// The container's name.
        container: String,
    },
    /// `runAsNonRoot` and an image that runs as root.
    #[error("container has runAsNonRoot and image will run as root (pod: \"{pod}\", container: {container})")]
    RootByImage {
        /// `name_namespace(uid)`
        pod: String,
        /// The container's name.
        container: String,
    },
    /// `runAsNonRoot` and an image whose user has only a name.
    #[error(
        "container has runAsNonRoot and image has non-numeric user ({user}), cannot verify user is non-root (pod: \"{pod}\", container: {container})"
    )]
    NameByImage {
        /// The image's user.
        user: String,
        /// `name_namespace(uid)`
        pod: String,
        /// The container's name.
        container: String,
    },
    /// The builder refused.
    #[error("make the runtime spec: {0}")]
    Spec(String),
}

/// One container's Spec and user.
#[derive(Clone, Debug)]
pub struct ContainerSpec {
    /// The Spec.
    pub spec: Spec,
    /// The user, to be looked up in the image's own passwd file.
    pub user: UserSpec,
}

/// The Spec of one attempt of a container.
///
/// # Errors
/// [`ConfigError`] when the Pod and the image do not make a runnable container together.
pub fn container(
    pod: &Pod,
    container: &Container,
    image: &Image,
    attempt: (u32, &AttemptDir),
    around: &Surroundings,
) -> Result<ContainerSpec, ConfigError> {
    check_non_root(pod, container, image)?;
    let (number, dir) = attempt;
    let mut spec = SpecBuilder::default()
        .version("1.2.0")
        .root(
            RootBuilder::default()
                .path("rootfs")
                .readonly(container.security.read_only_root)
                .build()
                .map_err(spec_error)?,
        )
        .mounts(mounts::of(pod, container, dir, around))
        .process(process_of(pod, container, image, around)?)
        .linux(linux_of(pod, container, number, around).map_err(spec_error)?)
        .build()
        .map_err(spec_error)?;
    let mut user = user_of(pod, container, image);
    for edits in &around.cdi {
        devices::edit(&mut spec, &mut user, edits).map_err(spec_error)?;
    }
    Ok(ContainerSpec { spec, user })
}

#[expect(clippy::needless_pass_by_value, reason = "the shape map_err wants")]
fn spec_error(error: oci_spec::OciSpecError) -> ConfigError {
    ConfigError::Spec(error.to_string())
}

fn check_non_root(pod: &Pod, container: &Container, image: &Image) -> Result<(), ConfigError> {
    let security = &container.security;
    if !security.run_as_non_root {
        return Ok(());
    }
    let place = format!("{}_{}({})", pod.name, pod.namespace, pod.uid);
    let name = container.name.clone();
    if security.is_root_against_its_policy() {
        return Err(ConfigError::RootAsked { pod: place, container: name });
    }
    if security.run_as_user.is_some() {
        return Ok(());
    }
    let user = image.config.user.as_deref().unwrap_or_default().split(':').next().unwrap_or_default();
    match user.parse::<u32>() {
        Ok(0) => Err(ConfigError::RootByImage { pod: place, container: name }),
        Ok(_) => Ok(()),
        Err(_) if user.is_empty() => Err(ConfigError::RootByImage { pod: place, container: name }),
        Err(_) => Err(ConfigError::NameByImage { user: user.to_owned(), pod: place, container: name }),
    }
}

fn user_of(pod: &Pod, container: &Container, image: &Image) -> UserSpec {
    UserSpec {
        image: image.config.user.clone().unwrap_or_default(),
        run_as_user: container.security.run_as_user,
        run_as_group: container.security.run_as_group,
        supplementary: pod
            .security
            .supplemental_groups
            .iter()
            .copied()
            .chain(pod.security.fs_group)
            .collect(),
        policy: if pod.security.strict_groups { GroupPolicy::Strict } else { GroupPolicy::Merge },
    }
}

fn process_of(
    pod: &Pod,
    container: &Container,
    image: &Image,
    around: &Surroundings,
) -> Result<Process, ConfigError> {
    let env = process::environment(pod, container, &image.config, around);
    let args = process::arguments(container, &image.config, &around.environment);
    if args.is_empty() {
        return Err(ConfigError::NoCommand);
    }
    let asked = container.working_dir.as_deref().or(image.config.working_dir.as_deref());
    let cwd = asked.filter(|dir| !dir.is_empty()).unwrap_or("/");
    let security = &container.security;
    let mut process = ProcessBuilder::default()
        .terminal(container.tty)
        .user(UserBuilder::default().build().map_err(spec_error)?)
        .args(args)
        .env(env)
        .cwd(cwd)
        .capabilities(security::capabilities(security))
        .rlimits(Vec::new())
        .no_new_privileges(security.allow_privilege_escalation == Some(false))
        .oom_score_adj(resources::oom_score_adj(pod, container, around.node_memory_bytes))
        .build()
        .map_err(spec_error)?;
    process.set_apparmor_profile(around.app_armor.clone());
    process.set_selinux_label(around.selinux_label.clone());
    Ok(process)
}

fn linux_of(
    pod: &Pod,
    container: &Container,
    attempt: u32,
    around: &Surroundings,
) -> Result<Linux, oci_spec::OciSpecError> {
    let privileged = container.security.privileged;
    let in_full = privileged || container.security.unmasked_proc;
    let list = |paths: &[&str]| paths.iter().map(|&path| path.to_owned()).collect::<Vec<_>>();
    let mut resources = container_limits(pod, container);
    resources.set_devices(Some(security::device_rules(&container.security)));
    let linux = LinuxBuilder::default()
        .namespaces(namespaces(pod, around)?)
        .resources(resources)
        .devices(if privileged { around.host_devices.clone() } else { Vec::new() })
        .cgroups_path(container_path(pod, &container.name, attempt))
        .masked_paths(if in_full { Vec::new() } else { list(&security::MASKED) })
        .readonly_paths(if in_full { Vec::new() } else { list(&security::READONLY) });
    let mut linux = linux.build()?;
    linux.set_seccomp(around.seccomp.clone());
    let ids = around.users.map(|ids| mounts::mapping(ids).map(|map| vec![map])).transpose()?;
    linux.set_uid_mappings(ids.clone());
    linux.set_gid_mappings(ids);
    Ok(linux)
}

/// Own mount and cgroup namespace always; the pod's net, ipc and uts unless they are the host's; a PID namespace of
/// its own unless the pod shares one or uses the host's.
fn namespaces(pod: &Pod, around: &Surroundings) -> Result<Vec<LinuxNamespace>, oci_spec::OciSpecError> {
    let own = |kind| LinuxNamespaceBuilder::default().typ(kind).build();
    let pinned = |kind, name: &str| {
        LinuxNamespaceBuilder::default().typ(kind).path(around.namespaces.join(name)).build()
    };
    let mut list = vec![own(LinuxNamespaceType::Mount)?, own(LinuxNamespaceType::Cgroup)?];
    if !pod.host.network {
        list.push(pinned(LinuxNamespaceType::Network, "net")?);
        list.push(pinned(LinuxNamespaceType::Uts, "uts")?);
    }
    if !pod.host.ipc {
        list.push(pinned(LinuxNamespaceType::Ipc, "ipc")?);
    }
    if pod.share_process_namespace {
        list.push(pinned(LinuxNamespaceType::Pid, "pid")?);
    } else if !pod.host.pid {
        list.push(own(LinuxNamespaceType::Pid)?);
    }
    if around.users.is_some() {
        list.push(pinned(LinuxNamespaceType::User, "user")?);
    }
    Ok(list)
}
