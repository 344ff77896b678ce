//! `podbox diff`: what `up` would change, before it does.

use std::fs;
use std::process::ExitCode;

use clap::Args;
use serde_json::Value;
use similar::TextDiff;

use crate::objects::{change, without_set};
use crate::output::to_yaml;
use crate::store::ObjectKind;

use super::strictness::ValidateFlag;
use super::up::objects::refused;
use super::{Failure, Session, names, out, pods, removal};

/// Arguments of `diff`.
#[derive(Debug, Args)]
pub(super) struct DiffArgs {
    /// Manifests: files, directories, or - for standard input
    #[arg(required_unless_present = "filename", value_name = "FILE|DIR|-")]
    files: Vec<String>,
    /// The same, for hands that are used to it
    #[arg(long, short = 'f', value_name = "FILE|DIR|-")]
    filename: Vec<String>,
    #[command(flatten)]
    validate: ValidateFlag,
}

/// Runs the command: exit code 0 if nothing would change, 1 if something would, more if it cannot be told.
pub(super) fn run(session: &Session, args: &DiffArgs) -> Result<ExitCode, Failure> {
    let files = [args.files.as_slice(), &args.filename].concat();
    let loaded = names::load_for(
        &session.settings,
        &files,
        args.validate.strictness(),
        &session.settings.pods.allowed_unsafe_sysctls,
    )?;
    let mut text = String::new();
    for one in &loaded.objects {
        let (kind, store) = (one.kind, &session.settings.store);
        let live = store.object(kind, &one.namespace, &one.name).map_err(|error| Failure::host(&error))?;
        let changed = change(kind, live.as_ref(), &one.object);
        let (_, new) = changed.map_err(|wrong| refused(kind, &one.name, &wrong))?;
        text.push_str(&compare(&title(kind, &one.namespace, &one.name), sides(kind, live, new)));
    }
    for one in &loaded.pods {
        let live = pods::find(session, &one.pod.namespace, &one.pod.name).ok();
        let live: Option<Value> =
            live.and_then(|found| serde_json::from_slice(&fs::read(found.dir.object()).ok()?).ok());
        let title = format!("v1.Pod.{}.{}", one.pod.namespace, one.pod.name);
        text.push_str(&compare(&title, (live.map(|live| without_set(&live)), one.object.clone())));
    }
    if text.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    out::print(text)?;
    Ok(ExitCode::from(1))
}

/// `v1.ConfigMap.default.web`, as kubectl calls the files that it compares.
fn title(kind: ObjectKind, namespace: &str, name: &str) -> String {
    format!("v1.{}.{namespace}.{name}", kind.kind())
}

/// What is compared of an object: not which set it belongs to, and not what a Secret holds.
fn sides(kind: ObjectKind, live: Option<Value>, new: Value) -> (Option<Value>, Value) {
    let shown = removal::masked(kind, without_set(&new), live.as_ref(), "after");
    let live = live.map(|live| removal::masked(kind, without_set(&live), Some(&new), "before"));
    (live, shown)
}

/// The unified diff of both, as YAML; empty if they are the same.
fn compare(title: &str, (live, new): (Option<Value>, Value)) -> String {
    let before = live.as_ref().map(|live| to_yaml(&sorted(live))).unwrap_or_default();
    let after = to_yaml(&sorted(&new));
    if before == after {
        return String::new();
    }
    let (old, new) = (format!("LIVE/{title}"), format!("MERGED/{title}"));
    let diff = TextDiff::from_lines(&before, &after);
    let body = diff.unified_diff().context_radius(3).header(&old, &new).to_string();
    format!("diff -u -N {old} {new}\n{body}")
}

/// The same with all keys in order, in which the fields of the live object may not be.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut all: Vec<_> = fields.iter().collect();
            all.sort_by_key(|(key, _)| *key);
            Value::Object(all.into_iter().map(|(key, value)| (key.clone(), sorted(value))).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
        leaf => leaf.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_difference_is_shown_as_kubectl_does_and_a_secret_is_not() {
        let secret = |value: &str| json!({"kind": "Secret", "data": {"a": value, "b": "c2FtZQ=="}});
        let kind = ObjectKind::Secret;
        let text = compare("v1.Secret.default.s", sides(kind, Some(secret("b25l")), secret("dHdv")));
        let want = "diff -u -N LIVE/v1.Secret.default.s MERGED/v1.Secret.default.s\n--- LIVE/v1.Secret.default.s\n\
                    +++ MERGED/v1.Secret.default.s\n@@ -1,4 +1,4 @@\n data:\n-  a: '*** (before)'\n\
                    +  a: '*** (after)'\n   b: '***'\n kind: Secret\n";
        assert_eq!(text, want);
        assert_eq!(compare("x", sides(kind, Some(secret("b25l")), secret("b25l"))), "");
    }

    #[test]
    fn what_is_not_there_yet_is_new_from_its_first_line_on() {
        let text = compare("v1.ConfigMap.default.a", (None, json!({"data": {"k": "v"}})));
        assert!(text.ends_with("@@ -0,0 +1,2 @@\n+data:\n+  k: v\n"), "{text}");
    }
}
