//! The measurements. Whoever is compared takes turns, one round each, so that the host's noise meets all alike.

use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::candidate::{Candidate, Helper};
use crate::failure::{Failure, Outcome};
use crate::podbox::Podbox;
use crate::proc;
use crate::results::{Found, HelperMemory, Idle, Many, Series, millis};

/// A pod that stays up while others come and go, so that the bridge does.
const ANCHOR: u32 = 900;
const QUIET: Duration = Duration::from_secs(1);

/// How much of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Amount {
    pub(crate) rounds: u32,
    pub(crate) pods: u32,
    pub(crate) idle: Duration,
}

/// Says what is being done; the results have standard output for themselves.
fn say(what: impl std::fmt::Display) {
    eprintln!("bench: {what}");
}

/// Up and down of one pod at a time, beside one that stays up.
pub(crate) fn latency(
    candidates: &mut [Box<dyn Candidate>],
    found: &mut [Found],
    rounds: u32,
) -> Outcome<()> {
    say(format_args!("up and down, {rounds} rounds"));
    for candidate in candidates.iter_mut() {
        candidate.up(ANCHOR)?;
    }
    // The first round warms caches and is not counted.
    for round in 0..=rounds {
        for (candidate, found) in candidates.iter_mut().zip(found.iter_mut()) {
            let up = candidate.up(1)?;
            sleep(candidate.settle());
            let down = candidate.down(1)?;
            sleep(candidate.settle());
            if round > 0 {
                found.up_ms.push(up);
                found.down_ms.push(down);
            }
        }
    }
    for candidate in candidates.iter_mut() {
        candidate.down(ANCHOR)?;
    }
    Ok(())
}

/// `up` on a host that has no bridge yet.
pub(crate) fn first_pod(podbox: &mut Podbox, rounds: u32) -> Outcome<Series> {
    say("the first pod on a host");
    let mut series = Series::default();
    for _ in 0..rounds.min(5) {
        podbox.await_no_bridge()?;
        sleep(Duration::from_millis(200));
        series.push(podbox.up(2)?);
        sleep(podbox.settle());
        podbox.down(2)?;
    }
    Ok(series)
}

/// Death to replacement, and a command in a running container.
pub(crate) fn restart_and_exec(
    candidates: &mut [Box<dyn Candidate>],
    found: &mut [Found],
    rounds: u32,
) -> Outcome<()> {
    say(format_args!("restart and exec, {rounds} rounds"));
    for _ in 0..rounds {
        for (candidate, found) in candidates.iter_mut().zip(found.iter_mut()) {
            candidate.up(3)?;
            sleep(candidate.settle());
            for _ in 0..2 {
                found.exec_ms.push(candidate.exec(3)?);
                sleep(Duration::from_millis(20));
            }
            sleep(candidate.settle());
            candidate.restart(3)?.into_iter().for_each(|took| found.restart_ms.push(took));
            sleep(candidate.settle());
            candidate.starts(3)?.into_iter().for_each(|took| found.start_ms.push(took));
            candidate.down(3)?;
            sleep(candidate.settle());
        }
    }
    Ok(())
}

/// Many pods at once: how long each took to come up, what they keep in memory, whether they sleep.
pub(crate) fn many(candidate: &mut dyn Candidate, amount: Amount) -> Outcome<Many> {
    say(format_args!("{} pods of {}", amount.pods, candidate.name()));
    let mut found = Many { pods: amount.pods, ..Many::default() };
    let started = Instant::now();
    for pod in 0..amount.pods {
        found.up_ms.push(candidate.up(100 + pod)?);
    }
    found.up_all_ms = millis(started.elapsed());
    let five = 5.min(found.up_ms.samples.len());
    let median = |samples: &[f64]| {
        samples.iter().map(|ms| Duration::from_secs_f64(ms / 1000.0)).collect::<Series>().median
    };
    found.first_five_ms = median(&found.up_ms.samples[..five]);
    found.last_five_ms = median(&found.up_ms.samples[found.up_ms.samples.len() - five..]);
    found.last_ms = *found.up_ms.samples.last().ok_or_else(|| Failure("no pods".to_owned()))?;

    sleep(QUIET);
    let helpers = candidate.helpers();
    found.helpers = memory(&helpers);
    let all: f64 = found.helpers.iter().map(|role| role.pss_kib * role.count as f64).sum();
    found.pss_kib_per_pod = all / f64::from(amount.pods);
    if !helpers.is_empty() {
        found.idle = Some(idle(&helpers, amount.idle));
    }

    let started = Instant::now();
    for pod in 0..amount.pods {
        candidate.down(100 + pod)?;
    }
    found.down_all_ms = millis(started.elapsed());
    sleep(QUIET);
    Ok(found)
}

/// Averages by role, in the order in which roles were met.
fn memory(helpers: &[Helper]) -> Vec<HelperMemory> {
    let mut roles: Vec<HelperMemory> = Vec::new();
    for helper in helpers {
        let memory = proc::memory(helper.pid);
        let at = roles.iter().position(|known| known.role == helper.role).unwrap_or_else(|| {
            roles.push(HelperMemory {
                role: helper.role.to_owned(),
                count: 0,
                pss_kib: 0.0,
                private_dirty_kib: 0.0,
            });
            roles.len() - 1
        });
        roles[at].count += 1;
        roles[at].pss_kib += memory.pss as f64;
        roles[at].private_dirty_kib += memory.dirty as f64;
    }
    for role in &mut roles {
        role.pss_kib /= role.count as f64;
        role.private_dirty_kib /= role.count as f64;
    }
    roles
}

fn idle(helpers: &[Helper], window: Duration) -> Idle {
    let switches = || helpers.iter().map(|helper| proc::switches(helper.pid)).sum::<u64>();
    let before = switches();
    sleep(window);
    Idle { seconds: window.as_secs_f64(), wakeups: switches().saturating_sub(before) }
}
