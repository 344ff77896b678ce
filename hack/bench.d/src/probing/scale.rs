//! Whether a thousand containers with three probes each, asked every second by one process, keep their periods.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use probes::{Attempt, Exec, ExecFuture, ExecResult, Handler, Known, Probes, Spec, Target, Workers};
use serde::Serialize;
use tokio::sync::mpsc::unbounded_channel;

use crate::failure::{Outcome, cannot};

const CONTAINERS: usize = 1000;
const PERIOD: Duration = Duration::from_secs(1);

/// How long a simulated command takes.
const COMMAND: Duration = Duration::from_millis(5);

/// How far from its period a probe came.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Scale {
    pub(crate) containers: usize,
    pub(crate) intervals: usize,
    /// Per cent of the period that 99 of 100 intervals stay within.
    pub(crate) p99_percent: f64,
    pub(crate) max_percent: f64,
    /// Of one processor, per cent, for three probes a second of every container.
    pub(crate) cpu_percent: f64,
}

/// Notes when it is asked.
#[derive(Default)]
struct Clocked {
    liveness: Mutex<Vec<Instant>>,
    readiness: Mutex<Vec<Instant>>,
    startup: Mutex<Vec<Instant>>,
}

impl Exec for Clocked {
    fn run<'a>(&'a self, command: &'a [String], _timeout: Duration) -> ExecFuture<'a> {
        let (asked, code) = match command[0].as_str() {
            "liveness" => (&self.liveness, 0),
            "readiness" => (&self.readiness, 0),
            // A start that never ends, so that there are three kinds at work; see `measure`.
            _ => (&self.startup, 1),
        };
        asked.lock().unwrap_or_else(PoisonError::into_inner).push(Instant::now());
        Box::pin(async move {
            tokio::time::sleep(COMMAND).await;
            ExecResult::Exited { code, output: Vec::new() }
        })
    }
}

/// Runs them for `window`, real time.
pub(crate) fn measure(window: Duration) -> Outcome<Scale> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(cannot("start the engine"))?;
    let clocks: Vec<Arc<Clocked>> = (0..CONTAINERS).map(|_| Arc::default()).collect();
    let before = super::processor_time()?;
    runtime.block_on(async {
        let workers: Vec<_> = clocks.iter().flat_map(begin).collect();
        tokio::time::sleep(window).await;
        drop(workers);
    });
    let cpu = super::processor_time()?.saturating_sub(before);
    let mut off: Vec<f64> = Vec::new();
    for clock in &clocks {
        for asked in [&clock.liveness, &clock.readiness, &clock.startup] {
            let asked = asked.lock().unwrap_or_else(PoisonError::into_inner);
            off.extend(asked.windows(2).map(|pair| {
                let interval = pair[1].duration_since(pair[0]).as_secs_f64();
                (interval / PERIOD.as_secs_f64() - 1.0).abs() * 100.0
            }));
        }
    }
    off.sort_by(f64::total_cmp);
    let at = |part: f64| off.get((off.len() as f64 * part) as usize).or(off.last()).copied().unwrap_or(100.0);
    Ok(Scale {
        containers: CONTAINERS,
        intervals: off.len(),
        p99_percent: at(0.99),
        max_percent: at(1.0),
        cpu_percent: cpu.as_secs_f64() / window.as_secs_f64() * 100.0,
    })
}

/// The workers of one container. A startup probe would hold the other two back: it is given to an attempt of its own.
fn begin(clock: &Arc<Clocked>) -> [Workers; 2] {
    let asks = |what: &str| {
        Some(Spec {
            handler: Handler::Exec { command: vec![what.to_owned()] },
            initial_delay: Duration::ZERO,
            period: PERIOD,
            timeout: PERIOD,
            success_threshold: 1,
            failure_threshold: u32::MAX,
            termination_grace_seconds: None,
        })
    };
    let attempt = |probes: Probes| {
        // Reports go nowhere; a receiver that is gone is no error.
        let (reports, _) = unbounded_channel();
        probes::start(Attempt {
            known: Known::at_start(&probes),
            probes,
            target: Target { ip: [127, 0, 0, 1].into() },
            exec: Arc::<Clocked>::clone(clock) as Arc<dyn Exec>,
            started_ago: Duration::ZERO,
            reports,
        })
    };
    [
        attempt(Probes { liveness: asks("liveness"), readiness: asks("readiness"), startup: None }),
        attempt(Probes { startup: asks("startup"), ..Probes::default() }),
    ]
}
