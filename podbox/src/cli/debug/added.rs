//! From an ephemeral container as it was asked for to one that the pod can be given: checked and defaulted with the pod
//! that is there, as the API server does it.

use serde_json::{Value, json};

use crate::manifest::{self, Diagnostics, Options, Severity, Source};
use crate::supervisor::machine::Added;

use super::super::pods::Found;
use super::super::{Failure, Session};

/// Reads the container of a pod.
///
/// # Errors
/// All that is wrong with it, in the API server's words.
pub(super) fn read(session: &Session, found: &Found, container: Value) -> Result<Added, Failure> {
    let pod = &found.pod;
    let mut spec = found.object()["spec"].take();
    match spec["ephemeralContainers"].as_array_mut() {
        Some(list) => list.push(container),
        None => spec["ephemeralContainers"] = json!([container]),
    }
    let metadata = json!({"name": pod.name, "namespace": pod.namespace, "annotations": pod.annotations});
    let object = json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec});
    let options = Options {
        namespace: pod.namespace.clone(),
        allowed_sysctls: session.settings.pods.allowed_unsafe_sysctls.clone(),
        existing: true,
        ..Options::default()
    };
    let source = Source::new("<flags>", object.to_string());
    let mut loaded = manifest::load(&[source], &options).map_err(|mistakes| invalid(&pod.name, &mistakes))?;
    let read = loaded.pods.pop().and_then(|mut loaded| {
        let list = loaded.object["spec"]["ephemeralContainers"].as_array_mut()?;
        Some(Added { object: list.pop()?, container: loaded.pod.containers.pop()? })
    });
    read.ok_or_else(|| Failure::cannot(format!("the object of pod {} has no container", found.name())))
}

fn invalid(name: &str, mistakes: &Diagnostics) -> Failure {
    let errors = || mistakes.0.iter().filter(|one| one.severity == Severity::Error);
    let texts: Vec<String> = errors().map(|one| format!("{}: {}", one.field_path, one.message)).collect();
    let text = match texts.as_slice() {
        [one] => format!("Pod {name:?} is invalid: {one}"),
        all => format!("Pod {name:?} is invalid: [{}]", all.join(", ")),
    };
    let failure = Failure::wrong(text);
    match errors().find_map(|one| one.hint.clone()) {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}
