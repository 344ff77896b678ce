//! Manifests as people have them, run unmodified: their images come from a registry by a mirror entry.

use std::time::{Duration, Instant};

use e2e::{Archive, Host, Layer, Registry, fixture, wait_good};
use serde_json::json;

/// A podbox that finds the manifests' images in a registry of this test's own.
fn with_images(backoff: (&'static str, &'static str)) -> (Host, Registry) {
    // The registry's port is known only with the host, the mirrors are wanted before: so they are written after.
    let host = Host::builder().backoff(backoff.0, backoff.1).registries("").build();
    let registry = Registry::start(host.dir(), host.port(30));
    std::fs::write(host.dir().join("registries.conf"), registry.mirrors()).unwrap();
    let image = |names: &[&str]| Archive::new([Layer::toolbox(names)]);
    registry.push(
        &image(&["http-go"]).set("Entrypoint", json!(["http-go"])),
        "docker.io/dldudwnsdl/http-go:latest",
    );
    registry.push(&image(&["goproxy"]).set("Cmd", json!(["goproxy"])), "k8s.gcr.io/goproxy:0.1");
    registry.push(&image(&["/server"]).set("Cmd", json!(["/server"])), "k8s.gcr.io/liveness:latest");
    (host, registry)
}

fn up(host: &Host, name: &str) {
    let file = fixture("manifests").join(name);
    host.podbox(["up", "-d", file.to_str().unwrap()]).ok();
}

#[test]
fn http_go_says_whom_you_have_hit() {
    let (host, registry) = with_images(("10s", "300s"));
    up(&host, "http-go.yaml");
    let view = host.pod("http-go");
    let url = format!("{}:8080", view.ip());
    let answer = wait_good("an answer", || host.podbox(["toolbox", "get", &url]));
    assert_eq!(answer.text(), "You've hit http-go");
    host.wait_event("http-go", "Pulling", "Pulling image \"dldudwnsdl/http-go\"");
    host.wait_event("http-go", "Pulled", "Successfully pulled image \"dldudwnsdl/http-go\" in ");
    assert_eq!(view.container("http-go")["image"], "docker.io/dldudwnsdl/http-go:latest");
    let id = view.container("http-go")["imageID"].as_str().unwrap_or_default().to_owned();
    assert!(id.starts_with("docker.io/dldudwnsdl/http-go@sha256:"), "{id}");
    drop(registry);
    host.finish();
}

#[test]
fn goproxy_becomes_ready_by_its_tcp_probe() {
    let (host, registry) = with_images(("10s", "300s"));
    up(&host, "goproxy.yaml");
    let view = host.pod("goproxy");
    assert!(!view.is("Ready"), "the first probe comes after five seconds");
    let view = host.wait_pod("goproxy", "Ready", |pod| pod.is("Ready"));
    assert_eq!(view.text("metadata.labels.app"), "goproxy");
    assert_eq!(view.restarts(), 0);
    host.podbox(["get", "pods", "-l", "app=goproxy", "-o", "name"]).ok().says("pod/goproxy");
    drop(registry);
    host.finish();
}

#[test]
fn liveness_http_restarts_about_every_20_seconds() {
    let (host, registry) = with_images(("100ms", "1s"));
    up(&host, "liveness-http.yaml");
    let mut lives = Vec::new();
    for restart in 1..=2 {
        let view = host.wait_pod_for("liveness-http", "a restart", Duration::from_secs(40), |pod| {
            pod.restarts() >= restart
        });
        let last = view.container("liveness")["lastState"]["terminated"].clone();
        let time = |field: &str| seconds(last[field].as_str().unwrap_or_default());
        lives.push(time("finishedAt") - time("startedAt"));
    }
    // Ten seconds well, then three failures three seconds apart: 16 to 19 s, and the process's own end.
    for life in &lives {
        assert!((15..=24).contains(life), "lives of {lives:?} s");
    }
    let name = "liveness-http";
    host.wait_event(name, "Unhealthy", "Liveness probe failed: HTTP probe failed with statuscode: 500");
    host.wait_event(name, "Killing", "Container liveness failed liveness probe, will be restarted");
    assert_eq!(host.event_count(name, "Killing", "failed liveness probe"), 2);
    assert_eq!(host.event_count(name, "Unhealthy", "statuscode: 500"), 6);
    assert_eq!(host.event_count(name, "Started", "Started container liveness"), 3);
    assert!(host.logs(&[name, "--previous"]).contains("GET /healthz"), "the server sees its probes");
    drop(registry);
    host.finish();
}

/// Seconds of the day of `2026-01-01T12:34:56Z`, plus the day of the month's.
fn seconds(time: &str) -> i64 {
    let number =
        |at: std::ops::Range<usize>| time.get(at).and_then(|text| text.parse::<i64>().ok()).unwrap_or(0);
    ((number(8..10) * 24 + number(11..13)) * 60 + number(14..16)) * 60 + number(17..19)
}

/// The first probe may come before the server listens. The next one comes when this server has turned ill, and so do
/// all others, as with a kubelet: then it takes another pod.
fn up_and_started(host: &Host) {
    for _ in 0..5 {
        up(host, "startup.yaml");
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(5) {
            if host.pod("startup").container("startup")["started"] == true {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        host.down(&["startup", "--grace-period", "0"]);
    }
    panic!("five servers were not listening when they were asked first");
}

#[test]
fn startup_is_reached_at_its_host_port_and_found_by_the_name_of_its_port() {
    let (host, registry) = with_images(("10s", "300s"));
    up_and_started(&host);
    let answer = wait_good("an answer on the host's port", || {
        host.podbox(["toolbox", "get", "127.0.0.1:8080/started"])
    });
    assert!(answer.text().ends_with('s'), "{answer}");
    let view = host.wait_pod("startup", "started", |pod| pod.container("startup")["started"] == true);
    assert_eq!(view.at("spec.containers.0.ports.0.hostPort").as_u64(), Some(8080));
    // After ten seconds it is ill; with a threshold of 1 and a period of 10 s it is killed by the 30th second.
    host.wait_pod_for("startup", "a restart", Duration::from_secs(45), |pod| pod.restarts() >= 1);
    host.wait_event("startup", "Killing", "Container startup failed liveness probe, will be restarted");
    wait_good("an answer after the restart", || host.podbox(["toolbox", "get", "127.0.0.1:8080/healthz"]));
    drop(registry);
    host.finish();
}
