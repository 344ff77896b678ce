//! The pod's devices: leased before its sandbox is made, told to its containers, given back with the sandbox.

use crate::cdi::{self, Catalogue, Edits, NotFree};
use crate::pod::{Container, Pod};

use super::machine::Failure;
use super::world::World;

/// Leases what the pod asks for.
pub(super) fn lease(world: &World, pod: &Pod) -> Result<(), Failure> {
    if !cdi::is_used(pod) {
        return Ok(());
    }
    let failed = |message: String| Failure { reason: "FailedScheduling".to_owned(), message };
    let catalogue = Catalogue::read(&world.settings.cdi_directories);
    let leases = world.dir.device_leases();
    for (kind, count) in cdi::asked(pod) {
        let all: Vec<&str> = catalogue.names(&kind).collect();
        let wanted = usize::try_from(count).unwrap_or(usize::MAX);
        leases.take(&pod.uid, &kind, &all, wanted).map_err(|error| match error {
            NotFree::Only(free) => failed(catalogue.insufficient(&kind, count, (all.len(), free))),
            NotFree::Io(error) => failed(format!("lease devices of {kind}: {error}")),
        })?;
    }
    Ok(())
}

/// What a container needs to use its devices.
pub(super) fn edits(world: &World, pod: &Pod, container: &Container) -> Result<Vec<Edits>, Failure> {
    if !cdi::is_used(pod) {
        return Ok(Vec::new());
    }
    let catalogue = Catalogue::read(&world.settings.cdi_directories);
    catalogue.edits_of(pod, container, &world.dir.device_leases()).map_err(|why| Failure {
        reason: "CreateContainerError".to_owned(),
        message: format!("CDI device injection failed: {why}"),
    })
}
