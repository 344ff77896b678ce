//! What pods may take of the host, what they take, and how both change while they run.

use std::fs;

use e2e::PodView;

mod changing;
mod devices;
mod limits;
mod resizing;
mod top;

/// A control file of a cgroup of the pod: of one attempt of a container, or of the pod itself (`""`).
fn cgroup_file(view: &PodView, attempt: &str, file: (&str, &str)) -> String {
    let class = match view.text("status.qosClass") {
        "Burstable" => "burstable/",
        "BestEffort" => "besteffort/",
        _ => "",
    };
    let below = format!("podbox/{class}pod{}/{attempt}", view.text("metadata.uid"));
    let controller = file.0.split('.').next().unwrap_or_default();
    let of_v1 = fs::read_to_string(format!("/sys/fs/cgroup/{controller}/{below}/{}", file.0));
    let text = of_v1.or_else(|_| fs::read_to_string(format!("/sys/fs/cgroup/{below}/{}", file.1)));
    text.unwrap_or_else(|error| panic!("{file:?} of {below}: {error}")).trim().to_owned()
}

/// The limit of its memory, MiB.
fn memory(view: &PodView, attempt: &str) -> u64 {
    cgroup_file(view, attempt, ("memory.limit_in_bytes", "memory.max")).parse::<u64>().unwrap() >> 20
}

/// The limit of its processor time, thousandths of a core.
fn cpu(view: &PodView, attempt: &str) -> u64 {
    let text = cgroup_file(view, attempt, ("cpu.cfs_quota_us", "cpu.max"));
    text.split_whitespace().next().unwrap().parse::<u64>().unwrap() / 100
}
