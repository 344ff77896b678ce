//! `podbox attach`: this terminal, or these streams, become those of a container's own process.

pub(super) mod keys;
pub(super) mod session;

use std::process::ExitCode;

use clap::Args;

use crate::pod::Container;
use crate::supervisor::attach::Since;
use crate::supervisor::machine::{Record, State};

use super::containers::Containers;
use super::{Failure, Session, behind, completion, names};
use keys::DetachKeys;
use session::{Connection, Wish};

/// Arguments of `attach`.
#[derive(Debug, Args)]
pub(super) struct AttachArgs {
    /// Pass standard input on
    #[arg(short = 'i', long)]
    stdin: bool,
    /// Use the container's terminal
    #[arg(short = 't', long)]
    tty: bool,
    /// The pod, or svc/NAME for one of a Service's pods
    #[arg(add = completion::pod())]
    pod: String,
    /// The container; the first one if none
    #[arg(long, short, add = completion::container())]
    container: Option<String>,
    /// Namespace
    #[arg(long, short, default_value = "default", add = completion::namespace())]
    namespace: String,
    /// What to type on a terminal to leave the container running
    #[arg(long, default_value = "ctrl-p,ctrl-q", value_name = "KEYS")]
    detach_keys: DetachKeys,
}

/// Runs the command.
pub(super) fn run(session: &Session, args: &AttachArgs) -> Result<ExitCode, Failure> {
    names::require_root("attach to a pod")?;
    let found = behind::choose(session, &args.pod, &args.namespace)?.pod;
    found.readopt_if_abandoned()?;
    let memory =
        found.memory().ok_or_else(|| Failure::pod(format!("pod {} is not running yet", found.name())))?;
    let containers = Containers::of(&found.object());
    let name = containers.choose(args.container.as_deref())?;
    let record = memory.containers.iter().find(|record| record.name == name && runs(record));
    let pod = memory.complete(found.pod.clone());
    let container = pod.containers.iter().find(|container| container.name == name);
    let (record, container) = record
        .zip(container)
        .ok_or_else(|| Failure::pod(format!("container {name} of pod {} is not running", found.name())))?;
    tell_missing(container, args);
    let wanted = (args.stdin, args.tty);
    let wish = Wish::of(container, record.attempt, wanted, &args.detach_keys, !session.quiet);
    let connection = Connection::open(&found, &wish, Since::Now)?;
    connection.follow(&found, &wish)
}

fn runs(record: &Record) -> bool {
    matches!(record.state, State::Starting(_) | State::Running(_) | State::Stopping { .. })
}

/// What is asked for, less what the container does not have; with kubectl's words about it.
/// Says which of the streams that are wanted the container does not have.
fn tell_missing(container: &Container, args: &AttachArgs) {
    if args.tty && !container.tty {
        anstream::eprintln!("Unable to use a TTY - container {} did not allocate one", container.name);
    }
    if args.stdin && !container.stdin {
        anstream::eprintln!("warning: container {} takes no input (stdin: true is not set)", container.name);
    }
}
