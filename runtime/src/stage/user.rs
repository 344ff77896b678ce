//! What a container's first process and an exec'd one have in common on their way to the program.

use crate::identity::{self, Identity};
use crate::in_root::read_small;
use crate::plan::UserSpec;
use crate::recipe::{During, Fault};
use nix::errno::Errno;
use nix::sys::stat::{SFlag, fstat};
use nix::unistd::{Uid, dup2_stderr, dup2_stdin, dup2_stdout, fchown};
use oci_spec::runtime::Process;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Who the process runs as, by the files below `root`. They are read only if something is to be looked up.
pub(super) fn look_up(
    root: BorrowedFd<'_>,
    process: &Process,
    spec: Option<&UserSpec>,
) -> Result<Identity, Fault> {
    let passwd = || read_small(root, "/etc/passwd").during("/etc/passwd");
    if let Some(spec) = spec {
        let group = read_small(root, "/etc/group").during("/etc/group")?;
        return identity::resolve_spec(spec, &passwd()?, &group).map_err(|e| Fault::new(e.to_string()));
    }
    let user = process.user();
    let has_home = process.env().iter().flatten().any(|entry| entry.starts_with("HOME="));
    let text = if has_home { String::new() } else { passwd()? };
    let home = identity::resolve(&user.uid().to_string(), &text, "").map_or("/".to_owned(), |id| id.home);
    let groups = user.additional_gids().clone().unwrap_or_default();
    Ok(Identity { uid: user.uid(), gid: user.gid(), groups, home })
}

/// Puts three descriptors in the places of standard input, output and error.
pub(super) fn set_streams(streams: [BorrowedFd<'_>; 3]) -> Result<(), Fault> {
    dup2_stdin(streams[0])?;
    dup2_stdout(streams[1])?;
    dup2_stderr(streams[2])?;
    Ok(())
}

/// Gives FIFOs on the standard streams to the user, who could otherwise not open `/dev/stdout`. Terminals,
/// devices such as /dev/null and files belong to somebody else and stay as they are.
pub(super) fn own_streams(uid: u32) {
    let (input, output, error) = (io::stdin(), io::stdout(), io::stderr());
    for stream in [input.as_fd(), output.as_fd(), error.as_fd()] {
        let Ok(stat) = fstat(stream) else { continue };
        if stat.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFIFO.bits() && stat.st_uid != uid {
            let _ = fchown(stream, Some(Uid::from_raw(uid)), None);
        }
    }
}

/// Whether the working directory has been entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entered {
    /// It has.
    Yes,
    /// Root may not enter it (a network file system, say), but perhaps the user may.
    NotYet,
}

/// Enters the working directory as root. A user need not be able to enter it for itself.
pub(super) fn enter_first(directory: &Path) -> Result<Entered, Fault> {
    match nix::unistd::chdir(directory) {
        Ok(()) => Ok(Entered::Yes),
        Err(Errno::EACCES | Errno::EPERM) => Ok(Entered::NotYet),
        Err(errno) => Err(errno).during(directory.display()),
    }
}

/// Enters it as the user if root could not, and makes sure that it lies inside the root: a descriptor from
/// the host that slipped in could be named as `/proc/self/fd/N` (CVE-2024-21626).
pub(super) fn enter_again(directory: &Path, entered: Entered) -> Result<(), Fault> {
    if entered == Entered::NotYet {
        nix::unistd::chdir(directory).during(directory.display())?;
    }
    nix::unistd::getcwd().during(format_args!("{} is outside the root", directory.display())).map(drop)
}

/// A terminal as the three streams and as the session's own; it then belongs to the user.
pub(super) fn set_terminal(terminal: &OwnedFd, uid: u32) -> Result<(), Fault> {
    set_streams([terminal.as_fd(); 3])?;
    fchown(terminal, Some(Uid::from_raw(uid)), None)?;
    Ok(crate::sys::terminal::make_controlling(terminal.as_fd())?)
}

/// Opens a new pseudo terminal of the container: the master and the other side. It is the container's own
/// devpts that is asked, and it is looked at first.
pub(super) fn open_terminal(root: BorrowedFd<'_>, process: &Process) -> Result<(OwnedFd, OwnedFd), Fault> {
    use nix::fcntl::OFlag;
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY;
    let master =
        crate::in_root::open(root, Path::new("/dev/pts/ptmx"), flags).during("open /dev/pts/ptmx")?;
    if fstat(&master)?.st_rdev != nix::sys::stat::makedev(5, 2) {
        return Err(Fault::new("/dev/pts/ptmx is not a pseudo terminal multiplexer"));
    }
    crate::sys::terminal::unlock(master.as_fd())?;
    let peer = crate::sys::terminal::open_peer(master.as_fd())?;
    if let Some(size) = process.console_size() {
        let (rows, columns) = (size.height() as u16, size.width() as u16);
        crate::sys::terminal::set_size(master.as_fd(), rows, columns)?;
    }
    Ok((master, peer))
}
