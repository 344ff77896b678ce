//! Probes: liveness restarts, readiness sets Ready, startup holds the others back; each of the three ways to ask.

use std::time::{Duration, Instant};

use e2e::{Host, PATIENCE, PodView, pod, wait_good, wait_until};

/// A pod with one HTTP server and these lines of its container.
fn server(name: &str, args: &str, probes: &str) -> String {
    pod(
        name,
        &format!(
            "  terminationGracePeriodSeconds: 2\n  containers:\n  - name: web\n    image: podbox.local/toolbox\n    command: [http{args}]\n    ports: [{{name: http, containerPort: 8080}}]\n{}",
            probes.trim_matches('\n')
        ),
    )
}

/// Gives an order to the server's health endpoints.
fn order(host: &Host, view: &PodView, path: &str) {
    let url = format!("{}:8080/{path}", view.ip());
    wait_good("the server to take an order", || host.podbox(["toolbox", "get", &url]));
}

#[test]
fn a_failing_liveness_probe_restarts_the_container_and_says_why() {
    let host = Host::new();
    host.up(&server(
        "live",
        "",
        r"
    livenessProbe: {httpGet: {path: /healthz, port: http}, periodSeconds: 1, failureThreshold: 2}
",
    ));
    let view = host.wait_pod("live", "Ready", |pod| pod.is("Ready"));
    order(&host, &view, "fail/healthz");
    let after = host.wait_pod("live", "a restart", |pod| pod.restarts() == 1);
    assert_eq!(
        after.container("web")["lastState"]["terminated"]["exitCode"],
        0,
        "its server ends well on SIGTERM"
    );
    host.wait_event("live", "Unhealthy", "Liveness probe failed: HTTP probe failed with statuscode: 500");
    host.wait_event("live", "Killing", "Container web failed liveness probe, will be restarted");
    host.wait_pod("live", "Ready again", |pod| pod.is("Ready"));
    host.finish();
}

#[test]
fn readiness_comes_and_goes_without_a_restart() {
    let host = Host::new();
    host.up(&server(
        "ready",
        ", --ready-after, 1s",
        r"
    readinessProbe: {httpGet: {path: /readyz, port: 8080}, periodSeconds: 1, failureThreshold: 1}
",
    ));
    let before = host.pod("ready");
    assert!(!before.is("Ready"), "not before the first answer");
    assert_eq!(before.condition("Ready")["reason"], "ContainersNotReady");
    assert_eq!(before.condition("Ready")["message"], "containers with unready status: [web]");
    assert_eq!(before.container("web")["started"], true);
    let view = host.wait_pod("ready", "Ready", |pod| pod.is("Ready") && pod.is("ContainersReady"));
    order(&host, &view, "fail/readyz");
    let unready = host.wait_pod("ready", "not ready", |pod| !pod.is("Ready"));
    assert_eq!((unready.restarts(), unready.phase()), (0, "Running"));
    order(&host, &view, "pass/readyz");
    host.wait_pod("ready", "ready again", |pod| pod.is("Ready"));
    host.wait_event("ready", "Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 500");
    host.finish();
}

#[test]
fn startup_holds_the_others_back_and_then_lets_readiness_be_asked_at_once() {
    let host = Host::new();
    // Without the startup probe, liveness would kill it within two seconds.
    host.up(&server(
        "slow",
        ", --started-after, 4s",
        r"
    startupProbe: {httpGet: {path: /startupz, port: 8080}, periodSeconds: 1, failureThreshold: 30}
    livenessProbe: {httpGet: {path: /startupz, port: 8080}, periodSeconds: 1, failureThreshold: 1}
    readinessProbe: {httpGet: {path: /readyz, port: 8080}, periodSeconds: 60}
",
    ));
    let before = host.pod("slow");
    assert_eq!(before.container("web")["started"], false);
    let started = host.wait_pod("slow", "started", |pod| pod.container("web")["started"] == true);
    assert_eq!(started.restarts(), 0);
    let at = Instant::now();
    host.wait_pod("slow", "Ready", |pod| pod.is("Ready"));
    assert!(at.elapsed() < Duration::from_secs(10), "readiness waited for its own period");
    host.finish();
}

#[test]
fn a_startup_probe_that_never_passes_kills() {
    let host = Host::new();
    host.up(&server(
        "never",
        ", --started-after, 1h",
        r"
    startupProbe: {httpGet: {path: /startupz, port: 8080}, periodSeconds: 1, failureThreshold: 2}
",
    ));
    host.wait_pod("never", "a restart", |pod| pod.restarts() >= 1);
    host.wait_event("never", "Killing", "Container web failed startup probe, will be restarted");
    host.finish();
}

#[test]
fn tcp_probes_connect() {
    let host = Host::new();
    host.up(&pod(
        "tcp",
        r"
  containers:
  - name: open
    image: podbox.local/toolbox
    command: [tcp-echo, --port, '9000']
    readinessProbe: {tcpSocket: {port: 9000}, periodSeconds: 1}
  - name: closed
    image: podbox.local/toolbox
    command: [sleep, infinity]
    readinessProbe: {tcpSocket: {port: 9009}, periodSeconds: 1}
",
    ));
    let view = host.wait_pod("tcp", "one ready", |pod| pod.container("open")["ready"] == true);
    assert_eq!(view.container("closed")["ready"], false);
    host.wait_event("tcp", "Unhealthy", "Readiness probe failed: dial tcp");
    host.finish();
}

#[test]
fn exec_probes_run_inside_the_container() {
    let host = Host::new();
    host.up(&pod(
        "exec",
        r"
  containers:
  - name: c
    image: podbox.local/toolbox
    command: [sleep, infinity]
    readinessProbe: {exec: {command: [cat, /tmp-ready]}, periodSeconds: 1}
    livenessProbe: {exec: {command: ['[', '!', -e, /dead, ']']}, periodSeconds: 1, failureThreshold: 1}
",
    ));
    host.wait_event("exec", "Unhealthy", "Readiness probe failed: cat: /tmp-ready");
    host.podbox(["exec", "exec", "--", "touch", "/tmp-ready"]).ok();
    host.wait_pod("exec", "Ready", |pod| pod.is("Ready"));
    host.podbox(["exec", "exec", "--", "touch", "/dead"]).ok();
    host.wait_pod("exec", "a restart", |pod| pod.restarts() == 1);
    host.finish();
}

#[test]
fn an_exec_probe_that_takes_too_long_fails_and_leaves_no_process() {
    let host = Host::new();
    host.up(&pod(
        "hang",
        r"
  containers:
  - name: c
    image: podbox.local/toolbox
    command: [sleep, infinity]
    readinessProbe: {exec: {command: [sleep, '4711']}, periodSeconds: 1, timeoutSeconds: 1}
",
    ));
    host.wait_event("hang", "Unhealthy", "timed out after 1s");
    wait_until("three time-outs", PATIENCE, || host.event_count("hang", "Unhealthy", "timed out") >= 3);
    let left = host.exec("hang", &["ps"]);
    assert!(left.matches("4711").count() <= 1, "old probes still run:\n{left}");
    host.finish();
}

#[test]
fn initial_delay_counts_from_the_containers_start() {
    let host = Host::new();
    host.up(&server(
        "delay",
        "",
        r"
    readinessProbe: {httpGet: {path: /readyz, port: 8080}, initialDelaySeconds: 3, periodSeconds: 1}
",
    ));
    let at = Instant::now();
    host.wait_pod("delay", "Ready", |pod| pod.is("Ready"));
    let took = at.elapsed().as_secs_f32();
    assert!((1.9..10.0).contains(&took), "{took} s");
    host.finish();
}

#[test]
fn under_policy_never_a_failed_liveness_probe_ends_the_pod() {
    let host = Host::new();
    let manifest = server(
        "once",
        "",
        r"
    livenessProbe: {tcpSocket: {port: 9}, periodSeconds: 1, failureThreshold: 1}
",
    )
    .replace("spec:\n", "spec:\n  restartPolicy: Never\n");
    host.up(&manifest);
    host.wait_pod("once", "the end", |pod| ["Failed", "Succeeded"].contains(&pod.phase()));
    assert_eq!(host.pod("once").restarts(), 0);
    let killing: Vec<_> =
        host.events("once").into_iter().filter(|event| event["reason"] == "Killing").collect();
    assert_eq!(killing[0]["message"], "Container web failed liveness probe", "{killing:#?}");
    host.finish();
}

#[test]
fn a_probes_own_grace_period_goes_before_the_pods() {
    let host = Host::new();
    host.up(&pod("stubborn", r"
  terminationGracePeriodSeconds: 60
  containers:
  - name: c
    image: podbox.local/host
    command: [sh, -c, 'trap '''' TERM; while :; do sleep 0.1; done']
    livenessProbe: {exec: {command: ['false']}, initialDelaySeconds: 1, periodSeconds: 1, failureThreshold: 1, terminationGracePeriodSeconds: 2}
"));
    let view = host.wait_pod_for("stubborn", "a restart", Duration::from_secs(20), |pod| pod.restarts() >= 1);
    assert_eq!(view.container("c")["lastState"]["terminated"]["exitCode"], 137);
    host.down(&["stubborn", "--grace-period", "0"]);
    host.finish();
}

#[test]
fn a_pod_in_the_hosts_network_is_asked_at_the_hosts_address() {
    let host = Host::new();
    let manifest = pod(
        "hostnet",
        r"
  hostNetwork: true
  containers:
  - name: web
    image: podbox.local/toolbox
    command: [http, --port, 'PORT']
    readinessProbe: {httpGet: {path: /readyz, port: PORT}, periodSeconds: 1}
    livenessProbe: {httpGet: {host: '::1', path: /healthz, port: PORT}, periodSeconds: 1, failureThreshold: 1}
    startupProbe: {tcpSocket: {host: localhost, port: PORT}, periodSeconds: 1}
",
    );
    host.up(&manifest.replace("PORT", &host.port(0).to_string()));
    host.wait_pod("hostnet", "Ready", |pod| pod.is("Ready"));
    wait_until("some liveness probes, which go to the IPv6 loopback", PATIENCE, || {
        host.logs(&["hostnet"]).lines().filter(|line| line.starts_with("[::1]:")).count() >= 3
    });
    assert_eq!(host.pod("hostnet").restarts(), 0);
    host.finish();
}

#[test]
fn a_pod_is_asked_over_ipv6_like_over_ipv4() {
    let host = Host::new();
    host.up(&server("six", "", "    readinessProbe: {tcpSocket: {port: http}, periodSeconds: 1}"));
    let six = host.wait_pod("six", "Ready", |pod| pod.is("Ready")).ip6();
    // Another pod's probes may ask any address.
    host.up(&pod(
        "asks",
        &format!(
            "  containers:\n  - name: c\n    image: podbox.local/toolbox\n    command: [sleep, infinity]\n    readinessProbe: {{httpGet: {{host: '{six}', port: 8080, path: /readyz}}, periodSeconds: 1}}\n    startupProbe: {{tcpSocket: {{host: '{six}', port: 8080}}, periodSeconds: 1}}\n"
        ),
    ));
    host.wait_pod("asks", "Ready", |pod| pod.is("Ready"));
    assert!(host.logs(&["six"]).contains(&format!("[{}]", host.gateway6())), "the host asked over IPv6");
    order(&host, &host.pod("six"), "fail/readyz");
    let text = format!("Get \"http://[{six}]:8080/readyz\"");
    host.wait_pod("asks", "not ready", |pod| !pod.is("Ready"));
    host.down(&["six", "--grace-period", "0"]);
    host.wait_event("asks", "Unhealthy", &text);
    host.finish();
}

#[test]
fn readiness_is_asked_while_the_pod_ends_and_liveness_is_not() {
    let host = Host::new();
    host.up(&pod(
        "ends",
        r"
  terminationGracePeriodSeconds: 60
  containers:
  - name: c
    image: podbox.local/host
    command: [sh, -c, 'touch /well; trap ''rm /well'' TERM; until [ -e /enough ]; do sleep 0.1; done']
    readinessProbe: {exec: {command: [test, -e, /well]}, periodSeconds: 1, failureThreshold: 1}
    livenessProbe: {exec: {command: [test, -e, /well]}, periodSeconds: 1, failureThreshold: 1}
",
    ));
    host.wait_pod("ends", "Ready", |pod| pod.is("Ready"));
    let mut down = host.cmd(["down", "ends"]).spawn();
    let view = host.wait_pod("ends", "not ready while it ends", |pod| !pod.is("Ready"));
    assert!(!view.text("metadata.deletionTimestamp").is_empty());
    assert_eq!(view.container("c")["ready"], false);
    host.wait_event("ends", "Unhealthy", "Readiness probe failed:");
    assert_eq!(host.event_count("ends", "Unhealthy", "Liveness"), 0);
    host.podbox(["exec", "ends", "--", "touch", "/enough"]).ok();
    assert_eq!(down.end(PATIENCE), 0);
    host.finish();
}

#[test]
fn proxies_of_the_environment_are_not_asked() {
    let host = Host::new();
    let manifest = server("direct", "", "    readinessProbe: {httpGet: {port: http}, periodSeconds: 1}");
    let nowhere = "http://127.0.0.1:9/";
    let up = host.cmd(["up", "-d", "-"]).env("HTTP_PROXY", nowhere).env("http_proxy", nowhere);
    up.env("ALL_PROXY", nowhere).input(manifest).run().ok();
    host.wait_pod("direct", "Ready", |pod| pod.is("Ready"));
    host.finish();
}

#[test]
fn the_example_of_every_kind_of_probe_becomes_ready() {
    let host = Host::new();
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/probes.yaml");
    host.podbox(["up", "-d", "--wait", "ready", example]).ok();
    host.podbox(["exec", "probes", "-c", "exec", "--", "rm", "/well"]).ok();
    let view = host.wait_pod("probes", "one of them not ready", |pod| !pod.is("Ready"));
    assert_eq!(view.condition("Ready")["message"], "containers with unready status: [exec]");
    host.finish();
}

#[test]
fn a_commands_variables_are_those_that_the_manifest_itself_gives_a_value() {
    let host = Host::new();
    host.up(&pod(
        "named",
        r"
  containers:
  - name: c
    image: podbox.local/host
    command: [sleep, infinity]
    env: [{name: A, value: one}, {name: B, value: $(A)}, {name: F, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]
    readinessProbe: {exec: {command: [test, '$(A) $(B) $(F) $(NONE) $$(A)', '=', 'one $$(A)  $(NONE) $$(A)']}, periodSeconds: 1}
",
    ));
    host.wait_pod("named", "Ready", |pod| pod.is("Ready"));
    host.finish();
}
