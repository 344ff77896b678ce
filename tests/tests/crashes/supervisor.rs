//! The supervisor is killed.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use e2e::{Host, PATIENCE, pod, wait_for, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{
    Open, been_up, kill_all, no_line_is_lost, probes_go_on, processes, start, unchanged, under_traffic,
};

#[test]
fn supervisor_killed_containers_addresses_output_untouched_probes_go_on() {
    let host = Host::new();
    let before = start(&host, "spared");
    let pids = processes(&host, "spared");
    let mut open = Open::to(&before);
    under_traffic(&before, || {
        let mut old = None;
        for _ in 0..4 {
            let now = host.next_supervisor("spared", old);
            host.kill(now);
            old = Some(now);
        }
        let _ = host.next_supervisor("spared", old);
        host.wait_pod("spared", "Ready", |pod| pod.is("Ready"));
    });
    open.works();
    unchanged(&before, &host.pod("spared"));
    assert_eq!(processes(&host, "spared"), pids, "the processes are the same");
    no_line_is_lost(&host, "spared");
    probes_go_on(&host, "spared");
    host.down(&["spared"]);
    host.expect_nothing_left();
    host.finish();
}

#[test]
fn supervisor_killed_restart_counts_and_back_off_survive() {
    let host = Host::builder().backoff("2s", "4s").build();
    host.up(&pod(
        "crash",
        r"
  containers:
  - {name: c, image: podbox.local/toolbox, command: [exitcode, '1']}
",
    ));
    let before = host.wait_pod("crash", "back-off after two restarts", |pod| {
        pod.restarts() == 2
            && pod.text("status.containerStatuses.0.state.waiting.reason") == "CrashLoopBackOff"
    });
    let old = host.supervisor("crash");
    host.kill(old.unwrap());
    let _ = host.next_supervisor("crash", old);
    let message = before.at("status.containerStatuses.0.state.waiting.message").clone();
    let view = host
        .wait_pod("crash", "the same back-off, or its end", |pod| pod.restarts() == 2 || pod.restarts() == 3);
    if view.restarts() == 2
        && view.text("status.containerStatuses.0.state.waiting.reason") == "CrashLoopBackOff"
    {
        assert_eq!(view.at("status.containerStatuses.0.state.waiting.message"), &message);
    }
    host.wait_pod("crash", "the third restart", |pod| pod.restarts() == 3);
    host.finish();
}

#[test]
fn supervisor_killed_while_containers_end_every_death_counts_once() {
    let host = Host::new();
    host.up(&pod(
        "dying",
        r"
  restartPolicy: OnFailure
  containers:
  - {name: a, image: podbox.local/toolbox, command: [sleep, infinity]}
  - {name: b, image: podbox.local/toolbox, command: [exitcode, --after, 1s, '0', fine]}
",
    ));
    for round in 1..=3 {
        let (supervisor, victim) =
            (host.next_supervisor("dying", None), host.container_process("dying", "a"));
        host.kill(supervisor);
        host.kill(victim);
        let view = host.wait_pod("dying", "a restart", |pod| {
            pod.container("a")["restartCount"].as_u64() == Some(round)
                && !pod.container("a")["state"]["running"].is_null()
        });
        let last = &view.container("a")["lastState"]["terminated"];
        assert_eq!((&last["exitCode"], &last["reason"]), (&137.into(), &"Error".into()), "{last:#}");
    }
    let view =
        host.wait_pod("dying", "the end of b", |pod| !pod.container("b")["state"]["terminated"].is_null());
    let ended = &view.container("b")["state"]["terminated"];
    assert_eq!((&ended["exitCode"], &ended["reason"]), (&0.into(), &"Completed".into()), "{ended:#}");
    assert_eq!(host.logs(&["dying", "-c", "b"]), "fine\n");
    host.finish();
}

#[test]
fn supervisor_killed_while_it_takes_the_pod_down_the_pod_goes_down() {
    let host = Host::new();
    host.up(&pod("slow", r"
  terminationGracePeriodSeconds: 4
  containers:
  - {name: c, image: podbox.local/host, command: [sh, -c, 'trap '''' TERM; echo ready; while :; do sleep 0.1; done']}
"));
    wait_until("the trap", PATIENCE, || host.logs(&["slow"]).contains("ready"));
    let down = host.cmd(["down", "slow"]).spawn();
    host.wait_pod("slow", "deletionTimestamp", |pod| !pod.text("metadata.deletionTimestamp").is_empty());
    host.kill(host.supervisor("slow").unwrap());
    wait_until("the pod's end", PATIENCE, || !host.podbox(["get", "pod", "slow"]).good());
    drop(down);
    host.expect_nothing_left();
    host.finish();
}

#[test]
fn supervisor_killed_as_a_program_begins_that_may_run_once_it_runs_once() {
    let host = Host::new();
    let runs = host.dir().join("runs");
    fs::create_dir(&runs).unwrap();
    let spec = format!(
        "  restartPolicy: Never
  containers:
  - {{name: c, image: podbox.local/host, command: [sh, -c, 'echo run >>/runs/all; exit 3'], volumeMounts: [{{name: r, mountPath: /runs}}]}}
  volumes: [{{name: r, hostPath: {{path: {}}}}}]",
        runs.display()
    );
    let manifest = host.dir().join("once.yaml");
    fs::write(&manifest, pod("once", &spec)).unwrap();
    let manifest = manifest.to_str().unwrap();
    for step in 0..40_u64 {
        let mut up = host.cmd(["up", "-d", "--wait", "none", manifest]).spawn();
        let supervisor = wait_for("a supervisor", PATIENCE, || host.helpers("supervise").pop().ok_or("none"));
        let begun = Instant::now();
        // It has begun; the supervisor may have written that down or not.
        while !runs.join("all").exists() && begun.elapsed() < PATIENCE {
            std::hint::spin_loop();
        }
        thread::sleep(Duration::from_micros(step / 4 * 20));
        let _ = kill(Pid::from_raw(supervisor), Signal::SIGKILL);
        up.end(PATIENCE);
        let view = host.wait_pod("once", "its end", |pod| pod.phase() == "Failed");
        let ended = &view.container("c")["state"]["terminated"];
        assert_eq!((&ended["exitCode"], &ended["reason"]), (&3.into(), &"Error".into()), "{step}: {ended:#}");
        let said = fs::read_to_string(runs.join("all")).unwrap();
        assert_eq!(said, "run\n", "after {step} steps");
        fs::remove_file(runs.join("all")).unwrap();
        host.down(&["once"]);
    }
    host.finish();
}

#[test]
fn supervisor_killed_while_it_makes_the_sandbox_the_next_one_makes_it_anew_under_the_same_name() {
    let host = Host::new();
    let manifest = been_up(&host, "half-made");
    let names = || {
        let all = fs::read_dir("/run/netns").into_iter().flatten().flatten();
        let names = all.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.filter(|name| name.contains("half-made")).collect::<Vec<_>>()
    };
    for step in 0..20_u64 {
        let mut up = host.cmd(["up", "-d", "--wait", "ready", manifest.as_str()]).spawn();
        // The name is taken before the namespace is there; from then on at moments 100 us apart.
        wait_until("a name for the namespace", PATIENCE, || !names().is_empty());
        thread::sleep(Duration::from_micros(step * 100));
        kill_all(&host, &["supervise"]);
        assert_eq!(up.end(PATIENCE), 0);
        assert_eq!(names(), ["default_half-made"]);
        host.podbox(["down", "--all", "--grace-period", "0"]).ok();
        assert_eq!(names(), [""; 0]);
        host.expect_nothing_left();
    }
    host.finish();
}

#[test]
fn supervisor_killed_while_the_signal_waits_for_others_to_lead_elsewhere_its_successor_sends_it() {
    let host = Host::new();
    host.up("apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec:\n  selector: {app: web}\n  ports: [{port: 80, targetPort: 8080}]\n");
    let spec = "  terminationGracePeriodSeconds: 60\n  containers:\n  - name: c\n    image: podbox.local/toolbox\n    command: [http, --port, '8080']\n    readinessProbe: {httpGet: {path: /, port: 8080}}\n";
    for name in ["owing", "staying"] {
        let named = format!("name: {name}");
        host.up_ready(&pod(name, spec).replacen(&named, &format!("{named}\n  labels: {{app: web}}"), 1));
    }
    let listed = || host.podbox(["get", "endpoints", "web", "-o", "json"]).ok().json();
    wait_until("both endpoints", PATIENCE, || {
        listed()["subsets"][0]["addresses"].as_array().is_some_and(|both| both.len() == 2)
    });
    thread::sleep(Duration::from_millis(200));
    // One who does not answer is waited for, though not for ever.
    let silent = Pid::from_raw(host.next_supervisor("staying", None));
    kill(silent, Signal::SIGSTOP).unwrap();
    let owed = host.pod_dir("owing").join("containers/c/0/owed-signal");
    let mut down = host.cmd(["down", "owing"]).spawn();
    wait_until("the signal to be owed", PATIENCE, || owed.exists());
    host.kill(host.next_supervisor("owing", None));
    assert_eq!(down.end(PATIENCE), 0, "{}", down.said());
    kill(silent, Signal::SIGCONT).unwrap();
    host.finish();
}
