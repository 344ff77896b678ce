use super::signals;
use crate::manifest::{Diagnostic, Options, Source, load};

/// What is wrong with a Pod whose spec holds `spec`, one container `c` with `container`, and `init` before it.
fn wrong(spec: &str, init: &str, container: &str) -> Vec<String> {
    let text = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec:\n  dnsPolicy: Default\n  {spec}\n  initContainers: [{init}]\n  containers: [{{name: c, image: i, {container}}}]\n"
    );
    match load(&[Source::new("p", text)], &Options::default()) {
        Ok(_) => Vec::new(),
        Err(found) => found.0.iter().map(Diagnostic::text).collect(),
    }
}

#[test]
fn init_containers_are_checked_like_the_others_and_after_them() {
    for (init, want) in [
        ("{name: i, image: i}", &[][..]),
        ("{name: c, image: i}", &["spec.initContainers[0].name: Duplicate value: \"c\""]),
        ("{name: i}", &["spec.initContainers[0].image: Required value"]),
        (
            "{name: i, image: i, volumeMounts: [{name: v, mountPath: /v}]}",
            &["spec.initContainers[0].volumeMounts[0].name: Not found: \"v\""],
        ),
        (
            "{name: i, image: i, lifecycle: {preStop: {sleep: {seconds: 1}}}, livenessProbe: {exec: {command: [a]}}}",
            &[
                "spec.initContainers[0].lifecycle: Forbidden: may not be set for init containers without restartPolicy=Always",
                "spec.initContainers[0].livenessProbe: Forbidden: may not be set for init containers without restartPolicy=Always",
            ],
        ),
        (
            "{name: i, image: i, restartPolicy: Always, livenessProbe: {exec: {command: [a]}}, lifecycle: {preStop: {sleep: {seconds: 1}}}}",
            &[],
        ),
        ("{name: i, image: i, restartPolicy: OnFailure}", &[]),
    ] {
        assert_eq!(wrong("", init, ""), want, "{init}");
    }
}

#[test]
fn restart_policies_and_rules_are_checked() {
    let values = (0..256).map(|n| n.to_string()).collect::<Vec<_>>().join(", ");
    let many_values = format!(
        "restartPolicy: Never, restartPolicyRules: [{{action: Restart, exitCodes: {{operator: In, values: [{values}]}}}}]"
    );
    let rule = "{action: Restart, exitCodes: {operator: NotIn, values: [0]}}";
    let many_rules = format!("restartPolicy: Never, restartPolicyRules: [{}]", [rule; 21].join(", "));
    for (container, want) in [
        ("restartPolicy: OnFailure", &[][..]),
        (
            "restartPolicy: Sometimes",
            &[
                "restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"Never\", \"OnFailure\"",
            ],
        ),
        (
            "restartPolicyRules: [{action: Restart, exitCodes: {operator: In, values: [1]}}]",
            &["restartPolicy: Required value: must specify restartPolicy when restart rules are used"],
        ),
        (
            "restartPolicy: Never, restartPolicyRules: [{action: DoNot, exitCodes: {operator: Equals, values: []}}]",
            &[
                "restartPolicyRules[0].action: Unsupported value: \"DoNot\": supported values: \"Restart\", \"RestartAllContainers\"",
                "restartPolicyRules[0].exitCodes.operator: Unsupported value: \"Equals\": supported values: \"In\", \"NotIn\"",
            ],
        ),
        (
            "restartPolicy: Never, restartPolicyRules: [{action: Restart}]",
            &["restartPolicyRules[0].exitCodes: Required value: must be specified"],
        ),
        (
            &many_values,
            &["restartPolicyRules[0].exitCodes.values: Too many: 256: must have at most 255 items"],
        ),
        (&many_rules, &["restartPolicyRules: Too many: 21: must have at most 20 items"]),
    ] {
        let want: Vec<String> = want.iter().map(|text| format!("spec.containers[0].{text}")).collect();
        assert_eq!(wrong("", "", container), want, "{container}");
    }
}

#[test]
fn hooks_are_checked() {
    for (hook, want) in [
        ("postStart: {exec: {command: [a]}}", &[][..]),
        ("postStart: {httpGet: {port: 80}}", &[]),
        ("preStop: {tcpSocket: {port: 80}}", &[]),
        ("preStop: {sleep: {seconds: 0}}", &[]),
        ("preStop: {sleep: {seconds: 30}}", &[]),
        (
            "preStop: {sleep: {seconds: 100}}",
            &[
                "preStop.sleep: Invalid value: 100: must be non-negative and less than terminationGracePeriodSeconds (30)",
            ],
        ),
        (
            "preStop: {sleep: {seconds: -1}}",
            &[
                "preStop.sleep: Invalid value: -1: must be non-negative and less than terminationGracePeriodSeconds (30)",
            ],
        ),
        ("postStart: {}", &["postStart: Required value: must specify a handler type"]),
        ("postStart: {exec: {}}", &["postStart.exec.command: Required value"]),
        (
            "postStart: {exec: {command: [a]}, sleep: {seconds: 1}}",
            &["postStart.sleep: Forbidden: may not specify more than 1 handler type"],
        ),
        (
            "postStart: {httpGet: {port: 0}}",
            &["postStart.httpGet.port: Invalid value: 0: must be between 1 and 65535, inclusive"],
        ),
        (
            "stopSignal: SIGUSR1",
            &["stopSignal: Forbidden: may not be set for containers with empty `spec.os.name`"],
        ),
    ] {
        let want: Vec<String> =
            want.iter().map(|text| format!("spec.containers[0].lifecycle.{text}")).collect();
        assert_eq!(wrong("", "", &format!("lifecycle: {{{hook}}}")), want, "{hook}");
    }
}

#[test]
fn a_stop_signal_is_one_of_linuxs() {
    let linux = "os: {name: linux}";
    for good in ["SIGTERM", "SIGUSR1", "SIGRTMIN+3", "SIGRTMAX", "SIGWINCH"] {
        assert_eq!(wrong(linux, "", &format!("lifecycle: {{stopSignal: {good}}}")), [""; 0], "{good}");
    }
    let got = wrong(linux, "", "lifecycle: {stopSignal: TERM}");
    let start = "spec.containers[0].lifecycle.stopSignal: Unsupported value: \"TERM\": supported values: \"SIGABRT\", ";
    assert!(got.len() == 1 && got[0].starts_with(start), "{got:?}");
    assert_eq!(signals().len(), 65);
}

#[test]
fn the_deadline_and_the_gates_are_checked() {
    let between = "must be between 1 and 2147483647, inclusive";
    for (spec, want) in [
        ("activeDeadlineSeconds: 1", Vec::new()),
        (
            "activeDeadlineSeconds: 0",
            vec![format!("spec.activeDeadlineSeconds: Invalid value: 0: {between}")],
        ),
        (
            "activeDeadlineSeconds: 2147483648",
            vec![format!("spec.activeDeadlineSeconds: Invalid value: 2147483648: {between}")],
        ),
        ("readinessGates: [{conditionType: example.com/lb}]", Vec::new()),
    ] {
        assert_eq!(wrong(spec, "", ""), want, "{spec}");
    }
    let got = wrong("readinessGates: [{conditionType: 'a b'}]", "", "");
    assert!(got[0].starts_with("spec.readinessGates[0].conditionType: Invalid value: \"a b\": "), "{got:?}");
}
