//! Making the pod's sandbox, and taking it down: volumes, namespaces, network, /etc files.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use netplugin::PortMapping;
use netplugin::cni::Overseer;
use nix::sys::statvfs::{FsFlags, statvfs};
use runtime::launch::StageKind;
use runtime::plan::{CgroupPlan, Identity, NamespaceSet, SandboxPlan, Shm};
use tokio::task::{JoinError, JoinHandle};

use crate::cdi;
use crate::chain;
use crate::clock::monotonic;
use crate::config::Settings;
use crate::etc_files;
use crate::oci::{class_limits, pod_limits, pod_path};
use crate::ownership;
use crate::pod::{Pod, Role};
use crate::report;
use crate::store::{PodDir, StoreError, write_atomic};
use crate::user_ids;
use crate::volumes::{self, Unmade, VolumeError};

use super::devices;
use super::interfaces;
use super::machine::{Event, Failure, Index, Note, SandboxFacts};
use super::naming;
use super::trace::TraceLine;
use super::world::{Message, World};

const SHM_BYTES: u64 = 64 << 20;

/// What the kernel has room for in a hostname.
const KERNEL_HOSTNAME: usize = 64;

/// The first port that needs no right to be listened on.
const UNPRIVILEGED_PORTS: &str = "net.ipv4.ip_unprivileged_port_start";

/// The groups that may send echo requests without any right.
const PING_GROUPS: &str = "net.ipv4.ping_group_range";

/// How many container stages are started ahead: more would only stand in each other's way.
const WARM_STAGES: usize = 4;
/// How many of them before the sandbox is there: the guardian has forked as many.
const EARLY_STAGES: usize = 2;

/// A CNI plugin that runs for longer than this is told of: it may hang.
const SLOW: Duration = Duration::from_secs(1);

/// The plan of a pod's sandbox.
#[must_use]
pub fn plan(pod: &Pod, dir: &PodDir) -> SandboxPlan {
    SandboxPlan {
        pin_dir: dir.namespaces(),
        netns_alias: (!pod.host.network).then(|| netns_alias(pod)),
        new: NamespaceSet {
            net: !pod.host.network,
            ipc: !pod.host.ipc,
            uts: !pod.host.network,
            pid: pod.share_process_namespace,
        },
        users: None,
        hostname: (!pod.host.network).then(|| pod.kernel_hostname().to_owned()),
        domainname: None,
        sysctls: sysctls(pod),
        shm: (!pod.host.ipc).then(|| Shm { path: dir.shm(), size_bytes: SHM_BYTES }),
        cgroup: Some(CgroupPlan {
            path: pod_path(pod),
            resources: pod_limits(pod),
            above: class_limits(pod.qos),
        }),
    }
}

/// The pod's kernel parameters. In a network of its own no port and no ping is anybody else's business, so images that run
/// as a user without rights may serve on port 80, unless the manifest says otherwise: as containerd and docker have it.
fn sysctls(pod: &Pod) -> BTreeMap<String, String> {
    let mut all = pod.security.sysctls.clone();
    if !pod.host.network && may_be_set() {
        let groups = if pod.security.user_namespace { u32::from(u16::MAX) } else { i32::MAX.unsigned_abs() };
        all.entry(UNPRIVILEGED_PORTS.to_owned()).or_insert_with(|| "0".to_owned());
        all.entry(PING_GROUPS.to_owned()).or_insert_with(|| format!("0 {groups}"));
    }
    all
}

/// Whether this host lets anybody set kernel parameters: a container of few privileges has them read-only, and pods there do
/// without those that they have not asked for.
fn may_be_set() -> bool {
    statvfs("/proc/sys").is_ok_and(|mount| !mount.flags().contains(FsFlags::ST_RDONLY))
}

/// Where `ip netns` finds the pod: `NAMESPACE_NAME`, with a piece of the uid where another podbox of this host
/// has a pod of that name.
fn netns_alias(pod: &Pod) -> PathBuf {
    let [plain, marked] = netns_aliases(pod);
    if marked.exists() || plain.exists() { marked } else { plain }
}

fn netns_aliases(pod: &Pod) -> [PathBuf; 2] {
    let plain = Path::new("/run/netns").join(format!("{}_{}", pod.namespace, pod.name));
    let marked = plain.with_file_name(format!("{}_{}.{}", pod.namespace, pod.name, &pod.uid[..8]));
    [plain, marked]
}

/// Takes an alias, which is written down before: a podbox that starts a pod of the same name at the same time gets
/// the other one.
fn claim_alias(pod: &Pod, dir: &PodDir) -> Result<PathBuf, StoreError> {
    let [plain, marked] = netns_aliases(pod);
    write_alias(dir, &plain)?;
    crate::store::make_parent(&plain)?;
    match fs::File::create_new(&plain) {
        Ok(_) => return Ok(plain),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(source) => return Err(StoreError { action: "create", path: plain, source }),
    }
    write_alias(dir, &marked)?;
    Ok(marked)
}

/// The host ports that lead to the pod: to one in the host's network nothing has to.
#[must_use]
pub fn port_mappings(pod: &Pod) -> Vec<PortMapping> {
    if pod.host.network { Vec::new() } else { host_ports(pod) }
}

/// The host ports that are the pod's and nobody else's.
pub(super) fn host_ports(pod: &Pod) -> Vec<PortMapping> {
    // Init containers come and go; only what stays is reached from outside, as by a kubelet.
    let stay = pod.containers.iter().filter(|container| container.role != Role::Init);
    let ports = stay.flat_map(|container| &container.ports);
    ports
        .filter_map(|port| {
            Some(PortMapping {
                host_ip: port.host_ip,
                host_port: port.host_port?,
                container_port: port.container_port,
                protocol: port.protocol.on_the_wire(),
            })
        })
        .collect()
}

/// Makes the sandbox and tells the machine. The attempts are those that begin as soon as it is there.
pub(super) async fn make(world: Arc<World>, attempts: Vec<(Index, u32)>) {
    let event = match try_make(&world, &attempts).await {
        Ok(facts) => Event::SandboxReady(facts),
        Err(failure) => {
            world.warm.clear();
            world.ready.clear();
            take_down_aside(&world, None).await;
            Event::SandboxFailed(failure)
        }
    };
    world.event(event);
}

async fn try_make(world: &Arc<World>, attempts: &[(Index, u32)]) -> Result<SandboxFacts, Failure> {
    let failed = |message: String| Failure {
        reason: "FailedCreatePodSandBox".to_owned(),
        message: format!("Failed to create pod sandbox: {message}"),
    };
    let (alias, spaces, chain) = (alias_file(&world.dir), world.dir.namespaces(), world.dir.chain());
    let remains = [&alias, &spaces, &chain, world.dir.layers()];
    if remains.into_iter().any(|path| path.exists()) {
        // Whoever began before was killed over it, or the machine was switched off. The alias above all would be taken
        // for another podbox's.
        let errors = take_down_aside(world, None).await;
        if !errors.is_empty() {
            return Err(failed(format!("remove the remains of the last attempt: {}", errors.join("; "))));
        }
    }
    let pod = world.pod();
    check_hostname(&pod).map_err(failed)?;
    // As in a kubelet, which makes a sandbox when all volumes are there. What is always there is made meanwhile.
    let early = volumes::may_be_missing(&pod);
    if early {
        prepare_volumes(world)?;
    }
    devices::lease(world, &pod)?;
    let mut plan = plan(&pod, &world.dir);
    if let Some(alias) = &mut plan.netns_alias {
        *alias = claim_alias(&pod, &world.dir).map_err(|error| failed(report::chain(&error)))?;
    }
    if pod.security.user_namespace {
        let pool = world.settings.pods.user_namespace_ids;
        plan.users = Some(user_ids::lease(&world.dir, &pod.uid, pool).map_err(failed)?);
    }
    let mut stage = world
        .warm
        .take(&world.exe, StageKind::Sandbox)
        .map_err(|error| failed(format!("start the sandbox stage: {error}")))?;
    let given = stage.give_with(&plan, &world.lock).await;
    given.map_err(|error| failed(format!("give the sandbox stage its plan: {error}")))?;
    // The stage works on the other processor meanwhile, where more than one other would be in its way.
    let waiting = attempts.len().clamp(1, WARM_STAGES);
    world.warm.be(&world.exe, (StageKind::Container, waiting.min(EARLY_STAGES)));
    let volumes = if early { Ok(()) } else { prepare_volumes(world) };
    let expected = naming::addresses(world);
    let etc = prepare_etc(world, &expected);
    attempts.iter().for_each(|(index, attempt)| world.ready.add(world, *index, *attempt));
    let ready = stage.ready().await;
    // It has said all; its end is nobody's concern.
    drop(stage);
    let ready = ready.map_err(|error| failed(report::chain(&error)))?;
    volumes?;
    world.send(Message::Trace(lines("sandbox", ready.trace.iter().map(|t| (&t.name, &t.command, t.micros)))));
    for note in ready.notes {
        tell(world, "SandboxDegraded", note);
    }
    world.warm.be(&world.exe, (StageKind::Container, waiting));
    let early = naming::prepare(world);
    let ips = join_network(world).await.map_err(failed)?;
    // It may be another network than before.
    world.mending.notify_one();
    let answering = naming::begin(world, &ips, early).await;
    let etc = match answering == expected {
        true => etc,
        // The rest of them, or the host's own.
        false => etc.and_then(|()| write_resolver(world, &answering)),
    };
    if answering.is_empty() && !expected.is_empty() {
        let message = format!(
            "pod: \"{}\". kubelet does not have ClusterDNS IP configured and cannot create Pod using \"{:?}\" policy. Falling back to \"Default\" policy.",
            world.pod_name(),
            pod.dns.policy
        );
        tell(world, "MissingClusterDNS", message);
    }
    etc.and_then(|()| write_hosts(world, &ips)).map_err(|error| failed(report::chain(&error)))?;
    Ok(SandboxFacts { ips, reaper: ready.process })
}

/// Only a whole name can be too long: others are cut.
fn check_hostname(pod: &Pod) -> Result<(), String> {
    let name = pod.kernel_hostname();
    if name.len() <= KERNEL_HOSTNAME {
        return Ok(());
    }
    Err(format!(
        "failed to construct FQDN from pod hostname and cluster domain, FQDN {name} is too long ({KERNEL_HOSTNAME} characters is the max, {} characters requested)",
        name.len()
    ))
}

fn prepare_volumes(world: &World) -> Result<(), Failure> {
    let pod = world.pod();
    let place = world.volumes(&pod);
    volumes::prepare(&place).map_err(|failed| unmounted(world, &failed))?;
    ownership::apply_to_all(&place).map_err(|(name, error)| Failure {
        reason: "FailedMount".to_owned(),
        message: format!(
            "MountVolume.SetUp failed for volume \"{name}\" : applyFSGroup failed for vol {name}: {}",
            report::chain(&error)
        ),
    })
}

/// A claim that is missing keeps a scheduler from sending the pod anywhere; a volume, the kubelet from starting it.
/// Volumes beyond the first are told here: the failure has room for one.
fn unmounted(world: &World, failed: &Unmade) -> Failure {
    let failure = |(name, error): &(String, VolumeError)| match error {
        VolumeError::Unschedulable(_) => {
            Failure { reason: "FailedScheduling".to_owned(), message: report::chain(error) }
        }
        _ => Failure { reason: "FailedMount".to_owned(), message: volumes::unmounted(name, error) },
    };
    let (first, others) = failed;
    others.iter().map(failure).for_each(|other| tell(world, &other.reason, other.message));
    failure(first)
}

/// Plugins take their time, and the supervisor has other things to do. It tells of one that takes long.
async fn told_of<T>(world: &World, mut work: JoinHandle<T>) -> Result<T, JoinError> {
    let mut told = None;
    loop {
        if let Ok(done) = tokio::time::timeout(SLOW / 4, &mut work).await {
            return done;
        }
        let slow = world.overseer.under_way(SLOW).filter(|slow| told.as_ref() != Some(slow));
        if let Some(slow) = slow {
            tell(world, "NetworkNotReady", format!("{slow} takes long"));
            told = Some(slow);
        }
    }
}

async fn attach_by_chain(world: &Arc<World>, settings: &chain::ChainSettings) -> Result<Vec<IpAddr>, String> {
    let (settings, pod, own) = (settings.clone(), world.pod(), Arc::clone(world));
    let work = move || chain::attach(&settings, &pod, (&own.dir, &own.overseer), &port_mappings(&pod));
    let added = told_of(world, tokio::task::spawn_blocking(work)).await;
    if world.settings.store.owed_dir().exists() {
        // In nobody's way. If this pod lacks what others owe, it is there when the sandbox is tried again.
        let store = world.settings.store.clone();
        tokio::task::spawn_blocking(move || chain::owed::settle(&store));
    }
    let added = added.map_err(|error| error.to_string())??;
    world.send(Message::Trace(lines("network", added.trace.iter().map(|t| (&t.name, &t.command, t.micros)))));
    Ok(added.addresses)
}

/// Returns the pod's addresses.
async fn join_network(world: &Arc<World>) -> Result<Vec<IpAddr>, String> {
    let pod = world.pod();
    let ports = host_ports(&pod);
    let admitted = interfaces::admit(world, &ports)?;
    if pod.host.network {
        interfaces::reserve(world, &ports)?;
        return Ok(world.host_ips.clone());
    }
    let Some(settings) = &world.settings.chain else { return interfaces::attach(world) };
    interfaces::reserve(world, &ports)?;
    drop(admitted);
    attach_by_chain(world, settings).await
}

pub(super) fn tell(world: &World, reason: &str, message: String) {
    let note = Note { warning: true, reason: reason.to_owned(), message, container: None };
    world.event(Event::Told(note));
}

pub(super) fn lines<'a>(
    actor: &str,
    steps: impl Iterator<Item = (&'a String, &'a String, u64)>,
) -> Vec<TraceLine> {
    let at = monotonic();
    steps
        .map(|(step, command, micros)| TraceLine {
            at,
            actor: actor.to_owned(),
            step: step.clone(),
            command: command.clone(),
            micros,
        })
        .collect()
}

/// What containers see as hostname and resolv.conf: known before the pod has addresses.
fn prepare_etc(world: &World, servers: &[IpAddr]) -> Result<(), StoreError> {
    let (etc, pod) = (world.dir.etc(), world.pod());
    crate::store::make_dir(&etc)?;
    let hostname = if pod.host.network { &world.node_name } else { pod.kernel_hostname() };
    write_atomic(&etc.join("hostname"), format!("{hostname}\n").as_bytes())?;
    write_resolver(world, servers)
}

/// Without a server of the cluster it is the host's.
fn write_resolver(world: &World, servers: &[IpAddr]) -> Result<(), StoreError> {
    let pod = world.pod();
    let cluster = etc_files::Cluster { servers, namespace: &pod.namespace };
    let (resolv, warnings) = etc_files::resolv_conf(&pod.dns, &cluster, &of_the_host("/etc/resolv.conf"));
    for warning in warnings {
        tell(world, "DNSConfigForming", warning);
    }
    write_atomic(&world.dir.etc().join("resolv.conf"), resolv.as_bytes())
}

fn write_hosts(world: &World, ips: &[IpAddr]) -> Result<(), StoreError> {
    let pod = world.pod();
    let host_hosts = if pod.host.network { of_the_host("/etc/hosts") } else { String::new() };
    let hosts = etc_files::hosts(&pod, ips, &host_hosts);
    write_atomic(&world.dir.etc().join("hosts"), hosts.as_bytes())
}

fn of_the_host(file: &str) -> String {
    fs::read_to_string(file).unwrap_or_default()
}

/// The alias depends on what else was on the host when it was chosen, so it is written down.
fn write_alias(dir: &PodDir, alias: &Path) -> Result<(), StoreError> {
    write_atomic(&alias_file(dir), alias.as_os_str().as_encoded_bytes())
}

fn alias_file(dir: &PodDir) -> PathBuf {
    dir.run().join("netns-alias")
}

/// Takes down whatever there is of the sandbox: all of it, half of it or nothing. Errors are collected.
pub(super) fn take_down(world: &World, reaper: Option<Identity>) -> Vec<String> {
    world.naming.stop();
    take_down_pod(&world.pod(), &world.dir, (&world.settings, &world.overseer), reaper)
}

/// As [`take_down`]. Plugins of a chain may take long over it, and the supervisor has other things to do.
pub(super) async fn take_down_aside(world: &Arc<World>, reaper: Option<Identity>) -> Vec<String> {
    if world.settings.chain.is_none() && !world.dir.chain().exists() {
        return take_down(world, reaper);
    }
    let own = Arc::clone(world);
    let done = told_of(world, tokio::task::spawn_blocking(move || take_down(&own, reaper))).await;
    done.unwrap_or_else(|error| vec![error.to_string()])
}

/// As [`take_down`], for a pod that has no supervisor.
pub fn take_down_pod(
    pod: &Pod,
    dir: &PodDir,
    (settings, overseer): (&Settings, &Overseer),
    reaper: Option<Identity>,
) -> Vec<String> {
    let mut plan = plan(pod, dir);
    plan.netns_alias = fs::read_to_string(alias_file(dir)).ok().map(PathBuf::from);
    let mut errors = interfaces::detach(settings, pod);
    if !pod.host.network {
        errors.extend(chain::detach(dir, overseer));
    }
    if cdi::is_used(pod) {
        let released = dir.device_leases().release(&pod.uid);
        errors.extend(released.err().map(|error| format!("give devices back: {error}")));
    }
    errors.extend(runtime::sandbox::remove(&plan, reaper).iter().map(|error| report::chain(error)));
    if pod.security.user_namespace {
        let given_back = user_ids::release(dir, &pod.uid);
        errors.extend(given_back.err().map(|error| format!("give back ids: {error}")));
    }
    for path in
        [dir.layers(), &dir.containers(), &dir.etc(), &dir.namespaces(), &dir.shm(), &dir.network_status()]
    {
        errors.extend(crate::store::remove(path).err().map(|error| report::chain(&error)));
    }
    errors
}
