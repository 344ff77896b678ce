//! Output of init containers, of containers that have not begun, and of those that restart.

use e2e::{Host, PATIENCE, pod, wait_until};

#[test]
fn init_containers_output_is_shown_and_kept() {
    let host = Host::new();
    let spec = r"
  restartPolicy: Never
  initContainers:
  - {name: first, image: podbox.local/toolbox, command: [echo, one]}
  - {name: second, image: podbox.local/toolbox, command: [echo, two]}
  containers:
  - {name: main, image: podbox.local/toolbox, command: [echo, three]}
";
    let shown = host.cmd(["up", "-"]).input(pod("job", spec)).run().ok().stdout;
    let mut lines: Vec<&str> = shown.lines().map(str::trim_end).collect();
    lines.sort_unstable();
    assert_eq!(lines, ["first  | one", "main   | three", "second | two"]);
    assert_eq!(host.logs(&["job", "-c", "second"]), "two\n");
    assert_eq!(host.logs(&["job"]), "three\n");
    host.podbox(["logs", "job"])
        .ok()
        .complains("Defaulted container \"main\" out of: main, first (init), second (init)");
    let all = host.logs(&["job", "--all-containers", "--prefix"]);
    assert!(all.contains("[pod/job/first] one\n") && all.contains("[pod/job/main] three\n"), "{all}");
    let text = host.podbox(["describe", "job"]).ok().stdout;
    let (init, main) = (text.find("Init Containers:\n  first:"), text.find("\nContainers:\n  main:"));
    assert!(init.is_some() && init < main, "{text}");
    host.finish();
}

#[test]
fn the_log_of_a_container_that_has_not_begun_says_what_it_waits_for() {
    let host = Host::new();
    let spec = r"
  initContainers:
  - {name: setup, image: podbox.local/toolbox, command: [sleep, infinity]}
  containers:
  - {name: main, image: podbox.local/toolbox, command: [echo, three]}
";
    host.try_up(&pod("slow", spec), &["--wait", "none"]).ok();
    host.wait_event("slow", "Started", "Started container setup");
    host.podbox(["logs", "slow"])
        .code(1)
        .complains("container \"main\" in pod \"slow\" is waiting to start: PodInitializing");
    host.podbox(["get", "pods"]).ok().says("Init:0/1");
    host.down(&["slow", "--grace-period", "0"]);
    host.finish();
}

#[test]
fn logs_of_a_container_that_restarts_are_followed_on() {
    let host = Host::new();
    let spec = "  containers:\n  - {name: c, image: podbox.local/host, command: [sh, -c, 'echo begun; sleep infinity']}";
    host.up(&pod("web", spec));
    let mut follow = host.cmd(["logs", "-f", "web"]).spawn();
    follow.wait_to_say("begun");
    host.podbox(["restart", "web", "--grace-period", "0"]).ok();
    wait_until("the next run's output", PATIENCE, || follow.said().matches("begun").count() == 2);
    assert_eq!(host.logs(&["web", "-p"]), "begun\n");
    host.down(&["web", "--grace-period", "0"]);
    assert_eq!(follow.end(PATIENCE), 0, "it ends with its pod: {}", follow.said());
    host.finish();
}
