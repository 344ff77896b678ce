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

/// The kubelet's refusal of a setting whose name has dots; nothing if it is safe, or `allowed` by this host's patterns.
pub(crate) fn refusal(name: &str, allowed: &[String]) -> Option<String> {
    let matches = |pattern: &String| {
        let pattern = dotted(pattern);
        pattern.strip_suffix('*').map_or(pattern == name, |prefix| name.starts_with(prefix))
    };
    let refused = || format!("SysctlForbidden: forbidden sysctl: \"{name}\" not allowlisted");
    (!SAFE.contains(&name) && !allowed.iter().any(matches)).then(refused)
}

/// Checks a pattern of settings to allow: a name, or a prefix and `*`, of settings that a namespace has of its own.
///
/// # Errors
/// The kubelet's sentence, which then does not start.
pub(crate) fn pattern(text: &str) -> Result<String, String> {
    const NAMESPACED: [&str; 5] = ["kernel.shm", "kernel.msg", "kernel.sem", "fs.mqueue.", "net."];
    let name = dotted(text);
    let stem = name.strip_suffix('*').unwrap_or(&name);
    let known = NAMESPACED.iter().any(|prefix| match *prefix {
        "kernel.sem" => stem == *prefix,
        _ => stem.starts_with(prefix),
    });
    if stem.is_empty() || stem.contains('*') || !known {
        return Err(format!("the sysctls {text:?} are not known to be namespaced"));
    }
    Ok(text.to_owned())
}

/// A setting's name with dots. A manifest may write it with slashes.
pub(crate) fn dotted(name: &str) -> String {
    name.replace('/', ".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsafe_settings_are_refused_unless_a_pattern_allows_them() {
        let allowed = ["net.core.*".to_owned(), "kernel/msgmax".to_owned()];
        for name in ["net.core.somaxconn", "kernel.msgmax", "net.ipv4.tcp_syncookies"] {
            assert_eq!(refusal(name, &allowed), None, "{name}");
        }
        for name in ["net.ipv4.ip_forward", "kernel.msgmnb"] {
            let expected = format!("SysctlForbidden: forbidden sysctl: \"{name}\" not allowlisted");
            assert_eq!(refusal(name, &allowed), Some(expected));
        }
    }

    #[test]
    fn only_settings_that_a_namespace_has_of_its_own_can_be_allowed() {
        for right in ["net.*", "net.core.somaxconn", "kernel.msg*", "kernel.shm_rmid_forced", "kernel.sem"] {
            assert!(pattern(right).is_ok(), "{right}");
        }
        for wrong in ["", "*", "kernel.*", "vm.swappiness", "net.*.x", "kernel.semaphore", "fs.file-max"] {
            assert!(pattern(wrong).is_err(), "{wrong}");
        }
    }
}
