//! The image store's directory: who may write where, and how a name is looked up.
//!
//! ```text
//! <root>/images/lock                 held for moments, while names or layers appear or vanish
//! <root>/images/refs/<reference>     a [`Record`]: everything that starting a container needs
//! <root>/images/known/<id>           the same by image id; outlives the name while a pod runs
//! <root>/images/blobs/sha256/<hex>   manifests and configurations as they came
//! <root>/images/sizes/<diff id>      bytes of the unpacked layer
//! <root>/layers/<diff id>/           an unpacked layer
//! <root>/layers/.work/<n>/           of a pull that runs; see [`super::work`]
//! ```
//!
//! Every file is written beside itself and renamed, so readers need no lock.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use super::{Image, ImageConfig, ImageError, Progress, PullOptions, PullPolicy, Reference, builtin, digest};
use super::{archive, registry};

/// Where images live. Cheap to make; holds no descriptor.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
}

/// What is known of an image under one name. Layers are diff ids, topmost first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) reference: String,
    pub(crate) id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) repo_digest: Option<String>,
    pub(crate) layers: Vec<String>,
    pub(crate) config: ImageConfig,
    /// In the record by id alone: all digests that registries have ever given it, under any name.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) all_digests: BTreeSet<String>,
    /// RFC 3339, from the configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) created: Option<String>,
    /// Digests of the documents that came with it: index, manifest, configuration.
    #[serde(default)]
    pub(crate) documents: Vec<String>,
    /// The file this was made of; another file under the same name means another image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) source: Option<FileIdentity>,
}

/// Tells one state of a file from another without reading it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileIdentity {
    device: u64,
    inode: u64,
    size: u64,
    /// Seconds and nanoseconds.
    modified: (i64, i64),
}

impl FileIdentity {
    /// Of what the path points at now.
    pub(crate) fn of(path: &Path) -> io::Result<FileIdentity> {
        let meta = fs::metadata(path)?;
        Ok(FileIdentity {
            device: meta.dev(),
            inode: meta.ino(),
            size: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
        })
    }
}

/// The right to let names and layers appear or vanish; given back when dropped.
pub(crate) struct WriteLock(#[expect(dead_code, reason = "held for its lock")] Flock<File>);

impl Store {
    /// The store below `root` (for example `/var/lib/podbox`), which need not exist yet.
    pub fn open(root: &Path) -> Result<Store, ImageError> {
        let root = std::path::absolute(root).map_err(ImageError::io("find", root))?;
        Ok(Store { root })
    }

    /// What the store knows under this reference. No network and no lock: one small file is read, and the
    /// layers' directories are looked at.
    ///
    /// A name whose file has changed since it was imported, or whose layers are gone, is not known.
    pub fn lookup(&self, reference: &str) -> Result<Option<Image>, ImageError> {
        self.lookup_parsed(&parse(reference)?)
    }

    pub(crate) fn lookup_parsed(&self, reference: &Reference) -> Result<Option<Image>, ImageError> {
        let source = match reference {
            Reference::Host => return builtin::host().map(Some),
            Reference::Rootfs(directory) => return builtin::rootfs(directory),
            Reference::Toolbox => Some(builtin::toolbox_source()),
            Reference::OciLayout(directory, _) => Some(directory.join("index.json")),
            Reference::DockerArchive(file, _) => Some(file.clone()),
            Reference::Registry(_) => None,
        };
        let Some(record) = self.read_record(&self.reference_file(&reference.to_string()))? else {
            return Ok(None);
        };
        if let Some(source) = source {
            let Ok(identity) = FileIdentity::of(&source) else { return Ok(None) };
            if record.source != Some(identity) {
                return Ok(None);
            }
        }
        let image = self.image(record);
        Ok(image.layers.iter().all(|layer| layer.is_dir()).then_some(image))
    }

    /// Brings the image into the store, as the policy says, and returns it. Blocks; for a registry
    /// reference it runs its own event loop, so it must not be called from within one.
    ///
    /// Two pulls of one image at once do the work once: the second waits and finds it there.
    pub fn pull(
        &self,
        reference: &str,
        options: &PullOptions,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Image, ImageError> {
        let parsed = parse(reference)?;
        if options.policy != PullPolicy::Always || !matches!(parsed, Reference::Registry(_)) {
            if let Some(image) = self.lookup_parsed(&parsed)? {
                return Ok(image);
            }
            if options.policy == PullPolicy::Never {
                return Err(ImageError::NeverPull { reference: reference.to_owned() });
            }
        }
        let _turn = self.take_turn(&parsed.to_string())?;
        match &parsed {
            Reference::Registry(name) => registry::pull(self, name, options, progress),
            Reference::Toolbox => match self.lookup_parsed(&parsed)? {
                Some(image) => Ok(image),
                None => builtin::make_toolbox(self),
            },
            Reference::Host => builtin::host(),
            Reference::Rootfs(directory) => builtin::rootfs(directory)?.ok_or_else(|| ImageError::Unusable {
                object: directory.display().to_string(),
                reason: "it is not a directory".to_owned(),
            }),
            Reference::OciLayout(directory, tag) => {
                archive::import_layout(self, &parsed, directory, tag.as_deref())
            }
            Reference::DockerArchive(file, name) => {
                archive::import_archive(self, &parsed, file, name.as_deref())
            }
        }
    }

    /// Waits until no other pull of this reference runs.
    fn take_turn(&self, reference: &str) -> Result<WriteLock, ImageError> {
        lock(&self.images().join("turns").join(digest::of(reference.as_bytes())))
    }

    /// Waits for the right to change what the store shows.
    pub(crate) fn write_lock(&self) -> Result<WriteLock, ImageError> {
        lock(&self.images().join("lock"))
    }

    pub(crate) fn images(&self) -> PathBuf {
        self.root.join("images")
    }

    pub(crate) fn layers(&self) -> PathBuf {
        self.root.join("layers")
    }

    /// Where a layer lives once it is unpacked. The digest must be well-formed.
    pub(crate) fn layer_directory(&self, diff_id: &str) -> PathBuf {
        self.layers().join(digest::hex(diff_id).unwrap_or("malformed"))
    }

    pub(crate) fn size_file(&self, diff_id: &str) -> PathBuf {
        self.images().join("sizes").join(digest::hex(diff_id).unwrap_or("malformed"))
    }

    pub(crate) fn blob_file(&self, digest: &str) -> PathBuf {
        self.images().join("blobs/sha256").join(digest::hex(digest).unwrap_or("malformed"))
    }

    pub(crate) fn known_file(&self, id: &str) -> PathBuf {
        self.images().join("known").join(digest::hex(id).unwrap_or("malformed"))
    }

    pub(crate) fn reference_file(&self, reference: &str) -> PathBuf {
        self.images().join("refs").join(file_name(reference))
    }

    /// A record as callers see it.
    pub(crate) fn image(&self, record: Record) -> Image {
        Image {
            layers: record.layers.iter().map(|layer| self.layer_directory(layer)).collect(),
            reference: record.reference,
            id: record.id,
            repo_digest: record.repo_digest,
            config: record.config,
        }
    }

    /// The record, or nothing where it is absent or was cut short by a power failure.
    pub(crate) fn read_record(&self, path: &Path) -> Result<Option<Record>, ImageError> {
        match fs::read(path) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(ImageError::io("read", path)(error)),
        }
    }

    /// Writes the record under its reference and its id. The caller has checked that the layers are there.
    pub(crate) fn write_record(&self, record: &Record, _lock: &WriteLock) -> Result<(), ImageError> {
        let text = |record: &Record| {
            serde_json::to_vec(record).map_err(|source| ImageError::Document {
                object: format!("the record of {}", record.reference),
                source,
            })
        };
        let mut known = record.clone();
        known.all_digests.extend(record.repo_digest.clone());
        if let Some(before) = self.read_record(&self.known_file(&record.id))? {
            known.all_digests.extend(before.all_digests);
            known.documents.extend(before.documents);
            known.documents.sort();
            known.documents.dedup();
        }
        write_whole(&self.known_file(&record.id), &text(&known)?)?;
        write_whole(&self.reference_file(&record.reference), &text(record)?)
    }

    /// Keeps a manifest or configuration under its digest.
    pub(crate) fn keep_blob(&self, bytes: &[u8]) -> Result<(), ImageError> {
        let path = self.blob_file(&digest::of(bytes));
        if path.exists() { Ok(()) } else { write_whole(&path, bytes) }
    }
}

pub(crate) fn parse(reference: &str) -> Result<Reference, ImageError> {
    reference.parse().map_err(|source| ImageError::InvalidName { reference: reference.to_owned(), source })
}

/// One path component for a reference. Injective, and short enough for every file system: what would be
/// too long becomes a digest (the record itself holds the reference).
fn file_name(reference: &str) -> String {
    let mut name = String::with_capacity(reference.len() + 8);
    for character in reference.chars() {
        match character {
            '/' | '%' => {
                let _ = write!(name, "%{:02X}", character as u32);
            }
            _ => name.push(character),
        }
    }
    if name.len() > 240 { digest::of(reference.as_bytes()) } else { name }
}

/// How the names of half-written files begin.
pub(crate) const TEMPORARY: &str = ".new-";

/// Creates or replaces the file, so that a reader sees the old bytes or the new ones.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), ImageError> {
    let Some(parent) = path.parent() else { return Ok(()) };
    make_directory(parent)?;
    // The process id and a counter keep writers apart, save for a dead namesake's file in another PID
    // namespace, which is passed over; `prune` removes those.
    let (temporary, file) = loop {
        let temporary = parent.join(format!("{TEMPORARY}{}-{}", std::process::id(), next_number()));
        match File::create_new(&temporary) {
            Ok(file) => break (temporary, file),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(ImageError::io("create", &temporary)(error)),
        }
    };
    let written = { file }.write_all(bytes);
    let renamed = written.and_then(|()| fs::rename(&temporary, path));
    renamed.map_err(|error| {
        let _ = fs::remove_file(&temporary);
        ImageError::io("write", path)(error)
    })
}

pub(crate) fn make_directory(path: &Path) -> Result<(), ImageError> {
    fs::create_dir_all(path).map_err(ImageError::io("create directory", path))
}

/// Unique within this process.
pub(crate) fn next_number() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn lock(path: &Path) -> Result<WriteLock, ImageError> {
    if let Some(parent) = path.parent() {
        make_directory(parent)?;
    }
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(ImageError::io("open", path))?;
    let mut file = file;
    loop {
        match Flock::lock(file, FlockArg::LockExclusive) {
            Ok(lock) => return Ok(WriteLock(lock)),
            Err((again, nix::errno::Errno::EINTR)) => file = again,
            Err((_, errno)) => return Err(ImageError::io("lock", path)(errno.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_references_have_different_files() {
        assert_ne!(file_name("a/b:c"), file_name("a%2Fb:c"));
        assert!(!file_name("../../etc/passwd").contains('/'));
        let long = format!("x/{}", "b".repeat(300));
        assert!(file_name(&long).len() < 255);
    }
}
