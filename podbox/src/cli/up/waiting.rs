//! What `up` waits for, and what stands against it.

use std::fs;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, PodStatus};

use crate::events::{self, Occurrence, SUPERVISOR_RESTARTED};
use crate::report;
use crate::store::write_atomic;

use super::super::Failure;
use super::super::pods::Found;
use super::super::watch::{Watch, Woken};
use super::{Start, UpArgs, WaitFor};

/// How often a pod that another command has started is looked at, should nothing happen to it.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// How the wait ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Waited {
    /// All pods are as wished.
    Reached,
    /// A pod has run and never will be as wished. It stays, to be looked at.
    Failed(Failure),
    /// Somebody pressed Ctrl-C.
    Interrupted,
}

/// How one pod stands to the wish.
enum Standing {
    Reached,
    NotYet,
    Failed(Failure),
}

/// Which of a pod's events count. The trouble of one that was there before may be that its supervisor, or a stage, was killed,
/// which is about to be mended.
struct Heard {
    begun: Instant,
    since: Timestamp,
}

impl Heard {
    fn of(start: &Start) -> Heard {
        let since = match start {
            Start::Fresh(..) => Timestamp::MIN,
            Start::Unchanged(_) | Start::Configured(_) => Timestamp::now(),
        };
        Heard { begun: Instant::now(), since }
    }

    /// What has not been mended for a while counts.
    fn go_on(&mut self) {
        if self.begun.elapsed() > 2 * LOOK_AGAIN {
            self.since = Timestamp::MIN;
        }
    }

    /// Of what was before another supervisor has come nothing counts: that one tries anew.
    fn counts(&self, event: &Occurrence) -> bool {
        event.at >= self.since && event.reason != SUPERVISOR_RESTARTED
    }
}

/// Waits until all pods are as wished; an error if one cannot be started, or not in time.
pub(super) fn wait_all(
    args: &UpArgs,
    watch: &Watch,
    started: &[Start],
    deadline: Instant,
) -> Result<Waited, Failure> {
    for start in started.iter().filter(|_| args.wait != WaitFor::None) {
        let found = start.found();
        let mut heard = Heard::of(start);
        let guardian = match start {
            Start::Fresh(_, guardian, bell) => {
                watch.listen(bell.try_clone().map_err(|error| Failure::host(&error))?);
                Some(guardian.as_fd())
            }
            // Somebody else has started it, and hears its bell.
            Start::Unchanged(found) | Start::Configured(found) => {
                watch.add(found.dir.run());
                None
            }
        };
        loop {
            let mut until = deadline;
            match standing(found, args.wait, &heard)? {
                Standing::Failed(failure) => return Ok(Waited::Failed(failure)),
                Standing::NotYet => {}
                Standing::Reached => match found.unsettled("Ready", args.min_ready) {
                    None => break,
                    Some(left) => until = until.min(Instant::now() + left),
                },
            }
            if guardian.is_none() {
                // Whoever looks after it may have been dying when it was found, which no file tells.
                found.readopt_if_abandoned()?;
                heard.go_on();
                until = until.min(Instant::now() + LOOK_AGAIN);
            }
            match watch.wait(guardian, Some(until))? {
                Woken::Changed | Woken::Unheard if found.dir.run().exists() => {}
                Woken::Changed | Woken::Unheard => {
                    return Err(Failure::pod(format!("pod {} went away", found.name())));
                }
                Woken::Ready => match standing(found, args.wait, &heard)? {
                    Standing::Reached => break,
                    Standing::Failed(failure) => return Ok(Waited::Failed(failure)),
                    Standing::NotYet => return Err(Failure::cannot(last_words(found))),
                },
                Woken::Interrupted => return Ok(Waited::Interrupted),
                Woken::TimedOut if Instant::now() < deadline => {}
                // It may take longer than this command wanted to wait.
                Woken::TimedOut if args.wait == WaitFor::Complete && runs(found) => {
                    return Ok(Waited::Failed(
                        too_late(found, args).hint("it goes on; `podbox down` ends it"),
                    ));
                }
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
    if !found.dir.run().exists() {
        return None;
    }
    let path = found.dir.run().join("try");
    let tried = write_atomic(&path, &[0; 4096]).err().map(|error| report::chain(&error));
    let _ = fs::remove_file(path);
    tried
}

/// How the pod stands to the wish; an error if it cannot be started.
fn standing(found: &Found, wait: WaitFor, heard: &Heard) -> Result<Standing, Failure> {
    let (status, trouble) = found.status();
    let Some(status) = status else { return Ok(Standing::NotYet) };
    let containers = status.container_statuses.as_deref().unwrap_or_default();
    let init = status.init_container_statuses.as_deref().unwrap_or_default();
    if let Some(failure) = init.iter().chain(containers).find_map(|one| cannot_start(found, one)) {
        return Err(failure);
    }
    if status.pod_ip.is_none()
        && let Some(trouble) = sandbox_trouble(found, heard)
    {
        return Err(trouble);
    }
    let phase = status.phase.as_deref().unwrap_or_default();
    let reached = match wait {
        WaitFor::None => true,
        WaitFor::Running => containers.iter().all(has_started),
        WaitFor::Ready => phase == "Succeeded" || is_true(&status, "Ready"),
        WaitFor::Complete => phase == "Succeeded",
    };
    if let Some(trouble) = trouble.filter(|_| !reached && !containers.iter().chain(init).any(has_started)) {
        let run = found.dir.run().display();
        return Err(Failure::cannot(format!("pod {}: {trouble}", found.name())).hint(format!(
            "make room for {run}, or choose another directory with --run; the first container starts when there is room"
        )));
    }
    let taken_down = || Failure::pod(format!("pod {} was taken down meanwhile", found.name()));
    let is_leaving = || found.memory().is_some_and(|memory| memory.stop.is_some());
    Ok(match phase {
        // What never ran counts as ended once the pod is taken down.
        _ if reached && wait == WaitFor::Running && containers.iter().any(has_ended) && is_leaving() => {
            Standing::Failed(taken_down())
        }
        _ if reached => Standing::Reached,
        // One that is removed has no state any more; one that has failed by itself keeps it.
        "Failed" if found.memory().is_none_or(|memory| memory.stop.is_some()) => {
            Standing::Failed(taken_down())
        }
        // An init container has failed for good, or the deadline came first: nothing will start any more.
        "Failed" => Standing::Failed(failed(found, &status)),
        _ => Standing::NotYet,
    })
}

/// A pod that has run and failed: which container did, and how.
fn failed(found: &Found, status: &PodStatus) -> Failure {
    let all = [&status.init_container_statuses, &status.container_statuses];
    let ended = all.into_iter().flatten().flatten().filter_map(|container| {
        let ended = container.state.as_ref()?.terminated.as_ref()?;
        let texts = [ended.reason.as_deref(), ended.message.as_deref()];
        let why: Vec<&str> =
            texts.into_iter().flatten().map(str::trim).filter(|text| !text.is_empty()).collect();
        let text = format!(
            "container {} ended with exit code {}: {}",
            container.name,
            ended.exit_code,
            why.join(": ")
        );
        (ended.exit_code != 0).then(|| (container.name.as_str(), text.trim_end_matches(": ").to_owned()))
    });
    let (names, mut texts): (Vec<&str>, Vec<String>) = ended.unzip();
    let own = [status.reason.as_deref(), status.message.as_deref()];
    let own: Vec<&str> = own.into_iter().flatten().collect();
    if !own.is_empty() {
        texts.insert(0, own.join(": "));
    }
    let name = found.name();
    let container = names.first().map_or(String::new(), |container| format!(" -c {container}"));
    Failure::pod(format!("pod {name} failed: {}", texts.join("; ")))
        .hint(format!("`podbox logs {name}{container}` shows what it said, `podbox down {name}` removes it"))
}

/// Whether all containers have been started.
fn runs(found: &Found) -> bool {
    found.status().0.is_some_and(|status| status.container_statuses.iter().flatten().all(has_started))
}

pub(super) fn is_true(status: &PodStatus, condition: &str) -> bool {
    let conditions = status.conditions.as_deref().unwrap_or_default();
    conditions.iter().any(|known| known.type_ == condition && known.status == "True")
}

fn has_started(container: &ContainerStatus) -> bool {
    let state = container.state.as_ref();
    let now = state.is_some_and(|state| state.running.is_some() || state.terminated.is_some());
    let before = container.last_state.as_ref().is_some_and(|state| state.terminated.is_some());
    now || before
}

fn has_ended(container: &ContainerStatus) -> bool {
    container.state.as_ref().is_some_and(|state| state.terminated.is_some())
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
            | "CreateContainerConfigError"
            | "CreateContainerError"
            | "RunContainerError"
    );
    let message = waiting.message.clone().unwrap_or_default();
    let text = format!("container {} of pod {}: {reason}: {message}", container.name, found.name());
    if !hopeless {
        None
    } else if reason == "CreateContainerError" || message.contains("No space left on device") {
        Some(Failure::cannot(text))
    } else {
        Some(Failure::pod(text))
    }
}

fn sandbox_trouble(found: &Found, heard: &Heard) -> Option<Failure> {
    let events = events::read(&found.dir.events());
    let mut latest = events.iter().rev().take_while(|event| heard.counts(event));
    let trouble = latest.find(|event| {
        event.warning
            && matches!(event.reason.as_str(), "FailedCreatePodSandBox" | "FailedMount" | "FailedScheduling")
    })?;
    let text = format!("pod {}: {}", found.name(), trouble.message);
    // An object that is missing is not the host's fault.
    let missing = ["not found", "references non-existent"].iter().any(|words| text.contains(words));
    let of_objects = trouble.reason == "FailedScheduling" || (trouble.reason == "FailedMount" && missing);
    Some(if of_objects { Failure::pod(text) } else { Failure::cannot(text) })
}
