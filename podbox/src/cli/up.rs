//! `podbox up`: start the pods of a manifest.

use std::fs;
use std::io::{self, PipeReader, Read};
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use k8s_openapi::api::core::v1::{ContainerStatus, PodStatus};

use crate::config::duration;
use crate::context::Context;
use crate::events;
use crate::manifest::LoadedPod;
use crate::pod::PullPolicy;
use crate::report;
use crate::store::{ClaimError, PodDir, StoreError, is_locked, make_dir, write_atomic};

use super::follow::{self, Ended};
use super::pods::{self, Care, Found};
use super::watch::{Watch, Woken};
use super::{Failure, Session, names, out};

/// Arguments of `up`.
#[derive(Debug, Args)]
pub(super) struct UpArgs {
    /// Manifests: files, directories, or - for standard input
    #[arg(required_unless_present_any = ["all", "filename"], value_name = "FILE|DIR|-")]
    files: Vec<String>,
    /// The same, for hands that are used to it
    #[arg(long, short = 'f', value_name = "FILE|DIR|-")]
    filename: Vec<String>,
    /// Start again what ran before the last boot
    #[arg(long, conflicts_with_all = ["files", "filename"])]
    all: bool,
    /// Return when the pods are up, and let them run
    #[arg(long, short)]
    detach: bool,
    /// What to wait for
    #[arg(long, value_enum, default_value_t = WaitFor::Running)]
    wait: WaitFor,
    /// How long to wait
    #[arg(long, value_parser = duration, default_value = "60s", value_name = "TIME")]
    timeout: Duration,
    /// With --wait ready: a pod must have been ready for so long
    #[arg(long, value_parser = duration, default_value = "0s", hide_default_value = true, value_name = "TIME")]
    min_ready: Duration,
    /// Replace running pods whose manifest has changed
    #[arg(long)]
    replace: bool,
    /// When to pull images, whatever the manifest says
    #[arg(long, value_enum, value_name = "POLICY")]
    pull: Option<Pull>,
    /// Print the steps that were taken
    #[arg(long)]
    trace: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum WaitFor {
    /// Nothing
    None,
    /// Every container has been started
    Running,
    /// Every pod is ready
    Ready,
    /// Every pod has ended
    Complete,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Pull {
    Always,
    Missing,
    Never,
}

/// What became of one pod of the manifest.
enum Start {
    /// Started by this command: its guardian, and the bell that tells of every change of its status.
    Fresh(Found, runtime::process::Process, PipeReader),
    Unchanged(Found),
}

impl Start {
    fn found(&self) -> &Found {
        match self {
            Start::Fresh(found, ..) | Start::Unchanged(found) => found,
        }
    }
}

/// Runs the command.
pub(super) fn run(session: &Session, args: &UpArgs) -> Result<ExitCode, Failure> {
    if !args.min_ready.is_zero() && args.wait != WaitFor::Ready {
        return Err(Failure::wrong("--min-ready goes with --wait ready only"));
    }
    let files = [args.files.as_slice(), &args.filename].concat();
    let loaded = if args.all { Vec::new() } else { names::load(&files)?.pods };
    names::require_root("start a pod")?;
    loaded.iter().try_for_each(refuse_unsafe_sysctls)?;
    let mut watch = Watch::new()?;
    watch.catch_interrupts()?;
    let deadline = Instant::now() + args.timeout;
    let mut started = Vec::new();
    let result = start_all(session, args, loaded, &mut started)
        .and_then(|()| wait_all(args, &watch, &started, deadline));
    let waited = match result {
        Ok(waited) => waited,
        Err(failure) => {
            undo(session, &started);
            return Err(failure);
        }
    };
    if args.trace {
        for start in &started {
            out::print(super::trace::render(start.found()))?;
        }
    }
    if waited == Waited::Interrupted {
        undo(session, &started);
        return Ok(ExitCode::from(130));
    }
    if args.detach || args.wait == WaitFor::Complete {
        say(session, &started)?;
        return Ok(ExitCode::SUCCESS);
    }
    let founds: Vec<&Found> = started.iter().map(Start::found).collect();
    founds.iter().for_each(|found| watch.add(found.dir.run()));
    match follow::until_ended(&mut watch, &founds)? {
        Ended::Interrupted => {
            if !session.quiet {
                anstream::eprintln!("stopping (Ctrl-C again leaves the pods running)");
            }
            take_down(session, &founds)?;
            Ok(ExitCode::SUCCESS)
        }
        Ended::ByThemselves(code) => Ok(ExitCode::from(code)),
    }
}

fn say(session: &Session, started: &[Start]) -> Result<(), Failure> {
    for start in started.iter().filter(|_| !session.quiet) {
        match start {
            Start::Fresh(found, ..) => out::line(format_args!("pod {} up", found.name()))?,
            Start::Unchanged(found) => out::line(format_args!("pod {} unchanged", found.name()))?,
        }
    }
    Ok(())
}

fn start_all(
    session: &Session,
    args: &UpArgs,
    loaded: Vec<LoadedPod>,
    started: &mut Vec<Start>,
) -> Result<(), Failure> {
    for mut pod in loaded {
        if let Some(pull) = args.pull {
            for container in &mut pod.pod.containers {
                container.pull_policy = match pull {
                    Pull::Always => PullPolicy::Always,
                    Pull::Missing => PullPolicy::IfNotPresent,
                    Pull::Never => PullPolicy::Never,
                };
            }
        }
        started.push(start(session, args, pod)?);
    }
    if args.all {
        for uid in session.settings.store.stored_uids() {
            started.extend(start_again(session, &uid)?);
        }
    }
    Ok(())
}

/// Starts a pod whose run directory went with the last boot; `None` if there is nothing to start.
fn start_again(session: &Session, uid: &str) -> Result<Option<Start>, Failure> {
    let store = &session.settings.store;
    let Some(found) = pods::read(store, uid) else { return Ok(None) };
    if found.dir.run().exists() || found.dir.finished().exists() {
        return Ok(None);
    }
    match store.claim(&found.pod.namespace, &found.pod.name, uid) {
        Ok(()) => {}
        Err(ClaimError::Taken { .. }) => {
            anstream::eprintln!(
                "warning: the name of pod {} is taken by another one; not started",
                found.name()
            );
            return Ok(None);
        }
        Err(ClaimError::Store(error)) => return Err(Failure::host(&error)),
    }
    let context = Context { uid: uid.to_owned(), settings: session.settings.clone() };
    make_dir(found.dir.run())
        .and_then(|()| context.write(&found.dir))
        .map_err(|error| Failure::host(&error))?;
    let (bell, ring) = io::pipe().map_err(|error| Failure::host(&error))?;
    let guardian = pods::start_guardian(&found.dir, ring.into())?;
    Ok(Some(Start::Fresh(found, guardian, bell)))
}

/// Kernel settings that a kubelet allows without being told to: they cannot harm other pods or the host.
const SAFE_SYSCTLS: [&str; 12] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
];

fn refuse_unsafe_sysctls(loaded: &LoadedPod) -> Result<(), Failure> {
    let pod = &loaded.pod;
    match pod.security.sysctls.keys().find(|name| !SAFE_SYSCTLS.contains(&name.as_str())) {
        None => Ok(()),
        Some(name) => Err(Failure::pod(format!(
            "pod {}/{}: SysctlForbidden: forbidden sysctl: \"{name}\" not allowlisted",
            pod.namespace, pod.name
        ))),
    }
}

fn start(session: &Session, args: &UpArgs, mut loaded: LoadedPod) -> Result<Start, Failure> {
    let store = &session.settings.store;
    loaded.pod.uid = new_uid()?;
    let (namespace, name) = (loaded.pod.namespace.clone(), loaded.pod.name.clone());
    loop {
        match store.claim(&namespace, &name, &loaded.pod.uid) {
            Ok(()) => break,
            Err(ClaimError::Store(error)) => return Err(Failure::host(&error)),
            Err(ClaimError::Taken { uid }) => match pods::read(store, &uid) {
                None if is_locked(&store.pod(&uid).guardian_lock()) => {
                    return Err(Failure::wrong(format!(
                        "pod {namespace}/{name} runs already, under another --root than {}",
                        store.data.display()
                    )));
                }
                // A name that leads nowhere was left by somebody who was killed.
                None => {
                    crate::store::remove(store.pod(&uid).run()).map_err(|error| Failure::host(&error))?;
                    store.release(&namespace, &name, &uid);
                }
                Some(found) => match settle(session, args, found, &loaded)? {
                    Some(unchanged) => return Ok(unchanged),
                    None => continue,
                },
            },
        }
    }
    let uid = loaded.pod.uid.clone();
    let dir = store.pod(&uid);
    let written = write_files(session, &loaded, &dir).map_err(|error| Failure::host(&error));
    let guarded = written.and_then(|()| {
        let (bell, ring) = io::pipe().map_err(|error| Failure::host(&error))?;
        Ok((pods::start_guardian(&dir, ring.into())?, bell))
    });
    match guarded {
        Ok((guardian, bell)) => Ok(Start::Fresh(Found { pod: loaded.pod, dir }, guardian, bell)),
        Err(failure) => {
            for path in [dir.run(), dir.data()] {
                let _ = crate::store::remove(path);
            }
            store.release(&namespace, &name, &uid);
            Err(failure)
        }
    }
}

/// The name is taken: by the same pod, by one that has ended, or by another one. `None` means that it is free now.
fn settle(
    session: &Session,
    args: &UpArgs,
    found: Found,
    loaded: &LoadedPod,
) -> Result<Option<Start>, Failure> {
    let care = found.care();
    let same = found.pod.manifest_hash == loaded.pod.manifest_hash;
    // Over, or left by an `up` that was killed before anything ran.
    if care == Care::Finished || (care == Care::Abandoned && !found.dir.machine().exists()) {
        found.remove(session)?;
        return Ok(None);
    }
    if same && !args.replace {
        found.readopt_if_abandoned()?;
        return Ok(Some(Start::Unchanged(found)));
    }
    if !args.replace {
        return Err(Failure::wrong(format!("pod {} is already running with another manifest", found.name()))
            .hint("`podbox up --replace` takes it down first"));
    }
    found.stop(session, None)?;
    Ok(None)
}

fn write_files(session: &Session, loaded: &LoadedPod, dir: &PodDir) -> Result<(), StoreError> {
    make_dir(dir.run())?;
    make_dir(dir.data())?;
    write_atomic(&dir.pod(), &json(&loaded.pod))?;
    write_atomic(&dir.object(), &json(&loaded.object))?;
    let context = Context { uid: loaded.pod.uid.clone(), settings: session.settings.clone() };
    context.write(dir)
}

/// Values of ours have string keys only, so writing them as JSON cannot fail.
fn json(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

/// A random UUID (version 4, RFC 9562).
fn new_uid() -> Result<String, Failure> {
    let mut bytes = [0_u8; 16];
    let read = fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    read.map_err(|error| Failure::cannot(format!("read /dev/urandom: {}", report::chain(&error))))?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waited {
    Reached,
    Interrupted,
}

fn wait_all(args: &UpArgs, watch: &Watch, started: &[Start], deadline: Instant) -> Result<Waited, Failure> {
    for start in started.iter().filter(|_| args.wait != WaitFor::None) {
        let found = start.found();
        let guardian = match start {
            Start::Fresh(_, guardian, bell) => {
                watch.listen(bell.try_clone().map_err(|error| Failure::host(&error))?);
                Some(guardian.as_fd())
            }
            // Somebody else has started it, and hears its bell.
            Start::Unchanged(found) => {
                watch.add(found.dir.run());
                None
            }
        };
        loop {
            let mut until = deadline;
            if reached(found, args.wait)? {
                match found.unsettled("Ready", args.min_ready) {
                    None => break,
                    Some(left) => until = until.min(Instant::now() + left),
                }
            }
            match watch.wait(guardian, Some(until))? {
                Woken::Changed | Woken::Unheard => {}
                Woken::Ready if reached(found, args.wait)? => break,
                Woken::Ready => return Err(Failure::cannot(last_words(found))),
                Woken::Interrupted => return Ok(Waited::Interrupted),
                Woken::TimedOut if Instant::now() < deadline => {}
                Woken::TimedOut => return Err(too_late(found, args)),
            }
        }
    }
    Ok(Waited::Reached)
}

fn too_late(found: &Found, args: &UpArgs) -> Failure {
    let wanted = match args.wait {
        WaitFor::None => "there",
        WaitFor::Running => "running",
        WaitFor::Ready => "ready",
        WaitFor::Complete => "complete",
    };
    let warnings = events::read(&found.dir.events());
    let warning = warnings.iter().rev().find(|event| event.warning).map(|event| event.message.clone());
    let last = full_disk(found).or(warning).map(|message| format!(": {message}"));
    let seconds = args.timeout.as_secs_f64();
    Failure::pod(format!(
        "pod {} is not {wanted} after {seconds} s{}",
        found.name(),
        last.unwrap_or_default()
    ))
}

/// The guardian left although the pod is not over: whatever it or the supervisor said last.
fn last_words(found: &Found) -> String {
    let log = fs::read_to_string(found.dir.supervisor_log()).unwrap_or_default();
    let said = log.lines().last().map(str::to_owned).or_else(|| full_disk(found));
    format!("start pod {}: {}", found.name(), said.as_deref().unwrap_or("its supervisor ended"))
}

/// On a full disk the guardian and the supervisor can say nothing. What they could not do fails here, too.
fn full_disk(found: &Found) -> Option<String> {
    let path = found.dir.run().join("try");
    let tried = write_atomic(&path, &[0; 4096]).err().map(|error| report::chain(&error));
    let _ = fs::remove_file(path);
    tried
}

/// Whether the pod is as wished; an error if it never will be.
fn reached(found: &Found, wait: WaitFor) -> Result<bool, Failure> {
    let Some(status) = status(found) else { return Ok(false) };
    let containers = status.container_statuses.as_deref().unwrap_or_default();
    let init = status.init_container_statuses.as_deref().unwrap_or_default();
    if let Some(failure) = init.iter().chain(containers).find_map(|one| cannot_start(found, one)) {
        return Err(failure);
    }
    if status.pod_ip.is_none()
        && let Some(trouble) = sandbox_trouble(found)
    {
        return Err(trouble);
    }
    let phase = status.phase.as_deref().unwrap_or_default();
    match wait {
        WaitFor::None => Ok(true),
        WaitFor::Running if containers.iter().all(has_started) => Ok(true),
        // An init container has failed for good, or the deadline came first: nothing will start any more.
        WaitFor::Running if phase == "Failed" => Err(Failure::pod(format!("pod {} failed", found.name()))),
        WaitFor::Running => Ok(false),
        WaitFor::Ready => match phase {
            "Succeeded" => Ok(true),
            "Failed" => Err(Failure::pod(format!("pod {} failed", found.name()))),
            _ => Ok(is_true(&status, "Ready")),
        },
        WaitFor::Complete => match phase {
            "Succeeded" => Ok(true),
            "Failed" => Err(Failure::pod(format!("pod {} failed", found.name()))),
            _ => Ok(false),
        },
    }
}

fn status(found: &Found) -> Option<PodStatus> {
    serde_json::from_slice(&fs::read(found.dir.status()).ok()?).ok()
}

fn is_true(status: &PodStatus, condition: &str) -> bool {
    let conditions = status.conditions.as_deref().unwrap_or_default();
    conditions.iter().any(|known| known.type_ == condition && known.status == "True")
}

fn has_started(container: &ContainerStatus) -> bool {
    let state = container.state.as_ref();
    let now = state.is_some_and(|state| state.running.is_some() || state.terminated.is_some());
    let before = container.last_state.as_ref().is_some_and(|state| state.terminated.is_some());
    now || before
}

/// A container that will not start by itself, however often it is tried.
fn cannot_start(found: &Found, container: &ContainerStatus) -> Option<Failure> {
    let state = container.state.as_ref()?;
    let last = container.last_state.as_ref().and_then(|last| last.terminated.as_ref());
    let ended =
        state.terminated.as_ref().or(last).filter(|ended| ended.reason.as_deref() == Some("StartError"));
    if let Some(ended) = ended {
        let message = ended.message.clone().unwrap_or_default();
        let code = if message.contains("not found") || message.contains("No such file") { 127 } else { 126 };
        return Some(Failure::code(
            code,
            format!("container {} of pod {}: StartError: {message}", container.name, found.name()),
        ));
    }
    let waiting = state.waiting.as_ref()?;
    let reason = waiting.reason.as_deref()?;
    let hopeless = matches!(
        reason,
        "ErrImagePull"
            | "ErrImageNeverPull"
            | "ImagePullBackOff"
            | "InvalidImageName"
            | "RegistryUnavailable"
            | "CreateContainerConfigError"
            | "CreateContainerError"
            | "RunContainerError"
    );
    let message = waiting.message.clone().unwrap_or_default();
    let text = format!("container {} of pod {}: {reason}: {message}", container.name, found.name());
    if !hopeless {
        None
    } else if reason == "CreateContainerError" {
        Some(Failure::cannot(text))
    } else {
        Some(Failure::pod(text))
    }
}

fn sandbox_trouble(found: &Found) -> Option<Failure> {
    let events = events::read(&found.dir.events());
    let trouble = events.iter().rev().find(|event| {
        event.warning && matches!(event.reason.as_str(), "FailedCreatePodSandBox" | "FailedMount")
    })?;
    Some(Failure::cannot(format!("pod {}: {}", found.name(), trouble.message)))
}

/// Takes down again what this command has started: an `up` that fails leaves the host as it was.
fn undo(session: &Session, started: &[Start]) {
    for start in started {
        if let Start::Fresh(found, ..) = start
            && let Err(failure) = found.stop(session, Some(0)).or_else(|_| found.remove(session))
        {
            anstream::eprintln!("error: take pod {} down again: {}", found.name(), failure.message());
        }
    }
    // Usually their supervisors do this, but those may be what has failed. If it cannot be done, the failure that led
    // here says why.
    let _ = netplugin::release_idle(&session.settings.network);
}

fn take_down(session: &Session, founds: &[&Found]) -> Result<(), Failure> {
    for found in founds {
        found.stop(session, None)?;
    }
    Ok(())
}
