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
    let networks = gather::all_networks(session, &mut window, &links)?;
    if args.output == "json" {
        let text = serde_json::to_string_pretty(&networks).map_err(|error| Failure::host(&error))?;
        out::line(text)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new(["NETWORK", "BRIDGE", "INDEX", "SUBNET", "GATEWAY", "USED", "FREE"]);
    for network in &networks {
        // One that is not there yet has a name already, and one of others has nothing else.
        let planned = session.settings.network_of(&network.name).map(|config| config.bridge.clone());
        let bridge = network.bridge.as_ref();
        let name = bridge.map(|bridge| bridge.name.clone()).or(planned).unwrap_or_default();
        let index = bridge.map(|bridge| bridge.index.to_string()).unwrap_or_default();
        let cells = |rest: [String; 4]| {
            let [subnet, gateway, used, free] = rest;
            [network.name.clone(), name.clone(), index.clone(), subnet, gateway, used, free]
        };
        for room in &network.subnets {
            let (subnet, gateway) = (room.subnet.to_string(), room.subnet.gateway().to_string());
            table.push(cells([subnet, gateway, room.used.to_string(), room.free.to_string()]));
        }
        if network.subnets.is_empty() {
            table.push(cells(Default::default()));
        }
    }
    if args.no_headers {
        table = table.without_heads();
    }
    out::print(table)?;
    Ok(ExitCode::SUCCESS)
}
