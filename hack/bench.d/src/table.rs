//! The results for people.

use std::fmt::Write;

use crate::checks::Check;
use crate::probing::Probing;
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
    latency(&mut text, results, "of it, the start of the container itself, ms", |found| &found.start_ms);
    latency(&mut text, results, "`true` in a running container, ms", |found| &found.exec_ms);
    let plain = &results.fork_exec_ms;
    if !plain.is_empty() {
        let _ = writeln!(text, "{}", row("(in place)", plain, None, None));
    }
    many(&mut text, results);
    results.probing.iter().for_each(|probing| text.push_str(&render_probing(probing)));
    results.network.iter().for_each(|network| text.push_str(&crate::net::render(network)));
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

/// What probes cost.
pub(crate) fn render_probing(probing: &Probing) -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "\n{:52} {:>9} {:>12}",
        "probes once a second, processor time each", "ms", "/ in place"
    );
    let mut line = |name: &str, ms: f64| {
        let _ = writeln!(text, "  {name:50} {ms:>9.3} {:>12.2}", ms / probing.in_place_cpu_ms);
    };
    probing.kinds.iter().for_each(|kind| line(kind.name, kind.cpu_ms_each));
    if let Some(podman) = &probing.podman {
        line("podman healthcheck run", podman.cpu_ms_each);
    }
    line("(clone, exec, wait in place)", probing.in_place_cpu_ms);
    let _ = writeln!(
        text,
        "\n{:52} {:>9} {:>9} {:>9} {:>12}",
        "a probe's command, order to answer, ms", "median", "min", "max", "/ in place"
    );
    let mut line = |name: &str, series: &Series| {
        let Series { median, min, max, .. } = series;
        let ratio = median / probing.in_place_ms.median;
        let _ = writeln!(text, "  {name:50} {median:>9.2} {min:>9.2} {max:>9.2} {ratio:>12.2}");
    };
    line("exec stage that stays, as for probes", &probing.exec_ms);
    line("exec stage of its own", &probing.exec_alone_ms);
    if let Some(podman) = &probing.podman {
        line("podman healthcheck run", &podman.took_ms);
    }
    line("(clone, exec, wait in place)", &probing.in_place_ms);
    let scale = &probing.scale;
    let _ = writeln!(
        text,
        "\n{} containers with three 1 s probes, {} intervals: {:.2} % off at p99, {:.2} % at most; {:.1} % of a processor",
        scale.containers, scale.intervals, scale.p99_percent, scale.max_percent, scale.cpu_percent
    );
    text
}

/// The budgets, met and missed.
pub(crate) fn render_checks(checks: &[Check]) -> String {
    let mut text = String::from("\nbudgets\n");
    for check in checks {
        let mark = if check.met { "ok    " } else { "MISSED" };
        let _ = writeln!(text, "  {mark} {:55} {:>9.2}  {}", check.what, check.value, check.limit);
    }
    text
}
