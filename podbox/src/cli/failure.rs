//! How a command fails: what went wrong, what might help, and the exit code.

use std::error::Error;
use std::process::ExitCode;

use crate::report;

/// Exit codes: 1 the pod failed or was not ready in time, 2 the request was wrong, 3 the host cannot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    code: u8,
    message: String,
    hint: Option<String>,
}

impl Failure {
    /// The pod failed, or was not as wished in time.
    pub fn pod(message: impl Into<String>) -> Failure {
        Failure { code: 1, message: message.into(), hint: None }
    }

    /// The request was wrong.
    #[must_use]
    pub fn request(error: &dyn Error) -> Failure {
        Failure { code: 2, message: report::chain(error), hint: None }
    }

    /// The request was wrong.
    pub fn wrong(message: impl Into<String>) -> Failure {
        Failure { code: 2, message: message.into(), hint: None }
    }

    /// The host cannot do it.
    #[must_use]
    pub fn host(error: &dyn Error) -> Failure {
        let message = report::chain(error);
        Failure { code: 3, hint: hint(&message), message }
    }

    /// The host cannot do it.
    pub fn cannot(message: impl Into<String>) -> Failure {
        let message = message.into();
        Failure { code: 3, hint: hint(&message), message }
    }

    /// A code that stands for something else, such as a container's own.
    pub fn code(code: u8, message: impl Into<String>) -> Failure {
        Failure { code, message: message.into(), hint: None }
    }

    /// Nobody reads what is printed any more: the command ends, and well.
    #[must_use]
    pub fn unheard() -> Failure {
        Failure { code: 0, message: String::new(), hint: None }
    }

    /// Somebody pressed Ctrl-C, and knows it.
    #[must_use]
    pub fn interrupted() -> Failure {
        Failure { code: 130, message: String::new(), hint: None }
    }

    /// Whether it is [`Self::interrupted`].
    #[must_use]
    pub fn is_interrupt(&self) -> bool {
        *self == Failure::interrupted()
    }

    /// All failures of several independent requests are told; the first gives the exit code.
    ///
    /// # Errors
    /// The first failure, if there is any.
    pub fn all(failures: impl IntoIterator<Item = Failure>) -> Result<ExitCode, Failure> {
        let mut failures = failures.into_iter();
        let Some(first) = failures.next() else { return Ok(ExitCode::SUCCESS) };
        for failure in failures {
            let _ = failure.report();
        }
        Err(first)
    }

    /// Adds what might help.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Failure {
        self.hint = Some(hint.into());
        self
    }

    /// The same without advice, for when following it has become impossible.
    #[must_use]
    pub fn unhinted(mut self) -> Failure {
        self.hint = None;
        self
    }

    /// The text without decoration.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Prints it and gives the exit code.
    #[must_use]
    pub fn report(&self) -> ExitCode {
        if !self.message.is_empty() {
            anstream::eprintln!("error: {}", self.message);
        }
        if let Some(hint) = &self.hint {
            anstream::eprintln!("hint: {hint}");
        }
        ExitCode::from(self.code)
    }
}

/// What helps against errors that people meet.
fn hint(message: &str) -> Option<String> {
    let hint = if message.contains("No space left on device") {
        "the disk that holds podbox's directories is full; `podbox image prune` frees unused images"
    } else if message.contains("mount proc") && message.contains("not permitted") {
        "/proc is masked in this container; run it with --privileged or unmask /proc"
    } else if message.contains("Operation not permitted") || message.contains("Permission denied") {
        "podbox needs root with CAP_SYS_ADMIN and CAP_NET_ADMIN; inside a container, run that container with --privileged"
    } else if message.contains("overlaps with") {
        "choose other addresses: [network] ipv4 and ipv6 (services-ipv4 and services-ipv6 for Services) in podbox.toml (/etc/podbox/podbox.toml, unless --config names another)"
    } else {
        return None;
    };
    Some(hint.to_owned())
}
