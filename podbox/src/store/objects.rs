//! What is not a Pod: ConfigMaps, Secrets, claims and the other objects that pods refer to, a file each.
//!
//! Writer: the command line (`up`, `down`). Supervisors only read: they watch the directory of a kind and look again
//! when something in it has changed, so nobody has to tell them.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use serde_json::Value;

use super::{Store, StoreError, make_dir, remove, write_atomic};

/// The kinds of object that are stored, beside Pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectKind {
    /// v1 Namespace
    Namespace,
    /// v1 ServiceAccount
    ServiceAccount,
    /// v1 ConfigMap
    ConfigMap,
    /// v1 Secret
    Secret,
    /// v1 PersistentVolume
    PersistentVolume,
    /// v1 PersistentVolumeClaim
    PersistentVolumeClaim,
    /// v1 Endpoints
    Endpoints,
    /// discovery.k8s.io/v1 EndpointSlice
    EndpointSlice,
    /// v1 Service
    Service,
}

impl ObjectKind {
    /// All, in the order in which they are needed: what comes later may refer to what comes before.
    pub const ALL: [ObjectKind; 9] = [
        ObjectKind::Namespace,
        ObjectKind::ServiceAccount,
        ObjectKind::ConfigMap,
        ObjectKind::Secret,
        ObjectKind::PersistentVolume,
        ObjectKind::PersistentVolumeClaim,
        ObjectKind::Endpoints,
        ObjectKind::EndpointSlice,
        ObjectKind::Service,
    ];

    /// `kind` in a manifest.
    #[must_use]
    pub fn kind(self) -> &'static str {
        match self {
            ObjectKind::Namespace => "Namespace",
            ObjectKind::ServiceAccount => "ServiceAccount",
            ObjectKind::ConfigMap => "ConfigMap",
            ObjectKind::Secret => "Secret",
            ObjectKind::PersistentVolume => "PersistentVolume",
            ObjectKind::PersistentVolumeClaim => "PersistentVolumeClaim",
            ObjectKind::Endpoints => "Endpoints",
            ObjectKind::EndpointSlice => "EndpointSlice",
            ObjectKind::Service => "Service",
        }
    }

    /// The name of the resource in Kubernetes' API, in the plural.
    #[must_use]
    pub fn resource(self) -> &'static str {
        match self {
            ObjectKind::Namespace => "namespaces",
            ObjectKind::ServiceAccount => "serviceaccounts",
            ObjectKind::ConfigMap => "configmaps",
            ObjectKind::Secret => "secrets",
            ObjectKind::PersistentVolume => "persistentvolumes",
            ObjectKind::PersistentVolumeClaim => "persistentvolumeclaims",
            ObjectKind::Endpoints => "endpoints",
            ObjectKind::EndpointSlice => "endpointslices",
            ObjectKind::Service => "services",
        }
    }

    /// `apiVersion` in a manifest.
    #[must_use]
    pub fn api_version(self) -> &'static str {
        if self == ObjectKind::EndpointSlice { "discovery.k8s.io/v1" } else { "v1" }
    }

    /// Whether objects of the kind lie in a namespace.
    #[must_use]
    pub fn is_namespaced(self) -> bool {
        !matches!(self, ObjectKind::Namespace | ObjectKind::PersistentVolume)
    }
}

/// Stands for the namespace of objects that have none. No namespace has this name.
const NOWHERE: &str = "_";

impl Store {
    /// The directory of the objects of one kind in one namespace (ignored where the kind knows none): watched by those
    /// who want to know of changes. It need not be there.
    #[must_use]
    pub fn objects_of(&self, kind: ObjectKind, namespace: &str) -> PathBuf {
        let namespace = if kind.is_namespaced() { namespace } else { NOWHERE };
        self.data.join("objects").join(kind.resource()).join(namespace)
    }

    /// The directory of all objects of one kind, a directory a namespace: watched for namespaces that come.
    #[must_use]
    pub fn objects_of_kind(&self, kind: ObjectKind) -> PathBuf {
        self.data.join("objects").join(kind.resource())
    }

    /// The directory of a claim's content: kept until the claim is removed. A link where a PersistentVolume is bound to
    /// the claim.
    #[must_use]
    pub fn claim_dir(&self, namespace: &str, claim: &str) -> PathBuf {
        self.data.join("claims").join(namespace).join(claim)
    }

    /// The directory of all that concerns a namespace's claims: watched by those who wait for one.
    #[must_use]
    pub fn claims_of(&self, namespace: &str) -> PathBuf {
        self.data.join("claims").join(namespace)
    }

    /// Says which claim a PersistentVolume is bound to: a link to its `NAMESPACE/CLAIM`. Writer: supervisors.
    #[must_use]
    pub fn bound_mark(&self, volume: &str) -> PathBuf {
        self.claim_dir(NOWHERE, volume)
    }

    /// The PersistentVolume that is marked as a claim's, whether it is still there or not.
    #[must_use]
    pub fn volume_of(&self, namespace: &str, claim: &str) -> Option<String> {
        let owner = PathBuf::from(format!("{namespace}/{claim}"));
        let marks = fs::read_dir(self.claims_of(NOWHERE)).into_iter().flatten().flatten();
        let mut of_claim = marks.filter(|mark| fs::read_link(mark.path()).is_ok_and(|of| of == owner));
        of_claim.find_map(|mark| mark.file_name().into_string().ok())
    }

    /// Binds a claim to nothing: its PersistentVolume is free for the next one. A directory of its own stays.
    ///
    /// # Errors
    /// If the marks cannot be removed.
    pub fn unbind(&self, namespace: &str, claim: &str) -> Result<(), StoreError> {
        let dir = self.claim_dir(namespace, claim);
        if !dir.is_symlink() {
            return Ok(());
        }
        // As long as the link is there the mark is nobody else's, so it goes first.
        if let Some(volume) = self.volume_of(namespace, claim) {
            remove(&self.bound_mark(&volume))?;
        }
        remove(&dir)
    }

    /// Says which pod has a claim for itself: a link to its uid. No claim has such a name. Writer: supervisors.
    #[must_use]
    pub fn holder_mark(&self, namespace: &str, claim: &str) -> PathBuf {
        self.claim_dir(namespace, &format!(".{claim}.pod"))
    }

    /// The key that tokens of service accounts are signed with (PKCS #8, PEM). Writer: the first supervisor that needs it.
    #[must_use]
    pub fn token_key(&self) -> PathBuf {
        self.data.join("service-account.key")
    }

    /// The directories of the namespaces that objects of one kind have lain in: watched for objects that come.
    #[must_use]
    pub fn object_dirs(&self, kind: ObjectKind) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.objects_of_kind(kind)).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect()
    }

    fn object_file(&self, kind: ObjectKind, namespace: &str, name: &str) -> PathBuf {
        self.objects_of(kind, namespace).join(format!("{name}.json"))
    }

    /// An object as it was stored: the v1 object with its defaults. `None` if there is none.
    ///
    /// # Errors
    /// If the file is there and cannot be read, or is no JSON.
    pub fn object(&self, kind: ObjectKind, namespace: &str, name: &str) -> Result<Option<Value>, StoreError> {
        let path = self.object_file(kind, namespace, name);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StoreError::new("read", &path)(error)),
        };
        serde_json::from_slice(&text).map(Some).map_err(|error| StoreError::new("read", &path)(error.into()))
    }

    /// Stores an object, in the place of one of its name.
    ///
    /// # Errors
    /// If the disk does not take it; what was there is then untouched.
    pub fn keep_object(
        &self,
        kind: ObjectKind,
        (namespace, name): (&str, &str),
        object: &Value,
    ) -> Result<(), StoreError> {
        let dir = self.objects_of(kind, namespace);
        make_dir(&dir)?;
        // Secrets are nobody's business.
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o700))
            .map_err(StoreError::new("close", &dir))?;
        write_atomic(&self.object_file(kind, namespace, name), object.to_string().as_bytes())
    }

    /// Removes an object; what is not there is removed already.
    ///
    /// # Errors
    /// If the file cannot be removed.
    pub fn drop_object(&self, kind: ObjectKind, namespace: &str, name: &str) -> Result<(), StoreError> {
        remove(&self.object_file(kind, namespace, name))
    }

    /// The (namespace, name) of every object of a kind, sorted; the namespace is empty where the kind knows none.
    #[must_use]
    pub fn object_names(&self, kind: ObjectKind) -> Vec<(String, String)> {
        let Ok(namespaces) = fs::read_dir(self.objects_of_kind(kind)) else { return Vec::new() };
        let mut names = Vec::new();
        for namespace in namespaces.flatten() {
            let Ok(files) = fs::read_dir(namespace.path()) else { continue };
            let Ok(namespace) = namespace.file_name().into_string() else { continue };
            let namespace = if namespace == NOWHERE { String::new() } else { namespace };
            names.extend(files.flatten().filter_map(|file| {
                let file = file.file_name().into_string().ok()?;
                Some((namespace.clone(), file.strip_suffix(".json")?.to_owned()))
            }));
        }
        names.sort();
        names
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::super::Layers;
    use super::*;
    use serde_json::json;

    #[test]
    fn a_claim_that_is_unbound_frees_its_volume_and_keeps_its_directory() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name| dir.path().join(name);
        let store = Store { run: path("run"), data: path("data"), logs: path("logs"), layers: Layers::Disk };
        for (volume, claim) in [("pv", "one"), ("other", "two")] {
            for link in [store.bound_mark(volume), store.claim_dir("team", claim)] {
                make_dir(link.parent().unwrap()).unwrap();
            }
            symlink(format!("team/{claim}"), store.bound_mark(volume)).unwrap();
            symlink(dir.path(), store.claim_dir("team", claim)).unwrap();
        }
        make_dir(&store.claim_dir("team", "own")).unwrap();
        assert_eq!(store.volume_of("team", "one").as_deref(), Some("pv"));
        for claim in ["one", "own", "none"] {
            store.unbind("team", claim).unwrap();
            assert_eq!(store.volume_of("team", claim), None);
        }
        assert!(!store.bound_mark("pv").is_symlink() && !store.claim_dir("team", "one").is_symlink());
        assert!(store.claim_dir("team", "own").is_dir(), "data is never removed in passing");
        assert_eq!(store.volume_of("team", "two").as_deref(), Some("other"));
    }

    #[test]
    fn an_object_is_found_by_kind_namespace_and_name_until_it_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name| dir.path().join(name);
        let store = Store { run: path("run"), data: path("data"), logs: path("logs"), layers: Layers::Disk };
        let kind = ObjectKind::ConfigMap;
        assert_eq!(store.object(kind, "default", "a").unwrap(), None);
        store.keep_object(kind, ("default", "a"), &json!({"data": {"k": "1"}})).unwrap();
        store.keep_object(kind, ("default", "a"), &json!({"data": {"k": "2"}})).unwrap();
        store.keep_object(ObjectKind::Namespace, ("ignored", "team"), &json!({})).unwrap();
        assert_eq!(store.object(kind, "default", "a").unwrap(), Some(json!({"data": {"k": "2"}})));
        assert_eq!(store.object(ObjectKind::Secret, "default", "a").unwrap(), None);
        assert_eq!(store.object(kind, "other", "a").unwrap(), None);
        assert_eq!(store.object_names(kind), [("default".to_owned(), "a".to_owned())]);
        assert_eq!(store.object_names(ObjectKind::Namespace), [(String::new(), "team".to_owned())]);
        store.drop_object(kind, "default", "a").unwrap();
        store.drop_object(kind, "default", "a").unwrap();
        assert_eq!(store.object(kind, "default", "a").unwrap(), None);
    }
}
