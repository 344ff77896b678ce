//! Walking a template over an object.

use std::cmp::Ordering;

use serde_json::Value;

use super::JsonPathError;
use super::ast::{Comparison, Filter, Node, Operand, Slice, Step};

/// Prints the nodes; the values of one path are parted by spaces.
pub(super) fn print(nodes: &[Node], object: &Value, out: &mut String) -> Result<(), JsonPathError> {
    for node in nodes {
        match node {
            Node::Text(text) => out.push_str(text),
            Node::Path(path) => {
                let found = walk(path, vec![object])?;
                out.push_str(&found.into_iter().map(text_of).collect::<Vec<_>>().join(" "));
            }
            Node::Range(path, inner) => {
                for item in walk(path, vec![object])? {
                    print(inner, item, out)?;
                }
            }
        }
    }
    Ok(())
}

/// Collects what the nodes' paths find.
pub(super) fn find<'a>(
    nodes: &'a [Node],
    object: &'a Value,
    found: &mut Vec<&'a Value>,
) -> Result<(), JsonPathError> {
    for node in nodes {
        match node {
            Node::Text(_) => {}
            Node::Path(path) => found.extend(walk(path, vec![object])?),
            Node::Range(path, inner) => {
                for item in walk(path, vec![object])? {
                    find(inner, item, found)?;
                }
            }
        }
    }
    Ok(())
}

/// A value as a template prints it: a string bare, an object or a list as JSON.
pub fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn walk<'a>(path: &[Step], from: Vec<&'a Value>) -> Result<Vec<&'a Value>, JsonPathError> {
    path.iter().try_fold(from, |values, step| take(step, values))
}

fn mismatch<T>(step: &Step, message: impl Into<String>) -> Result<T, JsonPathError> {
    Err(JsonPathError::Mismatch { step: step.to_string(), message: message.into() })
}

fn take<'a>(step: &Step, values: Vec<&'a Value>) -> Result<Vec<&'a Value>, JsonPathError> {
    let mut found = Vec::new();
    match step {
        Step::Union(paths) => {
            for path in paths {
                found.extend(walk(path, values.clone())?);
            }
            return Ok(found);
        }
        Step::Deep => values.into_iter().for_each(|value| deep(value, &mut found)),
        Step::Field(name) => found.extend(values.into_iter().filter_map(|value| value.get(name))),
        Step::All => values.into_iter().for_each(|value| found.extend(members(value))),
        Step::Index(_) | Step::Slice(_) | Step::Filter(_) => {
            for value in values.into_iter().filter(|value| !value.is_null()) {
                let Some(list) = value.as_array() else {
                    return mismatch(step, format!("{} is not a list", kind(value)));
                };
                from_list(step, list, &mut found)?;
            }
        }
    }
    Ok(found)
}

fn from_list<'a>(step: &Step, list: &'a [Value], found: &mut Vec<&'a Value>) -> Result<(), JsonPathError> {
    match step {
        Step::Index(index) => match position(*index, list.len()).and_then(|at| list.get(at)) {
            Some(value) => found.push(value),
            None => {
                return mismatch(
                    step,
                    format!("array index out of bounds: index {index}, length {}", list.len()),
                );
            }
        },
        Step::Slice(slice) => found.extend(cut(step, *slice, list)?),
        Step::Filter(filter) => {
            for item in list {
                if passes(step, filter, item)? {
                    found.push(item);
                }
            }
        }
        Step::Field(_) | Step::All | Step::Deep | Step::Union(_) => {}
    }
    Ok(())
}

fn members(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(list) => list.iter().collect(),
        Value::Object(map) => map.values().collect(),
        _ => Vec::new(),
    }
}

/// The value and all objects and lists below it, each before its own; what is empty or a leaf leads nowhere.
fn deep<'a>(value: &'a Value, found: &mut Vec<&'a Value>) {
    let members = members(value);
    if members.is_empty() {
        return;
    }
    found.push(value);
    members.into_iter().for_each(|member| deep(member, found));
}

fn position(index: i64, length: usize) -> Option<usize> {
    let length = i64::try_from(length).ok()?;
    usize::try_from(if index < 0 { index + length } else { index }).ok()
}

fn cut<'a>(
    step: &Step,
    slice: Slice,
    list: &'a [Value],
) -> Result<impl Iterator<Item = &'a Value> + use<'a>, JsonPathError> {
    let length = list.len();
    let bound = |written: Option<i64>, default: usize| match written {
        None => Some(default),
        Some(index) => position(index, length),
    };
    let (from, to) = (bound(slice.from, 0), bound(slice.to, length));
    let stride = match slice.step.map(usize::try_from) {
        None => 1,
        Some(Ok(stride)) if stride > 0 => stride,
        Some(_) => return mismatch(step, "a slice's step must be greater than 0"),
    };
    let range = match (from, to) {
        (Some(from), Some(to)) if from == to => 0..0,
        (Some(from), Some(to)) if from < to && to <= length => from..to,
        (Some(from), Some(to)) if from > to => {
            return mismatch(step, format!("starting index {from} is greater than ending index {to}"));
        }
        _ => return mismatch(step, format!("array index out of bounds: length {length}")),
    };
    Ok(list[range].iter().step_by(stride))
}

fn passes(step: &Step, filter: &Filter, item: &Value) -> Result<bool, JsonPathError> {
    // A path that does not fit this item finds nothing in it; other items may fit.
    let values = |operand: &'_ Operand| -> Vec<Value> {
        match operand {
            Operand::Literal(value) => vec![value.clone()],
            Operand::Path(path) => walk(path, vec![item]).unwrap_or_default().into_iter().cloned().collect(),
        }
    };
    let left = values(&filter.left);
    let Some((comparison, right)) = &filter.test else { return Ok(!left.is_empty()) };
    let right = values(right);
    match (&left[..], &right[..]) {
        ([], _) | (_, []) => Ok(false),
        ([left], [right]) => match compare(left, right, *comparison) {
            Some(truth) => Ok(truth),
            None => mismatch(step, format!("{} cannot be compared with {}", kind(left), kind(right))),
        },
        _ => mismatch(step, "only one value can be compared with another"),
    }
}

fn compare(left: &Value, right: &Value, comparison: Comparison) -> Option<bool> {
    let order = match (left, right) {
        (Value::Number(left), Value::Number(right)) => match (left.as_i64(), right.as_i64()) {
            (Some(left), Some(right)) => left.cmp(&right),
            _ => left.as_f64()?.partial_cmp(&right.as_f64()?)?,
        },
        (Value::String(left), Value::String(right)) => left.cmp(right),
        (Value::Bool(_), Value::Bool(_)) | (Value::Null, _) | (_, Value::Null) => {
            return match comparison {
                Comparison::Equal => Some(left == right),
                Comparison::Different => Some(left != right),
                _ => None,
            };
        }
        _ => return None,
    };
    Some(match comparison {
        Comparison::Equal => order == Ordering::Equal,
        Comparison::Different => order != Ordering::Equal,
        Comparison::Less => order == Ordering::Less,
        Comparison::LessOrEqual => order != Ordering::Greater,
        Comparison::Greater => order == Ordering::Greater,
        Comparison::GreaterOrEqual => order != Ordering::Less,
    })
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
