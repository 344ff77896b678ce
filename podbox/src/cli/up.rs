//! `podbox up`: start the pods of a manifest.

mod ahead;
mod behind;
mod devices;
pub(super) mod objects;
mod previous;
mod set;
pub(super) mod single;
mod start;
mod waiting;

use std::collections::BTreeSet;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};

use crate::config::duration;
use crate::confinement;
use crate::manifest::{Loaded, LoadedPod};
use crate::objects::put_into_set;
use crate::pod::{PullPolicy, sysctl};
use crate::store::ObjectKind;
use crate::supervisor::release_idle;

use super::follow::{self, Ended};
use super::pods::Found;
use super::strictness::ValidateFlag;
use super::watch::{Watch, Woken};
use super::{Failure, Session, names, out};
use ahead::Ahead;
use start::{start, start_again};
use waiting::{Waited, wait_all};

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
    /// Remove what an earlier `up` of the same files made and they no longer hold
    #[arg(long, conflicts_with = "all")]
    prune: bool,
    /// What the files are called together, for --prune [default: their paths]
    #[arg(long, value_name = "NAME", conflicts_with = "all")]
    set: Option<String>,
    /// When to pull images, whatever the manifest says
    #[arg(long, value_enum, value_name = "POLICY")]
    pull: Option<Pull>,
    /// Kernel parameters that the pods may set beside the safe ones, such as net.core.*,kernel.msg*
    #[arg(long, value_delimiter = ',', value_parser = sysctl::pattern, value_name = "LIST")]
    allow_unsafe_sysctls: Vec<String>,
    /// Print the steps that were taken
    #[arg(long)]
    trace: bool,
    #[command(flatten)]
    validate: ValidateFlag,
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
    Fresh(Found, runtime::process::Process, UnixStream),
    Unchanged(Found),
    /// It runs, and becomes what the manifest says now.
    Configured(Found),
}

impl Start {
    fn found(&self) -> &Found {
        match self {
            Start::Fresh(found, ..) | Start::Unchanged(found) | Start::Configured(found) => found,
        }
    }
}

/// Runs the command.
pub(super) fn run(session: &Session, args: &UpArgs) -> Result<ExitCode, Failure> {
    if !args.min_ready.is_zero() && args.wait != WaitFor::Ready {
        return Err(Failure::wrong("--min-ready goes with --wait ready only"));
    }
    let files = [args.files.as_slice(), &args.filename].concat();
    let configured = session.settings.pods.allowed_unsafe_sysctls.as_slice();
    let sysctls = [configured, &args.allow_unsafe_sysctls].concat();
    // Somebody may take their time to type a manifest.
    let at_once = !args.all && !files.iter().any(|file| file == "-");
    let ahead = at_once.then(|| Ahead::try_new(session)).flatten();
    let set = if args.all { None } else { set::name(args, &files)? };
    let strictness = args.validate.strictness();
    let loaded = if args.all {
        Loaded::default()
    } else {
        names::load_for(&session.settings, &files, strictness, &sysctls)?
    };
    names::require_root("start a pod")?;
    if let Some(chain) = &session.settings.chain {
        chain.check().map_err(Failure::wrong)?;
    }
    loaded.pods.iter().try_for_each(|pod| refuse(pod, &sysctls))?;
    let served = loaded.objects.iter().any(|object| object.kind == ObjectKind::Service);
    if served || loaded.pods.iter().any(|loaded| !loaded.pod.host.network) {
        refuse_anothers_network(session)?;
    }
    devices::refuse_missing(session, &loaded.pods)?;
    objects::refuse_in_terminating(session, &loaded.pods)?;
    // Who the peers are is no pod's own business: whoever reads the configuration last keeps the ways to them.
    netplugin::apply_peers(&session.settings.network).map_err(|error| Failure::host(&error))?;
    let kept = if args.prune { set::keys(&loaded) } else { BTreeSet::new() };
    let Loaded { pods: mut loaded, objects, .. } = loaded;
    if let Some(set) = &set {
        loaded.iter_mut().for_each(|pod| put_into_set(&mut pod.object, set));
    }
    let mut watch = Watch::new()?;
    watch.catch_interrupts()?;
    let applied = objects::apply(session, objects, set.as_deref())?;
    let mut started = Vec::new();
    let result = start_all(session, args, (loaded, ahead, &watch), &mut started)
        // What had the name before had its own time to end.
        .and_then(|()| wait_all(args, &watch, &started, Instant::now() + args.timeout));
    let waited = match result {
        Ok(waited) => waited,
        Err(failure) => {
            undo(session, &watch, &started);
            applied.put_back(session);
            return Err(failure);
        }
    };
    if args.wait != WaitFor::None {
        behind::wait(session, &applied.services())?;
    }
    if args.trace {
        for start in &started {
            out::print(super::trace::render(start.found()))?;
        }
    }
    match waited {
        Waited::Reached => {}
        Waited::Failed(failure) => return Err(failure),
        Waited::Interrupted => {
            undo(session, &watch, &started);
            applied.put_back(session);
            return Ok(ExitCode::from(130));
        }
    }
    let stays = args.detach || args.wait == WaitFor::Complete || (started.is_empty() && !args.all);
    if stays {
        applied.say(session)?;
        say(session, &started)?;
    }
    if let Some(set) = set.filter(|_| args.prune) {
        set::prune(session, &set, &kept)?;
    }
    if stays {
        return Ok(ExitCode::SUCCESS);
    }
    let founds: Vec<&Found> = started.iter().map(Start::found).collect();
    founds.iter().for_each(|found| watch.add(found.dir.run()));
    match follow::until_ended(&mut watch, &founds)? {
        Ended::Interrupted => take_down(session, &founds),
        Ended::ByThemselves(code) => Ok(ExitCode::from(code)),
    }
}

fn say(session: &Session, started: &[Start]) -> Result<(), Failure> {
    for start in started.iter().filter(|_| !session.quiet) {
        match start {
            Start::Fresh(found, ..) => out::line(format_args!("pod {} up", found.name()))?,
            Start::Unchanged(found) => out::line(format_args!("pod {} unchanged", found.name()))?,
            Start::Configured(found) => out::line(format_args!("pod {} configured", found.name()))?,
        }
    }
    Ok(())
}

fn start_all(
    session: &Session,
    args: &UpArgs,
    (loaded, mut ahead, watch): (Vec<LoadedPod>, Option<Ahead>, &Watch),
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
        started.push(start(session, args, (pod, ahead.take()), watch)?);
    }
    if args.all {
        for uid in session.settings.store.stored_uids() {
            started.extend(start_again(session, &uid)?);
        }
    }
    Ok(())
}

/// Before anything is stored or begun: the host's table of Services has the bridge's name as well.
fn refuse_anothers_network(session: &Session) -> Result<(), Failure> {
    if session.settings.chain.is_some() {
        return Ok(());
    }
    netplugin::check_owner(&session.settings.network).map_err(|error| Failure::host(&error))
}

/// What a kubelet would let fail at once.
fn refuse(loaded: &LoadedPod, allowed_sysctls: &[String]) -> Result<(), Failure> {
    let pod = &loaded.pod;
    // In the manifest's order: the kubelet names the first that it forbids.
    let sysctls = loaded.object["spec"]["securityContext"]["sysctls"].as_array().into_iter().flatten();
    let mut names = sysctls.filter_map(|one| one["name"].as_str());
    let forbidden = names.find_map(|name| sysctl::refusal(&sysctl::dotted(name), allowed_sysctls));
    match forbidden.or_else(|| confinement::refusal(pod)) {
        None => Ok(()),
        Some(why) => Err(Failure::pod(format!("pod {}/{}: {why}", pod.namespace, pod.name))),
    }
}

/// Takes down again what this command has started: an `up` that fails leaves the host as it was. Ctrl-C, once more, leaves that to
/// the pods' supervisors.
fn undo(session: &Session, watch: &Watch, started: &[Start]) {
    for start in started {
        let Start::Fresh(found, ..) = start else { continue };
        let ended = previous::end_within(session, watch, found, Some(0));
        let ended = match ended {
            Err(failure) if failure.is_interrupt() => continue,
            Err(_) if !found.is_gone() => found.remove(session),
            ended => ended,
        };
        if let Err(failure) = ended {
            anstream::eprintln!("error: take pod {} down again: {}", found.name(), failure.message());
        } else if !session.quiet {
            anstream::eprintln!("pod {} taken down again", found.name());
        }
    }
    // Usually their supervisors do this, but those may be what has failed. If it cannot be done, the failure that led
    // here says why.
    let _ = release_idle(&session.settings);
}

/// Ends the pods after a Ctrl-C. All of them get their request at once, so that another Ctrl-C may leave them to end
/// without this command.
fn take_down(session: &Session, founds: &[&Found]) -> Result<ExitCode, Failure> {
    if !session.quiet {
        anstream::eprintln!("stopping (Ctrl-C again does not wait: the pods end in the background)");
    }
    let mut watch = Watch::new()?;
    watch.catch_interrupts()?;
    let (ended, end) = io::pipe().map_err(|error| Failure::host(&error))?;
    let end = Arc::new(end);
    let stops: Vec<_> = founds
        .iter()
        .map(|&found| {
            let (session, found, end) = (session.clone(), found.clone(), Arc::clone(&end));
            std::thread::spawn(move || {
                let failure = found.stop(&session, None).err();
                // The pipe hangs up with the last of them.
                drop(end);
                failure
            })
        })
        .collect();
    drop(end);
    if watch.wait(Some(ended.as_fd()), None)? != Woken::Ready {
        if !session.quiet {
            anstream::eprintln!("left; the pods go on ending in the background");
        }
        return Ok(ExitCode::from(130));
    }
    let failures = stops.into_iter().map(|stop| {
        stop.join().unwrap_or_else(|_| Some(Failure::cannot("the thread that ends a pod panicked")))
    });
    Failure::all(failures.flatten())
}
