//! cgroup v1: one hierarchy a controller, limits as the kernel's `Documentation/admin-guide/cgroup-v1`
//! names them.

use super::{Refused, Usage, V1, keyed, number, set};
use nix::errno::Errno;
use nix::sys::statfs::{CGROUP_SUPER_MAGIC, statfs};
use oci_spec::runtime::LinuxResources;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

/// A v1 controller that podbox uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Controller {
    /// Shares and quota of CPU time.
    Cpu,
    /// Counting of CPU time.
    CpuAcct,
    /// Memory.
    Memory,
    /// Number of processes.
    Pids,
}

impl Controller {
    const ALL: [Self; 4] = [Self::Cpu, Self::CpuAcct, Self::Memory, Self::Pids];

    /// As the kernel calls it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::CpuAcct => "cpuacct",
            Self::Memory => "memory",
            Self::Pids => "pids",
        }
    }
}

/// The hierarchies below `root`. Controllers that are mounted together are one file system, and so one
/// device number: they make one hierarchy.
pub(super) fn detect(root: &Path) -> Vec<V1> {
    let mut found: Vec<(u64, V1)> = Vec::new();
    for controller in Controller::ALL {
        let path = root.join(controller.name());
        if !statfs(&path).is_ok_and(|fs| fs.filesystem_type() == CGROUP_SUPER_MAGIC) {
            continue;
        }
        let device = fs::metadata(&path).map_or(0, |meta| meta.dev());
        match found.iter_mut().find(|(known, _)| *known == device) {
            Some((_, hierarchy)) => hierarchy.controllers.push(controller),
            None => found.push((device, V1 { root: path, controllers: vec![controller] })),
        }
    }
    found.into_iter().map(|(_, hierarchy)| hierarchy).collect()
}

/// Writes the limits that this hierarchy's controllers know.
pub(super) fn limit(hierarchy: &V1, limits: &LinuxResources, notes: &mut Vec<String>) -> Result<(), Refused> {
    let directory = &hierarchy.root;
    for controller in &hierarchy.controllers {
        match controller {
            Controller::Cpu => limit_cpu(directory, limits, notes)?,
            Controller::CpuAcct => {}
            Controller::Memory => limit_memory(directory, limits, notes)?,
            Controller::Pids => {
                if let Some(pids) = limits.pids() {
                    let value = if pids.limit() > 0 { pids.limit().to_string() } else { "max".to_owned() };
                    set(directory, "pids.max", &value, notes)?;
                }
            }
        }
    }
    Ok(())
}

fn limit_cpu(directory: &Path, limits: &LinuxResources, notes: &mut Vec<String>) -> Result<(), Refused> {
    let Some(cpu) = limits.cpu() else { return Ok(()) };
    if let Some(shares) = cpu.shares().filter(|shares| *shares != 0) {
        set(directory, "cpu.shares", &shares.to_string(), notes)?;
    }
    if let Some(period) = cpu.period().filter(|period| *period != 0) {
        set(directory, "cpu.cfs_period_us", &period.to_string(), notes)?;
    }
    if let Some(quota) = cpu.quota().filter(|quota| *quota != 0) {
        set(directory, "cpu.cfs_quota_us", &quota.to_string(), notes)?;
    }
    Ok(())
}

fn limit_memory(directory: &Path, limits: &LinuxResources, notes: &mut Vec<String>) -> Result<(), Refused> {
    let Some(memory) = limits.memory() else { return Ok(()) };
    if let Some(soft) = memory.reservation().filter(|bytes| *bytes != 0) {
        set(directory, "memory.soft_limit_in_bytes", &soft.to_string(), notes)?;
    }
    let Some(limit) = memory.limit().filter(|bytes| *bytes != 0) else { return Ok(()) };
    // Memory and swap together; equal to the memory limit means no swap. Only there with swap accounting.
    let total = memory.swap().filter(|bytes| *bytes != 0).unwrap_or(limit);
    let has_total = directory.join("memory.memsw.limit_in_bytes").exists();
    let set_limit =
        |notes: &mut Vec<String>| set(directory, "memory.limit_in_bytes", &limit.to_string(), notes);
    let set_total = |notes: &mut Vec<String>| match has_total {
        true => set(directory, "memory.memsw.limit_in_bytes", &total.to_string(), notes),
        false => Ok(()),
    };
    match set_limit(notes) {
        // It may never be more than both together, which were limited before: they grow first.
        Err(refused) if has_total && refused.source.raw_os_error() == Some(Errno::EINVAL as i32) => {
            set_total(notes)?;
            set_limit(notes)
        }
        Err(refused) => Err(refused),
        Ok(()) => set_total(notes),
    }
}

/// Adds what this hierarchy's controllers count.
pub(super) fn add_usage(hierarchy: &V1, usage: &mut Usage) {
    let directory = &hierarchy.root;
    for controller in &hierarchy.controllers {
        match controller {
            Controller::Cpu => {}
            Controller::CpuAcct => {
                usage.cpu = number(directory, "cpuacct.usage").map(Duration::from_nanos);
            }
            Controller::Memory => {
                usage.memory = number(directory, "memory.usage_in_bytes");
                let inactive = keyed(directory, "memory.stat", "total_inactive_file").unwrap_or(0);
                usage.working_set = usage.memory.map(|bytes| bytes.saturating_sub(inactive));
            }
            Controller::Pids => usage.pids = number(directory, "pids.current"),
        }
    }
}
