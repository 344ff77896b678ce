//! The way as a table for people.

use std::fmt::Write;

use super::{Decision, Hop, Leg, Report};
use crate::output::table::{Table, Widths};

/// Everything, one hop a line; then the rules; then what came of it.
#[must_use]
pub fn text(report: &Report) -> String {
    let Report { from, to, protocol, source, destination, .. } = report;
    let mut text = format!("{protocol} from {from} ({source}) to {to} ({destination})\n");
    let mut table = Table::new(["AFTER", "WHERE", "INTERFACE", "WAY", "FROM", "TO", "WHAT"]);
    for (index, hop) in report.hops.iter().enumerate() {
        table.push(row(hop, changes(&report.hops[..index], hop)));
    }
    if report.hops.is_empty() {
        text.push_str("it was seen nowhere\n");
    } else {
        text.push_str(&table.aligned(&mut Widths::default()));
    }
    // That nothing stood against it in a chain is no news.
    let told: Vec<&Decision> =
        report.decisions.iter().filter(|one| one.handle.is_some() || one.dropped).collect();
    if !told.is_empty() {
        text.push_str("rules that decided:\n");
    }
    for decision in told {
        let _ = writeln!(text, "  {}", decided(decision));
    }
    for unseen in &report.unseen {
        let _ = writeln!(text, "warning: {unseen}");
    }
    let _ = writeln!(text, "{}: {}", if report.arrived { "arrived" } else { "lost" }, report.reason);
    text
}

fn row(hop: &Hop, changed: Option<&'static str>) -> [String; 7] {
    let end = |address: &str, mac: Option<netplugin::Mac>| match mac {
        Some(mac) => format!("{address} {mac}"),
        None => address.to_owned(),
    };
    let arrow = if hop.leg == Leg::Forth { "" } else { "back: " };
    let changed = changed.map(|what| format!(", {what}")).unwrap_or_default();
    [
        format!("+{:.3} ms", std::time::Duration::from_nanos(hop.after_nanoseconds).as_secs_f64() * 1000.0),
        hop.place.clone(),
        format!("{} ({})", hop.interface, hop.index),
        hop.way.to_owned(),
        end(&hop.source, hop.source_mac),
        end(&hop.destination, hop.destination_mac),
        format!("{arrow}{}{changed}", hop.what),
    ]
}

/// Whether an address has changed since the packet was seen before.
fn changes(before: &[Hop], hop: &Hop) -> Option<&'static str> {
    let last = before.iter().rev().find(|known| known.leg == hop.leg)?;
    match (last.source != hop.source, last.destination != hop.destination) {
        (true, true) => Some("both ends translated"),
        (true, false) => Some("source translated"),
        (false, true) => Some("destination translated"),
        (false, false) => None,
    }
}

fn decided(decision: &Decision) -> String {
    let Decision { place, table, chain, verdict, .. } = decision;
    let what = match (&decision.rule, decision.handle) {
        (Some(rule), _) => format!("`{rule}`"),
        (None, Some(handle)) => format!("rule {handle}"),
        (None, None) => "policy".to_owned(),
    };
    format!("{place}: {table} chain {chain}: {what} -> {verdict}")
}
