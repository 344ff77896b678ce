//! `sh`: a small POSIX shell, enough for the scripts that manifests hold and for a look around with `exec -it`.
//!
//! It has lists, pipelines, `if`, `while`, `until`, `for`, `case`, functions, redirections of descriptors 0 to 2,
//! here-documents, all quoting, parameters with their changes, `$(…)`, `$((…))`, patterns, `&` with `wait`, and
//! `trap`. It has no job control, no aliases and no line editing.
//!
//! **No fork.** A shell usually forks to run a part of itself. podbox forks in one place only, and this is not
//! it: what must run beside the shell (a compound command in a pipeline or behind `&`) is given as text to a
//! new `sh`, with the variables and functions before it; what need not (`( … )`, `$( … )`) runs in a copy of
//! the shell's state within this process.
//!
//! **No signal handlers.** A trapped signal is blocked and taken from a signalfd between commands. Blocked
//! signals are inherited, so while traps are set commands are started through `sh --unmasked`, which clears
//! the mask and becomes the command.

mod arithmetic;
mod ast;
mod builtins;
mod expand;
mod lexer;
mod parser;
mod pattern;
mod process;
mod shell;
mod start;
mod traps;

use std::ffi::OsString;
use std::io::{self, IsTerminal, Read, Write};
use std::os::unix::process::CommandExt;

use nix::sys::signal::SigSet;

use super::failure::Failure;
use super::{Outcome, processes, whoami};
use lexer::SyntaxError;
use shell::{Shell, Stop};

/// `sh [-eux] [-o OPTION] [-c SCRIPT [NAME [ARG…]] | FILE [ARG…]]`
///
/// Without a script or a file, commands come from standard input, line by line, with a prompt on a terminal.
pub(super) fn sh(args: &[OsString]) -> Outcome {
    let mut words: Vec<String> = args.iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
    if words.first().is_some_and(|word| word == "--unmasked") {
        return unmasked(&args[1..]);
    }
    let mut shell = Shell::new()?;
    let mut script = None;
    let mut interactive = false;
    while words.first().is_some_and(|word| word.len() > 1 && word.starts_with(['-', '+'])) {
        let flag = words.remove(0);
        match flag.as_str() {
            "--" => break,
            "--inherit" if !words.is_empty() => shell.inherit(&words.remove(0)),
            "-c" => {
                if words.is_empty() {
                    return Err(Failure::usage("-c needs a script"));
                }
                script = Some(words.remove(0));
                break;
            }
            "-o" | "+o" if !words.is_empty() => {
                let name = words.remove(0);
                shell.options.set_by_name(&name, &flag).map_err(Failure::Usage)?;
            }
            "-i" => interactive = true,
            "-s" | "-l" => {}
            // `-ec SCRIPT` is often written.
            _ if flag.starts_with('-') && flag.ends_with('c') => {
                shell.options.set_by_letters(&flag[..flag.len() - 1]).map_err(Failure::Usage)?;
                words.insert(0, "-c".to_owned());
            }
            _ => shell.options.set_by_letters(&flag).map_err(Failure::Usage)?,
        }
    }
    if let Some(text) = script {
        shell.name_from(&mut words);
        shell.args = words;
        return Ok(run_text(&mut shell, &text));
    }
    if !words.is_empty() {
        shell.name_from(&mut words);
        shell.args = words;
        let text = std::fs::read(&shell.name).map_err(Failure::system(&shell.name))?;
        return Ok(run_text(&mut shell, &String::from_utf8_lossy(&text)));
    }
    interactive |= io::stdin().is_terminal() && io::stderr().is_terminal();
    Ok(run_lines(&mut shell, interactive.then_some(Prompt)))
}

/// `--unmasked IGNORED PATH NAME ARG…`: becomes the command with no signal blocked but the ignored ones.
fn unmasked(args: &[OsString]) -> Outcome {
    let [ignored, path, name, rest @ ..] = args else {
        return Err(Failure::usage("--unmasked is for the shell's own use"));
    };
    let mut mask = SigSet::empty();
    for name in ignored.to_string_lossy().split(',').filter(|name| !name.is_empty()) {
        processes::signal(name)?.into_iter().for_each(|signal| mask.add(signal));
    }
    mask.thread_set_mask().map_err(Failure::system("signal mask"))?;
    let error = std::process::Command::new(path).arg0(name).args(rest).exec();
    Err(Failure::System { what: name.to_string_lossy().into_owned(), source: error })
}

fn run_text(shell: &mut Shell, text: &str) -> u8 {
    match parser::parse(text) {
        Ok(list) => {
            let ran = shell.list(&list);
            shell.finish(ran)
        }
        Err(error) => {
            shell.complain(&error.to_string());
            2
        }
    }
}

/// Asks for the next line; only there if somebody can read it.
struct Prompt;

/// Runs commands as they come: a line as soon as it is complete, for whoever sends them may wait for the answer.
fn run_lines(shell: &mut Shell, prompt: Option<Prompt>) -> u8 {
    if prompt.is_some() {
        shell.keep_from_interrupts();
    }
    let mut text = String::new();
    loop {
        if prompt.is_some() {
            let _ = write!(io::stderr(), "{}", if text.is_empty() { ready(shell) } else { "> ".to_owned() });
        }
        match line(shell) {
            Line::Text(line) => text.push_str(&line),
            Line::Interrupted => {
                let _ = writeln!(io::stderr());
                text.clear();
                shell.status = 130;
                continue;
            }
            Line::End if text.is_empty() => {
                if prompt.is_some() {
                    let _ = writeln!(io::stderr());
                }
                let status = shell.status;
                return shell.finish(Err(Stop::Exit(status)));
            }
            Line::End => {}
        }
        match parser::parse(&text) {
            // A text without its newline has ended, whatever is missing.
            Err(SyntaxError::Incomplete(_)) if text.ends_with('\n') => continue,
            Err(error) => {
                shell.complain(&error.to_string());
                shell.status = 2;
                if prompt.is_none() {
                    return shell.finish(Err(Stop::Exit(2)));
                }
            }
            Ok(list) => match shell.list(&list) {
                Err(Stop::Failed(status)) if prompt.is_some() => shell.status = status,
                Err(stop @ (Stop::Exit(_) | Stop::Failed(_))) => return shell.finish(Err(stop)),
                Ok(_) | Err(_) => {}
            },
        }
        text.clear();
    }
}

fn ready(shell: &Shell) -> String {
    if let Some(prompt) = shell.variable("PS1") {
        return prompt;
    }
    let here = std::env::current_dir().map(|dir| dir.display().to_string()).unwrap_or_default();
    let sign = if nix::unistd::geteuid().is_root() { '#' } else { '$' };
    format!("{}:{here}{sign} ", whoami::own_name())
}

enum Line {
    Text(String),
    Interrupted,
    End,
}

/// One line, and not a byte more: what comes after it may be for the command in it.
fn line(shell: &mut Shell) -> Line {
    let mut bytes = Vec::new();
    let mut byte = [0];
    let mut input = shell.io.input();
    while bytes.last() != Some(&b'\n') {
        if shell.interrupted_before_input() {
            return Line::Interrupted;
        }
        match input.as_mut().map_or(Ok(0), |file| file.read(&mut byte)) {
            Ok(0) => break,
            Ok(_) => bytes.push(byte[0]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    if bytes.is_empty() { Line::End } else { Line::Text(String::from_utf8_lossy(&bytes).into_owned()) }
}

#[cfg(test)]
mod tests;
