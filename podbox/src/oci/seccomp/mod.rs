//! The seccomp profile of a container: which system calls the kernel takes from it.

mod calls;
mod file;

use std::collections::BTreeSet;

use nix::libc;
use oci_spec::OciSpecError;
use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompArgBuilder, LinuxSeccompBuilder,
    LinuxSeccompOperator, LinuxSyscall, LinuxSyscallBuilder,
};

use crate::pod::ContainerSecurity;

use super::security;
use calls::{BY_CAPABILITY, EVERYBODY, OF_THE_ARCHITECTURE};

/// Every `CLONE_NEW…` flag but the one of time namespaces, which shares its bit with an exit signal.
const NEW_NAMESPACES: u64 = 0x7E02_0000;
/// The personalities that change no more than what uname(2) says: PER_LINUX, PER_LINUX32, both with UNAME26, and the
/// question for the present one.
const PERSONALITIES: [u64; 5] = [0, 0x8, 0x2_0000, 0x2_0008, 0xFFFF_FFFF];
/// AF_VSOCK reaches the hypervisor, past every network namespace.
const VSOCK: u64 = 40;

/// What containerd filters a container by where nothing else is asked for.
///
/// # Errors
/// Where the builder of the Spec refuses.
pub fn runtime_default(security: &ContainerSecurity) -> Result<LinuxSeccomp, OciSpecError> {
    default_for(&security::names(security))
}

/// A profile of the host for a container; `text` is OCI's JSON or docker's, `kernel` the release that runs.
///
/// # Errors
/// Where the text is no profile.
pub fn parse(
    text: &str,
    security: &ContainerSecurity,
    kernel: &str,
) -> Result<LinuxSeccomp, serde_json::Error> {
    file::parse(text, &security::names(security), &file::Host::with(kernel))
}

/// containerd's default profile for a container with these capabilities in its bounding set.
fn default_for(capabilities: &BTreeSet<String>) -> Result<LinuxSeccomp, OciSpecError> {
    let mut allowed: BTreeSet<&str> = EVERYBODY.iter().flat_map(|group| group.split_whitespace()).collect();
    allowed.extend(OF_THE_ARCHITECTURE.split_whitespace());
    for (capability, names) in BY_CAPABILITY {
        if capabilities.contains(*capability) {
            allowed.extend(names.split_whitespace());
        }
    }
    let mut rules = vec![allow(allowed.into_iter(), None)?];
    for value in PERSONALITIES {
        let same = argument(value, None, LinuxSeccompOperator::ScmpCmpEq)?;
        rules.push(allow(["personality"].into_iter(), Some(same))?);
    }
    let other = argument(VSOCK, None, LinuxSeccompOperator::ScmpCmpNe)?;
    rules.push(allow(["socket"].into_iter(), Some(other))?);
    if !capabilities.contains("CAP_SYS_ADMIN") {
        let none = argument(NEW_NAMESPACES, Some(0), LinuxSeccompOperator::ScmpCmpMaskedEq)?;
        rules.push(allow(["clone"].into_iter(), Some(none))?);
        // Its flags lie in memory, where no filter can look: programs fall back to clone if it does not exist.
        rules.push(
            LinuxSyscallBuilder::default()
                .names(vec!["clone3".to_owned()])
                .action(LinuxSeccompAction::ScmpActErrno)
                .errno_ret(libc::ENOSYS as u32)
                .build()?,
        );
    }
    LinuxSeccompBuilder::default()
        .default_action(LinuxSeccompAction::ScmpActErrno)
        .architectures(architectures())
        .syscalls(rules)
        .build()
}

/// This machine's, and those whose programs it can run beside its own.
fn architectures() -> Vec<Arch> {
    if cfg!(target_arch = "aarch64") {
        vec![Arch::ScmpArchAarch64, Arch::ScmpArchArm]
    } else {
        vec![Arch::ScmpArchX86_64, Arch::ScmpArchX86, Arch::ScmpArchX32]
    }
}

fn allow<'n>(
    names: impl Iterator<Item = &'n str>,
    condition: Option<LinuxSeccompArg>,
) -> Result<LinuxSyscall, OciSpecError> {
    let names: Vec<String> = names.map(str::to_owned).collect();
    let rule = LinuxSyscallBuilder::default().names(names).action(LinuxSeccompAction::ScmpActAllow);
    match condition {
        Some(condition) => rule.args(vec![condition]).build(),
        None => rule.build(),
    }
}

/// A condition on a call's first argument.
fn argument(
    value: u64,
    value_two: Option<u64>,
    operator: LinuxSeccompOperator,
) -> Result<LinuxSeccompArg, OciSpecError> {
    let argument = LinuxSeccompArgBuilder::default().index(0_usize).value(value).op(operator);
    match value_two {
        Some(two) => argument.value_two(two).build(),
        None => argument.build(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(capabilities: &[&str]) -> BTreeSet<String> {
        let capabilities = capabilities.iter().map(|&name| name.to_owned()).collect();
        let profile = default_for(&capabilities).unwrap();
        let rules = profile.syscalls().clone().unwrap_or_default();
        let free = rules.into_iter().filter(|rule| {
            rule.action() == LinuxSeccompAction::ScmpActAllow && rule.args().as_ref().is_none()
        });
        free.flat_map(|rule| rule.names().clone()).collect()
    }

    #[test]
    fn each_call_of_the_list_stands_in_it_once() {
        let all: Vec<&str> = EVERYBODY.iter().flat_map(|group| group.split_whitespace()).collect();
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
        assert!(!all.contains(&"clone") && !all.contains(&"socket") && !all.contains(&"personality"));
    }

    #[test]
    fn what_only_a_capability_allows_comes_with_it() {
        let plain = allowed(&["CAP_CHOWN"]);
        for (capability, call) in [
            ("CAP_SYS_ADMIN", "mount"),
            ("CAP_SYS_ADMIN", "unshare"),
            ("CAP_SYS_ADMIN", "clone3"),
            ("CAP_SYS_CHROOT", "chroot"),
            ("CAP_SYS_TIME", "settimeofday"),
            ("CAP_SYSLOG", "syslog"),
        ] {
            assert!(!plain.contains(call), "{call}");
            assert!(allowed(&[capability]).contains(call), "{call}");
        }
        for never in ["keyctl", "add_key", "kexec_load", "swapon", "userfaultfd", "io_uring_setup"] {
            assert!(!allowed(&["CAP_SYS_ADMIN"]).contains(never), "{never}");
        }
    }
}
