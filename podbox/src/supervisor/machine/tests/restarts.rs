//! Restart rules, restarts that somebody asks for, and restarts of all.

use super::init::staged;
use super::*;
use crate::restart::{Next, after_exit};

fn rule(all_but: bool, codes: &[i32], action: RestartAction) -> RestartRule {
    RestartRule { all_but, codes: codes.to_vec(), action }
}

#[test]
fn the_first_rule_that_fits_decides_and_else_the_containers_policy() {
    let all = RestartAction::RestartAllContainers;
    let one = RestartAction::Restart;
    for (role, policy, rules, code, next) in [
        (Role::Main, RestartPolicy::Never, vec![rule(false, &[3], one)], 3, Next::Restart),
        (Role::Main, RestartPolicy::Never, vec![rule(false, &[3], one)], 4, Next::Rest),
        (Role::Main, RestartPolicy::Always, vec![rule(false, &[3], all)], 4, Next::Restart),
        (Role::Main, RestartPolicy::Never, vec![rule(true, &[0], one)], 1, Next::Restart),
        (Role::Main, RestartPolicy::Never, vec![rule(true, &[0], one)], 0, Next::Rest),
        (
            Role::Main,
            RestartPolicy::Never,
            vec![rule(false, &[1], all), rule(false, &[1], one)],
            1,
            Next::RestartAll,
        ),
        (Role::Main, RestartPolicy::Never, vec![rule(false, &[], all)], 1, Next::Rest),
        (Role::Main, RestartPolicy::OnFailure, vec![], 0, Next::Rest),
        (Role::Init, RestartPolicy::Always, vec![], 0, Next::Rest),
        (Role::Init, RestartPolicy::Always, vec![rule(false, &[0], one)], 0, Next::Rest),
        (Role::Init, RestartPolicy::Never, vec![rule(false, &[5], one)], 5, Next::Restart),
        (Role::Sidecar, RestartPolicy::Always, vec![], 0, Next::Restart),
    ] {
        let container = Container { role, restart_policy: policy, restart_rules: rules, ..container("c") };
        assert_eq!(after_exit(&container, code), next, "{container:?} {code}");
    }
}

#[test]
fn a_container_that_its_own_policy_restarts_keeps_a_pod_of_policy_never_running() {
    let mut pod = staged(RestartPolicy::Never, &["a", "b"]);
    pod.containers[0].restart_policy = RestartPolicy::OnFailure;
    let mut bench = Bench::new(pod);
    bench.step(0, Event::Begin);
    bench.sandbox(0).run(0, 0).run(0, 1);
    bench.step(1, Event::Exited(1, ended(Exit::Code(0), 1)));
    bench.step(2, Event::Exited(0, ended(Exit::Code(1), 2)));
    assert!(bench.has(&Action::FindImage(0)));
    assert_eq!(bench.phase(), Phase::Running);
    bench.run(3, 0).step(4, Event::Exited(0, ended(Exit::Code(0), 4)));
    assert_eq!(bench.phase(), Phase::Succeeded);
}

#[test]
fn a_container_that_liveness_killed_is_restarted_whatever_its_exit_code_unless_its_policy_is_never() {
    for (policy, restarted) in [(RestartPolicy::OnFailure, true), (RestartPolicy::Never, false)] {
        let mut pod = staged(policy, &["c", "d"]);
        pod.containers[0].liveness = Some(probe());
        let mut bench = Bench::new(pod);
        bench.step(0, Event::Begin);
        bench.sandbox(0).run(0, 0).run(0, 1);
        let report = probes::Report {
            kind: probes::Kind::Liveness,
            outcome: probes::Outcome::Failure("f".to_owned()),
            verdict: Some(probes::Verdict::Unhealthy),
        };
        bench.step(5, Event::Probe(0, report)).step(6, Event::Exited(0, ended(Exit::Code(0), 6)));
        assert_eq!(bench.has(&Action::FindImage(0)), restarted);
    }
}

#[test]
fn a_restart_that_is_asked_for_is_polite_at_once_and_whatever_the_policy() {
    let mut bench = Bench::new(staged(RestartPolicy::Never, &["a", "b"]));
    bench.step(0, Event::Begin);
    bench.sandbox(0).run(0, 0).run(0, 1).step(5, Event::Restart(None, None));
    for index in 0..2 {
        assert!(bench.has(&Action::Signal(index, StopWith::Politely)));
    }
    bench.step(6, Event::Exited(0, ended(Exit::Code(0), 6)));
    assert!(bench.has(&Action::FindImage(0)));
    let record = &bench.machine.memory().containers[0];
    assert_eq!((record.attempt, record.asked), (1, false));
    bench.step(7, Event::Exited(1, ended(Exit::Signal(9), 7)));
    assert!(bench.has(&Action::FindImage(1)));
}

#[test]
fn a_restart_that_is_asked_for_ends_a_back_off_and_starts_what_had_ended() {
    let mut bench = Bench::new(staged(RestartPolicy::OnFailure, &["a", "b", "c"]));
    bench.step(0, Event::Begin);
    bench.sandbox(0).run(0, 0).run(0, 1).run(0, 2);
    bench.step(1, Event::Exited(0, ended(Exit::Code(1), 1)));
    bench.run(1, 0).step(2, Event::Exited(0, ended(Exit::Code(1), 2)));
    bench.step(2, Event::Exited(1, ended(Exit::Code(0), 2)));
    assert!(matches!(bench.state(1), State::Exited(_)));
    assert!(bench.step(3, Event::Restart(Some(0), None)).has(&Action::FindImage(0)));
    assert!(!bench.has(&Action::Signal(2, StopWith::Politely)), "only the one that was named");
    assert!(bench.step(4, Event::Restart(Some(1), None)).has(&Action::FindImage(1)));
}

#[test]
fn a_rule_restarts_all_containers_from_the_first_init_container_on() {
    let mut pod = staged(RestartPolicy::Never, &["init:i", "side:s", "a", "b"]);
    pod.containers[2].restart_rules = vec![rule(false, &[42], RestartAction::RestartAllContainers)];
    pod.containers[3].lifecycle.pre_stop = Some(Hook::Sleep(5));
    let mut bench = Bench::new(pod);
    bench.step(0, Event::Begin);
    bench.sandbox(0).run(0, 0).step(1, Event::Exited(0, ended(Exit::Code(0), 1)));
    bench.run(1, 1).run(1, 2).run(1, 3);
    assert_eq!(bench.condition("AllContainersRestarting"), (false, None));
    bench.step(5, Event::Exited(2, ended(Exit::Code(42), 5)));
    for index in [1, 3] {
        assert!(bench.has(&Action::Signal(index, StopWith::Kill)), "without order or grace");
        assert!(!bench.has(&Action::RunHook(index, HookKind::PreStop)));
    }
    assert_eq!(bench.condition("AllContainersRestarting"), (true, None));
    bench.step(6, Event::Exited(1, ended(Exit::Signal(9), 6)));
    assert!(!bench.has(&Action::FindImage(1)), "nothing starts before all have ended");
    bench.step(6, Event::Exited(3, ended(Exit::Signal(9), 6)));
    assert!(bench.has(&Action::FindImage(0)) && !bench.has(&Action::FindImage(1)));
    assert_eq!(bench.condition("AllContainersRestarting"), (false, None));
    assert_eq!(bench.condition("Initialized"), (true, None));
    let last = |index: usize| {
        let record = &bench.machine.memory().containers[index];
        let last = record.last.as_ref().unwrap();
        (record.attempt, last.exit.code(), last.reason.as_str())
    };
    assert_eq!(last(0), (1, 0, "Completed"));
    assert_eq!(last(1), (1, 137, "RestartingAllContainers"));
    assert_eq!(last(2), (1, 42, "Error"));
    assert_eq!(last(3), (1, 137, "RestartingAllContainers"));
    bench.run(6, 0).step(7, Event::Exited(0, ended(Exit::Code(0), 7)));
    bench.run(7, 1);
    assert!(bench.has(&Action::FindImage(2)) && bench.has(&Action::FindImage(3)));
}

#[test]
fn a_new_supervisor_goes_on_restarting_all_and_kills_again_what_may_never_have_been_killed() {
    let mut pod = staged(RestartPolicy::Never, &["a", "b"]);
    pod.containers[0].restart_rules = vec![rule(false, &[42], RestartAction::RestartAllContainers)];
    let mut bench = Bench::new(pod);
    bench.step(0, Event::Begin);
    bench.sandbox(0).run(0, 0).run(0, 1).step(5, Event::Exited(0, ended(Exit::Code(42), 5)));
    let (pod, memory) = (bench.machine.pod().clone(), bench.machine.memory().clone());
    bench.machine = PodMachine::resume(pod, BackoffSettings::default(), memory, at(6));
    assert_eq!(bench.step(6, Event::Begin).actions, [Action::Signal(1, StopWith::Kill)]);
    bench.step(7, Event::Exited(1, ended(Exit::Signal(9), 7)));
    assert!(bench.has(&Action::FindImage(0)) && bench.has(&Action::FindImage(1)));
}

#[test]
fn a_container_that_slips_through_its_gate_while_all_are_restarted_is_killed() {
    let mut pod = staged(RestartPolicy::Never, &["a", "b"]);
    pod.containers[0].restart_rules = vec![rule(false, &[42], RestartAction::RestartAllContainers)];
    let mut bench = Bench::new(pod);
    bench.step(0, Event::Begin);
    bench.sandbox(0).run(0, 0).step(0, Event::ImageFound(1, image(), Arrival::Present));
    bench.step(0, Event::Created(1, process(9))).step(5, Event::Exited(0, ended(Exit::Code(42), 5)));
    assert!(bench.has(&Action::Signal(1, StopWith::Kill)));
    bench.step(5, Event::Started(1));
    assert!(bench.has(&Action::Signal(1, StopWith::Kill)) && !bench.has(&Action::StartProbes(1)));
    bench.step(6, Event::Exited(1, ended(Exit::Signal(9), 6)));
    assert!(bench.has(&Action::FindImage(1)));
}
