//! Images that the tests build themselves, as `docker save` writes them.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

/// One layer of an image: a tar archive in memory.
pub struct Layer(Builder<Vec<u8>>);

impl Default for Layer {
    fn default() -> Layer {
        Layer::new()
    }
}

impl Layer {
    /// An empty one.
    #[must_use]
    pub fn new() -> Layer {
        Layer(Builder::new(Vec::new()))
    }

    /// The podbox binary as `/bin/toolbox`, with a link to it for each name.
    ///
    /// # Panics
    /// If the binary cannot be read.
    #[must_use]
    pub fn toolbox(names: &[&str]) -> Layer {
        let binary = fs::read(crate::binary()).expect("read the binary");
        let layer = Layer::new().dir("bin").program("bin/toolbox", &binary);
        names.iter().fold(layer, |layer, name| {
            let target = if name.contains('/') { "/bin/toolbox" } else { "toolbox" };
            let at = if name.contains('/') {
                name.trim_start_matches('/').to_owned()
            } else {
                format!("bin/{name}")
            };
            layer.link(&at, target)
        })
    }

    /// Adds a directory.
    #[must_use]
    pub fn dir(self, path: &str) -> Layer {
        self.entry(path, EntryType::Directory, 0o755, b"")
    }

    /// Adds a file.
    #[must_use]
    pub fn file(self, path: &str, content: &str) -> Layer {
        self.entry(path, EntryType::Regular, 0o644, content.as_bytes())
    }

    /// Adds an executable file.
    #[must_use]
    pub fn program(self, path: &str, content: &[u8]) -> Layer {
        self.entry(path, EntryType::Regular, 0o755, content)
    }

    /// Adds a symbolic link.
    ///
    /// # Panics
    /// If a path is too long.
    #[must_use]
    pub fn link(mut self, path: &str, target: &str) -> Layer {
        let mut header = header(EntryType::Symlink, 0o777, 0);
        self.0.append_link(&mut header, path, target).expect("write to memory");
        self
    }

    fn entry(mut self, path: &str, kind: EntryType, mode: u32, content: &[u8]) -> Layer {
        let mut header = header(kind, mode, content.len() as u64);
        self.0.append_data(&mut header, path, content).expect("write to memory");
        self
    }

    /// The archive.
    ///
    /// # Panics
    /// Never: it is in memory.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.0.into_inner().expect("write to memory")
    }
}

fn header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(1_700_000_000);
    header.set_uid(0);
    header.set_gid(0);
    header
}

/// An image archive.
#[derive(Debug)]
pub struct Archive {
    config: Value,
    layers: Vec<Vec<u8>>,
}

impl Archive {
    /// An image of these layers, lowest first.
    #[must_use]
    pub fn new(layers: impl IntoIterator<Item = Layer>) -> Archive {
        let layers: Vec<Vec<u8>> = layers.into_iter().map(Layer::into_bytes).collect();
        let diff_ids: Vec<String> = layers.iter().map(|layer| format!("sha256:{}", sha256(layer))).collect();
        let config = json!({
            "architecture": "amd64",
            "os": "linux",
            "created": "2023-11-14T22:13:20Z",
            "config": {"Env": ["PATH=/usr/bin:/bin"]},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
            "history": [],
        });
        Archive { config, layers }
    }

    /// Sets a field of the configuration's `config`, such as `Cmd`.
    #[must_use]
    pub fn set(mut self, field: &str, value: Value) -> Archive {
        self.config["config"][field] = value;
        self
    }

    /// Writes it for `docker load`, with one tag.
    ///
    /// # Panics
    /// If the disk says no.
    pub fn write(&self, path: &Path, tag: &str) -> PathBuf {
        let mut archive = Builder::new(File::create(path).expect("make the archive"));
        let mut add = |name: &str, content: &[u8]| {
            let mut header = header(EntryType::Regular, 0o644, content.len() as u64);
            archive.append_data(&mut header, name, content).expect("write the archive");
        };
        let config = self.config.to_string().into_bytes();
        let config_name = format!("{}.json", sha256(&config));
        let mut layer_names = Vec::new();
        for layer in &self.layers {
            let name = format!("{}/layer.tar", sha256(layer));
            add(&name, layer);
            layer_names.push(name);
        }
        add(&config_name, &config);
        let manifest = json!([{"Config": config_name, "RepoTags": [tag], "Layers": layer_names}]);
        add("manifest.json", manifest.to_string().as_bytes());
        archive.finish().expect("write the archive");
        path.to_owned()
    }
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
