//! `--sort-by`: objects in the order of one of their fields (kubectl: `pkg/cmd/get/sorter.go`).

use std::cmp::Ordering;

use serde_json::Value;

use super::jsonpath::{JsonPathError, Template, text_of};

/// Why objects cannot be sorted.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SortError {
    /// The path is wrong, or does not fit an object.
    #[error("sort by {path}")]
    Path {
        /// The path.
        path: String,
        /// What is wrong.
        #[source]
        source: JsonPathError,
    },
    /// No object has it.
    #[error("sort by {path}: couldn't find any field with that path in the list of objects")]
    Nowhere {
        /// The path.
        path: String,
    },
}

/// Sorts objects by what the path finds in them; those where it finds nothing come first.
///
/// # Errors
/// A wrong path, or one that finds nothing in any object.
pub fn sort(objects: &mut [Value], path: &str) -> Result<(), SortError> {
    let wrong = |source| SortError::Path { path: path.to_owned(), source };
    let template = Template::parse_relaxed(path).map_err(wrong)?;
    let key = |object: &Value| template.find(object).map(|found| found.first().map(|found| (*found).clone()));
    let keys = objects.iter().map(key).collect::<Result<Vec<_>, _>>().map_err(wrong)?;
    if !objects.is_empty() && keys.iter().all(Option::is_none) {
        return Err(SortError::Nowhere { path: path.to_owned() });
    }
    let mut pairs: Vec<(Option<Value>, Value)> = keys.into_iter().zip(objects.iter().cloned()).collect();
    pairs.sort_by(|(left, _), (right, _)| match (left, right) {
        (Some(left), Some(right)) => compare(left, right),
        (left, right) => left.is_some().cmp(&right.is_some()),
    });
    objects.iter_mut().zip(pairs).for_each(|(place, (_, object))| *place = object);
    Ok(())
}

fn compare(left: &Value, right: &Value) -> Ordering {
    match (left.as_f64(), right.as_f64()) {
        (Some(left), Some(right)) => left.total_cmp(&right),
        _ => natural(&text_of(left), &text_of(right)),
    }
}

/// `web-2` before `web-10`: runs of digits are compared as numbers.
fn natural(left: &str, right: &str) -> Ordering {
    let (mut left, mut right) = (left, right);
    loop {
        let (Some(a), Some(b)) = (left.chars().next(), right.chars().next()) else {
            return left.len().cmp(&right.len());
        };
        if a.is_ascii_digit() && b.is_ascii_digit() {
            let (a, b) = (digits(&mut left), digits(&mut right));
            let order = a.len().cmp(&b.len()).then_with(|| a.cmp(b));
            if order != Ordering::Equal {
                return order;
            }
        } else if a == b {
            (left, right) = (&left[a.len_utf8()..], &right[b.len_utf8()..]);
        } else {
            return a.cmp(&b);
        }
    }
}

/// Takes the digits at the beginning away and gives them without leading zeros.
fn digits<'a>(text: &mut &'a str) -> &'a str {
    let end = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    *text = rest;
    digits.trim_start_matches('0')
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn sorted(path: &str) -> Result<Vec<String>, SortError> {
        let pod = |name: &str, restarts: Value| json!({"metadata": {"name": name}, "restarts": restarts});
        let mut pods = [pod("web-10", json!(2)), pod("web-2", Value::Null), pod("db", json!(10))];
        pods[1].as_object_mut().unwrap().remove("restarts");
        sort(&mut pods, path)?;
        Ok(pods.iter().map(|pod| text_of(&pod["metadata"]["name"])).collect())
    }

    #[test]
    fn texts_sort_as_people_count_and_numbers_as_numbers() {
        for path in [".metadata.name", "{.metadata.name}", "metadata.name"] {
            assert_eq!(sorted(path).unwrap(), ["db", "web-2", "web-10"], "{path}");
        }
        assert_eq!(sorted(".restarts").unwrap(), ["web-2", "web-10", "db"], "what has none comes first");
    }

    #[test]
    fn a_field_that_nothing_has_is_an_error() {
        assert!(matches!(sorted(".metadata.nmae"), Err(SortError::Nowhere { .. })));
        assert!(matches!(sorted("{.metadata"), Err(SortError::Path { .. })));
    }
}
