//! `podbox man`: a manual page for podbox and one for each of its commands, for packages.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory};

use crate::store::make_dir;

use super::{Cli, Failure};

/// Arguments of `man`.
#[derive(Debug, Args)]
pub(super) struct ManArgs {
    /// Where the pages go; made if it is not there
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

/// Runs the command.
pub(super) fn run(args: &ManArgs) -> Result<ExitCode, Failure> {
    make_dir(&args.dir).map_err(|error| Failure::host(&error))?;
    let command = Cli::command();
    clap_mangen::generate_to(command, &args.dir)
        .map_err(|error| Failure::cannot(format!("write {}: {error}", args.dir.display())))?;
    Ok(ExitCode::SUCCESS)
}
