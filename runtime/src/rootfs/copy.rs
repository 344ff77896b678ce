//! Image layers as one plain directory: the last resort where overlays cannot be mounted.
//!
//! The layers are applied from the lowest up, as an overlay would show them (the kernel's overlayfs.rst,
//! "whiteouts and opaque directories"): a whiteout takes a name away, a directory with
//! `trusted.overlay.opaque=y` replaces what is below it, everything else adds or replaces. A whiteout is a
//! character device 0:0, or an empty file with the attribute `trusted.overlay.whiteout`. Owners, modes, times,
//! hard links and extended attributes are kept, save for overlayfs' own and those of security modules, which
//! are the host's.

use crate::recipe::{During, Fault};
use crate::sys::xattr;
use nix::fcntl::AT_FDCWD;
use nix::sys::stat::{Mode, SFlag, UtimensatFlags, mknod, utimensat};
use nix::sys::time::TimeSpec;
use std::collections::HashMap;
use std::ffi::{CStr, CString};
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
    if is_whiteout(from, meta) {
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

/// Owner before mode and attributes, because a change of owner clears set-user-ID and file capabilities; times
/// last, because all else sets them.
fn finish(from: &Path, to: &Path, meta: &Metadata) -> io::Result<()> {
    lchown(to, Some(meta.uid()), Some(meta.gid()))?;
    if !meta.is_symlink() {
        fs::set_permissions(to, Permissions::from_mode(meta.mode() & 0o7777))?;
    }
    attributes(from, to)?;
    let access = TimeSpec::new(meta.atime(), meta.atime_nsec());
    let change = TimeSpec::new(meta.mtime(), meta.mtime_nsec());
    Ok(utimensat(AT_FDCWD, to, &access, &change, UtimensatFlags::NoFollowSymlink)?)
}

/// Gives `to` the attributes of `from` and no others: of a directory in several layers, the topmost's count.
fn attributes(from: &Path, to: &Path) -> io::Result<()> {
    let wanted = images_own(from)?;
    for old in images_own(to)? {
        if !wanted.contains(&old) {
            xattr::remove(to, &old)?;
        }
    }
    for name in wanted {
        let Some(value) = xattr::get(from, &name) else { continue };
        match xattr::set(to, &name, &value) {
            // A program without its capabilities would fail later, and strangely; the rest can be missed where
            // the file system does not have it, as in the store.
            Err(error) if name.as_c_str() != CAPABILITY && is_refusal(&error) => {}
            other => other?,
        }
    }
    Ok(())
}

const CAPABILITY: &CStr = c"security.capability";

/// The attributes that an image can bring; none where the file system has none.
fn images_own(path: &Path) -> io::Result<Vec<CString>> {
    let mut names = match xattr::list(path) {
        Err(error) if is_refusal(&error) => Vec::new(),
        other => other?,
    };
    names.retain(|name| {
        let bytes = name.as_bytes();
        name.as_c_str() == CAPABILITY
            || bytes.starts_with(b"user.")
            || bytes.starts_with(b"system.posix_acl_")
            || bytes.starts_with(b"trusted.") && !bytes.starts_with(b"trusted.overlay.")
    });
    Ok(names)
}

fn is_refusal(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::PermissionDenied)
}

fn is_whiteout(path: &Path, meta: &Metadata) -> bool {
    let kind = meta.file_type();
    kind.is_char_device() && meta.rdev() == 0
        || kind.is_file() && meta.len() == 0 && xattr::get(path, c"trusted.overlay.whiteout").is_some()
}

/// Only `y` hides what is below. `x` says that there are whiteouts by attribute in it.
fn is_opaque(directory: &Path) -> bool {
    xattr::get(directory, c"trusted.overlay.opaque").is_some_and(|value| value == b"y")
}

#[cfg(test)]
mod tests;
