//! `podbox resize`.

use e2e::{Host, PodView, pod};

use super::{cpu, memory};

const PAIR: &str = r"
  terminationGracePeriodSeconds: 1
  containers:
  - {name: a, image: podbox.local/toolbox, command: [sleep, infinity], resources: {requests: {cpu: 100m, memory: 16Mi}, limits: {cpu: 200m, memory: 32Mi}}}
  - {name: b, image: podbox.local/toolbox, command: [sleep, infinity], resizePolicy: [{resourceName: memory, restartPolicy: RestartContainer}], resources: {requests: {cpu: 100m, memory: 16Mi}, limits: {cpu: 200m, memory: 32Mi}}}
";

fn has(view: &PodView, attempt: &str) -> (u64, u64) {
    (cpu(view, attempt), memory(view, attempt))
}

#[test]
fn a_container_grows_and_shrinks_while_it_runs_and_its_pod_with_it() {
    let host = Host::new();
    host.up(&pod("web", PAIR));
    let before = host.pod("web");
    assert_eq!((has(&before, ""), has(&before, "a-0")), ((400, 64), (200, 32)));
    let resize = |words: &[&str]| host.podbox(["resize", "web", "-c", "a"].iter().chain(words));
    resize(&["--cpu-limit", "1", "--memory-limit", "128Mi"]).ok().says("pod default/web resized");
    let view = host.pod("web");
    assert_eq!((has(&view, ""), has(&view, "a-0")), ((1200, 160), (1000, 128)));
    let status = view.container("a");
    assert_eq!(status["resources"]["limits"]["cpu"], "1");
    assert_eq!(status["allocatedResources"]["memory"], "16Mi");
    assert_eq!(view.at("spec.containers.0.resources.limits.memory"), "128Mi");
    resize(&["--cpu-limit", "150m", "--cpu-request", "50m", "--memory-limit", "24Mi"]).ok();
    let view = host.pod("web");
    assert_eq!((has(&view, ""), has(&view, "a-0")), ((350, 56), (150, 24)));
    assert_eq!(view.container("a")["allocatedResources"]["cpu"], "50m");
    assert!(view.condition("PodResizeInProgress").is_null(), "it is done");
    assert_eq!((view.container("a")["restartCount"].as_u64(), view.ip()), (Some(0), before.ip()));
    assert_eq!(host.event_count("web", "ResizeCompleted", "Pod resize completed: {\"containers\":"), 2);
    host.finish();
}

#[test]
fn a_resize_policy_may_want_a_new_start() {
    let host = Host::new();
    host.up(&pod("web", PAIR));
    host.podbox(["resize", "web", "-c", "b", "--cpu-limit", "300m"]).ok();
    assert_eq!(host.pod("web").container("b")["restartCount"], 0);
    host.podbox(["resize", "web", "-c", "b", "--memory-limit", "48Mi"]).ok();
    let view = host.pod("web");
    assert_eq!(view.container("b")["restartCount"], 1);
    assert_eq!((has(&view, "b-1"), has(&view, "")), ((300, 48), (500, 80)));
    host.wait_event("web", "Killing", "Container b resize requires restart");
    host.finish();
}

#[test]
fn what_an_api_server_refuses_changes_nothing() {
    let host = Host::new();
    host.up(&pod("web", PAIR));
    host.up(&pod(
        "sure",
        "  containers: [{name: c, image: podbox.local/toolbox, command: [sleep, infinity], resources: {limits: {cpu: 100m, memory: 16Mi}}}]",
    ));
    host.podbox(["resize", "sure", "--cpu-limit", "200m"]).code(2).complains(
        "spec: Invalid value: \"Guaranteed\": Pod QOS Class may not change as a result of resizing",
    );
    host.podbox(["resize", "sure", "--cpu-limit", "200m", "--cpu-request", "200m"]).ok();
    host.podbox(["resize", "web", "-c", "a", "--memory-request", "1Gi"])
        .code(2)
        .complains("requests: Invalid value: \"1Gi\": must be less than or equal to memory limit of 32Mi");
    host.podbox(["resize", "web", "-c", "a", "--memory-limit", "lots"]).code(2).complains("lots");
    host.podbox(["resize", "web"]).code(2).complains("--cpu-limit");
    host.podbox(["resize", "web", "-c", "none", "--cpu-limit", "1"]).code(2).complains("out of: a, b");
    assert_eq!(has(&host.pod("web"), "a-0"), (200, 32));
    host.finish();
}

#[test]
fn a_limit_below_what_is_used_is_tried_until_it_fits_or_is_taken_back() {
    let host = Host::new();
    host.up(&pod(
        "full",
        "  containers: [{name: c, image: podbox.local/toolbox, command: [eat, 24Mi], resources: {requests: {memory: 4Mi}, limits: {memory: 64Mi}}}]",
    ));
    e2e::wait_until("the memory to be eaten", e2e::PATIENCE, || {
        let text = host.podbox(["top", "full", "--no-headers"]).stdout;
        text.split_whitespace().last().is_some_and(|used| used >= "20Mi" && used.len() == 4)
    });
    host.podbox(["resize", "full", "--memory-limit", "8Mi"])
        .code(1)
        .complains("attempting to set container \"c\" memory limit (8388608) below current usage (");
    let view = host.pod("full");
    assert_eq!(view.condition("PodResizeInProgress")["reason"], "Error");
    assert_eq!(memory(&view, "c-0"), 64);
    assert_eq!(view.container("c")["resources"]["limits"]["memory"], "64Mi", "what it has");
    assert_eq!(view.at("spec.containers.0.resources.limits.memory"), "8Mi", "what it is to have");
    host.podbox(["resize", "full", "--memory-limit", "96Mi"]).ok();
    let view = host.pod("full");
    assert!(view.condition("PodResizeInProgress").is_null());
    assert_eq!((memory(&view, "c-0"), view.restarts()), (96, 0));
    host.finish();
}

#[test]
fn what_was_resized_survives_the_supervisor_and_a_new_start() {
    let host = Host::new();
    host.up(&pod("web", PAIR));
    host.podbox(["resize", "web", "-c", "a", "--memory-limit", "48Mi"]).ok();
    let old = host.supervisor("web");
    host.kill(old.unwrap());
    let _ = host.next_supervisor("web", old);
    host.podbox(["restart", "web", "-c", "a"]).ok();
    let view = host.pod("web");
    assert_eq!((memory(&view, "a-1"), memory(&view, "")), (48, 80));
    host.finish();
}
