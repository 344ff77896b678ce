//! What must run inside the shell, and what is too small to be worth a process.

use std::io::Read;
use std::path::PathBuf;

use super::super::failure::{Failure, chain};
use super::super::{condition, processes, text};
use super::process::{Patience, Waited, reason};
use super::shell::{Ran, Shell, Stop, Variable};
use super::start::Program;

const BUILTINS: &[&str] = &[
    ".", ":", "[", "break", "cd", "command", "continue", "echo", "eval", "exit", "export", "false", "kill",
    "local", "printf", "pwd", "read", "readonly", "return", "set", "shift", "source", "test", "trap", "true",
    "type", "unset", "wait",
];

/// Whether the shell runs this name itself.
pub(super) fn is_builtin(name: &str) -> bool {
    BUILTINS.binary_search(&name).is_ok()
}

fn bytes(args: &[String]) -> Vec<Vec<u8>> {
    args.iter().map(|arg| arg.clone().into_bytes()).collect()
}

impl Shell {
    pub(super) fn builtin(&mut self, name: &str, args: &[String]) -> Ran {
        match name {
            ":" | "true" => Ok(0),
            "false" => Ok(1),
            "echo" => self.print(&text::echoed(&bytes(args))),
            "printf" => match text::printed(&bytes(args)) {
                Ok(out) => self.print(&out),
                Err(failure) => Ok(self.report(&failure)),
            },
            "pwd" => {
                let here = std::env::current_dir().map(|dir| dir.display().to_string()).unwrap_or_default();
                self.print((here + "\n").as_bytes())
            }
            "test" => Ok(self.test(args)),
            "[" => match args.split_last() {
                Some((last, rest)) if last == "]" => Ok(self.test(rest)),
                _ => self.wrong("[: the closing ] is missing"),
            },
            "cd" => self.cd(args),
            "eval" => self.text(&args.join(" ")),
            "." | "source" => self.source(args),
            "exit" => Err(Stop::Exit(self.code(args)?)),
            "return" => Err(Stop::Return(self.code(args)?)),
            "break" | "continue" => self.jump(name, args),
            "export" | "readonly" | "local" => self.declare(name, args),
            "unset" => {
                for name in args.iter().filter(|name| !name.starts_with('-')) {
                    self.variables.remove(name);
                    self.functions.remove(name);
                }
                Ok(0)
            }
            "set" => self.set(args),
            "shift" => {
                let count = usize::from(if args.is_empty() { 1 } else { self.code(args)? });
                if count > self.args.len() {
                    return Ok(1);
                }
                self.args.drain(..count);
                Ok(0)
            }
            "read" => self.read(args),
            "wait" => self.wait(args),
            "kill" => self.kill(args),
            "trap" => self.trap(args),
            "command" | "type" => self.describe(name, args),
            _ => self.wrong(&format!("{name}: not found")),
        }
    }

    fn report(&self, failure: &Failure) -> u8 {
        self.complain(&chain(failure));
        failure.code()
    }

    fn wrong(&self, what: &str) -> Ran {
        self.complain(what);
        Ok(2)
    }

    fn test(&self, args: &[String]) -> u8 {
        let words: Vec<&[u8]> = args.iter().map(|arg| arg.as_bytes()).collect();
        match condition::holds(&words) {
            Ok(truth) => u8::from(!truth),
            Err(failure) => self.report(&failure),
        }
    }

    /// The number that `exit` and its like were given, or the last exit code.
    fn code(&self, args: &[String]) -> Result<u8, Stop> {
        let Some(text) = args.first() else { return Ok(self.status) };
        match text.parse::<i64>() {
            Ok(number) => Ok(number.rem_euclid(256) as u8),
            Err(_) => self.fail(&format!("{text:?} is not a number")),
        }
    }

    fn cd(&mut self, args: &[String]) -> Ran {
        let target = match args.first().map(String::as_str) {
            None => self.variable("HOME").unwrap_or_else(|| "/".to_owned()),
            Some("-") => self.variable("OLDPWD").unwrap_or_default(),
            Some(path) => path.to_owned(),
        };
        let before = std::env::current_dir().unwrap_or_default();
        if let Err(error) = std::env::set_current_dir(&target) {
            self.complain(&format!("cd: {target}: {}", reason(&error)));
            return Ok(1);
        }
        let here: PathBuf = std::env::current_dir().unwrap_or_default();
        self.assign("OLDPWD", before.display().to_string());
        self.assign("PWD", here.display().to_string());
        Ok(0)
    }

    fn source(&mut self, args: &[String]) -> Ran {
        let Some(path) = args.first() else { return self.wrong("source FILE") };
        match std::fs::read(path) {
            Ok(script) => match self.text(&String::from_utf8_lossy(&script)) {
                Err(Stop::Return(status)) => Ok(status),
                other => other,
            },
            Err(error) => self.fail(&format!("{path}: {}", reason(&error))),
        }
    }

    fn jump(&mut self, name: &str, args: &[String]) -> Ran {
        let levels = usize::from(if args.is_empty() { 1 } else { self.code(args)? });
        let levels = levels.clamp(1, self.loops.max(1));
        match (self.loops, name) {
            (0, _) => self.wrong(&format!("{name}: there is no loop")),
            (_, "break") => Err(Stop::Break(levels)),
            _ => Err(Stop::Continue(levels)),
        }
    }

    fn declare(&mut self, kind: &str, args: &[String]) -> Ran {
        if args.is_empty() || args[0] == "-p" {
            let lines: Vec<String> = self
                .variables
                .iter()
                .filter(|(_, variable)| variable.exported)
                .map(|(name, variable)| {
                    format!("export {name}='{}'\n", variable.value.replace('\'', "'\\''"))
                })
                .collect();
            return self.print(lines.concat().as_bytes());
        }
        for arg in args {
            let (name, value) = match arg.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (arg.as_str(), None),
            };
            if kind == "local"
                && let Some(level) = self.locals.last_mut()
            {
                let hidden = self.variables.insert(name.to_owned(), Variable::default());
                level.push((name.to_owned(), hidden));
            }
            match value {
                Some(value) => self.assign(name, value),
                None if kind == "export" => drop(self.variables.entry(name.to_owned()).or_default()),
                None => {}
            }
            if kind == "export"
                && let Some(variable) = self.variables.get_mut(name)
            {
                variable.exported = true;
            }
        }
        Ok(0)
    }

    fn set(&mut self, args: &[String]) -> Ran {
        if args.is_empty() {
            let lines: Vec<String> = self
                .variables
                .iter()
                .map(|(name, variable)| format!("{name}='{}'\n", variable.value.replace('\'', "'\\''")))
                .collect();
            return self.print(lines.concat().as_bytes());
        }
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let changed = match arg.as_str() {
                "--" => {
                    self.args = args.cloned().collect();
                    return Ok(0);
                }
                flag if flag.starts_with(['-', '+']) => {
                    let with_name = flag.ends_with('o');
                    let letters = self.options.set_by_letters(flag.trim_end_matches('o'));
                    match if with_name { args.next() } else { None } {
                        Some(name) => letters.and_then(|()| self.options.set_by_name(name, flag)),
                        None => letters,
                    }
                }
                _ => {
                    self.args = std::iter::once(arg).chain(args).cloned().collect();
                    return Ok(0);
                }
            };
            if let Err(message) = changed {
                return self.wrong(&format!("set: {message}"));
            }
        }
        Ok(0)
    }

    fn read(&mut self, args: &[String]) -> Ran {
        let raw = args.first().is_some_and(|arg| arg == "-r");
        let names = if raw { &args[1..] } else { args };
        let mut line = Vec::new();
        let mut byte = [0];
        let mut input = self.io.input();
        let ended = loop {
            match input.as_mut().map_or(Ok(0), |file| file.read(&mut byte)) {
                Ok(1..) if byte == *b"\n" => {
                    if !raw && line.last() == Some(&b'\\') {
                        line.pop();
                        continue;
                    }
                    break 0;
                }
                Ok(1..) => line.push(byte[0]),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => break 1,
            }
        };
        let line = String::from_utf8_lossy(&line).into_owned();
        let separators = self.variable("IFS").unwrap_or_else(|| " \t\n".to_owned());
        let mut rest =
            line.trim_matches(|letter: char| separators.contains(letter) && letter.is_whitespace());
        let names: Vec<&str> =
            if names.is_empty() { vec!["REPLY"] } else { names.iter().map(String::as_str).collect() };
        for (at, name) in names.iter().enumerate() {
            let end = rest.find(|letter: char| separators.contains(letter)).filter(|_| at + 1 < names.len());
            let (value, after) = rest.split_at(end.unwrap_or(rest.len()));
            self.assign(name, value.to_owned());
            rest = after
                .trim_start_matches(|letter: char| separators.contains(letter) && letter.is_whitespace());
            rest = rest
                .strip_prefix(|letter: char| separators.contains(letter) && !letter.is_whitespace())
                .unwrap_or(rest);
        }
        Ok(ended)
    }

    fn pid(&self, word: &str) -> Option<i32> {
        match word.strip_prefix('%') {
            Some(number) => self.children.jobs().get(number.parse::<usize>().ok()?.checked_sub(1)?).copied(),
            None => word.parse().ok(),
        }
    }

    fn wait(&mut self, args: &[String]) -> Ran {
        let all = self.children.jobs().to_vec();
        let mut status = 0;
        let pids = if args.is_empty() {
            all.into_iter().map(Some).collect()
        } else {
            args.iter().map(|arg| self.pid(arg)).collect::<Vec<_>>()
        };
        for pid in pids {
            let Some(pid) = pid else { return self.wrong("wait: there is no such job") };
            match self.children.wait(pid, Patience::UntilSignal, &mut self.traps) {
                Waited::Ended(code) => status = code,
                Waited::Interrupted => {
                    self.status = 143;
                    self.run_traps()?;
                    return Ok(143);
                }
            }
        }
        Ok(if args.is_empty() { 0 } else { status })
    }

    fn kill(&mut self, args: &[String]) -> Ran {
        let words: Vec<String> = args
            .iter()
            .map(|arg| match self.pid(arg).filter(|_| arg.starts_with('%')) {
                Some(pid) => pid.to_string(),
                None => arg.clone(),
            })
            .collect();
        match processes::kill_words(&words) {
            Ok(code) => Ok(code),
            Err(failure) => Ok(self.report(&failure)),
        }
    }

    fn trap(&mut self, args: &[String]) -> Ran {
        let args = if args.first().is_some_and(|arg| arg == "--") { &args[1..] } else { args };
        let Some((action, names)) = args.split_first() else {
            return self.print(self.traps.listing().as_bytes());
        };
        // `trap TERM` resets, as `trap - TERM` does.
        let reset = action == "-" || names.is_empty();
        let names = if names.is_empty() { args } else { names };
        for name in names {
            let action = (!reset).then(|| action.clone());
            if matches!(name.as_str(), "EXIT" | "0") {
                self.traps.set_exit(action);
                continue;
            }
            match processes::signal(name) {
                Ok(Some(signal)) => {
                    if let Err(errno) = self.traps.set(signal, action) {
                        return self.wrong(&format!("trap: {name}: {}", errno.desc()));
                    }
                }
                Ok(None) => {}
                Err(failure) => return Ok(self.report(&failure)),
            }
        }
        Ok(0)
    }

    /// `command -v NAME`, `type NAME`, and `command NAME ARG…`.
    fn describe(&mut self, kind: &str, args: &[String]) -> Ran {
        let names = match (kind, args) {
            ("command", [flag, names @ ..]) if flag == "-v" || flag == "-V" => names,
            ("command", [name, rest @ ..]) if is_builtin(name) => return self.builtin(name, rest),
            ("command", [name, rest @ ..]) => return self.foreign(name, rest),
            _ => args,
        };
        for name in names {
            let what = if self.functions.contains_key(name) || is_builtin(name) {
                name.clone()
            } else {
                match self.look_up(name) {
                    Some(Program::File(path)) if path.exists() => path.display().to_string(),
                    Some(Program::Applet) => name.clone(),
                    _ => return Ok(1),
                }
            };
            self.print((what + "\n").as_bytes())?;
        }
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_sorted_so_that_each_is_found() {
        assert!(BUILTINS.is_sorted());
    }
}
