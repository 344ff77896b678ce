//! The instruction sets whose calls a filter knows: this machine's, and the older one that it runs as well.

use super::names;
#[cfg(target_arch = "x86_64")]
use super::names32;
#[cfg(target_arch = "x86_64")]
use oci_spec::runtime::Arch;
use oci_spec::runtime::LinuxSeccomp;
use seccompiler::{BpfProgram, sock_filter};

/// AUDIT_ARCH_I386 of linux/audit.h.
#[cfg(target_arch = "x86_64")]
const I386: u32 = 0x4000_0003;
/// Where the kernel puts number and instruction set of a call (struct seccomp_data).
const NUMBER: u32 = 0;
const MACHINE: u32 = 4;

/// One instruction set.
#[derive(Debug, Clone, Copy)]
pub(super) struct Machine {
    /// The kernel's name for it.
    audit: u32,
    /// Whether podbox itself speaks it.
    pub(super) native: bool,
    /// The numbers of its calls.
    pub(super) number: fn(&str) -> Option<i64>,
}

/// Those that a profile names, this machine's own first. Calls of any other are as deadly as a jump to nowhere. x32 is
/// none of its own to the kernel, but a bit in the number of a call; it is never offered.
pub(super) fn of(profile: &LinuxSeccomp) -> Vec<Machine> {
    let audit = if cfg!(target_arch = "x86_64") { 0xC000_003E } else { 0xC000_00B7 };
    let native = Machine { audit, native: true, number: names::number };
    std::iter::once(native).chain(beside(profile)).collect()
}

/// 32-bit x86, if the profile names it.
#[cfg(target_arch = "x86_64")]
fn beside(profile: &LinuxSeccomp) -> Option<Machine> {
    let named = profile.architectures().iter().flatten().any(|arch| *arch == Arch::ScmpArchX86);
    named.then_some(Machine { audit: I386, native: false, number: names32::number })
}

/// 32-bit ARM is not known: its programs are killed where there is a filter.
#[cfg(not(target_arch = "x86_64"))]
fn beside(_: &LinuxSeccomp) -> Option<Machine> {
    None
}

fn operation(code: u32, jt: u8, jf: u8, k: u32) -> sock_filter {
    sock_filter { code: code as u16, jt, jf, k }
}

fn load(offset: u32) -> sock_filter {
    operation(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, offset)
}

fn answer(value: u32) -> sock_filter {
    operation(libc::BPF_RET | libc::BPF_K, 0, 0, value)
}

impl Machine {
    /// Makes a program of the compiler's one for this instruction set that lets all others pass. The compiler begins
    /// each with three operations: load the instruction set, skip one if it is right, kill.
    pub(super) fn only(self, mut program: BpfProgram) -> BpfProgram {
        if let [_, compare, kill, ..] = program.as_mut_slice() {
            compare.k = self.audit;
            *kill = answer(libc::SECCOMP_RET_ALLOW);
        }
        program
    }

    /// Calls with this number or a higher one are as if they did not exist.
    pub(super) fn none_from(self, first: u32) -> BpfProgram {
        vec![
            load(MACHINE),
            operation(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 3, self.audit),
            load(NUMBER),
            operation(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K, 0, 1, first),
            answer(libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32),
            answer(libc::SECCOMP_RET_ALLOW),
        ]
    }
}

/// Kills whoever makes a call of another instruction set than these.
pub(super) fn no_others(machines: &[Machine]) -> BpfProgram {
    let mut program = vec![load(MACHINE)];
    for (index, machine) in machines.iter().enumerate() {
        // Past the comparisons that follow, and past the kill.
        let skip = (machines.len() - index) as u8;
        program.push(operation(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, skip, 0, machine.audit));
    }
    program.extend([answer(libc::SECCOMP_RET_KILL_PROCESS), answer(libc::SECCOMP_RET_ALLOW)]);
    program
}
