//! How much a container may take.

use std::fs;

use e2e::{Host, PodView, pod};

/// A control file of the container's cgroup, in the v1 hierarchy of that controller or in v2.
fn cgroup_file(view: &PodView, class: &str, leaf: &str, file: &[(&str, &str)]) -> String {
    let below = format!("podbox/{class}pod{}/{leaf}", view.text("metadata.uid"));
    let candidates = file.iter().map(|(controller, name)| {
        let base = if controller.is_empty() {
            "/sys/fs/cgroup".to_owned()
        } else {
            format!("/sys/fs/cgroup/{controller}")
        };
        format!("{base}/{below}/{name}")
    });
    let found = candidates.clone().find_map(|path| fs::read_to_string(path).ok());
    found.unwrap_or_else(|| panic!("none of {:?}", candidates.collect::<Vec<_>>())).trim().to_owned()
}

#[test]
fn requests_and_limits_reach_the_cgroups_and_decide_the_qos_class() {
    let host = Host::new();
    let with = |name: &str, resources: &str| {
        pod(
            name,
            &format!(
                "  containers:\n  - {{name: c, image: podbox.local/toolbox, command: [sleep, infinity], resources: {{{resources}}}}}"
            ),
        )
    };
    host.up(&with("burst", "requests: {cpu: 500m, memory: 16Mi}, limits: {cpu: 750m, memory: 48Mi}"));
    host.up(&with("sure", "limits: {cpu: 250m, memory: 32Mi}"));
    host.up(&with("best", ""));
    let (burst, sure, best) = (host.pod("burst"), host.pod("sure"), host.pod("best"));
    let class = |view: &PodView| view.text("status.qosClass").to_owned();
    assert_eq!([class(&burst), class(&sure), class(&best)], ["Burstable", "Guaranteed", "BestEffort"]);
    let memory = [("memory", "memory.limit_in_bytes"), ("", "memory.max")];
    assert_eq!(cgroup_file(&burst, "burstable/", "c-0", &memory), (48 << 20).to_string());
    assert_eq!(cgroup_file(&sure, "", "c-0", &memory), (32 << 20).to_string());
    assert_eq!(cgroup_file(&sure, "", "", &memory), (32 << 20).to_string());
    let quota = cgroup_file(&burst, "burstable/", "c-0", &[("cpu", "cpu.cfs_quota_us"), ("", "cpu.max")]);
    assert!(quota.starts_with("75000"), "{quota}");
    let shares = cgroup_file(&burst, "burstable/", "c-0", &[("cpu", "cpu.shares"), ("", "cpu.weight")]);
    assert!(["512", "20", "59"].contains(&shares.as_str()), "{shares}");
    for place in ["c-0", "", ".."] {
        let file = [("cpu", "cpu.shares"), ("", "cpu.weight")];
        let low = cgroup_file(&best, "besteffort/", place, &file);
        assert!(["2", "1"].contains(&low.as_str()), "{place}: {low}");
    }
    let adjust =
        fs::read_to_string(format!("/proc/{}/oom_score_adj", host.container_process("best", "c"))).unwrap();
    assert_eq!(adjust.trim(), "1000");
    host.finish();
}

#[test]
fn a_container_that_eats_too_much_is_oom_killed() {
    let host = Host::new();
    host.up(&pod(
        "hungry",
        r"
  restartPolicy: Never
  containers:
  - {name: eater, image: podbox.local/toolbox, command: [eat, 256Mi], resources: {limits: {memory: 32Mi}}}
  - {name: modest, image: podbox.local/toolbox, command: [sleep, infinity]}
",
    ));
    let view = host
        .wait_pod("hungry", "an OOM kill", |pod| !pod.container("eater")["state"]["terminated"].is_null());
    let ended = &view.container("eater")["state"]["terminated"];
    assert_eq!(ended["reason"], "OOMKilled", "{ended:#}");
    assert_eq!(ended["exitCode"], 137);
    assert!(!view.container("modest")["state"]["running"].is_null(), "the neighbour lives on");
    host.finish();
}

#[test]
fn a_memory_limit_that_holds_nothing_is_an_error_and_not_no_limit() {
    let host = Host::new();
    let spec = "  containers:\n  - {name: c, image: podbox.local/toolbox, command: [sleep, \"1000\"], resources: {limits: {memory: 4Ki}}}";
    let output = host.try_up(&pod("tiny", spec), &[]);
    assert!(output.code != Some(0), "{output}");
    host.expect_nothing_left();
    host.finish();
}
