//! The lessons in tests/walks: every command is run as a reader would type it, and what the text says is seen.
//!
//! A lesson is Markdown. Blocks marked `sh` are one script, run by one shell; a block marked `text` below one is what it
//! prints, where `…` stands for anything within a line and alone on a line for any lines, also none. What stands under
//! the heading "Tidy up" is run in the end, whatever has happened.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use e2e::{Cmd, Host};

/// Commands, and what they print if the lesson says so.
#[derive(Debug)]
struct Step {
    commands: String,
    seen: Option<String>,
    line: usize,
}

/// The blocks of a lesson.
fn steps(lesson: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut block: Option<(String, String, usize)> = None;
    for (number, line) in (1..).zip(lesson.lines()) {
        match (&mut block, line.strip_prefix("```")) {
            (None, Some(kind)) => block = Some((kind.to_owned(), String::new(), number)),
            (None, None) => {}
            (Some(_), Some(_)) => {
                let Some((kind, text, line)) = block.take() else { continue };
                match kind.as_str() {
                    "sh" => steps.push(Step { commands: text, seen: None, line }),
                    "text" => {
                        steps.last_mut().expect("commands stand before what they print").seen = Some(text)
                    }
                    other => panic!("line {line}: a block of {other:?}"),
                }
            }
            (Some((_, text, _)), None) => {
                let _ = writeln!(text, "{line}");
            }
        }
    }
    steps
}

/// Whether a line is as the lesson says.
fn line_fits(seen: &str, said: &str) -> bool {
    let mut parts = said.split('…');
    let Some(mut rest) = seen.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// Whether lines are as the lesson says.
fn fits(seen: &[&str], said: &[&str]) -> bool {
    match said.split_first() {
        None => seen.is_empty(),
        Some((&"…", rest)) => (0..=seen.len()).any(|skipped| fits(&seen[skipped..], rest)),
        Some((first, rest)) => match seen.split_first() {
            Some((line, others)) => line_fits(line, first) && fits(others, rest),
            None => false,
        },
    }
}

const MARK: char = '\u{1}';

fn script(steps: &[Step]) -> String {
    let (last, steps) = steps.split_last().expect("a lesson has commands");
    let mark = |number: usize| format!("printf '\\001{number}\\n'\n");
    let mut script = String::from("exec 2>&1\nset -eu\n");
    let _ = write!(
        script,
        "tidy() {{\n{}}}\ntrap 'code=$?; set +e; {}tidy; exit $code' EXIT\n",
        last.commands,
        mark(steps.len()).replace('\'', "\"").replace('\n', "; ")
    );
    for (number, step) in steps.iter().enumerate() {
        let _ = write!(script, "{}{}", mark(number), step.commands);
    }
    script
}

fn walk(name: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("walks").join(name);
    let lesson = fs::read_to_string(&path).expect("read the lesson");
    let steps = steps(&lesson);
    assert!(lesson.contains("\n## Tidy up\n"), "{name} leaves something behind");
    let host = Host::new();
    let bin = e2e::binary();
    let bin = Path::new(&bin).parent().expect("podbox is in a directory").display().to_string();
    let found = std::env::var("PATH").unwrap_or_default();
    let script = script(&steps);
    let shell = host.environment(Cmd::new("bash")).args(["-c", script.as_str()]);
    let shell = shell.env("PATH", format!("{bin}:{found}")).env("WALK_PORT", host.port(0).to_string());
    let output = shell.run();
    // podbox finds out what was there, so that it can look whether it is gone.
    host.podbox(["get", "pods"]).ok();
    assert_eq!(output.code, Some(0), "{name}: a command failed\n{output}");
    let mut parts = output.stdout.split(MARK);
    parts.next();
    for (step, seen) in steps.iter().zip(parts) {
        let seen: Vec<&str> = seen.lines().skip(1).map(str::trim_end).collect();
        let Some(said) = &step.seen else { continue };
        let said: Vec<&str> = said.lines().collect();
        assert!(
            fits(&seen, &said),
            "{name}:{}: the lesson says\n{}\nbut it is\n{}",
            step.line,
            said.join("\n"),
            seen.join("\n")
        );
    }
    host.finish();
}

#[test]
fn a_pod_by_hand_is_the_same_as_one_by_podbox() {
    walk("1-a-pod-by-hand.md");
}

#[test]
fn from_pod_to_pod() {
    walk("2-pod-to-pod.md");
}

#[test]
fn in_by_a_port_of_the_host() {
    walk("4-host-port.md");
}

#[test]
fn from_a_pod_to_a_service() {
    walk("3-pod-to-service.md");
}

#[test]
fn names_are_answered_in_the_pod() {
    walk("5-names.md");
}

#[test]
fn why_readiness_matters() {
    walk("6-why-readiness-matters.md");
}

#[test]
fn what_is_seen_must_be_what_the_lesson_says() {
    for (seen, said, same) in [
        ("a b c", "a … c", true),
        ("a b c", "a … d", false),
        ("a", "a …", false),
        ("peer 1:2", "peer …:…", true),
        ("x", "…", true),
        ("one\ntwo\nthree", "one\n…", true),
        ("one\ntwo\nthree", "…\nthree", true),
        ("one\ntwo", "one", false),
        ("one", "…\none\n…", true),
    ] {
        let lines = |text: &'static str| text.lines().collect::<Vec<_>>();
        assert_eq!(fits(&lines(seen), &lines(said)), same, "{seen:?} as {said:?}");
    }
}
