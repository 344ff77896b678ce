//! A stage is killed, or a container.

use std::time::Instant;

use e2e::{Host, PATIENCE, pod, proc_children, proc_cmdline, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::start;

#[test]
fn a_stage_killed_the_machine_backs_off_and_tries_again() {
    let host = Host::new();
    host.up(&pod(
        "again",
        r"
  containers:
  - {name: c, image: podbox.local/toolbox, command: [exitcode, '1']}
  - {name: steady, image: podbox.local/toolbox, command: [sleep, infinity]}
",
    ));
    let supervisor = host.next_supervisor("again", None);
    let mut killed = 0;
    let started = Instant::now();
    // A stage lives for a few milliseconds at each restart: look without a pause.
    while killed < 3 && started.elapsed() < PATIENCE {
        for stage in proc_children(supervisor) {
            killed += u32::from(kill(Pid::from_raw(stage), Signal::SIGKILL).is_ok());
        }
    }
    assert!(killed >= 3, "only {killed} stages were met");
    let restarts = host.pod("again").container("c")["restartCount"].as_u64().unwrap_or(0);
    let view = host.wait_pod("again", "two more restarts", |pod| {
        pod.container("c")["restartCount"].as_u64() >= Some(restarts + 2)
    });
    assert_eq!(view.container("steady")["restartCount"], 0);
    assert_eq!(host.supervisor("again"), Some(supervisor), "the supervisor does not care");
    host.down(&["again", "--grace-period", "0"]);
    host.expect_nothing_left();
    host.finish();
}

#[test]
fn a_container_killed_is_restarted_by_its_policy() {
    let host = Host::new();
    start(&host, "mended");
    host.kill(host.container_process("mended", "web"));
    let view = host
        .wait_pod("mended", "a restart", |pod| pod.container("web")["restartCount"] == 1 && pod.is("Ready"));
    let last = &view.container("web")["lastState"]["terminated"];
    assert_eq!(
        (&last["exitCode"], &last["signal"], &last["reason"]),
        (&137.into(), &9.into(), &"Error".into())
    );
    assert_eq!(view.container("echo")["restartCount"], 0);
    host.finish();
}

#[test]
fn an_exec_stage_that_is_killed_between_two_probes_is_replaced_and_nobody_notices() {
    let host = Host::new();
    host.up(&pod(
        "stages",
        r"
  terminationGracePeriodSeconds: 0
  containers:
  - name: c
    image: podbox.local/toolbox
    command: [sleep, infinity]
    livenessProbe: {exec: {command: ['true']}, periodSeconds: 1, failureThreshold: 1}
",
    ));
    let stages = || -> Vec<i32> {
        let children = host.supervisor("stages").map(proc_children).unwrap_or_default();
        children.into_iter().filter(|pid| proc_cmdline(*pid).starts_with("podbox stage exec")).collect()
    };
    wait_until("a stage to stay", PATIENCE, || stages().len() == 1);
    let old = stages()[0];
    host.kill(old);
    wait_until("another in its place", PATIENCE, || matches!(stages()[..], [new] if new != old));
    let view = host.pod("stages");
    assert_eq!((view.restarts(), host.event_count("stages", "Unhealthy", "")), (0, 0));
    // It ends with the supervisor that it serves, and the next one has its own.
    let (old, supervisor) = (stages()[0], host.supervisor("stages"));
    host.kill(supervisor.expect("a supervisor"));
    let _ = host.next_supervisor("stages", supervisor);
    wait_until("a stage of the new supervisor", PATIENCE, || matches!(stages()[..], [new] if new != old));
    assert_eq!(host.pod("stages").restarts(), 0);
    host.finish();
}
