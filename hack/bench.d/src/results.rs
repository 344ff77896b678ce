//! What a run has found out, as it is written to JSON.

use std::time::Duration;

use serde::Serialize;

use crate::net::Network;
use crate::probing::Probing;

/// Repeated measurements of one thing, milliseconds.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Series {
    /// In the order in which they were taken.
    pub(crate) samples: Vec<f64>,
    pub(crate) min: f64,
    pub(crate) median: f64,
    pub(crate) max: f64,
}

impl Series {
    pub(crate) fn push(&mut self, took: Duration) {
        self.samples.push(millis(took));
        let mut sorted = self.samples.clone();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len() - 1;
        self.min = sorted[0];
        self.max = sorted[last];
        self.median = f64::midpoint(sorted[last / 2], sorted[last.div_ceil(2)]);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }
}

impl FromIterator<Duration> for Series {
    fn from_iter<I: IntoIterator<Item = Duration>>(all: I) -> Series {
        let mut series = Series::default();
        all.into_iter().for_each(|took| series.push(took));
        series
    }
}

pub(crate) fn millis(took: Duration) -> f64 {
    took.as_secs_f64() * 1000.0
}

/// One who was measured.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Found {
    pub(crate) name: String,
    pub(crate) version: String,
    /// False: its figures are for one bare container.
    pub(crate) has_pods: bool,
    pub(crate) up_ms: Series,
    pub(crate) down_ms: Series,
    /// `up` of the first pod on the host, which has to make the bridge.
    pub(crate) first_up_ms: Series,
    /// From the death of a container's first process to its replacement.
    pub(crate) restart_ms: Series,
    /// How long the container took to start when it was restarted.
    pub(crate) start_ms: Series,
    /// `true` in a running container.
    pub(crate) exec_ms: Series,
    pub(crate) many: Option<Many>,
}

/// Many pods at once.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Many {
    pub(crate) pods: u32,
    pub(crate) up_ms: Series,
    pub(crate) up_all_ms: f64,
    pub(crate) down_all_ms: f64,
    /// Median of the first five.
    pub(crate) first_five_ms: f64,
    /// Median of the last five.
    pub(crate) last_five_ms: f64,
    pub(crate) last_ms: f64,
    pub(crate) helpers: Vec<HelperMemory>,
    /// All helpers of a pod together.
    pub(crate) pss_kib_per_pod: f64,
    pub(crate) idle: Option<Idle>,
}

/// Memory of the helpers of one role, each.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct HelperMemory {
    pub(crate) role: String,
    pub(crate) count: usize,
    pub(crate) pss_kib: f64,
    pub(crate) private_dirty_kib: f64,
}

/// What helpers do while nothing happens.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Idle {
    pub(crate) seconds: f64,
    /// Context switches of all helpers of all pods.
    pub(crate) wakeups: u64,
}

/// The whole run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Results {
    pub(crate) host: Host,
    pub(crate) rounds: u32,
    pub(crate) candidates: Vec<Found>,
    /// fork, exec and wait of the same `true` with no container.
    pub(crate) fork_exec_ms: Series,
    pub(crate) probing: Option<Probing>,
    pub(crate) network: Option<Network>,
    pub(crate) binary_bytes: u64,
    pub(crate) checks: Vec<crate::checks::Check>,
}

/// Where it ran.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Host {
    pub(crate) kernel: String,
    pub(crate) processors: usize,
    /// Of the run's directory.
    pub(crate) filesystem: String,
    pub(crate) load: String,
}

impl Results {
    pub(crate) fn of(&self, name: &str) -> Option<&Found> {
        self.candidates.iter().find(|found| found.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(millis: &[u64]) -> Series {
        millis.iter().map(|ms| Duration::from_millis(*ms)).collect()
    }

    #[test]
    fn the_median_of_an_even_number_lies_between_the_middle_two() {
        assert_eq!(series(&[4, 1, 3, 2]).median, 2.5);
        assert_eq!(series(&[9, 1, 5]).median, 5.0);
    }

    #[test]
    fn samples_keep_their_order() {
        let series = series(&[3, 1, 2]);
        assert_eq!(series.samples, [3.0, 1.0, 2.0]);
        assert_eq!((series.min, series.max), (1.0, 3.0));
    }
}
