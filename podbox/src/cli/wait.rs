//! `podbox wait`: until something is true of a pod.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::Value;

use crate::config::duration;
use crate::output::jsonpath::Template;

use super::pods::{self, Found};
use super::watch::{Watch, Woken};
use super::{Failure, Session, names};

/// Arguments of `wait`.
#[derive(Debug, Args)]
pub(super) struct WaitArgs {
    /// The pods
    #[arg(required = true)]
    pods: Vec<String>,
    /// condition=NAME[=STATUS], delete, phase=PHASE or jsonpath={PATH}=VALUE
    #[arg(long = "for", value_name = "WHAT", default_value = "condition=Ready")]
    what: String,
    /// How long
    #[arg(long, value_parser = duration, default_value = "30s", value_name = "TIME")]
    timeout: Duration,
    /// Namespace of pods that are named without one
    #[arg(long, short, default_value = "default")]
    namespace: String,
}

/// What is waited for.
enum Wish {
    Condition { name: String, status: String },
    Delete,
    Path { path: Template, value: Option<String> },
}

/// Runs the command.
pub(super) fn run(session: &Session, args: &WaitArgs) -> Result<ExitCode, Failure> {
    let wish = parse(&args.what)?;
    let watch = Watch::new()?;
    let deadline = Instant::now() + args.timeout;
    watch.add(&session.settings.store.names_dir());
    for pod in &args.pods {
        let (namespace, name) = names::pod_name(pod, &args.namespace);
        loop {
            let found = pods::find(session, namespace, name);
            if let Ok(found) = &found {
                found.readopt_if_abandoned()?;
                watch.add(found.dir.run());
            }
            if fulfilled(&wish, found)? {
                break;
            }
            if watch.wait(None, Some(deadline))? == Woken::TimedOut {
                return Err(Failure::pod(format!(
                    "timed out waiting for {} on pod {namespace}/{name}",
                    args.what
                )));
            }
        }
        if !session.quiet {
            println!(
                "pod {namespace}/{name} {}",
                if matches!(wish, Wish::Delete) { "deleted" } else { "condition met" }
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn parse(text: &str) -> Result<Wish, Failure> {
    let path = |path: &str, value: Option<&str>| {
        let path = Template::parse(path).map_err(|error| Failure::wrong(format!("--for: {error}")))?;
        Ok(Wish::Path { path, value: value.map(str::to_owned) })
    };
    if text == "delete" {
        Ok(Wish::Delete)
    } else if let Some(condition) = text.strip_prefix("condition=") {
        let (name, status) = condition.split_once('=').unwrap_or((condition, "True"));
        Ok(Wish::Condition { name: name.to_owned(), status: status.to_owned() })
    } else if let Some(phase) = text.strip_prefix("phase=") {
        path("{.status.phase}", Some(phase))
    } else if let Some(rest) = text.strip_prefix("jsonpath=") {
        match rest.rfind("}=") {
            Some(at) => path(&rest[..=at], Some(&rest[at + 2..])),
            None => path(rest, None),
        }
    } else {
        Err(Failure::wrong(format!(
            "--for {text}: want condition=NAME[=STATUS], delete, phase=PHASE or jsonpath={{PATH}}[=VALUE]"
        )))
    }
}

fn fulfilled(wish: &Wish, found: Result<Found, Failure>) -> Result<bool, Failure> {
    let found = match (wish, found) {
        (Wish::Delete, found) => return Ok(found.is_err()),
        (_, found) => found?,
    };
    let object = found.object();
    Ok(match wish {
        Wish::Delete => false,
        Wish::Condition { name, status } => {
            condition(&object, name).is_some_and(|now| now.eq_ignore_ascii_case(status))
        }
        Wish::Path { path, value } => {
            let now = path.print(&object).unwrap_or_default();
            match value {
                Some(value) => now == *value,
                None => !now.is_empty(),
            }
        }
    })
}

fn condition<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    let conditions = object["status"]["conditions"].as_array()?;
    let found = conditions
        .iter()
        .find(|known| known["type"].as_str().is_some_and(|t| t.eq_ignore_ascii_case(name)))?;
    found["status"].as_str()
}
