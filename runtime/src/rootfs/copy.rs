//! Image layers as one plain directory: the last resort where overlays cannot be mounted.
//!
//! The layers are applied from the lowest up, as an overlay would show them: a character device 0:0 takes a
//! name away, a directory with `trusted.overlay.opaque=y` replaces what is below it, everything else adds or
//! replaces. Owners, modes, times, hard links and file capabilities are kept.

use crate::recipe::{During, Fault};
use crate::sys::xattr;
use nix::fcntl::AT_FDCWD;
use nix::sys::stat::{Mode, SFlag, UtimensatFlags, mknod, utimensat};
use nix::sys::time::TimeSpec;
use std::collections::HashMap;
use std::fs::{self, DirBuilder, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

/// Applies `lower`, topmost first, to the new directory `root`.
pub(super) fn layers(lower: &[PathBuf], root: &Path) -> Result<(), Fault> {
    DirBuilder::new().mode(0o755).create(root).during(root.display())?;
    for layer in lower.iter().rev() {
        // Inode numbers mean something within one layer only.
        directory(layer, root, &mut HashMap::new()).during(layer.display())?;
    }
    Ok(())
}

fn directory(from: &Path, to: &Path, links: &mut HashMap<u64, PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let meta = fs::symlink_metadata(entry.path())?;
        apply(&entry.path(), &to.join(entry.file_name()), &meta, links)?;
    }
    Ok(())
}

fn apply(from: &Path, to: &Path, meta: &Metadata, links: &mut HashMap<u64, PathBuf>) -> io::Result<()> {
    let kind = meta.file_type();
    let there = fs::symlink_metadata(to).ok();
    let keeps = kind.is_dir() && there.as_ref().is_some_and(Metadata::is_dir) && !is_opaque(from);
    if let Some(there) = there.filter(|_| !keeps) {
        if there.is_dir() { fs::remove_dir_all(to)? } else { fs::remove_file(to)? }
    }
    if kind.is_char_device() && meta.rdev() == 0 {
        return Ok(());
    }
    if !kind.is_dir() && meta.nlink() > 1 {
        if let Some(first) = links.get(&meta.ino()) {
            return fs::hard_link(first, to);
        }
        links.insert(meta.ino(), to.to_owned());
    }
    if kind.is_dir() {
        if !keeps {
            fs::create_dir(to)?;
        }
        directory(from, to, links)?;
    } else if kind.is_symlink() {
        symlink(fs::read_link(from)?, to)?;
    } else if kind.is_file() {
        fs::copy(from, to)?;
    } else {
        let bits = SFlag::from_bits_truncate(meta.mode() & SFlag::S_IFMT.bits());
        mknod(to, bits, Mode::from_bits_truncate(meta.mode() & 0o7777), meta.rdev())?;
    }
    finish(from, to, meta)
}

/// Owner before mode, because a change of owner clears set-user-ID; times last, because all else sets them.
fn finish(from: &Path, to: &Path, meta: &Metadata) -> io::Result<()> {
    lchown(to, Some(meta.uid()), Some(meta.gid()))?;
    if !meta.is_symlink() {
        fs::set_permissions(to, Permissions::from_mode(meta.mode() & 0o7777))?;
        if let Some(capability) = xattr::get(from, c"security.capability") {
            xattr::set(to, c"security.capability", &capability)?;
        }
    }
    let access = TimeSpec::new(meta.atime(), meta.atime_nsec());
    let change = TimeSpec::new(meta.mtime(), meta.mtime_nsec());
    Ok(utimensat(AT_FDCWD, to, &access, &change, UtimensatFlags::NoFollowSymlink)?)
}

fn is_opaque(directory: &Path) -> bool {
    xattr::get(directory, c"trusted.overlay.opaque").is_some_and(|value| value == b"y")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_become_what_an_overlay_would_show() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for name in ["low/gone", "low/kept", "low/opaque", "high/kept", "high/opaque"] {
            fs::create_dir_all(path(name)).unwrap();
        }
        for name in
            ["low/gone/x", "low/kept/a", "low/kept/b", "low/opaque/old", "high/opaque/new", "low/file"]
        {
            fs::write(path(name), name).unwrap();
        }
        fs::write(path("high/kept/b"), "replaced").unwrap();
        fs::hard_link(path("high/kept/b"), path("high/kept/c")).unwrap();
        symlink("a", path("high/kept/link")).unwrap();
        fs::set_permissions(path("high/kept"), Permissions::from_mode(0o1777)).unwrap();
        mknod(&path("high/gone"), SFlag::S_IFCHR, Mode::empty(), 0).unwrap();
        mknod(&path("high/file"), SFlag::S_IFCHR, Mode::empty(), 0).unwrap();
        if xattr::set(&path("high/opaque"), c"trusted.overlay.opaque", b"y").is_err() {
            return;
        }
        layers(&[path("high"), path("low")], &path("root")).unwrap();
        let read = |name: &str| fs::read_to_string(path("root").join(name)).ok();
        assert_eq!(read("kept/a").as_deref(), Some("low/kept/a"));
        assert_eq!(read("kept/b").as_deref(), Some("replaced"));
        assert_eq!(fs::metadata(path("root/kept/c")).unwrap().nlink(), 2);
        assert_eq!(fs::read_link(path("root/kept/link")).unwrap(), Path::new("a"));
        assert_eq!(fs::metadata(path("root/kept")).unwrap().mode() & 0o7777, 0o1777);
        assert!(!path("root/gone").exists() && !path("root/file").exists());
        assert_eq!(read("opaque/old"), None);
        assert_eq!(read("opaque/new").as_deref(), Some("high/opaque/new"));
    }
}
