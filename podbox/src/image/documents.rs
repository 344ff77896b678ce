//! The JSON documents of an image: index, manifest, configuration.
//!
//! Source: OCI image specification 1.1; docker's schema 2 documents have the same fields under other media
//! types. Schema 1 has no configuration to verify anything by, and is refused.

use std::collections::BTreeSet;

use oci_spec::image::{Arch, Descriptor, ImageConfiguration, ImageIndex, ImageManifest, Os};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::json;

use super::store::Record;
use super::{ImageConfig, ImageError, digest};

/// More than any real manifest or configuration has; registries refuse larger ones too.
pub(crate) const MAX_DOCUMENT: u64 = 8 << 20;

/// What a manifest's bytes turned out to be.
pub(crate) enum Document {
    /// One image.
    Manifest(Box<ImageManifest>),
    /// A list of images, one for each platform.
    Index(Box<ImageIndex>),
}

/// What podbox wants to know of a configuration.
#[derive(Clone, Debug)]
pub(crate) struct Configuration {
    /// Its digest: the image id.
    pub(crate) id: String,
    pub(crate) config: ImageConfig,
    /// Lowest layer first, as in the document.
    pub(crate) diff_ids: Vec<String>,
    pub(crate) created: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    schema_version: u32,
    #[serde(default)]
    manifests: Option<IgnoredAny>,
    #[serde(default)]
    layers: Option<IgnoredAny>,
}

/// Reads a manifest or an index. What it is follows from its fields, and a document that could be read as
/// both is refused: two readers would see two images under one digest (CVE-2021-41190).
pub(crate) fn manifest(bytes: &[u8], object: &str) -> Result<Document, ImageError> {
    let shape: Shape = read(bytes, object)?;
    let unusable =
        |reason: &str| ImageError::Unusable { object: object.to_owned(), reason: reason.to_owned() };
    if shape.schema_version != 2 {
        return Err(unusable("it is a schema 1 manifest, which cannot be verified; push the image again"));
    }
    match (shape.manifests, shape.layers) {
        (Some(_), Some(_)) => Err(unusable("it is both a manifest and an index")),
        (Some(_), None) => Ok(Document::Index(Box::new(read(bytes, object)?))),
        (None, Some(_)) => Ok(Document::Manifest(Box::new(read(bytes, object)?))),
        (None, None) => Err(unusable("it is neither a manifest nor an index")),
    }
}

/// Reads a configuration.
pub(crate) fn configuration(bytes: &[u8], object: &str) -> Result<Configuration, ImageError> {
    let document: ImageConfiguration = read(bytes, object)?;
    let process = document.config().clone().unwrap_or_default();
    let diff_ids = document.rootfs().diff_ids().clone();
    if let Some(wrong) = diff_ids.iter().find(|id| digest::hex(id).is_none()) {
        let reason = format!("{wrong:?} is not a layer's digest");
        return Err(ImageError::Unusable { object: object.to_owned(), reason });
    }
    let text = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    Ok(Configuration {
        id: digest::of(bytes),
        diff_ids,
        created: document.created().clone(),
        config: ImageConfig {
            env: process.env().clone().unwrap_or_default(),
            entrypoint: process.entrypoint().clone().unwrap_or_default(),
            cmd: process.cmd().clone().unwrap_or_default(),
            working_dir: text(process.working_dir()),
            user: text(process.user()),
            stop_signal: text(process.stop_signal()),
        },
    })
}

impl Configuration {
    /// The store's record of this image under a name.
    pub(crate) fn record(self, reference: String) -> Record {
        Record {
            reference,
            id: self.id,
            repo_digest: None,
            all_digests: BTreeSet::new(),
            layers: self.diff_ids.into_iter().rev().collect(),
            config: self.config,
            created: self.created,
            documents: Vec::new(),
            source: None,
        }
    }
}

/// A configuration document for an image that is made here.
pub(crate) fn write_configuration(
    config: &ImageConfig,
    diff_ids: &[String],
    created: Option<String>,
) -> Vec<u8> {
    let list = |list: &[String]| (!list.is_empty()).then(|| list.to_vec());
    let mut process = json!({});
    let fields = [
        ("Env", json!(list(&config.env))),
        ("Entrypoint", json!(list(&config.entrypoint))),
        ("Cmd", json!(list(&config.cmd))),
        ("WorkingDir", json!(config.working_dir)),
        ("User", json!(config.user)),
        ("StopSignal", json!(config.stop_signal)),
    ];
    for (name, value) in fields {
        if !value.is_null() {
            process[name] = value;
        }
    }
    let mut document = json!({
        "architecture": architecture().to_string(),
        "os": "linux",
        "config": process,
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
    });
    if let Some(created) = created {
        document["created"] = json!(created);
    }
    document.to_string().into_bytes()
}

/// The entry of the index that runs here.
pub(crate) fn choose<'a>(index: &'a ImageIndex, object: &str) -> Result<&'a Descriptor, ImageError> {
    let wanted = architecture();
    let manifests = index.manifests();
    let fits = |descriptor: &&Descriptor| {
        descriptor
            .platform()
            .as_ref()
            .is_some_and(|platform| *platform.os() == Os::Linux && *platform.architecture() == wanted)
    };
    if let Some(found) = manifests.iter().find(fits) {
        return Ok(found);
    }
    if let [only] = manifests.as_slice()
        && only.platform().is_none()
    {
        return Ok(only);
    }
    let offered: Vec<String> = manifests
        .iter()
        .filter_map(|descriptor| descriptor.platform().as_ref())
        .map(|platform| format!("{}/{}", platform.os(), platform.architecture()))
        .collect();
    Err(ImageError::Unusable {
        object: object.to_owned(),
        reason: format!("it has no image for linux/{wanted}, only for [{}]", offered.join(", ")),
    })
}

/// This machine's, in Go's words, which OCI uses.
pub(crate) fn architecture() -> Arch {
    match std::env::consts::ARCH {
        "x86_64" => Arch::Amd64,
        "x86" => Arch::i386,
        "aarch64" => Arch::ARM64,
        "riscv64" => Arch::RISCV64,
        "s390x" => Arch::s390x,
        "powerpc64" => Arch::PowerPC64le,
        "loongarch64" => Arch::LoongArch64,
        other => Arch::Other(other.to_owned()),
    }
}

fn read<'de, T: Deserialize<'de>>(bytes: &'de [u8], object: &str) -> Result<T, ImageError> {
    serde_json::from_slice(bytes).map_err(|source| ImageError::Document { object: object.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_configuration_reads_back() -> Result<(), ImageError> {
        let config = ImageConfig {
            env: vec!["A=1".into()],
            cmd: vec!["/bin/x".into()],
            user: Some("app".into()),
            ..ImageConfig::default()
        };
        let layer = digest::of(b"layer");
        let bytes = write_configuration(&config, std::slice::from_ref(&layer), None);
        let read = configuration(&bytes, "test")?;
        assert_eq!((read.config, read.diff_ids), (config, vec![layer]));
        Ok(())
    }

    #[test]
    fn a_document_that_could_be_two_things_is_refused() {
        let both = br#"{"schemaVersion":2,"layers":[],"manifests":[],"config":{}}"#;
        assert!(matches!(manifest(both, "x"), Err(ImageError::Unusable { .. })));
        let old = br#"{"schemaVersion":1,"fsLayers":[]}"#;
        assert!(matches!(manifest(old, "x"), Err(ImageError::Unusable { .. })));
    }

    #[test]
    fn the_entry_for_this_machine_is_chosen() -> Result<(), ImageError> {
        let entry = |arch: &str, n: u8| {
            json!({"mediaType":"application/vnd.oci.image.manifest.v1+json","size":1,
                "digest": format!("sha256:{}", n.to_string().repeat(64)),
                "platform":{"os":"linux","architecture":arch}})
        };
        let text =
            json!({"schemaVersion":2,"manifests":[entry("m68k",1), entry(&architecture().to_string(),2)]});
        let Document::Index(index) = manifest(text.to_string().as_bytes(), "x")? else {
            panic!("not an index");
        };
        assert!(choose(&index, "x")?.digest().to_string().starts_with("sha256:22"));
        let text = json!({"schemaVersion":2,"manifests":[entry("m68k",1)]});
        let Document::Index(index) = manifest(text.to_string().as_bytes(), "x")? else {
            panic!("not an index");
        };
        let message = choose(&index, "x").expect_err("nothing fits").message();
        assert!(message.contains("linux/m68k"), "{message}");
        Ok(())
    }
}
