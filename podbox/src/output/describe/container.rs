//! A container, its state, its probes and its environment.

use serde_json::Value;

use crate::pod::Quantity;

use super::{Lines, date, items, seccomp, text};

/// Describes one container of a pod; without a status it has not been seen by anybody yet.
pub(super) fn describe(out: &mut Lines, pod: &Value, container: &Value, status: Option<&Value>) {
    out.line(1, format_args!("{}:", text(&container["name"])));
    if let Some(status) = status {
        out.field(2, "Container ID", &text(&status["containerID"]));
    }
    out.field(2, "Image", &text(&container["image"]));
    if let Some(status) = status {
        out.field(2, "Image ID", &text(&status["imageID"]));
    }
    ports(out, "Port", items(&container["ports"]), "containerPort");
    ports(out, "Host Port", items(&container["ports"]), "hostPort");
    seccomp(out, 2, &container["securityContext"]);
    for (name, key) in [("Command", "command"), ("Args", "args")] {
        let words = items(&container[key]);
        if !words.is_empty() {
            out.line(2, format_args!("{name}:"));
        }
        words.iter().for_each(|word| text(word).split('\n').for_each(|line| out.line(3, line)));
    }
    if let Some(status) = status {
        states(out, status);
    }
    for (name, key) in [("Limits", "limits"), ("Requests", "requests")] {
        let amounts = container["resources"][key].as_object().filter(|amounts| !amounts.is_empty());
        if amounts.is_some() {
            out.line(2, format_args!("{name}:"));
        }
        for (resource, amount) in amounts.into_iter().flatten() {
            out.field(3, resource, &text(amount));
        }
    }
    for (name, key) in
        [("Liveness", "livenessProbe"), ("Readiness", "readinessProbe"), ("Startup", "startupProbe")]
    {
        if container[key].is_object() {
            out.field(2, name, &probe(&container[key]));
        }
    }
    env_from(out, items(&container["envFrom"]));
    environment(out, pod, container);
    mounts(out, items(&container["volumeMounts"]));
}

fn ports(out: &mut Lines, name: &str, ports: &[Value], key: &str) {
    let one = |port: &Value| {
        let protocol = port["protocol"].as_str().unwrap_or("TCP");
        format!("{}/{protocol}", port[key].as_u64().unwrap_or(0))
    };
    let list = ports.iter().map(one).collect::<Vec<_>>().join(", ");
    match ports.len() {
        0 => out.field(2, name, "<none>"),
        1 => out.field(2, name, &list),
        _ => out.field(2, &format!("{name}s"), &list),
    }
}

fn states(out: &mut Lines, status: &Value) {
    state(out, "State", &status["state"]);
    if status["lastState"]["terminated"].is_object() {
        state(out, "Last State", &status["lastState"]);
    }
    out.field(2, "Ready", if status["ready"] == true { "True" } else { "False" });
    out.field(2, "Restart Count", &status["restartCount"].as_u64().unwrap_or(0).to_string());
}

fn state(out: &mut Lines, name: &str, state: &Value) {
    let words = |out: &mut Lines, from: &Value| {
        for (name, key) in [("Reason", "reason"), ("Message", "message")] {
            if let Some(word) = from[key].as_str() {
                out.field(3, name, word.trim_end());
            }
        }
    };
    if state["running"].is_object() {
        out.field(2, name, "Running");
        out.field(3, "Started", &date(&state["running"]["startedAt"]));
    } else if let Some(ended) = state.get("terminated") {
        out.field(2, name, "Terminated");
        words(out, ended);
        out.field(3, "Exit Code", &text(&ended["exitCode"]));
        if ended["signal"].as_i64().is_some_and(|signal| signal > 0) {
            out.field(3, "Signal", &text(&ended["signal"]));
        }
        out.field(3, "Started", &date(&ended["startedAt"]));
        out.field(3, "Finished", &date(&ended["finishedAt"]));
    } else {
        out.field(2, name, "Waiting");
        words(out, &state["waiting"]);
    }
}

/// `http-get http://:8080/healthz delay=3s timeout=1s period=3s #success=1 #failure=3`
fn probe(probe: &Value) -> String {
    let number = |key: &str, default: i64| probe[key].as_i64().unwrap_or(default);
    let attributes = format!(
        "delay={}s timeout={}s period={}s #success={} #failure={}",
        number("initialDelaySeconds", 0),
        number("timeoutSeconds", 1),
        number("periodSeconds", 10),
        number("successThreshold", 1),
        number("failureThreshold", 3)
    );
    if let Some(exec) = probe.get("exec") {
        let command = items(&exec["command"]).iter().map(text).collect::<Vec<_>>().join(" ");
        format!("exec [{command}] {attributes}")
    } else if let Some(http) = probe.get("httpGet") {
        let scheme = http["scheme"].as_str().unwrap_or("HTTP").to_ascii_lowercase();
        let host = http["host"].as_str().unwrap_or_default();
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        let path = text(&http["path"]);
        let slash = if path.starts_with('/') || path.is_empty() { "" } else { "/" };
        format!("http-get {scheme}://{host}:{}{slash}{path} {attributes}", text(&http["port"]))
    } else if let Some(tcp) = probe.get("tcpSocket") {
        format!("tcp-socket {}:{} {attributes}", text(&tcp["host"]), text(&tcp["port"]))
    } else if let Some(grpc) = probe.get("grpc") {
        format!("grpc <pod>:{} {} {attributes}", text(&grpc["port"]), text(&grpc["service"]))
    } else {
        format!("unknown {attributes}")
    }
}

fn env_from(out: &mut Lines, sources: &[Value]) {
    if sources.is_empty() {
        return;
    }
    out.line(2, "Environment Variables from:");
    for source in sources {
        let (kind, reference) = match source.get("configMapRef") {
            Some(reference) => ("ConfigMap", reference),
            None => ("Secret", &source["secretRef"]),
        };
        let prefix = source["prefix"].as_str().filter(|prefix| !prefix.is_empty());
        let prefix = prefix.map(|prefix| format!(" with prefix '{prefix}'")).unwrap_or_default();
        let optional = reference["optional"] == true;
        out.line(3, format_args!("{}\t{kind}{prefix}\tOptional: {optional}", text(&reference["name"])));
    }
}

fn environment(out: &mut Lines, pod: &Value, container: &Value) {
    let variables = items(&container["env"]);
    if variables.is_empty() {
        return out.field(2, "Environment", "<none>");
    }
    out.line(2, "Environment:");
    for variable in variables {
        let name = text(&variable["name"]);
        let Some(from) = variable.get("valueFrom") else {
            let value = text(&variable["value"]);
            let mut lines = value.split('\n');
            out.field(3, &name, lines.next().unwrap_or_default());
            lines.for_each(|line| out.line(3, format_args!("\t{line}")));
            continue;
        };
        out.field(3, &name, &source(pod, container, from));
    }
}

/// Where a variable's value comes from, and what it is where the pod itself tells.
fn source(pod: &Value, container: &Value, from: &Value) -> String {
    let key_of = |reference: &Value, place: &str| {
        let optional = reference["optional"] == true;
        let (key, name) = (text(&reference["key"]), text(&reference["name"]));
        format!("<set to the key '{key}' {place} '{name}'>\tOptional: {optional}")
    };
    if let Some(field) = from.get("fieldRef") {
        let version = field["apiVersion"].as_str().unwrap_or("v1");
        let path = text(&field["fieldPath"]);
        format!("{} ({version}:{path})", field_value(pod, &path))
    } else if let Some(resource) = from.get("resourceFieldRef") {
        let name = text(&resource["resource"]);
        let amount = amount(container, &name, resource["divisor"].as_str());
        format!("{amount} ({name})")
    } else if let Some(reference) = from.get("secretKeyRef") {
        key_of(reference, "in secret")
    } else if let Some(reference) = from.get("configMapKeyRef") {
        key_of(reference, "of config map")
    } else if let Some(file) = from.get("fileKeyRef") {
        let optional = file["optional"] == true;
        let (key, path, volume) = (text(&file["key"]), text(&file["path"]), text(&file["volumeName"]));
        format!("<set to the key '{key}' of file '{path}' in volume '{volume}'>\tOptional: {optional}")
    } else {
        "<unknown>".to_owned()
    }
}

/// A limit or request in units of the divisor, rounded up.
fn amount(container: &Value, name: &str, divisor: Option<&str>) -> String {
    let milli = |text: &str| text.parse::<Quantity>().ok().map(Quantity::milli);
    let amount = container["resources"].pointer(&format!("/{}", name.replacen('.', "/", 1)));
    let Some(amount) = amount.and_then(Value::as_str).and_then(milli) else {
        return if name.starts_with("limits") { "node allocatable" } else { "0" }.to_owned();
    };
    let divisor = divisor.and_then(milli).filter(|divisor| *divisor > 0).unwrap_or(1000);
    ((amount + divisor - 1) / divisor).to_string()
}

fn field_value(pod: &Value, path: &str) -> String {
    if let Some((map, key)) = path.strip_suffix("']").and_then(|path| path.split_once("['")) {
        return text(&pod["metadata"][map.trim_start_matches("metadata.")][key]);
    }
    pod.pointer(&format!("/{}", path.replace('.', "/"))).map(text).unwrap_or_default()
}

fn mounts(out: &mut Lines, mounts: &[Value]) {
    if mounts.is_empty() {
        return out.field(2, "Mounts", "<none>");
    }
    out.line(2, "Mounts:");
    let mut mounts: Vec<&Value> = mounts.iter().collect();
    mounts.sort_by_key(|mount| text(&mount["mountPath"]));
    for mount in mounts {
        let mut flags = vec![if mount["readOnly"] == true { "ro" } else { "rw" }.to_owned()];
        if let Some(path) = mount["subPath"].as_str().filter(|path| !path.is_empty()) {
            flags.push(format!("path={path:?}"));
        }
        let (path, name) = (text(&mount["mountPath"]), text(&mount["name"]));
        out.line(3, format_args!("{path} from {name} ({})", flags.join(",")));
    }
}
