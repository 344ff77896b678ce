//! Images: where a container's root file system and its default command come from.
//!
//! An *image* is a JSON configuration and a list of layers; each layer is a tar archive of what changed
//! against the layers below it. Everything is named by the SHA-256 of its bytes: the configuration by its
//! digest (the *image id*), a layer in two ways: by the digest of the blob as the registry serves it,
//! usually compressed, and by the digest of the tar stream inside (its *diff id*, written in the
//! configuration). Both are checked before anything becomes visible.
//!
//! ```text
//! reference ──lookup──► refs/<reference>      the hot path: one file, no network
//!     │
//!     └──pull──► registry | archive | layout | rootfs | podbox.local/…
//!                    │ manifest, configuration      verified, kept in blobs/
//!                    │ layers                       verified, unpacked below layers/.work/<n>/
//!                    ▼
//!                layers/<diff id>/                  renamed into place, whole
//!                refs/<reference>                   renamed into place, last
//! ```
//!
//! A layer is unpacked as an overlayfs lower directory, whiteouts and all, so starting a container copies
//! nothing. A pull that dies leaves a work directory whose lock nobody holds; the next writer removes it.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

mod archive;
mod builtin;
mod catalogue;
mod digest;
mod documents;
mod import;
mod layer;
mod reference;
mod registry;
mod stage;
mod store;
mod tree;
mod work;

pub use catalogue::{ImageDetails, ImageSummary, PruneScope};
pub use import::ImportOptions;
pub use layer::UnpackError;
pub use reference::{Name, Reference, ReferenceError};
pub use registry::{RegistryError, RegistryOptions};
pub use stage::{Failure, StageRequest, stage_main};
pub use store::Store;
pub(crate) use store::parse as parse_reference;

/// An image that is in the store, ready to be a container's root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// The reference it was asked for by, normalised (`docker.io/library/nginx:latest`).
    pub reference: String,
    /// `sha256:…` of the image's configuration: `containerStatuses[].imageID` without a registry digest.
    pub id: String,
    /// `registry/repo@sha256:…` where it came from a registry.
    pub repo_digest: Option<String>,
    /// Unpacked layers, topmost first: overlayfs' `lowerdir` order. Never empty.
    pub layers: Vec<PathBuf>,
    /// What the image wants to run.
    pub config: ImageConfig,
}

/// The part of the OCI image configuration that a container's process is made from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// `Env`, `NAME=value`.
    pub env: Vec<String>,
    /// `Entrypoint`.
    pub entrypoint: Vec<String>,
    /// `Cmd`.
    pub cmd: Vec<String>,
    /// `WorkingDir`.
    pub working_dir: Option<String>,
    /// `User`: `user`, `uid`, `user:group`, …
    pub user: Option<String>,
    /// `StopSignal`.
    pub stop_signal: Option<String>,
}

/// When to ask the registry: a container's `imagePullPolicy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum PullPolicy {
    /// Ask every time whether the name still means the same image; only what changed is transferred.
    Always,
    /// Ask only when the image is not in the store.
    #[default]
    IfNotPresent,
    /// Never ask; the image must be in the store.
    Never,
}

/// How to pull.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PullOptions {
    /// When to ask the registry.
    pub policy: PullPolicy,
    /// Where registries, credentials and certificates are configured.
    pub registry: RegistryOptions,
}

/// What a pull is doing, for people to watch. Digests are those of the blobs as the registry serves them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "event")]
#[non_exhaustive]
pub enum Progress {
    /// Asking this place for the image.
    Trying {
        /// `registry/repository:tag` as asked, after mirrors and aliases.
        source: String,
    },
    /// That place did not have it or could not be reached; another follows.
    Skipped {
        /// The place, as in [`Progress::Trying`].
        source: String,
        /// Why, in a sentence.
        cause: String,
    },
    /// That place has it: its documents have come and are what their digests say.
    Found {
        /// Bytes of the documents and of all layers as the registry serves them, whether or not they have to be
        /// fetched. So containerd counts an image, whose number a kubelet tells.
        size: u64,
    },
    /// The layer is in the store already.
    LayerExists {
        /// The layer's blob.
        digest: String,
    },
    /// The layer is being fetched and unpacked.
    LayerStarted {
        /// The layer's blob.
        digest: String,
        /// Bytes of the blob.
        total: u64,
    },
    /// More of the layer has come.
    LayerBytes {
        /// The layer's blob.
        digest: String,
        /// Bytes of the blob so far.
        done: u64,
        /// Bytes of the blob.
        total: u64,
    },
    /// The layer is unpacked and verified.
    LayerDone {
        /// The layer's blob.
        digest: String,
    },
}

/// Why an image could not be had, listed, removed or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// The reference does not parse.
    #[error("parse image reference {reference:?}")]
    InvalidName {
        /// As it was given.
        reference: String,
        /// What is wrong with it.
        source: ReferenceError,
    },
    /// Not in the store, and nobody may be asked.
    #[error("container image {reference:?} is not present with pull policy of Never")]
    NeverPull {
        /// As it was given.
        reference: String,
    },
    /// No image of that name or id is in the store.
    #[error("find image {name:?}: no such image in the store")]
    NotFound {
        /// The name, id, or beginning of an id.
        name: String,
    },
    /// The beginning of an id that several images share.
    #[error("find image {name:?}: {count} images have an id that begins so")]
    Ambiguous {
        /// What was given.
        name: String,
        /// How many match.
        count: usize,
    },
    /// A container's root is made of it.
    #[error("remove image {name:?}: a pod uses it")]
    InUse {
        /// What was given.
        name: String,
    },
    /// The registry, all its mirrors, or the way there.
    #[error("pull {reference}")]
    Registry {
        /// Normalised.
        reference: String,
        /// The last place's answer.
        source: Box<RegistryError>,
    },
    /// A layer that does not unpack.
    #[error("unpack layer {layer}")]
    Unpack {
        /// The layer's digest, or its name in an archive.
        layer: String,
        /// Where it stopped.
        source: UnpackError,
    },
    /// Bytes that are not what their name says.
    #[error("verify {object}: digest mismatch: expected {expected}, got {found}")]
    Mismatch {
        /// Which blob.
        object: String,
        /// From the manifest, the configuration or the reference.
        expected: String,
        /// Of the bytes.
        found: String,
    },
    /// A manifest, index or configuration that is not what the OCI image specification says.
    #[error("read {object}")]
    Document {
        /// Which document.
        object: String,
        /// Where it is wrong.
        source: serde_json::Error,
    },
    /// Something that this build does not do, or that cannot be an image.
    #[error("use {object}: {reason}")]
    Unusable {
        /// The file, directory or document.
        object: String,
        /// A fragment that says why.
        reason: String,
    },
    /// The file system.
    #[error("{action} {path}")]
    Io {
        /// A verb: "create", "rename", …
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
}

impl ImageError {
    /// The reason a kubelet would report for a container whose image failed in this way.
    ///
    /// Source: the errors of Kubernetes' `pkg/kubelet/images/types.go`.
    pub fn reason(&self) -> &'static str {
        match self {
            ImageError::InvalidName { .. } => "InvalidImageName",
            ImageError::NeverPull { .. } => "ErrImageNeverPull",
            _ => "ErrImagePull",
        }
    }

    /// The whole chain in one line, as it belongs into a status message.
    pub fn message(&self) -> String {
        crate::report::chain(self)
    }

    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ImageError {
        let path = path.to_owned();
        move |source| ImageError::Io { action, path, source }
    }
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
