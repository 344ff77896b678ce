//! `podbox get`: list pods, or print them.

use std::process::ExitCode;

use clap::Args;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::output::selector::{FieldSelector, Selector};
use crate::output::{self, Columns, Format};

use super::pods::{self, Found};
use super::watch::{Watch, Woken};
use super::{Failure, Session, age, names};

/// Arguments of `get`.
#[derive(Debug, Args)]
pub(super) struct GetArgs {
    /// pods (or po), and names: `get pods`, `get pod web`, `get pod/web`
    #[arg(value_name = "pods|pod NAME…")]
    what: Vec<String>,
    /// wide, json, yaml, name, jsonpath=TEMPLATE, custom-columns=SPEC
    #[arg(long, short, default_value = "", hide_default_value = true, value_name = "FORMAT")]
    output: String,
    /// Go on with every change
    #[arg(long, short)]
    watch: bool,
    /// Namespace
    #[arg(long, short, default_value = "default")]
    namespace: String,
    /// Every namespace
    #[arg(long, short = 'A')]
    all_namespaces: bool,
    /// Only pods with these labels: app=web,tier!=test
    #[arg(long, short = 'l', default_value = "", hide_default_value = true)]
    selector: String,
    /// Only pods with these fields: status.phase=Running
    #[arg(long, default_value = "", hide_default_value = true)]
    field_selector: String,
    /// No column heads
    #[arg(long)]
    no_headers: bool,
}

/// What is asked, understood.
struct Query {
    names: Vec<(String, String)>,
    labels: Selector,
    fields: FieldSelector,
    format: Format,
}

/// Runs the command.
pub(super) fn run(session: &Session, args: &GetArgs) -> Result<ExitCode, Failure> {
    let query = understand(args)?;
    let pods = select(session, args, &query)?;
    for pod in &pods {
        pod.readopt_if_abandoned()?;
    }
    let objects: Vec<Value> = pods.iter().map(Found::object).filter(|object| fits(&query, object)).collect();
    if objects.is_empty() && query.format == Format::Table && !args.watch {
        let place =
            if args.all_namespaces { String::new() } else { format!(" in {} namespace", args.namespace) };
        anstream::eprintln!("No resources found{place}.");
        return Ok(ExitCode::SUCCESS);
    }
    print(args, &query, &objects)?;
    if args.watch {
        follow(session, args, &query, objects)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn understand(args: &GetArgs) -> Result<Query, Failure> {
    let words = match args.what.split_first() {
        None => &[],
        Some((kind, rest)) if is_kind(kind) => rest,
        Some((word, _))
            if word.starts_with("pod/") || word.starts_with("pods/") || word.starts_with("po/") =>
        {
            args.what.as_slice()
        }
        Some((kind, _)) => {
            return Err(Failure::wrong(format!("podbox has no resource type \"{kind}\""))
                .hint("podbox get pods, podbox get pod NAME"));
        }
    };
    let names = words.iter().map(|word| {
        let (namespace, name) = names::pod_name(word, &args.namespace);
        (namespace.to_owned(), name.to_owned())
    });
    Ok(Query {
        names: names.collect(),
        labels: Selector::parse(&args.selector).map_err(|error| Failure::request(&error))?,
        fields: FieldSelector::parse(&args.field_selector).map_err(|error| Failure::request(&error))?,
        format: Format::parse(&args.output).map_err(|error| Failure::request(&error))?,
    })
}

fn is_kind(word: &str) -> bool {
    matches!(word.to_ascii_lowercase().as_str(), "pod" | "pods" | "po" | "all")
}

fn select(session: &Session, args: &GetArgs, query: &Query) -> Result<Vec<Found>, Failure> {
    if query.names.is_empty() {
        return Ok(pods::all(session, (!args.all_namespaces).then_some(args.namespace.as_str())));
    }
    query.names.iter().map(|(namespace, name)| pods::find(session, namespace, name)).collect()
}

fn fits(query: &Query, object: &Value) -> bool {
    query.labels.matches_object(object) && query.fields.matches(object)
}

fn print(args: &GetArgs, query: &Query, objects: &[Value]) -> Result<(), Failure> {
    let single = query.names.len() == 1;
    let value = match objects {
        [only] if single => only.clone(),
        many => {
            json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": many})
        }
    };
    let text = table(args, query, &value)?;
    print!("{}", if args.no_headers { without_heads(&query.format, &text) } else { &text });
    Ok(())
}

fn without_heads<'a>(format: &Format, text: &'a str) -> &'a str {
    match format {
        Format::Table | Format::Wide | Format::CustomColumns(_) => {
            text.split_once('\n').map_or("", |(_, rest)| rest)
        }
        _ => text,
    }
}

fn table(args: &GetArgs, query: &Query, value: &Value) -> Result<String, Failure> {
    let mut heads = vec!["NAME", "READY", "STATUS", "RESTARTS", "AGE"];
    if args.all_namespaces {
        heads.insert(0, "NAMESPACE");
    }
    let row = |object: &Value| row(args, object);
    let columns = Columns { heads: &heads, wide: &["IP", "NODE"], row: &row };
    output::print(&query.format, value, &columns).map_err(|error| Failure::request(&error))
}

fn row(args: &GetArgs, object: &Value) -> Vec<String> {
    let (meta, status) = (&object["metadata"], &object["status"]);
    let containers = status["containerStatuses"].as_array().map(Vec::as_slice).unwrap_or_default();
    let ready = containers.iter().filter(|container| container["ready"] == true).count();
    let wanted = object["spec"]["containers"].as_array().map_or(0, Vec::len);
    let text = |value: &Value| value.as_str().unwrap_or("<none>").to_owned();
    let mut row = vec![
        text(&meta["name"]),
        format!("{ready}/{wanted}"),
        summary(object, containers),
        restarts(containers),
        age::of(&meta["creationTimestamp"], Timestamp::now()),
        text(&status["podIP"]),
        text(&object["spec"]["nodeName"]),
    ];
    if args.all_namespaces {
        row.insert(0, text(&meta["namespace"]));
    }
    row
}

/// The STATUS column, by kubectl's rules (`printers/internalversion/printers.go`, printPod).
fn summary(object: &Value, containers: &[Value]) -> String {
    let status = &object["status"];
    let mut word = status["reason"].as_str().or(status["phase"].as_str()).unwrap_or("Unknown").to_owned();
    let mut running = false;
    for container in containers.iter().rev() {
        let state = &container["state"];
        if let Some(reason) = state["waiting"]["reason"].as_str() {
            word = reason.to_owned();
        } else if let Some(reason) = state["terminated"]["reason"].as_str() {
            word = reason.to_owned();
        } else if let Some(code) = state["terminated"]["exitCode"].as_i64() {
            word = match state["terminated"]["signal"].as_i64() {
                Some(signal) => format!("Signal:{signal}"),
                None => format!("ExitCode:{code}"),
            };
        } else if container["ready"] == true && state["running"].is_object() {
            running = true;
        }
    }
    if word == "Completed" && running {
        word = "Running".to_owned();
    }
    if object["metadata"]["deletionTimestamp"].is_string() { "Terminating".to_owned() } else { word }
}

/// `3 (12s ago)`
fn restarts(containers: &[Value]) -> String {
    let count: i64 = containers.iter().filter_map(|container| container["restartCount"].as_i64()).sum();
    let last = containers
        .iter()
        .filter_map(|container| container["lastState"]["terminated"]["finishedAt"].as_str())
        .max();
    match last {
        Some(last) if count > 0 => format!("{count} ({} ago)", age::of(&json!(last), Timestamp::now())),
        _ => count.to_string(),
    }
}

/// Prints a pod anew whenever something of it that is shown has changed.
fn follow(session: &Session, args: &GetArgs, query: &Query, mut shown: Vec<Value>) -> Result<(), Failure> {
    let watch = Watch::new()?;
    watch.add(&session.settings.store.names_dir());
    loop {
        let pods = match query.names.is_empty() {
            true => select(session, args, query)?,
            false => query.names.iter().filter_map(|(ns, name)| pods::find(session, ns, name).ok()).collect(),
        };
        for pod in &pods {
            watch.add(pod.dir.run());
        }
        for object in pods.iter().map(Found::object).filter(|object| fits(query, object)) {
            let same = |known: &&mut Value| known["metadata"]["uid"] == object["metadata"]["uid"];
            match shown.iter_mut().find(same) {
                Some(known) if *known == object => continue,
                Some(known) => known.clone_from(&object),
                None => shown.push(object.clone()),
            }
            let text = table(args, query, &object)?;
            print!("{}", without_heads(&query.format, &text));
        }
        if !query.names.is_empty() && pods.is_empty() {
            return Ok(());
        }
        if watch.wait(None, None)? == Woken::Interrupted {
            return Ok(());
        }
    }
}
