//! What a container may do: capabilities, and the parts of /proc and /sys that are hidden from it.

use std::collections::{BTreeSet, HashSet};

use oci_spec::runtime::{
    Capabilities, Capability, LinuxCapabilities, LinuxCapabilitiesBuilder, LinuxDeviceCgroup,
    LinuxDeviceCgroupBuilder,
};

use crate::pod::ContainerSecurity;

/// containerd's default set. MKNOD is harmless: what a node opens is decided by [`device_rules`].
const DEFAULT: [Capability; 14] = [
    Capability::Chown,
    Capability::DacOverride,
    Capability::Fsetid,
    Capability::Fowner,
    Capability::NetRaw,
    Capability::Setgid,
    Capability::Setuid,
    Capability::Setfcap,
    Capability::Setpcap,
    Capability::NetBindService,
    Capability::SysChroot,
    Capability::Kill,
    Capability::AuditWrite,
    Capability::Mknod,
];

const ALL: [Capability; 41] = [
    Capability::AuditControl,
    Capability::AuditRead,
    Capability::AuditWrite,
    Capability::BlockSuspend,
    Capability::Bpf,
    Capability::CheckpointRestore,
    Capability::Chown,
    Capability::DacOverride,
    Capability::DacReadSearch,
    Capability::Fowner,
    Capability::Fsetid,
    Capability::IpcLock,
    Capability::IpcOwner,
    Capability::Kill,
    Capability::Lease,
    Capability::LinuxImmutable,
    Capability::MacAdmin,
    Capability::MacOverride,
    Capability::Mknod,
    Capability::NetAdmin,
    Capability::NetBindService,
    Capability::NetBroadcast,
    Capability::NetRaw,
    Capability::Perfmon,
    Capability::Setfcap,
    Capability::Setgid,
    Capability::Setpcap,
    Capability::Setuid,
    Capability::SysAdmin,
    Capability::SysBoot,
    Capability::SysChroot,
    Capability::SysModule,
    Capability::SysNice,
    Capability::SysPacct,
    Capability::SysPtrace,
    Capability::SysRawio,
    Capability::SysResource,
    Capability::SysTime,
    Capability::SysTtyConfig,
    Capability::Syslog,
    Capability::WakeAlarm,
];

/// containerd's and the kubelet's list.
pub(super) const MASKED: [&str; 11] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];

/// containerd's and the kubelet's list.
pub(super) const READONLY: [&str; 5] =
    ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// The five sets. Drops come before additions, so `drop: [ALL], add: [NET_ADMIN]` leaves one; inheritable and
/// ambient are empty, as with containerd (CVE-2022-24769).
pub(super) fn capabilities(security: &ContainerSecurity) -> LinuxCapabilities {
    let mut set: Capabilities =
        if security.privileged { ALL.into_iter().collect() } else { DEFAULT.into_iter().collect() };
    apply(&security.drop_capabilities, |capability| {
        set.remove(&capability);
    });
    apply(&security.add_capabilities, |capability| {
        set.insert(capability);
    });
    LinuxCapabilitiesBuilder::default()
        .bounding(set.clone())
        .effective(set.clone())
        .permitted(set)
        .inheritable(HashSet::new())
        .ambient(HashSet::new())
        .build()
        .unwrap_or_default()
}

/// The names of the capabilities that a container may ever have, as the kernel writes them.
pub(super) fn names(security: &ContainerSecurity) -> BTreeSet<String> {
    let set = capabilities(security);
    let name = |capability: &Capability| format!("CAP_{}", capability.to_string().trim_start_matches("CAP_"));
    set.bounding().iter().flatten().map(name).collect()
}

/// Privileged containers use every device; the others what the runtime gives to all.
pub(super) fn device_rules(security: &ContainerSecurity) -> Vec<LinuxDeviceCgroup> {
    let rule = LinuxDeviceCgroupBuilder::default().allow(security.privileged).access("rwm").build();
    rule.into_iter().collect()
}

fn apply(names: &[String], mut change: impl FnMut(Capability)) {
    for name in names {
        if name == "ALL" {
            ALL.into_iter().for_each(&mut change);
        } else if let Some(known) = ALL.into_iter().find(|known| same(known, name)) {
            change(known);
        }
    }
}

fn same(known: &Capability, name: &str) -> bool {
    known.to_string().trim_start_matches("CAP_").eq_ignore_ascii_case(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounding(add: &[&str], drop: &[&str]) -> Capabilities {
        let security = ContainerSecurity {
            add_capabilities: add.iter().map(|&name| name.to_owned()).collect(),
            drop_capabilities: drop.iter().map(|&name| name.to_owned()).collect(),
            ..ContainerSecurity::default()
        };
        capabilities(&security).bounding().clone().unwrap_or_default()
    }

    #[test]
    fn the_default_set_is_containerds() {
        let set = bounding(&[], &[]);
        assert_eq!(set.len(), 14);
        assert!(set.contains(&Capability::Mknod) && !set.contains(&Capability::SysAdmin));
    }

    #[test]
    fn drops_come_before_additions() {
        assert_eq!(bounding(&["NET_ADMIN"], &["ALL"]), HashSet::from([Capability::NetAdmin]));
        assert!(!bounding(&[], &["CHOWN"]).contains(&Capability::Chown));
        assert_eq!(bounding(&["ALL"], &[]).len(), ALL.len());
    }
}
