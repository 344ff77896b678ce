//! Paths inside volumes: `subPath`, `subPathExpr`, files that variables come from.
//!
//! A container may swap what lies in a volume for a link at any time. So nothing here is ever looked up by a joined
//! path: each step is taken from a descriptor, beneath the volume's root. What a container gets mounted is looked up
//! once more, by the stage that mounts it, in the same way and in one go with the mount.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, ResolveFlag};
use nix::sys::stat::{Mode, fchmod, fstat, mkdirat};
use runtime::resolve;

use crate::environment::Variables;
use crate::oci::expand;
use crate::pod::{Container, Pod, VolumeMount, VolumeSource};
use crate::report;
use crate::store::PodDir;
use crate::volumes;

/// More than this is no file of variables, bytes.
const LARGEST_FILE: u64 = 1 << 20;

/// Why a mount has no source: the kubelet's CreateContainerConfigError. As there, what is on the host is only logged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubPathError {
    /// A variable of `subPathExpr` has no value.
    #[error("missing value for {0}")]
    NoValue(String),
    /// What `subPathExpr` comes to is absolute.
    #[error("error SubPath `{0}` must not be an absolute path")]
    Absolute(String),
    /// What `subPathExpr` comes to leads upwards.
    #[error("unable to provision SubPath `{0}`: must not contain '..'")]
    Upwards(String),
    /// The directory cannot be made.
    #[error("failed to create subPath directory for volumeMount \"{volume}\" of container \"{container}\"")]
    NotMade {
        /// The volume's name.
        volume: String,
        /// The container's name.
        container: String,
    },
    /// It leads out of the volume.
    #[error("failed to prepare subPath for volumeMount \"{volume}\" of container \"{container}\"")]
    Outside {
        /// The volume's name.
        volume: String,
        /// The container's name.
        container: String,
    },
}

/// What lies behind a mount.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MountSource {
    /// The volume's root, or the host's file or directory.
    pub root: PathBuf,
    /// What of it is mounted, if not all: relative, without `..`.
    pub sub_path: Option<String>,
    /// Nobody may write to such a volume, whatever the mount says.
    pub read_only: bool,
}

/// The sources of a container's mounts, in their order; what a subPath names and is missing is made, as a directory.
///
/// # Errors
/// The first mount that has none.
pub fn sources(
    pod: &Pod,
    container: &Container,
    dir: &PodDir,
    environment: &Variables,
) -> Result<Vec<MountSource>, SubPathError> {
    let mounts = container.mounts.iter().filter_map(|mount| {
        let volume = pod.volumes.iter().find(|volume| volume.name == mount.volume)?;
        let read_only = matches!(volume.source, VolumeSource::Image { .. });
        Some((mount, volumes::found_root_of(volume, dir), read_only))
    });
    mounts
        .map(|(mount, root, read_only)| {
            let sub_path = sub_path_of(mount, environment)?;
            if let Some(sub_path) = &sub_path {
                prepare(&root, sub_path, mount, container)?;
            }
            Ok(MountSource { root, sub_path, read_only })
        })
        .collect()
}

/// The sources of a container's mounts as [`sources`] would give them, without looking at the disk. What depends on
/// variables that are not known yet stays as it is written.
#[must_use]
pub fn planned(pod: &Pod, container: &Container, dir: &PodDir, environment: &Variables) -> Vec<MountSource> {
    let source = |mount: &VolumeMount| {
        let volume = pod.volumes.iter().find(|volume| volume.name == mount.volume)?;
        let sub_path = sub_path_of(mount, environment).unwrap_or_else(|_| mount.sub_path_expr.clone());
        let read_only = matches!(volume.source, VolumeSource::Image { .. });
        Some(MountSource { root: volumes::root_of(volume, dir), sub_path, read_only })
    };
    container.mounts.iter().filter_map(source).collect()
}

/// `subPath`, or what `subPathExpr` comes to.
fn sub_path_of(mount: &VolumeMount, environment: &Variables) -> Result<Option<String>, SubPathError> {
    let Some(expression) = &mount.sub_path_expr else { return Ok(mount.sub_path.clone()) };
    let mut missing = std::cell::RefCell::new(Vec::new());
    let path = expand(expression, |name| {
        let value = environment.get(name).filter(|value| !value.is_empty());
        if value.is_none() {
            missing.borrow_mut().push(name.to_owned());
        }
        value
    });
    let missing = missing.get_mut();
    if !missing.is_empty() {
        missing.sort();
        missing.dedup();
        return Err(SubPathError::NoValue(missing.join(", ")));
    }
    if path.starts_with('/') {
        return Err(SubPathError::Absolute(path));
    }
    if path.split('/').any(|part| part == "..") {
        return Err(SubPathError::Upwards(path));
    }
    Ok(Some(path).filter(|path| !path.is_empty()))
}

fn prepare(
    root: &Path,
    sub_path: &str,
    mount: &VolumeMount,
    container: &Container,
) -> Result<(), SubPathError> {
    let Err(errno) = make_beneath(root, Path::new(sub_path)) else { return Ok(()) };
    let (volume, container) = (mount.volume.clone(), container.name.clone());
    let error = match errno {
        Errno::EXDEV | Errno::ELOOP => SubPathError::Outside { volume, container },
        _ => SubPathError::NotMade { volume, container },
    };
    report::log(format_args!("supervisor: {error}: {sub_path} in {}: {}", root.display(), errno.desc()));
    Err(error)
}

/// A handle on `path` beneath `root`, whose missing directories are made with the root's own mode.
fn make_beneath(root: &Path, path: &Path) -> nix::Result<OwnedFd> {
    let base: OwnedFd = nix::fcntl::open(root, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?;
    match resolve::beneath(&base, path) {
        Err(Errno::ENOENT) => {}
        other => return other,
    }
    let mode = Mode::from_bits_truncate(fstat(&base)?.st_mode & 0o7777);
    let mut prefix = PathBuf::new();
    let mut parent = base.try_clone().map_err(|_| Errno::EMFILE)?;
    for part in path.components() {
        prefix.push(part);
        parent = match resolve::beneath(&base, &prefix) {
            Err(Errno::ENOENT) => {
                match mkdirat(&parent, part.as_os_str(), mode) {
                    Ok(()) | Err(Errno::EEXIST) => {}
                    Err(errno) => return Err(errno),
                }
                let made = resolve::beneath(&base, &prefix)?;
                // The umask has cut the mode, and a new directory takes its parent's group but not all of its bits.
                let rules = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS;
                let itself =
                    resolve::open(&made, Path::new("."), OFlag::O_RDONLY | OFlag::O_DIRECTORY, rules)?;
                fchmod(&itself, mode)?;
                made
            }
            other => other?,
        };
    }
    Ok(parent)
}

/// Reads a small regular file of a volume as text. Links are followed as if the volume's root were the root.
pub(crate) fn read_inside(root: &Path, path: &str) -> io::Result<String> {
    let base: OwnedFd = nix::fcntl::open(root, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?;
    let rules = ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS;
    // A FIFO in its place must not hold anybody up.
    let file = resolve::open(&base, Path::new(path), OFlag::O_RDONLY | OFlag::O_NONBLOCK, rules)?;
    let file = File::from(file);
    let facts = file.metadata()?;
    if !facts.is_file() || facts.len() > LARGEST_FILE {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut text = String::new();
    file.take(LARGEST_FILE).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn a_sub_path_is_made_inside_its_volume_and_cannot_leave_it() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("volume");
        fs::create_dir(&root).unwrap();
        fs::set_permissions(&root, fs::Permissions::from_mode(0o2770)).unwrap();
        make_beneath(&root, Path::new("a/b")).unwrap();
        assert_eq!(fs::metadata(root.join("a/b")).unwrap().permissions().mode() & 0o7777, 0o2770);
        symlink("/etc", root.join("out")).unwrap();
        symlink("../up", root.join("up")).unwrap();
        for path in ["out", "out/passwd", "up", "up/new"] {
            assert_eq!(make_beneath(&root, Path::new(path)).unwrap_err(), Errno::EXDEV, "{path}");
        }
        assert!(!dir.path().join("up").exists());
        symlink("a", root.join("in")).unwrap();
        make_beneath(&root, Path::new("in/c")).unwrap();
        assert!(root.join("a/c").is_dir());
        fs::write(root.join("file"), "").unwrap();
        make_beneath(&root, Path::new("file")).unwrap();
        assert_eq!(make_beneath(&root, Path::new("file/x")).unwrap_err(), Errno::ENOTDIR);
    }

    #[test]
    fn a_file_is_read_inside_its_volume_only() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("volume");
        fs::create_dir(&root).unwrap();
        fs::write(dir.path().join("secret"), "no").unwrap();
        fs::write(root.join("secret"), "yes").unwrap();
        symlink("../secret", root.join("link")).unwrap();
        symlink("/secret", root.join("absolute")).unwrap();
        nix::unistd::mkfifo(&root.join("fifo"), Mode::S_IRWXU).unwrap();
        assert_eq!(read_inside(&root, "link").unwrap(), "yes");
        assert_eq!(read_inside(&root, "absolute").unwrap(), "yes");
        assert!(read_inside(&root, "fifo").is_err());
        assert!(read_inside(&root, "none").is_err());
    }

    #[test]
    fn an_expression_needs_values_and_stays_below_the_volume() {
        let mut variables = Variables::default();
        for (name, value) in [("POD", "web"), ("UP", "../x"), ("ROOT", "/x"), ("EMPTY", "")] {
            variables.set(name, value.to_owned());
        }
        let of = |expression: &str| {
            let mount = VolumeMount {
                volume: "v".to_owned(),
                mount_path: "/v".to_owned(),
                sub_path: None,
                sub_path_expr: Some(expression.to_owned()),
                read_only: false,
                recursive_read_only: false,
                propagation: crate::pod::Propagation::None,
            };
            sub_path_of(&mount, &variables).map_err(|error| error.to_string())
        };
        assert_eq!(of("$(POD)/log"), Ok(Some("web/log".to_owned())));
        assert_eq!(of("$$(POD)"), Ok(Some("$(POD)".to_owned())));
        assert_eq!(of("$(NO)-$(EMPTY)-$(NO)").unwrap_err(), "missing value for EMPTY, NO");
        assert_eq!(of("$(ROOT)").unwrap_err(), "error SubPath `/x` must not be an absolute path");
        assert_eq!(of("$(UP)").unwrap_err(), "unable to provision SubPath `../x`: must not contain '..'");
    }
}
