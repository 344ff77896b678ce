//! What keeps a pod in: filters of system calls, user namespaces, profiles, kernel parameters, rights.

use std::fs;

use e2e::Host;

mod calls;
mod rights;
mod users;

/// One line of a container's /proc/PID/status, as the host sees it.
fn status(host: &Host, pod: &str, container: &str, field: &str) -> String {
    let pid = host.container_process(pod, container);
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')).unwrap_or_default();
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}
