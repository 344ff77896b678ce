use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// The object of the examples in Kubernetes' documentation of JSONPath support.
fn documented() -> Value {
    json!({
        "kind": "List",
        "items": [
            {
                "kind": "None",
                "metadata": {"name": "127.0.0.1", "labels": {"kubernetes.io/hostname": "127.0.0.1"}},
                "status": {
                    "capacity": {"cpu": "4"},
                    "addresses": [{"type": "LegacyHostIP", "address": "127.0.0.1"}],
                },
            },
            {
                "kind": "None",
                "metadata": {"name": "127.0.0.2"},
                "status": {
                    "capacity": {"cpu": "8"},
                    "addresses": [
                        {"type": "LegacyHostIP", "address": "127.0.0.2"},
                        {"type": "another", "address": "127.0.0.3"},
                    ],
                },
            },
        ],
        "users": [
            {"name": "myself", "user": {}},
            {"name": "e2e", "user": {"username": "admin", "password": "secret"}},
        ],
    })
}

fn pod() -> Value {
    json!({"spec": {"containers": [
        {"name": "a", "image": "x:1", "ports": [{"containerPort": 80}], "ready": true, "restarts": 3, "weight": 0.5},
        {"name": "b", "image": "y:1", "ready": false, "restarts": 10},
        {"name": "c", "image": "x:1", "ready": true, "restarts": 0, "none": null},
    ]}})
}

fn printed(template: &str, object: &Value) -> String {
    Template::parse(template).unwrap().print(object).unwrap_or_else(|error| panic!("{template}: {error}"))
}

#[test]
fn the_documentations_examples_print_what_it_says() {
    let object = documented();
    for (template, text) in [
        ("kind is {.kind}", "kind is List"),
        ("{['kind']}", "List"),
        ("{$.kind}", "List"),
        ("{..name}", "127.0.0.1 127.0.0.2 myself e2e"),
        ("{.items[*].metadata.name}", "127.0.0.1 127.0.0.2"),
        ("{.users[0].name}", "myself"),
        ("{.users[0:1:1].name}", "myself"),
        ("{.items[*]['metadata.name', 'status.capacity']}", r#"127.0.0.1 127.0.0.2 {"cpu":"4"} {"cpu":"8"}"#),
        (r#"{.users[?(@.name=="e2e")].user.password}"#, "secret"),
        (
            "{range .items[*]}[{.metadata.name}, {.status.capacity}] {end}",
            r#"[127.0.0.1, {"cpu":"4"}] [127.0.0.2, {"cpu":"8"}] "#,
        ),
        ("{range .items[*]}{.metadata.name}{'\\t'}{end}", "127.0.0.1\t127.0.0.2\t"),
        (r"{.items[*].metadata.labels.kubernetes\.io/hostname}", "127.0.0.1"),
        (r"{.items[0].metadata.labels['kubernetes\.io/hostname']}", "127.0.0.1"),
        (
            "{range .items[*]}{.metadata.name}:{range .status.addresses[*]} {.address}{end}{\"\\n\"}{end}",
            "127.0.0.1: 127.0.0.1\n127.0.0.2: 127.0.0.2 127.0.0.3\n",
        ),
        ("{..addresses[?(@.type == 'another')].address}", "127.0.0.3"),
        ("{.users[1].user.*}", "secret admin"),
    ] {
        assert_eq!(printed(template, &object), text, "{template}");
    }
    assert_eq!(printed("{@}", &json!({"a": [1, "x"]})), r#"{"a":[1,"x"]}"#);
    assert_eq!(printed("{.}", &json!("x")), "x");
}

#[test]
fn filters_compare_strings_numbers_and_booleans_or_ask_whether_something_is_there() {
    let pod = pod();
    for (filter, names) in [
        (r#"@.image=="x:1""#, "a c"),
        (r#"@.image != "x:1""#, "b"),
        ("@.restarts>3", "b"),
        ("@.restarts >= 3", "a b"),
        ("@.restarts<3", "c"),
        ("@.restarts <= 3.0", "a c"),
        ("@.ready==true", "a c"),
        ("@.ports", "a"),
        ("@.ports[0].containerPort == 80", "a"),
        ("@.weight < 1", "a"),
        ("@.none == null", "c"),
        ("3 == @.restarts", "a"),
        (r#"@.name == "nobody""#, ""),
    ] {
        let template = format!("{{.spec.containers[?({filter})].name}}");
        assert_eq!(printed(&template, &pod), names, "{filter}");
    }
}

#[test]
fn indexes_slices_and_unions_pick_from_lists() {
    let pod = pod();
    for (brackets, names) in [
        ("0", "a"),
        ("-1", "c"),
        ("1:", "b c"),
        (":2", "a b"),
        ("-2:", "b c"),
        ("::2", "a c"),
        ("1:1", ""),
        ("0,2", "a c"),
        ("2,0", "c a"),
        ("*", "a b c"),
    ] {
        assert_eq!(printed(&format!("{{.spec.containers[{brackets}].name}}"), &pod), names, "{brackets}");
    }
}

#[test]
fn what_is_missing_prints_nothing() {
    assert_eq!(printed("<{.none.such}{.spec.none[0]}{.spec.none[*].x}>", &pod()), "<>");
}

#[test]
fn a_path_without_braces_is_a_path() {
    assert_eq!(printed(".spec.containers[0].name", &pod()), "a");
    assert_eq!(Template::parse_relaxed("spec.x").unwrap(), Template::parse("{.spec.x}").unwrap());
    assert_eq!(Template::parse_relaxed("{[0]}").unwrap(), Template::parse("{[0]}").unwrap());
    for text in ["{.a", ".a}"] {
        let said = Template::parse_relaxed(text).unwrap_err().to_string();
        assert!(said.ends_with(&format!(" of {text}")), "it shows what was written: {said}");
    }
}

#[test]
fn texts_in_quotes_have_escapes_and_may_hold_braces() {
    assert_eq!(printed(r#"{"a\n\t\"{}\x41é"}{'it\'s'}"#, &json!(null)), "a\n\t\"{}Aé".to_owned() + "it's");
}

#[test]
fn mistakes_are_said_with_their_place() {
    let said = |template: &str| Template::parse(template).unwrap_err().to_string();
    for (template, message) in [
        ("{.items[*}", "expected \"]\", found '}' at character 10 of {.items[*}"),
        ("{.a", "expected \"}\", but the template ends at character 4 of {.a"),
        ("{name}", "\"name\" is not a path; did you mean .name at character 2 of {name}"),
        ("{range .a}x", "{range} has no {end} at character 12 of {range .a}x"),
        ("{end}", "{end} without {range} at character 6 of {end}"),
        ("a}", "} without { at character 2 of a}"),
        (
            "{.a[x]}",
            "expected an index, a slice, *, a quoted name or ?(…) in brackets at character 5 of {.a[x]}",
        ),
        ("{.a[?(@.b=1)]}", "a comparison is written == at character 10 of {.a[?(@.b=1)]}"),
        (
            "{.a[?(@.b==x)]}",
            "\"x\" is neither a path (@.x) nor a value (\"x\") at character 13 of {.a[?(@.b==x)]}",
        ),
        ("{.a..}", ""),
        ("{.a.}", "expected a name after the dot at character 5 of {.a.}"),
        ("{'a}", "the quotes do not end at character 6 of {'a}"),
    ] {
        if message.is_empty() {
            assert!(Template::parse(template).is_ok(), "{template}");
        } else {
            assert_eq!(said(template), message);
        }
    }
    assert!(said("{.a[?(@.b && @.c)]}").starts_with("kubectl's filters hold one condition"));
    assert!(said(&"{range .a}".repeat(100)).starts_with("too deeply nested"));
}

#[test]
fn a_step_that_does_not_fit_says_which_and_why() {
    let said = |template: &str| Template::parse(template).unwrap().print(&pod()).unwrap_err().to_string();
    assert_eq!(said("{.spec.containers[3].name}"), "array index out of bounds: index 3, length 3 in [3]");
    assert_eq!(said("{.spec[0]}"), "an object is not a list in [0]");
    assert_eq!(said("{.spec.containers[2:1]}"), "starting index 2 is greater than ending index 1 in [2:1]");
    assert_eq!(
        said(r#"{.spec.containers[?(@.restarts=="3")]}"#),
        r#"a number cannot be compared with a string in [?(@.restarts=="3")]"#
    );
}

proptest! {
    #[test]
    fn no_template_makes_the_reader_or_the_walker_fall_over(
        parts in prop::collection::vec(prop::sample::select(vec![
            "{", "}", ".", "..", "[", "]", "*", "'", "\"", "\\", "range ", "end", "?(", ")", "@", "$", "==", "<", ":",
            "-", "1", "items", "spec", "containers", " ", ",", "name", "é",
        ]), 0..14)
    ) {
        if let Ok(template) = Template::parse(&parts.concat()) {
            let _ = template.print(&pod());
            let _ = template.print(&documented());
        }
    }
}
