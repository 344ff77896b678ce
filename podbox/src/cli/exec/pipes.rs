//! Between the caller's streams and the command's pipes.

use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use runtime::launch::Inbox;

use crate::report;

use super::super::Failure;
use super::understand;

/// The caller's ends of the command's streams.
pub(super) struct Ours {
    input: Option<PipeWriter>,
    output: PipeReader,
    error: PipeReader,
}

/// The command's ends.
pub(super) struct Theirs([OwnedFd; 3]);

impl Theirs {
    pub(super) fn as_fds(&self) -> [BorrowedFd<'_>; 3] {
        self.0.each_ref().map(AsFd::as_fd)
    }
}

impl Ours {
    /// New streams. Without `input` the command reads nothing.
    pub(super) fn new(input: bool) -> io::Result<(Ours, Theirs)> {
        let (read, input) = if input {
            let (read, write) = io::pipe()?;
            (OwnedFd::from(read), Some(write))
        } else {
            (File::open("/dev/null")?.into(), None)
        };
        let ((output, out), (error, err)) = (io::pipe()?, io::pipe()?);
        Ok((Ours { input, output, error }, Theirs([read, out.into(), err.into()])))
    }
}

/// Copies until the command has ended and what it had said until then is passed on. What it leaves in the background
/// may say more, but nobody listens.
pub(super) fn follow(socket: &UnixStream, ours: Ours) -> Result<u8, Failure> {
    let failure = |error: io::Error| Failure::cannot(format!("copy output: {}", report::chain(&error)));
    if let Some(input) = ours.input {
        // It may wait for a line for ever; this process does not wait for it.
        std::thread::spawn(move || feed(input));
    }
    socket.set_nonblocking(true).map_err(failure)?;
    let mut streams = [Stream::new(ours.output, io::stdout()), Stream::new(ours.error, io::stderr())];
    let mut inbox = Inbox::default();
    loop {
        let answered = wait(socket, &streams).map_err(failure)?;
        for stream in &mut streams {
            stream.pass();
        }
        if answered && let Some(code) = understand(inbox.answer(socket.as_fd()))? {
            streams.iter_mut().for_each(Stream::finish);
            return Ok(code);
        }
    }
}

/// Passes the caller's input on, and its end.
fn feed(mut input: PipeWriter) {
    match io::copy(&mut io::stdin().lock(), &mut input) {
        Ok(_) => {}
        // The command does not want to read any more.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        Err(error) => anstream::eprintln!("warning: read standard input: {error}"),
    }
}

/// Sleeps until there is something to do; true if the stage has something to say.
fn wait(socket: &UnixStream, streams: &[Stream; 2]) -> io::Result<bool> {
    let mut fds = vec![PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
    fds.extend(streams.iter().filter_map(Stream::source).map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
    match poll(&mut fds, PollTimeout::NONE) {
        Ok(_) => Ok(fds[0].any().unwrap_or(false)),
        Err(nix::errno::Errno::EINTR) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// What a pipe holds, bytes (pipe(7)).
const CAPACITY: usize = 64 << 10;

/// One of the command's outputs on its way to the caller's.
struct Stream {
    from: Option<PipeReader>,
    to: Box<dyn Write>,
    buffer: Vec<u8>,
}

impl Stream {
    fn new(from: PipeReader, to: impl Write + 'static) -> Stream {
        // Nothing else reads this pipe, and only an end of it that is closed refuses.
        let _ = fcntl(&from, FcntlArg::F_SETFL(OFlag::O_NONBLOCK));
        Stream { from: Some(from), to: Box::new(to), buffer: vec![0; CAPACITY] }
    }

    fn source(&self) -> Option<BorrowedFd<'_>> {
        self.from.as_ref().map(AsFd::as_fd)
    }

    /// Passes on what there is, but no more than once, so that the other stream has its turn. At its end, or when the
    /// caller's side is closed, the pipe is closed too, and the command hears of it. Tells how many bytes it were.
    fn pass(&mut self) -> usize {
        let Some(from) = &mut self.from else { return 0 };
        let passed = match from.read(&mut self.buffer) {
            Ok(length @ 1..) => {
                let written = self.to.write_all(&self.buffer[..length]).and_then(|()| self.to.flush());
                written.map(|()| length)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return 0,
            other => other.and(Err(io::ErrorKind::UnexpectedEof.into())),
        };
        passed.unwrap_or_else(|_| {
            self.from = None;
            0
        })
    }

    /// Passes on what there is, but not what something in the background goes on writing.
    fn finish(&mut self) {
        let mut passed = 0;
        while passed < CAPACITY {
            match self.pass() {
                0 => break,
                length => passed += length,
            }
        }
    }
}
