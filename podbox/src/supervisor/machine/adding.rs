//! Ephemeral containers: those that a pod is given while it is there.
//!
//! They stand at the end of the table, begin whatever the others do, and run once. Nothing that the pod comes to depends
//! on them; they end with it. A rule that starts all containers again leaves them alone: whoever looks for the reason
//! should see it. Source: kubelet `kuberuntime_manager.go` (SyncPod, "start ephemeral containers").

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::*;
use crate::pod::Role;

/// A container that a pod has been given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Added {
    /// The container; its role is [`Role::Ephemeral`].
    pub container: Container,
    /// One of `spec.ephemeralContainers`, as it is shown.
    pub object: Value,
}

impl PodMachine {
    /// Gives the pod one more container. One whose name is taken, or that comes too late, is not taken.
    pub(super) fn add(&mut self, now: Now, added: Added) {
        let taken = self.pod.containers.iter().any(|one| one.name == added.container.name);
        if taken || self.is_ending() || added.container.role != Role::Ephemeral {
            return;
        }
        self.memory.containers.push(Record::new(&added.container.name, now));
        self.pod.containers.push(added.container.clone());
        self.memory.added.push(added);
    }

    /// The containers that the Pod was started with.
    pub(super) fn all_but_ephemeral(&self) -> std::ops::Range<Index> {
        0..self.memory.containers.len() - self.memory.added.len()
    }

    /// Whether a new start of all containers is under way, and this one is among them.
    pub(super) fn is_to_begin_anew(&self, index: Index) -> bool {
        self.memory.restart_all.is_some() && self.pod.containers[index].role != Role::Ephemeral
    }
}

impl Memory {
    /// The Pod as it is with all that it has been given.
    #[must_use]
    pub fn complete(&self, mut pod: Pod) -> Pod {
        pod.containers.extend(self.added.iter().map(|added| added.container.clone()));
        pod
    }
}
