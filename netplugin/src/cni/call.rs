//! Running a plugin that somebody else wrote: the one place where podbox starts foreign programs.
//!
//! The plugin is started as `posix_spawn(3)` does it, so that a caller with threads never forks; in a process group
//! of its own, so that what it starts (portmap calls iptables) ends with it when its time is up; and with an
//! environment that holds nothing but the parameters and a `PATH` for what it calls.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::CniError;
use super::overseer::Overseer;
use super::printable::printable;
use super::version::Version;

/// Where a plugin finds the programs that it calls.
const PROGRAMS: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// More output than any result has, in bytes.
const MOST_OUTPUT: usize = 4 << 20;

/// How long a plugin may take to take something back once there is hurry.
pub const UNDOING: Duration = Duration::from_secs(5);

/// How plugins are found and called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caller {
    /// Where plugins are looked for, in this order.
    pub directories: Vec<PathBuf>,
    /// How long each may take.
    pub limit: Duration,
}

/// Why a call has no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// There is no such program.
    #[error("find plugin {}: it is in none of {}", printable(.name), shown(.directories))]
    Missing {
        /// The plugin's type.
        name: String,
        /// Where it was looked for.
        directories: Vec<PathBuf>,
    },
    /// It could not be started, or not be heard.
    #[error("run {}", .program.display())]
    Run {
        /// The program.
        program: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It took too long and was killed.
    #[error("run {}: it did not end within {} s", .program.display(), .limit.as_secs())]
    Slow {
        /// The program.
        program: PathBuf,
        /// What it had.
        limit: Duration,
    },
    /// Nobody wants its work any more, so it was killed.
    #[error("run {}: it was killed after {:.1} s, {}", .program.display(), .after.as_secs_f64(), hurry(.grace))]
    Hurried {
        /// The program.
        program: PathBuf,
        /// How long it had run.
        after: Duration,
        /// What it has in a hurry: nothing, unless it takes back.
        grace: Duration,
    },
    /// It said no.
    #[error("{name}: {}{}", printable(&.error.msg), details(.error))]
    Refused {
        /// The plugin's type.
        name: String,
        /// What it said.
        error: Box<CniError>,
    },
    /// It said something else than a result or an error.
    #[error("{name}: {problem}")]
    Nonsense {
        /// The plugin's type.
        name: String,
        /// What is wrong.
        problem: String,
    },
}

fn shown(directories: &[PathBuf]) -> String {
    let texts: Vec<_> = directories.iter().map(|path| path.display().to_string()).collect();
    if texts.is_empty() { "no directory".to_owned() } else { texts.join(", ") }
}

fn details(error: &CniError) -> String {
    if error.details.is_empty() { String::new() } else { format!(": {}", printable(&error.details)) }
}

fn hurry(grace: &Duration) -> String {
    match grace.as_secs() {
        0 => "because what it was to do is not wanted any more".to_owned(),
        seconds => format!("because in a hurry it has {seconds} s to take back what it has made"),
    }
}

impl Caller {
    /// The program of a plugin.
    ///
    /// # Errors
    /// [`CallError::Missing`], also for a type that is no file's name.
    pub fn find(&self, name: &str) -> Result<PathBuf, CallError> {
        let is_name = !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\0']);
        let program = |path: &PathBuf| {
            path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
        };
        let mut places = self.directories.iter().map(|directory| directory.join(name));
        places.find(program).filter(|_| is_name).ok_or_else(|| CallError::Missing {
            name: name.to_owned(),
            directories: self.directories.clone(),
        })
    }

    /// Calls a plugin and returns what it printed: `null` if nothing, which is what DEL, CHECK, STATUS and GC say.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn call(&self, name: &str, parameters: &[(&str, String)], input: &Value) -> Result<Value, CallError> {
        self.call_until(Time::new(self.limit), name, parameters, input)
    }

    /// The same under an overseer, who may lose patience; then the plugin still has `grace`.
    pub(crate) fn call_under(
        &self,
        (overseer, grace): (&Overseer, Duration),
        name: &str,
        parameters: &[(&str, String)],
        input: &Value,
    ) -> Result<Value, CallError> {
        let time = Time { overseer: Some((overseer, grace)), ..Time::new(self.limit) };
        self.call_until(time, name, parameters, input)
    }

    fn call_until(
        &self,
        mut time: Time<'_>,
        name: &str,
        parameters: &[(&str, String)],
        input: &Value,
    ) -> Result<Value, CallError> {
        let program = self.find(name)?;
        let failed = |source| CallError::Run { program: program.clone(), source };
        let input = serde_json::to_vec(input).map_err(|error| failed(error.into()))?;
        let mut said = run(&program, parameters, &input, &mut time).map_err(failed)?;
        let Some(good) = said.good else {
            return Err(match time.hurried {
                true => CallError::Hurried {
                    program,
                    after: time.begun.elapsed(),
                    grace: time.overseer.map_or(Duration::ZERO, |(_, grace)| grace),
                },
                false => CallError::Slow { program, limit: self.limit },
            });
        };
        let nonsense = |problem| CallError::Nonsense { name: name.to_owned(), problem };
        if good {
            if said.output.iter().all(u8::is_ascii_whitespace) {
                return Ok(Value::Null);
            }
            return serde_json::from_slice(&said.output)
                .map_err(|error| nonsense(format!("its answer is no JSON: {error}")));
        }
        match serde_json::from_slice::<CniError>(&said.output) {
            Ok(error) => Err(CallError::Refused { name: name.to_owned(), error: Box::new(error) }),
            Err(_) => {
                said.output.extend(said.errors);
                let text = printable(String::from_utf8_lossy(&said.output).trim());
                Err(nonsense(if text.is_empty() { "it failed and did not say why".to_owned() } else { text }))
            }
        }
    }

    /// The versions that a plugin speaks, as far as they are known here.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn versions(
        &self,
        overseer: &Overseer,
        name: &str,
        container: &str,
    ) -> Result<Vec<Version>, CallError> {
        let asked = serde_json::json!({"cniVersion": Version::NEWEST.as_str()});
        // Plugins of old read the whole environment whatever the command. The container tells whose a plugin is that is left.
        let parameters = [
            ("CNI_COMMAND", "VERSION".to_owned()),
            ("CNI_CONTAINERID", container.to_owned()),
            ("CNI_NETNS", "dummy".to_owned()),
            ("CNI_IFNAME", "dummy".to_owned()),
            ("CNI_PATH", "dummy".to_owned()),
        ];
        let answer = self.call_under((overseer, Duration::ZERO), name, &parameters, &asked)?;
        let listed = answer["supportedVersions"].as_array().into_iter().flatten();
        Ok(listed.filter_map(|version| Version::of(version.as_str()?)).collect())
    }
}

/// What a program said.
struct Said {
    /// Whether it ended well; `None` if it did not end.
    good: Option<bool>,
    output: Vec<u8>,
    errors: Vec<u8>,
}

/// What a call may take.
struct Time<'a> {
    begun: Instant,
    deadline: Instant,
    /// Who may shorten it, and what is left then.
    overseer: Option<(&'a Overseer, Duration)>,
    /// Whether that has happened.
    hurried: bool,
}

impl<'a> Time<'a> {
    fn new(limit: Duration) -> Time<'a> {
        let begun = Instant::now();
        Time { begun, deadline: begun + limit, overseer: None, hurried: false }
    }

    /// What is left of it now.
    fn left(&mut self) -> Duration {
        let now = Instant::now();
        if let Some((_, grace)) = self.overseer.filter(|(overseer, _)| !self.hurried && overseer.is_hurried())
        {
            self.hurried = true;
            self.deadline = self.deadline.min(now + grace);
        }
        self.deadline.saturating_duration_since(now)
    }

    /// What hangs up when it gets shorter.
    fn shortens(&self) -> Option<PollFd<'a>> {
        let (overseer, _) = self.overseer.filter(|_| !self.hurried)?;
        Some(PollFd::new(overseer.hurry_fd(), PollFlags::POLLIN))
    }
}

fn run(program: &Path, parameters: &[(&str, String)], input: &[u8], time: &mut Time<'_>) -> io::Result<Said> {
    let mut child = Command::new(program)
        .env_clear()
        .env("PATH", PROGRAMS)
        .envs(parameters.iter().map(|(name, value)| (*name, value)))
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::from(of(input)?))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let (mut output, mut errors) = (Vec::new(), Vec::new());
    let heard = hear(&mut child, (&mut output, &mut errors), time);
    let ended = heard.and_then(|()| end(&mut child, time));
    if !matches!(ended, Ok(Some(_))) {
        let _ = killpg(Pid::from_raw(child.id().cast_signed()), Signal::SIGKILL);
        child.wait()?;
    }
    Ok(Said { good: ended?, output, errors })
}

/// A file in memory: a pipe would have to be written while the output is read.
fn of(input: &[u8]) -> io::Result<File> {
    let mut file = File::from(memfd_create(c"cni-input", MFdFlags::MFD_CLOEXEC)?);
    file.write_all(input)?;
    file.rewind()?;
    Ok(file)
}

/// Reads both outputs until they are closed or time is up.
fn hear(child: &mut Child, into: (&mut Vec<u8>, &mut Vec<u8>), time: &mut Time<'_>) -> io::Result<()> {
    let (mut out, mut err) = (child.stdout.take(), child.stderr.take());
    while out.is_some() || err.is_some() {
        let left = time.left();
        if left.is_zero() || into.0.len() + into.1.len() > MOST_OUTPUT {
            return Ok(());
        }
        let timeout = PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
        let mut waiting: Vec<PollFd<'_>> = Vec::new();
        waiting.extend(out.as_ref().map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLIN)));
        waiting.extend(err.as_ref().map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLIN)));
        waiting.extend(time.shortens());
        poll(&mut waiting, timeout)?;
        let ready: Vec<bool> = waiting.iter().map(|fd| fd.any() == Some(true)).collect();
        drop(waiting);
        let mut ready = ready.into_iter();
        if out.is_some() && ready.next() == Some(true) {
            read_some(&mut out, into.0)?;
        }
        if err.is_some() && ready.next() == Some(true) {
            read_some(&mut err, into.1)?;
        }
    }
    Ok(())
}

fn read_some(pipe: &mut Option<impl Read>, into: &mut Vec<u8>) -> io::Result<()> {
    let mut buffer = [0; 16 << 10];
    let length = match pipe {
        Some(pipe) => pipe.read(&mut buffer)?,
        None => 0,
    };
    into.extend(&buffer[..length]);
    if length == 0 {
        *pipe = None;
    }
    Ok(())
}

/// Whether it ended well; `None` if it has not ended in time. Who has closed its outputs is about to end.
fn end(child: &mut Child, time: &mut Time<'_>) -> io::Result<Option<bool>> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status.success()));
        }
        if time.left().is_zero() {
            return Ok(None);
        }
        std::thread::sleep(Duration::from_micros(500));
    }
}

#[cfg(test)]
mod tests;
