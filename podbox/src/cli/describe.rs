//! `podbox describe`: all about a pod, for people.

use std::process::ExitCode;

use clap::Args;
use jiff::Timestamp;
use serde_json::Value;

use crate::events;
use crate::node;
use crate::output::describe::describe;

use super::pods::Found;
use super::targets::{Need, Targets};
use super::{Failure, Session, out};

/// Arguments of `describe`.
#[derive(Debug, Args)]
pub(super) struct DescribeArgs {
    #[command(flatten)]
    targets: Targets,
}

/// Runs the command.
pub(super) fn run(session: &Session, args: &DescribeArgs) -> Result<ExitCode, Failure> {
    args.targets.refuse_other_kinds(session)?;
    let pods = args.targets.find(session, Need::Nothing)?;
    if pods.is_empty() {
        anstream::eprintln!("No resources found{}.", args.targets.place());
    }
    for (index, found) in pods.iter().enumerate() {
        found.readopt_if_abandoned()?;
        let gap = if index > 0 { "\n\n" } else { "" };
        out::print(format_args!("{gap}{}", describe(&found.object(), &events_of(found), Timestamp::now())))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The pod's events as v1 Events, those that were seen last at the end.
fn events_of(found: &Found) -> Vec<Value> {
    let folded = events::fold(events::read(&found.dir.events())).into_iter();
    let node = node::name();
    folded.enumerate().map(|(index, event)| events::object(&found.pod, &node, index, &event)).collect()
}
