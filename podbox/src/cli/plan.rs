//! `podbox plan`: what `up` would do, as commands a reader could type. Touches nothing.

use std::fmt::Write;
use std::process::ExitCode;

use clap::Args;
use netplugin::Balance;
use runtime::plan::{IdRange, SandboxPlan};
use runtime::recipe;
use serde_json::Value;

use crate::chain;
use crate::confinement;
use crate::environment::{self, Known};
use crate::image::{Image, ImageConfig, Store as ImageStore};
use crate::node;
use crate::oci::Surroundings;
use crate::pod::{Container, Pod, Role};
use crate::services::{self, Catalogue, Outside, Service, ServiceKind};
use crate::store::PodDir;
use crate::subpath;
use crate::supervisor::{container_plan, interfaces, naming, sandbox, surroundings_of};
use crate::user_ids;

use super::strictness::ValidateFlag;
use super::up::objects::{planned_outside, planned_services};
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
    let services = planned_services(session, &loaded.objects)?;
    if !services.is_empty() {
        let pods: Vec<&Pod> = loaded.pods.iter().map(|loaded| &loaded.pod).collect();
        let outside = planned_outside(session, &loaded.objects);
        out::print(render_services(session, &services, (&pods, outside)))?;
    }
    for mut loaded in loaded.pods {
        loaded.pod.uid = UID.to_owned();
        out::print(render(session, &loaded.pod)?)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What Services get, and the tables that lead to who is behind them now. Every pod has the first of the tables in its own
/// network, or gets it; the host has the other.
fn render_services(session: &Session, objects: &[Value], (pods, outside): (&[&Pod], Outside)) -> String {
    let settings = &session.settings;
    let known = Catalogue::read(&settings.store);
    let planned = objects.iter().filter_map(Service::of);
    let planned = planned.map(|service| ((service.namespace.clone(), service.name.clone()), service));
    let services = std::sync::Arc::new(planned.collect());
    let catalogue = Catalogue { services, outside: std::sync::Arc::new(outside), ..known };
    let mut text = String::new();
    for service in catalogue.services.values() {
        let _ = writeln!(text, "\n## service {}/{}", service.namespace, service.name);
        given(&mut text, service);
        let running = catalogue.backends_of(service).filter(|backend| !backend.is_outside);
        let running = running.map(|backend| &backend.name);
        let of_manifest = pods.iter().filter(|pod| pod.namespace == service.namespace);
        let of_manifest = of_manifest.filter(|pod| service.selects(&pod.labels)).map(|pod| &pod.name);
        let mut behind: Vec<&String> = running.chain(of_manifest).collect();
        behind.sort();
        behind.dedup();
        for pod in behind {
            let _ = writeln!(text, "# behind it while it is ready: pod {}/{pod}", service.namespace);
        }
        for (address, backend) in
            catalogue.outside_of(service).flat_map(|one| one.ips.iter().map(move |ip| (ip, one)))
        {
            let how = if backend.ready { "" } else { ", but not ready" };
            let _ = writeln!(text, "# behind it{how}: {address} of {}", backend.name);
        }
    }
    let ranges = settings.service_ranges();
    let of_host = services::balance(&catalogue, &ranges);
    if of_host.is_empty() {
        return text;
    }
    let of_pods = Balance { node_ports: Vec::new(), ..of_host.clone() };
    let steps = of_pods.describe(None);
    section(&mut text, "services, in each pod's network", steps.iter().map(|s| (&*s.name, &*s.command)));
    let mut steps = of_host.describe(Some(&settings.network.table()));
    steps.push(netplugin::describe_leading(&settings.network, &ranges));
    section(&mut text, "services, on the host", steps.iter().map(|s| (&*s.name, &*s.command)));
    text.push('\n');
    text
}

/// The addresses and ports of the host that a Service is given.
fn given(text: &mut String, service: &Service) {
    let addresses: Vec<String> = service.cluster_ips.iter().map(ToString::to_string).collect();
    let _ = match &service.kind {
        ServiceKind::ExternalName(name) => writeln!(text, "# another name for {name}"),
        _ if addresses.is_empty() => writeln!(text, "# no address: its name stands for those of its pods"),
        _ => writeln!(text, "# addresses: {}", addresses.join(", ")),
    };
    for port in &service.ports {
        if let Some(node_port) = port.node_port {
            let _ = writeln!(text, "# port {}/{} of the host", node_port, port.protocol.on_the_wire());
        }
    }
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
