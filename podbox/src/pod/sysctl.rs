//! Kernel settings of a pod, and which of them a kubelet lets it have.

/// Settings that a kubelet allows without being told to: they cannot harm other pods or the host.
const SAFE: [&str; 12] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
];

/// The kubelet's refusal of a setting whose name has dots; nothing if it allows it.
pub(crate) fn refusal(name: &str) -> Option<String> {
    let refused = || format!("SysctlForbidden: forbidden sysctl: \"{name}\" not allowlisted");
    (!SAFE.contains(&name)).then(refused)
}

/// A setting's name with dots. A manifest may write it with slashes.
pub(crate) fn dotted(name: &str) -> String {
    name.replace('/', ".")
}
