//! Where a field stands and what is wrong with it, in the API server's words.
//!
//! The forms are those of `k8s.io/apimachinery/pkg/util/validation/field`: `PATH: TYPE: DETAIL`.

use std::fmt;

/// A field's path, built while walking down: `spec.containers[0].resources.limits[cpu]`.
///
/// Each step borrows the one above, so that walking costs nothing; text is made only for an error.
#[derive(Clone, Copy, Debug)]
pub struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    step: Step<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Step<'a> {
    Root,
    Field(&'a str),
    Index(usize),
    Key(&'a str),
}

impl<'a> Path<'a> {
    /// The object itself.
    pub const ROOT: Path<'static> = Path { parent: None, step: Step::Root };

    /// A field of this object.
    #[must_use]
    pub fn field(&'a self, name: &'a str) -> Path<'a> {
        Path { parent: Some(self), step: Step::Field(name) }
    }

    /// What this is a field, an element or a key of; `None` for the object itself.
    #[must_use]
    pub fn parent(&self) -> Option<&'a Path<'a>> {
        self.parent
    }

    /// An element of this list.
    #[must_use]
    pub fn index(&'a self, index: usize) -> Path<'a> {
        Path { parent: Some(self), step: Step::Index(index) }
    }

    /// A key of this map.
    #[must_use]
    pub fn key(&'a self, key: &'a str) -> Path<'a> {
        Path { parent: Some(self), step: Step::Key(key) }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut at_start = true;
        if let Some(parent) = self.parent {
            parent.fmt(f)?;
            at_start = matches!(parent.step, Step::Root);
        }
        match self.step {
            Step::Root => Ok(()),
            Step::Field(name) if at_start => f.write_str(name),
            Step::Field(name) => write!(f, ".{name}"),
            Step::Index(index) => write!(f, "[{index}]"),
            Step::Key(key) => write!(f, "[{key}]"),
        }
    }
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// Where.
    pub path: String,
    /// The path of what is written and at fault, where the API server names another.
    pub culprit: Option<String>,
    /// `TYPE: DETAIL`.
    pub message: String,
    /// What would be right, where that can be said.
    pub hint: Option<String>,
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

/// A value as an error shows it: strings quoted, numbers and booleans bare.
#[derive(Clone, Debug)]
pub(crate) struct Shown(String);

impl From<&str> for Shown {
    fn from(text: &str) -> Self {
        Self(format!("{text:?}"))
    }
}

impl From<&String> for Shown {
    fn from(text: &String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<i64> for Shown {
    fn from(number: i64) -> Self {
        Self(number.to_string())
    }
}

impl From<i32> for Shown {
    fn from(number: i32) -> Self {
        Self(number.to_string())
    }
}

impl From<bool> for Shown {
    fn from(value: bool) -> Self {
        Self(value.to_string())
    }
}

impl From<serde_json::Value> for Shown {
    fn from(value: serde_json::Value) -> Self {
        Self(value.to_string())
    }
}

/// All the mistakes found so far.
#[derive(Debug, Default)]
pub(crate) struct Errors {
    found: Vec<FieldError>,
    full: bool,
}

/// More than anyone would read.
const MOST: usize = 200;
/// So many names are listed in a hint.
const LISTED: usize = 8;

impl Errors {
    fn push(&mut self, path: &Path<'_>, message: String) {
        self.full = self.found.len() >= MOST;
        if !self.full {
            self.found.push(FieldError { path: path.to_string(), culprit: None, message, hint: None });
        }
    }

    /// Words that the API server does not have.
    pub(crate) fn say(&mut self, path: &Path<'_>, message: String) {
        self.push(path, message);
    }

    /// `Required value`, with a detail or without.
    pub(crate) fn required(&mut self, path: &Path<'_>, detail: &str) {
        let message =
            if detail.is_empty() { "Required value".to_owned() } else { format!("Required value: {detail}") };
        self.push(path, message);
    }

    /// `Invalid value: V: DETAIL`
    pub(crate) fn invalid(&mut self, path: &Path<'_>, value: impl Into<Shown>, detail: &str) {
        self.push(path, format!("Invalid value: {}: {detail}", value.into().0));
    }

    /// `Unsupported value: V: supported values: "a", "b"`
    pub(crate) fn unsupported(&mut self, path: &Path<'_>, value: &str, supported: &[&str]) {
        let list: Vec<String> = supported.iter().map(|s| format!("{s:?}")).collect();
        self.push(path, format!("Unsupported value: {value:?}: supported values: {}", list.join(", ")));
    }

    /// `Duplicate value: V`
    pub(crate) fn duplicate(&mut self, path: &Path<'_>, value: &str) {
        self.push(path, format!("Duplicate value: {value:?}"));
    }

    /// `Forbidden: DETAIL`
    pub(crate) fn forbidden(&mut self, path: &Path<'_>, detail: &str) {
        self.push(path, format!("Forbidden: {detail}"));
    }

    /// `Not found: V`
    pub(crate) fn not_found(&mut self, path: &Path<'_>, value: &str) {
        self.push(path, format!("Not found: {value:?}"));
    }

    /// `Too long: DETAIL`
    pub(crate) fn too_long(&mut self, path: &Path<'_>, detail: &str) {
        self.push(path, format!("Too long: {detail}"));
    }

    /// `Too many: N: must have at most M items`
    pub(crate) fn too_many(&mut self, path: &Path<'_>, count: usize, most: usize) {
        self.push(path, format!("Too many: {count}: must have at most {most} items"));
    }

    /// Says which field is at fault, for the mistake that was reported last, if its own path is not written.
    pub(crate) fn blame(&mut self, culprit: &Path<'_>) {
        if let Some(last) = self.found.last_mut().filter(|_| !self.full) {
            last.culprit = Some(culprit.to_string());
        }
    }

    /// Says what would be right, for the mistake that was reported last.
    pub(crate) fn hint(&mut self, hint: impl Into<String>) {
        if let Some(last) = self.found.last_mut().filter(|_| !self.full) {
            last.hint = Some(hint.into());
        }
    }

    /// Says what there is, for the mistake that was reported last.
    pub(crate) fn hint_names<'n>(&mut self, what: &str, names: impl Iterator<Item = &'n str>) {
        let mut names: Vec<&str> = names.take(LISTED + 1).collect();
        if names.len() > LISTED {
            names[LISTED] = "…";
        }
        self.hint(format!("{what} {}", names.join(", ")));
    }

    /// Reports each message as `Invalid value`.
    pub(crate) fn invalid_all(&mut self, path: &Path<'_>, value: &str, details: &[&str]) {
        for detail in details {
            self.invalid(path, value, detail);
        }
    }

    /// All of them, in the order they were found.
    pub(crate) fn into_vec(self) -> Vec<FieldError> {
        self.found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_reads_as_the_api_server_writes_it() {
        let spec = Path::ROOT.field("spec");
        let containers = spec.field("containers");
        let first = containers.index(0);
        let limits = first.field("limits");
        assert_eq!(limits.key("cpu").to_string(), "spec.containers[0].limits[cpu]");
        assert_eq!(Path::ROOT.to_string(), "");
    }
}
