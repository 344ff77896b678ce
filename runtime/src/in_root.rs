//! Paths inside a container's root, before that root is `/`.
//!
//! An image may hold any symlink: `/etc -> ../../../../etc`, `/proc -> /host`. So no path of a container is
//! ever joined to the path of its root. It is opened with `openat2(RESOLVE_IN_ROOT)` (Linux 5.6), for which
//! the root is the root: absolute links and `..` stay inside, and magic links of /proc are refused. What
//! comes back is a descriptor, and everything after works on the descriptor, so that a link swapped in
//! meanwhile changes nothing (CVE-2021-30465, CVE-2025-31133, CVE-2025-52565, CVE-2025-52881).

use nix::errno::Errno;
use nix::fcntl::{OFlag, ResolveFlag, openat, readlinkat};
use nix::sys::stat::{Mode, SFlag, fstat, mkdirat};
use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path};

use crate::resolve;

/// How many symlinks may be followed while something is made, as many as the kernel allows in one look-up.
const MAX_LINKS: usize = 40;

/// What to make where there is nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A directory with mode 0755.
    Directory,
    /// An empty file with mode 0644.
    File,
}

/// Opens `path` inside `root`.
pub(crate) fn open(root: BorrowedFd<'_>, path: &Path, flags: OFlag) -> nix::Result<OwnedFd> {
    let rules = ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS;
    resolve::open(root, path, flags, rules)
}

/// A handle on `path` inside `root`, which is made, parents and all, where it is missing.
///
/// # Errors
/// `ELOOP` for too many symlinks, `ENOTDIR` if a file is in the way, and what the kernel says.
pub(crate) fn make(root: BorrowedFd<'_>, path: &Path, kind: Kind) -> nix::Result<OwnedFd> {
    match open(root, path, OFlag::O_PATH) {
        Err(Errno::ENOENT) => {}
        other => return other,
    }
    // The way from the root to where we are, so that `..` has somewhere to go.
    let mut way: Vec<OwnedFd> = Vec::new();
    let mut pending = parts_reversed(path);
    let mut links = 0;
    while let Some(part) = pending.pop() {
        if part == ".." {
            way.pop();
            continue;
        }
        let here = way.last().map_or(root, AsFd::as_fd);
        let next = match look(here, &part) {
            Err(Errno::ENOENT) => {
                create(here, &part, if pending.is_empty() { kind } else { Kind::Directory })?
            }
            other => other?,
        };
        if is_link(&next)? {
            links += 1;
            if links > MAX_LINKS {
                return Err(Errno::ELOOP);
            }
            let target = readlinkat(&next, "")?;
            if Path::new(&target).is_absolute() {
                way.clear();
            }
            pending.extend(parts_reversed(Path::new(&target)));
        } else {
            way.push(next);
        }
    }
    way.pop().map_or_else(|| root.try_clone_to_owned().map_err(|_| Errno::EMFILE), Ok)
}

/// The path's parts, last first. Anything above the root is the root.
fn parts_reversed(path: &Path) -> Vec<OsString> {
    let parts = path.components().rev();
    let keep = parts.filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir));
    keep.map(|part| part.as_os_str().to_owned()).collect()
}

/// Opens one name, without following it if it is a link.
fn look(directory: BorrowedFd<'_>, name: &OsString) -> nix::Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(directory, name.as_os_str(), flags, Mode::empty())
}

fn create(directory: BorrowedFd<'_>, name: &OsString, kind: Kind) -> nix::Result<OwnedFd> {
    let made = match kind {
        Kind::Directory => mkdirat(directory, name.as_os_str(), Mode::from_bits_truncate(0o755)),
        Kind::File => {
            let flags =
                OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            openat(directory, name.as_os_str(), flags, Mode::from_bits_truncate(0o644)).map(drop)
        }
    };
    match made {
        // Somebody else was faster; what is there will be looked at like anything else.
        Ok(()) | Err(Errno::EEXIST) => look(directory, name),
        Err(errno) => Err(errno),
    }
}

fn is_link(fd: &OwnedFd) -> nix::Result<bool> {
    Ok(kind_of(fd.as_fd())? == SFlag::S_IFLNK)
}

/// The file type behind a descriptor.
pub(crate) fn kind_of(fd: BorrowedFd<'_>) -> nix::Result<SFlag> {
    Ok(SFlag::from_bits_truncate(fstat(fd)?.st_mode & SFlag::S_IFMT.bits()))
}

/// Reads a small regular file inside `root`; empty if there is none. A FIFO or a device in its place does
/// not block and is not read.
pub(crate) fn read_small(root: BorrowedFd<'_>, path: &str) -> nix::Result<String> {
    const LIMIT: u64 = 4 << 20;
    let fd = match open(root, Path::new(path), OFlag::O_RDONLY | OFlag::O_NONBLOCK) {
        Ok(fd) => fd,
        Err(Errno::ENOENT | Errno::ENOTDIR) => return Ok(String::new()),
        Err(errno) => return Err(errno),
    };
    let stat = fstat(&fd)?;
    if stat.st_mode & SFlag::S_IFMT.bits() != SFlag::S_IFREG.bits() {
        return Err(Errno::EINVAL);
    }
    // Room for a little more than there is, so that one read takes it and the next one sees the end.
    let mut bytes = Vec::with_capacity(usize::try_from(stat.st_size).unwrap_or(0).min(1 << 20) + 64);
    let mut limited = std::io::Read::take(std::fs::File::from(fd), LIMIT);
    std::io::Read::read_to_end(&mut limited, &mut bytes).map_err(|_| Errno::EIO)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fs::{self, File};
    use std::os::unix::fs::symlink;

    /// A directory `outside` beside a directory `root`, so that an escape is seen.
    fn two_worlds() -> (tempfile::TempDir, File) {
        let dir = tempfile::tempdir().unwrap();
        for name in ["root/etc", "outside"] {
            fs::create_dir_all(dir.path().join(name)).unwrap();
        }
        let root = File::open(dir.path().join("root")).unwrap();
        (dir, root)
    }

    #[test]
    fn links_that_point_outside_are_made_inside() {
        let (dir, root) = two_worlds();
        symlink("../../outside", dir.path().join("root/up")).unwrap();
        symlink(dir.path().join("outside"), dir.path().join("root/abs")).unwrap();
        symlink("loop", dir.path().join("root/loop")).unwrap();
        for path in ["/up/a/b", "/abs/a", "/../../outside/c", "/up"] {
            make(root.as_fd(), Path::new(path), Kind::Directory).unwrap();
        }
        assert_eq!(fs::read_dir(dir.path().join("outside")).unwrap().count(), 0);
        assert!(dir.path().join("root/outside/a/b").is_dir());
        assert!(dir.path().join("root/outside/c").is_dir());
        assert_eq!(make(root.as_fd(), Path::new("/loop/x"), Kind::File).unwrap_err(), Errno::ELOOP);
    }

    #[test]
    fn a_missing_file_and_its_parents_are_made_and_an_existing_one_is_kept() {
        let (dir, root) = two_worlds();
        fs::write(dir.path().join("root/etc/hosts"), "kept").unwrap();
        let fd = make(root.as_fd(), Path::new("/etc/hosts"), Kind::File).unwrap();
        assert_eq!(kind_of(fd.as_fd()).unwrap(), SFlag::S_IFREG);
        assert_eq!(read_small(root.as_fd(), "/etc/hosts").unwrap(), "kept");
        make(root.as_fd(), Path::new("/a/b/c"), Kind::File).unwrap();
        assert!(dir.path().join("root/a/b/c").is_file());
        assert_eq!(make(root.as_fd(), Path::new("/etc/hosts/x"), Kind::File).unwrap_err(), Errno::ENOTDIR);
        assert_eq!(read_small(root.as_fd(), "/none").unwrap(), "");
    }

    #[test]
    fn a_fifo_in_place_of_a_file_does_not_block() {
        let (dir, root) = two_worlds();
        nix::unistd::mkfifo(&dir.path().join("root/etc/passwd"), Mode::S_IRWXU).unwrap();
        assert_eq!(read_small(root.as_fd(), "/etc/passwd").unwrap_err(), Errno::EINVAL);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn nothing_is_ever_made_outside(
            links in prop::collection::vec(("[a-c]", "(\\.\\./|/|[a-c]/){0,5}[a-c.]{0,2}"), 0..5),
            path in "/?((\\.\\.|[a-c])/){0,5}[a-c]",
        ) {
            let (dir, root) = two_worlds();
            for (name, target) in links {
                let _ = symlink(if target.is_empty() { "." } else { &target }, dir.path().join("root").join(name));
            }
            let _ = make(root.as_fd(), Path::new(&path), Kind::Directory);
            let mut names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
            names.sort();
            prop_assert_eq!(names, ["outside", "root"]);
            prop_assert_eq!(fs::read_dir(dir.path().join("outside")).unwrap().count(), 0);
        }
    }
}
