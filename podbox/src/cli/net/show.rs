//! `podbox net show`: which way a pod's packets go.

use std::fmt::Write;
use std::process::ExitCode;

use clap::Args;

use super::super::{Failure, Session, completion, names, out, pods};
use super::walk::{self, Journeys};

/// Arguments of `net show`.
#[derive(Debug, Args)]
pub(in crate::cli) struct ShowArgs {
    /// The pod
    #[arg(add = completion::pod())]
    pod: String,
    /// Its namespace
    #[arg(long, short, default_value = "default", add = completion::namespace())]
    namespace: String,
    /// How to print
    #[arg(long, short, value_parser = ["text", "json"], default_value = "text")]
    output: String,
}

/// Runs the command.
pub(super) fn run(session: &Session, args: &ShowArgs) -> Result<ExitCode, Failure> {
    let (namespace, name) = names::pod_name(&args.pod, &args.namespace);
    let found = pods::find(session, namespace, name)?;
    names::require_root("look into a pod's network")?;
    let journeys = walk::journeys(session, &found)?;
    if args.output == "json" {
        let text = serde_json::to_string_pretty(&journeys).map_err(|error| Failure::host(&error))?;
        out::line(text)?;
    } else {
        out::print(render(&journeys))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// One block a journey, and in it one line a hop with the command below.
fn render(journeys: &Journeys) -> String {
    let mut text = format!("pod {}: {}\n", journeys.pod, journeys.is);
    let _ = writeln!(text, "NS={}", journeys.netns);
    for journey in &journeys.journeys {
        let _ = writeln!(text, "\n{}", journey.title);
        for (number, hop) in (1..).zip(&journey.hops) {
            let mut facts = hop.facts.iter();
            let first = facts.next().map_or("", String::as_str);
            let _ = writeln!(text, "{number:>3}. {:<18} {first}", hop.place);
            for fact in facts {
                let _ = writeln!(text, "                        {fact}");
            }
            let command = hop.command.replace(&journeys.netns, "$NS");
            let _ = writeln!(text, "                        $ {command}");
        }
    }
    text
}
