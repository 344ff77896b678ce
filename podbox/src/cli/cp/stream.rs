//! A copy as a tar stream, on standard output or from standard input: `podbox cp POD:/dir - | tar t`.
//!
//! Going out, links are links: nothing is written on this host. Coming in, every part of an entry's name is opened by
//! itself and no link is gone through, so that the archive reaches nothing but what is below the target.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, chownat, fchmod, fchown,
    fstat, futimens, linkat, mkdirat, openat, readlinkat, statat, symlinkat, unlinkat,
};
use tar::{Archive, Builder, Entry, EntryType, Header};

use super::copy::Keep;
use super::place::{CopyError, Place, during};

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Writes what is at a place, under its own name, as an archive.
pub(super) fn write(source: &Place, keep: Keep, to: impl Write) -> Result<(), CopyError> {
    if source.kind.is_none() {
        return Err(during("open", &source.shown)(rustix::io::Errno::NOENT));
    }
    let mut packer = Packer { archive: Builder::new(to), keep };
    let name = source.shown.file_name().unwrap_or(OsStr::new(".")).to_owned();
    packer.add(source, Path::new(&name))?;
    let mut to = packer.archive.into_inner().map_err(written)?;
    to.flush().map_err(written)
}

fn written(error: io::Error) -> CopyError {
    during("write", Path::new("-"))(error)
}

struct Packer<W: Write> {
    archive: Builder<W>,
    keep: Keep,
}

impl<W: Write> Packer<W> {
    fn add(&mut self, place: &Place, name: &Path) -> Result<(), CopyError> {
        match place.kind {
            Some(FileType::RegularFile) => self.file(place, name),
            Some(FileType::Directory) => self.directory(place, name),
            Some(FileType::Symlink) => self.link(place, name),
            _ => {
                anstream::eprintln!("warning: skipping special file: {}", place.shown.display());
                Ok(())
            }
        }
    }

    fn header(&self, stat: &Stat, kind: EntryType) -> Header {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mtime(u64::try_from(stat.st_mtime).unwrap_or(0));
        let plain = if kind == EntryType::Directory { 0o755 } else { 0o644 };
        let keeps = self.keep != Keep::Nothing;
        header.set_mode(if keeps { stat.st_mode & 0o7777 } else { plain });
        header.set_uid(if keeps { stat.st_uid.into() } else { 0 });
        header.set_gid(if keeps { stat.st_gid.into() } else { 0 });
        header
    }

    fn file(&mut self, place: &Place, name: &Path) -> Result<(), CopyError> {
        // What was a file may be a FIFO by now, and nobody waits for its writer.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file =
            openat(&place.dir, &place.name, flags, Mode::empty()).map_err(during("open", &place.shown))?;
        let stat = fstat(&file).map_err(during("look at", &place.shown))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(during("open", &place.shown)(io::Error::other(
                "it has become something else meanwhile",
            )));
        }
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        let mut header = self.header(&stat, EntryType::Regular);
        header.set_size(size);
        // As long as the header says, whatever becomes of the file meanwhile.
        let content = File::from(file).chain(io::repeat(0)).take(size);
        self.archive.append_data(&mut header, name, content).map_err(written)
    }

    fn directory(&mut self, place: &Place, name: &Path) -> Result<(), CopyError> {
        let dir = openat(&place.dir, &place.name, DIRECTORY, Mode::empty())
            .map_err(during("open", &place.shown))?;
        let stat = fstat(&dir).map_err(during("look at", &place.shown))?;
        let mut header = self.header(&stat, EntryType::Directory);
        header.set_size(0);
        self.archive.append_data(&mut header, name.join(""), io::empty()).map_err(written)?;
        for entry in Dir::read_from(&dir).map_err(during("read", &place.shown))? {
            let entry = entry.map_err(during("read", &place.shown))?;
            let part = OsStr::from_bytes(entry.file_name().to_bytes());
            if part == "." || part == ".." {
                continue;
            }
            let below = dir.try_clone().map_err(during("open", &place.shown))?;
            self.add(&Place::of(below, part, place.shown.join(part))?, &name.join(part))?;
        }
        Ok(())
    }

    fn link(&mut self, place: &Place, name: &Path) -> Result<(), CopyError> {
        let stat = statat(&place.dir, &place.name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(during("look at", &place.shown))?;
        let link = readlinkat(&place.dir, &place.name, Vec::new()).map_err(during("read", &place.shown))?;
        let mut header = self.header(&stat, EntryType::Symlink);
        header.set_size(0);
        let link = OsString::from_vec(link.into_bytes());
        self.archive.append_link(&mut header, name, Path::new(&link)).map_err(written)
    }
}

/// Unpacks an archive into a directory that is there.
pub(super) fn read(target: &Place, keep: Keep, from: impl Read) -> Result<(), CopyError> {
    let dir =
        openat(&target.dir, &target.name, DIRECTORY, Mode::empty()).map_err(during("open", &target.shown))?;
    let unpacker = Unpacker { dir, shown: target.shown.clone(), keep };
    let bad = |error: io::Error| during("read the archive for", &target.shown)(error);
    for entry in Archive::new(from).entries().map_err(bad)? {
        unpacker.entry(entry.map_err(bad)?)?;
    }
    Ok(())
}

struct Unpacker {
    dir: OwnedFd,
    shown: PathBuf,
    keep: Keep,
}

impl Unpacker {
    fn entry<R: Read>(&self, mut entry: Entry<'_, R>) -> Result<(), CopyError> {
        let parts = self.parts(&entry.path_bytes())?;
        // The target itself.
        let Some((name, parents)) = parts.split_last() else { return Ok(()) };
        let shown = self.shown.join(parts.iter().collect::<PathBuf>());
        let dir = self.descend(parents)?;
        match entry.header().entry_type() {
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                make_room(&dir, name, &shown)?;
                let flags =
                    OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let file = openat(&dir, name, flags, Mode::from_bits_truncate(0o644))
                    .map_err(during("write", &shown))?;
                let mut file = File::from(file);
                io::copy(&mut entry, &mut file).map_err(during("write", &shown))?;
                self.keep_on(&file, entry.header()).map_err(during("set the permissions of", &shown))
            }
            EntryType::Directory => {
                match mkdirat(&dir, name, Mode::from_bits_truncate(0o755)) {
                    Ok(()) | Err(rustix::io::Errno::EXIST) => {}
                    Err(errno) => return Err(during("make", &shown)(errno)),
                }
                let made = openat(&dir, name, DIRECTORY, Mode::empty()).map_err(during("open", &shown))?;
                self.keep_on(&made, entry.header()).map_err(during("set the permissions of", &shown))
            }
            EntryType::Symlink => {
                make_room(&dir, name, &shown)?;
                let link = OsString::from_vec(entry.link_name_bytes().unwrap_or_default().into_owned());
                symlinkat(&link, &dir, name).map_err(during("make", &shown))?;
                self.own(&dir, name, entry.header()).map_err(during("set the owner of", &shown))
            }
            EntryType::Link => {
                let link = self.parts(&entry.link_name_bytes().unwrap_or_default())?;
                let Some((old, parents)) = link.split_last() else { return Ok(()) };
                make_room(&dir, name, &shown)?;
                let from = self.descend(parents)?;
                linkat(&from, old, &dir, name, AtFlags::empty()).map_err(during("make", &shown))
            }
            _ => {
                anstream::eprintln!("warning: skipping special file: {}", shown.display());
                Ok(())
            }
        }
    }

    /// The parts of a name below the target.
    fn parts(&self, name: &[u8]) -> Result<Vec<OsString>, CopyError> {
        let parts = name.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".");
        let parts: Vec<OsString> = parts.map(|part| OsString::from_vec(part.to_owned())).collect();
        match parts.iter().any(|part| part == "..") {
            true => {
                let why = format!("{:?} leads out of it", String::from_utf8_lossy(name));
                Err(during("unpack into", &self.shown)(io::Error::other(why)))
            }
            false => Ok(parts),
        }
    }

    /// The directory of that name, made where there is none.
    fn descend(&self, parts: &[OsString]) -> Result<OwnedFd, CopyError> {
        let mut shown = self.shown.clone();
        let mut dir = self.dir.try_clone().map_err(during("open", &shown))?;
        for part in parts {
            shown.push(part);
            dir = match openat(&dir, part, DIRECTORY, Mode::empty()) {
                Err(rustix::io::Errno::NOENT) => {
                    mkdirat(&dir, part, Mode::from_bits_truncate(0o755)).map_err(during("make", &shown))?;
                    openat(&dir, part, DIRECTORY, Mode::empty())
                }
                other => other,
            }
            .map_err(during("open", &shown))?;
        }
        Ok(dir)
    }

    fn keep_on(&self, to: &impl rustix::fd::AsFd, header: &Header) -> io::Result<()> {
        if self.keep == Keep::Nothing {
            return Ok(());
        }
        let (user, group) = owner(header)?;
        // Before the permissions: a change of owner takes setuid away.
        fchown(to, Some(user), Some(group))?;
        fchmod(to, Mode::from_bits_truncate(header.mode()? & 0o7777))?;
        let time = Timespec { tv_sec: i64::try_from(header.mtime()?).unwrap_or(0), tv_nsec: 0 };
        Ok(futimens(to, &Timestamps { last_access: time, last_modification: time })?)
    }

    fn own(&self, dir: &OwnedFd, name: &OsStr, header: &Header) -> io::Result<()> {
        if self.keep == Keep::Nothing {
            return Ok(());
        }
        let (user, group) = owner(header)?;
        Ok(chownat(dir, name, Some(user), Some(group), AtFlags::SYMLINK_NOFOLLOW)?)
    }
}

fn owner(header: &Header) -> io::Result<(Uid, Gid)> {
    let id = |number: u64| u32::try_from(number).map_err(|_| io::Error::other(format!("{number} is no id")));
    Ok((Uid::from_raw(id(header.uid()?)?), Gid::from_raw(id(header.gid()?)?)))
}

/// What has the name makes room; a directory does not.
fn make_room(dir: &OwnedFd, name: &OsStr, shown: &Path) -> Result<(), CopyError> {
    match unlinkat(dir, name, AtFlags::empty()) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
        Err(errno) => Err(during("replace", shown)(errno)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(path: &Path) -> Place {
        Place::local(path).unwrap()
    }

    #[test]
    fn what_is_written_as_an_archive_is_read_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        std::fs::create_dir_all(from.join("deep")).unwrap();
        std::fs::create_dir(&to).unwrap();
        let long = "n".repeat(180);
        std::fs::write(from.join("deep").join(&long), "text").unwrap();
        std::os::unix::fs::symlink("deep", from.join("link")).unwrap();
        let mut archive = Vec::new();
        write(&place(&from), Keep::All, &mut archive).unwrap();
        read(&place(&to), Keep::Nothing, archive.as_slice()).unwrap();
        assert_eq!(std::fs::read(to.join("from/deep").join(&long)).unwrap(), b"text");
        assert_eq!(std::fs::read_link(to.join("from/link")).unwrap(), Path::new("deep"));
    }

    #[test]
    fn no_entry_leaves_the_target_by_its_name_or_through_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let to = dir.path().join("to");
        std::fs::create_dir(&to).unwrap();
        let unpack = |names: &[(&str, Option<&str>)]| {
            let mut builder = Builder::new(Vec::new());
            for (name, link) in names {
                let mut header = Header::new_gnu();
                header.set_size(0);
                // Not by set_path, which is careful.
                header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
                if let Some(link) = link {
                    header.set_entry_type(EntryType::Symlink);
                    header.set_link_name(link).unwrap();
                }
                header.set_cksum();
                builder.append(&header, io::empty()).unwrap();
            }
            read(&place(&to), Keep::Nothing, builder.into_inner().unwrap().as_slice())
        };
        let error = unpack(&[("a/../../out", None)]).unwrap_err().to_string();
        assert!(error.contains("\"a/../../out\" leads out of it"), "{error}");
        assert!(unpack(&[("l", Some("..")), ("l/out", None)]).is_err());
        assert!(!dir.path().join("out").exists());
        unpack(&[("/absolute", None)]).unwrap();
        assert!(to.join("absolute").exists());
    }
}
