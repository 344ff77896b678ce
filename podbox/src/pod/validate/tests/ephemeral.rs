//! Ephemeral containers of a Pod that is there already.

use crate::manifest::{Diagnostic, LoadedPod, Options, Source, load};
use crate::pod::{RestartPolicy, Role};

/// A Pod of one container and a volume, with these ephemeral containers.
fn given(list: &str, existing: bool) -> Result<LoadedPod, Vec<String>> {
    let text = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec:\n  volumes: [{{name: v}}]\n  \
         containers: [{{name: c, image: 'i:1'}}]\n  ephemeralContainers: {list}"
    );
    let options = Options { existing, ..Options::default() };
    match load(&[Source::new("pod.yaml", text)], &options) {
        Ok(mut loaded) => Ok(loaded.pods.remove(0)),
        Err(found) => Err(found.0.iter().map(Diagnostic::text).collect()),
    }
}

fn wrong(list: &str) -> Vec<String> {
    given(list, true).map_or_else(|errors| errors, |_| Vec::new())
}

#[test]
fn no_pod_begins_with_an_ephemeral_container() {
    let refused = given("[{name: e, image: 'i:1'}]", false).unwrap_err();
    assert_eq!(refused, ["spec.ephemeralContainers: Forbidden: cannot be set on create"]);
}

#[test]
fn an_ephemeral_container_is_defaulted_as_any_other_and_runs_once() {
    let loaded = given(
        "[{name: e, image: i, targetContainerName: c, volumeMounts: [{name: v, mountPath: /v}]}]",
        true,
    )
    .unwrap();
    let made = &loaded.pod.containers[1];
    assert_eq!((made.role, made.restart_policy), (Role::Ephemeral, RestartPolicy::Never));
    assert_eq!(made.target.as_deref(), Some("c"));
    let shown = &loaded.object["spec"]["ephemeralContainers"][0];
    assert_eq!(shown["imagePullPolicy"], "Always");
    assert_eq!(shown["targetContainerName"], "c");
    assert_eq!(shown["terminationMessagePath"], "/dev/termination-log");
}

#[test]
fn what_would_make_it_a_part_of_the_pods_work_is_refused() {
    let of = |field: &str| wrong(&format!("[{{name: e, image: 'i:1', {field}}}]"));
    let forbidden = |path: &str| {
        format!("spec.ephemeralContainers[0].{path}: Forbidden: cannot be set for an Ephemeral Container")
    };
    for (field, path) in [
        ("ports: [{containerPort: 80}]", "ports"),
        ("resources: {limits: {cpu: 1}}", "resources"),
        ("livenessProbe: {tcpSocket: {port: 80}}", "livenessProbe"),
        ("readinessProbe: {tcpSocket: {port: 80}}", "readinessProbe"),
        ("startupProbe: {tcpSocket: {port: 80}}", "startupProbe"),
        ("lifecycle: {preStop: {sleep: {seconds: 1}}}", "lifecycle"),
        ("volumeMounts: [{name: v, mountPath: /v, subPath: a}]", "volumeMounts[0].subPath"),
    ] {
        assert_eq!(of(field), [forbidden(path)]);
    }
    assert!(of("restartPolicy: Always").contains(&forbidden("restartPolicy")));
}

#[test]
fn names_are_unique_in_the_pod_and_the_target_is_no_ephemeral_container() {
    assert_eq!(
        wrong("[{name: c, image: 'i:1'}]"),
        ["spec.ephemeralContainers[0].name: Duplicate value: \"c\""]
    );
    assert_eq!(
        wrong("[{name: d, image: 'i:1'}, {name: e, image: 'i:1', targetContainerName: d}]"),
        ["spec.ephemeralContainers[1].targetContainerName: Not found: \"d\""]
    );
    assert_eq!(wrong("[{name: d}]"), ["spec.ephemeralContainers[0].image: Required value"]);
    assert_eq!(
        wrong("[{name: d, image: 'i:1', volumeMounts: [{name: w, mountPath: /w}]}]"),
        ["spec.ephemeralContainers[0].volumeMounts[0].name: Not found: \"w\""]
    );
}
