//! `podbox events`: what happened, as `kubectl events` prints it.

use std::collections::BTreeMap;
use std::fs::File;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::events::{self, Occurrence};
use crate::node;
use crate::output::describe::event_age;
use crate::output::table::{Table, Widths};
use crate::output::{self, Columns, Format};

use super::pods::{self, Found};
use super::targets::{Meaning, Need, Targets};
use super::watch::{Watch, Woken};
use super::{Failure, Session, completion, names, out};

/// Arguments of `events`.
#[derive(Debug, Args)]
pub(super) struct EventsArgs {
    #[command(flatten)]
    targets: Targets,
    /// The pod that they are about, as kubectl has it: pod/web
    #[arg(long = "for", value_name = "POD", conflicts_with = "words", add = completion::pod())]
    about: Option<String>,
    /// Only events of these types: Normal, Warning
    #[arg(long, value_delimiter = ',', ignore_case = true, value_name = "TYPE")]
    types: Vec<Type>,
    /// Go on with what happens next
    #[arg(long, short)]
    watch: bool,
    /// No column heads
    #[arg(long)]
    no_headers: bool,
    /// table, json or yaml
    #[arg(long, short, value_parser = ["table", "json", "yaml"], default_value = "table")]
    output: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Type {
    #[value(name = "Normal")]
    Normal,
    #[value(name = "Warning")]
    Warning,
}

/// Runs the command.
pub(super) fn run(session: &Session, args: &EventsArgs) -> Result<ExitCode, Failure> {
    let meaning = match &args.about {
        Some(pod) => {
            let (namespace, name) = names::pod_name(pod, &args.targets.namespace);
            Meaning::Named(vec![(namespace.to_owned(), name.to_owned())])
        }
        None => args.targets.meaning(session, Need::Nothing)?,
    };
    let mut page = Page { args, widths: Widths::default(), begun: false };
    if args.watch {
        return follow(session, &meaning, &mut page);
    }
    let all = collect(&select(session, &meaning)?, &args.types);
    if all.is_empty() && args.output == "table" {
        anstream::eprintln!("No events found{}.", args.targets.place());
    } else {
        out::print(page.all(&all)?)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn select(session: &Session, meaning: &Meaning) -> Result<Vec<Found>, Failure> {
    match meaning {
        Meaning::Named(named) => {
            named.iter().map(|(namespace, name)| pods::find(session, namespace, name)).collect()
        }
        Meaning::Fitting(query) => Ok(query.find(session)),
    }
}

/// The pods' events as v1 Events, each with its precise time, sorted by it.
fn collect(pods: &[Found], types: &[Type]) -> Vec<(Timestamp, Value)> {
    let read = pods.iter().map(|pod| (pod, events::read(&pod.dir.events())));
    objects(read, types)
}

fn objects<'a>(
    read: impl Iterator<Item = (&'a Found, Vec<Occurrence>)>,
    types: &[Type],
) -> Vec<(Timestamp, Value)> {
    let node = node::name();
    let mut all = Vec::new();
    for (pod, occurrences) in read {
        let folded = events::fold(occurrences);
        for (index, event) in folded.iter().enumerate() {
            let kind = if event.first.warning { Type::Warning } else { Type::Normal };
            if types.is_empty() || types.contains(&kind) {
                all.push((event.last, events::object(&pod.pod, &node, index, event)));
            }
        }
    }
    all.sort_by_key(|(last, _)| *last);
    all
}

/// Prints what happens from now on, after what has happened. An event that happens again is printed again, with its
/// count, as a watch of the API tells it.
fn follow(session: &Session, meaning: &Meaning, page: &mut Page<'_>) -> Result<ExitCode, Failure> {
    let mut watch = Watch::new()?;
    watch.mind_the_reader();
    let mut seen: BTreeMap<String, Timestamp> = BTreeMap::new();
    let mut begun = false;
    // What a pod says last it says shortly before it is removed.
    let mut open: Vec<(Found, File)> = Vec::new();
    loop {
        pods::watch_all(session, &watch);
        // A pod that is named must be there in the beginning; later it may go and come again.
        let pods = match select(session, meaning) {
            Err(failure) if !begun => return Err(failure),
            pods => pods.unwrap_or_default(),
        };
        begun = true;
        let gone = |(held, _): &(Found, File)| !pods.iter().any(|pod| pod.pod.uid == held.pod.uid);
        let mut read = std::mem::take(&mut open);
        read.retain(gone);
        read.extend(pods.into_iter().filter_map(|pod| {
            let file = File::open(pod.dir.events()).ok()?;
            Some((pod, file))
        }));
        let found = read.iter().map(|(pod, file)| (pod, events::read_open(file)));
        for (last, event) in objects(found, &page.args.types) {
            let known = seen.insert(identity(&event), last);
            if known.is_none_or(|known| known < last) {
                out::print(page.one(&event)?)?;
            }
        }
        read.retain(|(pod, _)| pod.dir.events().exists());
        open = read;
        if watch.wait(None, None)? == Woken::Unheard {
            return Err(Failure::unheard());
        }
    }
}

/// What makes two occurrences the same event.
fn identity(event: &Value) -> String {
    let involved = &event["involvedObject"];
    format!("{} {} {} {}", involved["uid"], involved["fieldPath"], event["reason"], event["message"])
}

/// Where events are printed, all at once or one after the other.
struct Page<'a> {
    args: &'a EventsArgs,
    widths: Widths,
    begun: bool,
}

impl Page<'_> {
    fn all(&mut self, events: &[(Timestamp, Value)]) -> Result<String, Failure> {
        if self.args.output == "table" {
            return Ok(self.table(events.iter().map(|(_, event)| event)));
        }
        let items: Vec<&Value> = events.iter().map(|(_, event)| event).collect();
        self.formatted(
            &json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": items}),
        )
    }

    fn one(&mut self, event: &Value) -> Result<String, Failure> {
        let text = match self.args.output.as_str() {
            "table" => self.table(std::iter::once(event)),
            "yaml" if self.begun => format!("---\n{}", self.formatted(event)?),
            _ => self.formatted(event)?,
        };
        self.begun = true;
        Ok(text)
    }

    fn formatted(&self, value: &Value) -> Result<String, Failure> {
        let no_rows = |_: &Value| Vec::new();
        let columns = Columns { heads: &[], wide: &[], row: &no_rows };
        Format::parse(&self.args.output)
            .and_then(|format| output::print(&format, value, &columns))
            .map_err(|error| Failure::request(&error))
    }

    fn table<'e>(&mut self, events: impl Iterator<Item = &'e Value>) -> String {
        let with_namespace = self.args.targets.all_namespaces;
        let heads = ["LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"];
        let mut table = Table::new(with_namespace.then_some("NAMESPACE").into_iter().chain(heads));
        if self.begun || self.args.no_headers {
            table = table.without_heads();
        }
        let now = Timestamp::now();
        for event in events {
            let text = |key: &str| event[key].as_str().unwrap_or_default().to_owned();
            let involved = &event["involvedObject"];
            let object = ["kind", "name"].map(|key| involved[key].as_str().unwrap_or_default()).join("/");
            let message = text("message").trim().replace('\n', " ");
            let row = [event_age(event, now), text("type"), text("reason"), object, message];
            let namespace = involved["namespace"].as_str().unwrap_or_default().to_owned();
            table.push(with_namespace.then_some(namespace).into_iter().chain(row));
        }
        table.aligned(&mut self.widths)
    }
}
