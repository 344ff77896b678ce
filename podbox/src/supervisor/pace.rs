//! Answering somebody who takes away the same again and again ever more slowly: it may be meant.

use std::time::Duration;

use tokio::time::Instant;

/// How soon something may be made again.
#[derive(Debug, Default)]
pub(super) struct Pace {
    wait: Duration,
    last: Option<Instant>,
}

impl Pace {
    const FIRST: Duration = Duration::from_secs(1);
    const LONGEST: Duration = Duration::from_secs(64);

    /// How long to wait until the next try.
    pub(super) fn left(&self, now: Instant) -> Duration {
        self.last.map_or(Duration::ZERO, |last| (last + self.wait).saturating_duration_since(now))
    }

    /// It was tried. After each try that follows soon upon another one the next has to wait twice as long.
    pub(super) fn tried(&mut self, now: Instant) {
        let is_soon = self.last.is_some_and(|last| now.duration_since(last) <= self.wait * 2);
        self.wait = if is_soon { (self.wait * 2).min(Pace::LONGEST) } else { Pace::FIRST };
        self.last = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_takes_away_again_and_again_is_answered_ever_more_slowly_and_after_a_rest_at_once() {
        let begin = Instant::now();
        let mut pace = Pace::default();
        let mut now = begin;
        assert_eq!(pace.left(now), Duration::ZERO, "the first time at once");
        let mut waits = Vec::new();
        for _ in 0..8 {
            pace.tried(now);
            waits.push(pace.left(now).as_secs());
            now += pace.left(now);
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 64]);
        now += Duration::from_secs(129);
        assert_eq!(pace.left(now), Duration::ZERO);
        pace.tried(now);
        assert_eq!(pace.left(now), Duration::from_secs(1));
    }
}
