use proptest::prelude::*;
use saphyr_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, json};

use super::*;

/// A reader with the widest reading of plain scalars: whatever any YAML version takes for something else
/// than a string, it does too.
struct Reader<'a> {
    events: Vec<Event<'a>>,
    at: usize,
}

fn read(text: &str) -> Value {
    let events = Parser::new_from_str(text)
        .map(|event| event.unwrap_or_else(|error| panic!("{error} in\n{text}")).0)
        .filter(|event| {
            !matches!(
                event,
                Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) | Event::DocumentEnd
            )
        })
        .collect();
    let mut reader = Reader { events, at: 0 };
    let value = reader.value();
    assert_eq!(reader.at, reader.events.len(), "more than one document in\n{text}");
    value
}

impl Reader<'_> {
    fn value(&mut self) -> Value {
        let event = self.events[self.at].clone();
        self.at += 1;
        match event {
            Event::Scalar(text, ScalarStyle::Plain, ..) => plain(&text),
            Event::Scalar(text, ..) => Value::String(text.into_owned()),
            Event::SequenceStart(..) => {
                let mut list = Vec::new();
                while self.events[self.at] != Event::SequenceEnd {
                    list.push(self.value());
                }
                self.at += 1;
                Value::Array(list)
            }
            Event::MappingStart(..) => {
                let mut map = Map::new();
                while self.events[self.at] != Event::MappingEnd {
                    let key = self.value();
                    let value = self.value();
                    map.insert(key.as_str().expect("a key is a string").to_owned(), value);
                }
                self.at += 1;
                Value::Object(map)
            }
            other => panic!("unexpected {other:?}"),
        }
    }
}

fn plain(text: &str) -> Value {
    match text {
        "null" | "~" | "" => return Value::Null,
        "true" => return Value::Bool(true),
        "false" => return Value::Bool(false),
        _ => {}
    }
    if let Ok(whole) = text.parse::<i64>() {
        return json!(whole);
    }
    if let Ok(whole) = text.parse::<u64>() {
        return json!(whole);
    }
    match text.parse::<f64>() {
        Ok(float) if float.is_finite() && !text.eq_ignore_ascii_case("nan") => json!(float),
        _ => Value::String(text.to_owned()),
    }
}

#[test]
fn a_pod_looks_as_kubectl_prints_it() {
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web", "creationTimestamp": "2024-01-01T00:00:00Z", "labels": {"on": "true"}},
        "spec": {
            "containers": [
                {"name": "a", "args": ["-c", "echo: x", "*", "it's # no"], "ports": [{"containerPort": 80}]},
                {"name": "b", "env": [], "resources": {}, "command": [["nested"], null]},
            ],
        },
        "status": {"podIP": "10.244.0.7", "message": "two\nlines\n"},
    });
    let expected = "\
apiVersion: v1
kind: Pod
metadata:
  creationTimestamp: \"2024-01-01T00:00:00Z\"
  labels:
    \"on\": \"true\"
  name: web
spec:
  containers:
  - args:
    - -c
    - 'echo: x'
    - '*'
    - 'it''s # no'
    name: a
    ports:
    - containerPort: 80
  - command:
    - - nested
    - null
    env: []
    name: b
    resources: {}
status:
  message: |
    two
    lines
  podIP: 10.244.0.7
";
    assert_eq!(to_yaml(&pod), expected);
    assert_eq!(read(expected), pod);
}

#[test]
fn what_any_yaml_version_takes_for_something_else_is_quoted() {
    for text in [
        "",
        "~",
        "null",
        "Yes",
        "off",
        "y",
        "0x1F",
        "0o17",
        "017",
        "1_000",
        "-1",
        "+1",
        "1.",
        ".5",
        "1e3",
        "1E-3",
        "-.inf",
        ".NaN",
        "12:30",
        "190:20:30.15",
        "2001-12-14",
        "2001-1-2 12:00:00",
        "<<",
        "=",
    ] {
        assert_eq!(to_yaml(&json!(text)), format!("\"{text}\"\n"));
    }
    for text in
        ["v1", "10.244.0.7", "1.2.3", "e3", "0xyz", "a:b", "a#b", "--port=80", "1Gi", "2001-12", "-", "---"]
    {
        let written = to_yaml(&json!(text));
        assert!(!written.starts_with('"'), "{written}");
        assert_eq!(read(&written), json!(text));
    }
}

#[test]
fn lines_are_shown_as_they_are_where_that_is_safe() {
    for (text, written) in [
        ("a\nb", "|-\n  a\n  b\n"),
        ("a\n\n", "|+\n  a\n\n"),
        (" a\nb\n", "|2\n   a\n  b\n"),
        ("a\tb\n", "|\n  a\tb\n"),
        ("a\r\nb\n", "\"a\\r\\nb\\n\"\n"),
        ("a\n \nb", "\"a\\n \\nb\"\n"),
        ("\n", "\"\\n\"\n"),
        ("bell\u{7}", "\"bell\\x07\"\n"),
    ] {
        assert_eq!(to_yaml(&json!(text)), written);
        assert_eq!(read(written), json!(text));
    }
}

#[test]
fn numbers_keep_their_value_and_their_kind() {
    for number in [json!(0), json!(-5), json!(u64::MAX), json!(1.0), json!(1e100), json!(2.5e-9)] {
        assert_eq!(read(&to_yaml(&number)), number, "{}", to_yaml(&number));
    }
    assert_eq!(to_yaml(&json!(1e100)), "1.0e+100\n");
}

fn text() -> impl Strategy<Value = String> {
    let awkward = prop::sample::select(vec![
        " ", "\n", "\t", ":", "#", "-", "'", "\"", "\\", "a", "0", ".", "%", "|", "&", "!", "[", "]", "{",
        "}", ",", "?", "\u{85}", "\u{2028}", "\u{feff}", "\r", "é", "😀", "no", "e", "@", "`", ">", "*", "~",
        "_",
    ]);
    prop_oneof![prop::collection::vec(awkward, 0..8).prop_map(|parts| parts.concat()), any::<String>()]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_filter("JSON has no infinity", |float| float.is_finite()).prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(text(), inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn what_is_written_reads_back_as_the_same_value(value in value()) {
        let written = to_yaml(&value);
        prop_assert_eq!(read(&written), value, "{}", written);
    }
}
