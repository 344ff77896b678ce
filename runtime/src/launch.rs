//! The caller's side of a stage: start it, talk to it, reap it.
//!
//! A supervisor must not fork, because it has threads and an async runtime. It starts a fresh copy of its
//! own program instead, with one end of a socket pair as both standard input and standard output and
//! nothing else. Everything here blocks shortly or not at all and starts no thread; an async caller takes
//! the descriptors and waits for them in its own way.

use crate::plan::{ExecPlan, Exit, Failure, FromStage, Identity};
use crate::process::reap_fd;
use crate::sys::{mount, task};
use nix::cmsg_space;
use nix::fcntl::{AT_FDCWD, OFlag, open};
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, UnixAddr, recvmsg, sendmsg};
use nix::sys::stat::Mode;
use nix::sys::statvfs::{FsFlags, fstatvfs};
use serde::Serialize;
use std::ffi::CStr;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

/// The running program, as stages are started from it.
///
/// A process that enters a container's mounts can be found there under `/proc/PID/exe`, and through that
/// link a container's root could open podbox's own program for writing (CVE-2019-5736). So stages run from
/// a private, read-only mount of the file, where such an open fails with `EROFS`, whoever asks.
#[derive(Debug)]
pub struct SelfExe {
    fd: OwnedFd,
}

impl SelfExe {
    /// Opens the running program.
    ///
    /// Where a detached mount cannot be made (this program itself runs from one already, or the kernel
    /// refuses), the plain file serves; [`SelfExe::is_sealed`] tells.
    ///
    /// # Errors
    /// If `/proc/self/exe` cannot be opened.
    pub fn open() -> io::Result<Self> {
        Self::of(c"/proc/self/exe")
    }

    /// Opens another program that has the stages.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn of(path: &CStr) -> io::Result<Self> {
        if let Ok(fd) = mount::open_tree(AT_FDCWD, path, libc::OPEN_TREE_CLONE) {
            let read_only = mount::MountAttributes { set: libc::MOUNT_ATTR_RDONLY, ..Default::default() };
            if mount::set_attributes(fd.as_fd(), read_only, 0).is_ok() {
                return Ok(Self { fd });
            }
        }
        Ok(Self { fd: open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())? })
    }

    /// Whether nobody can open the program for writing through the stages that run from it.
    #[must_use]
    pub fn is_sealed(&self) -> bool {
        fstatvfs(&self.fd).is_ok_and(|fs| fs.flags().contains(FsFlags::ST_RDONLY))
    }

    /// A command that runs this program, with an empty environment. It must be spawned while `self` lives.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = Command::new(format!("/proc/self/fd/{}", self.fd.as_raw_fd()));
        command.arg0("podbox").env_clear();
        command
    }
}

/// Which stage to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StageKind {
    /// Takes a [`crate::plan::SandboxPlan`].
    Sandbox,
    /// Takes a [`crate::plan::ContainerPlan`].
    Container,
    /// Takes an [`crate::plan::ExecPlan`].
    Exec,
}

impl StageKind {
    /// The word after `stage` on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sandbox => "sandbox",
            Self::Container => "container",
            Self::Exec => "exec",
        }
    }
}

/// A stage that has been started. It waits for its plan on `socket`.
///
/// It is a child of the caller and must be reaped: with [`Launched::reap`], or by whatever reaps all.
#[derive(Debug)]
pub struct Launched {
    /// Its pid.
    pub pid: i32,
    /// Readable when it has ended.
    pub pidfd: OwnedFd,
    /// The plan goes in, [`FromStage`] lines come out.
    pub socket: UnixStream,
}

impl Launched {
    /// Waits for the end of the stage and reaps it. Does not block once `pidfd` is readable.
    ///
    /// # Errors
    /// What waitid(2) says.
    pub fn reap(&self) -> io::Result<Exit> {
        reap(self.pidfd.as_fd())
    }
}

/// Reaps the child behind a pidfd. Does not block once the pidfd is readable.
///
/// # Errors
/// What waitid(2) says.
pub fn reap(child: BorrowedFd<'_>) -> io::Result<Exit> {
    reap_fd(child)
}

/// Starts a stage. Its standard error is the caller's.
///
/// # Errors
/// What socketpair(2), posix_spawn(3) and pidfd_open(2) say.
pub fn launch(exe: &SelfExe, stage: StageKind) -> io::Result<Launched> {
    let (ours, theirs) = UnixStream::pair()?;
    let theirs: OwnedFd = theirs.into();
    let child = exe
        .command()
        .args(["stage", stage.as_str()])
        .stdin(Stdio::from(theirs.try_clone()?))
        .stdout(Stdio::from(theirs))
        .spawn()?;
    let pid = child.id() as i32;
    // Not reaped yet, so the pid is still this child's.
    let pidfd = task::pidfd_open(pid)?;
    Ok(Launched { pid, pidfd, socket: ours })
}

/// Sends a plan, with descriptors beside it (for [`StageKind::Exec`]: standard input, output and error, or
/// none for a terminal), or with those for an [`crate::plan::ExecRun`]. A socket that does not block takes some
/// hundred KiB.
///
/// # Errors
/// If the stage has left, or what sendmsg(2) says.
pub fn send_plan<P: Serialize>(socket: &impl AsFd, plan: &P, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut line = serde_json::to_vec(plan)?;
    line.push(b'\n');
    send(socket.as_fd(), &line, fds)
}

/// Sends all of `bytes`, the descriptors with the first part. Never raises SIGPIPE.
///
/// # Errors
/// What sendmsg(2) says.
pub fn send(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let raw: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    let mut control: &[ControlMessage<'_>] = &[ControlMessage::ScmRights(&raw)];
    if raw.is_empty() {
        control = &[];
    }
    let mut rest = bytes;
    while !rest.is_empty() {
        let slices = [IoSlice::new(rest)];
        match sendmsg::<UnixAddr>(socket.as_raw_fd(), &slices, control, MsgFlags::MSG_NOSIGNAL, None) {
            Ok(sent) => (rest, control) = (&rest[sent..], &[]),
            Err(nix::errno::Errno::EINTR) => {}
            // A stage that is run by hand has a pipe, a file or a terminal there.
            Err(nix::errno::Errno::ENOTSOCK) => rest = &rest[nix::unistd::write(socket, rest)?..],
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// Collects lines, and the descriptors that came with them, from a stream socket.
#[derive(Debug, Default)]
pub struct Inbox {
    bytes: Vec<u8>,
    fds: Vec<OwnedFd>,
}

impl Inbox {
    /// The next line without its end, or `None` at end of file. On a non-blocking socket that has no whole
    /// line yet the error is `WouldBlock`, and the call can be repeated.
    ///
    /// # Errors
    /// What recvmsg(2) says; `UnexpectedEof` for an unfinished line.
    pub fn line(&mut self, socket: BorrowedFd<'_>) -> io::Result<Option<String>> {
        let mut seen = 0;
        loop {
            if let Some(end) = self.bytes[seen..].iter().position(|byte| *byte == b'\n') {
                let mut line: Vec<u8> = self.bytes.drain(..=seen + end).collect();
                line.pop();
                return String::from_utf8(line).map(Some).map_err(io::Error::other);
            }
            seen = self.bytes.len();
            if !self.fill(socket)? {
                return if seen == 0 { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
        }
    }

    /// The next answer of a stage; as [`Inbox::line`].
    ///
    /// # Errors
    /// As [`Inbox::line`]; `InvalidData` for a line that is not an answer.
    pub fn answer(&mut self, socket: BorrowedFd<'_>) -> io::Result<Option<FromStage>> {
        let Some(line) = self.line(socket)? else { return Ok(None) };
        serde_json::from_str(&line).map(Some).map_err(io::Error::from)
    }

    /// The descriptors that have come so far.
    #[must_use]
    pub fn take_fds(&mut self) -> Vec<OwnedFd> {
        std::mem::take(&mut self.fds)
    }

    /// Reads once; false at end of file.
    fn fill(&mut self, socket: BorrowedFd<'_>) -> io::Result<bool> {
        let start = self.bytes.len();
        self.bytes.resize(start + 16 * 1024, 0);
        let mut control = cmsg_space!([RawFd; 4]);
        let result = {
            let mut slices = [IoSliceMut::new(&mut self.bytes[start..])];
            let flags = MsgFlags::MSG_CMSG_CLOEXEC;
            recvmsg::<UnixAddr>(socket.as_raw_fd(), &mut slices, Some(&mut control), flags).map(|message| {
                let mut fds = Vec::new();
                for part in message.cmsgs().into_iter().flatten() {
                    if let ControlMessageOwned::ScmRights(numbers) = part {
                        fds.extend(numbers.into_iter().map(crate::sys::adopt));
                    }
                }
                (message.bytes, fds)
            })
        };
        let (length, fds) = match result {
            Ok(received) => received,
            Err(nix::errno::Errno::ENOTSOCK) => {
                (nix::unistd::read(socket, &mut self.bytes[start..])?, Vec::new())
            }
            Err(errno) => {
                self.bytes.truncate(start);
                if errno == nix::errno::Errno::EINTR {
                    return Ok(true);
                }
                // A peer that left without reading everything: as good as an end.
                return if errno == nix::errno::Errno::ECONNRESET { Ok(false) } else { Err(errno.into()) };
            }
        };
        self.bytes.truncate(start + length);
        self.fds.extend(fds);
        Ok(length > 0)
    }
}

/// A process that `stage exec` runs.
#[derive(Debug)]
pub struct Exec {
    /// The stage. Hanging up on it kills the process.
    pub stage: Launched,
    inbox: Inbox,
}

/// Starts `stage exec` and hands it its plan, with the standard streams; `None` gives `/dev/null`, or the
/// terminal that the plan asks for.
///
/// An async caller can do the same with [`launch`], [`send_plan`] and an [`Inbox`] on the socket.
///
/// # Errors
/// As [`launch`] and [`send_plan`].
pub fn exec(exe: &SelfExe, plan: &ExecPlan, streams: Option<[BorrowedFd<'_>; 3]>) -> io::Result<Exec> {
    let stage = launch(exe, StageKind::Exec)?;
    send_plan(&stage.socket, plan, streams.as_ref().map_or(&[], |three| three.as_slice()))?;
    Ok(Exec { stage, inbox: Inbox::default() })
}

/// Why a process did not come to run, or is not known to have.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// A step failed; `exit_code` is 126 or 127 if it was the program.
    #[error("{0}")]
    Failed(Failure),
    /// The conversation broke off.
    #[error("lost the exec stage")]
    Lost(#[source] io::Error),
}

impl Exec {
    /// Waits until the program runs: who it is, and the terminal's master if one was asked for.
    ///
    /// # Errors
    /// The step that failed, or the loss of the stage.
    pub fn started(&mut self) -> Result<(Identity, Option<OwnedFd>), ExecError> {
        match self.inbox.answer(self.stage.socket.as_fd()).map_err(ExecError::Lost)? {
            Some(FromStage::Started(identity)) => Ok((identity, self.inbox.take_fds().pop())),
            other => Err(self.unexpected(other)),
        }
    }

    /// Waits until the program has ended, and reaps the stage.
    ///
    /// # Errors
    /// The loss of the stage.
    pub fn exited(&mut self) -> Result<Exit, ExecError> {
        match self.inbox.answer(self.stage.socket.as_fd()).map_err(ExecError::Lost)? {
            Some(FromStage::Exited(exit)) => {
                self.stage.reap().map_err(ExecError::Lost)?;
                Ok(exit)
            }
            other => Err(self.unexpected(other)),
        }
    }

    fn unexpected(&self, answer: Option<FromStage>) -> ExecError {
        if let Some(FromStage::Failed(failure)) = answer {
            // Its last word; it leaves at once.
            let _ = self.stage.reap();
            return ExecError::Failed(failure);
        }
        ExecError::Lost(io::ErrorKind::UnexpectedEof.into())
    }
}
