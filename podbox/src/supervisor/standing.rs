//! How the pod is, for those that send it traffic: a file of its own, which is only there while some Service selects the pod.
//!
//! Two write it, one after the other: the loop, before the pod's status says that it is ready or is so no longer, so that
//! whoever has waited for that finds it among the endpoints; and the task that follows the Services ([`super::catalogue`]).

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use k8s_openapi::api::core::v1::PodStatus;
use runtime::plan::Identity;

use crate::pod::Pod;
use crate::report;
use crate::services::{self, Backend};
use crate::store::write_atomic;

use super::machine::Memory;
use super::world::World;

/// How the pod is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    /// They decide which Services lead to it, and may change while it runs.
    labels: BTreeMap<String, String>,
    ips: Vec<IpAddr>,
    pub(super) ready: bool,
    serving: bool,
    pub(super) terminating: bool,
}

impl Standing {
    /// `None` before the pod has addresses, and when nothing of it runs any more.
    pub(super) fn of(pod: &Pod, memory: &Memory, status: &PodStatus) -> Option<Standing> {
        let over =
            matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")) || memory.finished.is_some();
        let ips: Vec<IpAddr> = status.pod_ips.iter().flatten().filter_map(|ip| ip.ip.parse().ok()).collect();
        if over || ips.is_empty() {
            return None;
        }
        let is = |wanted: &str| {
            let mut conditions = status.conditions.iter().flatten();
            conditions.any(|condition| condition.type_ == wanted && condition.status == "True")
        };
        let terminating = memory.stop.is_some();
        let (ready, serving) =
            (is("Ready") && !terminating, is("Ready") || (terminating && is("ContainersReady")));
        Some(Standing { labels: pod.labels.clone(), ips, ready, serving, terminating })
    }
}

/// The pod's own file.
#[derive(Default)]
pub(super) struct OwnFile {
    guardian: OnceLock<Identity>,
    /// What it says, if it is there.
    written: Mutex<Option<Backend>>,
}

impl OwnFile {
    /// From now on the file names this guardian.
    pub(super) fn name(&self, guardian: Identity) {
        let _ = self.guardian.set(guardian);
    }

    /// Whether it says that the pod is ready.
    pub(super) fn says_ready(&self) -> bool {
        self.written().as_ref().is_some_and(|backend| backend.ready)
    }

    /// Makes it say how the pod is, or removes it; gives what it says now.
    ///
    /// # Errors
    /// What could not be written, and why.
    pub(super) fn write(&self, world: &World, own: Option<Standing>) -> Result<Option<Backend>, String> {
        let own = own.map(|own| {
            let Standing { labels: _, ips, ready, serving, terminating } = own;
            let fixed = services::of_pod(&world.pod(), &world.node_name);
            Backend { ips, ready, serving, terminating, guardian: self.guardian.get().copied(), ..fixed }
        });
        let mut written = self.written();
        if own != *written {
            match &own {
                Some(backend) => {
                    let text = serde_json::to_vec(backend).map_err(|error| error.to_string())?;
                    write_atomic(&path(world), &text).map_err(|error| report::chain(&error))?;
                }
                None => withdraw(world),
            }
            written.clone_from(&own);
        }
        Ok(own)
    }

    /// Somebody has removed it.
    pub(super) fn is_gone(&self) {
        *self.written() = None;
    }

    fn written(&self) -> MutexGuard<'_, Option<Backend>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn path(world: &World) -> PathBuf {
    let pod = world.pod();
    world.settings.store.endpoint(&pod.namespace, &pod.name)
}

/// Removes the pod's own file, if it is not another pod's of that name by now.
pub(super) fn withdraw(world: &World) {
    let (path, pod) = (path(world), world.pod());
    let own =
        |text: Vec<u8>| serde_json::from_slice::<Backend>(&text).is_ok_and(|found| found.uid == pod.uid);
    if fs::read(&path).is_ok_and(own) {
        let _ = fs::remove_file(path);
    }
}
