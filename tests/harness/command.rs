//! Running programs with a limit, and judging what they said.

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::Value;

use crate::wait::wait_for;

/// Longer than anything that works.
const LIMIT: Duration = Duration::from_secs(90);

/// A program to be run.
#[derive(Debug)]
pub struct Cmd {
    command: Command,
    words: Vec<String>,
    input: Vec<u8>,
    limit: Duration,
}

impl Cmd {
    /// A program with no arguments yet.
    #[must_use]
    pub fn new(program: impl AsRef<OsStr>) -> Cmd {
        let mut command = Command::new(program.as_ref());
        // A group of its own, so that it can be ended with all its children.
        command.process_group(0);
        Cmd { command, words: vec![shown(program.as_ref())], input: Vec::new(), limit: LIMIT }
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Cmd {
        for arg in args {
            self.words.push(shown(arg.as_ref()));
            self.command.arg(arg);
        }
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Cmd {
        self.command.env(name, value.into());
        self
    }

    /// Runs it in another working directory.
    #[must_use]
    pub fn directory(mut self, path: &Path) -> Cmd {
        self.command.current_dir(path);
        self
    }

    /// Gives it standard input.
    #[must_use]
    pub fn input(mut self, input: impl Into<Vec<u8>>) -> Cmd {
        self.input = input.into();
        self
    }

    /// Sets the limit after which it is ended.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Cmd {
        self.limit = limit;
        self
    }

    /// Runs it to its end.
    ///
    /// # Panics
    /// If it cannot be started or does not end in time.
    pub fn run(mut self) -> Output {
        let line = self.words.join(" ");
        let started = Instant::now();
        self.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.command.spawn().unwrap_or_else(|error| panic!("start {line}: {error}"));
        let mut stdin = child.stdin.take().expect("stdin is piped");
        let input = std::mem::take(&mut self.input);
        // A program that does not read its input closes the pipe; that is its right.
        thread::spawn(move || drop(stdin.write_all(&input)));
        let stdout = collect(child.stdout.take().expect("stdout is piped"));
        let stderr = collect(child.stderr.take().expect("stderr is piped"));
        let status = wait(&mut child, self.limit);
        if status.is_none() {
            end_group(&mut child);
        }
        // Whoever keeps the pipes open after the program has ended has inherited what it should not have.
        let (stdout, out_closed) = finish(&stdout);
        let (stderr, err_closed) = finish(&stderr);
        let output = Output {
            line,
            code: status.and_then(|status| status.code()),
            signal: status.and_then(|status| status.signal()),
            stdout,
            stderr,
            took: started.elapsed(),
        };
        assert!(status.is_some(), "did not end in {} s\n{output}", self.limit.as_secs());
        assert!(
            out_closed && err_closed,
            "it ended, but something it started holds its output open\n{output}"
        );
        output
    }

    /// Starts it and lets it run until it is dropped.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn spawn(mut self) -> Background {
        let line = self.words.join(" ");
        let input = std::mem::take(&mut self.input);
        self.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.command.spawn().unwrap_or_else(|error| panic!("start {line}: {error}"));
        let mut stdin = child.stdin.take().expect("stdin is piped");
        let _ = stdin.write_all(&input);
        let said = Arc::new(Mutex::new(Vec::new()));
        gather(child.stdout.take().expect("stdout is piped"), &said);
        gather(child.stderr.take().expect("stderr is piped"), &said);
        Background { line, child, stdin: Some(stdin), said }
    }
}

fn shown(word: &OsStr) -> String {
    let text = word.to_string_lossy();
    if text.contains([' ', '\n', '"', '\'', '$']) { format!("{text:?}") } else { text.into_owned() }
}

fn collect(mut from: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut buffer = [0; 64 << 10];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            if sender.send(buffer[..length].to_vec()).is_err() {
                break;
            }
        }
    });
    receiver
}

/// All that was said, and whether the other side has closed.
fn finish(from: &Receiver<Vec<u8>>) -> (String, bool) {
    let deadline = Instant::now() + Duration::from_secs(3);
    let mut all = Vec::new();
    loop {
        match from.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(part) => all.extend(part),
            Err(error) => {
                let closed = error == RecvTimeoutError::Disconnected;
                return (String::from_utf8_lossy(&all).into_owned(), closed);
            }
        }
    }
}

fn gather(mut from: impl Read + Send + 'static, to: &Arc<Mutex<Vec<u8>>>) {
    let to = Arc::clone(to);
    thread::spawn(move || {
        let mut buffer = [0; 64 << 10];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            to.lock().expect("no holder panics").extend_from_slice(&buffer[..length]);
        }
    });
}

fn wait(child: &mut Child, limit: Duration) -> Option<std::process::ExitStatus> {
    let deadline = Instant::now() + limit;
    let mut pause = Duration::from_micros(500);
    loop {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
        if Instant::now() > deadline {
            return None;
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

fn end_group(child: &mut Child) {
    let _ = killpg(Pid::from_raw(child.id().cast_signed()), Signal::SIGKILL);
    let _ = child.wait();
}

/// What a program said and how it ended.
#[derive(Clone, Debug)]
pub struct Output {
    /// The command line.
    pub line: String,
    /// Its exit code, unless a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// How long it ran.
    pub took: Duration,
}

impl std::fmt::Display for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut text = format!("$ {}\n", self.line);
        let _ = writeln!(text, "exit code {:?}, signal {:?}, after {:?}", self.code, self.signal, self.took);
        for (name, said) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            if !said.is_empty() {
                let _ = writeln!(text, "--- {name}\n{}", said.trim_end());
            }
        }
        f.write_str(&text)
    }
}

impl Output {
    /// Whether it ended well.
    #[must_use]
    pub fn good(&self) -> bool {
        self.code == Some(0)
    }

    /// Insists that it ended well.
    ///
    /// # Panics
    /// If it did not.
    #[track_caller]
    pub fn ok(self) -> Output {
        assert!(self.good(), "should have ended well\n{self}");
        self
    }

    /// Insists on an exit code.
    ///
    /// # Panics
    /// If it was another.
    #[track_caller]
    pub fn code(self, code: i32) -> Output {
        assert!(self.code == Some(code), "should have ended with {code}\n{self}");
        self
    }

    /// Insists that standard output holds a text.
    ///
    /// # Panics
    /// If it does not.
    #[track_caller]
    pub fn says(self, text: &str) -> Output {
        assert!(self.stdout.contains(text), "standard output should hold {text:?}\n{self}");
        self
    }

    /// Insists that standard error holds a text.
    ///
    /// # Panics
    /// If it does not.
    #[track_caller]
    pub fn complains(self, text: &str) -> Output {
        assert!(self.stderr.contains(text), "standard error should hold {text:?}\n{self}");
        self
    }

    /// Insists that standard error is empty.
    ///
    /// # Panics
    /// If it is not.
    #[track_caller]
    pub fn quiet(self) -> Output {
        assert!(self.stderr.is_empty(), "standard error should be empty\n{self}");
        self
    }

    /// Standard output as JSON.
    ///
    /// # Panics
    /// If it is none.
    #[track_caller]
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("no JSON: {error}\n{self}"))
    }

    /// Standard output without the white space around it.
    #[must_use]
    pub fn text(&self) -> &str {
        self.stdout.trim()
    }
}

/// A program that runs beside the test; ended, with its children, when it is dropped.
#[derive(Debug)]
pub struct Background {
    line: String,
    child: Child,
    stdin: Option<std::process::ChildStdin>,
    said: Arc<Mutex<Vec<u8>>>,
}

impl Background {
    /// All that it has said so far on both outputs.
    ///
    /// # Panics
    /// Never.
    #[must_use]
    pub fn said(&self) -> String {
        String::from_utf8_lossy(&self.said.lock().expect("no holder panics")).into_owned()
    }

    /// Waits until it has said something.
    ///
    /// # Panics
    /// If it does not in time.
    pub fn wait_to_say(&self, text: &str) {
        wait_for(&format!("{} to say {text:?}", self.line), Duration::from_secs(30), || {
            let said = self.said();
            if said.contains(text) { Ok(()) } else { Err(said) }
        });
    }

    /// Types something.
    ///
    /// # Panics
    /// If it does not listen any more.
    pub fn type_in(&mut self, text: &str) {
        let stdin = self.stdin.as_mut().expect("its input is open");
        stdin.write_all(text.as_bytes()).and_then(|()| stdin.flush()).expect("it reads its input");
    }

    /// Ends its input.
    pub fn close_input(&mut self) {
        self.stdin = None;
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// If it is gone.
    pub fn signal(&self, signal: Signal) {
        nix::sys::signal::kill(Pid::from_raw(self.pid()), signal).expect("it is still there");
    }

    /// Waits until it has ended and gives its exit code, 128 + N for a signal.
    ///
    /// # Panics
    /// If it does not in time.
    pub fn end(&mut self, limit: Duration) -> i32 {
        drop(self.stdin.take());
        let status = wait(&mut self.child, limit);
        let status = status.unwrap_or_else(|| panic!("{} did not end; it said:\n{}", self.line, self.said()));
        status.code().or(status.signal().map(|signal| 128 + signal)).unwrap_or(-1)
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            end_group(&mut self.child);
        }
    }
}

/// Runs `ip` with these words, which are single spaces apart.
///
/// # Panics
/// If it fails.
pub fn ip(words: &str) {
    Cmd::new("ip").args(words.split(' ')).run().ok();
}

/// The address as it stands before a port.
#[must_use]
pub fn bracketed(ip: &str) -> String {
    if ip.contains(':') { format!("[{ip}]") } else { ip.to_owned() }
}
