//! A pod's life: up, running, restarts, back-off, termination, down.

use std::time::{Duration, Instant};

use e2e::{Background, Host, PATIENCE, pod, wait_for, wait_until};
use nix::sys::signal::Signal;

const TWO: &str = r"
  containers:
  - {name: web, image: podbox.local/toolbox, command: [http, --port, '8080']}
  - {name: aside, image: podbox.local/toolbox, command: [sleep, infinity]}
";

#[test]
fn a_pod_comes_up_is_listed_logs_answers_and_goes_down_without_a_trace() {
    let host = Host::new();
    host.up(&pod("web", TWO)).says("pod default/web up").quiet();
    let ip = host.pod("web").ip();
    host.podbox(["get", "pods"]).ok().says("web").says("2/2").says("Running");
    let url = format!("{ip}:8080/");
    let answer = host.cmd(["toolbox", "get", "--retry", "50", "--retry-delay", "100ms", &url]).run().ok();
    assert_eq!(answer.text(), "You've hit web");
    wait_for("the request's line in the log", PATIENCE, || {
        let log = host.logs(&["web"]);
        if log.contains("GET / 200") { Ok(()) } else { Err(log) }
    });
    assert_eq!(host.exec("web", &["echo", "hello", "there"]), "hello there");
    host.podbox(["exec", "web", "-c", "aside", "--", "exitcode", "7"]).code(7);
    host.down(&["web", "--grace-period", "1"]).says("pod default/web down").quiet();
    host.podbox(["get", "pod", "web"]).code(2).complains("pod default/web not found");
    host.expect_nothing_left();
    host.finish();
}

#[test]
fn down_takes_manifests_names_and_all() {
    let host = Host::new();
    let file = host.dir().join("two.yaml");
    let text = format!("{}---\n{}", pod("one", TWO), pod("two", TWO).replace("8080", "8081"));
    std::fs::write(&file, text).unwrap();
    let file = file.to_str().unwrap();
    host.podbox(["up", "-d", file]).ok().says("pod default/one up").says("pod default/two up");
    host.down(&[file, "--grace-period", "0"]).says("pod default/one down").says("pod default/two down");
    // What is not there is down already.
    host.down(&[file]);
    host.podbox(["down", "one"]).code(2).complains("pod default/one not found");
    host.podbox(["up", "-d", file]).ok();
    host.down(&["pod/one", "default/two", "--grace-period", "0"]);
    host.podbox(["up", "-d", file]).ok();
    host.down(&["--all", "--grace-period", "0"]);
    assert_eq!(host.podbox(["get", "pods", "-o", "name"]).ok().text(), "");
    host.finish();
}

#[test]
fn up_waits_for_a_pod_that_somebody_else_has_just_started() {
    let host = Host::new();
    let manifest = pod(
        "slow",
        r#"
  containers:
  - name: c
    image: podbox.local/toolbox
    command: [sh, -c, 'sleep 2; touch /ready; sleep 1000']
    readinessProbe: {exec: {command: [ls, /ready]}, periodSeconds: 1}
"#,
    );
    host.up_none(&manifest);
    host.up_ready(&manifest).says("pod default/slow unchanged");
    assert!(host.pod("slow").is("Ready"));
    host.down(&["slow", "--grace-period", "0"]);
    host.finish();
}

#[test]
fn the_same_manifest_again_is_unchanged_another_one_needs_replace() {
    let host = Host::new();
    host.up(&pod("web", TWO));
    let before = host.pod("web");
    host.up(&pod("web", TWO)).says("pod default/web unchanged");
    assert_eq!(host.pod("web").text("metadata.uid"), before.text("metadata.uid"));
    let other = pod("web", TWO).replace("8080", "8081");
    host.try_up(&other, &[]).code(2).complains("already running").complains("--replace");
    assert_eq!(
        host.pod("web").text("metadata.uid"),
        before.text("metadata.uid"),
        "a refusal changes nothing"
    );
    host.try_up(&other, &["--replace"]).ok().says("pod default/web up");
    assert_ne!(host.pod("web").text("metadata.uid"), before.text("metadata.uid"));
    host.finish();
}

#[test]
fn a_finished_pod_stays_visible_and_its_name_is_free_for_the_next_up() {
    let host = Host::new();
    let manifest = pod(
        "job",
        r"
  restartPolicy: Never
  containers:
  - {name: job, image: podbox.local/toolbox, command: [exitcode, '0', done]}
",
    );
    host.try_up(&manifest, &["--wait", "complete"]).ok();
    let view = host.pod("job");
    assert_eq!(view.phase(), "Succeeded");
    assert_eq!(view.text("status.containerStatuses.0.state.terminated.reason"), "Completed");
    assert_eq!(host.logs(&["job"]), "done\n");
    host.podbox(["get", "pods"]).ok().says("Completed").says("0/1");
    host.try_up(&manifest, &["--wait", "complete"]).ok();
    assert_ne!(host.pod("job").text("metadata.uid"), view.text("metadata.uid"));
    host.down(&["job"]);
    host.finish();
}

#[test]
fn a_pod_that_fails_for_good_is_failed_and_up_ends_with_1() {
    let host = Host::new();
    let manifest = pod(
        "job",
        r"
  restartPolicy: Never
  containers:
  - {name: good, image: podbox.local/toolbox, command: [exitcode, '0']}
  - {name: bad, image: podbox.local/toolbox, command: [exitcode, '3', oh no]}
",
    );
    host.up(&manifest);
    let view = host.wait_pod("job", "Failed", |pod| pod.phase() == "Failed");
    assert_eq!(view.container("bad")["state"]["terminated"]["exitCode"], 3);
    assert_eq!(view.container("bad")["state"]["terminated"]["reason"], "Error");
    assert_eq!(view.container("bad")["restartCount"], 0);
    assert_eq!(view.condition("Ready")["reason"], "PodFailed");
    host.down(&["job"]);
    host.try_up(&manifest, &["--wait", "complete"]).code(1).complains("pod default/job failed");
    host.finish();
}

#[test]
fn in_the_foreground_up_prints_the_output_and_ends_with_the_first_failing_containers_code() {
    let host = Host::new();
    let manifest = pod(
        "job",
        r"
  restartPolicy: Never
  containers:
  - {name: good, image: podbox.local/toolbox, command: [exitcode, --after, 200ms, '0', all well]}
  - {name: bad, image: podbox.local/toolbox, command: [exitcode, --after, 400ms, '5', trouble]}
",
    );
    let output = host.cmd(["up", "-"]).input(manifest).run().code(5);
    for (name, text) in [("good", "all well"), ("bad", "trouble")] {
        assert!(output.stdout.lines().any(|line| line.contains(name) && line.ends_with(text)), "{output}");
    }
    host.finish();
}

#[test]
fn in_the_foreground_an_interrupt_takes_the_pod_down() {
    let host = Host::new();
    let manifest = pod(
        "web",
        r"
  terminationGracePeriodSeconds: 5
  containers:
  - {name: web, image: podbox.local/toolbox, command: [flood, --rate, '20', --lines, '100000']}
",
    );
    let file = host.dir().join("web.yaml");
    std::fs::write(&file, manifest).unwrap();
    let mut up = host.cmd(["up", file.to_str().unwrap()]).spawn();
    up.wait_to_say("5 abc");
    up.signal(Signal::SIGINT);
    assert_eq!(up.end(PATIENCE), 0, "{}", up.said());
    host.podbox(["get", "pod", "web"]).code(2);
    host.expect_nothing_left();
    host.finish();
}

#[test]
fn always_restarts_whatever_the_code_and_counts_and_backs_off() {
    let host = Host::builder().backoff("1s", "4s").build();
    host.up(&pod(
        "crash",
        r"
  containers:
  - {name: zero, image: podbox.local/toolbox, command: [exitcode, --after, 100ms, '0']}
",
    ));
    let view = host.wait_pod("crash", "one restart", |pod| pod.restarts() >= 1);
    assert_eq!(view.phase(), "Running");
    let waiting = host.wait_pod("crash", "back-off", |pod| {
        pod.text("status.containerStatuses.0.state.waiting.reason") == "CrashLoopBackOff"
    });
    let message = waiting.text("status.containerStatuses.0.state.waiting.message");
    assert!(
        message.starts_with("back-off 1s restarting failed container=zero pod=crash_default("),
        "{message}"
    );
    assert_eq!(waiting.text("status.containerStatuses.0.lastState.terminated.reason"), "Completed");
    assert_eq!(waiting.phase(), "Running", "a pod in back-off counts as running");
    assert!(!waiting.is("Ready"));
    host.wait_pod("crash", "a third restart", |pod| pod.restarts() >= 3);
    host.wait_event("crash", "BackOff", "Back-off restarting failed container zero in pod crash_default(");
    host.finish();
}

#[test]
fn the_back_off_doubles_and_stays_at_its_longest() {
    let host = Host::builder().backoff("400ms", "1600ms").build();
    host.up(&pod(
        "crash",
        r"
  containers:
  - {name: c, image: podbox.local/toolbox, command: [exitcode, '1']}
",
    ));
    // 0 + 0.4 + 0.8 + 1.6 + 1.6 s until the fifth restart.
    let started = Instant::now();
    host.wait_pod("crash", "five restarts", |pod| pod.restarts() >= 5);
    assert!(started.elapsed() > Duration::from_secs(3), "five restarts within {:?}", started.elapsed());
    let message = host.wait_pod("crash", "the longest back-off", |pod| {
        pod.text("status.containerStatuses.0.state.waiting.message").starts_with("back-off 1.6s")
    });
    drop(message);
    host.finish();
}

#[test]
fn on_failure_restarts_only_what_failed() {
    let host = Host::new();
    host.up(&pod(
        "mixed",
        r"
  restartPolicy: OnFailure
  containers:
  - {name: good, image: podbox.local/toolbox, command: [exitcode, '0']}
  - {name: bad, image: podbox.local/toolbox, command: [exitcode, --after, 50ms, '1']}
",
    ));
    let view = host
        .wait_pod("mixed", "two restarts", |pod| pod.container("bad")["restartCount"].as_u64() >= Some(2));
    assert_eq!(view.container("good")["restartCount"], 0);
    assert_eq!(view.container("good")["state"]["terminated"]["reason"], "Completed");
    assert_eq!(view.phase(), "Running");
    host.finish();
}

#[test]
fn a_signals_death_is_told_as_128_plus_its_number() {
    let host = Host::new();
    host.up(&pod(
        "victim",
        r"
  restartPolicy: Never
  shareProcessNamespace: true
  containers:
  - {name: c, image: podbox.local/toolbox, command: [sleep, infinity]}
",
    ));
    host.kill(host.container_process("victim", "c"));
    let view = host.wait_pod("victim", "Failed", |pod| pod.phase() == "Failed");
    let ended = view.at("status.containerStatuses.0.state.terminated").clone();
    assert_eq!(ended["exitCode"], 137, "{ended:#}");
    assert_eq!(ended["signal"], 9, "{ended:#}");
    assert_eq!(ended["reason"], "Error");
    host.finish();
}

#[test]
fn down_sends_sigterm_and_waits_for_the_end() {
    let host = Host::new();
    host.up(&pod("polite", r"
  containers:
  - name: c
    image: podbox.local/host
    command: [sh, -c, 'trap ''echo asked; sleep 1; echo gone; exit 0'' TERM; echo ready; while :; do sleep 0.1; done']
    volumeMounts: [{name: out, mountPath: /out}]
  volumes: [{name: out, emptyDir: {}}]
"));
    wait_until("the trap", PATIENCE, || host.logs(&["polite"]).contains("ready"));
    let follow = host.cmd(["logs", "-f", "polite"]).spawn();
    let started = Instant::now();
    host.down(&["polite"]);
    assert!(started.elapsed() > Duration::from_secs(1), "it was not waited for: {:?}", started.elapsed());
    assert!(
        started.elapsed() < Duration::from_secs(10),
        "it was waited for too long: {:?}",
        started.elapsed()
    );
    wait_until("the last words", PATIENCE, || follow.said().contains("asked\ngone"));
    host.finish();
}

const STUBBORN: &str = r"
  terminationGracePeriodSeconds: GRACE
  containers:
  - name: c
    image: podbox.local/host
    command: [sh, -c, 'trap '''' TERM; echo ready; while :; do sleep 0.1; done']
";

#[test]
fn who_does_not_listen_is_killed_after_the_grace_period() {
    let host = Host::new();
    host.up(&pod("stubborn", &STUBBORN.replace("GRACE", "3")));
    wait_until("the trap", PATIENCE, || host.logs(&["stubborn"]).contains("ready"));
    let started = Instant::now();
    host.down(&["stubborn"]);
    let took = started.elapsed().as_secs_f32();
    assert!((2.9..6.0).contains(&took), "{took} s");
    host.finish();
}

#[test]
fn grace_period_0_kills_at_once() {
    let host = Host::new();
    host.up(&pod("stubborn", &STUBBORN.replace("GRACE", "30")));
    wait_until("the trap", PATIENCE, || host.logs(&["stubborn"]).contains("ready"));
    let started = Instant::now();
    host.down(&["stubborn", "--grace-period", "0"]);
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    host.finish();
}

#[test]
fn a_pod_that_is_being_taken_down_shows_its_deletion_timestamp_until_it_is_gone() {
    let host = Host::new();
    host.up(&pod("stubborn", &STUBBORN.replace("GRACE", "4")));
    wait_until("the trap", PATIENCE, || host.logs(&["stubborn"]).contains("ready"));
    let mut down = host.cmd(["down", "stubborn"]).spawn();
    let view = host
        .wait_pod("stubborn", "deletionTimestamp", |pod| !pod.text("metadata.deletionTimestamp").is_empty());
    assert_eq!(view.at("metadata.deletionGracePeriodSeconds").as_u64(), Some(4));
    assert_eq!(host.event_count("stubborn", "Killing", "Stopping container c"), 1);
    host.podbox(["get", "pods"]).ok().says("Terminating");
    assert_eq!(down.end(PATIENCE), 0, "{}", down.said());
    host.podbox(["get", "pod", "stubborn"]).code(2);
    host.finish();
}

#[test]
fn an_images_stop_signal_is_used() {
    let host = Host::new();
    let image = e2e::Archive::new([e2e::Layer::toolbox(&["sleep"])]).set("StopSignal", "SIGINT".into());
    let file = image.write(&host.dir().join("image.tar"), "stopper:1");
    host.podbox(["image", "load", file.to_str().unwrap()]).ok();
    // The other container does not listen, so that the pod is there for as long as it may be.
    host.up(&pod(
        "stopper",
        r#"
  restartPolicy: Never
  terminationGracePeriodSeconds: 3
  containers:
  - {name: c, image: 'stopper:1', imagePullPolicy: Never, command: [sleep, infinity]}
  - {name: deaf, image: podbox.local/host, command: [sh, -c, 'trap "" TERM; while :; do sleep 1; done']}
"#,
    ));
    let watch = host.cmd(["get", "pod", "stopper", "-w", "-o", "json"]).spawn();
    watch.wait_to_say("Running");
    host.down(&["stopper"]);
    // 130 is 128 + SIGINT: what the toolbox's sleep ends with.
    wait_until("the exit code in the watch", PATIENCE, || watch.said().contains("\"exitCode\": 130"));
    host.finish();
}

#[test]
fn down_of_a_pod_that_is_over_lets_the_network_go_though_its_supervisor_was_killed_before_it_could() {
    let host = Host::new();
    for _ in 0..5 {
        host.up_none(&pod(
            "brief",
            "  restartPolicy: Never\n  containers:\n  - {name: c, image: podbox.local/toolbox, command: ['true']}",
        ));
        // It lingers for half a second, in case that another pod needs the bridge.
        host.wait_pod("brief", "Succeeded", |pod| pod.phase() == "Succeeded");
        if let Some(supervisor) = host.supervisor("brief") {
            host.kill(supervisor);
        }
        host.down(&["brief"]);
        host.expect_nothing_left();
    }
    host.finish();
}

#[test]
fn the_termination_message_is_read_from_its_file() {
    let host = Host::new();
    host.up(&pod(
        "says",
        r"
  restartPolicy: Never
  containers:
  - name: default
    image: podbox.local/host
    command: [sh, -c, 'printf bye > /dev/termination-log; exit 2']
  - name: elsewhere
    image: podbox.local/host
    command: [sh, -c, 'printf ''over there'' > /tmp/last-words']
    terminationMessagePath: /tmp/last-words
",
    ));
    let view = host.wait_pod("says", "Failed", |pod| pod.phase() == "Failed");
    let message = |name: &str| view.container(name)["state"]["terminated"]["message"].clone();
    assert_eq!(message("default"), "bye");
    assert_eq!(message("elsewhere"), "over there");
    host.finish();
}

#[test]
fn several_pods_of_one_name_live_in_namespaces_of_their_own() {
    let host = Host::new();
    let team = |name: &str| {
        pod("web", TWO).replace("  name: web\nspec", &format!("  name: web\n  namespace: {name}\nspec"))
    };
    host.up(&team("red"));
    host.up(&team("blue"));
    host.podbox(["get", "pods", "-A"]).ok().says("red").says("blue");
    host.podbox(["get", "pods"]).ok();
    host.podbox(["get", "pod", "web", "-n", "red", "-o", "json"]).ok().says("\"namespace\": \"red\"");
    host.podbox(["get", "pod", "web"]).code(2);
    host.down(&["red/web", "--grace-period", "0"]);
    host.podbox(["get", "pod", "web", "-n", "blue"]).ok();
    host.down(&["web", "-n", "blue", "--grace-period", "0"]);
    host.finish();
}

#[test]
fn a_pod_that_ran_and_failed_is_kept_and_up_says_which_container_did_and_how() {
    let host = Host::new();
    let manifest = pod(
        "f7",
        r"
  restartPolicy: Never
  containers:
  - name: main
    image: podbox.local/toolbox
    command: [sh, -c, 'echo it went wrong; echo because > /dev/termination-log; exit 7']
",
    );
    host.try_up(&manifest, &["--wait", "complete"])
        .code(1)
        .complains("pod default/f7 failed: container main ended with exit code 7: Error: because")
        .complains("podbox logs default/f7 -c main");
    assert_eq!(host.logs(&["f7"]), "it went wrong\n");
    assert_eq!(host.pod("f7").phase(), "Failed");
    host.down(&["f7"]);
    host.expect_nothing_left();
    host.finish();
}

#[test]
fn several_ups_of_one_manifest_at_once_are_one_up_and_the_rest_find_it_unchanged() {
    let host = Host::new();
    let file = host.dir().join("same.yaml");
    let spec = "  containers:\n  - {name: c, image: podbox.local/toolbox, command: [sleep, infinity]}\n  terminationGracePeriodSeconds: 0";
    std::fs::write(&file, pod("same", spec)).unwrap();
    for _ in 0..15 {
        let mut ups: Vec<_> =
            (0..3).map(|_| host.cmd(["up", "-d", file.to_str().unwrap()]).spawn()).collect();
        for up in &mut ups {
            assert_eq!(up.end(PATIENCE), 0, "{}", up.said());
        }
        wait_until("all to have said what they did", PATIENCE, || {
            let said: Vec<String> = ups.iter().map(Background::said).collect();
            let count = |text: &str| said.iter().filter(|said| *said == text).count();
            count("pod default/same up\n") == 1 && count("pod default/same unchanged\n") == 2
        });
        host.down(&["same", "--grace-period", "0"]);
        host.expect_nothing_left();
    }
    host.finish();
}

fn stubborn(name: &str, grace: &str) -> String {
    pod(name, &STUBBORN.replace("GRACE", grace))
}

#[test]
fn the_end_of_a_pod_that_is_replaced_does_not_count_against_the_new_ones_time() {
    let host = Host::new();
    host.up(&stubborn("old", "3"));
    wait_until("the trap", PATIENCE, || host.logs(&["old"]).contains("ready"));
    let new = stubborn("old", "3").replace("echo ready", "echo new");
    host.try_up(&new, &["--replace", "--timeout", "3s"]).ok();
    wait_until("the new one", PATIENCE, || host.logs(&["old"]).contains("new"));
    host.down(&["old", "--grace-period", "0"]);
    host.expect_nothing_left();
    host.finish();
}

#[test]
fn a_second_interrupt_leaves_the_pods_to_end_in_the_background() {
    let host = Host::new();
    let mut up = host.cmd(["up", "-"]).input(stubborn("web", "5")).spawn();
    up.close_input();
    up.wait_to_say("ready");
    up.signal(Signal::SIGINT);
    up.wait_to_say("Ctrl-C again does not wait");
    host.wait_pod("web", "deletionTimestamp", |pod| !pod.text("metadata.deletionTimestamp").is_empty());
    up.signal(Signal::SIGINT);
    assert_eq!(up.end(PATIENCE), 130, "{}", up.said());
    up.wait_to_say("the pods go on ending in the background");
    host.podbox(["get", "pod", "web"]).ok();
    wait_until("the pod's end", PATIENCE, || !host.podbox(["get", "pod", "web"]).good());
    host.expect_nothing_left();
    host.finish();
}

#[test]
fn down_on_a_terminal_says_what_it_waits_for_when_it_lasts() {
    let host = Host::new();
    for (quiet, told) in [("", true), ("-q", false)] {
        host.up(&stubborn("web", "3"));
        wait_until("the trap", PATIENCE, || host.logs(&["web"]).contains("ready"));
        let line = format!("{} {quiet} down web", e2e::binary().display());
        let output =
            host.environment(e2e::Cmd::new("script")).args(["-qfec", line.as_str(), "/dev/null"]).run().ok();
        let text = "pod default/web: waiting for container c to end, SIGKILL in 2 s";
        assert_eq!(output.stdout.contains(text), told, "{output}");
    }
    host.up(&stubborn("web", "3"));
    host.down(&["web"]).quiet();
    host.finish();
}

/// A pod whose `down` was asked for and left alone, as `timeout 1 podbox down web` leaves it.
fn being_ended(host: &Host, grace: &str) -> String {
    host.up(&stubborn("web", grace));
    wait_until("the trap", PATIENCE, || host.logs(&["web"]).contains("ready"));
    let down = host.cmd(["down", "web"]).spawn();
    let ending = |pod: &e2e::PodView| !pod.text("metadata.deletionTimestamp").is_empty();
    let uid = host.wait_pod("web", "deletionTimestamp", ending).text("metadata.uid").to_owned();
    down.signal(Signal::SIGKILL);
    uid
}

#[test]
fn up_of_a_pod_that_is_being_ended_waits_for_its_end_and_starts_it_anew() {
    let host = Host::new();
    let (same, other) = (stubborn("web", "3"), pod("web", TWO));
    for (manifest, args, told) in
        [(&same, ["--timeout", "2s"].as_slice(), 1), (&other, &[], 1), (&same, &["-q", "--replace"], 0)]
    {
        let before = being_ended(&host, "3");
        let output = host.try_up(manifest, args).ok();
        assert!(!output.stdout.contains("unchanged"), "{output}");
        let text = "pod default/web: waiting for container c to end, SIGKILL in ";
        assert_eq!(output.stderr.matches(text).count(), told, "{output}");
        let now = host.pod("web");
        assert_ne!(now.text("metadata.uid"), before);
        assert_eq!(now.text("metadata.deletionTimestamp"), "", "{now:#?}");
        host.down(&["web", "--grace-period", "0"]);
    }
    host.finish();
}

#[test]
fn a_wait_for_the_old_pods_end_does_not_hurry_it_and_can_be_left() {
    let host = Host::new();
    host.up(&stubborn("web", "1"));
    wait_until("the trap", PATIENCE, || host.logs(&["web"]).contains("ready"));
    let mut down = host.cmd(["down", "web", "--grace-period", "5"]).spawn();
    let began = Instant::now();
    host.wait_pod("web", "deletionTimestamp", |pod| !pod.text("metadata.deletionTimestamp").is_empty());
    let mut up = host.cmd(["up", "-d", "-"]).input(stubborn("web", "1")).spawn();
    up.close_input();
    up.wait_to_say("waiting for container c to end");
    up.signal(Signal::SIGINT);
    assert_eq!(up.end(PATIENCE), 130, "{}", up.said());
    up.wait_to_say("left; pod default/web goes on ending in the background");
    assert_eq!(down.end(PATIENCE), 0, "{}", down.said());
    assert!(began.elapsed() > Duration::from_millis(4500), "{:?}", began.elapsed());
    host.podbox(["get", "pod", "web"]).code(2);
    host.expect_nothing_left();
    host.finish();
}
