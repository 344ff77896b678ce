//! The kubelet's own words: every reason that a container waits or ended for, and the events that tell it.

use e2e::{Archive, Host, Layer, PATIENCE, PodView, Registry, pod, wait_until};
use serde_json::{Value, json};

fn waiting(view: &PodView) -> (String, String) {
    let state = view.at("status.containerStatuses.0.state.waiting");
    let text = |key: &str| state[key].as_str().unwrap_or_default().to_owned();
    (text("reason"), text("message"))
}

fn reason(view: &PodView) -> String {
    waiting(view).0
}

/// Type, reason and message of all events about containers.
fn told(host: &Host, name: &str) -> Vec<(String, String, String)> {
    let text = |event: &Value, key: &str| event[key].as_str().unwrap_or_default().to_owned();
    let of_container = |event: &&Value| event["involvedObject"]["fieldPath"].is_string();
    let events = host.events(name);
    events
        .iter()
        .filter(of_container)
        .map(|event| (text(event, "type"), text(event, "reason"), text(event, "message")))
        .collect()
}

fn insist(host: &Host, name: &str, kind: &str, reason: &str, message: &str) {
    let all = told(host, name);
    let found = all.iter().any(|(a, b, c)| a == kind && b == reason && c == message);
    assert!(found, "no event {kind} {reason} {message:?} among {all:#?}");
}

fn with_registry() -> (Host, Registry) {
    let host = Host::builder().registries("").build();
    let registry = Registry::start(host.dir(), host.port(30));
    std::fs::write(host.dir().join("registries.conf"), registry.mirrors()).unwrap();
    (host, registry)
}

#[test]
fn an_image_that_may_not_be_pulled_is_err_image_never_pull_for_as_long_as_it_is_missing() {
    let (host, registry) = with_registry();
    let image = format!("{}/late:1", registry.host());
    let spec = format!(
        "  containers:\n  - {{name: c, image: '{image}', imagePullPolicy: Never, command: [sleep, infinity]}}"
    );
    host.try_up(&pod("never", &spec), &["--wait", "none"]).ok();
    let message = format!("Container image \"{image}\" is not present with pull policy of Never");
    wait_until("several tries", PATIENCE, || {
        let view = host.pod("never");
        // A pod that nobody has looked at yet has no statuses.
        let known = view.at("status.containerStatuses").is_array();
        let fits = ["ErrImageNeverPull", "ContainerCreating"].contains(&reason(&view).as_str());
        assert!(fits || !known, "{view:#?}");
        host.event_count("never", "ErrImageNeverPull", &message) >= 3
    });
    assert_eq!(waiting(&host.pod("never")), ("ErrImageNeverPull".to_owned(), message.clone()));
    insist(&host, "never", "Warning", "ErrImageNeverPull", &message);
    insist(&host, "never", "Warning", "Failed", "Error: ErrImageNeverPull");
    registry.push(&Archive::new([Layer::toolbox(&["sleep"])]), "late:1");
    host.podbox(["image", "pull", &image]).ok();
    host.wait_pod("never", "Ready", |pod| pod.is("Ready"));
    insist(
        &host,
        "never",
        "Normal",
        "Pulled",
        &format!("Container image \"{image}\" already present on machine"),
    );
    drop(registry);
    host.finish();
}

#[test]
fn a_pull_that_fails_is_err_image_pull_and_then_image_pull_back_off() {
    let (host, registry) = with_registry();
    let image = format!("{}/nobody:1", registry.host());
    host.try_up(&pod("app", &format!("  containers: [{{name: c, image: '{image}'}}]")), &["--wait", "none"])
        .ok();
    host.wait_pod("app", "back-off", |pod| reason(pod) == "ImagePullBackOff");
    let view = host.wait_pod("app", "back-off", |pod| reason(pod) == "ImagePullBackOff");
    let message = waiting(&view).1;
    assert!(message.starts_with(&format!("Back-off pulling image \"{image}\": ErrImagePull: ")), "{message}");
    insist(&host, "app", "Normal", "Pulling", &format!("Pulling image \"{image}\""));
    insist(&host, "app", "Warning", "Failed", "Error: ErrImagePull");
    insist(&host, "app", "Normal", "BackOff", &format!("Back-off pulling image \"{image}\""));
    insist(&host, "app", "Warning", "Failed", "Error: ImagePullBackOff");
    assert!(host.event_count("app", "Failed", &format!("Failed to pull image \"{image}\": ")) > 0);
    let layer = Layer::toolbox(&["sleep"]);
    registry.push(&Archive::new([layer]).set("Cmd", json!(["sleep", "infinity"])), "nobody:1");
    host.wait_pod("app", "Ready", |pod| pod.is("Ready"));
    let pulled = told(&host, "app").into_iter().find(|(_, reason, _)| reason == "Pulled").unwrap().2;
    let words: Vec<&str> = pulled.split_whitespace().collect();
    assert!(pulled.starts_with(&format!("Successfully pulled image \"{image}\" in ")), "{pulled}");
    assert!(pulled.contains(" including waiting). Image size: "), "{pulled}");
    assert_eq!(words.last(), Some(&"bytes."), "{pulled}");
    insist(&host, "app", "Normal", "Created", "Created container: c");
    insist(&host, "app", "Normal", "Started", "Started container c");
    drop(registry);
    host.finish();
}

#[test]
fn a_name_that_is_none_is_invalid_image_name() {
    let host = Host::new();
    let spec = "  containers:\n  - {name: c, image: 'UPPER/case:x y'}";
    host.try_up(&pod("bad", spec), &["--wait", "none"]).ok();
    let view = host.wait_pod("bad", "InvalidImageName", |pod| reason(pod) == "InvalidImageName");
    assert_eq!(view.phase(), "Pending");
    host.wait_event("bad", "InspectFailed", "Failed to apply default image tag \"UPPER/case:x y\": ");
    insist(&host, "bad", "Warning", "Failed", "Error: InvalidImageName");
    host.finish();
}

#[test]
fn what_keeps_a_container_from_being_made_is_a_create_container_config_error() {
    let host = Host::new();
    let spec = r"
  securityContext: {runAsNonRoot: true}
  containers:
  - {name: c, image: podbox.local/toolbox, command: [sleep, infinity]}
";
    host.try_up(&pod("root", spec), &["--wait", "none"]).ok();
    let view = host.wait_pod("root", "an error", |pod| reason(pod) == "CreateContainerConfigError");
    let message = waiting(&view).1;
    let place = format!("(pod: \"root_default({})\", container: c)", view.text("metadata.uid"));
    assert_eq!(message, format!("container has runAsNonRoot and image will run as root {place}"));
    insist(&host, "root", "Warning", "Failed", &format!("Error: {message}"));
    assert_eq!(view.phase(), "Pending");
    host.finish();
}

#[test]
fn a_crash_a_start_error_and_the_end_of_a_pod_have_their_words() {
    let host = Host::new();
    let spec = r"
  containers:
  - {name: crash, image: podbox.local/toolbox, command: [exitcode, '7']}
  - {name: nosuch, image: podbox.local/toolbox, command: [no-such-program]}
  - {name: calm, image: podbox.local/toolbox, command: [sleep, infinity]}
";
    host.try_up(&pod("mixed", spec), &["--wait", "none"]).ok();
    let state = |view: &PodView, name: &str| view.container(name)["state"]["waiting"]["reason"].clone();
    let view = host.wait_pod("mixed", "both in back-off", |pod| {
        state(pod, "crash") == "CrashLoopBackOff" && state(pod, "nosuch") == "CrashLoopBackOff"
    });
    let place = format!("mixed_default({})", view.text("metadata.uid"));
    let message = view.container("crash")["state"]["waiting"]["message"].as_str().unwrap().to_owned();
    assert!(message.starts_with("back-off "), "{message}");
    assert!(message.ends_with(&format!(" restarting failed container=crash pod={place}")), "{message}");
    insist(
        &host,
        "mixed",
        "Warning",
        "BackOff",
        &format!("Back-off restarting failed container crash in pod {place}"),
    );
    let last = |name: &str| view.container(name)["lastState"]["terminated"].clone();
    assert_eq!((&last("crash")["reason"], &last("crash")["exitCode"]), (&json!("Error"), &json!(7)));
    assert_eq!((&last("nosuch")["reason"], &last("nosuch")["exitCode"]), (&json!("StartError"), &json!(128)));
    host.wait_event("mixed", "Failed", "Error: failed to start container");
    let watch = host.cmd(["events", "mixed", "-w"]).spawn();
    watch.wait_to_say("Started container calm");
    host.down(&["mixed", "--grace-period", "1"]);
    watch.wait_to_say("Stopping container calm");
    host.finish();
}
