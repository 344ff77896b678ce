//! What only a scheduler needs: it has no effect here, and is checked all the same, as the API server does.

use k8s_openapi::api::core::v1 as k8s;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::{Errors, Path, names, one_of, selector};

const RANGE: &str = "must be in the range 1-100";
const POSITIVE: &str = "must be greater than zero";

/// Checks all of it.
pub(super) fn check(errors: &mut Errors, path: &Path<'_>, spec: &k8s::PodSpec) {
    for (field, name) in [("nodeName", &spec.node_name), ("priorityClassName", &spec.priority_class_name)] {
        if let Some(name) = name.as_deref().filter(|name| !name.is_empty()) {
            errors.invalid_all(&path.field(field), name, &names::subdomain(name));
        }
    }
    selector::labels(errors, &path.field("nodeSelector"), spec.node_selector.iter().flatten());
    let policies = ["PreemptLowerPriority", "Never"];
    one_of(errors, &path.field("preemptionPolicy"), spec.preemption_policy.as_deref(), &policies);
    let list = path.field("tolerations");
    for (index, toleration) in spec.tolerations.iter().flatten().enumerate() {
        check_toleration(errors, &list.index(index), toleration);
    }
    if let Some(affinity) = &spec.affinity {
        check_affinity(errors, &path.field("affinity"), affinity);
    }
    let list = path.field("topologySpreadConstraints");
    let constraints = spec.topology_spread_constraints.as_deref().unwrap_or(&[]);
    for (index, constraint) in constraints.iter().enumerate() {
        check_spread(errors, &list.index(index), constraint, &constraints[index + 1..]);
    }
}

fn check_toleration(errors: &mut Errors, path: &Path<'_>, toleration: &k8s::Toleration) {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let (key, value) = (text(&toleration.key), text(&toleration.value));
    let (operator, effect) = (text(&toleration.operator), text(&toleration.effect));
    let operator_path = path.field("operator");
    if key.is_empty() {
        if operator != "Exists" {
            let detail =
                "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            errors.invalid(&operator_path, &operator, detail);
        }
    } else {
        errors.invalid_all(&path.field("key"), &key, &names::qualified(&key));
    }
    if toleration.toleration_seconds.is_some() && effect != "NoExecute" {
        let detail = "effect must be 'NoExecute' when `tolerationSeconds` is set";
        errors.invalid(&path.field("effect"), &effect, detail);
    }
    match operator.as_str() {
        "" | "Equal" => {
            let wrong = names::label_value(&value);
            if !wrong.is_empty() {
                errors.invalid(&operator_path, &value, &wrong.join(";"));
                errors.blame(&path.field("value"));
            }
        }
        "Exists" if value.is_empty() => {}
        "Exists" => {
            let shown = serde_json::to_value(toleration).unwrap_or_default();
            errors.invalid(&operator_path, shown, "value must be empty when `operator` is 'Exists'");
            errors.blame(&path.field("value"));
        }
        other => errors.unsupported(&operator_path, other, &["Equal", "Exists"]),
    }
    if !effect.is_empty() {
        let effects = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
        one_of(errors, &path.field("effect"), Some(&effect), &effects);
    }
}

fn check_affinity(errors: &mut Errors, path: &Path<'_>, affinity: &k8s::Affinity) {
    const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
    const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";
    if let Some(node) = &affinity.node_affinity {
        let path = path.field("nodeAffinity");
        if let Some(required) = &node.required_during_scheduling_ignored_during_execution {
            let path = path.field(REQUIRED);
            let list = path.field("nodeSelectorTerms");
            if required.node_selector_terms.is_empty() {
                errors.required(&list, "must have at least one node selector term");
            }
            for (index, term) in required.node_selector_terms.iter().enumerate() {
                check_node_term(errors, &list.index(index), term);
            }
        }
        let list = path.field(PREFERRED);
        let preferred = node.preferred_during_scheduling_ignored_during_execution.iter().flatten();
        for (index, term) in preferred.enumerate() {
            let path = list.index(index);
            check_weight(errors, &path, term.weight);
            check_node_term(errors, &path.field("preference"), &term.preference);
        }
    }
    let (near, far) = (&affinity.pod_affinity, &affinity.pod_anti_affinity);
    let near = near.as_ref().map(|one| {
        let required = &one.required_during_scheduling_ignored_during_execution;
        ("podAffinity", required, &one.preferred_during_scheduling_ignored_during_execution)
    });
    let far = far.as_ref().map(|one| {
        let required = &one.required_during_scheduling_ignored_during_execution;
        ("podAntiAffinity", required, &one.preferred_during_scheduling_ignored_during_execution)
    });
    for (field, required, preferred) in near.into_iter().chain(far) {
        let path = path.field(field);
        let list = path.field(REQUIRED);
        for (index, term) in required.iter().flatten().enumerate() {
            check_pod_term(errors, &list.index(index), term);
        }
        let list = path.field(PREFERRED);
        for (index, term) in preferred.iter().flatten().enumerate() {
            let path = list.index(index);
            check_weight(errors, &path, term.weight);
            check_pod_term(errors, &path.field("podAffinityTerm"), &term.pod_affinity_term);
        }
    }
}

fn check_weight(errors: &mut Errors, path: &Path<'_>, weight: i32) {
    if !(1..=100).contains(&weight) {
        errors.invalid(&path.field("weight"), weight, RANGE);
    }
}

fn check_node_term(errors: &mut Errors, path: &Path<'_>, term: &k8s::NodeSelectorTerm) {
    let list = path.field("matchExpressions");
    for (index, one) in term.match_expressions.iter().flatten().enumerate() {
        let path = list.index(index);
        let values = one.values.as_deref().unwrap_or(&[]);
        if matches!(one.operator.as_str(), "Gt" | "Lt") {
            if values.len() != 1 {
                let detail = "must be specified single value when `operator` is 'Lt' or 'Gt'";
                errors.required(&path.field("values"), detail);
            }
            errors.invalid_all(&path.field("key"), &one.key, &names::qualified(&one.key));
        } else {
            selector::expression(errors, &path, (&one.key, &one.operator, values));
        }
    }
    let list = path.field("matchFields");
    for (index, one) in term.match_fields.iter().flatten().enumerate() {
        let path = list.index(index);
        match one.operator.as_str() {
            "In" | "NotIn" if one.values.as_ref().is_some_and(|values| values.len() == 1) => {}
            "In" | "NotIn" => {
                let detail =
                    "must be only one value when `operator` is 'In' or 'NotIn' for node field selector";
                errors.required(&path.field("values"), detail);
            }
            other => errors.invalid(&path.field("operator"), other, selector::NO_OPERATOR),
        }
        if one.key != "metadata.name" {
            errors.invalid(&path.field("key"), &one.key, "not a valid field selector key");
        }
    }
}

fn check_pod_term(errors: &mut Errors, path: &Path<'_>, term: &k8s::PodAffinityTerm) {
    for (field, given) in
        [("labelSelector", &term.label_selector), ("namespaceSelector", &term.namespace_selector)]
    {
        check_selector(errors, &path.field(field), given.as_ref());
    }
    let namespaces = path.field("namespaces");
    for (index, name) in term.namespaces.iter().flatten().enumerate() {
        errors.invalid_all(&namespaces.index(index), name, &names::label(name));
    }
    check_topology_key(errors, path, &term.topology_key);
}

fn check_selector(errors: &mut Errors, path: &Path<'_>, given: Option<&LabelSelector>) {
    let Some(given) = given else { return };
    selector::labels(errors, &path.field("matchLabels"), given.match_labels.iter().flatten());
    let list = path.field("matchExpressions");
    for (index, one) in given.match_expressions.iter().flatten().enumerate() {
        let values = one.values.as_deref().unwrap_or(&[]);
        selector::expression(errors, &list.index(index), (&one.key, &one.operator, values));
    }
}

fn check_topology_key(errors: &mut Errors, path: &Path<'_>, key: &str) {
    let path = path.field("topologyKey");
    match key {
        "" => errors.required(&path, "can not be empty"),
        key => errors.invalid_all(&path, key, &names::qualified(key)),
    }
}

/// Checks a constraint; `others` are those after it, which must not repeat it.
fn check_spread(
    errors: &mut Errors,
    path: &Path<'_>,
    constraint: &k8s::TopologySpreadConstraint,
    others: &[k8s::TopologySpreadConstraint],
) {
    let when = constraint.when_unsatisfiable.as_str();
    if constraint.max_skew <= 0 {
        errors.invalid(&path.field("maxSkew"), constraint.max_skew, POSITIVE);
    }
    check_topology_key(errors, path, &constraint.topology_key);
    one_of(errors, &path.field("whenUnsatisfiable"), Some(when), &["DoNotSchedule", "ScheduleAnyway"]);
    let same = |other: &k8s::TopologySpreadConstraint| {
        other.topology_key == constraint.topology_key && other.when_unsatisfiable == when
    };
    if others.iter().any(same) {
        let both = format!("{{{}, {when}}}", constraint.topology_key);
        errors.duplicate(&path.field("{topologyKey, whenUnsatisfiable}"), &both);
    }
    if let Some(domains) = constraint.min_domains {
        let path = path.field("minDomains");
        if domains <= 0 {
            errors.invalid(&path, domains, POSITIVE);
        } else if when != "DoNotSchedule" {
            let detail = format!("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {when}");
            errors.invalid(&path, domains, &detail);
        }
    }
    for (field, policy) in [
        ("nodeAffinityPolicy", &constraint.node_affinity_policy),
        ("nodeTaintsPolicy", &constraint.node_taints_policy),
    ] {
        one_of(errors, &path.field(field), policy.as_deref(), &["Honor", "Ignore"]);
    }
    check_selector(errors, &path.field("labelSelector"), constraint.label_selector.as_ref());
}
