//! Image references: what may stand in `image:`, and what it means.
//!
//! The grammar of registry references is that of the distribution project's `reference` package:
//!
//! ```text
//! reference := [domain "/"] path [":" tag] ["@" digest]
//! ```
//!
//! The first component is a domain only if it has a dot or a colon, is `localhost`, or has an upper-case
//! letter; everything else lives on docker.io, and a bare name there below `library/`. So `nginx` means
//! `docker.io/library/nginx:latest`. Besides these there are names for what is not in a registry:
//! `podbox.local/toolbox`, `podbox.local/host`, `oci:DIR[:TAG]`, `docker-archive:FILE[:NAME]`, `rootfs:DIR`.
//! Only those with a path look at the disk: for which of their colons ends it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::digest;

/// The registry of names without one.
pub(crate) const DEFAULT_REGISTRY: &str = "docker.io";
/// Names below this are made by podbox itself or by its user; no registry is asked.
pub(crate) const LOCAL_REGISTRY: &str = "podbox.local";

const MAX_NAME: usize = 255;
const MAX_TAG: usize = 128;

/// A parsed image reference. `Display` is the normalised form, which parses to the same value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// In a registry, or loaded under such a name.
    Registry(Name),
    /// podbox's own binary and its applets.
    Toolbox,
    /// The host's root directory, read-only below each container.
    Host,
    /// An OCI image layout directory and, where it holds several images, the `ref.name` of one.
    OciLayout(PathBuf, Option<String>),
    /// A file as `docker save` writes it, and the name of one image in it.
    DockerArchive(PathBuf, Option<String>),
    /// A directory that is a root file system already; used in place, never written.
    Rootfs(PathBuf),
}

/// A registry reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// `host[:port]`.
    pub registry: String,
    /// `library/nginx`.
    pub repository: String,
    /// `latest` where neither tag nor digest was given; `None` where a digest was.
    pub tag: Option<String>,
    /// `sha256:…`.
    pub digest: Option<String>,
    /// Written without a registry, so that search lists and aliases of registries.conf apply.
    pub short: Option<String>,
}

/// What is wrong with a reference. Wording follows the distribution project's, which kubelets print.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReferenceError {
    /// Nothing there.
    #[error("the name is empty")]
    Empty,
    /// Not in the grammar.
    #[error("invalid reference format")]
    Format,
    /// Not in the grammar, but would be in lower case.
    #[error("invalid reference format: repository name must be lowercase")]
    Uppercase,
    /// More than 255 bytes before the tag.
    #[error("repository name must not be more than {MAX_NAME} characters")]
    TooLong,
    /// Would be taken for an image id.
    #[error("repository name cannot be a 64-byte hexadecimal string")]
    LooksLikeId,
    /// A digest that is not SHA-256, or not one at all.
    #[error("unsupported digest: only sha256 with 64 lower-case hexadecimal digits")]
    Digest,
    /// `oci:` and its like without a path.
    #[error("the path is missing")]
    NoPath,
    /// A relative path, and the working directory is unknown.
    #[error("the path is relative and there is no working directory")]
    NoWorkingDirectory,
}

/// How references begin that name a file or a directory.
const PATH_SCHEMES: [&str; 3] = ["oci:", "docker-archive:", "rootfs:"];

impl Reference {
    /// `text` with a path that starts from `directory`, or from the working directory if that is relative too;
    /// `None` if it names no path, or an absolute one.
    pub fn rooted(text: &str, directory: &Path) -> Option<String> {
        let (scheme, rest) =
            PATH_SCHEMES.iter().find_map(|scheme| Some((scheme, text.strip_prefix(scheme)?)))?;
        if rest.is_empty() || rest.starts_with([':', '/']) {
            return None;
        }
        let rest = rest.strip_prefix("./").unwrap_or(rest);
        let path = std::path::absolute(directory.join(rest)).ok()?;
        Some(format!("{scheme}{}", path.to_str()?))
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Reference, ReferenceError> {
        if let Some(rest) = text.strip_prefix("oci:") {
            let (path, tag) = split_path(rest)?;
            return Ok(Reference::OciLayout(path, tag));
        }
        if let Some(rest) = text.strip_prefix("docker-archive:") {
            let (path, name) = split_path(rest)?;
            let name = name.map(|name| Name::parse(&name).map(|name| name.to_string())).transpose()?;
            return Ok(Reference::DockerArchive(path, name));
        }
        if let Some(rest) = text.strip_prefix("rootfs:") {
            return Ok(Reference::Rootfs(absolute(rest)?));
        }
        let name = Name::parse(text)?;
        let latest = name.digest.is_none() && name.tag.as_deref() == Some("latest");
        Ok(match (name.registry.as_str(), name.repository.as_str()) {
            (LOCAL_REGISTRY, "toolbox") if latest => Reference::Toolbox,
            (LOCAL_REGISTRY, "host") if latest => Reference::Host,
            _ => Reference::Registry(name),
        })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let with_suffix = |f: &mut fmt::Formatter<'_>, scheme: &str, path: &Path, suffix: &Option<String>| {
            write!(f, "{scheme}:{}", path.display())?;
            suffix.as_ref().map_or(Ok(()), |suffix| write!(f, ":{suffix}"))
        };
        match self {
            Reference::Registry(name) => name.fmt(f),
            Reference::Toolbox => f.write_str("podbox.local/toolbox:latest"),
            Reference::Host => f.write_str("podbox.local/host:latest"),
            Reference::OciLayout(path, tag) => with_suffix(f, "oci", path, tag),
            Reference::DockerArchive(path, name) => with_suffix(f, "docker-archive", path, name),
            Reference::Rootfs(path) => write!(f, "rootfs:{}", path.display()),
        }
    }
}

impl Name {
    /// Parses a registry reference and fills in what docker would.
    pub fn parse(text: &str) -> Result<Name, ReferenceError> {
        if text.is_empty() {
            return Err(ReferenceError::Empty);
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (text, None),
        };
        if digest.is_some_and(|digest| digest::hex(digest).is_none()) {
            return Err(ReferenceError::Digest);
        }
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (rest, None),
        };
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(ReferenceError::Format);
        }
        let (domain, path) = split_domain(name);
        check_name(domain, path, name)?;
        let registry = match domain {
            None | Some("index.docker.io") => DEFAULT_REGISTRY,
            Some(domain) => domain,
        };
        let repository = match registry {
            DEFAULT_REGISTRY if !path.contains('/') => format!("library/{path}"),
            _ => path.to_owned(),
        };
        let tag = match (tag, digest) {
            (_, Some(_)) => None,
            (Some(tag), None) => Some(tag.to_owned()),
            (None, None) => Some("latest".to_owned()),
        };
        Ok(Name {
            registry: registry.to_owned(),
            repository,
            tag,
            digest: digest.map(str::to_owned),
            short: domain.is_none().then(|| path.to_owned()),
        })
    }

    /// `registry/repository`, without tag or digest.
    pub fn familiar_repository(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// What to ask a registry for: the digest where there is one, else the tag.
    pub fn tag_or_digest(&self) -> &str {
        self.digest.as_deref().or(self.tag.as_deref()).unwrap_or("latest")
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        match (&self.digest, &self.tag) {
            (Some(digest), _) => write!(f, "@{digest}"),
            (None, Some(tag)) => write!(f, ":{tag}"),
            (None, None) => Ok(()),
        }
    }
}

fn split_domain(name: &str) -> (Option<&str>, &str) {
    match name.split_once('/') {
        Some((first, rest))
            if first.contains(['.', ':'])
                || first == "localhost"
                || first.bytes().any(|b| b.is_ascii_uppercase()) =>
        {
            (Some(first), rest)
        }
        _ => (None, name),
    }
}

fn check_name(domain: Option<&str>, path: &str, name: &str) -> Result<(), ReferenceError> {
    if !path.split('/').all(is_component) {
        let lower = path.to_ascii_lowercase();
        let only_case = lower != path && lower.split('/').all(is_component);
        return Err(if only_case { ReferenceError::Uppercase } else { ReferenceError::Format });
    }
    if domain.is_some_and(|domain| !is_domain(domain)) {
        return Err(ReferenceError::Format);
    }
    if name.len() > MAX_NAME {
        return Err(ReferenceError::TooLong);
    }
    if domain.is_none() && path.len() == 64 && path.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(ReferenceError::LooksLikeId);
    }
    Ok(())
}

/// Runs of `[a-z0-9]`, separated by `.`, `_`, `__` or any number of `-`.
fn is_component(component: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = component.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    if !alphanumeric(*first) || !alphanumeric(*last) {
        return false;
    }
    component
        .split(|c: char| c.is_ascii() && alphanumeric(c as u8))
        .all(|separator| matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|b| b == b'-'))
}

fn is_domain(domain: &str) -> bool {
    let (host, port) = match domain.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (domain, None),
    };
    if port.is_some_and(|port| port.is_empty() || !port.bytes().all(|b| b.is_ascii_digit())) {
        return false;
    }
    if let Some(v6) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        return v6.parse::<std::net::Ipv6Addr>().is_ok();
    }
    host.split('.').all(|label| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    })
}

fn is_tag(tag: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    tag.len() <= MAX_TAG
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|b| word(b) || b == b'.' || b == b'-')
}

/// `PATH[:REST]`. skopeo takes the first colon for the end of the path; here a colon belongs to the path where the
/// disk says so, because a relative path is put behind its manifest's directory, whose name nobody chose for podbox.
fn split_path(text: &str) -> Result<(PathBuf, Option<String>), ReferenceError> {
    let (path, rest) = match path_end(text) {
        Some(end) => (&text[..end], &text[end + 1..]),
        None => (text, ""),
    };
    Ok((absolute(path)?, (!rest.is_empty()).then(|| rest.to_owned())))
}

/// Where the colon is that ends the path: in the first component that is not there with all its colons, the last
/// colon behind a name that is there; the first one if none is, so that the error names what was meant.
fn path_end(text: &str) -> Option<usize> {
    let is_there = |end: usize| Path::new(&text[..end]).exists();
    let mut start = 0;
    for component in text.split('/') {
        let end = start + component.len();
        if component.contains(':') && !is_there(end) {
            let colons = component.match_indices(':').map(|(at, _)| start + at);
            return colons.clone().rfind(|colon| is_there(*colon)).or_else(|| colons.min());
        }
        start = end + 1;
    }
    None
}

fn absolute(path: &str) -> Result<PathBuf, ReferenceError> {
    if path.is_empty() {
        return Err(ReferenceError::NoPath);
    }
    std::path::absolute(path).map_err(|_| ReferenceError::NoWorkingDirectory)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn normal(text: &str) -> Result<String, ReferenceError> {
        text.parse::<Reference>().map(|reference| reference.to_string())
    }

    #[test]
    fn names_are_completed_as_docker_completes_them() {
        for (given, expected) in [
            ("nginx", "docker.io/library/nginx:latest"),
            ("nginx:1.27", "docker.io/library/nginx:1.27"),
            ("index.docker.io/nginx", "docker.io/library/nginx:latest"),
            ("luksa/http-go", "docker.io/luksa/http-go:latest"),
            ("localhost/mine", "localhost/mine:latest"),
            ("localhost:5000/mine", "localhost:5000/mine:latest"),
            ("[::1]:5000/mine", "[::1]:5000/mine:latest"),
            ("registry.k8s.io/pause:3.10", "registry.k8s.io/pause:3.10"),
            ("podbox.local/toolbox", "podbox.local/toolbox:latest"),
            ("podbox.local/toolbox:latest", "podbox.local/toolbox:latest"),
            ("oci:/a/b:v1", "oci:/a/b:v1"),
            ("docker-archive:/a.tar:x", "docker-archive:/a.tar:docker.io/library/x:latest"),
            ("rootfs:/srv/root", "rootfs:/srv/root"),
        ] {
            assert_eq!(normal(given).as_deref(), Ok(expected), "{given}");
        }
    }

    #[test]
    fn relative_paths_start_from_the_given_directory() {
        let rooted = |text| Reference::rooted(text, Path::new("/srv/app"));
        for (given, expected) in [
            ("oci:image:v1", "oci:/srv/app/image:v1"),
            ("oci:./image", "oci:/srv/app/image"),
            ("docker-archive:../a.tar:x", "docker-archive:/srv/app/../a.tar:x"),
            ("rootfs:root", "rootfs:/srv/app/root"),
        ] {
            assert_eq!(rooted(given).as_deref(), Some(expected));
        }
        for absolute in ["oci:/image", "rootfs:/", "nginx", "a/b:c", "oci:", "oci::v1"] {
            assert_eq!(rooted(absolute), None, "{absolute}");
        }
        let here = std::env::current_dir().unwrap();
        let relative = Reference::rooted("rootfs:root", Path::new("sub"));
        assert_eq!(relative, Some(format!("rootfs:{}/sub/root", here.display())));
    }

    #[test]
    fn a_colon_belongs_to_the_path_where_there_is_such_a_path() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().to_str().unwrap();
        for name in ["plain", "a:b/layout", "a:b/one:two", "a:b/one", "a"] {
            std::fs::create_dir_all(directory.path().join(name)).unwrap();
        }
        for (given, path, tag) in [
            ("plain:v1", "plain", Some("v1")),
            ("plain:registry.example/x:3", "plain", Some("registry.example/x:3")),
            ("a:b/layout", "a:b/layout", None),
            ("a:b/layout:v1", "a:b/layout", Some("v1")),
            ("a:b/layout:", "a:b/layout", None),
            ("a:b/layout:x/y:3", "a:b/layout", Some("x/y:3")),
            ("a:b/one:two", "a:b/one:two", None),
            ("a:b/one:two:v1", "a:b/one:two", Some("v1")),
            ("a:b/one:three", "a:b/one", Some("three")),
            // What is not there is missed where it was looked for.
            ("a:b/none:v1", "a:b/none", Some("v1")),
            ("a:c/none:v1", "a", Some("c/none:v1")),
            ("none:x/y:3", "none", Some("x/y:3")),
        ] {
            let expected = Reference::OciLayout(directory.path().join(path), tag.map(str::to_owned));
            let reference: Reference = format!("oci:{root}/{given}").parse().unwrap();
            assert_eq!(reference, expected, "{given}");
            assert_eq!(reference.to_string().parse(), Ok(expected), "{given}");
        }
    }

    #[test]
    fn a_digest_makes_the_tag_irrelevant() {
        let digest = format!("sha256:{}", "a".repeat(64));
        assert_eq!(normal(&format!("x:1@{digest}")), Ok(format!("docker.io/library/x@{digest}")));
    }

    #[test]
    fn what_is_not_a_reference_says_why() {
        for (given, expected) in [
            ("", ReferenceError::Empty),
            ("Nginx", ReferenceError::Uppercase),
            ("nginx:", ReferenceError::Format),
            ("nginx:-x", ReferenceError::Format),
            ("a//b", ReferenceError::Format),
            ("a/../b", ReferenceError::Format),
            ("-a", ReferenceError::Format),
            ("a b", ReferenceError::Format),
            ("http://x/y", ReferenceError::Format),
            ("x@sha256:12", ReferenceError::Digest),
            ("oci:", ReferenceError::NoPath),
            ("oci::tag", ReferenceError::NoPath),
        ] {
            assert_eq!(normal(given), Err(expected), "{given}");
        }
        assert_eq!(normal(&"a".repeat(64)), Err(ReferenceError::LooksLikeId));
        assert_eq!(normal(&format!("x/{}", "b".repeat(300))), Err(ReferenceError::TooLong));
    }

    proptest! {
        #[test]
        fn the_normalised_form_is_a_fixed_point(text in "[a-zA-Z0-9.:/@_-]{1,40}") {
            if let Ok(once) = normal(&text) {
                prop_assert_eq!(normal(&once), Ok(once.clone()));
            }
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC{0,60}") {
            let _ = normal(&text);
        }
    }
}
