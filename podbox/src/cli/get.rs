//! `podbox get`: list pods and other objects, or print them, once or whenever they change.

use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use crate::output::sort::sort;
use crate::output::{Format, items};

use super::kinds::Kind;
use super::pods::{self, Found};
use super::show::{Happened, Look, Screen};
use super::targets::{Meaning, Targets, Wanted};
use super::watch::{Watch, Woken};
use super::{Failure, Session, derived, out, stored};

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
    /// Taken and ignored, as with kubectl's scripts: there is nobody whom it would spare
    #[arg(long, hide = true, value_name = "N")]
    chunk_size: Option<u64>,
    /// Taken and ignored: nothing has managed fields
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    show_managed_fields: Option<bool>,
}

/// Runs the command.
pub(super) fn run(session: &Session, args: &GetArgs) -> Result<ExitCode, Failure> {
    let wanted = args.targets.wanted(session)?;
    let mut screen = Screen::new(&args.look, &args.targets, wanted.len() > 1)?;
    if args.watch || args.watch_only {
        let [only] = wanted.as_slice() else {
            return Err(Failure::wrong("you may only specify a single resource type with --watch"));
        };
        if args.sort_by.is_some() {
            anstream::eprintln!("warning: --watch requested, --sort-by will be ignored");
        }
        return follow(session, args, only, &mut screen);
    }
    let (found, missing) = select_all(session, &wanted)?;
    let single = match wanted.as_slice() {
        [Wanted { meaning: Meaning::Named(named), .. }] => named.len() == 1,
        _ => false,
    };
    let list = list(args, single, found)?;
    let nothing = items(&list).is_empty();
    if nothing && missing.is_empty() && matches!(screen.format, Format::Table | Format::Wide) {
        if !args.ignore_not_found {
            anstream::eprintln!("No resources found{}", args.targets.looked_in(&wanted));
        }
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

/// The objects of all kinds that are meant and there, and a failure for each that is named and not there.
fn select_all(session: &Session, wanted: &[Wanted]) -> Result<(Vec<Value>, Vec<Failure>), Failure> {
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for wanted in wanted {
        let (here, not_here) = match wanted.kind {
            Kind::Pod => {
                let (pods, missing) = select_pods(session, &wanted.meaning);
                for pod in &pods {
                    pod.readopt_if_abandoned()?;
                }
                (pods.iter().map(Found::object).collect(), missing)
            }
            Kind::Object(_) | Kind::Derived(_) => select(session, wanted),
        };
        found.extend(here);
        missing.extend(not_here);
    }
    Ok((found, missing))
}

/// The objects that are meant and there, and a failure for each that is named and not there.
fn select(session: &Session, wanted: &Wanted) -> (Vec<Value>, Vec<Failure>) {
    match (wanted.kind, &wanted.meaning) {
        (Kind::Pod, meaning) => {
            let (pods, missing) = select_pods(session, meaning);
            (pods.iter().map(Found::object).collect(), missing)
        }
        (Kind::Object(kind), Meaning::Fitting(query)) => (stored::fitting(session, kind, query), Vec::new()),
        (Kind::Object(kind), Meaning::Named(named)) => {
            sorted_out(named.iter().map(|(namespace, name)| stored::find(session, kind, namespace, name)))
        }
        (Kind::Derived(kind), Meaning::Fitting(query)) => {
            (derived::fitting(session, kind, query), Vec::new())
        }
        (Kind::Derived(kind), Meaning::Named(named)) => {
            sorted_out(named.iter().map(|(namespace, name)| derived::find(session, kind, namespace, name)))
        }
    }
}

fn select_pods(session: &Session, meaning: &Meaning) -> (Vec<Found>, Vec<Failure>) {
    match meaning {
        Meaning::Fitting(query) => (query.find(session), Vec::new()),
        Meaning::Named(named) => {
            sorted_out(named.iter().map(|(namespace, name)| pods::find(session, namespace, name)))
        }
    }
}

fn sorted_out<T>(results: impl Iterator<Item = Result<T, Failure>>) -> (Vec<T>, Vec<Failure>) {
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for result in results {
        match result {
            Ok(value) => good.push(value),
            Err(failure) => bad.push(failure),
        }
    }
    (good, bad)
}

/// Shows objects that come, change and go, until nobody looks any more.
fn follow(
    session: &Session,
    args: &GetArgs,
    wanted: &Wanted,
    screen: &mut Screen<'_>,
) -> Result<ExitCode, Failure> {
    let mut watch = Watch::new()?;
    watch.mind_the_reader();
    let mut known: Vec<Value> = Vec::new();
    let mut first = true;
    loop {
        match wanted.kind {
            Kind::Pod => pods::watch_all(session, &watch),
            Kind::Object(kind) => stored::watch(session, &watch, kind),
            Kind::Derived(kind) => derived::watch(session, &watch, kind),
        }
        let (now, missing) = select(session, wanted);
        if first && !args.ignore_not_found && !missing.is_empty() {
            return Failure::all(missing);
        }
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
    let uid = |object: &Value| ["uid", "namespace", "name"].map(|key| object["metadata"][key].clone());
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
