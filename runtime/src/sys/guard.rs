//! What a guardian needs of the kernel: children's deaths before they are reaped, and sleep until one comes.

use super::{Result, check};
use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal};
use std::time::Duration;

/// The next dead child, or only that one, left a zombie: pid, how (`CLD_…`) and the code or signal. `None` if there is
/// none.
///
/// Not nix's waitid, which fails for a child that a real-time signal has killed.
pub(crate) fn peek_death(only: Option<u32>) -> Result<Option<(i32, i32, i32)>> {
    // SAFETY: siginfo_t is plain data, and all zeros is "no child".
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let (which, id) = only.map_or((libc::P_ALL, 0), |pid| (libc::P_PID, pid));
    let flags = libc::WEXITED | libc::WNOWAIT | libc::WNOHANG;
    // SAFETY: the kernel writes one siginfo_t.
    match check(unsafe { libc::waitid(which, id, &raw mut info, flags) }.into()) {
        Ok(_) => {}
        Err(Errno::ECHILD) => return Ok(None),
        Err(errno) => return Err(errno),
    }
    // SAFETY: waitid has filled the fields of a child's death, or left them zero.
    let pid = unsafe { info.si_pid() };
    // SAFETY: as above.
    let status = unsafe { info.si_status() };
    Ok((pid != 0).then_some((pid, info.si_code, status)))
}

/// Copies this process; the child's pid, or `None` in the child.
///
/// fork(3) and not a bare clone(2): the child goes on for long, makes threads of its own, and needs what the C
/// library notes of its thread to be right.
///
/// # Errors
/// `EUSERS` if there is more than one thread, else what fork(2) says.
pub(crate) fn fork() -> Result<Option<i32>> {
    if super::task::threads() != 1 {
        return Err(Errno::EUSERS);
    }
    // SAFETY: the only thread is ours, so no lock of the allocator or of std can be held by a thread that the
    // child lacks, and the child may do whatever this process may.
    match check(unsafe { libc::fork() }.into())? {
        0 => Ok(None),
        pid => Ok(Some(pid as i32)),
    }
}

/// Writes `line` over the command line that the kernel shows of this process, if there is room for it.
///
/// The place is told by fields 48 and 49 of /proc/self/stat (proc_pid_stat(5)).
pub(crate) fn overwrite_command_line(line: &[u8]) {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The second field is the name, in parentheses, and may hold blanks.
    let mut fields = stat.rsplit(')').next().unwrap_or_default().split(' ').skip(46);
    let mut address = || fields.next()?.trim().parse::<usize>().ok();
    let (Some(start), Some(end)) = (address(), address()) else { return };
    let room = end.saturating_sub(start);
    if line.len() > room {
        return;
    }
    // SAFETY: the kernel put this process's arguments there, writable and for its whole life; std copies arguments
    // when it is asked for them, so nothing borrows them, and the only thread is the one that writes.
    let arguments = unsafe { std::slice::from_raw_parts_mut(start as *mut u8, room) };
    arguments[..line.len()].copy_from_slice(line);
    arguments[line.len()..].fill(0);
}

/// Reaps a dead child.
pub(crate) fn reap(pid: i32) -> Result<()> {
    // SAFETY: a null status pointer asks for none.
    check(unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) }.into()).map(drop)
}

/// Ignores a signal from now on; kept over exec.
pub(crate) fn ignore(signal: Signal) -> Result<()> {
    // SAFETY: SIG_IGN installs no code.
    let before = unsafe { libc::signal(signal as libc::c_int, libc::SIG_IGN) };
    if before == libc::SIG_ERR { Err(Errno::last()) } else { Ok(()) }
}

/// Sleeps until one of `signals`, which must be blocked, is pending, and takes it; or until `limit` has passed
/// (`EAGAIN`).
pub(crate) fn wait_signal(signals: &SigSet, limit: Option<Duration>) -> Result<()> {
    let limit = limit.map(|limit| libc::timespec {
        tv_sec: limit.as_secs().try_into().unwrap_or(libc::time_t::MAX),
        tv_nsec: limit.subsec_nanos().into(),
    });
    let pointer = limit.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: both pointers are null or to values that live through the call.
    check(unsafe { libc::sigtimedwait(signals.as_ref(), std::ptr::null_mut(), pointer) }.into()).map(drop)
}

/// Gives back what the allocator keeps for later, and keeps it from making an arena per thread.
pub(crate) fn slim_heap() {
    #[cfg(target_env = "gnu")]
    {
        // SAFETY: sets one number of the allocator.
        unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
        // SAFETY: only touches the allocator's own free lists, under its own lock.
        unsafe { libc::malloc_trim(0) };
    }
}

/// The size of a terminal in characters: rows and columns.
pub(crate) fn terminal_size(terminal: std::os::fd::BorrowedFd<'_>) -> Result<(u16, u16)> {
    use std::os::fd::AsRawFd;
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCGWINSZ writes one winsize.
    check(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) }.into())?;
    Ok((size.ws_row, size.ws_col))
}
