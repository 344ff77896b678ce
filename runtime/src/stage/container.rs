//! `stage container`: from a plan to an init that waits at its gate.
//!
//! The stage itself does what must happen outside: the cgroup, and joining the pod's namespaces. Then it
//! clones init ([`super::init`]), which does the rest in namespaces of its own and tells the caller itself
//! that it is ready. The stage only stays to hear whether that worked, to undo if not, and to leave: init
//! is then a child of the nearest subreaper.

use super::init::{self, Init};
use super::{Channel, console};
use crate::cgroup::{BornIn, Cgroup, Cgroups};
use crate::devices::{self, Access, UsualProgram};
use crate::plan::{ContainerPlan, Exit, Failure, Timed};
use crate::process::reap;
use crate::recipe::{Described, During, Fault, Step, run as run_steps, step};
use crate::sys::task::{self, Side};
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::unistd::Pid;
use oci_spec::runtime::{LinuxNamespace, LinuxNamespaceType};
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Instant;

/// What the steps outside share.
#[derive(Debug, Default)]
pub(crate) struct Outside {
    cgroup: Option<Cgroup>,
    devices: Access,
    usual_filter: Option<UsualProgram>,
    notes: Vec<String>,
    relay: Option<(Pid, Option<UnixStream>)>,
}

/// The whole stage.
pub(super) fn run(channel: &mut Channel) -> Result<(), Failure> {
    let mut outside = Outside { usual_filter: Some(UsualProgram::load()), ..Outside::default() };
    let plan: ContainerPlan = channel.plan()?;
    let mut trace = Vec::new();
    let result = run_steps(outside_steps(&plan), &mut outside, &mut trace)
        .and_then(|()| start(&plan, channel, &mut outside, trace));
    if result.is_err() {
        undo(&outside);
    }
    result
}

/// Takes back what was made outside. What init made went with its mount namespace.
fn undo(outside: &Outside) {
    if let Some((relay, _)) = &outside.relay {
        let _ = nix::sys::signal::kill(*relay, nix::sys::signal::SIGKILL);
        let _ = reap(*relay);
    }
    if let Some(group) = &outside.cgroup {
        // What cannot be removed now is removed with the sandbox.
        let _ = group.remove();
    }
}

/// The steps before init exists.
pub(crate) fn outside(plan: &ContainerPlan) -> Vec<Step<'_, Outside>> {
    outside_steps(plan)
}

fn outside_steps(plan: &ContainerPlan) -> Vec<Step<'_, Outside>> {
    let mut steps = Vec::new();
    let linux = plan.spec.linux().as_ref();
    if let Some(path) = linux.and_then(|linux| linux.cgroups_path().as_deref()) {
        let command = format!("mkdir -p /sys/fs/cgroup/{{cpu,cpuacct,memory,pids}}{}", path.display());
        steps.push(step("make the container's cgroup", command, move |s: &mut Outside| {
            let limits = linux.and_then(|linux| linux.resources().clone()).unwrap_or_default();
            s.cgroup = Some(Cgroups::detect().create(path, &limits, &mut s.notes)?);
            Ok(())
        }));
    }
    let rules = devices::rules(plan);
    if !rules.is_empty() {
        steps.push(step("filter access to devices", devices::command(rules), move |s: &mut Outside| {
            let usual = s.usual_filter.take().unwrap_or_else(UsualProgram::load);
            s.devices = devices::apply(rules, usual, s.cgroup.as_ref()).unwrap_or_else(|fault| {
                let text = fault.text;
                s.notes.push(format!("devices are not filtered ({text}): nodes of its own open nothing"));
                Access::NoNodes
            });
            Ok(())
        }));
    }
    // The user namespace comes last of all, when init is done.
    let joined: Vec<&LinuxNamespace> =
        namespaces(plan).filter(|ns| ns.path().is_some() && ns.typ() != LinuxNamespaceType::User).collect();
    if !joined.is_empty() {
        let flag = |ns: &&LinuxNamespace| {
            let path = ns.path().as_deref().map(|path| path.display().to_string()).unwrap_or_default();
            format!(" --{}={path}", ns.typ())
        };
        let command = format!("nsenter{}", joined.iter().map(flag).collect::<String>());
        steps
            .push(step("join the pod's namespaces", command, move |_| joined.into_iter().try_for_each(join)));
    }
    if has_terminal(plan) {
        let command = "podbox-console &";
        steps.push(step("start the console relay", command, move |s| start_relay(plan, s)));
    }
    steps
}

/// The one step that is not a function call: after it there are two processes.
pub(crate) fn describe_clone(plan: &ContainerPlan) -> Described {
    let mut command = "unshare --fork --mount".to_owned();
    for ns in namespaces(plan).filter(|ns| ns.path().is_none()) {
        let kind = ns.typ();
        if kind != LinuxNamespaceType::Mount && kind != LinuxNamespaceType::Cgroup {
            command.push_str(&format!(" --{kind}"));
        }
    }
    Described { name: CLONE.to_owned(), command }
}

const CLONE: &str = "leave for new namespaces";

fn namespaces(plan: &ContainerPlan) -> impl Iterator<Item = &LinuxNamespace> {
    plan.spec.linux().iter().flat_map(|linux| linux.namespaces().iter().flatten())
}

/// Whether the container gets a new namespace of this kind (not: joins one, or stays in the host's).
pub(super) fn has_new(plan: &ContainerPlan, kind: LinuxNamespaceType) -> bool {
    namespaces(plan).any(|ns| ns.typ() == kind && ns.path().is_none())
}

/// Whether the container has a terminal.
pub(super) fn has_terminal(plan: &ContainerPlan) -> bool {
    plan.spec.process().as_ref().is_some_and(|process| process.terminal() == Some(true))
}

fn join(namespace: &LinuxNamespace) -> Result<(), Fault> {
    let Some(path) = namespace.path().as_deref() else { return Ok(()) };
    let flag = match namespace.typ() {
        LinuxNamespaceType::Network => libc::CLONE_NEWNET,
        LinuxNamespaceType::Ipc => libc::CLONE_NEWIPC,
        LinuxNamespaceType::Uts => libc::CLONE_NEWUTS,
        // This process stays where it is; its children will be in there.
        LinuxNamespaceType::Pid => libc::CLONE_NEWPID,
        other => return Err(Fault::new(format!("joining a {other} namespace is not supported"))),
    };
    let fd = open(path, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()).during(path.display())?;
    task::setns(fd.as_fd(), flag).during(path.display())
}

fn start_relay(plan: &ContainerPlan, state: &mut Outside) -> Result<(), Fault> {
    let (ours, theirs) = UnixStream::pair()?;
    // The relay's alone from here on: who else had it open would keep it locked.
    let output = console::open_output(&plan.stdio).during(plan.stdio.stdout.display())?;
    match task::clone(0, None)? {
        Side::Child => {
            drop(ours);
            console::run(&plan.stdio, output, theirs)
        }
        Side::Parent(pid) => {
            state.relay = Some((pid, Some(ours)));
            Ok(())
        }
    }
}

/// Flags of the namespaces that are made with the clone. The cgroup namespace is not among them: its root
/// is the cgroup that its maker is in, and init is in the right one only later.
fn new_flags(plan: &ContainerPlan) -> Result<u64, Fault> {
    let mut flags = libc::CLONE_NEWNS;
    for namespace in namespaces(plan).filter(|ns| ns.path().is_none()) {
        flags |= match namespace.typ() {
            LinuxNamespaceType::Network => libc::CLONE_NEWNET,
            LinuxNamespaceType::Ipc => libc::CLONE_NEWIPC,
            LinuxNamespaceType::Uts => libc::CLONE_NEWUTS,
            LinuxNamespaceType::Pid => libc::CLONE_NEWPID,
            LinuxNamespaceType::Mount | LinuxNamespaceType::Cgroup => 0,
            other => return Err(Fault::new(format!("a {other} namespace is not supported"))),
        };
    }
    Ok(flags as u64)
}

/// Clones init and waits until it is at its gate or has failed.
fn start(
    plan: &ContainerPlan,
    channel: &mut Channel,
    outside: &mut Outside,
    trace: Vec<Timed>,
) -> Result<(), Failure> {
    let fault = |fault: Fault| fault.at(CLONE);
    task::set_name(CLONE);
    let (mut report, theirs) = UnixStream::pair().map_err(|error| fault(error.into()))?;
    let began = Instant::now();
    let (side, born) = clone_init(plan, outside.cgroup.as_ref()).map_err(fault)?;
    match side {
        Side::Child => {
            drop(report);
            // The caller's lock: what init makes from here on goes with its own namespaces.
            drop(channel.take_fds());
            let notes = std::mem::take(&mut outside.notes);
            let relay = outside.relay.take().and_then(|(_, socket)| socket);
            let mut state = Init::new(plan, outside.cgroup.take(), born);
            state.take_over(relay, outside.devices, notes);
            init::run(state, channel, theirs, init::Story { began, trace })
        }
        Side::Parent(pid) => {
            drop(theirs);
            // Only init's end may stay open: the relay leaves if init dies before it has a terminal.
            if let Some((_, socket)) = &mut outside.relay {
                *socket = None;
            }
            hear(&mut report, pid)
        }
    }
}

/// Straight into the v2 cgroup where the kernel can do that: moving a process later costs more than making it.
fn clone_init(plan: &ContainerPlan, cgroup: Option<&Cgroup>) -> Result<(Side, BornIn), Fault> {
    let flags = new_flags(plan)?;
    let directory: Option<OwnedFd> = cgroup.and_then(Cgroup::unified).and_then(|path| {
        open(path, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty()).ok()
    });
    if let Some(directory) = &directory
        && let Ok(side) = task::clone(flags, Some(directory.as_fd()))
    {
        return Ok((side, BornIn::V2));
    }
    Ok((task::clone(flags, None)?, BornIn::Elsewhere))
}

/// One byte: ready. JSON: the failure. Nothing: it died without a word.
fn hear(report: &mut UnixStream, init: Pid) -> Result<(), Failure> {
    let mut said = Vec::new();
    let heard = report.read_to_end(&mut said);
    if heard.is_ok() && said == init::AT_THE_GATE {
        return Ok(());
    }
    let end = reap(init);
    if let Ok(failure) = serde_json::from_slice(&said) {
        return Err(failure);
    }
    let text = match end {
        Ok(Exit::Signal(signal)) => format!("init was killed by signal {signal} (too little memory?)"),
        Ok(Exit::Code(code)) => format!("init left with code {code}"),
        Err(error) => format!("init is lost: {error}"),
    };
    Err(Fault::new(text).at("set the container up"))
}
