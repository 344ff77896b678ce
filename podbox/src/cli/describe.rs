//! `podbox describe`: all about a pod, for people.

use std::fmt::Write;
use std::process::ExitCode;

use clap::Args;
use jiff::Timestamp;
use serde_json::Value;

use crate::events;
use crate::output::table::Table;

use super::pods::{self, Found};
use super::{Failure, Session, age, names};

/// Arguments of `describe`.
#[derive(Debug, Args)]
pub(super) struct DescribeArgs {
    /// The pods: web, pod/web, NAMESPACE/web
    #[arg(required = true)]
    pods: Vec<String>,
    /// Namespace
    #[arg(long, short, default_value = "default")]
    namespace: String,
}

/// Runs the command.
pub(super) fn run(session: &Session, args: &DescribeArgs) -> Result<ExitCode, Failure> {
    // `describe pod web` is what kubectl has taught.
    let pods = match args.pods.as_slice() {
        [kind, rest @ ..] if !rest.is_empty() && matches!(kind.as_str(), "pod" | "pods" | "po") => rest,
        all => all,
    };
    for (index, pod) in pods.iter().enumerate() {
        let (namespace, name) = names::pod_name(pod, &args.namespace);
        let found = pods::find(session, namespace, name)?;
        found.readopt_if_abandoned()?;
        if index > 0 {
            println!("\n");
        }
        print!("{}", render(&found));
    }
    Ok(ExitCode::SUCCESS)
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "<none>".to_owned(),
        other => other.to_string(),
    }
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn render(found: &Found) -> String {
    let object = found.object();
    let (meta, spec, status) = (&object["metadata"], &object["spec"], &object["status"]);
    let mut out = String::new();
    let ips = items(&status["podIPs"]).iter().map(|ip| text(&ip["ip"])).collect::<Vec<_>>().join(", ");
    for (name, value) in [
        ("Name", text(&meta["name"])),
        ("Namespace", text(&meta["namespace"])),
        ("UID", text(&meta["uid"])),
        ("Node", format!("{}/{}", text(&spec["nodeName"]), text(&status["hostIP"]))),
        ("Start Time", text(&status["startTime"])),
        ("Labels", pairs(&meta["labels"])),
        ("Annotations", pairs(&meta["annotations"])),
        ("Status", text(&status["phase"])),
        ("IPs", if ips.is_empty() { "<none>".to_owned() } else { ips }),
        ("QoS Class", text(&status["qosClass"])),
        ("Restart Policy", text(&spec["restartPolicy"])),
    ] {
        let _ = writeln!(out, "{:<16}{value}", format!("{name}:"));
    }
    out.push_str("Containers:\n");
    for container in items(&spec["containers"]) {
        let statuses = items(&status["containerStatuses"]);
        let status = statuses.iter().find(|status| status["name"] == container["name"]);
        describe_container(&mut out, container, status.unwrap_or(&Value::Null));
    }
    out.push_str("Conditions:\n");
    let mut table = Table::new(["TYPE", "STATUS", "SINCE", "REASON"]);
    for condition in items(&status["conditions"]) {
        let row = ["type", "status", "lastTransitionTime", "reason"].map(|key| text(&condition[key]));
        table.push(row);
    }
    indent(&mut out, &table.to_string());
    out.push_str("Events:\n");
    let mut table = Table::new(["TYPE", "REASON", "AGE", "MESSAGE"]);
    for event in events::fold(events::read(&found.dir.events())) {
        let age = age::since(event.last, Timestamp::now());
        let age = if event.count > 1 { format!("{age} (x{})", event.count) } else { age };
        let kind = if event.first.warning { "Warning" } else { "Normal" };
        table.push([kind.to_owned(), event.first.reason, age, event.first.message.replace('\n', " ")]);
    }
    indent(&mut out, &table.to_string());
    out
}

fn indent(out: &mut String, block: &str) {
    for line in block.lines() {
        let _ = writeln!(out, "  {line}");
    }
}

fn pairs(value: &Value) -> String {
    let map = value.as_object().filter(|map| !map.is_empty());
    map.map_or_else(
        || "<none>".to_owned(),
        |map| map.iter().map(|(key, value)| format!("{key}={}", text(value))).collect::<Vec<_>>().join(", "),
    )
}

fn describe_container(out: &mut String, container: &Value, status: &Value) {
    let _ = writeln!(out, "  {}:", text(&container["name"]));
    let mut line = |name: &str, value: String| {
        let _ = writeln!(out, "    {:<16}{value}", format!("{name}:"));
    };
    line("Container ID", text(&status["containerID"]));
    line("Image", text(&container["image"]));
    line("Image ID", text(&status["imageID"]));
    for (name, key) in [("Command", "command"), ("Args", "args")] {
        let words = items(&container[key]);
        if !words.is_empty() {
            line(name, words.iter().map(text).collect::<Vec<_>>().join(" "));
        }
    }
    let port = |port: &Value| {
        let host = port["hostPort"].as_u64().filter(|port| *port > 0).map(|port| format!(" (host {port})"));
        format!("{}/{}{}", text(&port["containerPort"]), text(&port["protocol"]), host.unwrap_or_default())
    };
    let ports = items(&container["ports"]);
    if !ports.is_empty() {
        line("Ports", ports.iter().map(port).collect::<Vec<_>>().join(", "));
    }
    line("State", state(&status["state"]));
    if status["lastState"].as_object().is_some_and(|last| !last.is_empty()) {
        line("Last State", state(&status["lastState"]));
    }
    line("Ready", text(&status["ready"]));
    line("Restart Count", text(&status["restartCount"]));
    for (name, key) in
        [("Liveness", "livenessProbe"), ("Readiness", "readinessProbe"), ("Startup", "startupProbe")]
    {
        if container[key].is_object() {
            line(name, probe(&container[key]));
        }
    }
}

fn state(state: &Value) -> String {
    let Some((kind, detail)) = state.as_object().and_then(|state| state.iter().next()) else {
        return "<unknown>".to_owned();
    };
    let mut text_of = vec![format!("{}{}", kind[..1].to_uppercase(), &kind[1..])];
    for (name, key) in [
        ("reason", "reason"),
        ("exit code", "exitCode"),
        ("signal", "signal"),
        ("started", "startedAt"),
        ("finished", "finishedAt"),
        ("message", "message"),
    ] {
        if !detail[key].is_null() {
            text_of.push(format!("{name} {}", text(&detail[key]).trim_end()));
        }
    }
    text_of.join(", ")
}

/// As kubectl puts it: `http-get http://:8080/healthz delay=3s timeout=1s period=3s #success=1 #failure=3`.
fn probe(probe: &Value) -> String {
    let handler = if let Some(http) = probe.get("httpGet") {
        let scheme = http["scheme"].as_str().unwrap_or("HTTP").to_ascii_lowercase();
        let host = http["host"].as_str().unwrap_or_default();
        format!("http-get {scheme}://{host}:{}{}", text(&http["port"]), text(&http["path"]))
    } else if let Some(tcp) = probe.get("tcpSocket") {
        format!("tcp-socket {}:{}", tcp["host"].as_str().unwrap_or_default(), text(&tcp["port"]))
    } else if let Some(exec) = probe.get("exec") {
        format!("exec [{}]", items(&exec["command"]).iter().map(text).collect::<Vec<_>>().join(" "))
    } else if let Some(grpc) = probe.get("grpc") {
        format!("grpc <pod>:{} {}", text(&grpc["port"]), grpc["service"].as_str().unwrap_or_default())
    } else {
        String::new()
    };
    let number = |key: &str| probe[key].as_i64().unwrap_or(0);
    format!(
        "{handler} delay={}s timeout={}s period={}s #success={} #failure={}",
        number("initialDelaySeconds"),
        number("timeoutSeconds"),
        number("periodSeconds"),
        number("successThreshold"),
        number("failureThreshold")
    )
}
