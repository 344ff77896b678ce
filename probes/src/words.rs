//! Go's words for what the kernel and the network say.
//!
//! People search for the messages that a kubelet puts into events, and tools match on them; so the engine says
//! the same in the same words. Source: Go's `syscall/zerrors_linux_amd64.go`, `net.OpError`, `strconv.Quote`,
//! `time.Duration.String`.

use std::{fmt::Write as _, io, net::SocketAddr, time::Duration};

/// The text of a system call's error.
pub(crate) fn errno(error: &io::Error) -> String {
    let Some(code) = error.raw_os_error() else {
        return match error.kind() {
            io::ErrorKind::UnexpectedEof => "unexpected EOF".to_owned(),
            _ => error.to_string(),
        };
    };
    // The C library's text is Go's, but for the capital letter and what Rust puts behind it.
    let text = error.to_string();
    let text = text.strip_suffix(&format!(" (os error {code})")).unwrap_or(&text);
    let mut letters = text.chars();
    let first = letters.next().map(|letter| letter.to_ascii_lowercase());
    first.into_iter().chain(letters).collect()
}

/// A connection that did not come about.
pub(crate) fn dial(peer: SocketAddr, error: &io::Error) -> String {
    // Running out of descriptors is noticed before there is anything to connect.
    let call = match error.raw_os_error() {
        Some(ENFILE | EMFILE) => "socket",
        _ => "connect",
    };
    format!("dial tcp {peer}: {call}: {}", errno(error))
}

const ENFILE: i32 = 23;
const EMFILE: i32 = 24;
const EPIPE: i32 = 32;

/// A connection that broke.
pub(crate) fn broken(local: Option<SocketAddr>, peer: SocketAddr, error: &io::Error) -> String {
    if error.raw_os_error().is_none() {
        return errno(error);
    }
    let call = if error.raw_os_error() == Some(EPIPE) { "write" } else { "read" };
    let local = local.map(|address| format!("{address}->")).unwrap_or_default();
    format!("{call} tcp {local}{peer}: {call}: {}", errno(error))
}

/// `%q`: a Go string literal.
pub(crate) fn quote(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() + 2);
    out.push('"');
    for chunk in bytes.utf8_chunks() {
        for letter in chunk.valid().chars() {
            quote_char(&mut out, letter);
        }
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out.push('"');
    out
}

fn quote_char(out: &mut String, letter: char) {
    match letter {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        '\x07' => out.push_str("\\a"),
        '\x08' => out.push_str("\\b"),
        '\x0c' => out.push_str("\\f"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\x0b' => out.push_str("\\v"),
        other if (other as u32) < 0x20 || other == '\x7f' => {
            let _ = write!(out, "\\x{:02x}", other as u32);
        }
        other if other.is_control() => {
            let _ = write!(out, "\\u{:04x}", other as u32);
        }
        other => out.push(other),
    }
}

/// A duration as Go prints it: `1s`, `1m30s`, `500ms`.
pub(crate) fn duration(time: Duration) -> String {
    let (hours, minutes) = (time.as_secs() / 3600, time.as_secs() / 60 % 60);
    let seconds =
        f64::from(u32::try_from(time.as_secs() % 60).unwrap_or(0)) + f64::from(time.subsec_nanos()) / 1e9;
    if time < Duration::from_secs(1) && !time.is_zero() {
        return format!("{}ms", time.as_secs_f64() * 1e3);
    }
    match (hours, minutes) {
        (0, 0) => format!("{seconds}s"),
        (0, minutes) => format!("{minutes}m{seconds}s"),
        (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
    }
}

/// Bytes as text, what is not text replaced; no copy when they are text.
pub(crate) fn lossy(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_errors_read_as_go_prints_them() {
        for (code, text) in [
            (111, "connection refused"),
            (113, "no route to host"),
            (101, "network is unreachable"),
            (104, "connection reset by peer"),
            (110, "connection timed out"),
            (99, "cannot assign requested address"),
        ] {
            assert_eq!(errno(&io::Error::from_raw_os_error(code)), text);
        }
    }

    #[test]
    fn quoting_keeps_text_and_escapes_bytes() {
        assert_eq!(quote("sleep 10".as_bytes()), r#""sleep 10""#);
        assert_eq!(quote(b"\x15\x03\x01\x00\xff\"\n"), r#""\x15\x03\x01\x00\xff\"\n""#);
        assert_eq!(quote("grün".as_bytes()), "\"grün\"");
    }

    #[test]
    fn durations_read_as_go_prints_them() {
        assert_eq!(duration(Duration::from_secs(1)), "1s");
        assert_eq!(duration(Duration::from_secs(90)), "1m30s");
        assert_eq!(duration(Duration::from_secs(3600)), "1h0m0s");
        assert_eq!(duration(Duration::from_millis(50)), "50ms");
    }
}
