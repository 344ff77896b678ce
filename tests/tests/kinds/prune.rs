use std::fs;

use e2e::Host;

use crate::{file, map, reader, stored};

#[test]
fn prune_removes_what_the_same_files_held_before_and_nothing_else() {
    let host = Host::new();
    file(&host, "set/a.yaml", &map("a", "x"));
    let old = file(&host, "set/old.yaml", &map("old", "x"));
    let pod = file(&host, "set/pod.yaml", &reader("web", "a"));
    let other = file(&host, "other.yaml", &map("other", "x"));
    let set = host.dir().join("set").display().to_string();
    host.podbox(["up", "-d", &set]).ok();
    host.podbox(["up", &other]).ok();
    host.up(&map("typed", "x"));
    fs::remove_file(old).unwrap();
    fs::remove_file(pod).unwrap();
    assert_eq!(host.podbox(["up", &set]).ok().text(), "configmap/a unchanged", "only --prune removes");
    let pruned = host.podbox(["up", "--prune", &format!("{set}/")]).ok();
    assert_eq!(pruned.text(), "configmap/a unchanged\npod default/web pruned\nconfigmap/old pruned");
    assert_eq!(stored(&host, "configmaps", "old"), None);
    for name in ["a", "other", "typed"] {
        assert!(stored(&host, "configmaps", name).is_some(), "{name}");
    }
    host.finish();
}

#[test]
fn standard_input_needs_a_name_to_be_pruned() {
    let host = Host::new();
    let up = |args: &[&str], text: String| host.cmd(["up", "--prune"].iter().chain(args)).input(text).run();
    up(&["-"], map("a", "x")).code(2).complains("podbox up --set NAME --prune -");
    up(&["--set", "shop", "-"], map("a", "x")).ok();
    assert_eq!(
        up(&["--set", "shop", "-"], map("b", "x")).ok().text(),
        "configmap/b created\nconfigmap/a pruned"
    );
    host.finish();
}
