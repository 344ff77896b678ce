//! Applets that print: `echo`, `printf`, `env`, `printenv`, `pwd`, `date`, `seq`, and `true` and `false`, which do not.
//!
//! The pure halves write to any [`Write`], so that the shell can use them as built-ins.

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::process::Command;

use super::Outcome;
use super::failure::Failure;
use super::flags::{parse_leading, switch, value};

/// `true`.
pub(super) fn yes(_: &[OsString]) -> Outcome {
    Ok(0)
}

/// `false`.
pub(super) fn no(_: &[OsString]) -> Outcome {
    Ok(1)
}

/// `echo [-n] [-e] WORD…`.
pub(super) fn echo(args: &[OsString]) -> Outcome {
    print(&echoed(&words(args)))
}

/// The bytes that `echo` prints for these arguments.
pub(super) fn echoed(args: &[Vec<u8>]) -> Vec<u8> {
    let mut newline = true;
    let mut escapes = false;
    let mut from = 0;
    for arg in args {
        match arg.as_slice() {
            b"-n" => newline = false,
            b"-e" => escapes = true,
            b"-ne" | b"-en" => (newline, escapes) = (false, true),
            _ => break,
        }
        from += 1;
    }
    let joined = args[from..].join(&b' ');
    let mut out = if escapes { unescape(&joined) } else { joined };
    if newline {
        out.push(b'\n');
    }
    out
}

/// `printf FORMAT [ARGUMENT…]` with `%s %d %i %u %x %o %c %b %%`, width, precision and the usual escapes.
pub(super) fn printf(args: &[OsString]) -> Outcome {
    print(&printed(&words(args))?)
}

/// The bytes that `printf` prints; the format is used again until all arguments are.
pub(super) fn printed(args: &[Vec<u8>]) -> Result<Vec<u8>, Failure> {
    let (format, mut args) = args.split_first().ok_or_else(|| Failure::usage("printf needs a format"))?;
    let mut out = Vec::new();
    loop {
        let before = args.len();
        format_once(format, &mut args, &mut out)?;
        if args.is_empty() || args.len() == before {
            return Ok(out);
        }
    }
}

fn format_once(format: &[u8], args: &mut &[Vec<u8>], out: &mut Vec<u8>) -> Result<(), Failure> {
    let mut rest = format;
    while let Some(percent) = rest.iter().position(|byte| *byte == b'%') {
        out.extend(unescape(&rest[..percent]));
        rest = &rest[percent + 1..];
        let digits =
            rest.iter().position(|byte| !b"-0123456789.".contains(byte)).ok_or_else(|| incomplete(format))?;
        let (spec, kind) = (&rest[..digits], rest[digits]);
        rest = &rest[digits + 1..];
        if kind == b'%' {
            out.push(b'%');
            continue;
        }
        let arg = match args.split_first() {
            Some((first, left)) => {
                *args = left;
                first.as_slice()
            }
            None => b"",
        };
        pad(spec, kind, convert(kind, arg, format)?, out);
    }
    out.extend(unescape(rest));
    Ok(())
}

fn incomplete(format: &[u8]) -> Failure {
    Failure::Usage(format!("printf: {:?} has a % that podbox cannot read", String::from_utf8_lossy(format)))
}

fn convert(kind: u8, arg: &[u8], format: &[u8]) -> Result<Vec<u8>, Failure> {
    let number = || -> Result<i64, Failure> {
        let text = String::from_utf8_lossy(arg);
        if text.is_empty() {
            return Ok(0);
        }
        text.trim().parse().map_err(|_| Failure::Usage(format!("printf: {text:?} is not a number")))
    };
    Ok(match kind {
        b's' => arg.to_vec(),
        b'b' => unescape(arg),
        b'c' => arg.iter().take(1).copied().collect(),
        b'd' | b'i' | b'u' => number()?.to_string().into_bytes(),
        b'x' => format!("{:x}", number()?).into_bytes(),
        b'o' => format!("{:o}", number()?).into_bytes(),
        _ => return Err(incomplete(format)),
    })
}

fn pad(spec: &[u8], kind: u8, mut text: Vec<u8>, out: &mut Vec<u8>) {
    let spec = String::from_utf8_lossy(spec);
    let (width, precision) = spec.split_once('.').unwrap_or((&spec, ""));
    if let (b's', Ok(limit)) = (kind, precision.parse::<usize>()) {
        text.truncate(limit);
    }
    let left = width.starts_with('-');
    let zero = width.starts_with('0') && kind != b's';
    let fill = width.trim_start_matches('-').parse::<usize>().unwrap_or(0).saturating_sub(text.len());
    let filler = std::iter::repeat_n(if zero { b'0' } else { b' ' }, fill);
    if left {
        out.extend(text);
        out.extend(filler);
    } else {
        out.extend(filler);
        out.extend(text);
    }
}

/// Turns `\n`, `\t`, `\\`, `\0NNN`, `\xHH` and their like into what they stand for; unknown ones stay.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let Some(letter) = bytes.next() else {
            out.push(b'\\');
            break;
        };
        match letter {
            b'n' => out.push(b'\n'),
            b't' => out.push(b'\t'),
            b'r' => out.push(b'\r'),
            b'a' => out.push(7),
            b'b' => out.push(8),
            b'e' => out.push(27),
            b'\\' => out.push(b'\\'),
            b'0'..=b'7' | b'x' => {
                let (radix, most) = if letter == b'x' { (16, 2) } else { (8, 3) };
                let mut value = if letter == b'x' { 0 } else { u32::from(letter - b'0') };
                let mut taken = 0;
                while taken < most
                    && let Some(digit) = bytes.peek().and_then(|byte| char::from(*byte).to_digit(radix))
                {
                    value = value * radix + digit;
                    bytes.next();
                    taken += 1;
                }
                out.push(value.to_le_bytes()[0]);
            }
            other => out.extend([b'\\', other]),
        }
    }
    out
}

/// `env [-i] [NAME=VALUE…] [COMMAND…]`: prints the environment, or runs a command in the changed one.
pub(super) fn env(args: &[OsString]) -> Outcome {
    let parsed = parse_leading(args, &[switch("ignore-environment").or(b'i'), value("unset").or(b'u')])?;
    let mut variables: Vec<(OsString, OsString)> =
        if parsed.has("ignore-environment") { Vec::new() } else { std::env::vars_os().collect() };
    for name in parsed.all("unset") {
        variables.retain(|(known, _)| known != name);
    }
    let mut rest = parsed.rest.as_slice();
    while let Some((name, value)) = rest.first().and_then(assignment) {
        variables.retain(|(known, _)| *known != name);
        variables.push((name, value));
        rest = &rest[1..];
    }
    let Some((program, arguments)) = rest.split_first() else {
        return print(&listing(&variables));
    };
    let error = Command::new(program).args(arguments).env_clear().envs(variables).exec();
    Err(Failure::System { what: program.to_string_lossy().into_owned(), source: error })
}

fn assignment(arg: &OsString) -> Option<(OsString, OsString)> {
    let bytes = arg.as_bytes();
    let at = bytes.iter().position(|byte| *byte == b'=')?;
    Some((OsString::from_vec(bytes[..at].to_vec()), OsString::from_vec(bytes[at + 1..].to_vec())))
}

/// `NAME=VALUE` lines.
pub(super) fn listing(variables: &[(OsString, OsString)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in variables {
        out.extend_from_slice(name.as_bytes());
        out.push(b'=');
        out.extend_from_slice(value.as_bytes());
        out.push(b'\n');
    }
    out
}

/// `printenv [NAME…]`: the values alone; exit code 1 if one is not set.
pub(super) fn printenv(args: &[OsString]) -> Outcome {
    if args.is_empty() {
        return print(&listing(&std::env::vars_os().collect::<Vec<_>>()));
    }
    let mut out = Vec::new();
    let mut missing = false;
    for name in args {
        match std::env::var_os(name) {
            Some(value) => {
                out.extend_from_slice(value.as_bytes());
                out.push(b'\n');
            }
            None => missing = true,
        }
    }
    print(&out).map(|_| u8::from(missing))
}

/// `pwd`.
pub(super) fn pwd(_: &[OsString]) -> Outcome {
    let here = std::env::current_dir().map_err(Failure::system("current directory"))?;
    let mut out = here.into_os_string().into_vec();
    out.push(b'\n');
    print(&out)
}

/// `date [-u] [+FORMAT]`: always in UTC, for an image holds no time zones.
pub(super) fn date(args: &[OsString]) -> Outcome {
    let mut format = "%a %b %e %H:%M:%S %Z %Y".to_owned();
    for arg in args {
        let arg = arg.to_string_lossy();
        match arg.strip_prefix('+') {
            Some(given) => format = given.to_owned(),
            None if matches!(arg.as_ref(), "-u" | "--utc") => {}
            None if matches!(arg.as_ref(), "-Iseconds" | "-Is") => {
                format = "%Y-%m-%dT%H:%M:%S+00:00".to_owned()
            }
            None => return Err(Failure::Usage(format!("{arg:?}: date takes -u, -Iseconds and +FORMAT"))),
        }
    }
    let now = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC);
    let text = jiff::fmt::strtime::format(&format, &now)
        .map_err(|error| Failure::Usage(format!("+{format}: {error}")))?;
    print((text + "\n").as_bytes())
}

/// `seq [FIRST [STEP]] LAST`, whole numbers.
pub(super) fn seq(args: &[OsString]) -> Outcome {
    let numbers = args
        .iter()
        .map(|arg| arg.to_string_lossy().parse::<i64>())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| Failure::Usage(error.to_string()))?;
    let (first, step, last) = match numbers[..] {
        [last] => (1, 1, last),
        [first, last] => (first, 1, last),
        [first, step, last] if step != 0 => (first, step, last),
        _ => return Err(Failure::usage("seq [FIRST [STEP]] LAST")),
    };
    let mut out = io::BufWriter::new(io::stdout().lock());
    let mut at = first;
    while if step > 0 { at <= last } else { at >= last } {
        writeln!(out, "{at}").map_err(Failure::system("standard output"))?;
        let Some(next) = at.checked_add(step) else { break };
        at = next;
    }
    out.flush().map_err(Failure::system("standard output"))?;
    Ok(0)
}

/// Writes all of it to standard output.
pub(super) fn print(bytes: &[u8]) -> Outcome {
    let mut out = io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).map_err(Failure::system("standard output"))?;
    Ok(0)
}

fn words(args: &[OsString]) -> Vec<Vec<u8>> {
    args.iter().map(|arg| arg.as_bytes().to_vec()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(args: &[&str]) -> Vec<Vec<u8>> {
        args.iter().map(|arg| arg.as_bytes().to_vec()).collect()
    }

    #[test]
    fn echo_joins_with_spaces_and_leaves_escapes_alone_unless_asked() {
        assert_eq!(echoed(&bytes(&["a", "b\\n"])), b"a b\\n\n");
        assert_eq!(echoed(&bytes(&["-n", "-e", "a\\tb\\x41\\101"])), b"a\tbAA");
        assert_eq!(echoed(&bytes(&["a", "-n"])), b"a -n\n");
    }

    #[test]
    fn printf_uses_its_format_again_until_the_arguments_are_gone() {
        assert_eq!(printed(&bytes(&["%s=%03d\\n", "a", "7", "b", "12"])).unwrap(), b"a=007\nb=012\n");
        assert_eq!(printed(&bytes(&["%-4s|%4s|%.2s|%%", "ab", "cd", "efg"])).unwrap(), b"ab  |  cd|ef|%");
        assert_eq!(printed(&bytes(&["no arguments"])).unwrap(), b"no arguments");
    }

    #[test]
    fn printf_says_what_is_no_number() {
        assert_eq!(printed(&bytes(&["%d", "x"])).unwrap_err().to_string(), "printf: \"x\" is not a number");
    }
}
