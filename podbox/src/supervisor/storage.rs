//! How much of the host's disk the containers of a pod take, and whether that is more than they may.
//!
//! Only pods whose containers have a limit are measured. Source: kubelet `eviction/eviction_manager.go`
//! (podEphemeralStorageLimitEviction, containerEphemeralStorageLimitEviction).

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::oci;
use crate::pod::{Pod, Quantity, Role, VolumeSource};
use crate::store::PodDir;
use crate::volumes::usage::bytes_below;

/// Whether any container has a limit.
pub(super) fn has_limits(pod: &Pod) -> bool {
    pod.containers.iter().any(|container| container.resources.storage_limit_bytes.is_some())
}

/// Why the pod has to go, in a kubelet's words, if it has more on the disk than its containers may have. Takes as long as
/// a walk takes.
pub(super) fn over_limit(pod: &Pod, dir: &PodDir) -> Option<String> {
    has_limits(pod).then(|| excess(pod, &Used::of(pod, dir))).flatten()
}

/// What a pod has on the disk, bytes.
#[derive(Debug, Default)]
struct Used {
    /// Writable layer and logs of each container.
    containers: BTreeMap<String, u64>,
    /// Of volumes that are the pod's own.
    volumes: u64,
}

impl Used {
    fn of(pod: &Pod, dir: &PodDir) -> Used {
        let logs = dir.logs(&pod.namespace, &pod.name, &pod.uid);
        let mut used = Used::default();
        for container in &pod.containers {
            used.containers.insert(container.name.clone(), on_disk(&logs.join(&container.name)));
        }
        for entry in fs::read_dir(dir.layers()).into_iter().flatten().flatten() {
            // One attempt's: CONTAINER.NUMBER, and a container's name has no dots.
            let name = entry.file_name().to_string_lossy().into_owned();
            let container = name.split('.').next().unwrap_or_default();
            if let Some(bytes) = used.containers.get_mut(container) {
                *bytes += on_disk(&entry.path());
            }
        }
        let on_a_disk =
            |source: &VolumeSource| matches!(source, VolumeSource::EmptyDir { memory: false, .. });
        let volumes = pod.volumes.iter().filter(|volume| on_a_disk(&volume.source));
        used.volumes = volumes.map(|volume| on_disk(&dir.volume(&volume.name))).sum();
        used
    }
}

/// What is to be said of a pod that has more than it may; `None` if it has not.
fn excess(pod: &Pod, used: &Used) -> Option<String> {
    let total = used.containers.values().sum::<u64>() + used.volumes;
    let limit = oci::together(pod, |one| Some(one.storage_limit_bytes.unwrap_or(0)));
    if let Some(limit) = limit.filter(|limit| total > *limit) {
        let limit = Quantity::of_bytes(limit);
        return Some(format!(
            "Pod ephemeral local storage usage exceeds the total limit of containers {limit}. "
        ));
    }
    let over = pod.containers.iter().filter(|container| container.role != Role::Init).find_map(|container| {
        let limit = container.resources.storage_limit_bytes.filter(|limit| *limit != 0)?;
        (used.containers.get(&container.name)? > &limit).then(|| (&container.name, Quantity::of_bytes(limit)))
    });
    over.map(|(name, limit)| {
        format!("Container {name} exceeded its local ephemeral storage limit \"{limit}\". ")
    })
}

fn on_disk(path: &Path) -> u64 {
    bytes_below(path).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(spec: &str) -> Pod {
        let text = format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec:\n{spec}");
        let source = crate::manifest::Source::new("p", text);
        let loaded = crate::manifest::load(&[source], &crate::manifest::Options::default());
        loaded.unwrap_or_else(|why| panic!("{why}")).pods.remove(0).pod
    }

    #[test]
    fn a_container_over_its_limit_and_a_pod_over_the_sum_are_told_in_a_kubelets_words() {
        let pod = pod("  containers:
  - {name: a, image: i, resources: {limits: {ephemeral-storage: 1Mi}}}
  - {name: b, image: i, resources: {limits: {ephemeral-storage: 2Mi}}}");
        let used = |a: u64, b: u64, volumes: u64| Used {
            containers: [("a".to_owned(), a << 20), ("b".to_owned(), b << 20)].into(),
            volumes: volumes << 20,
        };
        assert_eq!(excess(&pod, &used(1, 2, 0)), None);
        assert_eq!(
            excess(&pod, &used(2, 1, 0)).as_deref(),
            Some("Container a exceeded its local ephemeral storage limit \"1Mi\". ")
        );
        assert_eq!(
            excess(&pod, &used(1, 1, 2)).as_deref(),
            Some("Pod ephemeral local storage usage exceeds the total limit of containers 3Mi. ")
        );
    }

    #[test]
    fn only_pods_with_a_limit_are_measured() {
        assert!(!has_limits(&pod("  containers: [{name: a, image: i, resources: {limits: {cpu: 1}}}]")));
        assert!(!has_limits(&pod(
            "  containers: [{name: a, image: i, resources: {requests: {ephemeral-storage: 1Mi}}}]"
        )));
    }
}
