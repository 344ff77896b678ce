//! Whatever three probes of a container are answered, and however often it is restarted: the workers ask and judge
//! exactly as a second telling of the rules, which shares no code with them.
//!
//! The model knows no timers and no counters. It walks through whole seconds and asks of each: is a probe due now?
//! And then, looking back over all answers of this run: what do they show?

use proptest::{collection::vec, prelude::*};

use super::*;

/// How long a play lasts, seconds.
const END: usize = 40;

/// One probe, and what it is answered at each second: `+` well, `-` not, `e` not to be found out.
#[derive(Clone, Debug)]
struct Part {
    delay: usize,
    period: usize,
    good: usize,
    bad: usize,
    answers: Vec<char>,
}

fn part(good: std::ops::Range<usize>) -> impl Strategy<Value = Option<Part>> {
    let answers = vec(prop_oneof![4 => Just('+'), 3 => Just('-'), 1 => Just('e')], END);
    let part = (0_usize..5, 1_usize..5, good, 1_usize..4, answers);
    let part =
        part.prop_map(|(delay, period, good, bad, answers)| Part { delay, period, good, bad, answers });
    proptest::option::weighted(0.8, part)
}

/// Startup, liveness, readiness; what happened: second, kind, and the verdict as a letter.
type Parts = [Option<Part>; 3];
type Told = Vec<(usize, usize, char)>;

const KINDS: [Kind; 3] = [Kind::Startup, Kind::Liveness, Kind::Readiness];

/// The rules, one run after another.
fn told_by_the_model(parts: &Parts) -> Told {
    let mut told = Told::new();
    let mut run_began = 0;
    while run_began < END {
        run_began = one_run(parts, run_began, &mut told);
    }
    told
}

/// One run; when the next one begins.
fn one_run(parts: &Parts, began: usize, told: &mut Told) -> usize {
    let mut results: [Vec<char>; 3] = Default::default();
    let mut first_asked: [Option<usize>; 3] = [None; 3];
    let mut started = parts[0].is_none();
    let mut killed = false;
    for now in began..END {
        for (kind, part) in parts.iter().enumerate() {
            let Some(part) = part else { continue };
            let held_back = if kind == 0 { started } else { !started };
            if held_back || now - began < part.delay {
                continue;
            }
            let first = *first_asked[kind].get_or_insert(now);
            if !(now - first).is_multiple_of(part.period) {
                continue;
            }
            let before = believed(kind, part, &results[kind]);
            if part.answers[now] != 'e' {
                results[kind].push(part.answers[now]);
            }
            let after = believed(kind, part, &results[kind]);
            if before == after {
                continue;
            }
            let verdict = match (kind, after) {
                (0, '+') => 'S',
                (2, '+') => 'R',
                (2, _) => 'N',
                _ => 'U',
            };
            started |= verdict == 'S';
            told.push((now, kind, verdict));
            killed |= verdict == 'U';
        }
        if killed {
            // It is started again in the next second.
            return now + 1;
        }
    }
    END
}

/// What so many equal results in a row show last; before that, what is believed of a container that nobody has asked.
fn believed(kind: usize, part: &Part, results: &[char]) -> char {
    let shows = |end: usize| {
        let last = results[end - 1];
        let row = results[..end].iter().rev().take_while(|one| **one == last).count();
        (row >= if last == '+' { part.good } else { part.bad }).then_some(last)
    };
    let unasked = ['?', '+', '-'][kind];
    (1..=results.len()).rev().find_map(shows).unwrap_or(unasked)
}

/// The same by the workers, on a paused clock.
fn told_by_the_workers(parts: &Parts) -> Told {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(async {
        let began = Instant::now();
        let mut told = Told::new();
        let mut running: Option<Play> = None;
        for now in 0..END {
            let play = running.get_or_insert_with(|| begin(parts, began));
            // Half a second later everything that is due now has been said.
            sleep_until(began + Duration::from_millis(1000 * now as u64 + 500)).await;
            let mut over = false;
            for (kind, verdict) in play.verdicts() {
                let kind = KINDS.iter().position(|one| *one == kind).unwrap();
                let letter = match verdict {
                    Verdict::Started => 'S',
                    Verdict::Ready => 'R',
                    Verdict::NotReady => 'N',
                    Verdict::Unhealthy => 'U',
                };
                told.push((now, kind, letter));
                over |= letter == 'U';
            }
            if over {
                running = None;
                sleep_until(began + Duration::from_secs(now as u64 + 1)).await;
            }
        }
        told
    })
}

fn begin(parts: &Parts, began: Instant) -> Play {
    let answers: Vec<_> = parts.iter().map(|part| part.as_ref().map(|part| part.answers.clone())).collect();
    let of = |kind: usize| {
        parts[kind].as_ref().map(|part| Spec {
            initial_delay: Duration::from_secs(part.delay as u64),
            success_threshold: part.good as u32,
            failure_threshold: part.bad as u32,
            ..spec(["startup", "liveness", "readiness"][kind], part.period as u64)
        })
    };
    let probes = Probes { startup: of(0), liveness: of(1), readiness: of(2) };
    play(probes, move |name, _| {
        let kind = ["startup", "liveness", "readiness"].iter().position(|one| *one == name).unwrap();
        let now = began.elapsed().as_secs() as usize;
        match answers[kind].as_ref().unwrap()[now.min(END - 1)] {
            '+' => Answer::Yes,
            '-' => Answer::No,
            _ => Answer::Broken,
        }
    })
}

/// Within one second liveness and readiness may be told in either order.
fn sorted(mut told: Told) -> Told {
    told.sort_unstable();
    told
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn any_answers_and_any_restarts_are_judged_as_the_rules_say(
        startup in part(1..2),
        liveness in part(1..2),
        readiness in part(1..4),
    ) {
        let parts = [startup, liveness, readiness];
        prop_assert_eq!(sorted(told_by_the_workers(&parts)), sorted(told_by_the_model(&parts)));
    }
}
