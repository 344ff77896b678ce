//! From `run`'s flags to the v1 Pod that kubectl would have sent.

use serde_json::{Map, Value, json};

use super::super::Failure;
use super::RunArgs;

/// The Pod, without defaults.
///
/// # Errors
/// If a flag is no `NAME=VALUE` or the overrides are no JSON object.
pub(super) fn pod(args: &RunArgs) -> Result<Value, Failure> {
    let mut metadata = json!({"name": args.name, "namespace": args.namespace, "labels": {"run": args.name}});
    if !args.labels.is_empty() {
        metadata["labels"] = pairs(&args.labels, "--labels")?;
    }
    if !args.annotations.is_empty() {
        metadata["annotations"] = pairs(&args.annotations, "--annotations")?;
    }
    let mut pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {"containers": [container(args)?], "restartPolicy": args.restart},
    });
    if let Some(overrides) = &args.overrides {
        let patch: Map<String, Value> = serde_json::from_str(overrides)
            .map_err(|error| Failure::wrong(format!("--overrides is no JSON object: {error}")))?;
        merge(&mut pod, &Value::Object(patch));
    }
    Ok(pod)
}

fn container(args: &RunArgs) -> Result<Value, Failure> {
    let mut container = json!({"name": args.name, "image": args.image});
    if !args.args.is_empty() {
        container[if args.command { "command" } else { "args" }] = json!(args.args);
    }
    if !args.env.is_empty() {
        let variable = |text: &String| {
            let (name, value) = pair(text, "--env")?;
            Ok(json!({"name": name, "value": value}))
        };
        container["env"] = args.env.iter().map(variable).collect::<Result<Vec<_>, Failure>>()?.into();
    }
    if let Some(port) = args.port {
        container["ports"] = json!([{"containerPort": port}]);
    }
    if let Some(policy) = &args.image_pull_policy {
        container["imagePullPolicy"] = json!(policy);
    }
    if args.privileged {
        container["securityContext"] = json!({"privileged": true});
    }
    if args.streams.stdin {
        container["stdin"] = json!(true);
        // kubectl: without --leave-stdin-open the first session's end is the input's.
        if !args.afterwards.leave_stdin_open {
            container["stdinOnce"] = json!(true);
        }
    }
    if args.streams.tty {
        container["tty"] = json!(true);
    }
    Ok(container)
}

fn pairs(texts: &[String], flag: &str) -> Result<Value, Failure> {
    let pairs =
        texts.iter().map(|text| pair(text, flag).map(|(name, value)| (name.to_owned(), json!(value))));
    Ok(Value::Object(pairs.collect::<Result<_, _>>()?))
}

/// What stands before and behind the first `=`.
pub(in crate::cli) fn pair<'a>(text: &'a str, flag: &str) -> Result<(&'a str, &'a str), Failure> {
    let pair = text.split_once('=').filter(|(name, _)| !name.is_empty());
    pair.ok_or_else(|| Failure::wrong(format!("{flag} {text}: write NAME=VALUE")))
}

/// A JSON merge patch (RFC 7386): null removes, mappings are merged, anything else replaces.
pub(in crate::cli) fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (key, value) in patch {
        match (value, target.as_object_mut()) {
            (Value::Null, Some(map)) => drop(map.remove(key)),
            _ => merge(&mut target[key], value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_merge_patch_replaces_lists_merges_mappings_and_removes_nulls() {
        let mut target = json!({"a": {"b": 1, "c": 2}, "list": [1, 2], "gone": true});
        merge(
            &mut target,
            &json!({"a": {"b": 3}, "list": [4], "gone": null, "new": {"x": {"y": null, "z": 1}}}),
        );
        assert_eq!(target, json!({"a": {"b": 3, "c": 2}, "list": [4], "new": {"x": {"z": 1}}}));
    }

    #[test]
    fn variables_need_a_name() {
        assert_eq!(pair("A=b=c", "--env").unwrap(), ("A", "b=c"));
        assert_eq!(pair("=b", "--env").unwrap_err().message(), "--env =b: write NAME=VALUE");
        assert!(pair("A", "--env").is_err());
    }
}
