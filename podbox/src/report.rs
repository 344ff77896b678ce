//! Errors as text: the chain once, outermost first, each part a fragment; then a hint where the cause is understood.

use std::error::Error;
use std::fmt::Arguments;
use std::io::Write;

/// Writes a line to standard error, which is a supervisor's log. `eprintln` would end the process where that cannot be
/// written, and a full disk must end nobody.
pub fn log(line: Arguments<'_>) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// `start container web: mount proc: Operation not permitted`.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = plain(cause);
        // Some libraries repeat their cause in their own text.
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}

/// std prints `(os error N)` behind the system's text; the number helps nobody.
fn plain(error: &(dyn Error + 'static)) -> String {
    let text = error.to_string();
    match text.rfind(" (os error ") {
        Some(at) if text.ends_with(')') => text[..at].to_owned(),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chain_is_told_once_outermost_first_without_numbers() {
        #[derive(Debug, thiserror::Error)]
        #[error("read {0}")]
        struct Outer(&'static str, #[source] std::io::Error);
        let error = Outer("x", std::io::Error::from_raw_os_error(2));
        assert_eq!(chain(&error), "read x: No such file or directory");
    }
}
