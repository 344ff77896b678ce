//! bpf(2), as far as a device filter needs it.

use super::{Result, check, own};
use nix::errno::Errno;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// `struct bpf_insn`: an operation, its two registers (destination in the lower half), a jump, a constant.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Instruction {
    pub(crate) code: u8,
    pub(crate) registers: u8,
    pub(crate) jump: i16,
    pub(crate) constant: i32,
}

const PROG_LOAD: libc::c_int = 5;
const PROG_ATTACH: libc::c_int = 8;
const TYPE_CGROUP_DEVICE: u32 = 15;
const ATTACH_CGROUP_DEVICE: u32 = 6;
/// Filters of cgroups above and below go on working beside this one.
const ALLOW_MULTI: u32 = 2;

/// The beginning of `union bpf_attr` for `BPF_PROG_LOAD`; what is left out counts as zero.
#[repr(C)]
struct Load {
    kind: u32,
    count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
}

/// The same for `BPF_PROG_ATTACH`.
#[repr(C)]
struct Attach {
    cgroup: i32,
    program: i32,
    kind: u32,
    flags: u32,
}

/// Loads a program of the type that decides about access to devices.
///
/// # Errors
/// `EINVAL` or `EACCES` for a program that the verifier refuses, `EPERM` without CAP_BPF and CAP_SYS_ADMIN.
pub(crate) fn load_device_program(program: &[Instruction]) -> Result<OwnedFd> {
    let count = u32::try_from(program.len()).map_err(|_| Errno::EINVAL)?;
    let attributes = Load {
        kind: TYPE_CGROUP_DEVICE,
        count,
        instructions: program.as_ptr() as u64,
        // It calls no function of the kernel's that would ask for another one.
        license: c"Apache-2.0".as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel_version: 0,
        flags: 0,
    };
    let size = size_of::<Load>();
    // SAFETY: the pointers lead to `count` instructions and to a C string that live over the call, and the kernel
    // reads `size` bytes of the attributes and writes nothing.
    own(unsafe { libc::syscall(libc::SYS_bpf, PROG_LOAD, &raw const attributes, size) })
}

/// Puts a program before every access to a device by processes of a v2 cgroup. It goes with the cgroup.
///
/// # Errors
/// As bpf(2) says.
pub(crate) fn attach_device_program(program: &OwnedFd, cgroup: BorrowedFd<'_>) -> Result<()> {
    let attributes = Attach {
        cgroup: cgroup.as_raw_fd(),
        program: program.as_fd().as_raw_fd(),
        kind: ATTACH_CGROUP_DEVICE,
        flags: ALLOW_MULTI,
    };
    let size = size_of::<Attach>();
    // SAFETY: both are descriptors that live over the call; the kernel reads `size` bytes and writes nothing.
    check(unsafe { libc::syscall(libc::SYS_bpf, PROG_ATTACH, &raw const attributes, size) }).map(drop)
}
