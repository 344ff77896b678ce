//! Which pods a command is about: by name, by manifest, by label, or all of them.

use clap::Args;

use crate::output::selector::{FieldSelector, Selector};

use super::kinds::Kind;
use super::pods::{self, Found};
use super::{Failure, Session, completion, names};

mod wanted;

pub(super) use wanted::Wanted;

/// The arguments that choose pods, the same for every command that takes several.
#[derive(Clone, Debug, Args)]
pub(super) struct Targets {
    /// Pods (web, pod/web, NAMESPACE/web), or manifests whose pods are meant
    #[arg(value_name = "POD|FILE", add = completion::target())]
    words: Vec<String>,
    /// Manifests whose pods are meant
    #[arg(long = "filename", short = 'f', value_name = "FILE|DIR|-")]
    files: Vec<String>,
    /// Every pod of the namespace, or of all with -A
    #[arg(long, conflicts_with_all = ["selector", "files"])]
    all: bool,
    /// Pods with these labels: app=web,tier!=test
    #[arg(long, short = 'l', value_name = "LABELS", conflicts_with = "files")]
    selector: Option<String>,
    /// Pods with these fields: status.phase=Running
    #[arg(long, value_name = "FIELDS", conflicts_with = "files")]
    field_selector: Option<String>,
    /// Namespace of pods that are named without one
    #[arg(long, short, default_value = "default", add = completion::namespace())]
    pub(super) namespace: String,
    /// Look in every namespace
    #[arg(long, short = 'A')]
    pub(super) all_namespaces: bool,
}

/// What the arguments mean.
pub(super) enum Meaning {
    /// These pods, as (namespace, name), whether they are there or not.
    Named(Vec<(String, String)>),
    /// Whichever fit.
    Fitting(Query),
}

/// Which pods fit.
pub(super) struct Query {
    /// All namespaces if none.
    namespace: Option<String>,
    labels: Selector,
    fields: FieldSelector,
}

impl Query {
    /// All of one namespace, or of all.
    pub(super) fn within(namespace: Option<&str>) -> Query {
        let namespace = namespace.map(str::to_owned);
        Query { namespace, labels: Selector::default(), fields: FieldSelector::default() }
    }

    /// The pods that fit now.
    pub(super) fn find(&self, session: &Session) -> Vec<Found> {
        let mut pods = pods::all(session, self.namespace.as_deref());
        pods.retain(|pod| self.fits(&pod.object()));
        pods
    }

    /// Whether objects of that namespace may fit.
    pub(super) fn covers(&self, namespace: &str) -> bool {
        self.namespace.as_deref().is_none_or(|own| own == namespace)
    }

    /// Whether an object fits by its labels and fields.
    pub(super) fn fits(&self, object: &serde_json::Value) -> bool {
        self.labels.matches_object(object) && self.fields.matches(object)
    }
}

impl Targets {
    /// Understands the arguments; `need` says what to do if none is given.
    pub(super) fn meaning(&self, session: &Session, need: Need) -> Result<Meaning, Failure> {
        // `pods` alone is a kind only where no name has to follow; else it is a pod's name.
        let alone = self.chooses() || need == Need::Nothing;
        let (kind, words) = match self.words.split_first() {
            Some((word, rest)) if names::is_kind(word) && (!rest.is_empty() || alone) => (true, rest),
            Some((word, [])) if word == "all" && need == Need::Nothing => (true, [].as_slice()),
            _ => (false, self.words.as_slice()),
        };
        if self.chooses() || (need == Need::Nothing && words.is_empty() && self.files.is_empty()) {
            if let Some(word) = words.first() {
                return Err(Failure::wrong(format!("{word}: give names or a choice of pods, not both")));
            }
            return Ok(Meaning::Fitting(self.query(Kind::Pod)?));
        }
        if self.all_namespaces && !words.is_empty() {
            return Err(Failure::wrong("a pod cannot be named across all namespaces; write NAMESPACE/NAME"));
        }
        let mut named = Vec::new();
        for word in words {
            if !kind && names::is_file(session, word, &self.namespace) {
                named.extend(names::pods_of(word)?);
            } else {
                let (namespace, name) = names::pod_name(word, &self.namespace);
                named.push((namespace.to_owned(), name.to_owned()));
            }
        }
        for file in &self.files {
            named.extend(names::pods_of(file)?);
        }
        if named.is_empty() {
            return Err(Failure::wrong("which pods? give names, manifests, -l LABELS or --all"));
        }
        let mut seen = std::collections::BTreeSet::new();
        named.retain(|pod| seen.insert(pod.clone()));
        Ok(Meaning::Named(named))
    }

    /// The pods that are meant; one that is named and not there is an error.
    pub(super) fn find(&self, session: &Session, need: Need) -> Result<Vec<Found>, Failure> {
        match self.meaning(session, need)? {
            Meaning::Named(named) => {
                named.iter().map(|(namespace, name)| pods::find(session, namespace, name)).collect()
            }
            Meaning::Fitting(query) => {
                let found = query.find(session);
                if found.is_empty() && need == Need::Some {
                    return Err(Failure::wrong("no matching pods found"));
                }
                Ok(found)
            }
        }
    }

    /// Whether the host itself is meant: `top node`.
    pub(super) fn ask_for_the_host(&self) -> bool {
        matches!(self.words.first().map(String::as_str), Some("node" | "nodes" | "no"))
    }

    /// Where was looked, for people: empty if everywhere.
    pub(super) fn place(&self) -> String {
        if self.all_namespaces { String::new() } else { format!(" in {} namespace", self.namespace) }
    }

    fn chooses(&self) -> bool {
        self.all || self.selector.is_some() || self.field_selector.is_some()
    }

    fn query(&self, kind: Kind) -> Result<Query, Failure> {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        Ok(Query {
            namespace: (!self.all_namespaces).then(|| self.namespace.clone()),
            labels: Selector::parse(&text(&self.selector)).map_err(|error| Failure::request(&error))?,
            fields: FieldSelector::parse(&text(&self.field_selector), kind.fields())
                .map_err(|error| Failure::request(&error))?,
        })
    }
}

/// Whether a command needs to be told which pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// It does, and at least one must be there.
    Some,
    /// Without it all are meant, and there may be none.
    Nothing,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Flags};
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        targets: Targets,
    }

    /// What the words mean where there are pods called `t.yaml` and `team/t.yaml`.
    fn named(words: &[&str], need: Need) -> Result<Vec<(String, String)>, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        std::fs::write(path("podbox.toml"), "").unwrap();
        let flags =
            Flags { root: Some(path("root")), run: Some(path("run")), config: Some(path("podbox.toml")) };
        let session = Session { settings: config::load(&flags).unwrap(), quiet: false };
        let store = &session.settings.store;
        for namespace in ["default", "team"] {
            let manifest = format!(
                "{{apiVersion: v1, kind: Pod, metadata: {{name: t.yaml, namespace: {namespace}}}, \
                 spec: {{containers: [{{name: c, image: podbox.local/toolbox}}]}}}}"
            );
            let sources = [crate::manifest::Source::new("<test>", manifest.into_bytes())];
            let loaded = crate::manifest::load(&sources, &Default::default()).unwrap();
            store.claim(namespace, "t.yaml", namespace).unwrap();
            let pod = store.pod(namespace).pod();
            crate::store::make_parent(&pod).unwrap();
            std::fs::write(pod, serde_json::to_vec(&loaded.pods[0].pod).unwrap()).unwrap();
        }
        let line = Line::parse_from([&["podbox"], words].concat());
        match line.targets.meaning(&session, need) {
            Ok(Meaning::Named(named)) => Ok(named),
            Ok(Meaning::Fitting(_)) => Ok(Vec::new()),
            Err(failure) => Err(failure.message().to_owned()),
        }
    }

    fn pair(namespace: &str, name: &str) -> (String, String) {
        (namespace.to_owned(), name.to_owned())
    }

    #[test]
    fn pods_are_named_in_all_the_ways_that_people_know() {
        let web = vec![pair("default", "web")];
        for words in
            [&["web"][..], &["pod/web"], &["pods/web"], &["Pod/web"], &["pod", "web"], &["default/web"]]
        {
            assert_eq!(named(words, Need::Some).unwrap(), web, "{words:?}");
        }
        assert_eq!(named(&["-n", "team", "po/web"], Need::Some).unwrap(), [pair("team", "web")]);
        assert_eq!(named(&["pod"], Need::Some).unwrap(), [pair("default", "pod")], "a pod may be called so");
        assert_eq!(named(&["web", "pod/web", "a"], Need::Some).unwrap().len(), 2, "each only once");
    }

    #[test]
    fn a_pods_name_may_end_as_a_manifests_does() {
        for word in ["t.yaml", "pod/t.yaml", "default/t.yaml"] {
            assert_eq!(named(&[word], Need::Some).unwrap(), [pair("default", "t.yaml")], "{word}");
        }
        assert_eq!(named(&["team/t.yaml"], Need::Some).unwrap(), [pair("team", "t.yaml")]);
        assert_eq!(
            named(&["pod/other.yaml"], Need::Some).unwrap(),
            [pair("default", "other.yaml")],
            "always a pod"
        );
        for word in ["other.yaml", "nobody/t.yaml", "./t.yaml"] {
            assert!(named(&[word], Need::Some).unwrap_err().starts_with(&format!("read {word}: ")), "{word}");
        }
    }

    #[test]
    fn nothing_means_all_where_that_is_harmless_and_is_asked_back_elsewhere() {
        for words in [&[][..], &["pods"], &["all"], &["pod", "-l", "app=web"]] {
            assert!(named(words, Need::Nothing).unwrap().is_empty(), "{words:?}");
        }
        assert!(named(&[], Need::Some).unwrap_err().starts_with("which pods?"));
        assert!(named(&["pods", "--all"], Need::Some).unwrap().is_empty());
        assert!(named(&["web", "-l", "a=b"], Need::Some).unwrap_err().contains("not both"));
    }
}
