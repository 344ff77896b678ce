//! Pulling from a registry.
//!
//! ```text
//! name ─► registries.conf ─► places to ask, in order
//!            place: GET manifest ─► index? choose ─► GET manifest ─► GET configuration
//!                   for each layer that is not here: GET blob ─► unpack while it comes
//! ```
//!
//! Every document and every layer is checked against the digest that named it, up to the reference itself
//! or, for a tag, up to the registry's word. A place that fails is passed over for the next; what was
//! finished from it is kept. A transfer that breaks is continued where it broke, by a range request.

mod challenge;
mod client;
mod conf;
mod connect;
mod credentials;
mod fetch;
mod trust;

pub(crate) use fetch::empty_layer;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use oci_spec::image::Descriptor;
use probes::names::LookupError;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use self::client::{Client, accept};
use self::conf::{Conf, Source};
use self::connect::Connector;
use self::credentials::Keyring;
use super::documents::{Document, MAX_DOCUMENT};
use super::reference::{LOCAL_REGISTRY, Name};
use super::store::Store;
use super::work::Work;
use super::{Image, ImageError, Progress, PullOptions, digest, documents};
use crate::report;

/// Where registries are configured. Each field that is absent is found in the environment, then in its
/// usual place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RegistryOptions {
    /// Instead of `PODBOX_REGISTRIES_CONF`, `CONTAINERS_REGISTRIES_CONF`, /etc/containers/registries.conf.
    /// Drop-ins are read from the directory beside it whose name has `.d` appended.
    pub registries_conf: Option<PathBuf>,
    /// Instead of `REGISTRY_AUTH_FILE` and the files of podman and docker.
    pub auth_file: Option<PathBuf>,
    /// docker's config.json, as text, of those that the pull is for: asked before all files. Never written down.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pull_secrets: Vec<String>,
    /// Instead of /etc/containers/certs.d and /etc/docker/certs.d.
    pub certs_directory: Option<PathBuf>,
}

/// What went wrong between podbox and a registry.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// A configuration file.
    #[error("read {path}: {reason}")]
    Configuration {
        /// The file.
        path: PathBuf,
        /// Where it is wrong.
        reason: String,
    },
    /// The administrator forbids it.
    #[error("use {repository}: registries.conf blocks {prefix}")]
    Blocked {
        /// The image.
        repository: String,
        /// The entry that blocks it.
        prefix: String,
    },
    /// The host's name has no address.
    #[error(transparent)]
    Resolve(#[from] LookupError),
    /// Nobody listens, or nobody answers in time.
    #[error("connect to {host}")]
    Connect {
        /// `host:port`.
        host: String,
        /// The kernel's answer, or a timeout.
        source: io::Error,
    },
    /// The certificate is not trusted, or it is no TLS server.
    #[error("speak TLS with {host}")]
    Tls {
        /// `host:port`.
        host: String,
        /// What TLS says.
        source: io::Error,
    },
    /// The connection broke or did not carry HTTP.
    #[error("exchange HTTP with {host}")]
    Exchange {
        /// `host:port`.
        host: String,
        /// What hyper says.
        source: hyper::Error,
    },
    /// The registry refused.
    #[error("get {what} from {host}: status {status}{said}")]
    Status {
        /// `host:port`.
        host: String,
        /// Which object.
        what: String,
        /// The HTTP status.
        status: u16,
        /// `: ` and its own words, or nothing.
        said: String,
    },
    /// Several places were asked, and none had it.
    #[error("find a place that has it: {causes}")]
    Nowhere {
        /// Each place and its cause, in the order in which they were asked.
        causes: String,
        /// Not one of them could be asked.
        unreachable: bool,
    },
    /// It answered something that the protocol does not allow.
    #[error("understand {host}: {reason}")]
    Protocol {
        /// `host:port`.
        host: String,
        /// What it did.
        reason: String,
    },
}

impl RegistryError {
    /// Nobody could be asked, as opposed to: somebody said no.
    pub fn is_unreachable(&self) -> bool {
        match self {
            RegistryError::Resolve(_) | RegistryError::Connect { .. } | RegistryError::Tls { .. } => true,
            RegistryError::Nowhere { unreachable, .. } => *unreachable,
            _ => false,
        }
    }
}

const MANIFEST_TYPES: [&str; 4] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];

/// Pulls `name`, whatever the store has under it already; layers that it has are not fetched again.
pub(crate) fn pull(
    store: &Store,
    name: &Name,
    options: &PullOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<Image, ImageError> {
    let reference = name.to_string();
    if name.registry == LOCAL_REGISTRY {
        return Err(ImageError::NotFound { name: reference });
    }
    let failed = |source| ImageError::Registry { reference: reference.clone(), source: Box::new(source) };
    let options = &options.registry;
    let conf = Conf::load(options.registries_conf.as_deref()).map_err(failed)?;
    let sources = conf.sources(name).map_err(failed)?;
    let keyring = Keyring::load(options.auth_file.as_deref(), &options.pull_secrets).map_err(failed)?;
    let connector = Connector::new(options.certs_directory.as_deref());
    let work = Work::new(store)?;
    // Declared after `work`: its threads have ended before the work directory is removed.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(ImageError::io("start an event loop for", std::path::Path::new(&reference)))?;
    let pull = Pull { store, work: &work, name, client: Arc::new(Client::new(connector, keyring)) };
    runtime.block_on(pull.run(sources, progress))
}

/// One pull, whichever place it comes from.
struct Pull<'a> {
    store: &'a Store,
    work: &'a Work,
    name: &'a Name,
    client: Arc<Client>,
}

/// An image's documents, verified.
struct Documents {
    /// Digest of what the reference named: an index or a manifest.
    named: String,
    /// Index, manifest, configuration.
    bytes: Vec<Vec<u8>>,
    configuration: documents::Configuration,
    /// Lowest first, each with its diff id.
    layers: Vec<(Descriptor, String)>,
}

impl Documents {
    /// Bytes of the whole image as the registry serves it. The sizes of layers are the manifest's word.
    fn size(&self) -> u64 {
        let documents = self.bytes.iter().map(|bytes| bytes.len() as u64);
        documents.chain(self.layers.iter().map(|(layer, _)| layer.size())).fold(0, u64::saturating_add)
    }
}

impl Pull<'_> {
    async fn run(
        &self,
        sources: Vec<Source>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Image, ImageError> {
        let mut failures: Vec<(Source, ImageError)> = Vec::new();
        for source in sources {
            if let Some((failed, error)) = failures.last() {
                progress(Progress::Skipped { source: failed.display(), cause: cause(error) });
            }
            progress(Progress::Trying { source: source.display() });
            match self.from(&source, progress).await {
                Err(error) if is_of_the_place(&error) => failures.push((source, error)),
                other => return other,
            }
        }
        if let [_, _, ..] = failures.as_slice() {
            let told =
                |(source, error): &(Source, ImageError)| format!("{}: {}", source.display(), cause(error));
            let causes: Vec<String> = failures.iter().map(told).collect();
            let unreachable = failures.iter().all(
                |(_, error)| matches!(error, ImageError::Registry { source, .. } if source.is_unreachable()),
            );
            return Err(self.failed(RegistryError::Nowhere { causes: causes.join("; "), unreachable }));
        }
        Err(failures
            .pop()
            .map_or_else(|| ImageError::NotFound { name: self.name.to_string() }, |(_, error)| error))
    }

    async fn from(&self, source: &Source, progress: &mut dyn FnMut(Progress)) -> Result<Image, ImageError> {
        let documents = self.documents(source).await?;
        progress(Progress::Found { size: documents.size() });
        let (reports, mut arriving) = mpsc::unbounded_channel();
        let layers = fetch::layers(self, source, documents.layers, reports);
        tokio::pin!(layers);
        loop {
            tokio::select! {
                biased;
                Some(report) = arriving.recv() => progress(report),
                done = &mut layers => {
                    done?;
                    break;
                }
            }
        }
        while let Ok(report) = arriving.try_recv() {
            progress(report);
        }
        let mut record = documents.configuration.record(self.name.to_string());
        record.repo_digest = Some(format!("{}@{}", source.canonical, documents.named));
        if record.layers.is_empty() {
            record.layers.push(empty_layer(self.store, self.work)?);
        }
        let bytes: Vec<&[u8]> = documents.bytes.iter().map(Vec::as_slice).collect();
        record.documents = bytes.iter().map(|bytes| digest::of(bytes)).collect();
        self.store.commit(record, &bytes)
    }

    async fn documents(&self, source: &Source) -> Result<Documents, ImageError> {
        let object = format!("the manifest of {}", source.display());
        let first = self.manifest(source, &source.wanted, &object).await?;
        let named = digest::of(&first);
        let mut bytes = vec![first];
        let mut document = documents::manifest(&bytes[0], &object)?;
        if let Document::Index(index) = document {
            let chosen = documents::choose(&index, &object)?.digest().to_string();
            bytes.push(self.manifest(source, &chosen, &object).await?);
            document = documents::manifest(&bytes[1], &object)?;
        }
        let unusable = |reason: String| ImageError::Unusable { object: object.clone(), reason };
        let Document::Manifest(manifest) = document else {
            return Err(unusable("it is an index of indexes".to_owned()));
        };
        let object = format!("the configuration of {}", source.display());
        let config = self.blob(source, manifest.config().digest().as_ref(), &object).await?;
        let configuration = documents::configuration(&config, &object)?;
        bytes.push(config);
        let (layers, ids) = (manifest.layers().clone(), configuration.diff_ids.clone());
        if layers.len() != ids.len() {
            let reason =
                format!("its manifest has {} layers and its configuration {}", layers.len(), ids.len());
            return Err(unusable(reason));
        }
        Ok(Documents { named, bytes, configuration, layers: layers.into_iter().zip(ids).collect() })
    }

    async fn manifest(&self, source: &Source, wanted: &str, object: &str) -> Result<Vec<u8>, ImageError> {
        let by_digest = digest::hex(wanted).is_some();
        if by_digest && let Some(kept) = self.kept(wanted) {
            return Ok(kept);
        }
        let get = async {
            let path = format!("manifests/{wanted}");
            let answer = self.client.get(source, &path, &[accept(&MANIFEST_TYPES)]).await?;
            let promised = answer.header("docker-content-digest").map(str::to_owned);
            Ok((self.client.whole(answer, MAX_DOCUMENT).await?, promised))
        };
        let (bytes, promised) = get.await.map_err(|source| self.failed(source))?;
        if by_digest {
            verify(&bytes, wanted, object)?;
        } else if let Some(promised) = promised.filter(|promised| digest::hex(promised).is_some()) {
            verify(&bytes, &promised, object)?;
        }
        Ok(bytes)
    }

    async fn blob(&self, source: &Source, wanted: &str, object: &str) -> Result<Vec<u8>, ImageError> {
        if digest::hex(wanted).is_none() {
            let reason = format!("{wanted:?} is not a sha256 digest");
            return Err(ImageError::Unusable { object: object.to_owned(), reason });
        }
        if let Some(kept) = self.kept(wanted) {
            return Ok(kept);
        }
        let get = async {
            let answer = self.client.get(source, &format!("blobs/{wanted}"), &[]).await?;
            self.client.whole(answer, MAX_DOCUMENT).await
        };
        let bytes = get.await.map_err(|source| self.failed(source))?;
        verify(&bytes, wanted, object)?;
        Ok(bytes)
    }

    /// The document, if an earlier pull has kept it whole.
    fn kept(&self, wanted: &str) -> Option<Vec<u8>> {
        let bytes = std::fs::read(self.store.blob_file(wanted)).ok()?;
        (digest::of(&bytes) == wanted).then_some(bytes)
    }

    fn failed(&self, source: RegistryError) -> ImageError {
        ImageError::Registry { reference: self.name.to_string(), source: Box::new(source) }
    }
}

fn verify(bytes: &[u8], expected: &str, object: &str) -> Result<(), ImageError> {
    let found = digest::of(bytes);
    if found == expected {
        return Ok(());
    }
    Err(ImageError::Mismatch { object: object.to_owned(), expected: expected.to_owned(), found })
}

/// What went wrong at a place, without saying again what was to be pulled.
fn cause(error: &ImageError) -> String {
    match error {
        ImageError::Registry { source, .. } => report::chain(source.as_ref()),
        other => report::chain(other),
    }
}

/// Another place may do better; a full disk here stays full.
fn is_of_the_place(error: &ImageError) -> bool {
    !matches!(
        error,
        ImageError::Io { .. } | ImageError::Unpack { source: super::UnpackError::Write { .. }, .. }
    )
}

#[cfg(test)]
mod tests;
