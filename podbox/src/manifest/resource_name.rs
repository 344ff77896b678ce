//! What is said of a resource that containers or pods cannot ask for.

use super::suggest;

/// What a container may ask for by a plain name.
const OF_CONTAINERS: &[&str] = &["cpu", "ephemeral-storage", "memory"];

/// What only a quota or a claim counts.
const OF_OTHERS: &[&str] = &[
    "configmaps",
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "persistentvolumeclaims",
    "pods",
    "replicationcontrollers",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
    "requests.storage",
    "resourcequotas",
    "secrets",
    "services",
    "services.loadbalancers",
    "services.nodeports",
    "storage",
];

/// The API server's message for a field that is in no list, and what may have been meant.
///
/// A field that is no resource is one that nobody has thought of.
pub(super) fn refusal(pattern: &str, name: &str) -> (String, Option<String>) {
    if !pattern.contains("resources.limits.") && !pattern.contains("resources.requests.") {
        return ("Forbidden: not supported by podbox yet".to_owned(), None);
    }
    if name.starts_with("hugepages-") {
        return ("Forbidden: this host's pages are hugepages-2Mi and hugepages-1Gi".to_owned(), None);
    }
    if pattern.starts_with("spec.resources.") {
        let supported = r#""cpu", "hugepages-", "memory""#;
        return (format!("Unsupported value: {name:?}: supported values: {supported}"), near(name));
    }
    let why = if OF_OTHERS.contains(&name) {
        "must be a standard resource for containers"
    } else {
        "must be a standard resource type or fully qualified"
    };
    (format!("Invalid value: {name:?}: {why}"), near(name))
}

fn near(name: &str) -> Option<String> {
    let meant = match name {
        "storage" | "disk" => Some("ephemeral-storage"),
        "mem" | "ram" => Some("memory"),
        _ => suggest::nearest(name, OF_CONTAINERS),
    };
    meant.map(|meant| format!("did you mean `{meant}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_that_nobody_can_ask_for_is_refused_in_the_api_servers_words() {
        let limit = |name: &str| refusal("spec.containers[*].resources.limits.x", name);
        for (name, message, hint) in [
            ("foo", "Invalid value: \"foo\": must be a standard resource type or fully qualified", None),
            (
                "cpus",
                "Invalid value: \"cpus\": must be a standard resource type or fully qualified",
                Some("did you mean `cpu`?"),
            ),
            ("pods", "Invalid value: \"pods\": must be a standard resource for containers", None),
            (
                "storage",
                "Invalid value: \"storage\": must be a standard resource for containers",
                Some("did you mean `ephemeral-storage`?"),
            ),
            ("hugepages-16Mi", "Forbidden: this host's pages are hugepages-2Mi and hugepages-1Gi", None),
        ] {
            assert_eq!(limit(name), (message.to_owned(), hint.map(str::to_owned)), "{name}");
        }
        let (of_the_pod, _) = refusal("spec.resources.limits.(device)", "example.com/gpu");
        let supported = r#"supported values: "cpu", "hugepages-", "memory""#;
        assert_eq!(of_the_pod, format!("Unsupported value: \"example.com/gpu\": {supported}"));
    }
}
