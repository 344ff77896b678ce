//! The shell's state, and how lists, pipelines and compound commands run.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::rc::Rc;

use super::super::failure::Failure;
use super::ast::{Chain, Command, Item, Kind, Link, List, Mode, Pipeline, Redirect, Target, Until};
use super::pattern;
use super::process::Children;
use super::traps::Traps;

/// Why a list did not run to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// `exit`, or `set -e` after a failure.
    Exit(u8),
    /// A mistake that ends a script, but not somebody's session.
    Failed(u8),
    Return(u8),
    Break(usize),
    Continue(usize),
}

/// What running something gives: its exit code.
pub(super) type Ran = Result<u8, Stop>;

/// A variable.
#[derive(Clone, Debug, Default)]
pub(super) struct Variable {
    pub(super) value: String,
    pub(super) exported: bool,
}

/// A function and its text.
#[derive(Clone, Debug)]
pub(super) struct Function {
    pub(super) body: Rc<Command>,
    pub(super) source: String,
}

/// What `set` changes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Options {
    pub(super) errexit: bool,
    pub(super) nounset: bool,
    pub(super) xtrace: bool,
    pub(super) pipefail: bool,
}

impl Options {
    /// `-eux`, `+e`.
    pub(super) fn set_by_letters(&mut self, flag: &str) -> Result<(), String> {
        let on = flag.starts_with('-');
        for letter in flag.chars().skip(1) {
            match letter {
                'e' => self.errexit = on,
                'u' => self.nounset = on,
                'x' => self.xtrace = on,
                _ => return Err(format!("{flag}: the options are -e, -u, -x and -o pipefail")),
            }
        }
        Ok(())
    }

    /// `-o pipefail`.
    pub(super) fn set_by_name(&mut self, name: &str, flag: &str) -> Result<(), String> {
        let on = flag.starts_with('-');
        match name {
            "errexit" => self.errexit = on,
            "nounset" => self.nounset = on,
            "xtrace" => self.xtrace = on,
            "pipefail" => self.pipefail = on,
            _ => return Err(format!("{name}: the options are errexit, nounset, xtrace and pipefail")),
        }
        Ok(())
    }

    pub(super) fn letters(self) -> String {
        [(self.errexit, 'e'), (self.nounset, 'u'), (self.xtrace, 'x')]
            .iter()
            .filter(|(on, _)| *on)
            .map(|(_, letter)| *letter)
            .collect()
    }
}

/// Where descriptors 0, 1 and 2 lead; `None` is closed.
#[derive(Clone, Debug)]
pub(super) struct Io(pub(super) [Option<Rc<File>>; 3]);

impl Io {
    fn own() -> Self {
        let dup = |fd: io::Result<std::os::fd::OwnedFd>| fd.ok().map(|fd| Rc::new(File::from(fd)));
        Self([
            dup(io::stdin().as_fd().try_clone_to_owned()),
            dup(io::stdout().as_fd().try_clone_to_owned()),
            dup(io::stderr().as_fd().try_clone_to_owned()),
        ])
    }

    pub(super) fn input(&self) -> Option<File> {
        self.0[0].as_ref()?.try_clone().ok()
    }
}

/// A shell, or the copy of one that a subshell is.
#[derive(Clone)]
pub(super) struct Shell {
    pub(super) variables: BTreeMap<String, Variable>,
    pub(super) functions: BTreeMap<String, Function>,
    /// What `local` hides, a level for each function that runs.
    pub(super) locals: Vec<Vec<(String, Option<Variable>)>>,
    pub(super) name: String,
    pub(super) args: Vec<String>,
    pub(super) status: u8,
    /// The exit code of the last `$(…)` of a command, which is the command's if there is nothing else to it.
    pub(super) replaced: Option<u8>,
    pub(super) options: Options,
    pub(super) io: Io,
    pub(super) children: Children,
    pub(super) traps: Traps,
    /// `$$`, which a subshell does not change.
    pub(super) pid: i32,
    /// This program, to be run again.
    pub(super) exe: PathBuf,
    /// Above 0 where a failure is an answer, not a failure.
    pub(super) asking: usize,
    /// How many loops are around.
    pub(super) loops: usize,
    pub(super) nesting: usize,
}

impl Shell {
    pub(super) fn new() -> Result<Self, Failure> {
        let variable = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            let value = value.to_string_lossy().into_owned();
            (name.to_string_lossy().into_owned(), Variable { value, exported: true })
        };
        Ok(Self {
            variables: std::env::vars_os().map(variable).collect(),
            functions: BTreeMap::new(),
            locals: Vec::new(),
            name: "sh".to_owned(),
            args: Vec::new(),
            status: 0,
            replaced: None,
            options: Options::default(),
            io: Io::own(),
            children: Children::default(),
            traps: Traps::default(),
            pid: nix::unistd::getpid().as_raw(),
            exe: PathBuf::from("/proc/self/exe"),
            asking: 0,
            loops: 0,
            nesting: 0,
        })
    }

    pub(super) fn name_from(&mut self, words: &mut Vec<String>) {
        if !words.is_empty() {
            self.name = words.remove(0);
        }
    }

    /// Takes over what a parent shell says with `--inherit STATUS:PID`.
    pub(super) fn inherit(&mut self, text: &str) {
        if let Some((status, pid)) = text.split_once(':') {
            self.status = status.parse().unwrap_or(0);
            self.pid = pid.parse().unwrap_or(self.pid);
        }
    }

    /// Prints a message to where standard error leads.
    pub(super) fn complain(&self, what: &str) {
        if let Some(file) = &self.io.0[2] {
            let _ = file.as_ref().write_all(format!("sh: {what}\n").as_bytes());
        }
    }

    /// Complains, and ends the script.
    pub(super) fn fail<T>(&self, what: &str) -> Result<T, Stop> {
        self.complain(what);
        Err(Stop::Failed(2))
    }

    /// Writes to where standard output leads.
    ///
    /// A pipe that nobody reads ends the shell, as its signal would.
    pub(super) fn print(&self, bytes: &[u8]) -> Ran {
        let written = self.io.0[1].as_ref().map_or(Ok(()), |file| file.as_ref().write_all(bytes));
        match written {
            Ok(()) => Ok(0),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Stop::Exit(141)),
            Err(error) => {
                self.complain(&format!("standard output: {error}"));
                Ok(1)
            }
        }
    }

    pub(super) fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).map(|variable| variable.value.clone())
    }

    pub(super) fn assign(&mut self, name: &str, value: String) {
        self.variables.entry(name.to_owned()).or_default().value = value;
    }

    /// The exit code of a shell that stops here, after its last trap.
    pub(super) fn finish(&mut self, ran: Ran) -> u8 {
        self.status = match ran {
            Ok(status) | Err(Stop::Exit(status) | Stop::Failed(status) | Stop::Return(status)) => status,
            Err(Stop::Break(_) | Stop::Continue(_)) => self.status,
        };
        let Some(action) = self.traps.take_exit() else { return self.status };
        let status = self.status;
        match self.text(&action) {
            Err(Stop::Exit(status)) => status,
            _ => status,
        }
    }

    /// Runs a text of commands, as `eval` does.
    pub(super) fn text(&mut self, text: &str) -> Ran {
        match super::parser::parse(text) {
            Ok(list) => self.list(&list),
            Err(error) => self.fail(&error.to_string()),
        }
    }

    pub(super) fn list(&mut self, list: &List) -> Ran {
        // Functions that call themselves for ever end here, not at the end of the stack.
        if self.nesting == 200 {
            return self.fail("too deeply nested");
        }
        self.nesting += 1;
        let ran = list.0.iter().try_for_each(|item| self.item(item));
        self.nesting -= 1;
        ran.map(|()| self.status)
    }

    fn item(&mut self, item: &Item) -> Result<(), Stop> {
        self.status = match item.mode {
            Mode::Foreground => self.chain(&item.chain)?,
            Mode::Background => self.background(&item.chain)?,
        };
        self.run_traps()
    }

    fn chain(&mut self, chain: &Chain) -> Ran {
        let mut last = chain.rest.len();
        self.status = self.asked(last > 0, |shell| shell.pipeline(&chain.first))?;
        for (link, pipeline) in &chain.rest {
            last -= 1;
            if (self.status == 0) == (*link == Link::And) {
                self.status = self.asked(last > 0, |shell| shell.pipeline(pipeline))?;
            }
        }
        Ok(self.status)
    }

    /// Runs something whose failure is an answer.
    fn asked(&mut self, asking: impl Into<bool>, run: impl FnOnce(&mut Self) -> Ran) -> Ran {
        let more = usize::from(asking.into());
        self.asking += more;
        let ran = run(self);
        self.asking -= more;
        ran
    }

    fn pipeline(&mut self, pipeline: &Pipeline) -> Ran {
        let status = self.asked(pipeline.negated, |shell| match &pipeline.commands[..] {
            [only] => shell.command(only),
            several => shell.piped(several),
        })?;
        if pipeline.negated {
            return Ok(u8::from(status == 0));
        }
        if status != 0 && self.options.errexit && self.asking == 0 {
            return Err(Stop::Exit(status));
        }
        Ok(status)
    }

    /// Runs a command here: everything but a foreign program without a process of its own.
    pub(super) fn command(&mut self, command: &Command) -> Ran {
        if let Kind::Simple { assignments, words } = &command.kind {
            return self.simple(assignments, words, &command.redirects);
        }
        if let Kind::Function { name, body } = &command.kind {
            let function = Function { body: Rc::clone(body), source: command.source.clone() };
            self.functions.insert(name.clone(), function);
            return Ok(0);
        }
        let Some(io) = self.redirected(&command.redirects)? else { return Ok(1) };
        let before = std::mem::replace(&mut self.io, io);
        let ran = self.compound(&command.kind);
        self.io = before;
        ran
    }

    fn compound(&mut self, kind: &Kind) -> Ran {
        match kind {
            // These two have been dealt with.
            Kind::Simple { .. } | Kind::Function { .. } => Ok(0),
            Kind::Group(list) => self.list(list),
            Kind::Subshell(list) => Ok(self.apart(|shell| shell.list(list))),
            Kind::If { branches, otherwise } => {
                for (condition, body) in branches {
                    if self.asked(true, |shell| shell.list(condition))? == 0 {
                        return self.list(body);
                    }
                }
                otherwise.as_ref().map_or(Ok(0), |list| self.list(list))
            }
            Kind::Loop { until, condition, body } => self.repeat(*until, condition, body),
            Kind::For { name, words, body } => {
                let values = match words {
                    Some(words) => self.fields(words)?,
                    None => self.args.clone(),
                };
                let mut values = values.into_iter();
                self.looped(|shell| {
                    let Some(value) = values.next() else { return Ok(None) };
                    shell.assign(name, value);
                    shell.list(body).map(Some)
                })
            }
            Kind::Case { word, arms } => {
                let word: Vec<char> = self.single(word)?.chars().collect();
                for (patterns, body) in arms {
                    for pattern in patterns {
                        if pattern::matches(&self.pattern(pattern)?, &word) {
                            return self.list(body);
                        }
                    }
                }
                Ok(0)
            }
        }
    }

    fn repeat(&mut self, until: Until, condition: &List, body: &List) -> Ran {
        self.looped(|shell| {
            let succeeded = shell.asked(true, |shell| shell.list(condition))? == 0;
            if succeeded != (until == Until::Fails) {
                return Ok(None);
            }
            shell.list(body).map(Some)
        })
    }

    /// Runs rounds until one gives `None`, minding `break` and `continue`.
    fn looped(&mut self, mut round: impl FnMut(&mut Self) -> Result<Option<u8>, Stop>) -> Ran {
        self.loops += 1;
        let mut status = 0;
        let ended = loop {
            match round(self) {
                Ok(Some(code)) => status = code,
                Ok(None) | Err(Stop::Break(0 | 1)) => break Ok(status),
                Err(Stop::Continue(0 | 1)) => {}
                Err(Stop::Break(levels)) => break Err(Stop::Break(levels - 1)),
                Err(Stop::Continue(levels)) => break Err(Stop::Continue(levels - 1)),
                Err(stop) => break Err(stop),
            }
        };
        self.loops -= 1;
        ended
    }

    /// Runs something in a copy of this shell, which changes nothing here.
    pub(super) fn apart(&mut self, run: impl FnOnce(&mut Self) -> Ran) -> u8 {
        let here = std::env::current_dir();
        let mut copy = self.clone();
        copy.traps = copy.traps.for_subshell();
        copy.children.forget();
        copy.loops = 0;
        let ran = run(&mut copy);
        let status = copy.finish(ran);
        if let Ok(here) = here {
            let _ = std::env::set_current_dir(here);
        }
        status
    }

    /// The descriptors with the redirections done; `None` if one could not be, which has been said.
    pub(super) fn redirected(&mut self, redirects: &[Redirect]) -> Result<Option<Io>, Stop> {
        let mut io = self.io.clone();
        for redirect in redirects {
            let (path, opened) = match &redirect.to {
                Target::Same(word) => {
                    let word = self.single(word)?;
                    match word.as_str() {
                        "-" => io.0[redirect.fd] = None,
                        "0" | "1" | "2" => {
                            io.0[redirect.fd] = io.0[usize::from(word.as_bytes()[0] - b'0')].clone()
                        }
                        _ => {
                            self.complain(&format!("{word}: only descriptors 0, 1 and 2 are there"));
                            return Ok(None);
                        }
                    }
                    continue;
                }
                Target::Here(body) => {
                    let text = body.get().map_or(Ok(String::new()), |body| self.single(body))?;
                    ("here-document".to_owned(), super::process::filled(text.as_bytes()))
                }
                Target::Read(word) => self.open(word, File::options().read(true))?,
                Target::Write(word) => {
                    self.open(word, File::options().write(true).create(true).truncate(true))?
                }
                Target::Append(word) => self.open(word, File::options().append(true).create(true))?,
                Target::Both(word) => self.open(word, File::options().read(true).write(true).create(true))?,
            };
            match opened {
                Ok(file) => io.0[redirect.fd] = Some(Rc::new(file)),
                Err(error) => {
                    self.complain(&format!("{path}: {}", super::process::reason(&error)));
                    return Ok(None);
                }
            }
        }
        Ok(Some(io))
    }

    fn open(
        &mut self,
        word: &super::ast::Word,
        how: &std::fs::OpenOptions,
    ) -> Result<(String, io::Result<File>), Stop> {
        let path = self.single(word)?;
        let file = how.open(&path);
        Ok((path, file))
    }
}
