//! The copying itself: between two open directories, by names that no link stands behind.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use rustix::fs::{
    AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, Uid, chownat, fchmod, fchown, fstat, mkdirat, openat,
    readlinkat, symlinkat, unlinkat,
};

use super::place::{CopyError, Place, during};

/// What a copy has of its original beside the content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    Nothing,
    /// Without setuid, setgid and sticky bits.
    Permissions,
    /// Permissions and owner.
    All,
}

/// What becomes of symbolic links below the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Links {
    /// They are copied as they are.
    Keep,
    /// They are left out with a warning, as kubectl does: what a container has written must not lead this host's programs
    /// anywhere.
    Skip,
}

/// A copy.
#[derive(Clone, Copy, Debug)]
pub(super) struct Copy {
    pub(super) keep: Keep,
    pub(super) links: Links,
}

impl Copy {
    /// Copies what is at one place to another one; into it, if it is a directory.
    pub(super) fn run(self, source: &Place, target: &Place) -> Result<(), CopyError> {
        if source.kind.is_none() {
            return Err(during("open", &source.shown)(rustix::io::Errno::NOENT));
        }
        if target.kind == Some(FileType::Directory) {
            let name = source.shown.file_name().unwrap_or(OsStr::new("."));
            return self.one(source, &target.below(name)?);
        }
        if target.must_be_directory && source.kind != Some(FileType::Directory) {
            return Err(during("open", &target.shown)(rustix::io::Errno::NOENT));
        }
        self.one(source, target)
    }

    fn one(self, source: &Place, target: &Place) -> Result<(), CopyError> {
        match source.kind {
            Some(FileType::RegularFile) => self.file(source, target),
            Some(FileType::Directory) => self.directory(source, target),
            Some(FileType::Symlink) => self.link(source, target),
            _ => {
                anstream::eprintln!("warning: skipping special file: {}", source.shown.display());
                Ok(())
            }
        }
    }

    fn file(self, source: &Place, target: &Place) -> Result<(), CopyError> {
        // What was a file may be a FIFO by now, and nobody waits for its writer.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let from =
            openat(&source.dir, &source.name, flags, Mode::empty()).map_err(during("open", &source.shown))?;
        let stat = fstat(&from).map_err(during("look at", &source.shown))?;
        let is_file = |stat: &Stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        if !is_file(&stat) {
            return Err(changed(source));
        }
        let to = open_target(target)?;
        if !fstat(&to).is_ok_and(|stat| is_file(&stat)) {
            return Err(changed(target));
        }
        let (mut from, mut to) = (File::from(from), File::from(to));
        io::copy(&mut from, &mut to).map_err(during("write", &target.shown))?;
        self.keep_on(&to, &stat).map_err(during("set the permissions of", &target.shown))
    }

    fn directory(self, source: &Place, target: &Place) -> Result<(), CopyError> {
        match mkdirat(&target.dir, &target.name, Mode::from_bits_truncate(0o755)) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(errno) => return Err(during("make", &target.shown)(errno)),
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let from =
            openat(&source.dir, &source.name, flags, Mode::empty()).map_err(during("open", &source.shown))?;
        let to =
            openat(&target.dir, &target.name, flags, Mode::empty()).map_err(during("open", &target.shown))?;
        let stat = fstat(&from).map_err(during("look at", &source.shown))?;
        for entry in Dir::read_from(&from).map_err(during("read", &source.shown))? {
            let entry = entry.map_err(during("read", &source.shown))?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            let place = |dir: &OwnedFd, of: &Place| {
                let dir = dir.try_clone().map_err(during("open", &of.shown))?;
                Place::of(dir, name, of.shown.join(name))
            };
            self.one(&place(&from, source)?, &place(&to, target)?)?;
        }
        // Last, since it may forbid to write in there.
        self.keep_on(&to, &stat).map_err(during("set the permissions of", &target.shown))
    }

    fn link(self, source: &Place, target: &Place) -> Result<(), CopyError> {
        let link =
            readlinkat(&source.dir, &source.name, Vec::new()).map_err(during("read", &source.shown))?;
        let link = std::ffi::OsString::from_vec(link.into_bytes());
        if self.links == Links::Skip {
            anstream::eprintln!("warning: skipping symlink: {:?} -> {link:?}", source.shown);
            return Ok(());
        }
        if target.kind.is_some() {
            unlinkat(&target.dir, &target.name, AtFlags::empty())
                .map_err(during("replace", &target.shown))?;
        }
        symlinkat(&link, &target.dir, &target.name).map_err(during("make", &target.shown))?;
        if self.keep == Keep::All {
            let stat = rustix::fs::statat(&source.dir, &source.name, AtFlags::SYMLINK_NOFOLLOW);
            let owner = stat.map(|stat| (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid)));
            owner
                .and_then(|(user, group)| {
                    let flags = AtFlags::SYMLINK_NOFOLLOW;
                    chownat(&target.dir, &target.name, Some(user), Some(group), flags)
                })
                .map_err(during("set the owner of", &target.shown))?;
        }
        Ok(())
    }

    fn keep_on(self, to: &impl rustix::fd::AsFd, stat: &Stat) -> rustix::io::Result<()> {
        if self.keep == Keep::All {
            // Before the permissions: a change of owner takes setuid away.
            fchown(to, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))?;
        }
        let bits = match self.keep {
            Keep::Nothing => return Ok(()),
            Keep::Permissions => 0o777,
            Keep::All => 0o7777,
        };
        fchmod(to, Mode::from_bits_truncate(stat.st_mode & bits))
    }
}

/// A file to write into. Anything else that has the name makes room for it: this process is bound to no list of devices,
/// and must open none that a container has made.
fn open_target(target: &Place) -> Result<OwnedFd, CopyError> {
    let how = match target.kind {
        Some(FileType::RegularFile) => OFlags::TRUNC,
        None => OFlags::CREATE | OFlags::EXCL,
        // Its removal fails if it is a directory, as it should.
        Some(_) => {
            unlinkat(&target.dir, &target.name, AtFlags::empty())
                .map_err(during("replace", &target.shown))?;
            OFlags::CREATE | OFlags::EXCL
        }
    };
    let flags = how | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    openat(&target.dir, &target.name, flags, Mode::from_bits_truncate(0o644))
        .map_err(during("write", &target.shown))
}

fn changed(place: &Place) -> CopyError {
    during("open", &place.shown)(io::Error::other("it has become something else meanwhile"))
}
