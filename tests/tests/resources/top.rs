//! `podbox top`.

use e2e::{Host, pod};

/// The cells of the row that begins with this.
fn cells(text: &str, first: &str) -> Vec<String> {
    let row = text.lines().find(|line| line.split_whitespace().next() == Some(first));
    row.unwrap_or_else(|| panic!("no {first} in\n{text}")).split_whitespace().map(str::to_owned).collect()
}

#[test]
fn top_shows_what_pods_and_containers_use() {
    let host = Host::new();
    host.up(&pod(
        "busy",
        r"
  containers:
  - {name: spin, image: podbox.local/toolbox, command: [sh, -c, 'while :; do :; done'], resources: {limits: {cpu: 200m}}}
  - {name: idle, image: podbox.local/toolbox, command: [sleep, infinity]}
",
    ));
    host.up(&pod("fat", "  containers: [{name: c, image: podbox.local/toolbox, command: [eat, 16Mi]}]"));
    let number = |cell: &str, unit: &str| cell.strip_suffix(unit).unwrap().parse::<u64>().unwrap();
    e2e::wait_until("the memory to be eaten", e2e::PATIENCE, || {
        let text = host.podbox(["top", "pod", "fat"]).ok().stdout;
        (16..32).contains(&number(&cells(&text, "fat")[2], "Mi"))
    });
    let text = host.podbox(["top", "pods", "--sort-by", "cpu"]).ok().stdout;
    assert!(text.starts_with("NAME   CPU(cores)   MEMORY(bytes)\nbusy "), "{text}");
    let busy = number(&cells(&text, "busy")[1], "m");
    assert!((20..=300).contains(&busy), "{text}");
    let text = host.podbox(["top", "--containers", "-A", "--no-headers", "--sort-by", "memory"]).ok().stdout;
    assert!(text.starts_with("default "), "{text}");
    assert_eq!(cells(&text, "default")[1..3], ["fat", "c"]);
    assert_eq!(text.lines().count(), 3, "{text}");
    let text = host.podbox(["top", "node"]).ok().stdout;
    assert!(text.starts_with("NAME") && text.contains("CPU(%)") && text.lines().count() == 2, "{text}");
    host.podbox(["top", "nope"]).code(2).complains("default/nope not found");
    host.podbox(["top", "-n", "empty"]).ok();
    let mut watch = host.cmd(["top", "--watch", "--window", "200ms"]).spawn();
    watch.wait_to_say("fat");
    watch.signal(nix::sys::signal::Signal::SIGTERM);
    let _ = watch.end(e2e::PATIENCE);
    host.finish();
}

#[test]
fn a_pod_of_which_nothing_runs_has_nothing_to_show() {
    let host = Host::new();
    let job = "  restartPolicy: Never\n  containers: [{name: c, image: podbox.local/toolbox, command: [exitcode, '0']}]";
    host.try_up(&pod("job", job), &["--wait", "complete"]).ok();
    host.podbox(["top", "job"]).code(1).complains("Metrics not available for pod default/job");
    host.finish();
}
