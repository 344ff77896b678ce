//! `podbox plan`: what `up` would do, as commands a reader could type. Touches nothing.

use std::fmt::Write;
use std::process::ExitCode;

use clap::Args;
use runtime::plan::{IdRange, SandboxPlan};
use runtime::recipe;

use crate::chain;
use crate::confinement;
use crate::environment::{self, Known};
use crate::image::{Image, ImageConfig, Store as ImageStore};
use crate::node;
use crate::oci::Surroundings;
use crate::pod::{Container, Pod, Role};
use crate::store::PodDir;
use crate::subpath;
use crate::supervisor::{container_plan, interfaces, naming, sandbox, surroundings_of};
use crate::user_ids;

use super::strictness::ValidateFlag;
use super::{Failure, Session, names, out, removal};

/// Arguments of `plan`.
#[derive(Debug, Args)]
pub(super) struct PlanArgs {
    /// Manifests: files, directories, or - for standard input
    #[arg(required = true, value_name = "FILE|DIR|-")]
    files: Vec<String>,
    #[command(flatten)]
    validate: ValidateFlag,
}

/// Stands for the random uid that a pod gets at `up`.
const UID: &str = "00000000-0000-4000-8000-000000000000";

/// Runs the command.
pub(super) fn run(session: &Session, args: &PlanArgs) -> Result<ExitCode, Failure> {
    let loaded = names::load_for(
        &session.settings,
        &args.files,
        args.validate.strictness(),
        &session.settings.pods.allowed_unsafe_sysctls,
    )?;
    for object in &loaded.objects {
        let what = removal::shown(object.kind, &object.namespace, &object.name);
        let dir = session.settings.store.objects_of(object.kind, &object.namespace);
        out::line(format_args!("# {what}: stored in {}", dir.display()))?;
    }
    for mut loaded in loaded.pods {
        loaded.pod.uid = UID.to_owned();
        out::print(render(session, &loaded.pod)?)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn render(session: &Session, pod: &Pod) -> Result<String, Failure> {
    let dir = session.settings.store.pod(&pod.uid);
    let mut text = format!("# pod {}/{}\n", pod.namespace, pod.name);
    let sandbox = SandboxPlan { users: users(session, pod), ..sandbox::plan(pod, &dir) };
    section(&mut text, "sandbox", recipe::sandbox_steps(&sandbox).iter().map(|s| (&*s.name, &*s.command)));
    if !pod.host.network {
        let netns = dir.namespaces().join("net");
        let steps = match &session.settings.chain {
            Some(chain) => chain::describe(chain, pod, &dir, &sandbox::port_mappings(pod)),
            None => interfaces::describe(&session.settings, pod, &netns),
        };
        let steps = steps.map_err(Failure::wrong)?;
        section(&mut text, "network", steps.iter().map(|s| (&*s.name, &*s.command)));
        let steps = naming::describe(&session.settings, pod, &netns);
        if !steps.is_empty() {
            section(&mut text, "names", steps.iter().map(|s| (&*s.name, &*s.command)));
        }
    }
    for container in &pod.containers {
        let plan = container_steps(session, pod, container, &dir)?;
        section(
            &mut text,
            &format!("{} {}", word(container.role), container.name),
            plan.iter().map(|s| (&*s.name, &*s.command)),
        );
    }
    Ok(text)
}

fn word(role: Role) -> &'static str {
    match role {
        Role::Init => "init container",
        Role::Sidecar => "sidecar",
        Role::Main => "container",
        Role::Ephemeral => "ephemeral container",
    }
}

/// The ids that a pod with a user namespace would get if it were the only one.
fn users(session: &Session, pod: &Pod) -> Option<IdRange> {
    let first = session.settings.pods.user_namespace_ids.bases().next();
    first.filter(|_| pod.security.user_namespace).map(|first| IdRange { first, count: user_ids::COUNT })
}

fn container_steps(
    session: &Session,
    pod: &Pod,
    container: &Container,
    dir: &PodDir,
) -> Result<Vec<recipe::Described>, Failure> {
    let image = image(session, container);
    let attempt = dir.attempt(&container.name, 0);
    let host_devices = if container.security.privileged { node::devices() } else { Vec::new() };
    let profiles = &session.settings.pods.seccomp_profiles;
    let mut around = Surroundings {
        node_name: node::name(),
        host_devices,
        seccomp: confinement::seccomp_profile(&container.security, profiles).map_err(Failure::pod)?,
        users: users(session, pod),
        ..surroundings_of(dir)
    };
    // What refers to objects that are not there yet stays as it is written.
    let known = Known::read(&session.settings.store, pod, container, |_| None).unwrap_or_default();
    around.environment = environment::own(pod, container, &around, &known).unwrap_or_default();
    around.volumes = subpath::planned(pod, container, dir, &around.environment);
    let plan = container_plan(pod, container, &image, (0, &attempt), &around).map_err(|error| {
        Failure::pod(format!(
            "container {} of pod {}/{}: CreateContainerConfigError: {error}",
            container.name, pod.namespace, pod.name
        ))
    })?;
    Ok(recipe::container_steps(&plan))
}

/// The image if it is here; otherwise one that stands for what a pull would bring.
fn image(session: &Session, container: &Container) -> Image {
    let store = ImageStore::open(&session.settings.store.images());
    let present = store.ok().and_then(|store| store.lookup(&container.image).ok().flatten());
    present.unwrap_or_else(|| Image {
        reference: container.image.clone(),
        layers: vec![format!("LAYERS-OF({})", container.image).into()],
        config: ImageConfig { cmd: vec!["COMMAND-OF-THE-IMAGE".to_owned()], ..ImageConfig::default() },
        id: String::new(),
        repo_digest: None,
    })
}

fn section<'a>(text: &mut String, title: &str, steps: impl Iterator<Item = (&'a str, &'a str)>) {
    let _ = writeln!(text, "\n## {title}");
    for (name, command) in steps {
        let _ = writeln!(text, "# {name}");
        if !command.is_empty() {
            let _ = writeln!(text, "{command}");
        }
    }
}
