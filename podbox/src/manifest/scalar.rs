//! What an unquoted YAML scalar means.
//!
//! kubectl reads YAML with a YAML 1.1 parser and sends JSON, so a manifest that works there relies on its
//! rules: `yes`, `on` and `y` are booleans, `0644` is octal, `1_000` is a number. Anything quoted, and every
//! block scalar, is a string. Dates stay strings, as they do in kubectl.

/// An unquoted scalar's value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Value<'a> {
    /// Empty, `~`, `null`.
    Null,
    /// `true`, `yes`, `on`, `y` and their opposites.
    Bool(bool),
    /// A whole number.
    Int(i128),
    /// A number with a fraction or an exponent.
    Float(f64),
    /// Everything else.
    Str(&'a str),
}

impl Value<'_> {
    /// JSON's word for the type, as the API server's messages use it.
    pub(crate) fn type_name(self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Bool(_) => "bool",
            Value::Int(_) | Value::Float(_) => "number",
            Value::Str(_) => "string",
        }
    }
}

/// Resolves an unquoted scalar.
pub(crate) fn resolve(text: &str) -> Value<'_> {
    match text.as_bytes().first() {
        None => Value::Null,
        Some(b'0'..=b'9' | b'+' | b'-' | b'.') => number(text).unwrap_or(Value::Str(text)),
        Some(_) => word(text),
    }
}

fn word(text: &str) -> Value<'_> {
    match text {
        "~" | "null" | "Null" | "NULL" => Value::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            Value::Bool(true)
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            Value::Bool(false)
        }
        other => Value::Str(other),
    }
}

fn number(text: &str) -> Option<Value<'static>> {
    let stripped: String;
    let plain = if text.contains('_') {
        stripped = text.replace('_', "");
        stripped.as_str()
    } else {
        text
    };
    whole(plain).map(Value::Int).or_else(|| fraction(plain).map(Value::Float))
}

/// A whole number in the bases that Go's `strconv.ParseInt(s, 0, 64)` knows.
fn whole(text: &str) -> Option<i128> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (base, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &digits[2..]),
        [b'0', b'o' | b'O', ..] => (8, &digits[2..]),
        [b'0', b'b' | b'B', ..] => (2, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return None;
    }
    let value = i128::from(u64::from_str_radix(digits, base).ok()?);
    let value = if negative { -value } else { value };
    (value >= i128::from(i64::MIN)).then_some(value)
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`, and `.inf` and `.nan`.
fn fraction(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    match unsigned {
        ".inf" | ".Inf" | ".INF" => {
            return Some(if text.starts_with('-') { f64::NEG_INFINITY } else { f64::INFINITY });
        }
        ".nan" | ".NaN" | ".NAN" => return (unsigned == text).then_some(f64::NAN),
        _ => {}
    }
    let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
        Some(at) => (&unsigned[..at], Some(&unsigned[at + 1..])),
        None => (unsigned, None),
    };
    let (before, after) = match mantissa.find('.') {
        Some(at) => (&mantissa[..at], Some(&mantissa[at + 1..])),
        None => (mantissa, None),
    };
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    let exponent_good = exponent.is_none_or(|e| {
        let e = e.strip_prefix(['-', '+']).unwrap_or(e);
        !e.is_empty() && digits(e)
    });
    let some_digit = !before.is_empty() || after.is_some_and(|a| !a.is_empty());
    if !(digits(before) && after.is_none_or(digits) && some_digit && exponent_good) {
        return None;
    }
    text.strip_prefix('+').unwrap_or(text).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unquoted_words_and_numbers_mean_what_they_mean_to_kubectl() {
        for (text, want) in [
            ("", Value::Null),
            ("~", Value::Null),
            ("null", Value::Null),
            ("nULL", Value::Str("nULL")),
            ("yes", Value::Bool(true)),
            ("y", Value::Bool(true)),
            ("On", Value::Bool(true)),
            ("NO", Value::Bool(false)),
            ("off", Value::Bool(false)),
            ("n", Value::Bool(false)),
            ("oN", Value::Str("oN")),
            ("0644", Value::Int(420)),
            ("0o644", Value::Int(420)),
            ("0x1F", Value::Int(31)),
            ("0b101", Value::Int(5)),
            ("1_0", Value::Int(10)),
            ("-7", Value::Int(-7)),
            ("+7", Value::Int(7)),
            ("0", Value::Int(0)),
            ("08", Value::Float(8.0)),
            ("18446744073709551615", Value::Int(18_446_744_073_709_551_615)),
            ("1.5", Value::Float(1.5)),
            (".5", Value::Float(0.5)),
            ("1e3", Value::Float(1000.0)),
            ("+1.0", Value::Float(1.0)),
            (".inf", Value::Float(f64::INFINITY)),
            ("-", Value::Str("-")),
            (".", Value::Str(".")),
            ("1.2.3", Value::Str("1.2.3")),
            ("22:22", Value::Str("22:22")),
            ("2020-01-01", Value::Str("2020-01-01")),
            ("100m", Value::Str("100m")),
            ("1e", Value::Str("1e")),
            ("--1", Value::Str("--1")),
            ("0x", Value::Str("0x")),
            ("-0x-1", Value::Str("-0x-1")),
        ] {
            assert_eq!(resolve(text), want, "{text}");
        }
    }
}
