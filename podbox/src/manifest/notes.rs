//! What is noted while an object is read, and what becomes of fields that Kubernetes does not know.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt::Write;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::diagnostic::{Finding, NOTED, Severity};
use super::suggest;
use super::tree::Entry;
use crate::pod::field::Path;

/// What becomes of a field that Kubernetes does not know, or that is given twice: `kubectl --validate`. Everything else
/// that is wrong with a manifest is an error in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strictness {
    /// Dropped without a word; of a field that is given twice the last one counts.
    Ignore,
    /// The same, with a warning.
    Warn,
    /// An error.
    #[default]
    Strict,
}

impl Strictness {
    /// How bad such a field is; `None` if nothing is to be said about it.
    pub(crate) fn severity(self) -> Option<Severity> {
        match self {
            Strictness::Ignore => None,
            Strictness::Warn => Some(Severity::Warning),
            Strictness::Strict => Some(Severity::Error),
        }
    }
}

/// What is wrong with one object, and the fields of it that were dropped because nobody knows them.
#[derive(Default)]
pub(crate) struct Notes {
    strictness: Strictness,
    found: RefCell<Vec<Finding>>,
    /// Which object, as a hash of its path, and where in the text the field's name begins.
    dropped: RefCell<HashSet<(u64, u32)>>,
}

impl Notes {
    pub(crate) fn new(strictness: Strictness) -> Self {
        Self { strictness, ..Self::default() }
    }

    /// Whether there are so many that nobody would read more.
    pub(crate) fn is_full(&self) -> bool {
        self.found.borrow().len() >= NOTED
    }

    /// Notes a mistake, unless there are too many already.
    pub(crate) fn add(&self, finding: Finding) {
        if !self.is_full() {
            self.found.borrow_mut().push(finding);
        }
    }

    /// Notes that the object at `path`, which has the fields `known`, has no such field.
    pub(crate) fn drop_unknown(&self, path: &Path<'_>, entry: &Entry<'_>, known: &'static [&'static str]) {
        self.dropped.borrow_mut().insert((hash(path), entry.key_span.start));
        let Some(severity) = self.strictness.severity().filter(|_| !self.is_full()) else { return };
        let path = path.field(&entry.key).to_string();
        let message = format!("unknown field \"{path}\"");
        let hint = match entry.key.strip_prefix('-') {
            Some(_) => Some("a blank is missing behind the `-`".to_owned()),
            None => suggest::nearest(&entry.key, known).map(|field| format!("did you mean `{field}`?")),
        };
        self.add(Finding { severity, span: entry.key_span, path, message, hint, other: None });
    }

    /// Whether a field of the object at `path` was dropped.
    pub(crate) fn was_dropped(&self, path: &Path<'_>, entry: &Entry<'_>) -> bool {
        let dropped = self.dropped.borrow();
        !dropped.is_empty() && dropped.contains(&(hash(path), entry.key_span.start))
    }

    /// All that was noted.
    pub(crate) fn into_found(self) -> Vec<Finding> {
        self.found.into_inner()
    }
}

/// An object's path as a number: a file can hold many objects that nobody knows, at long paths.
fn hash(path: &Path<'_>) -> u64 {
    struct Sink(DefaultHasher);
    impl Write for Sink {
        fn write_str(&mut self, text: &str) -> std::fmt::Result {
            text.hash(&mut self.0);
            Ok(())
        }
    }
    let mut sink = Sink(DefaultHasher::new());
    // Hashing cannot fail.
    let _ = write!(sink, "{path}");
    sink.0.finish()
}
