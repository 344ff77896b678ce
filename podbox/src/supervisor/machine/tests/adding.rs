//! Ephemeral containers.

use super::init::staged;
use super::*;

pub(super) fn added(name: &str) -> Added {
    let container =
        Container { role: Role::Ephemeral, restart_policy: RestartPolicy::Never, ..container(name) };
    Added { container, object: serde_json::json!({"name": name}) }
}

fn add(name: &str) -> Event {
    Event::Add(Box::new(added(name)))
}

#[test]
fn an_ephemeral_container_begins_whatever_the_others_do_and_the_pod_is_as_it_was() {
    let mut bench = Bench::new(staged(RestartPolicy::Always, &["init:a", "b"]));
    bench.step(0, Event::Begin);
    bench.sandbox(0).run(0, 0);
    bench.step(1, add("look"));
    assert_eq!(bench.actions, [Action::FindImage(2)]);
    bench.run(1, 2);
    assert!(matches!(bench.state(2), State::Running(_)));
    assert_eq!(bench.phase(), Phase::Pending);
    assert_eq!(bench.condition("Initialized").1, Some("ContainersNotInitialized"));
    assert!(!bench.machine.memory().containers[0].passed, "it is no proof that the init container has ended");
}

#[test]
fn an_ephemeral_container_runs_once_and_stays_listed_and_readiness_does_not_depend_on_it() {
    let mut bench = running(RestartPolicy::Always);
    bench.step(1, add("look"));
    assert_eq!(bench.condition("Ready"), (true, None));
    bench.run(1, 1).step(2, Event::Exited(1, ended(Exit::Code(1), 2)));
    assert!(matches!(bench.state(1), State::Exited(_)) && !bench.has(&Action::FindImage(1)));
    bench.step(3, Event::Restart(Some(1), None));
    assert!(matches!(bench.state(1), State::Exited(_)), "nobody can start it again");
    assert_eq!((bench.phase(), bench.condition("Ready")), (Phase::Running, (true, None)));
    let status = crate::status::render(bench.machine.pod(), bench.machine.memory(), &[]);
    assert_eq!(status.container_statuses.unwrap_or_default().len(), 1);
    let shown = &status.ephemeral_container_statuses.unwrap_or_default()[0];
    assert_eq!((&*shown.name, shown.ready, shown.started, shown.restart_count), ("look", false, None, 0));
}

#[test]
fn a_name_that_is_taken_and_a_pod_that_ends_take_no_container() {
    let mut bench = running(RestartPolicy::Always);
    bench.step(1, add("c"));
    assert_eq!(bench.machine.memory().containers.len(), 1);
    bench.step(2, Event::Stop(None));
    bench.step(3, add("look"));
    assert_eq!((bench.machine.memory().containers.len(), bench.machine.pod().containers.len()), (1, 1));
}

#[test]
fn an_image_that_is_not_to_be_had_is_tried_again_with_back_off() {
    let mut bench = running(RestartPolicy::Always);
    bench.step(1, add("look"));
    let failure = Failure { reason: "ErrImagePull".to_owned(), message: "no such host".to_owned() };
    bench.step(1, Event::ImageFailed(1, failure));
    let why = |bench: &Bench| bench.machine.memory().containers[1].why.clone().map(|why| why.reason);
    assert_eq!(why(&bench).as_deref(), Some("ErrImagePull"));
    bench.step(3, Event::Tick);
    assert_eq!(why(&bench).as_deref(), Some("ImagePullBackOff"));
    assert!(bench.step(11, Event::Tick).has(&Action::FindImage(1)));
}

#[test]
fn an_ephemeral_container_ends_with_the_pod_and_no_sidecar_waits_for_it() {
    let mut bench = Bench::new(staged(RestartPolicy::Always, &["side:a", "b"]));
    bench.step(0, Event::Begin);
    bench.sandbox(0).run(0, 0).run(0, 1);
    bench.step(1, add("look"));
    bench.run(1, 2).step(2, Event::Stop(None));
    assert!(bench.has(&Action::Signal(2, StopWith::Politely)));
    bench.step(3, Event::Exited(1, ended(Exit::Code(0), 3)));
    assert!(bench.has(&Action::Signal(0, StopWith::Politely)));
    bench.step(4, Event::Exited(0, ended(Exit::Code(0), 4)));
    assert!(!bench.has(&Action::TearDown), "something of the pod still runs");
    assert!(bench.step(5, Event::Exited(2, ended(Exit::Code(0), 5))).has(&Action::TearDown));
}

#[test]
fn the_end_of_the_main_containers_is_the_end_of_an_ephemeral_one_too() {
    let mut bench = running(RestartPolicy::Never);
    bench.step(1, add("look"));
    bench.run(1, 1).step(2, Event::Exited(0, ended(Exit::Code(0), 2)));
    assert!(bench.has(&Action::Signal(1, StopWith::Politely)));
    bench.step(3, Event::Exited(1, ended(Exit::Signal(15), 3)));
    assert_eq!(bench.phase(), Phase::Succeeded);
}

#[test]
fn a_rule_that_starts_all_containers_again_leaves_ephemeral_ones_alone() {
    let mut pod = pod(RestartPolicy::Never, &["a", "b"]);
    let action = RestartAction::RestartAllContainers;
    pod.containers[0].restart_rules = vec![RestartRule { all_but: false, codes: vec![3], action }];
    let mut bench = Bench::new(pod);
    bench.step(0, Event::Begin);
    bench.sandbox(0).run(0, 0).run(0, 1);
    bench.step(1, add("look"));
    bench.run(1, 2).step(2, Event::Exited(0, ended(Exit::Code(3), 2)));
    assert!(bench.has(&Action::Signal(1, StopWith::Kill)) && !bench.has(&Action::Signal(2, StopWith::Kill)));
    bench.step(2, add("more"));
    assert!(bench.has(&Action::FindImage(3)), "one that comes meanwhile begins too");
    bench.step(3, Event::Exited(1, ended(Exit::Signal(9), 3)));
    assert_eq!(bench.machine.memory().restart_all, None);
    assert!(matches!(bench.state(2), State::Running(_)));
    assert_eq!(bench.machine.memory().containers[2].attempt, 0);
}

#[test]
fn a_successor_knows_what_the_pod_was_given() {
    let mut bench = running(RestartPolicy::Always);
    bench.step(1, add("look"));
    bench.run(1, 1);
    let memory = bench.machine.memory().clone();
    let pod = memory.complete(pod(RestartPolicy::Always, &["c"]));
    let machine = PodMachine::resume(pod, BackoffSettings::default(), memory, at(2));
    assert_eq!((machine.pod(), machine.memory()), (bench.machine.pod(), bench.machine.memory()));
}
