//! The process that goes into the container.
//!
//! It joins the container's cgroup while it can still see it, then all namespaces in one call by the pidfd of the
//! container's init, and then goes the same way as init from user to program. If it does not get there, it says
//! why on its report line and leaves; if it does, the line ends by the exec.

use crate::cgroup::{BornIn, Cgroup};
use crate::in_root::{self, Kind};
use crate::launch::send;
use crate::plan::{ExecPlan, Failure};
use crate::privileges::{Available, Privileges, Seccomp, limit_resources, set_oom_score};
use crate::process::Process;
use crate::recipe::Fault;
use crate::seccomp::Filters;
use crate::stage::labels;
use crate::stage::program::Program;
use crate::stage::user::{
    enter_again, enter_first, look_up, open_terminal, own_streams, set_streams, set_terminal,
};
use crate::sys::security;
use crate::sys::task::{self, Side};
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::unistd::Pid;
use std::convert::Infallible;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The namespaces that the new process joins at once. A user namespace comes last, because there it is root of the
/// host no more.
const NAMESPACES: i32 =
    libc::CLONE_NEWNS | libc::CLONE_NEWNET | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS | libc::CLONE_NEWCGROUP;

/// The line that announces the terminal's descriptor.
pub(super) const TERMINAL: &str = "terminal";

/// The container's cgroup and the one below it that holds this process.
#[derive(Clone, Copy)]
pub(super) struct Groups<'a> {
    pub(super) group: Option<&'a Cgroup>,
    pub(super) holder: Option<&'a Cgroup>,
}

/// Everything that the process needs on its way.
#[derive(Clone, Copy)]
pub(super) struct Way<'a> {
    pub(super) plan: &'a ExecPlan,
    pub(super) args: &'a [String],
    pub(super) target: &'a Process,
    pub(super) filters: Option<&'a Filters>,
    pub(super) streams: &'a [OwnedFd],
    pub(super) groups: Groups<'a>,
    pub(super) report: BorrowedFd<'a>,
}

/// Clones the process and sends it on its way, straight into its cgroup where the kernel can.
pub(super) fn clone_into(way: &Way<'_>) -> Result<Pid, Fault> {
    let unified = way.groups.holder.or(way.groups.group).and_then(Cgroup::unified);
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    if let Some(directory) = unified.and_then(|path| open(path, flags, Mode::empty()).ok())
        && let Ok(side) = task::clone(0, Some(directory.as_fd()))
    {
        return Ok(walk(side, way, BornIn::V2));
    }
    Ok(walk(task::clone(0, None)?, way, BornIn::Elsewhere))
}

/// Returns to the parent only.
fn walk(side: Side, way: &Way<'_>, born: BornIn) -> Pid {
    match side {
        Side::Parent(child) => child,
        Side::Child => {
            let mut step = "enter the container";
            let Err(fault) = become_program(way, born, &mut step);
            let code = fault.exit_code.unwrap_or(126);
            let failure = Failure { exit_code: Some(code), ..fault.at(step) };
            let mut line = serde_json::to_vec(&failure).unwrap_or_default();
            line.push(b'\n');
            let _ = send(way.report, &line, &[]);
            task::leave(code)
        }
    }
}

fn become_program(way: &Way<'_>, born: BornIn, step: &mut &'static str) -> Result<Infallible, Fault> {
    let mut notes = Vec::new();
    let mut process = way.plan.process.clone();
    process.set_args(Some(way.args.to_vec()));
    security::undumpable()?;
    if let Some(group) = way.groups.group {
        // In v1 the container's own cgroups; in v2 the holder, if it was not born there.
        group.join(born, &mut notes)?;
    }
    if let Some(holder) = way.groups.holder {
        holder.join(born, &mut notes)?;
    }
    process.oom_score_adj().map_or(Ok(()), |score| set_oom_score(score, &mut notes))?;
    limit_resources(process.rlimits().as_deref().unwrap_or_default(), &mut notes)?;
    labels::announce(&process, &mut notes)?;
    task::setns(way.target.as_fd(), NAMESPACES)?;
    *step = "look the user up";
    let root = open("/", OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
    let identity = look_up(root.as_fd(), &process, way.plan.user.as_ref())?;
    let uid = way.plan.root_id.unwrap_or(0) + identity.uid;
    *step = "prepare the program and its filters";
    let program = Program::prepare(&process, &identity.home)?;
    let later = if way.filters.is_some() { Seccomp::Later } else { Seccomp::None };
    let available = Available::of(way.plan.root_id.is_some())?;
    let privileges = Privileges::prepare(&process, identity, later, (available, &mut notes))?;
    *step = "set up the standard streams";
    nix::unistd::setsid()?;
    if process.terminal() == Some(true) {
        let (master, peer) = open_terminal(root.as_fd(), &process)?;
        send(way.report, format!("{TERMINAL}\n").as_bytes(), &[master.as_fd()])?;
        set_terminal(&peer, uid)?;
    } else {
        take_streams(way.streams)?;
    }
    own_streams(uid);
    *step = "enter the working directory";
    drop(in_root::make(root.as_fd(), process.cwd(), Kind::Directory));
    let entered = enter_first(process.cwd())?;
    *step = "become the container's user";
    task::cloexec_from(3)?;
    if way.plan.root_id.is_some() {
        task::setns(way.target.as_fd(), libc::CLONE_NEWUSER)?;
    }
    privileges.apply()?;
    enter_again(process.cwd(), entered)?;
    nix::sys::stat::umask(Mode::from_bits_truncate(process.user().umask().unwrap_or(0o022)));
    task::reset_signals();
    if let Some(filters) = way.filters {
        *step = "load the seccomp filter";
        filters.load()?;
    }
    *step = "exec";
    Err(program.exec())
}

/// The caller's streams; the container's own /dev/null in the place of what it did not give.
fn take_streams(streams: &[OwnedFd]) -> Result<(), Fault> {
    if let [input, output, error, ..] = streams {
        return set_streams([input.as_fd(), output.as_fd(), error.as_fd()]);
    }
    let null = open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty());
    let get = |at: usize| streams.get(at).or(null.as_ref().ok()).map(AsFd::as_fd);
    let three = get(0).zip(get(1)).zip(get(2)).ok_or_else(|| Fault::new("there are none"))?;
    set_streams([three.0.0, three.0.1, three.1])
}
