//! A pod's volumes and how containers mount them.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Files, PullPolicy};

/// One volume of the pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// Unique in the pod.
    pub name: String,
    /// Where it comes from.
    pub source: VolumeSource,
}

/// Where a volume comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum VolumeSource {
    /// `emptyDir`
    EmptyDir {
        /// `medium: Memory`: a tmpfs.
        memory: bool,
        /// `sizeLimit`, bytes.
        size_limit_bytes: Option<u64>,
    },
    /// `emptyDir` with `medium: HugePages`, or `HugePages-SIZE`
    HugePages {
        /// SIZE in bytes; `None` is the one that the containers ask for.
        page_bytes: Option<u64>,
    },
    /// `hostPath`
    HostPath {
        /// The path on the host.
        path: PathBuf,
        /// What must be there, or is made.
        kind: HostPathType,
    },
    /// `image`
    Image {
        /// `reference`, as written.
        reference: String,
        /// `pullPolicy`.
        pull_policy: PullPolicy,
    },
    /// `configMap`, `secret`, `downwardAPI`, `projected`
    Files(Files),
    /// `persistentVolumeClaim`
    Claim {
        /// The claim's name.
        claim: String,
    },
    /// `ephemeral`: a claim that lives with the pod
    Ephemeral {
        /// Its name, `POD-VOLUME`.
        claim: String,
        /// `volumeClaimTemplate.spec`.
        spec: serde_json::Value,
    },
}

/// `hostPath.type`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum HostPathType {
    /// `""`: no check.
    #[default]
    Unset,
    /// A directory, made with mode 0755 if absent.
    DirectoryOrCreate,
    /// A directory.
    Directory,
    /// A file, made empty with mode 0644 if absent (its parent must exist).
    FileOrCreate,
    /// A file.
    File,
    /// A UNIX socket.
    Socket,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
}

/// One entry of `volumeMounts`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeMount {
    /// The volume's name.
    pub volume: String,
    /// Where in the container.
    pub mount_path: String,
    /// `subPath`, relative, without `..`.
    pub sub_path: Option<String>,
    /// `subPathExpr`, before `$(VAR)` expansion.
    #[serde(default)]
    pub sub_path_expr: Option<String>,
    /// `readOnly`.
    pub read_only: bool,
    /// `recursiveReadOnly`, which every kernel that podbox runs on can do.
    #[serde(default)]
    pub recursive_read_only: bool,
    /// `mountPropagation`.
    #[serde(default)]
    pub propagation: Propagation,
}

/// `volumeMounts[].mountPropagation`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Propagation {
    /// Neither side sees what the other mounts.
    #[default]
    None,
    /// The container sees what the host mounts.
    HostToContainer,
    /// Both see what the other mounts.
    Bidirectional,
}
