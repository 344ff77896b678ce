//! `podbox events`: what happened.

use std::process::ExitCode;

use clap::Args;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::events::{self, Folded};
use crate::output::table::Table;
use crate::output::to_yaml;

use super::pods::{self, Found};
use super::watch::{Watch, Woken};
use super::{Failure, Session, age, names};

/// Arguments of `events`.
#[derive(Debug, Args)]
pub(super) struct EventsArgs {
    /// The pod; all pods if none
    pod: Option<String>,
    /// Namespace
    #[arg(long, short, default_value = "default")]
    namespace: String,
    /// Every namespace
    #[arg(long, short = 'A')]
    all_namespaces: bool,
    /// Go on with what happens next
    #[arg(long, short)]
    watch: bool,
    /// table, json or yaml
    #[arg(long, short, value_parser = ["table", "json", "yaml"], default_value = "table")]
    output: String,
}

/// Runs the command.
pub(super) fn run(session: &Session, args: &EventsArgs) -> Result<ExitCode, Failure> {
    let pods = select(session, args)?;
    print(args, &pods);
    if !args.watch {
        return Ok(ExitCode::SUCCESS);
    }
    let watch = Watch::new()?;
    let mut seen: Vec<usize> = pods.iter().map(|pod| events::read(&pod.dir.events()).len()).collect();
    pods.iter().for_each(|pod| watch.add(pod.dir.run()));
    while pods.iter().any(|pod| pod.dir.run().exists()) {
        for (pod, seen) in pods.iter().zip(&mut seen) {
            let all = events::read(&pod.dir.events());
            for event in all.iter().skip(*seen) {
                let folded = Folded { first: event.clone(), count: 1, last: event.at };
                if args.output == "table" {
                    println!("{}", row(args, pod, &folded).join("   "));
                } else {
                    println!("{}", events::object(&pod.pod, &crate::node::name(), *seen, &folded));
                }
            }
            *seen = all.len().max(*seen);
        }
        if watch.wait(None, None)? != Woken::Changed {
            break;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn select(session: &Session, args: &EventsArgs) -> Result<Vec<Found>, Failure> {
    match &args.pod {
        Some(pod) => {
            let (namespace, name) = names::pod_name(pod, &args.namespace);
            Ok(vec![pods::find(session, namespace, name)?])
        }
        None => Ok(pods::all(session, (!args.all_namespaces).then_some(args.namespace.as_str()))),
    }
}

fn print(args: &EventsArgs, pods: &[Found]) {
    let all = pods
        .iter()
        .flat_map(|pod| events::fold(events::read(&pod.dir.events())).into_iter().map(move |e| (pod, e)));
    let mut all: Vec<_> = all.collect();
    all.sort_by_key(|(_, event)| event.last);
    if args.output == "table" {
        let mut heads = vec!["LAST SEEN", "TYPE", "REASON", "OBJECT", "COUNT", "MESSAGE"];
        if args.all_namespaces {
            heads.insert(0, "NAMESPACE");
        }
        let mut table = Table::new(heads);
        for (pod, event) in &all {
            table.push(row(args, pod, event));
        }
        print!("{table}");
        return;
    }
    let node = crate::node::name();
    let items: Vec<Value> = all
        .iter()
        .enumerate()
        .map(|(index, (pod, event))| events::object(&pod.pod, &node, index, event))
        .collect();
    let list =
        json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": items});
    if args.output == "json" {
        println!("{list:#}");
    } else {
        print!("{}", to_yaml(&list));
    }
}

fn row(args: &EventsArgs, pod: &Found, event: &Folded) -> Vec<String> {
    let mut row = vec![
        age::since(event.last, Timestamp::now()),
        if event.first.warning { "Warning" } else { "Normal" }.to_owned(),
        event.first.reason.clone(),
        format!("pod/{}", pod.pod.name),
        event.count.to_string(),
        event.first.message.replace('\n', " "),
    ];
    if args.all_namespaces {
        row.insert(0, pod.pod.namespace.clone());
    }
    row
}
