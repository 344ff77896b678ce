//! Commands that change a running pod, or end with it: up, restart, condition, exec.

use std::fs;
use std::time::Duration;

use e2e::{Cmd, Host, PATIENCE, pod, wait_until};

use super::{IDLE, does_not_poll, labelled};

#[test]
fn in_the_foreground_up_takes_its_pods_down_when_nobody_reads_any_more() {
    let host = Host::new();
    let line = format!("{} up - | true", e2e::binary().display());
    host.environment(Cmd::new("bash")).args(["-c", &line]).input(pod("web", IDLE)).run().ok();
    host.expect_nothing_left();
    host.finish();
}

#[test]
fn restart_starts_containers_anew_in_place() {
    let host = Host::new();
    let spec = r"
  containers:
  - {name: a, image: podbox.local/toolbox, command: [http, --port, '8080']}
  - {name: b, image: podbox.local/toolbox, command: [http, --port, '8081']}
  volumes: [{name: data, emptyDir: {}}]
  initContainers:
  - {name: setup, image: podbox.local/toolbox, command: [echo, set up]}
";
    host.up(&labelled("web", "app: web", spec));
    let before = host.wait_pod("web", "Ready", |pod| pod.is("Ready"));
    host.podbox(["restart", "web"]).ok().says("pod default/web restarted");
    let after = host.pod("web");
    let counts =
        |view: &e2e::PodView| ["a", "b"].map(|name| view.container(name)["restartCount"].as_u64().unwrap());
    assert_eq!(counts(&after), [1, 1]);
    for name in ["a", "b"] {
        assert!(after.container(name)["state"]["running"].is_object(), "{after:#?}");
        assert_eq!(
            after.container(name)["lastState"]["terminated"]["reason"],
            "Completed",
            "it ended politely"
        );
    }
    assert_eq!((after.ip(), after.text("metadata.uid")), (before.ip(), before.text("metadata.uid")));
    assert_eq!(
        after.at("status.initContainerStatuses.0.restartCount"),
        0,
        "init containers have done their work"
    );
    host.podbox(["restart", "pod/web", "-c", "b", "--grace-period", "0"]).ok();
    assert_eq!(counts(&host.pod("web")), [1, 2]);
    host.podbox(["restart", "-l", "app=web", "--timeout", "0"]).ok();
    host.wait_pod("web", "another restart", |pod| counts(pod) == [2, 3]);
    host.podbox(["restart", "web", "-c", "c"]).code(2).complains("out of: a, b, setup (init)");
    host.podbox(["restart", "web", "-c", "setup"]).code(1).complains("init container");
    host.podbox(["restart", "nope"]).code(2).complains("default/nope not found");
    host.podbox(["restart"]).code(2).complains("which pods?");
    let job = "  restartPolicy: Never\n  containers:\n  - {name: c, image: podbox.local/toolbox, command: [exitcode, '0']}";
    host.try_up(&pod("job", job), &["--wait", "complete"]).ok();
    host.podbox(["restart", "job"]).code(1).complains("the pod is over");
    host.finish();
}

#[test]
fn a_container_that_crashes_is_restarted_without_its_back_off() {
    let host = Host::builder().backoff("10m", "10m").build();
    let script = "test -e /data/well && exec sleep infinity; exit 1";
    let spec = format!(
        "
  containers:
  - {{name: c, image: podbox.local/host, command: [sh, -c, '{script}'], volumeMounts: [{{name: data, mountPath: /data}}]}}
  - {{name: side, image: podbox.local/host, command: [sleep, infinity], volumeMounts: [{{name: data, mountPath: /data}}]}}
  volumes: [{{name: data, emptyDir: {{}}}}]
"
    );
    host.try_up(&pod("web", &spec), &[]);
    host.wait_pod("web", "back-off", |pod| {
        pod.container("c")["state"]["waiting"]["reason"] == "CrashLoopBackOff"
    });
    host.podbox(["exec", "web", "-c", "side", "--", "touch", "/data/well"]).ok();
    host.podbox(["restart", "web", "-c", "c"]).ok();
    assert!(host.pod("web").container("c")["state"]["running"].is_object());
    host.down(&["web", "--grace-period", "0"]);
    host.finish();
}

#[test]
fn a_condition_is_set_from_the_command_line_and_opens_a_readiness_gate() {
    let host = Host::new();
    let spec = format!("  readinessGates: [{{conditionType: example.com/open}}]{IDLE}");
    host.up(&pod("web", &spec));
    let view = host.wait_pod("web", "ready containers", |pod| pod.is("ContainersReady"));
    assert_eq!(view.condition("Ready")["reason"], "ReadinessGatesNotReady");
    let waiting = host.cmd(["wait", "web", "--timeout", "60s"]).spawn();
    does_not_poll("wait for a gate", &waiting);
    let set = ["condition", "web", "example.com/open=True", "--reason", "Opened", "--message", "by hand"];
    host.podbox(set).ok().says("condition example.com/open of pod default/web is True");
    waiting.wait_to_say("pod/web condition met");
    let view = host.pod("web");
    let gate = view.condition("example.com/open");
    assert_eq!((&gate["reason"], &gate["message"]), (&"Opened".into(), &"by hand".into()));
    host.podbox(["get", "pod", "web", "-o", "yaml"]).ok().says("type: example.com/open");
    host.podbox(["get", "pods", "-o", "wide", "--no-headers"]).ok().says(" 1/1");
    host.podbox(["describe", "web"])
        .ok()
        .says("Readiness Gates:\n  Type               Status\n  example.com/open   True");
    host.podbox(["condition", "web", "example.com/open=unknown"]).ok();
    host.podbox(["wait", "web", "--for=condition=example.com/open=Unknown"]).ok();
    host.podbox(["wait", "web", "--for=condition=Ready=False"]).ok();
    host.podbox(["condition", "web"]).ok().says("example.com/open").says("ReadinessGatesNotReady");
    host.podbox(["condition", "web", "Ready=True"]).code(2).complains("cannot be set");
    host.podbox(["condition", "web", "open=Yes"]).code(2).complains("True, False or Unknown");
    host.podbox(["condition", "web", "open"]).code(2).complains("want TYPE=True");
    host.podbox(["condition", "nope", "open=True"]).code(2).complains("not found");
    host.finish();
}

#[test]
fn a_command_of_exec_ends_with_its_client_when_that_is_interrupted_or_killed() {
    let host = Host::new();
    host.up(&pod("web", IDLE));
    // What a terminal does at Ctrl-C: the whole process group gets the signal.
    for (target, signal) in [("-$pid", "INT"), ("$pid", "KILL")] {
        let podbox = e2e::binary();
        let line = format!(
            "set -m; {} exec web -- sh -c 'while true; do echo tick; sleep 0.05; done' > ticks & pid=$!; \
             until grep -q tick ticks; do sleep 0.05; done; kill -{signal} {target}; wait $pid; true",
            podbox.display()
        );
        let line = format!("cd {}; {line}", host.dir().display());
        host.environment(Cmd::new("bash")).args(["-c", &line]).limit(PATIENCE).run().ok();
        wait_until("the command's end", PATIENCE, || {
            !host.exec("web", &["sh", "-c", "ps || true"]).contains("tick")
        });
        let size = || fs::metadata(host.dir().join("ticks")).unwrap().len();
        let before = size();
        std::thread::sleep(Duration::from_millis(500));
        assert_eq!(size(), before, "nothing is written after SIG{signal}");
    }
    host.finish();
}
