//! Manifests of the kinds that Kubernetes' documentation shows: each runs, or is refused for a stated reason.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use e2e::{Host, Output, fixture, pod};

/// Those that are not taken without a word, with what is said of each.
const SAID: &[(&str, Outcome, &[&str])] = &[
    (
        "resources/claims",
        Outcome::Refused,
        &[
            "spec.resourceClaims: Forbidden: claims are allocated by drivers and a scheduler",
            "spec.containers[0].resources.claims: Forbidden: claims are allocated by drivers",
        ],
    ),
    ("scheduling/affinity", Outcome::Warned, &["spec.affinity: only a scheduler needs it"]),
    (
        "scheduling/gates",
        Outcome::Refused,
        &["spec.schedulingGates: Forbidden: a single host has no scheduler"],
    ),
    ("scheduling/node-name", Outcome::Warned, &["spec.nodeName: only a scheduler needs it"]),
    ("scheduling/node-selector", Outcome::Warned, &["spec.nodeSelector: only a scheduler needs it"]),
    (
        "scheduling/priority",
        Outcome::Warned,
        &["spec.priorityClassName: only", "spec.schedulerName: only", "spec.preemptionPolicy: only"],
    ),
    ("scheduling/runtime-class", Outcome::Refused, &["RuntimeClass \"myclass\" not found"]),
    ("scheduling/tolerations", Outcome::Warned, &["spec.tolerations: only a scheduler needs it"]),
    (
        "scheduling/topology-spread",
        Outcome::Warned,
        &["spec.topologySpreadConstraints: only a scheduler needs it"],
    ),
    (
        "security/sysctls",
        Outcome::Warned,
        &["spec.securityContext.sysctls[1].name: the kubelet would refuse the pod: SysctlForbidden"],
    ),
    (
        "security/windows",
        Outcome::Refused,
        &["spec.os.name: Forbidden: a Linux node runs no pods for windows"],
    ),
    (
        "service-accounts/no-token",
        Outcome::Warned,
        &["spec.serviceAccountName: no token of a service account is mounted by itself"],
    ),
    (
        "sharing/ephemeral-container",
        Outcome::Refused,
        &["spec.ephemeralContainers: Forbidden: cannot be set on create"],
    ),
    (
        "storage/claim-of-its-own",
        Outcome::Warned,
        &["spec.volumes[0].ephemeral.volumeClaimTemplate.metadata.labels: the claim lives with the pod"],
    ),
    ("storage/csi", Outcome::Refused, &["spec.volumes[0].csi: Forbidden: it needs a storage driver"]),
    (
        "storage/nfs",
        Outcome::Refused,
        &["spec.volumes[0].nfs: Forbidden: podbox mounts no network file systems"],
    ),
    (
        "storage/projected-token",
        Outcome::Warned,
        &["spec.serviceAccountName: no token of a service account is mounted by itself"],
    ),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// Taken, with these warnings and no other.
    Warned,
    /// Not taken, for these reasons and no other.
    Refused,
}

/// Names of all manifests in a directory, without `.yaml`.
fn names(dir: &Path, above: &str, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let name = format!("{above}{}", entry.file_name().to_str().unwrap());
        match name.strip_suffix(".yaml") {
            Some(name) => assert!(found.insert(name.to_owned())),
            None => names(&entry.path(), &format!("{name}/"), found),
        }
    }
}

/// How many mistakes and warnings of a manifest a command has shown.
fn said(output: &Output, kind: &str) -> usize {
    let findings = output.stderr.lines().filter(|line| line.starts_with(&format!("{kind}: ")));
    findings.filter(|line| !line.ends_with("in the manifest; nothing was changed")).count()
}

#[test]
fn every_kind_of_manifest_in_the_documentation_runs_or_is_refused_for_a_stated_reason() {
    let host = Host::new();
    let dir = fixture("manifests/pods");
    let mut all = BTreeSet::new();
    names(&dir, "", &mut all);
    assert!(all.len() > 70, "{all:?}");
    for (name, ..) in SAID {
        assert!(all.contains(*name), "there is no {name}");
    }
    for name in &all {
        let file = dir.join(format!("{name}.yaml"));
        let output = host.podbox(["validate", file.to_str().unwrap()]);
        let expected = SAID.iter().find(|(of, ..)| of == name);
        let (words, warnings, errors) = match expected {
            None => (&[][..], 0, 0),
            Some((_, Outcome::Warned, words)) => (*words, words.len(), 0),
            // What is refused may be warned of as well.
            Some((_, Outcome::Refused, words)) => (*words, said(&output, "warning"), words.len()),
        };
        let output = output.code(if errors == 0 { 0 } else { 2 });
        for word in words {
            assert!(output.stderr.contains(word), "{name}: {word:?} is not in\n{output}");
        }
        assert_eq!(
            (said(&output, "warning"), said(&output, "error")),
            (warnings, errors),
            "{name}:\n{output}"
        );
    }
    host.finish();
}

const STRANGE: &str = "  nosuch: {a: 1}
  containers:
  - {name: c, image: podbox.local/host, command: [sleep, infinity], image: podbox.local/toolbox}";

#[test]
fn fields_that_nobody_knows_are_errors_or_warnings_or_dropped_as_validate_says() {
    let host = Host::new();
    let unknown = "spec.nosuch: unknown field \"spec.nosuch\"";
    let twice = "the key \"image\" is there twice";
    for command in ["validate", "plan"] {
        for (flag, code, shown) in [
            (None, 2, Some("error")),
            (Some("--validate"), 2, Some("error")),
            (Some("--validate=true"), 2, Some("error")),
            (Some("--validate=strict"), 2, Some("error")),
            (Some("--validate=warn"), 0, Some("warning")),
            (Some("--validate=ignore"), 0, None),
            (Some("--validate=false"), 0, None),
        ] {
            let args = [Some(command), flag, Some("-")];
            let output = host.cmd(args.iter().flatten()).input(pod("odd", STRANGE)).run().code(code);
            for word in [unknown, twice] {
                let line = shown.map(|shown| format!("{shown}: {word}"));
                assert_eq!(output.stderr.contains(word), line.is_some(), "{command} {flag:?}:\n{output}");
                assert!(
                    line.is_none_or(|line| output.stderr.contains(&line)),
                    "{command} {flag:?}:\n{output}"
                );
            }
        }
    }
    host.cmd(["validate", "--validate=maybe", "-"]).input("").run().code(2).complains("maybe");
    host.finish();
}

#[test]
fn a_pod_that_was_started_without_validation_is_taken_down_by_its_manifest() {
    let host = Host::new();
    let file = host.dir().join("odd.yaml");
    fs::write(&file, pod("odd", STRANGE)).unwrap();
    let file = file.to_str().unwrap();
    host.podbox(["up", "-d", file]).code(2).complains("nothing was changed");
    host.podbox(["up", "-d", "--validate=ignore", file]).ok();
    assert_eq!(
        host.pod("odd").text("spec.containers.0.image"),
        "podbox.local/toolbox",
        "the last one counts"
    );
    host.down(&[file]);
    host.finish();
}
