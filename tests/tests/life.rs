//! A pod's whole life: init containers, sidecars, restart rules, deadlines, gates, and crashes in the midst of it.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use e2e::{Diary, Host, PATIENCE, pod, wait_for, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

/// Says something to the pod's supervisor, as a command would.
fn ask(host: &Host, name: &str, request: &Value) -> Value {
    // A socket's path may have only 107 bytes.
    let dir = fs::File::open(host.pod_dir(name)).unwrap();
    let path = Path::new("/proc/self/fd").join(dir.as_raw_fd().to_string()).join("control.sock");
    let mut stream = wait_for("the control socket", PATIENCE, || UnixStream::connect(&path));
    writeln!(stream, "{request}").unwrap();
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).unwrap();
    serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{answer:?}: {error}"))
}

#[test]
fn init_containers_run_in_order_before_the_main_ones() {
    let host = Host::new();
    let diary = Diary::new(&host);
    host.up_ready(&diary.manifest(
        "app",
        r"
  initContainers:
  - {name: one, image: podbox.local/toolbox, command: [sh, -c, 'echo one begins >> /out/log; sleep 0.3; echo one ends >> /out/log'], OUT}
  - {name: two, image: podbox.local/toolbox, command: [sh, -c, 'echo two >> /out/log'], OUT}
  containers:
  - {name: main, image: podbox.local/toolbox, command: [sh, -c, 'echo main >> /out/log; sleep infinity'], OUT}
",
    ));
    diary.wait("main");
    assert_eq!(diary.lines(), ["one begins", "one ends", "two", "main"]);
    let view = host.pod("app");
    for index in 0..2 {
        let status = view.at(&format!("status.initContainerStatuses.{index}"));
        assert_eq!(status["state"]["terminated"]["reason"], "Completed", "{status:#}");
        assert_eq!((&status["ready"], &status["started"]), (&json!(true), &json!(false)), "{status:#}");
    }
    assert_eq!(view.at("status.containerStatuses").as_array().map(Vec::len), Some(1));
    assert!(view.is("Initialized") && view.is("Ready"));
    let events = host.events("app");
    let paths: Vec<&str> =
        events.iter().filter_map(|event| event["involvedObject"]["fieldPath"].as_str()).collect();
    assert!(paths.contains(&"spec.initContainers{one}"), "{paths:?}");
    assert!(paths.contains(&"spec.containers{main}"), "{paths:?}");
    // Without a name it is the first main container that is meant.
    host.podbox(["exec", "app", "--", "true"]).ok();
    host.podbox(["logs", "app"]).ok();
    host.podbox(["logs", "app", "-c", "one"]).ok();
    host.down(&["app", "--grace-period", "1"]);
    host.finish();
}

#[test]
fn while_an_init_container_runs_the_pod_is_pending_and_the_others_wait_for_it() {
    let host = Host::new();
    host.up_none(&pod(
        "slow",
        r"
  initContainers:
  - {name: one, image: podbox.local/toolbox, command: [sleep, infinity]}
  - {name: two, image: podbox.local/toolbox, command: [sleep, infinity]}
  containers:
  - {name: main, image: podbox.local/toolbox, command: [sleep, infinity]}
",
    ));
    let view = host.wait_pod("slow", "the first init container", |pod| {
        !pod.at("status.initContainerStatuses.0.state.running").is_null()
    });
    assert_eq!(view.phase(), "Pending");
    for path in ["initContainerStatuses.1", "containerStatuses.0"] {
        let reason = view.text(&format!("status.{path}.state.waiting.reason")).to_owned();
        assert_eq!(reason, "PodInitializing", "{path}");
    }
    let condition = view.condition("Initialized");
    assert_eq!(
        (&condition["status"], &condition["reason"]),
        (&json!("False"), &json!("ContainersNotInitialized"))
    );
    assert_eq!(condition["message"], "containers with incomplete status: [one two]");
    // What has never run is not waited for.
    let started = Instant::now();
    host.down(&["slow", "--grace-period", "20"]);
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    host.finish();
}

#[test]
fn a_failing_init_container_is_retried_until_it_ends_well_but_not_under_never() {
    let host = Host::new();
    let diary = Diary::new(&host);
    let spec = r"
  restartPolicy: POLICY
  initContainers:
  - {name: try, image: podbox.local/toolbox, command: [sh, -c, 'echo try >> /out/log; test -e /out/good'], OUT}
  containers:
  - {name: main, image: podbox.local/toolbox, command: [sh, -c, 'echo main >> /out/log; sleep infinity'], OUT}
";
    host.up_none(&diary.manifest("again", &spec.replace("POLICY", "Always")));
    host.wait_pod("again", "back-off of the init container", |pod| {
        pod.text("status.initContainerStatuses.0.state.waiting.reason") == "CrashLoopBackOff"
    });
    assert_eq!(host.pod("again").phase(), "Pending");
    diary.touch("good");
    diary.wait("main");
    let view = host.wait_pod("again", "Running", |pod| pod.phase() == "Running");
    assert!(view.at("status.initContainerStatuses.0.restartCount").as_u64() >= Some(1));
    host.down(&["again", "--grace-period", "1"]);

    diary.remove("good");
    diary.remove("log");
    host.up_none(&diary.manifest("never", &spec.replace("POLICY", "Never")));
    let view = host.wait_pod("never", "Failed", |pod| pod.phase() == "Failed");
    assert_eq!(view.text("status.initContainerStatuses.0.state.terminated.reason"), "Error");
    assert_eq!(view.text("status.containerStatuses.0.state.waiting.reason"), "PodInitializing");
    assert_eq!(diary.lines(), ["try"]);
    host.down(&["never"]);
    let waits = diary.manifest("waits", &spec.replace("POLICY", "Never"));
    host.try_up(&waits, &[]).code(1).complains("pod default/waits failed");
    host.finish();
}

#[test]
fn the_example_with_a_sidecar_completes() {
    let host = Host::new();
    let file = e2e::fixture("../examples/sidecar.yaml");
    host.podbox(["up", "-d", file.to_str().unwrap(), "--wait", "complete"]).ok();
    assert_eq!(host.logs(&["sidecar"]), "prepared\nYou've hit sidecar\ndone\n");
    assert_eq!(host.pod("sidecar").phase(), "Succeeded");
    host.podbox(["plan", file.to_str().unwrap()])
        .ok()
        .says("## init container prepare")
        .says("## sidecar server");
    host.down(&["sidecar"]);
    host.finish();
}

const SIDECARS: &str = r"
  restartPolicy: Never
  terminationGracePeriodSeconds: 10
  initContainers:
  - name: first
    image: podbox.local/toolbox
    restartPolicy: Always
    command: [sh, -c, 'trap ''echo first ends >> /out/log; exit 3'' TERM; echo first >> /out/log; sleep 0.5; touch /tmp/started; while :; do sleep 0.1; done']
    startupProbe: {exec: {command: [test, -e, /tmp/started]}, periodSeconds: 1, failureThreshold: 60}
    OUT
  - name: second
    image: podbox.local/toolbox
    restartPolicy: Always
    command: [sh, -c, 'trap ''echo second ends >> /out/log; exit 0'' TERM; echo second >> /out/log; while :; do sleep 0.1; done']
    OUT
  containers:
  - name: main
    image: podbox.local/toolbox
    command: [sh, -c, 'trap ''echo main told >> /out/log; exit 0'' TERM; echo main >> /out/log; until test -e /out/enough; do sleep 0.1; done; echo main ends >> /out/log']
    OUT
";

#[test]
fn a_pod_with_sidecars_completes_and_they_end_in_reverse_order() {
    let host = Host::new();
    let diary = Diary::new(&host);
    host.up_ready(&diary.manifest("job", SIDECARS));
    diary.wait("main");
    diary.tells(&["first", "second", "main"]);
    let view = host.pod("job");
    assert_eq!(view.phase(), "Running");
    assert_eq!(view.at("status.initContainerStatuses.1.ready"), &json!(true));
    diary.touch("enough");
    let view = host.wait_pod("job", "Succeeded", |pod| pod.phase() == "Succeeded");
    diary.tells(&["main ends", "second ends", "first ends"]);
    assert_eq!(view.at("status.initContainerStatuses.0.state.terminated.exitCode"), &json!(3));
    assert_eq!(view.condition("Initialized")["reason"], "PodCompleted");
    assert_eq!(view.condition("Ready")["reason"], "PodCompleted");
    host.down(&["job"]);
    host.finish();
}

#[test]
fn a_sidecar_is_restarted_under_never_and_ends_after_the_main_container() {
    let host = Host::new();
    let diary = Diary::new(&host);
    host.up_ready(&diary.manifest("app", SIDECARS));
    host.kill(host.container_process("app", "second"));
    host.wait_pod("app", "a restarted sidecar", |pod| {
        pod.at("status.initContainerStatuses.1.restartCount") == &json!(1) && pod.is("Ready")
    });
    assert_eq!(diary.count("main"), 1, "the others go on");
    host.down(&["app"]);
    diary.tells(&["main told", "second ends", "first ends"]);
    host.finish();
}

#[test]
fn a_containers_own_rules_beat_the_pods_policy() {
    let host = Host::new();
    let diary = Diary::new(&host);
    host.up_none(&diary.manifest(
        "rules",
        r"
  restartPolicy: Never
  containers:
  - name: ruled
    image: podbox.local/toolbox
    restartPolicy: Never
    restartPolicyRules: [{action: Restart, exitCodes: {operator: In, values: [3]}}]
    command: [sh, -c, 'echo run >> /out/log; test -e /out/second || { touch /out/second; exit 3; }; exit 4']
    OUT
  - name: own
    image: podbox.local/toolbox
    restartPolicy: OnFailure
    command: [sh, -c, 'test -e /out/good || { touch /out/good; exit 1; }']
    OUT
",
    ));
    let view = host.wait_pod("rules", "Failed", |pod| pod.phase() == "Failed");
    assert_eq!(diary.lines(), ["run", "run"]);
    for (name, code) in [("ruled", 4), ("own", 0)] {
        let status = view.container(name);
        assert_eq!(status["restartCount"], 1, "{status:#}");
        assert_eq!(status["state"]["terminated"]["exitCode"], code, "{status:#}");
    }
    host.down(&["rules"]);
    host.finish();
}

/// Its leader ends with 42 as soon as there is a file `again`, and then all of it starts again.
const GANG: &str = r"
  restartPolicy: Never
  initContainers:
  - {name: init, image: podbox.local/toolbox, command: [sh, -c, 'echo init >> /out/log'], OUT}
  containers:
  - name: leader
    image: podbox.local/toolbox
    restartPolicy: Never
    restartPolicyRules: [{action: RestartAllContainers, exitCodes: {operator: In, values: [42]}}]
    command: [sh, -c, 'echo leader >> /out/log; until test -e /out/again; do sleep 0.05; done; rm /out/again; exit 42']
    OUT
  - {name: other, image: podbox.local/toolbox, command: [sh, -c, 'echo other >> /out/log; sleep infinity'], OUT}
";

#[test]
fn a_rule_starts_the_whole_pod_again_in_its_sandbox() {
    let host = Host::new();
    let diary = Diary::new(&host);
    host.up_ready(&diary.manifest("gang", GANG));
    let before = host.pod("gang");
    wait_until("all three", PATIENCE, || diary.lines().len() == 3);
    diary.touch("again");
    let after = host.wait_pod("gang", "the second round", |pod| pod.restarts() == 1 && pod.is("Ready"));
    wait_until("all six", PATIENCE, || diary.lines().len() == 6);
    assert_eq!(diary.lines()[3], "init", "init containers first");
    assert_eq!(before.at("status.podIPs"), after.at("status.podIPs"));
    let last = &after.container("other")["lastState"]["terminated"];
    assert_eq!((&last["exitCode"], &last["reason"]), (&json!(137), &json!("RestartingAllContainers")));
    assert_eq!(after.container("leader")["lastState"]["terminated"]["exitCode"], 42);
    assert_eq!(after.at("status.initContainerStatuses.0.restartCount"), &json!(1));
    assert_eq!(after.condition("AllContainersRestarting")["status"], "False");
    host.down(&["gang", "--grace-period", "1"]);
    host.finish();
}

#[test]
fn a_sidecars_probes_restart_it_and_count_for_the_pods_readiness() {
    let host = Host::new();
    host.up_ready(&pod(
        "app",
        r"
  restartPolicy: Never
  initContainers:
  - name: server
    image: podbox.local/toolbox
    restartPolicy: Always
    command: [http, --port, '8080']
    startupProbe: {tcpSocket: {port: 8080}, periodSeconds: 1, failureThreshold: 60}
    readinessProbe: {httpGet: {path: /readyz, port: 8080}, periodSeconds: 1, failureThreshold: 1}
    livenessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1, failureThreshold: 1}
  containers:
  - {name: main, image: podbox.local/toolbox, command: [sleep, infinity]}
",
    ));
    let url = format!("{}:8080", host.pod("app").ip());
    let order = |path: &str| {
        let url = format!("{url}{path}");
        e2e::wait_good("an order", || host.podbox(["toolbox", "get", &url]));
    };
    order("/fail/readyz");
    let view = host.wait_pod("app", "not ready", |pod| !pod.is("Ready"));
    assert_eq!(view.condition("Ready")["message"], "containers with unready status: [server]");
    order("/fail/healthz");
    let view = host.wait_pod("app", "a restarted sidecar", |pod| {
        pod.at("status.initContainerStatuses.0.restartCount") == &json!(1) && pod.is("Ready")
    });
    assert_eq!((view.phase(), view.restarts()), ("Running", 0), "the main container goes on");
    host.wait_event("app", "Killing", "Container server failed liveness probe, will be restarted");
    host.down(&["app", "--grace-period", "1"]);
    host.finish();
}

#[test]
fn a_pod_that_is_older_than_its_deadline_fails() {
    let host = Host::new();
    host.up(&pod(
        "old",
        r"
  activeDeadlineSeconds: 2
  terminationGracePeriodSeconds: 1
  containers:
  - {name: c, image: podbox.local/toolbox, command: [sleep, infinity]}
",
    ));
    // The deadline is kept by whoever supervises.
    host.kill(host.next_supervisor("old", None));
    let view = host.wait_pod("old", "Failed", |pod| pod.phase() == "Failed");
    assert_eq!(view.text("status.reason"), "DeadlineExceeded");
    let message = "Pod was active on the node longer than the specified deadline";
    assert_eq!(view.text("status.message"), message);
    assert_eq!(view.condition("Ready")["reason"], "PodFailed");
    host.wait_event("old", "DeadlineExceeded", message);
    host.down(&["old"]);
    host.finish();
}

#[test]
fn a_readiness_gate_is_opened_by_whoever_sets_its_condition() {
    let host = Host::new();
    host.up(&pod(
        "gated",
        r"
  readinessGates: [{conditionType: example.com/lb}]
  containers:
  - {name: c, image: podbox.local/toolbox, command: [sleep, infinity]}
",
    ));
    let view = host.wait_pod("gated", "ContainersReady", |pod| pod.is("ContainersReady"));
    assert_eq!(view.condition("Ready")["reason"], "ReadinessGatesNotReady");
    let set = |kind: &str, status: &str| json!({"set_condition": {"kind": kind, "status": status, "reason": "Said", "message": null}});
    assert_eq!(ask(&host, "gated", &set("example.com/lb", "True"))["errors"], json!([]));
    let view = host.pod("gated");
    assert!(view.is("Ready"), "{:#}", view.at("status.conditions"));
    assert_eq!(view.condition("example.com/lb")["reason"], "Said");
    let refused = ask(&host, "gated", &set("Ready", "True"));
    assert_eq!(refused["errors"].as_array().map(Vec::len), Some(1), "{refused}");
    // It is written down, so that a new supervisor knows it.
    let old = host.next_supervisor("gated", None);
    host.kill(old);
    let _ = host.next_supervisor("gated", Some(old));
    assert!(host.pod("gated").is("Ready"));
    host.down(&["gated", "--grace-period", "1"]);
    host.finish();
}

#[test]
fn a_restart_that_is_asked_for_ends_the_container_politely_and_starts_it_at_once() {
    let host = Host::builder().backoff("60s", "300s").build();
    let diary = Diary::new(&host);
    host.up_ready(&diary.manifest("app", r"
  restartPolicy: Never
  containers:
  - name: c
    image: podbox.local/toolbox
    command: [sh, -c, 'trap ''echo told >> /out/log; exit 0'' TERM; echo ready >> /out/log; while :; do sleep 0.1; done']
    lifecycle: {preStop: {exec: {command: [sh, -c, 'echo hook >> /out/log']}}}
    OUT
  - {name: other, image: podbox.local/toolbox, command: [sleep, infinity]}
"));
    // Three times, since a back-off would show from the second on.
    for round in 1..=3 {
        wait_until("readiness", PATIENCE, || diary.count("ready") == round);
        let answer = ask(&host, "app", &json!({"restart": {"container": "c"}}));
        assert_eq!(answer["errors"], json!([]));
        host.wait_pod("app", "the next run", |pod| {
            pod.container("c")["restartCount"].as_u64() == Some(round as u64) && pod.is("Ready")
        });
    }
    wait_until("readiness", PATIENCE, || diary.count("ready") == 4);
    diary.tells(&["ready", "hook", "told", "ready", "hook", "told", "ready", "hook", "told", "ready"]);
    assert_eq!(host.pod("app").container("other")["restartCount"], 0);
    let unknown = ask(&host, "app", &json!({"restart": {"container": "nosuch"}}));
    assert!(unknown["errors"][0].as_str().is_some_and(|text| text.contains("nosuch")), "{unknown}");
    host.down(&["app", "--grace-period", "1"]);
    host.finish();
}

#[test]
fn the_end_of_the_log_is_the_termination_message_where_the_file_is_empty_and_the_container_failed() {
    let host = Host::new();
    host.up_none(&pod(
        "says",
        r"
  restartPolicy: Never
  containers:
  - name: log
    image: podbox.local/toolbox
    terminationMessagePolicy: FallbackToLogsOnError
    command: [sh, -c, 'for n in $(seq 100); do echo line $n; done; exit 1']
  - name: file
    image: podbox.local/toolbox
    terminationMessagePolicy: FallbackToLogsOnError
    command: [sh, -c, 'echo words; echo written > /dev/termination-log; exit 1']
  - name: good
    image: podbox.local/toolbox
    terminationMessagePolicy: FallbackToLogsOnError
    command: [echo, words]
",
    ));
    let view = host.wait_pod("says", "Failed", |pod| pod.phase() == "Failed");
    let message = |name: &str| view.container(name)["state"]["terminated"]["message"].clone();
    let log = message("log").as_str().unwrap_or_default().to_owned();
    assert_eq!((log.lines().count(), log.lines().next()), (80, Some("line 21")), "{log}");
    assert_eq!(message("file"), "written\n");
    assert_eq!(message("good"), Value::Null);
    host.down(&["says"]);
    host.finish();
}

#[test]
fn all_termination_messages_of_a_pod_have_twelve_kib_together() {
    let host = Host::new();
    let one = |name: &str| {
        format!(
            "  - {{name: {name}, image: podbox.local/host, command: [sh, -c, 'head -c 5000 /dev/zero | tr \"\\\\0\" x > /dev/termination-log']}}\n"
        )
    };
    let all: String = ["a", "b", "c", "d"].iter().map(|name| one(name)).collect();
    host.up_none(&pod("wordy", &format!("\n  restartPolicy: Never\n  containers:\n{all}")));
    let view = host.wait_pod("wordy", "Succeeded", |pod| pod.phase() == "Succeeded");
    let message = &view.container("a")["state"]["terminated"]["message"];
    assert_eq!(message.as_str().map(str::len), Some(3072));
    host.down(&["wordy"]);
    host.finish();
}

#[test]
fn supervisor_killed_during_an_init_container_which_goes_on_and_is_not_run_twice() {
    let host = Host::new();
    let diary = Diary::new(&host);
    host.up_none(&diary.manifest("app", r"
  initContainers:
  - {name: one, image: podbox.local/toolbox, command: [sh, -c, 'echo one >> /out/log; until test -e /out/go; do sleep 0.1; done'], OUT}
  - {name: two, image: podbox.local/toolbox, command: [sh, -c, 'echo two >> /out/log'], OUT}
  containers:
  - {name: main, image: podbox.local/toolbox, command: [sh, -c, 'echo main >> /out/log; sleep infinity'], OUT}
"));
    diary.wait("one");
    let old = host.next_supervisor("app", None);
    host.kill(old);
    let now = host.next_supervisor("app", Some(old));
    diary.touch("go");
    diary.wait("two");
    // And once more, at a moment of its own choosing.
    let _ = kill(Pid::from_raw(now), Signal::SIGKILL);
    host.wait_pod("app", "Ready", |pod| pod.is("Ready"));
    diary.wait("main");
    assert_eq!(diary.lines(), ["one", "two", "main"]);
    assert_eq!(host.pod("app").at("status.initContainerStatuses.0.restartCount"), &json!(0));
    host.down(&["app", "--grace-period", "1"]);
    host.finish();
}

#[test]
fn supervisor_killed_while_all_containers_are_restarted_which_happens_once() {
    let host = Host::new();
    let diary = Diary::new(&host);
    host.up_ready(&diary.manifest("gang", GANG));
    wait_until("the first round", PATIENCE, || diary.lines().len() == 3);
    let mut old = host.next_supervisor("gang", None);
    diary.touch("again");
    for _ in 0..3 {
        host.kill(old);
        old = host.next_supervisor("gang", Some(old));
    }
    let view = host.wait_pod("gang", "the second round", |pod| pod.restarts() == 1 && pod.is("Ready"));
    wait_until("all six", PATIENCE, || diary.lines().len() == 6);
    assert_eq!(diary.lines()[3], "init");
    assert_eq!(view.container("other")["restartCount"], 1);
    assert_eq!(view.at("status.initContainerStatuses.0.restartCount"), &json!(1));
    host.down(&["gang", "--grace-period", "1"]);
    host.finish();
}
