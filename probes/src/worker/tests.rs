//! Every test runs on tokio's paused clock: time passes only when nobody has anything to do, and exactly.

use std::sync::Mutex;

use tokio::time::sleep;

use super::*;
use crate::{ExecFuture, ExecResult, Handler};

/// Stands in for the container: notes who asked when, and answers by the script.
struct Script {
    began: Instant,
    asked: Mutex<Vec<(String, Duration)>>,
    cut_off: Arc<Mutex<Vec<Duration>>>,
    answer: Box<Answers>,
}

/// By the name of who asks, and how often it has asked before.
type Answers = dyn Fn(&str, usize) -> Answer + Send + Sync;

#[derive(Clone, Copy)]
enum Answer {
    Yes,
    No,
    Broken,
    /// Yes, after so long.
    Slow(Duration),
}

/// Notes when a command is called off.
struct CallOff(Arc<Mutex<Vec<Duration>>>, Instant);

impl Drop for CallOff {
    fn drop(&mut self) {
        self.0.lock().unwrap().push(self.1.elapsed());
    }
}

impl Exec for Script {
    fn run<'a>(&'a self, command: &'a [String], _timeout: Duration) -> ExecFuture<'a> {
        let name = command[0].clone();
        let mut asked = self.asked.lock().unwrap();
        let nth = asked.iter().filter(|(who, _)| *who == name).count();
        asked.push((name.clone(), self.began.elapsed()));
        let answer = (self.answer)(&name, nth);
        let exited = |code| ExecResult::Exited { code, output: b"as scripted".to_vec() };
        Box::pin(async move {
            match answer {
                Answer::Yes => exited(0),
                Answer::No => exited(1),
                Answer::Broken => ExecResult::NotStarted("no such program".to_owned()),
                Answer::Slow(time) => {
                    let guard = CallOff(Arc::clone(&self.cut_off), self.began);
                    sleep(time).await;
                    std::mem::forget(guard);
                    exited(0)
                }
            }
        })
    }
}

fn spec(name: &str, period: u64) -> Spec {
    Spec {
        handler: Handler::Exec { command: vec![name.to_owned()] },
        initial_delay: Duration::ZERO,
        period: Duration::from_secs(period),
        timeout: Duration::from_secs(1),
        success_threshold: 1,
        failure_threshold: 3,
        termination_grace_seconds: None,
    }
}

struct Play {
    script: Arc<Script>,
    reports: mpsc::UnboundedReceiver<Report>,
    workers: Option<Workers>,
}

struct Opening {
    started_ago: Duration,
    known: Option<Known>,
}

const NEW: Opening = Opening { started_ago: Duration::ZERO, known: None };

fn play(probes: Probes, answer: impl Fn(&str, usize) -> Answer + Send + Sync + 'static) -> Play {
    play_from(NEW, probes, answer)
}

fn play_from(
    opening: Opening,
    probes: Probes,
    answer: impl Fn(&str, usize) -> Answer + Send + Sync + 'static,
) -> Play {
    let script = Arc::new(Script {
        began: Instant::now(),
        asked: Mutex::default(),
        cut_off: Arc::default(),
        answer: Box::new(answer),
    });
    let (sender, reports) = mpsc::unbounded_channel();
    let workers = start(Attempt {
        known: opening.known.unwrap_or_else(|| Known::at_start(&probes)),
        probes,
        target: Target { ip: [127, 0, 0, 1].into() },
        exec: Arc::<Script>::clone(&script) as Arc<dyn Exec>,
        started_ago: opening.started_ago,
        reports: sender,
    });
    Play { script, reports, workers: Some(workers) }
}

impl Play {
    /// When this probe was asked, in seconds since the workers were started.
    fn asked(&self, name: &str) -> Vec<f64> {
        let asked = self.script.asked.lock().unwrap();
        asked.iter().filter(|(who, _)| who == name).map(|(_, at)| round(*at)).collect()
    }

    fn verdicts(&mut self) -> Vec<(Kind, Verdict)> {
        std::iter::from_fn(|| self.reports.try_recv().ok())
            .filter_map(|report| report.verdict.map(|verdict| (report.kind, verdict)))
            .collect()
    }

    fn workers(&self) -> &Workers {
        self.workers.as_ref().unwrap()
    }
}

/// Timers have a resolution of one millisecond.
fn round(time: Duration) -> f64 {
    (time.as_secs_f64() * 100.0).round() / 100.0
}

async fn seconds(count: f64) {
    sleep(Duration::from_secs_f64(count)).await;
}

fn liveness(spec: Spec) -> Probes {
    Probes { liveness: Some(spec), ..Probes::default() }
}

fn readiness(spec: Spec) -> Probes {
    Probes { readiness: Some(spec), ..Probes::default() }
}

#[tokio::test(start_paused = true)]
async fn the_first_probe_comes_at_once_and_then_one_every_period() {
    let play = play(liveness(spec("live", 10)), |_, _| Answer::Yes);
    seconds(35.0).await;
    assert_eq!(play.asked("live"), [0.0, 10.0, 20.0, 30.0]);
}

#[tokio::test(start_paused = true)]
async fn the_initial_delay_counts_from_the_containers_start() {
    let mut late = spec("live", 10);
    late.initial_delay = Duration::from_secs(7);
    let new = play(liveness(late.clone()), |_, _| Answer::Yes);
    let middle = Opening { started_ago: Duration::from_secs(5), known: None };
    let middle = play_from(middle, liveness(late.clone()), |_, _| Answer::Yes);
    let old = Opening { started_ago: Duration::from_secs(5000), known: None };
    let old = play_from(old, liveness(late), |_, _| Answer::Yes);
    seconds(15.0).await;
    assert_eq!(new.asked("live"), [7.0]);
    assert_eq!(middle.asked("live"), [2.0, 12.0]);
    assert_eq!(old.asked("live"), [0.0, 10.0]);
}

#[tokio::test(start_paused = true)]
async fn three_failures_end_the_run_and_the_worker_with_it() {
    let mut play = play(liveness(spec("live", 3)), |_, nth| if nth < 2 { Answer::Yes } else { Answer::No });
    seconds(60.0).await;
    assert_eq!(play.asked("live"), [0.0, 3.0, 6.0, 9.0, 12.0]);
    let reports: Vec<_> = std::iter::from_fn(|| play.reports.try_recv().ok()).collect();
    assert_eq!(reports.len(), 3, "every failure is told, and no success that changes nothing");
    assert_eq!(reports[0].outcome, Outcome::Failure("as scripted".to_owned()));
    assert_eq!(reports[1].verdict, None);
    assert_eq!(reports[2].verdict, Some(Verdict::Unhealthy));
}

#[tokio::test(start_paused = true)]
async fn a_probe_longer_than_its_period_drops_ticks_and_makes_one_up() {
    let mut slow = spec("live", 2);
    slow.timeout = Duration::from_secs(60);
    let play = play(liveness(slow), |_, nth| match nth {
        0 => Answer::Slow(Duration::from_secs(5)),
        _ => Answer::Yes,
    });
    seconds(11.0).await;
    // The ticks of 2 and 4 passed meanwhile: one is made up for at 5, then the old rhythm.
    assert_eq!(play.asked("live"), [0.0, 5.0, 6.0, 8.0, 10.0]);
}

#[tokio::test(start_paused = true)]
async fn the_start_holds_the_others_back_and_then_they_come_at_once() {
    let probes = Probes {
        startup: Some(spec("start", 10)),
        liveness: Some(spec("live", 10)),
        readiness: Some(spec("ready", 30)),
    };
    let mut play = play(probes, |name, nth| match name {
        "start" if nth < 2 => Answer::No,
        _ => Answer::Yes,
    });
    seconds(45.0).await;
    assert_eq!(play.asked("start"), [0.0, 10.0, 20.0], "it is not asked again");
    assert_eq!(play.asked("ready"), [20.0], "not a period later");
    assert_eq!(play.asked("live"), [20.0, 30.0, 40.0]);
    assert_eq!(play.verdicts(), [(Kind::Startup, Verdict::Started), (Kind::Readiness, Verdict::Ready)]);
}

#[tokio::test(start_paused = true)]
async fn initial_delays_of_the_others_run_during_the_start() {
    let mut late = spec("live", 10);
    late.initial_delay = Duration::from_secs(25);
    let probes = Probes { startup: Some(spec("start", 10)), liveness: Some(late), readiness: None };
    let play = play(probes, |name, nth| if name == "start" && nth < 2 { Answer::No } else { Answer::Yes });
    seconds(40.0).await;
    assert_eq!(play.asked("live"), [25.0, 35.0]);
}

#[tokio::test(start_paused = true)]
async fn a_start_that_fails_never_lets_the_others_begin() {
    let probes = Probes {
        startup: Some(spec("start", 1)),
        liveness: Some(spec("live", 1)),
        readiness: Some(spec("ready", 1)),
    };
    let mut play = play(probes, |_, _| Answer::No);
    seconds(60.0).await;
    assert_eq!(play.script.asked.lock().unwrap().len(), 3);
    assert_eq!(play.verdicts(), [(Kind::Startup, Verdict::Unhealthy)]);
    play.workers().stopping();
    seconds(1.0).await;
    assert_eq!(play.verdicts(), [], "what has failed does not start by being deleted");
}

#[tokio::test(start_paused = true)]
async fn a_run_that_was_known_to_be_started_is_not_started_again() {
    let probes =
        Probes { startup: Some(spec("start", 1)), liveness: None, readiness: Some(spec("ready", 10)) };
    let known = Some(Known { started: true, ready: true });
    let opening = Opening { started_ago: Duration::from_secs(100), known };
    let mut play = play_from(opening, probes, |_, _| Answer::Yes);
    seconds(15.0).await;
    assert_eq!(play.asked("start"), [0.0; 0]);
    assert_eq!(play.asked("ready"), [0.0, 10.0]);
    assert_eq!(play.verdicts(), []);
}

#[tokio::test(start_paused = true)]
async fn a_command_that_does_not_end_is_a_failure_when_its_time_is_over() {
    let mut once = spec("live", 10);
    once.failure_threshold = 1;
    let mut play = play(liveness(once), |_, _| Answer::Slow(Duration::from_secs(3600)));
    seconds(5.0).await;
    let report = play.reports.try_recv().unwrap();
    assert_eq!(report.outcome, Outcome::Failure("command timed out: \"live\" timed out after 1s".to_owned()));
    assert_eq!(report.verdict, Some(Verdict::Unhealthy));
    assert_eq!(play.script.cut_off.lock().unwrap().len(), 1, "and it is called off");
}

#[tokio::test(start_paused = true)]
async fn an_error_is_tried_three_times_told_and_not_counted() {
    let mut once = spec("live", 10);
    once.failure_threshold = 1;
    let mut play = play(liveness(once), |_, nth| if nth < 3 { Answer::Broken } else { Answer::No });
    seconds(5.0).await;
    assert_eq!(play.asked("live"), [0.0, 0.0, 0.0]);
    let report = play.reports.try_recv().unwrap();
    assert_eq!((report.outcome, report.verdict), (Outcome::Error("no such program".to_owned()), None));
    seconds(6.0).await;
    assert_eq!(play.asked("live").len(), 4, "a failure is not tried again");
    assert_eq!(play.verdicts(), [(Kind::Liveness, Verdict::Unhealthy)]);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_workers_calls_off_what_is_under_way_and_nothing_comes_after() {
    let mut slow = spec("live", 10);
    slow.timeout = Duration::from_secs(60);
    let probes = Probes { liveness: Some(slow), readiness: Some(spec("ready", 1)), startup: None };
    let mut play = play(probes, |name, _| match name {
        "live" => Answer::Slow(Duration::from_secs(30)),
        _ => Answer::No,
    });
    seconds(5.5).await;
    play.workers = None;
    while play.reports.try_recv().is_ok() {}
    seconds(60.0).await;
    assert_eq!(play.asked("ready").len(), 6);
    assert_eq!(play.reports.try_recv(), Err(mpsc::error::TryRecvError::Disconnected));
    let cut_off = play.script.cut_off.lock().unwrap();
    assert_eq!(cut_off.iter().map(|at| round(*at)).collect::<Vec<_>>(), [5.5]);
}

#[tokio::test(start_paused = true)]
async fn readiness_goes_on_while_the_pod_is_deleted_and_liveness_does_not() {
    let probes = Probes { liveness: Some(spec("live", 1)), readiness: Some(spec("ready", 1)), startup: None };
    let mut play =
        play(probes, |name, nth| if name == "ready" && nth < 3 { Answer::Yes } else { Answer::No });
    seconds(1.5).await;
    play.workers().stopping();
    seconds(10.0).await;
    assert_eq!(play.asked("live"), [0.0, 1.0]);
    assert_eq!(play.asked("ready").len(), 12);
    let expected = [(Kind::Readiness, Verdict::Ready), (Kind::Readiness, Verdict::NotReady)];
    assert_eq!(play.verdicts(), expected);
}

#[tokio::test(start_paused = true)]
async fn deleting_a_pod_counts_as_its_start() {
    let probes =
        Probes { startup: Some(spec("start", 5)), liveness: None, readiness: Some(spec("ready", 5)) };
    let mut play = play(probes, |name, _| if name == "start" { Answer::No } else { Answer::Yes });
    seconds(1.0).await;
    play.workers().stopping();
    seconds(1.0).await;
    assert_eq!(play.asked("start"), [0.0]);
    assert_eq!(play.asked("ready"), [1.0]);
    assert_eq!(play.verdicts(), [(Kind::Startup, Verdict::Started), (Kind::Readiness, Verdict::Ready)]);
}

#[tokio::test(start_paused = true)]
async fn a_poke_asks_an_unready_container_now_and_the_period_counts_from_there() {
    let mut play =
        play(readiness(spec("ready", 30)), |_, nth| if nth == 0 { Answer::No } else { Answer::Yes });
    seconds(2.0).await;
    play.workers().poke();
    seconds(1.0).await;
    assert_eq!(play.asked("ready"), [0.0, 2.0]);
    assert_eq!(play.verdicts(), [(Kind::Readiness, Verdict::Ready)]);
    play.workers().poke();
    seconds(30.0).await;
    assert_eq!(play.asked("ready"), [0.0, 2.0, 32.0], "it is ready: nothing to hurry for");
}

#[tokio::test(start_paused = true)]
async fn poking_without_end_asks_once_a_second() {
    let play = play(readiness(spec("ready", 30)), |_, _| Answer::No);
    for _ in 0..50 {
        play.workers().poke();
        seconds(0.1).await;
    }
    assert_eq!(play.asked("ready").len(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_poke_before_the_first_probe_changes_nothing() {
    let mut late = spec("ready", 10);
    late.initial_delay = Duration::from_secs(5);
    let play = play(readiness(late), |_, _| Answer::No);
    play.workers().poke();
    seconds(1.0).await;
    play.workers().poke();
    seconds(10.0).await;
    assert_eq!(play.asked("ready"), [5.0]);
}

#[tokio::test(start_paused = true)]
async fn without_probes_nothing_is_started() {
    let play = play(Probes::default(), |_, _| Answer::No);
    assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), 0);
    play.workers().poke();
    play.workers().stopping();
    assert!(play.script.asked.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_is_gone_disturbs_nobody() {
    let mut play =
        play(liveness(spec("live", 1)), |_, nth| if nth % 2 == 0 { Answer::No } else { Answer::Yes });
    play.reports.close();
    seconds(3.5).await;
    assert_eq!(play.asked("live").len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_containers_with_three_probes_each_keep_their_periods() {
    let plays: Vec<_> = (0..1000)
        .map(|_| {
            let probes = Probes {
                liveness: Some(spec("live", 1)),
                readiness: Some(spec("ready", 1)),
                startup: Some(spec("start", 1)),
            };
            play(probes, |_, _| Answer::Slow(Duration::from_millis(10)))
        })
        .collect();
    seconds(10.5).await;
    let every_second: Vec<f64> = (0..11).map(|second| 0.01 + f64::from(second)).collect();
    for play in &plays {
        assert_eq!(play.asked("start"), [0.0]);
        assert_eq!(play.asked("live"), every_second);
        assert_eq!(play.asked("ready"), every_second);
    }
}

#[tokio::test(start_paused = true)]
async fn a_sleeping_worker_is_small() {
    let play = play(liveness(spec("live", 10)), |_, _| Answer::Yes);
    let shared = Arc::clone(play.workers().shared.as_ref().unwrap());
    let spec = spec("live", 10);
    let worker = Worker {
        kind: Kind::Liveness,
        threshold: Threshold::new(Kind::Liveness, &spec),
        allowed_at: Instant::now(),
        spec,
        shared,
    };
    let size = size_of_val(&worker.run());
    assert!(size < 1536, "{size} bytes");
}

mod model;
