//! Reading an applet's flags: `--name value`, `--name=value`, `-n value`, `-nvalue`, bundled `-la`, and `--`.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use super::failure::Failure;

/// One flag that an applet knows.
#[derive(Clone, Copy)]
pub(super) struct Flag {
    long: &'static str,
    short: Option<u8>,
    takes_value: bool,
}

/// A flag that is there or not.
pub(super) const fn switch(long: &'static str) -> Flag {
    Flag { long, short: None, takes_value: false }
}

/// A flag with a value.
pub(super) const fn value(long: &'static str) -> Flag {
    Flag { long, short: None, takes_value: true }
}

impl Flag {
    /// The same flag, also known by one letter.
    pub(super) const fn or(self, short: u8) -> Self {
        Self { short: Some(short), ..self }
    }
}

/// What stood on the command line.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    found: Vec<(&'static str, String)>,
    /// What is no flag, in order.
    pub(super) rest: Vec<OsString>,
}

/// Reads flags anywhere among the arguments, up to `--`.
pub(super) fn parse(args: &[OsString], known: &[Flag]) -> Result<Parsed, Failure> {
    scan(args, known, Stop::AtDashes)
}

/// Reads flags up to the first argument that is none: for applets that take a command.
pub(super) fn parse_leading(args: &[OsString], known: &[Flag]) -> Result<Parsed, Failure> {
    scan(args, known, Stop::AtFirstWord)
}

#[derive(PartialEq)]
enum Stop {
    AtDashes,
    AtFirstWord,
}

fn scan(args: &[OsString], known: &[Flag], stop: Stop) -> Result<Parsed, Failure> {
    let mut parsed = Parsed::default();
    let mut left: VecDeque<&OsStr> = args.iter().map(OsString::as_os_str).collect();
    while let Some(arg) = left.pop_front() {
        let bytes = arg.as_bytes();
        if bytes == b"--" {
            break;
        } else if let Some(name) = bytes.strip_prefix(b"--") {
            parsed.long(&String::from_utf8_lossy(name), known, &mut left)?;
        } else if bytes.len() > 1 && bytes[0] == b'-' {
            parsed.bundle(&bytes[1..], known, &mut left)?;
        } else {
            parsed.rest.push(arg.to_owned());
            if stop == Stop::AtFirstWord {
                break;
            }
        }
    }
    parsed.rest.extend(left.into_iter().map(OsStr::to_owned));
    Ok(parsed)
}

impl Parsed {
    fn long(&mut self, text: &str, known: &[Flag], left: &mut VecDeque<&OsStr>) -> Result<(), Failure> {
        let (name, inline) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (text, None),
        };
        let flag = known
            .iter()
            .find(|flag| flag.long == name)
            .ok_or_else(|| Failure::Usage(format!("unknown flag --{name}")))?;
        let value = match (flag.takes_value, inline) {
            (false, Some(_)) => return Err(Failure::Usage(format!("--{name} takes no value"))),
            (false, None) => String::new(),
            (true, Some(value)) => value,
            (true, None) => next(left, &format!("--{name}"))?,
        };
        self.found.push((flag.long, value));
        Ok(())
    }

    fn bundle(&mut self, letters: &[u8], known: &[Flag], left: &mut VecDeque<&OsStr>) -> Result<(), Failure> {
        for (at, letter) in letters.iter().enumerate() {
            let shown = format!("-{}", char::from(*letter));
            let flag = known
                .iter()
                .find(|flag| flag.short == Some(*letter))
                .ok_or_else(|| Failure::Usage(format!("unknown flag {shown}")))?;
            if !flag.takes_value {
                self.found.push((flag.long, String::new()));
                continue;
            }
            let inline = &letters[at + 1..];
            let value = if inline.is_empty() {
                next(left, &shown)?
            } else {
                String::from_utf8_lossy(inline).into_owned()
            };
            self.found.push((flag.long, value));
            break;
        }
        Ok(())
    }

    /// Whether the flag was given.
    pub(super) fn has(&self, long: &str) -> bool {
        self.found.iter().any(|(name, _)| *name == long)
    }

    /// The flag's last value.
    pub(super) fn get(&self, long: &str) -> Option<&str> {
        self.found.iter().rev().find(|(name, _)| *name == long).map(|(_, value)| value.as_str())
    }

    /// All of the flag's values, in order.
    pub(super) fn all<'a>(&'a self, long: &'a str) -> impl Iterator<Item = &'a str> {
        self.found.iter().filter(move |(name, _)| *name == long).map(|(_, value)| value.as_str())
    }

    /// The flag's value as a number.
    pub(super) fn number<T: std::str::FromStr>(&self, long: &str) -> Result<Option<T>, Failure> {
        let read = |text: &str| {
            text.parse().map_err(|_| Failure::Usage(format!("--{long}: {text:?} is not a number that fits")))
        };
        self.get(long).map(read).transpose()
    }

    /// The flag's value as a length of time.
    pub(super) fn duration(&self, long: &str) -> Result<Option<Duration>, Failure> {
        let read = |text: &str| {
            duration(text).ok_or_else(|| {
                Failure::Usage(format!("--{long}: {text:?} is not a length of time such as 500ms, 5s or 2m"))
            })
        };
        self.get(long).map(read).transpose()
    }
}

fn next(left: &mut VecDeque<&OsStr>, flag: &str) -> Result<String, Failure> {
    left.pop_front()
        .map(|value| value.to_string_lossy().into_owned())
        .ok_or_else(|| Failure::Usage(format!("{flag} needs a value")))
}

/// `5`, `0.5`, `5s`, `500ms`, `2m`, `1h`, `1d`: seconds where no unit is given.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let scale = match unit {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "d" => 86400.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(number.parse::<f64>().ok()? * scale).ok()
}

/// `4096`, `64Ki`, `64Mi`, `1Gi`, `64k`, `64M`, `1G`: a number of bytes, with Kubernetes' suffixes.
pub(super) fn bytes(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let scale: u64 = match unit {
        "" => 1,
        "k" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[Flag] = &[switch("all").or(b'a'), switch("long").or(b'l'), value("port").or(b'p')];

    fn args(words: &[&str]) -> Vec<OsString> {
        words.iter().map(OsString::from).collect()
    }

    #[test]
    fn a_value_may_follow_by_space_by_equals_sign_or_directly() {
        for words in [&["--port", "80"][..], &["--port=80"], &["-p", "80"], &["-p80"], &["-alp80"]] {
            assert_eq!(parse(&args(words), KNOWN).unwrap().get("port"), Some("80"), "{words:?}");
        }
    }

    #[test]
    fn bundled_letters_are_one_flag_each() {
        let parsed = parse(&args(&["-la", "dir"]), KNOWN).unwrap();
        assert!(parsed.has("long") && parsed.has("all"));
        assert_eq!(parsed.rest, args(&["dir"]));
    }

    #[test]
    fn after_two_dashes_nothing_is_a_flag() {
        assert_eq!(parse(&args(&["-a", "--", "-l"]), KNOWN).unwrap().rest, args(&["-l"]));
    }

    #[test]
    fn a_command_keeps_its_own_flags() {
        assert_eq!(parse_leading(&args(&["-a", "ls", "-x"]), KNOWN).unwrap().rest, args(&["ls", "-x"]));
    }

    #[test]
    fn an_unknown_flag_is_named() {
        assert_eq!(parse(&args(&["--prot=1"]), KNOWN).unwrap_err().to_string(), "unknown flag --prot");
    }

    #[test]
    fn lengths_of_time_take_fractions_and_suffixes() {
        assert_eq!(duration("0.25"), Some(Duration::from_millis(250)));
        assert_eq!(duration("1.5m"), Some(Duration::from_secs(90)));
        assert_eq!(duration("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(duration("5x"), None);
        assert_eq!(duration("-1"), None);
    }

    #[test]
    fn sizes_take_kubernetes_suffixes() {
        assert_eq!(bytes("64Mi"), Some(64 << 20));
        assert_eq!(bytes("2k"), Some(2000));
        assert_eq!(bytes("64MB"), None);
        assert_eq!(bytes("99999999999Gi"), None);
    }
}
