//! From root to the container's user, with exactly the capabilities of its Spec.
//!
//! The order is the kernel's (capabilities(7)):
//! 1. the bounding set first: dropping from it takes CAP_SETPCAP;
//! 2. groups, group and user, while the permitted set is told to survive the change;
//! 3. permitted, effective and inheritable in one call;
//! 4. the ambient set, which may hold only what is both permitted and inheritable.
//!
//! The seccomp filter is loaded later, and without no_new_privs that takes CAP_SYS_ADMIN. It is kept until
//! then if need be. That gives the container nothing: exec computes the new permitted set from the
//! inheritable, bounding and ambient sets and never from the old permitted set.

use crate::identity::Identity;
use crate::recipe::{During, Fault};
use crate::sys::security::{self, CapabilityMasks};
use caps::Capability;
use nix::errno::Errno;
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use oci_spec::runtime::{Capabilities, PosixRlimit, Process};
use std::fs;
use std::str::FromStr;

/// Everything about privileges that is worked out before any is given up.
#[derive(Debug)]
pub(crate) struct Privileges {
    identity: Identity,
    bounding: u64,
    masks: CapabilityMasks,
    ambient: u64,
    no_new: bool,
}

/// Whether a seccomp filter will be loaded after the change of user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seccomp {
    /// Yes.
    Later,
    /// There is none.
    None,
}

const SYS_ADMIN: u64 = 1 << 21;

/// The capabilities that there are to give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Available(u64);

impl Available {
    /// What this process has; or what whoever enters a user namespace gets there, which is all.
    pub(crate) fn of(enters_user_namespace: bool) -> Result<Self, Fault> {
        if enters_user_namespace {
            return Ok(Self(
                caps::all().into_iter().fold(0, |mask, capability| mask | 1 << capability.index()),
            ));
        }
        Ok(Self(security::capabilities()?.permitted))
    }
}

impl Privileges {
    /// Works out the sets. What this host's root does not have itself cannot be given: a note.
    pub(crate) fn prepare(
        process: &Process,
        identity: Identity,
        seccomp: Seccomp,
        (Available(have), notes): (Available, &mut Vec<String>),
    ) -> Result<Self, Fault> {
        let no_new = process.no_new_privileges().unwrap_or(false);
        let capabilities = process.capabilities().as_ref();
        let set = |get: fn(&oci_spec::runtime::LinuxCapabilities) -> &Option<Capabilities>| {
            capabilities.and_then(|all| get(all).as_ref()).map_or(0, mask)
        };
        let bounding = set(|c| c.bounding());
        let wanted = CapabilityMasks {
            effective: set(|c| c.effective()),
            permitted: set(|c| c.permitted()),
            inheritable: set(|c| c.inheritable()),
        };
        let missing = (bounding | wanted.permitted) & !have;
        if missing != 0 {
            notes
                .push(format!("capabilities that this host does not have are not given: {}", names(missing)));
        }
        let keep = if seccomp == Seccomp::Later && !no_new { SYS_ADMIN & have } else { 0 };
        let masks = CapabilityMasks {
            effective: (wanted.effective & wanted.permitted & have) | keep,
            permitted: (wanted.permitted & have) | keep,
            inheritable: wanted.inheritable & have,
        };
        let ambient = set(|c| c.ambient()) & wanted.permitted & masks.inheritable & have;
        Ok(Self { identity, bounding, masks, ambient, no_new })
    }

    /// The user to be.
    pub(crate) const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Gives up all else, for good.
    pub(crate) fn apply(&self) -> Result<(), Fault> {
        for capability in (0..64).filter(|c| self.bounding & (1 << c) == 0) {
            match security::bounding_drop(capability) {
                // Beyond the last that this kernel knows.
                Err(Errno::EINVAL) => break,
                other => other.during("drop from the bounding set")?,
            }
        }
        security::ambient_clear().during("clear the ambient set")?;
        security::keep_capabilities()?;
        let groups: Vec<Gid> = self.identity.groups.iter().copied().map(Gid::from_raw).collect();
        setgroups(&groups).during("set the supplementary groups")?;
        let (uid, gid) = (Uid::from_raw(self.identity.uid), Gid::from_raw(self.identity.gid));
        setresgid(gid, gid, gid).during(format_args!("set group {gid}"))?;
        setresuid(uid, uid, uid).during(format_args!("set user {uid}"))?;
        // The change of user made the process traceable by that user again.
        security::undumpable()?;
        security::set_capabilities(self.masks).during("set the capabilities")?;
        for capability in (0..64).filter(|c| self.ambient & (1 << c) != 0) {
            security::ambient_raise(capability).during("raise an ambient capability")?;
        }
        if self.no_new {
            security::no_new_privileges()?;
        }
        Ok(())
    }
}

/// One bit a capability. The Spec's names are the kernel's without `CAP_`.
fn mask(set: &Capabilities) -> u64 {
    let bit = |name: String| Capability::from_str(&name).map_or(0, |capability| 1 << capability.index());
    set.iter().fold(0, |mask, capability| mask | bit(format!("CAP_{capability}")))
}

/// The names of the capabilities in a mask.
fn names(mask: u64) -> String {
    let known = caps::all().into_iter().filter(|capability| mask & (1 << capability.index()) != 0);
    let mut names: Vec<String> = known.map(|capability| capability.to_string()).collect();
    names.sort();
    names.join(", ")
}

/// Sets the resource limits. Raising a hard limit takes CAP_SYS_RESOURCE, which the root of a container or
/// of a rented machine often lacks: as much as may be is set, and a note says so.
pub(crate) fn limit_resources(limits: &[PosixRlimit], notes: &mut Vec<String>) -> Result<(), Fault> {
    use nix::sys::resource::{getrlimit, setrlimit};
    for limit in limits {
        let name = limit.typ().to_string();
        let resource = resource(&name).ok_or_else(|| Fault::new(format!("{name} is not known")))?;
        if let Err(errno) = setrlimit(resource, limit.soft(), limit.hard()) {
            let (_, hard) = getrlimit(resource)?;
            let refused = setrlimit(resource, limit.soft().min(hard), limit.hard().min(hard));
            refused.during(&name)?;
            notes.push(format!("{name} {} is more than may be set ({errno}): {hard}", limit.hard()));
        }
    }
    Ok(())
}

fn resource(name: &str) -> Option<nix::sys::resource::Resource> {
    use nix::sys::resource::Resource as R;
    const ALL: [(&str, R); 16] = [
        ("CPU", R::RLIMIT_CPU),
        ("FSIZE", R::RLIMIT_FSIZE),
        ("DATA", R::RLIMIT_DATA),
        ("STACK", R::RLIMIT_STACK),
        ("CORE", R::RLIMIT_CORE),
        ("RSS", R::RLIMIT_RSS),
        ("NPROC", R::RLIMIT_NPROC),
        ("NOFILE", R::RLIMIT_NOFILE),
        ("MEMLOCK", R::RLIMIT_MEMLOCK),
        ("AS", R::RLIMIT_AS),
        ("LOCKS", R::RLIMIT_LOCKS),
        ("SIGPENDING", R::RLIMIT_SIGPENDING),
        ("MSGQUEUE", R::RLIMIT_MSGQUEUE),
        ("NICE", R::RLIMIT_NICE),
        ("RTPRIO", R::RLIMIT_RTPRIO),
        ("RTTIME", R::RLIMIT_RTTIME),
    ];
    let short = name.strip_prefix("RLIMIT_").unwrap_or(name);
    ALL.iter().find(|(known, _)| *known == short).map(|(_, resource)| *resource)
}

/// Sets how readily the kernel kills this process when memory runs out, -1000 to 1000. Going below the
/// present value takes CAP_SYS_RESOURCE; without it the present value stays, with a note.
pub(crate) fn set_oom_score(score: i32, notes: &mut Vec<String>) -> Result<(), Fault> {
    const FILE: &str = "/proc/self/oom_score_adj";
    match fs::write(FILE, score.to_string()) {
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            let now = fs::read_to_string(FILE).unwrap_or_default();
            notes.push(format!("oom_score_adj {score} is lower than may be set: it stays {}", now.trim()));
            Ok(())
        }
        other => other.during(FILE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_capability_of_the_spec_has_its_bit() {
        let all = serde_json::to_value(caps::all().iter().map(ToString::to_string).collect::<Vec<_>>());
        let all: Capabilities = serde_json::from_value(all.unwrap()).unwrap();
        assert_eq!(mask(&all), (1 << caps::all().len()) - 1);
        assert_eq!(names(SYS_ADMIN | 1), "CAP_CHOWN, CAP_SYS_ADMIN");
    }

    #[test]
    fn the_specs_names_of_limits_are_known() {
        for name in ["RLIMIT_NOFILE", "RLIMIT_CORE", "RLIMIT_RTTIME"] {
            assert!(resource(name).is_some(), "{name}");
        }
        assert!(resource("RLIMIT_NONE").is_none());
    }
}
