//! Simple commands, and everything that becomes a process.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{self, Stdio};
use std::rc::Rc;

use super::super::find;
use super::ast::{Chain, Command, Kind, Redirect, Word, literal};
use super::builtins::is_builtin;
use super::process::{Patience, Waited, reason};
use super::shell::{Function, Io, Ran, Shell, Stop, Variable};

/// What a name stands for.
pub(super) enum Program {
    File(PathBuf),
    /// An applet of this very binary that has no file here.
    Applet,
}

/// A process to be made.
struct Plan<'a> {
    name: &'a str,
    args: &'a [String],
    /// Assignments before the command.
    extra: &'a [(String, String)],
    io: &'a Io,
}

impl Shell {
    pub(super) fn simple(
        &mut self,
        assignments: &[(String, Word)],
        words: &[Word],
        redirects: &[Redirect],
    ) -> Ran {
        self.replaced = None;
        let words = self.fields(words)?;
        let mut values = Vec::new();
        for (name, word) in assignments {
            values.push((name.clone(), self.single(word)?));
        }
        self.trace(&values, &words);
        let Some(io) = self.redirected(redirects)? else { return Ok(1) };
        let Some((name, args)) = words.split_first() else {
            values.into_iter().for_each(|(name, value)| self.assign(&name, value));
            return Ok(self.replaced.unwrap_or(0));
        };
        if name == "exec" {
            return self.become_command(args, &values, io);
        }
        if let Some(function) = self.functions.get(name).cloned() {
            return self.with(io, &values, |shell| shell.call(&function, args));
        }
        if is_builtin(name) {
            return self.with(io, &values, |shell| shell.builtin(name, args));
        }
        match self.start(&Plan { name, args, extra: &values, io: &io }) {
            Ok(pid) => Ok(self.wait_for(pid)),
            Err(code) => Ok(code),
        }
    }

    /// Runs a foreign program, whatever functions are called.
    pub(super) fn foreign(&mut self, name: &str, args: &[String]) -> Ran {
        let io = self.io.clone();
        match self.start(&Plan { name, args, extra: &[], io: &io }) {
            Ok(pid) => Ok(self.wait_for(pid)),
            Err(code) => Ok(code),
        }
    }

    fn trace(&self, values: &[(String, String)], words: &[String]) {
        if self.options.xtrace {
            let values = values.iter().map(|(name, value)| format!("{name}={value}"));
            let line: Vec<String> = values.chain(words.iter().cloned()).collect();
            if let Some(file) = &self.io.0[2] {
                let _ =
                    io::Write::write_all(&mut file.as_ref(), format!("+ {}\n", line.join(" ")).as_bytes());
            }
        }
    }

    /// Runs something with other descriptors and variables, which are put back.
    fn with(&mut self, io: Io, values: &[(String, String)], run: impl FnOnce(&mut Self) -> Ran) -> Ran {
        let mut hidden: Vec<(String, Option<Variable>)> = Vec::new();
        for (name, value) in values {
            let exported = Variable { value: value.clone(), exported: true };
            hidden.push((name.clone(), self.variables.insert(name.clone(), exported)));
        }
        let before = std::mem::replace(&mut self.io, io);
        let ran = run(self);
        self.io = before;
        self.restore(hidden);
        ran
    }

    pub(super) fn restore(&mut self, hidden: Vec<(String, Option<Variable>)>) {
        for (name, variable) in hidden.into_iter().rev() {
            match variable {
                Some(variable) => self.variables.insert(name, variable),
                None => self.variables.remove(&name),
            };
        }
    }

    fn call(&mut self, function: &Function, args: &[String]) -> Ran {
        let before = std::mem::replace(&mut self.args, args.to_vec());
        let loops = std::mem::take(&mut self.loops);
        self.locals.push(Vec::new());
        let ran = self.command(&function.body);
        let hidden = self.locals.pop().unwrap_or_default();
        self.restore(hidden);
        self.loops = loops;
        self.args = before;
        match ran {
            Err(Stop::Return(status)) => Ok(status),
            other => other,
        }
    }

    fn wait_for(&mut self, pid: i32) -> u8 {
        match self.children.wait(pid, Patience::ToTheEnd, &mut self.traps) {
            Waited::Ended(code) => code,
            Waited::Interrupted => 130,
        }
    }

    /// Where a command is; with a slash it is a path, else it is looked for in PATH and then among the applets.
    pub(super) fn look_up(&self, name: &str) -> Option<Program> {
        let runs = |path: &PathBuf| {
            path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
        };
        if name.contains('/') {
            return Some(Program::File(name.into()));
        }
        let path = self.variable("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".to_owned());
        let found = path
            .split(':')
            .map(|dir| PathBuf::from(if dir.is_empty() { "." } else { dir }).join(name))
            .find(runs);
        found.map(Program::File).or_else(|| find(name).map(|_| Program::Applet))
    }

    /// Starts a foreign program; the exit code if it cannot be.
    fn start(&self, plan: &Plan<'_>) -> Result<i32, u8> {
        let Some(program) = self.look_up(plan.name) else {
            self.complain(&format!("{}: not found", plan.name));
            return Err(127);
        };
        let path = match &program {
            Program::File(path) => path,
            Program::Applet => &self.exe,
        };
        let mut command = self.process(path, plan);
        match command.spawn() {
            Ok(child) => Ok(child.id().cast_signed()),
            Err(error) if error.raw_os_error() == Some(libc::ENOEXEC) => {
                let args: Vec<String> =
                    [path.display().to_string()].into_iter().chain(plan.args.iter().cloned()).collect();
                let mut command = self.process(&self.exe, &Plan { name: "sh", args: &args, ..*plan });
                command
                    .spawn()
                    .map(|child| child.id().cast_signed())
                    .map_err(|error| self.unstarted(plan.name, &error))
            }
            Err(error) => Err(self.unstarted(plan.name, &error)),
        }
    }

    fn unstarted(&self, name: &str, error: &io::Error) -> u8 {
        self.complain(&format!("{name}: {}", reason(error)));
        if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 }
    }

    /// The process with its name, environment and descriptors, and no blocked signals.
    fn process(&self, path: &PathBuf, plan: &Plan<'_>) -> process::Command {
        let mut command = if self.traps.masks() {
            let mut command = process::Command::new(&self.exe);
            command.arg0("sh").args(["--unmasked", &self.traps.ignored()]).arg(path).arg(plan.name);
            command
        } else {
            let mut command = process::Command::new(path);
            command.arg0(plan.name);
            command
        };
        let exported = self.variables.iter().filter(|(_, variable)| variable.exported);
        command.env_clear().envs(exported.map(|(name, variable)| (name, &variable.value)));
        command.envs(plan.extra.iter().map(|(name, value)| (name, value))).args(plan.args);
        let stdio = |fd: usize| {
            let file = plan.io.0[fd].as_ref().and_then(|file| file.try_clone().ok());
            file.map_or_else(Stdio::null, Stdio::from)
        };
        command.stdin(stdio(0)).stdout(stdio(1)).stderr(stdio(2));
        command
    }

    /// `exec`: with no command, the redirections stay.
    fn become_command(&mut self, args: &[String], values: &[(String, String)], io: Io) -> Ran {
        let Some((name, args)) = args.split_first() else {
            self.io = io;
            return Ok(0);
        };
        let plan = Plan { name, args, extra: values, io: &io };
        let path = match self.look_up(name) {
            Some(Program::File(path)) => path,
            Some(Program::Applet) => self.exe.clone(),
            None => {
                self.complain(&format!("{name}: not found"));
                return Err(Stop::Exit(127));
            }
        };
        let error = self.process(&path, &plan).exec();
        Err(Stop::Exit(self.unstarted(name, &error)))
    }

    /// `a | b | c`: each a process; the last one's exit code counts, or with `pipefail` the last that failed.
    pub(super) fn piped(&mut self, commands: &[Command]) -> Ran {
        let mut started = Vec::new();
        let mut input = self.io.0[0].clone();
        for (at, command) in commands.iter().enumerate() {
            let mut io = self.io.clone();
            io.0[0] = input.take();
            if at + 1 < commands.len() {
                let (reader, writer) = match io::pipe() {
                    Ok(ends) => ends,
                    Err(error) => return self.fail(&format!("pipe: {}", reason(&error))),
                };
                io.0[1] = Some(Rc::new(std::os::fd::OwnedFd::from(writer).into()));
                input = Some(Rc::new(std::os::fd::OwnedFd::from(reader).into()));
            }
            started.push(self.beside(command, io)?);
        }
        let mut status = 0;
        let last = started.len() - 1;
        for (at, started) in started.into_iter().enumerate() {
            let code = match started {
                Ok(pid) => self.wait_for(pid),
                Err(code) => code,
            };
            let counts = if self.options.pipefail { code != 0 } else { at == last };
            if counts {
                status = code;
            }
        }
        Ok(status)
    }

    /// `… &`.
    pub(super) fn background(&mut self, chain: &Chain) -> Ran {
        let mut io = self.io.clone();
        io.0[0] = std::fs::File::open("/dev/null").ok().map(Rc::new);
        let started = match (&chain.first.commands[..], chain.first.negated, chain.rest.is_empty()) {
            ([only], false, true) => self.beside(only, io)?,
            _ => self.another_shell(&chain.source, &io),
        };
        if let Ok(pid) = started {
            self.children.add(pid);
        }
        Ok(0)
    }

    /// Starts a command as a process: a foreign program directly, anything else in a shell of its own.
    fn beside(&mut self, command: &Command, io: Io) -> Result<Result<i32, u8>, Stop> {
        let Kind::Simple { assignments, words } = &command.kind else {
            return Ok(self.another_shell(&command.source, &io));
        };
        let foreign = words
            .first()
            .and_then(literal)
            .is_some_and(|name| !is_builtin(name) && name != "exec" && !self.functions.contains_key(name));
        if !foreign {
            return Ok(self.another_shell(&command.source, &io));
        }
        let words = self.fields(words)?;
        let mut values = Vec::new();
        for (name, word) in assignments {
            values.push((name.clone(), self.single(word)?));
        }
        self.trace(&values, &words);
        let before = std::mem::replace(&mut self.io, io);
        let redirected = self.redirected(&command.redirects);
        self.io = before;
        let Some(io) = redirected? else { return Ok(Err(1)) };
        let Some((name, args)) = words.split_first() else { return Ok(Err(0)) };
        Ok(self.start(&Plan { name, args, extra: &values, io: &io }))
    }

    /// A new `sh` that runs this text with all that this one knows.
    fn another_shell(&self, source: &str, io: &Io) -> Result<i32, u8> {
        let mut script = String::new();
        for (name, variable) in self.variables.iter().filter(|(_, variable)| !variable.exported) {
            script.push_str(&format!("{name}='{}'\n", variable.value.replace('\'', "'\\''")));
        }
        for function in self.functions.values() {
            script.push_str(&function.source);
            script.push('\n');
        }
        script.push_str(source);
        let mut args = vec!["--inherit".to_owned(), format!("{}:{}", self.status, self.pid)];
        if !self.options.letters().is_empty() {
            args.push(format!("-{}", self.options.letters()));
        }
        if self.options.pipefail {
            args.extend(["-o".to_owned(), "pipefail".to_owned()]);
        }
        args.extend(["-c".to_owned(), script, self.name.clone()]);
        args.extend(self.args.iter().cloned());
        let plan = Plan { name: "sh", args: &args, extra: &[], io };
        let child = self.process(&self.exe, &plan).spawn();
        child.map(|child| child.id().cast_signed()).map_err(|error| self.unstarted("sh", &error))
    }
}
