//! `podbox resize`: a container gets other limits and requests while it runs, as by the API server's resize subresource.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::{Value, json};

use crate::config::duration;
use crate::manifest::{self, LoadedPod, Options, Source};
use crate::pod::{Pod, Quantity};

use super::containers::{Containers, status};
use super::pods::{self, Care, Found};
use super::watch::{Watch, Woken};
use super::{Failure, Session, completion, names, out};

/// Arguments of `resize`.
#[derive(Debug, Args)]
pub(super) struct ResizeArgs {
    /// The pod
    #[arg(add = completion::pod())]
    pod: String,
    /// The container; the pod's default one if none
    #[arg(long, short, add = completion::container())]
    container: Option<String>,
    #[command(flatten)]
    amounts: Amounts,
    /// Namespace
    #[arg(long, short, default_value = "default", add = completion::namespace())]
    namespace: String,
    /// How long to wait until it has them; 0 does not wait
    #[arg(long, value_parser = duration, default_value = "60s", value_name = "TIME")]
    timeout: Duration,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
struct Amounts {
    /// What it is guaranteed of the processors: 500m, 2
    #[arg(long, value_name = "CPU")]
    cpu_request: Option<String>,
    /// What it may have of the processors
    #[arg(long, value_name = "CPU")]
    cpu_limit: Option<String>,
    /// What it is expected to need of the memory: 64Mi
    #[arg(long, value_name = "BYTES")]
    memory_request: Option<String>,
    /// What it may have of the memory
    #[arg(long, value_name = "BYTES")]
    memory_limit: Option<String>,
}

/// Runs the command.
pub(super) fn run(session: &Session, args: &ResizeArgs) -> Result<ExitCode, Failure> {
    names::require_root("resize a pod")?;
    let (namespace, name) = names::pod_name(&args.pod, &args.namespace);
    let found = pods::find(session, namespace, name)?;
    found.readopt_if_abandoned()?;
    if found.care() == Care::Finished {
        return Err(Failure::pod(format!("resize pod {}: the pod is over", found.name())));
    }
    let before = found.object();
    let containers = Containers::of(&before);
    let container = containers.choose(args.container.as_deref())?;
    let (pod, object) = resized(&found, container, &args.amounts)?;
    let refused = |why: String| Failure::wrong(format!("resize pod {}: {why}", found.name()));
    found.update(&pod, &object).map_err(refused)?;
    if !args.timeout.is_zero() {
        let ran = runs(&before, container);
        until_done(&found, (container, ran), Instant::now() + args.timeout)?;
    }
    if !session.quiet {
        out::line(format_args!("pod {} resized", found.name()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The pod as it is to be: its object with other amounts, checked and defaulted as any manifest.
fn resized(found: &Found, container: &str, amounts: &Amounts) -> Result<(Pod, Value), Failure> {
    let text = std::fs::read(found.dir.object()).map_err(|error| Failure::host(&error))?;
    let mut object: Value = serde_json::from_slice(&text).map_err(|error| Failure::host(&error))?;
    let lists = ["containers", "initContainers"];
    let place = lists.into_iter().find_map(|list| {
        let all = object["spec"][list].as_array()?;
        Some((list, all.iter().position(|one| one["name"] == container)?))
    });
    if let Some((list, index)) = place {
        set(&mut object["spec"][list][index], amounts)?;
    }
    let loaded = reloaded(&object)?;
    let mut pod = found.pod.clone();
    // Only this may change: paths of images, for one, would be read from another directory now.
    for (container, new) in pod.containers.iter_mut().zip(&loaded.pod.containers) {
        container.resources = new.resources;
    }
    pod.qos = loaded.pod.qos;
    pod.manifest_hash = loaded.pod.manifest_hash;
    Ok((pod, loaded.object))
}

fn set(container: &mut Value, amounts: &Amounts) -> Result<(), Failure> {
    let wanted = [
        ("requests", "cpu", &amounts.cpu_request),
        ("limits", "cpu", &amounts.cpu_limit),
        ("requests", "memory", &amounts.memory_request),
        ("limits", "memory", &amounts.memory_limit),
    ];
    for (map, name, amount) in wanted {
        let Some(amount) = amount else { continue };
        amount.parse::<Quantity>().map_err(|error| Failure::wrong(format!("{amount}: {error}")))?;
        container["resources"][map][name] = json!(amount);
    }
    Ok(())
}

fn reloaded(object: &Value) -> Result<LoadedPod, Failure> {
    let source = Source::new("the pod", object.to_string());
    match manifest::load(&[source], &Options::default()) {
        Ok(mut loaded) if loaded.pods.len() == 1 => Ok(loaded.pods.remove(0)),
        Ok(_) => Err(Failure::cannot("the pod's object is not one Pod")),
        Err(mistakes) => {
            let said =
                mistakes.0.iter().map(|mistake| format!("{}: {}", mistake.field_path, mistake.message));
            Err(Failure::wrong(said.collect::<Vec<_>>().join("; ")))
        }
    }
}

fn runs(object: &Value, container: &str) -> bool {
    status(object, container)["state"]["running"].is_object()
}

/// Waits until no limit is being changed any more, and a container that ran runs again.
fn until_done(found: &Found, (container, ran): (&str, bool), deadline: Instant) -> Result<(), Failure> {
    let watch = Watch::new()?;
    loop {
        watch.add_nearest(found.dir.run());
        let object = found.object();
        let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
        let resizing = conditions.into_iter().find(|one| one["type"] == "PodResizeInProgress");
        if resizing.is_none() && (!ran || runs(&object, container)) {
            return Ok(());
        }
        let name = found.name();
        if let Some(why) = resizing.and_then(|resizing| resizing["message"].as_str()) {
            return Err(Failure::pod(format!("resize pod {name}: {why}")).hint("it is tried again every 10s"));
        }
        if watch.wait(None, Some(deadline))? == Woken::TimedOut || Instant::now() >= deadline {
            return Err(Failure::pod(format!("pod {name} has not been resized yet")));
        }
    }
}
