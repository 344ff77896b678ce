//! seccomp.

use std::fs;

use e2e::{Host, pod};

use super::status;

/// A profile as docker writes it: mkdir is refused, but not where a capability or another machine excuses it.
const NO_MKDIR: &str = r#"{
    "defaultAction": "SCMP_ACT_ALLOW",
    "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}],
    "syscalls": [
        {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28,
         "excludes": {"caps": ["CAP_SYS_ADMIN"]}},
        {"names": ["read"], "action": "SCMP_ACT_KILL", "includes": {"arches": ["s390x"]}}
    ]
}"#;

fn profile(host: &Host, name: &str, text: &str) {
    let path = host.root_dir().join("seccomp").join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

#[test]
fn the_default_profile_takes_dangerous_calls_from_everything_that_runs_in_a_container() {
    let host = Host::new();
    host.up_ready(&pod(
        "filtered",
        r"
  securityContext: {seccompProfile: {type: RuntimeDefault}}
  terminationGracePeriodSeconds: 2
  containers:
  - name: pods
    image: podbox.local/host
    command: [sh, -c, 'trap exit TERM; while :; do sleep 0.1; done']
    readinessProbe: {exec: {command: [sh, -c, 'grep -q Seccomp:.*2 /proc/self/status && ! unshare --mount true']}}
    lifecycle: {preStop: {exec: {command: [sh, -c, '! unshare --mount true']}}}
  - name: admin
    image: podbox.local/host
    command: [sleep, infinity]
    securityContext: {capabilities: {add: [SYS_ADMIN]}}
  - name: unconfined
    image: podbox.local/host
    command: [sleep, infinity]
    securityContext: {seccompProfile: {type: Unconfined}}
  - name: privileged
    image: podbox.local/host
    command: [sleep, infinity]
    securityContext: {privileged: true, seccompProfile: {type: RuntimeDefault}}
",
    ));
    let filters =
        ["pods", "admin", "unconfined", "privileged"].map(|c| status(&host, "filtered", c, "Seccomp"));
    assert_eq!(filters, ["2", "2", "0", "0"]);
    let run = |container: &str, script: &str| {
        host.podbox(["exec", "filtered", "-c", container, "--", "sh", "-c", script])
    };
    run("pods", "unshare --user true").complains("Operation not permitted");
    run("pods", "setarch --addr-no-randomize true").complains("Operation not permitted");
    run("pods", "mkdir /x && (sleep 0 & wait) && getent hosts localhost").ok();
    // What comes with a capability; and what no capability brings.
    run("admin", "unshare --mount true").ok();
    let keyctl = "perl -e 'syscall(250, 0, -3, 0) >= 0 and exit 1; exit($! == 1 ? 0 : 2)'";
    for container in ["pods", "admin"] {
        run(container, keyctl).ok();
    }
    run("unconfined", keyctl).code(1);
    // Newer than the profile: there is no such call.
    run("pods", "perl -e 'syscall(2000); exit($! == 38 ? 0 : 1)'").ok();
    host.finish();
}

#[test]
fn a_profile_of_the_host_is_applied_and_dockers_conditions_in_it() {
    let host = Host::new();
    profile(&host, "deep/no-mkdir.json", NO_MKDIR);
    let context = "seccompProfile: {type: Localhost, localhostProfile: deep/no-mkdir.json}";
    host.up(&pod(
        "local",
        &format!(
            r"
  containers:
  - name: plain
    image: podbox.local/toolbox
    command: [sleep, infinity]
    securityContext: {{{context}, runAsUser: 1000, allowPrivilegeEscalation: false}}
  - name: admin
    image: podbox.local/toolbox
    command: [sleep, infinity]
    securityContext: {{{context}, capabilities: {{add: [SYS_ADMIN]}}}}
"
        ),
    ));
    let mkdir = |container: &str| host.podbox(["exec", "local", "-c", container, "--", "mkdir", "/tmp/x"]);
    mkdir("plain").code(1).complains("No space left on device");
    mkdir("admin").ok();
    assert_eq!(status(&host, "local", "plain", "Seccomp"), "2");
    host.finish();
}

#[test]
fn a_profile_that_is_missing_or_none_is_an_error_of_the_container_in_containerds_words() {
    let host = Host::new();
    profile(&host, "broken.json", "{\"defaultAction\": \"SCMP_ACT_PERHAPS\"}");
    let with = |name: &str| {
        pod(
            "local",
            &format!(
                "  securityContext: {{seccompProfile: {{type: Localhost, localhostProfile: {name}}}}}\n  containers: [{{name: c, image: podbox.local/toolbox, command: [sleep, infinity]}}]\n"
            ),
        )
    };
    let directory = host.root_dir().join("seccomp");
    let path = |name: &str| directory.join(name).display().to_string();
    host.try_up(&with("none.json"), &[]).code(3).complains("CreateContainerError").complains(&format!(
        "failed to create containerd container: cannot load seccomp profile \"{0}\": open {0}: no such file or directory",
        path("none.json")
    ));
    host.try_up(&with("broken.json"), &[])
        .code(3)
        .complains(&format!("decoding seccomp profile failed \"{}\"", path("broken.json")));
    host.expect_nothing_left();
    host.finish();
}
