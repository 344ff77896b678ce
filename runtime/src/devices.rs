//! Which devices a container may use: the Spec's `linux.resources.devices`, as a program that the kernel asks.
//!
//! Access to a device is decided where processes are, not where nodes lie: a container may make whatever node it
//! likes, and opening it is what the filter allows or refuses. It is a BPF program on the container's v2 cgroup
//! (kernel `Documentation/admin-guide/cgroup-v2.rst`, "Device controller"), which exists on hybrid hosts too.
//! v1's own `devices` controller is not used: it would be one more hierarchy to make, join and remove for every
//! container.
//!
//! Where no program can be attached, [`Access::NoNodes`] is what is left: every mount of the container is `nodev`,
//! so that nodes of its own making open nothing, and those that it shall have are bound one by one.

use crate::cgroup::Cgroup;
use crate::plan::ContainerPlan;
use crate::recipe::{During, Fault};
use crate::sys::bpf::{self, Instruction};
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType};
use std::os::fd::{AsFd, OwnedFd};

#[cfg(test)]
mod tests;

/// How a container is kept from the host's devices.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Access {
    /// By the Spec's rules, which are in force: mounts may hold device nodes.
    ByRule,
    /// By mounts that are `nodev`.
    #[default]
    NoNodes,
}

impl Access {
    /// The attributes that every mount gets.
    pub(crate) const fn implied(self) -> u64 {
        match self {
            Self::ByRule => 0,
            Self::NoNodes => libc::MOUNT_ATTR_NODEV,
        }
    }

    /// What a plan aims at, as far as the kernel plays along.
    pub(crate) fn aimed_at(plan: &ContainerPlan) -> Self {
        if rules(plan).is_empty() { Self::NoNodes } else { Self::ByRule }
    }
}

/// The Spec's rules. Without any there is no filter, and no nodes.
pub(crate) fn rules(plan: &ContainerPlan) -> &[LinuxDeviceCgroup] {
    let resources = plan.spec.linux().as_ref().and_then(|linux| linux.resources().as_ref());
    resources.and_then(|resources| resources.devices().as_deref()).unwrap_or_default()
}

/// One kind of access to some devices, allowed or not. Of several that match the last one counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rule {
    allow: bool,
    /// The kernel's number for block or character devices; `None` for both.
    kind: Option<i32>,
    major: Option<i32>,
    minor: Minor,
    /// The kernel's bits.
    access: i32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Minor {
    Any,
    Only(i32),
    /// Those whose bit is set: one test instead of many. What the kernel takes to load a program, while the
    /// container waits, is the time to look at each of its branches.
    AmongBits(i32),
}

const BLOCK: i32 = 1;
const CHARACTER: i32 = 2;
const MKNOD: i32 = 1;
const READ: i32 = 2;
const WRITE: i32 = 4;
const EVERYTHING: i32 = MKNOD | READ | WRITE;

/// What every container may do besides what the Spec says, as with runc (`specconv.AllowedDevices`): make any
/// node, and use the default devices, terminals, and the console.
const ALWAYS: [Rule; 4] = [
    Rule { allow: true, kind: None, major: None, minor: Minor::Any, access: MKNOD },
    // null, zero, full, random, urandom
    usual(1, Minor::AmongBits(1 << 3 | 1 << 5 | 1 << 7 | 1 << 8 | 1 << 9)),
    // tty, console, ptmx
    usual(5, Minor::AmongBits(1 << 0 | 1 << 1 | 1 << 2)),
    // Below /dev/pts.
    usual(136, Minor::Any),
];

const fn usual(major: i32, minor: Minor) -> Rule {
    Rule { allow: true, kind: Some(CHARACTER), major: Some(major), minor, access: EVERYTHING }
}

/// The program of nearly all containers: nothing but what every container may do.
#[derive(Debug)]
pub(crate) struct UsualProgram {
    instructions: Vec<Instruction>,
    loaded: nix::Result<OwnedFd>,
}

impl UsualProgram {
    /// Loads it. That takes the kernel some 100 µs, so it is done while the stage waits for its plan.
    pub(crate) fn load() -> Self {
        let nothing = Rule { allow: false, kind: None, major: None, minor: Minor::Any, access: EVERYTHING };
        let rules: Vec<Rule> = [nothing].into_iter().chain(ALWAYS).collect();
        let instructions = compile(&rules);
        let loaded = bpf::load_device_program(&instructions);
        Self { instructions, loaded }
    }

    /// This program if it is the wanted one, else that.
    fn or_else(self, wanted: &[Instruction]) -> nix::Result<OwnedFd> {
        if self.instructions == wanted { self.loaded } else { bpf::load_device_program(wanted) }
    }
}

/// Puts the rules in force for everything in `cgroup`, as far as there is a v2 one.
///
/// # Errors
/// If the kernel refuses the program.
pub(crate) fn apply(
    rules: &[LinuxDeviceCgroup],
    usual: UsualProgram,
    cgroup: Option<&Cgroup>,
) -> Result<Access, Fault> {
    let rules = all_rules(rules);
    if allows_everything(&rules) {
        return Ok(Access::ByRule);
    }
    let Some(directory) = cgroup.and_then(Cgroup::unified) else { return Ok(Access::NoNodes) };
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let directory = open(directory, flags, Mode::empty()).during(directory.display())?;
    let program = usual.or_else(&compile(&rules))?;
    bpf::attach_device_program(&program, directory.as_fd())?;
    Ok(Access::ByRule)
}

/// The rules as v1's `devices.allow` would take them: v2 has no file to write to.
pub(crate) fn command(rules: &[LinuxDeviceCgroup]) -> String {
    let line = |rule: &LinuxDeviceCgroup| {
        let number = |part: Option<i64>| part.filter(|n| *n >= 0).map_or("*".to_owned(), |n| n.to_string());
        let verb = if rule.allow() { "allow" } else { "deny" };
        let (kind, access) = (rule.typ().unwrap_or_default(), rule.access().as_deref().unwrap_or("rwm"));
        format!("{verb} {} {}:{} {access}", kind.as_str(), number(rule.major()), number(rule.minor()))
    };
    let lines: Vec<String> = rules.iter().map(line).collect();
    format!("# bpf(BPF_PROG_ATTACH, BPF_CGROUP_DEVICE): {}", lines.join("; "))
}

/// The asked ones and the usual ones. Before the first rule everything is forbidden.
fn all_rules(asked: &[LinuxDeviceCgroup]) -> Vec<Rule> {
    asked.iter().map(rule_of).chain(ALWAYS).collect()
}

fn rule_of(asked: &LinuxDeviceCgroup) -> Rule {
    // A negative number, like none, stands for all.
    let number = |part: Option<i64>| part.and_then(|number| i32::try_from(number).ok()).filter(|n| *n >= 0);
    let bits = asked.access().as_deref().map(|letters| {
        let bit = |letter, bit| if letters.contains(letter) { bit } else { 0 };
        bit('m', MKNOD) | bit('r', READ) | bit('w', WRITE)
    });
    let kind = match asked.typ() {
        Some(LinuxDeviceType::B) => Some(BLOCK),
        Some(LinuxDeviceType::C | LinuxDeviceType::U) => Some(CHARACTER),
        Some(LinuxDeviceType::P | LinuxDeviceType::A) | None => None,
    };
    Rule {
        allow: asked.allow(),
        kind,
        major: number(asked.major()),
        minor: number(asked.minor()).map_or(Minor::Any, Minor::Only),
        access: bits.unwrap_or(EVERYTHING),
    }
}

/// Whether the rule is about every access to every device.
fn is_total(rule: &Rule) -> bool {
    rule.kind.is_none() && rule.major.is_none() && rule.minor == Minor::Any && rule.access == EVERYTHING
}

/// Then no program is needed.
fn allows_everything(rules: &[Rule]) -> bool {
    let denied_last = rules.iter().rposition(|rule| !rule.allow);
    rules[denied_last.map_or(0, |index| index + 1)..].iter().any(is_total)
}

/// Registers: the answer, and what the kernel asks about.
const ANSWER: u8 = 0;
const CONTEXT: u8 = 1;
const ACCESS: u8 = 2;
const KIND: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

/// Operations (kernel `Documentation/bpf/standardization/instruction-set.rst`).
const LOAD_WORD: u8 = 0x61;
const MOVE: u8 = 0xb7;
const MOVE_REGISTER: u8 = 0xbf;
const AND: u8 = 0x57;
const SHIFT_RIGHT: u8 = 0x77;
const SHIFT_RIGHT_BY_REGISTER: u8 = 0x7f;
const JUMP: u8 = 0x05;
const JUMP_IF_EQUAL: u8 = 0x15;
const JUMP_UNLESS_EQUAL: u8 = 0x55;
const JUMP_IF_GREATER: u8 = 0x25;
const JUMP_IF_BITS: u8 = 0x45;
const EXIT: u8 = 0x95;

/// The program: the last rule first, and the first that matches decides.
fn compile(rules: &[Rule]) -> Vec<Instruction> {
    // struct bpf_cgroup_dev_ctx: access << 16 | kind, major, minor.
    let mut program = vec![
        load(KIND, 0),
        Instruction { code: MOVE_REGISTER, registers: ACCESS | KIND << 4, jump: 0, constant: 0 },
        instruction(AND, KIND, 0xffff),
        instruction(SHIFT_RIGHT, ACCESS, 16),
        load(MAJOR, 4),
        load(MINOR, 8),
    ];
    for rule in rules.iter().rev() {
        append(&mut program, rule);
        if is_total(rule) {
            // What comes after it can never run, and the verifier refuses such code.
            return program;
        }
    }
    program.extend([instruction(MOVE, ANSWER, 0), instruction(EXIT, 0, 0)]);
    program
}

const fn instruction(code: u8, register: u8, constant: i32) -> Instruction {
    Instruction { code, registers: register, jump: 0, constant }
}

const fn load(register: u8, offset: i16) -> Instruction {
    Instruction { code: LOAD_WORD, registers: register | CONTEXT << 4, jump: offset, constant: 0 }
}

/// What is done before a rule's answer.
enum Test {
    /// A jump to the next rule: this one does not match.
    Over(Instruction),
    /// Anything else.
    Then(Instruction),
}

/// The rule's tests and its answer.
fn append(program: &mut Vec<Instruction>, rule: &Rule) {
    let tests = tests(rule);
    let end = program.len() + tests.len() + 2;
    for test in tests {
        program.push(match test {
            Test::Then(instruction) => instruction,
            // At most a dozen instructions.
            Test::Over(jump) => Instruction { jump: (end - program.len() - 1) as i16, ..jump },
        });
    }
    program.extend([instruction(MOVE, ANSWER, i32::from(rule.allow)), instruction(EXIT, 0, 0)]);
}

fn tests(rule: &Rule) -> Vec<Test> {
    let mut tests = Vec::new();
    for (register, wanted) in [(KIND, rule.kind), (MAJOR, rule.major)] {
        tests.extend(wanted.map(|number| Test::Over(instruction(JUMP_UNLESS_EQUAL, register, number))));
    }
    match rule.minor {
        Minor::Any => {}
        Minor::Only(number) => tests.push(Test::Over(instruction(JUMP_UNLESS_EQUAL, MINOR, number))),
        Minor::AmongBits(bits) => tests.extend([
            Test::Over(instruction(JUMP_IF_GREATER, MINOR, 31)),
            Test::Then(instruction(MOVE, ANSWER, bits)),
            Test::Then(Instruction {
                registers: ANSWER | MINOR << 4,
                ..instruction(SHIFT_RIGHT_BY_REGISTER, 0, 0)
            }),
            Test::Then(instruction(AND, ANSWER, 1)),
            Test::Over(instruction(JUMP_IF_EQUAL, ANSWER, 0)),
        ]),
    }
    match (rule.allow, rule.access) {
        (_, EVERYTHING) => {}
        // All that is asked for must be allowed by one rule.
        (true, some) => tests.push(Test::Over(instruction(JUMP_IF_BITS, ACCESS, EVERYTHING & !some))),
        // It is enough to forbid one part of it: step over the jump.
        (false, some) => tests.extend([
            Test::Then(Instruction { jump: 1, ..instruction(JUMP_IF_BITS, ACCESS, some) }),
            Test::Over(instruction(JUMP, 0, 0)),
        ]),
    }
    tests
}
