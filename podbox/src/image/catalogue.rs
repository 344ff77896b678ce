//! What is in the store: list, inspect, tag, remove, prune.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::Serialize;
use serde_json::Value;

use super::reference::Name;
use super::store::{Record, Store, TEMPORARY, WriteLock, parse};
use super::work::Work;
use super::{Image, ImageError, Reference, builtin, documents};

/// One line of `podbox image ls`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageSummary {
    /// The whole reference, normalised; `None` for an image that has lost its name.
    pub reference: Option<String>,
    /// Without the tag.
    pub repository: String,
    /// `latest`; `<none>` for a digest reference.
    pub tag: String,
    /// `sha256:…` of the configuration.
    pub id: String,
    /// `registry/repo@sha256:…` where it came from a registry.
    pub repo_digest: Option<String>,
    /// RFC 3339, as the image says.
    pub created: Option<String>,
    /// Bytes of all its layers, unpacked; layers that images share are counted in each.
    pub size: u64,
}

/// All about one image: `podbox image inspect`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ImageDetails {
    /// `sha256:…` of the configuration.
    pub id: String,
    /// Every name it has.
    pub repo_tags: Vec<String>,
    /// Under which digests registries know it.
    pub repo_digests: Vec<String>,
    /// Bytes of all its layers, unpacked.
    pub size: u64,
    /// Where its layers lie, topmost first.
    pub layers: Vec<PathBuf>,
    /// The configuration document itself.
    pub configuration: Value,
}

/// What [`Store::prune`] may remove.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PruneScope {
    /// Images that have lost their name to a newer one.
    Nameless,
    /// Every image that no pod uses.
    Unused,
}

/// A half-written file older than this has no writer any more.
const ABANDONED: Duration = Duration::from_secs(3600);

impl Store {
    /// Makes an image visible under its record's name. The documents are kept as blobs.
    ///
    /// Fails if a layer has been removed since it was unpacked, which only a concurrent removal can do.
    pub(crate) fn commit(&self, record: Record, documents: &[&[u8]]) -> Result<Image, ImageError> {
        for document in documents {
            self.keep_blob(document)?;
        }
        let lock = self.write_lock()?;
        if let Some(gone) = record.layers.iter().find(|layer| !self.layer_directory(layer).is_dir()) {
            let reason = format!("layer {gone} was removed meanwhile; try again");
            return Err(ImageError::Unusable { object: record.reference, reason });
        }
        self.write_record(&record, &lock)?;
        Ok(self.image(record))
    }

    /// All images, by name; those without one last.
    pub fn list(&self) -> Result<Vec<ImageSummary>, ImageError> {
        let (named, known) = self.records()?;
        let mut nameless = known;
        let mut out: Vec<ImageSummary> = Vec::new();
        for record in &named {
            nameless.remove(&record.id);
            out.push(self.summary(record, Some(record.reference.clone())));
        }
        out.extend(nameless.values().map(|record| self.summary(record, None)));
        Ok(out)
    }

    /// All about the image of this name, id, or unambiguous beginning of an id.
    pub fn inspect(&self, name: &str) -> Result<ImageDetails, ImageError> {
        if let Some(details) = in_place(name) {
            return Ok(details);
        }
        let record = self.find(name)?;
        let (named, _) = self.records()?;
        let same: Vec<&Record> = named.iter().filter(|other| other.id == record.id).collect();
        let digests: BTreeSet<String> = same.iter().filter_map(|other| other.repo_digest.clone()).collect();
        let path = self.blob_file(&record.id);
        let bytes = fs::read(&path).map_err(ImageError::io("read", &path))?;
        let configuration = serde_json::from_slice(&bytes)
            .map_err(|source| ImageError::Document { object: path.display().to_string(), source })?;
        let size = self.size(&record);
        Ok(ImageDetails {
            id: record.id.clone(),
            repo_tags: same.iter().map(|other| other.reference.clone()).collect(),
            repo_digests: digests.into_iter().collect(),
            size,
            layers: self.image(record).layers,
            configuration,
        })
    }

    /// Gives the image another name. The old name of another image passes to this one.
    pub fn tag(&self, name: &str, reference: &str) -> Result<Image, ImageError> {
        let Reference::Registry(target) = parse(reference)? else {
            return Err(ImageError::Unusable {
                object: reference.to_owned(),
                reason: "an image can only be given a registry name".to_owned(),
            });
        };
        if target.digest.is_some() {
            return Err(ImageError::Unusable {
                object: reference.to_owned(),
                reason: "a name with a digest cannot be given".to_owned(),
            });
        }
        let lock = self.write_lock()?;
        let mut record = self.find(name)?;
        record.reference = target.to_string();
        record.source = None;
        self.write_record(&record, &lock)?;
        Ok(self.image(record))
    }

    /// Takes the name away and, with the last one, the image and the layers that no other image has.
    /// An id takes all names away. Returns what was removed, names and ids.
    ///
    /// `in_use` are the images that pods run, each by its id or by a digest of a registry
    /// (`containerStatuses[].imageID`); an image among them keeps its last name.
    pub fn remove(&self, name: &str, in_use: &[String]) -> Result<Vec<String>, ImageError> {
        let lock = self.write_lock()?;
        let record = self.find(name)?;
        let (named, _) = self.records()?;
        let by_name = parse(name).is_ok_and(|parsed| parsed.to_string() == record.reference);
        let (gone, kept): (Vec<&Record>, Vec<&Record>) = named
            .iter()
            .filter(|other| other.id == record.id)
            .partition(|other| !by_name || other.reference == record.reference);
        if kept.is_empty() && self.is_used(&record, in_use)? {
            return Err(ImageError::InUse { name: name.to_owned() });
        }
        let mut removed = Vec::new();
        for record in gone {
            remove_file(&self.reference_file(&record.reference))?;
            removed.push(record.reference.clone());
        }
        if kept.is_empty() {
            remove_file(&self.known_file(&record.id))?;
            removed.push(record.id);
            self.remove_unused_layers(&lock)?;
        }
        Ok(removed)
    }

    /// Removes images that no pod uses, layers of no image, and what dead pulls left. Returns the names and
    /// ids that were removed. `in_use` is as for [`Store::remove`].
    pub fn prune(&self, scope: PruneScope, in_use: &[String]) -> Result<Vec<String>, ImageError> {
        // Making a work directory removes those of the dead.
        drop(Work::new(self)?);
        let lock = self.write_lock()?;
        let (named, known) = self.records()?;
        let mut removed = Vec::new();
        for (id, record) in known {
            let names: Vec<&String> =
                named.iter().filter(|other| other.id == id).map(|other| &other.reference).collect();
            let spared = scope == PruneScope::Nameless && !names.is_empty();
            if spared || self.is_used(&record, in_use)? {
                continue;
            }
            for name in names {
                remove_file(&self.reference_file(name))?;
                removed.push(name.clone());
            }
            remove_file(&self.known_file(&id))?;
            removed.push(id);
        }
        self.remove_unused_layers(&lock)?;
        for directory in ["refs", "known", "sizes", "blobs/sha256"] {
            remove_abandoned(&self.images().join(directory))?;
        }
        Ok(removed)
    }

    fn is_used(&self, record: &Record, in_use: &[String]) -> Result<bool, ImageError> {
        let known = self.read_record(&self.known_file(&record.id))?;
        let digests = known.map(|known| known.all_digests).unwrap_or_default();
        Ok(in_use.iter().any(|used| *used == record.id || digests.contains(used)))
    }

    /// The record of this name, id, or unambiguous beginning of an id.
    pub(crate) fn find(&self, name: &str) -> Result<Record, ImageError> {
        if let Ok(reference) = parse(name)
            && let Some(record) = self.read_record(&self.reference_file(&reference.to_string()))?
        {
            return Ok(record);
        }
        let start = name.strip_prefix("sha256:").unwrap_or(name);
        let is_id = start.len() >= 4 && start.bytes().all(|b| b.is_ascii_hexdigit());
        let (_, known) = self.records()?;
        let mut matching: Vec<Record> = known
            .into_values()
            .filter(|record| is_id && record.id["sha256:".len()..].starts_with(start))
            .collect();
        match (matching.pop(), matching.len()) {
            (Some(record), 0) => Ok(record),
            (Some(_), others) => Err(ImageError::Ambiguous { name: name.to_owned(), count: others + 1 }),
            (None, _) => Err(ImageError::NotFound { name: name.to_owned() }),
        }
    }

    /// By name, and by id.
    fn records(&self) -> Result<(Vec<Record>, BTreeMap<String, Record>), ImageError> {
        let mut named = self.read_records("refs")?;
        named.sort_by(|a, b| a.reference.cmp(&b.reference));
        let known = self.read_records("known")?.into_iter().map(|record| (record.id.clone(), record));
        Ok((named, known.collect()))
    }

    fn read_records(&self, directory: &str) -> Result<Vec<Record>, ImageError> {
        let mut out = Vec::new();
        for path in files(&self.images().join(directory))? {
            out.extend(self.read_record(&path)?);
        }
        Ok(out)
    }

    fn size(&self, record: &Record) -> u64 {
        let size =
            |layer: &String| fs::read_to_string(self.size_file(layer)).ok()?.trim().parse::<u64>().ok();
        record.layers.iter().filter_map(size).sum()
    }

    fn summary(&self, record: &Record, reference: Option<String>) -> ImageSummary {
        let parsed = reference.as_deref().and_then(|reference| reference.parse::<Reference>().ok());
        let none = || "<none>".to_owned();
        let (repository, tag) = match parsed {
            None => (none(), none()),
            Some(Reference::Registry(Name { registry, repository, tag, .. })) => {
                (format!("{registry}/{repository}"), tag.unwrap_or_else(none))
            }
            Some(Reference::Toolbox) => ("podbox.local/toolbox".to_owned(), "latest".to_owned()),
            Some(other) => (other.to_string(), none()),
        };
        ImageSummary {
            reference,
            repository,
            tag,
            id: record.id.clone(),
            repo_digest: record.repo_digest.clone(),
            created: record.created.clone(),
            size: self.size(record),
        }
    }

    /// Layers and documents that no known image has. A running pull's are in its work directory, or will
    /// be found missing when it commits.
    fn remove_unused_layers(&self, _lock: &WriteLock) -> Result<(), ImageError> {
        let records: Vec<Record> =
            ["refs", "known"].iter().map(|d| self.read_records(d)).collect::<Result<Vec<_>, _>>()?.concat();
        let used: BTreeSet<PathBuf> = records
            .iter()
            .flat_map(|record| record.layers.iter())
            .map(|layer| self.layer_directory(layer))
            .collect();
        for path in entries(&self.layers())? {
            if !is_hidden(&path) && !used.contains(&path) {
                fs::remove_dir_all(&path).map_err(ImageError::io("remove", &path))?;
                if let Some(name) = path.file_name() {
                    remove_file(&self.images().join("sizes").join(name))?;
                }
            }
        }
        let used: BTreeSet<PathBuf> = records
            .iter()
            .flat_map(|record| record.documents.iter().chain(std::iter::once(&record.id)))
            .map(|document| self.blob_file(document))
            .collect();
        for path in files(&self.images().join("blobs/sha256"))? {
            if !used.contains(&path) && is_older(&path, ABANDONED) {
                remove_file(&path)?;
            }
        }
        Ok(())
    }
}

/// Images that are not in the store have no document either.
fn in_place(name: &str) -> Option<ImageDetails> {
    let image = match parse(name).ok()? {
        Reference::Host => builtin::host().ok()?,
        Reference::Rootfs(directory) => builtin::rootfs(&directory).ok()??,
        _ => return None,
    };
    let bytes = documents::write_configuration(&image.config, &[], None);
    Some(ImageDetails {
        id: image.id,
        repo_tags: vec![image.reference],
        repo_digests: Vec::new(),
        size: 0,
        layers: image.layers,
        configuration: serde_json::from_slice(&bytes).unwrap_or_default(),
    })
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

fn entries(directory: &Path) -> Result<Vec<PathBuf>, ImageError> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(ImageError::io("read directory", directory)(error)),
    };
    let paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>();
    paths.map_err(ImageError::io("read directory", directory))
}

fn files(directory: &Path) -> Result<Vec<PathBuf>, ImageError> {
    let mut paths = entries(directory)?;
    paths.retain(|path| !is_hidden(path));
    paths.sort();
    Ok(paths)
}

fn remove_abandoned(directory: &Path) -> Result<(), ImageError> {
    for path in entries(directory)? {
        let temporary =
            path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(TEMPORARY.as_bytes()));
        if temporary && is_older(&path, ABANDONED) {
            remove_file(&path)?;
        }
    }
    Ok(())
}

fn is_older(path: &Path, age: Duration) -> bool {
    let modified = fs::symlink_metadata(path).and_then(|meta| meta.modified());
    modified.is_ok_and(|time| SystemTime::now().duration_since(time).is_ok_and(|since| since > age))
}

fn remove_file(path: &Path) -> Result<(), ImageError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(ImageError::io("remove", path)(error)),
        _ => Ok(()),
    }
}
