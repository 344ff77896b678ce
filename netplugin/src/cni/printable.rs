//! What others have written, made fit for a terminal.

/// The text with its control characters escaped, save for line feeds and tabs: a plugin's output must not move the
/// cursor, nor colour or hide what stands around it. So with characters that turn the direction of writing.
#[must_use]
pub fn printable(text: &str) -> String {
    let is_plain = |c: char| matches!(c, '\n' | '\t') || !(c.is_control() || turns(c));
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_plain(c) {
            shown.push(c);
        } else {
            shown.extend(c.escape_default());
        }
    }
    shown
}

fn turns(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moves_the_cursor_is_shown_and_does_nothing() {
        assert_eq!(printable("\u{1b}[2Jgone\r\u{9b}31m"), "\\u{1b}[2Jgone\\r\\u{9b}31m");
        assert_eq!(printable("abc\u{202e}cba"), "abc\\u{202e}cba");
        assert_eq!(printable("zwei Zeilen:\n\täöü €"), "zwei Zeilen:\n\täöü €");
    }
}
