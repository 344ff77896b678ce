//! Between the caller's terminal and the command's.

use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::termios::{self, SetArg, Termios};
use runtime::launch::Inbox;

use crate::report;

use super::super::Failure;
use super::understand;

/// Puts the caller's terminal back when it goes out of scope.
pub(in crate::cli) struct Raw(Termios);

impl Raw {
    pub(in crate::cli) fn enter() -> Option<Raw> {
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
pub(super) fn follow(socket: &UnixStream, input: bool) -> Result<u8, Failure> {
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
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGWINCH);
    // These would end this process, and leave the caller's terminal as it is now.
    for ends in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        signals.add(ends);
    }
    let sizes = signals
        .thread_block()
        .and_then(|()| SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK))
        .map_err(|errno| failure(errno.into()))?;
    copy_size(&master);
    copy(socket, &mut inbox, std::fs::File::from(master), &sizes, input).map_err(failure)?
}

fn copy_size(master: &impl AsFd) {
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
            while let Ok(Some(signal)) = sizes.read_signal() {
                if signal.ssi_signo != Signal::SIGWINCH as u32 {
                    let code = u8::try_from(128 + signal.ssi_signo).unwrap_or(1);
                    return Ok(Err(Failure::code(code, "")));
                }
            }
            copy_size(&master);
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
