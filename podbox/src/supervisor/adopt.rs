//! Taking up a pod that another supervisor has left.
//!
//! What it wrote down is compared with what is there, and every difference becomes an ordinary event. Containers
//! that run are watched again: same output files, same probes, with what was known of them.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use runtime::plan::GATE_CLOSED;
use runtime::process::Process;

use super::container;
use super::effects::Effects;
use super::exits::{self, Death};
use super::machine::{Event, Exit, Index, Memory, ProcessId, Record, Run, State};
use super::stop_signal;
use super::world::{Message, World};

/// How long a process may take to leave its gate and to be recorded.
const LEAVING: Duration = Duration::from_millis(500);

/// Looks at every container that had a process.
pub(super) fn adopt(effects: &mut Effects, memory: &Memory) {
    for (index, record) in memory.containers.iter().enumerate() {
        match &record.state {
            State::Created { process } => adopt_at_gate(effects, record, index, *process),
            State::Running(run) => {
                watch(effects, record, index, run.process);
                adopt_probes(effects, memory, index, run);
            }
            // Of their hooks the machine knows itself.
            State::Starting(run) => watch(effects, record, index, run.process),
            State::Stopping { run, .. } => {
                watch(effects, record, index, run.process);
                stop_signal::send_owed(&effects.world, &effects.world.pod().containers[index], record);
            }
            State::Waiting { .. } | State::Pulling | State::Pulled | State::Creating | State::Exited(_) => {}
        }
    }
}

/// Its gate was held by the supervisor that is gone. Either it had passed, and runs or has ended; or it leaves, and is
/// made again.
fn adopt_at_gate(effects: &mut Effects, record: &Record, index: Index, process: ProcessId) {
    if has_run(&effects.world, process) {
        watch(effects, record, index, process);
        effects.world.event(Event::Started(index));
    } else {
        effects.world.event(Event::GateClosed(index));
    }
}

/// Whether a process has passed its gate. One that has not leaves as soon as it reads the end of file there, with a code
/// that says so; what nobody has recorded by then has not run either, or not so that anybody could tell.
fn has_run(world: &World, process: ProcessId) -> bool {
    let there = Process::open(process).ok().flatten();
    let begun = Instant::now();
    while begun.elapsed() < LEAVING {
        if let Some(exit) = exits::recorded(world, process) {
            return exit != Exit::Code(GATE_CLOSED.into());
        }
        match &there {
            Some(alive) if alive.is_alive() && !is_podbox(process.pid) => return true,
            Some(leaving) if leaving.is_alive() || exits::is_the_guardians(leaving) => {}
            _ => return false,
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    if let Some(stuck) = there {
        let _ = stuck.signal(libc::SIGKILL);
    }
    false
}

/// Whether the process still is podbox itself.
fn is_podbox(pid: i32) -> bool {
    let file = |path: String| fs::metadata(path).map(|data| (data.dev(), data.ino())).ok();
    file(format!("/proc/{pid}/exe")) == file("/proc/self/exe".to_owned())
}

fn watch(effects: &mut Effects, record: &Record, index: Index, process: ProcessId) {
    let live = &mut effects.live[index];
    live.outcome_known = true;
    match container::reopen(&effects.world, index, record.attempt) {
        Ok(output) => live.output = Some(output),
        Err(error) => {
            crate::report::log(format_args!("supervisor: read the output of {} again: {error}", record.name))
        }
    }
    let there = Process::open(process).ok().flatten();
    if there.is_some_and(|process| process.is_alive() || exits::is_the_guardians(&process)) {
        effects.set_alarm(process);
        return;
    }
    if exits::recorded(&effects.world, process).is_none() {
        // Guardian and supervisor were gone at once: nobody saw how it ended.
        let death = Death { process, exit: Exit::Unknown, at: Timestamp::now() };
        effects.world.send(Message::Death(death));
    }
}

fn adopt_probes(effects: &mut Effects, memory: &Memory, index: Index, run: &Run) {
    let pod = effects.world.pod();
    let container = &pod.containers[index];
    if container.liveness.is_none() && container.readiness.is_none() && container.startup.is_none() {
        return;
    }
    let facts = memory.sandbox.facts().cloned().unwrap_or_default();
    let workers = effects.workers(&memory.containers[index], run, &facts, index);
    effects.adopt_workers(index, workers);
}
