//! Changing the limits of a pod that runs: the pod's own grow before its containers', and shrink after them, since a
//! kernel takes no limit beyond that of the cgroup above.

use std::sync::Arc;

use oci_spec::runtime::LinuxResources;
use runtime::cgroup::{Allowed, Cgroups};

use crate::oci;
use crate::pod::Pod;
use crate::report;

use super::machine::{Event, Index, Memory, Resized, is_settled_by_resizing, is_to_be_resized};
use super::world::World;

/// What is to be done, as it was when the machine wanted it.
struct Order {
    pod: Arc<Pod>,
    /// Containers and the attempts that run.
    attempts: Vec<(Index, u32)>,
    /// Nothing else needs the old limits.
    settles: bool,
}

/// Begins; what came of it is told as an event. The kernel may take its time to make room below a new limit.
pub(super) fn begin(world: &Arc<World>, memory: &Memory) {
    let pod = world.pod();
    let pairs = pod.containers.iter().zip(&memory.containers).enumerate();
    let attempts = pairs.filter(|(_, (container, record))| is_to_be_resized(container, record));
    let attempts = attempts.map(|(index, (_, record))| (index, record.attempt)).collect();
    let settles = is_settled_by_resizing(&pod, memory);
    let order = Order { pod, attempts, settles };
    let world = Arc::clone(world);
    drop(tokio::task::spawn_blocking(move || world.event(Event::Resized(resize(&order)))));
}

fn resize(order: &Order) -> Resized {
    let mut done = Resized::default();
    match try_resize(order, &mut done) {
        Ok(()) => done.settled = order.settles,
        Err(error) => done.error = Some(error),
    }
    done
}

fn try_resize(order: &Order, done: &mut Resized) -> Result<(), String> {
    let Order { pod, attempts, settles } = order;
    let cgroups = Cgroups::detect();
    let of = |index: Index, attempt| {
        let container = &pod.containers[index];
        (container, cgroups.at(&oci::container_path(pod, &container.name, attempt)))
    };
    // All or nothing: a limit that cannot be is known before the first is changed.
    for (index, attempt) in attempts {
        let (container, group) = of(*index, *attempt);
        let (limit, used) = (oci::effective(pod, container).memory_limit_bytes, group.usage().working_set);
        if let (Some(limit), Some(used)) = (limit, used)
            && limit < used
        {
            let name = &container.name;
            return Err(format!(
                "attempting to set container {name:?} memory limit ({limit}) below current usage ({used})"
            ));
        }
    }
    let refused = |error: runtime::cgroup::Refused| report::chain(&error);
    let (whole, wanted) = (cgroups.at(&oci::pod_path(pod)), oci::pod_limits(pod));
    whole.change(&widened(&wanted, &whole.allowed())).map_err(refused)?;
    for (index, attempt) in attempts {
        let (container, group) = of(*index, *attempt);
        group.change(&oci::container_limits(pod, container)).map_err(refused)?;
        done.applied.push((*index, container.resources));
    }
    if *settles {
        whole.change(&wanted).map_err(refused)?;
    }
    Ok(())
}

/// The limits that are wanted, but none that is lower than what is allowed now.
fn widened(wanted: &LinuxResources, allowed: &Allowed) -> LinuxResources {
    let mut wide = wanted.clone();
    if let Some(mut cpu) = wide.cpu().clone() {
        cpu.set_quota(cpu.quota().zip(allowed.cpu_quota_us).map(|(wanted, now)| wanted.max(now)));
        wide.set_cpu(Some(cpu));
    }
    if let Some(mut memory) = *wide.memory() {
        memory.set_limit(memory.limit().zip(allowed.memory_bytes).map(|(wanted, now)| wanted.max(now)));
        wide.set_memory(Some(memory));
    }
    wide
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci_spec::runtime::{LinuxCpuBuilder, LinuxMemoryBuilder, LinuxResourcesBuilder};

    #[test]
    fn the_pod_grows_first_and_does_not_shrink_before_its_containers_do() {
        let wanted = LinuxResourcesBuilder::default()
            .cpu(LinuxCpuBuilder::default().shares(512_u64).quota(50_000).build().unwrap())
            .memory(LinuxMemoryBuilder::default().limit(64 << 20).build().unwrap())
            .build()
            .unwrap();
        let wide = |quota, memory| {
            let allowed = Allowed { cpu_quota_us: quota, memory_bytes: memory };
            let wide = widened(&wanted, &allowed);
            let cpu = wide.cpu().clone().unwrap();
            (cpu.shares(), cpu.quota(), wide.memory().as_ref().unwrap().limit())
        };
        assert_eq!(wide(Some(20_000), Some(32 << 20)), (Some(512), Some(50_000), Some(64 << 20)));
        assert_eq!(wide(Some(80_000), Some(96 << 20)), (Some(512), Some(80_000), Some(96 << 20)));
        assert_eq!(wide(None, None), (Some(512), None, None), "what has no limit is wide enough");
    }
}
