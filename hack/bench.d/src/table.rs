//! The results for people.

use std::fmt::Write;

use crate::results::{Found, Results, Series};

/// All tables, one a measurement.
pub(crate) fn render(results: &Results) -> String {
    let mut text = String::new();
    let host = &results.host;
    let _ = writeln!(
        text,
        "Linux {}, {} processors, {}, load {}; {} rounds, medians",
        host.kernel, host.processors, host.filesystem, host.load, results.rounds
    );
    for found in &results.candidates {
        let what = if found.has_pods { "" } else { " (one bare container, no network)" };
        let _ = writeln!(text, "  {:8} {}{what}", found.name, found.version);
    }
    latency(&mut text, results, "up of a two-container pod, ms", |found| &found.up_ms);
    latency(&mut text, results, "down with no grace, ms", |found| &found.down_ms);
    latency(&mut text, results, "up of the first pod on the host (no bridge yet), ms", |found| {
        &found.first_up_ms
    });
    latency(&mut text, results, "a first process is killed -> its replacement runs, ms", |found| {
        &found.restart_ms
    });
    latency(&mut text, results, "`true` in a running container, ms", |found| &found.exec_ms);
    let plain = &results.fork_exec_ms;
    if !plain.is_empty() {
        let _ = writeln!(text, "{}", row("(in place)", plain, None, None));
    }
    many(&mut text, results);
    probes(&mut text, results);
    let mebibytes = results.binary_bytes as f64 / f64::from(1 << 20);
    let _ = writeln!(text, "\nbinary: {mebibytes:.1} MiB");
    text
}

/// One measurement: a line each, with the ratio to the floor and to podman.
fn latency(text: &mut String, results: &Results, title: &str, of: fn(&Found) -> &Series) {
    if results.candidates.iter().all(|found| of(found).is_empty()) {
        return;
    }
    let _ = writeln!(
        text,
        "\n{title:52} {:>9} {:>9} {:>9} {:>9} {:>9}",
        "median", "min", "max", "/ floor", "podman /"
    );
    let median = |name: &str| {
        let series = results.of(name).map(of).filter(|series| !series.is_empty());
        series.map(|series| series.median)
    };
    for found in results.candidates.iter().filter(|found| !of(found).is_empty()) {
        let _ = writeln!(text, "{}", row(&found.name, of(found), median("floor"), median("podman")));
    }
}

fn row(name: &str, series: &Series, floor: Option<f64>, podman: Option<f64>) -> String {
    let ratio = |ratio: Option<f64>| ratio.map_or(String::new(), |ratio| format!("{ratio:.2}"));
    let Series { median, min, max, .. } = series;
    let (floor, podman) =
        (ratio(floor.map(|floor| median / floor)), ratio(podman.map(|podman| podman / median)));
    let line = format!("  {name:50} {median:>9.2} {min:>9.2} {max:>9.2} {floor:>9} {podman:>9}");
    line.trim_end().to_owned()
}

fn many(text: &mut String, results: &Results) {
    for found in &results.candidates {
        let Some(many) = &found.many else { continue };
        let _ = writeln!(
            text,
            "\n{} pods of {}: up in {:.2} s, down in {:.2} s; first five {:.2} ms, last five {:.2} ms ({:.2} times), last {:.2} ms",
            many.pods,
            found.name,
            many.up_all_ms / 1000.0,
            many.down_all_ms / 1000.0,
            many.first_five_ms,
            many.last_five_ms,
            many.last_five_ms / many.first_five_ms,
            many.last_ms
        );
        for role in &many.helpers {
            let each = role.count as f64 / f64::from(many.pods);
            let _ = writeln!(
                text,
                "  {each:.0} {:12} {:>8.0} KiB PSS each, {:.0} KiB of it its own and written",
                role.role, role.pss_kib, role.private_dirty_kib
            );
        }
        if !many.helpers.is_empty() {
            let _ = writeln!(text, "  together       {:>8.0} KiB PSS a pod", many.pss_kib_per_pod);
        }
        if let Some(idle) = &many.idle {
            let _ = writeln!(
                text,
                "  {} wake-ups in {} idle seconds, all pods together",
                idle.wakeups, idle.seconds
            );
        }
    }
}

fn probes(text: &mut String, results: &Results) {
    for found in &results.candidates {
        let Some(probes) = &found.probes else { continue };
        let _ = writeln!(
            text,
            "\nexec probes of {} pods of {}, {:.0} in {} s: {:.2} ms of processor time each",
            probes.pods, found.name, probes.expected, probes.seconds, probes.cpu_ms_each
        );
    }
}

/// The budgets, met and missed.
pub(crate) fn render_checks(results: &Results) -> String {
    let mut text = String::from("\nbudgets\n");
    for check in &results.checks {
        let mark = if check.met { "ok    " } else { "MISSED" };
        let _ = writeln!(text, "  {mark} {:55} {:>9.2}  {}", check.what, check.value, check.limit);
    }
    text
}
