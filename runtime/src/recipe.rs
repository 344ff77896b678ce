//! A recipe: an ordered list of named steps, each with the command that a reader could type.
//!
//! The list is a value before it is anything else. `podbox plan` prints it and touches nothing; a stage
//! runs it, measures every step and names the failing one. Because it is the same list, what is printed
//! cannot differ from what is done.

use crate::cgroup::Refused;
use crate::plan::{ContainerPlan, Failure, SandboxPlan, Timed};
use crate::sys::task;
use nix::errno::Errno;
use std::borrow::Cow;
use std::fmt::Display;
use std::io;
use std::time::Instant;

/// A step as it is printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// What it does, in words.
    pub name: String,
    /// What one could type to do the same.
    pub command: String,
}

/// The steps that `stage sandbox` takes for a plan. Touches nothing.
#[must_use]
pub fn sandbox_steps(plan: &SandboxPlan) -> Vec<Described> {
    describe(&crate::stage::sandbox::steps(plan))
}

/// The steps that `stage container` takes for a plan, in order, the ones behind the gate last. Touches
/// nothing.
#[must_use]
pub fn container_steps(plan: &ContainerPlan) -> Vec<Described> {
    let mut all = describe(&crate::stage::container::outside(plan));
    all.push(crate::stage::container::describe_clone(plan));
    all.extend(describe(&crate::stage::init::inside(plan)));
    all.extend(describe(&crate::stage::init::behind_the_gate(plan)));
    all
}

/// What a step does to the state `C` that the steps of its recipe share.
type Act<'p, C> = Box<dyn FnOnce(&mut C) -> Result<(), Fault> + 'p>;

/// One step of a recipe.
pub(crate) struct Step<'p, C> {
    pub(crate) name: Cow<'static, str>,
    pub(crate) command: String,
    act: Act<'p, C>,
}

/// Makes a step.
pub(crate) fn step<'p, C>(
    name: impl Into<Cow<'static, str>>,
    command: impl Into<String>,
    act: impl FnOnce(&mut C) -> Result<(), Fault> + 'p,
) -> Step<'p, C> {
    Step { name: name.into(), command: command.into(), act: Box::new(act) }
}

/// A word as a shell takes it: in quotes where it needs them.
pub(crate) fn quoted(word: &str) -> Cow<'_, str> {
    // shlex also quotes commas, which mean something between braces only.
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_@%+=:,./-".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        return Cow::Borrowed(word);
    }
    // Only a NUL cannot be quoted, and no argument of a program can hold one.
    shlex::try_quote(word).unwrap_or(Cow::Borrowed(word))
}

fn describe<C>(steps: &[Step<'_, C>]) -> Vec<Described> {
    let one = |step: &Step<'_, C>| Described { name: step.name.to_string(), command: step.command.clone() };
    steps.iter().map(one).collect()
}

/// Takes the steps in order until one fails. `ps` shows the step that is being taken.
pub(crate) fn run<C>(steps: Vec<Step<'_, C>>, state: &mut C, trace: &mut Vec<Timed>) -> Result<(), Failure> {
    let mut before = Instant::now();
    for step in steps {
        task::set_name(&step.name);
        (step.act)(state).map_err(|fault| fault.at(&step.name))?;
        let now = Instant::now();
        let micros = now.duration_since(before).as_micros() as u64;
        before = now;
        trace.push(Timed { name: step.name.into_owned(), command: step.command, micros });
    }
    Ok(())
}

/// Why a step failed, without its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) errno: Option<i32>,
    pub(crate) text: String,
    pub(crate) exit_code: Option<u8>,
}

impl Fault {
    /// A refusal of our own.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self { errno: None, text: text.into(), exit_code: None }
    }

    /// Names the step it happened in.
    pub(crate) fn at(self, step: &str) -> Failure {
        Failure { step: step.to_owned(), errno: self.errno, text: self.text, exit_code: self.exit_code }
    }
}

impl From<Errno> for Fault {
    fn from(errno: Errno) -> Self {
        Self { errno: Some(errno as i32), text: errno.desc().to_owned(), exit_code: None }
    }
}

impl From<Refused> for Fault {
    fn from(Refused { what, source }: Refused) -> Self {
        let fault = Self::from(source);
        Self { text: format!("{what}: {}", fault.text), ..fault }
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(errno) => Errno::from_raw(errno).into(),
            None => Self::new(error.to_string()),
        }
    }
}

/// Says to which object an error happened.
pub(crate) trait During<T> {
    /// Puts `what: ` in front of the error's text.
    fn during(self, what: impl Display) -> Result<T, Fault>;
}

impl<T, E: Into<Fault>> During<T> for Result<T, E> {
    fn during(self, what: impl Display) -> Result<T, Fault> {
        self.map_err(|error| {
            let fault: Fault = error.into();
            Fault { text: format!("{what}: {}", fault.text), ..fault }
        })
    }
}
