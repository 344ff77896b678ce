//! Images that lie in files: OCI layouts, as a directory or a tar archive, and docker's archives.
//!
//! An OCI layout has an `index.json` that names manifests, and every blob below `blobs/`. docker's archive
//! has a `manifest.json` that names, for each image, its configuration, its layers and its tags. Newer
//! dockers write both into one archive; then docker's is read, because only it has the tags in full.
//!
//! A tar archive is looked through once for where each member lies, then read in any order.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use oci_spec::image::{Descriptor, ImageIndex};
use serde::Deserialize;
use tar::{Archive, EntryType};

use super::documents::{self, Configuration, Document, MAX_DOCUMENT};
use super::layer;
use super::reference::{Name, Reference};
use super::store::{FileIdentity, Store};
use super::work::Work;
use super::{Image, ImageError, digest, import};

const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// containerd's and docker's annotation with the whole name.
const IMAGE_NAME: &str = "io.containerd.image.name";

/// Members by name, in a directory or in an archive.
enum Members<'a> {
    Directory(PathBuf),
    Archive { file: &'a File, path: PathBuf, members: HashMap<String, Member> },
}

enum Member {
    At {
        offset: u64,
        size: u64,
    },
    /// Old dockers store a layer that images share once, and link to it.
    Link(String),
}

/// One image in there.
struct Found {
    names: Vec<String>,
    /// A layout's `ref.name` that names no repository, such as `v1`.
    tag: Option<String>,
    configuration: Vec<u8>,
    /// Members that are layers, lowest first.
    layers: Vec<String>,
    /// Index or manifest, where there is one.
    documents: Vec<Vec<u8>>,
}

/// One element of docker's `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    config: String,
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Vec<String>,
}

/// `oci:DIR[:TAG]`.
pub(crate) fn import_layout(
    store: &Store,
    reference: &Reference,
    directory: &Path,
    tag: Option<&str>,
) -> Result<Image, ImageError> {
    let index = directory.join("index.json");
    let identity = FileIdentity::of(&index).map_err(ImageError::io("find", &index))?;
    let members = Members::Directory(directory.to_owned());
    let found = choose(members.layout_images()?, tag, &members.object())?;
    let work = Work::new(store)?;
    take(store, &work, &members, &found)?.commit_as(store, &reference.to_string(), Some(identity))
}

/// `docker-archive:FILE[:NAME]`.
pub(crate) fn import_archive(
    store: &Store,
    reference: &Reference,
    path: &Path,
    name: Option<&str>,
) -> Result<Image, ImageError> {
    let identity = FileIdentity::of(path).map_err(ImageError::io("find", path))?;
    let work = Work::new(store)?;
    let file = File::open(path).map_err(ImageError::io("open", path))?;
    let file = import::plain(&work, file, path)?;
    let members = Members::of_archive(&file, path)?;
    let found = choose(members.images()?, name, &members.object())?;
    take(store, &work, &members, &found)?.commit_as(store, &reference.to_string(), Some(identity))
}

/// All images of a layout directory.
pub(crate) fn load_layout(
    store: &Store,
    path: &Path,
    default: Option<&str>,
) -> Result<Vec<Image>, ImageError> {
    let work = Work::new(store)?;
    load(store, &work, &Members::Directory(path.to_owned()), default)
}

/// All images of an archive that is not compressed.
pub(crate) fn load_archive(
    store: &Store,
    work: &Work,
    file: &File,
    (path, default): (&Path, Option<&str>),
) -> Result<Vec<Image>, ImageError> {
    load(store, work, &Members::of_archive(file, path)?, default)
}

fn load(
    store: &Store,
    work: &Work,
    members: &Members<'_>,
    default: Option<&str>,
) -> Result<Vec<Image>, ImageError> {
    let mut out = Vec::new();
    for found in members.images()? {
        let names = names(&found, members.path(), default)?;
        let taken = take(store, work, members, &found)?;
        for name in names {
            out.push(taken.commit_as(store, &name, None)?);
        }
    }
    if out.is_empty() {
        let reason = "there is no image in it".to_owned();
        return Err(ImageError::Unusable { object: members.object(), reason });
    }
    Ok(out)
}

/// What to call an image that is loaded from `path`: all the names that it has in there. If it has none, what the user
/// says, or else `localhost/loaded:<id>`.
///
/// `skopeo copy … oci:nginx:v1` writes down `v1` alone. Read as a name it would become docker.io/library/v1, an image
/// that somebody else may own. podman calls it localhost/v1 and containerd import-<date>:v1; neither is what anybody
/// would look for. So the tag stays a tag, and the repository is what the user says, or else the layout's file name:
/// localhost/nginx:v1.
fn names(found: &Found, path: &Path, default: Option<&str>) -> Result<Vec<String>, ImageError> {
    let own: Vec<String> =
        found.names.iter().filter_map(|name| Some(Name::parse(name).ok()?.to_string())).collect();
    if !own.is_empty() {
        return Ok(own);
    }
    let has_tag = |name: &str| name.rsplit('/').next().is_some_and(|last| last.contains([':', '@']));
    let name = match (default, &found.tag) {
        (Some(default), Some(tag)) if !has_tag(default) => format!("{default}:{tag}"),
        (Some(default), _) => default.to_owned(),
        (None, Some(tag)) => format!("localhost/{}:{tag}", repository_of(path)),
        (None, None) => {
            format!("localhost/loaded:{}", &digest::of(&found.configuration)["sha256:".len()..][..12])
        }
    };
    Ok(vec![super::store::parse(&name)?.to_string()])
}

/// A repository's name from a file's: without the endings of archives, in lower case; `loaded` where that is none.
fn repository_of(path: &Path) -> String {
    // `.` and `..` have a name only in full.
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let mut name = name.as_str();
    while let Some(shorter) =
        [".gz", ".zst", ".tgz", ".tar", ".oci"].iter().find_map(|e| name.strip_suffix(e))
    {
        name = shorter;
    }
    let is_one = Name::parse(&format!("localhost/{name}")).is_ok_and(|parsed| parsed.repository == name);
    if is_one { name.to_owned() } else { "loaded".to_owned() }
}

fn choose(mut images: Vec<Found>, wanted: Option<&str>, object: &str) -> Result<Found, ImageError> {
    let known = |image: &Found| image.names.iter().chain(&image.tag).cloned().collect::<Vec<_>>();
    let offered: Vec<String> = images.iter().flat_map(known).map(|name| shown(&name)).collect();
    let same = |name: &String, wanted: &str| {
        name == wanted || Name::parse(name).is_ok_and(|name| name.to_string() == wanted)
    };
    let position = match wanted {
        None if images.len() == 1 => Some(0),
        None => None,
        Some(wanted) => images.iter().position(|image| known(image).iter().any(|name| same(name, wanted))),
    };
    match position {
        Some(position) => Ok(images.swap_remove(position)),
        None => Err(ImageError::Unusable {
            object: object.to_owned(),
            reason: match wanted {
                Some(wanted) => format!("it has no image {wanted:?}, only [{}]", offered.join(", ")),
                None => format!("it has {} images [{}]; name one", images.len(), offered.join(", ")),
            },
        }),
    }
}

/// An image whose layers are in the store.
struct Taken {
    configuration: Configuration,
    documents: Vec<Vec<u8>>,
}

impl Taken {
    fn commit_as(
        &self,
        store: &Store,
        name: &str,
        source: Option<FileIdentity>,
    ) -> Result<Image, ImageError> {
        let mut record = self.configuration.clone().record(name.to_owned());
        record.source = source;
        record.documents = self.documents.iter().map(|document| digest::of(document)).collect();
        let documents: Vec<&[u8]> = self.documents.iter().map(Vec::as_slice).collect();
        store.commit(record, &documents)
    }
}

/// Unpacks the layers that the store does not have.
fn take(store: &Store, work: &Work, members: &Members<'_>, found: &Found) -> Result<Taken, ImageError> {
    let object = format!("the configuration in {}", members.object());
    let mut configuration = documents::configuration(&found.configuration, &object)?;
    let (layers, ids) = (&found.layers, &configuration.diff_ids);
    if layers.len() != ids.len() {
        let reason = format!("{} layers are listed, and it names {}", layers.len(), ids.len());
        return Err(ImageError::Unusable { object, reason });
    }
    for (member, diff_id) in layers.iter().zip(ids) {
        if store.layer_directory(diff_id).is_dir() {
            continue;
        }
        let path = work.fresh_path();
        let named = member.strip_prefix("blobs/sha256/").map(|hex| format!("sha256:{hex}"));
        let unpacked = layer::unpack(members.open(member)?, &path)
            .map_err(|failed| failed.of(&shown(member), named.as_deref()))?;
        for (expected, found) in [(Some(diff_id.clone()), &unpacked.diff_id), (named, &unpacked.blob)] {
            if let Some(expected) = expected.filter(|expected| expected != found) {
                let found = found.clone();
                return Err(ImageError::Mismatch {
                    object: format!("layer {}", shown(member)),
                    expected,
                    found,
                });
            }
        }
        work.publish_layer(store, &path, &unpacked)?;
    }
    if configuration.diff_ids.is_empty() {
        configuration.diff_ids.push(super::registry::empty_layer(store, work)?);
    }
    let mut documents = found.documents.clone();
    documents.push(found.configuration.clone());
    Ok(Taken { configuration, documents })
}

/// A name out of an archive, as an error shows it: anybody may have written it, and it must stay on its line.
fn shown(name: &str) -> String {
    name.escape_debug().to_string()
}

/// What the tar reader's error means: the disk's, or that these bytes are no archive. It then quotes them, and they may
/// be anybody's.
fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> ImageError {
    let path = path.to_owned();
    move |source| match source.raw_os_error() {
        Some(_) => ImageError::io("read the archive", &path)(source),
        None => ImageError::Unusable {
            object: path.display().to_string(),
            reason: "not a tar archive of images".to_owned(),
        },
    }
}

impl<'a> Members<'a> {
    fn of_archive(file: &'a File, path: &Path) -> Result<Members<'a>, ImageError> {
        let failed = || unreadable(path);
        let mut reader = file;
        reader.seek(SeekFrom::Start(0)).map_err(failed())?;
        let mut archive = Archive::new(reader);
        let mut members = HashMap::new();
        for entry in archive.entries_with_seek().map_err(failed())? {
            let entry = entry.map_err(failed())?;
            let name = clean(Path::new(&*entry.path().map_err(failed())?));
            match entry.header().entry_type() {
                EntryType::Regular | EntryType::Continuous => {
                    let at = Member::At { offset: entry.raw_file_position(), size: entry.size() };
                    members.insert(name, at);
                }
                EntryType::Symlink | EntryType::Link => {
                    let target = entry.link_name().map_err(failed())?.unwrap_or_default().into_owned();
                    let base = match entry.header().entry_type() {
                        EntryType::Symlink => Path::new(&name).parent().unwrap_or(Path::new("")).join(target),
                        _ => target,
                    };
                    members.insert(name, Member::Link(clean(&base)));
                }
                _ => {}
            }
        }
        Ok(Members::Archive { file, path: path.to_owned(), members })
    }

    fn path(&self) -> &Path {
        match self {
            Members::Directory(path) | Members::Archive { path, .. } => path,
        }
    }

    fn object(&self) -> String {
        self.path().display().to_string()
    }

    fn has(&self, name: &str) -> bool {
        match self {
            Members::Directory(path) => path.join(name).is_file(),
            Members::Archive { members, .. } => members.contains_key(name),
        }
    }

    fn open(&self, name: &str) -> Result<Box<dyn Read + '_>, ImageError> {
        match self {
            Members::Directory(directory) => {
                let path = directory.join(name);
                let file = File::open(&path).map_err(ImageError::io("open", &path))?;
                Ok(Box::new(file))
            }
            Members::Archive { file, members, path } => {
                let mut name = clean(Path::new(name));
                for _ in 0..8 {
                    match members.get(&name) {
                        Some(Member::At { offset, size }) => {
                            return Ok(Box::new(Slice { file, offset: *offset, left: *size }));
                        }
                        Some(Member::Link(target)) => name.clone_from(target),
                        None => break,
                    }
                }
                let reason = format!("{} is missing in it", shown(&name));
                Err(ImageError::Unusable { object: path.display().to_string(), reason })
            }
        }
    }

    fn document(&self, name: &str) -> Result<Vec<u8>, ImageError> {
        let mut bytes = Vec::new();
        let path = PathBuf::from(self.object()).join(name);
        let read = self.open(name)?.take(MAX_DOCUMENT).read_to_end(&mut bytes);
        read.map_err(ImageError::io("read", &path))?;
        Ok(bytes)
    }

    fn images(&self) -> Result<Vec<Found>, ImageError> {
        match self {
            Members::Archive { .. } if self.has("manifest.json") => self.docker_images(),
            _ => self.layout_images(),
        }
    }

    fn docker_images(&self) -> Result<Vec<Found>, ImageError> {
        let object = format!("manifest.json in {}", self.object());
        let list: Vec<DockerImage> = serde_json::from_slice(&self.document("manifest.json")?)
            .map_err(|source| ImageError::Document { object, source })?;
        let found = |image: DockerImage| {
            Ok(Found {
                names: image.repo_tags.unwrap_or_default(),
                tag: None,
                configuration: self.document(&image.config)?,
                layers: image.layers,
                documents: Vec::new(),
            })
        };
        list.into_iter().map(found).collect()
    }

    fn layout_images(&self) -> Result<Vec<Found>, ImageError> {
        let object = format!("index.json in {}", self.object());
        let index: ImageIndex = serde_json::from_slice(&self.document("index.json")?)
            .map_err(|source| ImageError::Document { object, source })?;
        index.manifests().iter().map(|descriptor| self.layout_image(descriptor)).collect()
    }

    fn layout_image(&self, descriptor: &Descriptor) -> Result<Found, ImageError> {
        let annotations = descriptor.annotations().clone().unwrap_or_default();
        let name = |key: &str| annotations.get(key).cloned();
        let (tag, ref_name) = match name(REF_NAME) {
            Some(name) if !name.contains(['/', ':', '@']) => (Some(name), None),
            name => (None, name),
        };
        let names = [name(IMAGE_NAME), ref_name].into_iter().flatten().collect();
        let object = format!("a manifest in {}", self.object());
        let mut documents = vec![self.verified(descriptor)?];
        let mut document = documents::manifest(&documents[0], &object)?;
        if let Document::Index(index) = &document {
            let chosen = self.verified(documents::choose(index, &object)?)?;
            document = documents::manifest(&chosen, &object)?;
            documents.push(chosen);
        }
        let Document::Manifest(manifest) = document else {
            let reason = "it is an index of indexes".to_owned();
            return Err(ImageError::Unusable { object, reason });
        };
        let configuration = self.verified(manifest.config())?;
        let layers =
            manifest.layers().iter().map(|layer| blob_name(layer, &object)).collect::<Result<_, _>>()?;
        Ok(Found { names, tag, configuration, layers, documents })
    }

    fn verified(&self, descriptor: &Descriptor) -> Result<Vec<u8>, ImageError> {
        let name = blob_name(descriptor, &self.object())?;
        let bytes = self.document(&name)?;
        let (expected, found) = (descriptor.digest().to_string(), digest::of(&bytes));
        if expected == found {
            Ok(bytes)
        } else {
            Err(ImageError::Mismatch { object: name, expected, found })
        }
    }
}

fn blob_name(descriptor: &Descriptor, object: &str) -> Result<String, ImageError> {
    let digest = descriptor.digest().to_string();
    match digest::hex(&digest) {
        Some(hex) => Ok(format!("blobs/sha256/{hex}")),
        None => Err(ImageError::Unusable {
            object: object.to_owned(),
            reason: format!("{digest:?} is not a sha256 digest"),
        }),
    }
}

/// A member's name without `.` and with `..` taken at their word: it is only ever a key.
fn clean(path: &Path) -> String {
    let mut parts: Vec<String> = Vec::new();
    for component in path.components() {
        match component {
            std::path::Component::Normal(part) => parts.push(part.to_string_lossy().into_owned()),
            std::path::Component::ParentDir => {
                parts.pop();
            }
            _ => {}
        }
    }
    parts.join("/")
}

/// A member's bytes.
struct Slice<'a> {
    file: &'a File,
    offset: u64,
    left: u64,
}

impl Read for Slice<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let count = self.file.read_at(&mut buffer[..wanted], self.offset)?;
        if count == 0 && wanted > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.offset += count as u64;
        self.left -= count as u64;
        Ok(count)
    }
}
