//! The command line as people who know kubectl and docker use it: choosing pods, watching, waiting, restarting.

use std::fs;
use std::time::Duration;

use e2e::{Background, Cmd, Host, PATIENCE, pod, wait_for, wait_until};
use nix::sys::signal::Signal;
use serde_json::Value;

const IDLE: &str = r"
  containers:
  - {name: main, image: podbox.local/toolbox, command: [sleep, infinity]}
";

const TWO: &str = r"
  containers:
  - {name: a, image: podbox.local/toolbox, command: [http, --port, '8080']}
  - {name: b, image: podbox.local/toolbox, command: [http, --port, '8081']}
";

fn labelled(name: &str, labels: &str, spec: &str) -> String {
    pod(name, spec).replacen("metadata:\n", &format!("metadata:\n  labels: {{{labels}}}\n"), 1)
}

/// How often the process's threads have gone to sleep by themselves.
fn sleeps(pid: i32) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let count = |task: fs::DirEntry| {
        let status = fs::read_to_string(task.path().join("status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
        line.trim().parse::<u64>().ok()
    };
    tasks.filter_map(count).sum()
}

/// Insists that a process that waits does nothing at all while nothing happens: whoever looks again from time to
/// time goes to sleep again each time, and the kernel counts that.
fn does_not_poll(what: &str, waiting: &Background) {
    let quiet_for = |time: Duration| {
        let before = sleeps(waiting.pid());
        std::thread::sleep(time);
        sleeps(waiting.pid()) - before
    };
    wait_until(&format!("{what} to have nothing to do"), PATIENCE, || {
        quiet_for(Duration::from_millis(500)) == 0
    });
    let woken = quiet_for(Duration::from_secs(3));
    assert_eq!(woken, 0, "{what} woke up {woken} times in 3 idle seconds; it said\n{}", waiting.said());
}

#[test]
fn whoever_waits_for_something_sleeps_until_it_happens() {
    let host = Host::new();
    host.up(&pod("idle", IDLE));
    host.wait_pod("idle", "Ready", |pod| pod.is("Ready"));
    let mut foreground = host.cmd(["up", "-"]).input(pod("front", IDLE)).spawn();
    foreground.close_input();
    host.wait_pod("front", "Ready", |pod| pod.is("Ready"));
    let waiting: Vec<(&str, Background)> = [
        ("get -w", &["get", "pods", "-w"][..]),
        ("get -w of one pod", &["get", "pod", "idle", "-w", "-o", "json"]),
        ("events -w", &["events", "-w"]),
        ("logs -f", &["logs", "-f", "idle"]),
        ("wait for a condition", &["wait", "idle", "--for=condition=Ready=False", "--timeout=10m"]),
        ("wait for the end", &["wait", "idle", "--for=delete", "--timeout=10m"]),
        ("wait for a pod", &["wait", "nobody", "--for=create", "--timeout=10m"]),
    ]
    .into_iter()
    .map(|(what, args)| (what, host.cmd(args).spawn()))
    .collect();
    for (what, background) in &waiting {
        does_not_poll(what, background);
    }
    does_not_poll("up in the foreground", &foreground);
    drop(waiting);
    foreground.signal(Signal::SIGINT);
    host.finish();
}

#[test]
fn a_watch_prints_what_comes_changes_and_goes() {
    let host = Host::new();
    let all = host.cmd(["get", "pods", "-w", "--output-watch-events"]).spawn();
    let only = host.cmd(["get", "pods", "--watch-only", "--no-headers"]).spawn();
    let json = host.cmd(["get", "pods", "-w", "-o", "json"]).spawn();
    host.up(&pod("web", IDLE));
    all.wait_to_say("Running");
    host.down(&["web", "--grace-period", "0"]);
    all.wait_to_say("DELETED");
    let said = all.said();
    let rows: Vec<Vec<&str>> = said.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["EVENT", "NAME", "READY", "STATUS", "RESTARTS", "AGE"], "{said}");
    assert_eq!(rows[1][..2], ["ADDED", "web"], "{said}");
    assert_eq!(rows.iter().filter(|row| row[0] == "EVENT").count(), 1, "{said}");
    assert!(rows.iter().any(|row| row[..4] == ["MODIFIED", "web", "1/1", "Running"]), "{said}");
    only.wait_to_say("Running");
    assert!(!only.said().contains("NAME"), "{}", only.said());
    json.wait_to_say("\"Running\"");
    let objects = json.said();
    let stream = serde_json::Deserializer::from_str(&objects).into_iter::<Value>();
    let objects: Vec<Value> = stream.map_while(Result::ok).collect();
    assert!(objects.len() > 1 && objects.iter().all(|object| object["kind"] == "Pod"), "{objects:#?}");
    host.finish();
}

#[test]
fn a_watch_ends_with_its_reader_and_with_ctrl_c() {
    let host = Host::new();
    host.up(&pod("web", IDLE));
    let podbox = e2e::binary();
    for command in ["get pods -w", "events -w", "logs -f web -c main"] {
        // Nothing happens any more that could be printed: the end of the reader is news by itself.
        let line = format!("{} {command} | true; echo the reader has gone", podbox.display());
        let output = host.environment(Cmd::new("sh")).args(["-c", &line]).limit(PATIENCE).run().ok();
        assert_eq!(output.stderr, "", "{output}");
    }
    // Whatever is printed in one go.
    for command in
        ["get pods -o yaml", "describe web", "events", "trace web", "system info", "completion bash"]
    {
        let line = format!("{} {command} | true", podbox.display());
        let output = host.environment(Cmd::new("bash")).args(["-o", "pipefail", "-c", &line]).run().ok();
        assert_eq!(output.stderr, "", "{output}");
    }
    for args in [
        &["get", "pods", "-w"][..],
        &["events", "-w"],
        &["logs", "-f", "web"],
        &["wait", "web", "--for=delete"],
    ] {
        let mut background = host.cmd(args).spawn();
        does_not_poll(args[0], &background);
        let before = background.said();
        background.signal(Signal::SIGINT);
        assert_eq!(background.end(PATIENCE), 130, "{args:?}");
        assert_eq!(background.said(), before, "{args:?}: it says nothing about it");
    }
    host.finish();
}

#[test]
fn in_the_foreground_up_takes_its_pods_down_when_nobody_reads_any_more() {
    let host = Host::new();
    let line = format!("{} up - | true", e2e::binary().display());
    host.environment(Cmd::new("bash")).args(["-c", &line]).input(pod("web", IDLE)).run().ok();
    host.expect_nothing_left();
    host.finish();
}

#[test]
fn get_takes_kubectls_flags() {
    let host = Host::new();
    host.up(&labelled("web-10", "app: web, tier: front", IDLE));
    host.up(&labelled("web-2", "app: web", IDLE));
    let job = "  restartPolicy: Never\n  containers:\n  - {name: c, image: podbox.local/toolbox, command: [exitcode, '0']}";
    host.try_up(&pod("job", job), &["--wait", "complete"]).ok();
    let get = |args: &[&str]| host.podbox(["get", "pods"].iter().chain(args)).ok().stdout;
    assert_eq!(get(&["-o", "name", "--sort-by", ".metadata.name"]), "pod/job\npod/web-2\npod/web-10\n");
    assert_eq!(
        get(&["-o", "name", "--field-selector", "status.phase=Running,metadata.name!=web-2"]),
        "pod/web-10\n"
    );
    assert_eq!(get(&["-o", "name", "-l", "app=web,!tier"]), "pod/web-2\n");
    assert_eq!(
        get(&["-o", "jsonpath-as-json={.items[*].metadata.name}", "-l", "tier"]),
        "[\n    \"web-10\"\n]\n"
    );
    let columns = "custom-columns=NAME:.metadata.name,IMAGE:.spec.containers[0].image";
    assert_eq!(
        get(&["-o", columns, "--field-selector=metadata.name=job"]),
        "NAME   IMAGE\njob    podbox.local/toolbox\n"
    );
    let rows = get(&["--no-headers", "--show-labels", "-L", "tier"]);
    let rows: Vec<Vec<&str>> = rows.lines().map(|row| row.split_whitespace().collect()).collect();
    assert_eq!(rows[0][..3], ["job", "0/1", "Completed"], "{rows:?}");
    assert_eq!(rows[1].last(), Some(&"app=web,tier=front"), "{rows:?}");
    let wide = get(&["-o", "wide"]);
    assert!(wide.lines().next().is_some_and(|head| head.ends_with("READINESS GATES")), "{wide}");
    host.podbox(["get", "pod", "nope", "--ignore-not-found"]).ok().quiet();
    host.podbox(["get", "pod", "web-2", "nope", "-o", "name"])
        .code(2)
        .says("pod/web-2")
        .complains("default/nope not found");
    host.podbox(["get", "pods", "-l", "app=none"]).ok().complains("No resources found in default namespace.");
    host.podbox(["get", "web-2", "-o", "name"]).ok().says("pod/web-2");
    host.finish();
}

#[test]
fn wait_understands_all_that_kubectl_does_and_phases() {
    let host = Host::new();
    let creation = host.cmd(["wait", "web", "--for=create", "--timeout=60s"]).spawn();
    let first = host.cmd(["wait", "--for=create", "-l", "app=web", "--timeout=60s"]).spawn();
    host.up(&labelled("web", "app: web", TWO));
    host.up(&labelled("other", "app: web", TWO));
    creation.wait_to_say("pod/web condition met");
    first.wait_to_say("condition met");
    let wait = |args: &[&str]| host.podbox(["wait", "--timeout=30s"].iter().chain(args));
    for what in [
        "condition=Ready",
        "condition=ready=TRUE",
        "phase=Running",
        "jsonpath={.status.phase}=Running",
        "jsonpath=.status.phase=Running",
        "jsonpath={.status.podIP}",
        "jsonpath={.status.conditions[?(@.type==\"Ready\")].status}=True",
    ] {
        wait(&["web", &format!("--for={what}")]).ok().says("pod/web condition met");
    }
    wait(&["pod/web", "other"]).ok().says("pod/web").says("pod/other");
    wait(&["pods", "--all"]).ok().says("pod/web").says("pod/other");
    wait(&["-l", "app=web", "-A"]).ok().says("pod/web").says("pod/other");
    let manifest = host.dir().join("web.yaml");
    fs::write(&manifest, labelled("web", "app: web", TWO)).unwrap();
    wait(&[manifest.to_str().unwrap()]).ok().says("pod/web condition met");
    wait(&["-f", manifest.to_str().unwrap()]).ok().says("pod/web condition met");
    let late = host.podbox(["wait", "web", "other", "--for=condition=Ready=False", "--timeout=0"]).code(1);
    assert_eq!(late.stderr.matches("timed out waiting for condition=Ready=False").count(), 2, "{late}");
    late.complains("Ready is True");
    wait(&["web", "--for=conditoin=Ready"]).code(2).complains("condition=NAME[=STATUS]");
    wait(&["web", "--for=phase=Runing"]).code(2).complains("Pending, Running");
    wait(&["web", "--for=condition=Ready=Yes"]).code(2).complains("True, False, Unknown");
    wait(&["nope"]).code(2).complains("pod default/nope not found");
    wait(&["-l", "app=none"]).code(2).complains("no matching pods found");
    wait(&["-l", "app=none", "--for=delete"]).ok();
    wait(&[]).code(2).complains("which pods?");
    let mut gone = host.cmd(["wait", "-l", "app=web", "--for=delete", "--timeout=60s"]).spawn();
    let broken = host.cmd(["wait", "web", "--for=condition=Ready=False", "--timeout=60s"]).spawn();
    does_not_poll("wait for the end", &gone);
    host.down(&["-l", "app=web"]);
    assert_eq!(gone.end(PATIENCE), 0, "{}", gone.said());
    wait_until("the other wait to end", PATIENCE, || {
        broken.said().contains("condition met") || broken.said().contains("went away")
    });
    host.finish();
}

#[test]
fn wait_says_at_once_what_will_never_be() {
    let host = Host::new();
    let job = "  restartPolicy: Never\n  containers:\n  - {name: c, image: podbox.local/toolbox, command: [exitcode, --after, 2s, '3']}";
    host.up(&pod("job", job));
    host.podbox(["wait", "job", "--for=condition=example.com/gate", "--timeout=10m"])
        .code(1)
        .complains("it has no condition example.com/gate");
    let output = host.podbox(["wait", "job", "--for=condition=Ready", "--timeout=10m"]).code(1);
    let output = output.complains("will never have condition=Ready").complains("the pod is over (Failed)");
    assert!(output.took < Duration::from_secs(60), "{output}");
    host.podbox(["wait", "job", "--for=phase=Succeeded", "--timeout=10m"])
        .code(1)
        .complains("will never have");
    host.podbox(["wait", "job", "--for=phase=Failed", "--timeout=10m"]).ok();
    host.finish();
}

#[test]
fn ready_must_have_held_as_long_as_asked() {
    let host = Host::new();
    // Ready for a moment again and again, until it stays so.
    let flapping = r"
  containers:
  - name: c
    image: podbox.local/host
    command: [sh, -c, 'touch /tmp/up; sleep 2.5; rm /tmp/up; sleep 2; touch /tmp/up; sleep infinity']
    readinessProbe: {exec: {command: [test, -e, /tmp/up]}, periodSeconds: 1, failureThreshold: 1}
";
    let up = host.try_up(&pod("web", flapping), &["--wait", "ready", "--min-ready", "5s"]).ok();
    let view = host.pod("web");
    let since = view.condition("Ready")["lastTransitionTime"].as_str().unwrap().to_owned();
    assert!(up.took > Duration::from_secs(9), "2.5 s + 2 s + 5 s: {up}");
    host.podbox(["wait", "web", "--min-ready", "6s"]).ok();
    assert_eq!(host.pod("web").condition("Ready")["lastTransitionTime"], since.as_str());
    host.podbox(["wait", "web", "--min-ready", "1h", "--timeout", "1s"])
        .code(1)
        .complains("not been so for long enough");
    host.podbox(["wait", "web", "--for=delete", "--min-ready", "1s"])
        .code(2)
        .complains("--min-ready goes with");
    host.try_up(&pod("x", IDLE), &["--min-ready", "1s"]).code(2).complains("--min-ready goes with");
    host.finish();
}

#[test]
fn describe_tells_what_kubectl_describe_tells() {
    let host = Host::new();
    let spec = r"
  containers:
  - name: web
    image: podbox.local/toolbox
    command: [http]
    ports: [{containerPort: 8080}]
    livenessProbe: {httpGet: {path: /healthz, port: 8080}}
  - {name: crash, image: podbox.local/toolbox, command: [exitcode, '1']}
";
    host.up(&labelled("web", "app: web", spec));
    host.wait_pod("web", "restarts", |pod| pod.container("crash")["restartCount"].as_u64() >= Some(2));
    host.wait_event("web", "BackOff", "crash");
    let text = host.podbox(["describe", "pod", "web"]).ok().stdout;
    for part in [
        "Labels:           app=web\n",
        "    Port:          8080/TCP\n",
        "    Liveness:       http-get http://:8080/healthz delay=0s timeout=1s period=10s #success=1 #failure=3\n",
        "    Last State:     Terminated\n      Reason:       Error\n      Exit Code:    1\n",
        "  Type                        Status\n",
        "\nQoS Class:                    BestEffort\n",
        "  Type     Reason     Age",
        " over ",
    ] {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
    let both = host.podbox(["describe", "-l", "app=web"]).ok().stdout;
    assert!(both.starts_with("Name:             web\n"), "{both}");
    host.finish();
}

#[test]
fn the_container_that_is_meant_is_said_and_a_wrong_one_is_answered_with_the_right_ones() {
    let host = Host::new();
    host.up(&pod("web", TWO));
    host.podbox(["logs", "web"]).ok().complains("Defaulted container \"a\" out of: a, b");
    let out = host.podbox(["exec", "web", "--", "echo", "hello"]).ok();
    assert_eq!(out.stdout, "hello\n", "the note is not part of the output");
    out.complains("Defaulted container \"a\" out of: a, b");
    let flags = host.podbox(["exec", "web", "-c", "b", "printf", "%s|", "-c", "x", "--", "-y"]).ok();
    assert_eq!(flags.stdout, "-c|x|--|-y|", "as docker does, all that follows the command is its own");
    host.podbox(["logs", "web", "-c", "c"])
        .code(2)
        .complains("container c is not valid for pod web out of: a, b");
    host.podbox(["exec", "web", "-c", "c", "--", "true"]).code(2).complains("out of: a, b");
    host.podbox(["logs", "web", "-c", "a", "-p"]).code(1).complains("previous terminated container \"a\"");
    let annotated = pod("noted", TWO).replacen(
        "metadata:\n",
        "metadata:\n  annotations: {kubectl.kubernetes.io/default-container: b}\n",
        1,
    );
    host.up(&annotated);
    host.podbox(["logs", "noted"]).ok().quiet();
    host.podbox(["exec", "noted", "--", "true"]).ok().quiet();
    host.finish();
}

#[test]
fn what_is_asked_wrongly_is_answered_with_what_would_be_right() {
    let host = Host::new();
    host.up(&pod("web", IDLE));
    let elsewhere = pod("far", IDLE).replacen("metadata:\n", "metadata:\n  namespace: team\n", 1);
    host.up(&elsewhere);
    let wrong = |args: &[&str], words: &str| host.podbox(args).code(2).complains(words);
    wrong(&["get", "pod", "nope"], "the pods of namespace default are web");
    wrong(&["describe", "far"], "there is a pod far in namespace team: -n team");
    wrong(&["logs", "deployment/web"], "podbox knows pods only");
    wrong(&["get", "deployments"], "podbox has no resource type \"deployments\"");
    wrong(&["get", "events"], "podbox events");
    wrong(&["get", "pods", "--sort-by", ".metadata.nmae"], "couldn't find any field");
    wrong(
        &["get", "pods", "--field-selector", "status.phas=Running"],
        "field label not supported: status.phas",
    );
    wrong(&["get", "pods", "-l", "app is web"], "expected =");
    wrong(&["get", "pods", "-o", "yml"], "the formats are");
    wrong(&["get", "pod", "web", "-l", "a=b"], "not both");
    wrong(&["get", "pod", "web", "-A"], "NAMESPACE/NAME");
    wrong(&["logs", "web", "--tail", "many"], "invalid value 'many'");
    wrong(&["exec", "web"], "<COMMAND>");
    wrong(&["down"], "<FILE|POD>");
    wrong(&["down", "nope", "nobody"], "pod default/nobody not found");
    wrong(&["--no-such-flag"], "--no-such-flag");
    wrong(&["apply", "-f", "web.yaml"], "podbox up -d FILE");
    wrong(&["delete", "pod", "web"], "podbox down POD");
    wrong(&["restrat"], "restart");
    for form in ["pod/far", "team/far"] {
        host.podbox(["get", form, "-n", "team", "-o", "name"]).ok().says("pod/far");
    }
    host.podbox(["get", "pods", "-A", "--no-headers"]).ok().says("team ");
    host.podbox(["down", "pod", "web", "team/far", "--grace-period", "0"]).ok().says("pod team/far down");
    host.finish();
}

#[test]
fn events_are_chosen_by_pod_and_type_and_watched() {
    let host = Host::new();
    let crash = "  containers:\n  - {name: c, image: podbox.local/toolbox, command: [exitcode, '1']}";
    let watch = host.cmd(["events", "-w", "--types=Warning"]).spawn();
    host.up(&pod("crash", crash));
    host.up(&pod("calm", IDLE));
    watch.wait_to_say("(x2 over ");
    assert!(!watch.said().contains("Normal"), "{}", watch.said());
    let table = host.podbox(["events", "--for", "pod/calm"]).ok().stdout;
    assert!(table.contains("Pod/calm") && !table.contains("Pod/crash"), "{table}");
    let warnings = host.podbox(["events", "--types", "warning", "--no-headers"]).ok().stdout;
    assert!(warnings.lines().all(|line| line.contains("Warning")), "{warnings}");
    let list = host.podbox(["events", "crash", "-o", "json"]).ok().json();
    assert_eq!(list["kind"], "List");
    host.podbox(["events", "nope"]).code(2).complains("default/nope not found");
    host.podbox(["events", "-n", "empty"]).ok().complains("No events found in empty namespace.");
    wait_for("the calm pod", PATIENCE, || {
        host.podbox(["events", "calm"]).stdout.contains("Started").then_some(()).ok_or("")
    });
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

#[test]
fn the_shell_completes_commands_flags_and_live_pods() {
    let host = Host::new();
    host.up(&labelled("web", "app: web", TWO));
    let elsewhere = pod("far", IDLE).replacen("metadata:\n", "metadata:\n  namespace: team\n", 1);
    host.up(&elsewhere);
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        host.podbox(["completion", shell]).ok().says("podbox").quiet();
    }
    host.podbox(["completion", "cmd"]).code(2);
    let bin = e2e::binary();
    let complete = |words: &str| {
        let script = format!(
            "export PATH={}:$PATH; source <(podbox completion bash)
             f=$(complete -p podbox | sed 's/.*-F \\([^ ]*\\).*/\\1/'); COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
             COMP_TYPE=9; $f podbox \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD-1]}}\"; echo \"${{COMPREPLY[@]}}\"",
            bin.parent().unwrap().display()
        );
        let output = host.environment(Cmd::new("bash")).args(["-c", &script]).run().ok();
        output.text().split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    assert!(complete("podbox res").contains(&"restart".to_owned()));
    assert_eq!(complete("podbox logs w"), ["web"]);
    assert_eq!(complete("podbox exec t"), ["team/far"]);
    assert_eq!(complete("podbox logs web -c ''"), ["a", "b", "main"]);
    assert_eq!(complete("podbox get pods -n t"), ["team"]);
    assert!(complete("podbox wait --f").contains(&"--for".to_owned()));
    host.finish();
}

#[test]
fn files_and_directories_of_a_pods_name_do_not_hide_the_pod() {
    let host = Host::new();
    host.up(&pod("kk", IDLE));
    fs::create_dir_all(host.dir().join("kk")).unwrap();
    fs::create_dir_all(host.dir().join("pod")).unwrap();
    fs::write(host.dir().join("pod/kk"), "no manifest").unwrap();
    let here = |words: &str| {
        let line = format!("cd {} && {} {words}", host.dir().display(), e2e::binary().display());
        host.environment(Cmd::new("sh")).args(["-c", &line]).run()
    };
    for command in ["get", "describe", "events", "wait", "restart --grace-period 0"] {
        here(&format!("{command} kk")).ok();
        here(&format!("{command} pod/kk")).ok();
    }
    here("down ./kk").code(2).complains("holds no .yaml");
    fs::write(host.dir().join("kk/pod"), pod("kk", IDLE)).unwrap();
    here("get kk/pod").ok().says("kk");
    here("down --grace-period 0 kk").ok().says("pod default/kk down");
    host.finish();
}

#[test]
fn the_commands_that_plan_prints_can_be_typed() {
    let host = Host::new();
    let spec = "  containers:\n  - {name: c, image: podbox.local/toolbox, command: [sh, -c, 'while true; do sleep 1; done']}";
    let output = host.cmd(["plan", "-"]).input(pod("web", spec)).run().ok();
    assert!(output.stdout.contains("exec sh -c 'while true; do sleep 1; done'"), "{output}");
    assert!(output.stdout.contains("setpriv --reuid 0 --regid 0 --clear-groups"), "{output}");
    assert!(output.stdout.contains("grep -e 0 -e 0 /etc/passwd /etc/group"), "{output}");
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
