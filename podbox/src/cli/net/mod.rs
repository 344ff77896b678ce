//! `podbox net`: the pods' network.

mod peers;

use std::process::ExitCode;

use clap::Subcommand;

use super::{Failure, Session, names, out};

/// Subcommands of `net`.
#[derive(Debug, Subcommand)]
pub(super) enum NetCommand {
    /// List the other hosts of the flat space, and what leads to them
    Peers(peers::PeersArgs),
}

/// Runs the command.
pub(super) fn run(session: &Session, command: &NetCommand) -> Result<ExitCode, Failure> {
    match command {
        NetCommand::Peers(args) => peers::run(session, args),
    }
}
