//! The console relay: a tiny process that holds a container's terminal.
//!
//! A terminal lives as long as somebody holds its master. If that were the supervisor, its death would hang
//! up the container's session. So a process beside the container holds it and copies between the master and
//! the container's FIFOs, which outlive any supervisor. It ends when nobody has the terminal open any more. Until then
//! it holds a lock (flock(2)) on the output's FIFO: the container may have ended and its last words be on their way here.

use crate::launch::Inbox;
use crate::plan::Stdio;
use crate::sys::{task, terminal};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

/// One direction's bytes on their way.
struct Pipe {
    bytes: [u8; 4096],
    start: usize,
    end: usize,
}

impl Pipe {
    const fn new() -> Self {
        Self { bytes: [0; 4096], start: 0, end: 0 }
    }

    const fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Reads once; false at the end of the source.
    fn fill(&mut self, from: BorrowedFd<'_>) -> bool {
        match nix::unistd::read(from, &mut self.bytes) {
            Ok(0) => false,
            Ok(length) => {
                (self.start, self.end) = (0, length);
                true
            }
            Err(Errno::EAGAIN | Errno::EINTR) => true,
            Err(_) => false,
        }
    }

    /// Writes once; false if nobody can ever read it.
    fn drain(&mut self, to: BorrowedFd<'_>) -> bool {
        match nix::unistd::write(to, &self.bytes[self.start..self.end]) {
            Ok(length) => {
                self.start += length;
                true
            }
            Err(Errno::EAGAIN | Errno::EINTR) => true,
            Err(_) => false,
        }
    }
}

/// How long the last output may wait for a reader after the terminal's end, in milliseconds.
const LINGER: u16 = 10_000;

/// Where the output goes. It is locked before there is a relay, and for as long as this or a copy of it is open.
pub(super) fn open_output(stdio: &Stdio) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).custom_flags(libc::O_NONBLOCK);
    if stdio.stdout.as_os_str().is_empty() {
        return options.open("/dev/null");
    }
    let output = options.open(&stdio.stdout)?;
    // Where it cannot be locked, nobody waits for the last words.
    let _ = output.try_lock();
    Ok(output)
}

/// Never returns. Waits on `socket` for the master, then relays.
pub(super) fn run(stdio: &Stdio, output: File, socket: UnixStream) -> ! {
    task::set_name("podbox-console");
    task::reset_signals();
    let _ = nix::unistd::setsid();
    let fifo = |path: &Path| open(path, OFlag::O_RDWR | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC, Mode::empty());
    let input = stdio.stdin.as_deref().and_then(|path| fifo(path).ok());
    let output = OwnedFd::from(output);
    let sizes = stdio.console.as_deref().and_then(|path| fifo(path).ok());
    let mut inbox = Inbox::default();
    let _ = inbox.line(socket.as_fd());
    let Some(master) = inbox.take_fds().pop() else { task::leave(1) };
    drop((socket, inbox));
    keep_only(&[Some(&master), input.as_ref(), Some(&output), sizes.as_ref()]);
    let _ = nix::unistd::chdir("/");
    task::trim_heap();
    relay(&master, input, &output, sizes.as_ref());
    task::leave(0)
}

/// Closes what was inherited, the stage's channel above all: its peer waits for end of file.
fn keep_only(wanted: &[Option<&OwnedFd>]) {
    let mut numbers: Vec<u32> = wanted.iter().flatten().map(|fd| fd.as_raw_fd() as u32).collect();
    numbers.sort_unstable();
    let mut next = 0;
    for number in numbers {
        if number > next {
            task::close_range(next, number - 1);
        }
        next = number + 1;
    }
    task::close_from(next);
}

fn relay(master: &OwnedFd, mut input: Option<OwnedFd>, output: &OwnedFd, sizes: Option<&OwnedFd>) {
    let (mut out, mut typed) = (Pipe::new(), Pipe::new());
    let mut open = true;
    while open || !out.is_empty() {
        let flag = |wanted: bool, flag| if wanted { flag } else { PollFlags::empty() };
        let mut fds = vec![PollFd::new(output.as_fd(), flag(!out.is_empty(), PollFlags::POLLOUT))];
        if open {
            let events =
                flag(out.is_empty(), PollFlags::POLLIN) | flag(!typed.is_empty(), PollFlags::POLLOUT);
            // While output waits for a reader, a hang-up of the terminal would be reported over and over.
            if out.is_empty() || !typed.is_empty() {
                fds.push(PollFd::new(master.as_fd(), events));
            }
            fds.extend(
                input
                    .iter()
                    .filter(|_| typed.is_empty())
                    .map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN)),
            );
            fds.extend(sizes.map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN)));
        }
        let patience = if open { PollTimeout::NONE } else { PollTimeout::from(LINGER) };
        match poll(&mut fds, patience) {
            Ok(0) => return,
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return,
        }
        let ready = |fd: BorrowedFd<'_>| {
            let found = fds.iter().find(|poll| poll.as_fd().as_raw_fd() == fd.as_raw_fd());
            found.and_then(PollFd::revents).unwrap_or(PollFlags::empty())
        };
        let (from_master, to_output) = (ready(master.as_fd()), ready(output.as_fd()));
        let from_input = input.as_ref().map_or(PollFlags::empty(), |fd| ready(fd.as_fd()));
        let resized = sizes.map_or(PollFlags::empty(), |fd| ready(fd.as_fd()));
        drop(fds);
        if to_output.contains(PollFlags::POLLOUT) && !out.drain(output.as_fd()) {
            return;
        }
        if from_master.contains(PollFlags::POLLOUT) && !typed.is_empty() && !typed.drain(master.as_fd()) {
            open = false;
        }
        if out.is_empty() && from_master.intersects(PollFlags::POLLIN | PollFlags::POLLHUP) {
            // A master whose other side is closed reads as EIO.
            open = open && out.fill(master.as_fd());
        }
        if from_input.intersects(PollFlags::POLLIN | PollFlags::POLLHUP)
            && let Some(fd) = &input
            && !typed.fill(fd.as_fd())
        {
            input = None;
        }
        if let Some(fd) = sizes.filter(|_| resized.contains(PollFlags::POLLIN)) {
            resize(master, fd);
        }
    }
}

/// Reads lines `ROWS COLUMNS`; the last one counts.
fn resize(master: &OwnedFd, sizes: &OwnedFd) {
    let mut bytes = [0_u8; 256];
    let Ok(length) = nix::unistd::read(sizes, &mut bytes) else { return };
    let text = String::from_utf8_lossy(&bytes[..length]);
    let parse = |line: &str| {
        let (rows, columns) = line.trim().split_once(' ')?;
        Some((rows.parse().ok()?, columns.trim().parse().ok()?))
    };
    if let Some((rows, columns)) = text.lines().rev().find_map(parse) {
        let _ = terminal::set_size(master.as_fd(), rows, columns);
    }
}
