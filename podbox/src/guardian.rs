//! The guardian: one process per pod that outlives everything else of it.
//!
//! It is the subreaper that the pod's containers are re-parented to, so they survive their supervisor. It keeps
//! one supervisor running and writes every death down *before* reaping it: `exits/<pid>.<start>`, renamed into
//! place, holding `exited CODE NANOS` or `killed SIGNAL NANOS` (NANOS since the epoch; on a full disk a file whose
//! name goes on with these, between dots). Where not even that can be done the dead stay zombies, and it is tried
//! again until it can. It parses nothing, opens no socket and has one thread: it is the one part that cannot be
//! replaced under a running pod, so it has to stay too simple to need it.
//!
//! Before it first starts a supervisor, it forks the stages that this one will need first, for the same reason that it
//! forks the supervisor: they are copies of a program that is running already.
//!
//! It leaves when its supervisor exits with 0: the pod is over, or another guardian has taken it.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{dup2_stdin, getpid, setsid};
use runtime::guard::{self, Death, Forked};
use runtime::launch::StageKind;

use crate::store::PodDir;
use crate::supervisor;

/// How long a supervisor must live for its next death to count as a first one.
const STEADY: Duration = Duration::from_secs(60);
const FIRST_DELAY: Duration = Duration::from_millis(50);
const LAST_DELAY: Duration = Duration::from_secs(10);
/// How often it is tried to write down a death that could not be written.
const UNWRITTEN: Duration = Duration::from_millis(500);

/// `podbox guardian POD_DIR ''`.
#[must_use]
pub fn main(pod_dir: &Path) -> ExitCode {
    let guardian = getpid();
    match guard(pod_dir) {
        Ok(Next::Leave) => ExitCode::SUCCESS,
        Ok(Next::Supervise(stages)) => {
            guard::show_command_line(&["podbox".as_ref(), "supervise".as_ref(), pod_dir.as_os_str()]);
            supervisor::main(pod_dir, guardian, stages)
        }
        Ok(Next::Stage(kind, socket)) => {
            guard::show_command_line(&["podbox".as_ref(), "stage".as_ref(), kind.as_str().as_ref()]);
            runtime::stage::take_over(kind, socket.into())
        }
        Err(error) => {
            crate::report::log(format_args!("guardian: {}: {error}", pod_dir.display()));
            ExitCode::FAILURE
        }
    }
}

/// What a process does when its part as a guardian is over.
enum Next {
    /// The pod needs no guardian any more.
    Leave,
    /// It is the guardian's child. Everything that it has of the guardian, the lock before all, has been closed, save
    /// for the conversations with stages that wait.
    Supervise(FirstStages),
    /// It is such a stage, and has closed everything but its end of the conversation.
    Stage(StageKind, UnixStream),
}

fn guard(pod_dir: &Path) -> io::Result<Next> {
    // Fails only for a process-group leader, which is then in a group of its own already.
    let _ = setsid();
    // Here, because a Command that changes its directory is forked instead of spawned, which takes longer.
    std::env::set_current_dir("/")?;
    guard::become_subreaper()?;
    // Needs a capability that many CI hosts do not give; without it the guardian is an ordinary victim.
    let _ = fs::write("/proc/self/oom_score_adj", "-999");
    let mut child_died = SigSet::empty();
    child_died.add(Signal::SIGCHLD);
    child_died.thread_block()?;
    for terminal_noise in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM, Signal::SIGPIPE] {
        guard::ignore(terminal_noise)?;
    }

    // Held until this process ends, or goes on as the supervisor.
    let Some(_place) = place(pod_dir)? else { return Ok(Next::Leave) };
    let exits = pod_dir.join("exits");
    let mut supervisor = Supervisor::new();
    let mut stages = Stages::default();
    if !PodDir::machine_in(pod_dir).exists() {
        // Nothing has run yet. The one that is needed first comes first.
        stages = Stages::plan(&FIRST)?;
        if let Some((kind, socket)) = stages.fork(1)? {
            return Ok(Next::Stage(kind, socket));
        }
    }
    // Whether there is a dead child that could not be written down.
    let mut unwritten = false;
    loop {
        let wait = match supervisor.start_if_due() {
            Turn::Runs => None,
            Turn::Waits(time) => Some(time),
            Turn::Child => return Ok(Next::Supervise(stages.conversations())),
        };
        // The supervisor has its ends of their conversations.
        if let Some((kind, socket)) = stages.fork(FIRST.len())? {
            return Ok(Next::Stage(kind, socket));
        }
        stages.forget_conversations();
        let told = std::mem::take(&mut unwritten);
        loop {
            // The kernel shows no other death before that one is reaped, save to those who ask for it.
            let death = if unwritten { supervisor.death()? } else { guard::next_death()? };
            let Some(death) = death else { break };
            if !supervisor.is(death.pid)
                && !stages.is_one(death.pid)
                && let Err(error) = record(&exits, &death)
            {
                if !told {
                    let pid = death.pid;
                    crate::report::log(format_args!("guardian: record the death of {pid}: {error}"));
                }
                unwritten = true;
                continue;
            }
            guard::reap(death.pid)?;
            if supervisor.is(death.pid) {
                if death.word == "exited" && death.number == 0 {
                    // They have been hung up on.
                    stages.reap_all();
                    return Ok(Next::Leave);
                }
                if !pod_dir.exists() {
                    // Somebody has removed the pod altogether: there is nothing left to guard.
                    return Ok(Next::Leave);
                }
                supervisor.died();
            }
        }
        if supervisor.process.is_some() || wait.is_some() {
            let again = unwritten.then_some(UNWRITTEN);
            wait_for_signal(&child_died, wait.into_iter().chain(again).min())?;
        }
    }
}

/// The lock. An `up` that has held it since before the pod's name was taken hands it down as standard input; else it is
/// taken here, and `None` if another guardian has it.
fn place(pod_dir: &Path) -> io::Result<Option<File>> {
    let lock =
        File::options().create(true).truncate(false).write(true).open(pod_dir.join("guardian.lock"))?;
    let handed = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    // Whoever inherits standard input must not inherit the lock.
    dup2_stdin(File::open("/dev/null")?)?;
    let identity = |file: &File| file.metadata().map(|data| (data.dev(), data.ino()));
    if identity(&handed)? == identity(&lock)? {
        return Ok(Some(handed));
    }
    Ok(take(&lock).then_some(lock))
}

/// Takes the lock; false if another guardian has it. Somebody who only looks whether it is held holds it for a
/// moment too, hence the patience.
fn take(lock: &File) -> bool {
    (0..50).any(|attempt| {
        if attempt > 0 {
            std::thread::sleep(Duration::from_millis(5));
        }
        lock.try_lock().is_ok()
    })
}

/// The stages that a pod needs first, and how many containers' worth of them: one more and one less would both be
/// started anew.
const FIRST: [StageKind; 3] = [StageKind::Sandbox, StageKind::Container, StageKind::Container];

/// The supervisor's ends of the conversations with stages that wait for their plans.
pub type FirstStages = Vec<(StageKind, UnixStream)>;

/// Stages that are forked from this process. They die unrecorded: they are no containers.
#[derive(Default)]
struct Stages {
    /// Not forked yet.
    to_come: VecDeque<(StageKind, UnixStream)>,
    conversations: FirstStages,
    forked: Vec<i32>,
}

impl Stages {
    fn plan(kinds: &[StageKind]) -> io::Result<Stages> {
        let mut stages = Stages::default();
        for kind in kinds {
            let (ours, theirs) = UnixStream::pair()?;
            stages.conversations.push((*kind, ours));
            stages.to_come.push_back((*kind, theirs));
        }
        Ok(stages)
    }

    /// Forks until there are `count` or none is to come. In such a stage itself: what it is.
    fn fork(&mut self, count: usize) -> io::Result<Option<(StageKind, UnixStream)>> {
        while self.forked.len() < count
            && let Some(stage) = self.to_come.pop_front()
        {
            match guard::fork()? {
                Forked::Child => return Ok(Some(stage)),
                Forked::Parent(pid) => self.forked.push(pid),
            }
        }
        Ok(None)
    }

    /// For the supervisor.
    fn conversations(&mut self) -> FirstStages {
        std::mem::take(&mut self.conversations)
    }

    /// From now on only the supervisor can hang up on them.
    fn forget_conversations(&mut self) {
        self.conversations.clear();
    }

    fn is_one(&self, pid: i32) -> bool {
        self.forked.contains(&pid)
    }

    /// Waits for those that have not ended.
    fn reap_all(&self) {
        for pid in &self.forked {
            // Most have been reaped already.
            let _ = guard::reap(*pid);
        }
    }
}

/// The supervisor, and when to start the next one.
struct Supervisor {
    process: Option<i32>,
    started: Instant,
    delay: Duration,
    due: Instant,
}

/// How it stands with the supervisor.
enum Turn {
    /// It runs.
    Runs,
    /// It is not time to start it yet.
    Waits(Duration),
    /// This process is it.
    Child,
}

impl Supervisor {
    fn new() -> Supervisor {
        let now = Instant::now();
        Supervisor { process: None, started: now, delay: Duration::ZERO, due: now }
    }

    fn is(&self, pid: i32) -> bool {
        self.process == Some(pid)
    }

    /// How it has ended; `None` while it runs, or if there is none.
    fn death(&self) -> io::Result<Option<Death>> {
        self.process.map_or(Ok(None), guard::death_of)
    }

    /// Starts the supervisor if its time has come. It is a copy of this process, which has one thread and little in
    /// its memory: starting the program anew would cost half a millisecond more.
    fn start_if_due(&mut self) -> Turn {
        if self.process.is_some() {
            return Turn::Runs;
        }
        let now = Instant::now();
        if now < self.due {
            return Turn::Waits(self.due - now);
        }
        match guard::fork() {
            Ok(Forked::Child) => Turn::Child,
            Ok(Forked::Parent(pid)) => {
                self.process = Some(pid);
                self.started = now;
                Turn::Runs
            }
            Err(error) => {
                crate::report::log(format_args!("guardian: start the supervisor: {error}"));
                self.died();
                Turn::Waits(self.delay)
            }
        }
    }

    /// The first death is answered at once, repeated ones ever more slowly.
    fn died(&mut self) {
        let now = Instant::now();
        self.process = None;
        self.delay = if now - self.started > STEADY {
            Duration::ZERO
        } else {
            (self.delay * 2).clamp(FIRST_DELAY, LAST_DELAY)
        };
        let wait = if self.delay == FIRST_DELAY { Duration::ZERO } else { self.delay };
        self.due = now + wait;
    }
}

/// Writes a death down. A zombie still has its /proc entry, so the start time that names it is there.
///
/// # Errors
/// If that cannot be done now, so that the zombie has to stay.
fn record(exits: &Path, death: &Death) -> io::Result<()> {
    let Death { pid, word, number } = death;
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_nanos());
    let start = runtime::process::start_time_of(*pid).unwrap_or(0);
    let temporary = exits.join(format!(".{pid}"));
    let written = fs::write(&temporary, format!("{word} {number} {nanos}\n"))
        .and_then(|()| fs::rename(&temporary, exits.join(format!("{pid}.{start}"))))
        // On a full disk there mostly is still room for a name, and all fits into one.
        .or_else(|_| fs::rename(&temporary, exits.join(format!("{pid}.{start}.{word}.{number}.{nanos}"))));
    // Without the directory the pod is gone, and nobody asks any more.
    if written.is_err() && !exits.exists() { Ok(()) } else { written }
}

/// Sleeps until a child dies, or for `limit`.
fn wait_for_signal(signals: &SigSet, limit: Option<Duration>) -> io::Result<()> {
    match guard::wait_signal(signals, limit) {
        Ok(()) | Err(Errno::EINTR | Errno::EAGAIN) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}
