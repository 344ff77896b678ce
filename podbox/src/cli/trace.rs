//! `podbox trace`: what was really done for a pod, with the time each step took.

use std::fmt::Write;
use std::process::ExitCode;

use clap::Args;

use crate::supervisor::trace;

use super::pods::{self, Found};
use super::{Failure, Session, completion, names, out};

/// Arguments of `trace`.
#[derive(Debug, Args)]
pub(super) struct TraceArgs {
    /// The pod
    #[arg(add = completion::pod())]
    pod: String,
    /// Its namespace
    #[arg(long, short, default_value = "default", add = completion::namespace())]
    namespace: String,
    /// `json` prints one object a line
    #[arg(long, short, value_parser = ["text", "json"], default_value = "text")]
    output: String,
}

/// Runs the command.
pub(super) fn run(session: &Session, args: &TraceArgs) -> Result<ExitCode, Failure> {
    let (namespace, name) = names::pod_name(&args.pod, &args.namespace);
    let found = pods::find(session, namespace, name)?;
    if args.output == "json" {
        out::print(std::fs::read_to_string(found.dir.trace()).unwrap_or_default())?;
    } else {
        out::print(render(&found))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// One block an actor, one line a step: microseconds, what, and the command that does the same.
pub(super) fn render(found: &Found) -> String {
    let mut text = format!("# pod {}\n", found.name());
    let mut actor = String::new();
    for line in trace::read(&found.dir.trace()) {
        if line.actor != actor {
            let _ = writeln!(text, "\n## {}", line.actor);
            actor = line.actor;
        }
        let _ = writeln!(text, "{:>8} µs  {}", line.micros, line.step);
        for command in line.command.lines() {
            let _ = writeln!(text, "             {command}");
        }
    }
    text
}
