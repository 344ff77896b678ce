//! What `podbox wait --for` wishes of a pod, and how a pod stands to it. Pure.

use serde_json::Value;

use crate::output::jsonpath::{Template, text_of};

/// What is waited for.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Wish {
    /// That the pod is there.
    Create,
    /// That it is gone.
    Delete,
    /// That a condition has this status: `True`, `False` or `Unknown`.
    Condition { kind: String, status: String },
    /// That a path finds this value, or anything at all.
    Path { path: Box<Path>, value: Option<String> },
}

/// A path, and as it was written.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Path {
    text: String,
    template: Template,
}

/// How a pod stands to a wish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Met,
    /// Not yet; what there is instead.
    NotYet(String),
    /// Not now and never; why.
    Never(String),
}

/// The phases that a pod can have here: there is no node that could be lost from sight (`Unknown`).
const PHASES: [&str; 4] = ["Pending", "Running", "Succeeded", "Failed"];
/// What a condition can be.
const STATUSES: [&str; 3] = ["True", "False", "Unknown"];

impl Wish {
    /// Reads the value of `--for`.
    ///
    /// # Errors
    /// Says what cannot be understood.
    pub(super) fn parse(text: &str) -> Result<Wish, String> {
        let (word, rest) = text.split_once('=').map_or((text, None), |(word, rest)| (word, Some(rest)));
        match (word.to_ascii_lowercase().as_str(), rest) {
            ("create", None) => Ok(Wish::Create),
            ("delete", None) => Ok(Wish::Delete),
            ("condition", Some(rest)) => {
                let (kind, status) = rest.split_once('=').unwrap_or((rest, "True"));
                if kind.is_empty() {
                    return Err("condition=NAME: the name is missing".to_owned());
                }
                Ok(Wish::Condition { kind: kind.to_owned(), status: one_of(&STATUSES, status)? })
            }
            ("phase", Some(phase)) => Wish::path("{.status.phase}", Some(one_of(&PHASES, phase)?)),
            ("jsonpath", Some(rest)) => {
                let (path, value) = split(rest);
                // kubectl takes the value with or without quotes.
                let value = value.map(|value| value.trim_matches(['\'', '"']).to_owned());
                if value.as_deref() == Some("") {
                    return Err("jsonpath={PATH}=VALUE: the value is empty".to_owned());
                }
                Wish::path(path, value)
            }
            _ => Err("want create, delete, condition=NAME[=STATUS], phase=PHASE or jsonpath={PATH}[=VALUE]"
                .to_owned()),
        }
    }

    fn path(text: &str, value: Option<String>) -> Result<Wish, String> {
        let template = Template::parse_relaxed(text).map_err(|error| error.to_string())?;
        Ok(Wish::Path { path: Box::new(Path { text: text.to_owned(), template }), value })
    }

    /// How a pod that is there stands to it.
    ///
    /// # Errors
    /// Where a path finds what cannot be compared with a value.
    pub(super) fn judge(&self, pod: &Value) -> Result<Standing, String> {
        let (met, now) = match self {
            Wish::Create => return Ok(Standing::Met),
            Wish::Delete => return Ok(Standing::NotYet("it is still there".to_owned())),
            Wish::Condition { kind, status } => condition(pod, kind, status),
            Wish::Path { path, value } => self::value(pod, path, value.as_deref())?,
        };
        let over = pod["status"]["phase"].as_str().filter(|phase| matches!(*phase, "Succeeded" | "Failed"));
        Ok(match over {
            _ if met => Standing::Met,
            Some(phase) if self.is_of_the_status() => {
                Standing::Never(format!("the pod is over ({phase}), and {now}"))
            }
            _ => Standing::NotYet(now),
        })
    }

    /// The status of a pod that is over does not change any more; its metadata may.
    fn is_of_the_status(&self) -> bool {
        match self {
            Wish::Create | Wish::Delete => false,
            Wish::Condition { .. } => true,
            Wish::Path { path, .. } => {
                path.text.trim_start_matches(['{', '$', '@', '.', ' ']).starts_with("status")
            }
        }
    }
}

/// The word that was meant, whatever its case.
fn one_of(words: &[&str], given: &str) -> Result<String, String> {
    let found = words.iter().find(|word| word.eq_ignore_ascii_case(given));
    found.map(|word| (*word).to_owned()).ok_or_else(|| format!("{given:?} is none of {}", words.join(", ")))
}

/// A path and what comes after its `=`, which is the first one outside of brackets and quotes.
fn split(text: &str) -> (&str, Option<&str>) {
    let (mut depth, mut quote) = (0_usize, None);
    for (at, letter) in text.char_indices() {
        match letter {
            _ if quote == Some(letter) => quote = None,
            _ if quote.is_some() => {}
            '"' | '\'' => quote = Some(letter),
            '{' | '[' | '(' => depth += 1,
            '}' | ']' | ')' => depth = depth.saturating_sub(1),
            '=' if depth == 0 => return (&text[..at], Some(&text[at + 1..])),
            _ => {}
        }
    }
    (text, None)
}

fn condition(pod: &Value, kind: &str, status: &str) -> (bool, String) {
    let all = pod["status"]["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let named = |known: &&Value| known["type"].as_str().is_some_and(|text| text.eq_ignore_ascii_case(kind));
    let Some(found) = all.iter().find(named) else {
        return (false, format!("it has no condition {kind}"));
    };
    let now = found["status"].as_str().unwrap_or_default();
    let mut text = format!("{kind} is {now}");
    for detail in ["reason", "message"].map(|key| found[key].as_str()).into_iter().flatten() {
        text.push_str(": ");
        text.push_str(detail);
    }
    (now.eq_ignore_ascii_case(status), text)
}

fn value(pod: &Value, path: &Path, wanted: Option<&str>) -> Result<(bool, String), String> {
    let text = &path.text;
    // A list that is not long enough yet is as good as a field that is not there yet.
    let found = path.template.find(pod).unwrap_or_default();
    let found: Vec<&Value> = found.into_iter().filter(|value| !value.is_null()).collect();
    match (found.as_slice(), wanted) {
        ([], _) => Ok((false, format!("{text} finds nothing"))),
        (_, None) => Ok((true, String::new())),
        ([Value::Object(_) | Value::Array(_)], Some(_)) => {
            Err(format!("{text} leads to an object or a list, which is not compared with a value"))
        }
        ([one], Some(wanted)) => Ok((text_of(one) == wanted, format!("{text} is {}", text_of(one)))),
        (_, Some(_)) => Err(format!("{text} finds more than one value")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(phase: &str) -> Value {
        json!({
            "metadata": {"name": "web", "labels": {"a": "b"}},
            "status": {
                "phase": phase,
                "conditions": [
                    {"type": "Ready", "status": "False", "reason": "ContainersNotReady", "message": "not [c]"},
                    {"type": "example.com/gate", "status": "Unknown"},
                ],
                "containerStatuses": [{"name": "c", "ready": true, "restartCount": 2}],
            },
        })
    }

    fn judge(wish: &str, phase: &str) -> Standing {
        Wish::parse(wish).unwrap().judge(&pod(phase)).unwrap()
    }

    #[test]
    fn what_is_so_is_met_however_kubectl_lets_one_write_it() {
        for wish in [
            "create",
            "condition=Ready=False",
            "condition=ready=false",
            "condition=example.com/gate=Unknown",
            "phase=Running",
            "phase=running",
            "jsonpath={.status.phase}=Running",
            "jsonpath='{.status.phase}'=Running".replace('\'', "").as_str(),
            "jsonpath={.status.phase}='Running'",
            "jsonpath=.status.phase=Running",
            "jsonpath=status.phase=Running",
            "jsonpath={.status.phase}",
            "jsonpath=.metadata.labels.a",
            "jsonpath={.status.containerStatuses[0].ready}=true",
            "jsonpath={.status.containerStatuses[0].restartCount}=2",
            "jsonpath={.status.conditions[?(@.type==\"Ready\")].status}=False",
            "jsonpath=.status.conditions[?(@.type=='Ready')].status=False",
        ] {
            assert_eq!(judge(wish, "Running"), Standing::Met, "{wish}");
        }
    }

    #[test]
    fn what_is_not_so_yet_says_what_there_is_instead() {
        for (wish, now) in [
            ("condition=Ready", "Ready is False: ContainersNotReady: not [c]"),
            ("condition=Other=Unknown", "it has no condition Other"),
            ("delete", "it is still there"),
            ("jsonpath={.status.podIP}", "{.status.podIP} finds nothing"),
            (
                "jsonpath={.status.containerStatuses[1].ready}=true",
                "{.status.containerStatuses[1].ready} finds nothing",
            ),
            ("phase=Failed", "{.status.phase} is Running"),
        ] {
            assert_eq!(judge(wish, "Running"), Standing::NotYet(now.to_owned()), "{wish}");
        }
    }

    #[test]
    fn of_a_pod_that_is_over_only_what_can_still_come_is_waited_for() {
        for wish in [
            "condition=Ready",
            "phase=Running",
            "jsonpath=.status.podIP",
            "jsonpath={.status.phase}=Succeeded",
        ] {
            let Standing::Never(why) = judge(wish, "Failed") else { panic!("{wish}") };
            assert!(why.starts_with("the pod is over (Failed), and "), "{why}");
        }
        for wish in ["delete", "jsonpath={.metadata.deletionTimestamp}"] {
            assert!(matches!(judge(wish, "Succeeded"), Standing::NotYet(_)), "{wish}");
        }
        assert_eq!(judge("phase=Failed", "Failed"), Standing::Met);
    }

    #[test]
    fn a_wish_that_can_never_be_understood_is_refused() {
        for wish in [
            "",
            "Ready",
            "condition",
            "condition=",
            "condition=Ready=Yes",
            "phase=Runing",
            "phase=Unknown",
            "jsonpath={.status.phase}=",
            "jsonpath={.status",
            "delete=now",
        ] {
            assert!(Wish::parse(wish).is_err(), "{wish}");
        }
        assert!(Wish::parse("jsonpath={.status}=x").unwrap().judge(&pod("Running")).is_err());
        assert!(
            Wish::parse("jsonpath={.status.conditions[*].type}=x").unwrap().judge(&pod("Running")).is_err()
        );
    }
}
