//! `podbox debug --copy-to`: another pod like this one, with a container more or with other images and commands.
//!
//! Source: kubectl `pkg/cmd/debug/debug.go` (generatePodCopyWithDebugContainer).

use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use crate::manifest::{LoadedPod, Options, Source};
use crate::output::yaml::to_yaml;

use super::super::pods::Found;
use super::super::run::object::{merge, pair};
use super::super::up::single;
use super::super::{Failure, Session, names, out};
use super::{DebugArgs, container, look};

/// How a copy differs from the pod.
#[derive(Debug, Args)]
pub(super) struct Copying {
    /// Make a copy of the pod with this name, and debug that
    #[arg(long, value_name = "NAME")]
    pub(super) copy_to: Option<String>,
    /// The copy's containers see each other's processes
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = true, default_missing_value = "true", action = clap::ArgAction::Set, value_name = "BOOL")]
    share_processes: bool,
    /// Take the pod down once its copy is there
    #[arg(long)]
    replace: bool,
    /// Accepted, as there is one node only
    #[arg(long)]
    same_node: bool,
    /// Other images for the copy's containers; * for all of them
    #[arg(long, value_delimiter = ',', value_name = "CONTAINER=IMAGE")]
    pub(super) set_image: Vec<String>,
    /// The copy has the pod's labels
    #[arg(long)]
    keep_labels: bool,
    /// The copy has the pod's annotations
    #[arg(long)]
    keep_annotations: bool,
    /// The copy has the pod's liveness probes
    #[arg(long)]
    keep_liveness: bool,
    /// The copy has the pod's readiness probes
    #[arg(long)]
    keep_readiness: bool,
    /// The copy has the pod's startup probes
    #[arg(long)]
    keep_startup: bool,
    /// The copy has the pod's init containers
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = true, default_missing_value = "true", action = clap::ArgAction::Set, value_name = "BOOL")]
    keep_init_containers: bool,
}

impl Copying {
    /// Whether anything is asked for that only a copy has.
    pub(super) fn without_copy(&self) -> Option<&'static str> {
        let given = [
            (self.replace, "--replace"),
            (self.same_node, "--same-node"),
            (!self.set_image.is_empty(), "--set-image"),
        ];
        given.into_iter().find(|(given, _)| *given && self.copy_to.is_none()).map(|(_, flag)| flag)
    }
}

/// Makes the copy `name` of a pod and takes part in the life of its container.
pub(super) fn run(
    session: &Session,
    found: &Found,
    args: &DebugArgs,
    name: &str,
) -> Result<ExitCode, Failure> {
    let (object, debugged) = object(found, args, name)?;
    let loaded = load(session, found, &object)?;
    let made = loaded.pod.containers.iter().find(|one| one.name == debugged).cloned();
    let made = made.ok_or_else(|| Failure::cannot(format!("the copy has no container {debugged}")))?;
    if args.made.container.is_none() && !session.quiet {
        out::line(format_args!("Defaulting debug container name to {debugged}."))?;
    }
    let attaches = args.streams.attaches();
    let listen = |copy: &Found| attaches.then(|| look::ask(session, copy, &made, args)).transpose();
    let (copy, asked) = single::start_new(session, loaded, None, listen)?;
    if args.copying.replace {
        found.stop(session, None)?;
    }
    match asked {
        Some((connection, wish)) => look::follow(&copy, connection, &wish),
        None => Ok(ExitCode::SUCCESS),
    }
}

fn load(session: &Session, found: &Found, object: &Value) -> Result<LoadedPod, Failure> {
    let options = Options {
        namespace: found.pod.namespace.clone(),
        allowed_sysctls: session.settings.pods.allowed_unsafe_sysctls.clone(),
        networks: names::networks(&session.settings),
        ..Options::default()
    };
    let loaded = names::load_sources(&[Source::new("<copy>", to_yaml(object))], &options)?;
    loaded.pods.into_iter().next().ok_or_else(|| Failure::cannot("the copy is no pod"))
}

/// The copy's object, and the name of the container that is debugged.
fn object(found: &Found, args: &DebugArgs, name: &str) -> Result<(Value, String), Failure> {
    let copying = &args.copying;
    let original = found.object();
    let mut spec = original["spec"].clone();
    let mut metadata = json!({"name": name, "namespace": found.pod.namespace});
    for (field, keeps) in [("labels", copying.keep_labels), ("annotations", copying.keep_annotations)] {
        if keeps && original["metadata"][field].is_object() {
            metadata[field] = original["metadata"][field].clone();
        }
    }
    if let Some(fields) = spec.as_object_mut() {
        fields.retain(|field, _| !matches!(field.as_str(), "ephemeralContainers" | "nodeName"));
        fields.retain(|field, _| field != "initContainers" || copying.keep_init_containers);
    }
    // One without processes of its own has nothing to share.
    if spec["hostPID"] != true {
        spec["shareProcessNamespace"] = json!(copying.share_processes);
    }
    for list in ["initContainers", "containers"] {
        let Some(containers) = spec.get_mut(list).and_then(Value::as_array_mut) else { continue };
        containers.iter_mut().for_each(|one| adapt(one, found, copying));
    }
    set_images(&mut spec, &copying.set_image)?;
    let debugged = debugged(&mut spec, args)?;
    Ok((json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}), debugged))
}

/// Takes a container's probes away, and makes its image the one that is in use, which no directory changes the meaning of.
fn adapt(container: &mut Value, found: &Found, copying: &Copying) {
    let made = found.pod.containers.iter().find(|one| container["name"] == one.name);
    if let Some(made) = made {
        container["image"] = json!(made.image);
    }
    let probes = [
        ("livenessProbe", copying.keep_liveness),
        ("readinessProbe", copying.keep_readiness),
        ("startupProbe", copying.keep_startup),
    ];
    if let Some(fields) = container.as_object_mut() {
        fields.retain(|field, _| probes.iter().all(|(probe, keeps)| *keeps || field != probe));
    }
}

fn set_images(spec: &mut Value, images: &[String]) -> Result<(), Failure> {
    for text in images {
        let (name, image) = pair(text, "--set-image")?;
        let lists = ["initContainers", "containers"];
        let mut any = false;
        for list in lists {
            for one in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
                if name == "*" || one["name"] == name {
                    one["image"] = json!(image);
                    any = true;
                }
            }
        }
        if !any {
            return Err(Failure::wrong(format!("--set-image {text}: the pod has no container {name}")));
        }
    }
    Ok(())
}

/// Changes the container that is debugged, or adds it; its name.
fn debugged(spec: &mut Value, args: &DebugArgs) -> Result<String, Failure> {
    let first = spec["containers"][0]["name"].as_str().unwrap_or_default().to_owned();
    let name = match (&args.made.container, &args.made.image) {
        (Some(name), _) => name.clone(),
        // Without an image of its own it is one that is there already.
        (None, None) => first,
        (None, Some(_)) => container::new_name()?,
    };
    let mut asked = container::of_flags(args, &name)?;
    let containers = spec["containers"].as_array_mut();
    let containers = containers.ok_or_else(|| Failure::cannot("the pod has no containers"))?;
    match containers.iter_mut().find(|one| one["name"] == name.as_str()) {
        Some(there) => {
            if !args.command.is_empty() && !args.made.arguments_only {
                there["args"] = Value::Null;
            }
            keep_capabilities(there, &mut asked);
            merge(there, &asked);
            if let Some(fields) = there.as_object_mut() {
                fields.retain(|_, value| !value.is_null());
            }
        }
        None => containers.push(asked),
    }
    Ok(name)
}

/// A profile gives capabilities and takes none away that the container has been given.
fn keep_capabilities(there: &Value, asked: &mut Value) {
    let had = there["securityContext"]["capabilities"]["add"].as_array();
    let gets = asked.pointer_mut("/securityContext/capabilities/add").and_then(Value::as_array_mut);
    if let (Some(had), Some(gets)) = (had, gets) {
        let more: Vec<Value> = had.iter().filter(|one| !gets.contains(one)).cloned().collect();
        gets.extend(more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_set_by_name_or_for_all_and_an_unknown_name_is_an_error() {
        let mut spec = json!({"containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "1"}]});
        let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        set_images(&mut spec, &texts(&["*=2", "b=3"])).unwrap();
        assert_eq!(
            (&spec["containers"][0]["image"], &spec["containers"][1]["image"]),
            (&json!("2"), &json!("3"))
        );
        let error = set_images(&mut spec, &texts(&["c=4"])).unwrap_err();
        assert_eq!(error.message(), "--set-image c=4: the pod has no container c");
    }

    #[test]
    fn a_profile_adds_to_the_capabilities_of_a_container_that_is_there() {
        let there = json!({"securityContext": {"capabilities": {"add": ["NET_RAW"]}}});
        let mut asked = json!({"securityContext": {"capabilities": {"add": ["SYS_PTRACE"]}}});
        keep_capabilities(&there, &mut asked);
        assert_eq!(asked["securityContext"]["capabilities"]["add"], json!(["SYS_PTRACE", "NET_RAW"]));
    }
}
