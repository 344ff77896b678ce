//! What the tests of images are made of: layers, layouts, archives, registries.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::json;
use tar::{Builder, EntryType, Header};

use super::{ImageConfig, PullOptions, Store, digest, documents};

/// A tar archive of these files; a name that ends in `/` is a directory.
pub(crate) fn layer(files: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = Header::new_gnu();
        let directory = name.ends_with('/');
        header.set_entry_type(if directory { EntryType::Directory } else { EntryType::Regular });
        header.set_size(content.len() as u64);
        header.set_mode(if directory { 0o755 } else { 0o644 });
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_000_000);
        out.append_data(&mut header, name, content.as_bytes()).expect("an entry");
    }
    out.into_inner().expect("an archive")
}

/// Bytes that do not compress, the same for the same seed.
pub(crate) fn noise(seed: u64, length: usize) -> String {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b' ' + (state >> 33) as u8 % 95)
    };
    (0..length).map(|_| next()).collect()
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("compresses");
    encoder.finish().expect("compresses")
}

pub(crate) fn config() -> ImageConfig {
    ImageConfig {
        env: vec!["PATH=/bin".into(), "GREETING=hello".into()],
        entrypoint: vec!["/bin/server".into()],
        cmd: vec!["--port".into(), "80".into()],
        working_dir: Some("/srv".into()),
        user: Some("1000:1000".into()),
        stop_signal: Some("SIGQUIT".into()),
    }
}

/// A file as `docker save` writes it.
pub(crate) fn docker_archive(path: &Path, tags: &[&str], layers: &[Vec<u8>]) {
    let ids: Vec<String> = layers.iter().map(|layer| digest::of(layer)).collect();
    let configuration = documents::write_configuration(&config(), &ids, Some("2024-01-02T03:04:05Z".into()));
    let id = digest::of(&configuration);
    let config_name = format!("{}.json", &id["sha256:".len()..]);
    let names: Vec<String> = (0..layers.len()).map(|number| format!("{number}/layer.tar")).collect();
    let manifest = json!([{"Config": config_name, "RepoTags": tags, "Layers": names}]).to_string();
    let mut out = Builder::new(fs::File::create(path).expect("a file"));
    let mut add = |name: &str, bytes: &[u8]| {
        let mut header = Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        out.append_data(&mut header, name, bytes).expect("an entry");
    };
    for (name, layer) in names.iter().zip(layers) {
        add(name, layer);
    }
    add(&config_name, &configuration);
    add("manifest.json", manifest.as_bytes());
    out.into_inner().expect("an archive");
}

/// An OCI layout with one image; layers are stored as given and may be compressed. Returns the blobs'
/// paths, lowest layer first.
pub(crate) fn oci_layout(directory: &Path, tag: &str, layers: &[(Vec<u8>, Vec<u8>)]) -> Vec<PathBuf> {
    let blobs = directory.join("blobs/sha256");
    fs::create_dir_all(&blobs).expect("a directory");
    let keep = |bytes: &[u8], kind: &str| {
        let digest = digest::of(bytes);
        fs::write(blobs.join(&digest["sha256:".len()..]), bytes).expect("a blob");
        json!({"mediaType": format!("application/vnd.oci.image.{kind}"), "digest": digest, "size": bytes.len()})
    };
    let ids: Vec<String> = layers.iter().map(|(plain, _)| digest::of(plain)).collect();
    let configuration = documents::write_configuration(&config(), &ids, None);
    let layer_type = |stored: &[u8]| match stored {
        [0x1f, ..] => "layer.v1.tar+gzip",
        [0x28, ..] => "layer.v1.tar+zstd",
        _ => "layer.v1.tar",
    };
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": keep(&configuration, "config.v1+json"),
        "layers": layers.iter().map(|(_, stored)| keep(stored, layer_type(stored))).collect::<Vec<_>>(),
    });
    let mut descriptor = keep(manifest.to_string().as_bytes(), "manifest.v1+json");
    descriptor["annotations"] = json!({"org.opencontainers.image.ref.name": tag});
    let index = json!({"schemaVersion": 2, "manifests": [descriptor]});
    fs::write(directory.join("index.json"), index.to_string()).expect("an index");
    fs::write(directory.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).expect("a marker");
    let path = |(_, stored): &(Vec<u8>, Vec<u8>)| blobs.join(&digest::of(stored)["sha256:".len()..]);
    layers.iter().map(path).collect()
}

/// A store of the test's own.
pub(crate) struct Home {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) store: Store,
}

impl Home {
    pub(crate) fn new() -> Home {
        let directory = tempfile::tempdir().expect("a directory");
        let store = Store::open(&directory.path().join("store")).expect("a store");
        Home { directory, store }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Options that ask only registries of the test.
    pub(crate) fn options(&self, registries_conf: &str) -> PullOptions {
        let path = self.path("registries.conf");
        fs::write(&path, registries_conf).expect("a configuration");
        let auth = self.path("auth.json");
        if !auth.exists() {
            fs::write(&auth, "{}").expect("credentials");
        }
        let mut options = PullOptions::default();
        options.registry.registries_conf = Some(path);
        options.registry.auth_file = Some(auth);
        options
    }

    /// Names of unpacked layers, and of work directories that are left.
    pub(crate) fn layers(&self) -> Vec<String> {
        let mut out = Vec::new();
        for directory in [self.store.layers(), self.store.layers().join(".work")] {
            let Ok(entries) = fs::read_dir(directory) else { continue };
            out.extend(
                entries
                    .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
                    .filter(|name| name != ".work"),
            );
        }
        out.sort();
        out
    }
}

/// Debian's docker-registry on a port of loopback that it chooses itself. Ends when dropped.
pub(crate) struct Registry {
    process: Child,
    pub(crate) address: String,
    pub(crate) storage: PathBuf,
}

impl Registry {
    /// Starts one; `auth` is put below the configuration's top level.
    pub(crate) fn start(directory: &Path, auth: &str) -> Registry {
        let storage = directory.join("registry");
        let file = directory.join("registry.yml");
        let text = format!(
            "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: 127.0.0.1:0\n{auth}",
            storage.display()
        );
        fs::write(&file, text).expect("a configuration");
        let mut process = Command::new("docker-registry")
            .args(["serve".as_ref(), file.as_os_str()])
            .env("OTEL_TRACES_EXPORTER", "none")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("docker-registry (Debian's package of that name) starts");
        let mut log = BufReader::new(process.stderr.take().expect("its log"));
        let address = loop {
            let mut line = String::new();
            assert_ne!(log.read_line(&mut line).expect("its log"), 0, "docker-registry ended");
            if let Some((_, rest)) = line.split_once("listening on ") {
                break rest.chars().take_while(|c| c.is_ascii_digit() || ".:".contains(*c)).collect();
            }
        };
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Registry { process, address, storage }
    }

    /// Copies an image into it with skopeo: `oci:…` or `docker-archive:…`.
    pub(crate) fn push(&self, from: &str, name: &str) {
        let target = format!("docker://{}/{name}", self.address);
        let output = Command::new("skopeo")
            .args(["--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false", from, &target])
            .output()
            .expect("skopeo (Debian's package of that name) starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// The file that holds a blob.
    pub(crate) fn blob(&self, digest: &str) -> PathBuf {
        let hex = &digest["sha256:".len()..];
        self.storage.join("docker/registry/v2/blobs/sha256").join(&hex[..2]).join(hex).join("data")
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// This test program again, to run one ignored test as a process of its own.
pub(crate) fn child(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(["--exact", test, "--ignored", "--nocapture"]);
    command
}
