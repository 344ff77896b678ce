//! A pull for people to watch: bars on a terminal, lines elsewhere, on standard error in either case.

use std::collections::HashMap;
use std::io::IsTerminal as _;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::short;
use crate::image::Progress;

/// Where progress goes.
pub(super) enum Display {
    Silent,
    Lines,
    Bars { all: MultiProgress, bars: HashMap<String, ProgressBar> },
}

impl Display {
    /// What suits standard error.
    pub(super) fn new() -> Display {
        if !std::io::stderr().is_terminal() {
            return Display::Lines;
        }
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10));
        Display::Bars { all, bars: HashMap::new() }
    }

    pub(super) fn show(&mut self, progress: &Progress) {
        match self {
            Display::Silent => {}
            Display::Lines => line(progress).into_iter().for_each(|line| anstream::eprintln!("{line}")),
            Display::Bars { all, bars } => match progress {
                Progress::LayerStarted { digest, total } => {
                    let bar = all.add(ProgressBar::new(*total));
                    bar.set_style(style());
                    bar.set_prefix(short(digest).to_owned());
                    bars.insert(digest.clone(), bar);
                }
                Progress::LayerBytes { digest, done, .. } => {
                    if let Some(bar) = bars.get(digest) {
                        bar.set_position(*done);
                    }
                }
                Progress::LayerDone { digest } => {
                    if let Some(bar) = bars.get(digest) {
                        bar.finish();
                    }
                }
                other => {
                    if let Some(line) = line(other) {
                        let _ = all.println(line);
                    }
                }
            },
        }
    }

    /// Leaves the terminal as it is for the next line.
    pub(super) fn end(self) {
        if let Display::Bars { bars, .. } = self {
            bars.values().for_each(ProgressBar::abandon);
        }
    }
}

fn style() -> ProgressStyle {
    let template = "{prefix} {bar:30} {bytes:>10} / {total_bytes}";
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn line(progress: &Progress) -> Option<String> {
    match progress {
        Progress::Trying { source } => Some(format!("Trying to pull {source}")),
        Progress::Skipped { source, cause } => Some(format!("Could not pull {source}: {cause}")),
        Progress::LayerExists { digest } => Some(format!("{}: already exists", short(digest))),
        Progress::LayerStarted { digest, total } => {
            Some(format!("{}: pulling {}", short(digest), size(*total)))
        }
        Progress::LayerDone { digest } => Some(format!("{}: pull complete", short(digest))),
        _ => None,
    }
}

/// Bytes in decimal units with three digits, as docker and podman print sizes.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    let decimals = match value {
        _ if unit == 0 => 0,
        value if value < 9.995 => 2,
        value if value < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.decimals$} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_three_digits() {
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.00 kB"),
            (12_345_678, "12.3 MB"),
            (999_999, "1.00 MB"),
            (187_000_000, "187 MB"),
            (2_500_000_000, "2.50 GB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }
}
