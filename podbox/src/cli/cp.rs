//! `podbox cp`: files and directories between here and a container, whose image needs no tar for it.
//!
//! The container's side is opened by way of its first process's root, with every path resolved inside that root by the
//! kernel (openat2(2), RESOLVE_IN_ROOT): no link of the container's leads anywhere else. Below the source and the target
//! no link is followed at all.

mod copy;
mod place;
mod stream;

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use crate::status;

use super::containers::Containers;
use super::pods::{self, Found};
use super::{Failure, Session, completion, names};
use copy::{Copy, Keep, Links};
use place::Place;

/// Arguments of `cp`.
#[derive(Debug, Args)]
pub(super) struct CpArgs {
    /// A local path, [NAMESPACE/]POD:PATH, or - for a tar stream on standard input
    #[arg(add = completion::place())]
    source: String,
    /// A local path, [NAMESPACE/]POD:PATH, or - for a tar stream on standard output
    #[arg(add = completion::place())]
    target: String,
    /// The container; the first one if none
    #[arg(long, short, add = completion::container())]
    container: Option<String>,
    /// Namespace
    #[arg(long, short, default_value = "default", add = completion::namespace())]
    namespace: String,
    /// Copy neither permissions nor owners
    #[arg(long)]
    no_preserve: bool,
}

/// One side of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side<'a> {
    Here(&'a str),
    There { pod: &'a str, path: &'a str },
}

impl<'a> Side<'a> {
    /// Only a first colon with no path before it names a pod: `./a:b` and `/a:b` are files.
    fn parse(text: &'a str) -> Result<Side<'a>, Failure> {
        match text.split_once(':') {
            Some((pod, _)) if pod.starts_with(['.', '/']) => Ok(Side::Here(text)),
            Some(("", _)) => Err(Failure::wrong(format!(
                "{text}: filespec must match the canonical format: [[namespace/]pod:]file/path"
            ))),
            Some((_, "")) => Err(Failure::wrong("filepath can not be empty")),
            Some((pod, path)) => Ok(Side::There { pod, path }),
            None if text.is_empty() => Err(Failure::wrong("filepath can not be empty")),
            None => Ok(Side::Here(text)),
        }
    }
}

/// Runs the command.
pub(super) fn run(session: &Session, args: &CpArgs) -> Result<ExitCode, Failure> {
    let (pod, from, to) = match (Side::parse(&args.source)?, Side::parse(&args.target)?) {
        (Side::Here(from), Side::There { pod, path }) => (pod, Way::In(Path::new(from)), path),
        (Side::There { pod, path }, Side::Here(to)) => (pod, Way::Out(Path::new(to)), path),
        _ => return Err(Failure::wrong("one of src or dest must be a local file specification")),
    };
    let stream = matches!(from, Way::In(path) | Way::Out(path) if path == Path::new("-"));
    if stream && matches!(from, Way::Out(_)) && io::stdout().is_terminal() {
        return Err(Failure::wrong("no archive is written to a terminal; use a pipe or a file"));
    }
    names::require_root("copy from or to a pod")?;
    let (namespace, name) = names::pod_name(pod, &args.namespace);
    let found = pods::find(session, namespace, name)?;
    let (root, directory) = container(&found, args.container.as_deref())?;
    let there = directory.join(to);
    let trouble = |error: place::CopyError| Failure::pod(error.to_string());
    if stream {
        let place = Place::inside(&root, &there).map_err(trouble)?;
        return streamed(&from, &place, args.no_preserve);
    }
    let (source, target, links) = match from {
        Way::In(local) => (Place::local(local), Place::inside(&root, &there), Links::Keep),
        Way::Out(local) => (Place::inside(&root, &there), Place::local(local), Links::Skip),
    };
    let keep = match (args.no_preserve, links) {
        (true, _) => Keep::Nothing,
        (false, Links::Keep) => Keep::All,
        (false, Links::Skip) => Keep::Permissions,
    };
    let (source, target) = (source.map_err(trouble)?, target.map_err(trouble)?);
    Copy { keep, links }.run(&source, &target).map_err(trouble)?;
    Ok(ExitCode::SUCCESS)
}

/// The copy as an archive.
fn streamed(way: &Way<'_>, place: &Place, no_preserve: bool) -> Result<ExitCode, Failure> {
    let keep = if no_preserve { Keep::Nothing } else { Keep::All };
    let done = match way {
        Way::In(_) => stream::read(place, keep, io::stdin().lock()),
        Way::Out(_) => stream::write(place, keep, io::BufWriter::new(io::stdout().lock())),
    };
    match done {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) if error.source.kind() == io::ErrorKind::BrokenPipe => Err(Failure::unheard()),
        Err(error) => Err(Failure::pod(error.to_string())),
    }
}

/// Which way a copy goes, and the path on this side.
enum Way<'a> {
    In(&'a Path),
    Out(&'a Path),
}

/// The root of a running container, and its working directory, which relative paths start from.
fn container(found: &Found, asked: Option<&str>) -> Result<(place::Root, PathBuf), Failure> {
    found.readopt_if_abandoned()?;
    let containers = Containers::of(&found.object());
    let name = containers.choose(asked)?;
    let not_running = || Failure::pod(format!("container {name} of pod {} is not running", found.name()));
    let memory = found.memory().ok_or_else(not_running)?;
    let record = memory.containers.iter().find(|record| record.name == name).ok_or_else(not_running)?;
    let process = status::process(record).ok_or_else(not_running)?;
    let root = place::Root::of(process).map_err(|error| Failure::host(&error))?.ok_or_else(not_running)?;
    let plan = std::fs::read(found.dir.attempt(name, record.attempt).plan()).ok();
    let plan: Option<runtime::plan::ContainerPlan> = plan.and_then(|text| serde_json::from_slice(&text).ok());
    let process = plan.as_ref().and_then(|plan| plan.spec.process().as_ref());
    Ok((root, process.map_or_else(|| PathBuf::from("/"), |process| process.cwd().clone())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_what_stands_before_the_first_colon() {
        let parse = |text| Side::parse(text).unwrap();
        assert_eq!(parse("web:/etc/hosts"), Side::There { pod: "web", path: "/etc/hosts" });
        assert_eq!(parse("team/web:a:b"), Side::There { pod: "team/web", path: "a:b" });
        assert_eq!(parse("./web:x"), Side::Here("./web:x"));
        assert_eq!(parse("/tmp/a:b"), Side::Here("/tmp/a:b"));
        assert_eq!(Side::parse("web:").unwrap_err().message(), "filepath can not be empty");
        assert!(Side::parse(":/x").is_err());
    }
}
