//! Whether an ended container is started again, and when: the kubelet's restart policy and its back-off.
//!
//! The first restart is immediate; after that the delay is 10 s, doubled at every restart up to 300 s, counted
//! from the end of the last run. A run that lasted longer than twice the maximum clears it. The same back-off
//! serves image pulls. Source: kubelet `kuberuntime_manager.go` (doBackOff) and client-go
//! `util/flowcontrol/backoff.go`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Mono;
use crate::pod::{Container, RestartAction, RestartPolicy, Role};

/// The numbers of a back-off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackoffSettings {
    /// The delay before the second restart.
    pub initial: Duration,
    /// The longest delay.
    pub max: Duration,
}

impl Default for BackoffSettings {
    /// The kubelet's: 10 s and 300 s.
    fn default() -> Self {
        BackoffSettings { initial: Duration::from_secs(10), max: Duration::from_secs(300) }
    }
}

/// How often something was tried lately.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backoff {
    last: Option<(Duration, Mono)>,
}

impl Backoff {
    /// The delay that has to pass after `ended` and when it is over; `None` if a new try may start at once.
    #[must_use]
    pub fn pending(&self, ended: Mono, now: Mono, settings: BackoffSettings) -> Option<(Duration, Mono)> {
        let (delay, updated) = self.last?;
        let until = ended.plus(delay);
        (!expired(ended, updated, settings) && now < until).then_some((delay, until))
    }

    /// When the delay that was noted last is over.
    #[must_use]
    pub fn over(&self) -> Option<Mono> {
        self.last.map(|(delay, updated)| updated.plus(delay))
    }

    /// Notes that a new try starts at `now`, after a run that ended at `ended`.
    pub fn note(&mut self, ended: Mono, now: Mono, settings: BackoffSettings) {
        let delay = match self.last {
            Some((delay, updated)) if !expired(ended, updated, settings) => (delay * 2).min(settings.max),
            _ => settings.initial,
        };
        self.last = Some((delay, now));
    }
}

fn expired(ended: Mono, updated: Mono, settings: BackoffSettings) -> bool {
    ended.since(updated) > settings.max * 2
}

/// What follows a container's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing: it has ended for good.
    Rest,
    /// It is started again.
    Restart,
    /// All the pod's containers are started again.
    RestartAll,
}

/// What follows when `container` has ended with `exit_code`: the first of its rules that fits decides, and where
/// none does, its policy. An init container that ended well is done whatever they say.
///
/// Source: kubelet `container/helpers.go` (ContainerShouldRestart, ShouldAllContainersRestart).
#[must_use]
pub fn after_exit(container: &Container, exit_code: i32) -> Next {
    let fits = container.restart_rules.iter().find(|rule| rule.codes.contains(&exit_code) != rule.all_but);
    match fits.map(|rule| rule.action) {
        Some(RestartAction::RestartAllContainers) => Next::RestartAll,
        _ if container.role == Role::Init && exit_code == 0 => Next::Rest,
        Some(RestartAction::Restart) => Next::Restart,
        None if wants_restart(container.restart_policy, exit_code) => Next::Restart,
        None => Next::Rest,
    }
}

/// Whether `policy` starts a container again that ended with `exit_code`.
#[must_use]
pub fn wants_restart(policy: RestartPolicy, exit_code: i32) -> bool {
    match policy {
        RestartPolicy::Always => true,
        RestartPolicy::OnFailure => exit_code != 0,
        RestartPolicy::Never => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Mono {
        Mono(seconds * 1_000_000_000)
    }

    fn delay_after(backoff: &Backoff, ended: u64) -> u64 {
        backoff
            .pending(at(ended), at(ended), BackoffSettings::default())
            .map_or(0, |(delay, _)| delay.as_secs())
    }

    #[test]
    fn the_first_restart_is_immediate() {
        assert_eq!(delay_after(&Backoff::default(), 5), 0);
    }

    #[test]
    fn later_restarts_wait_10_s_doubling_to_300_s() {
        let mut backoff = Backoff::default();
        let mut time = 0;
        let mut seen = Vec::new();
        for _ in 0..8 {
            let delay = delay_after(&backoff, time);
            seen.push(delay);
            backoff.note(at(time), at(time + delay), BackoffSettings::default());
            time += delay + 1;
        }
        assert_eq!(seen, [0, 10, 20, 40, 80, 160, 300, 300]);
    }

    #[test]
    fn a_run_longer_than_ten_minutes_clears_the_back_off() {
        let mut backoff = Backoff::default();
        backoff.note(at(0), at(0), BackoffSettings::default());
        backoff.note(at(11), at(21), BackoffSettings::default());
        assert_eq!(delay_after(&backoff, 22), 20);
        assert_eq!(delay_after(&backoff, 21 + 601), 0);
        backoff.note(at(622), at(622), BackoffSettings::default());
        assert_eq!(delay_after(&backoff, 623), 10);
    }

    #[test]
    fn the_delay_counts_from_the_end_of_the_last_run() {
        let mut backoff = Backoff::default();
        backoff.note(at(0), at(0), BackoffSettings::default());
        assert!(backoff.pending(at(100), at(109), BackoffSettings::default()).is_some());
        assert!(backoff.pending(at(100), at(110), BackoffSettings::default()).is_none());
    }

    #[test]
    fn policies_restart_as_their_names_say() {
        assert!(wants_restart(RestartPolicy::Always, 0));
        assert!(!wants_restart(RestartPolicy::OnFailure, 0));
        assert!(wants_restart(RestartPolicy::OnFailure, 1));
        assert!(!wants_restart(RestartPolicy::Never, 1));
    }
}
