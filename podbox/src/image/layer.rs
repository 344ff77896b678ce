//! One layer: from the bytes that a registry or an archive hands over to a directory.
//!
//! ```text
//! bytes ─► digest of the blob ─► gunzip | unzstd | as is ─► diff id ─► tar entries ─► Tree
//! ```
//!
//! Everything streams; nothing is held whole. Both digests are of *all* the bytes, also those after the
//! archive's end, so that what was verified is what was served.
//!
//! Whiteouts (OCI image specification, "Layer Filesystem Changeset"): an entry `.wh.NAME` says that NAME
//! of the layers below is gone, `.wh..wh..opq` that everything below in its directory is. They become what
//! overlayfs expects in a lower directory: a character device 0/0, and the extended attribute
//! `trusted.overlay.opaque=y`. They say nothing of their own layer, in whatever order its entries come.

use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use flate2::bufread::MultiGzDecoder;
use tar::{Archive, Entry, EntryType};

use super::digest::{Running, Tee};
use super::tree::{Metadata, Node, Tree};

/// A layer that has become a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unpacked {
    /// Digest of the bytes as they came.
    pub(crate) blob: String,
    /// Digest of the tar stream.
    pub(crate) diff_id: String,
    /// Bytes of regular files.
    pub(crate) size: u64,
}

/// Why a layer does not unpack.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnpackError {
    /// Bytes do not come, or do not decompress, or are not a tar archive.
    #[error("read the archive")]
    Read(#[source] io::Error),
    /// An entry that would leave the layer's directory, or stands where it cannot.
    #[error("accept entry {entry:?}: {reason}")]
    Unsafe {
        /// The entry's name in the archive.
        entry: PathBuf,
        /// A fragment that says why.
        reason: &'static str,
    },
    /// A compression or kind of entry that nobody here reads.
    #[error("read {what}: not supported")]
    Unsupported {
        /// Of what kind.
        what: String,
    },
    /// The kernel refused to make an entry.
    #[error("{action} {entry:?}")]
    Write {
        /// A verb: "create", "link", …
        action: &'static str,
        /// The entry's name in the archive.
        entry: PathBuf,
        /// The kernel's answer: a full disk, a missing privilege.
        source: io::Error,
    },
}

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
const AUFS_METADATA: &[u8] = b".wh..wh.";

/// Unpacks the layer into `directory`, which must not exist. The caller compares the digests, and removes
/// the directory where they differ or this fails.
pub(crate) fn unpack(input: impl Read, directory: &Path) -> Result<Unpacked, UnpackError> {
    let mut tree = Tree::create(directory)?;
    let (blob, diff, size) = read_all(input, |entry| accept(&mut tree, entry))?;
    tree.finish()?;
    Ok(Unpacked { blob: blob.finish(), diff_id: diff.finish(), size })
}

fn read_all(
    input: impl Read,
    mut each: impl FnMut(&mut Entry<'_, &mut dyn Read>) -> Result<u64, UnpackError>,
) -> Result<(Running, Running, u64), UnpackError> {
    let (compressed, blob) = Tee::new(input);
    let mut compressed = BufReader::with_capacity(1 << 17, compressed);
    let (mut plain, diff) = Tee::new(decompress(&mut compressed)?);
    let mut size = 0;
    {
        let plain: &mut dyn Read = &mut plain;
        let mut archive = Archive::new(plain);
        for entry in archive.entries().map_err(UnpackError::Read)? {
            size += each(&mut entry.map_err(UnpackError::Read)?)?;
        }
    }
    io::copy(&mut plain, &mut io::sink()).map_err(UnpackError::Read)?;
    drop(plain);
    io::copy(&mut compressed, &mut io::sink()).map_err(UnpackError::Read)?;
    Ok((blob, diff, size))
}

/// Recognised by content, as docker does: media types are wrong too often.
pub(crate) fn decompress<'a>(input: &'a mut dyn BufRead) -> Result<Box<dyn Read + 'a>, UnpackError> {
    let start = input.fill_buf().map_err(UnpackError::Read)?;
    let unsupported = |what: &str| Err(UnpackError::Unsupported { what: what.to_owned() });
    match start {
        [0x1f, 0x8b, ..] => Ok(Box::new(BufReader::with_capacity(1 << 17, MultiGzDecoder::new(input)))),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            let decoder = zstd::Decoder::with_buffer(input).map_err(UnpackError::Read)?;
            Ok(Box::new(BufReader::with_capacity(1 << 17, decoder)))
        }
        [b'B', b'Z', b'h', ..] => unsupported("bzip2 compression"),
        [0xfd, b'7', b'z', b'X', b'Z', ..] => unsupported("xz compression"),
        _ => Ok(Box::new(input)),
    }
}

/// Makes one entry; returns how many bytes of file it holds.
fn accept(tree: &mut Tree, entry: &mut Entry<'_, &mut dyn Read>) -> Result<u64, UnpackError> {
    let path = confined(&entry.path_bytes())?;
    let name = path.file_name().map(|name| name.as_bytes().to_owned()).unwrap_or_default();
    let parent = path.parent().unwrap_or(Path::new(""));
    if name == OPAQUE {
        tree.opaque(parent)?;
        return Ok(0);
    }
    if name.starts_with(AUFS_METADATA) {
        return Ok(0);
    }
    if let Some(hidden) = name.strip_prefix(WHITEOUT) {
        if matches!(hidden, b"" | b"." | b"..") {
            return Err(UnpackError::Unsafe { entry: path, reason: "a whiteout needs a name" });
        }
        tree.whiteout(&parent.join(std::ffi::OsStr::from_bytes(hidden)))?;
        return Ok(0);
    }
    let metadata = metadata(entry, &path)?;
    let kind = entry.header().entry_type();
    if kind == EntryType::Regular || kind == EntryType::Continuous || kind == EntryType::GNUSparse {
        return tree.file(&path, entry, &metadata);
    }
    let node = match kind {
        EntryType::Directory => Node::Directory,
        EntryType::Symlink => Node::Symlink(link_name(entry, &path)?),
        EntryType::Link => Node::HardLink(confined(&link_name(entry, &path)?)?),
        EntryType::Fifo => Node::Fifo,
        EntryType::Char | EntryType::Block => {
            let header = entry.header();
            let number = |number: io::Result<Option<u32>>| number.ok().flatten().map(u64::from);
            match (number(header.device_major()), number(header.device_minor())) {
                (Some(major), Some(minor)) if kind == EntryType::Char => Node::Character { major, minor },
                (Some(major), Some(minor)) => Node::Block { major, minor },
                _ => {
                    return Err(UnpackError::Unsafe { entry: path, reason: "a device without a number" });
                }
            }
        }
        EntryType::XGlobalHeader => return Ok(0),
        other => {
            let what = format!("an entry of type {:?} ({})", other.as_byte() as char, path.display());
            return Err(UnpackError::Unsupported { what });
        }
    };
    tree.node(&path, &node, &metadata).map(|()| 0)
}

/// The entry's path below the layer's root, without `.` and leading slashes. `..` is refused even where it
/// would stay inside: no tool writes it, and overlayfs would see another tree than the one checked here.
fn confined(name: &[u8]) -> Result<PathBuf, UnpackError> {
    let path = Path::new(std::ffi::OsStr::from_bytes(name));
    let mut out = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(part) => out.push(part),
            Component::CurDir | Component::RootDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                return Err(UnpackError::Unsafe { entry: path.to_owned(), reason: "it has a `..`" });
            }
        }
    }
    if name.contains(&0) {
        return Err(UnpackError::Unsafe { entry: out, reason: "it has a NUL byte" });
    }
    Ok(out)
}

fn link_name(entry: &Entry<'_, &mut dyn Read>, path: &Path) -> Result<Vec<u8>, UnpackError> {
    match entry.link_name_bytes() {
        Some(target) if !target.is_empty() => Ok(target.into_owned()),
        _ => Err(UnpackError::Unsafe { entry: path.to_owned(), reason: "a link without a target" }),
    }
}

fn metadata(entry: &mut Entry<'_, &mut dyn Read>, path: &Path) -> Result<Metadata, UnpackError> {
    let header = entry.header();
    let id = |number: io::Result<u64>| {
        number.ok().and_then(|id| u32::try_from(id).ok()).ok_or_else(|| UnpackError::Unsafe {
            entry: path.to_owned(),
            reason: "its owner is not a number",
        })
    };
    let mut metadata = Metadata {
        uid: id(header.uid())?,
        gid: id(header.gid())?,
        mode: header.mode().map_err(UnpackError::Read)? & 0o7777,
        modified: (header.mtime().ok().and_then(|time| i64::try_from(time).ok()).unwrap_or(0), 0),
        attributes: Vec::new(),
    };
    if let Some(extensions) = entry.pax_extensions().map_err(UnpackError::Read)? {
        for extension in extensions {
            let extension = extension.map_err(UnpackError::Read)?;
            let key = extension.key_bytes();
            if key == b"mtime" {
                metadata.modified = extension.value().ok().and_then(pax_time).unwrap_or(metadata.modified);
            } else if let Some(name) = key.strip_prefix(b"SCHILY.xattr.")
                && is_welcome(name)
            {
                metadata.attributes.push((name.to_owned(), extension.value_bytes().to_owned()));
            }
        }
    }
    Ok(metadata)
}

/// Attributes that an image may bring. `trusted.overlay.*` must come from whiteouts only: a redirect would
/// let one layer show another place of the file system; the labels of security modules are the host's.
fn is_welcome(attribute: &[u8]) -> bool {
    let user = attribute.starts_with(b"user.") && !attribute.starts_with(b"user.overlay.");
    user || attribute == b"security.capability" || attribute.starts_with(b"system.posix_acl_")
}

/// `SECONDS[.FRACTION]`, possibly negative.
fn pax_time(text: &str) -> Option<(i64, i64)> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().ok()?;
    let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    let nanoseconds: i64 = digits.parse().ok()?;
    match (whole.starts_with('-'), nanoseconds) {
        (true, 1..) => Some((seconds.checked_sub(1)?, 1_000_000_000 - nanoseconds)),
        _ => Some((seconds, nanoseconds)),
    }
}

#[cfg(test)]
mod tests;
