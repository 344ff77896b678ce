//! Probes against servers and commands that do what they should not. The words are those of a kubelet.

use e2e::{Host, PATIENCE, pod, wait_until};
use std::time::Duration;

/// A container that runs a toolbox applet, with a readiness probe.
fn container(name: &str, command: &str, probe: &str) -> String {
    format!(
        "  - name: {name}\n    image: podbox.local/toolbox\n    command: [{command}]\n    readinessProbe: {{{probe}, periodSeconds: 1, timeoutSeconds: 1}}\n"
    )
}

fn containers(all: &[(&str, &str, &str)]) -> String {
    let texts: Vec<_> = all.iter().map(|(name, command, probe)| container(name, command, probe)).collect();
    format!("  containers:\n{}", texts.concat())
}

fn readiness_fails(host: &Host, name: &str, text: &str) {
    host.wait_event(name, "Unhealthy", &format!("Readiness probe failed: {text}"));
}

#[test]
fn servers_that_keep_a_probe_waiting_are_given_up_in_time() {
    let host = Host::new();
    host.up(&pod(
        "slow",
        &containers(&[
            ("headers", "misbehave, slow, --port, '8001'", "httpGet: {port: 8001}"),
            ("silent", "misbehave, silent, --port, '8002'", "httpGet: {port: 8002}"),
            ("deaf", "misbehave, deaf, --port, '8003'", "httpGet: {port: 8003}"),
            ("deaf-tcp", "misbehave, deaf, --port, '8004'", "tcpSocket: {port: 8004}"),
            ("accepts", "misbehave, silent, --port, '8005'", "tcpSocket: {port: 8005}"),
            ("body", "http, --port, '8006'", "httpGet: {port: 8006, path: /bytes/10Mi}"),
        ]),
    ));
    let view = host.wait_pod("slow", "two of them ready", |pod| {
        ["accepts", "body"].iter().all(|name| pod.container(name)["ready"] == true)
    });
    let ip = view.ip();
    for port in [8001, 8002, 8003] {
        let late = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)";
        readiness_fails(&host, "slow", &format!("Get \"http://{ip}:{port}/\": {late}"));
    }
    readiness_fails(&host, "slow", &format!("dial tcp {ip}:8004: i/o timeout"));
    let view = host.pod("slow");
    for name in ["headers", "silent", "deaf", "deaf-tcp"] {
        assert_eq!(view.container(name)["ready"], false, "{name}");
    }
    host.finish();
}

#[test]
fn servers_that_break_off_or_lead_astray_are_told_apart() {
    let host = Host::new();
    host.up(&pod(
        "rude",
        &containers(&[
            ("reset", "misbehave, reset, --port, '8001'", "httpGet: {port: 8001}"),
            ("hang-up", "misbehave, hang-up, --port, '8002'", "httpGet: {port: 8002, path: /x}"),
            ("loop", "misbehave, loop, --port, '8003'", "httpGet: {port: 8003, path: /round}"),
            ("away", "misbehave, away, --port, '8004'", "httpGet: {port: 8004}"),
            ("plain", "http, --port, '8005'", "httpGet: {port: 8005, scheme: HTTPS}"),
            ("status", "http, --port, '8006'", "httpGet: {port: 8006, path: /status/404}"),
        ]),
    ));
    let view = host.wait_pod("rude", "one ready", |pod| pod.container("away")["ready"] == true);
    let ip = view.ip();
    host.wait_event("rude", "Unhealthy", &format!("->{ip}:8001: read: connection reset by peer"));
    readiness_fails(&host, "rude", &format!("Get \"http://{ip}:8002/x\": EOF"));
    readiness_fails(&host, "rude", "Get \"/round\": stopped after 10 redirects");
    readiness_fails(
        &host,
        "rude",
        &format!("Get \"https://{ip}:8005/\": http: server gave HTTP response to HTTPS client"),
    );
    readiness_fails(&host, "rude", "HTTP probe failed with statuscode: 404");
    let warning = "Readiness probe warning: Probe terminated redirects, Response body: over there";
    host.wait_event("rude", "ProbeWarning", warning);
    host.finish();
}

#[test]
fn grpc_servers_are_judged_by_what_they_say_of_their_health() {
    let host = Host::new();
    host.up(&pod(
        "grpc",
        &containers(&[
            ("well", "grpc-health, --port, '5001', --service, db", "grpc: {port: 5001, service: db}"),
            ("whole", "grpc-health, --port, '5002'", "grpc: {port: 5002}"),
            ("ill", "grpc-health, --port, '5003', --status, NOT_SERVING", "grpc: {port: 5003}"),
            ("other", "grpc-health, --port, '5004'", "grpc: {port: 5004, service: db}"),
            ("none", "grpc-health, --port, '5005', --none", "grpc: {port: 5005}"),
            ("silent", "misbehave, silent, --port, '5006'", "grpc: {port: 5006}"),
            ("nobody", "sleep, infinity", "grpc: {port: 5007}"),
        ]),
    ));
    let view = host.wait_pod("grpc", "two of them ready", |pod| {
        ["well", "whole"].iter().all(|name| pod.container(name)["ready"] == true)
    });
    let ip = view.ip();
    for text in [
        "service unhealthy (responded with \"NOT_SERVING\")".to_owned(),
        "error: health rpc probe failed: rpc error: code = NotFound desc = unknown service".to_owned(),
        "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): unknown service grpc.health.v1.Health".to_owned(),
        format!("timeout: failed to connect service \"{ip}:5006\" within 1s: context deadline exceeded"),
        format!("timeout: failed to connect service \"{ip}:5007\" within 1s: context deadline exceeded"),
    ] {
        readiness_fails(&host, "grpc", &text);
    }
    host.finish();
}

#[test]
fn a_grpc_server_that_turns_ill_is_restarted() {
    let host = Host::new();
    host.up(&pod(
        "turns",
        r"
  terminationGracePeriodSeconds: 2
  containers:
  - name: c
    image: podbox.local/toolbox
    command: [grpc-health, --fail-after, 2s]
    livenessProbe: {grpc: {port: 5000}, periodSeconds: 1, failureThreshold: 1}
",
    ));
    host.wait_pod("turns", "a restart", |pod| pod.restarts() >= 1);
    host.wait_event("turns", "Killing", "Container c failed liveness probe, will be restarted");
    host.finish();
}

#[test]
fn https_is_asked_whatever_the_certificate() {
    let host = Host::new();
    host.up(&pod(
        "https",
        r"
  containers:
  - {name: web, image: podbox.local/toolbox, command: [http]}
  - name: tls
    image: podbox.local/toolbox
    command: [tls, --port, '8443']
    ports: [{name: https, containerPort: 8443}]
    readinessProbe: {httpGet: {scheme: HTTPS, port: https, path: /healthz}, periodSeconds: 1}
",
    ));
    host.wait_pod("https", "Ready", |pod| pod.is("Ready"));
    host.finish();
}

/// What runs in the container with one of these words in its command line.
fn running(host: &Host, pod: &str, words: &[&str]) -> Vec<String> {
    let all = host.exec(pod, &["ps", "axww", "-o", "args"]);
    all.lines().filter(|line| words.iter().any(|word| line.contains(word))).map(str::to_owned).collect()
}

fn exec_probed(name: &str, probe: &str) -> String {
    pod(
        name,
        &format!(
            "  terminationGracePeriodSeconds: 0\n  containers:\n  - name: c\n    image: podbox.local/host\n    command: [sleep, infinity]\n    {probe}\n"
        ),
    )
}

#[test]
fn a_command_that_forks_and_hangs_is_killed_with_all_that_it_started() {
    let host = Host::new();
    // One in a session of its own, one whose parent has gone, one that does not listen, and the command itself.
    let script = "setsid sleep 47111 & (sleep 47112 &) ; (trap \"\" TERM HUP INT; sleep 47113) & sleep 47114";
    let probe = format!(
        "readinessProbe: {{exec: {{command: [sh, -c, '{script}']}}, periodSeconds: 60, timeoutSeconds: 2}}"
    );
    host.up(&exec_probed("forks", &probe));
    wait_until("the probe to be at it", PATIENCE, || running(&host, "forks", &["sleep 4711"]).len() >= 4);
    readiness_fails(&host, "forks", "command timed out: \"sh -c setsid sleep 47111");
    wait_until("nothing of it to be left", PATIENCE, || running(&host, "forks", &["sleep 4711"]).is_empty());
    assert_eq!(host.pod("forks").restarts(), 0);
    host.finish();
}

#[test]
fn what_a_command_leaves_in_the_background_lives_on_and_keeps_nobody_waiting() {
    let host = Host::new();
    let probe = "readinessProbe: {exec: {command: [sh, -c, 'sleep 47211 & yes & exit 0']}, periodSeconds: 60, timeoutSeconds: 30}";
    host.up(&exec_probed("leaves", probe));
    host.wait_pod_for("leaves", "Ready", Duration::from_secs(20), |pod| pod.is("Ready"));
    assert_eq!(running(&host, "leaves", &["sleep 47211"]).len(), 1, "as under a kubelet");
    host.finish();
}

#[test]
fn of_a_command_that_floods_its_output_the_beginning_is_told() {
    let host = Host::new();
    let probe = "readinessProbe: {exec: {command: [sh, -c, 'yes | head -c 20000000; exit 1']}, periodSeconds: 1, timeoutSeconds: 10}";
    host.up(&exec_probed("floods", probe));
    readiness_fails(&host, "floods", "y\ny\ny\n");
    let events = host.events("floods");
    let text = events.iter().find(|event| event["reason"] == "Unhealthy").expect("the event")["message"]
        .as_str()
        .expect("a text");
    assert_eq!(text.len(), "Readiness probe failed: ".len() + 10 * 1024);
    host.finish();
}

#[test]
fn a_program_that_does_not_exist_says_nothing_about_the_container() {
    let host = Host::new();
    let probe = "livenessProbe: {exec: {command: [/no/such/program]}, periodSeconds: 1, failureThreshold: 1}\n    readinessProbe: {exec: {command: [/no/such/program]}, periodSeconds: 1}";
    host.up(&exec_probed("nosuch", probe));
    let text = "Liveness probe errored and resulted in unknown state: \"/no/such/program\": no such file or directory";
    host.wait_event("nosuch", "Unhealthy", text);
    wait_until("it to be asked again", PATIENCE, || host.event_count("nosuch", "Unhealthy", text) >= 3);
    let view = host.pod("nosuch");
    assert_eq!((view.restarts(), view.is("Ready")), (0, false));
    host.finish();
}

#[test]
fn a_command_runs_as_the_container_does() {
    let host = Host::new();
    // In the container's cgroup namespace a process of another cgroup would show a path with dots.
    let check = r#"[ "$(id -u):$(id -g):$WORD:$PWD" = "1234:2345:here:/tmp" ] && ! grep -q "\.\." /proc/self/cgroup && grep -q infinity /proc/1/cmdline"#;
    let manifest = exec_probed(
        "as",
        &format!(
            "workingDir: /tmp\n    env: [{{name: WORD, value: here}}]\n    securityContext: {{runAsUser: 1234, runAsGroup: 2345}}\n    readinessProbe: {{exec: {{command: [sh, -c, '{check}']}}, periodSeconds: 1}}"
        ),
    );
    host.up(&manifest);
    host.wait_pod("as", "Ready", |pod| pod.is("Ready"));
    host.finish();
}
