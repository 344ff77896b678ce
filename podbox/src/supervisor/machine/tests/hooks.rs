//! postStart and preStop.

use super::init::staged;
use super::*;

fn hooked(names: &[&str], lifecycle: &Lifecycle) -> Bench {
    let mut pod = staged(RestartPolicy::Always, names);
    for container in &mut pod.containers {
        container.lifecycle = lifecycle.clone();
    }
    let mut bench = Bench::new(pod);
    bench.step(0, Event::Begin);
    bench.sandbox(0);
    bench
}

fn post_start() -> Lifecycle {
    Lifecycle { post_start: Some(Hook::Sleep(1)), ..Lifecycle::default() }
}

fn pre_stop() -> Lifecycle {
    Lifecycle { pre_stop: Some(Hook::Sleep(1)), ..Lifecycle::default() }
}

fn done(index: Index, kind: HookKind) -> Event {
    Event::HookDone(index, HookEnd { attempt: 0, kind, outcome: Ok(()) })
}

fn failed(index: Index, kind: HookKind) -> Event {
    Event::HookDone(index, HookEnd { attempt: 0, kind, outcome: Err("no".to_owned()) })
}

fn waiting_reason(bench: &Bench, index: usize) -> Option<String> {
    let status = crate::status::render(bench.machine.pod(), bench.machine.memory(), &[]);
    status.container_statuses?[index].state.as_ref()?.waiting.as_ref()?.reason.clone()
}

#[test]
fn a_container_does_not_count_as_running_before_its_post_start_hook_has_returned() {
    let mut bench = hooked(&["c"], &post_start());
    bench.run(0, 0);
    assert!(bench.has(&Action::RunHook(0, HookKind::PostStart)));
    assert_eq!(bench.phase(), Phase::Pending);
    assert_eq!(waiting_reason(&bench, 0).as_deref(), Some("ContainerCreating"));
    assert!(!bench.condition("Ready").0);
    bench.step(1, done(0, HookKind::PostStart));
    assert_eq!(bench.phase(), Phase::Running);
    assert_eq!(bench.condition("Ready"), (true, None));
}

#[test]
fn probes_begin_when_the_post_start_hook_has_returned() {
    let mut pod = staged(RestartPolicy::Always, &["c"]);
    pod.containers[0].lifecycle = post_start();
    pod.containers[0].liveness = Some(probe());
    let mut bench = Bench::new(pod);
    bench.step(0, Event::Begin);
    bench.sandbox(0).run(0, 0);
    assert!(!bench.has(&Action::StartProbes(0)));
    assert!(bench.step(1, done(0, HookKind::PostStart)).has(&Action::StartProbes(0)));
}

#[test]
fn the_next_container_waits_for_a_post_start_hook() {
    let mut bench = hooked(&["a", "b"], &post_start());
    assert!(!bench.has(&Action::FindImage(1)));
    bench.run(0, 0);
    assert!(!bench.has(&Action::FindImage(1)));
    assert!(bench.step(1, done(0, HookKind::PostStart)).has(&Action::FindImage(1)));
}

#[test]
fn a_sidecars_turn_is_over_when_its_post_start_hook_has_returned() {
    let mut bench = hooked(&["side:s", "c"], &post_start());
    bench.run(0, 0);
    assert!(!bench.has(&Action::FindImage(1)));
    assert!(bench.step(1, done(0, HookKind::PostStart)).has(&Action::FindImage(1)));
}

#[test]
fn a_failed_post_start_hook_ends_the_container_and_its_policy_decides() {
    let mut bench = hooked(&["c"], &post_start());
    bench.run(0, 0).step(1, failed(0, HookKind::PostStart));
    assert_eq!(bench.notes(), ["FailedPostStartHook", "Killing"]);
    assert!(bench.has(&Action::Signal(0, StopWith::Politely)));
    assert_eq!(bench.machine.deadline(), Some(at(31).mono), "with the pod's grace");
    assert_eq!(waiting_reason(&bench, 0).as_deref(), Some("PostStartHookError"));
    bench.step(2, Event::Exited(0, ended(Exit::Signal(15), 2)));
    assert!(bench.has(&Action::FindImage(0)));
    assert_eq!(waiting_reason(&bench, 0).as_deref(), Some("PostStartHookError"));
    bench.run(2, 0);
    bench.step(3, failed(0, HookKind::PostStart));
    assert!(bench.actions.is_empty(), "the hook of an attempt that is over says nothing any more");
}

#[test]
fn all_pre_stop_hooks_run_at_once_and_the_signal_follows_with_what_is_left_of_the_grace() {
    let mut bench = hooked(&["side:s", "c"], &pre_stop());
    bench.run(0, 0).run(0, 1).step(10, Event::Stop(None));
    for index in 0..2 {
        assert!(bench.has(&Action::RunHook(index, HookKind::PreStop)));
        assert!(!bench.has(&Action::Signal(index, StopWith::Politely)));
    }
    bench.step(15, done(1, HookKind::PreStop));
    assert!(bench.has(&Action::Signal(1, StopWith::Politely)));
    bench.step(20, done(0, HookKind::PreStop));
    assert!(!bench.has(&Action::Signal(0, StopWith::Politely)), "the sidecar waits for its turn");
    assert_eq!(bench.machine.deadline(), Some(at(40).mono));
    bench.step(21, Event::Exited(1, ended(Exit::Code(0), 21)));
    assert!(bench.has(&Action::Signal(0, StopWith::Politely)));
}

#[test]
fn a_pre_stop_hook_that_overruns_is_abandoned_and_two_seconds_are_left() {
    let mut bench = hooked(&["c"], &pre_stop());
    bench.run(0, 0).step(10, Event::Stop(None));
    bench.step(40, Event::Tick);
    assert!(bench.has(&Action::AbandonHook(0)) && bench.has(&Action::Signal(0, StopWith::Politely)));
    assert_eq!(bench.machine.deadline(), Some(at(42).mono));
    bench.step(41, done(0, HookKind::PreStop));
    assert!(bench.actions.is_empty());
}

#[test]
fn a_failed_pre_stop_hook_is_only_an_event() {
    let mut bench = hooked(&["c"], &pre_stop());
    bench.run(0, 0).step(10, Event::Stop(None)).step(11, failed(0, HookKind::PreStop));
    assert_eq!(bench.notes(), ["FailedPreStopHook"]);
    assert!(bench.has(&Action::Signal(0, StopWith::Politely)));
}

#[test]
fn a_pre_stop_hook_runs_when_liveness_kills_and_not_when_there_is_no_grace() {
    let mut pod = staged(RestartPolicy::Always, &["c"]);
    pod.containers[0].lifecycle = pre_stop();
    pod.containers[0].liveness = Some(probe());
    let mut bench = Bench::new(pod);
    bench.step(0, Event::Begin);
    bench.sandbox(0).run(0, 0);
    let report = probes::Report {
        kind: probes::Kind::Liveness,
        outcome: probes::Outcome::Failure("f".to_owned()),
        verdict: Some(probes::Verdict::Unhealthy),
    };
    assert!(bench.step(5, Event::Probe(0, report)).has(&Action::RunHook(0, HookKind::PreStop)));
    let mut bench = hooked(&["c"], &pre_stop());
    bench.run(0, 0).step(10, Event::Stop(Some(Duration::ZERO)));
    assert!(!bench.has(&Action::RunHook(0, HookKind::PreStop)));
    assert!(bench.has(&Action::Signal(0, StopWith::Kill)));
}

#[test]
fn a_pre_stop_hook_is_not_run_for_a_container_that_has_ended() {
    let mut bench = hooked(&["c", "d"], &pre_stop());
    bench.run(0, 0).run(0, 1);
    bench.step(1, Event::Exited(0, ended(Exit::Code(1), 1)));
    bench.step(2, Event::Stop(None));
    assert!(!bench.has(&Action::RunHook(0, HookKind::PreStop)));
    assert!(bench.has(&Action::RunHook(1, HookKind::PreStop)));
}

#[test]
fn a_second_stop_without_grace_calls_the_pre_stop_hook_off() {
    let mut bench = hooked(&["c"], &pre_stop());
    bench.run(0, 0).step(10, Event::Stop(None)).step(11, Event::Stop(Some(Duration::ZERO)));
    assert!(bench.has(&Action::AbandonHook(0)) && bench.has(&Action::Signal(0, StopWith::Kill)));
}

#[test]
fn a_pod_that_ends_during_a_post_start_hook_calls_it_off() {
    let both = Lifecycle { pre_stop: Some(Hook::Sleep(1)), ..post_start() };
    let mut bench = hooked(&["c"], &both);
    bench.run(0, 0).step(1, Event::Stop(None));
    assert!(bench.has(&Action::AbandonHook(0)) && bench.has(&Action::RunHook(0, HookKind::PreStop)));
}

#[test]
fn a_new_supervisor_runs_again_the_hooks_that_were_under_way() {
    for (stop, kind) in [(false, HookKind::PostStart), (true, HookKind::PreStop)] {
        let lifecycle = if stop { pre_stop() } else { post_start() };
        let mut bench = hooked(&["c"], &lifecycle);
        bench.run(0, 0);
        if stop {
            bench.step(10, Event::Stop(None));
        }
        let (pod, memory) = (bench.machine.pod().clone(), bench.machine.memory().clone());
        let mut machine = PodMachine::resume(pod, BackoffSettings::default(), memory, at(20));
        assert_eq!(machine.step(at(20), Event::Begin), [Action::RunHook(0, kind)]);
        if stop {
            assert_eq!(machine.deadline(), Some(at(40).mono), "with what is left of the grace period");
        }
    }
}

#[test]
fn a_container_that_ends_during_its_post_start_hook_has_ended_and_the_hook_has_nothing_to_say() {
    let mut bench = hooked(&["c"], &post_start());
    bench.run(0, 0).step(1, Event::Exited(0, ended(Exit::Code(4), 1)));
    assert!(bench.has(&Action::Forget(0, 0)) && bench.has(&Action::FindImage(0)));
    bench.step(2, failed(0, HookKind::PostStart));
    assert!(bench.actions.is_empty());
    let last = bench.machine.memory().containers[0].last.as_ref().unwrap();
    assert_eq!((last.exit.code(), last.reason.as_str()), (4, "Error"));
}
