//! A session with a container's own process: its output by way of the supervisor, its input straight into its FIFO.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, IsTerminal, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Instant;

use clap::Args;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::pod::Container;
use crate::report;
use crate::store::AttemptDir;
use crate::supervisor::attach::{FrameKind, Since};
use crate::supervisor::control::Request;
use crate::supervisor::machine::{State, Terminated};

use super::super::Failure;
use super::super::exec::terminal::Raw;
use super::super::pods::{Found, PATIENCE};
use super::keys::{DetachKeys, Search};

/// What kind of session it is to be.
#[derive(Clone, Debug)]
pub(in crate::cli) struct Wish {
    pub(in crate::cli) container: String,
    pub(in crate::cli) attempt: u32,
    /// Pass input on.
    pub(in crate::cli) stdin: bool,
    /// The container's terminal is to be as this one.
    pub(in crate::cli) tty: bool,
    /// The end of the input is typed, because a terminal has no other.
    pub(in crate::cli) ends_typing: bool,
    pub(in crate::cli) detach_keys: DetachKeys,
    /// Tell who types nothing yet that a prompt may have been there before.
    pub(in crate::cli) greets: bool,
}

impl Wish {
    /// A session with an attempt of a container, as far as that has an input and a terminal.
    pub(in crate::cli) fn of(
        container: &Container,
        attempt: u32,
        (stdin, tty): (bool, bool),
        detach_keys: &DetachKeys,
        greets: bool,
    ) -> Wish {
        Wish {
            container: container.name.clone(),
            attempt,
            stdin: stdin && container.stdin,
            tty: tty && container.tty && usable_terminal(stdin),
            ends_typing: container.tty && container.stdin_once,
            detach_keys: detach_keys.clone(),
            greets,
        }
    }
}

/// How a command that makes a container and that container are connected.
#[derive(Clone, Copy, Debug, Args)]
pub(in crate::cli) struct Streams {
    /// Keep the container's input open and attach to it
    #[arg(short = 'i', long)]
    pub(in crate::cli) stdin: bool,
    /// Give the container a terminal
    #[arg(short = 't', long)]
    pub(in crate::cli) tty: bool,
    /// Attach to the container; on with -i
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    attach: Option<bool>,
}

impl Streams {
    pub(in crate::cli) fn attaches(self) -> bool {
        self.attach.unwrap_or(self.stdin)
    }
}

/// Whether a terminal can be had (kubectl: `SetupTTY`).
fn usable_terminal(stdin: bool) -> bool {
    if stdin && !io::stdin().is_terminal() {
        anstream::eprintln!("Unable to use a TTY - input is not a terminal or the right kind of file");
        return false;
    }
    true
}

/// A session that the supervisor has begun, or is about to.
pub(in crate::cli) struct Connection {
    read: BufReader<UnixStream>,
    answered: bool,
}

/// Why a session ended.
enum End {
    /// The container has ended, with this code.
    Over(u8),
    /// The supervisor ends it.
    Refused(String),
    /// The connection ended.
    Lost,
}

/// What ended a session from this side: nothing, or a signal's number, or [`DETACHED`].
type Ended = Arc<AtomicI32>;
const DETACHED: i32 = -1;

impl Connection {
    /// Begins a session and hears whether it can be.
    pub(in crate::cli) fn open(found: &Found, wish: &Wish, since: Since) -> Result<Connection, Failure> {
        let mut connection = Connection::ask(found, wish, since)?;
        connection.hear(found)?;
        Ok(connection)
    }

    /// Asks for a session; the answer may take until the container begins.
    pub(in crate::cli) fn ask(found: &Found, wish: &Wish, since: Since) -> Result<Connection, Failure> {
        let request = Request::Attach { container: wish.container.clone(), stdin: wish.stdin, since };
        let stream = found.send(&request).map_err(|error| unreachable(found, &error))?;
        Ok(Connection { read: BufReader::new(stream), answered: false })
    }

    /// Turns readable when the supervisor answers.
    pub(in crate::cli) fn answer(&self) -> BorrowedFd<'_> {
        self.read.get_ref().as_fd()
    }

    /// Waits for the answer.
    pub(in crate::cli) fn hear(&mut self, found: &Found) -> Result<(), Failure> {
        let answer = Found::hear(&mut self.read).map_err(|error| unreachable(found, &error))?;
        self.answered = true;
        match answer.errors.as_slice() {
            [] => Ok(()),
            errors => Err(Failure::pod(format!("attach to pod {}: {}", found.name(), errors.join("; ")))),
        }
    }

    /// Passes everything on until the container ends, this side has enough, or a signal comes.
    pub(in crate::cli) fn follow(mut self, found: &Found, wish: &Wish) -> Result<ExitCode, Failure> {
        if !self.answered {
            self.hear(found)?;
        }
        let failure = |error: io::Error| Failure::cannot(format!("attach: {}", report::chain(&error)));
        let dir = found.dir.attempt(&wish.container, wish.attempt);
        let ended = Ended::default();
        let raw = if wish.tty && wish.stdin { Raw::enter() } else { None };
        if wish.greets && wish.stdin && wish.tty {
            // Only now: what is typed as an answer is not typed into a terminal that is about to change its mode.
            let end = if raw.is_some() { "\r\n" } else { "\n" };
            anstream::eprint!("If you don't see a command prompt, try pressing enter.{end}");
        }
        let socket = || self.read.get_ref().try_clone().map_err(failure);
        mind_signals(wish, &dir, socket()?, &ended).map_err(failure)?;
        if wish.stdin {
            let (wish, socket, ended, path) = (wish.clone(), socket()?, Arc::clone(&ended), dir.stdin());
            // It may wait for a line for ever; this process does not wait for it.
            std::thread::spawn(move || feed(&wish, &path, &socket, &ended));
        }
        let end = pass(&mut self.read);
        drop(raw);
        match (ended.load(Ordering::SeqCst), end.map_err(failure)?) {
            (DETACHED, _) => {
                anstream::eprintln!("read escape sequence");
                Ok(ExitCode::SUCCESS)
            }
            (0, End::Over(code)) => Ok(ExitCode::from(code)),
            (0, End::Refused(why)) => Err(Failure::pod(format!("attach to pod {}: {why}", found.name()))),
            (0, End::Lost) => afterwards(found, wish),
            (signal, _) => Ok(ExitCode::from(u8::try_from(128 + signal).unwrap_or(1))),
        }
    }
}

fn unreachable(found: &Found, error: &io::Error) -> Failure {
    Failure::pod(format!("attach to pod {}: {}", found.name(), report::chain(error)))
}

/// The supervisor has died. If the container has ended meanwhile, that is how the session ends; if it runs on, output
/// may be missing, which nobody should overlook.
fn afterwards(found: &Found, wish: &Wish) -> Result<ExitCode, Failure> {
    let begun = Instant::now();
    let code =
        |end: &Terminated| (end.attempt == wish.attempt).then(|| u8::try_from(end.exit.code()).unwrap_or(1));
    let lost = || Failure::pod(format!("lost connection to pod {}: its supervisor has ended", found.name()));
    while begun.elapsed() < PATIENCE {
        found.readopt_if_abandoned()?;
        let memory = found.memory().ok_or_else(lost)?;
        let record = memory.containers.iter().find(|record| record.name == wish.container);
        let record = record.ok_or_else(lost)?;
        let known = match &record.state {
            State::Exited(end) => code(end),
            State::Stopping { .. } => None,
            _ => match record.last.as_ref().and_then(code) {
                None => return Err(lost().hint("the container runs on: attach again")),
                known => known,
            },
        };
        if let Some(code) = known {
            return Ok(ExitCode::from(code));
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    Err(lost())
}

/// Writes what the container says, byte by byte as it comes.
fn pass(read: &mut impl Read) -> io::Result<End> {
    let mut content = Vec::new();
    loop {
        let mut head = [0; 5];
        match read.read_exact(&mut head) {
            Err(error)
                if matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset) =>
            {
                return Ok(End::Lost);
            }
            other => other?,
        }
        let [kind, length @ ..] = head;
        content.resize(u32::from_be_bytes(length) as usize, 0);
        read.read_exact(&mut content)?;
        let written = match FrameKind::of(kind) {
            Some(FrameKind::Stdout) => write(&mut io::stdout().lock(), &content),
            Some(FrameKind::Stderr) => write(&mut io::stderr().lock(), &content),
            Some(FrameKind::Over) => {
                let code = str::from_utf8(&content).ok().and_then(|text| text.parse::<i32>().ok());
                return Ok(End::Over(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)));
            }
            Some(FrameKind::Refused) => {
                return Ok(End::Refused(String::from_utf8_lossy(&content).into_owned()));
            }
            None => return Err(io::Error::other(format!("a frame of unknown kind {kind}"))),
        };
        match written {
            // Nobody reads what is printed any more.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(End::Over(0)),
            other => other?,
        }
    }
}

fn write(to: &mut impl Write, content: &[u8]) -> io::Result<()> {
    to.write_all(content)?;
    to.flush()
}

/// Passes input on, and its end; or the wish to leave.
fn feed(wish: &Wish, path: &std::path::Path, socket: &UnixStream, ended: &Ended) {
    let fed = OpenOptions::new().write(true).open(path).and_then(|mut fifo| {
        let (mut search, mut buffer) = (Search::new(&wish.detach_keys), [0; 16 * 1024]);
        loop {
            let length = io::stdin().lock().read(&mut buffer)?;
            let (typed, leaves) = match wish.tty {
                true => search.pass(&buffer[..length]),
                false => (buffer[..length].to_vec(), false),
            };
            fifo.write_all(&typed)?;
            if leaves {
                ended.store(DETACHED, Ordering::SeqCst);
                return socket.shutdown(Shutdown::Both);
            }
            if length == 0 {
                if wish.ends_typing {
                    // End of file, as a terminal's reader would have typed it.
                    fifo.write_all(&[4])?;
                }
                return Ok(());
            }
        }
    });
    match fed {
        // Only now that the FIFO is closed on this side: the supervisor closes the other end that keeps it open.
        Ok(()) => drop(socket.shutdown(Shutdown::Write)),
        // The container does not want to read any more.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        Err(error) => anstream::eprintln!("warning: pass standard input on: {error}"),
    }
}

/// From now on a change of this terminal's size is told to the container's, and signals that would end this process end
/// the session first, so that the terminal is put back.
fn mind_signals(wish: &Wish, dir: &AttemptDir, socket: UnixStream, ended: &Ended) -> io::Result<()> {
    let console = if wish.tty {
        // Never waits: a container that is gone has no terminal any more.
        OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(dir.console()).ok()
    } else {
        None
    };
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGWINCH, Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        signals.add(signal);
    }
    signals.thread_block()?;
    let fd = SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC)?;
    copy_size(console.as_ref());
    let ended = Arc::clone(ended);
    std::thread::spawn(move || {
        while let Ok(Some(signal)) = fd.read_signal() {
            let number = signal.ssi_signo.cast_signed();
            if number == Signal::SIGWINCH as i32 {
                copy_size(console.as_ref());
                continue;
            }
            ended.store(number, Ordering::SeqCst);
            let _ = socket.shutdown(Shutdown::Both);
        }
    });
    Ok(())
}

fn copy_size(console: Option<&File>) {
    if let (Some(mut console), Ok(size)) = (console, runtime::terminal::size(io::stdout().as_fd())) {
        let _ = console.write_all(format!("{} {}\n", size.rows, size.columns).as_bytes());
    }
}
