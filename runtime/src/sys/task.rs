//! Making, naming and watching processes.

use super::{Result, check, own};
use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

/// From linux/sched.h; libc's own constant does not fit its type.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Which side of a clone one finds oneself on.
#[derive(Debug)]
pub(crate) enum Side {
    /// The caller; the child's pid as seen from here.
    Parent(Pid),
    /// The new process.
    Child,
}

/// Copies this process with the given namespace flags (`CLONE_NEW…`), optionally straight into a cgroup
/// v2 directory (Linux 5.7).
///
/// # Errors
/// `EUSERS` if this process has more than one thread: in the copy only the calling thread would exist, and
/// a lock held by any other would stay locked for ever. Otherwise what clone3(2) says.
pub(crate) fn clone(flags: u64, cgroup: Option<BorrowedFd<'_>>) -> Result<Side> {
    if threads() != 1 {
        return Err(Errno::EUSERS);
    }
    // SAFETY: clone_args is plain integers, for which all zeros is "not asked for".
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = flags;
    args.exit_signal = libc::SIGCHLD as u64;
    if let Some(directory) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = directory.as_raw_fd() as u64;
    }
    // SAFETY: no stack and no CLONE_VM, so the child runs on a copy of everything; the only thread is ours,
    // so no lock of the allocator or of std can be held by a thread that the child lacks.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<libc::clone_args>()) };
    match check(pid)? {
        0 => Ok(Side::Child),
        pid => Ok(Side::Parent(Pid::from_raw(pid as i32))),
    }
}

/// How many threads this process has. The kernel counts them in the link count of the directory of
/// threads, which spares a directory walk.
pub(crate) fn threads() -> u64 {
    std::fs::metadata("/proc/self/task").map_or(1, |task| task.nlink().saturating_sub(2).max(1))
}

/// Ends this process at once: no destructors, no buffers. For the forked halves of stages, which must not
/// run what their parent registered.
pub(crate) fn leave(code: u8) -> ! {
    // SAFETY: _exit only ends the process.
    unsafe { libc::_exit(i32::from(code)) }
}

/// Moves the calling thread out of namespaces it shares, `CLONE_NEW…`.
pub(crate) fn unshare(flags: i32) -> Result<()> {
    // SAFETY: takes one integer; without CLONE_FILES no descriptor changes its meaning.
    check(unsafe { libc::unshare(flags) }.into()).map(drop)
}

/// Joins the namespaces behind `fd`: a namespace file (flags its kind or 0) or a pidfd (flags the kinds).
pub(crate) fn setns(fd: BorrowedFd<'_>, flags: i32) -> Result<()> {
    // SAFETY: the descriptor is borrowed, hence open.
    check(unsafe { libc::setns(fd.as_raw_fd(), flags) }.into()).map(drop)
}

/// A pidfd for a process, close-on-exec.
pub(crate) fn pidfd_open(pid: i32) -> Result<OwnedFd> {
    // SAFETY: two integers.
    own(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })
}

/// Sends a signal to exactly the process behind the pidfd.
pub(crate) fn pidfd_send_signal(fd: BorrowedFd<'_>, signal: i32) -> Result<()> {
    let none = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: the descriptor is borrowed, hence open; a null siginfo asks for the default one.
    check(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd.as_raw_fd(), signal, none, 0) }).map(drop)
}

/// The wait status of the process behind a pidfd, if it has ended and been reaped by anybody, and the
/// kernel keeps it (Linux 6.15).
pub(crate) fn pidfd_exit_status(fd: BorrowedFd<'_>) -> Option<i32> {
    // SAFETY: pidfd_info is plain integers; zero is "not asked for".
    let mut info: libc::pidfd_info = unsafe { std::mem::zeroed() };
    info.mask = u64::from(libc::PIDFD_INFO_EXIT);
    // SAFETY: the request carries the struct's size, and the struct lives through the call.
    let answer = unsafe { libc::ioctl(fd.as_raw_fd(), libc::PIDFD_GET_INFO, &raw mut info) };
    (answer == 0 && info.mask & u64::from(libc::PIDFD_INFO_EXIT) != 0).then_some(info.exit_code)
}

/// Names this thread for `ps` and `top`; the kernel keeps 15 bytes.
pub(crate) fn set_name(name: &str) {
    let mut short = [0_u8; 16];
    let length = name.len().min(15);
    short[..length].copy_from_slice(&name.as_bytes()[..length]);
    // SAFETY: PR_SET_NAME reads at most 16 bytes up to the zero that ends `short`.
    unsafe { libc::prctl(libc::PR_SET_NAME, short.as_ptr()) };
}

/// Marks every descriptor from `first` on as close-on-exec, or closes it when the kernel is older than 5.11.
pub(crate) fn cloexec_from(first: u32) -> Result<()> {
    let all = libc::c_uint::MAX;
    // SAFETY: only sets a flag on our own descriptors.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, all, libc::CLOSE_RANGE_CLOEXEC) }).map(drop)
}

/// Closes every descriptor from `first` on. Only for a process that owns no Rust descriptor any more.
pub(crate) fn close_from(first: u32) {
    let all = libc::c_uint::MAX;
    // SAFETY: the caller is a forked helper that touches none of the closed descriptors again.
    unsafe { libc::syscall(libc::SYS_close_range, first, all, 0) };
}

/// Gives free memory at the top of the heap back, for the helpers that stay.
pub(crate) fn trim_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim only touches the allocator's own free lists, in our only thread.
    unsafe {
        libc::malloc_trim(0)
    };
}

/// Replaces this process's program. Returns only on failure.
pub(crate) fn exec(program: &CStr, args: &ExecVector, env: &ExecVector) -> Errno {
    // SAFETY: both vectors end in a null pointer and own the strings they point to.
    unsafe { libc::execve(program.as_ptr(), args.pointers.as_ptr(), env.pointers.as_ptr()) };
    Errno::last()
}

/// Strings as execve(2) wants them, made before the gate so that nothing is allocated after it.
#[derive(Debug)]
pub(crate) struct ExecVector {
    /// Keeps what `pointers` points to.
    _strings: Vec<std::ffi::CString>,
    pointers: Vec<*const libc::c_char>,
}

impl ExecVector {
    /// Builds the array. A CString's bytes stay where they are when the Vec around it moves.
    pub(crate) fn new(strings: Vec<std::ffi::CString>) -> Self {
        let pointers = strings.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect();
        Self { _strings: strings, pointers }
    }
}

/// Sets every signal to its default action and blocks none: exec keeps ignored signals ignored and
/// blocked ones blocked, and the container must inherit neither. The system call is made directly, because
/// glibc's posix_spawn leaves its two internal signals ignored and its signal functions refuse to touch them.
pub(crate) fn reset_signals() {
    // Handler, flags, restorer and mask, as the kernel lays them out; all zero is SIG_DFL.
    let default = [0_u64; 4];
    let none = std::ptr::null_mut::<u64>();
    for signal in 1..=64 {
        // SAFETY: SIG_DFL installs no code; the struct is as long as the kernel reads and the mask size is 8.
        unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), none, 8) };
    }
    let _ = nix::sys::signal::SigSet::empty().thread_set_mask();
}

/// Waits for one of `signals`, which must be blocked.
pub(crate) fn wait_signal(signals: &nix::sys::signal::SigSet) -> Result<Signal> {
    signals.wait()
}

/// Lets the kernel reap this process's children by itself, adopted ones included.
pub(crate) fn ignore_children() {
    // SAFETY: SIG_IGN installs no code.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
}

/// Closes the descriptors from `first` to `last`. Only for a process that owns no Rust descriptor there.
pub(crate) fn close_range(first: u32, last: u32) {
    // SAFETY: the caller is a forked helper that touches none of the closed descriptors again.
    unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
}
