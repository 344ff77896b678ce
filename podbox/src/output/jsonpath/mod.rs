//! JSONPath templates in kubectl's dialect (client-go `util/jsonpath`).
//!
//! Text outside braces is printed as it is; inside braces stands a path, a quoted text, or `range` and `end`:
//!
//! ```text
//! {range .items[*]}{.metadata.name}{"\t"}{.status.podIP}{"\n"}{end}
//! ```
//!
//! A path is a row of steps: `.name` (a dot in the name is written `\.`), `['name']`, `['a', 'b']` (dots in
//! the quotes part names here too), `[0]`, `[-1]`, `[0:2:1]`, `[0,2]`, `[*]`, `.*`, `..name`, and
//! `[?(@.name == "x")]` with `==`, `!=`, `<`, `<=`, `>`, `>=`, or with a path alone, which asks whether it is
//! there. `$` and `@` both mean the object at hand, which inside a range is the range's.
//!
//! This dialect is not RFC 9535: a name that is missing is no error but prints nothing, an index out of
//! bounds is an error, and several values are printed with a space between.

mod ast;
mod eval;
mod parse;

use serde_json::Value;

pub use eval::text_of;

/// A template that has been read.
#[derive(Clone, Debug, PartialEq)]
pub struct Template {
    nodes: Vec<ast::Node>,
}

/// What is wrong with a template, or with a template and an object together.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonPathError {
    /// The template cannot be read.
    #[error("{message} at character {at} of {template}")]
    Syntax {
        /// The whole template.
        template: String,
        /// Where, counted from 1.
        at: usize,
        /// What was expected.
        message: String,
    },
    /// The step does not fit the value that it meets.
    #[error("{message} in {step}")]
    Mismatch {
        /// The step, as it is written.
        step: String,
        /// Why it does not fit.
        message: String,
    },
}

impl Template {
    /// Reads a template. One with no brace at all is read as a path, for it would print only itself.
    ///
    /// # Errors
    /// [`JsonPathError::Syntax`].
    pub fn parse(text: &str) -> Result<Self, JsonPathError> {
        if text.contains(['{', '}']) { parse::template(text) } else { Self::parse_relaxed(text) }
    }

    /// Reads one path with or without braces and first dot, as custom columns and `wait --for` take it.
    ///
    /// # Errors
    /// [`JsonPathError::Syntax`].
    pub fn parse_relaxed(text: &str) -> Result<Self, JsonPathError> {
        if text.starts_with('{') != text.ends_with('}') {
            // A brace is missing: whoever wrote it wants to see what they wrote.
            return parse::template(text);
        }
        let bare = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).unwrap_or(text).trim();
        let dotted = bare.starts_with(['.', '[', '@', '$']);
        parse::template(&if dotted { format!("{{{bare}}}") } else { format!("{{.{bare}}}") })
    }

    /// Prints what the template finds in the object.
    ///
    /// # Errors
    /// [`JsonPathError::Mismatch`].
    pub fn print(&self, object: &Value) -> Result<String, JsonPathError> {
        let mut out = String::new();
        eval::print(&self.nodes, object, &mut out)?;
        Ok(out)
    }

    /// The values that the template's paths find, without its texts.
    ///
    /// # Errors
    /// [`JsonPathError::Mismatch`].
    pub fn find<'a>(&'a self, object: &'a Value) -> Result<Vec<&'a Value>, JsonPathError> {
        let mut found = Vec::new();
        eval::find(&self.nodes, object, &mut found)?;
        Ok(found)
    }
}

#[cfg(test)]
mod tests;
