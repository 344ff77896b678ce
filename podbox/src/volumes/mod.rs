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
mod memory;
mod token;
pub mod usage;
mod writer;

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};

use crate::pod::{Container, Files, FilesFrom, Pod, Volume, VolumeMount, VolumeSource};
use crate::store::{ObjectKind, PodDir, Store};

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
    /// A subPath leaves its volume, or cannot be made.
    #[error("failed to prepare subPath for volumeMount \"{volume}\" of container \"{container}\"")]
    SubPath {
        /// The volume's name.
        volume: String,
        /// The container's name.
        container: String,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
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
    pod.volumes.iter().any(|volume| !matches!(volume.source, VolumeSource::EmptyDir { .. }))
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
            VolumeSource::EmptyDir { .. } | VolumeSource::HostPath { .. } => {}
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
            if path.exists() && (!*memory || memory::is_mounted(&path)) {
                return Ok(());
            }
            own_directory(place.pod, &path, *memory, *size_limit_bytes)
        }
        VolumeSource::HostPath { path, kind } => host_path::check(path, *kind),
        VolumeSource::Files(files) => {
            if !path.exists() || (files.in_memory && !memory::is_mounted(&path)) {
                own_directory(place.pod, &path, files.in_memory, None)?;
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

/// Not by the mode of creation, which the umask cuts.
fn open_to_all(path: &Path) -> Result<(), VolumeError> {
    fs::set_permissions(path, Permissions::from_mode(0o777)).map_err(io_error("open to all", path))
}

fn write(place: &Place<'_>, volume: &str, files: &Files) -> Result<(), VolumeError> {
    let path = place.dir.volume(volume);
    let payload = files::payload(place, volume, files)?;
    writer::write(&path, &payload).map(drop).map_err(io_error("write", &path))
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

/// The host paths behind a container's mounts, in their order.
///
/// # Errors
/// [`VolumeError::SubPath`] if a subPath would leave its volume.
pub fn sources(pod: &Pod, container: &Container, dir: &PodDir) -> Result<Vec<PathBuf>, VolumeError> {
    container
        .mounts
        .iter()
        .filter_map(|mount| {
            let volume = pod.volumes.iter().find(|volume| volume.name == mount.volume)?;
            Some(with_sub_path(found_root_of(volume, dir), mount, container))
        })
        .collect()
}

/// The host paths behind a container's mounts as [`sources`] would give them, without looking at the disk.
#[must_use]
pub fn planned_sources(pod: &Pod, container: &Container, dir: &PodDir) -> Vec<PathBuf> {
    let source = |mount: &VolumeMount| {
        let volume = pod.volumes.iter().find(|volume| volume.name == mount.volume)?;
        let root = root_of(volume, dir);
        Some(mount.sub_path.as_ref().map_or(root.clone(), |sub_path| root.join(sub_path)))
    };
    container.mounts.iter().filter_map(source).collect()
}

fn root_of(volume: &Volume, dir: &PodDir) -> PathBuf {
    match &volume.source {
        VolumeSource::HostPath { path, .. } => path.clone(),
        VolumeSource::EmptyDir { .. }
        | VolumeSource::Files(_)
        | VolumeSource::Claim { .. }
        | VolumeSource::Ephemeral { .. } => dir.volume(&volume.name),
    }
}

/// As [`root_of`], behind the link that stands for a claim.
fn found_root_of(volume: &Volume, dir: &PodDir) -> PathBuf {
    let root = root_of(volume, dir);
    match &volume.source {
        VolumeSource::Claim { .. } | VolumeSource::Ephemeral { .. } => fs::read_link(&root).unwrap_or(root),
        _ => root,
    }
}

fn with_sub_path(root: PathBuf, mount: &VolumeMount, container: &Container) -> Result<PathBuf, VolumeError> {
    let Some(sub_path) = mount.sub_path.as_deref().filter(|path| !path.is_empty()) else { return Ok(root) };
    inside(&root, Path::new(sub_path)).map_err(|source| VolumeError::SubPath {
        volume: mount.volume.clone(),
        container: container.name.clone(),
        source,
    })
}

/// Resolves `sub_path` below `root` without leaving it, making missing directories with the root's own mode.
fn inside(root: &Path, sub_path: &Path) -> io::Result<PathBuf> {
    let base = fs::File::open(root)?;
    let mode = base.metadata()?.permissions().mode() & 0o7777;
    let open = |path: &Path| {
        let how =
            OpenHow::new().flags(OFlag::O_PATH | OFlag::O_CLOEXEC).resolve(ResolveFlag::RESOLVE_BENEATH);
        openat2(&base, path, how)
    };
    let mut prefix = PathBuf::new();
    let mut parent = fs::read_link(format!("/proc/self/fd/{}", base.as_raw_fd()))?;
    for part in sub_path.components() {
        prefix.push(part);
        let found = match open(&prefix) {
            Err(nix::errno::Errno::ENOENT) => {
                let made = parent.join(part);
                fs::create_dir(&made)?;
                fs::set_permissions(&made, Permissions::from_mode(mode))?;
                open(&prefix)?
            }
            other => other?,
        };
        parent = fs::read_link(format!("/proc/self/fd/{}", found.as_raw_fd()))?;
    }
    Ok(parent)
}

/// Takes the pod's own volumes down; their content goes with the pod's data directory. Claims stay, save those that were
/// made for the pod.
pub fn release(pod: &Pod, dir: &PodDir, store: &Store) {
    for volume in &pod.volumes {
        match &volume.source {
            VolumeSource::EmptyDir { memory: true, .. }
            | VolumeSource::Files(Files { in_memory: true, .. }) => {
                memory::unmount(&dir.volume(&volume.name));
            }
            VolumeSource::Claim { claim } => claim::let_go(pod, store, claim),
            VolumeSource::Ephemeral { claim, .. } => claim::remove(pod, store, claim),
            VolumeSource::EmptyDir { .. } | VolumeSource::HostPath { .. } | VolumeSource::Files(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_sub_path_is_made_inside_its_volume_and_cannot_leave_it() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("volume");
        fs::create_dir(&root).unwrap();
        assert_eq!(inside(&root, Path::new("a/b")).unwrap(), root.canonicalize().unwrap().join("a/b"));
        assert!(root.join("a/b").is_dir());
        symlink("/etc", root.join("out")).unwrap();
        assert!(inside(&root, Path::new("out/passwd")).is_err());
        symlink("a", root.join("in")).unwrap();
        assert_eq!(inside(&root, Path::new("in/b")).unwrap(), root.canonicalize().unwrap().join("a/b"));
    }
}
