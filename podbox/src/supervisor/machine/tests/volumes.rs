//! Volumes that lack something, and volumes that take too much.

use super::*;
use crate::status::render;

fn failure(reason: &str) -> Event {
    Event::SandboxFailed(Failure { reason: reason.to_owned(), message: "m".to_owned() })
}

#[test]
fn what_lacks_a_volume_is_tried_again_after_half_a_second_doubling_to_two_minutes() {
    let mut bench = Bench::new(pod(RestartPolicy::Always, &["c"]));
    bench.step(0, Event::Begin);
    bench.step(0, Event::ImageFound(0, image(), Arrival::Present));
    let (mut now, mut seen) = (at(0), Vec::new());
    for _ in 0..10 {
        let actions = bench.machine.step(now, failure("FailedMount"));
        assert!(matches!(&actions[..], [Action::Note(note)] if note.reason == "FailedMount" && note.warning));
        let due = bench.machine.deadline().unwrap();
        seen.push(due.since(now.mono).as_millis() / 100);
        now.mono = due;
        assert_eq!(bench.machine.step(now, Event::Tick), [Action::MakeSandbox]);
    }
    assert_eq!(seen, [5, 10, 20, 40, 80, 160, 320, 640, 1220, 1220]);
    bench.machine.step(now, Event::SandboxReady(SandboxFacts::default()));
    assert_eq!(bench.machine.memory().mount_backoff, Backoff::default());
}

#[test]
fn what_lacks_a_volume_is_tried_at_once_when_an_object_changes_and_nothing_else_is() {
    let mut bench = Bench::new(pod(RestartPolicy::Always, &["c"]));
    bench.step(0, Event::Begin).step(0, failure("FailedMount"));
    assert!(bench.step(0, Event::ObjectsChanged).has(&Action::MakeSandbox));
    bench.step(0, failure("FailedCreatePodSandBox"));
    assert!(bench.step(0, Event::ObjectsChanged).actions.is_empty());
    assert!(bench.step(10, Event::Tick).has(&Action::MakeSandbox));
    bench.sandbox(10);
    assert!(bench.step(10, Event::ObjectsChanged).actions.is_empty());
}

#[test]
fn a_claim_that_is_missing_leaves_the_pod_unscheduled_until_it_is_there() {
    let mut bench = Bench::new(pod(RestartPolicy::Always, &["c"]));
    bench.step(0, Event::Begin);
    assert_eq!(bench.condition("PodScheduled"), (true, None));
    bench.step(0, failure("FailedScheduling"));
    assert_eq!(bench.condition("PodScheduled"), (false, Some("Unschedulable")));
    assert_eq!(bench.phase(), Phase::Pending);
    bench.step(1, Event::Tick).sandbox(1);
    assert_eq!(bench.condition("PodScheduled"), (true, None));
}

#[test]
fn an_evicted_pod_has_a_second_to_end_and_has_failed_whatever_its_policy() {
    let mut bench = running(RestartPolicy::Always);
    bench.step(10, Event::Evict("too much".to_owned()));
    assert_eq!(bench.notes(), ["Evicted", "Killing"]);
    assert!(bench.has(&Action::Signal(0, StopWith::Politely)));
    // The least that any container has.
    assert_eq!(bench.machine.deadline(), Some(at(12).mono));
    assert!(bench.step(11, Event::Evict("again".to_owned())).actions.is_empty());
    bench.step(12, Event::Exited(0, ended(Exit::Code(0), 12)));
    assert!(bench.has(&Action::Finish(Leave::Remains)));
    let status = render(bench.machine.pod(), bench.machine.memory(), &[]);
    assert_eq!(status.phase.as_deref(), Some("Failed"));
    assert_eq!((status.reason.as_deref(), status.message.as_deref()), (Some("Evicted"), Some("too much")));
}
