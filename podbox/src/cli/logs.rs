//! `podbox logs`: a container's output.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::Args;
use jiff::Timestamp;

use crate::config::duration;
use crate::logs::reader::{self, Pick, Query, ReadError, Source, Times, pod_label};

use super::behind::{self, Chosen};
use super::containers::{self, Containers};
use super::pods::Found;
use super::watch::{Watch, Woken};
use super::{Failure, Session, completion};

/// Arguments of `logs`.
#[derive(Debug, Args)]
pub(super) struct LogsArgs {
    /// The pod, or svc/NAME for one of a Service's pods
    #[arg(add = completion::pod())]
    pod: String,
    /// The container
    #[arg(value_name = "CONTAINER", add = completion::container())]
    name: Option<String>,
    /// The container, init containers too; the first main one if none
    #[arg(long, short, conflicts_with = "name", add = completion::container())]
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
    #[arg(long, short, default_value = "default", add = completion::namespace())]
    namespace: String,
}

/// Runs the command.
pub(super) fn run(session: &Session, args: &LogsArgs) -> Result<ExitCode, Failure> {
    let Chosen { pod: found, others, .. } = behind::choose(session, &args.pod, &args.namespace)?;
    if others > 0 {
        anstream::eprintln!("Found {} pods, using pod/{}", others + 1, found.pod.name);
    }
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
        Err(ReadError::NoPrevious { dir }) => {
            let container = dir.file_name().unwrap_or_default().to_string_lossy();
            let pod = &found.pod.name;
            Err(Failure::pod(format!(
                "previous terminated container \"{container}\" in pod \"{pod}\" not found"
            )))
        }
        Err(error) => Err(Failure::host(&error)),
    }
}

fn sources(args: &LogsArgs, found: &Found) -> Result<Vec<Source>, Failure> {
    let object = found.object();
    let containers = Containers::of(&object);
    let asked = args.container.as_deref().or(args.name.as_deref());
    let chosen: Vec<&str> =
        if args.all_containers { containers.all().collect() } else { vec![containers.choose(asked)?] };
    let logs = found.dir.logs(&found.pod.namespace, &found.pod.name, &found.pod.uid);
    let source = |name: &str| {
        let dir = logs.join(name);
        // What follows a restart is followed too.
        let current = || reader::attempts(&dir).unwrap_or_default().last().copied().unwrap_or(0);
        let pick = match (args.previous, args.follow) {
            (true, _) => Pick::Previous,
            (false, true) => Pick::Onwards(current()),
            (false, false) => Pick::Current,
        };
        let label = if args.prefix { pod_label(&found.pod.name, name) } else { String::new() };
        Source { dir, pick, label }
    };
    let sources: Vec<Source> = chosen.iter().map(|name| source(name)).collect();
    if let ([name], [Source { dir, pick: Pick::Current, .. }]) = (chosen.as_slice(), sources.as_slice()) {
        let reason = containers::status(&object, name)["state"]["waiting"]["reason"].as_str();
        let begun = reader::attempts(dir).is_ok_and(|attempts| !attempts.is_empty());
        if let Some(reason) = reason.filter(|_| !begun) {
            return Err(Failure::pod(format!(
                "container \"{name}\" in pod \"{}\" is waiting to start: {}",
                found.pod.name,
                why(reason)
            )));
        }
    }
    Ok(sources)
}

/// Why there is no log, as a kubelet puts it (`kubelet_pods.go`, validateContainerLogStatus).
fn why(reason: &str) -> &str {
    match reason {
        "ErrImagePull" => "image can't be pulled",
        "ImagePullBackOff" => "trying and failing to pull image",
        reason => reason,
    }
}

/// Follows until the pod is over.
fn follow(found: &Found, sources: &[Source], query: &Query) -> Result<Result<(), ReadError>, Failure> {
    let mut watch = Watch::new()?;
    watch.mind_the_reader();
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
            match self.watch.wait(None, None) {
                Ok(Woken::Unheard) | Err(_) => return,
                Ok(Woken::Changed | Woken::Ready | Woken::Interrupted | Woken::TimedOut) => {}
            }
        }
    }
}
