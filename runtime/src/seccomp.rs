//! seccomp profiles: OCI's `linux.seccomp` becomes BPF programs.
//!
//! OCI lets every rule name its own action; the compiler (`seccompiler`) makes programs with one action for
//! what matches and one for the rest. The kernel runs all installed filters and takes the most restrictive
//! answer, so a profile becomes a stack of filters:
//! - the *base*: everything that any rule names is allowed, the rest gets the profile's default action;
//! - one filter for each other action: what its rules name gets it, the rest is allowed.
//!
//! A call that a rule allows passes all of them; a call that a rule refuses is refused by that rule's
//! filter; a call that nobody names meets the default. At most one filter of the stack can forbid
//! seccomp(2) itself, and that one is installed last.

mod machine;
mod names;
#[cfg(target_arch = "x86_64")]
mod names32;

use crate::recipe::{During, Fault};
use crate::sys::security::load_seccomp;
use machine::Machine;
use oci_spec::runtime::{
    LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompFilterFlag, LinuxSeccompOperator,
};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};
use std::collections::BTreeMap;

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Compiled filters, in the order in which they are installed.
#[derive(Debug, Default)]
pub(crate) struct Filters {
    programs: Vec<BpfProgram>,
    flags: u64,
}

impl Filters {
    /// Installs them on this thread. Without no_new_privs that takes CAP_SYS_ADMIN.
    pub(crate) fn load(&self) -> Result<(), Fault> {
        self.programs.iter().try_for_each(|program| Ok(load_seccomp(program, self.flags)?))
    }
}

/// Compiles a profile. Calls that an instruction set does not have are left out, as every runtime does: profiles name
/// the calls of all of them.
///
/// # Errors
/// An action that needs a listener, or a condition that BPF cannot express.
pub(crate) fn compile(profile: &LinuxSeccomp) -> Result<Filters, Fault> {
    let machines = machine::of(profile);
    let mut stack: Vec<(bool, BpfProgram)> = Vec::new();
    for machine in &machines {
        stack.extend(filters(profile, *machine)?);
    }
    if !stack.is_empty() {
        stack.push((false, machine::no_others(&machines)));
    }
    stack.sort_by_key(|(forbids, _)| *forbids);
    let flags = profile.flags().iter().flatten().fold(0, |flags, flag| flags | flag_bit(*flag));
    Ok(Filters { programs: stack.into_iter().map(|(_, program)| program).collect(), flags })
}

/// The filters for the calls of one instruction set, each with whether it forbids the call that installs filters.
fn filters(profile: &LinuxSeccomp, machine: Machine) -> Result<Vec<(bool, BpfProgram)>, Fault> {
    let default = action(profile.default_action(), profile.default_errno_ret())?;
    let mut named: Rules = BTreeMap::new();
    let mut by_action: Vec<(SeccompAction, Rules)> = Vec::new();
    for rule in profile.syscalls().iter().flatten() {
        let action = action(rule.action(), rule.errno_ret())?;
        let at = by_action.iter().position(|(known, _)| *known == action).unwrap_or_else(|| {
            by_action.push((action, Rules::new()));
            by_action.len() - 1
        });
        let conditions = conditions(rule.args().as_deref().unwrap_or_default())?;
        for number in rule.names().iter().filter_map(|name| (machine.number)(name)) {
            add(&mut by_action[at].1, number, &conditions)?;
            add(&mut named, number, &conditions)?;
        }
    }
    let mut stack = Vec::new();
    for (action, rules) in by_action {
        if action != SeccompAction::Allow && !rules.is_empty() {
            let forbids = machine.native && rules.contains_key(&libc::SYS_seccomp);
            stack.push((forbids, machine.only(program(rules, SeccompAction::Allow, action)?)));
        }
    }
    let mut unknown = X32;
    if default != SeccompAction::Allow {
        let forbids = machine.native && !named.contains_key(&libc::SYS_seccomp);
        if let (SeccompAction::Errno(_), Some((last, _))) = (&default, named.last_key_value()) {
            unknown = u32::try_from(*last).map_or(X32, |last| last + 1);
        }
        stack.push((forbids, machine.only(program(named, default, SeccompAction::Allow)?)));
    }
    // Installed after the filter whose errno it is to replace: of equals, the last wins.
    if !stack.is_empty() {
        stack.push((false, machine.none_from(unknown)));
    }
    Ok(stack)
}

/// On x86-64 a kernel may offer every call a second time with bit 30 of its number set (the x32 ABI). A filter that
/// compares numbers does not know those, so they are as if they did not exist. So are calls that are newer than all
/// that a profile names, as with runc: a program that tries a new call falls back to an old one if there is none, and
/// gives up if it may not.
const X32: u32 = 0x4000_0000;

/// A call without conditions matches always, whatever conditions others rules put on it.
fn add(rules: &mut Rules, number: i64, conditions: &[SeccompCondition]) -> Result<(), Fault> {
    let chain = rules.get(&number);
    if conditions.is_empty() {
        rules.insert(number, Vec::new());
    } else if chain.is_none_or(|chain| !chain.is_empty()) {
        let rule = SeccompRule::new(conditions.to_vec()).map_err(|e| Fault::new(e.to_string()))?;
        rules.entry(number).or_default().push(rule);
    }
    Ok(())
}

fn program(rules: Rules, otherwise: SeccompAction, matching: SeccompAction) -> Result<BpfProgram, Fault> {
    let here = std::env::consts::ARCH.try_into().map_err(|e: seccompiler::BackendError| e.to_string());
    let filter = SeccompFilter::new(rules, otherwise, matching, here.map_err(Fault::new)?);
    let program = filter.and_then(BpfProgram::try_from).map_err(|e| Fault::new(e.to_string()));
    program.during("compile the filter")
}

fn action(action: LinuxSeccompAction, errno: Option<u32>) -> Result<SeccompAction, Fault> {
    let errno = errno.unwrap_or(libc::EPERM as u32);
    Ok(match action {
        LinuxSeccompAction::ScmpActKill | LinuxSeccompAction::ScmpActKillThread => SeccompAction::KillThread,
        LinuxSeccompAction::ScmpActKillProcess => SeccompAction::KillProcess,
        LinuxSeccompAction::ScmpActTrap => SeccompAction::Trap,
        LinuxSeccompAction::ScmpActErrno => SeccompAction::Errno(errno),
        LinuxSeccompAction::ScmpActTrace => SeccompAction::Trace(errno),
        LinuxSeccompAction::ScmpActLog => SeccompAction::Log,
        LinuxSeccompAction::ScmpActAllow => SeccompAction::Allow,
        LinuxSeccompAction::ScmpActNotify => {
            return Err(Fault::new("SCMP_ACT_NOTIFY needs a listener, which is not supported"));
        }
    })
}

fn conditions(args: &[LinuxSeccompArg]) -> Result<Vec<SeccompCondition>, Fault> {
    args.iter().map(condition).collect()
}

fn condition(arg: &LinuxSeccompArg) -> Result<SeccompCondition, Fault> {
    let index = u8::try_from(arg.index()).map_err(|_| Fault::new("a system call has six arguments"))?;
    let mut value = arg.value();
    let operator = match arg.op() {
        LinuxSeccompOperator::ScmpCmpNe => SeccompCmpOp::Ne,
        LinuxSeccompOperator::ScmpCmpLt => SeccompCmpOp::Lt,
        LinuxSeccompOperator::ScmpCmpLe => SeccompCmpOp::Le,
        LinuxSeccompOperator::ScmpCmpEq => SeccompCmpOp::Eq,
        LinuxSeccompOperator::ScmpCmpGe => SeccompCmpOp::Ge,
        LinuxSeccompOperator::ScmpCmpGt => SeccompCmpOp::Gt,
        LinuxSeccompOperator::ScmpCmpMaskedEq => {
            // OCI: value is the mask, valueTwo what the masked argument must be.
            let mask = value;
            value = arg.value_two().unwrap_or(0);
            SeccompCmpOp::MaskedEq(mask)
        }
    };
    SeccompCondition::new(index, SeccompCmpArgLen::Qword, operator, value)
        .map_err(|error| Fault::new(error.to_string()))
}

fn flag_bit(flag: LinuxSeccompFilterFlag) -> u64 {
    match flag {
        LinuxSeccompFilterFlag::SeccompFilterFlagLog => libc::SECCOMP_FILTER_FLAG_LOG,
        LinuxSeccompFilterFlag::SeccompFilterFlagSpecAllow => libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW,
        // One thread, and no listener that could wait: nothing to do.
        LinuxSeccompFilterFlag::SeccompFilterFlagTsync
        | LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv => 0,
    }
}

#[cfg(test)]
mod tests;
