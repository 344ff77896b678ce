//! Names of resources that nobody knows, in the API server's words.

/// What a cluster counts beside the resources of containers: those of namespaces and of claims.
const NOT_OF_CONTAINERS: [&str; 9] = [
    "configmaps",
    "persistentvolumeclaims",
    "pods",
    "replicationcontrollers",
    "resourcequotas",
    "secrets",
    "services",
    "services.nodeports",
    "storage",
];

/// What is said of the field `name` at `pattern`, which nobody knows: nothing unless it is a resource of a container or a
/// pod. Source: `validateResourceName`, `validateContainerResourceName` and `validatePodResourceName` of the API server.
pub(super) fn refusal(pattern: &str, name: &str) -> Option<String> {
    let of_pod = pattern.starts_with("spec.resources.");
    if !of_pod && !pattern.starts_with("spec.containers[*].resources.") {
        return None;
    }
    Some(if name.starts_with("hugepages-") {
        // An API server takes any size; the pod then waits for a node that has it.
        "Forbidden: no node has huge pages of this size, only 2Mi and 1Gi".to_owned()
    } else if of_pod {
        format!("Unsupported value: \"{name}\": supported values: \"cpu\", \"hugepages-\", \"memory\"")
    } else if NOT_OF_CONTAINERS.contains(&name) {
        format!("Invalid value: \"{name}\": must be a standard resource for containers")
    } else {
        format!("Invalid value: \"{name}\": must be a standard resource type or fully qualified")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_that_nobody_knows_is_refused_as_by_the_api_server() {
        let of = |name| refusal("spec.containers[*].resources.limits.x", name).unwrap();
        let unknown = "Invalid value: \"gpus\": must be a standard resource type or fully qualified";
        assert_eq!(of("gpus"), unknown);
        assert_eq!(of("storage"), "Invalid value: \"storage\": must be a standard resource for containers");
        assert!(of("hugepages-3Mi").starts_with("Forbidden: "));
        let known = "Unsupported value: \"a.b/c\": supported values: \"cpu\", \"hugepages-\", \"memory\"";
        assert_eq!(refusal("spec.resources.limits.(device)", "a.b/c").as_deref(), Some(known));
        assert_eq!(refusal("spec.volumes[*].unknown", "unknown"), None);
    }
}
