//! What the status shows of a container between two runs, and of one that a finished pod never saw end.

use k8s_openapi::api::core::v1::ContainerStatus;

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
