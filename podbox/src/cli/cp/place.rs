//! A name in a directory that is held open: where a copy comes from or goes to.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use runtime::process::Process;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, openat, openat2, readlinkat, statat};

use crate::supervisor::machine::ProcessId;

/// How many links a path may go through, as in the kernel.
const MAX_LINKS: usize = 40;

/// What could not be done to which file.
#[derive(Debug, thiserror::Error)]
#[error("{action} {}: {source}", path.display())]
pub(super) struct CopyError {
    pub(super) action: &'static str,
    pub(super) path: PathBuf,
    pub(super) source: io::Error,
}

pub(super) fn during<E: Into<io::Error>>(action: &'static str, path: &Path) -> impl FnOnce(E) -> CopyError {
    let path = path.to_owned();
    move |error| CopyError { action, path, source: error.into() }
}

/// The root directory of a process.
#[derive(Debug)]
pub(super) struct Root(OwnedFd);

impl Root {
    /// `None` if the process is gone.
    pub(super) fn of(process: ProcessId) -> io::Result<Option<Root>> {
        let Some(alive) = Process::open(process)? else { return Ok(None) };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = openat(CWD, format!("/proc/{}/root", process.pid), flags, Mode::empty())?;
        // Its pid was nobody else's when the directory was opened.
        Ok(alive.is_alive().then_some(Root(root)))
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) dir: OwnedFd,
    /// `.` for the directory itself.
    pub(super) name: OsString,
    /// What messages call it.
    pub(super) shown: PathBuf,
    /// What it is, unless there is nothing yet.
    pub(super) kind: Option<FileType>,
    /// The path says that it is a directory.
    pub(super) must_be_directory: bool,
}

impl Place {
    /// A path of this process.
    pub(super) fn local(path: &Path) -> Result<Place, CopyError> {
        Place::find(path, &|dir| openat(CWD, dir, DIRECTORY, Mode::empty()))
    }

    /// A path below a root; links, and `..`, end there.
    pub(super) fn inside(root: &Root, path: &Path) -> Result<Place, CopyError> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        Place::find(path, &|dir| openat2(&root.0, dir, DIRECTORY, Mode::empty(), resolve))
    }

    /// Follows links until there is something else, or nothing.
    fn find(path: &Path, open: &dyn Fn(&Path) -> rustix::io::Result<OwnedFd>) -> Result<Place, CopyError> {
        let must_be_directory = path.as_os_str().as_encoded_bytes().ends_with(b"/");
        let mut wanted = path.to_owned();
        for _ in 0..MAX_LINKS {
            let (parent, name) = split(&wanted);
            let dir = open(parent).map_err(during("open", parent))?;
            let kind = match statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => Some(FileType::from_raw_mode(stat.st_mode)),
                Err(rustix::io::Errno::NOENT) => None,
                Err(errno) => return Err(during("look at", path)(errno)),
            };
            if kind == Some(FileType::Symlink) {
                let link = readlinkat(&dir, name, Vec::new()).map_err(during("read", path))?;
                wanted = parent.join(OsString::from_vec(link.into_bytes()));
                continue;
            }
            let name = name.to_owned();
            return Ok(Place { dir, name, shown: path.to_owned(), kind, must_be_directory });
        }
        Err(during("open", path)(rustix::io::Errno::LOOP))
    }

    /// The place of that name in the directory that is here.
    pub(super) fn below(&self, name: &OsStr) -> Result<Place, CopyError> {
        let dir = openat(&self.dir, &self.name, DIRECTORY | OFlags::NOFOLLOW, Mode::empty())
            .map_err(during("open", &self.shown))?;
        Place::of(dir, name, self.shown.join(name))
    }

    /// That name in an open directory.
    pub(super) fn of(dir: OwnedFd, name: &OsStr, shown: PathBuf) -> Result<Place, CopyError> {
        let kind = match statat(dir.as_fd(), name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Some(FileType::from_raw_mode(stat.st_mode)),
            Err(rustix::io::Errno::NOENT) => None,
            Err(errno) => return Err(during("look at", &shown)(errno)),
        };
        Ok(Place { dir, name: name.to_owned(), shown, kind, must_be_directory: false })
    }
}

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// The directory and the name in it; the directory itself where the path has no name.
fn split(path: &Path) -> (&Path, &OsStr) {
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) if parent.as_os_str().is_empty() => (Path::new("."), name),
        (Some(parent), Some(name)) => (parent, name),
        _ => (path, OsStr::new(".")),
    }
}
