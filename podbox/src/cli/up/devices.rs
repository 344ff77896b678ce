//! Devices that a pod asks for and the host does not have: nobody waits for them.

use crate::cdi::{self, Catalogue};
use crate::pod::Pod;

use super::super::{Failure, Session};

/// Refuses a pod that asks for devices that are not there, or not free. One of that name that is there already holds what
/// it needs.
pub(super) fn refuse_missing(session: &Session, pod: &Pod) -> Result<(), Failure> {
    let store = &session.settings.store;
    if !cdi::is_used(pod) || store.find(&pod.namespace, &pod.name).is_some() {
        return Ok(());
    }
    let catalogue = Catalogue::read(&session.settings.cdi_directories);
    let leases = store.pod("").device_leases();
    catalogue
        .check(pod, &leases)
        .map_err(|why| Failure::cannot(format!("pod {}/{}: {why}", pod.namespace, pod.name)))
}
