//! `podbox describe`: all about pods and other objects, for people.

use std::process::ExitCode;

use clap::Args;
use jiff::Timestamp;
use serde_json::Value;

use crate::events;
use crate::node;
use crate::output::describe::{Surroundings, describe, describe_object};
use crate::services::Catalogue;
use crate::store::ObjectKind;

use super::kinds::Kind;
use super::pods::{self, Found};
use super::targets::{Meaning, Query, Targets, Wanted};
use super::{Failure, Session, derived, out, stored};

/// Arguments of `describe`.
#[derive(Debug, Args)]
pub(super) struct DescribeArgs {
    #[command(flatten)]
    targets: Targets,
    /// Taken and ignored: podbox tells a pod's events always, and others have none
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    show_events: Option<bool>,
}

/// What is described.
enum Subject {
    Pod(Box<Found>),
    Object(Value),
}

/// Runs the command.
pub(super) fn run(session: &Session, args: &DescribeArgs) -> Result<ExitCode, Failure> {
    let wanted = args.targets.wanted(session)?;
    let (mut subjects, mut missing) = (Vec::new(), Vec::new());
    for wanted in &wanted {
        match &wanted.meaning {
            Meaning::Fitting(query) => subjects.extend(fitting(session, wanted.kind, query)),
            Meaning::Named(named) => {
                for (namespace, name) in named {
                    match named_so(session, wanted, namespace, name) {
                        Ok(found) => subjects.extend(found),
                        Err(failure) => missing.push(failure),
                    }
                }
            }
        }
    }
    if subjects.is_empty() && missing.is_empty() {
        anstream::eprintln!("No resources found{}", args.targets.looked_in(&wanted));
    }
    for (index, subject) in subjects.iter().enumerate() {
        let gap = if index > 0 { "\n\n" } else { "" };
        out::print(format_args!("{gap}{}", subject.describe(session)?))?;
    }
    Failure::all(missing)
}

fn fitting(session: &Session, kind: Kind, query: &Query) -> Vec<Subject> {
    match kind {
        Kind::Pod => query.find(session).into_iter().map(|pod| Subject::Pod(Box::new(pod))).collect(),
        Kind::Object(kind) => {
            stored::fitting(session, kind, query).into_iter().map(Subject::Object).collect()
        }
        Kind::Derived(kind) => {
            derived::fitting(session, kind, query).into_iter().map(Subject::Object).collect()
        }
    }
}

/// The object of that name or, as with kubectl, all whose names begin so.
fn named_so(
    session: &Session,
    wanted: &Wanted,
    namespace: &str,
    name: &str,
) -> Result<Vec<Subject>, Failure> {
    let exact = match wanted.kind {
        Kind::Pod => pods::find(session, namespace, name).map(|pod| Subject::Pod(Box::new(pod))),
        Kind::Object(kind) => stored::find(session, kind, namespace, name).map(Subject::Object),
        Kind::Derived(kind) => derived::find(session, kind, namespace, name).map(Subject::Object),
    };
    exact.map(|subject| vec![subject]).or_else(|not_found| {
        let within = wanted.kind.is_namespaced().then_some(namespace);
        let mut beginning = fitting(session, wanted.kind, &Query::within(within));
        beginning.retain(|subject| subject.name().starts_with(name));
        if beginning.is_empty() { Err(not_found) } else { Ok(beginning) }
    })
}

impl Subject {
    fn name(&self) -> &str {
        match self {
            Subject::Pod(found) => &found.pod.name,
            Subject::Object(object) => object["metadata"]["name"].as_str().unwrap_or_default(),
        }
    }

    fn describe(&self, session: &Session) -> Result<String, Failure> {
        match self {
            Subject::Pod(found) => {
                found.readopt_if_abandoned()?;
                Ok(describe(&found.object(), &events_of(found), Timestamp::now()))
            }
            Subject::Object(object) => Ok(describe_object(object, &around(session, object))),
        }
    }
}

/// What an object is described with.
fn around(session: &Session, object: &Value) -> Surroundings {
    let namespace = object["metadata"]["namespace"].as_str();
    let kind = object["kind"].as_str();
    let pods = match kind {
        Some("PersistentVolumeClaim") => pods::all(session, namespace),
        _ => Vec::new(),
    };
    let catalogue = match kind {
        Some("Service") => Catalogue::read(&session.settings.store),
        _ => Catalogue::default(),
    };
    let secrets = session.settings.store.object_names(ObjectKind::Secret).into_iter();
    let secrets = secrets.filter(|(of, _)| Some(of.as_str()) == namespace).map(|(_, name)| name).collect();
    Surroundings { pods: pods.iter().map(Found::object).collect(), secrets, catalogue }
}

/// The pod's events as v1 Events, those that were seen last at the end.
fn events_of(found: &Found) -> Vec<Value> {
    let folded = events::fold(events::read(&found.dir.events())).into_iter();
    let node = node::name();
    folded.enumerate().map(|(index, event)| events::object(&found.pod, &node, index, &event)).collect()
}
