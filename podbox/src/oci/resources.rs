//! cgroup paths and limits, and the order in which the kernel kills for memory: a kubelet's arithmetic.
//!
//! Source: kubelet `cm/helpers_linux.go`, `qos/policy.go`.

use std::path::PathBuf;

use oci_spec::runtime::{
    LinuxCpuBuilder, LinuxHugepageLimit, LinuxHugepageLimitBuilder, LinuxMemoryBuilder, LinuxResources,
    LinuxResourcesBuilder,
};

use crate::pod::{Container, Pod, QosClass, Resources, Role};

const PERIOD_US: u64 = 100_000;
const MIN_QUOTA_US: u64 = 1_000;
const MIN_SHARES: u64 = 2;
const MAX_SHARES: u64 = 262_144;

/// The pod's cgroup: Guaranteed pods lie at the top, the others below their class.
#[must_use]
pub fn pod_path(pod: &Pod) -> PathBuf {
    let class = match pod.qos {
        QosClass::Guaranteed => "/podbox",
        QosClass::Burstable => "/podbox/burstable",
        QosClass::BestEffort => "/podbox/besteffort",
    };
    PathBuf::from(class).join(format!("pod{}", pod.uid))
}

/// What is set in the cgroup of a whole class: pods that ask for nothing share the least there is.
///
/// Source: kubelet `cm/qos_container_manager_linux.go`.
#[must_use]
pub fn class_limits(class: QosClass) -> Option<LinuxResources> {
    (class == QosClass::BestEffort).then(|| limits(0, None, None))
}

/// The cgroup of one attempt of one container.
#[must_use]
pub fn container_path(pod: &Pod, container: &str, attempt: u32) -> PathBuf {
    pod_path(pod).join(format!("{container}-{attempt}"))
}

/// What a container may have: where it has no limit of its own, that of the pod as a whole is its limit too.
///
/// Source: kubelet `kuberuntime_container_linux.go` (getCPULimit, getMemoryLimit).
#[must_use]
pub fn effective(pod: &Pod, container: &Container) -> Resources {
    let own = container.resources;
    let whole = pod.resources.unwrap_or_default();
    Resources {
        cpu_limit_milli: own.cpu_limit_milli.or(whole.cpu_limit_milli),
        memory_limit_bytes: own.memory_limit_bytes.or(whole.memory_limit_bytes),
        ..own
    }
}

/// A container's limits.
#[must_use]
pub fn container_limits(pod: &Pod, container: &Container) -> LinuxResources {
    let resources = effective(pod, container);
    let mut made = limits(
        resources.cpu_request_milli.or(resources.cpu_limit_milli).unwrap_or(0),
        resources.cpu_limit_milli,
        resources.memory_limit_bytes,
    );
    made.set_hugepage_limits(huge_pages(pod, &resources));
    made
}

/// In a pod that uses huge pages everybody has only those that it asks for; elsewhere nothing is limited, since a
/// program has to know of huge pages to use them at all, and a limit costs every start.
fn huge_pages(pod: &Pod, of: &Resources) -> Option<Vec<LinuxHugepageLimit>> {
    let sizes = |one: &Resources| [("2MB", one.hugepages_2mi_bytes), ("1GB", one.hugepages_1gi_bytes)];
    let all = pod.containers.iter().map(|container| &container.resources).chain(&pod.resources);
    if !all.flat_map(sizes).any(|(_, bytes)| bytes.is_some()) {
        return None;
    }
    let limit = |(size, bytes): (&str, Option<u64>)| {
        let bytes = i64::try_from(bytes.unwrap_or(0)).unwrap_or(i64::MAX);
        LinuxHugepageLimitBuilder::default().page_size(size).limit(bytes).build().ok()
    };
    Some(sizes(of).into_iter().filter_map(limit).collect())
}

/// The limits of the cgroup around all containers: what the pod says of itself, or else what they request together, and
/// what they may have together, which is limited only if every container is.
///
/// Init containers come before the main ones, so only the largest counts, with the sidecars that run beside it.
/// Source: `component-helpers/resource/helpers.go` (PodRequests, PodLimits).
#[must_use]
pub fn pod_limits(pod: &Pod) -> LinuxResources {
    let request = |one: &Resources| Some(one.cpu_request_milli.or(one.cpu_limit_milli).unwrap_or(0));
    let whole = pod.resources.unwrap_or_default();
    let mut made = limits(
        whole.cpu_request_milli.or_else(|| together(pod, request)).unwrap_or(0),
        whole.cpu_limit_milli.or_else(|| together(pod, |one| one.cpu_limit_milli)),
        whole.memory_limit_bytes.or_else(|| together(pod, |one| one.memory_limit_bytes)),
    );
    let pages = |of: fn(&Resources) -> Option<u64>| {
        of(&whole).or_else(|| together(pod, |one| Some(of(one).unwrap_or(0))))
    };
    let pages = Resources {
        hugepages_2mi_bytes: pages(|one| one.hugepages_2mi_bytes),
        hugepages_1gi_bytes: pages(|one| one.hugepages_1gi_bytes),
        ..Resources::default()
    };
    made.set_hugepage_limits(huge_pages(pod, &pages));
    made
}

/// The most of a resource that the pod's containers can have at one time; `None` if one of them has no amount.
pub(crate) fn together(pod: &Pod, amount: impl Fn(&Resources) -> Option<u64>) -> Option<u64> {
    let (mut sidecars, mut beside, mut main) = (0_u64, 0, 0);
    for container in &pod.containers {
        let amount = amount(&container.resources)?;
        match container.role {
            Role::Init => beside = beside.max(sidecars + amount),
            Role::Sidecar => {
                sidecars += amount;
                beside = beside.max(sidecars);
            }
            Role::Main => main += amount,
        }
    }
    Some(beside.max(sidecars + main))
}

fn limits(request_milli: u64, limit_milli: Option<u64>, memory_bytes: Option<u64>) -> LinuxResources {
    let shares = (request_milli * 1024 / 1000).clamp(MIN_SHARES, MAX_SHARES);
    let mut cpu = LinuxCpuBuilder::default().shares(shares);
    if let Some(limit) = limit_milli {
        let quota = (limit * PERIOD_US / 1000).max(MIN_QUOTA_US);
        cpu = cpu.quota(i64::try_from(quota).unwrap_or(i64::MAX)).period(PERIOD_US);
    }
    let mut resources = LinuxResourcesBuilder::default();
    if let Ok(cpu) = cpu.build() {
        resources = resources.cpu(cpu);
    }
    if let Some(bytes) = memory_bytes {
        let memory = LinuxMemoryBuilder::default().limit(i64::try_from(bytes).unwrap_or(i64::MAX)).build();
        if let Ok(memory) = memory {
            resources = resources.memory(memory);
        }
    }
    resources.build().unwrap_or_default()
}

/// A container's `oom_score_adj`: the smaller, the later the kernel kills it. A sidecar never goes before the main
/// containers that it serves.
pub(super) fn oom_score_adj(pod: &Pod, container: &Container, node_memory_bytes: u64) -> i32 {
    let spare = unassigned_memory(pod);
    let of = |one: &Container| {
        let request = one.resources.memory_request_bytes.unwrap_or(0) + spare;
        score_of(pod.qos, Some(request), node_memory_bytes)
    };
    match container.role {
        Role::Sidecar => pod.main_containers().map(of).fold(of(container), i32::min),
        Role::Init | Role::Main => of(container),
    }
}

/// What each container counts beside its own request: its part of what the pod requests as a whole and no container
/// requests. Source: kubelet `qos/policy.go` (remainingPodMemReqPerContainer).
fn unassigned_memory(pod: &Pod) -> u64 {
    let Some(whole) = pod.resources.and_then(|whole| whole.memory_request_bytes) else { return 0 };
    let assigned = together(pod, |one| Some(one.memory_request_bytes.unwrap_or(0))).unwrap_or(0);
    let stay = pod.containers.iter().filter(|container| container.role != Role::Init).count();
    whole.saturating_sub(assigned) / u64::try_from(stay.max(1)).unwrap_or(1)
}

fn score_of(class: QosClass, memory_request_bytes: Option<u64>, node_memory_bytes: u64) -> i32 {
    match class {
        QosClass::Guaranteed => -997,
        QosClass::BestEffort => 1000,
        QosClass::Burstable => {
            let request = u128::from(memory_request_bytes.unwrap_or(0));
            let share = 1000 * request / u128::from(node_memory_bytes.max(1));
            let adjust = 1000 - i32::try_from(share.min(1000)).unwrap_or(1000);
            if adjust == 1000 { 999 } else { adjust.max(3) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_quota_follow_requests_and_limits() {
        for (request, limit, shares, quota) in [
            (0, None, 2, None),
            (500, None, 512, None),
            (1, None, 2, None),
            (2000, Some(250), 2048, Some(25_000)),
            (0, Some(1), 2, Some(1_000)),
        ] {
            let resources = limits(request, limit, None);
            let cpu = resources.cpu().clone().unwrap();
            assert_eq!(cpu.shares(), Some(shares));
            assert_eq!(cpu.quota(), quota);
        }
    }

    #[test]
    fn only_the_class_that_asks_for_nothing_is_held_back_as_a_whole() {
        let shares = |class| class_limits(class).and_then(|limits| limits.cpu().as_ref()?.shares());
        assert_eq!(shares(QosClass::BestEffort), Some(2));
        assert_eq!([QosClass::Burstable, QosClass::Guaranteed].map(shares), [None, None]);
    }

    #[test]
    fn oom_scores_follow_the_class_and_the_request() {
        let gib = 1 << 30;
        assert_eq!(score_of(QosClass::Guaranteed, Some(1), gib), -997);
        assert_eq!(score_of(QosClass::BestEffort, None, gib), 1000);
        assert_eq!(score_of(QosClass::Burstable, None, gib), 999);
        assert_eq!(score_of(QosClass::Burstable, Some(gib / 4), gib), 750);
        assert_eq!(score_of(QosClass::Burstable, Some(gib), gib), 3);
    }

    /// The pod's shares (requests in thousandths times 1.024) and memory limit in MiB, of containers `(role, cpu,
    /// MiB)`.
    fn together_of(containers: &str) -> (Option<u64>, Option<i64>) {
        let text = format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec:\n{}",
            containers
                .replace("CPU", "resources: {limits: {memory: MEM}, requests: {cpu")
                .replace("MEM", "10Mi")
        );
        let source = crate::manifest::Source::new("p", text);
        let loaded = crate::manifest::load(&[source], &crate::manifest::Options::default());
        let limits = pod_limits(&loaded.unwrap_or_else(|why| panic!("{why}")).pods[0].pod);
        let memory = limits.memory().as_ref().and_then(oci_spec::runtime::LinuxMemory::limit);
        (limits.cpu().as_ref().and_then(oci_spec::runtime::LinuxCpu::shares), memory.map(|bytes| bytes >> 20))
    }

    fn pod_of(spec: &str) -> Pod {
        let text = format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec:\n{spec}");
        let source = crate::manifest::Source::new("p", text);
        let loaded = crate::manifest::load(&[source], &crate::manifest::Options::default());
        loaded.unwrap_or_else(|why| panic!("{why}")).pods.remove(0).pod
    }

    #[test]
    fn what_a_pod_may_have_as_a_whole_is_the_limit_of_all_who_have_none() {
        let pod = pod_of(
            "  resources: {requests: {cpu: 1, memory: 512Mi}, limits: {cpu: 2, memory: 1Gi}}
  containers:
  - {name: a, image: i, resources: {requests: {memory: 256Mi}, limits: {cpu: 500m}}}
  - {name: b, image: i}",
        );
        let numbers = |limits: &LinuxResources| {
            let cpu = limits.cpu().clone().unwrap();
            let memory = limits.memory().as_ref().and_then(oci_spec::runtime::LinuxMemory::limit);
            (cpu.shares(), cpu.quota(), memory.map(|bytes| bytes >> 20))
        };
        assert_eq!(numbers(&pod_limits(&pod)), (Some(1024), Some(200_000), Some(1024)));
        let of = |index: usize| numbers(&container_limits(&pod, &pod.containers[index]));
        assert_eq!(of(0), (Some(512), Some(50_000), Some(1024)));
        assert_eq!(of(1), (Some(2048), Some(200_000), Some(1024)));
        assert_eq!(pod.qos, QosClass::Burstable);
        // 256 MiB are nobody's: 128 MiB count for each.
        let scores: Vec<i32> = pod.containers.iter().map(|one| oom_score_adj(&pod, one, 1 << 30)).collect();
        assert_eq!(scores, [625, 875]);
    }

    #[test]
    fn nobody_has_huge_pages_of_a_pod_that_does_not_ask_for_them() {
        let pod = pod_of(
            "  containers:
  - {name: a, image: i, resources: {limits: {cpu: 1, hugepages-2Mi: 4Mi}}}
  - {name: b, image: i}",
        );
        let pages = |limits: LinuxResources| {
            let all = limits.hugepage_limits().clone().unwrap_or_default();
            all.iter().map(|one| (one.page_size().clone(), one.limit() >> 20)).collect::<Vec<_>>()
        };
        let both = |two, one| vec![("2MB".to_owned(), two), ("1GB".to_owned(), one)];
        assert_eq!(pages(container_limits(&pod, &pod.containers[0])), both(4, 0));
        assert_eq!(pages(container_limits(&pod, &pod.containers[1])), both(0, 0));
        assert_eq!(pages(pod_limits(&pod)), both(4, 0));
        let plain = pod_of("  containers: [{name: a, image: i}]");
        assert_eq!(container_limits(&plain, &plain.containers[0]).hugepage_limits(), &None);
    }

    #[test]
    fn a_sidecar_is_killed_no_sooner_than_the_main_containers() {
        let text = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:
  initContainers:
  - {name: s, image: i, restartPolicy: Always, resources: {requests: {memory: 64Mi}}}
  containers:
  - {name: a, image: i, resources: {requests: {memory: 256Mi}}}
  - {name: b, image: i}";
        let source = crate::manifest::Source::new("p", text);
        let loaded = crate::manifest::load(&[source], &crate::manifest::Options::default()).unwrap();
        let pod = &loaded.pods[0].pod;
        let scores: Vec<i32> = pod.containers.iter().map(|one| oom_score_adj(pod, one, 1 << 30)).collect();
        assert_eq!(scores, [750, 750, 999]);
    }

    #[test]
    fn a_pod_requests_the_most_that_it_has_at_one_time() {
        let sidecar = "{name: s, image: i, restartPolicy: Always, CPU: 250m}}}";
        let main = "  containers: [{name: a, image: i, CPU: 250m}}}, {name: b, image: i, CPU: 250m}}}]";
        for (init, shares, memory) in [
            (String::new(), 512, 20),
            ("{name: i, image: i, CPU: 250m}}}".to_owned(), 512, 20),
            ("{name: i, image: i, CPU: 1000m}}}".to_owned(), 1024, 20),
            // The sidecar stays beside the main containers, and beside the init containers after it.
            (sidecar.to_owned(), 768, 30),
            (format!("{sidecar}, {{name: i, image: i, CPU: 1000m}}}}}}"), 1280, 30),
            (format!("{{name: i, image: i, CPU: 1000m}}}}}}, {sidecar}"), 1024, 30),
        ] {
            let spec = format!("  initContainers: [{init}]\n{main}");
            assert_eq!(together_of(&spec), (Some(shares), Some(memory)), "{init}");
        }
        let without = "  initContainers: [{name: i, image: i}]\n".to_owned() + main;
        assert_eq!(together_of(&without), (Some(512), None), "one without a limit lifts the pod's");
    }
}
