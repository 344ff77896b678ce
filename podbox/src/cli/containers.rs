//! A pod's containers as commands take them: which there are, and which one is meant.

use serde_json::Value;

use super::Failure;

/// The annotation that names the container that is meant if none is asked for.
const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";

/// The names of a pod's containers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Containers {
    pod: String,
    main: Vec<String>,
    init: Vec<String>,
    ephemeral: Vec<String>,
    preferred: Option<String>,
}

impl Containers {
    /// The containers of a v1 Pod.
    pub(super) fn of(object: &Value) -> Containers {
        let names = |key: &str| {
            let list = object["spec"][key].as_array().map(Vec::as_slice).unwrap_or_default();
            list.iter().filter_map(|container| container["name"].as_str().map(str::to_owned)).collect()
        };
        let preferred = object["metadata"]["annotations"][DEFAULT_CONTAINER].as_str();
        Containers {
            pod: object["metadata"]["name"].as_str().unwrap_or_default().to_owned(),
            main: names("containers"),
            init: names("initContainers"),
            ephemeral: names("ephemeralContainers"),
            preferred: preferred.map(str::to_owned),
        }
    }

    /// All names, in the order in which they start.
    pub(super) fn all(&self) -> impl Iterator<Item = &str> {
        self.init.iter().chain(&self.main).chain(&self.ephemeral).map(String::as_str)
    }

    /// The names of `spec.containers`.
    pub(super) fn main(&self) -> impl Iterator<Item = &str> {
        self.main.iter().map(String::as_str)
    }

    /// The container of that name; the default one if none is asked for, with a word on standard error if there
    /// are others (kubectl: `podcmd.FindOrDefaultContainerByName`).
    pub(super) fn choose(&self, asked: Option<&str>) -> Result<&str, Failure> {
        let wanted = asked.or(self.preferred.as_deref());
        if let Some(name) = wanted {
            return self.all().find(|known| *known == name).ok_or_else(|| self.no_such(name));
        }
        let chosen = self.main.first().map(String::as_str).unwrap_or_default();
        if self.all().count() > 1 {
            anstream::eprintln!("Defaulted container \"{chosen}\" out of: {}", self.list());
        }
        Ok(chosen)
    }

    fn list(&self) -> String {
        let ephemeral = self.ephemeral.iter().map(|name| format!("{name} (ephem)"));
        let init = self.init.iter().map(|name| format!("{name} (init)"));
        self.main.iter().cloned().chain(ephemeral).chain(init).collect::<Vec<_>>().join(", ")
    }

    fn no_such(&self, name: &str) -> Failure {
        let Containers { pod, .. } = self;
        Failure::wrong(format!("container {name} is not valid for pod {pod} out of: {}", self.list()))
    }
}

/// The status of the container of that name in a v1 Pod; null if there is none yet.
pub(super) fn status<'a>(object: &'a Value, name: &str) -> &'a Value {
    const NOTHING: &Value = &Value::Null;
    let lists = ["containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"]
        .map(|key| object["status"][key].as_array());
    lists.into_iter().flatten().flatten().find(|status| status["name"] == name).unwrap_or(NOTHING)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod() -> Value {
        json!({"metadata": {"name": "web"}, "spec": {
            "containers": [{"name": "a"}, {"name": "b"}], "initContainers": [{"name": "setup"}],
            "ephemeralContainers": [{"name": "look"}],
        }})
    }

    #[test]
    fn the_first_main_container_is_meant_unless_another_is_named() {
        let containers = Containers::of(&pod());
        assert_eq!(containers.choose(None).unwrap(), "a");
        assert_eq!(containers.choose(Some("setup")).unwrap(), "setup");
        assert_eq!(containers.all().collect::<Vec<_>>(), ["setup", "a", "b", "look"]);
        let error = containers.choose(Some("c")).unwrap_err();
        assert_eq!(
            error.message(),
            "container c is not valid for pod web out of: a, b, look (ephem), setup (init)"
        );
    }

    #[test]
    fn an_annotation_may_prefer_another_one() {
        let mut pod = pod();
        pod["metadata"]["annotations"] = json!({DEFAULT_CONTAINER: "b"});
        assert_eq!(Containers::of(&pod).choose(None).unwrap(), "b");
        assert_eq!(Containers::of(&pod).choose(Some("a")).unwrap(), "a");
    }
}
