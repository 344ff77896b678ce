//! Plugins that hang: whoever waits for them may lose patience, and the pod's supervisor goes on answering meanwhile.

use std::fs;
use std::time::{Duration, Instant};

use e2e::{PATIENCE, pod, wait_for};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use super::chain::{CLIENT, Site, bridge, chain};

/// Less than the minute that a plugin has.
const SOON: Duration = Duration::from_secs(30);

/// Writes down who it is and hangs, with a child, unless it is asked to take something back.
const HANGS: &str = "[ $CNI_COMMAND = ADD ] || exit 0; echo $$ >$dir/group; sleep 600 & sleep 600";

/// ADD by a plugin that changes nothing: the result of the one before.
pub(super) const PASS_ON: &str =
    "[ $CNI_COMMAND = ADD ] && { sed 's/.*\"prevResult\":\\(.*\\),\"type\":\"[a-z]*\"}$/\\1/'; exit; }";

/// A chain whose second plugin hangs over ADD.
fn site() -> Site {
    let site = Site::new(|dir| chain(json!([bridge(dir), {"type": "hangs"}])));
    site.plugin("hangs", HANGS);
    site
}

/// Waits until the plugin runs, and gives its process group.
pub(super) fn group(site: &Site) -> Pid {
    let file = site.host.dir().join("group");
    let number = wait_for("the plugin to run", PATIENCE, || {
        let text = fs::read_to_string(&file).unwrap_or_default();
        text.trim().parse::<i32>().map_err(|_| text)
    });
    Pid::from_raw(-number)
}

/// Waits until nothing is left of what the plugin has started.
pub(super) fn is_over(group: Pid) {
    wait_for("what the plugin has started to go", PATIENCE, || {
        if kill(group, None).is_err() { Ok(()) } else { Err("it is there".to_owned()) }
    });
}

/// Nothing is left of the plugin, of what the one before it has made, and of the pod.
fn is_undone(site: Site, group: Pid) {
    is_over(group);
    site.podbox(&["get", "pod", "p"]).code(2);
    assert_eq!(site.leased(), Vec::<String>::new());
    site.finish();
}

#[test]
fn up_does_not_wait_for_a_plugin_longer_than_its_timeout_and_names_it() {
    let site = site();
    let begun = Instant::now();
    let up = site.enter().args([e2e::binary()]).args(["up", "-d", "--timeout", "3s", "-"]);
    let up = up.input(pod("p", CLIENT)).run().code(1);
    up.complains("pod default/p is not running after 3 s: CNI ADD of test by the plugin hangs takes long");
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    let group = group(&site);
    is_undone(site, group);
}

#[test]
fn a_plugin_that_says_very_much_is_told_of_in_short() {
    let site = Site::new(|dir| chain(json!([bridge(dir), {"type": "talks"}])));
    let talks = "[ $CNI_COMMAND = ADD ] || exit 0; head -c 1100000 /dev/zero | tr '\\0' x; exit 1";
    site.plugin("talks", talks);
    let begun = Instant::now();
    let up = site.enter().args([e2e::binary()]).args(["up", "-d", "-"]).input(pod("p", CLIENT)).run();
    assert!(!up.good(), "{up}");
    up.complains("CNI ADD of test: talks: xxxx");
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    site.podbox(&["get", "pod", "p"]).code(2);
    assert_eq!(site.leased(), Vec::<String>::new());
    site.finish();
}

#[test]
fn ctrl_c_ends_a_plugin_that_hangs() {
    let site = site();
    let manifest = site.host.dir().join("p.yaml");
    fs::write(&manifest, pod("p", CLIENT)).unwrap();
    let mut up = site.enter().args([e2e::binary()]).args(["up", manifest.to_str().unwrap()]).spawn();
    let group = group(&site);
    up.signal(Signal::SIGINT);
    assert_eq!(up.end(SOON), 130);
    is_undone(site, group);
}

#[test]
fn down_ends_a_plugin_that_hangs() {
    let site = site();
    let up = site.enter().args([e2e::binary()]).args(["up", "-d", "--wait", "none", "-"]);
    up.input(pod("p", CLIENT)).run().ok();
    let group = group(&site);
    let begun = Instant::now();
    site.podbox(&["down", "p"]).ok();
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    is_undone(site, group);
}

#[test]
fn a_supervisor_answers_while_a_plugin_takes_its_time_to_take_back() {
    let site = Site::new(|dir| chain(json!([bridge(dir), {"type": "waits"}])));
    site.plugin(
        "waits",
        &format!("{PASS_ON}\n[ $CNI_COMMAND = DEL ] && {{ echo $$ >$dir/group; until [ -e $dir/go ]; do sleep 0.05; done; }}; exit 0"),
    );
    let ends =
        "  restartPolicy: Never\n  containers: [{name: c, image: podbox.local/toolbox, command: ['true']}]";
    let up = site.enter().args([e2e::binary()]).args(["up", "-d", "--wait", "none", "-"]);
    up.input(pod("p", ends)).run().ok();
    group(&site);
    wait_for("the pod's end to be told", PATIENCE, || {
        let phase = site.podbox(&["get", "pod", "p", "-o", "jsonpath={.status.phase}"]).stdout;
        if phase == "Succeeded" { Ok(()) } else { Err(phase) }
    });
    // Each is a question for the supervisor.
    let begun = Instant::now();
    site.podbox(&["condition", "p", "a/b=True"]).complains("the pod is over");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!(site.leased().len(), 1, "the plugin before it has not been asked yet");
    let mut down = site.enter().args([e2e::binary()]).args(["down", "p"]).spawn();
    fs::write(site.host.dir().join("go"), "").unwrap();
    assert_eq!(down.end(SOON), 0);
    site.podbox(&["get", "pod", "p"]).code(2);
    site.finish();
}
