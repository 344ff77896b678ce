//! Volumes: what must be on the host before a container can mount it.
//!
//! `emptyDir` is a directory (or a tmpfs) of the pod's own, kept across container restarts and gone with the pod.
//! `hostPath` is checked, or made, as its type says. Source: kubelet `volume/emptydir`, `volume/hostpath`.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::mount::{MntFlags, MsFlags, mount, umount2};

mod huge_pages;

use crate::pod::{Container, HostPathType, Pod, Volume, VolumeMount, VolumeSource};
use crate::store::PodDir;

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
    /// It cannot be told which huge pages are meant.
    #[error("medium HugePages: the containers ask for {0}")]
    HugePages(&'static str),
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

/// Makes all volumes of the pod; those that are there already stay as they are.
///
/// # Errors
/// The first volume that cannot be made, by name.
pub fn prepare(pod: &Pod, dir: &PodDir) -> Result<(), (String, VolumeError)> {
    for volume in &pod.volumes {
        prepare_one(pod, volume, dir).map_err(|error| (volume.name.clone(), error))?;
    }
    Ok(())
}

fn prepare_one(pod: &Pod, volume: &Volume, dir: &PodDir) -> Result<(), VolumeError> {
    match &volume.source {
        VolumeSource::EmptyDir { memory, size_limit_bytes } => {
            let path = dir.volume(&volume.name);
            if path.exists() && (!*memory || is_mounted(&path)) {
                return Ok(());
            }
            fs::create_dir_all(&path).map_err(io_error("create", &path))?;
            if *memory {
                mount_tmpfs(&path, *size_limit_bytes)?;
            }
            // Not by the mode of creation, which the umask cuts.
            fs::set_permissions(&path, Permissions::from_mode(0o777)).map_err(io_error("open to all", &path))
        }
        VolumeSource::HugePages { page_bytes } => {
            huge_pages::prepare(pod, &dir.volume(&volume.name), *page_bytes)
        }
        VolumeSource::HostPath { path, kind } => check_host_path(path, *kind),
    }
}

/// Whether something is mounted there: a tmpfs does not survive a reboot, its directory does.
fn is_mounted(path: &Path) -> bool {
    let device = |path: &Path| fs::metadata(path).map(|data| data.dev()).ok();
    path.parent().is_some_and(|parent| device(path) != device(parent))
}

fn mount_tmpfs(path: &Path, size: Option<u64>) -> Result<(), VolumeError> {
    let options = size.map_or_else(|| "mode=0777".to_owned(), |bytes| format!("mode=0777,size={bytes}"));
    mount(Some("tmpfs"), path, Some("tmpfs"), MsFlags::empty(), Some(options.as_str()))
        .map_err(io::Error::from)
        .map_err(io_error("mount a tmpfs on", path))
}

fn check_host_path(path: &Path, kind: HostPathType) -> Result<(), VolumeError> {
    let found = fs::metadata(path).ok();
    let is = |test: fn(&fs::FileType) -> bool| found.as_ref().is_some_and(|data| test(&data.file_type()));
    let wrong = |wanted| Err(VolumeError::WrongType { path: path.to_path_buf(), wanted });
    match kind {
        HostPathType::Unset if found.is_some() => Ok(()),
        // The container runtime makes what is missing, as a directory.
        HostPathType::Unset => make_directory(path),
        HostPathType::DirectoryOrCreate if found.is_none() => make_directory(path),
        HostPathType::FileOrCreate if found.is_none() => OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o644)
            .open(path)
            .map(drop)
            .map_err(io_error("create", path)),
        HostPathType::DirectoryOrCreate | HostPathType::Directory => {
            if is(fs::FileType::is_dir) {
                Ok(())
            } else {
                wrong("a directory")
            }
        }
        HostPathType::FileOrCreate | HostPathType::File => {
            if is(fs::FileType::is_file) {
                Ok(())
            } else {
                wrong("a file")
            }
        }
        HostPathType::Socket => {
            if is(FileTypeExt::is_socket) {
                Ok(())
            } else {
                wrong("a socket file")
            }
        }
        HostPathType::CharDevice => {
            if is(FileTypeExt::is_char_device) {
                Ok(())
            } else {
                wrong("a character device")
            }
        }
        HostPathType::BlockDevice => {
            if is(FileTypeExt::is_block_device) {
                Ok(())
            } else {
                wrong("a block device")
            }
        }
    }
}

fn make_directory(path: &Path) -> Result<(), VolumeError> {
    DirBuilder::new().recursive(true).mode(0o755).create(path).map_err(io_error("create", path))
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
            Some(with_sub_path(root_of(volume, dir), mount, container))
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
        VolumeSource::EmptyDir { .. } | VolumeSource::HugePages { .. } => dir.volume(&volume.name),
        VolumeSource::HostPath { path, .. } => path.clone(),
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

/// Takes the pod's own volumes down; their content goes with the pod's data directory.
pub fn release(pod: &Pod, dir: &PodDir) {
    for volume in &pod.volumes {
        if let VolumeSource::EmptyDir { memory: true, .. } | VolumeSource::HugePages { .. } = volume.source {
            // Not mounted is what is wanted.
            let _ = umount2(&dir.volume(&volume.name), MntFlags::MNT_DETACH);
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

    #[test]
    fn a_host_path_must_be_what_its_type_says() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        check_host_path(&file, HostPathType::FileOrCreate).unwrap();
        check_host_path(&file, HostPathType::File).unwrap();
        let error = check_host_path(&file, HostPathType::Directory).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("hostPath type check failed: {} is not a directory", file.display())
        );
        check_host_path(&dir.path().join("new/deep"), HostPathType::DirectoryOrCreate).unwrap();
        assert!(check_host_path(&dir.path().join("none"), HostPathType::Socket).is_err());
    }
}
