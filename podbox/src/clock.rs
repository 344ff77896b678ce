//! Two clocks read together: one that never jumps, for decisions, and the wall clock, for people.
//!
//! Decisions take a [`Now`] as a value, so they can be tested without waiting. The monotonic part is the
//! kernel's `CLOCK_MONOTONIC`, which is the same for every process: a new supervisor understands the instants
//! that the one before it wrote down.

use jiff::Timestamp;
use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A point on `CLOCK_MONOTONIC`, nanoseconds since boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Mono(pub u64);

impl Mono {
    /// The point `later` after this one.
    #[must_use]
    pub fn plus(self, later: Duration) -> Mono {
        Mono(self.0.saturating_add(u64::try_from(later.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// How long after `earlier` this point is; zero if it is not.
    #[must_use]
    pub fn since(self, earlier: Mono) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// One reading of both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Now {
    /// For decisions.
    pub mono: Mono,
    /// For people.
    pub wall: Timestamp,
}

impl Now {
    /// Reads both clocks.
    #[must_use]
    pub fn read() -> Now {
        Now { mono: monotonic(), wall: Timestamp::now() }
    }
}

/// Reads `CLOCK_MONOTONIC`.
#[must_use]
pub fn monotonic() -> Mono {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from);
    Mono(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
}
