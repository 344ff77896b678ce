//! `podbox restart`: containers are ended politely and start again in place; the pod, its address and its volumes stay.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::Value;

use crate::config::duration;
use crate::supervisor::control::Request;

use super::containers::{Containers, status};
use super::pods::Found;
use super::targets::{Need, Targets};
use super::watch::{Watch, Woken};
use super::{Failure, Session, completion, names, out};

/// Arguments of `restart`.
#[derive(Debug, Args)]
pub(super) struct RestartArgs {
    #[command(flatten)]
    targets: Targets,
    /// Only this container; every main container if none
    #[arg(long, short, add = completion::container())]
    container: Option<String>,
    /// Seconds between the stop signal and SIGKILL; 0 kills at once [default: the pod's own]
    #[arg(long, value_name = "SECONDS")]
    grace_period: Option<u64>,
    /// How long to wait until they run again; 0 does not wait
    #[arg(long, value_parser = duration, default_value = "60s", value_name = "TIME")]
    timeout: Duration,
}

/// A pod whose containers restart.
struct Restarting {
    found: Found,
    /// Their names, and the ids of the runs that end.
    before: Vec<(String, Value)>,
}

/// Runs the command.
pub(super) fn run(session: &Session, args: &RestartArgs) -> Result<ExitCode, Failure> {
    names::require_root("restart a container")?;
    let pods = args.targets.find(session, Need::Some)?;
    let deadline = Instant::now() + args.timeout;
    // All are told before the first is waited for.
    let restarting = pods.into_iter().map(|found| begin(args, found)).collect::<Result<Vec<_>, _>>()?;
    for pod in &restarting {
        if !args.timeout.is_zero() {
            until_running(pod, deadline)?;
        }
        if !session.quiet {
            out::line(format_args!("pod {} restarted", pod.found.name()))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn begin(args: &RestartArgs, found: Found) -> Result<Restarting, Failure> {
    found.readopt_if_abandoned()?;
    let object = found.object();
    let containers = Containers::of(&object);
    let chosen: Vec<&str> = match &args.container {
        Some(name) => vec![containers.choose(Some(name))?],
        None => containers.main().collect(),
    };
    let before = chosen.into_iter().map(|name| (name.to_owned(), run_id(&object, name))).collect();
    let request = Request::Restart { container: args.container.clone(), grace_seconds: args.grace_period };
    found.request(request, "restart")?;
    Ok(Restarting { found, before })
}

fn until_running(pod: &Restarting, deadline: Instant) -> Result<(), Failure> {
    let watch = Watch::new()?;
    loop {
        watch.add_nearest(pod.found.dir.run());
        let object = pod.found.object();
        let Some((name, _)) = pod.before.iter().find(|(name, before)| !runs_again(&object, name, before))
        else {
            return Ok(());
        };
        let pod_name = pod.found.name();
        if !pod.found.dir.run().exists() {
            return Err(Failure::pod(format!("pod {pod_name} went away")));
        }
        // On a full disk something stirs in the directory whenever the supervisor is asked.
        if watch.wait(None, Some(deadline))? == Woken::TimedOut || Instant::now() >= deadline {
            let state = in_words(&status(&object, name)["state"]);
            return Err(Failure::pod(format!(
                "container {name} of pod {pod_name} does not run again yet: {state}"
            )));
        }
    }
}

/// What a container does instead of running again.
fn in_words(state: &Value) -> String {
    let detail = |state: &Value| {
        let texts = ["reason", "message"].map(|key| state[key].as_str().unwrap_or_default());
        texts.into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join(": ")
    };
    if let Some(waiting) = state.get("waiting") {
        format!("it waits: {}", detail(waiting))
    } else if let Some(ended) = state.get("terminated") {
        format!("it ended with exit code {}: {}", ended["exitCode"], detail(ended))
    } else if state.get("running").is_some() {
        "its run from before has not ended".to_owned()
    } else {
        "nothing is known of it yet".to_owned()
    }
}

fn runs_again(object: &Value, name: &str, before: &Value) -> bool {
    let running = status(object, name)["state"]["running"].is_object();
    running && run_id(object, name) != *before
}

/// `containerID`, which every run has of its own.
fn run_id(object: &Value, name: &str) -> Value {
    status(object, name)["containerID"].clone()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_a_container_does_instead_of_running_is_said_in_words() {
        for (state, words) in [
            (
                json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}}),
                "it waits: CrashLoopBackOff: back-off 10s",
            ),
            (json!({"running": {"startedAt": "…"}}), "its run from before has not ended"),
            (json!({"terminated": {"exitCode": 7, "reason": "Error"}}), "it ended with exit code 7: Error"),
            (json!(null), "nothing is known of it yet"),
        ] {
            assert_eq!(in_words(&state), words);
        }
    }
}
