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
use tar::EntryType;

use super::ImageError;
use super::digest::{Running, Tee};
use super::tree::{Content, Metadata, Node, Tree};

use self::entries::{Entries, Entry};

mod entries;
mod pax;
mod sparse;

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

/// A layer that has not become a directory.
#[derive(Debug)]
pub(crate) struct Failed {
    /// What stopped it.
    pub(crate) why: UnpackError,
    /// Digest of the bytes as they came, if they could be read to their end.
    blob: Option<String>,
}

impl Failed {
    /// Bytes that were changed on their way fail in any manner, and that they were changed is what to say of them:
    /// so this comes first if the digest is not the `expected` one.
    pub(crate) fn of(self, layer: &str, expected: Option<&str>) -> ImageError {
        match (self.blob, expected) {
            (Some(found), Some(expected)) if found != expected => ImageError::Mismatch {
                object: format!("layer {layer}"),
                expected: expected.to_owned(),
                found,
            },
            _ => ImageError::Unpack { layer: layer.to_owned(), source: self.why },
        }
    }
}

impl UnpackError {
    /// Whether it is certain that the bytes are not to blame.
    fn is_of_the_disk(&self) -> bool {
        use io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
        matches!(self, UnpackError::Write { source, .. }
            if matches!(source.kind(), StorageFull | QuotaExceeded | ReadOnlyFilesystem))
    }
}

/// Unpacks the layer into `directory`, which must not exist. The caller compares the digests, and removes
/// the directory where they differ or this fails. Where the bytes do not unpack, the rest of them is read all the same,
/// for their digest.
pub(crate) fn unpack(input: impl Read, directory: &Path) -> Result<Unpacked, Failed> {
    let (mut input, blob) = Tee::new(input);
    match unpack_into(&mut input, directory) {
        Ok((diff_id, size)) => Ok(Unpacked { blob: blob.finish(), diff_id, size }),
        Err(why) => {
            let whole = !why.is_of_the_disk() && io::copy(&mut input, &mut io::sink()).is_ok();
            Err(Failed { why, blob: whole.then(|| blob.finish()) })
        }
    }
}

/// Gives back the digest of the tar stream, and the bytes of regular files.
fn unpack_into(input: impl Read, directory: &Path) -> Result<(String, u64), UnpackError> {
    let mut tree = Tree::create(directory)?;
    let (diff, size) = read_all(input, |entry, content| accept(&mut tree, entry, content))?;
    tree.finish()?;
    Ok((diff.finish(), size))
}

fn read_all(
    input: impl Read,
    mut each: impl FnMut(&Entry, &mut dyn Content) -> Result<u64, UnpackError>,
) -> Result<(Running, u64), UnpackError> {
    let mut compressed = BufReader::with_capacity(1 << 17, input);
    let (mut plain, diff) = Tee::new(decompress(&mut compressed)?);
    let mut size = 0_u64;
    {
        let mut entries = Entries::new(&mut plain);
        while let Some(entry) = entries.next_entry().map_err(UnpackError::Read)? {
            size = size.saturating_add(each(&entry, &mut entries)?);
        }
    }
    io::copy(&mut plain, &mut io::sink()).map_err(UnpackError::Read)?;
    drop(plain);
    io::copy(&mut compressed, &mut io::sink()).map_err(UnpackError::Read)?;
    Ok((diff, size))
}

/// Bytes by which compressions are told apart.
const MAGIC: u64 = 6;

/// Recognised by content, as docker does: media types are wrong too often.
pub(crate) fn decompress<'a>(input: &'a mut dyn BufRead) -> Result<Box<dyn Read + 'a>, UnpackError> {
    let mut start = Vec::new();
    input.take(MAGIC).read_to_end(&mut start).map_err(UnpackError::Read)?;
    // The first bytes may come one by one: what is buffered already need not be enough to tell.
    let input = io::Cursor::new(start.clone()).chain(input);
    let unsupported = |what: &str| Err(UnpackError::Unsupported { what: what.to_owned() });
    match start.as_slice() {
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
fn accept(tree: &mut Tree, entry: &Entry, content: &mut dyn Content) -> Result<u64, UnpackError> {
    let path = confined(&entry.name)?;
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
    let node = match entry.kind {
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
            return tree.file(&path, content, &metadata);
        }
        EntryType::Directory => Node::Directory,
        EntryType::Symlink => Node::Symlink(link_name(entry, &path)?.to_owned()),
        EntryType::Link => Node::HardLink(confined(link_name(entry, &path)?)?),
        EntryType::Fifo => Node::Fifo,
        EntryType::Char => Node::Character { major: entry.device.0, minor: entry.device.1 },
        EntryType::Block => Node::Block { major: entry.device.0, minor: entry.device.1 },
        other => {
            let what = format!("an entry of type {:?} ({path:?})", other.as_byte() as char);
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

fn link_name<'a>(entry: &'a Entry, path: &Path) -> Result<&'a [u8], UnpackError> {
    match entry.link.as_slice() {
        [] => Err(UnpackError::Unsafe { entry: path.to_owned(), reason: "a link without a target" }),
        target => Ok(target),
    }
}

fn metadata(entry: &Entry, path: &Path) -> Result<Metadata, UnpackError> {
    let id = |number: u64| {
        u32::try_from(number).map_err(|_| UnpackError::Unsafe {
            entry: path.to_owned(),
            reason: "its owner is beyond what 32 bits hold",
        })
    };
    let welcome = entry.attributes.iter().filter(|(name, _)| is_welcome(name));
    Ok(Metadata {
        uid: id(entry.uid)?,
        gid: id(entry.gid)?,
        mode: (entry.mode & 0o7777) as u32,
        modified: entry.modified,
        attributes: welcome.cloned().collect(),
    })
}

/// Attributes that an image may bring. `trusted.overlay.*` must come from whiteouts only: a redirect would
/// let one layer show another place of the file system; the labels of security modules are the host's.
fn is_welcome(attribute: &[u8]) -> bool {
    let user = attribute.starts_with(b"user.") && !attribute.starts_with(b"user.overlay.");
    user || attribute == b"security.capability" || attribute.starts_with(b"system.posix_acl_")
}

#[cfg(test)]
mod tests;
