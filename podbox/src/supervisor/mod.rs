//! The supervisor: one process per pod that knows what should be, sees what is, and does the difference.
//!
//! It is a loop around [`machine::PodMachine`]: events in, state written down, actions carried out. It has one
//! thread, never forks (stages do what needs a fresh process) and may be killed at any time: the guardian starts
//! another one, which reads what this one wrote and goes on.

mod adopt;
pub mod attach;
mod catalogue;
mod change;
mod container;
pub mod control;
mod devices;
mod effects;
mod exits;
mod firewall;
mod followers;
mod full;
mod hooks;
mod images;
pub mod inside;
pub mod interfaces;
pub mod machine;
mod mending;
mod message;
mod missing;
pub mod naming;
mod neighbour;
mod output;
mod pace;
mod probing;
mod pull_secrets;
mod readable;
mod resize;
pub mod sandbox;
mod stages;
mod standing;
mod stop_signal;
mod storage;
pub mod trace;
mod upkeep;
mod volume_images;
mod world;

use std::fs::File;
use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::Pid;
use runtime::launch::SelfExe;
use runtime::plan::Identity;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::oneshot;

use crate::clock::Now;
use crate::config::Settings;
use crate::context::Context;
use crate::guardian::FirstStages;
use crate::pod::Pod;
use crate::report;
use crate::store::{PodDir, try_lock};

pub use container::{plan as container_plan, surroundings_of};
use control::{Answer, Ask, Request};
use effects::Effects;
use machine::{Action, Event, Leave, Memory, PodMachine, SandboxState};
use stages::Warm;
use world::{Message, World};

/// How long an unused bridge stays, so that a pod that comes soon finds it.
const NETWORK_LINGERS: Duration = Duration::from_millis(500);
/// How long a session may take to read what its container has said last.
const SESSIONS_LINGER: Duration = Duration::from_secs(10);
/// How often it is tried to write down what could not be written.
const UNWRITTEN: Duration = Duration::from_secs(1);
/// After this long without news, memory is given back.
const QUIET: Duration = Duration::from_millis(100);
/// How long a supervisor waits for the lock of one that is about to leave.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);

/// Why a supervisor cannot do its work.
#[derive(Debug, thiserror::Error)]
enum SupervisorError {
    #[error("{action}")]
    Io {
        action: &'static str,
        #[source]
        source: io::Error,
    },
    #[error("another supervisor has the pod")]
    Taken,
}

fn during(action: &'static str) -> impl FnOnce(io::Error) -> SupervisorError {
    move |source| SupervisorError::Io { action, source }
}

/// `podbox supervise POD_DIR`, below the guardian of that pid, with stages that this has started for it. Exit code 0 tells
/// the guardian that the pod is over.
#[must_use]
pub fn main(run_dir: &Path, guardian: Pid, stages: FirstStages) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
    let done = runtime.map_err(during("start the event loop")).and_then(|runtime| {
        let done = runtime.block_on(supervise(run_dir, guardian, stages));
        runtime.shutdown_background();
        done
    });
    match done {
        Ok(End::Over) => ExitCode::SUCCESS,
        Ok(End::HandedOver) => ExitCode::FAILURE,
        Err(error) => {
            report::log(format_args!("supervisor: {}: {}", run_dir.display(), report::chain(&error)));
            ExitCode::FAILURE
        }
    }
}

/// How a supervisor's work ended.
enum End {
    /// There is nothing left to supervise.
    Over,
    /// Another one takes it up.
    HandedOver,
}

async fn supervise(run_dir: &Path, guardian: Pid, stages: FirstStages) -> Result<End, SupervisorError> {
    let exe = SelfExe::open().map_err(during("open this program"))?;
    let warm = Warm::of(stages);
    if !PodDir::context(run_dir).exists() && !gate_opens() {
        warm.dismiss().await;
        if !PodDir::context(run_dir).exists() {
            // Whoever was killed before the pod was written down cannot take this away.
            let _ = crate::store::remove(run_dir);
        }
        return Ok(End::Over);
    }
    let context = Context::read(run_dir).map_err(during("read the pod's context"))?;
    let dir = context.settings.store.pod(&context.uid);
    let lock = lock(&dir).await?;
    let pod: Pod = read_json(&dir.pod()).map_err(during("read the pod"))?;
    let memory = match std::fs::read(dir.machine()) {
        Ok(text) => Some(serde_json::from_slice::<Memory>(&text).map_err(io::Error::from)),
        Err(_) => None,
    };
    let memory = memory.transpose().map_err(during("read the pod's state"))?;
    if memory.is_none() && !dir.pod().exists() {
        // Not a new pod: somebody removes it in this very moment, this file before its state.
        return Ok(End::Over);
    }
    let pod = match &memory {
        Some(memory) => memory.complete(pod),
        None => pod,
    };
    let (mailbox, letters) = unbounded_channel();
    let world = World::new(pod.clone(), (dir, lock), context.settings, (exe, warm), mailbox)
        .map_err(during("look around"))?;
    let (watcher, guardian) = exits_and_control(&world, guardian)?;
    upkeep::begin(&world).map_err(during("watch what the volumes refer to"))?;
    let now = Now::read();
    let backoff = world.settings.backoff;
    let (machine, fresh) = match memory {
        Some(memory) => (PodMachine::resume(pod, backoff, memory, now), false),
        None => (PodMachine::new(pod, backoff, now), true),
    };
    let before = if fresh { catalogue::Before::Nothing } else { catalogue::Before::Something };
    mending::begin(&world, &watcher.0);
    catalogue::begin(&world, watcher, (before, guardian));
    neighbour::begin(&world);
    firewall::begin(&world);
    never_wait_for_a_reader().map_err(during("look at standard output"))?;
    let mut effects = Effects::new(Arc::clone(&world));
    if fresh {
        effects.scheduled(now.wall);
    } else {
        if let SandboxState::Ready(sandbox) = &machine.memory().sandbox {
            let early = naming::prepare(&world);
            naming::begin(&world, &sandbox.ips, early).await;
        }
        effects.taken_up();
        adopt::adopt(&mut effects, machine.memory());
    }
    world.event(Event::Begin);
    run(machine, effects, letters).await
}

/// A supervisor may be started before there is anything to supervise. Whoever did that writes the pod down and then a
/// byte to standard output's other end; false if they have gone without. One that is killed here has a successor that
/// waits in its stead.
fn gate_opens() -> bool {
    loop {
        match nix::unistd::read(io::stdout(), &mut [0]) {
            Err(nix::errno::Errno::EINTR) => {}
            result => return result.is_ok_and(|read| read == 1),
        }
    }
}

/// Standard output is the bell of whoever started the pod (see [`Effects::publish`]).
fn never_wait_for_a_reader() -> io::Result<()> {
    let flags = fcntl(io::stdout(), FcntlArg::F_GETFL).map(OFlag::from_bits_retain)?;
    fcntl(io::stdout(), FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(())
}

fn exits_and_control(
    world: &Arc<World>,
    guardian: Pid,
) -> Result<(catalogue::Watcher, Identity), SupervisorError> {
    // Not with the directories above it: if those are gone, so is the pod.
    match std::fs::create_dir(world.dir.exits()) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(during("make exits")(error));
        }
        _ => {}
    }
    let watcher = exits::watch(world).map_err(during("watch for deaths"))?;
    control::listen(world).map_err(during("listen on the control socket"))?;
    let guardian = watch_guardian(world, guardian).map_err(during("watch the guardian"))?;
    Ok((watcher, guardian))
}

/// The guardian is this process's parent. If it dies, so that nobody would restart a dead supervisor or record
/// deaths any more, a new one is started and this supervisor makes room for the one it will start. One that has died
/// before this supervisor has begun anything is not replaced: whoever killed it may be about to remove the pod.
fn watch_guardian(world: &Arc<World>, parent: Pid) -> io::Result<Identity> {
    let process = runtime::process::Process::of_pid(parent.as_raw())?;
    let guardian = readable::readable(&process)?;
    if nix::unistd::getppid() != parent {
        return Err(io::Error::other("it is gone"));
    }
    let world = Arc::clone(world);
    tokio::spawn(async move {
        if guardian.readable().await.is_ok() {
            world.send(Message::Orphaned);
        }
    });
    Ok(process.identity())
}

async fn lock(dir: &PodDir) -> Result<File, SupervisorError> {
    let started = tokio::time::Instant::now();
    loop {
        let lock =
            try_lock(&dir.supervisor_lock()).map_err(io::Error::other).map_err(during("take the lock"))?;
        match lock {
            Some(lock) => return Ok(lock),
            None if started.elapsed() > LOCK_PATIENCE => return Err(SupervisorError::Taken),
            None => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> io::Result<T> {
    serde_json::from_slice(&std::fs::read(path)?).map_err(Into::into)
}

/// The loop.
async fn run(
    mut machine: PodMachine,
    mut effects: Effects,
    mut letters: UnboundedReceiver<Message>,
) -> Result<End, SupervisorError> {
    let mut askers = Askers::default();
    // What must not begin before it has been written down, while that cannot be.
    let mut held = Vec::new();
    // How to leave, once the sandbox is taken down.
    let mut leaving = None;
    loop {
        let first = match held.is_empty() && effects.trouble().is_none() {
            true => next(&machine, &mut letters).await,
            false => tokio::time::timeout(UNWRITTEN, next(&machine, &mut letters))
                .await
                .unwrap_or(Message::Event(Event::Tick)),
        };
        let mut actions = Vec::new();
        let mut message = Some(first);
        // What has come in together is answered by one write of the state.
        while let Some(current) = message {
            let event = match current {
                Message::Event(event) => Some(event),
                Message::Death(death) => effects.death(machine.memory(), death),
                Message::Outcome(index, outcome) => effects.outcome(index, outcome),
                Message::Trace(lines) => {
                    effects.keep_trace(lines);
                    None
                }
                Message::Ask(ask) => askers.take(&effects.world, &machine, ask),
                Message::Attach(ask) => {
                    effects.attach(machine.memory(), ask);
                    None
                }
                Message::TornDown(errors) => {
                    effects.torn_down(errors);
                    None
                }
                // What is being taken down is this supervisor's to the end, and nothing is left to guard after it.
                Message::Orphaned if effects.is_tearing_down() => None,
                Message::Orphaned => {
                    effects.start_guardian();
                    return Ok(End::HandedOver);
                }
            };
            if let Some(event) = event {
                if event == Event::Stop(Some(Duration::ZERO)) {
                    // Also of a pod that is over, and is being taken down.
                    effects.world.overseer.hurry();
                }
                actions.extend(machine.step(Now::read(), event));
                effects.take_in(machine.pod());
            }
            message = letters.try_recv().ok();
        }
        held.extend(actions);
        if is_in_a_hurry(&machine) {
            effects.world.overseer.hurry();
        }
        let written = effects.persist(machine.memory()).map_err(during("write the pod's state"))?;
        // A full disk must not keep a pod from ending: that is what makes room again. How it ended is what is left of it.
        let ends = |action: &Action| machine.is_ending() && *action != Action::Finish(Leave::Remains);
        let may = |action: &Action| written || ends(action) || !must_be_written_first(action);
        let actions: Vec<Action> = held.extract_if(.., |action| may(action)).collect();
        for action in actions {
            match action {
                Action::Finish(leave) => leaving = Some(leave),
                action => effects.perform(machine.memory(), action),
            }
        }
        if let Some(leave) = leaving.filter(|_| !effects.is_tearing_down()) {
            return Ok(finish(&mut effects, machine.memory(), leave, askers.of_the_end).await);
        }
        // What has come in meanwhile changes the status again; nobody needs to see it in between, save those whose
        // request is answered now.
        if letters.is_empty() || !askers.taken.is_empty() {
            effects.publish(machine.memory());
        }
        for answer in askers.taken.drain(..) {
            // Whoever asked may have gone.
            let _ = answer.send(Answer::default());
        }
        for answer in askers.curious.drain(..) {
            let _ = answer.send(effects.told(machine.memory()));
        }
    }
}

/// Whether plugins of a chain are not to be waited for: the pod ends before it has begun, or at once.
fn is_in_a_hurry(machine: &PodMachine) -> bool {
    let memory = machine.memory();
    let begins = memory.sandbox == SandboxState::Making;
    machine.is_ending() && (begins || memory.stop.as_ref().is_some_and(|stop| stop.grace.is_zero()))
}

/// Those who have asked for something and are answered when it is so.
#[derive(Default)]
struct Askers {
    /// Wait for the pod's end.
    of_the_end: Vec<oneshot::Sender<Answer>>,
    /// Want something to be under way.
    taken: Vec<oneshot::Sender<Answer>>,
    /// Want to know how it stands.
    curious: Vec<oneshot::Sender<Answer>>,
}

impl Askers {
    /// The event that a request is. One that cannot be followed is answered at once.
    fn take(&mut self, world: &World, machine: &PodMachine, ask: Ask) -> Option<Event> {
        let event = match change::event(world, &ask.request, machine) {
            Ok(event) => event,
            Err(error) => {
                let _ = ask.answer.send(Answer::error(error));
                return None;
            }
        };
        let list = match ask.request {
            Request::Stop { .. } => &mut self.of_the_end,
            Request::Status => &mut self.curious,
            Request::Restart { .. }
            | Request::Add { .. }
            | Request::SetCondition { .. }
            | Request::Attach { .. }
            | Request::Mend
            | Request::Update { .. } => &mut self.taken,
        };
        list.push(ask.answer);
        Some(event)
    }
}

/// Whether the action begins something, or removes what only a supervisor that knows of it could do without, or leaves
/// nobody behind who could write it.
fn must_be_written_first(action: &Action) -> bool {
    match action {
        Action::MakeSandbox
        | Action::FindImage(_)
        | Action::Create(_)
        | Action::Go(_)
        | Action::RunHook(..)
        | Action::Forget(..)
        | Action::StartProbes(_)
        | Action::Finish(Leave::Remains) => true,
        Action::AbandonHook(_)
        | Action::Signal(..)
        | Action::StoppingProbes(_)
        | Action::Resize
        | Action::Note(_)
        | Action::TearDown
        | Action::Finish(Leave::Nothing) => false,
    }
}

async fn next(machine: &PodMachine, letters: &mut UnboundedReceiver<Message>) -> Message {
    let left = || machine.deadline().map(|deadline| deadline.since(crate::clock::monotonic()));
    if left().is_none_or(|left| left > QUIET) {
        if let Ok(Some(message)) = tokio::time::timeout(QUIET, letters.recv()).await {
            return message;
        }
        // The burst is over: what it needed is given back before the long wait.
        runtime::guard::slim_heap();
    }
    // The mailbox cannot close: the world that holds a sender lives in this very loop.
    let received = match left() {
        None => letters.recv().await,
        Some(left) => tokio::time::timeout(left, letters.recv()).await.unwrap_or(None),
    };
    received.unwrap_or(Message::Event(Event::Tick))
}

/// Takes down what nobody is left to need: bridges without pods, and the host's table of Services. Tells what could not be.
pub fn release_idle(settings: &Settings) -> Vec<String> {
    let idle = settings.networks().map(netplugin::release_idle);
    let mut errors: Vec<String> = idle.filter_map(Result::err).map(|error| report::chain(&error)).collect();
    errors.extend(catalogue::release_idle(settings).err());
    errors
}

/// Cleans up as asked, answers those who wait, and lets the network go if this was its last pod.
async fn finish(
    effects: &mut Effects,
    memory: &Memory,
    leave: Leave,
    answers: Vec<oneshot::Sender<Answer>>,
) -> End {
    effects.publish(memory);
    let mut errors = effects.take_errors();
    // Nobody is answered any more: whoever comes from now on finds the pod finished.
    if leave == Leave::Remains {
        errors.extend(effects.mark_finished());
    }
    let _ = std::fs::remove_file(effects.world.dir.control());
    if leave == Leave::Nothing {
        errors.extend(effects.remove_all());
    }
    for error in &errors {
        report::log(format_args!("supervisor: {error}"));
    }
    for answer in answers {
        // Whoever asked may have gone.
        let _ = answer.send(Answer { errors: errors.clone(), status: None });
    }
    // Lets the connections' tasks write their answers, and gives a next pod the time to use the bridge.
    tokio::time::sleep(NETWORK_LINGERS).await;
    // Who still reads what a container has said last.
    let since = tokio::time::Instant::now();
    while Arc::strong_count(&effects.world.sessions) > 1 && since.elapsed() < SESSIONS_LINGER {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    effects.release_network();
    End::Over
}
