//! Two that are compared, measured in turns.

use serde::Serialize;

/// One figure of two, round by round.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Pairs {
    pub(crate) what: String,
    pub(crate) unit: &'static str,
    /// Of the one that is judged.
    pub(crate) ours: Vec<f64>,
    /// Of the one that it is compared with, in the same rounds.
    pub(crate) theirs: Vec<f64>,
    pub(crate) our_median: f64,
    pub(crate) their_median: f64,
    /// The median of the rounds' ratios, ours to theirs: what disturbs a round disturbs both.
    pub(crate) ratio: f64,
}

impl Pairs {
    pub(crate) fn new(what: String, unit: &'static str) -> Pairs {
        let none = f64::NAN;
        Pairs {
            what,
            unit,
            ours: Vec::new(),
            theirs: Vec::new(),
            our_median: none,
            their_median: none,
            ratio: none,
        }
    }

    pub(crate) fn push(&mut self, ours: f64, theirs: f64) {
        self.ours.push(ours);
        self.theirs.push(theirs);
        self.our_median = median(self.ours.iter().copied());
        self.their_median = median(self.theirs.iter().copied());
        self.ratio = median(self.ours.iter().zip(&self.theirs).map(|(ours, theirs)| ours / theirs));
    }
}

/// The middle one, or what lies between the middle two.
pub(crate) fn median(all: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = all.collect();
    sorted.sort_by(f64::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    f64::midpoint(sorted[last / 2], sorted[last.div_ceil(2)])
}

/// What a quarter of them do not exceed.
pub(crate) fn quartile(all: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = all.collect();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 4).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_that_was_disturbed_for_both_does_not_change_the_ratio() {
        let mut pairs = Pairs::new("x".to_owned(), "µs");
        for (ours, theirs) in [(11.0, 10.0), (110.0, 100.0), (5.5, 5.0)] {
            pairs.push(ours, theirs);
        }
        assert!((pairs.ratio - 1.1).abs() < 1e-9);
        assert_eq!((pairs.our_median, pairs.their_median), (11.0, 10.0));
    }

    #[test]
    fn whoever_waits_now_and_then_does_not_move_the_quartile() {
        assert_eq!(quartile([1.0, 1.0, 90.0, 80.0, 1.0, 70.0, 60.0, 50.0].into_iter()), 1.0);
        assert_eq!(quartile([4.0, 3.0, 2.0, 1.0].into_iter()), 2.0);
    }
}
