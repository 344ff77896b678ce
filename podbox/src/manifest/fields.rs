//! Which fields of a Pod podbox honours.
//!
//! Kubernetes knows far more fields than podbox gives effect to, and a field without effect must never pass
//! in silence. So the list below is closed: it is the fields that are honoured, and whatever a manifest holds
//! beyond it is an error, also fields that nobody here has thought of.

use super::diagnostic::{Finding, NOTED, Severity};
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
    /// The same, unless the field beside it that is named first has the value that is named second.
    WarnUnless(&'static str, &'static str, &'static str),
    /// Accepted with this value, which is what happens anyway; otherwise not supported.
    Unless(&'static str),
    /// Refused, for this reason.
    Refused(&'static str),
}

use Verdict::{Honoured, Look, Refused, Unless, Warn, WarnUnless};

const SCHEDULER: Verdict = Warn("only a scheduler needs it, and a single host has none: ignored");
const SERVER: Verdict = Warn("written by the API server of a cluster: ignored");
const WINDOWS: Verdict = Warn("only Windows knows them: ignored");
const UNSUPPORTED: &str = "not supported by podbox yet";

/// Sorted by path, `[*]` for the elements of a list, `(probe)` for each of the three probes, `(hook)` for both
/// hooks. `spec.initContainers` and `spec.ephemeralContainers` have the fields of `spec.containers`. Every field stands here by its own name: an
/// object is not honoured with whatever a later Kubernetes may put into it.
const FIELDS: &[(&str, Verdict)] = &[
    ("apiVersion", Honoured),
    ("kind", Honoured),
    ("metadata", Look),
    ("metadata.annotations", Honoured),
    ("metadata.creationTimestamp", SERVER),
    ("metadata.deletionGracePeriodSeconds", SERVER),
    ("metadata.deletionTimestamp", SERVER),
    ("metadata.generation", SERVER),
    ("metadata.labels", Honoured),
    ("metadata.managedFields", SERVER),
    ("metadata.name", Honoured),
    ("metadata.namespace", Honoured),
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
    ("spec.containers[*].env[*].name", Honoured),
    ("spec.containers[*].env[*].value", Honoured),
    ("spec.containers[*].env[*].valueFrom", Look),
    ("spec.containers[*].env[*].valueFrom.fieldRef", Look),
    ("spec.containers[*].env[*].valueFrom.fieldRef.apiVersion", Honoured),
    ("spec.containers[*].env[*].valueFrom.fieldRef.fieldPath", Honoured),
    ("spec.containers[*].env[*].valueFrom.resourceFieldRef", Look),
    ("spec.containers[*].env[*].valueFrom.resourceFieldRef.containerName", Honoured),
    ("spec.containers[*].env[*].valueFrom.resourceFieldRef.divisor", Honoured),
    ("spec.containers[*].env[*].valueFrom.resourceFieldRef.resource", Honoured),
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
    ("spec.containers[*].resources", Look),
    ("spec.containers[*].resources.limits", Look),
    ("spec.containers[*].resources.limits.cpu", Honoured),
    ("spec.containers[*].resources.limits.ephemeral-storage", STORAGE),
    ("spec.containers[*].resources.limits.memory", Honoured),
    ("spec.containers[*].resources.requests", Look),
    ("spec.containers[*].resources.requests.cpu", Honoured),
    ("spec.containers[*].resources.requests.ephemeral-storage", STORAGE),
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
    ("spec.containers[*].targetContainerName", Honoured),
    ("spec.containers[*].terminationMessagePath", Honoured),
    ("spec.containers[*].terminationMessagePolicy", Honoured),
    ("spec.containers[*].tty", Honoured),
    ("spec.containers[*].volumeMounts", Look),
    ("spec.containers[*].volumeMounts[*].mountPath", Honoured),
    ("spec.containers[*].volumeMounts[*].mountPropagation", Unless("None")),
    ("spec.containers[*].volumeMounts[*].name", Honoured),
    ("spec.containers[*].volumeMounts[*].readOnly", Honoured),
    ("spec.containers[*].volumeMounts[*].recursiveReadOnly", Unless("Disabled")),
    ("spec.containers[*].volumeMounts[*].subPath", Honoured),
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
    ("spec.nodeName", SCHEDULER),
    ("spec.nodeSelector", SCHEDULER),
    ("spec.os", Look),
    ("spec.os.name", Unless("linux")),
    ("spec.overhead", SCHEDULER),
    ("spec.preemptionPolicy", SCHEDULER),
    ("spec.priority", SCHEDULER),
    ("spec.priorityClassName", SCHEDULER),
    ("spec.readinessGates", Look),
    ("spec.readinessGates[*].conditionType", Honoured),
    ("spec.restartPolicy", Honoured),
    ("spec.schedulerName", SCHEDULER),
    ("spec.schedulingGates", Refused("a single host has no scheduler that could wait for a gate")),
    ("spec.securityContext", Look),
    ("spec.securityContext.appArmorProfile", Look),
    ("spec.securityContext.appArmorProfile.localhostProfile", Honoured),
    ("spec.securityContext.appArmorProfile.type", Honoured),
    ("spec.securityContext.runAsGroup", Honoured),
    ("spec.securityContext.runAsNonRoot", Honoured),
    ("spec.securityContext.runAsUser", Honoured),
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
    ("spec.setHostnameAsFQDN", Unless("false")),
    ("spec.shareProcessNamespace", Honoured),
    ("spec.subdomain", Honoured),
    ("spec.terminationGracePeriodSeconds", Honoured),
    ("spec.tolerations", SCHEDULER),
    ("spec.topologySpreadConstraints", SCHEDULER),
    ("spec.volumes", Look),
    ("spec.volumes[*].emptyDir", Look),
    ("spec.volumes[*].emptyDir.medium", Honoured),
    ("spec.volumes[*].emptyDir.sizeLimit", WarnUnless("medium", "Memory", UNLIMITED)),
    ("spec.volumes[*].hostPath", Look),
    ("spec.volumes[*].hostPath.path", Honoured),
    ("spec.volumes[*].hostPath.type", Honoured),
    ("spec.volumes[*].name", Honoured),
    ("status", Honoured),
];

const STORAGE: Verdict = Warn("ephemeral storage is not limited by podbox yet");
const UNLIMITED: &str = "an emptyDir on disk is not limited by podbox yet; one with medium: Memory is";
/// The account's name is what the downward API shows; more of it there is not.
const TOKEN: Verdict = Warn("no token of a service account is mounted: there is no API server to take it");

/// Values that the API server writes by itself where nothing was given, or that ask for nothing: not worth a
/// warning.
const SILENT: [(&str, &str); 9] = [
    ("spec.automountServiceAccountToken", "false"),
    ("spec.preemptionPolicy", "PreemptLowerPriority"),
    ("spec.priority", "0"),
    ("spec.schedulerName", "default-scheduler"),
    ("spec.serviceAccount", ""),
    ("spec.serviceAccount", "default"),
    ("spec.serviceAccountName", ""),
    ("spec.serviceAccountName", "default"),
    ("spec.volumes[*].emptyDir.sizeLimit", "0"),
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
    (existing, findings): (bool, &mut Vec<Finding>),
) {
    let pattern = String::with_capacity(80);
    let mut walk = Walk { tree, findings, existing, pattern, errors: 0, warnings: 0 };
    walk.fields(pod, path);
}

struct Walk<'a, 't> {
    tree: &'a Tree<'t>,
    findings: &'a mut Vec<Finding>,
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
                    self.pattern.push_str(match entry.key.as_ref() {
                        "livenessProbe" | "readinessProbe" | "startupProbe" => "(probe)",
                        "postStart" | "preStop" => "(hook)",
                        "initContainers" => "containers",
                        "ephemeralContainers" if self.existing => "containers",
                        key => key,
                    });
                    let of_map = ["resources.limits", "resources.requests"];
                    let path = match of_map.iter().any(|map| self.pattern[..before].ends_with(map)) {
                        true => path.key(&entry.key),
                        false => path.field(&entry.key),
                    };
                    self.field(node, entry, &path);
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

    fn field(&mut self, object: NodeId, entry: &Entry<'_>, path: &Path<'_>) {
        let (key, value) = (entry.key_span, entry.value);
        // Neither of them says anything: the API server drops them.
        if self.tree.is_null(value)
            || matches!(&self.tree.node(value).kind, Kind::Seq(items) if items.is_empty())
        {
            return;
        }
        match verdict(&self.pattern) {
            Some(Look) => self.fields(value, path),
            Some(Honoured) => {}
            Some(Warn(_) | WarnUnless(..)) if self.is_silent(value) => {}
            Some(WarnUnless(beside, saved, _)) if self.has(object, beside, saved) => {}
            Some(Warn(why) | WarnUnless(_, _, why)) => self.warn(key, path, why),
            Some(Unless(only)) if self.scalar_is(value, only) => {}
            Some(Unless(only)) => self.unsupported(self.tree.node(value).span, value, path, only),
            Some(Refused(why)) => self.refuse(key, path, why),
            None => self.refuse(key, path, UNSUPPORTED),
        }
    }

    fn unsupported(&mut self, span: Span, value: NodeId, path: &Path<'_>, only: &str) {
        let shown = match &self.tree.node(value).kind {
            Kind::Scalar(scalar) => match scalar.value() {
                Value::Str(text) => format!("{text:?}"),
                _ => scalar.text().to_owned(),
            },
            Kind::Seq(_) | Kind::Map(_) => return,
        };
        self.refuse(span, path, &format!("{shown} is {UNSUPPORTED}"));
        if let Some(last) = self.findings.last_mut() {
            last.hint = Some(format!("podbox takes {only} here"));
        }
    }

    fn scalar_is(&self, node: NodeId, text: &str) -> bool {
        let Kind::Scalar(scalar) = &self.tree.node(node).kind else { return false };
        match scalar.value() {
            Value::Bool(value) => (text == "true") == value && matches!(text, "true" | "false"),
            _ => scalar.text() == text,
        }
    }

    fn has(&self, object: NodeId, field: &str, text: &str) -> bool {
        self.tree.entry(object, field).is_some_and(|entry| self.scalar_is(entry.value, text))
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
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sorted_so_that_it_can_be_searched() {
        assert!(FIELDS.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }
}
