//! Which places to ask for an image: containers' `registries.conf`.
//!
//! Source: containers-registries.conf(5), version 2 of the format. The file and then, in the order of their
//! names, the `*.conf` of its drop-in directory (`registries.conf.d` beside it) are read; a later
//! `[[registry]]` replaces an earlier one of the same prefix. The longest prefix that matches wins; its
//! mirrors are asked in their order, then the location itself.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

use serde::Deserialize;

use super::RegistryError;
use crate::image::reference::{DEFAULT_REGISTRY, Name};

/// Where the file is when nobody says otherwise.
const DEFAULT_FILE: &str = "/etc/containers/registries.conf";

/// A repository on a server, and what to ask it for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    /// `host[:port]` as configured; the server of `docker.io` has another name, see `Client`.
    pub(crate) registry: String,
    pub(crate) repository: String,
    /// Tag or digest.
    pub(crate) wanted: String,
    /// Certificates are not checked, and plain HTTP will do.
    pub(crate) insecure: bool,
    /// What this image is called without mirrors: the repository of its `repoDigest`.
    pub(crate) canonical: String,
}

impl Source {
    /// For people.
    pub(crate) fn display(&self) -> String {
        let separator = if self.wanted.contains(':') { '@' } else { ':' };
        format!("{}/{}{separator}{}", self.registry, self.repository, self.wanted)
    }
}

/// The merged configuration.
#[derive(Clone, Debug, Default)]
pub(crate) struct Conf {
    registries: Vec<Registry>,
    search: Vec<String>,
    aliases: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct File {
    unqualified_search_registries: Option<Vec<String>>,
    #[serde(default)]
    registry: Vec<Registry>,
    #[serde(default)]
    aliases: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Registry {
    #[serde(default)]
    prefix: String,
    #[serde(default)]
    location: String,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    blocked: bool,
    #[serde(default)]
    mirror_by_digest_only: bool,
    #[serde(default)]
    mirror: Vec<Mirror>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Mirror {
    #[serde(default)]
    location: String,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    pull_from_mirror: PullFrom,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum PullFrom {
    #[default]
    #[serde(alias = "")]
    All,
    DigestOnly,
    TagOnly,
}

impl Conf {
    /// Reads this file, or else the one that `PODBOX_REGISTRIES_CONF` or `CONTAINERS_REGISTRIES_CONF`
    /// names, or else the system's. A file that is not there is empty, unless it was asked for.
    pub(crate) fn load(file: Option<&Path>) -> Result<Conf, RegistryError> {
        let named = file.map(Path::to_owned).or_else(|| {
            ["PODBOX_REGISTRIES_CONF", "CONTAINERS_REGISTRIES_CONF"]
                .iter()
                .find_map(|variable| std::env::var_os(variable).filter(|value| !value.is_empty()))
                .map(PathBuf::from)
        });
        let main = named.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_FILE));
        let mut conf = Conf::default();
        match fs::read_to_string(&main) {
            Ok(text) => conf.merge(&text, &main)?,
            Err(error) if named.is_none() && error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(RegistryError::Configuration { path: main, reason: error.to_string() }),
        }
        let mut directory = main.into_os_string();
        directory.push(".d");
        let mut dropins: Vec<PathBuf> = match fs::read_dir(&directory) {
            Ok(entries) => entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect(),
            Err(_) => Vec::new(),
        };
        dropins.retain(|path| path.extension().is_some_and(|extension| extension == "conf"));
        dropins.sort();
        for path in dropins {
            let text = fs::read_to_string(&path).map_err(|error| RegistryError::Configuration {
                path: path.clone(),
                reason: error.to_string(),
            })?;
            conf.merge(&text, &path)?;
        }
        Ok(conf)
    }

    fn merge(&mut self, text: &str, path: &Path) -> Result<(), RegistryError> {
        let wrong = |reason: String| RegistryError::Configuration { path: path.to_owned(), reason };
        let file: File = toml::from_str(text).map_err(|error| wrong(error.to_string().trim().to_owned()))?;
        for mut registry in file.registry {
            if registry.prefix.is_empty() {
                registry.prefix.clone_from(&registry.location);
            }
            if registry.prefix.is_empty() {
                return Err(wrong("a [[registry]] has neither prefix nor location".to_owned()));
            }
            if registry.location.is_empty() && !registry.prefix.starts_with("*.") {
                registry.location.clone_from(&registry.prefix);
            }
            self.registries.retain(|other| other.prefix != registry.prefix);
            self.registries.push(registry);
        }
        if let Some(search) = file.unqualified_search_registries {
            self.search = search;
        }
        self.aliases.extend(file.aliases);
        Ok(())
    }

    /// Everywhere this image may be had, in the order to ask.
    pub(crate) fn sources(&self, name: &Name) -> Result<Vec<Source>, RegistryError> {
        let mut out = Vec::new();
        for candidate in self.candidates(name) {
            self.add_sources(&candidate, &mut out)?;
        }
        Ok(out)
    }

    /// What a short name may stand for: its alias alone, or each search registry, or docker.io.
    fn candidates(&self, name: &Name) -> Vec<Name> {
        let Some(short) = &name.short else { return vec![name.clone()] };
        let qualified = |repository: &str| {
            let mut full = Name::parse(repository).ok()?;
            full.tag.clone_from(&name.tag);
            full.digest.clone_from(&name.digest);
            Some(full)
        };
        if let Some(alias) = self.aliases.get(short).and_then(|alias| qualified(alias)) {
            return vec![alias];
        }
        let found: Vec<Name> =
            self.search.iter().filter_map(|registry| qualified(&format!("{registry}/{short}"))).collect();
        if found.is_empty() { vec![name.clone()] } else { found }
    }

    fn add_sources(&self, name: &Name, out: &mut Vec<Source>) -> Result<(), RegistryError> {
        let canonical = name.familiar_repository();
        let best = self
            .registries
            .iter()
            .filter_map(|registry| {
                matched(&registry.prefix, &canonical, &name.registry).map(|end| (end, registry))
            })
            .max_by_key(|(_, registry)| registry.prefix.len());
        let mut add = |whole: &str, insecure: bool| {
            let (registry, repository) = whole.split_once('/').unwrap_or((whole, ""));
            let wanted = name.tag_or_digest().to_owned();
            out.push(Source {
                registry: registry.to_owned(),
                repository: repository.to_owned(),
                wanted,
                insecure,
                canonical: canonical.clone(),
            });
        };
        let Some((end, entry)) = best else {
            add(&canonical, false);
            return Ok(());
        };
        if entry.blocked {
            return Err(RegistryError::Blocked { repository: canonical, prefix: entry.prefix.clone() });
        }
        let rest = &canonical[end..];
        for mirror in entry.mirror.iter().filter(|mirror| !mirror.location.is_empty()) {
            let by_digest = name.digest.is_some();
            let digest_only = entry.mirror_by_digest_only || mirror.pull_from_mirror == PullFrom::DigestOnly;
            let tag_only = mirror.pull_from_mirror == PullFrom::TagOnly;
            if (digest_only && !by_digest) || (tag_only && by_digest) {
                continue;
            }
            add(&format!("{}{rest}", mirror.location), mirror.insecure);
        }
        // A wildcard without a location stands for every host that it matches.
        let whole =
            if entry.location.is_empty() { canonical.clone() } else { format!("{}{rest}", entry.location) };
        add(&whole, entry.insecure);
        Ok(())
    }
}

/// Where the matched part of `repository` ends, if the prefix matches at a component's end.
fn matched(prefix: &str, repository: &str, host: &str) -> Option<usize> {
    if let Some(domain) = prefix.strip_prefix('*') {
        let bare = host.rsplit_once(':').map_or(host, |(bare, _)| bare);
        return (domain.starts_with('.') && (bare.ends_with(domain) || host.ends_with(domain)))
            .then_some(host.len());
    }
    let rest = repository.strip_prefix(prefix)?;
    // `docker.io` alone is written without the namespace that short names get.
    (rest.is_empty() || rest.starts_with('/') || prefix.ends_with('/')).then_some(prefix.len())
}

/// The server behind a registry's name.
pub(crate) fn server(registry: &str) -> &str {
    if registry == DEFAULT_REGISTRY { "registry-1.docker.io" } else { registry }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(conf: &str, name: &str) -> Vec<String> {
        let mut merged = Conf::default();
        merged.merge(conf, Path::new("test.conf")).expect("the configuration parses");
        let name = Name::parse(name).expect("the name parses");
        let sources = merged.sources(&name).expect("sources");
        let shown = |source: &Source| {
            format!("{}{}", source.display(), if source.insecure { " insecure" } else { "" })
        };
        sources.iter().map(shown).collect()
    }

    #[test]
    fn without_configuration_a_name_means_itself() {
        assert_eq!(sources("", "luksa/kubia"), ["docker.io/luksa/kubia:latest"]);
        assert_eq!(sources("", "quay.io/a/b:1"), ["quay.io/a/b:1"]);
    }

    #[test]
    fn mirrors_come_before_the_location() {
        let conf = r#"
            [[registry]]
            prefix = "docker.io"
            location = "docker.io"
            [[registry.mirror]]
            location = "127.0.0.1:5000"
            insecure = true
            [[registry.mirror]]
            location = "mirror.example/hub"
        "#;
        assert_eq!(
            sources(conf, "nginx:1"),
            [
                "127.0.0.1:5000/library/nginx:1 insecure",
                "mirror.example/hub/library/nginx:1",
                "docker.io/library/nginx:1"
            ]
        );
    }

    #[test]
    fn the_longest_prefix_wins_and_ends_at_a_component() {
        let conf = r#"
            [[registry]]
            prefix = "example.com"
            location = "a.example"
            [[registry]]
            prefix = "example.com/foo"
            location = "b.example/bar"
        "#;
        assert_eq!(sources(conf, "example.com/foo/x"), ["b.example/bar/x:latest"]);
        assert_eq!(sources(conf, "example.com/foobar/x"), ["a.example/foobar/x:latest"]);
    }

    #[test]
    fn a_wildcard_matches_subdomains() {
        let conf = "[[registry]]\nprefix = \"*.example.com\"\nlocation = \"proxy.example\"";
        assert_eq!(sources(conf, "a.example.com/x"), ["proxy.example/x:latest"]);
        assert_eq!(sources(conf, "example.com/x"), ["example.com/x:latest"]);
        let plain = "[[registry]]\nprefix = \"*.example.com\"\ninsecure = true";
        assert_eq!(sources(plain, "a.example.com/x"), ["a.example.com/x:latest insecure"]);
    }

    #[test]
    fn short_names_are_searched_unless_they_have_an_alias() {
        let conf = r#"
            unqualified-search-registries = ["quay.io", "docker.io"]
            [aliases]
            "debian" = "registry.example/debian"
        "#;
        assert_eq!(sources(conf, "x:1"), ["quay.io/x:1", "docker.io/library/x:1"]);
        assert_eq!(sources(conf, "debian:12"), ["registry.example/debian:12"]);
        assert_eq!(sources(conf, "docker.io/x:1"), ["docker.io/library/x:1"]);
    }

    #[test]
    fn a_blocked_registry_is_not_asked() {
        let mut conf = Conf::default();
        conf.merge("[[registry]]\nprefix = \"bad.example\"\nblocked = true", Path::new("t")).expect("parses");
        let name = Name::parse("bad.example/x").expect("parses");
        assert!(matches!(conf.sources(&name), Err(RegistryError::Blocked { .. })));
    }

    #[test]
    fn a_mirror_for_digests_is_not_asked_for_tags() {
        let conf = r#"
            [[registry]]
            prefix = "docker.io"
            [[registry.mirror]]
            location = "m.example"
            pull-from-mirror = "digest-only"
        "#;
        let digest = format!("sha256:{}", "0".repeat(64));
        assert_eq!(sources(conf, "a/b:1"), ["docker.io/a/b:1"]);
        assert_eq!(sources(conf, &format!("a/b@{digest}")).len(), 2);
    }
}
