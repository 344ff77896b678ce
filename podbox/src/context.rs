//! What a supervisor has to know beside the Pod: the settings of the podbox that started it. Written once by `up`
//! as `context.json`, because flags and configuration files may be others when the supervisor is restarted.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::config::Settings;
use crate::store::{PodDir, StoreError, write_atomic};

/// The content of `context.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Context {
    /// Which pod the directory is of.
    pub uid: String,
    /// The settings it was started with.
    pub settings: Settings,
}

impl Context {
    /// Writes it for a pod.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write(&self, dir: &PodDir) -> Result<(), StoreError> {
        let text = serde_json::to_vec(self).unwrap_or_default();
        write_atomic(&PodDir::context(dir.run()), &text)
    }

    /// Reads it from a pod's run directory.
    ///
    /// # Errors
    /// If the file is missing or is not what [`Context::write`] wrote.
    pub fn read(run: &Path) -> std::io::Result<Context> {
        let text = std::fs::read(PodDir::context(run))?;
        serde_json::from_slice(&text).map_err(Into::into)
    }
}
