//! Kinds that podbox does not have: refused by name, with what to do instead. Nothing is ever skipped.

use super::suggest;
use crate::store::ObjectKind;

/// What is wrong with an object's type.
pub(super) struct Refusal {
    /// The field at fault.
    pub(super) key: &'static str,
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

/// What `kind:` may say.
const KNOWN: &[&str] = &[
    "Pod",
    "List",
    "ConfigMap",
    "EndpointSlice",
    "Endpoints",
    "Namespace",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "Secret",
    "Service",
    "ServiceAccount",
];

/// The kind of the elements of a list: nothing for `List`, which holds any.
pub(super) fn of_list(kind: &str) -> Option<&str> {
    let of = kind.strip_suffix("List")?;
    (of.is_empty() || of == "Pod" || stored(of).is_some()).then_some(of)
}

/// The kind of an object that is stored.
pub(super) fn stored(kind: &str) -> Option<ObjectKind> {
    ObjectKind::ALL.into_iter().find(|one| one.kind() == kind)
}

/// The version of a list of that kind.
pub(super) fn list_version(of: &str) -> &'static str {
    stored(of).map_or("v1", ObjectKind::api_version)
}

/// Says why podbox has no such kind in that version.
pub(super) fn refuse(version: &str, kind: &str) -> Refusal {
    if KNOWN.contains(&kind) || of_list(kind).is_some() {
        let message = format!("no kind {kind:?} is registered for version {version:?}");
        let right = list_version(of_list(kind).unwrap_or(kind));
        return Refusal { key: "apiVersion", message, hint: Some(format!("write apiVersion: {right}")) };
    }
    let message = format!("{kind} is not supported: podbox runs Pods");
    let hint = instead(kind).map(str::to_owned).or_else(|| {
        let singular = kind.strip_suffix('s').unwrap_or(kind);
        let near = suggest::nearest(kind, KNOWN).or_else(|| suggest::nearest(singular, KNOWN));
        near.map(|near| format!("did you mean `{near}`?"))
    });
    let hint = hint.unwrap_or_else(|| {
        format!("leave it out: {version} {kind} is for controllers of a cluster, and there are none here")
    });
    Refusal { key: "kind", message, hint: Some(hint) }
}

/// What does here what the kind does in a cluster.
fn instead(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "Deployment" | "ReplicaSet" | "ReplicationController" | "DeploymentConfig" => {
            "put spec.template into a Pod (apiVersion: v1, kind: Pod, a metadata.name), one for each replica"
        }
        "StatefulSet" => {
            "put spec.template into a Pod for each replica (NAME-0, NAME-1, ...), and each of volumeClaimTemplates into \
             a PersistentVolumeClaim that it mounts"
        }
        "DaemonSet" => "put spec.template into a Pod: this host is the only node",
        "Job" => {
            "put spec.template into a Pod with restartPolicy: OnFailure; `podbox up --wait complete` waits for its end"
        }
        "CronJob" => {
            "put spec.jobTemplate.spec.template into a Pod, and have cron or a systemd timer run `podbox up --wait complete`"
        }
        "PodTemplate" => "put its template into a Pod",
        "Ingress" | "IngressClass" | "Gateway" | "HTTPRoute" | "TCPRoute" | "Route" => {
            "leave it out: run a proxy in a Pod, with hostPort on the ports that it serves"
        }
        "NetworkPolicy" => "leave it out: podbox does not filter what pods send to each other",
        "Role" | "RoleBinding" | "ClusterRole" | "ClusterRoleBinding" => {
            "leave it out: there is no API server here that would ask who may do what"
        }
        "StorageClass" | "CSIDriver" | "VolumeAttributesClass" | "VolumeAttachment" => {
            "leave it out: claims get a directory of this host, or a PersistentVolume with hostPath or local"
        }
        "CustomResourceDefinition" | "APIService" => {
            "leave it out: there are no controllers here that would act on it"
        }
        "HorizontalPodAutoscaler" | "VerticalPodAutoscaler" | "PodDisruptionBudget" => {
            "leave it out: a Pod here is neither scaled nor moved; `podbox resize` changes its resources"
        }
        "ResourceQuota" | "LimitRange" => "leave it out: write resources into the Pods themselves",
        "PriorityClass" | "RuntimeClass" => "leave it out: one host has nothing to choose between",
        "Event" | "Node" | "Binding" | "Lease" => "leave it out: a cluster writes it by itself",
        "Kustomization" => "build it first: kubectl kustomize DIR | podbox up -",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_that_is_misspelt_or_another_programs_is_told_what_would_be_right() {
        for (version, kind, key, hint) in [
            ("v1", "Pods", "kind", "did you mean `Pod`?"),
            ("v1", "Configmap", "kind", "did you mean `ConfigMap`?"),
            ("v1", "Secrets", "kind", "did you mean `Secret`?"),
            ("apps/v1", "ConfigMap", "apiVersion", "write apiVersion: v1"),
            ("v1beta1", "PodList", "apiVersion", "write apiVersion: v1"),
            ("apps/v1", "Deployment", "kind", "put spec.template into a Pod"),
            ("batch/v1", "CronJob", "kind", "cron or a systemd timer"),
            ("example.com/v1", "Widget", "kind", "leave it out: example.com/v1 Widget"),
        ] {
            let refusal = refuse(version, kind);
            assert_eq!(refusal.key, key, "{kind}");
            assert!(refusal.hint.is_some_and(|is| is.contains(hint)), "{kind}");
        }
    }

    #[test]
    fn lists_hold_kinds_that_there_are() {
        assert_eq!(of_list("List"), Some(""));
        assert_eq!(of_list("ConfigMapList"), Some("ConfigMap"));
        assert_eq!(of_list("DeploymentList"), None);
        assert_eq!(of_list("Pod"), None);
    }
}
