//! Limits of whole pods, of the disk and of huge pages.

use std::fs;
use std::path::Path;
use std::time::Duration;

use e2e::{Host, pod};

use super::{cpu, memory};

#[test]
fn resources_of_the_pod_are_its_limits_its_class_and_the_limits_of_who_has_none() {
    let host = Host::new();
    host.up(&pod(
        "whole",
        r"
  resources: {limits: {cpu: 500m, memory: 64Mi}, requests: {memory: 64Mi}}
  containers:
  - {name: a, image: podbox.local/toolbox, command: [sleep, infinity], resources: {limits: {memory: 32Mi}}}
  - name: b
    image: podbox.local/toolbox
    command: [sleep, infinity]
    env: [{name: MEMORY, valueFrom: {resourceFieldRef: {resource: limits.memory, divisor: 1Mi}}}]
",
    ));
    let view = host.pod("whole");
    assert_eq!(view.text("status.qosClass"), "Guaranteed");
    assert_eq!(view.at("spec.resources.requests.cpu"), "500m", "the limit, where nobody says more");
    assert_eq!(
        [(cpu(&view, ""), memory(&view, "")), (cpu(&view, "a-0"), memory(&view, "a-0"))],
        [(500, 64), (500, 32)]
    );
    assert_eq!((cpu(&view, "b-0"), memory(&view, "b-0")), (500, 64));
    host.podbox(["exec", "whole", "-c", "b", "--", "printenv", "MEMORY"]).ok().says("64");
    host.finish();
}

/// Fills a file with so many KiB, and then sleeps.
fn filler(kib: u32, path: &str) -> String {
    format!("[sh, -c, 'head -c {} /dev/zero > {path}; sleep infinity']", kib * 1024)
}

#[test]
fn a_container_that_fills_the_disk_is_evicted_with_its_pod() {
    let host = Host::new();
    let limit = |mib: u32| format!("resources: {{limits: {{ephemeral-storage: {mib}Mi}}}}");
    let pods = [
        ("layer", filler(3000, "/full"), "/data"),
        ("volume", filler(6000, "/data/full"), "/data"),
        ("modest", filler(500, "/data/some"), "/data"),
    ];
    for (name, command, path) in pods {
        host.up(&pod(
            name,
            &format!(
                "  volumes: [{{name: data, emptyDir: {{}}}}]
  containers:
  - {{name: c, image: podbox.local/host, command: {command}, volumeMounts: [{{name: data, mountPath: {path}}}], {}}}
  - {{name: other, image: podbox.local/toolbox, command: [sleep, infinity], {}}}",
                limit(1),
                limit(4)
            ),
        ));
    }
    let evicted = |name: &str| {
        let limit = Duration::from_secs(30);
        let view = host.wait_pod_for(name, "its eviction", limit, |pod| pod.phase() == "Failed");
        assert_eq!(view.text("status.reason"), "Evicted");
        view.text("status.message").to_owned()
    };
    assert_eq!(evicted("layer"), "Container c exceeded its local ephemeral storage limit \"1Mi\". ");
    assert_eq!(
        evicted("volume"),
        "Pod ephemeral local storage usage exceeds the total limit of containers 5Mi. "
    );
    host.wait_event("layer", "Evicted", "Container c exceeded its local ephemeral storage limit");
    assert_eq!(host.pod("modest").phase(), "Running");
    host.finish();
}

#[test]
fn huge_pages_are_limited_to_what_is_asked_for() {
    let host = Host::new();
    host.up(&pod(
        "huge",
        r"
  containers:
  - {name: a, image: podbox.local/host, command: [sleep, infinity], resources: {limits: {memory: 16Mi, hugepages-2Mi: 4Mi}}, volumeMounts: [{name: pages, mountPath: /pages}]}
  - {name: b, image: podbox.local/toolbox, command: [sleep, infinity]}
  volumes: [{name: pages, emptyDir: {medium: HugePages}}]
",
    ));
    let view = host.pod("huge");
    let mounts = host.exec("huge", &["grep", "/pages", "/proc/mounts"]);
    assert!(mounts.contains("hugetlbfs") && mounts.contains("pagesize=2M"), "{mounts}");
    let uid = view.text("metadata.uid");
    let places = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].map(Path::new);
    let root = places.into_iter().find(|root| {
        let text = fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default();
        text.split_whitespace().any(|name| name == "hugetlb")
    });
    // A host without the controller cannot show it.
    if let Some(root) = root {
        let limit = |of: &str| {
            let path = root.join(format!("podbox/burstable/pod{uid}/{of}/hugetlb.2MB.max"));
            fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        };
        assert_eq!(["", "a-0", "b-0"].map(|of| limit(of).trim().to_owned()), ["4194304", "4194304", "0"]);
    }
    host.finish();
}
