//! Devices that a pod asks for and the host does not have: nobody waits for them.

use crate::cdi::{self, Catalogue};
use crate::manifest::LoadedPod;
use crate::pod::Pod;

use super::super::{Failure, Session};

/// Refuses pods that together ask for devices that are not there, or not free. One of a name that is there already holds
/// what it needs.
pub(super) fn refuse_missing(session: &Session, loaded: &[LoadedPod]) -> Result<(), Failure> {
    let store = &session.settings.store;
    let is_new = |pod: &Pod| store.find(&pod.namespace, &pod.name).is_none();
    let pods: Vec<&Pod> = loaded.iter().map(|loaded| &loaded.pod).filter(|pod| cdi::is_used(pod)).collect();
    if pods.is_empty() {
        return Ok(());
    }
    let pods: Vec<&Pod> = pods.into_iter().filter(|pod| is_new(pod)).collect();
    let catalogue = Catalogue::read(&session.settings.cdi_directories);
    catalogue
        .check(&pods, &store.device_leases())
        .map_err(|(pod, why)| Failure::cannot(format!("pod {}/{}: {why}", pod.namespace, pod.name)))
}
