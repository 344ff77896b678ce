//! cgroup v2: one hierarchy, controllers enabled from the top down through `cgroup.subtree_control`. See
//! the kernel's `Documentation/admin-guide/cgroup-v2.rst`.

use super::{Refused, Usage, keyed, number, set, write};
use nix::errno::Errno;
use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};
use oci_spec::runtime::{LinuxCpu, LinuxMemory, LinuxResources};
use std::fs;
use std::path::Path;
use std::time::Duration;

/// Whether a v2 hierarchy is mounted here.
pub(super) fn is_mounted(path: &Path) -> bool {
    statfs(path).is_ok_and(|fs| fs.filesystem_type() == CGROUP2_SUPER_MAGIC)
}

/// `cpu.weight` (1 to 10000) for v1's `cpu.shares` (2 to 262144): the curve that goes through the three
/// points (2, 1), (1024, 100) and (262144, 10000), as runtimes do it since 2025.
#[must_use]
pub fn weight_of_shares(shares: u64) -> u64 {
    if shares <= 2 {
        return 1;
    }
    let l = (shares.min(262_144) as f64).log2();
    let exponent = (l * l + 125.0 * l) / 612.0 - 7.0 / 34.0;
    // The kernel's own points are exact powers; rounding noise must not lift them by one.
    ((10_f64.powf(exponent) - 1e-9).ceil() as u64).clamp(1, 10_000)
}

/// Enables controllers for `directory` (which is `depth` levels below the root) and writes its limits.
pub(super) fn limit(
    directory: &Path,
    depth: usize,
    limits: &LinuxResources,
    notes: &mut Vec<String>,
) -> Result<(), Refused> {
    // If the wanted files are there, whoever made the parents has enabled the controllers already.
    if !directory.join("pids.max").exists() || !directory.join("memory.max").exists() {
        enable_above(directory, depth, &["cpu", "memory", "pids"], notes);
    }
    if let Some(cpu) = limits.cpu() {
        limit_cpu(directory, cpu, notes)?;
    }
    if let Some(memory) = limits.memory() {
        limit_memory(directory, memory, notes)?;
    }
    if let Some(pids) = limits.pids() {
        let value = if pids.limit() > 0 { pids.limit().to_string() } else { "max".to_owned() };
        set(directory, "pids.max", &value, notes)?;
    }
    for (file, value) in limits.unified().iter().flatten() {
        if file.contains('/') {
            notes.push(format!("limit {file} is not applied: not the name of a control file"));
        } else {
            set(directory, file, value, notes)?;
        }
    }
    Ok(())
}

fn limit_cpu(directory: &Path, cpu: &LinuxCpu, notes: &mut Vec<String>) -> Result<(), Refused> {
    if let Some(shares) = cpu.shares().filter(|shares| *shares != 0) {
        set(directory, "cpu.weight", &weight_of_shares(shares).to_string(), notes)?;
    }
    if let Some(quota) = cpu.quota().filter(|quota| *quota != 0) {
        let quota = if quota > 0 { quota.to_string() } else { "max".to_owned() };
        let period = cpu.period().filter(|period| *period != 0).unwrap_or(100_000);
        set(directory, "cpu.max", &format!("{quota} {period}"), notes)?;
    }
    Ok(())
}

fn limit_memory(directory: &Path, memory: &LinuxMemory, notes: &mut Vec<String>) -> Result<(), Refused> {
    let Some(limit) = memory.limit().filter(|bytes| *bytes != 0) else { return Ok(()) };
    let text = |bytes: i64| if bytes < 0 { "max".to_owned() } else { bytes.to_string() };
    set(directory, "memory.max", &text(limit), notes)?;
    // OCI counts memory and swap together, v2 counts swap alone. None asked for: none given.
    let swap = memory
        .swap()
        .filter(|bytes| *bytes != 0)
        .map_or(0, |total| if total < 0 || limit < 0 { -1 } else { (total - limit).max(0) });
    if directory.join("memory.swap.max").exists() {
        set(directory, "memory.swap.max", &text(swap), notes)?;
    }
    // A container that is out of memory dies as a whole instead of limping on without one of its processes.
    set(directory, "memory.oom.group", "1", notes)
}

/// Enables controllers in every cgroup above `directory`, from the root down: one can be enabled only where the
/// parent has it.
pub(super) fn enable_above(directory: &Path, depth: usize, controllers: &[&str], notes: &mut Vec<String>) {
    let mut above: Vec<&Path> = directory.ancestors().skip(1).take(depth).collect();
    above.reverse();
    for parent in above {
        let available = fs::read_to_string(parent.join("cgroup.controllers")).unwrap_or_default();
        for &controller in controllers {
            if !available.split_whitespace().any(|name| name == controller) {
                continue;
            }
            let Err(error) = write(parent, "cgroup.subtree_control", &format!("+{controller}")) else {
                continue;
            };
            let reason = if error.raw_os_error() == Some(Errno::EBUSY as i32) {
                "processes live in it (run podbox from a cgroup below)".to_owned()
            } else {
                error.to_string()
            };
            let parent = parent.display();
            notes.push(format!("cannot enable the {controller} controller below {parent}: {reason}"));
        }
    }
}

/// Adds what the controllers count.
pub(super) fn add_usage(directory: &Path, usage: &mut Usage) {
    usage.memory = number(directory, "memory.current");
    let inactive = keyed(directory, "memory.stat", "inactive_file").unwrap_or(0);
    usage.working_set = usage.memory.map(|bytes| bytes.saturating_sub(inactive));
    usage.cpu = keyed(directory, "cpu.stat", "usage_usec").map(Duration::from_micros);
    usage.pids = number(directory, "pids.current");
}
