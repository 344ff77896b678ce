//! Capabilities, no_new_privs, dumpability and seccomp of the calling thread.

use super::{Result, check};
use nix::errno::Errno;

/// The three sets that capset(2) sets, one bit a capability.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct CapabilityMasks {
    /// What the thread may do now.
    pub(crate) effective: u64,
    /// What it may make effective.
    pub(crate) permitted: u64,
    /// What it hands on through exec of a file that wants it.
    pub(crate) inheritable: u64,
}

/// `_LINUX_CAPABILITY_VERSION_3`: two 32-bit words a set.
const VERSION_3: u32 = 0x2008_0522;

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Default, Clone, Copy)]
struct Words {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Sets the three sets of this thread in one call.
pub(crate) fn set_capabilities(masks: CapabilityMasks) -> Result<()> {
    let header = Header { version: VERSION_3, pid: 0 };
    let word = |shift: u32| Words {
        effective: (masks.effective >> shift) as u32,
        permitted: (masks.permitted >> shift) as u32,
        inheritable: (masks.inheritable >> shift) as u32,
    };
    let words = [word(0), word(32)];
    // SAFETY: version 3 reads a header and two words of three u32 each, which is what these are.
    check(unsafe { libc::syscall(libc::SYS_capset, &raw const header, words.as_ptr()) }).map(drop)
}

/// Reads the three sets of this thread.
pub(crate) fn capabilities() -> Result<CapabilityMasks> {
    let header = Header { version: VERSION_3, pid: 0 };
    let mut words = [Words::default(); 2];
    // SAFETY: version 3 writes two words of three u32 each, which is what `words` has room for.
    check(unsafe { libc::syscall(libc::SYS_capget, &raw const header, words.as_mut_ptr()) })?;
    let join = |get: fn(&Words) -> u32| u64::from(get(&words[0])) | (u64::from(get(&words[1])) << 32);
    Ok(CapabilityMasks {
        effective: join(|w| w.effective),
        permitted: join(|w| w.permitted),
        inheritable: join(|w| w.inheritable),
    })
}

/// A prctl(2) of integers only.
fn prctl(option: libc::c_int, two: u64, three: u64) -> Result<i32> {
    // SAFETY: every option used here takes integers and no pointer.
    check(unsafe { libc::prctl(option, two, three, 0_u64, 0_u64) }.into()).map(|value| value as i32)
}

/// Takes a capability out of the bounding set, for good; `EINVAL` for one the kernel does not know.
pub(crate) fn bounding_drop(capability: u8) -> Result<()> {
    prctl(libc::PR_CAPBSET_DROP, capability.into(), 0).map(drop)
}

/// Puts a capability into the ambient set; it must be permitted and inheritable.
pub(crate) fn ambient_raise(capability: u8) -> Result<()> {
    prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_RAISE as u64, capability.into()).map(drop)
}

/// Empties the ambient set.
pub(crate) fn ambient_clear() -> Result<()> {
    prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL as u64, 0).map(drop)
}

/// Keeps the permitted set over the change to another user. exec clears this again.
pub(crate) fn keep_capabilities() -> Result<()> {
    prctl(libc::PR_SET_KEEPCAPS, 1, 0).map(drop)
}

/// No exec shall ever give more privileges: set-user-ID and file capabilities lose their effect.
pub(crate) fn no_new_privileges() -> Result<()> {
    prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0).map(drop)
}

/// Hides this process's memory and /proc files from everybody but the host's root. A process that runs
/// podbox's own program inside a container's mounts must not be something the container can trace.
pub(crate) fn undumpable() -> Result<()> {
    prctl(libc::PR_SET_DUMPABLE, 0, 0).map(drop)
}

/// Installs one seccomp filter on this thread. Unlike most loaders this does not set no_new_privs: a
/// caller without it needs CAP_SYS_ADMIN, as seccomp(2) says.
///
/// # Errors
/// `EINVAL` for an empty or overlong program, else what seccomp(2) says.
pub(crate) fn load_seccomp(program: &[seccompiler::sock_filter], flags: u64) -> Result<()> {
    let length = u16::try_from(program.len()).map_err(|_| Errno::EINVAL)?;
    let program = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut().cast() };
    let mode = libc::SECCOMP_SET_MODE_FILTER;
    // SAFETY: both sock_filter types are the kernel's struct; the kernel copies the program and writes nothing.
    check(unsafe { libc::syscall(libc::SYS_seccomp, mode, flags, &raw const program) }).map(drop)
}
