//! Which namespaces containers share with each other and with the host.

use std::fs;

use e2e::{Host, pod};

use super::sleeper;

/// The namespace of a container's first process.
fn namespace(host: &Host, pod: &str, container: &str, kind: &str) -> String {
    let pid = host.container_process(pod, container);
    fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap().to_string_lossy().into_owned()
}

fn own_namespace(kind: &str) -> String {
    fs::read_link(format!("/proc/self/ns/{kind}")).unwrap().to_string_lossy().into_owned()
}

#[test]
fn containers_share_net_ipc_and_uts_and_have_their_own_mount_pid_and_cgroup_namespaces() {
    let host = Host::new();
    host.up(&pod(
        "ns",
        r"
  containers:
  - {name: a, image: podbox.local/toolbox, command: [sleep, infinity]}
  - {name: b, image: podbox.local/toolbox, command: [sleep, infinity]}
",
    ));
    for kind in ["net", "ipc", "uts"] {
        assert_eq!(namespace(&host, "ns", "a", kind), namespace(&host, "ns", "b", kind), "{kind}");
        assert_ne!(namespace(&host, "ns", "a", kind), own_namespace(kind), "{kind}");
    }
    for kind in ["mnt", "pid", "cgroup"] {
        assert_ne!(namespace(&host, "ns", "a", kind), namespace(&host, "ns", "b", kind), "{kind}");
        assert_ne!(namespace(&host, "ns", "a", kind), own_namespace(kind), "{kind}");
    }
    let processes = host.exec("ns", &["ps"]);
    assert!(processes.contains("sleep") && processes.lines().count() <= 3, "{processes}");
    // One /dev/shm for the pod.
    host.podbox(["exec", "ns", "-c", "a", "--", "touch", "/dev/shm/here"]).ok();
    host.podbox(["exec", "ns", "-c", "b", "--", "test", "-f", "/dev/shm/here"]).ok();
    host.finish();
}

#[test]
fn with_a_shared_process_namespace_containers_see_each_other_and_nobody_is_left() {
    let host = Host::new();
    host.up(&pod(
        "shared",
        r"
  shareProcessNamespace: true
  containers:
  - {name: a, image: podbox.local/toolbox, command: [sleep, '1001']}
  - {name: b, image: podbox.local/toolbox, command: [sleep, '1002']}
",
    ));
    let processes = host.exec("shared", &["ps"]);
    assert!(processes.contains("1001") && processes.contains("1002"), "{processes}");
    assert_eq!(namespace(&host, "shared", "a", "pid"), namespace(&host, "shared", "b", "pid"));
    // One container's end is not the other's.
    host.kill(host.container_process("shared", "a"));
    let view = host.wait_pod("shared", "a restart of a", |pod| pod.container("a")["restartCount"] == 1);
    assert_eq!(view.container("b")["restartCount"], 0);
    host.down(&["shared", "--grace-period", "1"]);
    host.finish();
}

#[test]
fn host_network_host_pid_and_host_ipc_are_the_hosts_own() {
    let host = Host::new();
    let port = host.port(0);
    let manifest = pod(
        "naked",
        r"
  hostNetwork: true
  hostPID: true
  hostIPC: true
  containers:
  - {name: c, image: podbox.local/toolbox, command: [http, --port, 'PORT']}
",
    )
    .replace("PORT", &port.to_string());
    host.up(&manifest);
    for kind in ["net", "pid", "ipc"] {
        assert_eq!(namespace(&host, "naked", "c", kind), own_namespace(kind), "{kind}");
    }
    let url = format!("127.0.0.1:{port}/healthz");
    host.cmd(["toolbox", "get", "--retry", "50", "--retry-delay", "100ms", &url]).run().ok();
    let view = host.pod("naked");
    assert_eq!(view.ip(), view.text("status.hostIP"));
    assert!(
        host.exec("naked", &["cat", "/etc/hosts"])
            .starts_with("# Kubernetes-managed hosts file (host network).")
    );
    assert!(host.exec("naked", &["ps"]).lines().count() > 3, "the host's processes should be there");
    host.finish();
}

#[test]
fn sysctls_of_the_sandbox_are_set() {
    let host = Host::new();
    host.up(&sleeper(
        "tuned",
        "podbox.local/toolbox",
        "  securityContext: {sysctls: [{name: net.ipv4.ip_unprivileged_port_start, value: '80'}]}",
    ));
    assert_eq!(host.exec("tuned", &["cat", "/proc/sys/net/ipv4/ip_unprivileged_port_start"]), "80");
    host.finish();
}

#[test]
fn a_user_without_rights_may_serve_on_port_80_of_the_pods_own_network() {
    let host = Host::new();
    let server = "  securityContext: {runAsUser: 1000}
  containers:
  - name: c
    image: podbox.local/toolbox
    command: [http, --port, '80']
    securityContext: {capabilities: {drop: [ALL]}}
    readinessProbe: {httpGet: {path: /, port: 80}, periodSeconds: 1}";
    host.up_ready(&pod("low", server));
    let groups = host.exec("low", &["cat", "/proc/sys/net/ipv4/ping_group_range"]);
    assert_eq!(groups.split_whitespace().collect::<Vec<_>>(), ["0", "2147483647"]);
    host.finish();
}
