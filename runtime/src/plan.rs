//! The values that cross the border between a supervisor and a stage: a plan in, answers out.
//!
//! All of them are JSON, one object on one line. A plan is complete: a stage reads nothing else that tells
//! it what to do, so a plan that was written down can be run again by hand, or only be printed.

use oci_spec::runtime::{LinuxResources, LinuxSeccomp, Process, Spec};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Which namespaces a sandbox gets of its own. The ones that are `false` stay the host's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NamespaceSet {
    /// Network.
    pub net: bool,
    /// System V IPC and POSIX message queues.
    pub ipc: bool,
    /// Host and domain name.
    pub uts: bool,
    /// Process ids, shared by all containers; its first process is a reaper.
    pub pid: bool,
}

impl NamespaceSet {
    /// What a pod gets unless it asks otherwise: net, ipc and uts of its own, process ids by container.
    pub const POD: Self = Self { net: true, ipc: true, uts: true, pid: false };
}

/// The ids that a user namespace has: its own from 0 on are the host's from `first` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdRange {
    /// The host's id of the namespace's root.
    pub first: u32,
    /// How many ids there are.
    pub count: u32,
}

/// The tmpfs that all containers of a sandbox see as `/dev/shm`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shm {
    /// Where it is mounted on the host; made if missing.
    pub path: PathBuf,
    /// Its size in bytes.
    pub size_bytes: u64,
}

/// A cgroup and its limits.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CgroupPlan {
    /// Its path below the root of every hierarchy, such as `/podbox/burstable/pod<uid>`.
    pub path: PathBuf,
    /// Its limits, as the OCI runtime Spec writes them.
    #[serde(default)]
    pub resources: LinuxResources,
    /// What is set in the cgroup right above, which it may share with others of its kind.
    #[serde(default)]
    pub above: Option<LinuxResources>,
}

/// What the containers of one sandbox share, to be made by `stage sandbox` and unmade by
/// [`crate::sandbox::remove`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SandboxPlan {
    /// The directory that gets one file a namespace: `net`, `ipc`, `uts` and `pid`. Made if missing.
    pub pin_dir: PathBuf,
    /// A second pin of the network namespace for `ip netns`, such as `/run/netns/NAME`.
    pub netns_alias: Option<PathBuf>,
    /// Which namespaces are new.
    pub new: NamespaceSet,
    /// A user namespace, pinned as `user`, that owns the other new ones.
    pub users: Option<IdRange>,
    /// The host name; needs `new.uts`.
    pub hostname: Option<String>,
    /// The NIS domain name; needs `new.uts`.
    pub domainname: Option<String>,
    /// Kernel settings written inside the new namespaces, with dots or slashes: `net.ipv4.ip_forward`.
    pub sysctls: BTreeMap<String, String>,
    /// The shared `/dev/shm`.
    pub shm: Option<Shm>,
    /// The parent cgroup of all containers.
    pub cgroup: Option<CgroupPlan>,
}

/// Where a container's root file system comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rootfs {
    /// An overlay: read-only layers below, one writable directory above.
    Overlay {
        /// The layers, topmost first; at least one.
        lower: Vec<PathBuf>,
        /// A directory of this container's own; `upper` and `work` are made in it.
        scratch: PathBuf,
    },
    /// A directory as it is; what the container writes stays there.
    Directory(PathBuf),
}

/// What a container's standard streams are. The FIFOs are made by the caller.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Stdio {
    /// A FIFO, or `None` for `/dev/null`.
    pub stdin: Option<PathBuf>,
    /// Whether the container sees end of file when the last writer of `stdin` leaves. Otherwise its input
    /// stays open until it ends, whoever comes and goes.
    pub stdin_ends: bool,
    /// A FIFO, opened for reading and writing, so that a reader's death raises no SIGPIPE.
    pub stdout: PathBuf,
    /// As `stdout`. Unused with a terminal, which has one output.
    pub stderr: PathBuf,
    /// A FIFO that takes lines `ROWS COLUMNS` and resizes the terminal. Only with `process.terminal`.
    pub console: Option<PathBuf>,
}

/// How supplementary groups are found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupPolicy {
    /// The given ones and those that the image's `/etc/group` lists for the user.
    #[default]
    Merge,
    /// Only the given ones.
    Strict,
}

/// Who the container runs as, where names have to be looked up in the container's own files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UserSpec {
    /// The image's `USER`: `user[:group]`, each a name or a number. Empty is root.
    pub image: String,
    /// Takes the place of the image's user.
    pub run_as_user: Option<u32>,
    /// Takes the place of the image's group.
    pub run_as_group: Option<u32>,
    /// Further groups.
    pub supplementary: Vec<u32>,
    /// Whether the image's `/etc/group` adds to them.
    pub policy: GroupPolicy,
}

/// One attempt to run one container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContainerPlan {
    /// The container's name, for messages.
    pub name: String,
    /// The OCI runtime Spec. Its `root.path` is not used, `rootfs` is.
    pub spec: Spec,
    /// The root file system.
    pub rootfs: Rootfs,
    /// The standard streams.
    #[serde(default)]
    pub stdio: Stdio,
    /// If given, decides over `spec.process.user`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<UserSpec>,
}

/// A process by pid and start time. A pid alone is reused; the pair is not, within a boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Identity {
    /// As the host sees it.
    pub pid: i32,
    /// Field 22 of `/proc/PID/stat`: clock ticks since boot.
    pub start: u64,
}

/// One more process in a running container. What it leaves in the background when it ends stays there, as under a
/// kubelet; a caller that hangs up meanwhile takes everything with it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExecPlan {
    /// The container's init.
    pub target: Identity,
    /// What to run; `terminal` asks for a pseudo terminal of the container.
    pub process: Process,
    /// If given, decides over `process.user`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<UserSpec>,
    /// The container's cgroup, as in its Spec.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<PathBuf>,
    /// The host's id of root in the container's user namespace, if that is not the host's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root_id: Option<u32>,
    /// The container's seccomp profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seccomp: Option<LinuxSeccomp>,
    /// Whether the stage stays for more.
    #[serde(default)]
    pub stay: Stay,
}

/// How long an exec stage serves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stay {
    /// It runs the plan's process and leaves.
    #[default]
    Once,
    /// It runs one program for every [`ExecRun`] that it is told, one after the other, until its caller hangs
    /// up: for probes, which would otherwise pay for a new stage each time.
    UntilHangUp,
}

/// What an exec stage that stays is told: one program to run, in all else the plan's process. Its standard
/// streams come beside the line. The answer is [`FromStage::Exited`] or [`FromStage::Failed`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecRun {
    /// Program and arguments.
    pub args: Vec<String>,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    /// It left with this code.
    Code(u8),
    /// This signal killed it.
    Signal(i32),
}

impl Exit {
    /// Reads a wait status as wait(2) encodes it.
    #[must_use]
    pub const fn from_status(status: i32) -> Self {
        let signal = status & 0x7f;
        if signal == 0 { Self::Code((status >> 8) as u8) } else { Self::Signal(signal) }
    }

    /// The code that a shell would report: 128 and the signal's number for a killed process.
    #[must_use]
    pub const fn shell_code(self) -> u8 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => 128_u8.wrapping_add(signal as u8),
        }
    }
}

/// One step that has been done, and how long it took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timed {
    /// The step's name.
    pub name: String,
    /// What a reader could type to do the same.
    pub command: String,
    /// Its duration in microseconds.
    pub micros: u64,
}

/// A stage has done its work.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ready {
    /// `stage container`: init, waiting at its gate. `stage sandbox`: the reaper, if there is one.
    pub process: Option<Identity>,
    /// What could not be done as asked and was done otherwise.
    pub notes: Vec<String>,
    /// What was done, in order.
    pub trace: Vec<Timed>,
}

/// A step that failed. What the stage had made is undone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{step}: {text}")]
#[serde(default)]
pub struct Failure {
    /// The step's name.
    pub step: String,
    /// The kernel's errno, if it was the kernel that refused.
    pub errno: Option<i32>,
    /// What went wrong, to be read after the step's name.
    pub text: String,
    /// For a program that could not be run: 127 if there is none, 126 if it cannot be executed.
    pub exit_code: Option<u8>,
}

/// What a stage says on its socket, one line each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromStage {
    /// Sandbox and container stages: set up.
    Ready(Ready),
    /// Any stage: it could not.
    Failed(Failure),
    /// Exec stage: the program runs. With a terminal, this line brings the master's descriptor.
    Started(Identity),
    /// Exec stage: the program has ended.
    Exited(Exit),
}

/// The line that opens init's gate.
pub const GO: &str = "go\n";

/// The exit code of an init whose gate was never opened: whoever held it is gone, or wants it no more. Others tell by it
/// that the program has not run; a program that ends with it by itself may be taken for one.
pub const GATE_CLOSED: u8 = 194;
