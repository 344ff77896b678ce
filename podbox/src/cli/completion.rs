//! `podbox completion`: a script for a shell.

use std::process::ExitCode;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Cli, Failure};

/// Arguments of `completion`.
#[derive(Debug, Args)]
pub(super) struct CompletionArgs {
    /// The shell
    shell: Shell,
}

/// Runs the command.
pub(super) fn run(args: &CompletionArgs) -> Result<ExitCode, Failure> {
    clap_complete::generate(args.shell, &mut Cli::command(), "podbox", &mut std::io::stdout());
    Ok(ExitCode::SUCCESS)
}
