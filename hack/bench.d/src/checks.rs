//! The budgets: what podbox must reach, as ratios within one run wherever the machine's own speed is in it.

use serde::Serialize;

use crate::net::{self, Network};
use crate::probing::Probing;
use crate::results::Results;

/// `up` and `down`, in times of the floor.
const TIMES_FLOOR: f64 = 4.0;
/// How many times faster than podman `up` must be.
const FASTER_THAN_PODMAN: f64 = 15.0;
/// The last pods against the first.
const GROWTH: f64 = 1.3;
/// Guardian and supervisor together, of one pod.
const PSS_KIB: f64 = 1.5 * 1024.0;
const BINARY_MIB: f64 = 15.0;
/// From a death to the replacement, in times of the replacement's own start.
const RESTART_TIMES_START: f64 = 3.0;
/// An exec probe, in times of fork, exec and wait of its command.
const EXEC_TIMES_IN_PLACE: f64 = 3.0;
const CHEAPER_THAN_PODMAN: f64 = 10.0;
/// How far from its period a probe may come, 99 times of 100.
const OFF_PERCENT: f64 = 5.0;

/// Pods on the wire, in times of what a bare veth pair on a bridge does.
const OF_BARE: f64 = 0.97;
/// A packet with a thousand Services, in times of one with one.
const MANY_TIMES_ONE: f64 = 1.1;
/// From a readiness probe's failure to the last connection that the pod gets, ever.
const VERDICT_MS: f64 = 100.0;

/// One budget.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Check {
    pub(crate) what: String,
    pub(crate) value: f64,
    /// `≤ 4`
    pub(crate) limit: String,
    pub(crate) met: bool,
}

fn at_most(what: impl Into<String>, value: f64, limit: f64) -> Check {
    Check { what: what.into(), value, limit: format!("≤ {}", plain(limit)), met: value <= limit }
}

fn at_least(what: &str, value: f64, limit: f64) -> Check {
    Check { what: what.to_owned(), value, limit: format!("≥ {}", plain(limit)), met: value >= limit }
}

/// With no more decimals than it needs.
fn plain(limit: f64) -> f64 {
    (limit * 100.0).round() / 100.0
}

/// Every budget of which the run knows both sides.
pub(crate) fn all(results: &Results) -> Vec<Check> {
    let mut checks = Vec::new();
    let Some(podbox) = results.of("podbox") else { return checks };
    if let Some(floor) =
        results.of("floor").filter(|floor| !floor.up_ms.is_empty() && !podbox.up_ms.is_empty())
    {
        checks.push(at_most("up, times the floor", podbox.up_ms.median / floor.up_ms.median, TIMES_FLOOR));
        checks.push(at_most(
            "down, times the floor",
            podbox.down_ms.median / floor.down_ms.median,
            TIMES_FLOOR,
        ));
    }
    if let Some(podman) =
        results.of("podman").filter(|podman| !podman.up_ms.is_empty() && !podbox.up_ms.is_empty())
    {
        let times = podman.up_ms.median / podbox.up_ms.median;
        checks.push(at_least("up, times faster than podman", times, FASTER_THAN_PODMAN));
    }
    if let Some(many) = &podbox.many {
        let growth = many.last_five_ms / many.first_five_ms;
        checks.push(at_most(
            format!("the last five of {} pods against the first five", many.pods),
            growth,
            GROWTH,
        ));
        let memory = format!("guardian and supervisor, KiB PSS a pod of {}", many.pods);
        checks.push(at_most(memory, many.pss_kib_per_pod, PSS_KIB));
        if let Some(idle) = &many.idle {
            let what = format!("wake-ups of {} idle pods in {} s", many.pods, idle.seconds);
            checks.push(at_most(what, idle.wakeups as f64, 0.0));
        }
    }
    if !podbox.restart_ms.is_empty() && !podbox.start_ms.is_empty() {
        let times = podbox.restart_ms.median / podbox.start_ms.median;
        checks.push(at_most("restart, times the start of a container", times, RESTART_TIMES_START));
    }
    results.probing.iter().for_each(|probing| checks.extend(of_probes(probing)));
    results.network.iter().for_each(|network| checks.extend(of_network(network)));
    let mebibytes = results.binary_bytes as f64 / f64::from(1 << 20);
    checks.push(at_most("binary, MiB", mebibytes, BINARY_MIB));
    checks
}

/// The budgets of probes.
pub(crate) fn of_probes(probing: &Probing) -> Vec<Check> {
    let mut checks = Vec::new();
    if let Some(exec) = probing.kind("exec") {
        let times = exec.cpu_ms_each / probing.in_place_cpu_ms;
        checks.push(at_most(
            "exec probe, processor time, times the command in place",
            times,
            EXEC_TIMES_IN_PLACE,
        ));
        if let Some(podman) = &probing.podman {
            let times = podman.cpu_ms_each / exec.cpu_ms_each;
            checks.push(at_least(
                "exec probe, times cheaper than podman healthcheck run",
                times,
                CHEAPER_THAN_PODMAN,
            ));
        }
    }
    let times = probing.exec_ms.median / probing.in_place_ms.median;
    checks.push(at_most("exec probe, times as long as the command in place", times, EXEC_TIMES_IN_PLACE));
    let what = format!("periods of {} containers, per cent off at p99", probing.scale.containers);
    checks.push(at_most(what, probing.scale.p99_percent, OFF_PERCENT));
    checks
}

/// The budgets of the network.
pub(crate) fn of_network(network: &Network) -> Vec<Check> {
    let mut checks = Vec::new();
    for pairs in &network.wire {
        let what = format!("{}, times bare veths", pairs.what);
        checks.push(if net::is_throughput(pairs) {
            at_least(&what, pairs.ratio, OF_BARE)
        } else {
            at_most(what, pairs.ratio, 1.0 / OF_BARE)
        });
    }
    if let Some(readiness) = &network.readiness {
        checks.push(at_most("probe fails -> last connection, ms at most", readiness.gone_ms.max, VERDICT_MS));
        checks.push(at_most("connections that nobody answered", readiness.failed as f64, 0.0));
    }
    if let Some(balanced) = &network.services {
        for pairs in &balanced.many {
            let what = format!("{}, {} Services times one", pairs.what, balanced.services);
            checks.push(at_most(what, pairs.ratio, MANY_TIMES_ONE));
        }
    }
    checks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Pairs;

    fn met(unit: &'static str, ours: f64) -> bool {
        let mut pairs = Pairs::new("x".to_owned(), unit);
        pairs.push(ours, 100.0);
        let checks = of_network(&Network { wire: vec![pairs], ..Network::default() });
        checks.iter().all(|check| check.met)
    }

    #[test]
    fn less_throughput_and_more_time_than_bare_veths_are_misses() {
        assert!(met("GB/s", 98.0) && met("GB/s", 150.0) && !met("GB/s", 96.0));
        assert!(met("µs", 102.0) && met("µs", 50.0) && !met("µs", 104.0));
    }
}
