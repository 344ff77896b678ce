//! Volumes: what must be on the host before a container can mount it.
//!
//! `emptyDir` is a directory (or a tmpfs) of the pod's own, kept across container restarts and gone with the pod.
//! `hostPath` is checked, or made, as its type says. The files of `configMap`, `secret`, `downwardAPI` and `projected`
//! are written here, and anew when what they tell has changed. A claim is a directory that outlives the pod, or the
//! path of a PersistentVolume. Source: kubelet `volume/emptydir`, `volume/hostpath`, `volume/configmap` and so on.

mod claim;
mod downward;
mod files;
mod host_path;
mod huge_pages;
mod memory;
mod token;
pub mod usage;
mod writer;

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::ownership::{self, Policy};
use crate::pod::{Files, FilesFrom, Pod, Volume, VolumeSource};
use crate::store::{ObjectKind, PodDir, Store};

pub(crate) use memory::is_mounted;
pub use token::Tokens;

/// Why a volume cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// The host path is not what its type says.
    #[error("hostPath type check failed: {} is not {wanted}", path.display())]
    WrongType {
        /// The host path.
        path: PathBuf,
        /// `a directory`, `a file`, …
        wanted: &'static str,
    },
    /// The volume's directory could not be made.
    #[error("{action} {}", path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// To which path.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// What the volume refers to is not there, or is not what it should be; in a kubelet's words.
    #[error("{0}")]
    Content(String),
    /// A claim that keeps a pod from being scheduled; in the scheduler's words.
    #[error("0/1 nodes are available: {0}.")]
    Unschedulable(String),
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> VolumeError {
    let path = path.to_path_buf();
    move |source| VolumeError::Io { action, path, source }
}

/// What volumes are made of.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// The pod.
    pub pod: &'a Pod,
    /// Where its volumes lie.
    pub dir: &'a PodDir,
    /// Where the objects lie that they refer to.
    pub store: &'a Store,
    /// The tokens that were signed already.
    pub tokens: &'a Tokens,
}

/// A volume that could not be made, by name, and all others of which that is true.
pub type Unmade = ((String, VolumeError), Vec<(String, VolumeError)>);

/// What a kubelet says of a volume that could not be made.
#[must_use]
pub fn unmounted(name: &str, error: &VolumeError) -> String {
    format!("MountVolume.SetUp failed for volume {name:?} : {}", crate::report::chain(error))
}

/// Makes all volumes of the pod; those that are there already stay as they are.
///
/// # Errors
/// The volumes that cannot be made, by name: the first claim, or else every other volume, as a scheduler and then a
/// kubelet look at them.
pub fn prepare(place: &Place<'_>) -> Result<(), Unmade> {
    let is_claim = |volume: &&Volume| {
        matches!(volume.source, VolumeSource::Claim { .. } | VolumeSource::Ephemeral { .. })
    };
    let (claims, others): (Vec<_>, Vec<_>) = place.pod.volumes.iter().partition(is_claim);
    let failed = |volume: &Volume| prepare_one(place, volume).err().map(|error| (volume.name.clone(), error));
    if let Some(claim) = claims.into_iter().find_map(failed) {
        return Err((claim, Vec::new()));
    }
    let mut failed = others.into_iter().filter_map(failed);
    match failed.next() {
        None => Ok(()),
        Some(first) => Err((first, failed.collect())),
    }
}

/// Whether a volume depends on what others have to bring, so that nothing of the pod should be made before it is there.
#[must_use]
pub fn may_be_missing(pod: &Pod) -> bool {
    let is_there = |volume: &Volume| {
        matches!(
            volume.source,
            VolumeSource::EmptyDir { .. } | VolumeSource::HugePages { .. } | VolumeSource::Image { .. }
        )
    };
    !pod.volumes.iter().all(is_there)
}

/// The kinds of object that the pod's volumes refer to.
#[must_use]
pub fn kinds(pod: &Pod) -> BTreeSet<ObjectKind> {
    let of_files = |source: &FilesFrom| match source {
        FilesFrom::ConfigMap(_) => Some(ObjectKind::ConfigMap),
        FilesFrom::Secret(_) => Some(ObjectKind::Secret),
        FilesFrom::Token(_) => Some(ObjectKind::ServiceAccount),
        FilesFrom::Downward(_) => None,
    };
    let mut kinds = BTreeSet::new();
    for volume in &pod.volumes {
        match &volume.source {
            VolumeSource::Files(files) => kinds.extend(files.sources.iter().filter_map(of_files)),
            VolumeSource::Claim { .. } | VolumeSource::Ephemeral { .. } => {
                kinds.extend([ObjectKind::PersistentVolumeClaim, ObjectKind::PersistentVolume]);
            }
            VolumeSource::EmptyDir { .. }
            | VolumeSource::HugePages { .. }
            | VolumeSource::HostPath { .. }
            | VolumeSource::Image { .. } => {}
        }
    }
    kinds
}

/// Writes the files of volumes anew that tell something else now, or whose token gets old. What was never prepared is
/// left alone. What cannot be written stays as it is, and is told by volume.
pub fn refresh(place: &Place<'_>) -> Vec<(String, VolumeError)> {
    let mut failed = Vec::new();
    for volume in &place.pod.volumes {
        let VolumeSource::Files(files) = &volume.source else { continue };
        if writer::is_written(&place.dir.volume(&volume.name))
            && let Err(error) = write(place, &volume.name, files)
        {
            failed.push((volume.name.clone(), error));
        }
    }
    failed
}

fn prepare_one(place: &Place<'_>, volume: &Volume) -> Result<(), VolumeError> {
    let path = place.dir.volume(&volume.name);
    match &volume.source {
        VolumeSource::EmptyDir { memory, size_limit_bytes } => {
            if path.exists() && (!*memory || is_mounted(&path)) {
                return Ok(());
            }
            own_directory(place.pod, &path, *memory, *size_limit_bytes)
        }
        VolumeSource::HugePages { page_bytes } => huge_pages::prepare(place.pod, &path, *page_bytes),
        VolumeSource::HostPath { path, kind } => host_path::check(path, *kind),
        // It is mounted when the image is there, before the first container that uses it.
        VolumeSource::Image { .. } => Ok(()),
        VolumeSource::Files(files) => {
            if !path.exists() || (files.in_memory && !is_mounted(&path)) {
                own_directory(place.pod, &path, files.in_memory, None)?;
                if let Some(group) = place.pod.security.fs_group {
                    let given = ownership::apply(&path, group, true, Policy::Always);
                    given.map_err(io_error("give to the pod's group", &path))?;
                }
            }
            write(place, &volume.name, files)
        }
        VolumeSource::Claim { claim } => link(&path, &claim::directory(place, claim)?),
        VolumeSource::Ephemeral { claim, spec } => link(&path, &claim::ephemeral(place, claim, spec)?),
    }
}

/// A directory of the pod's own that everybody may write to, as far as its mounts allow.
fn own_directory(pod: &Pod, path: &Path, in_memory: bool, limit: Option<u64>) -> Result<(), VolumeError> {
    fs::create_dir_all(path).map_err(io_error("create", path))?;
    if in_memory {
        memory::mount_tmpfs(path, memory::size(pod, limit)).map_err(io_error("mount a tmpfs on", path))?;
    }
    open_to_all(path)
}

/// Whether the volume is one whose files a kubelet gives to the pod's group once they are there: those of the host and of
/// images stay as they are, and those that podbox writes have it from the beginning.
pub(crate) fn takes_a_group(place: &Place<'_>, volume: &Volume) -> bool {
    match volume.source {
        VolumeSource::EmptyDir { .. } | VolumeSource::HugePages { .. } => true,
        VolumeSource::Claim { .. } | VolumeSource::Ephemeral { .. } => {
            !claim::is_of_the_host(place.store, &found_root_of(volume, place.dir))
        }
        VolumeSource::HostPath { .. } | VolumeSource::Image { .. } | VolumeSource::Files(_) => false,
    }
}

/// Not by the mode of creation, which the umask cuts.
fn open_to_all(path: &Path) -> Result<(), VolumeError> {
    fs::set_permissions(path, Permissions::from_mode(0o777)).map_err(io_error("open to all", path))
}

fn write(place: &Place<'_>, volume: &str, files: &Files) -> Result<(), VolumeError> {
    let path = place.dir.volume(volume);
    let payload = files::payload(place, volume, files)?;
    writer::write(&path, &payload, place.pod.security.fs_group).map(drop).map_err(io_error("write", &path))
}

/// Remembers where a claim's content lies.
fn link(path: &Path, target: &Path) -> Result<(), VolumeError> {
    if fs::read_link(path).is_ok_and(|there| there == target) {
        return Ok(());
    }
    let made = crate::store::make_parent(path).and_then(|()| crate::store::remove(path));
    made.map_err(|error| io_error("make room for", path)(error.source))?;
    symlink(target, path).map_err(io_error("link", path))
}

/// Where a volume's root lies on the host, or what leads there.
#[must_use]
pub fn root_of(volume: &Volume, dir: &PodDir) -> PathBuf {
    match &volume.source {
        VolumeSource::HostPath { path, .. } => path.clone(),
        VolumeSource::EmptyDir { .. }
        | VolumeSource::HugePages { .. }
        | VolumeSource::Image { .. }
        | VolumeSource::Files(_)
        | VolumeSource::Claim { .. }
        | VolumeSource::Ephemeral { .. } => dir.volume(&volume.name),
    }
}

/// As [`root_of`], behind the link that stands for a claim.
#[must_use]
pub fn found_root_of(volume: &Volume, dir: &PodDir) -> PathBuf {
    let root = root_of(volume, dir);
    match &volume.source {
        VolumeSource::Claim { .. } | VolumeSource::Ephemeral { .. } => fs::read_link(&root).unwrap_or(root),
        _ => root,
    }
}

/// Takes the pod's own volumes down; their content goes with the pod's data directory. Claims stay, save those that were
/// made for the pod.
pub fn release(pod: &Pod, dir: &PodDir, store: &Store) {
    for volume in &pod.volumes {
        match &volume.source {
            VolumeSource::EmptyDir { memory: true, .. }
            | VolumeSource::HugePages { .. }
            | VolumeSource::Image { .. }
            | VolumeSource::Files(Files { in_memory: true, .. }) => {
                memory::unmount(&dir.volume(&volume.name));
            }
            VolumeSource::Claim { claim } => claim::let_go(pod, store, claim),
            VolumeSource::Ephemeral { claim, .. } => claim::remove(pod, store, claim),
            VolumeSource::EmptyDir { .. } | VolumeSource::HostPath { .. } | VolumeSource::Files(_) => {}
        }
    }
}
