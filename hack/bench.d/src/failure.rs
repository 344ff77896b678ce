//! Why a measurement could not be taken.

use std::io;

/// A sentence; the benchmark has nobody who would act on its kind.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Failure(pub(crate) String);

/// What everything here returns.
pub(crate) type Outcome<T> = Result<T, Failure>;

/// For `map_err`: names what was tried.
pub(crate) fn cannot(what: impl std::fmt::Display) -> impl FnOnce(io::Error) -> Failure {
    move |error| Failure(format!("cannot {what}: {error}"))
}
