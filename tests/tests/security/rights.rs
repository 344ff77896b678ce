//! AppArmor, SELinux, kernel parameters, users, groups and capabilities.

use std::path::Path;

use e2e::{Host, pod};

use super::status;

const SLEEP: &str = "  containers: [{name: c, image: podbox.local/toolbox, command: [sleep, infinity]}]\n";

#[test]
fn a_host_without_apparmor_rejects_pods_that_want_it_and_ignores_labels_of_selinux() {
    if Path::new("/sys/module/apparmor").exists() || Path::new("/sys/fs/selinux/enforce").exists() {
        return;
    }
    let host = Host::new();
    let rejected = "AppArmor: Pod was rejected: Cannot enforce AppArmor: AppArmor is not enabled on the host";
    for profile in ["{type: RuntimeDefault}", "{type: Localhost, localhostProfile: mine}"] {
        let manifest = pod("armed", &format!("  securityContext: {{appArmorProfile: {profile}}}\n{SLEEP}"));
        host.try_up(&manifest, &[]).code(1).complains(rejected);
    }
    let annotation = "metadata:\n  annotations: {container.apparmor.security.beta.kubernetes.io/c: runtime/default}\n  name: armed";
    let old = pod("armed", SLEEP).replace("metadata:\n  name: armed", annotation);
    assert!(old.contains("apparmor"), "{old}");
    host.try_up(&old, &[]).code(1).complains(rejected);
    host.expect_nothing_left();
    host.up(&pod(
        "armed",
        &format!(
            "  securityContext: {{appArmorProfile: {{type: Unconfined}}, seLinuxOptions: {{level: 's0:c1,c2'}}}}\n{SLEEP}"
        ),
    ));
    let label =
        "SELinux label system_u:system_r:container_t:s0:c1,c2 is not applied: this kernel has no SELinux";
    assert!(host.events("armed").iter().any(|event| event["message"] == label), "{:?}", host.events("armed"));
    host.finish();
}

#[test]
fn unsafe_kernel_parameters_are_set_only_where_this_host_allows_them() {
    let host = Host::builder().sections("[pods]\nallowed-unsafe-sysctls = [\"kernel.msg*\"]\n").build();
    let manifest = pod(
        "tuned",
        &format!(
            "  securityContext: {{sysctls: [{{name: kernel.msgmax, value: '9000'}}, {{name: net/core/somaxconn, value: '77'}}]}}\n{SLEEP}"
        ),
    );
    let refused = "SysctlForbidden: forbidden sysctl: \"net.core.somaxconn\" not allowlisted";
    let tried = host.try_up(&manifest, &[]).code(1).complains(refused);
    assert!(!tried.stderr.contains("\"kernel.msgmax\""), "{tried}");
    host.try_up(&manifest, &["--allow-unsafe-sysctls", "vm.swappiness"])
        .code(2)
        .complains("the sysctls \"vm.swappiness\" are not known to be namespaced");
    host.expect_nothing_left();
    let up = host.try_up(&manifest, &["--allow-unsafe-sysctls", "net.core.*"]).ok();
    assert!(!up.stderr.contains("kubelet would refuse"), "{up}");
    for (file, value) in [("kernel/msgmax", "9000"), ("net/core/somaxconn", "77")] {
        let path = format!("/proc/sys/{file}");
        assert_eq!(host.exec("tuned", &["cat", &path]).trim(), value, "{file}");
    }
    host.finish();
}

#[test]
fn capabilities_users_and_groups_inside_are_exactly_those_asked_for() {
    let host = Host::new();
    host.up(&pod(
        "exact",
        r"
  securityContext: {runAsUser: 1000, runAsGroup: 0, supplementalGroups: [7, 8], supplementalGroupsPolicy: Strict}
  containers:
  - {name: usual, image: podbox.local/toolbox, command: [sleep, infinity], securityContext: {runAsUser: 0}}
  - name: one
    image: podbox.local/toolbox
    command: [sleep, infinity]
    securityContext: {runAsUser: 0, capabilities: {drop: [all], add: [CAP_SYS_TIME]}}
  - name: user
    image: podbox.local/toolbox
    command: [sleep, infinity]
    securityContext: {capabilities: {add: [NET_ADMIN]}, allowPrivilegeEscalation: true}
  - name: strict
    image: podbox.local/toolbox
    command: [sleep, infinity]
    securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true}
",
    ));
    let get = |container: &str, field: &str| status(&host, "exact", container, field);
    let sets =
        |container: &str| ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"].map(|set| get(container, set));
    let (none, usual) = ("0000000000000000", "00000000a80425fb");
    assert_eq!(sets("usual"), [none, usual, usual, usual, none], "containerd's fourteen");
    let time = "0000000002000000";
    assert_eq!(sets("one"), [none, time, time, time, none]);
    assert_eq!(
        sets("user"),
        [none, none, none, "00000000a80435fb", none],
        "a user has none, but could be given them"
    );
    assert_eq!((get("user", "NoNewPrivs"), get("strict", "NoNewPrivs")), ("0".into(), "1".into()));
    assert_eq!((get("strict", "Groups"), get("strict", "Gid")), ("7 8".into(), "0 0 0 0".into()));
    for path in ["/x", "/etc/x", "/tmp/x"] {
        host.podbox(["exec", "exact", "-c", "strict", "--", "touch", path])
            .complains("Read-only file system");
    }
    host.podbox(["exec", "exact", "-c", "strict", "--", "touch", "/dev/shm/x"]).ok();
    host.finish();
}
