//! The object that a manifest stands for: its canonical JSON, and the way back from a field to its place.

use k8s_openapi::api::core::v1 as k8s;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::diagnostic::{Finding, Severity};
use super::tree::{Kind, NodeId, Span, Tree};
use crate::pod::field::Path;

/// Keys that the API server writes only if they say something, and what says nothing there.
const FALSE: [&str; 7] = ["hostNetwork", "hostPID", "hostIPC", "stdin", "stdinOnce", "tty", "readOnly"];
const ZERO: [&str; 2] = ["hostPort", "initialDelaySeconds"];
const EMPTY_MAPS: [&str; 5] = ["labels", "annotations", "limits", "requests", "nodeSelector"];

/// The defaulted Pod as the API server would print it: `apiVersion`, `kind`, `metadata`, `spec`.
pub(crate) fn to_json(pod: &k8s::Pod) -> Result<Value, serde_json::Error> {
    let mut value = serde_json::to_value(pod)?;
    prune(&mut value);
    if let Some(metadata) = value.get_mut("metadata").and_then(|metadata| metadata.as_object_mut()) {
        metadata.remove("creationTimestamp");
    }
    Ok(value)
}

fn prune(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|key, value| {
                // What the user named must stay as it is, whatever it is called.
                if !matches!(key.as_str(), "labels" | "annotations" | "nodeSelector") {
                    prune(value);
                }
                !says_nothing(key, value)
            });
        }
        Value::Array(items) => items.iter_mut().for_each(prune),
        _ => {}
    }
}

fn says_nothing(key: &str, value: &Value) -> bool {
    match value {
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty() && EMPTY_MAPS.contains(&key),
        Value::String(text) => text.is_empty() && !matches!(key, "type" | "value"),
        Value::Bool(value) => !value && FALSE.contains(&key),
        Value::Number(number) => number.as_i64() == Some(0) && ZERO.contains(&key),
        Value::Null => true,
    }
}

/// SHA-256 (hex) over the canonical JSON: keys sorted, no blanks.
pub(crate) fn hash(object: &Value) -> String {
    let mut text = String::with_capacity(2048);
    canonical(object, &mut text);
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().fold(String::with_capacity(64), |mut hex, byte| {
        for half in [byte >> 4, byte & 15] {
            hex.push(char::from(b"0123456789abcdef"[usize::from(half)]));
        }
        hex
    })
}

fn canonical(value: &Value, text: &mut String) {
    let separate = |text: &mut String, index: usize| {
        if index > 0 {
            text.push(',');
        }
    };
    match value {
        Value::Object(fields) => {
            let mut sorted: Vec<_> = fields.iter().collect();
            sorted.sort_unstable_by_key(|(key, _)| *key);
            text.push('{');
            for (index, (key, value)) in sorted.into_iter().enumerate() {
                separate(text, index);
                canonical(&Value::String(key.clone()), text);
                text.push(':');
                canonical(value, text);
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                separate(text, index);
                canonical(item, text);
            }
            text.push(']');
        }
        scalar => text.push_str(&scalar.to_string()),
    }
}

/// Where the field at `field` (below `path`, where `node` stands) is written, or what is nearest to it.
pub(crate) fn locate_below(tree: &Tree<'_>, node: NodeId, path: &Path<'_>, field: &str) -> Span {
    let base = path.to_string();
    let below = field.strip_prefix(base.as_str()).unwrap_or(field);
    locate(tree, node, below.trim_start_matches('.'))
}

/// Where a field is written: its value, or, if it is missing, the key of what should hold it.
pub(crate) fn locate(tree: &Tree<'_>, node: NodeId, field: &str) -> Span {
    let mut node = node;
    let mut place = head(tree, node);
    for step in steps(field) {
        match &tree.node(node).kind {
            Kind::Map(entries) => {
                let Some(entry) = entries.iter().find(|entry| entry.key == step) else { return place };
                node = entry.value;
                place = if matches!(tree.node(node).kind, Kind::Scalar(_)) && !tree.is_null(node) {
                    tree.node(node).span
                } else {
                    entry.key_span
                };
            }
            Kind::Seq(items) => {
                let item = step.parse::<usize>().ok().and_then(|index| items.get(index));
                let Some(item) = item else { return place };
                node = *item;
                place = head(tree, node);
            }
            Kind::Scalar(_) => return place,
        }
    }
    place
}

/// The beginning of a node: a mapping's first key, a scalar itself.
fn head(tree: &Tree<'_>, node: NodeId) -> Span {
    match &tree.node(node).kind {
        Kind::Map(entries) => entries.first().map_or(tree.node(node).span, |entry| entry.key_span),
        Kind::Seq(_) | Kind::Scalar(_) => tree.node(node).span,
    }
}

/// `spec.containers[0].limits[a.b/c]` as `spec`, `containers`, `0`, `limits`, `a.b/c`.
fn steps(field: &str) -> impl Iterator<Item = &str> {
    let mut rest = field;
    std::iter::from_fn(move || {
        rest = rest.strip_prefix('.').unwrap_or(rest);
        if rest.is_empty() {
            return None;
        }
        let (step, after) = match rest.strip_prefix('[') {
            Some(inside) => inside.split_once(']').unwrap_or((inside, "")),
            None => rest.split_at(rest.find(['.', '[']).unwrap_or(rest.len())),
        };
        rest = after;
        Some(step)
    })
}

/// Whether a field was compared with the one at `root`, which has no value since it could not be read.
fn compares(finding: &Finding, root: &str) -> bool {
    if let Some(resources) = finding.path.strip_suffix(".requests") {
        let limit = root.strip_prefix(resources).and_then(|rest| rest.strip_prefix(".limits["));
        let name = limit.and_then(|rest| rest.strip_suffix(']'));
        return name.is_some_and(|name| finding.message.contains(&format!("{name} limit of ")));
    }
    let seconds = "terminationGracePeriodSeconds";
    root.strip_suffix(seconds).is_some_and(|spec| spec.ends_with("spec."))
        && finding.message.contains(&format!("less than {seconds}"))
}

/// Drops what only follows from a mistake already noted: a value of the wrong type is also an empty one, and
/// an unknown field is also one that is not honoured. Only the first `causes` findings make others drop.
pub(crate) fn without_consequences(findings: &mut Vec<Finding>, causes: usize) {
    let mut roots: Vec<String> = Vec::new();
    let mut at = 0;
    findings.retain(|finding| {
        let below = |root: &String| {
            let rest = finding.path.strip_prefix(root.as_str());
            rest.is_some_and(|rest| root.is_empty() || rest.is_empty() || rest.starts_with(['.', '[']))
        };
        let follows = roots.iter().any(|root| below(root) || compares(finding, root));
        if !follows && at < causes && finding.severity == Severity::Error {
            roots.push(finding.path.clone());
        }
        at += 1;
        !follows
    });
}
