//! `podbox debug`: a container beside those that run, to look around in a pod; or a copy of the pod to try things with.

mod added;
mod container;
mod look;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use crate::supervisor::control::Request;

use super::attach::keys::DetachKeys;
use super::pods;
use super::{Failure, Session, completion, names, out};

/// Arguments of `debug`.
#[derive(Debug, Args)]
pub(super) struct DebugArgs {
    /// The pod
    #[arg(add = completion::pod())]
    pod: String,
    /// Namespace
    #[arg(long, short, default_value = "default", add = completion::namespace())]
    namespace: String,
    #[command(flatten)]
    made: Made,
    #[command(flatten)]
    streams: Streams,
    /// What to type on a terminal to leave the container running
    #[arg(long, default_value = "ctrl-p,ctrl-q", value_name = "KEYS")]
    detach_keys: DetachKeys,
    /// The command and its arguments; the image's own if none
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// What the container is made of.
#[derive(Debug, Args)]
struct Made {
    /// The container's image
    #[arg(long)]
    image: Option<String>,
    /// The container's name; debugger-xxxxx if none
    #[arg(long, short)]
    container: Option<String>,
    /// Let it see this container's processes
    #[arg(long, value_name = "CONTAINER", add = completion::container())]
    target: Option<String>,
    /// Environment variables
    #[arg(long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// What it may do
    #[arg(long, value_enum, default_value_t = Profile::General)]
    profile: Profile,
    /// A YAML or JSON file with more of the container's fields
    #[arg(long, value_name = "FILE")]
    custom: Option<PathBuf>,
    /// When to pull the image
    #[arg(long, value_parser = ["Always", "IfNotPresent", "Never"], value_name = "POLICY")]
    image_pull_policy: Option<String>,
    /// What follows -- are arguments of the image's own command
    #[arg(long)]
    arguments_only: bool,
}

/// How this command and the container are connected.
#[derive(Clone, Copy, Debug, Args)]
struct Streams {
    /// Keep the container's input open and attach to it
    #[arg(short = 'i', long)]
    stdin: bool,
    /// Give the container a terminal
    #[arg(short = 't', long)]
    tty: bool,
    /// Attach to the container; on with -i
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    attach: Option<bool>,
}

/// kubectl's profiles (`pkg/cmd/debug/profiles.go`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Profile {
    /// As any container
    Legacy,
    /// May trace processes
    General,
    /// As any container: what the baseline of the Pod Security Standards allows
    Baseline,
    /// What the restricted ones allow: no root, no capabilities
    Restricted,
    /// May change the network
    Netadmin,
    /// Privileged
    Sysadmin,
}

/// Runs the command.
pub(super) fn run(session: &Session, args: &DebugArgs) -> Result<ExitCode, Failure> {
    if args.streams.tty && !args.streams.stdin {
        return Err(Failure::wrong("-i/--stdin is required for containers with -t/--tty=true"));
    }
    names::require_root("debug a pod")?;
    let (namespace, name) = names::pod_name(&args.pod, &args.namespace);
    let found = pods::find(session, namespace, name)?;
    found.readopt_if_abandoned()?;
    if args.made.image.is_none() {
        return Err(Failure::wrong("you must specify --image"));
    }
    let name = match &args.made.container {
        Some(name) => name.clone(),
        None => container::new_name()?,
    };
    let made = container::of_flags(args, &name)?;
    let added = added::read(session, &found, made)?;
    if !session.quiet {
        if args.made.container.is_none() {
            out::line(format_args!("Defaulting debug container name to {name}."))?;
        }
        if let Some(target) = &args.made.target {
            out::line(format_args!(
                "Targeting container \"{target}\". If you don't see processes from this container it may be \
                 because the container runtime doesn't support this feature."
            ))?;
        }
    }
    let json = serde_json::to_value(&added).map_err(|error| Failure::request(&error))?;
    found.request(Request::Add { added: Box::new(json) }, "debug")?;
    if !args.streams.attach.unwrap_or(args.streams.stdin) {
        return Ok(ExitCode::SUCCESS);
    }
    look::at(session, &found, &added.container, args)
}
