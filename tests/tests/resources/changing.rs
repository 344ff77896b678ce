//! `up` of a manifest that has changed.

use std::fs;

use e2e::{Host, pod};

const WEB: &str = r"
  terminationGracePeriodSeconds: 1
  containers:
  - {name: a, image: podbox.local/toolbox, command: [sleep, infinity], resources: {limits: {memory: 32Mi}}}
  - {name: b, image: podbox.local/toolbox, command: [sleep, infinity]}
";

#[test]
fn up_changes_what_an_api_server_lets_change_and_restarts_only_what_has_another_image() {
    let host = Host::new();
    host.up(&pod("web", WEB));
    let before = host.pod("web");
    let changed = WEB.replacen("podbox.local/toolbox", "podbox.local/host", 1).replace("32Mi", "48Mi");
    let changed = pod("web", &format!("  activeDeadlineSeconds: 3600{changed}"));
    let changed = changed.replacen("metadata:\n", "metadata:\n  labels: {tier: front}\n", 1);
    host.up(&changed).says("pod default/web configured");
    let view = host.wait_pod("web", "the new image", |pod| pod.container("a")["restartCount"] == 1);
    assert_eq!(view.text("metadata.labels.tier"), "front");
    assert_eq!(view.at("spec.activeDeadlineSeconds"), 3600);
    assert_eq!(view.container("b")["restartCount"], 0);
    assert_eq!((view.text("metadata.uid"), view.ip()), (before.text("metadata.uid"), before.ip()));
    host.wait_event("web", "Killing", "Container a definition changed, will be restarted");
    let view = host.wait_pod("web", "all to run", |pod| pod.is("Ready"));
    assert!(view.container("a")["image"].as_str().unwrap().starts_with("podbox.local/host"), "{view:#?}");
    assert_eq!(super::memory(&view, "a-1"), 48);
    host.up(&changed).says("pod default/web unchanged");
    host.podbox(["get", "pods", "-l", "tier=front", "-o", "name"]).ok().says("pod/web");
    host.finish();
}

#[test]
fn up_refuses_other_changes_with_their_names_and_changes_nothing() {
    let host = Host::new();
    host.up(&pod("web", WEB));
    let before = host.pod("web");
    for (changed, said) in [
        (WEB.replacen("infinity", "'100'", 1), "changed: spec.containers[0].command[1]"),
        (
            format!("{WEB}  - {{name: c, image: i}}\n"),
            "spec.containers: Forbidden: pod updates may not add or remove containers",
        ),
        (WEB.replace("memory: 32Mi", "cpu: 1"), "resource limits cannot be removed"),
    ] {
        let output = host.try_up(&pod("web", &changed), &[]).code(2).complains(said);
        output.complains("podbox up --replace");
    }
    assert_eq!(host.pod("web").0, before.0);
    host.try_up(&pod("web", &WEB.replacen("infinity", "'100'", 1)), &["--replace"]).ok();
    assert_ne!(host.pod("web").text("metadata.uid"), before.text("metadata.uid"));
    host.finish();
}

#[test]
fn a_deadline_that_comes_nearer_ends_the_pod() {
    let host = Host::new();
    host.up(&pod("web", &format!("  activeDeadlineSeconds: 3600{WEB}")));
    host.up(&pod("web", &format!("  activeDeadlineSeconds: 1{WEB}"))).says("configured");
    let view = host.wait_pod("web", "its end", |pod| pod.phase() == "Failed");
    assert_eq!(view.text("status.reason"), "DeadlineExceeded");
    host.finish();
}

#[test]
fn a_change_that_only_was_written_down_is_taken_up_by_the_next_supervisor() {
    let host = Host::new();
    host.up(&pod("web", WEB));
    let uid = host.pod("web").text("metadata.uid").to_owned();
    let file = host.root_dir().join("pods").join(uid).join("pod.json");
    let text = fs::read_to_string(&file).unwrap();
    let changed = text.replacen("podbox.local/toolbox", "podbox.local/host", 1);
    assert_ne!(text, changed);
    let old = host.supervisor("web");
    fs::write(&file, changed).unwrap();
    host.kill(old.unwrap());
    let _ = host.next_supervisor("web", old);
    let view = host
        .wait_pod("web", "the new image", |pod| pod.container("a")["restartCount"] == 1 && pod.is("Ready"));
    assert_eq!(view.container("b")["restartCount"], 0);
    host.finish();
}

#[test]
fn an_image_that_is_not_to_be_had_is_waited_for_and_may_be_taken_back() {
    let host = Host::new();
    host.up(&pod("web", WEB));
    let missing = WEB.replacen("podbox.local/toolbox", "rootfs:/there/is/none", 1);
    host.try_up(&pod("web", &missing), &["--wait", "none"]).ok().says("configured");
    host.wait_pod("web", "no image", |pod| {
        pod.container("a")["state"]["waiting"]["reason"].as_str().is_some_and(|why| why.contains("Image"))
    });
    host.try_up(&pod("web", WEB), &["--wait", "ready"]).ok().says("configured");
    host.finish();
}
