//! Manifests and pod names, as commands take them.

use std::fs;
use std::io::Read;
use std::path::Path;

use crate::config::Settings;
use crate::manifest::{self, Color, Loaded, Networks, Options, Severity, Source, Strictness};
use crate::report;

use super::{Failure, Session, pods};

/// How the names of manifests end.
const ENDINGS: [&str; 3] = [".yaml", ".yml", ".json"];

/// Reads manifests from files, directories and `-`.
pub(super) fn sources(paths: &[String]) -> Result<Vec<Source>, Failure> {
    let mut sources = Vec::new();
    for path in paths {
        if path == "-" {
            let mut text = Vec::new();
            let read = std::io::stdin().lock().read_to_end(&mut text);
            read.map_err(|error| Failure::wrong(format!("read standard input: {error}")))?;
            sources.push(Source::new("<stdin>", text));
        } else if path.starts_with("http://") || path.starts_with("https://") {
            return Err(Failure::wrong(format!("podbox does not fetch manifests: {path}"))
                .hint(format!("curl -fsSL {path} | podbox up -")));
        } else if Path::new(path).is_dir() {
            sources.extend(directory(path)?);
        } else {
            sources.push(file(path)?);
        }
    }
    Ok(sources)
}

/// Every manifest in a directory, in the order of their names, as kubectl takes them.
fn directory(path: &str) -> Result<Vec<Source>, Failure> {
    let entries = fs::read_dir(path).map_err(|error| unreadable(path, &error))?;
    let mut files: Vec<String> = entries
        .flatten()
        .filter_map(|entry| entry.path().to_str().map(str::to_owned))
        .filter(|name| ENDINGS.iter().any(|ending| name.ends_with(ending)))
        .collect();
    if files.is_empty() {
        return Err(Failure::wrong(format!("{path} holds no .yaml, .yml or .json file")));
    }
    files.sort();
    files.iter().map(|path| file(path)).collect()
}

fn file(path: &str) -> Result<Source, Failure> {
    let text = fs::read(path).map_err(|error| unreadable(path, &error))?;
    let directory = Path::new(path).parent().unwrap_or(Path::new(""));
    Ok(Source::new(path, text).in_directory(directory))
}

fn unreadable(path: &str, error: &std::io::Error) -> Failure {
    Failure::wrong(format!("read {path}: {}", report::chain(error)))
}

/// Reads and checks manifests; all mistakes come in one failure. What a kubelet would refuse is warned of, save the
/// kernel parameters that are allowed here.
pub(super) fn load(
    paths: &[String],
    strictness: Strictness,
    allowed_sysctls: &[String],
) -> Result<Loaded, Failure> {
    let options = Options { allowed_sysctls: allowed_sysctls.to_vec(), strictness, ..Options::default() };
    load_sources(&sources(paths)?, &options)
}

/// The same, for pods that are to be on the networks of this host.
pub(super) fn load_for(
    settings: &Settings,
    paths: &[String],
    strictness: Strictness,
    allowed_sysctls: &[String],
) -> Result<Loaded, Failure> {
    let options = Options {
        allowed_sysctls: allowed_sysctls.to_vec(),
        networks: networks(settings),
        is_of_host: Some(netplugin::is_address_of_host),
        services: Some(settings.service_bounds()),
        strictness,
        ..Options::default()
    };
    load_sources(&sources(paths)?, &options)
}

/// What networks pods get here.
pub(super) fn networks(settings: &Settings) -> Networks {
    match &settings.chain {
        Some(chain) => Networks::Chain { name: chain.name.clone(), maps_ports: chain.maps_ports() },
        None => Networks::Own(settings.networks().cloned().collect()),
    }
}

/// The same of texts that are at hand.
pub(super) fn load_sources(sources: &[Source], options: &Options) -> Result<Loaded, Failure> {
    let color = anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never;
    let color = if color { Color::Ansi } else { Color::Never };
    match manifest::load(sources, options) {
        Ok(loaded) => {
            if !loaded.warnings.0.is_empty() {
                anstream::eprintln!("{}", loaded.warnings.render(color));
            }
            Ok(loaded)
        }
        Err(mistakes) => {
            anstream::eprintln!("{}", mistakes.render(color));
            let count = mistakes.0.iter().filter(|mistake| mistake.severity == Severity::Error).count();
            let plural = if count == 1 { "" } else { "s" };
            Err(Failure::wrong(format!("{count} mistake{plural} in the manifest; nothing was changed")))
        }
    }
}

/// The pods of a manifest, as (namespace, name).
pub(super) fn pods_of(path: &str) -> Result<Vec<(String, String)>, Failure> {
    // A pod may have been started although its manifest has fields that nobody knows.
    let loaded = load(&[path.to_owned()], Strictness::Ignore, &[])?;
    Ok(loaded.pods.into_iter().map(|loaded| (loaded.pod.namespace, loaded.pod.name)).collect())
}

/// Whether a word means pods as a kind: `get pods`, `describe pod web`.
pub(super) fn is_kind(word: &str) -> bool {
    matches!(word.to_ascii_lowercase().as_str(), "pod" | "pods" | "po")
}

/// Kinds of other objects that people who know kubectl may ask for.
pub(super) const OTHER_KINDS: [&str; 21] = [
    "deployment",
    "deployments",
    "deploy",
    "job",
    "jobs",
    "cronjob",
    "cronjobs",
    "cj",
    "statefulset",
    "statefulsets",
    "sts",
    "daemonset",
    "daemonsets",
    "ds",
    "replicaset",
    "rs",
    "node",
    "nodes",
    "event",
    "events",
    "ev",
];

/// A pod's name as commands take it: `web`, `pod/web`, `Pod/web`, `team/web`.
pub(super) fn pod_name<'a>(text: &'a str, namespace: &'a str) -> (&'a str, &'a str) {
    let text = text.split_once('/').filter(|(kind, _)| is_kind(kind)).map_or(text, |(_, name)| name);
    text.split_once('/').unwrap_or((namespace, text))
}

/// Whether an argument means a manifest rather than a pod. A plain word never does: what happens to lie in the
/// working directory must not hide a pod of that name. A pod's name may end as manifests' do: then it is meant where it
/// is called a pod, or where there is no such file.
pub(super) fn is_file(session: &Session, text: &str, namespace: &str) -> bool {
    let beginnings = ["./", "../", "http://", "https://"];
    if text == "-"
        || beginnings.iter().any(|beginning| text.starts_with(beginning))
        || Path::new(text).is_absolute()
    {
        return true;
    }
    let there = Path::new(text).exists();
    let known = || {
        let (namespace, name) = pod_name(text, namespace);
        pods::find(session, namespace, name).is_ok()
    };
    match (ENDINGS.iter().any(|ending| text.ends_with(ending)), names_a_kind(text)) {
        (true, true) => there && !known(),
        (true, false) => there || !known(),
        (false, true) => false,
        (false, false) => there && text.contains('/'),
    }
}

/// Whether a word is of the form `pod/web`.
fn names_a_kind(text: &str) -> bool {
    text.split_once('/').is_some_and(|(kind, _)| is_kind(kind))
}

/// Ends with a failure unless this process is root.
pub(super) fn require_root(what: &str) -> Result<(), Failure> {
    if nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    Err(Failure::cannot(format!("{what}: podbox must run as root")).hint("try again with sudo"))
}
