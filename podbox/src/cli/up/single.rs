//! One pod that no file describes, started as `up --detach` does: `podbox run`.

use std::time::{Duration, Instant};

use crate::manifest::LoadedPod;

use super::super::pods::{self, Care, Found};
use super::super::strictness::ValidateFlag;
use super::super::watch::Watch;
use super::super::{Failure, Session, names};
use super::start::start;
use super::waiting::{Waited, wait_all};
use super::{Start, UpArgs, WaitFor, objects, refuse, undo};

/// Starts a new pod and waits until its containers have been started; without a timeout it does not wait. `meanwhile` is done once somebody looks after the
/// pod, mostly before anything of it runs.
///
/// # Errors
/// If the pod is there already, or does not start in time, or somebody presses Ctrl-C; then nothing of it is left.
pub(in crate::cli) fn start_new<T>(
    session: &Session,
    loaded: LoadedPod,
    timeout: Option<Duration>,
    meanwhile: impl FnOnce(&Found) -> Result<T, Failure>,
) -> Result<(Found, T), Failure> {
    names::require_root("start a pod")?;
    let sysctls = session.settings.pods.allowed_unsafe_sysctls.as_slice();
    refuse(&loaded, sysctls)?;
    objects::refuse_in_terminating(session, std::slice::from_ref(&loaded))?;
    let name = loaded.pod.name.clone();
    let exists = || Failure::wrong(format!("pods \"{name}\" already exists"));
    match pods::find(session, &loaded.pod.namespace, &name) {
        // What it had to say has been said; a name is not blocked by what is over.
        Ok(found) if found.care() != Care::Finished => return Err(exists()),
        _ => {}
    }
    let args = UpArgs {
        files: Vec::new(),
        filename: Vec::new(),
        all: false,
        detach: true,
        wait: if timeout.is_some() { WaitFor::Running } else { WaitFor::None },
        timeout: timeout.unwrap_or_default(),
        min_ready: Duration::ZERO,
        replace: false,
        prune: false,
        set: None,
        pull: None,
        allow_unsafe_sysctls: Vec::new(),
        trace: false,
        validate: ValidateFlag::STRICT,
    };
    let mut watch = Watch::new()?;
    watch.catch_interrupts()?;
    let started = start(session, &args, (loaded, None), &watch)?;
    if matches!(started, Start::Unchanged(_)) {
        return Err(exists());
    }
    let found = started.found().clone();
    let all = [started];
    let result = meanwhile(&found)
        .and_then(|done| Ok((done, wait_all(&args, &watch, &all, Instant::now() + args.timeout)?)));
    let failure = match result {
        Ok((done, Waited::Reached)) => return Ok((found, done)),
        Ok((_, Waited::Failed(failure))) | Err(failure) => failure,
        Ok((_, Waited::Interrupted)) => Failure::interrupted(),
    };
    undo(session, &watch, &all);
    Err(failure)
}
