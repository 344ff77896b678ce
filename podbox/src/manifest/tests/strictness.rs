//! `--validate`: what becomes of fields that nobody knows, or that are given twice.

use super::*;

fn read(text: &str, strictness: Strictness) -> Result<Loaded, Diagnostics> {
    load(&[Source::new("p.yaml", text)], &Options { strictness, ..Options::default() })
}

fn texts(found: &Diagnostics) -> Vec<String> {
    found.0.iter().map(Diagnostic::text).collect()
}

/// One field that is no field of a Pod, and one that is given twice.
const TWO_MISTAKES: &str = "    livenesProbe: {a: [1, 2]}\n    image: i:2";

#[test]
fn strict_makes_errors_of_fields_that_are_unknown_or_given_twice() {
    let found = read(&pod_with("", TWO_MISTAKES), Strictness::Strict).unwrap_err();
    let want = [
        "spec.containers[0].livenesProbe: unknown field \"spec.containers[0].livenesProbe\"",
        "the key \"image\" is there twice",
    ];
    assert_eq!(texts(&found), want);
}

#[test]
fn warn_drops_them_with_the_same_words_and_the_last_value_counts() {
    let loaded = read(&pod_with("", TWO_MISTAKES), Strictness::Warn).unwrap();
    let want = [
        "spec.containers[0].livenesProbe: unknown field \"spec.containers[0].livenesProbe\"",
        "the key \"image\" is there twice",
    ];
    assert_eq!(texts(&loaded.warnings), want);
    assert!(loaded.warnings.0.iter().all(|one| one.severity == Severity::Warning));
    assert_eq!(loaded.warnings.0[0].hint.as_deref(), Some("did you mean `livenessProbe`?"));
    assert_eq!(loaded.pods[0].pod.containers[0].image, "i:2");
}

#[test]
fn ignore_drops_them_without_a_word() {
    let loaded = read(&pod_with("", TWO_MISTAKES), Strictness::Ignore).unwrap();
    assert!(loaded.warnings.0.is_empty(), "{}", loaded.warnings);
    assert_eq!(loaded.pods[0].pod.containers[0].image, "i:2");
    assert_eq!(loaded.pods[0].object["spec"]["containers"][0].get("livenesProbe"), None);
}

#[test]
fn ignore_still_refuses_what_is_wrong_and_what_podbox_does_not_honour() {
    let spec = "  nosuch: 1\n  runtimeClassName: kata\n  restartPolicy: Sometimes";
    for strictness in [Strictness::Ignore, Strictness::Warn] {
        let found = read(&pod_with(spec, ""), strictness).unwrap_err();
        let errors: Vec<_> = found.0.iter().filter(|one| one.severity == Severity::Error).collect();
        let paths: Vec<_> = errors.iter().map(|one| one.field_path.as_str()).collect();
        assert_eq!(paths, ["spec.runtimeClassName", "spec.restartPolicy"], "{found}");
    }
}

#[test]
fn however_many_are_unknown_those_that_are_known_are_still_judged() {
    let unknown: String = (0..500).map(|n| format!("  u{n}: 1\n")).collect();
    let twice = "  hostname: h\n".repeat(500);
    let good = pod_with(&format!("{unknown}{twice}"), "");
    assert!(read(&good, Strictness::Ignore).unwrap().warnings.0.is_empty());
    assert_eq!(read(&good, Strictness::Warn).unwrap().warnings.0.len(), 400);
    let bad = pod_with(&format!("{unknown}{twice}  runtimeClassName: kata"), "");
    let found = read(&bad, Strictness::Ignore).unwrap_err();
    assert_eq!(
        texts(&found),
        ["spec.runtimeClassName: Forbidden: pod rejected: RuntimeClass \"kata\" not found"]
    );
}

#[test]
fn what_is_unknown_in_one_object_may_be_known_in_another_that_an_alias_puts_there() {
    let spec = "  hostAliases: [{ip: 1.1.1.1, &x procMount: Unmasked}]";
    let text = pod_with(spec, "").replace("&x procMount", "x: &x {seccompProfile: {type: Nonsense}}, y");
    let text = format!("{text}    securityContext: *x\n");
    let found = read(&text, Strictness::Ignore).unwrap_err();
    assert_eq!(found.0[0].field_path, "spec.containers[0].securityContext.seccompProfile.type", "{found}");
}
