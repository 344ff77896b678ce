//! YAML as people write it, and as kubectl takes it.

use super::*;

fn refused(text: impl Into<Vec<u8>>) -> Diagnostic {
    let found = load(&[Source::new("p.yaml", text)], &Options::default()).unwrap_err();
    found.0.into_iter().next().unwrap()
}

fn hint(text: &str) -> String {
    refused(text).hint.unwrap_or_default()
}

#[test]
fn brackets_may_stand_at_any_indentation() {
    for container in [
        "    command: [\n      \"a\",\n      b,\n    ]",
        "    command: [ # a comment\n      \"a\", # it's 'one\n      b\n    ]",
        "    command: [a,\n    b]",
        "    command: [\"a\",\n  'b'\n]",
        "    command: [\r\n\"a\",\r\nb]\r\n",
    ] {
        let text = pod_with("", container).replace("it's 'one", "one");
        let command = one(&text).pod.containers.remove(0).command;
        assert_eq!(command, Some(vec!["a".to_owned(), "b".to_owned()]), "{container}");
    }
    let text = pod_with("", "    command: [\"a\",\n'b',\n'd\n     e',\n# g\nh]\n    args: 7");
    let wrong = refused(text);
    assert_eq!((wrong.line, wrong.column), (15, 11), "positions are those of the file: {wrong:?}");
    let text = "metadata: {\n  name: p\n}\nspec: {\ncontainers: [\n{name: c,\nimage: i}\n]\n}\napiVersion: v1\nkind: Pod\n";
    assert_eq!(one(text).pod.containers[0].image, "i");
}

#[test]
fn a_tab_separates_as_well_as_a_blank_but_does_not_indent() {
    let text = pod_with("  restartPolicy:\tNever\t# a comment\n  hostname: \th", "    tty:\t\tyes");
    let loaded = one(&text);
    assert_eq!(loaded.pod.restart_policy, RestartPolicy::Never);
    assert!(loaded.pod.containers[0].tty);
    let wrong = refused(pod_with("  restartPolicy:\tNone", ""));
    assert_eq!((wrong.line, wrong.column), (5, 18), "a tab is one character");
    assert!(
        wrong.render(Color::Never).contains("  |                     ^^^^"),
        "the mark stands below the value"
    );
    assert!(hint(&pod_with("\thostname: h", "")).contains("tab"));
}

#[test]
fn a_byte_order_mark_may_begin_the_file_and_each_of_its_documents() {
    let one = pod_with("", "");
    let two = one.replace("{name: p}", "{name: q}");
    for text in [format!("\u{feff}{one}---\n\u{feff}{two}"), format!("\u{feff}{one}---\r\n\u{feff}{two}")] {
        let loaded =
            load(&[Source::new("p", text)], &Options::default()).unwrap_or_else(|why| panic!("{why}"));
        assert_eq!(loaded.pods.len(), 2);
        assert_eq!(loaded.pods[1].line, one.lines().count() + 2);
    }
}

#[test]
fn another_encoding_is_called_by_its_name() {
    let text = pod_with("", "");
    let wide = |order: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(order).collect::<Vec<u8>>();
    let marked = [vec![0xff, 0xfe], wide(u16::to_le_bytes)].concat();
    for (bytes, name) in [
        (marked, "UTF-16"),
        (wide(u16::to_le_bytes), "UTF-16LE"),
        (wide(u16::to_be_bytes), "UTF-16BE"),
        (vec![0xff, 0xfe, 0, 0, b'a', 0, 0, 0], "UTF-32"),
    ] {
        let wrong = refused(bytes);
        assert_eq!(wrong.message, format!("the text is {name}, and a manifest must be UTF-8"));
        assert_eq!(wrong.hint, Some(format!("convert it: iconv -f {name} -t UTF-8")));
    }
    let wrong = refused(b"kind: Pod # caf\xe9\n");
    assert_eq!(
        (wrong.line, wrong.column, wrong.message.as_str()),
        (1, 16, "the text is not UTF-8 from here on")
    );
}

#[test]
fn json_objects_may_follow_each_other_and_write_characters_as_surrogates() {
    let object = |name: &str, more: &str| {
        format!(
            r#"{{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"{name}","annotations":{{"x":"é \ud83d\ude00 z"}}}},"spec":{{"containers":[{{"name":"c","image":"i"{more}}}]}}}}"#
        )
    };
    for between in ["", " ", "\n", "\n\n  "] {
        let text = format!("{}{between}{}\n", object("a", ""), object("b", ""));
        let loaded =
            load(&[Source::new("p", text)], &Options::default()).unwrap_or_else(|why| panic!("{why}"));
        let names: Vec<_> = loaded.pods.iter().map(|one| one.pod.name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(loaded.pods[1].object["metadata"]["annotations"]["x"], "é \u{1f600} z");
    }
    let second = object("b", r#","imag":1"#);
    let column = second.chars().count() - "\"imag\":1}]}}".chars().count() + 1;
    let wrong = refused(format!("{}\n{second}", object("a", "")));
    assert_eq!((wrong.line, wrong.column, wrong.field_path.as_str()), (2, column, "spec.containers[0].imag"));
}

#[test]
fn what_is_no_string_says_what_it_is_and_how_to_write_it() {
    for (text, want) in [
        ("no", "unquoted, this is the boolean false; write it in quotes: \"no\""),
        ("on", "unquoted, this is the boolean true; write it in quotes: \"on\""),
        ("8080", "unquoted, this is a number; write it in quotes: \"8080\""),
        ("1e3", "unquoted, this is a number; write it in quotes: \"1e3\""),
        ("1_000", "unquoted, this is a number; write it in quotes: \"1_000\""),
    ] {
        assert_eq!(hint(&pod_with("", &format!("    env: [{{name: A, value: {text}}}]"))), want);
    }
    let text = pod_with("", "")
        .replace("{name: p}", "{name: p, annotations: {a: 2020-01-01T00:00:00Z, b: 1:30, c: ~}}");
    let annotations = &one(&text).object["metadata"]["annotations"];
    assert_eq!((&annotations["a"], &annotations["b"]), (&"2020-01-01T00:00:00Z".into(), &"1:30".into()));
}

#[test]
fn what_the_parser_refuses_comes_with_advice() {
    for (text, want) in [
        (pod_with("  hostname:\u{a0}h", ""), "no-break space"),
        (pod_with("  hostname: @h", ""), "put it in quotes"),
        (pod_with("  hostname: *h", ""), "put it in quotes"),
        (pod_with("", "    workingDir: \"C:\\Users\""), "backslash must be doubled"),
        (pod_with("", "    args: echo: a: b"), "put the value in quotes"),
        (pod_with("", "    args: ['a, b]"), "the quote is not closed"),
        (
            "kind: Pod\nmetadata:\n  name: \"x\nspec: {}\n".to_owned(),
            "the quote is not closed, or a line within it is indented too little",
        ),
        (
            "spec:\n   containers:\n    - name: a\n     image: b\n".to_owned(),
            "the indentation fits no line above",
        ),
        (pod_with("", "    args: [a #b]"), "a bracket is not closed"),
        (pod_with("   dnsPolicy: Default\n  hostname: h", ""), "the indentation fits no line above"),
        (pod_with("", "").replace("{name: p}", "{name: {{ .Values.name }}}"), "looks like a template"),
        (pod_with("{{- if .Values.x }}", ""), "looks like a template"),
        ("apiVersion:v1\nkind:Pod\n".to_owned(), "a blank is missing behind the colon"),
        (
            pod_with("  os: {name:linux}", "").replace("{name:linux}", "name:linux"),
            "a blank is missing behind the colon",
        ),
        (pod_with("  -name: c", ""), "a blank is missing behind the `-`"),
        ("apiversion: v1\nkind: Pod\n".to_owned(), "did you mean `apiVersion`?"),
    ] {
        let found = load(&[Source::new("p", text.clone())], &Options::default()).unwrap_err();
        let hints: Vec<_> = found.0.iter().filter_map(|one| one.hint.as_deref()).collect();
        assert!(hints.iter().any(|hint| hint.contains(want)), "{want}: {found}\n{text}");
    }
}

#[test]
fn a_mode_is_octal_with_a_zero_before_it_and_decimal_without() {
    let with = |mode: &str| {
        pod_with(&format!("  volumes: [{{name: v, configMap: {{name: m, defaultMode: {mode}}}}}]"), "")
    };
    for mode in ["0644", "0o644", "420", "0x1A4", "420.0"] {
        assert_eq!(one(&with(mode)).object["spec"]["volumes"][0]["configMap"]["defaultMode"], 420, "{mode}");
    }
    assert_eq!(hint(&with("644")), "octal numbers begin with a zero: 0644");
    assert_eq!(hint(&with("999")), "");
    assert_eq!(hint(&with("01000")), "");
}

#[test]
fn a_list_without_an_object_is_refused() {
    for items in ["", "items:", "items: []"] {
        let text = format!("apiVersion: v1\nkind: List\n{items}\n");
        assert_eq!(errors(&text), ["items: there is no object in this list"], "{items}");
    }
}

#[test]
fn a_text_that_needs_a_great_deal_of_mending_is_given_up_in_time() {
    let text = pod_with("", &format!("    args: [\n{}    ]", "a,\n".repeat(100_000)));
    let start = std::time::Instant::now();
    let _ = load(&[Source::new("p", text)], &Options::default());
    assert!(start.elapsed().as_secs() < 60);
}
