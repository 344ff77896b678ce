//! JSON objects one after the other, as `kubectl get -o json` in a loop or `jq` writes them.
//!
//! YAML knows no such thing, and everything else that JSON is, YAML is too. So this only finds where one object ends and
//! the next begins; each is then read as YAML, which knows where it stands.

use serde::de::IgnoredAny;

/// The text's parts, each with the number of characters before it. There is more than one only where JSON
/// objects follow each other without `---` between them.
pub(crate) fn parts(text: &str) -> Vec<(&str, u32)> {
    if !text.trim_start().starts_with('{') {
        return vec![(text, 0)];
    }
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<IgnoredAny>();
    let (mut parts, mut begin, mut before) = (Vec::new(), 0, 0_u32);
    while let Some(Ok(_)) = values.next() {
        let end = values.byte_offset();
        if !text[end..].trim_start().starts_with('{') {
            break;
        }
        let part = &text[begin..end];
        parts.push((part, before));
        before = before.saturating_add(u32::try_from(part.chars().count()).unwrap_or(u32::MAX));
        begin = end;
    }
    parts.push((&text[begin..], before));
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_json_objects_that_follow_each_other_are_parted() {
        for (text, want) in [
            ("", vec![("", 0)]),
            ("a: b", vec![("a: b", 0)]),
            ("{a: '}{'}", vec![("{a: '}{'}", 0)]),
            (r#"{"a": 1}"#, vec![(r#"{"a": 1}"#, 0)]),
            ("{} {}", vec![("{}", 0), (" {}", 2)]),
            ("{\"é\":\"}{\"}{}\n", vec![("{\"é\":\"}{\"}", 0), ("{}\n", 10)]),
            ("{}\n---\n{}", vec![("{}\n---\n{}", 0)]),
            ("{}\n{\n{}", vec![("{}", 0), ("\n{\n{}", 2)]),
            ("{a: 1}{b: 1}", vec![("{a: 1}{b: 1}", 0)]),
        ] {
            assert_eq!(parts(text), want, "{text:?}");
        }
    }
}
