//! A directory tree that grows from an untrusted archive and cannot be left.
//!
//! A parent directory is found by openat2(2) with `RESOLVE_IN_ROOT`: the kernel itself treats the tree's
//! root as `/` for every symbolic link and `..` on the way, so a link that the archive made leads back
//! inside whatever it says. The last component is only ever created exclusively, never followed.
//! Ownership is set before the mode and before capabilities, because changing the owner clears both.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::stat::{
    FchmodatFlags, FileStat, Mode, SFlag, UtimensatFlags, fchmod, fchmodat, fstatat, futimens, makedev,
    mkdirat, mknodat, utimensat,
};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, LinkatFlags, Uid, UnlinkatFlags, fchown, fchownat, linkat, symlinkat, unlinkat};
use rustix::fs::XattrFlags;

use super::layer::UnpackError;

/// Whose an entry is, and how it may be used.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metadata {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Permission bits with set-user-id, set-group-id and sticky.
    pub(crate) mode: u32,
    /// Seconds and nanoseconds since the epoch.
    pub(crate) modified: (i64, i64),
    /// Extended attributes.
    pub(crate) attributes: Vec<(Vec<u8>, Vec<u8>)>,
}

/// An entry that is not a regular file.
#[derive(Clone, Debug)]
pub(crate) enum Node {
    Directory,
    /// To whatever these bytes name; followed in the container only.
    Symlink(Vec<u8>),
    /// To an earlier entry of the same layer.
    HardLink(PathBuf),
    Fifo,
    Character {
        major: u64,
        minor: u64,
    },
    Block {
        major: u64,
        minor: u64,
    },
}

/// A file's bytes as an archive has them.
pub(crate) trait Content {
    /// What comes next; its bytes, if it has some, are put at the buffer's beginning.
    fn chunk(&mut self, buffer: &mut [u8]) -> io::Result<Chunk>;
}

/// A piece of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Chunk {
    /// This many bytes.
    Data(usize),
    /// This many zeros, for which no room on the disk is wanted.
    Hole(u64),
    /// No more.
    End,
}

/// A tree that is being written.
pub(crate) struct Tree {
    root: OwnedFd,
    /// Entries of a directory come together: the last parent saves most look-ups.
    last_parent: Option<(PathBuf, OwnedFd)>,
    /// Set when all is written, because every new entry changes its directory's time.
    directory_times: Vec<(PathBuf, (i64, i64))>,
}

const DIRECTORY: OFlag = OFlag::O_PATH.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);
const OPAQUE: &[u8] = b"trusted.overlay.opaque";
const WHITEOUT: &[u8] = b"trusted.overlay.whiteout";

impl Tree {
    /// An empty tree at `path`, whose parent is trusted.
    pub(crate) fn create(path: &Path) -> Result<Tree, UnpackError> {
        let made = std::fs::create_dir(path).and_then(|()| File::open(path));
        let root = made.map_err(failed("create", path))?;
        fchmod(&root, Mode::from_bits_truncate(0o755)).map_err(failed("set the mode of", path))?;
        Ok(Tree { root: root.into(), last_parent: None, directory_times: Vec::new() })
    }

    /// Writes a regular file; returns its size.
    pub(crate) fn file(
        &mut self,
        path: &Path,
        content: &mut dyn Content,
        metadata: &Metadata,
    ) -> Result<u64, UnpackError> {
        let name = last(path)?;
        self.make_room(path)?;
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let parent = self.parent(path)?;
        let file = openat(parent, name, flags, Mode::from_bits_truncate(0o600));
        let mut file = File::from(file.map_err(failed("create", path))?);
        let size = copy(content, &mut file, path)?;
        let (uid, gid) = (Uid::from_raw(metadata.uid), Gid::from_raw(metadata.gid));
        fchown(&file, Some(uid), Some(gid)).map_err(failed("set the owner of", path))?;
        fchmod(&file, mode(metadata)).map_err(failed("set the mode of", path))?;
        for (attribute, value) in &metadata.attributes {
            let set = rustix::fs::fsetxattr(&file, attribute.as_slice(), value, XattrFlags::empty());
            tolerate(attribute, set).map_err(failed("set an attribute of", path))?;
        }
        let time = time(metadata.modified);
        futimens(&file, &time, &time).map_err(failed("set the time of", path))?;
        Ok(size)
    }

    /// Makes anything else.
    pub(crate) fn node(&mut self, path: &Path, node: &Node, metadata: &Metadata) -> Result<(), UnpackError> {
        if let Node::Directory = node {
            return self.directory(path, metadata);
        }
        let name = last(path)?;
        if let Node::HardLink(target) = node {
            return self.hard_link(path, target);
        }
        self.make_room(path)?;
        let parent = self.parent(path)?;
        let private = Mode::from_bits_truncate(0o600);
        let made = match node {
            Node::Symlink(target) => symlinkat(OsStr::from_bytes(target), parent, name),
            Node::Fifo => mknodat(parent, name, SFlag::S_IFIFO, private, 0),
            Node::Character { major, minor } => {
                mknodat(parent, name, SFlag::S_IFCHR, private, makedev(*major, *minor))
            }
            Node::Block { major, minor } => {
                mknodat(parent, name, SFlag::S_IFBLK, private, makedev(*major, *minor))
            }
            Node::Directory | Node::HardLink(_) => Ok(()),
        };
        if made == Err(Errno::EPERM) && matches!(node, Node::Character { .. } | Node::Block { .. }) {
            // Without CAP_MKNOD, as in an unprivileged container. containerd goes without such a node too: what
            // containers open is in a /dev of their own.
            return Ok(());
        }
        made.map_err(failed("create", path))?;
        self.dress(path, metadata, matches!(node, Node::Symlink(_)).then_some(Link))?;
        let parent = self.parent(path)?;
        set_time(parent, name, metadata.modified).map_err(failed("set the time of", path))
    }

    /// A new directory, or new metadata for one that is there.
    fn directory(&mut self, path: &Path, metadata: &Metadata) -> Result<(), UnpackError> {
        if let Some(name) = path.file_name() {
            let there = self.status(path)?;
            let parent = self.parent(path)?;
            let was_whiteout = there.as_ref().is_some_and(|status| is_whiteout(status, parent, name));
            if there.as_ref().is_none_or(|status| kind(status) != SFlag::S_IFDIR) {
                self.make_room(path)?;
                let parent = self.parent(path)?;
                mkdirat(parent, name, Mode::from_bits_truncate(0o700)).map_err(failed("create", path))?;
            }
            if was_whiteout {
                self.opaque(path)?;
            }
        }
        self.dress(path, metadata, None)?;
        self.directory_times.push((path.to_owned(), metadata.modified));
        Ok(())
    }

    fn hard_link(&mut self, path: &Path, target: &Path) -> Result<(), UnpackError> {
        let name = last(path)?;
        let target_name = last(target)?;
        if path == target {
            return Err(UnpackError::Unsafe { entry: path.to_owned(), reason: "it links to itself" });
        }
        let target_parent = self.open_directory(target.parent().unwrap_or(Path::new("")));
        let target_parent = target_parent.map_err(failed("find the target of", path))?;
        self.make_room(path)?;
        let parent = self.parent(path)?;
        // Without AT_SYMLINK_FOLLOW: a link to a symbolic link is another name of that link.
        linkat(target_parent, target_name, parent, name, LinkatFlags::empty()).map_err(failed("link", path))
    }

    /// Says that the layers below have no such name. An entry of this layer under the name stays, and if
    /// it is a directory it hides what is below it.
    pub(crate) fn whiteout(&mut self, path: &Path) -> Result<(), UnpackError> {
        match self.status(path)? {
            Some(status) if kind(&status) == SFlag::S_IFDIR => self.opaque(path),
            Some(_) => Ok(()),
            None => {
                let name = last(path)?;
                let parent = self.parent(path)?;
                match mknodat(parent, name, SFlag::S_IFCHR, Mode::empty(), makedev(0, 0)) {
                    Err(Errno::EPERM) => attribute_whiteout(parent, name).map_err(failed(
                        "create the whiteout of (device 0/0 and attribute both refused)",
                        path,
                    )),
                    other => other.map_err(failed("create the whiteout device of", path)),
                }
            }
        }
    }

    /// Says that the layers below have nothing in this directory.
    pub(crate) fn opaque(&mut self, path: &Path) -> Result<(), UnpackError> {
        let directory = self.ensure(path, 0)?;
        rustix::fs::setxattr(proc_path(&directory, None), OPAQUE, b"y", XattrFlags::empty())
            .map_err(failed("make opaque (trusted.overlay.opaque)", path))
    }

    /// Sets the times of directories. The tree is then complete.
    pub(crate) fn finish(mut self) -> Result<(), UnpackError> {
        for (path, modified) in std::mem::take(&mut self.directory_times) {
            // It may have been replaced by something else since.
            let Ok(directory) = self.open_directory(&path) else { continue };
            let time = time(modified);
            let set = utimensat(
                nix::fcntl::AT_FDCWD,
                &proc_path(&directory, None),
                &time,
                &time,
                UtimensatFlags::FollowSymlink,
            );
            set.map_err(failed("set the time of", &path))?;
        }
        Ok(())
    }

    /// Owner, mode and attributes of something that was just made.
    fn dress(&mut self, path: &Path, metadata: &Metadata, link: Option<Link>) -> Result<(), UnpackError> {
        let (uid, gid) = (Some(Uid::from_raw(metadata.uid)), Some(Gid::from_raw(metadata.gid)));
        let (parent, name) = match path.file_name() {
            Some(name) => (self.parent(path)?, name),
            None => (self.root.as_fd(), OsStr::new(".")),
        };
        fchownat(parent, name, uid, gid, AtFlags::AT_SYMLINK_NOFOLLOW)
            .map_err(failed("set the owner of", path))?;
        if link.is_none() {
            // Not a symbolic link: it was made just now by this process, in a tree nobody else writes.
            fchmodat(parent, name, mode(metadata), FchmodatFlags::FollowSymlink)
                .map_err(failed("set the mode of", path))?;
        }
        for (attribute, value) in &metadata.attributes {
            let at = proc_path(&parent, Some(name));
            let set = rustix::fs::lsetxattr(at, attribute.as_slice(), value, XattrFlags::empty());
            tolerate(attribute, set).map_err(failed("set an attribute of", path))?;
        }
        Ok(())
    }

    /// What stands at this path in the tree so far.
    fn status(&mut self, path: &Path) -> Result<Option<FileStat>, UnpackError> {
        let name = last(path)?;
        let parent = self.parent(path)?;
        match fstatat(parent, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(status) => Ok(Some(status)),
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(failed("look at", path)(errno)),
        }
    }

    /// Removes what stands where an entry is to be made: the later of two entries wins.
    fn make_room(&mut self, path: &Path) -> Result<(), UnpackError> {
        let Some(status) = self.status(path)? else { return Ok(()) };
        let name = last(path)?.to_owned();
        let parent = self.parent(path)?;
        let removed = if kind(&status) == SFlag::S_IFDIR {
            remove_directory(parent, &name)
        } else {
            unlinkat(parent, name.as_os_str(), UnlinkatFlags::NoRemoveDir)
        };
        // What the remembered directory was reached through may be gone.
        self.last_parent = None;
        removed.map_err(failed("replace", path))
    }

    fn parent(&mut self, path: &Path) -> Result<BorrowedFd<'_>, UnpackError> {
        let parent = path.parent().unwrap_or(Path::new(""));
        let hit = self.last_parent.as_ref().is_some_and(|(last, _)| last == parent);
        if !hit {
            let opened = self.ensure(parent, 0)?;
            self.last_parent = Some((parent.to_owned(), opened));
        }
        Ok(self.last_parent.as_ref().map_or(self.root.as_fd(), |(_, fd)| fd.as_fd()))
    }

    /// Opens a directory, making it and its parents where the archive did not.
    fn ensure(&mut self, path: &Path, depth: u32) -> Result<OwnedFd, UnpackError> {
        let wrong = |reason| Err(UnpackError::Unsafe { entry: path.to_owned(), reason });
        match self.open_directory(path) {
            Ok(directory) => return Ok(directory),
            Err(Errno::ENOENT | Errno::ENOTDIR) if depth < 256 => {}
            Err(Errno::ELOOP) => return wrong("too many symbolic links"),
            Err(errno) => return Err(failed("open the directory", path)(errno)),
        }
        let name = last(path)?;
        let parent = self.ensure(path.parent().unwrap_or(Path::new("")), depth + 1)?;
        let mut was_whiteout = false;
        match fstatat(&parent, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(status) if is_whiteout(&status, parent.as_fd(), name) => {
                was_whiteout = true;
                unlinkat(&parent, name, UnlinkatFlags::NoRemoveDir).map_err(failed("replace", path))?;
            }
            Ok(_) => return wrong("its parent is not a directory"),
            Err(Errno::ENOENT) => {}
            Err(errno) => return Err(failed("look at", path)(errno)),
        }
        let usual = Mode::from_bits_truncate(0o755);
        mkdirat(&parent, name, usual).map_err(failed("create", path))?;
        fchmodat(&parent, name, usual, FchmodatFlags::FollowSymlink)
            .map_err(failed("set the mode of", path))?;
        if was_whiteout {
            rustix::fs::setxattr(proc_path(&parent, Some(name)), OPAQUE, b"y", XattrFlags::empty())
                .map_err(failed("make opaque (trusted.overlay.opaque)", path))?;
        }
        self.open_directory(path).map_err(failed("open the directory", path))
    }

    fn open_directory(&self, path: &Path) -> Result<OwnedFd, Errno> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let inside =
            ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS | ResolveFlag::RESOLVE_NO_XDEV;
        openat2(&self.root, path, OpenHow::new().flags(DIRECTORY).resolve(inside))
    }
}

/// The entry is a symbolic link, which has no mode of its own.
struct Link;

fn last(path: &Path) -> Result<&OsStr, UnpackError> {
    path.file_name().ok_or_else(|| UnpackError::Unsafe {
        entry: PathBuf::from("/"),
        reason: "the root of a layer is a directory",
    })
}

fn kind(status: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(status.st_mode & SFlag::S_IFMT.bits())
}

fn is_whiteout(status: &FileStat, parent: BorrowedFd<'_>, name: &OsStr) -> bool {
    match kind(status) {
        SFlag::S_IFCHR => status.st_rdev == 0,
        SFlag::S_IFREG if status.st_size == 0 => {
            rustix::fs::lgetxattr(proc_path(&parent, Some(name)), WHITEOUT, &mut [0_u8; 0]).is_ok()
        }
        _ => false,
    }
}

/// The other form of a whiteout, for a store that itself lies on overlayfs, as inside a container: there
/// device 0/0 cannot be made, because it would be a whiteout of that file system. An empty file with an
/// attribute says the same, in a directory that is marked to hold such (kernel 6.7, overlayfs.rst,
/// "whiteouts and opaque directories").
fn attribute_whiteout(parent: BorrowedFd<'_>, name: &OsStr) -> Result<(), rustix::io::Errno> {
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
    openat(parent, name, flags, Mode::empty())
        .map_err(|errno| rustix::io::Errno::from_raw_os_error(errno as i32))?;
    rustix::fs::setxattr(proc_path(&parent, Some(name)), WHITEOUT, b"y", XattrFlags::empty())?;
    // A directory that is opaque already hides more; XATTR_CREATE leaves it so.
    match rustix::fs::setxattr(proc_path(&parent, None), OPAQUE, b"x", XattrFlags::CREATE) {
        Err(rustix::io::Errno::EXIST) => Ok(()),
        other => other,
    }
}

fn mode(metadata: &Metadata) -> Mode {
    Mode::from_bits_truncate(metadata.mode)
}

fn time((seconds, nanoseconds): (i64, i64)) -> TimeSpec {
    TimeSpec::new(seconds, nanoseconds)
}

fn set_time(parent: BorrowedFd<'_>, name: &OsStr, modified: (i64, i64)) -> nix::Result<()> {
    let time = time(modified);
    utimensat(parent, name, &time, &time, UtimensatFlags::NoFollowSymlink)
}

/// The path by which calls that take no directory descriptor reach into a directory.
fn proc_path(directory: &impl AsFd, name: Option<&OsStr>) -> PathBuf {
    let mut path = PathBuf::from(format!("/proc/self/fd/{}", directory.as_fd().as_raw_fd()));
    path.extend(name);
    path
}

/// An attribute that the file system does not have is no reason to refuse an image, save for file
/// capabilities: a program without them would fail later, and strangely.
fn tolerate(attribute: &[u8], set: Result<(), rustix::io::Errno>) -> Result<(), rustix::io::Errno> {
    match set {
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::PERM)
            if attribute != b"security.capability" =>
        {
            Ok(())
        }
        other => other,
    }
}

fn copy(content: &mut dyn Content, file: &mut File, path: &Path) -> Result<u64, UnpackError> {
    let mut buffer = [0; 1 << 16];
    let (mut size, mut written) = (0_u64, 0);
    loop {
        match content.chunk(&mut buffer) {
            Ok(Chunk::End) => break,
            Ok(Chunk::Hole(length)) => size = size.saturating_add(length),
            Ok(Chunk::Data(count)) => {
                if size > written {
                    file.seek(SeekFrom::Start(size)).map_err(failed("write", path))?;
                }
                file.write_all(&buffer[..count]).map_err(failed("write", path))?;
                size += count as u64;
                written = size;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(UnpackError::Read(error)),
        }
    }
    if size > written {
        file.set_len(size).map_err(failed("write", path))?;
    }
    Ok(size)
}

/// Removes a directory and what is in it without following a link. Not recursive on the stack's account:
/// an archive may nest as deep as it likes.
fn remove_directory(parent: BorrowedFd<'_>, name: &OsStr) -> nix::Result<()> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let mut pending: Vec<(OwnedFd, OsString)> =
        vec![(openat(parent, ".", flags, Mode::empty())?, name.into())];
    while let Some((above, name)) = pending.last() {
        let directory = openat(above, name.as_os_str(), flags, Mode::empty())?;
        let mut deeper = None;
        for entry in Dir::from_fd(directory.try_clone().map_err(|_| Errno::EMFILE)?)?.iter() {
            let entry = entry?;
            let child = OsString::from_vec(entry.file_name().to_bytes().to_vec());
            if child == "." || child == ".." {
                continue;
            }
            match unlinkat(&directory, child.as_os_str(), UnlinkatFlags::NoRemoveDir) {
                Ok(()) => {}
                Err(Errno::EISDIR | Errno::EPERM) => deeper = Some(child),
                Err(errno) => return Err(errno),
            }
        }
        match deeper {
            Some(child) => pending.push((directory, child)),
            None => {
                unlinkat(above, name.as_os_str(), UnlinkatFlags::RemoveDir)?;
                pending.pop();
            }
        }
    }
    Ok(())
}

fn failed<E: Into<io::Error>>(action: &'static str, path: &Path) -> impl FnOnce(E) -> UnpackError {
    let entry = path.to_owned();
    move |source| UnpackError::Write { action, entry, source: source.into() }
}
