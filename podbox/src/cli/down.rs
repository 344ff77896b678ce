//! `podbox down`: stop pods and remove all that is left of them.

mod objects;

use std::io::{self, IsTerminal};
use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use clap::Args;
use jiff::Timestamp;
use netplugin::cni::UNDOING;

use crate::chain::{LIMIT, owed};
use crate::output::selector::Selector;
use crate::store::{Store, is_locked};
use crate::supervisor::machine::State;
use crate::supervisor::release_idle;

use super::kinds::Kind;
use super::pods::{self, Found, Stopped};
use super::removal::Removal;
use super::{Failure, Session, completion, names, out};
use objects::Chosen;

/// How long the guardian of an `up` that was killed may take to notice.
const SETTLES: Duration = Duration::from_secs(1);

/// Arguments of `down`.
#[derive(Debug, Args)]
pub(super) struct DownArgs {
    /// Manifests, or names: web, pod/web, NAMESPACE/web, configmap/web, cm web
    #[arg(value_name = "FILE|POD|TYPE/NAME", add = completion::target(), required_unless_present_any = ["all", "files", "selector"])]
    targets: Vec<String>,
    /// Manifests whose pods and objects are meant
    #[arg(long = "filename", short = 'f', value_name = "FILE|DIR|-")]
    files: Vec<String>,
    /// Pods with these labels: app=web,tier!=test
    #[arg(long, short = 'l', value_name = "LABELS", conflicts_with_all = ["targets", "files", "all"])]
    selector: Option<String>,
    /// Every pod of this podbox
    #[arg(long, conflicts_with = "targets")]
    all: bool,
    /// Seconds between SIGTERM and SIGKILL; 0 kills at once [default: the pod's own]
    #[arg(long, value_name = "SECONDS")]
    grace_period: Option<u64>,
    /// Namespace of pods that are named without one
    #[arg(long, short, default_value = "default", add = completion::namespace())]
    namespace: String,
    /// Also remove what the PersistentVolumeClaims hold that are removed (emptyDir always goes with its pod)
    #[arg(long)]
    volumes: bool,
}

/// Runs the command.
pub(super) fn run(session: &Session, args: &DownArgs) -> Result<ExitCode, Failure> {
    names::require_root("stop a pod")?;
    let chosen = collect(session, args)?;
    let removal = Removal { session, grace: args.grace_period, volumes: args.volumes };
    let (found, missing) = (chosen.with_namespaces(removal)?, chosen.missing);
    let mut failures = Vec::new();
    let mut is_here = false;
    let (over, ended) = mpsc::channel();
    // All of them get their request before the first is waited for.
    std::thread::scope(|scope| {
        if !session.quiet && io::stderr().is_terminal() {
            scope.spawn(|| tell_if_it_lasts(&found, ended));
        }
        let stops: Vec<_> = match found.as_slice() {
            [] => Vec::new(),
            [only] => {
                let result = only.stop(session, args.grace_period);
                is_here |= result == Ok(Stopped::Here);
                report(session, only, result, &mut failures);
                Vec::new()
            }
            many => {
                many.iter().map(|pod| (pod, scope.spawn(|| pod.stop(session, args.grace_period)))).collect()
            }
        };
        for (pod, stop) in stops {
            let result = stop.join().unwrap_or_else(|_| Err(Failure::cannot("its thread panicked")));
            is_here |= result == Ok(Stopped::Here);
            report(session, pod, result, &mut failures);
        }
        drop(over);
    });
    failures.extend(objects::remove_all(removal, &chosen.objects));
    if args.all {
        failures.extend(sweep(session));
    } else if is_here {
        failures.extend(release_idle(&session.settings).into_iter().map(Failure::cannot));
    }
    failures.extend(missing);
    Failure::all(failures)
}

/// Says what is waited for, unless all is over before anybody wonders.
fn tell_if_it_lasts(pods: &[Found], ended: mpsc::Receiver<()>) {
    if ended.recv_timeout(Duration::from_secs(1)) != Err(RecvTimeoutError::Timeout) {
        return;
    }
    for pod in pods {
        if let Some(text) = waited_for(pod) {
            anstream::eprintln!("pod {}: {text}", pod.name());
        }
    }
}

/// What a pod that is being ended is waited for: the containers that still run, and for how long they may; then plugins.
pub(super) fn waited_for(pod: &Found) -> Option<String> {
    let (memory, now) = (pod.memory()?, Timestamp::now());
    let stop = memory.stop.as_ref()?;
    let runs =
        |state: &State| matches!(state, State::Starting(_) | State::Running(_) | State::Stopping { .. });
    let names: Vec<&str> =
        memory.containers.iter().filter(|one| runs(&one.state)).map(|one| one.name.as_str()).collect();
    let passed = Duration::try_from(now.duration_since(stop.at.wall)).unwrap_or_default();
    let left = stop.grace.saturating_sub(passed).as_secs_f64().round();
    let plural = if names.len() == 1 { "" } else { "s" };
    if names.is_empty() {
        return pod.dir.chain().exists().then(|| plugins(stop.grace));
    }
    let names = names.join(", ");
    Some(format!("waiting for container{plural} {names} to end, SIGKILL in {left} s"))
}

fn plugins(grace: Duration) -> String {
    let what = "waiting for the plugins of its CNI network to take back what they have made";
    match grace.is_zero() {
        true => format!("{what}, for at most {} s each", UNDOING.as_secs()),
        false => format!(
            "{what}, for at most {} s each; `podbox down --grace-period 0` gives them {} s",
            LIMIT.as_secs(),
            UNDOING.as_secs()
        ),
    }
}

fn report(session: &Session, pod: &Found, result: Result<Stopped, Failure>, failures: &mut Vec<Failure>) {
    match result {
        Ok(_) if session.quiet => {}
        Ok(_) => failures.extend(out::line(format_args!("pod {} down", pod.name())).err()),
        Err(failure) => {
            failures.push(Failure::cannot(format!("stop pod {}: {}", pod.name(), failure.message())));
        }
    }
}

/// The pods and objects that are meant, and a failure for each that is named and not there. A manifest's may be gone
/// already.
fn collect(session: &Session, args: &DownArgs) -> Result<Chosen, Failure> {
    let mut chosen = Chosen::default();
    if args.all {
        chosen.pods = pods::all(session, None);
        return Ok(chosen);
    }
    if let Some(selector) = &args.selector {
        let selector = Selector::parse(selector).map_err(|error| Failure::request(&error))?;
        chosen.pods = pods::all(session, Some(&args.namespace));
        chosen.pods.retain(|pod| selector.matches(&pod.pod.labels));
        return Ok(chosen);
    }
    let (kind, targets) = match args.targets.as_slice() {
        [kind, rest @ ..] if !rest.is_empty() && names::is_kind(kind) => (true, rest),
        [kind, rest @ ..] if !rest.is_empty() && Kind::object(kind).is_some() => {
            for name in rest {
                chosen.name(kind, name, &args.namespace);
            }
            (true, [].as_slice())
        }
        all => (false, all),
    };
    let mut files: Vec<String> = Vec::new();
    for target in targets {
        if !kind && chosen.name_in_one(target, &args.namespace) {
        } else if !kind && names::is_file(session, target, &args.namespace) {
            files.push(target.clone());
        } else {
            let (namespace, name) = names::pod_name(target, &args.namespace);
            match pods::find(session, namespace, name) {
                Ok(pod) => chosen.pods.push(pod),
                // `up` takes the bare name of a directory, as it takes nothing but files.
                Err(failure) if Path::new(target).is_dir() => {
                    let what = target.trim_end_matches('/');
                    let hint = format!("`podbox down {what}/` is about the manifests in that directory");
                    chosen.missing.push(failure.hint(hint));
                }
                Err(failure) => chosen.missing.push(failure),
            }
        }
    }
    files.extend_from_slice(&args.files);
    chosen.hold(session, &files)?;
    chosen.look(Removal { session, grace: args.grace_period, volumes: args.volumes });
    Ok(chosen)
}

/// Removes what killed commands have left: directories of pods that have no name, and an unused bridge.
fn sweep(session: &Session) -> Vec<Failure> {
    let store = &session.settings.store;
    let mut failures = Vec::new();
    // A name whose pod cannot be read was taken by an `up` that was killed before it had written the pod down.
    let (named, empty): (Vec<_>, Vec<_>) =
        store.names().into_iter().partition(|(_, _, uid)| pods::read(store, uid).is_some());
    let unnamed = |uid: &String| !named.iter().any(|(_, _, known)| known == uid);
    let free = |uid: &String| is_free(store, uid);
    for uid in store.uids().into_iter().chain(store.stored_uids()).filter(unnamed) {
        match pods::read(store, &uid) {
            Some(pod) if pod.care() != pods::Care::Guarded => failures.extend(pod.remove(session).err()),
            Some(_) => {}
            None if !free(&uid) => {}
            None => {
                let dir = store.pod(&uid);
                for path in [dir.run(), dir.data()] {
                    failures.extend(crate::store::remove(path).err().map(|error| Failure::host(&error)));
                }
            }
        }
    }
    for (namespace, name, uid) in empty.into_iter().filter(|(_, _, uid)| free(uid)) {
        store.release(&namespace, &name, &uid);
    }
    failures.extend(owed::settle(store).into_iter().map(Failure::cannot));
    failures.extend(release_idle(&session.settings).into_iter().map(Failure::cannot));
    failures
}

/// Whether nobody cares for a pod that is not written down. A directory whose lock is held belongs to an `up` that is
/// about to take a name, or to write its pod down; or that was killed over it, which its guardian is about to notice.
fn is_free(store: &Store, uid: &str) -> bool {
    let (lock, begun) = (store.pod(uid).guardian_lock(), Instant::now());
    while is_locked(&lock) {
        if begun.elapsed() > SETTLES || pods::read(store, uid).is_some() {
            return false;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    true
}
