use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::Handler;

fn spec(success_threshold: u32, failure_threshold: u32) -> Spec {
    Spec {
        handler: Handler::Exec { command: Vec::new() },
        initial_delay: Duration::ZERO,
        period: Duration::from_secs(10),
        timeout: Duration::from_secs(1),
        success_threshold,
        failure_threshold,
        termination_grace_seconds: None,
    }
}

/// `+` success, `w` warning, `-` failure, `e` error, `i` interrupted.
fn outcome(letter: char) -> Outcome {
    match letter {
        '+' => Outcome::Success,
        'w' => Outcome::Warning(String::new()),
        '-' => Outcome::Failure(String::new()),
        'i' => Outcome::Interrupted(String::new()),
        _ => Outcome::Error(String::new()),
    }
}

/// The verdicts of a row of outcomes: `S`tarted, `R`eady, `N`ot ready, `U`nhealthy, `.` none.
fn verdicts(mut threshold: Threshold, outcomes: &str) -> String {
    outcomes
        .chars()
        .map(|letter| match threshold.record(&outcome(letter)) {
            None => '.',
            Some(Verdict::Started) => 'S',
            Some(Verdict::Ready) => 'R',
            Some(Verdict::NotReady) => 'N',
            Some(Verdict::Unhealthy) => 'U',
        })
        .collect()
}

#[test]
fn thresholds() {
    use Kind::{Liveness, Readiness, Startup};
    for (sentence, kind, good, bad, outcomes, expected) in [
        ("a container is alive before anybody asked", Liveness, 1, 3, "+++", "..."),
        ("three failures in a row end it", Liveness, 1, 3, "---", "..U"),
        ("a success in between starts the count anew", Liveness, 1, 3, "--+--+---", "........U"),
        ("one failure is enough if one is allowed", Liveness, 1, 1, "+-", ".U"),
        ("what has failed stays failed", Liveness, 1, 1, "-+-+-", "U...."),
        ("an error neither counts nor interrupts", Liveness, 1, 3, "-e-i-", "....U"),
        ("errors alone never end anything", Liveness, 1, 1, "eeeeee", "......"),
        ("a warning is a success", Liveness, 1, 2, "-w-w--", ".....U"),
        ("a container is unready until it is shown ready", Readiness, 1, 3, "---", "..."),
        ("the first success makes it ready", Readiness, 1, 3, "--+", "..R"),
        ("it is said once", Readiness, 1, 3, "+++", "R.."),
        ("it stays ready through failures below the threshold", Readiness, 1, 3, "+--+--+", "R......"),
        ("it is unready after enough of them, and can come back", Readiness, 1, 3, "+---+", "R..NR"),
        ("several successes in a row can be asked for", Readiness, 3, 1, "++-+++-", ".....RN"),
        ("a warning counts towards them", Readiness, 2, 1, "+w", ".R"),
        ("an error keeps a count as it is", Readiness, 2, 2, "+e+-e-", "..R..N"),
        ("the first success ends the start", Startup, 1, 30, "---+", "...S"),
        ("the start is over only once", Startup, 1, 3, "+---", "S..."),
        ("too many failures end the container", Startup, 1, 3, "---", "..U"),
        ("after that nothing helps", Startup, 1, 3, "---+", "..U."),
    ] {
        assert_eq!(verdicts(Threshold::new(kind, &spec(good, bad)), outcomes), expected, "{sentence}");
    }
}

#[test]
fn a_container_that_was_seen_ready_is_not_reported_ready_again() {
    let known = Known { started: true, ready: true };
    let threshold = Threshold::resumed(Kind::Readiness, &spec(1, 3), known);
    assert_eq!(verdicts(threshold, "+---+"), "...NR");
}

#[test]
fn the_status_follows_the_verdicts() {
    let one = Some(spec(1, 1));
    let none = Probes::default();
    let all = Probes { liveness: one.clone(), readiness: one.clone(), startup: one.clone() };
    let startup = Probes { startup: one.clone(), ..Probes::default() };
    let readiness = Probes { readiness: one, ..Probes::default() };
    let known = |started, ready| Known { started, ready };

    assert_eq!(Known::at_start(&none), known(true, true), "without probes it is ready as soon as it runs");
    assert_eq!(Known::at_start(&all), known(false, false));
    assert_eq!(Known::at_start(&startup), known(false, false), "what has not started is not ready");
    assert_eq!(Known::at_start(&readiness), known(true, false));

    let started = Known::at_start(&all).after(Verdict::Started, &all);
    assert_eq!(started, known(true, false), "readiness has still to be asked");
    assert_eq!(started.after(Verdict::Ready, &all), known(true, true));
    assert_eq!(known(true, true).after(Verdict::NotReady, &all), known(true, false));
    assert_eq!(
        known(true, true).after(Verdict::Unhealthy, &all),
        known(true, true),
        "its end makes it unready"
    );
    let started = Known::at_start(&startup).after(Verdict::Started, &startup);
    assert_eq!(started, known(true, true), "with no readiness probe a start is all it takes");
}

/// The rules again, told the other way round: look at the whole history, and ask what it shows.
///
/// Leave out the errors. At each point of the history something is *shown* if the last so-many results were all
/// the same. What is believed is what was shown last, or the start value if nothing was yet; liveness and
/// startup stop believing anything new once the run is lost, startup also once it is won.
fn model(kind: Kind, good: usize, bad: usize, history: &str) -> String {
    let start = match kind {
        Kind::Liveness => Some(true),
        Kind::Readiness => Some(false),
        Kind::Startup => None,
    };
    let believed_after = |letters: &str| {
        let results: Vec<bool> = letters.chars().filter(|c| !"ei".contains(*c)).map(|c| c != '-').collect();
        let shown = |end: usize| {
            let last = results[end - 1];
            let needed = if last { good } else { bad };
            (end >= needed && results[end - needed..end].iter().all(|one| *one == last)).then_some(last)
        };
        let mut shown = (1..=results.len()).filter_map(shown);
        match kind {
            Kind::Readiness => shown.next_back().or(start),
            Kind::Startup => shown.next(),
            Kind::Liveness => Some(shown.all(|one| one)),
        }
    };
    (1..=history.len())
        .map(|end| {
            let (before, after) = (believed_after(&history[..end - 1]), believed_after(&history[..end]));
            match (before == after, kind, after) {
                (true, ..) => '.',
                (_, Kind::Readiness, Some(true)) => 'R',
                (_, Kind::Readiness, _) => 'N',
                (_, Kind::Startup, Some(true)) => 'S',
                _ => 'U',
            }
        })
        .collect()
}

proptest! {
    #[test]
    fn any_history_is_judged_as_the_rules_say(
        kind in prop_oneof![Just(Kind::Liveness), Just(Kind::Readiness), Just(Kind::Startup)],
        good in 1_u32..4,
        bad in 1_u32..5,
        history in "[+wei-]{0,40}",
    ) {
        let counted = verdicts(Threshold::new(kind, &spec(good, bad)), &history);
        prop_assert_eq!(counted, model(kind, good as usize, bad as usize, &history));
    }

    #[test]
    fn verdicts_of_one_probe_alternate_and_only_readiness_has_more_than_one(
        good in 1_u32..4,
        bad in 1_u32..5,
        history in "[+wei-]{0,40}",
    ) {
        for kind in [Kind::Liveness, Kind::Readiness, Kind::Startup] {
            let told: String = verdicts(Threshold::new(kind, &spec(good, bad)), &history).replace('.', "");
            match kind {
                Kind::Readiness => prop_assert!("RNRNRNRNRNRNRNRNRNRNRNRNRNRNRNRNRNRNRNRNRN".starts_with(&told)),
                _ => prop_assert!(told.len() <= 1),
            }
        }
    }
}
