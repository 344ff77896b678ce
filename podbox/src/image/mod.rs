//! Images.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// An image that is in the store, ready to be a container's root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// The reference it was asked for by, normalised (`docker.io/library/nginx:latest`).
    pub reference: String,
    /// `sha256:…` of the image's configuration: `containerStatuses[].imageID` without a registry digest.
    pub id: String,
    /// `registry/repo@sha256:…` where it came from a registry.
    pub repo_digest: Option<String>,
    /// Unpacked layers, topmost first: overlayfs' `lowerdir` order.
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
