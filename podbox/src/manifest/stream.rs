//! JSON objects one after the other, as `kubectl get -o json` in a loop or `jq` writes them.
//!
//! YAML knows no such thing, and everything else that JSON is, YAML is too. So this only finds where one object ends and
//! the next begins; each is then read as YAML, which knows where it stands.

use serde::de::IgnoredAny;

/// Where JSON objects begin that follow another one without `---` between them, in characters.
pub(crate) fn borders(text: &str) -> Vec<usize> {
    let mut borders = Vec::new();
    if !text.trim_start().starts_with('{') {
        return borders;
    }
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<IgnoredAny>();
    let (mut begin, mut before) = (0, 0);
    while let Some(Ok(_)) = values.next() {
        let end = values.byte_offset();
        if !text[end..].trim_start().starts_with('{') {
            break;
        }
        before += text[begin..end].chars().count();
        borders.push(before);
        begin = end;
    }
    borders
}

/// The text's parts between these borders, each with the number of characters before it.
pub(crate) fn parts<'t>(text: &'t str, borders: &[usize]) -> impl Iterator<Item = (&'t str, u32)> {
    let mut rest = Some(text);
    let mut before = 0;
    let mut borders = borders.iter().copied();
    std::iter::from_fn(move || {
        let all = rest.take()?;
        let border = borders.next();
        let end = border.and_then(|border| all.char_indices().nth(border - before)).map(|(end, _)| end);
        let part = &all[..end.unwrap_or(all.len())];
        let at = u32::try_from(before).unwrap_or(u32::MAX);
        rest = end.map(|end| &all[end..]);
        before = border.unwrap_or(before);
        Some((part, at))
    })
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
            ("{} {} {}", vec![("{}", 0), (" {}", 2), (" {}", 5)]),
            ("{\"é\":\"}{\"}{}\n", vec![("{\"é\":\"}{\"}", 0), ("{}\n", 10)]),
            ("{}\n---\n{}", vec![("{}\n---\n{}", 0)]),
            ("{}\n{\n{}", vec![("{}", 0), ("\n{\n{}", 2)]),
            ("{a: 1}{b: 1}", vec![("{a: 1}{b: 1}", 0)]),
        ] {
            assert_eq!(parts(text, &borders(text)).collect::<Vec<_>>(), want, "{text:?}");
        }
    }
}
