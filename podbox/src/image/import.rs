//! Images from files: what `podbox image load` and `podbox image import` take.

use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use super::layer::{self, decompress};
use super::store::{Store, parse};
use super::work::Work;
use super::{Image, ImageConfig, ImageError, Reference, archive, documents};

/// What an imported root file system is to be called and to run.
#[derive(Clone, Debug, Default)]
pub struct ImportOptions {
    /// The name to give it.
    pub reference: String,
    /// What a container of it runs.
    pub config: ImageConfig,
    /// RFC 3339.
    pub created: Option<String>,
}

impl Store {
    /// Loads all images of an archive (as `docker save` or `podman save --format oci-archive` write it, also
    /// compressed) or of an OCI layout directory. Each gets the names that it has in there, and `default`
    /// if it has none.
    pub fn load(&self, path: &Path, default: Option<&str>) -> Result<Vec<Image>, ImageError> {
        if path.is_dir() {
            return archive::load_layout(self, path, default);
        }
        let file = File::open(path).map_err(ImageError::io("open", path))?;
        self.load_from(file, path, default)
    }

    /// The same from a stream, such as standard input.
    pub fn load_stream(&self, input: impl Read, default: Option<&str>) -> Result<Vec<Image>, ImageError> {
        let name = Path::new("standard input");
        let work = Work::new(self)?;
        let file = spool(&work, input, name)?;
        self.load_from(file, name, default)
    }

    fn load_from(&self, file: File, path: &Path, default: Option<&str>) -> Result<Vec<Image>, ImageError> {
        let work = Work::new(self)?;
        let file = plain(&work, file, path)?;
        archive::load_archive(self, &work, &file, (path, default))
    }

    /// Makes an image with one layer of a tar archive that holds a root file system, compressed or not.
    pub fn import(&self, input: impl Read, options: &ImportOptions) -> Result<Image, ImageError> {
        let Reference::Registry(name) = parse(&options.reference)? else {
            return Err(ImageError::Unusable {
                object: options.reference.clone(),
                reason: "an imported image needs a registry name".to_owned(),
            });
        };
        let work = Work::new(self)?;
        let path = work.fresh_path();
        let unpacked = layer::unpack(input, &path).map_err(|failed| failed.of(&options.reference, None))?;
        work.publish_layer(self, &path, &unpacked)?;
        let bytes =
            documents::write_configuration(&options.config, &[unpacked.diff_id], options.created.clone());
        let record = documents::configuration(&bytes, "the new configuration")?.record(name.to_string());
        self.commit(record, &[&bytes])
    }
}

/// An archive that can be read in any order: itself, or its decompressed bytes in the work directory.
pub(crate) fn plain(work: &Work, mut file: File, path: &Path) -> Result<File, ImageError> {
    let mut magic = [0; 4];
    let mut filled = 0;
    while filled < magic.len() {
        match file.read(&mut magic[filled..]).map_err(ImageError::io("read", path))? {
            0 => break,
            count => filled += count,
        }
    }
    file.seek(SeekFrom::Start(0)).map_err(ImageError::io("read", path))?;
    let compressed = magic.starts_with(&[0x1f, 0x8b]) || magic == [0x28, 0xb5, 0x2f, 0xfd];
    if !compressed {
        return Ok(file);
    }
    let mut buffered = io::BufReader::new(file);
    let stream = decompress(&mut buffered)
        .map_err(|source| ImageError::Unpack { layer: path.display().to_string(), source })?;
    spool(work, stream, path)
}

/// Copies a stream to an unnamed file, which goes when it is closed.
fn spool(work: &Work, mut input: impl Read, name: &Path) -> Result<File, ImageError> {
    let path: PathBuf = work.fresh_path();
    let mut file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)
        .map_err(ImageError::io("create", &path))?;
    std::fs::remove_file(&path).map_err(ImageError::io("remove", &path))?;
    io::copy(&mut input, &mut file).map_err(ImageError::io("copy", name))?;
    file.seek(SeekFrom::Start(0)).map_err(ImageError::io("read", name))?;
    Ok(file)
}
