//! `ps` and `kill`, from `/proc`.

use std::ffi::OsString;
use std::fmt::Write;
use std::fs;
use std::os::unix::fs::MetadataExt;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill as send};
use nix::unistd::Pid;

use super::failure::{Failure, chain};
use super::{Outcome, complain, text, whoami};

/// `ps`: every process that this PID namespace shows. Flags are taken and ignored: there is one view only.
pub(super) fn ps(_: &[OsString]) -> Outcome {
    let mut pids: Vec<i32> = fs::read_dir("/proc")
        .map_err(Failure::system("/proc"))?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    pids.sort_unstable();
    let mut out = format!("{:>7} {:>7} {:<8} S COMMAND\n", "PID", "PPID", "USER");
    for pid in pids {
        // A process may end while it is looked at; then it has no line.
        let Some(process) = look(pid) else { continue };
        let _ = writeln!(
            out,
            "{pid:>7} {:>7} {:<8} {} {}",
            process.parent, process.user, process.state, process.command
        );
    }
    text::print(out.as_bytes())
}

#[derive(Debug, PartialEq)]
struct Process {
    parent: i32,
    state: char,
    user: String,
    command: String,
}

fn look(pid: i32) -> Option<Process> {
    let dir = format!("/proc/{pid}");
    let user = whoami::user_name(fs::metadata(&dir).ok()?.uid());
    let stat = fs::read_to_string(format!("{dir}/stat")).ok()?;
    let (name, state, parent) = read_stat(&stat)?;
    let line = fs::read(format!("{dir}/cmdline")).unwrap_or_default();
    let command = match line.strip_suffix(b"\0").unwrap_or(&line) {
        [] => format!("[{name}]"),
        words => String::from_utf8_lossy(words).replace('\0', " "),
    };
    Some(Process { parent, state, user, command })
}

/// `PID (NAME) STATE PPID …`; the name may hold spaces and parentheses, so the last one counts (proc(5)).
fn read_stat(stat: &str) -> Option<(&str, char, i32)> {
    let (before, after) = stat.rsplit_once(')')?;
    let (_, name) = before.split_once('(')?;
    let mut fields = after.split_ascii_whitespace();
    Some((name, fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

/// `kill [-SIGNAL | -s SIGNAL] PID…`, `kill -l`; SIGTERM unless told otherwise, signal 0 only looks.
pub(super) fn kill(args: &[OsString]) -> Outcome {
    let words: Vec<String> = args.iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
    kill_words(&words)
}

/// The same for the shell's built-in.
pub(super) fn kill_words(words: &[String]) -> Outcome {
    let (signal, pids) = match words {
        [flag] if flag == "-l" => return text::print(names().as_bytes()),
        [flag, name, pids @ ..] if flag == "-s" => (signal(name)?, pids),
        [flag, pids @ ..] if flag == "--" => (Some(Signal::SIGTERM), pids),
        [flag, pids @ ..] if flag.starts_with('-') && flag.len() > 1 => (signal(&flag[1..])?, pids),
        pids => (Some(Signal::SIGTERM), pids),
    };
    if pids.is_empty() {
        return Err(Failure::usage("kill [-SIGNAL] PID…"));
    }
    let mut code = 0;
    for pid in pids {
        let number: i32 =
            pid.parse().map_err(|_| Failure::Usage(format!("{pid:?} is not a process's number")))?;
        if let Err(errno) = send(Pid::from_raw(number), signal) {
            complain("kill", &chain(&Failure::system(pid)(errno)));
            code = 1;
        }
    }
    Ok(code)
}

fn names() -> String {
    let names: Vec<&str> = Signal::iterator().map(|signal| &signal.as_str()[3..]).collect();
    names.join(" ") + "\n"
}

/// `TERM`, `SIGTERM`, `term` or `15`; `None` for `0`, which only asks whether the process is there.
pub(super) fn signal(text: &str) -> Result<Option<Signal>, Failure> {
    let unknown = || Failure::Usage(format!("{text:?} is not a signal"));
    if let Ok(number) = text.parse::<i32>() {
        let known = if number == 0 { Ok(None) } else { Signal::try_from(number).map(Some) };
        return known.map_err(|_: Errno| unknown());
    }
    let name = text.to_ascii_uppercase();
    let full = if name.starts_with("SIG") { name } else { format!("SIG{name}") };
    full.parse().map(Some).map_err(|_: Errno| unknown())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_name_with_parentheses_does_not_confuse_the_reader() {
        assert_eq!(read_stat("7 (a) b) c) S 1 7 7 0"), Some(("a) b) c", 'S', 1)));
    }

    #[test]
    fn a_signal_has_many_spellings() {
        for text in ["TERM", "SIGTERM", "sigterm", "15"] {
            assert_eq!(signal(text).unwrap(), Some(Signal::SIGTERM), "{text}");
        }
        assert_eq!(signal("0").unwrap(), None);
        assert_eq!(signal("NOPE").unwrap_err().to_string(), "\"NOPE\" is not a signal");
    }

    #[test]
    fn this_very_process_is_seen() {
        let own = look(nix::unistd::getpid().as_raw()).unwrap();
        assert_eq!(own.parent, nix::unistd::getppid().as_raw());
    }

    #[test]
    fn a_process_that_is_not_there_fails_without_stopping_the_rest() {
        let own = nix::unistd::getpid().to_string();
        assert_eq!(kill_words(&["-0".into(), "999999999".into(), own.clone()]).unwrap(), 1);
        assert_eq!(kill_words(&["-0".into(), own]).unwrap(), 0);
    }
}
