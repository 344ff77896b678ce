//! `podbox exec`: run a command in a container. The command is a child of this process's stage, so its exit code,
//! its streams and its terminal need no middleman.

use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use clap::Args;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::termios::{self, SetArg, Termios};
use oci_spec::runtime::BoxBuilder;
use runtime::launch::{Inbox, SelfExe, StageKind, launch, send_plan};
use runtime::plan::FromStage;

use crate::exec::{self, Terminal};
use crate::report;
use crate::status;
use crate::supervisor::machine::{Record, State};

use super::containers::Containers;
use super::pods::{self, Found};
use super::{Failure, Session, completion, names};

/// Arguments of `exec`.
#[derive(Debug, Args)]
pub(super) struct ExecArgs {
    /// Pass standard input on
    #[arg(short = 'i', long)]
    stdin: bool,
    /// Give the command a terminal
    #[arg(short = 't', long)]
    tty: bool,
    /// The pod
    #[arg(add = completion::pod())]
    pod: String,
    /// The container; the first one if none
    #[arg(long, short, add = completion::container())]
    container: Option<String>,
    /// Namespace
    #[arg(long, short, default_value = "default", add = completion::namespace())]
    namespace: String,
    /// The command and its arguments; -- before it keeps its flags from being podbox's
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// Runs the command.
pub(super) fn run(session: &Session, args: &ExecArgs) -> Result<ExitCode, Failure> {
    names::require_root("run a command in a pod")?;
    let (namespace, name) = names::pod_name(&args.pod, &args.namespace);
    let found = pods::find(session, namespace, name)?;
    found.readopt_if_abandoned()?;
    let memory =
        found.memory().ok_or_else(|| Failure::pod(format!("pod {} is not running yet", found.name())))?;
    let containers = Containers::of(&found.object());
    let name = containers.choose(args.container.as_deref())?;
    let record = memory.containers.iter().find(|record| record.name == name);
    let record = record.ok_or_else(|| Failure::pod(format!("container {name} has not been started yet")))?;
    let code = run_in(&found, record, args)?;
    Ok(ExitCode::from(code))
}

fn run_in(found: &Found, record: &Record, args: &ExecArgs) -> Result<u8, Failure> {
    let running = matches!(record.state, State::Starting(_) | State::Running(_) | State::Stopping { .. });
    let target = status::process(record).filter(|_| running).ok_or_else(|| {
        Failure::pod(format!("container {} of pod {} is not running", record.name, found.name()))
    })?;
    let dir = found.dir.attempt(&record.name, record.attempt);
    let terminal = if args.tty { Terminal::Wanted } else { Terminal::None };
    let io_failure =
        |error: io::Error| Failure::cannot(format!("run the command: {}", report::chain(&error)));
    let mut plan = exec::plan(&dir, target, &args.command, terminal).map_err(io_failure)?;
    if let Ok(size) = runtime::terminal::size(io::stdout().as_fd()) {
        // Before the program starts: the first thing many do is to ask for it.
        let size = BoxBuilder::default().height(u64::from(size.rows)).width(u64::from(size.columns)).build();
        plan.process.set_console_size(size.ok());
    }
    let exe = SelfExe::open().map_err(io_failure)?;
    let stage = launch(&exe, StageKind::Exec).map_err(io_failure)?;
    let code = if args.tty {
        send_plan(&stage.socket, &plan, &[]).map_err(io_failure)?;
        with_terminal(&stage.socket, args.stdin)
    } else {
        let nothing = std::fs::File::open("/dev/null").map_err(io_failure)?;
        let stdin = io::stdin();
        let input = if args.stdin { stdin.as_fd() } else { nothing.as_fd() };
        send_plan(&stage.socket, &plan, &[input, io::stdout().as_fd(), io::stderr().as_fd()])
            .map_err(io_failure)?;
        until_exited(&stage.socket, &mut Inbox::default())
    };
    let code = code?;
    // A zombie of the stage would be init's to reap in a moment anyway.
    let _ = stage.reap();
    Ok(code)
}

/// Reads answers until the command has ended.
fn until_exited(socket: &UnixStream, inbox: &mut Inbox) -> Result<u8, Failure> {
    loop {
        let answer = inbox.answer(socket.as_fd());
        if let Some(code) = understand(answer)? {
            return Ok(code);
        }
    }
}

fn understand(answer: io::Result<Option<FromStage>>) -> Result<Option<u8>, Failure> {
    match answer {
        Ok(Some(FromStage::Exited(exit))) => Ok(Some(exit.shell_code())),
        Ok(Some(FromStage::Started(_) | FromStage::Ready(_))) => Ok(None),
        Ok(Some(FromStage::Failed(failure))) => {
            Err(Failure::code(failure.exit_code.unwrap_or(126), failure.to_string()))
        }
        Ok(None) => Err(Failure::cannot("the container ended")),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(Failure::cannot(format!("talk to the stage: {}", report::chain(&error)))),
    }
}

/// Puts the caller's terminal back when it goes out of scope.
struct Raw(Termios);

impl Raw {
    fn enter() -> Option<Raw> {
        let stdin = io::stdin();
        let before = termios::tcgetattr(&stdin).ok()?;
        let mut raw = before.clone();
        termios::cfmakeraw(&mut raw);
        termios::tcsetattr(&stdin, SetArg::TCSANOW, &raw).ok()?;
        Some(Raw(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = termios::tcsetattr(io::stdin(), SetArg::TCSADRAIN, &self.0);
    }
}

/// Copies between the caller's terminal and the command's until the command has ended.
fn with_terminal(socket: &UnixStream, input: bool) -> Result<u8, Failure> {
    let mut inbox = Inbox::default();
    let started = inbox.answer(socket.as_fd());
    if let Some(code) = understand(started)? {
        return Ok(code);
    }
    let master = inbox.take_fds().into_iter().next();
    let master = master.ok_or_else(|| Failure::cannot("the stage sent no terminal"))?;
    let failure = |error: io::Error| Failure::cannot(format!("copy the terminal: {}", report::chain(&error)));
    socket.set_nonblocking(true).map_err(failure)?;
    let _raw = (input && io::stdin().is_terminal()).then(Raw::enter);
    let mut resized = SigSet::empty();
    resized.add(Signal::SIGWINCH);
    let sizes = resized
        .thread_block()
        .and_then(|()| SignalFd::with_flags(&resized, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK))
        .map_err(|errno| failure(errno.into()))?;
    copy_size(&master);
    copy(socket, &mut inbox, std::fs::File::from(master), &sizes, input).map_err(failure)?
}

fn copy_size(master: &OwnedFd) {
    if let Ok(size) = runtime::terminal::size(io::stdout().as_fd()) {
        let _ = runtime::terminal::set_size(master.as_fd(), size);
    }
}

fn copy(
    socket: &UnixStream,
    inbox: &mut Inbox,
    mut master: std::fs::File,
    sizes: &SignalFd,
    mut input: bool,
) -> io::Result<Result<u8, Failure>> {
    let mut buffer = [0; 16 * 1024];
    let mut output = true;
    loop {
        let stdin = io::stdin();
        let flags = |wanted: bool| if wanted { PollFlags::POLLIN } else { PollFlags::empty() };
        let mut fds = [
            PollFd::new(socket.as_fd(), PollFlags::POLLIN),
            PollFd::new(master.as_fd(), flags(output)),
            PollFd::new(stdin.as_fd(), flags(input)),
            PollFd::new(sizes.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut fds, PollTimeout::NONE) {
            Err(nix::errno::Errno::EINTR) => continue,
            other => other?,
        };
        let [answered, printed, typed, resized] = fds.map(|fd| fd.any().unwrap_or(false));
        if resized {
            while sizes.read_signal().is_ok_and(|signal| signal.is_some()) {}
            if let Ok(size) = runtime::terminal::size(io::stdout().as_fd()) {
                let _ = runtime::terminal::set_size(master.as_fd(), size);
            }
        }
        if output && printed {
            // EIO is how a terminal says that its other side is closed.
            match master.read(&mut buffer) {
                Ok(length @ 1..) => {
                    let mut stdout = io::stdout().lock();
                    stdout.write_all(&buffer[..length])?;
                    stdout.flush()?;
                    continue;
                }
                Ok(_) | Err(_) => output = false,
            }
        }
        if input && typed {
            match stdin.lock().read(&mut buffer)? {
                0 => {
                    // End of file, as a terminal's reader would have typed it.
                    input = false;
                    master.write_all(&[4])?;
                }
                length => master.write_all(&buffer[..length])?,
            }
        }
        if answered {
            match understand(inbox.answer(socket.as_fd())) {
                Ok(None) => {}
                Ok(Some(code)) => return Ok(Ok(code)),
                Err(failure) => return Ok(Err(failure)),
            }
        }
    }
}
