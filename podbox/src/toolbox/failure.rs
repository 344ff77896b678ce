//! Why an applet could not do its work.

use std::error::Error;
use std::fmt::Write;
use std::io;

/// A failed applet.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The arguments make no sense; exit code 2.
    #[error("{0}")]
    Usage(String),
    /// The system refused; exit code 1.
    #[error("{what}")]
    System {
        /// The object it happened to.
        what: String,
        /// The kernel's reason.
        #[source]
        source: io::Error,
    },
    /// Anything else that stopped it; exit code 1.
    #[error("{0}")]
    Refused(String),
}

impl Failure {
    /// A wrong call.
    pub(super) fn usage(text: impl Into<String>) -> Self {
        Self::Usage(text.into())
    }

    /// The system's refusal of something done to `what`; made for `map_err`.
    pub(super) fn system<E: Into<io::Error>>(what: impl ToString) -> impl FnOnce(E) -> Self {
        move |source| Self::System { what: what.to_string(), source: source.into() }
    }

    /// Whether what it printed was wanted no longer.
    pub(super) fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::System { source, .. } if source.kind() == io::ErrorKind::BrokenPipe)
    }

    /// The exit code for it.
    pub(super) fn code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::System { .. } | Self::Refused(_) => 1,
        }
    }
}

/// The error and its causes on one line, outermost first.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = plain(error);
    let mut cause = error.source();
    while let Some(error) = cause {
        let _ = write!(text, ": {}", plain(error));
        cause = error.source();
    }
    text
}

/// The number that std puts behind the kernel's reason tells a reader nothing.
fn plain(error: &dyn Error) -> String {
    let text = error.to_string();
    match text.rfind(" (os error ") {
        Some(at) => text[..at].to_owned(),
        None => text,
    }
}
