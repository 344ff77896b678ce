//! Writing a volume's files so that a reader sees either all the old ones or all the new ones.
//!
//! The files lie in a directory of their own, `..2024_05_01_10_00_00.123456`; `..data` leads to it and is replaced in one
//! step; what containers see are links through `..data`. Source: kubelet `volume/util/atomic_writer.go`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::ownership::{self, Policy};

const DATA: &str = "..data";
const NEXT: &str = "..data_tmp";

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct File {
    pub(super) data: Vec<u8>,
    /// Permission bits.
    pub(super) mode: u32,
    /// Its owner, if not root.
    pub(super) owner: Option<u32>,
}

/// The files of a volume by their paths in it, which are relative and have no `..`.
pub(super) type Payload = BTreeMap<PathBuf, File>;

/// Whether the volume has been written once.
pub(super) fn is_written(volume: &Path) -> bool {
    volume.join(DATA).exists()
}

/// Writes all files, unless they are there already; says whether it did. They belong to `group` as they appear.
///
/// # Errors
/// If the disk or the memory does not take them; what was there is then untouched.
pub(super) fn write(volume: &Path, payload: &Payload, group: Option<u32>) -> io::Result<bool> {
    let changed = !is_same(&volume.join(DATA), payload)?;
    if changed {
        let fresh = new_directory(volume)?;
        let given = fill(&fresh, payload).and_then(|()| give(&fresh, group));
        given.and_then(|()| swap(volume, &fresh)).inspect_err(|_| {
            let _ = fs::remove_dir_all(&fresh);
        })?;
    }
    show(volume, payload)?;
    tidy(volume, payload)?;
    Ok(changed)
}

fn is_same(data: &Path, payload: &Payload) -> io::Result<bool> {
    let mut there = BTreeSet::new();
    collect(data, Path::new(""), &mut there)?;
    let all = there.iter().eq(payload.keys());
    let same = |(path, file): (&PathBuf, &File)| fs::read(data.join(path)).is_ok_and(|old| old == file.data);
    Ok(all && data.exists() && payload.iter().all(same))
}

/// The paths of all files below a directory, which need not be there.
fn collect(root: &Path, below: &Path, found: &mut BTreeSet<PathBuf>) -> io::Result<()> {
    let entries = match fs::read_dir(root.join(below)) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let path = below.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            collect(root, &path, found)?;
        } else {
            found.insert(path);
        }
    }
    Ok(())
}

/// A new directory for the files, named after the time.
fn new_directory(volume: &Path) -> io::Result<PathBuf> {
    let now = Timestamp::now();
    let second = now.strftime("..%Y_%m_%d_%H_%M_%S");
    let mut number = now.subsec_nanosecond();
    loop {
        let path = volume.join(format!("{second}.{number}"));
        match fs::create_dir(&path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => number += 1,
            made => {
                made?;
                fs::set_permissions(&path, Permissions::from_mode(0o755))?;
                return Ok(path);
            }
        }
    }
}

fn fill(directory: &Path, payload: &Payload) -> io::Result<()> {
    for (path, file) in payload {
        let path = directory.join(path);
        if let Some(parent) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o755).create(parent)?;
        }
        let mut made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        made.write_all(&file.data)?;
        if file.owner.is_some() {
            chown(&path, file.owner, None)?;
        }
        // Not by the mode of creation, which the umask cuts.
        made.set_permissions(Permissions::from_mode(file.mode))?;
    }
    Ok(())
}

fn give(directory: &Path, group: Option<u32>) -> io::Result<()> {
    group.map_or(Ok(()), |group| ownership::apply(directory, group, true, Policy::Always))
}

fn swap(volume: &Path, fresh: &Path) -> io::Result<()> {
    let next = volume.join(NEXT);
    let _ = fs::remove_file(&next);
    symlink(fresh.file_name().unwrap_or_default(), &next)?;
    fs::rename(&next, volume.join(DATA))
}

/// The names that stand at the top of the volume.
fn top(payload: &Payload) -> BTreeSet<PathBuf> {
    payload.keys().filter_map(|path| path.components().next()).map(|first| first.as_os_str().into()).collect()
}

fn show(volume: &Path, payload: &Payload) -> io::Result<()> {
    for name in top(payload) {
        match symlink(Path::new(DATA).join(&name), volume.join(&name)) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Removes the links to what is no longer there, and directories of files that have been replaced.
fn tidy(volume: &Path, payload: &Payload) -> io::Result<()> {
    let (shown, current) = (top(payload), fs::read_link(volume.join(DATA))?);
    for entry in fs::read_dir(volume)? {
        let entry = entry?;
        let (path, name) = (entry.path(), PathBuf::from(entry.file_name()));
        let is_own = name.as_os_str().as_encoded_bytes().starts_with(b"..");
        if is_own && name != current && entry.file_type()?.is_dir() {
            fs::remove_dir_all(path)?;
        } else if !is_own && !shown.contains(&name) {
            // What somebody made there beside, such as the directory of a subPath, is not ours.
            if fs::read_link(&path).is_ok_and(|target| target == Path::new(DATA).join(&name)) {
                fs::remove_file(path)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(files: &[(&str, &str)]) -> Payload {
        let file = |text: &str| File { data: text.into(), mode: 0o640, owner: None };
        files.iter().map(|(path, text)| (PathBuf::from(path), file(text))).collect()
    }

    fn names(volume: &Path) -> Vec<String> {
        let names =
            fs::read_dir(volume).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.filter(|name| !name.starts_with("..2")).collect();
        names.sort();
        names
    }

    #[test]
    fn files_are_swapped_together_and_what_is_removed_goes() {
        let dir = tempfile::tempdir().unwrap();
        let volume = dir.path();
        assert!(write(volume, &payload(&[("a", "1"), ("deep/b", "2"), ("deep/c", "3")]), None).unwrap());
        assert_eq!(names(volume), ["..data", "a", "deep"]);
        assert_eq!(fs::read_link(volume.join("a")).unwrap(), Path::new("..data/a"));
        assert_eq!(fs::read_to_string(volume.join("deep/b")).unwrap(), "2");
        assert_eq!(fs::metadata(volume.join("deep/b")).unwrap().permissions().mode() & 0o7777, 0o640);
        let before = fs::read_link(volume.join("..data")).unwrap();
        fs::create_dir(volume.join("beside")).unwrap();
        assert!(write(volume, &payload(&[("deep/b", "new")]), None).unwrap());
        assert_ne!(fs::read_link(volume.join("..data")).unwrap(), before);
        assert!(!volume.join(before).exists());
        assert_eq!(names(volume), ["..data", "beside", "deep"]);
        assert_eq!(fs::read_to_string(volume.join("deep/b")).unwrap(), "new");
        assert!(!volume.join("deep/c").exists());
    }

    #[test]
    fn what_has_not_changed_is_not_swapped() {
        let dir = tempfile::tempdir().unwrap();
        let files = payload(&[("a", "1")]);
        assert!(write(dir.path(), &files, None).unwrap());
        let before = fs::read_link(dir.path().join("..data")).unwrap();
        assert!(!write(dir.path(), &files, None).unwrap());
        assert_eq!(fs::read_link(dir.path().join("..data")).unwrap(), before);
    }

    #[test]
    fn a_volume_may_be_empty() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!is_written(dir.path()));
        assert!(write(dir.path(), &Payload::new(), None).unwrap());
        assert!(is_written(dir.path()));
        assert!(!write(dir.path(), &Payload::new(), None).unwrap());
    }

    #[test]
    fn what_a_killed_writer_left_is_taken_up() {
        let dir = tempfile::tempdir().unwrap();
        let volume = dir.path();
        write(volume, &payload(&[("a", "1"), ("b", "2")]), None).unwrap();
        fs::create_dir(volume.join("..2001_01_01_00_00_00.1")).unwrap();
        symlink("..2001_01_01_00_00_00.1", volume.join("..data_tmp")).unwrap();
        fs::remove_file(volume.join("b")).unwrap();
        assert!(!write(volume, &payload(&[("a", "1"), ("b", "2")]), None).unwrap());
        assert!(volume.join("b").exists());
        assert!(!volume.join("..2001_01_01_00_00_00.1").exists());
        assert!(write(volume, &payload(&[("a", "2")]), None).unwrap());
        assert_eq!(names(volume), ["..data", "a"]);
    }
}
