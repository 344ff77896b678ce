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

/// The part of the environment that a pull needs: where credentials are, and the way out. Nothing else of the
/// environment of `podbox up` reaches a pod's processes.
pub fn kept_environment() -> impl Iterator<Item = (String, String)> {
    let wanted = |name: &str| {
        let name = name.to_ascii_uppercase();
        let prefixes = ["REGISTRY_", "DOCKER_", "CONTAINERS_", "XDG_"];
        name == "HOME" || name.ends_with("_PROXY") || prefixes.iter().any(|prefix| name.starts_with(prefix))
    };
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(move |(name, _)| wanted(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::Pod;
    use crate::supervisor::machine::Memory;

    fn read<T: serde::de::DeserializeOwned>(text: &str) -> T {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_pod_that_an_older_podbox_has_started_can_be_taken_over() {
        let context: Context = read(include_str!("testdata/older/context.json"));
        let pod: Pod = read(include_str!("testdata/older/pod.json"));
        let memory: Memory = read(include_str!("testdata/older/machine.json"));
        assert_eq!((context.uid, pod.containers.len()), (pod.uid, memory.containers.len()));
    }
}
