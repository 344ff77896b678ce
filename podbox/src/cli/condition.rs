//! `podbox condition`: set conditions of a pod from outside, which is how a readiness gate is opened.

use std::process::ExitCode;

use clap::Args;

use crate::output::table::Table;
use crate::supervisor::control::Request;
use crate::supervisor::machine::{OWN_CONDITIONS, Truth};

use super::pods::{self, Found};
use super::{Failure, Session, completion, names, out};

/// Arguments of `condition`.
#[derive(Debug, Args)]
pub(super) struct ConditionArgs {
    /// The pod
    #[arg(add = completion::pod())]
    pod: String,
    /// What to set, such as example.com/ready=True; without any the pod's conditions are listed
    #[arg(value_name = "TYPE=True|False|Unknown")]
    conditions: Vec<String>,
    /// A word that says why
    #[arg(long)]
    reason: Option<String>,
    /// A sentence that says why
    #[arg(long)]
    message: Option<String>,
    /// Namespace
    #[arg(long, short, default_value = "default", add = completion::namespace())]
    namespace: String,
}

/// Runs the command.
pub(super) fn run(session: &Session, args: &ConditionArgs) -> Result<ExitCode, Failure> {
    let settings = args.conditions.iter().map(|text| setting(text)).collect::<Result<Vec<_>, _>>()?;
    let (namespace, name) = names::pod_name(&args.pod, &args.namespace);
    let found = pods::find(session, namespace, name)?;
    if settings.is_empty() {
        out::print(list(&found))?;
        return Ok(ExitCode::SUCCESS);
    }
    names::require_root("set a condition")?;
    found.readopt_if_abandoned()?;
    for (kind, status) in settings {
        let (reason, message) = (args.reason.clone(), args.message.clone());
        let text = format!("condition {kind} of pod {} is {}", found.name(), status.name());
        found.request(Request::SetCondition { kind, status, reason, message }, "set a condition of")?;
        if !session.quiet {
            out::line(text)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// `TYPE=STATUS`, the type by the rules of qualified names.
fn setting(text: &str) -> Result<(String, Truth), Failure> {
    let wrong = |why: &str| Failure::wrong(format!("{text}: {why}"));
    let (kind, status) =
        text.split_once('=').ok_or_else(|| wrong("want TYPE=True, TYPE=False or TYPE=Unknown"))?;
    let status = match status.to_ascii_lowercase().as_str() {
        "true" => Truth::True,
        "false" => Truth::False,
        "unknown" => Truth::Unknown,
        _ => return Err(wrong("a condition is True, False or Unknown")),
    };
    if OWN_CONDITIONS.contains(&kind) {
        return Err(wrong("it follows from the pod's state and cannot be set"));
    }
    if !crate::output::selector::is_key(kind) {
        return Err(wrong("the type is no qualified name, such as example.com/ready"));
    }
    Ok((kind.to_owned(), status))
}

fn list(found: &Found) -> String {
    let object = found.object();
    let mut table = Table::new(["TYPE", "STATUS", "SINCE", "REASON", "MESSAGE"]);
    for condition in object["status"]["conditions"].as_array().into_iter().flatten() {
        let text = |key: &str| condition[key].as_str().unwrap_or_default().to_owned();
        table.push(["type", "status", "lastTransitionTime", "reason", "message"].map(text));
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_a_type_and_one_of_three_words() {
        assert_eq!(setting("example.com/gate=true").unwrap(), ("example.com/gate".to_owned(), Truth::True));
        assert_eq!(setting("gate=Unknown").unwrap().1, Truth::Unknown);
        for text in ["gate", "gate=yes", "=True", "a b=True", "a/b/c=False", "Ready=True"] {
            assert!(setting(text).is_err(), "{text}");
        }
    }
}
