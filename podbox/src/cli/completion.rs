//! `podbox completion`: a script for a shell, and the answers to what the shell then asks.
//!
//! The script asks podbox itself at each Tab, so that pods, namespaces and containers are completed too.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::process::ExitCode;

use clap::{Args, CommandFactory};
use clap_complete::engine::ValueCompleter;
use clap_complete::env::{CompleteEnv, Shells};
use clap_complete::{ArgValueCandidates, ArgValueCompleter, CompletionCandidate, PathCompleter};

use crate::config::{self, Flags};
use crate::store::Store;

use super::{Cli, Failure, out, pods};

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
        Err(error) => {
            anstream::eprintln!("{error}");
            Some(ExitCode::FAILURE)
        }
    }
}

/// Completes the names of pods.
pub(super) fn pod() -> ArgValueCandidates {
    ArgValueCandidates::new(pod_names)
}

/// Completes the names of pods, and of files.
pub(super) fn pod_or_file() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| {
        let begins = |name: &CompletionCandidate| {
            name.get_value().to_string_lossy().starts_with(&*current.to_string_lossy())
        };
        let mut all: Vec<_> = pod_names().into_iter().filter(begins).collect();
        all.extend(PathCompleter::any().complete(current));
        all
    })
}

/// Completes the names of the pods' containers.
pub(super) fn container() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let of = |store: &Store| {
            let all = store.names().into_iter().filter_map(|(_, _, uid)| pods::read(store, &uid));
            all.flat_map(|found| match found.memory() {
                Some(memory) => memory.complete(found.pod).containers,
                None => found.pod.containers,
            })
            .map(|container| container.name)
            .collect()
        };
        candidates(store().as_ref().map(of).unwrap_or_default())
    })
}

/// Completes the namespaces that there are pods in.
pub(super) fn namespace() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let of = |store: &Store| store.names().into_iter().map(|(namespace, ..)| namespace).collect();
        candidates(store().as_ref().map(of).unwrap_or_default())
    })
}

fn pod_names() -> Vec<CompletionCandidate> {
    let shown = |(namespace, name, _)| match namespace {
        namespace if namespace == "default" => name,
        namespace => format!("{namespace}/{name}"),
    };
    let of = |store: &Store| store.names().into_iter().map(shown).collect();
    candidates(store().as_ref().map(of).unwrap_or_default())
}

fn candidates(words: BTreeSet<String>) -> Vec<CompletionCandidate> {
    words.into_iter().map(CompletionCandidate::new).collect()
}

/// The store that the configuration and the environment name.
fn store() -> Option<Store> {
    let path = |name: &str| std::env::var_os(name).map(Into::into);
    let flags = Flags { root: path("PODBOX_ROOT"), run: path("PODBOX_RUN"), config: path("PODBOX_CONFIG") };
    config::load(&flags).ok().map(|settings| settings.store)
}
