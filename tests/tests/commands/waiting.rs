//! Waiting and watching: nobody polls, and everybody ends when nobody listens any more.

use std::fs;
use std::time::Duration;

use e2e::{Background, Cmd, Host, PATIENCE, pod, wait_for, wait_until};
use nix::sys::signal::Signal;
use serde_json::Value;

use super::{IDLE, TWO, does_not_poll, labelled};

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
