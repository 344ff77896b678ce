//! What only a scheduler needs is checked as the API server does, although it has no effect.

/// What is wrong with a pod of this spec, sorted; without the warnings that it has no effect.
fn wrong(spec: &str) -> Vec<String> {
    let mut wrong = super::wrong(spec, "");
    wrong.retain(|text| !text.contains("only a scheduler needs it"));
    wrong.sort();
    wrong
}

const VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const KEY: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";

#[test]
fn names_of_nodes_and_classes_and_labels_of_nodes_are_checked() {
    let domain = super::SUBDOMAIN;
    for (spec, want) in [
        ("nodeName: a\n  priorityClassName: high\n  nodeSelector: {a/b: c}\n  preemptionPolicy: Never", None),
        ("nodeName: A", Some(format!("spec.nodeName: Invalid value: \"A\": {domain}"))),
        ("priorityClassName: a_b", Some(format!("spec.priorityClassName: Invalid value: \"a_b\": {domain}"))),
        ("nodeSelector: {a: -b}", Some(format!("spec.nodeSelector[a]: Invalid value: \"-b\": {VALUE}"))),
        (
            "preemptionPolicy: Sometimes",
            Some("spec.preemptionPolicy: Unsupported value: \"Sometimes\": supported values: \"PreemptLowerPriority\", \"Never\"".to_owned()),
        ),
    ] {
        assert_eq!(wrong(spec), want.into_iter().collect::<Vec<_>>(), "{spec}");
    }
}

#[test]
fn tolerations_are_checked() {
    let one = |text: &str| format!("tolerations: [{text}]");
    for (text, want) in [
        ("{operator: Exists}", None),
        ("{key: a, value: b, effect: NoSchedule}", None),
        ("{key: a, operator: Exists, effect: NoExecute, tolerationSeconds: 3}", None),
        (
            "{value: b}",
            Some("operator: Invalid value: \"\": operator must be Exists when `key` is empty, which means \"match all values and all keys\"".to_owned()),
        ),
        (
            "{key: a, operator: Exists, tolerationSeconds: 3}",
            Some("effect: Invalid value: \"\": effect must be 'NoExecute' when `tolerationSeconds` is set".to_owned()),
        ),
        (
            "{key: a, operator: Exists, value: b}",
            Some(r#"operator: Invalid value: {"key":"a","operator":"Exists","value":"b"}: value must be empty when `operator` is 'Exists'"#.to_owned()),
        ),
        ("{key: a, operator: Is}", Some("operator: Unsupported value: \"Is\": supported values: \"Equal\", \"Exists\"".to_owned())),
        ("{key: a, value: b c}", Some(format!("operator: Invalid value: \"b c\": {VALUE}"))),
        ("{key: a b}", Some(format!("key: Invalid value: \"a b\": {KEY}"))),
        (
            "{key: a, effect: Go}",
            Some("effect: Unsupported value: \"Go\": supported values: \"NoSchedule\", \"PreferNoSchedule\", \"NoExecute\"".to_owned()),
        ),
    ] {
        let want: Vec<String> = want.into_iter().map(|text| format!("spec.tolerations[0].{text}")).collect();
        assert_eq!(wrong(&one(text)), want, "{text}");
    }
}

#[test]
fn affinity_is_checked() {
    let required = "requiredDuringSchedulingIgnoredDuringExecution";
    let preferred = "preferredDuringSchedulingIgnoredDuringExecution";
    let node = format!("spec.affinity.nodeAffinity.{required}.nodeSelectorTerms");
    let term =
        |term: &str| format!("affinity: {{nodeAffinity: {{{required}: {{nodeSelectorTerms: [{term}]}}}}}}");
    let weighed = |kind: &str, rest: &str| format!("affinity: {{{kind}: {{{preferred}: [{{{rest}}}]}}}}");
    let pods = format!("spec.affinity.podAntiAffinity.{preferred}[0]");
    for (spec, want) in [
        (term("{matchExpressions: [{key: a, operator: Gt, values: ['1']}]}"), vec![]),
        (term(""), vec![format!("{node}: Required value: must have at least one node selector term")]),
        (
            term("{matchExpressions: [{key: a, operator: In}]}"),
            vec![format!(
                "{node}[0].matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'"
            )],
        ),
        (
            term("{matchExpressions: [{key: a, operator: Exists, values: [b]}]}"),
            vec![format!(
                "{node}[0].matchExpressions[0].values: Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
            )],
        ),
        (
            term("{matchExpressions: [{key: a, operator: Lt}]}"),
            vec![format!(
                "{node}[0].matchExpressions[0].values: Required value: must be specified single value when `operator` is 'Lt' or 'Gt'"
            )],
        ),
        (
            term("{matchExpressions: [{key: a, operator: in, values: [b]}]}"),
            vec![format!(
                "{node}[0].matchExpressions[0].operator: Invalid value: \"in\": not a valid selector operator"
            )],
        ),
        (
            term("{matchFields: [{key: metadata.uid, operator: In, values: [b, c]}]}"),
            vec![
                format!(
                    "{node}[0].matchFields[0].values: Required value: must be only one value when `operator` is 'In' or 'NotIn' for node field selector"
                ),
                format!(
                    "{node}[0].matchFields[0].key: Invalid value: \"metadata.uid\": not a valid field selector key"
                ),
            ],
        ),
        (
            weighed("nodeAffinity", "weight: 101, preference: {}"),
            vec![format!(
                "spec.affinity.nodeAffinity.{preferred}[0].weight: Invalid value: 101: must be in the range 1-100"
            )],
        ),
        (
            weighed(
                "podAntiAffinity",
                "weight: 0, podAffinityTerm: {topologyKey: '', labelSelector: {matchLabels: {a: b c}}}",
            ),
            vec![
                format!("{pods}.weight: Invalid value: 0: must be in the range 1-100"),
                format!(
                    "{pods}.podAffinityTerm.labelSelector.matchLabels[a]: Invalid value: \"b c\": {VALUE}"
                ),
                format!("{pods}.podAffinityTerm.topologyKey: Required value: can not be empty"),
            ],
        ),
    ] {
        let mut want = want;
        want.sort();
        assert_eq!(wrong(&spec), want, "{spec}");
    }
}

#[test]
fn topology_spread_constraints_are_checked() {
    let at = "spec.topologySpreadConstraints[0]";
    for (text, want) in [
        ("{maxSkew: 1, topologyKey: a, whenUnsatisfiable: DoNotSchedule, minDomains: 2}", vec![]),
        (
            "{maxSkew: 0, topologyKey: '', whenUnsatisfiable: Maybe}",
            vec![
                format!("{at}.maxSkew: Invalid value: 0: must be greater than zero"),
                format!("{at}.topologyKey: Required value: can not be empty"),
                format!(
                    "{at}.whenUnsatisfiable: Unsupported value: \"Maybe\": supported values: \"DoNotSchedule\", \"ScheduleAnyway\""
                ),
            ],
        ),
        (
            "{maxSkew: 1, topologyKey: a, whenUnsatisfiable: ScheduleAnyway, minDomains: 2, nodeTaintsPolicy: Mind}",
            vec![
                format!(
                    "{at}.minDomains: Invalid value: 2: can only use minDomains if whenUnsatisfiable=DoNotSchedule, not ScheduleAnyway"
                ),
                format!(
                    "{at}.nodeTaintsPolicy: Unsupported value: \"Mind\": supported values: \"Honor\", \"Ignore\""
                ),
            ],
        ),
        (
            "{maxSkew: 1, topologyKey: a, whenUnsatisfiable: DoNotSchedule}, {maxSkew: 2, topologyKey: a, whenUnsatisfiable: DoNotSchedule}",
            vec![format!(
                "{at}.{{topologyKey, whenUnsatisfiable}}: Duplicate value: \"{{a, DoNotSchedule}}\""
            )],
        ),
    ] {
        assert_eq!(wrong(&format!("topologySpreadConstraints: [{text}]")), want, "{text}");
    }
}
