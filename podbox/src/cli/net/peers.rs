//! `podbox net peers`: the other hosts of the flat space.

use std::fmt::Display;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use netplugin::{Led, LedState};

use crate::output::table::Table;

use super::{Failure, Session, names, out};

/// Arguments of `net peers`.
#[derive(Debug, Args)]
pub(in crate::cli) struct PeersArgs {
    /// Make what leads to them what the configuration says, and print what has changed, as commands
    #[arg(long)]
    apply: bool,
    /// How to print
    #[arg(long, short, value_enum, conflicts_with = "apply")]
    output: Option<Format>,
    /// No column heads
    #[arg(long)]
    no_headers: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Json,
}

/// Runs the command.
pub(super) fn run(session: &Session, args: &PeersArgs) -> Result<ExitCode, Failure> {
    let network = &session.settings.network;
    if args.apply {
        names::require_root("change the host's routes")?;
        for step in netplugin::apply_peers(network).map_err(|error| Failure::host(&error))? {
            out::line(format_args!("# {}\n{}", step.name, step.command))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let peers = netplugin::peers(network).map_err(|error| Failure::host(&error))?;
    match args.output {
        Some(Format::Json) => {
            let text = serde_json::to_string_pretty(&peers).map_err(|error| Failure::host(&error))?;
            out::line(text)?;
        }
        None => out::print(table(&peers, args))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn table(peers: &[Led], args: &PeersArgs) -> Table {
    let mut table = Table::new(["NAME", "ADDRESSES", "SLICES", "STATE"]);
    if args.no_headers {
        table = table.without_heads();
    }
    for Led { peer, state } in peers {
        let state = match state {
            LedState::Ready => "ready",
            LedState::Absent => "absent",
            LedState::Outdated => "outdated",
            LedState::Stale => "stale",
        };
        table.push([peer.name.clone(), joined(&peer.addresses), joined(&peer.slices), state.to_owned()]);
    }
    table
}

fn joined<T: Display>(things: &[T]) -> String {
    things.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}
