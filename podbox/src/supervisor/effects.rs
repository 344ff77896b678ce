//! Carrying the machine's actions out. What takes time runs as a task and comes back as an event.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::mem;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use nix::sys::signal::Signal;
use runtime::cgroup::Cgroups;
use runtime::process::Process;
use tokio::sync::mpsc::unbounded_channel;
use tokio::sync::oneshot;

use crate::chain::owed;
use crate::events::{self, Journal, Occurrence};
use crate::oci;
use crate::pod::Pod;
use crate::report;
use crate::status;
use crate::store::{StoreError, remove, write_atomic};
use crate::volumes;

use super::attach;
use super::catalogue;
use super::container::{self, Order};
use super::control::Answer;
use super::exits::{self, Death};
use super::hooks::{self, Hook};
use super::machine::{
    Action, Ending, Event, Exit, Failure, HookKind, Index, Memory, Note, ProcessId, Record, Run,
    SandboxFacts, State, StopWith,
};
use super::output::Output;
use super::probing::InContainer;
use super::standing::Standing;
use super::trace::{self, TraceLine};
use super::world::{Message, World};
use super::{full, images, message, resize, sandbox, stop_signal};

/// How long the files of a finished attempt stay: nobody should wait for their removal before its successor runs.
const FORGET_AFTER: Duration = Duration::from_millis(50);

/// Everything that is at hand for one attempt and cannot be written down.
#[derive(Default)]
pub(super) struct Live {
    /// Opens the gate; dropping it closes the gate for ever.
    go: Option<oneshot::Sender<()>>,
    pub(super) output: Option<Output>,
    workers: Option<probes::Workers>,
    /// The hook that runs.
    hook: Option<Hook>,
    /// Whether it is known that the program runs, or does not.
    pub(super) outcome_known: bool,
    /// A death that was told before the outcome.
    early_death: Option<Death>,
    /// Its death has been told, or is no news.
    over: bool,
}

/// See the module.
pub(super) struct Effects {
    pub(super) world: Arc<World>,
    pub(super) live: Vec<Live>,
    journal: Journal,
    notes: Vec<Occurrence>,
    written_memory: Vec<u8>,
    /// Why the memory could not be written, while it cannot be.
    unwritten: Option<String>,
    written_status: Vec<u8>,
    /// The same of the status.
    unpublished: Option<String>,
    /// The status that could not be written and of which readers know that they have to ask.
    marked_status: Option<Vec<u8>>,
    errors: Vec<String>,
    /// Those who want to listen to a container that has not begun yet.
    waiting: Vec<attach::Ask>,
    /// Whether the sandbox is being taken down aside.
    tearing_down: bool,
}

impl Effects {
    pub(super) fn new(world: Arc<World>) -> Effects {
        Effects {
            live: world.pod().containers.iter().map(|_| Live::default()).collect(),
            journal: Journal::new(world.dir.events()),
            notes: Vec::new(),
            written_memory: Vec::new(),
            unwritten: None,
            written_status: Vec::new(),
            unpublished: None,
            marked_status: world.dir.stale().exists().then(Vec::new),
            errors: Vec::new(),
            waiting: Vec::new(),
            tearing_down: false,
            world,
        }
    }

    /// The one event that a scheduler would have made.
    pub(super) fn scheduled(&mut self, at: Timestamp) {
        let message = format!("Successfully assigned {} to {}", self.world.pod_name(), self.world.node_name);
        self.notes.push(Occurrence {
            at,
            warning: false,
            reason: "Scheduled".to_owned(),
            message,
            container: None,
        });
    }

    /// That another supervisor had begun, and is gone: killed, or with its guardian.
    pub(super) fn taken_up(&mut self) {
        self.note(Note {
            warning: true,
            reason: events::SUPERVISOR_RESTARTED.to_owned(),
            message: "The pod's supervisor was gone; another one has taken its place".to_owned(),
            container: None,
        });
    }

    /// Writes the memory down, if it has changed; false if that cannot be done now, which is said once.
    ///
    /// # Errors
    /// If it is no JSON.
    pub(super) fn persist(&mut self, memory: &Memory) -> io::Result<bool> {
        let text = serde_json::to_vec(memory)?;
        if text == self.written_memory {
            self.unwritten = None;
            exits::forget(&self.world, memory);
            return Ok(true);
        }
        match write_atomic(&self.world.dir.machine(), &text) {
            Ok(()) => {
                self.written_memory = text;
                exits::forget(&self.world, memory);
                if let Some(trouble) = self.unwritten.take() {
                    self.note(Note {
                        warning: true,
                        reason: "StateNotWritten".to_owned(),
                        message: format!("Waited with what was to begin, because of this: {trouble}"),
                        container: None,
                    });
                }
                Ok(true)
            }
            Err(error) => {
                if self.unwritten.is_none() {
                    let trouble = trouble(&error);
                    report::log(format_args!("supervisor: {trouble}"));
                    self.unwritten = Some(trouble);
                }
                Ok(false)
            }
        }
    }

    /// What the files should say, and why they do not, if so.
    pub(super) fn told(&self, memory: &Memory) -> Answer {
        let status = status::render(&self.world.pod(), memory, &self.world.host_ips);
        Answer { errors: self.trouble().cloned().into_iter().collect(), status: Some(Box::new(status)) }
    }

    /// Why what the files say is old, if it is.
    pub(super) fn trouble(&self) -> Option<&String> {
        self.unwritten.as_ref().or(self.unpublished.as_ref())
    }

    /// Shows the world what is known, if it has changed. Readers only; a full disk must not stop the pod: then a mark
    /// tells them to ask instead.
    pub(super) fn publish(&mut self, memory: &Memory) {
        let notes = mem::take(&mut self.notes);
        self.journal.append(&notes);
        // A warning may be why `up` will not get what it waits for, though the status stays as it is.
        let warned = notes.iter().any(|note| note.warning);
        let status = status::render(&self.world.pod(), memory, &self.world.host_ips);
        // Before the status: whoever waits for it looks at the endpoints next.
        catalogue::tell(&self.world, Standing::of(&self.world.pod(), memory, &status));
        let Ok(text) = serde_json::to_vec(&status) else { return };
        let changed = text != self.written_status;
        let written = if changed { write_atomic(&self.world.dir.status(), &text) } else { Ok(()) };
        self.unpublished = written.err().map(|error| trouble(&error));
        let marked = self.mark(&text);
        let changed = changed && self.unpublished.is_none();
        if changed {
            self.written_status = text;
            // As a kubelet does at every new status: who is not ready is asked now and not a period later.
            self.live.iter().filter_map(|live| live.workers.as_ref()).for_each(probes::Workers::poke);
        }
        if changed || warned || marked {
            ring();
        }
    }

    /// Marks the files as old if they are, and anew for every status, so that those who watch the directory look again.
    /// True if there is something new to ask for.
    fn mark(&mut self, status: &[u8]) -> bool {
        let path = self.world.dir.stale();
        if self.trouble().is_none() {
            if self.marked_status.take().is_some() {
                let _ = fs::remove_file(path);
            }
            return false;
        }
        if self.marked_status.as_deref() == Some(status) {
            return false;
        }
        // A name mostly still has room. Without it readers see what there was, and `up` tries the disk itself.
        let _ = File::create(path);
        self.marked_status = Some(status.to_owned());
        true
    }

    /// Carries one action out. [`Action::Finish`] is the loop's own.
    pub(super) fn perform(&mut self, memory: &Memory, action: Action) {
        match action {
            Action::MakeSandbox => {
                drop(tokio::spawn(sandbox::make(Arc::clone(&self.world), self.first_attempts(memory))));
            }
            Action::FindImage(index) => drop(tokio::spawn(images::find(Arc::clone(&self.world), index))),
            Action::Create(index) => self.create(memory, index),
            Action::Go(index) => self.go(memory, index),
            Action::Signal(index, how) => self.signal(memory, index, how),
            Action::RunHook(index, kind) => self.run_hook(memory, index, kind),
            Action::AbandonHook(index) => self.live[index].hook = None,
            Action::StartProbes(index) => self.start_probes(memory, index),
            Action::StoppingProbes(index) => {
                if let Some(workers) = &self.live[index].workers {
                    workers.stopping();
                }
            }
            Action::Forget(index, attempt) => self.forget(index, attempt),
            Action::Resize => resize::begin(&self.world, memory),
            Action::Note(note) => self.note(note),
            Action::TearDown => self.tear_down(memory),
            Action::Finish(_) => {}
        }
    }

    /// The attempts that begin as soon as the sandbox is there: init containers and sidecars go one by one.
    fn first_attempts(&self, memory: &Memory) -> Vec<(Index, u32)> {
        let together = if self.world.pod().has_init_containers() { 1 } else { memory.containers.len() };
        let attempts = memory.containers.iter().map(|record| record.attempt).enumerate();
        // What ran before has left files that are not to be touched before its turn.
        attempts.take(together).filter(|(_, attempt)| *attempt == 0).collect()
    }

    fn create(&mut self, memory: &Memory, index: Index) {
        let attempt = memory.containers[index].attempt;
        let made = self
            .target(memory, index)
            .and_then(|target| Ok((target, self.world.ready.take(&self.world, index, attempt)?)));
        let (target, output) = match made {
            Ok(made) => made,
            Err(failure) => return self.world.event(Event::CreateFailed(index, failure)),
        };
        let (sender, go) = oneshot::channel();
        self.live[index] = Live { go: Some(sender), output: Some(output), ..Live::default() };
        let sandbox = memory.sandbox.facts().cloned().unwrap_or_default();
        let order = Order { index, attempt, sandbox, target, go };
        tokio::spawn(container::run(Arc::clone(&self.world), order));
    }

    /// From now on the pod is this one, which may have more containers than before.
    pub(super) fn take_in(&mut self, pod: &Pod) {
        if pod.containers.len() > self.live.len() {
            self.live.resize_with(pod.containers.len(), Live::default);
            self.world.set_pod(Arc::new(pod.clone()));
        }
    }

    /// The process that a container with a target is to be beside.
    fn target(&self, memory: &Memory, index: Index) -> Result<Option<ProcessId>, Failure> {
        let Some(name) = &self.world.pod().containers[index].target else { return Ok(None) };
        let record = memory.containers.iter().find(|record| record.name == *name);
        record.and_then(status::running_process).map(Some).ok_or_else(|| Failure {
            reason: "CreateContainerError".to_owned(),
            message: format!("target container {name} is not running"),
        })
    }

    /// Lets somebody listen to a container.
    pub(super) fn attach(&mut self, memory: &Memory, ask: attach::Ask) {
        let Some(index) = memory.containers.iter().position(|record| record.name == ask.container) else {
            let _ = ask.answer.send(Err(format!("there is no container {}", ask.container)));
            return;
        };
        let record = &memory.containers[index];
        let ended = matches!(record.state, State::Exited(_)) || memory.finished.is_some();
        let begins = record.attempt == 0 && !record.ever_started && !ended;
        match self.live[index].output.as_ref().filter(|_| status::process(record).is_some()) {
            Some(output) => {
                // Whoever asked may have gone.
                let _ = ask.answer.send(output.audience().join(ask.stdin, ask.since));
            }
            None if begins && ask.since == attach::Since::Start => {
                self.waiting.push(ask);
            }
            None => {
                let _ = ask.answer.send(Err(format!("container {} is not running", record.name)));
            }
        }
    }

    /// Answers those who wait for a container that is about to begin; a set-up that fails leaves them waiting.
    fn let_waiting_listen(&mut self, index: Index) {
        let Some(output) = &self.live[index].output else { return };
        let pod = self.world.pod();
        let name = &pod.containers[index].name;
        for ask in self.waiting.extract_if(.., |ask| ask.container == *name) {
            let _ = ask.answer.send(output.audience().join(ask.stdin, ask.since));
        }
    }

    fn go(&mut self, memory: &Memory, index: Index) {
        self.let_waiting_listen(index);
        if let Some(process) = status::process(&memory.containers[index]) {
            self.set_alarm(process);
        }
        if let Some(go) = self.live[index].go.take() {
            // A task that has given up meanwhile says so by an event of its own.
            let _ = go.send(());
        }
    }

    /// Learns of the process's death even if nobody records it.
    pub(super) fn set_alarm(&self, process: ProcessId) {
        if let Ok(Some(process)) = Process::open(process) {
            exits::alarm(&self.world, process);
        }
    }

    fn signal(&mut self, memory: &Memory, index: Index, how: StopWith) {
        let record = &memory.containers[index];
        let live = &mut self.live[index];
        let at_gate = live.go.take().is_some();
        if at_gate {
            // It still waits at its gate, and now never passes it.
            live.outcome_known = true;
            if let Some(process) = status::process(record) {
                self.set_alarm(process);
            }
        }
        let Some(process) = status::process(record) else { return };
        match how {
            StopWith::Kill => stop_signal::send(&record.name, process, Signal::SIGKILL as i32),
            StopWith::Politely => {
                let signal = stop_signal::of(&self.world.pod().containers[index], record);
                if at_gate || memory.stop.is_none() {
                    stop_signal::send(&record.name, process, signal);
                } else {
                    stop_signal::send_when_let_go(&self.world, record, (process, signal));
                }
            }
        }
    }

    fn run_hook(&mut self, memory: &Memory, index: Index, kind: HookKind) {
        let facts = memory.sandbox.facts().cloned().unwrap_or_default();
        self.live[index].hook = hooks::run(&self.world, &memory.containers[index], (index, kind), &facts);
    }

    fn start_probes(&mut self, memory: &Memory, index: Index) {
        let record = &memory.containers[index];
        let State::Running(run) = &record.state else { return };
        let facts = memory.sandbox.facts().cloned().unwrap_or_default();
        self.live[index].workers = self.workers(record, run, &facts, index);
    }

    /// Starts the probes of a run, new or adopted.
    pub(super) fn workers(
        &self,
        record: &Record,
        run: &Run,
        facts: &SandboxFacts,
        index: Index,
    ) -> Option<probes::Workers> {
        let pod = self.world.pod();
        let container = &pod.containers[index];
        let ip = *facts.ips.first()?;
        let dir = self.world.dir.attempt(&record.name, record.attempt);
        let exec = InContainer::new(Arc::clone(&self.world), dir, run.process);
        let (reports, mut told) = unbounded_channel();
        let world = Arc::clone(&self.world);
        tokio::spawn(async move {
            while let Some(report) = told.recv().await {
                world.event(Event::Probe(index, report));
            }
        });
        Some(probes::start(probes::Attempt {
            probes: probes::Probes {
                liveness: container.liveness.as_ref().map(|probe| oci::probe(container, probe)),
                readiness: container.readiness.as_ref().map(|probe| oci::probe(container, probe)),
                startup: container.startup.as_ref().map(|probe| oci::probe(container, probe)),
            },
            target: probes::Target { ip },
            exec: Arc::new(exec),
            started_ago: crate::clock::monotonic().since(run.since.mono),
            known: probes::Known { started: run.started, ready: run.ready },
            reports,
        }))
    }

    pub(super) fn adopt_workers(&mut self, index: Index, workers: Option<probes::Workers>) {
        self.live[index].workers = workers;
    }

    fn forget(&mut self, index: Index, attempt: u32) {
        self.live[index].workers = None;
        self.live[index].hook = None;
        let world = Arc::clone(&self.world);
        let name = world.pod().containers[index].name.clone();
        tokio::spawn(async move {
            tokio::time::sleep(FORGET_AFTER).await;
            // What fails here is met again, and reported, when the pod is taken down.
            let _ = Cgroups::detect().at(&oci::container_path(&world.pod(), &name, attempt)).remove();
            let dir = world.dir.attempt(&name, attempt);
            let _ = remove(dir.layer()).and_then(|()| remove(dir.path()));
        });
    }

    fn note(&mut self, note: Note) {
        self.notes.push(Occurrence {
            at: Timestamp::now(),
            warning: note.warning,
            reason: note.reason,
            message: note.message,
            container: note.container.map(|index| self.world.pod().containers[index].name.clone()),
        });
    }

    /// Plugins of a chain may take long over it. Then it is done aside, and [`Message::TornDown`] tells that it is done.
    fn tear_down(&mut self, memory: &Memory) {
        for live in &mut self.live {
            *live = Live::default();
        }
        self.world.warm.clear();
        self.world.ready.clear();
        catalogue::leave(&self.world);
        let reaper = memory.sandbox.facts().and_then(|facts| facts.reaper);
        if !self.world.dir.chain().exists() {
            self.errors.extend(sandbox::take_down(&self.world, reaper));
            return;
        }
        self.tearing_down = true;
        let world = Arc::clone(&self.world);
        tokio::spawn(async move {
            let errors = sandbox::take_down_aside(&world, reaper).await;
            world.send(Message::TornDown(errors));
        });
    }

    /// Whether the sandbox is being taken down aside.
    pub(super) fn is_tearing_down(&self) -> bool {
        self.tearing_down
    }

    /// It was, save for this.
    pub(super) fn torn_down(&mut self, errors: Vec<String>) {
        self.tearing_down = false;
        self.errors.extend(errors);
    }

    /// A process of the pod has ended. The event comes when its output has been read.
    pub(super) fn death(&mut self, memory: &Memory, death: Death) -> Option<Event> {
        let of_it = |record: &Record| status::process(record) == Some(death.process);
        let index = memory.containers.iter().position(of_it)?;
        let live = &mut self.live[index];
        if !live.outcome_known {
            live.early_death = Some(death);
            return None;
        }
        // Told twice, by the guardian and by the kernel: the first one counts.
        if mem::replace(&mut live.over, true) {
            return None;
        }
        let output = live.output.take();
        live.workers = None;
        let world = Arc::clone(&self.world);
        let attempt = memory.containers[index].attempt;
        tokio::spawn(async move {
            // There is none if a supervisor died between removing its files and writing that down.
            if let Some(output) = output {
                output.finish(death.exit.code()).await;
            }
            let ending = ending(&world, index, attempt, death);
            world.event(Event::Exited(index, ending));
        });
        None
    }

    /// It is known whether the attempt's program runs.
    pub(super) fn outcome(&mut self, index: Index, outcome: Result<(), String>) -> Option<Event> {
        let live = &mut self.live[index];
        live.outcome_known = true;
        if let Some(death) = live.early_death.take()
            && outcome.is_ok()
        {
            self.world.send(Message::Death(death));
        }
        Some(match outcome {
            Ok(()) => Event::Started(index),
            Err(message) => {
                // Its death has no news any more.
                self.live[index].output = None;
                self.live[index].over = true;
                Event::StartFailed(index, message)
            }
        })
    }

    pub(super) fn keep_trace(&self, lines: Vec<TraceLine>) {
        trace::append(&self.world.dir.trace(), &lines);
    }

    /// Starts a guardian in the place of the dead one.
    pub(super) fn start_guardian(&self) {
        let log = OpenOptions::new().create(true).append(true).open(self.world.dir.supervisor_log());
        let stderr = log.map_or_else(|_| Stdio::null(), Stdio::from);
        let mut command: Command = self.world.exe.command();
        command
            .arg("guardian")
            .arg(self.world.dir.run())
            // Room for its supervisor's command line, which is a letter longer.
            .arg("")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr);
        if let Err(error) = command.spawn() {
            report::log(format_args!("supervisor: start a new guardian: {error}"));
        }
    }

    pub(super) fn take_errors(&mut self) -> Vec<String> {
        mem::take(&mut self.errors)
    }

    /// Keeps `up --all` from starting the pod again after a reboot.
    pub(super) fn mark_finished(&self) -> Option<String> {
        write_atomic(&self.world.dir.finished(), b"").err().map(|error| report::chain(&error))
    }

    /// Removes all that is left of the pod, its name last: only then can another pod take it.
    pub(super) fn remove_all(&mut self) -> Vec<String> {
        let (world, dir, pod) = (&self.world, &self.world.dir, self.world.pod());
        volumes::release(&pod, dir, &world.settings.store);
        let logs = dir.logs(&pod.namespace, &pod.name, &pod.uid);
        let mut errors = Vec::from_iter(owed::keep(dir, &world.settings.store, &pod.uid));
        let removed =
            [logs.as_path(), dir.data(), dir.run()].into_iter().filter_map(|path| remove(path).err());
        errors.extend(removed.map(|error| report::chain(&error)));
        world.settings.store.release(&pod.namespace, &pod.name, &pod.uid);
        errors
    }

    /// Takes the bridge down if no pod is on it any more.
    pub(super) fn release_network(&self) {
        for error in super::release_idle(&self.world.settings) {
            report::log(format_args!("supervisor: {error}"));
        }
    }
}

/// What could not be written and why, and where the file system is that did not take it.
fn trouble(error: &StoreError) -> String {
    let text = report::chain(error);
    if error.source.kind() != io::ErrorKind::StorageFull {
        return text;
    }
    full::told(&text, error.path.parent().unwrap_or(&error.path))
}

/// Tells the command that has started this pod, on the standard output that it gave, that there is something new.
/// It may have gone, or be so slow that the pipe is full: then it has been told often enough.
fn ring() {
    let _ = nix::unistd::write(io::stdout(), b"\n");
}

fn ending(world: &World, index: Index, attempt: u32, death: Death) -> Ending {
    let pod = world.pod();
    let container = &pod.containers[index];
    let name = &container.name;
    let killed = death.exit == Exit::Signal(Signal::SIGKILL as i32) || death.exit == Exit::Code(137);
    let oom = killed && Cgroups::detect().at(&oci::container_path(&pod, name, attempt)).oom_kills() > 0;
    Ending {
        exit: death.exit,
        oom,
        message: message::read(world, container, attempt, death.exit),
        at: death.at,
    }
}
