//! The table at the head of the machine's file: made by the machine itself, so that it cannot rot.

use super::*;

const HEAD: &str = include_str!("../mod.rs");

fn run() -> Run {
    Run { process: process(1), since: at(0), started: true, ready: true }
}

fn states() -> Vec<(&'static str, State)> {
    let ended = Terminated {
        attempt: 0,
        exit: Exit::Code(0),
        reason: "Completed".to_owned(),
        message: None,
        started: None,
        ended: at(0),
    };
    let stopping = |step| State::Stopping { run: run(), step, cause: Cause::Told };
    vec![
        ("Waiting", State::Waiting { until: Some(at(99).mono) }),
        ("Pulling", State::Pulling),
        ("Pulled", State::Pulled),
        ("Creating", State::Creating),
        ("Created", State::Created { process: process(1) }),
        ("Starting", State::Starting(run())),
        ("Running", State::Running(run())),
        ("PreStop", stopping(StopStep::PreStop { ends: at(50).mono })),
        ("Signalled", stopping(StopStep::Signalled { kill_at: at(50).mono })),
        ("Killed", stopping(StopStep::Killed)),
        ("Exited", State::Exited(ended)),
    ]
}

fn name(state: &State) -> &'static str {
    match state {
        State::Waiting { .. } => "Waiting",
        State::Pulling => "Pulling",
        State::Pulled => "Pulled",
        State::Creating => "Creating",
        State::Created { .. } => "Created",
        State::Starting(_) => "Starting",
        State::Running(_) => "Running",
        State::Stopping { step, .. } => match step {
            StopStep::PreStop { .. } => "PreStop",
            StopStep::Turn { .. } => "Turn",
            StopStep::Signalled { .. } => "Signalled",
            StopStep::Killed => "Killed",
        },
        State::Exited(_) => "Exited",
    }
}

fn events() -> Vec<(&'static str, u64, Event)> {
    let failure = || Failure { reason: "R".to_owned(), message: "m".to_owned() };
    let hook = |kind, outcome| Event::HookDone(0, HookEnd { attempt: 0, kind, outcome });
    let unhealthy = probes::Report {
        kind: probes::Kind::Liveness,
        outcome: probes::Outcome::Failure("f".to_owned()),
        verdict: Some(probes::Verdict::Unhealthy),
    };
    let no = || Err("no".to_owned());
    vec![
        ("image", 1, Event::ImageFound(0, image(), Arrival::Present)),
        ("no image", 1, Event::ImageFailed(0, failure())),
        ("set up", 1, Event::Created(0, process(1))),
        ("not set up", 1, Event::CreateFailed(0, failure())),
        ("gate shut", 1, Event::GateClosed(0)),
        ("started", 1, Event::Started(0)),
        ("no start", 1, Event::StartFailed(0, "m".to_owned())),
        ("postStart", 1, hook(HookKind::PostStart, Ok(()))),
        ("it failed", 1, hook(HookKind::PostStart, no())),
        ("unhealthy", 1, Event::Probe(0, unhealthy)),
        ("restart", 1, Event::Restart(None, None)),
        ("stop", 1, Event::Stop(None)),
        ("preStop", 1, hook(HookKind::PreStop, Ok(()))),
        ("time", 99, Event::Tick),
        ("exit", 1, Event::Exited(0, ended(Exit::Code(0), 1))),
    ]
}

/// What one event makes of one state of a container with both hooks, of a pod that never restarts by itself.
fn after(state: &State, seconds: u64, event: Event) -> Option<&'static str> {
    let mut pod = pod(RestartPolicy::Never, &["a", "b"]);
    pod.containers[0].lifecycle.post_start = Some(Hook::Sleep(1));
    pod.containers[0].lifecycle.pre_stop = Some(Hook::Sleep(1));
    let mut machine = PodMachine::new(pod, BackoffSettings::default(), at(0));
    // A sandbox that is not there yet and a second container keep the rest of the pod out of it.
    machine.memory.sandbox = SandboxState::Making;
    machine.memory.containers[1].state = State::Pulling;
    machine.memory.containers[0].state = state.clone();
    machine.step(at(seconds), event);
    let next = name(&machine.memory.containers[0].state);
    (next != name(state)).then_some(next)
}

fn rows(table: &[(&str, u64, Event)]) -> Vec<Vec<String>> {
    let head = std::iter::once(String::new()).chain(table.iter().map(|one| one.0.to_owned())).collect();
    let row = |(name, state): (&str, State)| {
        let cell = |(_, seconds, event): &(&str, u64, Event)| {
            after(&state, *seconds, event.clone()).unwrap_or("").to_owned()
        };
        std::iter::once(name.to_owned()).chain(table.iter().map(cell)).collect::<Vec<_>>()
    };
    let something = |row: &Vec<String>| row.iter().skip(1).any(|cell| !cell.is_empty());
    std::iter::once(head).chain(states().into_iter().map(row).filter(something)).collect()
}

fn render(rows: &[Vec<String>]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let line = |row: &Vec<String>| {
        let cells = row.iter().enumerate().map(|(at, cell)| format!("{cell:0$}", width(at) + 1));
        format!("//! {}", cells.collect::<String>()).trim_end().to_owned()
    };
    rows.iter().map(|row| line(row) + "\n").collect()
}

#[test]
fn the_table_at_the_head_of_the_machine_is_what_the_machine_does() {
    let events = events();
    let (up, down) = events.split_at(8);
    let table = format!("//! ```text\n{}//!\n{}//! ```\n", render(&rows(up)), render(&rows(down)));
    assert!(HEAD.contains(&table), "the head of machine/mod.rs should hold:\n\n{table}");
}
