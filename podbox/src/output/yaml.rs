//! YAML as kubectl writes it: block style, two spaces, lists at their key's own depth.
//!
//! The rule is that any reader, of YAML 1.1 or 1.2, gets the same value back. So a string is written plain
//! only if no reader could take it for something else: not for a null, a boolean (`yes`, `off`, `n`), a
//! number (`0x1f`, `1_000`, `12:30` is one in YAML 1.1), a date, or a sign of the syntax.

use std::fmt::Write;

use serde_json::{Number, Value};

/// The value as a YAML document, newline included.
pub fn to_yaml(value: &Value) -> String {
    let mut out = String::new();
    block(value, 0, &mut out);
    if !out.ends_with('\n') {
        out.push('\n');
    }
    out
}

/// Writes a value where a new line has begun at `depth` spaces.
fn block(value: &Value, depth: usize, out: &mut String) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (at, (key, value)) in map.iter().enumerate() {
                if at > 0 {
                    indent(depth, out);
                }
                out.push_str(&quoted_if_needed(key));
                out.push(':');
                below_key(value, depth, out);
            }
        }
        Value::Array(list) if !list.is_empty() => {
            for (at, item) in list.iter().enumerate() {
                if at > 0 {
                    indent(depth, out);
                }
                out.push_str("- ");
                block(item, depth + 2, out);
            }
        }
        leaf => {
            scalar(leaf, depth, out);
            out.push('\n');
        }
    }
}

/// Writes a value behind `key:`.
fn below_key(value: &Value, depth: usize, out: &mut String) {
    let inner = match value {
        Value::Object(map) if !map.is_empty() => depth + 2,
        Value::Array(list) if !list.is_empty() => depth,
        leaf => {
            out.push(' ');
            scalar(leaf, depth + 2, out);
            out.push('\n');
            return;
        }
    };
    out.push('\n');
    indent(inner, out);
    block(value, inner, out);
}

fn indent(depth: usize, out: &mut String) {
    out.extend(std::iter::repeat_n(' ', depth));
}

/// Writes a value that has no lines of its own, but for the lines of a literal, which stand at `depth`.
fn scalar(value: &Value, depth: usize, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(truth) => out.push_str(if *truth { "true" } else { "false" }),
        Value::Number(number) => out.push_str(&numeral(number)),
        Value::String(text) if literal_fits(text) => literal(text, depth.max(2), out),
        Value::String(text) => out.push_str(&quoted_if_needed(text)),
        Value::Array(_) => out.push_str("[]"),
        Value::Object(_) => out.push_str("{}"),
    }
}

/// YAML 1.1 knows a float by its point and wants a sign at the exponent; JSON needs neither.
fn numeral(number: &Number) -> String {
    let text = number.to_string();
    let Some((mantissa, exponent)) = text.split_once('e') else { return text };
    let point = if mantissa.contains('.') { "" } else { ".0" };
    let sign = if exponent.starts_with(['-', '+']) { "" } else { "+" };
    format!("{mantissa}{point}e{sign}{exponent}")
}

/// Whether a text of several lines can be shown as it is.
fn literal_fits(text: &str) -> bool {
    let blank = |line: &str| !line.is_empty() && line.trim().is_empty();
    text.contains('\n')
        && text.trim_start_matches('\n').len() == text.len()
        && text.chars().all(|letter| letter == '\n' || letter == '\t' || is_printable(letter))
        && !text.split('\n').any(blank)
        && !text.starts_with('\t')
}

fn literal(text: &str, depth: usize, out: &mut String) {
    out.push('|');
    if text.starts_with(' ') {
        // A reader takes the first line's indentation for that of all, unless it is told.
        out.push('2');
    }
    let body = match text.strip_suffix('\n') {
        None => {
            out.push('-');
            text
        }
        Some(body) if body.ends_with('\n') => {
            out.push('+');
            body
        }
        Some(body) => body,
    };
    for line in body.split('\n') {
        out.push('\n');
        if !line.is_empty() {
            indent(depth, out);
            out.push_str(line);
        }
    }
}

/// A string on one line: plain, in single quotes, or in double quotes.
fn quoted_if_needed(text: &str) -> String {
    if !text.chars().all(is_printable) {
        return double_quoted(text);
    }
    if text.is_empty() || has_other_meaning(text) {
        return format!("\"{text}\"");
    }
    if is_plain(text) { text.to_owned() } else { format!("'{}'", text.replace('\'', "''")) }
}

/// Printable in YAML's sense and no kind of line break.
fn is_printable(letter: char) -> bool {
    matches!(letter, ' '..='~' | '\u{a0}'..='\u{2027}' | '\u{202a}'..='\u{d7ff}' | '\u{e000}'..='\u{fefe}'
        | '\u{ff00}'..='\u{fffd}' | '\u{10000}'..='\u{10ffff}')
}

fn double_quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            letter if is_printable(letter) => out.push(letter),
            letter => drop(match u32::from(letter) {
                code @ 0..=0xff => write!(out, "\\x{code:02X}"),
                code @ 0x100..=0xffff => write!(out, "\\u{code:04X}"),
                code => write!(out, "\\U{code:08X}"),
            }),
        }
    }
    out.push('"');
    out
}

/// Whether the text means nothing to YAML's syntax, in block style, as a key or as a value.
fn is_plain(text: &str) -> bool {
    let bytes = text.as_bytes();
    let starts_well = match bytes {
        // These three are words' first letters if another letter follows, as in `-c`.
        [b'-' | b'?' | b':', second, ..] => *second != b' ' && !text.starts_with("---"),
        [b'-' | b'?' | b':'] => false,
        [first, ..] => !b",[]{}#&*!|>'\"%@`=".contains(first) && !text.starts_with("..."),
        [] => false,
    };
    starts_well
        && !text.starts_with(' ')
        && !text.ends_with([' ', ':'])
        && !text.contains(": ")
        && !text.contains(" #")
}

/// Whether a reader of YAML 1.1 or 1.2 would take the plain text for something that is no string.
fn has_other_meaning(text: &str) -> bool {
    const WORDS: &[&str] = &["~", "null", "true", "false", "yes", "no", "on", "off", "y", "n", "<<", "="];
    // No word is longer, and most strings are, so few are compared.
    if text.len() <= 5 && WORDS.iter().any(|word| text.eq_ignore_ascii_case(word)) {
        return true;
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    match unsigned.as_bytes() {
        [b'0'..=b'9' | b'.', ..] => is_number(unsigned) || is_date(text),
        _ => false,
    }
}

fn is_number(unsigned: &str) -> bool {
    let all =
        |text: &str, of: fn(&char) -> bool| !text.is_empty() && text.chars().all(|c| of(&c) || c == '_');
    let lower = unsigned.to_ascii_lowercase();
    if matches!(lower.as_str(), ".inf" | ".nan") {
        return true;
    }
    if let Some(digits) = lower.strip_prefix("0x") {
        return all(digits, char::is_ascii_hexdigit);
    }
    if let Some(digits) = lower.strip_prefix("0b").or_else(|| lower.strip_prefix("0o")) {
        return all(digits, char::is_ascii_digit);
    }
    // Base sixty: 190:20:30.
    if lower.contains(':') {
        return lower.split(':').all(|part| all(part, |c| c.is_ascii_digit() || *c == '.'));
    }
    let (mantissa, exponent) = match lower.split_once('e') {
        Some((mantissa, exponent)) => (mantissa, exponent.strip_prefix(['+', '-']).unwrap_or(exponent)),
        None => (lower.as_str(), "0"),
    };
    let digits = mantissa.replacen('.', "", 1);
    all(&digits, char::is_ascii_digit) && all(exponent, char::is_ascii_digit)
}

/// `2001-12-14` and what may follow it.
fn is_date(text: &str) -> bool {
    let number = |part: &str, lengths: std::ops::RangeInclusive<usize>| {
        lengths.contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
    };
    let mut parts = text.splitn(3, '-');
    let (Some(year), Some(month), Some(rest)) = (parts.next(), parts.next(), parts.next()) else {
        return false;
    };
    let day = rest.split(['T', 't', ' ', '\t']).next().unwrap_or("");
    number(year, 4..=4) && number(month, 1..=2) && number(day, 1..=2)
}

#[cfg(test)]
mod tests;
