//! Devices by the Container Device Interface.

use std::fs;

use e2e::{Host, pod};

const DEVICES: &str = r"
cdiVersion: 0.8.0
kind: vendor.com/dev
containerEdits: {env: [VENDOR=yes]}
devices:
- name: zero
  containerEdits:
    env: [DEVICE=zero]
    deviceNodes: [{path: /dev/vendor0, hostPath: /dev/kmsg, permissions: r}]
- name: other
  containerEdits:
    env: [DEVICE=other]
    mounts: [{hostPath: /proc/version, containerPath: /vendor/version, options: [ro]}]
- name: hooked
  containerEdits: {hooks: [{hookName: createContainer, path: /bin/true}]}
";

fn host() -> Host {
    let host = Host::builder().devices().build();
    fs::write(host.dir().join("cdi/vendor.yaml"), DEVICES).unwrap();
    host
}

fn asking(name: &str, count: u32) -> String {
    pod(
        name,
        &format!(
            "  containers:\n  - {{name: c, image: podbox.local/toolbox, command: [sleep, infinity], resources: {{limits: {{vendor.com/dev: {count}}}}}}}"
        ),
    )
}

#[test]
fn devices_are_given_out_one_pod_each_and_come_back() {
    let host = host();
    host.up(&asking("first", 1));
    host.up(&asking("second", 1));
    let device = |pod: &str| host.exec(pod, &["printenv", "DEVICE"]);
    assert_eq!([device("first"), device("second")], ["other", "zero"]);
    assert_eq!(host.exec("first", &["printenv", "VENDOR"]), "yes");
    assert!(host.exec("first", &["cat", "/vendor/version"]).starts_with("Linux"));
    let output = host.try_up(&asking("third", 1), &[]).code(3);
    output.complains("0/1 nodes are available: 1 Insufficient vendor.com/dev: 1 asked for, 0 of 2 free");
    let old = host.supervisor("first");
    host.kill(old.unwrap());
    let _ = host.next_supervisor("first", old);
    host.podbox(["restart", "first"]).ok();
    assert_eq!(device("first"), "other", "it keeps what it has");
    host.down(&["first"]);
    host.up(&asking("third", 1));
    assert_eq!(device("third"), "other");
    host.down(&["second", "third"]);
    assert!(!host.run_dir().join("devices").exists(), "all came back");
    host.finish();
}

#[test]
fn an_annotation_names_a_device_and_what_cannot_be_is_told() {
    let host = host();
    let named = |name: &str, device: &str| {
        let spec = "  containers:\n  - {name: c, image: podbox.local/toolbox, command: [sleep, infinity]}";
        let annotation = format!("metadata:\n  annotations: {{cdi.k8s.io/x: {device}}}\n");
        pod(name, spec).replacen("metadata:\n", &annotation, 1)
    };
    host.up(&named("named", "vendor.com/dev=zero"));
    assert_eq!(host.exec("named", &["printenv", "DEVICE"]), "zero");
    host.podbox(["exec", "named", "--", "ls", "-l", "/dev/vendor0"]).ok().says("/dev/vendor0");
    host.try_up(&named("a", "vendor.com/dev=hooked"), &[]).code(3).complains("it needs hooks");
    host.try_up(&named("a", "vendor.com/dev=nine"), &[])
        .code(3)
        .complains("unresolvable CDI devices vendor.com/dev=nine");
    let unknown = asking("a", 1).replace("vendor.com/dev", "other.org/gpu");
    host.try_up(&unknown, &[]).code(3).complains(
        "1 Insufficient other.org/gpu: 1 asked for, 0 of 0 free; CDI offers vendor.com/dev: 2 (in ",
    );
    host.finish();
}
