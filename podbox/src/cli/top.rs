//! `podbox top`: what pods, their containers and the host use, in the tables of `kubectl top`.

mod sample;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::config::duration;
use crate::node;
use crate::output::table::{Table, Widths};

use super::pods::{self, Found};
use super::targets::{Meaning, Need, Targets};
use super::watch::{Watch, Woken};
use super::{Failure, Session, out};
use sample::{Reading, Sample, host, of_pod};

/// Arguments of `top`.
#[derive(Debug, Args)]
pub(super) struct TopArgs {
    #[command(flatten)]
    targets: Targets,
    /// A row for every container
    #[arg(long)]
    containers: bool,
    /// Those first that use most
    #[arg(long, value_enum, value_name = "cpu|memory")]
    sort_by: Option<SortBy>,
    /// No heads above the columns
    #[arg(long)]
    no_headers: bool,
    /// Go on, with a new table for every window
    #[arg(long, short)]
    watch: bool,
    /// Over which time the use of the processors is measured
    #[arg(long, value_parser = duration, default_value = "1s", value_name = "TIME")]
    window: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum SortBy {
    Cpu,
    Memory,
}

/// What one row is about and uses.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    namespace: String,
    pod: String,
    /// None where the row is about the whole pod.
    container: Option<String>,
    used: Used,
}

/// CPU in thousandths of a core, and the working set in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Used {
    cpu_milli: u64,
    memory_bytes: u64,
}

/// Runs the command.
pub(super) fn run(session: &Session, args: &TopArgs) -> Result<ExitCode, Failure> {
    if args.window.is_zero() {
        return Err(Failure::wrong("--window must be longer than 0"));
    }
    let mut watch = Watch::new()?;
    watch.mind_the_reader();
    let mut widths = Widths::default();
    if args.targets.ask_for_the_host() {
        return top_host(args, &watch, &mut widths);
    }
    args.targets.refuse_other_kinds(session)?;
    let meaning = args.targets.meaning(session, Need::Nothing)?;
    let mut before = measure(session, &meaning)?;
    loop {
        rest(&watch, args.window)?;
        let now = measure(session, &meaning)?;
        let mut rows = rows(&before, &now);
        if !args.watch
            && let Meaning::Named(named) = &meaning
        {
            none_missing(named, &rows)?;
        }
        if rows.is_empty() && !args.watch {
            anstream::eprintln!("No resources found{}.", args.targets.place());
            return Ok(ExitCode::SUCCESS);
        }
        arrange(&mut rows, args);
        out::print(table(&rows, args).aligned(&mut widths))?;
        if !args.watch {
            return Ok(ExitCode::SUCCESS);
        }
        before = now;
    }
}

/// Waits for the window to pass, unless nobody reads any more.
fn rest(watch: &Watch, window: Duration) -> Result<(), Failure> {
    let until = std::time::Instant::now() + window;
    while std::time::Instant::now() < until {
        if watch.wait(None, Some(until))? == Woken::Unheard {
            return Err(Failure::unheard());
        }
    }
    Ok(())
}

fn measure(session: &Session, meaning: &Meaning) -> Result<Vec<(Found, Sample)>, Failure> {
    let found = match meaning {
        Meaning::Named(named) => {
            let all = named.iter().map(|(namespace, name)| pods::find(session, namespace, name));
            all.collect::<Result<Vec<_>, _>>()?
        }
        Meaning::Fitting(query) => query.find(session),
    };
    Ok(found.into_iter().map(|pod| (pod.clone(), of_pod(&pod))).collect())
}

/// What has been used between two samples, a row for every container that was there in both.
fn rows(before: &[(Found, Sample)], now: &[(Found, Sample)]) -> Vec<Row> {
    let mut rows = Vec::new();
    for (found, sample) in now {
        let Some((_, earlier)) = before.iter().find(|(known, _)| known.pod.uid == found.pod.uid) else {
            continue;
        };
        let elapsed = sample.at.saturating_duration_since(earlier.at);
        for (name, reading) in &sample.containers {
            let of_then = earlier.containers.get(name).filter(|then| then.attempt == reading.attempt);
            let Some(used) = of_then.and_then(|then| used(then, reading, elapsed)) else { continue };
            rows.push(Row {
                namespace: found.pod.namespace.clone(),
                pod: found.pod.name.clone(),
                container: Some(name.clone()),
                used,
            });
        }
    }
    rows
}

/// Source for the rounding: kubectl `top`, by way of `Quantity.MilliValue`, which rounds up.
fn used(then: &Reading, now: &Reading, elapsed: Duration) -> Option<Used> {
    let spent = now.cpu.checked_sub(then.cpu)?.as_nanos();
    let milli = (spent * 1000).div_ceil(elapsed.as_nanos().max(1));
    Some(Used { cpu_milli: u64::try_from(milli).unwrap_or(u64::MAX), memory_bytes: now.memory_bytes })
}

fn none_missing(named: &[(String, String)], rows: &[Row]) -> Result<(), Failure> {
    let there = |(namespace, name): &(String, String)| {
        rows.iter().any(|row| row.namespace == *namespace && row.pod == *name)
    };
    match named.iter().find(|pod| !there(pod)) {
        Some((namespace, name)) => {
            Err(Failure::pod(format!("Metrics not available for pod {namespace}/{name}: nothing of it runs")))
        }
        None => Ok(()),
    }
}

/// Sums containers up, unless they are wanted one by one, and sorts.
fn arrange(rows: &mut Vec<Row>, args: &TopArgs) {
    if !args.containers {
        let mut sums: Vec<Row> = Vec::new();
        for row in rows.drain(..) {
            match sums.iter_mut().find(|sum| sum.namespace == row.namespace && sum.pod == row.pod) {
                Some(sum) => {
                    sum.used.cpu_milli += row.used.cpu_milli;
                    sum.used.memory_bytes += row.used.memory_bytes;
                }
                None => sums.push(Row { container: None, ..row }),
            }
        }
        *rows = sums;
    }
    match args.sort_by {
        Some(SortBy::Cpu) => rows.sort_by_key(|row| std::cmp::Reverse(row.used.cpu_milli)),
        Some(SortBy::Memory) => rows.sort_by_key(|row| std::cmp::Reverse(row.used.memory_bytes)),
        None => {}
    }
}

fn table(rows: &[Row], args: &TopArgs) -> Table {
    let namespaced = args.targets.all_namespaces;
    let names: &[&str] = if args.containers { &["POD", "NAME"] } else { &["NAME"] };
    let heads = namespaced.then_some("NAMESPACE").into_iter().chain(names.iter().copied());
    let mut table = Table::new(heads.chain(["CPU(cores)", "MEMORY(bytes)"]));
    if args.no_headers {
        table = table.without_heads();
    }
    for row in rows {
        let lead = namespaced.then(|| row.namespace.clone()).into_iter();
        let names = lead.chain([row.pod.clone()]).chain(row.container.clone());
        table.push(names.chain([cpu(row.used.cpu_milli), memory(row.used.memory_bytes)]));
    }
    table
}

fn cpu(milli: u64) -> String {
    format!("{milli}m")
}

fn memory(bytes: u64) -> String {
    format!("{}Mi", bytes >> 20)
}

/// `top node`.
fn top_host(args: &TopArgs, watch: &Watch, widths: &mut Widths) -> Result<ExitCode, Failure> {
    let mut before = host();
    loop {
        rest(watch, args.window)?;
        let now = host();
        let elapsed = now.at.saturating_duration_since(before.at);
        let used = used(&before.reading, &now.reading, elapsed).unwrap_or_default();
        let percent = |part: u64, whole: u64| format!("{}%", part * 100 / whole.max(1));
        let mut table = Table::new(["NAME", "CPU(cores)", "CPU(%)", "MEMORY(bytes)", "MEMORY(%)"]);
        if args.no_headers {
            table = table.without_heads();
        }
        table.push([
            node::name(),
            cpu(used.cpu_milli),
            percent(used.cpu_milli, node::cpu_milli()),
            memory(used.memory_bytes),
            percent(used.memory_bytes, node::memory_bytes()),
        ]);
        out::print(table.aligned(widths))?;
        if !args.watch {
            return Ok(ExitCode::SUCCESS);
        }
        before = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        top: TopArgs,
    }

    fn shown(words: &[&str]) -> String {
        let args = Line::parse_from([&["top"], words].concat()).top;
        let row = |pod: &str, container: &str, cpu_milli, mib: u64| Row {
            namespace: "default".to_owned(),
            pod: pod.to_owned(),
            container: Some(container.to_owned()),
            used: Used { cpu_milli, memory_bytes: mib << 20 },
        };
        let mut rows = vec![row("a", "x", 5, 70), row("a", "y", 1, 3), row("b", "x", 250, 12)];
        arrange(&mut rows, &args);
        table(&rows, &args).aligned(&mut Widths::default())
    }

    #[test]
    fn tables_are_those_of_kubectl_top() {
        assert_eq!(
            shown(&[]),
            "NAME   CPU(cores)   MEMORY(bytes)\na      6m           73Mi\nb      250m         12Mi\n"
        );
        assert_eq!(shown(&["--sort-by", "cpu", "--no-headers"]), "b     250m   12Mi\na     6m     73Mi\n");
        assert_eq!(
            shown(&["--containers", "--sort-by", "memory", "-A"]),
            "NAMESPACE   POD   NAME   CPU(cores)   MEMORY(bytes)\n\
             default     a     x      5m           70Mi\n\
             default     b     x      250m         12Mi\n\
             default     a     y      1m           3Mi\n"
        );
    }

    #[test]
    fn cpu_is_what_was_spent_in_the_window_and_is_rounded_up() {
        let reading = |micros| Reading { attempt: 0, cpu: Duration::from_micros(micros), memory_bytes: 1 };
        let second = Duration::from_secs(1);
        let milli = |then, now| used(&reading(then), &reading(now), second).map(|used| used.cpu_milli);
        assert_eq!(milli(0, 250_000), Some(250));
        assert_eq!(milli(1000, 1001), Some(1));
        assert_eq!(milli(5, 5), Some(0));
        assert_eq!(milli(5, 4), None, "it is another one");
    }
}
