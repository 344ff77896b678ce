//! `podbox net`: to see the pods' network, and the ways to other hosts.

mod gather;
mod graph;
mod ls;
mod path;
mod peers;
mod show;
mod walk;

use std::process::ExitCode;

use clap::Subcommand;

use super::{Failure, Session, names, out};

/// Subcommands of `net`.
#[derive(Debug, Subcommand)]
pub(super) enum NetCommand {
    /// List networks, with how many addresses are left
    #[command(visible_alias = "list")]
    Ls(ls::LsArgs),
    /// Draw the network: bridge, cables, pods, ports and Services, as the kernel has them
    Graph(graph::GraphArgs),
    /// Tell which way a pod's packets go, hop by hop, with the command that shows each hop
    Show(show::ShowArgs),
    /// List the other hosts of the flat space, and what leads to them
    Peers(peers::PeersArgs),
    /// Send a packet and follow it: where it is seen, which rules decide, and where and why it is lost
    Path(path::PathArgs),
}

/// Runs the command.
pub(super) fn run(session: &Session, command: &NetCommand) -> Result<ExitCode, Failure> {
    match command {
        NetCommand::Ls(args) => ls::run(session, args),
        NetCommand::Graph(args) => graph::run(session, args),
        NetCommand::Show(args) => show::run(session, args),
        NetCommand::Peers(args) => peers::run(session, args),
        NetCommand::Path(args) => path::run(session, args),
    }
}
