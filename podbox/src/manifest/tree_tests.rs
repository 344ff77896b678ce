use std::fmt::Write as _;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::manifest::{Options, Source, load};

fn mistakes(text: &str) -> Vec<String> {
    let (_, mistakes) = Tree::parse(text, &[], &Limits::default());
    mistakes.into_iter().map(|mistake| mistake.message).collect()
}

/// Nothing that is refused may take long first; far above what it takes, so that a slow machine passes.
const PATIENCE: Duration = Duration::from_secs(5);

#[test]
fn a_bomb_of_nested_aliases_is_refused_before_it_is_expanded() {
    let mut text = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n".to_owned();
    for level in 1..=9 {
        let below = format!("*a{}", level - 1);
        let _ = writeln!(text, "a{level}: &a{level} [{}]", [below.as_str(); 9].join(","));
    }
    let start = Instant::now();
    assert_eq!(mistakes(&text), ["the file stands for more than 200000 values"]);
    assert!(start.elapsed() < PATIENCE);
}

#[test]
fn a_bomb_of_merge_keys_is_refused_before_it_is_expanded() {
    let mut text = "a0: &a0 {k0: x, k1: x}\n".to_owned();
    for level in 1..=40 {
        let below = level - 1;
        let _ =
            writeln!(text, "a{level}: &a{level} {{<<: *a{below}, l{level}: *a{below}, m{level}: *a{below}}}");
    }
    assert_eq!(mistakes(&text), ["the file stands for more than 200000 values"]);
}

#[test]
fn deep_nesting_is_refused() {
    for (text, want) in [
        ("[".repeat(100_000), true),
        ("{a: ".repeat(100_000), true),
        ("- ".repeat(10_000), true),
        (format!("{}{}", "[".repeat(99), "]".repeat(99)), false),
    ] {
        let start = Instant::now();
        let found = mistakes(&text);
        assert_eq!(found.iter().any(|one| one.ends_with("levels are nested here")), want, "{found:?}");
        assert!(start.elapsed() < PATIENCE);
    }
}

#[test]
fn broken_text_ends_with_one_mistake_at_its_place() {
    for (text, at) in [
        ("a: [1, 2", 8),
        ("a: b: c", 4),
        ("a: 'x", 3),
        ("a:\n\t- b", 3),
        ("a: \"\\q\"", 3),
        ("a: *nothing", 3),
        ("a: &x [*x]", 7),
        ("]", 0),
        ("%YAML 9", 0),
        ("a: b\nc", 5),
    ] {
        let (_, mistakes) = Tree::parse(text, &[], &Limits::default());
        assert_eq!(mistakes.len(), 1, "{text:?}: {mistakes:?}");
        let start = mistakes[0].span.start as usize;
        assert!(start >= at && start <= text.len(), "{text:?}: {mistakes:?}");
    }
}

#[test]
fn a_tab_as_indentation_is_named() {
    let (_, mistakes) = Tree::parse("a:\n\tb: c", &[], &Limits::default());
    assert_eq!(
        mistakes[0].hint.as_deref(),
        Some("YAML takes only blanks as indentation: replace the tab"),
        "{mistakes:?}"
    );
}

#[test]
fn keys_that_are_no_names_are_refused_with_advice() {
    for (text, want) in [
        ("yes: 1", "this key is a boolean, not a name"),
        ("~: 1", "this key is null, not a name"),
        ("1.5: 1", "this key is a number, not a name"),
        ("[a]: 1", "a key must be a name, not a list or a mapping"),
        ("{a: b}: 1", "a key must be a name, not a list or a mapping"),
        ("<<: 1", "`<<` takes an alias of a mapping, or a list of them"),
        ("a: !foo 1", "the tag !foo means nothing in a manifest"),
        ("a: !!binary aGk=", "the tag tag:yaml.org,2002:!binary means nothing in a manifest"),
    ] {
        assert_eq!(mistakes(text), [want], "{text}");
    }
    assert!(mistakes("\"yes\": 1\n12: 2\n<<: {c: d}\ne: !!str 5").is_empty());
}

#[test]
fn a_large_mapping_still_finds_its_duplicates_quickly() {
    let mut text = String::new();
    for key in 0..50_000 {
        let _ = writeln!(text, "k{key}: {key}");
    }
    let start = Instant::now();
    assert!(mistakes(&text).is_empty());
    assert!(start.elapsed() < PATIENCE);
    text.push_str("k49999: again\nk0: again\n");
    assert_eq!(mistakes(&text), ["the key \"k49999\" is there twice", "the key \"k0\" is there twice"]);
}

#[test]
fn positions_count_characters_whatever_the_line_ends_are() {
    for text in ["ü: 1\nb: 2\n", "ü: 1\r\nb: 2\r\n"] {
        let (tree, _) = Tree::parse(text, &[], &Limits::default());
        let entry = tree.entry(tree.documents[0], "b").unwrap();
        let chars: Vec<char> = text.chars().collect();
        assert_eq!(chars[entry.key_span.start as usize], 'b', "{text:?}");
        let value = tree.node(entry.value).span;
        assert_eq!(chars[value.start as usize..value.end as usize], ['2'], "{text:?}");
    }
}

#[test]
fn a_file_that_is_not_utf8_or_too_large_is_refused() {
    let refusal = |text: &[u8]| load(&[Source::new("f", text)], &Options::default()).unwrap_err().0.remove(0);
    let wrong = refusal(b"a: \xc3\xbc\nb: \xff");
    assert_eq!(
        (wrong.line, wrong.column, wrong.message.as_str()),
        (2, 4, "the text is not UTF-8 from here on")
    );
    assert_eq!(refusal(&vec![b'a'; 4 << 20]).message, "the file is larger than 3145728 bytes");
    let bom = b"\xef\xbb\xbfkind: 1";
    assert_eq!(refusal(bom).line, 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = load(&[Source::new("f", bytes)], &Options::default());
    }

    #[test]
    fn no_yaml_like_text_makes_it_panic(text in "(apiVersion|kind|metadata|spec|containers|name|: |: |\n|\n  |- |\\[|\\]|\\{|\\}|,|&a|\\*a|<<|'|\"|\\||>|!|!!str |#|%|---|\\.\\.\\.|\t|v1|Pod|~|\u{feff}|ü|\u{85}|\\?){0,40}") {
        if let Err(found) = load(&[Source::new("f", text)], &Options::default()) {
            let _ = found.render(crate::manifest::Color::Never);
        }
    }
}
