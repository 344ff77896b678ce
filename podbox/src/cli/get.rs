//! `podbox get`: list pods, or print them, once or whenever they change.

use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use crate::output::sort::sort;
use crate::output::{Format, items};

use super::pods::{self, Found};
use super::show::{Happened, Look, Screen};
use super::targets::{Meaning, Need, Targets};
use super::watch::{Watch, Woken};
use super::{Failure, Session, out};

/// Arguments of `get`.
#[derive(Debug, Args)]
pub(super) struct GetArgs {
    #[command(flatten)]
    targets: Targets,
    #[command(flatten)]
    look: Look,
    /// Go on with every change
    #[arg(long, short)]
    watch: bool,
    /// Only changes, without what is there already
    #[arg(long)]
    watch_only: bool,
    /// Sort by a field: .metadata.name, {.status.startTime}
    #[arg(long, value_name = "PATH")]
    sort_by: Option<String>,
    /// Names that are not there are no error
    #[arg(long)]
    ignore_not_found: bool,
}

/// Runs the command.
pub(super) fn run(session: &Session, args: &GetArgs) -> Result<ExitCode, Failure> {
    args.targets.refuse_other_kinds(session)?;
    let meaning = args.targets.meaning(session, Need::Nothing)?;
    let mut screen = Screen::new(&args.look, &args.targets)?;
    if args.watch || args.watch_only {
        if args.sort_by.is_some() {
            anstream::eprintln!("warning: --watch requested, --sort-by will be ignored");
        }
        return follow(session, args, &meaning, &mut screen);
    }
    let (found, missing) = select(session, &meaning);
    for pod in &found {
        pod.readopt_if_abandoned()?;
    }
    let single = matches!(&meaning, Meaning::Named(named) if named.len() == 1);
    let list = list(args, single, found.iter().map(Found::object).collect())?;
    let nothing = items(&list).is_empty();
    if nothing && missing.is_empty() && matches!(screen.format, Format::Table | Format::Wide) {
        anstream::eprintln!("No resources found{}.", args.targets.place());
    } else if !nothing || missing.is_empty() {
        out::print(screen.all(&list)?)?;
    }
    if args.ignore_not_found { Ok(ExitCode::SUCCESS) } else { Failure::all(missing) }
}

/// The object that is asked for by its name, or a List.
fn list(args: &GetArgs, single: bool, mut objects: Vec<Value>) -> Result<Value, Failure> {
    if let Some(path) = &args.sort_by {
        sort(&mut objects, path).map_err(|error| Failure::request(&error))?;
    }
    Ok(match objects.as_slice() {
        [only] if single => only.clone(),
        many => {
            json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": many})
        }
    })
}

/// The pods that are meant and there, and a failure for each that is named and not there.
fn select(session: &Session, meaning: &Meaning) -> (Vec<Found>, Vec<Failure>) {
    match meaning {
        Meaning::Fitting(query) => (query.find(session), Vec::new()),
        Meaning::Named(named) => {
            let (mut found, mut missing) = (Vec::new(), Vec::new());
            for (namespace, name) in named {
                match pods::find(session, namespace, name) {
                    Ok(pod) => found.push(pod),
                    Err(failure) => missing.push(failure),
                }
            }
            (found, missing)
        }
    }
}

/// Shows pods that come, change and go, until nobody looks any more.
fn follow(
    session: &Session,
    args: &GetArgs,
    meaning: &Meaning,
    screen: &mut Screen<'_>,
) -> Result<ExitCode, Failure> {
    let mut watch = Watch::new()?;
    watch.mind_the_reader();
    let mut known: Vec<Value> = Vec::new();
    let mut first = true;
    loop {
        pods::watch_all(session, &watch);
        let (found, missing) = select(session, meaning);
        if first && !args.ignore_not_found && !missing.is_empty() {
            return Failure::all(missing);
        }
        let now: Vec<Value> = found.iter().map(Found::object).collect();
        let shown = !(first && args.watch_only);
        for (happened, object) in differences(&known, &now).into_iter().filter(|_| shown) {
            out::print(screen.one(happened, object)?)?;
        }
        (known, first) = (now, false);
        match watch.wait(None, None)? {
            Woken::Unheard => return Err(Failure::unheard()),
            Woken::Changed | Woken::Ready | Woken::TimedOut | Woken::Interrupted => {}
        }
    }
}

/// What has happened to objects between two looks; those that are gone come last.
fn differences<'a>(before: &'a [Value], now: &'a [Value]) -> Vec<(Happened, &'a Value)> {
    let uid = |object: &Value| object["metadata"]["uid"].clone();
    let mut happened = Vec::new();
    for object in now {
        match before.iter().find(|known| uid(known) == uid(object)) {
            None => happened.push((Happened::Added, object)),
            Some(known) if known != object => happened.push((Happened::Modified, object)),
            Some(_) => {}
        }
    }
    let gone = before.iter().filter(|known| !now.iter().any(|object| uid(object) == uid(known)));
    happened.extend(gone.map(|object| (Happened::Deleted, object)));
    happened
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_that_come_change_and_go_are_told_and_others_are_not() {
        let pod = |uid: &str, phase: &str| json!({"metadata": {"uid": uid}, "status": {"phase": phase}});
        let before = [pod("a", "Running"), pod("b", "Pending"), pod("c", "Running")];
        let now = [pod("b", "Running"), pod("c", "Running"), pod("d", "Pending")];
        let told: Vec<_> = differences(&before, &now)
            .into_iter()
            .map(|(happened, object)| (happened, object["metadata"]["uid"].as_str().unwrap()))
            .collect();
        assert_eq!(told, [(Happened::Modified, "b"), (Happened::Added, "d"), (Happened::Deleted, "a")]);
    }
}
