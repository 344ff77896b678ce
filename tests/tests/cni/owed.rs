//! Plugins that do not take back what they have made, and callers that are killed over plugins: nothing is forgotten, and
//! nobody waits for ever.

use std::fs;
use std::time::{Duration, Instant};

use e2e::{PATIENCE, pod, wait_for};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use super::chain::{CLIENT, Site, bridge, chain};
use super::hanging::{PASS_ON, group, is_over};

/// What a plugin has in a hurry, once, and as much again for all the rest.
const ONE_TRY: Duration = Duration::from_secs(9);

/// A chain whose second plugin does this.
fn site(body: &str) -> Site {
    let site = Site::new(|dir| chain(json!([bridge(dir), {"type": "odd"}])));
    site.plugin("odd", body);
    site
}

/// The plugin becomes one that does as it is told.
fn mend(site: &Site) {
    site.plugin("odd", &format!("{PASS_ON}\nexit 0"));
}

fn owed(site: &Site) -> usize {
    fs::read_dir(site.host.root_dir().join("cni-owed")).map_or(0, Iterator::count)
}

fn up_in_the_background(site: &Site) {
    let up = site.enter().args([e2e::binary()]).args(["up", "-d", "--wait", "none", "-"]);
    up.input(pod("p", CLIENT)).run().ok();
}

fn kill_all(pids: &[Option<i32>]) {
    for pid in pids.iter().flatten() {
        kill(Pid::from_raw(*pid), Signal::SIGKILL).unwrap();
    }
}

/// Hangs over its first ADD only, with a child.
const HANGS_ONCE: &str =
    "[ $CNI_COMMAND = ADD ] && [ ! -e $dir/group ] && { echo $$ >$dir/group; sleep 600 & sleep 600; }";

#[test]
fn a_plugin_ends_when_its_supervisor_is_killed_and_the_next_one_begins_anew() {
    let site = site(&format!("{HANGS_ONCE}\necho $CNI_COMMAND >>$dir/calls\n{PASS_ON}\nexit 0"));
    up_in_the_background(&site);
    let group = group(&site);
    kill_all(&[site.host.supervisor("p")]);
    is_over(group);
    wait_for("the pod to run", PATIENCE, || {
        let phase = site.podbox(&["get", "pod", "p", "-o", "jsonpath={.status.phase}"]).stdout;
        if phase == "Running" { Ok(()) } else { Err(phase) }
    });
    assert_eq!(site.leased().len(), 1);
    assert_eq!(fs::read_to_string(site.host.dir().join("calls")).unwrap(), "DEL\nADD\n");
    site.podbox(&["down", "p"]).ok();
    site.finish();
}

#[test]
fn a_plugin_that_guardian_and_supervisor_have_left_ends_with_down() {
    let site = site("[ $CNI_COMMAND = ADD ] || exit 0; echo $$ >$dir/group; sleep 600 & sleep 600");
    up_in_the_background(&site);
    let group = group(&site);
    kill_all(&[site.host.guardian("p"), site.host.supervisor("p")]);
    site.podbox(&["down", "p"]).ok();
    is_over(group);
    site.podbox(&["get", "pod", "p"]).code(2);
    site.finish();
}

#[test]
fn a_plugin_that_is_left_over_the_first_question_ends_too() {
    let site = site("exit 0");
    // It hangs over VERSION, which the harness's head of a plugin would answer.
    let program = site.host.dir().join("bin/odd");
    fs::write(&program, "#!/bin/sh\necho $$ >${0%/bin/*}/group; sleep 600 & sleep 600\n").unwrap();
    up_in_the_background(&site);
    let group = group(&site);
    kill_all(&[site.host.guardian("p"), site.host.supervisor("p")]);
    mend(&site);
    site.podbox(&["down", "p"]).ok();
    is_over(group);
    site.finish();
}

const HANGS_ALWAYS: &str = "echo $$ >$dir/group; sleep 600 & sleep 600";

#[test]
fn an_up_that_is_interrupted_waits_once_for_a_plugin_that_takes_nothing_back() {
    let site = site(HANGS_ALWAYS);
    let manifest = site.host.dir().join("p.yaml");
    fs::write(&manifest, pod("p", CLIENT)).unwrap();
    let mut up = site.enter().args([e2e::binary()]).args(["up", manifest.to_str().unwrap()]).spawn();
    group(&site);
    let begun = Instant::now();
    up.signal(Signal::SIGINT);
    assert_eq!(up.end(PATIENCE), 130);
    assert!(begun.elapsed() < ONE_TRY, "{:?}", begun.elapsed());
    site.podbox(&["get", "pod", "p"]).code(2);
    // The bridge's plugin has taken back what it made; the other one is asked again.
    assert_eq!((site.leased().len(), owed(&site)), (0, 1));
    let check = site.podbox(&["system", "check"]);
    check.says("what CNI plugins have not taken back: of pod default/p on test");
    mend(&site);
    site.podbox(&["down", "--all"]).ok();
    assert_eq!(owed(&site), 0);
    site.finish();
}

#[test]
fn ctrl_c_once_more_leaves_the_plugin_to_the_supervisor() {
    let site = site(HANGS_ALWAYS);
    let manifest = site.host.dir().join("p.yaml");
    fs::write(&manifest, pod("p", CLIENT)).unwrap();
    let mut up = site.enter().args([e2e::binary()]).args(["up", manifest.to_str().unwrap()]).spawn();
    group(&site);
    up.signal(Signal::SIGINT);
    wait_for("up to end what it has begun", PATIENCE, || {
        let memory = fs::read_to_string(site.host.pod_dir("p").join("machine.json")).unwrap_or_default();
        if memory.contains("\"stop\":{") { Ok(()) } else { Err(memory) }
    });
    let begun = Instant::now();
    up.signal(Signal::SIGINT);
    assert_eq!(up.end(PATIENCE), 130);
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    wait_for("the pod to go", PATIENCE, || {
        let get = site.podbox(&["get", "pod", "p"]);
        if get.good() { Err(get.to_string()) } else { Ok(()) }
    });
    mend(&site);
    site.podbox(&["down", "--all"]).ok();
    site.finish();
}

#[test]
fn what_a_plugin_did_not_take_back_is_told_and_kept_and_tried_again_by_the_next_pod() {
    let site = site(&format!("{PASS_ON}\n[ $CNI_COMMAND = DEL ] || exit 0; echo 'not now' >&2; exit 1"));
    site.up(&pod("p", CLIENT)).ok();
    let told =
        site.podbox(&["down", "p"]).code(3).complains("stop pod default/p: CNI DEL of test: odd: not now");
    told.complains("the pod is gone, and what the plugins have not taken back is written down in");
    site.podbox(&["get", "pod", "p"]).code(2);
    assert_eq!((site.leased().len(), owed(&site)), (0, 1));
    // As long as the plugin fails, it is said and kept.
    site.podbox(&["down", "--all"])
        .code(3)
        .complains("what is left of pod default/p: CNI DEL of test: odd: not now");
    assert_eq!(owed(&site), 1);
    mend(&site);
    site.up(&pod("p", CLIENT)).ok();
    wait_for("the plugin to be asked again", PATIENCE, || match owed(&site) {
        0 => Ok(()),
        count => Err(count.to_string()),
    });
    assert_eq!(site.leased().len(), 1);
    site.podbox(&["down", "p"]).ok();
    site.finish();
}

#[test]
fn what_is_left_of_the_pod_before_keeps_no_pod_from_its_name() {
    let site =
        site(&format!("{PASS_ON}\n[ $CNI_COMMAND = DEL ] || exit 0; printf 'no\\033[31mt now' >&2; exit 1"));
    let ends =
        "  restartPolicy: Never\n  containers: [{name: c, image: podbox.local/toolbox, command: ['true']}]";
    let up = || site.enter().args([e2e::binary()]).args(["up", "-d", "--wait", "complete", "-"]);
    up().input(pod("p", ends)).run().ok();
    let is_left = || {
        wait_for("its supervisor to leave", PATIENCE, || match site.host.supervisor("p") {
            None => Ok(()),
            Some(pid) => Err(pid.to_string()),
        });
    };
    is_left();
    let uid = site.podbox(&["get", "pod", "p", "-o", "jsonpath={.metadata.uid}"]).stdout;
    let told = "warning: pod default/p was there before: CNI DEL of test: odd: no\\u{1b}[31mt now";
    up().input(pod("p", ends)).run().ok().complains(told);
    assert_ne!(site.podbox(&["get", "pod", "p", "-o", "jsonpath={.metadata.uid}"]).stdout, uid);
    is_left();
    mend(&site);
    site.podbox(&["down", "--all"]).ok();
    assert_eq!(owed(&site), 0);
    site.finish();
}

#[test]
fn a_pod_whose_plugin_hangs_goes_at_once_when_it_is_told_to_and_its_name_is_free() {
    let site = site(&format!("{PASS_ON}\necho $$ >$dir/group; sleep 600 & sleep 600"));
    let ends = "  restartPolicy: Never\n  containers: [{name: c, image: podbox.local/toolbox, command: [sleep, '600']}]";
    site.up(&pod("p", ends)).ok();
    let mut down = site.enter().args([e2e::binary()]).args(["down", "p"]).spawn();
    let group = group(&site);
    let begun = Instant::now();
    let hurried = site.podbox(&["down", "p", "--grace-period", "0"]).code(3);
    hurried.complains("because in a hurry it has 5 s to take back what it has made");
    assert_eq!(down.end(PATIENCE), 3);
    assert!(begun.elapsed() < ONE_TRY, "{:?}", begun.elapsed());
    is_over(group);
    mend(&site);
    site.up(&pod("p", ends)).ok();
    site.podbox(&["down", "--all"]).ok();
    assert_eq!(owed(&site), 0);
    site.finish();
}
