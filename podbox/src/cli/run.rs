//! `podbox run`: a pod of one container, described by flags.

pub(super) mod object;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::Value;

use crate::config::duration;
use crate::manifest::{LoadedPod, Options, Source};
use crate::output::yaml::to_yaml;
use crate::supervisor::attach::Since;

use super::attach::keys::DetachKeys;
use super::attach::session::{Connection, Streams, Wish};
use super::pods::Found;
use super::up::single;
use super::{Failure, Session, completion, names, out};

/// Arguments of `run`.
#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// The pod's name, and its container's
    name: String,
    /// The image
    #[arg(long, add = completion::image())]
    image: String,
    /// Namespace
    #[arg(long, short, default_value = "default", add = completion::namespace())]
    namespace: String,
    /// Environment variables
    #[arg(long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// The port that the container listens on
    #[arg(long)]
    port: Option<u16>,
    /// Labels; run=NAME if none
    #[arg(long, short = 'l', value_delimiter = ',', value_name = "NAME=VALUE")]
    labels: Vec<String>,
    /// Annotations
    #[arg(long, value_name = "NAME=VALUE")]
    annotations: Vec<String>,
    /// When to start the container again
    #[arg(long, value_parser = ["Always", "OnFailure", "Never"], default_value = "Always")]
    restart: String,
    /// When to pull the image
    #[arg(long, value_parser = ["Always", "IfNotPresent", "Never"], value_name = "POLICY")]
    image_pull_policy: Option<String>,
    #[command(flatten)]
    streams: Streams,
    #[command(flatten)]
    afterwards: Afterwards,
    /// What to type on a terminal to leave the container running
    #[arg(long, default_value = "ctrl-p,ctrl-q", value_name = "KEYS")]
    detach_keys: DetachKeys,
    /// The arguments are the command, not the image's command's arguments
    #[arg(long)]
    command: bool,
    /// Give the container all rights
    #[arg(long)]
    privileged: bool,
    /// JSON that is merged into the pod (RFC 7386)
    #[arg(long, value_name = "JSON")]
    overrides: Option<String>,
    /// Only print the pod
    #[arg(long, value_enum, default_value_t = DryRun::None, num_args = 0..=1, default_missing_value = "client")]
    dry_run: DryRun,
    /// With --dry-run: how to print it
    #[arg(long, short, value_parser = ["yaml", "json", "name"], value_name = "FORMAT")]
    output: Option<String>,
    /// How long to wait for the container to run
    #[arg(long, value_parser = duration, default_value = "1m", value_name = "TIME")]
    pod_running_timeout: Duration,
    /// What the container's command is given
    #[arg(last = true, value_name = "ARG")]
    args: Vec<String>,
}

/// What becomes of the pod when the session ends.
#[derive(Clone, Copy, Debug, Args)]
struct Afterwards {
    /// Leave the container's input open when the first session ends
    #[arg(long)]
    leave_stdin_open: bool,
    /// Remove the pod when the session ends
    #[arg(long)]
    rm: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum DryRun {
    None,
    Client,
}

/// Runs the command.
pub(super) fn run(session: &Session, args: &RunArgs) -> Result<ExitCode, Failure> {
    let attaches = args.streams.attaches();
    if args.afterwards.rm && !attaches {
        return Err(Failure::wrong("--rm should only be used for attached containers"));
    }
    if args.command && args.args.is_empty() {
        return Err(Failure::wrong("--command goes with a command after --"));
    }
    let object = object::pod(args)?;
    let loaded = load(session, args, &object)?;
    if args.dry_run == DryRun::Client {
        return show(args, &object);
    }
    if args.output.is_some() {
        return Err(Failure::wrong("-o goes with --dry-run=client"));
    }
    if !attaches {
        let (found, ()) = single::start_new(session, loaded, Some(args.pod_running_timeout), |_| Ok(()))?;
        if !session.quiet {
            out::line(format_args!("pod/{} created", found.pod.name))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    attached(session, args, loaded)
}

/// Starts the pod, listens from its first word, and ends as its container does.
fn attached(session: &Session, args: &RunArgs, loaded: LoadedPod) -> Result<ExitCode, Failure> {
    let wish = wish(session, args, &loaded)?;
    let listen = |found: &Found| Connection::ask(found, &wish, Since::Start);
    let (found, connection) = single::start_new(session, loaded, Some(args.pod_running_timeout), listen)?;
    let ended = connection.follow(&found, &wish);
    if args.afterwards.rm {
        let removed = found.stop(session, None);
        if removed.is_ok() && !session.quiet {
            anstream::eprintln!("pod \"{}\" deleted from {} namespace", found.pod.name, found.pod.namespace);
        }
        // Of a pod that is gone nothing "runs on".
        return ended.map_err(Failure::unhinted).and_then(|code| removed.map(|_| code));
    }
    ended
}

/// The session with the main container; overrides may have changed what it has.
fn wish(session: &Session, args: &RunArgs, loaded: &LoadedPod) -> Result<Wish, Failure> {
    let named = loaded.pod.containers.iter().find(|container| container.name == args.name);
    let container = named.ok_or_else(|| Failure::wrong(format!("the pod has no container {}", args.name)))?;
    let wanted = (args.streams.stdin, args.streams.tty);
    Ok(Wish::of(container, 0, wanted, &args.detach_keys, !session.quiet))
}

fn load(session: &Session, args: &RunArgs, object: &Value) -> Result<LoadedPod, Failure> {
    let source = Source::new("<flags>", to_yaml(object));
    let options = Options {
        namespace: args.namespace.clone(),
        allowed_sysctls: session.settings.pods.allowed_unsafe_sysctls.clone(),
        networks: names::networks(&session.settings),
        ..Options::default()
    };
    let loaded = names::load_sources(&[source], &options)?;
    loaded.pods.into_iter().next().ok_or_else(|| Failure::wrong("the overrides leave no pod"))
}

fn show(args: &RunArgs, object: &Value) -> Result<ExitCode, Failure> {
    match args.output.as_deref() {
        Some("yaml") => out::line(to_yaml(object))?,
        Some("json") => {
            let text = serde_json::to_string_pretty(object).map_err(|error| Failure::request(&error))?;
            out::line(text)?;
        }
        Some(_) => out::line(format_args!("pod/{}", args.name))?,
        None => out::line(format_args!("pod/{} created (dry run)", args.name))?,
    }
    Ok(ExitCode::SUCCESS)
}
