//! What is accepted, but not without a word; and where a mistake is shown that was made elsewhere.

use super::*;

/// The warnings of a manifest that is accepted.
fn warnings(text: &str) -> Vec<String> {
    let loaded =
        load(&[Source::new("p.yaml", text)], &Options::default()).unwrap_or_else(|why| panic!("{why}"));
    assert!(loaded.warnings.0.iter().all(|one| one.severity == Severity::Warning));
    loaded.warnings.0.iter().map(Diagnostic::text).collect()
}

#[test]
fn fields_for_a_scheduler_and_those_of_a_server_only_warn() {
    let text = pod_with(
        "  nodeSelector: {a: b}\n  tolerations: [{operator: Exists}]\n  priority: 3\n  nodeName: node",
        "    resources: {limits: {ephemeral-storage: 1Gi, hugepages-2Mi: 4Mi, cpu: 1}}",
    );
    let text = text.replace("{name: p}", "{name: p, uid: x, creationTimestamp: null, resourceVersion: '3'}")
        + "status: {phase: [}\n";
    assert_eq!(errors(&text).len(), 1, "{:?}", errors(&text));
    let text = text.replace("[}", "Running, nonsense: 1}");
    let loaded = load(&[Source::new("p.yaml", text)], &Options::default()).unwrap();
    let paths: Vec<_> = loaded.warnings.0.iter().map(|one| one.field_path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "metadata.uid",
            "metadata.resourceVersion",
            "spec.nodeSelector",
            "spec.tolerations",
            "spec.priority",
            "spec.nodeName",
        ]
    );
    assert!(loaded.warnings.0.iter().all(|one| one.severity == Severity::Warning));
    assert_eq!(loaded.pods[0].object.get("status"), None);
    assert_eq!(loaded.pods[0].object["metadata"].get("uid"), None);
}

#[test]
fn a_service_account_warns_if_somebody_may_wait_for_its_token() {
    let why = "no token of a service account is mounted by itself: there is no API server to take it; a projected \
               volume with serviceAccountToken holds one";
    for field in ["serviceAccountName: foo", "serviceAccount: foo", "automountServiceAccountToken: true"] {
        let name = field.split(':').next().unwrap_or_default();
        assert_eq!(warnings(&pod_with(&format!("  {field}"), "")), [format!("spec.{name}: {why}")]);
    }
    for field in
        ["serviceAccountName: default", "serviceAccountName: ''", "automountServiceAccountToken: false"]
    {
        assert!(warnings(&pod_with(&format!("  {field}"), "")).is_empty(), "{field}");
    }
}

#[test]
fn an_annotation_of_podbox_that_has_no_effect_is_told() {
    let with = |annotations: &str, spec: &str| {
        let text = pod_with(spec, "");
        warnings(&text.replace("{name: p}", &format!("{{name: p, annotations: {{{annotations}}}}}")))
    };
    assert_eq!(
        with("podbox.local/ips: 10.244.0.9", ""),
        [
            "metadata.annotations[podbox.local/ips]: podbox knows no such annotation; did you mean podbox.local/ip?"
        ]
    );
    assert_eq!(
        with("podbox.local/mac: '02:00:00:00:00:07', a/b: c", "  hostNetwork: true"),
        ["metadata.annotations[podbox.local/mac]: without effect: the pod has the host's network"]
    );
    assert!(with("podbox.local/mac: '02:00:00:00:00:07', a/b: c", "").is_empty());
}

#[test]
fn what_only_a_kubelet_refuses_is_foretold_in_its_words() {
    let spec = "  securityContext: {runAsUser: 0, sysctls: [{name: kernel.shm_rmid_forced, value: '1'}, {name: vm/swappiness, value: '1'}]}";
    assert_eq!(
        warnings(&pod_with(spec, "")),
        [
            "spec.securityContext.sysctls[1].name: the kubelet would refuse the pod: SysctlForbidden: forbidden sysctl: \"vm.swappiness\" not allowlisted"
        ]
    );
    let root = "the kubelet would refuse the container: CreateContainerConfigError: container's runAsUser breaks non-root policy";
    let own = |context: &str| warnings(&pod_with("", &format!("    securityContext: {context}")));
    let at = format!("spec.containers[0].securityContext.runAsUser: {root}");
    assert_eq!(own("{runAsUser: 0, runAsNonRoot: true}"), [at]);
    assert!(own("{runAsUser: 0}").is_empty() && own("{runAsNonRoot: true}").is_empty());
    let inherited = "  securityContext: {runAsUser: 0}\n  initContainers:\n  - {name: i, image: i, securityContext: {runAsNonRoot: true}}";
    let own = "    securityContext: {runAsNonRoot: true}";
    let at = format!("spec.securityContext.runAsUser: {root}");
    assert_eq!(warnings(&pod_with(inherited, own)), [at], "once, at the one place that is to be changed");
    let image = pod_with("", "").replace("image: i:1", "image: 'Foo:BAR:baz'");
    let found = warnings(&image);
    let start = "spec.containers[0].image: the kubelet would refuse the container: InvalidImageName: ";
    assert!(found.len() == 1 && found[0].starts_with(start), "{found:?}");
}

#[test]
fn a_number_is_shown_as_it_was_written() {
    let grace = |text: &str| errors(&pod_with(&format!("  terminationGracePeriodSeconds: {text}"), ""));
    let out = |text: &str| {
        vec![format!(
            "spec.terminationGracePeriodSeconds: Invalid value: {text}: is out of the range of int64"
        )]
    };
    for text in ["99999999999999999999", "0xffffffffffffffff", "1e40"] {
        assert_eq!(grace(text), out(text));
    }
    assert_eq!(
        grace("1.50"),
        ["spec.terminationGracePeriodSeconds: Invalid value: 1.50: must be a whole number (int64)"]
    );
}

#[test]
fn a_file_that_is_no_text_is_called_so_at_its_first_strange_character() {
    for (bytes, shown) in [("\0\0\0", "'\\0'"), ("kind: \u{1b}[31mPod", "'\\u{1b}'")] {
        let found = load(&[Source::new("p", bytes)], &Options::default()).unwrap_err();
        assert_eq!(found.0.len(), 1, "{found}");
        assert_eq!(
            found.0[0].message,
            format!("this is no manifest: it has the control character {shown} here")
        );
        assert_eq!(found.0[0].hint, None);
        assert!(!found.to_string().contains(['\0', '\u{1b}']), "{found:?}");
    }
    let found = load(&[Source::new("p", "a:\n\t- b: ]")], &Options::default()).unwrap_err();
    assert!(found.0[0].hint.as_deref().is_some_and(|hint| hint.contains("tab")), "{found}");
}

#[test]
fn a_mistake_is_shown_at_the_line_that_makes_it_even_where_the_api_server_names_another_field() {
    let place = |spec: &str| {
        let found = load(&[Source::new("p", pod_with(spec, ""))], &Options::default()).unwrap_err();
        (found.0[0].field_path.clone(), found.0[0].line, found.0[0].column)
    };
    assert_eq!(
        place("  hostPID: true\n  shareProcessNamespace: true"),
        ("spec.securityContext.shareProcessNamespace".to_owned(), 6, 26)
    );
    assert_eq!(place("  restartPolicy: Never\n  dnsPolicy: None"), ("spec.dnsConfig".to_owned(), 6, 14));
}
