//! What the status shows of a container between two runs, and of one that a finished pod never saw end.

use k8s_openapi::api::core::v1::{ContainerState, ContainerStatus};

use super::*;
use crate::status::render;

fn shown(bench: &Bench, index: usize) -> ContainerStatus {
    let status = render(bench.machine.pod(), bench.machine.memory(), &[]);
    status.container_statuses.unwrap().remove(index)
}

#[test]
fn a_container_shows_its_last_run_until_the_next_one_is_seen_to_run() {
    let mut pod = pod(RestartPolicy::Always, &["c"]);
    pod.containers[0].lifecycle.post_start = Some(Hook::Sleep(3));
    let mut bench = Bench::new(pod);
    bench.step(0, Event::Begin);
    bench.sandbox(0).run(0, 0);
    let hook = HookEnd { attempt: 0, kind: HookKind::PostStart, outcome: Ok(()) };
    bench.step(3, Event::HookDone(0, hook));
    bench.step(5, Event::Exited(0, ended(Exit::Code(3), 5)));
    // The second run is made, and its hook runs.
    for step in 0..2 {
        let status = shown(&bench, 0);
        let state = status.state.unwrap();
        assert_eq!(state.terminated.unwrap().exit_code, 3, "{step}");
        assert_eq!((status.restart_count, status.ready), (0, false), "{step}");
        assert_eq!(status.last_state, Some(Default::default()), "{step}");
        bench.run(5, 0);
    }
    bench.step(8, Event::HookDone(0, HookEnd { attempt: 1, kind: HookKind::PostStart, outcome: Ok(()) }));
    let status = shown(&bench, 0);
    assert!(status.state.unwrap().running.is_some());
    assert_eq!(status.last_state.unwrap().terminated.unwrap().exit_code, 3);
    assert_eq!(status.restart_count, 1);
}

/// What a container shows: its restarts, the attempt in its ID, and the exit codes of its state and its last state.
fn seen(bench: &Bench) -> (i32, Option<String>, Option<i32>, Option<i32>) {
    let status = shown(bench, 0);
    let code = |state: Option<ContainerState>| Some(state?.terminated?.exit_code);
    let id = status.container_id.map(|id| id.rsplit('/').next().unwrap().to_owned());
    (status.restart_count, id, code(status.state), code(status.last_state))
}

#[test]
fn all_that_a_container_shows_is_of_one_run_and_the_run_before_it_stays_in_sight() {
    let mut bench = Bench::new(pod(RestartPolicy::Always, &["c"]));
    bench.step(0, Event::Begin).sandbox(0);
    bench.step(0, Event::ImageFound(0, image(), Arrival::Present));
    bench.step(0, Event::Created(0, process(7)));
    assert_eq!(seen(&bench), (0, None, None, None), "nothing has run");
    bench.step(0, Event::Started(0));
    let of = |attempt: i32, state, last| (attempt, Some(attempt.to_string()), state, last);
    assert_eq!(seen(&bench), of(0, None, None));
    // Two runs that end before their back-off could begin.
    bench.step(1, Event::Exited(0, ended(Exit::Code(1), 1)));
    assert_eq!(seen(&bench), of(0, Some(1), None));
    bench.run(1, 0).step(700, Event::Exited(0, ended(Exit::Code(2), 700)));
    assert_eq!(seen(&bench), of(1, Some(2), Some(1)), "the first run does not go out of sight");
    bench.step(700, Event::ImageFound(0, image(), Arrival::Present));
    bench.step(700, Event::Created(0, process(9)));
    assert_eq!(seen(&bench), of(1, Some(2), Some(1)));
    bench.step(700, Event::Started(0));
    assert_eq!(seen(&bench), of(2, None, Some(2)));
    // One that waits for its back-off, and then is made while it still shows that.
    bench.step(701, Event::Exited(0, ended(Exit::Code(3), 701)));
    assert_eq!(seen(&bench), of(2, None, Some(3)));
    bench.step(711, Event::Tick).step(711, Event::ImageFound(0, image(), Arrival::Present));
    bench.step(711, Event::Created(0, process(11)));
    assert_eq!(shown(&bench, 0).state.unwrap().waiting.unwrap().reason.unwrap(), "CrashLoopBackOff");
    assert_eq!(seen(&bench), of(2, None, Some(3)));
    bench.step(711, Event::Started(0));
    assert_eq!(seen(&bench), of(3, None, Some(3)));
}

#[test]
fn a_finished_pod_keeps_the_end_that_it_shows_and_counts_an_init_container_that_never_ran_as_lost() {
    let mut pod = pod(RestartPolicy::OnFailure, &["c"]);
    pod.active_deadline_seconds = Some(3);
    let mut bench = Bench::new(pod.clone());
    bench.step(0, Event::Begin).sandbox(0).run(0, 0);
    bench.step(2, Event::Exited(0, ended(Exit::Code(7), 2))).step(3, Event::Tick);
    assert_eq!(bench.phase(), Phase::Failed);
    assert_eq!(seen(&bench), (0, Some("0".to_owned()), Some(7), None), "its successor was being made");

    let second = Container { name: "second".to_owned(), role: Role::Init, ..pod.containers[0].clone() };
    let first = Container { name: "first".to_owned(), ..second.clone() };
    pod.containers.splice(0..0, [first, second]);
    let mut bench = Bench::new(pod);
    bench.step(0, Event::Begin).sandbox(0).step(3, Event::Tick);
    let status = render(bench.machine.pod(), bench.machine.memory(), &[]);
    let states = status.init_container_statuses.unwrap().into_iter().map(|one| one.state.unwrap());
    let lost: Vec<bool> = states.map(|state| state.terminated.is_some()).collect();
    assert_eq!(lost, [true, false]);
}

#[test]
fn a_finished_pod_does_not_go_on_waiting() {
    let mut pod = pod(RestartPolicy::OnFailure, &["crashes", "pulls"]);
    pod.active_deadline_seconds = Some(3);
    let mut bench = Bench::new(pod);
    bench.step(0, Event::Begin);
    bench.sandbox(0).run(0, 0);
    let failure = Failure { reason: "ErrImagePull".to_owned(), message: "no".to_owned() };
    bench.step(0, Event::ImageFailed(1, failure));
    bench.step(1, Event::Exited(0, ended(Exit::Code(1), 1)));
    bench.run(1, 0);
    bench.step(2, Event::Exited(0, ended(Exit::Code(1), 2)));
    assert_eq!(shown(&bench, 0).state.unwrap().waiting.unwrap().reason.unwrap(), "CrashLoopBackOff");
    bench.step(3, Event::Tick);
    assert_eq!(bench.phase(), Phase::Failed);
    for index in 0..2 {
        let status = shown(&bench, index);
        let end = status.state.unwrap().terminated.unwrap();
        assert_eq!((end.exit_code, end.reason.as_deref()), (137, Some("ContainerStatusUnknown")), "{index}");
    }
    let crashed = shown(&bench, 0);
    assert_eq!(crashed.last_state.unwrap().terminated.unwrap().exit_code, 1, "what is known stays");
    assert_eq!(crashed.restart_count, 1);
}

#[test]
fn a_container_whose_turn_never_came_goes_on_waiting() {
    let mut pod = pod(RestartPolicy::Never, &["first", "c"]);
    pod.containers[0].role = Role::Init;
    let mut bench = Bench::new(pod);
    bench.step(0, Event::Begin);
    bench.sandbox(0).run(0, 0);
    bench.step(1, Event::Exited(0, ended(Exit::Code(1), 1)));
    assert_eq!(bench.phase(), Phase::Failed);
    assert_eq!(shown(&bench, 0).state.unwrap().waiting.unwrap().reason.unwrap(), "PodInitializing");
}

#[test]
fn a_container_whose_configuration_lacks_something_is_tried_again_at_an_even_pace_or_when_that_is_there() {
    let mut bench = Bench::new(pod(RestartPolicy::Always, &["a"]));
    bench.step(0, Event::Begin);
    bench.sandbox(0);
    let failure =
        || Failure { reason: CONFIG_ERROR.to_owned(), message: "configmap \"m\" not found".to_owned() };
    for (seconds, event) in [(0, Event::Tick), (10, Event::Tick), (20, Event::Tick), (21, Event::Mended(0))] {
        if seconds > 0 {
            assert!(bench.step(seconds, event).has(&Action::FindImage(0)), "after {seconds} s");
        }
        bench.step(seconds, Event::ImageFound(0, image(), Arrival::Present));
        assert_eq!(bench.machine.memory().containers[0].attempt, 0);
        bench.step(seconds, Event::CreateFailed(0, failure()));
        assert_eq!(bench.notes(), ["Failed"]);
        let why = bench.machine.memory().containers[0].why.clone().unwrap();
        assert_eq!((&*why.reason, &*why.message), (CONFIG_ERROR, "configmap \"m\" not found"));
    }
    bench.step(22, Event::Mended(0));
    bench.run(22, 0);
    assert_eq!(bench.machine.memory().containers[0].why, None);
    assert!(!bench.step(23, Event::Mended(0)).has(&Action::FindImage(0)), "what runs is left alone");
}

#[test]
fn a_volumes_image_that_is_not_to_be_had_is_told_by_its_own_name() {
    let mut bench = Bench::new(pod(RestartPolicy::Always, &["a"]));
    bench.step(0, Event::Begin);
    let failure = Failure { reason: "ErrImagePull".to_owned(), message: "no".to_owned() };
    bench.step(0, Event::VolumeImageFailed(0, "data:1".to_owned(), failure));
    let failed = notes::warn(Some(0), "Failed", "Failed to pull image \"data:1\": no".to_owned());
    assert!(bench.has(&failed));
    bench.step(1, Event::Tick);
    let why = bench.machine.memory().containers[0].why.clone().unwrap();
    assert_eq!(why.message, "Back-off pulling image \"data:1\": ErrImagePull: no");
}
