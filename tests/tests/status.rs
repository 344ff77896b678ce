//! What podbox tells of a pod: status, conditions, events, and the commands that print them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use e2e::{Host, PATIENCE, pod, wait_for, wait_until};
use serde_json::Value;

const WEB: &str = r"
  containers:
  - {name: web, image: podbox.local/toolbox, command: [http], ports: [{containerPort: 8080}]}
";

fn is_time(value: &Value) -> bool {
    let text = value.as_str().unwrap_or_default();
    text.len() == 20 && text.ends_with('Z') && text.as_bytes()[10] == b'T'
}

#[test]
fn a_running_pods_status_is_a_kubelets() {
    let host = Host::new();
    host.up(&pod("web", WEB));
    let view = host.wait_pod("web", "Ready", |pod| pod.is("Ready"));
    assert_eq!(view.text("apiVersion"), "v1");
    assert_eq!(view.text("kind"), "Pod");
    assert_eq!(view.text("metadata.namespace"), "default");
    assert_eq!(view.text("metadata.uid").len(), 36);
    assert!(is_time(view.at("metadata.creationTimestamp")));
    assert_eq!(view.phase(), "Running");
    assert_eq!(view.text("status.qosClass"), "BestEffort");
    assert!(is_time(view.at("status.startTime")));
    assert!(!view.text("status.hostIP").is_empty());
    assert_eq!(view.at("status.podIPs.0.ip"), view.at("status.podIP"));
    assert!(view.ip6().contains(':'), "{view:#?}");
    for name in ["PodScheduled", "PodReadyToStartContainers", "Initialized", "ContainersReady", "Ready"] {
        assert!(view.is(name), "{name}: {view:#?}");
        assert!(is_time(&view.condition(name)["lastTransitionTime"]), "{name}: {view:#?}");
    }
    let container = view.container("web");
    assert_eq!(container["image"], "podbox.local/toolbox:latest");
    assert!(container["imageID"].as_str().is_some_and(|id| id.contains("sha256:")), "{container:#}");
    assert!(container["containerID"].as_str().is_some_and(|id| id.starts_with("podbox://")), "{container:#}");
    assert_eq!((&container["ready"], &container["started"]), (&Value::Bool(true), &Value::Bool(true)));
    assert_eq!(container["restartCount"], 0);
    assert!(is_time(&container["state"]["running"]["startedAt"]));
    assert_eq!(view.text("spec.restartPolicy"), "Always", "defaults are shown");
    host.finish();
}

#[test]
fn a_restart_moves_the_state_to_last_state_and_changes_the_container_id() {
    let host = Host::new();
    host.up(&pod("web", WEB));
    let before = host.wait_pod("web", "Ready", |pod| pod.is("Ready"));
    host.kill(host.container_process("web", "web"));
    let after = host.wait_pod("web", "Ready again", |pod| pod.restarts() == 1 && pod.is("Ready"));
    let (old, new) = (before.container("web"), after.container("web"));
    assert_ne!(old["containerID"], new["containerID"]);
    let last = &new["lastState"]["terminated"];
    assert_eq!(last["exitCode"], 137);
    assert_eq!(last["containerID"], old["containerID"]);
    assert_eq!(last["startedAt"], old["state"]["running"]["startedAt"]);
    assert!(is_time(&last["finishedAt"]), "{last:#}");
    assert_eq!(after.ip(), before.ip(), "the sandbox stays");
    host.finish();
}

#[test]
fn at_every_moment_state_id_and_count_are_of_one_run_and_the_one_before_it_is_in_sight() {
    let host = Host::new();
    host.up(&pod(
        "web",
        r"
  containers:
  - {name: calm, image: podbox.local/toolbox, command: [sleep, infinity]}
  - {name: crash, image: podbox.local/toolbox, command: [exitcode, --after, 20ms, '1']}
",
    ));
    let uid = host.pod("web").text("metadata.uid").to_owned();
    let file = host.run_dir().join("pods").join(uid).join("status.json");
    let over = AtomicBool::new(false);
    let seen = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut seen: Vec<Value> = Vec::new();
            let started = Instant::now();
            while !over.load(Ordering::Relaxed) && started.elapsed() < 2 * PATIENCE {
                let status: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
                for one in status["containerStatuses"].as_array().unwrap() {
                    if !seen.contains(one) {
                        seen.push(one.clone());
                    }
                }
                std::thread::sleep(Duration::from_micros(500));
            }
            seen
        });
        for round in 1..=5 {
            host.cmd(["restart", "web", "--grace-period", "0"]).run().ok();
            host.wait_pod("web", "the next run of both", |pod| {
                let restarted = |name: &str| pod.container(name)["restartCount"].as_u64() >= Some(round);
                restarted("calm")
                    && restarted("crash")
                    && !pod.container("crash")["state"]["waiting"].is_null()
            });
        }
        over.store(true, Ordering::Relaxed);
        watcher.join().unwrap()
    });
    for one in &seen {
        let count = one["restartCount"].as_u64().unwrap();
        let id = &one["containerID"];
        let last = &one["lastState"]["terminated"];
        if let Some(id) = id.as_str() {
            assert!(id.ends_with(&format!("/{count}")), "{one:#}");
        }
        assert!(count == 0 || !last.is_null(), "{one:#}");
        if !one["state"]["waiting"].is_null() && !last.is_null() {
            assert_eq!(&last["containerID"], id, "{one:#}");
        }
        if let Some(ended) = one["state"]["terminated"].as_object() {
            assert_eq!(&ended["containerID"], id, "{one:#}");
        }
    }
    let has = |word: &str| seen.iter().any(|one| !one["state"][word].is_null());
    assert!(has("running") && has("terminated") && has("waiting"), "{seen:#?}");
    host.finish();
}

#[test]
fn events_are_a_kubelets_and_are_counted() {
    let host = Host::new();
    host.up(&pod(
        "crash",
        r"
  containers:
  - {name: c, image: podbox.local/toolbox, command: [exitcode, --after, 50ms, '1']}
",
    ));
    host.wait_pod("crash", "three restarts", |pod| pod.restarts() >= 3);
    let events = host.events("crash");
    let find = |reason: &str| {
        let found = events.iter().find(|event| event["reason"] == reason);
        found.unwrap_or_else(|| panic!("no event {reason} in {events:#?}"))
    };
    assert!(
        find("Scheduled")["message"].as_str().unwrap().starts_with("Successfully assigned default/crash to ")
    );
    let pulled = find("Pulled");
    assert_eq!(pulled["message"], "Container image \"podbox.local/toolbox\" already present on machine");
    assert_eq!(pulled["involvedObject"]["fieldPath"], "spec.containers{c}");
    assert_eq!(pulled["involvedObject"]["name"], "crash");
    assert_eq!(find("Created")["message"], "Created container: c");
    let started = find("Started");
    assert_eq!(started["message"], "Started container c");
    assert!(started["count"].as_u64() >= Some(4), "{started:#}");
    assert_eq!((&started["type"], &started["kind"]), (&"Normal".into(), &"Event".into()));
    assert!(is_time(&started["firstTimestamp"]) && is_time(&started["lastTimestamp"]), "{started:#}");
    assert_eq!(find("BackOff")["type"], "Warning");
    let table = host.podbox(["events", "crash"]).ok();
    assert!(table.stdout.starts_with("LAST SEEN"), "{table}");
    assert!(table.stdout.contains("BackOff"), "{table}");
    host.finish();
}

#[test]
fn get_prints_tables_names_yaml_and_paths() {
    let host = Host::new();
    host.up(&pod("one", WEB).replace("  name: one\nspec", "  name: one\n  labels: {app: first}\nspec"));
    host.up(&pod("two", WEB));
    host.wait_pod("two", "Ready", |pod| pod.is("Ready"));
    let table = host.podbox(["get", "pods"]).ok();
    assert!(
        table.stdout.lines().next().is_some_and(|line| line.starts_with("NAME")
            && line.contains("READY")
            && line.contains("RESTARTS")
            && line.contains("AGE")),
        "{table}"
    );
    host.podbox(["get", "pods", "-o", "wide"]).ok().says(&host.pod("one").ip());
    assert_eq!(host.podbox(["get", "pods", "-o", "name"]).ok().text(), "pod/one\npod/two");
    assert_eq!(host.podbox(["get", "pods", "-l", "app=first", "-o", "name"]).ok().text(), "pod/one");
    let path = host.podbox(["get", "pod", "one", "-o", "jsonpath={.status.podIP}"]).ok();
    assert_eq!(path.text(), host.pod("one").ip());
    let list = host.podbox(["get", "pods", "-o", "json"]).ok().json();
    assert_eq!(list["kind"], "List");
    assert_eq!(list["items"].as_array().map(Vec::len), Some(2));
    host.podbox(["get", "pod", "one", "-o", "yaml"]).ok().says("kind: Pod").says("podIP: ");
    host.podbox(["get", "pod", "three"]).code(2).complains("pod default/three not found");
    let describe = host.podbox(["describe", "one"]).ok();
    for part in ["one", "Running", "Containers:", "Conditions:", "Events:", "Started container web"] {
        assert!(describe.stdout.contains(part), "{part} is not in\n{describe}");
    }
    host.finish();
}

#[test]
fn what_get_prints_can_be_given_to_up() {
    let host = Host::new();
    host.up(&pod("web", WEB));
    let yaml = host.podbox(["get", "pod", "web", "-o", "yaml"]).ok().stdout;
    host.down(&["web", "--grace-period", "0"]);
    host.try_up(&yaml, &[]).ok();
    host.finish();
}

#[test]
fn logs_follow_cut_stamp_and_remember_the_previous_run() {
    let host = Host::new();
    host.up(&pod("logs", r"
  containers:
  - {name: a, image: podbox.local/host, command: [sh, -c, 'for i in 1 2 3 4 5; do echo line $i; done; echo trouble >&2; sleep infinity']}
  - {name: b, image: podbox.local/toolbox, command: [flood, --rate, '50', --width, '10']}
"));
    let all = "line 1\nline 2\nline 3\nline 4\nline 5\ntrouble\n";
    wait_for("all lines", PATIENCE, || {
        let log = host.logs(&["logs", "-c", "a"]);
        if log.len() == all.len() { Ok(()) } else { Err(log) }
    });
    assert_eq!(host.logs(&["logs", "-c", "a", "--tail", "2"]).lines().count(), 2);
    let stamped = host.logs(&["logs", "-c", "a", "--timestamps", "--tail", "1"]);
    assert!(stamped.starts_with("20") && stamped.contains('T') && stamped.contains("Z "), "{stamped}");
    assert_eq!(host.logs(&["logs", "-c", "a", "--since", "1h"]), host.logs(&["logs", "-c", "a"]));
    let both = host.logs(&["logs", "--all-containers", "--prefix", "--tail", "3"]);
    assert!(both.contains("logs/a") && both.contains("logs/b"), "{both}");
    let follow = host.cmd(["logs", "-f", "logs", "-c", "b", "--tail", "1"]).spawn();
    let so_far = host.logs(&["logs", "-c", "b"]).lines().count();
    follow.wait_to_say(&format!("\n{} ", so_far + 20));
    host.kill(host.container_process("logs", "a"));
    host.wait_pod("logs", "a restart", |pod| pod.container("a")["restartCount"] == 1);
    let previous = host.logs(&["logs", "-c", "a", "-p"]);
    assert_eq!(previous.lines().count(), 6, "{previous}");
    host.podbox(["logs", "logs", "-c", "nobody"]).code(2).complains("nobody");
    host.finish();
}

#[test]
fn logs_lie_where_and_as_a_kubelet_writes_them() {
    let host = Host::new();
    host.up(&pod("cri", r"
  containers:
  - {name: c, image: podbox.local/host, command: [sh, -c, 'echo out; echo err >&2; head -c 20000 /dev/zero | tr ''\0'' x; printf end; sleep infinity']}
"));
    let uid = host.pod("cri").text("metadata.uid").to_owned();
    let file = host.root_dir().join(format!("log/pods/default_cri_{uid}/c/0.log"));
    let text = wait_for("the log file", PATIENCE, || {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        if text.lines().count() >= 4 { Ok(text) } else { Err(text) }
    });
    let mut kinds: Vec<String> =
        text.lines().map(|line| line.split(' ').skip(1).take(2).collect::<Vec<_>>().join(" ")).collect();
    kinds.sort();
    kinds.dedup();
    assert_eq!(kinds, ["stderr F", "stdout F", "stdout P"]);
    assert!(
        text.lines()
            .all(|line| line.split(' ').next().is_some_and(|time| time.len() >= 20 && time.contains('T')))
    );
    host.down(&["cri", "--grace-period", "0"]);
    assert!(!file.exists());
    host.finish();
}

#[test]
fn wait_waits_for_conditions_paths_and_the_end() {
    let host = Host::new();
    host.up(&pod("web", WEB.replace("command: [http]", "command: [http, --ready-after, 1s], readinessProbe: {httpGet: {path: /readyz, port: 8080}, periodSeconds: 1}").as_str()));
    host.podbox(["wait", "web", "--for", "condition=Ready", "--timeout", "100ms"])
        .code(1)
        .complains("timed out");
    host.podbox(["wait", "web", "--for", "condition=Ready", "--timeout", "20s"]).ok();
    host.podbox(["wait", "web", "--for", "jsonpath={.status.phase}=Running"]).ok();
    let mut gone = host.cmd(["wait", "web", "--for", "delete"]).spawn();
    host.down(&["web", "--grace-period", "0"]);
    assert_eq!(gone.end(PATIENCE), 0, "{}", gone.said());
    host.finish();
}

#[test]
fn plan_prints_every_step_as_a_command_and_touches_nothing() {
    let host = Host::new();
    let plan = host.cmd(["plan", "-"]).input(pod("web", WEB)).run().ok();
    for part in
        ["unshare", "ip link add", "mount -t overlay", "pivot_root", host.bridge().as_str(), "10.213."]
    {
        assert!(plan.stdout.contains(part), "{part} is not in\n{plan}");
    }
    host.expect_nothing_left();
    host.finish();
}

#[test]
fn trace_prints_what_was_done_with_its_time() {
    let host = Host::new();
    host.up(&pod("web", WEB));
    let trace = host.podbox(["trace", "web"]).ok();
    for part in ["µs", "sandbox", "network", "web", "ip link add", "pivot"] {
        assert!(trace.stdout.contains(part), "{part} is not in\n{trace}");
    }
    let lines = host.podbox(["trace", "web", "-o", "json"]).ok().stdout;
    for line in lines.lines() {
        let step: Value = serde_json::from_str(line).unwrap();
        assert!(step["step"].is_string() && step["micros"].is_u64(), "{line}");
    }
    assert!(lines.lines().count() > 10, "{lines}");
    host.finish();
}

#[test]
fn exec_passes_input_output_codes_and_a_terminal() {
    let host = Host::new();
    host.up(&pod(
        "web",
        WEB.replace("toolbox, command: [http]", "host, command: [sleep, infinity]").as_str(),
    ));
    let echoed = host.cmd(["exec", "-i", "web", "--", "cat"]).input("through\n").run().ok();
    assert_eq!(echoed.stdout, "through\n");
    let both = host.podbox(["exec", "web", "--", "sh", "-c", "echo out; echo err >&2; exit 9"]).code(9);
    assert_eq!((both.stdout.as_str(), both.stderr.as_str()), ("out\n", "err\n"));
    host.podbox(["exec", "web", "--", "sh", "-c", "kill -9 $$"]).code(137);
    host.podbox(["exec", "web", "--", "no-such-program"]).code(127).complains("no-such-program");
    host.podbox(["exec", "web", "--", "/etc/passwd"]).code(126);
    host.podbox(["exec", "web", "-c", "nobody", "--", "true"]).code(2).complains("nobody");
    host.podbox(["exec", "nobody", "--", "true"]).code(2).complains("pod default/nobody not found");
    // A real terminal, of a size that is passed on.
    let line =
        format!("stty rows 33 cols 77; {} exec -it web -- sh -c 'stty size; tty'", e2e::binary().display());
    let script =
        host.environment(e2e::Cmd::new("script")).args(["-qfec", line.as_str(), "/dev/null"]).run().ok();
    assert!(script.stdout.contains("33 77"), "{script}");
    assert!(script.stdout.contains("/dev/pts/"), "{script}");
    host.finish();
}

#[test]
fn a_watch_prints_each_change() {
    let host = Host::new();
    host.up(&pod("web", WEB));
    let watch = host.cmd(["get", "pods", "-w"]).spawn();
    let events = host.cmd(["events", "web", "-w"]).spawn();
    watch.wait_to_say("Running");
    host.kill(host.container_process("web", "web"));
    wait_until("a restart in the watch", PATIENCE, || watch.said().matches("web").count() >= 2);
    events.wait_to_say("Started container web");
    host.finish();
}

#[test]
fn version_completion_and_system_answer() {
    let host = Host::new();
    host.podbox(["version"]).ok().says("podbox 0.");
    host.podbox(["completion", "bash"]).ok().says("podbox");
    host.podbox(["system", "info"]).ok().says("kernel").says(host.run_dir().to_str().unwrap());
    host.podbox(["system", "check"]).ok().says("ok");
    host.podbox(["no-such-command"]).code(2);
    host.finish();
}
