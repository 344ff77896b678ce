//! What kubectl's YAML reader takes and the parser used here does not.
//!
//! The parser follows the letter of YAML 1.2, and people write what works: the closing bracket of a list no further in
//! than its key, a tab behind a colon, JSON's pairs of surrogates. Each is mended in place, with as many characters as
//! before, so that every position stays what it is in the file.

use std::borrow::Cow;

use super::tree::Mistake;

/// What can be mended where the parser has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mend {
    /// The line is part of a list or mapping in brackets, where indentation means nothing.
    JoinLine,
    /// A tab separates as well as a blank.
    Tab,
}

impl Mend {
    /// What would mend the parser's error.
    pub(crate) fn of(info: &str) -> Option<Self> {
        match info {
            // Only said within brackets.
            "invalid indentation" | "invalid indentation in flow construct" => Some(Mend::JoinLine),
            "':' must be followed by a valid YAML whitespace"
            | "'-' must be followed by a valid YAML whitespace" => Some(Mend::Tab),
            _ => None,
        }
    }
}

/// So much text is read again at most, in bytes, for all that is mended in a file.
const PATIENCE: usize = 32 << 20;

/// How many times a text of so many bytes is mended before its next mistake stands.
pub(crate) fn tries(bytes: usize) -> usize {
    PATIENCE / bytes.max(4096)
}

/// The text with its last mistake mended, if that can be.
pub(crate) fn mended(text: &str, mistakes: &[Mistake]) -> Option<String> {
    let mistake = mistakes.last()?;
    let mend = mistake.mend?;
    let at = text.char_indices().nth(mistake.span.start as usize).map_or(text.len(), |(at, _)| at);
    let before = &text[..at];
    let from = match mend {
        Mend::JoinLine => {
            let end = before.rfind('\n')?;
            let line = before[..end].rfind('\n').map_or(0, |line| line + 1);
            line + before_comment(&before[line..end])?.trim_end_matches('\r').len()
        }
        Mend::Tab => before.trim_end_matches('\t').len(),
    };
    let mut mended = String::with_capacity(text.len());
    mended.push_str(&text[..from]);
    mended.extend(std::iter::repeat_n(' ', at - from));
    mended.push_str(&text[at..]);
    (mended != text).then_some(mended)
}

/// The line without its comment; `None` if it cannot be told whether that is one.
fn before_comment(line: &str) -> Option<&str> {
    let Some(at) = line.find('#') else { return Some(line) };
    let (before, comment) = line.split_at(at);
    let is_even = |quote: char| before.matches(quote).count() % 2 == 0;
    let separate = before.is_empty() || before.ends_with([' ', '\t']);
    (separate && is_even('"') && is_even('\'') && !comment.contains(['"', '\''])).then_some(before)
}

/// JSON writes a character beyond the first 65536 as two escapes, which YAML does not know. They become the character,
/// behind a line break that YAML skips: twelve characters like those that were there.
pub(crate) fn surrogates(text: &str) -> Cow<'_, str> {
    const PAIR: usize = 12;
    if !text.trim_start().starts_with('{') || !text.contains("\\u") {
        return Cow::Borrowed(text);
    }
    let (mut mended, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find('\\') {
        mended.push_str(&rest[..at]);
        rest = &rest[at..];
        let pair =
            rest.get(..PAIR).and_then(|pair| serde_json::from_str::<String>(&format!("\"{pair}\"")).ok());
        let mut one = pair.iter().flat_map(|text| text.chars());
        if let (Some(character @ '\u{10000}'..), None) = (one.next(), one.next()) {
            mended.push_str("\\\n         ");
            mended.push(character);
            rest = &rest[PAIR..];
        } else {
            // With what it escapes, which may be another backslash.
            let end = rest.char_indices().nth(2).map_or(rest.len(), |(end, _)| end);
            mended.push_str(&rest[..end]);
            rest = &rest[end..];
        }
    }
    mended.push_str(rest);
    Cow::Owned(mended)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_of_surrogates_become_their_character_without_moving_what_follows() {
        for (text, want) in [
            (r#"{"a": "\ud83d\ude00"}"#, "{\"a\": \"\\\n         \u{1f600}\"}"),
            (r#"{"a": "\\ud83d\\ude00"}"#, r#"{"a": "\\ud83d\\ude00"}"#),
            (r#"{"a": "\ud83d"}"#, r#"{"a": "\ud83d"}"#),
            (r#"{"a": "\u0041\u0042"}"#, r#"{"a": "\u0041\u0042"}"#),
            (r#"{"a": "\u00"#, r#"{"a": "\u00"#),
            (r#"a: "\ud83d\ude00""#, r#"a: "\ud83d\ude00""#),
            (r#"{"a\"#, r#"{"a\"#),
        ] {
            let mended = surrogates(text);
            assert_eq!(mended, want);
            assert_eq!(mended.chars().count(), text.chars().count());
        }
    }
}
