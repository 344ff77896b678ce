//! A pod described for people, line for line as kubectl does it (`pkg/describe/describe.go`, describePod).
//!
//! Where kubectl leaves out why a container waits, the message is printed too.

mod claim;
mod container;
mod endpoints;
mod objects;
mod service;
mod volume;

use std::fmt::Write as _;
use std::io::Write as _;

use jiff::Timestamp;
use serde_json::Value;
use tabwriter::TabWriter;

use super::age::human_duration;

pub use objects::{Surroundings, describe_object};

/// Longer annotations get lines of their own.
const LONG_ANNOTATION: usize = 140;

/// Describes a v1 Pod and the v1 Events that are about it.
#[must_use]
pub fn describe(pod: &Value, events: &[Value], now: Timestamp) -> String {
    let mut out = Lines::default();
    head(&mut out, pod, now);
    let (spec, status) = (&pod["spec"], &pod["status"]);
    for (label, containers, statuses) in [
        ("Init Containers", &spec["initContainers"], &status["initContainerStatuses"]),
        ("Containers", &spec["containers"], &status["containerStatuses"]),
        ("Ephemeral Containers", &spec["ephemeralContainers"], &status["ephemeralContainerStatuses"]),
    ] {
        if label == "Containers" || !items(containers).is_empty() {
            out.line(0, format_args!("{label}:"));
        }
        for container in items(containers) {
            let status = items(statuses).iter().find(|status| status["name"] == container["name"]);
            container::describe(&mut out, pod, container, status);
        }
    }
    conditions(&mut out, pod);
    volume::describe(&mut out, items(&spec["volumes"]));
    out.field(0, "QoS Class", &text(&status["qosClass"]));
    pairs(&mut out, "Node-Selectors", &spec["nodeSelector"]);
    tolerations(&mut out, items(&spec["tolerations"]));
    let mut text = out.aligned();
    text.push_str(&self::events(events, now));
    text
}

fn head(out: &mut Lines, pod: &Value, now: Timestamp) {
    let (meta, spec, status) = (&pod["metadata"], &pod["spec"], &pod["status"]);
    out.field(0, "Name", &text(&meta["name"]));
    out.field(0, "Namespace", &text(&meta["namespace"]));
    if spec["priority"].is_number() {
        out.field(0, "Priority", &text(&spec["priority"]));
    }
    if let Some(account) = spec["serviceAccountName"].as_str().filter(|account| !account.is_empty()) {
        out.field(0, "Service Account", account);
    }
    out.field(0, "Node", &format!("{}/{}", text(&spec["nodeName"]), text(&status["hostIP"])));
    if status["startTime"].is_string() {
        out.field(0, "Start Time", &date(&status["startTime"]));
    }
    pairs(out, "Labels", &meta["labels"]);
    annotations(out, &meta["annotations"]);
    let phase = text(&status["phase"]);
    match time(&meta["deletionTimestamp"]) {
        Some(until) if !matches!(phase.as_str(), "Succeeded" | "Failed") => {
            out.field(0, "Status", &format!("Terminating (lasts {})", since(until, now)));
            let grace = meta["deletionGracePeriodSeconds"].as_u64().unwrap_or(0);
            out.field(0, "Termination Grace Period", &format!("{grace}s"));
        }
        _ => out.field(0, "Status", &phase),
    }
    for (name, key) in [("Reason", "reason"), ("Message", "message")] {
        if let Some(word) = status[key].as_str() {
            out.field(0, name, word);
        }
    }
    seccomp(out, 0, &spec["securityContext"]);
    out.field(0, "IP", &text(&status["podIP"]));
    let ips = items(&status["podIPs"]);
    if ips.is_empty() {
        out.field(0, "IPs", "<none>");
    } else {
        out.line(0, "IPs:");
        ips.iter().for_each(|ip| out.field(1, "IP", &text(&ip["ip"])));
    }
}

fn seccomp(out: &mut Lines, level: usize, context: &Value) {
    let profile = &context["seccompProfile"];
    if let Some(kind) = profile["type"].as_str() {
        out.field(level, "SeccompProfile", kind);
    }
    if let Some(file) = profile["localhostProfile"].as_str() {
        out.field(level, "LocalhostProfile", file);
    }
}

fn conditions(out: &mut Lines, pod: &Value) {
    let conditions = items(&pod["status"]["conditions"]);
    let gates = items(&pod["spec"]["readinessGates"]);
    if !gates.is_empty() {
        out.line(0, "Readiness Gates:");
        out.line(1, "Type\tStatus");
        for gate in gates {
            let found = conditions.iter().find(|known| known["type"] == gate["conditionType"]);
            let status = found.map_or_else(|| "<none>".to_owned(), |known| text(&known["status"]));
            out.line(1, format_args!("{} \t{status} ", text(&gate["conditionType"])));
        }
    }
    if !conditions.is_empty() {
        out.line(0, "Conditions:");
        out.line(1, "Type\tStatus");
        for condition in conditions {
            out.line(1, format_args!("{} \t{} ", text(&condition["type"]), text(&condition["status"])));
        }
    }
}

/// `Labels:` and the like: a pair a line, below each other.
fn pairs(out: &mut Lines, title: &str, map: &Value) {
    let mut lines =
        map.as_object().into_iter().flatten().map(|(key, value)| format!("{key}={}", text(value)));
    out.field(0, title, &lines.next().unwrap_or_else(|| "<none>".to_owned()));
    lines.for_each(|line| out.line(0, format_args!("\t{line}")));
}

fn annotations(out: &mut Lines, map: &Value) {
    let mut lines = Vec::new();
    for (key, value) in map.as_object().into_iter().flatten() {
        let value = text(value);
        let value = value.trim_end_matches('\n');
        if key.len() + value.len() + 2 <= LONG_ANNOTATION && !value.contains('\n') {
            lines.push(format!("{key}: {value}"));
        } else {
            lines.push(format!("{key}:"));
            lines.extend(value.lines().map(|line| format!("  {}", shortened(line))));
        }
    }
    let mut lines = lines.into_iter();
    out.field(0, "Annotations", &lines.next().unwrap_or_else(|| "<none>".to_owned()));
    lines.for_each(|line| out.line(0, format_args!("\t{line}")));
}

fn shortened(line: &str) -> String {
    match line.char_indices().nth(LONG_ANNOTATION - 2) {
        Some((at, _)) => format!("{}...", &line[..at]),
        None => line.to_owned(),
    }
}

fn tolerations(out: &mut Lines, tolerations: &[Value]) {
    let shown = |toleration: &Value| {
        let word = |key: &str| toleration[key].as_str().unwrap_or_default();
        let mut text = word("key").to_owned();
        if !word("value").is_empty() {
            let _ = write!(text, "={}", word("value"));
        }
        if !word("effect").is_empty() {
            let _ = write!(text, ":{}", word("effect"));
        }
        if word("operator") == "Exists" && word("value").is_empty() {
            text.push_str(if word("key").is_empty() && word("effect").is_empty() {
                "op=Exists"
            } else {
                " op=Exists"
            });
        }
        if let Some(seconds) = toleration["tolerationSeconds"].as_i64() {
            let _ = write!(text, " for {seconds}s");
        }
        text
    };
    let mut lines = tolerations.iter().map(shown);
    out.field(0, "Tolerations", &lines.next().unwrap_or_else(|| "<none>".to_owned()));
    lines.for_each(|line| out.line(0, format_args!("\t{line}")));
}

fn events(events: &[Value], now: Timestamp) -> String {
    let mut out = Lines::default();
    if events.is_empty() {
        out.field(0, "Events", "<none>");
        return out.aligned();
    }
    out.line(0, "Events:");
    out.line(1, "Type\tReason\tAge\tFrom\tMessage");
    out.line(1, "----\t------\t----\t----\t-------");
    for event in events {
        let (kind, reason) = (text(&event["type"]), text(&event["reason"]));
        let (from, message) = (text(&event["source"]["component"]), text(&event["message"]));
        let age = event_age(event, now);
        out.line(1, format_args!("{kind}\t{reason}\t{age}\t{from}\t{}", message.trim()));
    }
    out.aligned()
}

/// When an event was seen: `2s`, or `2s (x3 over 10s)` if it was seen more than once.
#[must_use]
pub fn event_age(event: &Value, now: Timestamp) -> String {
    let age = |key: &str| time(&event[key]).map_or_else(|| "<unknown>".to_owned(), |then| since(then, now));
    match event["count"].as_u64() {
        Some(count) if count > 1 => {
            format!("{} (x{count} over {})", age("lastTimestamp"), age("firstTimestamp"))
        }
        _ => age("firstTimestamp"),
    }
}

/// Lines whose tabs are yet to be aligned.
#[derive(Debug, Default)]
struct Lines(String);

impl Lines {
    /// Two blanks a level, then the text.
    fn line(&mut self, level: usize, text: impl std::fmt::Display) {
        let _ = writeln!(self.0, "{:width$}{text}", "", width = level * 2);
    }

    fn field(&mut self, level: usize, name: &str, value: &str) {
        self.line(level, format_args!("{name}:\t{value}"));
    }

    /// The text, each column as wide as its widest cell and two blanks, over as many lines as have it.
    fn aligned(self) -> String {
        let mut writer = TabWriter::new(Vec::new()).minwidth(0).padding(2);
        let written = writer.write_all(self.0.as_bytes()).and_then(|()| writer.flush());
        // Writing to memory does not fail; if it did, the text would be readable as it is.
        match (written, writer.into_inner()) {
            (Ok(()), Ok(bytes)) => String::from_utf8_lossy(&bytes).into_owned(),
            _ => self.0,
        }
    }
}

pub(super) fn items(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// A value as Go prints it; nothing if there is none.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

fn time(value: &Value) -> Option<Timestamp> {
    value.as_str()?.parse().ok()
}

fn since(then: Timestamp, now: Timestamp) -> String {
    human_duration(now.duration_since(then).unsigned_abs())
}

/// `Mon, 02 Jan 2006 15:04:05 +0000` (RFC 1123 with a numeric zone), in UTC.
fn date(value: &Value) -> String {
    match time(value) {
        Some(time) => time.strftime("%a, %d %b %Y %H:%M:%S +0000").to_string(),
        None => "<unknown>".to_owned(),
    }
}

#[cfg(test)]
mod tests;
