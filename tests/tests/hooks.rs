//! postStart and preStop, and what they do to a container's start and end.

use std::time::Instant;

use e2e::{Diary, Host, PATIENCE, pod, wait_until};

/// The containers of a pod: one that only waits, with this lifecycle.
fn idle(lifecycle: &str) -> String {
    format!(
        "  containers:
  - name: c
    image: podbox.local/toolbox
    command: [sleep, infinity]
    lifecycle: {lifecycle}
"
    )
}

/// A container that writes `ready`, and `told` when it is asked to end; `more` are further lines of it.
fn polite(name: &str, more: &str) -> String {
    format!(
        "  - name: {name}
    image: podbox.local/toolbox
    command: [sh, -c, 'trap ''echo told >> /out/log; exit 0'' TERM; echo ready >> /out/log; while :; do sleep 0.1; done']
    {more}
    OUT
"
    )
}

#[test]
fn a_container_runs_only_when_its_post_start_hook_has_returned_and_the_next_waits_for_it() {
    let host = Host::new();
    let diary = Diary::new(&host);
    host.up_none(&diary.manifest(
        "hooked",
        r"
  containers:
  - name: a
    image: podbox.local/toolbox
    command: [sleep, infinity]
    lifecycle: {postStart: {exec: {command: [sh, -c, 'echo hook >> /out/log; until test -e /out/go; do sleep 0.1; done; echo hook ends >> /out/log']}}}
    OUT
  - {name: b, image: podbox.local/toolbox, command: [sh, -c, 'echo b >> /out/log; sleep infinity'], OUT}
",
    ));
    diary.wait("hook");
    let view = host.pod("hooked");
    assert_eq!(view.phase(), "Pending");
    assert_eq!(view.container("a")["state"]["waiting"]["reason"], "ContainerCreating");
    // It can be looked into all the same.
    host.podbox(["exec", "hooked", "-c", "a", "--", "true"]).ok();
    diary.touch("go");
    host.wait_pod("hooked", "Ready", |pod| pod.is("Ready"));
    diary.wait("b");
    diary.tells(&["hook", "hook ends", "b"]);
    host.down(&["hooked", "--grace-period", "1"]);
    host.finish();
}

#[test]
fn a_failed_post_start_hook_ends_the_container_which_its_policy_restarts() {
    let host = Host::builder().backoff("1s", "4s").build();
    let spec = idle("{postStart: {exec: {command: [sh, -c, 'sleep 0.5; echo no luck; exit 7']}}}");
    host.up_none(&pod("hooked", &format!("  terminationGracePeriodSeconds: 2\n{spec}")));
    let reason = |pod: &e2e::PodView| pod.text("status.containerStatuses.0.state.waiting.reason").to_owned();
    let view = host.wait_pod("hooked", "PostStartHookError", |pod| reason(pod) == "PostStartHookError");
    let message = view.text("status.containerStatuses.0.state.waiting.message").to_owned();
    assert!(
        message
            .starts_with("Exec lifecycle hook ([sh -c sleep 0.5; echo no luck; exit 7]) for Container \"c\"")
    );
    assert!(message.contains("exited with 7") && message.contains("no luck"), "{message}");
    host.wait_event("hooked", "FailedPostStartHook", "PostStartHook failed");
    host.wait_event("hooked", "Killing", "FailedPostStartHook");
    let view = host.wait_pod("hooked", "back-off", |pod| reason(pod) == "CrashLoopBackOff");
    assert!(view.restarts() >= 1);
    assert!(!view.is("Ready"));
    host.down(&["hooked", "--grace-period", "0"]);
    host.finish();
}

#[test]
fn what_a_hook_leaves_in_the_background_stays() {
    let host = Host::new();
    let diary = Diary::new(&host);
    let spec = idle(
        "{postStart: {exec: {command: [sh, -c, 'while :; do echo tick >> /out/log; sleep 0.1; done > /dev/null 2>&1 &']}}}",
    );
    host.up_ready(&diary.manifest("leaves", &format!("{spec}    OUT\n")));
    let before = diary.count("tick");
    wait_until("more ticks", PATIENCE, || diary.count("tick") > before + 5);
    host.down(&["leaves", "--grace-period", "1"]);
    host.finish();
}

#[test]
fn pre_stop_runs_on_down_before_the_signal() {
    let host = Host::new();
    let diary = Diary::new(&host);
    let hook = "lifecycle: {preStop: {exec: {command: [sh, -c, 'echo hook >> /out/log; sleep 0.5; echo hook ends >> /out/log']}}}";
    host.up_ready(&diary.manifest("polite", &format!("  containers:\n{}", polite("c", hook))));
    diary.wait("ready");
    host.down(&["polite"]);
    assert_eq!(diary.lines(), ["ready", "hook", "hook ends", "told"]);
    host.finish();
}

#[test]
fn pre_stop_runs_when_liveness_kills() {
    let host = Host::new();
    let diary = Diary::new(&host);
    let more =
        "livenessProbe: {exec: {command: [test, '!', -e, /out/sick]}, periodSeconds: 1, failureThreshold: 1}
    lifecycle: {preStop: {exec: {command: [sh, -c, 'echo hook >> /out/log; rm /out/sick']}}}";
    host.up_ready(&diary.manifest("sick", &format!("  containers:\n{}", polite("c", more))));
    diary.wait("ready");
    diary.touch("sick");
    host.wait_pod("sick", "a restart", |pod| pod.restarts() == 1 && pod.is("Ready"));
    wait_until("a second life", PATIENCE, || diary.count("ready") == 2);
    assert_eq!(diary.lines(), ["ready", "hook", "told", "ready"]);
    host.wait_event("sick", "Killing", "Container c failed liveness probe, will be restarted");
    host.down(&["sick", "--grace-period", "0"]);
    host.finish();
}

#[test]
fn a_pre_stop_hook_is_cut_off_when_the_grace_is_over_and_two_seconds_are_left() {
    let host = Host::new();
    let diary = Diary::new(&host);
    let hook = polite(
        "hook",
        "lifecycle: {preStop: {exec: {command: [sh, -c, 'echo hook >> /out/log; sleep 60; echo too late >> /out/log']}}}",
    );
    let spec = r"
  terminationGracePeriodSeconds: 2
  containers:
  - name: stubborn
    image: podbox.local/toolbox
    command: [sh, -c, 'trap '''' TERM; echo ready >> /out/log; while :; do sleep 0.1; done']
    lifecycle: {preStop: {sleep: {seconds: 2}}}
    OUT
";
    host.up_ready(&diary.manifest("late", &format!("{spec}{hook}")));
    wait_until("both", PATIENCE, || diary.count("ready") == 2);
    let started = Instant::now();
    host.down(&["late"]);
    let took = started.elapsed().as_secs_f32();
    assert!((3.9..9.0).contains(&took), "{took} s");
    diary.tells(&["hook", "told"]);
    assert_eq!(diary.count("too late"), 0);
    host.finish();
}

#[test]
fn http_hooks_want_an_answer_only_and_fall_back_to_plain_text() {
    let host = Host::new();
    host.up_ready(&pod(
        "calls",
        r"
  initContainers:
  - name: server
    image: podbox.local/toolbox
    restartPolicy: Always
    command: [http, --port, '8080']
    startupProbe: {tcpSocket: {port: 8080}, periodSeconds: 1, failureThreshold: 60}
  containers:
  - name: plain
    image: podbox.local/toolbox
    command: [sleep, infinity]
    lifecycle: {postStart: {httpGet: {path: /status/503, port: 8080}}}
  - name: https
    image: podbox.local/toolbox
    command: [sleep, infinity]
    lifecycle: {postStart: {httpGet: {path: /status/404, port: 8080, scheme: HTTPS}}}
",
    ));
    let log = host.logs(&["calls", "-c", "server"]);
    assert!(log.contains("/status/503") && log.contains("/status/404"), "{log}");
    host.wait_event("calls", "LifecycleHTTPFallback", "got HTTP response, retry with HTTP succeeded");
    assert_eq!(host.event_count("calls", "FailedPostStartHook", ""), 0);
    host.down(&["calls", "--grace-period", "1"]);
    host.finish();
}

#[test]
fn a_tcp_socket_hook_fails_when_it_runs() {
    let host = Host::new();
    let spec = idle("{postStart: {tcpSocket: {port: 80}}}");
    host.up_none(&pod("old", &format!("  restartPolicy: Never\n  terminationGracePeriodSeconds: 2\n{spec}")));
    host.wait_pod("old", "Failed", |pod| pod.phase() == "Failed");
    assert_eq!(host.event_count("old", "FailedPostStartHook", "PostStartHook failed"), 1);
    host.down(&["old"]);
    host.finish();
}

#[test]
fn the_manifests_stop_signal_is_used() {
    let host = Host::new();
    let diary = Diary::new(&host);
    host.up_ready(&diary.manifest("signal", r"
  os: {name: linux}
  containers:
  - name: c
    image: podbox.local/toolbox
    command: [sh, -c, 'trap ''echo usr1 >> /out/log; exit 0'' USR1; echo ready >> /out/log; while :; do sleep 0.1; done']
    lifecycle: {stopSignal: SIGUSR1}
    OUT
"));
    diary.wait("ready");
    assert_eq!(host.pod("signal").container("c")["stopSignal"], "SIGUSR1");
    host.down(&["signal"]);
    assert_eq!(diary.lines(), ["ready", "usr1"]);
    host.finish();
}

#[test]
fn supervisor_killed_during_a_pre_stop_hook_which_is_run_again_and_the_pod_ends() {
    let host = Host::new();
    let diary = Diary::new(&host);
    let hook = "lifecycle: {preStop: {exec: {command: [sh, -c, 'echo hook >> /out/log; until test -e /out/go; do sleep 0.1; done; echo hook ends >> /out/log']}}}";
    let spec = format!("  terminationGracePeriodSeconds: 30\n  containers:\n{}", polite("c", hook));
    host.up_ready(&diary.manifest("app", &spec));
    diary.wait("ready");
    let old = host.next_supervisor("app", None);
    let mut down = host.cmd(["down", "app"]).spawn();
    diary.wait("hook");
    host.kill(old);
    wait_until("the hook once more", PATIENCE, || diary.count("hook") == 2);
    diary.touch("go");
    assert_eq!(down.end(PATIENCE), 0, "{}", down.said());
    assert_eq!(diary.lines(), ["ready", "hook", "hook", "hook ends", "told"]);
    host.podbox(["get", "pod", "app"]).code(2);
    host.finish();
}

#[test]
fn supervisor_killed_during_a_post_start_hook_which_is_run_again() {
    let host = Host::new();
    let diary = Diary::new(&host);
    host.up_none(&diary.manifest("app", r"
  containers:
  - name: c
    image: podbox.local/toolbox
    command: [sh, -c, 'echo run >> /out/log; sleep infinity']
    lifecycle: {postStart: {exec: {command: [sh, -c, 'echo hook >> /out/log; until test -e /out/go; do sleep 0.1; done']}}}
    OUT
"));
    diary.wait("hook");
    host.kill(host.next_supervisor("app", None));
    wait_until("the hook once more", PATIENCE, || diary.count("hook") == 2);
    diary.touch("go");
    let view = host.wait_pod("app", "Ready", |pod| pod.is("Ready"));
    assert_eq!((view.restarts(), diary.count("run")), (0, 1));
    host.down(&["app", "--grace-period", "1"]);
    host.finish();
}
