//! Signals, zombies, and what it means to be process 1.

use std::time::Duration;

use e2e::{Background, Host, PATIENCE, pod, wait_until};

#[test]
fn whatever_signal_ends_a_container_its_code_is_128_plus_its_number() {
    let host = Host::new();
    for (name, number) in [("HUP", 1), ("INT", 2), ("KILL", 9), ("USR1", 10), ("SEGV", 11), ("TERM", 15)] {
        // In a shared PID namespace the program is not process 1, and so the kernel's defaults hold for it. Of the four
        // signs the manifest makes two.
        let spec = format!(
            "
  restartPolicy: Never
  shareProcessNamespace: true
  containers:
  - {{name: c, image: podbox.local/host, command: [sh, -c, 'kill -{name} $$$$; sleep 60']}}
"
        );
        host.try_up(&pod("victim", &spec), &["--wait", "none"]).ok();
        let view = host.wait_pod("victim", "Failed", |pod| pod.phase() == "Failed");
        let ended = view.at("status.containerStatuses.0.state.terminated").clone();
        assert_eq!(
            (&ended["exitCode"], &ended["signal"]),
            (&(128 + number).into(), &number.into()),
            "{ended:#}"
        );
        assert_eq!(ended["reason"], "Error", "{ended:#}");
        host.down(&["victim"]);
    }
    host.finish();
}

#[test]
fn process_1_that_has_no_handler_is_killed_when_its_grace_period_is_over() {
    let host = Host::new();
    // The kernel drops SIGTERM for process 1 of a PID namespace that has not asked for it; sleep has not.
    let spec = r"
  terminationGracePeriodSeconds: 3
  containers:
  - {name: c, image: podbox.local/host, command: [sleep, infinity]}
";
    host.up(&pod("deaf", spec));
    assert_eq!(host.exec("deaf", &["sh", "-c", "tr '\\0' ' ' < /proc/1/cmdline"]), "sleep infinity");
    let down = host.down(&["deaf"]);
    assert!(down.took >= Duration::from_secs(3), "SIGTERM alone does not end it: {down}");
    host.finish();
}

#[test]
fn a_restart_kills_process_1_without_a_handler_too_and_tells_signal_9() {
    let host = Host::new();
    let spec = "  containers:\n  - {name: c, image: podbox.local/host, command: [sleep, infinity]}";
    host.up(&pod("deaf", spec));
    host.podbox(["restart", "deaf", "--grace-period", "1"]).ok();
    let view = host.pod("deaf");
    let last = &view.container("c")["lastState"]["terminated"];
    assert_eq!((&last["exitCode"], &last["signal"]), (&137.into(), &9.into()), "{last:#}");
    host.finish();
}

/// Processes that have ended and that nobody has waited for, as `ps` inside the pod shows them.
const ORPHANS: &str = "for i in 1 2 3 4 5; do (sleep 0.2 &) ; done; exec sleep infinity";

fn zombies(host: &Host, name: &str) -> usize {
    let script = "cat /proc/[0-9]*/stat 2>/dev/null; true";
    let stats = host.exec(name, &["sh", "-c", script]);
    stats.lines().filter(|line| line.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z'))).count()
}

#[test]
fn in_a_shared_process_namespace_orphans_are_reaped() {
    let host = Host::new();
    let spec = format!(
        "
  shareProcessNamespace: true
  containers:
  - {{name: c, image: podbox.local/host, command: [sh, -c, '{ORPHANS}']}}
"
    );
    host.up(&pod("shared", &spec));
    let count = |host: &Host| host.exec("shared", &["sh", "-c", "cat /proc/[0-9]*/comm 2>/dev/null; true"]);
    wait_until("the orphans to have ended", PATIENCE, || count(&host).matches("sleep").count() == 1);
    assert_eq!(zombies(&host, "shared"), 0);
    assert!(count(&host).contains("podbox-reaper"), "{}", count(&host));
    host.down(&["shared", "--grace-period", "1"]);
    host.finish();
}

#[test]
fn in_a_process_namespace_of_its_own_the_program_is_process_1_and_reaps_or_does_not() {
    let host = Host::new();
    let spec =
        format!("  containers:\n  - {{name: c, image: podbox.local/host, command: [sh, -c, '{ORPHANS}']}}");
    host.up(&pod("own", &spec));
    // sleep is process 1 here, and does not wait for what it inherits. That is as with any other runtime.
    wait_until("five zombies", PATIENCE, || zombies(&host, "own") == 5);
    host.down(&["own", "--grace-period", "0"]);
    host.finish();
}

#[test]
fn a_grace_period_without_end_ends_with_the_calendar_and_a_shorter_one_ends_it() {
    let host = Host::new();
    let spec = format!(
        "  terminationGracePeriodSeconds: {}\n  containers:\n  - {{name: c, image: podbox.local/host, command: [sh, -c, 'trap \"\" TERM; while :; do sleep 1; done']}}",
        i64::MAX
    );
    host.up(&pod("never", &spec));
    let mut down: Background = host.cmd(["down", "never"]).spawn();
    let view = host.wait_pod("never", "its end", |pod| !pod.text("metadata.deletionTimestamp").is_empty());
    assert_eq!(view.text("metadata.deletionTimestamp"), "9999-12-30T22:00:00Z");
    assert_eq!(view.at("metadata.deletionGracePeriodSeconds"), i64::MAX);
    host.podbox(["get", "pods"]).ok().says("Terminating");
    host.down(&["never", "--grace-period", "0"]);
    assert_eq!(down.end(PATIENCE), 0);
    host.finish();
}

#[test]
fn an_up_whose_pod_is_taken_down_says_so_and_blames_no_container() {
    let host = Host::new();
    let spec = "  terminationGracePeriodSeconds: 1
  containers:
  - {name: a, image: podbox.local/toolbox, command: [sleep, infinity], lifecycle: {postStart: {exec: {command: [sleep, '20']}}}}
  - {name: b, image: podbox.local/toolbox, command: [sleep, infinity]}";
    let mut up: Background = host.cmd(["up", "-d", "--wait", "ready", "-"]).input(pod("short", spec)).spawn();
    up.close_input();
    host.wait_pod("short", "its beginning", |pod| pod.phase() == "Pending");
    host.wait_event("short", "Created", "Created container: a");
    host.down(&["short"]);
    up.wait_to_say("error: pod default/short ");
    let said = up.said();
    assert!(said.contains("was taken down") || said.contains("went away"), "{said}");
    assert_eq!(up.end(PATIENCE), 1);
    host.finish();
}
