//! `podbox debug`: a container beside those that run, to look around in a pod; or a copy of the pod to try things with.

mod added;
mod container;
mod copy;
mod look;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use crate::supervisor::control::Request;

use super::attach::keys::DetachKeys;
use super::attach::session::Streams;
use super::pods::{self, Found};
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
    copying: copy::Copying,
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

impl DebugArgs {
    /// What flags do not go with each other, in kubectl's words where it has them.
    fn check(&self) -> Result<(), Failure> {
        let copying = &self.copying;
        let wrong = |text: &str| Err(Failure::wrong(text));
        if self.streams.tty && !self.streams.stdin {
            return wrong("-i/--stdin is required for containers with -t/--tty=true");
        }
        if let Some(flag) = copying.without_copy() {
            return Err(Failure::wrong(format!("{flag} may only be used with --copy-to.")));
        }
        if copying.copy_to.is_none() && self.made.image.is_none() {
            return wrong("you must specify --image");
        }
        if copying.copy_to.is_some() && self.made.target.is_some() {
            return wrong("--target is incompatible with --copy-to. Use --share-processes instead.");
        }
        let nothing = self.made.image.is_none() && copying.set_image.is_empty() && self.command.is_empty();
        if copying.copy_to.is_some() && nothing {
            return wrong("you must specify --image, --set-image or command arguments.");
        }
        Ok(())
    }
}

/// Runs the command.
pub(super) fn run(session: &Session, args: &DebugArgs) -> Result<ExitCode, Failure> {
    args.check()?;
    names::require_root("debug a pod")?;
    let (namespace, name) = names::pod_name(&args.pod, &args.namespace);
    let found = pods::find(session, namespace, name)?;
    found.readopt_if_abandoned()?;
    match &args.copying.copy_to {
        Some(copy) => copy::run(session, &found, args, copy),
        None => beside(session, &found, args),
    }
}

/// Gives the pod a container more.
fn beside(session: &Session, found: &Found, args: &DebugArgs) -> Result<ExitCode, Failure> {
    let name = match &args.made.container {
        Some(name) => name.clone(),
        None => container::new_name()?,
    };
    let added = added::read(session, found, container::of_flags(args, &name)?)?;
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
    if !args.streams.attaches() {
        return Ok(ExitCode::SUCCESS);
    }
    let (connection, wish) = look::ask(session, found, &added.container, args)?;
    look::follow(found, connection, &wish)
}
