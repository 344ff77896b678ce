//! `podbox completion`: a script for a shell, and the answers to what the shell then asks.
//!
//! The script asks podbox itself at each Tab, so that pods, namespaces and containers are completed too. Nothing of this
//! may fail or print anything else: somebody is typing.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::process::ExitCode;

use clap::{Args, CommandFactory};
use clap_complete::engine::ValueCompleter;
use clap_complete::env::{CompleteEnv, Shells};
use clap_complete::{ArgValueCompleter, CompletionCandidate, PathCompleter};

use crate::config::{self, Flags};
use crate::image;
use crate::store::Store;

use self::line::Line;
use super::kinds::Kind;
use super::{Cli, Failure, names, out, pods, stored};

mod line;

/// What a script sets in the environment of the podbox that it asks.
const VARIABLE: &str = "PODBOX_COMPLETE";

/// Arguments of `completion`.
#[derive(Debug, Args)]
pub(super) struct CompletionArgs {
    /// The shell
    #[arg(value_parser = ["bash", "elvish", "fish", "powershell", "zsh"])]
    shell: String,
}

/// Runs the command.
pub(super) fn run(args: &CompletionArgs) -> Result<ExitCode, Failure> {
    let mut script = Vec::new();
    if let Some(shell) = Shells::builtins().completer(&args.shell) {
        let written = shell.write_registration(VARIABLE, "podbox", "podbox", "podbox", &mut script);
        written.map_err(|error| Failure::host(&error))?;
    }
    out::print(String::from_utf8_lossy(&script))?;
    Ok(ExitCode::SUCCESS)
}

/// Answers a shell that asks what the words so far can become; `None` if nobody asks.
pub(super) fn answer() -> Option<ExitCode> {
    std::env::var_os(VARIABLE)?;
    let directory = std::env::current_dir().ok();
    let asked = CompleteEnv::with_factory(Cli::command).var(VARIABLE);
    match asked.try_complete(std::env::args_os(), directory.as_deref()) {
        Ok(true) => Some(ExitCode::SUCCESS),
        Ok(false) => None,
        Err(_) => Some(ExitCode::FAILURE),
    }
}

/// Completes the names of pods: `web`, `pod/web`, `team/web`.
pub(super) fn pod() -> ArgValueCompleter {
    completer(|line, current| pod_names(line, current, ""))
}

/// Completes the two sides of a copy: a file, or a pod and a colon.
pub(super) fn place() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| {
        let line = Line::of_this_process();
        let mut all = fitting(pod_names(&line, &current.to_string_lossy(), ":"), current);
        all.extend(PathCompleter::any().complete(current));
        all
    })
}

/// Completes what `get`, `down` and the like take: pods, manifests, and for those that show other objects too, kinds
/// and names of that kind.
pub(super) fn target() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| {
        let line = Line::of_this_process();
        let text = current.to_string_lossy();
        if line.is(&["get", "describe", "down"]) {
            let kinds = line.words.first().and_then(|first| Kind::parse_list(first));
            if let Some(kinds) = kinds {
                let names = kinds.into_iter().flat_map(|kind| names_of(&line, kind));
                return fitting(names.collect(), current);
            }
            if let Some((kind, _)) = text.split_once('/').filter(|(kind, _)| Kind::parse(kind).is_some()) {
                let names = Kind::parse(kind).map(|kind| names_of(&line, kind)).unwrap_or_default();
                return fitting(names.into_iter().map(|name| format!("{kind}/{name}")).collect(), current);
            }
        }
        let mut all = BTreeSet::new();
        if line.is(&["get", "describe", "down"]) && line.words.is_empty() {
            // In a list of kinds it is the last one that is being written.
            let before = text.rfind(',').map_or("", |comma| &text[..=comma]);
            all.extend(Kind::ALL.map(|kind| format!("{before}{}", kind.resource())));
        }
        // `restart pod web`
        let behind_a_kind = line.words.first().is_some_and(|word| names::is_kind(word));
        all.extend(if behind_a_kind { names_of(&line, Kind::Pod) } else { pod_names(&line, &text, "") });
        let mut all = fitting(all, current);
        if !behind_a_kind {
            all.extend(PathCompleter::any().complete(current));
        }
        all
    })
}

/// Completes the containers of the pod that is named, of all pods if none is.
pub(super) fn container() -> ArgValueCompleter {
    completer(|line, _| {
        let Some(store) = store(line) else { return BTreeSet::new() };
        let namespace = line.option("namespace").unwrap_or("default");
        let words = line.words.iter().filter(|word| !names::is_kind(word));
        // `cp web:/etc/hosts .`
        let words = words.map(|word| word.split_once(':').map_or(word.as_str(), |(pod, _)| pod));
        let named = words.map(|word| names::pod_name(word, namespace));
        let named = named.filter_map(|(namespace, name)| store.find(namespace, name)).collect::<Vec<_>>();
        let uids = match named.as_slice() {
            [] => store.names().into_iter().map(|(_, _, uid)| uid).collect(),
            _ => named,
        };
        let containers = |found: pods::Found| match found.memory() {
            Some(memory) => memory.complete(found.pod).containers,
            None => found.pod.containers,
        };
        let found = uids.iter().filter_map(|uid| pods::read(&store, uid));
        found.flat_map(containers).map(|container| container.name).collect()
    })
}

/// Completes namespaces.
pub(super) fn namespace() -> ArgValueCompleter {
    completer(|line, _| store(line).map(|store| stored::namespaces(&store)).into_iter().flatten().collect())
}

/// Completes the names of images that are in the store.
pub(super) fn image() -> ArgValueCompleter {
    completer(|line, _| {
        let listed = store(line).and_then(|store| image::Store::open(&store.images()).ok()?.list().ok());
        listed.into_iter().flatten().flat_map(|image| image.reference).collect()
    })
}

/// Completes the formats of `get -o`.
pub(super) fn format() -> ArgValueCompleter {
    completer(|_, _| crate::output::FORMATS.map(str::to_owned).into())
}

/// A completer that knows the line, and offers what begins as the current word does.
fn completer(words: fn(&Line, &str) -> BTreeSet<String>) -> ArgValueCompleter {
    ArgValueCompleter::new(move |current: &OsStr| {
        fitting(words(&Line::of_this_process(), &current.to_string_lossy()), current)
    })
}

fn fitting(words: BTreeSet<String>, current: &OsStr) -> Vec<CompletionCandidate> {
    let current = current.to_string_lossy();
    words.into_iter().filter(|word| word.starts_with(&*current)).map(CompletionCandidate::new).collect()
}

/// Pods' names as commands take them: plain in the namespace of the line, `team/web` in others if none is given, and all
/// with the kind in front if the current word begins so.
fn pod_names(line: &Line, current: &str, end: &str) -> BTreeSet<String> {
    let given = line.option("namespace");
    let kind = current.split_once('/').map(|(kind, _)| kind).filter(|kind| names::is_kind(kind));
    let shown = |(namespace, name, _): (String, String, String)| match kind {
        _ if namespace == given.unwrap_or("default") => {
            Some(kind.map_or_else(|| format!("{name}{end}"), |kind| format!("{kind}/{name}{end}")))
        }
        None if given.is_none() => Some(format!("{namespace}/{name}{end}")),
        _ => None,
    };
    let names = store(line).map(|store| store.names()).unwrap_or_default();
    names.into_iter().filter_map(shown).collect()
}

/// The names of a kind's objects in the namespace of the line.
fn names_of(line: &Line, kind: Kind) -> BTreeSet<String> {
    let Some(store) = store(line) else { return BTreeSet::new() };
    let all = match kind {
        Kind::Pod => store.names().into_iter().map(|(namespace, name, _)| (namespace, name)).collect(),
        Kind::Object(kind) => stored::names(&store, kind),
        Kind::Derived(_) => Vec::new(),
    };
    let namespace = line.option("namespace").unwrap_or("default");
    let here = |(of, _): &(String, String)| !kind.is_namespaced() || of == namespace;
    all.into_iter().filter(here).map(|(_, name)| name).collect()
}

/// The store that the line, the environment and the configuration name.
fn store(line: &Line) -> Option<Store> {
    let path = |option: &str, variable: &str| {
        line.option(option).map(Into::into).or_else(|| std::env::var_os(variable).map(Into::into))
    };
    let flags = Flags {
        root: path("root", "PODBOX_ROOT"),
        run: path("run", "PODBOX_RUN"),
        config: path("config", "PODBOX_CONFIG"),
    };
    config::load(&flags).ok().map(|settings| settings.store)
}
