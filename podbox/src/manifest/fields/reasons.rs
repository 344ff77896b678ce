//! Why fields have no effect or are refused.

use super::Verdict::{self, Refused, Warn};

pub(super) const SCHEDULER: Verdict = Warn("only a scheduler needs it, and a single host has none: ignored");
pub(super) const SERVER: Verdict = Warn("written by the API server of a cluster: ignored");
pub(super) const WINDOWS: Verdict = Warn("only Windows knows them: ignored");

/// The account's name is what the downward API shows, and what a token speaks of that a projected volume asks for.
pub(super) const TOKEN: Verdict = Warn(
    "no token of a service account is mounted by itself: there is no API server to take it; a projected volume \
     with serviceAccountToken holds one",
);
pub(super) const NAMELESS: Verdict =
    Warn("the claim lives with the pod and is no object that anybody could look at: ignored");
pub(super) const TEMPLATE: Verdict =
    Refused("only labels and annotations are allowed in the template of a claim");
pub(super) const SNAPSHOT: Verdict =
    Refused("podbox keeps no snapshots and copies no claims: fill it by an init container");
// Why sources of volumes are refused that a cluster has.
pub(super) const CLOUD: Verdict =
    Refused("a cloud's disk, which a cloud's controller attaches: podbox has none");
pub(super) const SHARE: Verdict =
    Refused("podbox mounts no network file systems: mount it on the host and give its path as a hostPath");
pub(super) const BLOCK: Verdict = Refused(
    "podbox attaches no block devices: attach and mount it on the host and give its path as a hostPath",
);
pub(super) const DRIVER: Verdict =
    Refused("it needs a storage driver beside the kubelet, and podbox runs none");
pub(super) const CLONE: Verdict =
    Refused("kubelets no longer run it by default: clone into an emptyDir with an init container instead");
pub(super) const BUNDLE: Verdict =
    Refused("there is no API server that keeps ClusterTrustBundles: use a configMap");
pub(super) const CERTIFICATE: Verdict =
    Refused("there is no API server that signs certificates of pods: use a secret");
pub(super) const DEVICES: Verdict = Refused(
    "podbox hands out no block devices: volumes are directories; a privileged container has all devices",
);
/// Dynamic resource allocation.
pub(super) const CLAIMS: &str = "claims are allocated by drivers and a scheduler of a cluster; podbox takes devices by resources.limits and CDI";
