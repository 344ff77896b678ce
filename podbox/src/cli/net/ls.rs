//! `podbox net ls`: the networks, and how full they are.

use std::process::ExitCode;

use clap::Args;
use netplugin::Window;

use crate::output::table::Table;

use super::super::{Failure, Session, out};
use super::gather::{self, Links};

/// Arguments of `net ls`.
#[derive(Debug, Args)]
pub(in crate::cli) struct LsArgs {
    /// How to print
    #[arg(long, short, value_parser = ["table", "json"], default_value = "table")]
    output: String,
    /// No column heads
    #[arg(long)]
    no_headers: bool,
}

/// Runs the command.
pub(super) fn run(session: &Session, args: &LsArgs) -> Result<ExitCode, Failure> {
    let mut window = Window::here().map_err(|error| Failure::host(&error))?;
    let links = Links::read(&mut window)?;
    let network = gather::network(session, &mut window, &links)?;
    if args.output == "json" {
        let text = serde_json::to_string_pretty(&[network]).map_err(|error| Failure::host(&error))?;
        out::line(text)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new(["NETWORK", "BRIDGE", "INDEX", "SUBNET", "GATEWAY", "USED", "FREE"]);
    for room in &network.subnets {
        let index = network.bridge.as_ref().map(|bridge| bridge.index.to_string());
        table.push([
            network.name.clone(),
            session.settings.network.bridge.clone(),
            index.unwrap_or_default(),
            room.subnet.to_string(),
            room.subnet.gateway().to_string(),
            room.used.to_string(),
            room.free.to_string(),
        ]);
    }
    if args.no_headers {
        table = table.without_heads();
    }
    out::print(table)?;
    Ok(ExitCode::SUCCESS)
}
