use e2e::Host;

use crate::{all, map, reader};

#[test]
fn diff_says_beforehand_what_up_would_change() {
    let host = Host::new();
    let diff = |text: &str| host.cmd(["diff", "-"]).input(text).run();
    let manifest = all(&[&map("m", "one"), &reader("web", "m")]);
    let new = diff(&manifest).code(1);
    assert!(new.stdout.contains("+++ MERGED/v1.Pod.default.web"), "{new}");
    host.up(&manifest);
    assert_eq!(diff(&manifest).ok().text(), "");
    let changed = diff(&manifest.replace("one", "two").replace("sleep 1000", "sleep 2000")).code(1);
    for line in [
        "diff -u -N LIVE/v1.ConfigMap.default.m MERGED/v1.ConfigMap.default.m",
        "-  a: one",
        "+  a: two",
        "-    - echo $A; sleep 1000",
        "+    - echo $A; sleep 2000",
    ] {
        assert!(changed.stdout.lines().any(|is| is == line), "{line}: {changed}");
    }
    assert_eq!(diff("kind: Nothing").code, Some(2));
    assert_eq!(diff(&manifest).ok().text(), "", "diff changes nothing");
    host.finish();
}
