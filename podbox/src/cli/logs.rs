//! `podbox logs`: a container's output.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::Args;
use jiff::Timestamp;

use crate::config::duration;
use crate::logs::reader::{self, Pick, Query, ReadError, Source, Times, pod_label};
use crate::supervisor::machine::Record;

use super::pods::{self, Found};
use super::watch::Watch;
use super::{Failure, Session, names};

/// Arguments of `logs`.
#[derive(Debug, Args)]
pub(super) struct LogsArgs {
    /// The pod
    pod: String,
    /// The container
    name: Option<String>,
    /// The container; the first one if none
    #[arg(long, short, conflicts_with = "name")]
    container: Option<String>,
    /// Go on with what comes
    #[arg(long, short)]
    follow: bool,
    /// The run before the current one
    #[arg(long, short)]
    previous: bool,
    /// Only so many of the last lines; -1 is all
    #[arg(long, allow_hyphen_values = true, default_value = "-1", hide_default_value = true)]
    tail: i64,
    /// Only what is newer than this: 5m, 1h
    #[arg(long, value_parser = duration)]
    since: Option<Duration>,
    /// Only what is newer than this time (RFC 3339)
    #[arg(long, conflicts_with = "since")]
    since_time: Option<Timestamp>,
    /// The time before each line
    #[arg(long)]
    timestamps: bool,
    /// All containers of the pod
    #[arg(long, conflicts_with_all = ["container", "name"])]
    all_containers: bool,
    /// Pod and container before each line
    #[arg(long)]
    prefix: bool,
    /// At most so many bytes
    #[arg(long)]
    limit_bytes: Option<u64>,
    /// Namespace
    #[arg(long, short, default_value = "default")]
    namespace: String,
}

/// Runs the command.
pub(super) fn run(session: &Session, args: &LogsArgs) -> Result<ExitCode, Failure> {
    let (namespace, name) = names::pod_name(&args.pod, &args.namespace);
    let found = pods::find(session, namespace, name)?;
    found.readopt_if_abandoned()?;
    let sources = sources(args, &found)?;
    let since = args.since.map(|ago| SystemTime::now() - ago).or(args.since_time.map(Into::into));
    let query = Query {
        tail: u64::try_from(args.tail).ok(),
        since,
        times: if args.timestamps { Times::Shown } else { Times::Hidden },
        limit_bytes: args.limit_bytes,
    };
    let printed = if args.follow {
        follow(&found, &sources, &query)?
    } else {
        reader::print(&sources, &query, &mut io::stdout())
    };
    match printed {
        Ok(()) => Ok(ExitCode::SUCCESS),
        // `podbox logs … | head` is nobody's mistake.
        Err(ReadError::Print(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        Err(error @ ReadError::NoPrevious { .. }) => Err(Failure::pod(crate::report::chain(&error))),
        Err(error) => Err(Failure::host(&error)),
    }
}

fn sources(args: &LogsArgs, found: &Found) -> Result<Vec<Source>, Failure> {
    let asked = args.container.as_deref().or(args.name.as_deref());
    let all = found.pod.containers.iter().map(|container| container.name.as_str());
    let chosen: Vec<&str> = match asked {
        _ if args.all_containers => all.collect(),
        None => found.pod.main_containers().take(1).map(|one| one.name.as_str()).collect(),
        Some(name) => vec![known(all, name, found)?],
    };
    if asked.is_none() && !args.all_containers && found.pod.containers.len() > 1 {
        let names: Vec<&str> = found.pod.containers.iter().map(|container| container.name.as_str()).collect();
        anstream::eprintln!("Defaulted container \"{}\" out of: {}", chosen[0], names.join(", "));
    }
    let logs = found.dir.logs(&found.pod.namespace, &found.pod.name, &found.pod.uid);
    let pick = if args.previous { Pick::Previous } else { Pick::Current };
    Ok(chosen
        .into_iter()
        .map(|name| Source {
            dir: logs.join(name),
            pick,
            label: if args.prefix { pod_label(&found.pod.name, name) } else { String::new() },
        })
        .collect())
}

/// Follows until the pod is over.
fn follow(found: &Found, sources: &[Source], query: &Query) -> Result<Result<(), ReadError>, Failure> {
    let watch = Watch::new()?;
    watch.add(found.dir.run());
    let (stop, stopper) = io::pipe().map_err(|error| Failure::host(&error))?;
    // This thread waits for the pod's end as long as the process lives; the process ends when the reader does.
    let over = Over { watch, found_run: found.dir.run().to_path_buf(), machine: found.dir.machine() };
    std::thread::spawn(move || {
        over.wait();
        drop(stopper);
    });
    let mut out = io::stdout();
    let printed = reader::follow(sources, query, &mut out, stop.as_fd());
    let _ = out.flush();
    Ok(printed)
}

/// The end of a pod, to be waited for.
struct Over {
    watch: Watch,
    found_run: std::path::PathBuf,
    machine: std::path::PathBuf,
}

impl Over {
    fn wait(&self) {
        let finished = || {
            let text = std::fs::read(&self.machine).ok()?;
            let memory: crate::supervisor::machine::Memory = serde_json::from_slice(&text).ok()?;
            memory.finished
        };
        while self.found_run.exists() && finished().is_none() {
            if self.watch.wait(None, None).is_err() {
                return;
            }
        }
    }
}

fn known<'a>(mut all: impl Iterator<Item = &'a str>, name: &str, found: &Found) -> Result<&'a str, Failure> {
    all.find(|known| *known == name).ok_or_else(|| no_such(found, name))
}

/// The container of that name, or the first one.
pub(super) fn choose<'a>(
    records: &'a [Record],
    name: Option<&str>,
    found: &Found,
) -> Result<&'a Record, Failure> {
    let chosen = match name {
        Some(name) => records.iter().find(|record| record.name == name),
        None => {
            let default = found.pod.main_containers().next().map(|one| one.name.as_str());
            records.iter().find(|record| Some(record.name.as_str()) == default)
        }
    };
    chosen.ok_or_else(|| no_such(found, name.unwrap_or_default()))
}

fn no_such(found: &Found, name: &str) -> Failure {
    let known: Vec<&str> = found.pod.containers.iter().map(|container| container.name.as_str()).collect();
    Failure::wrong(format!(
        "container {name} is not valid for pod {}; it has {}",
        found.pod.name,
        known.join(", ")
    ))
}
