//! Standard output. Whoever reads it may leave at any time: `podbox … | head` is nobody's mistake.

use std::fmt::Display;
use std::io::{self, Write};

use crate::report;

use super::Failure;

/// Prints a text as it is, at once.
pub(super) fn print(text: impl Display) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    write!(out, "{text}").and_then(|()| out.flush()).map_err(|error| failure(&error))
}

/// Prints a text and a newline, at once.
pub(super) fn line(text: impl Display) -> Result<(), Failure> {
    print(format_args!("{text}\n"))
}

/// A reader that has seen enough ends the command well; anything else is the host's fault.
fn failure(error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::unheard(),
        _ => Failure::cannot(format!("write to standard output: {}", report::chain(error))),
    }
}
