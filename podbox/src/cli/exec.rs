//! `podbox exec`: run a command in a container. The command is a child of this process's stage, so its exit code
//! needs no middleman. Its streams do: it gets pipes or a terminal of the container's own, never a descriptor of the
//! caller's, through which it could read the caller's terminal, reopen a file or walk out of a directory.

mod pipes;
pub(super) mod terminal;

use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::process::ExitCode;

use clap::Args;
use oci_spec::runtime::BoxBuilder;
use runtime::launch::{SelfExe, StageKind, launch, send_plan};
use runtime::plan::FromStage;

use crate::exec::{self, Terminal};
use crate::report;
use crate::status;
use crate::supervisor::machine::{Record, State};

use super::containers::Containers;
use super::pods::Found;
use super::{Failure, Session, behind, completion, names};

/// Arguments of `exec`.
#[derive(Debug, Args)]
pub(super) struct ExecArgs {
    /// Pass standard input on
    #[arg(short = 'i', long)]
    stdin: bool,
    /// Give the command a terminal
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
    /// The command and its arguments; -- before it keeps its flags from being podbox's
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// Runs the command.
pub(super) fn run(session: &Session, args: &ExecArgs) -> Result<ExitCode, Failure> {
    names::require_root("run a command in a pod")?;
    let found = behind::choose(session, &args.pod, &args.namespace)?.pod;
    found.readopt_if_abandoned()?;
    let memory =
        found.memory().ok_or_else(|| Failure::pod(format!("pod {} is not running yet", found.name())))?;
    let containers = Containers::of(&found.object());
    let name = containers.choose(args.container.as_deref())?;
    let record = memory.containers.iter().find(|record| record.name == name);
    let record = record.ok_or_else(|| Failure::pod(format!("container {name} has not been started yet")))?;
    let code = run_in(&found, record, args)?;
    Ok(ExitCode::from(code))
}

fn run_in(found: &Found, record: &Record, args: &ExecArgs) -> Result<u8, Failure> {
    let running = matches!(record.state, State::Starting(_) | State::Running(_) | State::Stopping { .. });
    let target = status::process(record).filter(|_| running).ok_or_else(|| {
        Failure::pod(format!("container {} of pod {} is not running", record.name, found.name()))
    })?;
    let dir = found.dir.attempt(&record.name, record.attempt);
    let wanted = if has_terminal(args) { Terminal::Wanted } else { Terminal::None };
    let io_failure =
        |error: io::Error| Failure::cannot(format!("run the command: {}", report::chain(&error)));
    let mut plan = exec::plan(&dir, target, &args.command, wanted).map_err(io_failure)?;
    if let Ok(size) = runtime::terminal::size(io::stdout().as_fd()) {
        // Before the program starts: the first thing many do is to ask for it.
        let size = BoxBuilder::default().height(u64::from(size.rows)).width(u64::from(size.columns)).build();
        plan.process.set_console_size(size.ok());
    }
    let exe = SelfExe::open().map_err(io_failure)?;
    let stage = launch(&exe, StageKind::Exec).map_err(io_failure)?;
    let code = if wanted == Terminal::Wanted {
        send_plan(&stage.socket, &plan, &[]).map_err(io_failure)?;
        terminal::follow(&stage.socket, args.stdin)
    } else {
        let (ours, theirs) = pipes::Ours::new(args.stdin).map_err(io_failure)?;
        send_plan(&stage.socket, &plan, &theirs.as_fds()).map_err(io_failure)?;
        drop(theirs);
        pipes::follow(&stage.socket, ours)
    };
    let code = code?;
    // A zombie of the stage would be init's to reap in a moment anyway.
    let _ = stage.reap();
    Ok(code)
}

/// As kubectl: a terminal that is to take input needs one to take it from.
fn has_terminal(args: &ExecArgs) -> bool {
    if args.tty && args.stdin && !io::stdin().is_terminal() {
        anstream::eprintln!("Unable to use a TTY - input is not a terminal or the right kind of file");
        return false;
    }
    args.tty
}

/// What an answer of the stage means: the command's exit code, nothing yet, or that it did not run.
fn understand(answer: io::Result<Option<FromStage>>) -> Result<Option<u8>, Failure> {
    match answer {
        Ok(Some(FromStage::Exited(exit))) => Ok(Some(exit.shell_code())),
        Ok(Some(FromStage::Started(_) | FromStage::Ready(_))) => Ok(None),
        Ok(Some(FromStage::Failed(failure))) => {
            Err(Failure::code(failure.exit_code.unwrap_or(126), failure.to_string()))
        }
        Ok(None) => Err(Failure::cannot("the container ended")),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(Failure::cannot(format!("talk to the stage: {}", report::chain(&error)))),
    }
}
