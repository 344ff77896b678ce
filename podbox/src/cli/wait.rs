//! `podbox wait`: until something is true of pods.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;

use crate::config::duration;

use super::pods::{self, Found};
use super::targets::{Meaning, Need, Query, Targets};
use super::watch::{Watch, Woken};
use super::wish::{Standing, Wish};
use super::{Failure, Session, out};

/// Arguments of `wait`.
#[derive(Debug, Args)]
pub(super) struct WaitArgs {
    #[command(flatten)]
    targets: Targets,
    /// create, delete, condition=NAME[=STATUS], phase=PHASE or jsonpath={PATH}[=VALUE]
    #[arg(long = "for", value_name = "WHAT", default_value = "condition=Ready")]
    what: String,
    /// How long for all of them together; 0 looks once, a negative time is a week
    #[arg(long, value_parser = timeout, default_value = "30s", value_name = "TIME", allow_hyphen_values = true)]
    timeout: Duration,
    /// A condition must have been as wished for so long
    #[arg(long, value_parser = duration, default_value = "0s", hide_default_value = true, value_name = "TIME")]
    min_ready: Duration,
}

fn timeout(text: &str) -> Result<Duration, String> {
    const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);
    match text.strip_prefix('-') {
        Some(rest) => duration(rest).map(|_| WEEK),
        None => duration(text),
    }
}

/// One wait for all pods.
struct Wait<'a> {
    session: &'a Session,
    args: &'a WaitArgs,
    wish: Wish,
    watch: Watch,
    deadline: Instant,
}

/// Runs the command.
pub(super) fn run(session: &Session, args: &WaitArgs) -> Result<ExitCode, Failure> {
    let wrong = |error: String| Failure::wrong(format!("--for {}: {error}", args.what));
    let wish = Wish::parse(&args.what).map_err(wrong)?;
    if !args.min_ready.is_zero() && !matches!(wish, Wish::Condition { .. }) {
        return Err(Failure::wrong("--min-ready goes with --for condition=… only"));
    }
    let deadline = Instant::now() + args.timeout;
    let wait = Wait { session, args, wish, watch: Watch::new()?, deadline };
    let named = match args.targets.meaning(session, Need::Some)? {
        Meaning::Named(named) => named,
        Meaning::Fitting(query) => wait.choose(&query)?,
    };
    let mut failures = Vec::new();
    for (namespace, name) in named {
        match wait.until(&namespace, &name) {
            Ok(()) if session.quiet => {}
            Ok(()) => out::line(format_args!("pod/{name} condition met"))?,
            Err(failure) => failures.push(failure),
        }
    }
    Failure::all(failures)
}

impl Wait<'_> {
    /// The pods that fit now; for `create`, as soon as there is one.
    fn choose(&self, query: &Query) -> Result<Vec<(String, String)>, Failure> {
        loop {
            pods::watch_all(self.session, &self.watch);
            let found = query.find(self.session);
            if !found.is_empty() || self.wish == Wish::Delete {
                return Ok(found.into_iter().map(|found| (found.pod.namespace, found.pod.name)).collect());
            }
            if self.wish != Wish::Create {
                return Err(Failure::wrong("no matching pods found"));
            }
            if !self.sleep(None)? {
                return Err(Failure::pod("timed out waiting for a pod that fits"));
            }
        }
    }

    fn until(&self, namespace: &str, name: &str) -> Result<(), Failure> {
        let mut uid: Option<String> = None;
        // What is so already needs no watch, whose end would take the kernel some milliseconds.
        let mut watching = false;
        loop {
            if watching {
                pods::watch_one(self.session, &self.watch, namespace, name);
            }
            let found = pods::find(self.session, namespace, name);
            let same = |found: &Found| uid.as_ref().is_none_or(|uid| *uid == found.pod.uid);
            let (now, soon) = match (found, &self.wish) {
                (Err(_), Wish::Delete) => return Ok(()),
                (Ok(found), Wish::Delete) if !same(&found) => return Ok(()),
                (Err(_), Wish::Create) => ("it is not there".to_owned(), None),
                (Err(_), _) if uid.is_some() => {
                    let what = &self.args.what;
                    return Err(Failure::pod(format!("pod {namespace}/{name} went away before {what}")));
                }
                (Err(failure), _) => return Err(failure),
                (Ok(found), wish) => {
                    found.readopt_if_abandoned()?;
                    uid = Some(found.pod.uid.clone());
                    match self.standing(wish, &found)? {
                        (Standing::Met, None) => return Ok(()),
                        (Standing::Met, soon) => ("it has not been so for long enough".to_owned(), soon),
                        (Standing::NotYet(now), _) => (now, None),
                        (Standing::Never(why), _) => {
                            let what = &self.args.what;
                            return Err(Failure::pod(format!(
                                "pod {namespace}/{name} will never have {what}: {why}"
                            )));
                        }
                    }
                }
            };
            if !std::mem::replace(&mut watching, true) {
                continue;
            }
            if !self.sleep(soon)? {
                let what = &self.args.what;
                return Err(Failure::pod(format!(
                    "timed out waiting for {what} on pod {namespace}/{name}: {now}"
                )));
            }
        }
    }

    /// How the pod stands, and how long what is met must still stay so.
    fn standing(&self, wish: &Wish, found: &Found) -> Result<(Standing, Option<Duration>), Failure> {
        let standing =
            wish.judge(&found.object()).map_err(|error| Failure::wrong(format!("--for: {error}")))?;
        let soon = match wish {
            Wish::Condition { kind, .. } => found.unsettled(kind, self.args.min_ready),
            _ => None,
        };
        Ok((standing, soon))
    }

    /// Waits for a change, or for `soon`; false if the time is over.
    fn sleep(&self, soon: Option<Duration>) -> Result<bool, Failure> {
        let until = soon.map_or(self.deadline, |soon| self.deadline.min(Instant::now() + soon));
        let woken = self.watch.wait(None, Some(until))?;
        Ok(woken != Woken::TimedOut || Instant::now() < self.deadline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_negative_timeout_is_a_week_as_with_kubectl() {
        assert_eq!(timeout("-1").unwrap(), timeout("168h").unwrap());
        assert_eq!(timeout("0").unwrap(), Duration::ZERO);
        assert!(timeout("-").is_err() && timeout("soon").is_err());
    }
}
