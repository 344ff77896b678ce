//! The names by which the downward API knows a pod's own fields.

use super::{FieldPath, ResourceField};

impl FieldPath {
    /// Reads a `fieldPath` that may stand in `env`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let subscript = |prefix: &str| {
            let key = text.strip_prefix(prefix)?.strip_prefix("['")?.strip_suffix("']")?;
            Some(key.to_owned())
        };
        Some(match text {
            "metadata.name" => Self::Name,
            "metadata.namespace" => Self::Namespace,
            "metadata.uid" => Self::Uid,
            "spec.nodeName" => Self::NodeName,
            "spec.serviceAccountName" => Self::ServiceAccountName,
            "status.hostIP" => Self::HostIp,
            "status.hostIPs" => Self::HostIps,
            "status.podIP" => Self::PodIp,
            "status.podIPs" => Self::PodIps,
            _ => match subscript("metadata.labels") {
                Some(key) => Self::Label(key),
                None => Self::Annotation(subscript("metadata.annotations")?),
            },
        })
    }
}

impl ResourceField {
    /// Reads a `resource` of a `resourceFieldRef`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "requests.cpu" => Self::RequestsCpu,
            "limits.cpu" => Self::LimitsCpu,
            "requests.memory" => Self::RequestsMemory,
            "limits.memory" => Self::LimitsMemory,
            "requests.ephemeral-storage" => Self::RequestsEphemeralStorage,
            "limits.ephemeral-storage" => Self::LimitsEphemeralStorage,
            _ => return None,
        })
    }
}
