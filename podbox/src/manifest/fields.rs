//! Which fields of a Pod podbox honours.
//!
//! Kubernetes knows far more fields than podbox gives effect to, and a field without effect must never pass
//! in silence. So the list below is closed: it is the fields that are honoured, and whatever a manifest holds
//! beyond it is an error, also fields that nobody here has thought of.

use super::diagnostic::{Finding, NOTED, Severity};
use super::notes::Notes;
use super::resource_name;
use super::scalar::Value;
use super::tree::{Entry, Kind, NodeId, Span, Tree};
use crate::pod::field::Path;

/// What becomes of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// An object or a list of objects whose fields have verdicts of their own.
    Look,
    /// Honoured; below it are only values, or names that the user chose.
    Honoured,
    /// Accepted without effect, and said so.
    Warn(&'static str),
    /// Refused, for this reason.
    Refused(&'static str),
}

use Verdict::{Honoured, Look, Refused, Warn};

mod reasons;

use reasons::*;

/// Sorted by path, `[*]` for the elements of a list, `(probe)` for each of the three probes, `(hook)` for both
/// hooks, `(device)` for resources named `VENDOR/CLASS`. `spec.initContainers` and `spec.ephemeralContainers` have the
/// fields of `spec.containers`. Every field stands here by its own name: an
/// object is not honoured with whatever a later Kubernetes may put into it.
const FIELDS: &[(&str, Verdict)] = &[
    ("apiVersion", Honoured),
    ("kind", Honoured),
    ("metadata", Look),
    ("metadata.annotations", Honoured),
    ("metadata.creationTimestamp", SERVER),
    ("metadata.deletionGracePeriodSeconds", SERVER),
    ("metadata.deletionTimestamp", SERVER),
    ("metadata.finalizers", Warn("nothing on a single host would wait for them: ignored")),
    ("metadata.generateName", Refused("podbox makes up no names: write metadata.name")),
    ("metadata.generation", SERVER),
    ("metadata.labels", Honoured),
    ("metadata.managedFields", SERVER),
    ("metadata.name", Honoured),
    ("metadata.namespace", Honoured),
    ("metadata.ownerReferences", SERVER),
    ("metadata.resourceVersion", SERVER),
    ("metadata.selfLink", SERVER),
    ("metadata.uid", SERVER),
    ("spec", Look),
    ("spec.activeDeadlineSeconds", Honoured),
    ("spec.affinity", SCHEDULER),
    ("spec.automountServiceAccountToken", TOKEN),
    ("spec.containers", Look),
    ("spec.containers[*].(probe)", Look),
    ("spec.containers[*].(probe).exec", Look),
    ("spec.containers[*].(probe).exec.command", Honoured),
    ("spec.containers[*].(probe).failureThreshold", Honoured),
    ("spec.containers[*].(probe).grpc", Look),
    ("spec.containers[*].(probe).grpc.port", Honoured),
    ("spec.containers[*].(probe).grpc.service", Honoured),
    ("spec.containers[*].(probe).httpGet", Look),
    ("spec.containers[*].(probe).httpGet.host", Honoured),
    ("spec.containers[*].(probe).httpGet.httpHeaders", Look),
    ("spec.containers[*].(probe).httpGet.httpHeaders[*].name", Honoured),
    ("spec.containers[*].(probe).httpGet.httpHeaders[*].value", Honoured),
    ("spec.containers[*].(probe).httpGet.path", Honoured),
    ("spec.containers[*].(probe).httpGet.port", Honoured),
    ("spec.containers[*].(probe).httpGet.scheme", Honoured),
    ("spec.containers[*].(probe).initialDelaySeconds", Honoured),
    ("spec.containers[*].(probe).periodSeconds", Honoured),
    ("spec.containers[*].(probe).successThreshold", Honoured),
    ("spec.containers[*].(probe).tcpSocket", Look),
    ("spec.containers[*].(probe).tcpSocket.host", Honoured),
    ("spec.containers[*].(probe).tcpSocket.port", Honoured),
    ("spec.containers[*].(probe).terminationGracePeriodSeconds", Honoured),
    ("spec.containers[*].(probe).timeoutSeconds", Honoured),
    ("spec.containers[*].args", Honoured),
    ("spec.containers[*].command", Honoured),
    ("spec.containers[*].env", Look),
    ("spec.containers[*].envFrom", Look),
    ("spec.containers[*].envFrom[*].configMapRef", Look),
    ("spec.containers[*].envFrom[*].configMapRef.name", Honoured),
    ("spec.containers[*].envFrom[*].configMapRef.optional", Honoured),
    ("spec.containers[*].envFrom[*].prefix", Honoured),
    ("spec.containers[*].envFrom[*].secretRef", Look),
    ("spec.containers[*].envFrom[*].secretRef.name", Honoured),
    ("spec.containers[*].envFrom[*].secretRef.optional", Honoured),
    ("spec.containers[*].env[*].name", Honoured),
    ("spec.containers[*].env[*].value", Honoured),
    ("spec.containers[*].env[*].valueFrom", Look),
    ("spec.containers[*].env[*].valueFrom.configMapKeyRef", Look),
    ("spec.containers[*].env[*].valueFrom.configMapKeyRef.key", Honoured),
    ("spec.containers[*].env[*].valueFrom.configMapKeyRef.name", Honoured),
    ("spec.containers[*].env[*].valueFrom.configMapKeyRef.optional", Honoured),
    ("spec.containers[*].env[*].valueFrom.fieldRef", Look),
    ("spec.containers[*].env[*].valueFrom.fieldRef.apiVersion", Honoured),
    ("spec.containers[*].env[*].valueFrom.fieldRef.fieldPath", Honoured),
    ("spec.containers[*].env[*].valueFrom.fileKeyRef", Look),
    ("spec.containers[*].env[*].valueFrom.fileKeyRef.key", Honoured),
    ("spec.containers[*].env[*].valueFrom.fileKeyRef.optional", Honoured),
    ("spec.containers[*].env[*].valueFrom.fileKeyRef.path", Honoured),
    ("spec.containers[*].env[*].valueFrom.fileKeyRef.volumeName", Honoured),
    ("spec.containers[*].env[*].valueFrom.resourceFieldRef", Look),
    ("spec.containers[*].env[*].valueFrom.resourceFieldRef.containerName", Honoured),
    ("spec.containers[*].env[*].valueFrom.resourceFieldRef.divisor", Honoured),
    ("spec.containers[*].env[*].valueFrom.resourceFieldRef.resource", Honoured),
    ("spec.containers[*].env[*].valueFrom.secretKeyRef", Look),
    ("spec.containers[*].env[*].valueFrom.secretKeyRef.key", Honoured),
    ("spec.containers[*].env[*].valueFrom.secretKeyRef.name", Honoured),
    ("spec.containers[*].env[*].valueFrom.secretKeyRef.optional", Honoured),
    ("spec.containers[*].image", Honoured),
    ("spec.containers[*].imagePullPolicy", Honoured),
    ("spec.containers[*].lifecycle", Look),
    ("spec.containers[*].lifecycle.(hook)", Look),
    ("spec.containers[*].lifecycle.(hook).exec", Look),
    ("spec.containers[*].lifecycle.(hook).exec.command", Honoured),
    ("spec.containers[*].lifecycle.(hook).httpGet", Look),
    ("spec.containers[*].lifecycle.(hook).httpGet.host", Honoured),
    ("spec.containers[*].lifecycle.(hook).httpGet.httpHeaders", Look),
    ("spec.containers[*].lifecycle.(hook).httpGet.httpHeaders[*].name", Honoured),
    ("spec.containers[*].lifecycle.(hook).httpGet.httpHeaders[*].value", Honoured),
    ("spec.containers[*].lifecycle.(hook).httpGet.path", Honoured),
    ("spec.containers[*].lifecycle.(hook).httpGet.port", Honoured),
    ("spec.containers[*].lifecycle.(hook).httpGet.scheme", Honoured),
    ("spec.containers[*].lifecycle.(hook).sleep", Look),
    ("spec.containers[*].lifecycle.(hook).sleep.seconds", Honoured),
    ("spec.containers[*].lifecycle.(hook).tcpSocket", Look),
    ("spec.containers[*].lifecycle.(hook).tcpSocket.host", Honoured),
    ("spec.containers[*].lifecycle.(hook).tcpSocket.port", Honoured),
    ("spec.containers[*].lifecycle.stopSignal", Honoured),
    ("spec.containers[*].name", Honoured),
    ("spec.containers[*].ports", Look),
    ("spec.containers[*].ports[*].containerPort", Honoured),
    ("spec.containers[*].ports[*].hostIP", Honoured),
    ("spec.containers[*].ports[*].hostPort", Honoured),
    ("spec.containers[*].ports[*].name", Honoured),
    ("spec.containers[*].ports[*].protocol", Honoured),
    ("spec.containers[*].resizePolicy", Look),
    ("spec.containers[*].resizePolicy[*].resourceName", Honoured),
    ("spec.containers[*].resizePolicy[*].restartPolicy", Honoured),
    ("spec.containers[*].resources", Look),
    ("spec.containers[*].resources.claims", Refused(CLAIMS)),
    ("spec.containers[*].resources.limits", Look),
    ("spec.containers[*].resources.limits.(device)", Honoured),
    ("spec.containers[*].resources.limits.cpu", Honoured),
    ("spec.containers[*].resources.limits.ephemeral-storage", Honoured),
    ("spec.containers[*].resources.limits.hugepages-1Gi", Honoured),
    ("spec.containers[*].resources.limits.hugepages-2Mi", Honoured),
    ("spec.containers[*].resources.limits.memory", Honoured),
    ("spec.containers[*].resources.requests", Look),
    ("spec.containers[*].resources.requests.(device)", Honoured),
    ("spec.containers[*].resources.requests.cpu", Honoured),
    ("spec.containers[*].resources.requests.ephemeral-storage", Honoured),
    ("spec.containers[*].resources.requests.hugepages-1Gi", Honoured),
    ("spec.containers[*].resources.requests.hugepages-2Mi", Honoured),
    ("spec.containers[*].resources.requests.memory", Honoured),
    ("spec.containers[*].restartPolicy", Honoured),
    ("spec.containers[*].restartPolicyRules", Look),
    ("spec.containers[*].restartPolicyRules[*].action", Honoured),
    ("spec.containers[*].restartPolicyRules[*].exitCodes", Look),
    ("spec.containers[*].restartPolicyRules[*].exitCodes.operator", Honoured),
    ("spec.containers[*].restartPolicyRules[*].exitCodes.values", Honoured),
    ("spec.containers[*].securityContext", Look),
    ("spec.containers[*].securityContext.allowPrivilegeEscalation", Honoured),
    ("spec.containers[*].securityContext.appArmorProfile", Look),
    ("spec.containers[*].securityContext.appArmorProfile.localhostProfile", Honoured),
    ("spec.containers[*].securityContext.appArmorProfile.type", Honoured),
    ("spec.containers[*].securityContext.capabilities", Look),
    ("spec.containers[*].securityContext.capabilities.add", Honoured),
    ("spec.containers[*].securityContext.capabilities.drop", Honoured),
    ("spec.containers[*].securityContext.privileged", Honoured),
    ("spec.containers[*].securityContext.procMount", Honoured),
    ("spec.containers[*].securityContext.readOnlyRootFilesystem", Honoured),
    ("spec.containers[*].securityContext.runAsGroup", Honoured),
    ("spec.containers[*].securityContext.runAsNonRoot", Honoured),
    ("spec.containers[*].securityContext.runAsUser", Honoured),
    ("spec.containers[*].securityContext.seLinuxOptions", Look),
    ("spec.containers[*].securityContext.seLinuxOptions.level", Honoured),
    ("spec.containers[*].securityContext.seLinuxOptions.role", Honoured),
    ("spec.containers[*].securityContext.seLinuxOptions.type", Honoured),
    ("spec.containers[*].securityContext.seLinuxOptions.user", Honoured),
    ("spec.containers[*].securityContext.seccompProfile", Look),
    ("spec.containers[*].securityContext.seccompProfile.localhostProfile", Honoured),
    ("spec.containers[*].securityContext.seccompProfile.type", Honoured),
    ("spec.containers[*].securityContext.windowsOptions", WINDOWS),
    ("spec.containers[*].stdin", Honoured),
    ("spec.containers[*].stdinOnce", Honoured),
    ("spec.containers[*].terminationMessagePath", Honoured),
    ("spec.containers[*].terminationMessagePolicy", Honoured),
    ("spec.containers[*].tty", Honoured),
    ("spec.containers[*].volumeDevices", DEVICES),
    ("spec.containers[*].volumeMounts", Look),
    ("spec.containers[*].volumeMounts[*].mountPath", Honoured),
    ("spec.containers[*].volumeMounts[*].mountPropagation", Honoured),
    ("spec.containers[*].volumeMounts[*].name", Honoured),
    ("spec.containers[*].volumeMounts[*].readOnly", Honoured),
    ("spec.containers[*].volumeMounts[*].recursiveReadOnly", Honoured),
    ("spec.containers[*].volumeMounts[*].subPath", Honoured),
    ("spec.containers[*].volumeMounts[*].subPathExpr", Honoured),
    ("spec.containers[*].workingDir", Honoured),
    ("spec.dnsConfig", Look),
    ("spec.dnsConfig.nameservers", Honoured),
    ("spec.dnsConfig.options", Look),
    ("spec.dnsConfig.options[*].name", Honoured),
    ("spec.dnsConfig.options[*].value", Honoured),
    ("spec.dnsConfig.searches", Honoured),
    ("spec.dnsPolicy", Honoured),
    ("spec.enableServiceLinks", Honoured),
    ("spec.ephemeralContainers", Refused("cannot be set on create")),
    ("spec.hostAliases", Look),
    ("spec.hostAliases[*].hostnames", Honoured),
    ("spec.hostAliases[*].ip", Honoured),
    ("spec.hostIPC", Honoured),
    ("spec.hostNetwork", Honoured),
    ("spec.hostPID", Honoured),
    ("spec.hostUsers", Honoured),
    ("spec.hostname", Honoured),
    ("spec.hostnameOverride", Honoured),
    ("spec.imagePullSecrets", Look),
    ("spec.imagePullSecrets[*].name", Honoured),
    ("spec.nodeName", SCHEDULER),
    ("spec.nodeSelector", SCHEDULER),
    ("spec.os", Look),
    ("spec.os.name", Honoured),
    ("spec.overhead", SCHEDULER),
    ("spec.preemptionPolicy", SCHEDULER),
    ("spec.priority", SCHEDULER),
    ("spec.priorityClassName", SCHEDULER),
    ("spec.readinessGates", Look),
    ("spec.readinessGates[*].conditionType", Honoured),
    ("spec.resourceClaims", Refused(CLAIMS)),
    ("spec.resources", Look),
    ("spec.resources.claims", Refused(CLAIMS)),
    ("spec.resources.limits", Look),
    ("spec.resources.limits.cpu", Honoured),
    ("spec.resources.limits.hugepages-1Gi", Honoured),
    ("spec.resources.limits.hugepages-2Mi", Honoured),
    ("spec.resources.limits.memory", Honoured),
    ("spec.resources.requests", Look),
    ("spec.resources.requests.cpu", Honoured),
    ("spec.resources.requests.hugepages-1Gi", Honoured),
    ("spec.resources.requests.hugepages-2Mi", Honoured),
    ("spec.resources.requests.memory", Honoured),
    ("spec.restartPolicy", Honoured),
    ("spec.runtimeClassName", Honoured),
    ("spec.schedulerName", SCHEDULER),
    ("spec.schedulingGates", Refused("a single host has no scheduler that could wait for a gate")),
    ("spec.schedulingGroup", SCHEDULER),
    ("spec.securityContext", Look),
    ("spec.securityContext.appArmorProfile", Look),
    ("spec.securityContext.appArmorProfile.localhostProfile", Honoured),
    ("spec.securityContext.appArmorProfile.type", Honoured),
    ("spec.securityContext.fsGroup", Honoured),
    ("spec.securityContext.fsGroupChangePolicy", Honoured),
    ("spec.securityContext.runAsGroup", Honoured),
    ("spec.securityContext.runAsNonRoot", Honoured),
    ("spec.securityContext.runAsUser", Honoured),
    ("spec.securityContext.seLinuxChangePolicy", Warn("podbox relabels no volumes: ignored")),
    ("spec.securityContext.seLinuxOptions", Look),
    ("spec.securityContext.seLinuxOptions.level", Honoured),
    ("spec.securityContext.seLinuxOptions.role", Honoured),
    ("spec.securityContext.seLinuxOptions.type", Honoured),
    ("spec.securityContext.seLinuxOptions.user", Honoured),
    ("spec.securityContext.seccompProfile", Look),
    ("spec.securityContext.seccompProfile.localhostProfile", Honoured),
    ("spec.securityContext.seccompProfile.type", Honoured),
    ("spec.securityContext.supplementalGroups", Honoured),
    ("spec.securityContext.supplementalGroupsPolicy", Honoured),
    ("spec.securityContext.sysctls", Look),
    ("spec.securityContext.sysctls[*].name", Honoured),
    ("spec.securityContext.sysctls[*].value", Honoured),
    ("spec.securityContext.windowsOptions", WINDOWS),
    ("spec.serviceAccount", TOKEN),
    ("spec.serviceAccountName", TOKEN),
    ("spec.setHostnameAsFQDN", Honoured),
    ("spec.shareProcessNamespace", Honoured),
    ("spec.subdomain", Honoured),
    ("spec.terminationGracePeriodSeconds", Honoured),
    ("spec.tolerations", SCHEDULER),
    ("spec.topologySpreadConstraints", SCHEDULER),
    ("spec.volumes", Look),
    ("spec.volumes[*].awsElasticBlockStore", CLOUD),
    ("spec.volumes[*].azureDisk", CLOUD),
    ("spec.volumes[*].azureFile", SHARE),
    ("spec.volumes[*].cephfs", SHARE),
    ("spec.volumes[*].cinder", CLOUD),
    ("spec.volumes[*].configMap", Look),
    ("spec.volumes[*].configMap.defaultMode", Honoured),
    ("spec.volumes[*].configMap.items", Look),
    ("spec.volumes[*].configMap.items[*].key", Honoured),
    ("spec.volumes[*].configMap.items[*].mode", Honoured),
    ("spec.volumes[*].configMap.items[*].path", Honoured),
    ("spec.volumes[*].configMap.name", Honoured),
    ("spec.volumes[*].configMap.optional", Honoured),
    ("spec.volumes[*].csi", DRIVER),
    ("spec.volumes[*].downwardAPI", Look),
    ("spec.volumes[*].downwardAPI.defaultMode", Honoured),
    ("spec.volumes[*].downwardAPI.items", Look),
    ("spec.volumes[*].downwardAPI.items[*].fieldRef", Look),
    ("spec.volumes[*].downwardAPI.items[*].fieldRef.apiVersion", Honoured),
    ("spec.volumes[*].downwardAPI.items[*].fieldRef.fieldPath", Honoured),
    ("spec.volumes[*].downwardAPI.items[*].mode", Honoured),
    ("spec.volumes[*].downwardAPI.items[*].path", Honoured),
    ("spec.volumes[*].downwardAPI.items[*].resourceFieldRef", Look),
    ("spec.volumes[*].downwardAPI.items[*].resourceFieldRef.containerName", Honoured),
    ("spec.volumes[*].downwardAPI.items[*].resourceFieldRef.divisor", Honoured),
    ("spec.volumes[*].downwardAPI.items[*].resourceFieldRef.resource", Honoured),
    ("spec.volumes[*].emptyDir", Look),
    ("spec.volumes[*].emptyDir.medium", Honoured),
    ("spec.volumes[*].emptyDir.sizeLimit", Honoured),
    ("spec.volumes[*].ephemeral", Look),
    ("spec.volumes[*].ephemeral.volumeClaimTemplate", Look),
    ("spec.volumes[*].ephemeral.volumeClaimTemplate.metadata", Look),
    ("spec.volumes[*].ephemeral.volumeClaimTemplate.metadata.annotations", NAMELESS),
    ("spec.volumes[*].ephemeral.volumeClaimTemplate.metadata.creationTimestamp", SERVER),
    ("spec.volumes[*].ephemeral.volumeClaimTemplate.metadata.deletionGracePeriodSeconds", TEMPLATE),
    ("spec.volumes[*].ephemeral.volumeClaimTemplate.metadata.deletionTimestamp", TEMPLATE),
    ("spec.volumes[*].ephemeral.volumeClaimTemplate.metadata.finalizers", TEMPLATE),
    ("spec.volumes[*].ephemeral.volumeClaimTemplate.metadata.generateName", TEMPLATE),
    ("spec.volumes[*].ephemeral.volumeClaimTemplate.metadata.generation", TEMPLATE),
    ("spec.volumes[*].ephemeral.volumeClaimTemplate.metadata.labels", NAMELESS),
    ("spec.volumes[*].ephemeral.volumeClaimTemplate.metadata.managedFields", TEMPLATE),
    ("spec.volumes[*].ephemeral.volumeClaimTemplate.metadata.name", TEMPLATE),
    ("spec.volumes[*].ephemeral.volumeClaimTemplate.metadata.namespace", TEMPLATE),
    ("spec.volumes[*].ephemeral.volumeClaimTemplate.metadata.ownerReferences", TEMPLATE),
    ("spec.volumes[*].ephemeral.volumeClaimTemplate.metadata.resourceVersion", TEMPLATE),
    ("spec.volumes[*].ephemeral.volumeClaimTemplate.metadata.selfLink", TEMPLATE),
    ("spec.volumes[*].ephemeral.volumeClaimTemplate.metadata.uid", TEMPLATE),
    ("spec.volumes[*].ephemeral.volumeClaimTemplate.spec", Look),
    ("spec.volumes[*].ephemeral.volumeClaimTemplate.spec.accessModes", Honoured),
    ("spec.volumes[*].ephemeral.volumeClaimTemplate.spec.dataSource", SNAPSHOT),
    ("spec.volumes[*].ephemeral.volumeClaimTemplate.spec.dataSourceRef", SNAPSHOT),
    ("spec.volumes[*].ephemeral.volumeClaimTemplate.spec.resources", Look),
    (
        "spec.volumes[*].ephemeral.volumeClaimTemplate.spec.resources.limits",
        Warn("only the request of a claim has a meaning: ignored"),
    ),
    ("spec.volumes[*].ephemeral.volumeClaimTemplate.spec.resources.requests", Look),
    ("spec.volumes[*].ephemeral.volumeClaimTemplate.spec.resources.requests.storage", Honoured),
    ("spec.volumes[*].ephemeral.volumeClaimTemplate.spec.selector", Look),
    ("spec.volumes[*].ephemeral.volumeClaimTemplate.spec.selector.matchExpressions", Look),
    ("spec.volumes[*].ephemeral.volumeClaimTemplate.spec.selector.matchExpressions[*].key", Honoured),
    ("spec.volumes[*].ephemeral.volumeClaimTemplate.spec.selector.matchExpressions[*].operator", Honoured),
    ("spec.volumes[*].ephemeral.volumeClaimTemplate.spec.selector.matchExpressions[*].values", Honoured),
    ("spec.volumes[*].ephemeral.volumeClaimTemplate.spec.selector.matchLabels", Honoured),
    ("spec.volumes[*].ephemeral.volumeClaimTemplate.spec.storageClassName", Honoured),
    ("spec.volumes[*].ephemeral.volumeClaimTemplate.spec.volumeAttributesClassName", DRIVER),
    ("spec.volumes[*].ephemeral.volumeClaimTemplate.spec.volumeMode", Honoured),
    ("spec.volumes[*].ephemeral.volumeClaimTemplate.spec.volumeName", Honoured),
    ("spec.volumes[*].fc", BLOCK),
    ("spec.volumes[*].flexVolume", DRIVER),
    ("spec.volumes[*].flocker", DRIVER),
    ("spec.volumes[*].gcePersistentDisk", CLOUD),
    ("spec.volumes[*].gitRepo", CLONE),
    ("spec.volumes[*].glusterfs", SHARE),
    ("spec.volumes[*].hostPath", Look),
    ("spec.volumes[*].hostPath.path", Honoured),
    ("spec.volumes[*].hostPath.type", Honoured),
    ("spec.volumes[*].image", Look),
    ("spec.volumes[*].image.pullPolicy", Honoured),
    ("spec.volumes[*].image.reference", Honoured),
    ("spec.volumes[*].iscsi", BLOCK),
    ("spec.volumes[*].name", Honoured),
    ("spec.volumes[*].nfs", SHARE),
    ("spec.volumes[*].persistentVolumeClaim", Look),
    ("spec.volumes[*].persistentVolumeClaim.claimName", Honoured),
    ("spec.volumes[*].persistentVolumeClaim.readOnly", Honoured),
    ("spec.volumes[*].photonPersistentDisk", CLOUD),
    ("spec.volumes[*].portworxVolume", DRIVER),
    ("spec.volumes[*].projected", Look),
    ("spec.volumes[*].projected.defaultMode", Honoured),
    ("spec.volumes[*].projected.sources", Look),
    ("spec.volumes[*].projected.sources[*].clusterTrustBundle", BUNDLE),
    ("spec.volumes[*].projected.sources[*].configMap", Look),
    ("spec.volumes[*].projected.sources[*].configMap.items", Look),
    ("spec.volumes[*].projected.sources[*].configMap.items[*].key", Honoured),
    ("spec.volumes[*].projected.sources[*].configMap.items[*].mode", Honoured),
    ("spec.volumes[*].projected.sources[*].configMap.items[*].path", Honoured),
    ("spec.volumes[*].projected.sources[*].configMap.name", Honoured),
    ("spec.volumes[*].projected.sources[*].configMap.optional", Honoured),
    ("spec.volumes[*].projected.sources[*].downwardAPI", Look),
    ("spec.volumes[*].projected.sources[*].downwardAPI.items", Look),
    ("spec.volumes[*].projected.sources[*].downwardAPI.items[*].fieldRef", Look),
    ("spec.volumes[*].projected.sources[*].downwardAPI.items[*].fieldRef.apiVersion", Honoured),
    ("spec.volumes[*].projected.sources[*].downwardAPI.items[*].fieldRef.fieldPath", Honoured),
    ("spec.volumes[*].projected.sources[*].downwardAPI.items[*].mode", Honoured),
    ("spec.volumes[*].projected.sources[*].downwardAPI.items[*].path", Honoured),
    ("spec.volumes[*].projected.sources[*].downwardAPI.items[*].resourceFieldRef", Look),
    ("spec.volumes[*].projected.sources[*].downwardAPI.items[*].resourceFieldRef.containerName", Honoured),
    ("spec.volumes[*].projected.sources[*].downwardAPI.items[*].resourceFieldRef.divisor", Honoured),
    ("spec.volumes[*].projected.sources[*].downwardAPI.items[*].resourceFieldRef.resource", Honoured),
    ("spec.volumes[*].projected.sources[*].podCertificate", CERTIFICATE),
    ("spec.volumes[*].projected.sources[*].secret", Look),
    ("spec.volumes[*].projected.sources[*].secret.items", Look),
    ("spec.volumes[*].projected.sources[*].secret.items[*].key", Honoured),
    ("spec.volumes[*].projected.sources[*].secret.items[*].mode", Honoured),
    ("spec.volumes[*].projected.sources[*].secret.items[*].path", Honoured),
    ("spec.volumes[*].projected.sources[*].secret.name", Honoured),
    ("spec.volumes[*].projected.sources[*].secret.optional", Honoured),
    ("spec.volumes[*].projected.sources[*].serviceAccountToken", Look),
    ("spec.volumes[*].projected.sources[*].serviceAccountToken.audience", Honoured),
    ("spec.volumes[*].projected.sources[*].serviceAccountToken.expirationSeconds", Honoured),
    ("spec.volumes[*].projected.sources[*].serviceAccountToken.path", Honoured),
    ("spec.volumes[*].quobyte", SHARE),
    ("spec.volumes[*].rbd", BLOCK),
    ("spec.volumes[*].scaleIO", DRIVER),
    ("spec.volumes[*].secret", Look),
    ("spec.volumes[*].secret.defaultMode", Honoured),
    ("spec.volumes[*].secret.items", Look),
    ("spec.volumes[*].secret.items[*].key", Honoured),
    ("spec.volumes[*].secret.items[*].mode", Honoured),
    ("spec.volumes[*].secret.items[*].path", Honoured),
    ("spec.volumes[*].secret.optional", Honoured),
    ("spec.volumes[*].secret.secretName", Honoured),
    ("spec.volumes[*].storageos", DRIVER),
    ("spec.volumes[*].vsphereVolume", CLOUD),
    ("status", Honoured),
];

/// Values that the API server writes by itself where nothing was given, or that ask for nothing: not worth a
/// warning.
const SILENT: [(&str, &str); 8] = [
    ("spec.automountServiceAccountToken", "false"),
    ("spec.preemptionPolicy", "PreemptLowerPriority"),
    ("spec.priority", "0"),
    ("spec.schedulerName", "default-scheduler"),
    ("spec.serviceAccount", ""),
    ("spec.serviceAccount", "default"),
    ("spec.serviceAccountName", ""),
    ("spec.serviceAccountName", "default"),
];

fn verdict(pattern: &str) -> Option<Verdict> {
    FIELDS.binary_search_by(|(path, _)| (*path).cmp(pattern)).ok().map(|at| FIELDS[at].1)
}

/// Walks a Pod's node and reports every field that is not honoured.
///
/// One that is `existing` may have been given ephemeral containers.
pub(crate) fn check(
    tree: &Tree<'_>,
    pod: NodeId,
    path: &Path<'_>,
    (existing, notes): (bool, &Notes),
) -> Vec<Finding> {
    let pattern = String::with_capacity(80);
    let mut walk = Walk { tree, notes, findings: Vec::new(), existing, pattern, errors: 0, warnings: 0 };
    walk.fields(pod, path);
    walk.findings
}

struct Walk<'a, 't> {
    tree: &'a Tree<'t>,
    notes: &'a Notes,
    findings: Vec<Finding>,
    existing: bool,
    pattern: String,
    errors: usize,
    warnings: usize,
}

impl Walk<'_, '_> {
    fn fields(&mut self, node: NodeId, path: &Path<'_>) {
        let tree = self.tree;
        match &tree.node(node).kind {
            Kind::Map(entries) => {
                for entry in entries {
                    let before = self.pattern.len();
                    if before != 0 {
                        self.pattern.push('.');
                    }
                    let of_map = ["resources.limits", "resources.requests"];
                    let of_map = of_map.iter().any(|map| self.pattern[..before].ends_with(map));
                    self.pattern.push_str(match entry.key.as_ref() {
                        key if of_map && key.contains('/') => "(device)",
                        "livenessProbe" | "readinessProbe" | "startupProbe" => "(probe)",
                        "postStart" | "preStop" => "(hook)",
                        "initContainers" => "containers",
                        "ephemeralContainers" if self.existing => "containers",
                        // What no other container has is honoured as a name is.
                        "targetContainerName" if self.existing => "name",
                        key => key,
                    });
                    if of_map {
                        // A quantity that is null is none, and is there nevertheless.
                        self.field(entry, &path.key(&entry.key));
                    } else if !self.says_nothing(entry.value) {
                        self.field(entry, &path.field(&entry.key));
                    }
                    self.pattern.truncate(before);
                }
            }
            Kind::Seq(items) => {
                let before = self.pattern.len();
                self.pattern.push_str("[*]");
                for (index, item) in items.iter().enumerate() {
                    self.fields(*item, &path.index(index));
                }
                self.pattern.truncate(before);
            }
            Kind::Scalar(_) => {}
        }
    }

    /// Whether the API server drops the value of a field.
    fn says_nothing(&self, value: NodeId) -> bool {
        self.tree.is_null(value)
            || matches!(&self.tree.node(value).kind, Kind::Seq(items) if items.is_empty())
    }

    fn field(&mut self, entry: &Entry<'_>, path: &Path<'_>) {
        let (key, value) = (entry.key_span, entry.value);
        match verdict(&self.pattern) {
            Some(Look) => self.fields(value, path),
            Some(Honoured) => {}
            Some(Warn(_)) if self.is_silent(value) => {}
            Some(Warn(why)) => self.warn(key, path, why),
            Some(Refused(why)) => self.refuse(key, path, why),
            // Nobody knows it, and that has been said.
            None if path.parent().is_some_and(|object| self.notes.was_dropped(object, entry)) => {}
            None => self.unknown(entry, path),
        }
    }

    fn unknown(&mut self, entry: &Entry<'_>, path: &Path<'_>) {
        let (message, hint) = resource_name::refusal(&self.pattern, &entry.key);
        let before = self.findings.len();
        self.report(Severity::Error, entry.key_span, path, message);
        if let Some(said) = self.findings.get_mut(before) {
            said.hint = hint;
        }
    }

    fn scalar_is(&self, node: NodeId, text: &str) -> bool {
        let Kind::Scalar(scalar) = &self.tree.node(node).kind else { return false };
        match scalar.value() {
            Value::Bool(value) => (text == "true") == value && matches!(text, "true" | "false"),
            _ => scalar.text() == text,
        }
    }

    fn is_silent(&self, value: NodeId) -> bool {
        SILENT.iter().any(|(path, text)| *path == self.pattern && self.scalar_is(value, text))
    }

    fn warn(&mut self, span: Span, path: &Path<'_>, message: &str) {
        self.report(Severity::Warning, span, path, message.to_owned());
    }

    fn refuse(&mut self, span: Span, path: &Path<'_>, detail: &str) {
        self.report(Severity::Error, span, path, format!("Forbidden: {detail}"));
    }

    fn report(&mut self, severity: Severity, span: Span, path: &Path<'_>, message: String) {
        let noted = match severity {
            Severity::Error => &mut self.errors,
            Severity::Warning => &mut self.warnings,
        };
        *noted += 1;
        if *noted <= NOTED {
            let path = path.to_string();
            self.findings.push(Finding { severity, span, path, message, hint: None, other: None });
        }
    }
}

#[cfg(test)]
mod schema;
#[cfg(test)]
mod support;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sorted_so_that_it_can_be_searched() {
        assert!(FIELDS.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }
}
