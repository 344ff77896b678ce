//! The kinds of object that commands show, under all the names that kubectl knows them by.

use crate::store::ObjectKind;

/// A kind of object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Pods, which have supervisors.
    Pod,
    /// What is a file only.
    Object(ObjectKind),
    /// What follows from others.
    Derived(Derived),
}

/// A kind of object that mostly follows from Services and pods. What manifests say of it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Derived {
    /// discovery.k8s.io/v1 EndpointSlice
    EndpointSlices,
    /// v1 Endpoints
    Endpoints,
}

impl Derived {
    /// What manifests have of it.
    pub(super) fn written(self) -> ObjectKind {
        match self {
            Derived::EndpointSlices => ObjectKind::EndpointSlice,
            Derived::Endpoints => ObjectKind::Endpoints,
        }
    }
}

impl Kind {
    /// All, in the order in which people look at them.
    pub(super) const ALL: [Kind; 10] = [
        Kind::Pod,
        Kind::Object(ObjectKind::Service),
        Kind::Derived(Derived::EndpointSlices),
        Kind::Derived(Derived::Endpoints),
        Kind::Object(ObjectKind::ConfigMap),
        Kind::Object(ObjectKind::Secret),
        Kind::Object(ObjectKind::PersistentVolumeClaim),
        Kind::Object(ObjectKind::PersistentVolume),
        Kind::Object(ObjectKind::ServiceAccount),
        Kind::Object(ObjectKind::Namespace),
    ];

    /// What `get all` shows: kubectl's category "all" has what runs, and not what it is told.
    pub(super) const CATEGORY_ALL: [Kind; 2] = [Kind::Pod, Kind::Object(ObjectKind::Service)];

    /// `Pod`, as a manifest has it.
    pub(super) fn kind(self) -> &'static str {
        match self {
            Kind::Pod => "Pod",
            Kind::Object(kind) => kind.kind(),
            Kind::Derived(Derived::EndpointSlices) => "EndpointSlice",
            Kind::Derived(Derived::Endpoints) => "Endpoints",
        }
    }

    /// `pods`, as the API has it.
    pub(super) fn resource(self) -> &'static str {
        match self {
            Kind::Pod => "pods",
            Kind::Object(kind) => kind.resource(),
            Kind::Derived(Derived::EndpointSlices) => "endpointslices",
            Kind::Derived(Derived::Endpoints) => "endpoints",
        }
    }

    /// `pod`, as `-o name` and messages have it.
    pub(super) fn singular(self) -> String {
        self.kind().to_lowercase()
    }

    /// `po`; empty if it has none.
    pub(super) fn short(self) -> &'static str {
        match self {
            Kind::Pod => "po",
            Kind::Object(ObjectKind::Namespace) => "ns",
            Kind::Object(ObjectKind::ServiceAccount) => "sa",
            Kind::Object(ObjectKind::ConfigMap) => "cm",
            Kind::Object(ObjectKind::Secret) => "",
            Kind::Object(ObjectKind::PersistentVolume) => "pv",
            Kind::Object(ObjectKind::PersistentVolumeClaim) => "pvc",
            Kind::Object(ObjectKind::Service) => "svc",
            Kind::Object(ObjectKind::EndpointSlice) | Kind::Derived(Derived::EndpointSlices) => "",
            Kind::Object(ObjectKind::Endpoints) | Kind::Derived(Derived::Endpoints) => "ep",
        }
    }

    /// `v1`, as the API has it.
    pub(super) fn api_version(self) -> &'static str {
        match self {
            Kind::Derived(Derived::EndpointSlices) => "discovery.k8s.io/v1",
            Kind::Object(kind) => kind.api_version(),
            Kind::Pod | Kind::Derived(Derived::Endpoints) => "v1",
        }
    }

    /// Whether its objects lie in a namespace.
    pub(super) fn is_namespaced(self) -> bool {
        match self {
            Kind::Pod => true,
            Kind::Object(kind) => kind.is_namespaced(),
            Kind::Derived(_) => true,
        }
    }

    /// The kind that a word names, in upper or lower case, whole or short, of one or many, with or without its version:
    /// `po`, `Pods`, `configmap`, `svc`, `pods.v1`.
    pub(super) fn parse(word: &str) -> Option<Kind> {
        let word = word.to_lowercase();
        let word = word.strip_suffix('.').unwrap_or(&word);
        let word = word.strip_suffix(".v1").unwrap_or(word);
        let word = word.strip_suffix(".discovery.k8s.io").unwrap_or(word);
        let named = |kind: &Kind| {
            word == kind.resource() || word == kind.singular() || (!word.is_empty() && word == kind.short())
        };
        Kind::ALL.into_iter().find(named)
    }

    /// The same of what is no pod.
    pub(super) fn object(word: &str) -> Option<ObjectKind> {
        match Kind::parse(word)? {
            Kind::Pod => None,
            Kind::Object(kind) => Some(kind),
            Kind::Derived(derived) => Some(derived.written()),
        }
    }

    /// The kinds that a word of `get` names: `pods,svc`, `all`; each once. `None` if some part of it is none.
    pub(super) fn parse_list(words: &str) -> Option<Vec<Kind>> {
        let mut kinds = Vec::new();
        for word in words.split(',') {
            let named = match Kind::parse(word) {
                Some(kind) => vec![kind],
                None if word == "all" => Kind::CATEGORY_ALL.to_vec(),
                None => return None,
            };
            for kind in named {
                if !kinds.contains(&kind) {
                    kinds.push(kind);
                }
            }
        }
        Some(kinds)
    }

    /// What an API server selects objects of this kind by.
    pub(super) fn fields(self) -> &'static [&'static str] {
        use crate::output::selector::POD_FIELDS;
        match self {
            Kind::Pod => &POD_FIELDS,
            Kind::Object(ObjectKind::Secret) => &["metadata.name", "metadata.namespace", "type"],
            Kind::Object(ObjectKind::Service) => {
                &["metadata.name", "metadata.namespace", "spec.clusterIP", "spec.type"]
            }
            Kind::Object(ObjectKind::Namespace) => &["metadata.name", "status.phase"],
            Kind::Object(ObjectKind::PersistentVolume) => &["metadata.name"],
            Kind::Derived(_) => &["metadata.name", "metadata.namespace"],
            Kind::Object(
                ObjectKind::ConfigMap
                | ObjectKind::ServiceAccount
                | ObjectKind::PersistentVolumeClaim
                | ObjectKind::Endpoints
                | ObjectKind::EndpointSlice,
            ) => &["metadata.name", "metadata.namespace"],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_known_by_each_of_its_names() {
        for word in ["po", "pod", "pods", "Pod", "PODS", "pods.v1", "pod.v1."] {
            assert_eq!(Kind::parse(word), Some(Kind::Pod), "{word}");
        }
        for (word, kind) in [
            ("cm", ObjectKind::ConfigMap),
            ("secret", ObjectKind::Secret),
            ("pvc", ObjectKind::PersistentVolumeClaim),
            ("persistentVolumes", ObjectKind::PersistentVolume),
            ("ns", ObjectKind::Namespace),
            ("sa", ObjectKind::ServiceAccount),
            ("svc", ObjectKind::Service),
        ] {
            assert_eq!(Kind::parse(word), Some(Kind::Object(kind)), "{word}");
        }
        for word in ["", "deploy", "podss", "all", "."] {
            assert_eq!(Kind::parse(word), None, "{word}");
        }
    }

    #[test]
    fn several_kinds_stand_in_one_word_and_each_counts_once() {
        let service = Kind::Object(ObjectKind::Service);
        assert_eq!(Kind::parse_list("po,svc,pods"), Some(vec![Kind::Pod, service]));
        assert_eq!(Kind::parse_list("all"), Some(vec![Kind::Pod, service]));
        assert_eq!(Kind::parse_list("svc,all"), Some(vec![service, Kind::Pod]));
        assert_eq!(Kind::parse_list("po,web"), None);
        assert_eq!(Kind::parse_list("po,"), None);
    }
}
