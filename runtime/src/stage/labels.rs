//! The profile of AppArmor and the label of SELinux that the program gets by exec.
//!
//! Both are written ahead into `/proc/thread-self/attr` (apparmor: aa_change_onexec(2), SELinux: setexeccon(3)), while
//! that is the host's /proc: what a container brings as its own could swallow the word (CVE-2019-19921). The kernel
//! keeps it until exec.

use crate::recipe::{During, Fault};
use oci_spec::runtime::Process;
use std::fs;
use std::io;

/// Of the module's own, since Linux 5.8: with several modules the other one is whose comes first.
const APP_ARMOR: &str = "/proc/thread-self/attr/apparmor/exec";
const ANY: &str = "/proc/thread-self/attr/exec";
/// Is there where the kernel has SELinux (selinux(8)).
const SELINUX: &str = "/sys/fs/selinux/enforce";

/// What the process asks for, not empty.
fn asked(name: Option<&String>) -> Option<&String> {
    name.filter(|name| !name.is_empty())
}

/// Whether there is anything to announce.
pub(super) fn wanted(process: &Process) -> bool {
    let both = [process.apparmor_profile().as_ref(), process.selinux_label().as_ref()];
    both.into_iter().any(|name| asked(name).is_some())
}

/// Announces them. A label means nothing to a kernel without SELinux, as runc has it too: a note.
pub(super) fn announce(process: &Process, notes: &mut Vec<String>) -> Result<(), Fault> {
    if let Some(profile) = asked(process.apparmor_profile().as_ref()) {
        let word = format!("exec {profile}");
        match fs::write(APP_ARMOR, &word) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => fs::write(ANY, &word),
            other => other,
        }
        .during(format_args!("apply AppArmor profile {profile}"))?;
    }
    if let Some(label) = asked(process.selinux_label().as_ref()) {
        if fs::exists(SELINUX).unwrap_or(false) {
            fs::write(ANY, label).during(format_args!("set SELinux label {label}"))?;
        } else {
            notes.push(format!("SELinux label {label} is not applied: this kernel has no SELinux"));
        }
    }
    Ok(())
}
