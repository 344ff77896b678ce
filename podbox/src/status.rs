//! What is known of a pod, as a kubelet reports it: [`Memory`] → v1.PodStatus. Pure.

use std::net::IpAddr;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus,
    HostIP, PodCondition, PodIP, PodStatus, ResourceRequirements, VolumeMountStatus,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::pod::{Container, Pod, QosClass, Quantity, Resources, Role, VolumeMount};
use crate::supervisor::machine::{
    DEADLINE_MESSAGE, Exit, Memory, Over, ProcessId, Record, State, Terminated, is_ready, is_waiting, phase,
};

/// What the termination messages of a pod may have together, bytes (kubelet: MaxPodTerminationMessageLogLength).
const MESSAGES: usize = 12 * 1024;

/// The status of a pod on a host with the given addresses (primary first).
#[must_use]
pub fn render(pod: &Pod, memory: &Memory, host_ips: &[IpAddr]) -> PodStatus {
    let ips = memory.sandbox.facts().map(|facts| facts.ips.as_slice()).unwrap_or_default();
    let statuses = |wanted: fn(Role) -> bool| {
        let pairs = pod.containers.iter().zip(&memory.containers);
        pairs
            .enumerate()
            .filter(|(_, (one, _))| wanted(one.role))
            .map(|(index, (one, record))| {
                let status = container(pod, one, record);
                if one.role == Role::Init && record.passed && is_waiting(record) {
                    unseen(status)
                } else if is_lost(pod, memory, index) {
                    lost(status)
                } else {
                    status
                }
            })
            .collect::<Vec<_>>()
    };
    let mut main = statuses(|role| role == Role::Main);
    // As a kubelet sorts them; init containers stay in the order of the spec. Source: kubelet `kubelet_pods.go`
    // (convertToAPIContainerStatuses, SortedContainerStatuses).
    main.sort_by(|one, other| one.name.cmp(&other.name));
    let end = memory.over.filter(|_| memory.finished.is_some()).and_then(|over| match over {
        Over::Completed => None,
        Over::DeadlineExceeded => Some(("DeadlineExceeded", DEADLINE_MESSAGE.to_owned())),
        Over::Evicted => Some(("Evicted", memory.evicted.clone().unwrap_or_default())),
    });
    PodStatus {
        phase: Some(phase(pod, memory).name().to_owned()),
        conditions: Some(memory.conditions.iter().map(condition).collect()),
        host_ip: host_ips.first().map(ToString::to_string),
        host_ips: some_if_any(host_ips.iter().map(|ip| HostIP { ip: ip.to_string() }).collect()),
        pod_ip: ips.first().map(ToString::to_string),
        pod_ips: some_if_any(ips.iter().map(|ip| PodIP { ip: ip.to_string() }).collect()),
        start_time: Some(Time(whole_second(memory.accepted))),
        qos_class: Some(qos(pod.qos).to_owned()),
        init_container_statuses: some_if_any(statuses(|role| role != Role::Main)),
        container_statuses: Some(main),
        reason: end.as_ref().map(|(reason, _)| (*reason).to_owned()),
        message: end.map(|(_, message)| message),
        ..PodStatus::default()
    }
}

/// `status.qosClass`.
#[must_use]
pub fn qos(class: QosClass) -> &'static str {
    match class {
        QosClass::Guaranteed => "Guaranteed",
        QosClass::Burstable => "Burstable",
        QosClass::BestEffort => "BestEffort",
    }
}

/// `containerID` of one attempt: stable, and different for every attempt.
#[must_use]
pub fn container_id(pod: &Pod, record: &Record, attempt: u32) -> String {
    format!("podbox://{}/{}/{attempt}", pod.uid, record.name)
}

fn some_if_any<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

fn whole_second(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

fn condition(condition: &crate::supervisor::machine::Condition) -> PodCondition {
    PodCondition {
        type_: condition.kind.clone(),
        status: condition.status.name().to_owned(),
        last_transition_time: Some(Time(whole_second(condition.since))),
        reason: condition.reason.clone(),
        message: condition.message.clone(),
        ..PodCondition::default()
    }
}

fn container(pod: &Pod, container: &Container, record: &Record) -> ContainerStatus {
    let (state, last) = states(pod, record);
    let started = match &record.state {
        State::Running(run) | State::Stopping { run, .. } => run.started && !is_waiting(record),
        _ => false,
    };
    let shown_attempt = attempt_on_show(record);
    let allocated = requirements(&container.resources);
    let has = process(record).map_or(container.resources, |_| record.applied.unwrap_or_default());
    ContainerStatus {
        name: record.name.clone(),
        image: match &record.image {
            Some(image) => image.reference.clone(),
            None => container.image.clone(),
        },
        image_id: record.image.as_ref().map(|image| image.id.clone()).unwrap_or_default(),
        container_id: shown_attempt.map(|attempt| container_id(pod, record, attempt)),
        restart_count: i32::try_from(shown_attempt.unwrap_or(0)).unwrap_or(i32::MAX),
        ready: is_ready(container.role, record),
        started: Some(started),
        state: Some(state),
        last_state: last.or_else(|| Some(ContainerState::default())),
        allocated_resources: allocated.requests.clone(),
        resources: Some(requirements(&has)).filter(|some| some.limits.is_some() || some.requests.is_some()),
        stop_signal: container.lifecycle.stop_signal.clone(),
        volume_mounts: some_if_any(container.mounts.iter().map(volume_mount).collect()),
        ..ContainerStatus::default()
    }
}

/// What is read-only tells how far down; the kernel can always do what is asked for. Source: kubelet `kubelet_pods.go`
/// (convertToAPIContainerStatuses).
fn volume_mount(mount: &VolumeMount) -> VolumeMountStatus {
    let how_far = if mount.recursive_read_only { "Enabled" } else { "Disabled" };
    VolumeMountStatus {
        name: mount.volume.clone(),
        mount_path: mount.mount_path.clone(),
        read_only: mount.read_only.then_some(true),
        recursive_read_only: mount.read_only.then(|| how_far.to_owned()),
        ..VolumeMountStatus::default()
    }
}

/// Resources as the API writes them.
#[must_use]
pub fn requirements(of: &Resources) -> ResourceRequirements {
    let map = |amounts: [(&str, Option<String>); 5]| {
        let given = amounts.into_iter().filter_map(|(name, text)| Some((name.to_owned(), Text(text?))));
        let map: std::collections::BTreeMap<_, _> = given.collect();
        (!map.is_empty()).then_some(map)
    };
    let bytes = |amount: Option<u64>| amount.map(|bytes| Quantity::of_bytes(bytes).to_string());
    let milli = |amount: Option<u64>| amount.map(|milli| Quantity::of_milli(milli).to_string());
    let of_both = |cpu, memory, storage| {
        map([
            ("cpu", milli(cpu)),
            ("memory", bytes(memory)),
            ("ephemeral-storage", bytes(storage)),
            ("hugepages-2Mi", bytes(of.hugepages_2mi_bytes)),
            ("hugepages-1Gi", bytes(of.hugepages_1gi_bytes)),
        ])
    };
    ResourceRequirements {
        limits: of_both(of.cpu_limit_milli, of.memory_limit_bytes, of.storage_limit_bytes),
        requests: of_both(of.cpu_request_milli, of.memory_request_bytes, of.storage_request_bytes),
        ..ResourceRequirements::default()
    }
}

/// Whether the pod is over and nobody knows any more what this container would have come to: it was not running, and
/// no end of it is shown either. Of the init containers that goes for all up to the last one that has been started, and
/// for the first one anyway. Source: kubelet `status/status_manager.go` (TerminatePod, initializedContainers).
fn is_lost(pod: &Pod, memory: &Memory, index: usize) -> bool {
    let all = || pod.containers.iter().zip(&memory.containers);
    let record = &memory.containers[index];
    let ended = matches!(record.state, State::Exited(_)) || not_yet_replaced(record).is_some();
    memory.finished.is_some()
        && !ended
        && match pod.containers[index].role {
            Role::Main => all().all(|(one, record)| one.role == Role::Main || record.passed),
            Role::Init | Role::Sidecar => {
                let here_or_later = || all().skip(index).filter(|(one, _)| one.role != Role::Main);
                index == 0 || here_or_later().any(|(_, record)| record.ever_started)
            }
        }
}

/// An init container of which only that others have come after it tells that it has ended well. Source: kubelet
/// `kubelet_pods.go` (convertToAPIContainerStatuses).
fn unseen(status: ContainerStatus) -> ContainerStatus {
    let terminated = ContainerStateTerminated {
        reason: Some("Completed".to_owned()),
        message: Some(
            "Unable to get init container status from container runtime and pod has been initialized, treat it as \
             exited normally"
                .to_owned(),
        ),
        ..ContainerStateTerminated::default()
    };
    let state = ContainerState { terminated: Some(terminated), ..ContainerState::default() };
    ContainerStatus { ready: true, state: Some(state), ..status }
}

fn lost(status: ContainerStatus) -> ContainerStatus {
    let terminated = ContainerStateTerminated {
        exit_code: Exit::Unknown.code(),
        reason: Some("ContainerStatusUnknown".to_owned()),
        message: Some("The container could not be located when the pod was terminated".to_owned()),
        ..ContainerStateTerminated::default()
    };
    let state = ContainerState { terminated: Some(terminated), ..ContainerState::default() };
    ContainerStatus { state: Some(state), ..status }
}

/// The run that has ended and whose successor has not been seen to run yet: until then it is what a kubelet shows.
/// A reason to wait beats it.
fn not_yet_replaced(record: &Record) -> Option<&Terminated> {
    record.last.as_ref().filter(|_| is_waiting(record) && record.why.is_none())
}

/// The attempt that ID and count are of: the one that is the state, or for a container that waits the one that is
/// `lastState`. A kubelet moves all of them at once too: it does not look while it makes a container and runs its
/// postStart hook.
fn attempt_on_show(record: &Record) -> Option<u32> {
    if is_waiting(record) { record.last.as_ref().map(|last| last.attempt) } else { Some(record.attempt) }
}

fn states(pod: &Pod, record: &Record) -> (ContainerState, Option<ContainerState>) {
    let past = |run: &Option<Terminated>| run.as_ref().map(|end| terminated(pod, record, end));
    if let Some(last) = not_yet_replaced(record) {
        return (terminated(pod, record, last), past(&record.before));
    }
    let last = past(&record.last);
    let state = match &record.state {
        State::Running(run) | State::Stopping { run, .. } if !is_waiting(record) => ContainerState {
            running: Some(ContainerStateRunning { started_at: Some(Time(whole_second(run.since.wall))) }),
            ..ContainerState::default()
        },
        State::Exited(end) => terminated(pod, record, end),
        _ => waiting(pod, record),
    };
    (state, last)
}

fn waiting(pod: &Pod, record: &Record) -> ContainerState {
    let (reason, message) = match &record.why {
        Some(why) => (why.reason.clone(), Some(why.message.clone())),
        None if pod.has_init_containers() => ("PodInitializing".to_owned(), None),
        None => ("ContainerCreating".to_owned(), None),
    };
    ContainerState {
        waiting: Some(ContainerStateWaiting { reason: Some(reason), message }),
        ..ContainerState::default()
    }
}

fn terminated(pod: &Pod, record: &Record, end: &Terminated) -> ContainerState {
    let signal = match end.exit {
        Exit::Signal(signal) => Some(signal),
        Exit::Code(_) | Exit::Unknown => None,
    };
    ContainerState {
        terminated: Some(ContainerStateTerminated {
            container_id: Some(container_id(pod, record, end.attempt)),
            exit_code: end.exit.code(),
            signal,
            reason: Some(end.reason.clone()),
            message: end.message.as_deref().map(|message| {
                let most = MESSAGES / pod.containers.len().max(1);
                message[..message.floor_char_boundary(most)].to_owned()
            }),
            started_at: end.started.map(|time| Time(whole_second(time))),
            finished_at: Some(Time(whole_second(end.ended.wall))),
        }),
        ..ContainerState::default()
    }
}

/// The first process of a container that has one.
#[must_use]
pub fn process(record: &Record) -> Option<ProcessId> {
    match &record.state {
        State::Created { process } => Some(*process),
        State::Starting(run) | State::Running(run) | State::Stopping { run, .. } => Some(run.process),
        State::Waiting { .. } | State::Pulling | State::Pulled | State::Creating | State::Exited(_) => None,
    }
}
