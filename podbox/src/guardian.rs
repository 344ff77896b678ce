//! The guardian: one process per pod that outlives everything else of it.
//!
//! It is the subreaper that the pod's containers are re-parented to, so they survive their supervisor. It keeps
//! one supervisor running and writes every death down *before* reaping it: `exits/<pid>.<start>`, renamed into
//! place, holding `exited CODE NANOS` or `killed SIGNAL NANOS` (NANOS since the epoch). It parses nothing,
//! opens no socket and has one thread: it is the one part that cannot be replaced under a running pod, so it
//! has to stay too simple to need it.
//!
//! It leaves when its supervisor exits with 0: the pod is over, or another guardian has taken it.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::setsid;
use runtime::guard::{self, Death};

/// How long a supervisor must live for its next death to count as a first one.
const STEADY: Duration = Duration::from_secs(60);
const FIRST_DELAY: Duration = Duration::from_millis(50);
const LAST_DELAY: Duration = Duration::from_secs(10);

/// `podbox guardian POD_DIR`.
#[must_use]
pub fn main(pod_dir: &Path) -> ExitCode {
    match guard(pod_dir) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("guardian: {}: {error}", pod_dir.display());
            ExitCode::FAILURE
        }
    }
}

fn guard(pod_dir: &Path) -> io::Result<()> {
    // Fails only for a process-group leader, which is then in a group of its own already.
    let _ = setsid();
    guard::become_subreaper()?;
    // Needs a capability that many CI hosts do not give; without it the guardian is an ordinary victim.
    let _ = fs::write("/proc/self/oom_score_adj", "-999");
    let mut child_died = SigSet::empty();
    child_died.add(Signal::SIGCHLD);
    child_died.thread_block()?;
    for terminal_noise in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM, Signal::SIGPIPE] {
        guard::ignore(terminal_noise)?;
    }

    let lock =
        File::options().create(true).truncate(false).write(true).open(pod_dir.join("guardian.lock"))?;
    if !was_handed(&lock) && !take(&lock) {
        return Ok(());
    }
    let exits = pod_dir.join("exits");
    let mut supervisor = Supervisor::new(pod_dir);
    loop {
        let wait = supervisor.start_if_due();
        while let Some(death) = guard::next_death()? {
            if !supervisor.is(death.pid) {
                record(&exits, &death);
            }
            guard::reap(death.pid)?;
            if supervisor.is(death.pid) {
                if death.word == "exited" && death.number == 0 {
                    return Ok(());
                }
                if !pod_dir.exists() {
                    // Somebody has removed the pod altogether: there is nothing left to guard.
                    return Ok(());
                }
                supervisor.died();
            }
        }
        if supervisor.process.is_some() || wait.is_some() {
            wait_for_signal(&child_died, wait)?;
        }
    }
}

/// Whether standard input is this lock, held since before the pod's name was taken. It stays open, and the lock held,
/// as long as this process lives.
fn was_handed(lock: &File) -> bool {
    let identity = |file: &File| file.metadata().map(|data| (data.dev(), data.ino()));
    let input = io::stdin().as_fd().try_clone_to_owned().map(File::from);
    matches!((input.and_then(|input| identity(&input)), identity(lock)), (Ok(input), Ok(lock)) if input == lock)
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

/// The supervisor, and when to start the next one.
struct Supervisor {
    pod_dir: PathBuf,
    process: Option<i32>,
    started: Instant,
    delay: Duration,
    due: Instant,
}

impl Supervisor {
    fn new(pod_dir: &Path) -> Supervisor {
        let now = Instant::now();
        Supervisor {
            pod_dir: pod_dir.to_path_buf(),
            process: None,
            started: now,
            delay: Duration::ZERO,
            due: now,
        }
    }

    fn is(&self, pid: i32) -> bool {
        self.process == Some(pid)
    }

    /// Starts the supervisor if its time has come; otherwise tells how long that takes.
    fn start_if_due(&mut self) -> Option<Duration> {
        if self.process.is_some() {
            return None;
        }
        let now = Instant::now();
        if now < self.due {
            return Some(self.due - now);
        }
        let spawned = Command::new("/proc/self/exe")
            .arg0("podbox")
            .arg("supervise")
            .arg(&self.pod_dir)
            .stdin(Stdio::null())
            .spawn();
        match spawned {
            Ok(child) => {
                self.process = Some(child.id().cast_signed());
                self.started = now;
                None
            }
            Err(error) => {
                eprintln!("guardian: start the supervisor: {error}");
                self.died();
                Some(self.delay)
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
fn record(exits: &Path, death: &Death) {
    let Death { pid, word, number } = death;
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_nanos());
    let start = runtime::process::start_time_of(*pid).unwrap_or(0);
    let temporary = exits.join(format!(".{pid}"));
    let written = fs::write(&temporary, format!("{word} {number} {nanos}\n"))
        .and_then(|()| fs::rename(&temporary, exits.join(format!("{pid}.{start}"))));
    if let Err(error) = written {
        eprintln!("guardian: record the death of {pid}: {error}");
    }
}

/// Sleeps until a child dies, or for `limit`.
fn wait_for_signal(signals: &SigSet, limit: Option<Duration>) -> io::Result<()> {
    match guard::wait_signal(signals, limit) {
        Ok(()) | Err(Errno::EINTR | Errno::EAGAIN) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}
