//! `podbox net`: to see the network.

mod path;

use std::process::ExitCode;

use clap::Subcommand;

use super::{Failure, Session};

/// Subcommands of `net`.
#[derive(Debug, Subcommand)]
pub(super) enum NetCommand {
    /// Send a packet and follow it: where it is seen, which rules decide, and where and why it is lost
    Path(path::PathArgs),
}

/// Runs the command.
pub(super) fn run(session: &Session, command: &NetCommand) -> Result<ExitCode, Failure> {
    match command {
        NetCommand::Path(args) => path::run(session, args),
    }
}
