use std::fs;

use serde_json::json;

use super::*;

fn plugin(body: &str) -> (tempfile::TempDir, Caller) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("plugin");
    fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let caller = Caller { directories: vec![directory.path().to_owned()], limit: Duration::from_secs(20) };
    (directory, caller)
}

#[test]
fn a_plugin_has_the_parameters_the_input_and_no_other_environment() {
    let (_kept, caller) =
        plugin(r#"echo "{\"input\": $(cat), \"env\": \"$(env | cut -d= -f1 | sort | tr '\n' ' ')\"}""#);
    let answer = caller.call("plugin", &[("CNI_COMMAND", "ADD".to_owned())], &json!({"a": 1})).unwrap();
    assert_eq!(answer, json!({"input": {"a": 1}, "env": "CNI_COMMAND PATH PWD "}));
}

#[test]
fn what_a_plugin_says_instead_of_an_error_object_is_told() {
    let (_kept, caller) = plugin("echo half; echo the reason >&2; exit 3");
    let error = caller.call("plugin", &[], &Value::Null).unwrap_err().to_string();
    assert_eq!(error, "plugin: half\nthe reason");
    let (_kept, caller) = plugin("exit 3");
    let error = caller.call("plugin", &[], &Value::Null).unwrap_err().to_string();
    assert_eq!(error, "plugin: it failed and did not say why");
    let (_kept, caller) = plugin("echo '{\"ips\": '");
    let error = caller.call("plugin", &[], &Value::Null).unwrap_err().to_string();
    assert!(error.starts_with("plugin: its answer is no JSON: EOF"), "{error}");
}

#[test]
fn what_a_plugin_says_moves_no_cursor() {
    let (_kept, caller) = plugin(r"printf '\033[2J\033]0;owned\007no\r'; exit 3");
    let error = caller.call("plugin", &[], &Value::Null).unwrap_err().to_string();
    assert_eq!(error, r"plugin: \u{1b}[2J\u{1b}]0;owned\u{7}no");
    let object = r#"{"code":7,"msg":"\u001b[31mred","details":"\u009b1m"}"#;
    let (_kept, caller) = plugin(&format!("cat <<'END'\n{object}\nEND\nexit 1"));
    let error = caller.call("plugin", &[], &Value::Null).unwrap_err().to_string();
    assert_eq!(error, r"plugin: \u{1b}[31mred: \u{9b}1m");
}

#[test]
fn a_plugin_that_hangs_is_ended_with_what_it_has_started() {
    let (directory, mut caller) = plugin("echo $$ >${0%/*}/group; sleep 600 & sleep 600");
    caller.limit = Duration::from_millis(300);
    let error = caller.call("plugin", &[], &Value::Null).unwrap_err();
    assert!(matches!(error, CallError::Slow { .. }), "{error}");
    let group: i32 = fs::read_to_string(directory.path().join("group")).unwrap().trim().parse().unwrap();
    // The members that are dead and not yet reaped by their new parent count no more.
    let deadline = Instant::now() + Duration::from_secs(20);
    while killpg(Pid::from_raw(group), None).is_ok() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(killpg(Pid::from_raw(group), None).is_err());
}

#[test]
fn much_output_on_both_sides_is_read_to_its_end() {
    let (_kept, caller) = plugin(
        r#"head -c 300000 /dev/zero | tr '\0' x >&2; printf '"'; head -c 300000 /dev/zero | tr '\0' y; printf '"'"#,
    );
    let answer = caller.call("plugin", &[], &Value::Null).unwrap();
    assert_eq!(answer.as_str().unwrap().len(), 300_000);
}

#[test]
fn only_a_file_that_can_be_run_is_a_plugin() {
    let (directory, caller) = plugin("exit 0");
    fs::write(directory.path().join("text"), "").unwrap();
    for name in ["text", "absent", "", ".", "..", "../plugin"] {
        assert!(matches!(caller.find(name), Err(CallError::Missing { .. })), "{name}");
    }
    assert!(caller.find("plugin").is_ok());
}
