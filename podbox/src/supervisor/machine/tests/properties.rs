//! What holds whatever happens, in any order.

use proptest::prelude::*;

use super::init::staged;
use super::*;
use crate::supervisor::machine::ending::has_process;

/// The pod with another image, other resources or another deadline.
fn any_change(pod: Pod) -> impl Strategy<Value = Event> {
    let index = 0..pod.containers.len();
    (index, 0..3, 1..4_u64, any::<bool>()).prop_map(move |(index, image, mib, restarts)| {
        let mut pod = pod.clone();
        pod.containers[index].image = format!("image-{image}");
        pod.containers[index].resources.memory_limit_bytes = Some(mib << 20);
        pod.containers[index].resize.memory_restarts = restarts;
        Event::Changed(Box::new(pod))
    })
}

fn resized((index, mib, settled, failed): (Index, u64, bool, bool)) -> Event {
    let resources = Resources { memory_limit_bytes: Some(mib << 20), ..Resources::default() };
    let error = failed.then(|| "no".to_owned());
    Event::Resized(Resized { applied: vec![(index, resources)], settled, error })
}

fn any_event(pod: &Pod) -> impl Strategy<Value = Event> + use<> {
    let index = 0..pod.containers.len();
    let failure = || Failure { reason: "ErrImagePull".to_owned(), message: "m".to_owned() };
    let hook = |(index, attempt, pre, good): (Index, u32, bool, bool)| {
        let kind = if pre { HookKind::PreStop } else { HookKind::PostStart };
        let outcome = if good { Ok(()) } else { Err("f".to_owned()) };
        Event::HookDone(index, HookEnd { attempt, kind, outcome })
    };
    prop_oneof![
        Just(Event::Begin),
        Just(Event::Tick),
        Just(Event::ObjectsChanged),
        Just(Event::Evict("m".to_owned())),
        Just(Event::SandboxReady(SandboxFacts::default())),
        Just(Event::SandboxFailed(failure())),
        index.clone().prop_map(Event::Pulling),
        index.clone().prop_map(Event::Mended),
        index.clone().prop_map(move |i| Event::VolumeImageFailed(i, "v".to_owned(), failure())),
        index.clone().prop_map(|i| Event::ImageFound(i, image(), Arrival::Present)),
        index.clone().prop_map(move |i| Event::ImageFailed(i, failure())),
        (index.clone(), 1..99).prop_map(|(i, pid)| Event::Created(i, process(pid))),
        index.clone().prop_map(move |i| Event::CreateFailed(i, failure())),
        index.clone().prop_map(Event::Started),
        index.clone().prop_map(|i| Event::StartFailed(i, "m".to_owned())),
        (index.clone(), 0..4).prop_map(|(i, code)| Event::Exited(i, ended(Exit::Code(code), 1))),
        (index.clone(), 0..3_u32, any::<bool>(), any::<bool>()).prop_map(hook),
        (index.clone(), any::<bool>()).prop_map(|(i, good)| Event::Probe(
            i,
            probes::Report {
                kind: probes::Kind::Liveness,
                outcome: probes::Outcome::Failure("f".to_owned()),
                verdict: (!good).then_some(probes::Verdict::Unhealthy),
            }
        )),
        index.clone().prop_map(Event::GateClosed),
        any_change(pod.clone()),
        any_change(pod.clone()),
        (index.clone(), 1..4_u64, any::<bool>(), any::<bool>()).prop_map(resized),
        Just(Event::Evict("too much".to_owned())),
        prop::option::of(index).prop_map(|which| Event::Restart(which, None)),
        (0_u64..5).prop_map(|seconds| Event::Stop(Some(Duration::from_secs(seconds)))),
    ]
}

fn any_pod() -> impl Strategy<Value = Pod> {
    let policy =
        prop_oneof![Just(RestartPolicy::Always), Just(RestartPolicy::OnFailure), Just(RestartPolicy::Never)];
    let table = prop_oneof![
        Just(vec!["a", "b"]),
        Just(vec!["init:a", "side:b", "c"]),
        Just(vec!["side:a", "init:b", "c", "d"]),
    ];
    let features = (any::<bool>(), any::<bool>(), any::<bool>(), prop::option::of(1_u64..40));
    (policy, table, features).prop_map(|(policy, names, (post_start, pre_stop, all, deadline))| {
        let mut pod = staged(policy, &names);
        pod.active_deadline_seconds = deadline;
        for container in &mut pod.containers {
            let hook = |wanted: bool| (wanted && container.role != Role::Init).then_some(Hook::Sleep(1));
            container.lifecycle.post_start = hook(post_start);
            container.lifecycle.pre_stop = hook(pre_stop);
            if all {
                let action = RestartAction::RestartAllContainers;
                container.restart_rules = vec![RestartRule { all_but: false, codes: vec![3], action }];
            }
        }
        pod
    })
}

/// The attempts that have a stage or a process.
fn live(memory: &Memory) -> Vec<(Index, u32)> {
    let records = memory.containers.iter().enumerate();
    records.filter(|(_, record)| has_process(record)).map(|(index, record)| (index, record.attempt)).collect()
}

/// Takes a step and checks every rule that a single step has to keep.
fn step(machine: &mut PodMachine, now: u64, event: Event) -> Result<(), TestCaseError> {
    let before = machine.memory().clone();
    // A gate that closed is the end of a set-up, and the attempt is set up anew.
    let closed = if let Event::GateClosed(index) = event { Some(index) } else { None };
    let actions = machine.step(at(now), event);
    check(machine, &before, closed, &actions)
}

fn check(
    machine: &PodMachine,
    before: &Memory,
    closed: Option<Index>,
    actions: &[Action],
) -> Result<(), TestCaseError> {
    let (memory, pod) = (machine.memory(), machine.pod());
    let ended = before.stop.is_some() || before.over.is_some();
    let finished = before.finished.is_some();
    for action in actions {
        prop_assert!(!finished || matches!(action, Action::TearDown | Action::Finish(_)));
        match action {
            Action::Signal(index, _)
            | Action::StartProbes(index)
            | Action::Go(index)
            | Action::RunHook(index, _) => {
                let alive = has_process(&memory.containers[*index]);
                prop_assert!(alive, "{:?} for an attempt that is over", action);
            }
            Action::Create(index) => {
                let was = before.containers[*index].attempt;
                let lived = closed != Some(*index) && live(before).contains(&(*index, was));
                let record = &memory.containers[*index];
                prop_assert!(!lived || record.attempt > was, "two live attempts of one container");
                prop_assert!(!ended, "a start after the end had begun");
                let order = pod.containers[..*index].iter().zip(&memory.containers);
                let passed = |(one, record): (&Container, &Record)| one.role == Role::Main || record.passed;
                prop_assert!(order.clone().all(passed), "a start before its turn");
            }
            Action::FindImage(_) | Action::MakeSandbox => prop_assert!(!ended),
            _ => {}
        }
    }
    for (old, new) in before.containers.iter().zip(&memory.containers) {
        prop_assert!(new.attempt >= old.attempt && new.attempt <= old.attempt + 1);
        // A live attempt is over only by an exit of its own, never because the next one begins.
        prop_assert!(new.attempt == old.attempt || !has_process(new), "an attempt that nobody ended");
    }
    shown(machine)
}

/// Checks that all that is shown of a container is of one run, and that no run before it goes out of sight.
fn shown(machine: &PodMachine) -> Result<(), TestCaseError> {
    let status = crate::status::render(machine.pod(), machine.memory(), &[]);
    for one in status.init_container_statuses.iter().chain(&status.container_statuses).flatten() {
        let state = one.state.clone().unwrap_or_default();
        let last = one.last_state.clone().unwrap_or_default().terminated;
        let shown = one.container_id.as_deref().map_or("0", |id| id.rsplit('/').next().unwrap_or(id));
        prop_assert_eq!(one.restart_count.to_string(), shown, "{:?}", one);
        prop_assert!(one.restart_count == 0 || last.is_some(), "{:?}", one);
        if state.waiting.is_some() {
            prop_assert_eq!(&last.and_then(|last| last.container_id), &one.container_id, "{:?}", one);
        } else if let Some(id) = state.terminated.and_then(|ended| ended.container_id) {
            prop_assert_eq!(Some(&id), one.container_id.as_ref(), "{:?}", one);
        }
    }
    Ok(())
}

/// Plays the world that answers everything, until the pod is over.
fn play_to_the_end(machine: &mut PodMachine, mut now: u64) -> Result<(), TestCaseError> {
    for _ in 0..200 {
        let memory = machine.memory().clone();
        if memory.finished.is_some() {
            return Ok(());
        }
        let mut events = vec![Event::Tick];
        if memory.sandbox == SandboxState::Making {
            events.push(Event::SandboxReady(SandboxFacts::default()));
        }
        for (index, record) in memory.containers.iter().enumerate() {
            match &record.state {
                State::Creating => events.push(Event::Created(index, process(1))),
                // A process ends when it is killed, and this one for nothing less.
                State::Stopping { step: StopStep::Killed, .. } | State::Created { .. } => {
                    events.push(Event::Exited(index, ended(Exit::Signal(9), now)));
                }
                _ => {}
            }
        }
        for event in events {
            step(machine, now, event)?;
        }
        now += 1;
    }
    Err(TestCaseError::fail(format!("it never ends: {:?}", machine.memory())))
}

proptest! {
    #[test]
    fn whatever_happens_no_action_is_for_an_attempt_that_is_over_and_after_a_stop_it_ends(
        (pod, events) in any_pod().prop_flat_map(|pod| {
            let event = (any_event(&pod), 0_u64..20, prop::bool::weighted(0.1));
            let events = prop::collection::vec(event, 1..100);
            (Just(pod), events)
        }),
    ) {
        let mut machine = PodMachine::new(pod, BackoffSettings::default(), at(0));
        let mut now = 0;
        for (event, pause, crash) in events {
            now += pause;
            if crash {
                // A new supervisor knows what the old one has written down, and nothing else.
                let text = serde_json::to_vec(machine.memory()).unwrap();
                let memory: Memory = serde_json::from_slice(&text).unwrap();
                prop_assert_eq!(&memory, machine.memory());
                let pod = machine.pod().clone();
                machine = PodMachine::resume(pod, BackoffSettings::default(), memory, at(now));
                step(&mut machine, now, Event::Begin)?;
            }
            step(&mut machine, now, event)?;
            // The deadline is never one that has passed: that would be a loop.
            prop_assert!(machine.deadline().is_none_or(|deadline| deadline > at(now).mono));
        }
        machine.step(at(now), Event::Stop(Some(Duration::from_secs(3))));
        play_to_the_end(&mut machine, now)?;
    }
}
