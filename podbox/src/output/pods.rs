//! A pod as a row of a table, by kubectl's rules (`pkg/printers/internalversion/printers.go`, printPod, which an API
//! server applies for it). Pure.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::age::human_duration;
use super::describe::items;

/// The heads of the columns that are always shown.
pub const HEADS: [&str; 5] = ["NAME", "READY", "STATUS", "RESTARTS", "AGE"];
/// The heads of those that only `wide` shows.
pub const WIDE: [&str; 4] = ["IP", "NODE", "NOMINATED NODE", "READINESS GATES"];

/// All cells of a v1 Pod's row, the wide ones included.
#[must_use]
pub fn row(pod: &Value, now: Timestamp) -> Vec<String> {
    let (meta, status) = (&pod["metadata"], &pod["status"]);
    let text = |value: &Value| value.as_str().unwrap_or("<none>").to_owned();
    let summary = summary(pod);
    let restarts = match summary.last_restart {
        Some(last) if summary.restarts > 0 => format!("{} ({} ago)", summary.restarts, since(last, now)),
        _ => summary.restarts.to_string(),
    };
    let wanted = items(&pod["spec"]["containers"]).len() + sidecars(pod).count();
    vec![
        text(&meta["name"]),
        format!("{}/{wanted}", summary.ready),
        summary.word,
        restarts,
        time(&meta["creationTimestamp"]).map_or_else(|| "<unknown>".to_owned(), |then| since(then, now)),
        text(&status["podIP"]),
        text(&pod["spec"]["nodeName"]),
        text(&status["nominatedNodeName"]),
        gates(pod),
    ]
}

/// `app=web,tier=front`, as `--show-labels` has it.
#[must_use]
pub fn labels(pod: &Value) -> String {
    let map = pod["metadata"]["labels"].as_object().filter(|map| !map.is_empty());
    let pairs = map.map(|map| {
        map.iter()
            .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
            .collect::<Vec<_>>()
    });
    pairs.map_or_else(|| "<none>".to_owned(), |pairs| pairs.join(","))
}

struct Summary {
    word: String,
    ready: usize,
    restarts: i64,
    last_restart: Option<Timestamp>,
}

impl Summary {
    fn count(&mut self, container: &Value) {
        self.restarts += container["restartCount"].as_i64().unwrap_or(0);
        self.last_restart = self.last_restart.max(time(&container["lastState"]["terminated"]["finishedAt"]));
    }
}

fn summary(pod: &Value) -> Summary {
    let status = &pod["status"];
    let word = status["reason"].as_str().or(status["phase"].as_str()).unwrap_or("Unknown").to_owned();
    let mut summary = Summary { word, ready: 0, restarts: 0, last_restart: None };
    let initializing = init_containers(pod, &mut summary);
    if !initializing || condition(pod, "Initialized") {
        main_containers(pod, &mut summary);
    }
    let over = matches!(status["phase"].as_str(), Some("Succeeded" | "Failed"));
    if pod["metadata"]["deletionTimestamp"].is_string() && !over {
        summary.word = "Terminating".to_owned();
    }
    summary
}

/// Whether some init container is not done yet; then it decides the word.
fn init_containers(pod: &Value, summary: &mut Summary) -> bool {
    let total = items(&pod["spec"]["initContainers"]).len();
    for (index, container) in items(&pod["status"]["initContainerStatuses"]).iter().enumerate() {
        summary.count(container);
        let state = &container["state"];
        let ended = &state["terminated"];
        if ended["exitCode"] == 0 {
            continue;
        }
        if is_sidecar(pod, container) && container["started"] == true {
            summary.ready += usize::from(container["ready"] == true);
            continue;
        }
        let waiting = state["waiting"]["reason"].as_str().filter(|reason| *reason != "PodInitializing");
        summary.word = if ended.is_object() {
            format!("Init:{}", ending(ended))
        } else if let Some(reason) = waiting {
            format!("Init:{reason}")
        } else {
            format!("Init:{index}/{total}")
        };
        return true;
    }
    false
}

fn main_containers(pod: &Value, summary: &mut Summary) {
    // Of the init containers only sidecars count from here on.
    (summary.restarts, summary.last_restart) = (0, None);
    let init = items(&pod["status"]["initContainerStatuses"]).iter();
    init.filter(|container| is_sidecar(pod, container)).for_each(|container| summary.count(container));
    let mut running = false;
    for container in items(&pod["status"]["containerStatuses"]).iter().rev() {
        summary.count(container);
        let state = &container["state"];
        if let Some(reason) = state["waiting"]["reason"].as_str() {
            summary.word = reason.to_owned();
        } else if state["terminated"].is_object() {
            summary.word = ending(&state["terminated"]);
        } else if container["ready"] == true && state["running"].is_object() {
            running = true;
            summary.ready += 1;
        }
    }
    if summary.word == "Completed" && running {
        summary.word = if condition(pod, "Ready") { "Running" } else { "NotReady" }.to_owned();
    }
}

fn ending(terminated: &Value) -> String {
    match (terminated["reason"].as_str(), terminated["signal"].as_i64()) {
        (Some(reason), _) => reason.to_owned(),
        (None, Some(signal)) => format!("Signal:{signal}"),
        (None, None) => format!("ExitCode:{}", terminated["exitCode"]),
    }
}

fn sidecars(pod: &Value) -> impl Iterator<Item = &Value> {
    items(&pod["spec"]["initContainers"]).iter().filter(|container| container["restartPolicy"] == "Always")
}

fn is_sidecar(pod: &Value, status: &Value) -> bool {
    sidecars(pod).any(|container| container["name"] == status["name"])
}

/// `1/2` readiness gates are open.
fn gates(pod: &Value) -> String {
    let gates = items(&pod["spec"]["readinessGates"]);
    if gates.is_empty() {
        return "<none>".to_owned();
    }
    let open =
        gates.iter().filter_map(|gate| gate["conditionType"].as_str()).filter(|kind| condition(pod, kind));
    format!("{}/{}", open.count(), gates.len())
}

fn condition(pod: &Value, kind: &str) -> bool {
    items(&pod["status"]["conditions"]).iter().any(|known| known["type"] == kind && known["status"] == "True")
}

fn time(value: &Value) -> Option<Timestamp> {
    value.as_str()?.parse().ok()
}

fn since(then: Timestamp, now: Timestamp) -> String {
    human_duration(Duration::try_from(now.duration_since(then)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NOW: &str = "2024-05-01T12:00:00Z";

    fn running(name: &str) -> Value {
        json!({"name": name, "ready": true, "started": true, "restartCount": 0, "state": {"running": {}}})
    }

    fn state(name: &str, state: Value) -> Value {
        json!({"name": name, "ready": false, "restartCount": 0, "state": state})
    }

    /// NAME to AGE of a pod `web` with these containers, without the name and the age.
    fn shown(init: &[Value], main: &[Value], change: impl FnOnce(&mut Value)) -> [String; 3] {
        let names = |statuses: &[Value]| -> Vec<Value> {
            statuses.iter().map(|status| json!({"name": status["name"]})).collect()
        };
        let mut pod = json!({
            "metadata": {"name": "web", "creationTimestamp": "2024-05-01T11:59:55Z"},
            "spec": {"containers": names(main), "initContainers": names(init)},
            "status": {"phase": "Running", "containerStatuses": main, "initContainerStatuses": init},
        });
        change(&mut pod);
        let row = row(&pod, NOW.parse().unwrap());
        assert_eq!((&*row[0], &*row[4]), ("web", "5s"));
        [row[1].clone(), row[2].clone(), row[3].clone()]
    }

    #[test]
    fn the_word_is_the_first_containers_that_has_one() {
        let crash = state("b", json!({"waiting": {"reason": "CrashLoopBackOff"}}));
        assert_eq!(shown(&[], &[running("a"), crash], |_| ()), ["1/2", "CrashLoopBackOff", "0"]);
        let ended = |ended: Value| state("a", json!({ "terminated": ended }));
        let word = |value: Value| shown(&[], &[ended(value)], |_| ())[1].clone();
        assert_eq!(word(json!({"reason": "OOMKilled", "exitCode": 137})), "OOMKilled");
        assert_eq!(word(json!({"signal": 9, "exitCode": 137})), "Signal:9");
        assert_eq!(word(json!({"exitCode": 3})), "ExitCode:3");
    }

    #[test]
    fn a_completed_container_beside_a_running_one_leaves_the_pod_running_if_it_is_ready() {
        let done = state("a", json!({"terminated": {"reason": "Completed", "exitCode": 0}}));
        let both = [done, running("b")];
        assert_eq!(shown(&[], &both, |_| ())[1], "NotReady");
        let ready =
            |pod: &mut Value| pod["status"]["conditions"] = json!([{"type": "Ready", "status": "True"}]);
        assert_eq!(shown(&[], &both, ready)[1], "Running");
    }

    #[test]
    fn init_containers_that_are_not_done_decide_the_word() {
        let waits = || state("main", json!({"waiting": {"reason": "PodInitializing"}}));
        let done = || state("one", json!({"terminated": {"reason": "Completed", "exitCode": 0}}));
        let with = |second: Value| shown(&[done(), second], &[waits()], |_| ())[1].clone();
        assert_eq!(with(state("two", json!({"running": {}}))), "Init:1/2");
        assert_eq!(with(state("two", json!({"waiting": {"reason": "PodInitializing"}}))), "Init:1/2");
        assert_eq!(
            with(state("two", json!({"waiting": {"reason": "ImagePullBackOff"}}))),
            "Init:ImagePullBackOff"
        );
        assert_eq!(
            with(state("two", json!({"terminated": {"reason": "Error", "exitCode": 1}}))),
            "Init:Error"
        );
        assert_eq!(
            with(state("two", json!({"terminated": {"signal": 15, "exitCode": 143}}))),
            "Init:Signal:15"
        );
        assert_eq!(with(state("two", json!({"terminated": {"exitCode": 0}}))), "PodInitializing");
    }

    #[test]
    fn a_sidecar_counts_as_a_container_and_other_init_containers_restarts_do_not() {
        let mut job = state("job", json!({"terminated": {"exitCode": 0}}));
        job["restartCount"] = json!(5);
        let mut proxy = running("proxy");
        proxy["restartCount"] = json!(2);
        proxy["lastState"] = json!({"terminated": {"finishedAt": "2024-05-01T11:59:50Z"}});
        let sidecar = |pod: &mut Value| pod["spec"]["initContainers"][1]["restartPolicy"] = json!("Always");
        assert_eq!(shown(&[job, proxy], &[running("main")], sidecar), ["2/2", "Running", "2 (10s ago)"]);
    }

    #[test]
    fn a_pod_on_its_way_out_is_terminating_until_it_is_over() {
        let leaving = |pod: &mut Value| pod["metadata"]["deletionTimestamp"] = json!(NOW);
        assert_eq!(shown(&[], &[running("a")], leaving)[1], "Terminating");
        let over = |pod: &mut Value| {
            pod["metadata"]["deletionTimestamp"] = json!(NOW);
            pod["status"]["phase"] = json!("Succeeded");
        };
        let done = state("a", json!({"terminated": {"reason": "Completed", "exitCode": 0}}));
        assert_eq!(shown(&[], &[done], over)[1], "Completed");
    }

    #[test]
    fn wide_tells_how_many_readiness_gates_are_open() {
        let mut pod = json!({"metadata": {"name": "web"}, "spec": {}, "status": {}});
        let gates = |pod: &Value| row(pod, NOW.parse().unwrap()).pop().unwrap();
        assert_eq!(gates(&pod), "<none>");
        pod["spec"]["readinessGates"] = json!([{"conditionType": "a/x"}, {"conditionType": "a/y"}]);
        pod["status"]["conditions"] =
            json!([{"type": "a/x", "status": "True"}, {"type": "a/y", "status": "Unknown"}]);
        assert_eq!(gates(&pod), "1/2");
    }

    #[test]
    fn labels_stand_in_one_cell() {
        assert_eq!(labels(&json!({"metadata": {"labels": {"b": "2", "a": "1"}}})), "a=1,b=2");
        assert_eq!(labels(&json!({"metadata": {}})), "<none>");
    }
}
