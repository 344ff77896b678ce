//! The steps of one `up` as bars over time, from the trace that the pod keeps.
//!
//! A trace line says when its step ended and how long it took; the monotonic clock is the same for every
//! process, so the bars start where the command was started.

use std::fmt::Write;

use serde::Deserialize;

use crate::failure::{Failure, Outcome};

const WIDTH: usize = 60;

#[derive(Debug, Deserialize)]
struct Line {
    /// Nanoseconds of CLOCK_MONOTONIC.
    at: u64,
    actor: String,
    step: String,
    micros: u64,
}

/// `started` is when the command was started, nanoseconds of CLOCK_MONOTONIC; `took` how long it ran.
pub(crate) fn render(trace: &str, started: u64, took: std::time::Duration) -> Outcome<String> {
    let lines: Result<Vec<Line>, _> =
        trace.lines().filter(|line| !line.is_empty()).map(serde_json::from_str).collect();
    let mut lines = lines.map_err(|error| Failure(format!("cannot read the trace: {error}")))?;
    lay_out(&mut lines);
    lines.sort_by_key(|line| line.at.saturating_sub(line.micros * 1000));
    let total = took.as_secs_f64() * 1e6;
    let mut text = format!("up took {:.2} ms\n{:>9} {:>8}\n", total / 1000.0, "start µs", "took µs");
    for line in &lines {
        let end = line.at.saturating_sub(started) as f64 / 1000.0;
        let start = (end - line.micros as f64).max(0.0);
        let column = |micros: f64| ((micros / total * WIDTH as f64) as usize).min(WIDTH - 1);
        let (from, to) = (column(start), column(end));
        let bar = format!("{}{}", " ".repeat(from), "█".repeat(to - from + 1));
        let _ =
            writeln!(text, "{start:>9.0} {:>8} |{bar:WIDTH$}| {}: {}", line.micros, line.actor, line.step);
    }
    Ok(text)
}

/// Lines that were written together may bear the time of the writing: they are laid end to end before it.
fn lay_out(lines: &mut [Line]) {
    for index in (1..lines.len()).rev() {
        let (before, after) = lines.split_at_mut(index);
        let (Some(previous), next) = (before.last_mut(), &after[0]) else { continue };
        if previous.actor == next.actor {
            previous.at = previous.at.min(next.at.saturating_sub(next.micros * 1000));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_that_were_told_together_lie_end_to_end() {
        let line = |step: &str, micros| Line { at: 1_000_000, actor: "a".into(), step: step.into(), micros };
        let mut lines = [line("one", 100), line("two", 200), line("three", 300)];
        lay_out(&mut lines);
        assert_eq!(lines.map(|line| line.at), [500_000, 700_000, 1_000_000]);
    }

    #[test]
    fn a_step_is_drawn_where_it_was_taken() {
        let trace = r#"{"at":2000000,"actor":"network","step":"make the veth","command":"ip link add","micros":1000}"#;
        let text = render(trace, 0, std::time::Duration::from_millis(2)).unwrap();
        let bar = text.lines().last().unwrap();
        assert!(bar.contains(&format!("|{}{}|", " ".repeat(30), "█".repeat(30))), "{bar}");
    }
}
