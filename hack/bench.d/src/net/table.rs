//! The network's figures for people.

use std::fmt::Write;

use super::{Balanced, Network, Pairs, Readiness};
use crate::results::Series;

/// A table for each section.
pub(crate) fn render(network: &Network) -> String {
    let mut text = String::new();
    if !network.wire.is_empty() {
        pairs(&mut text, ["pod to pod", "pods", "bare"], &network.wire);
        pairs(&mut text, ["the same while there is a Service", "pods", "bare"], &network.tracked);
    }
    if let Some(readiness) = &network.readiness {
        head(&mut text, "one Service before three pods, ms");
        follow(&mut text, readiness);
    }
    if let Some(balanced) = &network.services {
        services(&mut text, balanced);
    }
    text
}

fn pairs(text: &mut String, [title, ours, theirs]: [&str; 3], all: &[Pairs]) {
    let _ = writeln!(text, "\n{title:52} {ours:>9} {theirs:>9} {:>9}", "ratio");
    for pairs in all {
        let Pairs { what, unit, our_median, their_median, ratio, .. } = pairs;
        let what = format!("{what}, {unit}");
        let _ = writeln!(text, "  {what:50} {our_median:>9.2} {their_median:>9.2} {ratio:>9.3}");
    }
}

fn head(text: &mut String, title: &str) {
    let _ = writeln!(text, "\n{title:52} {:>9} {:>9} {:>9}", "median", "min", "max");
}

fn line(text: &mut String, what: &str, series: &Series) {
    if !series.is_empty() {
        let Series { median, min, max, .. } = series;
        let _ = writeln!(text, "  {what:50} {median:>9.2} {min:>9.2} {max:>9.2}");
    }
}

fn follow(text: &mut String, readiness: &Readiness) {
    line(text, "probe fails -> last connection that reached it", &readiness.gone_ms);
    line(text, "probe succeeds -> first connection", &readiness.back_ms);
    line(text, "podbox down -> last connection", &readiness.ending_ms);
    let _ = writeln!(text, "  {} connections, {} of them failed", readiness.connections, readiness.failed);
}

fn services(text: &mut String, balanced: &Balanced) {
    let Balanced { services, endpoints, .. } = balanced;
    let title = format!("through Services before {endpoints} pods each");
    pairs(text, [&title, &services.to_string(), "one"], &balanced.many);
    pairs(text, ["through a Service", "one", "none"], &balanced.direct);
    head(text, "changes, ms");
    line(text, "one more Service until it leads there: beside one", &balanced.change_ms[0]);
    line(text, &format!("beside {services}"), &balanced.change_ms[1]);
    follow(text, &balanced.readiness);
    let [one, many] = balanced.pss_kib;
    let _ = writeln!(
        text,
        "{services} Services stored and followed in {:.2} s; a supervisor has {many} KiB PSS (with one Service {one})",
        balanced.all_ms / 1000.0
    );
}
