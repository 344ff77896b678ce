//! Init containers and sidecars.

use super::*;

/// A pod of one container for each name; what stands before a colon is its role.
pub(super) fn staged(policy: RestartPolicy, names: &[&str]) -> Pod {
    let mut pod = pod(policy, names);
    for container in &mut pod.containers {
        let (role, name) = container.name.split_once(':').unwrap_or(("", &container.name));
        let (role, policy) = match role {
            "init" => (Role::Init, policy),
            "side" => (Role::Sidecar, RestartPolicy::Always),
            _ => (Role::Main, policy),
        };
        (container.role, container.restart_policy, container.name) = (role, policy, name.to_owned());
    }
    pod
}

fn begun(policy: RestartPolicy, names: &[&str]) -> Bench {
    let mut bench = Bench::new(staged(policy, names));
    bench.step(0, Event::Begin);
    bench.sandbox(0);
    bench
}

fn well(bench: &mut Bench, seconds: u64, index: Index) -> &mut Bench {
    bench.step(seconds, Event::Exited(index, ended(Exit::Code(0), seconds)))
}

#[test]
fn init_containers_run_one_after_another_and_then_the_main_ones_side_by_side() {
    let mut bench = Bench::new(staged(RestartPolicy::Always, &["init:a", "init:b", "c", "d"]));
    bench.step(0, Event::Begin);
    assert_eq!(bench.actions, [Action::MakeSandbox, Action::FindImage(0)]);
    bench.sandbox(0).run(0, 0);
    assert_eq!(bench.phase(), Phase::Pending);
    assert!(well(&mut bench, 1, 0).has(&Action::FindImage(1)));
    bench.run(1, 1);
    well(&mut bench, 2, 1);
    assert!(bench.has(&Action::FindImage(2)) && bench.has(&Action::FindImage(3)));
    bench.run(2, 2).run(2, 3);
    assert_eq!(bench.phase(), Phase::Running);
    assert_eq!(bench.condition("Ready"), (true, None));
}

#[test]
fn initialized_names_the_init_containers_that_have_not_ended_well() {
    let mut bench = begun(RestartPolicy::Always, &["init:a", "init:b", "c"]);
    let message = |bench: &Bench| {
        let conditions = &bench.machine.memory().conditions;
        conditions.iter().find(|one| one.kind == "Initialized").and_then(|one| one.message.clone())
    };
    assert_eq!(bench.condition("Initialized"), (false, Some("ContainersNotInitialized")));
    assert_eq!(message(&bench).as_deref(), Some("containers with incomplete status: [a b]"));
    bench.run(1, 0);
    well(&mut bench, 2, 0);
    assert_eq!(message(&bench).as_deref(), Some("containers with incomplete status: [b]"));
    bench.run(2, 1);
    well(&mut bench, 3, 1);
    assert_eq!((bench.condition("Initialized"), message(&bench)), ((true, None), None));
}

#[test]
fn a_failed_init_container_is_retried_with_back_off_under_always_and_its_success_is_final() {
    let mut bench = begun(RestartPolicy::Always, &["init:a", "c"]);
    bench.run(0, 0).step(1, Event::Exited(0, ended(Exit::Code(1), 1)));
    assert!(bench.has(&Action::FindImage(0)), "the first restart is immediate");
    bench.run(1, 0).step(2, Event::Exited(0, ended(Exit::Code(1), 2)));
    assert!(bench.notes().contains(&"BackOff") && !bench.has(&Action::FindImage(0)));
    assert_eq!(bench.phase(), Phase::Pending);
    bench.step(12, Event::Tick);
    bench.run(12, 0);
    well(&mut bench, 13, 0);
    assert!(!bench.has(&Action::FindImage(0)) && bench.has(&Action::FindImage(1)));
    assert_eq!(bench.machine.memory().containers[0].attempt, 2);
}

#[test]
fn a_failed_init_container_under_never_fails_the_pod_and_nothing_later_starts() {
    let mut bench = begun(RestartPolicy::Never, &["init:a", "init:b", "c"]);
    bench.run(0, 0).step(1, Event::Exited(0, ended(Exit::Code(3), 1)));
    assert!(bench.has(&Action::TearDown) && bench.has(&Action::Finish(Leave::Remains)));
    assert_eq!(bench.phase(), Phase::Failed);
    assert_eq!(bench.condition("Ready"), (false, Some("PodFailed")));
    assert!(matches!(bench.state(2), State::Waiting { .. }));
}

#[test]
fn an_init_container_does_not_run_again_when_a_main_one_restarts() {
    let mut bench = begun(RestartPolicy::Always, &["init:a", "c"]);
    bench.run(0, 0);
    well(&mut bench, 1, 0);
    bench.run(1, 1).step(2, Event::Exited(1, ended(Exit::Code(1), 2)));
    assert!(bench.has(&Action::FindImage(1)) && !bench.has(&Action::FindImage(0)));
}

#[test]
fn who_stands_before_one_that_was_made_is_done_although_a_new_supervisor_has_lost_how_it_ended() {
    let names = ["init:a", "side:s", "init:b", "c"];
    let resumed = |bench: &Bench, forgotten: &[Index]| {
        let mut memory = bench.machine.memory().clone();
        for &index in forgotten {
            let record = &mut memory.containers[index];
            (record.state, record.passed) = (State::Waiting { until: Some(at(5).mono) }, false);
        }
        let pod = bench.machine.pod().clone();
        let machine = PodMachine::resume(pod, BackoffSettings::default(), memory, at(5));
        let mut bench = Bench { machine, actions: Vec::new() };
        bench.step(5, Event::Begin);
        bench
    };
    let mut bench = begun(RestartPolicy::Always, &names);
    bench.run(0, 0);
    well(&mut bench, 1, 0);
    bench.run(1, 1).run(1, 2);
    // The last init container runs: the first is not run again, the sidecar is.
    let mut half = resumed(&bench, &[0, 1]);
    assert!(!half.has(&Action::FindImage(0)) && half.has(&Action::FindImage(1)));
    assert_eq!(half.condition("Initialized"), (false, Some("ContainersNotInitialized")));
    assert!(well(&mut half, 6, 2).has(&Action::FindImage(3)), "and what follows may begin");
    // A main container runs: none of them is run again.
    well(&mut bench, 2, 2);
    bench.run(2, 3);
    let mut whole = resumed(&bench, &[0, 2]);
    assert!(whole.actions.is_empty(), "{:?}", whole.actions);
    assert_eq!((whole.phase(), whole.condition("Initialized")), (Phase::Running, (true, None)));
    let status = crate::status::render(whole.machine.pod(), whole.machine.memory(), &[]);
    let first = &status.init_container_statuses.unwrap()[0];
    let end = first.state.as_ref().unwrap().terminated.as_ref().unwrap();
    assert_eq!((first.ready, end.exit_code, end.reason.as_deref()), (true, 0, Some("Completed")));
    whole.step(7, Event::Exited(3, ended(Exit::Code(1), 7)));
    assert!(whole.has(&Action::FindImage(3)) && !whole.has(&Action::FindImage(0)));
}

#[test]
fn what_follows_a_sidecar_waits_until_it_is_started_and_no_longer() {
    let mut pod = staged(RestartPolicy::Never, &["side:s", "init:i", "c"]);
    pod.containers[0].startup = Some(probe());
    let mut bench = Bench::new(pod);
    bench.step(0, Event::Begin);
    bench.sandbox(0).run(0, 0);
    assert!(!bench.has(&Action::FindImage(1)), "its startup probe has not passed");
    let report = probes::Report {
        kind: probes::Kind::Startup,
        outcome: probes::Outcome::Success,
        verdict: Some(probes::Verdict::Started),
    };
    assert!(bench.step(1, Event::Probe(0, report)).has(&Action::FindImage(1)));
    bench.run(1, 1);
    // A sidecar that crashes meanwhile is restarted beside the others and holds nothing up.
    bench.step(2, Event::Exited(0, ended(Exit::Code(0), 2)));
    assert!(bench.has(&Action::FindImage(0)), "restarted also after exit 0 and under Never");
    assert!(well(&mut bench, 3, 1).has(&Action::FindImage(2)));
    bench.run(3, 2);
    assert_eq!(bench.phase(), Phase::Running);
    assert_eq!(bench.condition("Initialized"), (true, None));
    assert_eq!(bench.condition("Ready"), (false, Some("ContainersNotReady")), "its readiness counts");
}

#[test]
fn a_pod_completes_although_its_sidecars_run_and_their_codes_do_not_count() {
    let mut bench = begun(RestartPolicy::Never, &["side:a", "side:b", "c"]);
    bench.run(0, 0).run(0, 1).run(0, 2);
    well(&mut bench, 5, 2);
    assert!(bench.has(&Action::Signal(1, StopWith::Politely)), "the last sidecar first");
    assert!(!bench.has(&Action::Signal(0, StopWith::Politely)));
    assert_eq!(bench.phase(), Phase::Running, "not terminal while anything runs");
    assert_eq!(bench.condition("Ready"), (false, Some("PodCompleted")));
    bench.step(6, Event::Exited(1, ended(Exit::Code(7), 6)));
    assert!(bench.has(&Action::Signal(0, StopWith::Politely)) && !bench.has(&Action::FindImage(1)));
    bench.step(7, Event::Exited(0, ended(Exit::Signal(9), 7)));
    assert!(bench.has(&Action::Finish(Leave::Remains)));
    assert_eq!(bench.phase(), Phase::Succeeded);
    assert_eq!(bench.condition("Initialized"), (true, Some("PodCompleted")));
}

#[test]
fn sidecars_wait_for_the_main_containers_and_that_is_taken_off_their_grace() {
    let mut bench = begun(RestartPolicy::Always, &["side:s", "c"]);
    bench.run(0, 0).run(0, 1);
    bench.step(10, Event::Stop(None));
    assert!(bench.has(&Action::Signal(1, StopWith::Politely)));
    assert!(!bench.has(&Action::Signal(0, StopWith::Politely)));
    bench.step(30, Event::Exited(1, ended(Exit::Code(0), 30)));
    assert!(bench.has(&Action::Signal(0, StopWith::Politely)));
    assert_eq!(bench.machine.deadline(), Some(at(40).mono));
}

#[test]
fn when_the_grace_is_used_up_a_waiting_sidecar_gets_its_signal_and_two_seconds() {
    let mut bench = begun(RestartPolicy::Always, &["side:s", "c"]);
    bench.run(0, 0).run(0, 1);
    bench.step(10, Event::Stop(None));
    bench.step(40, Event::Tick);
    assert!(bench.has(&Action::Signal(0, StopWith::Politely)));
    assert!(bench.has(&Action::Signal(1, StopWith::Kill)));
    assert_eq!(bench.machine.deadline(), Some(at(42).mono));
}

#[test]
fn a_pod_that_ends_while_it_is_initialized_does_not_wait_for_what_never_ran() {
    let mut bench = begun(RestartPolicy::Always, &["init:i", "c"]);
    bench.run(0, 0).step(1, Event::Stop(None));
    assert!(bench.has(&Action::Signal(0, StopWith::Politely)));
    bench.step(2, Event::Exited(0, ended(Exit::Signal(15), 2)));
    assert!(bench.has(&Action::Finish(Leave::Nothing)));
}

#[test]
fn a_deadline_ends_all_with_the_pods_grace_and_fails_the_pod() {
    let mut pod = staged(RestartPolicy::Always, &["c"]);
    pod.active_deadline_seconds = Some(60);
    let mut bench = Bench::new(pod);
    bench.step(0, Event::Begin);
    bench.sandbox(0).run(5, 0);
    assert_eq!(bench.machine.deadline(), Some(at(60).mono), "counted from the pod's start");
    bench.step(60, Event::Tick);
    assert_eq!(bench.notes(), ["DeadlineExceeded", "Killing"]);
    assert!(bench.has(&Action::Signal(0, StopWith::Politely)));
    assert_eq!(bench.machine.deadline(), Some(at(90).mono));
    bench.step(61, Event::Exited(0, ended(Exit::Code(0), 61)));
    assert!(bench.has(&Action::Finish(Leave::Remains)));
    assert_eq!(bench.phase(), Phase::Failed, "although all ended well");
    let status = crate::status::render(bench.machine.pod(), bench.machine.memory(), &[]);
    assert_eq!(status.reason.as_deref(), Some("DeadlineExceeded"));
}

#[test]
fn a_readiness_gate_holds_ready_back_until_somebody_sets_its_condition() {
    let mut pod = staged(RestartPolicy::Always, &["c"]);
    pod.readiness_gates = vec!["example.com/lb".to_owned()];
    let mut bench = Bench::new(pod);
    bench.step(0, Event::Begin);
    bench.sandbox(0).run(0, 0);
    let message = |bench: &Bench| {
        let conditions = &bench.machine.memory().conditions;
        conditions.iter().find(|one| one.kind == "Ready").and_then(|one| one.message.clone())
    };
    assert_eq!(bench.condition("ContainersReady"), (true, None));
    assert_eq!(bench.condition("Ready"), (false, Some("ReadinessGatesNotReady")));
    let none = "corresponding condition of pod readiness gate \"example.com/lb\" does not exist.";
    assert_eq!(message(&bench).as_deref(), Some(none));
    let set = |status| {
        let kind = "example.com/lb".to_owned();
        Event::SetCondition(ConditionSet { kind, status, reason: None, message: None })
    };
    bench.step(1, set(Truth::False));
    let not = "the status of pod readiness gate \"example.com/lb\" is not \"True\", but False";
    assert_eq!(message(&bench).as_deref(), Some(not));
    bench.step(2, set(Truth::True));
    assert_eq!((bench.condition("Ready"), message(&bench)), ((true, None), None));
}

#[test]
fn a_condition_that_the_machine_keeps_cannot_be_set() {
    let mut bench = begun(RestartPolicy::Always, &["c"]);
    let kind = "Ready".to_owned();
    let lie = ConditionSet { kind, status: Truth::True, reason: None, message: None };
    bench.step(1, Event::SetCondition(lie));
    assert!(!bench.condition("Ready").0);
}

#[test]
fn statuses_are_listed_apart_and_all_wait_for_the_pod_to_be_initialized() {
    let mut bench = begun(RestartPolicy::Never, &["init:i", "side:s", "c"]);
    let status = crate::status::render(bench.machine.pod(), bench.machine.memory(), &[]);
    let reason = |status: &k8s_openapi::api::core::v1::ContainerStatus| {
        status.state.as_ref()?.waiting.as_ref()?.reason.clone()
    };
    let init = status.init_container_statuses.unwrap();
    assert_eq!(init.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["i", "s"]);
    let main = status.container_statuses.unwrap();
    assert_eq!(main.len(), 1);
    assert!(init.iter().chain(&main).all(|one| reason(one).as_deref() == Some("PodInitializing")));
    bench.run(0, 0);
    well(&mut bench, 1, 0);
    let status = crate::status::render(bench.machine.pod(), bench.machine.memory(), &[]);
    let init = &status.init_container_statuses.unwrap()[0];
    assert_eq!((init.ready, init.started), (true, Some(false)), "a finished init container is ready");
}

#[test]
fn main_containers_are_sorted_by_name_and_others_stay_in_the_order_of_the_spec() {
    let bench = begun(RestartPolicy::Always, &["init:z", "side:y", "init:a", "web", "app", "log"]);
    let status = crate::status::render(bench.machine.pod(), bench.machine.memory(), &[]);
    let names = |list: Option<Vec<k8s_openapi::api::core::v1::ContainerStatus>>| {
        list.unwrap().into_iter().map(|one| one.name).collect::<Vec<_>>()
    };
    assert_eq!(names(status.container_statuses), ["app", "log", "web"]);
    assert_eq!(names(status.init_container_statuses), ["z", "y", "a"]);
}
