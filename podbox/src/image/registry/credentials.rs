//! Who we are to a registry: the files that `podman login` and `docker login` write.
//!
//! Source: containers-auth.json(5) and docker's config.json. Keys are `host[:port]` or, in containers'
//! file, `host[:port]/namespace/…`; the longest that matches wins. Credential helpers are programs, and
//! podbox runs none: a registry whose secret lies with one is asked without.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::RegistryError;
use crate::image::reference::DEFAULT_REGISTRY;

/// docker.io's key in docker's own file.
const HUB_KEY: &str = "https://index.docker.io/v1/";

/// A user's name and secret, ready for a `Basic` header.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Credentials {
    encoded: String,
}

impl Credentials {
    /// The value of an `Authorization` header.
    pub(crate) fn header(&self) -> String {
        format!("Basic {}", self.encoded)
    }
}

/// The secrets of one user, from the first file that has one for the registry asked.
#[derive(Default)]
pub(crate) struct Keyring {
    files: Vec<AuthFile>,
}

#[derive(Default, Deserialize)]
struct AuthFile {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
}

#[derive(Default, Deserialize)]
struct Entry {
    #[serde(default)]
    auth: Option<String>,
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    password: Option<String>,
}

impl Keyring {
    /// Takes the secrets of those that the pull is for, which come first; then this file alone, or else the one that
    /// `REGISTRY_AUTH_FILE` names, or else those that podman and docker use, in podman's order.
    ///
    /// A secret that is no configuration opens nothing, as to a kubelet.
    pub(crate) fn load(file: Option<&Path>, secrets: &[String]) -> Result<Keyring, RegistryError> {
        let mut files: Vec<AuthFile> =
            secrets.iter().filter_map(|secret| serde_json::from_str(secret).ok()).collect();
        files.append(&mut Keyring::of_files(file)?);
        Ok(Keyring { files })
    }

    fn of_files(file: Option<&Path>) -> Result<Vec<AuthFile>, RegistryError> {
        let variable =
            |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        if let Some(only) = file.map(Path::to_owned).or_else(|| variable("REGISTRY_AUTH_FILE")) {
            let text = fs::read(&only).map_err(|error| RegistryError::Configuration {
                path: only.clone(),
                reason: error.to_string(),
            })?;
            return Ok(vec![parse(&text, &only)?]);
        }
        let home = variable("HOME").unwrap_or_else(|| PathBuf::from("/root"));
        let runtime = variable("XDG_RUNTIME_DIR").unwrap_or_else(|| PathBuf::from("/run"));
        let config = variable("XDG_CONFIG_HOME").unwrap_or_else(|| home.join(".config"));
        let docker = variable("DOCKER_CONFIG").unwrap_or_else(|| home.join(".docker"));
        let mut files = Vec::new();
        for path in [
            runtime.join("containers/auth.json"),
            PathBuf::from("/run/containers/0/auth.json"),
            config.join("containers/auth.json"),
            docker.join("config.json"),
        ] {
            if let Ok(text) = fs::read(&path) {
                files.push(parse(&text, &path)?);
            }
        }
        Ok(files)
    }

    /// The secret for a repository, if there is one.
    pub(crate) fn find(&self, registry: &str, repository: &str) -> Option<Credentials> {
        let whole = format!("{registry}/{repository}");
        self.files.iter().find_map(|file| {
            let entry = file
                .auths
                .iter()
                .filter_map(|(key, entry)| {
                    let bare = bare(key);
                    let rest = whole.strip_prefix(bare)?;
                    (rest.is_empty() || rest.starts_with('/')).then_some((bare.len(), entry))
                })
                .max_by_key(|(length, _)| *length)
                .map(|(_, entry)| entry)
                .or_else(|| file.auths.get(HUB_KEY).filter(|_| registry == DEFAULT_REGISTRY))?;
            entry.credentials()
        })
    }
}

impl Entry {
    fn credentials(&self) -> Option<Credentials> {
        if let Some(encoded) = self.auth.as_ref().filter(|encoded| !encoded.is_empty()) {
            return Some(Credentials { encoded: encoded.clone() });
        }
        let (name, secret) = (self.username.as_ref()?, self.password.as_ref()?);
        Some(Credentials { encoded: STANDARD.encode(format!("{name}:{secret}")) })
    }
}

/// docker writes keys with a scheme and an API version now and then.
fn bare(key: &str) -> &str {
    let key = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    key.trim_end_matches('/').trim_end_matches("/v1").trim_end_matches("/v2")
}

fn parse(text: &[u8], path: &Path) -> Result<AuthFile, RegistryError> {
    serde_json::from_slice(text)
        .map_err(|error| RegistryError::Configuration { path: path.to_owned(), reason: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keyring(text: &str) -> Keyring {
        Keyring { files: vec![parse(text.as_bytes(), Path::new("auth.json")).expect("parses")] }
    }

    #[test]
    fn the_longest_key_wins() {
        let ring = keyring(
            r#"{"auths":{"r.example":{"auth":"aG9zdA=="},"r.example/team":{"auth":"dGVhbQ=="},
                "https://other.example/v2/":{"username":"u","password":"p"}}}"#,
        );
        let header = |registry, repository| ring.find(registry, repository).map(|found| found.header());
        assert_eq!(header("r.example", "team/x").as_deref(), Some("Basic dGVhbQ=="));
        assert_eq!(header("r.example", "teams/x").as_deref(), Some("Basic aG9zdA=="));
        assert_eq!(header("other.example", "x").as_deref(), Some("Basic dTpw"));
        assert_eq!(header("else.example", "x"), None);
    }

    #[test]
    fn the_secrets_of_a_pull_come_before_all_files() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(&file, r#"{"auths":{"r.example":{"auth":"ZmlsZQ=="},"f.example":{"auth":"ZmlsZQ=="}}}"#)
            .unwrap();
        let secrets = ["no json".to_owned(), r#"{"auths":{"r.example":{"auth":"cG9k"}}}"#.to_owned()];
        let ring = Keyring::load(Some(file.path()), &secrets).unwrap();
        let header = |registry| ring.find(registry, "x").map(|found| found.header());
        assert_eq!(header("r.example").as_deref(), Some("Basic cG9k"));
        assert_eq!(header("f.example").as_deref(), Some("Basic ZmlsZQ=="));
    }

    #[test]
    fn docker_hub_is_found_under_its_old_key() {
        let ring = keyring(r#"{"auths":{"https://index.docker.io/v1/":{"auth":"aHVi"}},"credsStore":"x"}"#);
        assert!(ring.find("docker.io", "library/nginx").is_some());
    }
}
