//! What the pod is to be changes while it runs.

use super::*;
use crate::pod::ResizePolicy;

fn with_memory(mib: u64) -> Resources {
    Resources { memory_limit_bytes: Some(mib << 20), ..Resources::default() }
}

/// Two containers with 32 MiB each that run; the second may have a policy of its own.
fn two(resize: ResizePolicy) -> Bench {
    let mut pod = pod(RestartPolicy::Never, &["a", "b"]);
    for container in &mut pod.containers {
        container.resources = with_memory(32);
    }
    pod.containers[1].resize = resize;
    let mut bench = Bench::new(pod);
    bench.step(0, Event::Begin);
    bench.sandbox(0).run(0, 0).run(0, 1);
    bench
}

fn change(bench: &mut Bench, seconds: u64, how: impl FnOnce(&mut Pod)) {
    let mut pod = bench.machine.pod().clone();
    how(&mut pod);
    bench.step(seconds, Event::Changed(Box::new(pod)));
}

fn done(applied: &[(Index, u64)], settled: bool) -> Event {
    let applied = applied.iter().map(|(index, mib)| (*index, with_memory(*mib))).collect();
    Event::Resized(Resized { applied, settled, error: None })
}

fn is_resizing(bench: &Bench) -> bool {
    bench.machine.memory().conditions.iter().any(|condition| condition.kind == "PodResizeInProgress")
}

#[test]
fn another_image_restarts_its_container_at_once_whatever_the_policy() {
    let mut bench = two(ResizePolicy::default());
    change(&mut bench, 5, |pod| pod.containers[0].image = "other".to_owned());
    assert!(bench.has(&Action::Signal(0, StopWith::Politely)));
    assert_eq!(bench.notes(), ["Killing"]);
    assert!(!bench.has(&Action::Signal(1, StopWith::Politely)));
    bench.step(6, Event::Exited(0, ended(Exit::Code(0), 6)));
    assert!(bench.has(&Action::FindImage(0)));
    bench.run(7, 0).step(8, Event::Tick);
    assert_eq!(bench.actions, [], "it is what it should be");
}

#[test]
fn an_image_that_was_looked_for_in_vain_is_forgotten() {
    let mut bench = Bench::new(pod(RestartPolicy::Always, &["c"]));
    bench.step(0, Event::Begin);
    bench.sandbox(0);
    change(&mut bench, 1, |pod| pod.containers[0].image = "second".to_owned());
    let failure = Failure { reason: "ErrImagePull".to_owned(), message: "no".to_owned() };
    bench.step(2, Event::ImageFailed(0, failure.clone()));
    assert_eq!(bench.actions, [Action::FindImage(0)], "the answer was to another question");
    bench.step(3, Event::ImageFailed(0, failure));
    change(&mut bench, 4, |pod| pod.containers[0].image = "third".to_owned());
    assert_eq!(bench.actions, [Action::FindImage(0)], "no back-off is of this image");
    assert_eq!(bench.machine.memory().containers[0].why, None);
}

#[test]
fn limits_change_while_containers_run_and_a_condition_says_so_until_it_is_done() {
    let mut bench = two(ResizePolicy::default());
    change(&mut bench, 5, |pod| pod.containers[0].resources = with_memory(64));
    assert_eq!(bench.actions, [Action::Resize]);
    assert!(is_resizing(&bench));
    assert!(is_settled_by_resizing(bench.machine.pod(), bench.machine.memory()));
    bench.step(6, done(&[(0, 64)], true));
    assert_eq!(bench.notes(), ["ResizeCompleted"]);
    assert!(!is_resizing(&bench));
    bench.step(7, Event::Tick);
    assert_eq!(bench.actions, []);
}

#[test]
fn limits_that_cannot_be_are_tried_again_and_may_be_taken_back() {
    let mut bench = two(ResizePolicy::default());
    change(&mut bench, 5, |pod| pod.containers[0].resources = with_memory(1));
    let failed = Resized { error: Some("no".to_owned()), ..Resized::default() };
    bench.step(6, Event::Resized(failed.clone()));
    assert_eq!(bench.notes(), ["ResizeError"]);
    assert_eq!(bench.condition("PodResizeInProgress"), (true, Some("Error")));
    assert_eq!(bench.machine.deadline(), Some(at(16).mono));
    assert_eq!(bench.step(16, Event::Tick).actions, [Action::Resize]);
    assert_eq!(bench.step(17, Event::Resized(failed)).notes(), [""; 0], "that is known");
    change(&mut bench, 18, |pod| pod.containers[0].resources = with_memory(32));
    assert_eq!(bench.actions, [Action::Resize], "the pod's own limits may have been changed already");
    bench.step(19, done(&[], true));
    assert!(!is_resizing(&bench));
}

#[test]
fn a_second_try_that_has_nothing_to_do_yet_does_not_keep_the_supervisor_busy() {
    let mut bench = two(ResizePolicy { memory_restarts: true, ..ResizePolicy::default() });
    change(&mut bench, 5, |pod| {
        pod.containers[0].resources = with_memory(1);
        pod.containers[1].resources = with_memory(16);
    });
    bench.step(6, Event::Resized(Resized { error: Some("no".to_owned()), ..Resized::default() }));
    bench.step(7, Event::Exited(0, ended(Exit::Code(0), 7)));
    bench.step(16, Event::Tick);
    assert!(bench.machine.deadline().is_none_or(|deadline| deadline > at(16).mono));
    assert!(is_resizing(&bench));
}

#[test]
fn a_container_that_has_to_start_anew_for_it_keeps_the_pods_limits_wide_until_it_has_ended() {
    let mut bench = two(ResizePolicy { memory_restarts: true, ..ResizePolicy::default() });
    change(&mut bench, 5, |pod| pod.containers[1].resources = with_memory(16));
    assert!(bench.has(&Action::Resize) && bench.has(&Action::Signal(1, StopWith::Politely)));
    assert!(!is_settled_by_resizing(bench.machine.pod(), bench.machine.memory()));
    bench.step(6, done(&[], false));
    assert!(is_resizing(&bench) && !bench.has(&Action::Resize));
    bench.step(7, Event::Exited(1, ended(Exit::Code(0), 7)));
    assert!(bench.has(&Action::Resize) && bench.has(&Action::FindImage(1)));
    bench.step(8, done(&[], true));
    assert!(!is_resizing(&bench));
}

#[test]
fn a_new_supervisor_finds_out_by_itself_what_has_changed() {
    let bench = two(ResizePolicy::default());
    let memory = bench.machine.memory().clone();
    let mut pod = bench.machine.pod().clone();
    pod.containers[0].resources = with_memory(64);
    pod.containers[1].image = "other".to_owned();
    let mut machine = PodMachine::resume(pod, BackoffSettings::default(), memory, at(9));
    let actions = machine.step(at(9), Event::Begin);
    assert!(actions.contains(&Action::Resize) && actions.contains(&Action::Signal(1, StopWith::Politely)));
}

#[test]
fn a_deadline_counts_from_the_pods_start_whenever_it_is_set() {
    let mut bench = two(ResizePolicy::default());
    change(&mut bench, 30, |pod| pod.active_deadline_seconds = Some(100));
    assert_eq!(bench.machine.deadline(), Some(at(100).mono));
    change(&mut bench, 40, |pod| pod.active_deadline_seconds = Some(20));
    assert!(bench.notes().contains(&"DeadlineExceeded"));
}

#[test]
fn an_evicted_pod_has_a_second_and_fails_with_the_reason() {
    let mut bench = two(ResizePolicy::default());
    bench.step(5, Event::Evict("too much".to_owned()));
    assert_eq!(bench.notes(), ["Evicted", "Killing", "Killing"]);
    assert_eq!(bench.machine.deadline(), Some(at(7).mono), "the least that there is before SIGKILL");
    bench.step(6, Event::Evict("again".to_owned()));
    assert_eq!(bench.actions, [], "once is enough");
    bench.step(7, Event::Exited(0, ended(Exit::Code(0), 7)));
    bench.step(7, Event::Exited(1, ended(Exit::Code(0), 7)));
    assert_eq!(bench.phase(), Phase::Failed);
    let status = crate::status::render(bench.machine.pod(), bench.machine.memory(), &[]);
    assert_eq!((status.reason.as_deref(), status.message.as_deref()), (Some("Evicted"), Some("too much")));
}
