//! `stage exec`: one more process in a running container.
//!
//! The stage stays outside, on the host, and waits; only the process it clones goes in. That one joins the
//! container's cgroup while it can still see it, then all namespaces in one call by the pidfd of the
//! container's init, and then goes the same way as init from user to program.
//!
//! What it starts is held together by a cgroup of its own below the container's: a probe that has forked
//! and hangs, or a shell whose caller has gone, is killed with everything that came of it.

use super::Channel;
use super::program::Program;
use super::user::{enter_again, enter_first, look_up, open_terminal, own_streams, set_streams, set_terminal};
use crate::cgroup::{BornIn, Cgroup, Cgroups};
use crate::in_root::{self, Kind};
use crate::launch::{Inbox, send};
use crate::plan::{ExecPlan, Exit, Failure, FromStage, Identity, Leftovers};
use crate::privileges::{Privileges, Seccomp, limit_resources, set_oom_score};
use crate::process::{Process, reap, start_time_of};
use crate::recipe::Fault;
use crate::seccomp;
use crate::sys::security;
use crate::sys::task::{self, Side};
use nix::fcntl::{OFlag, open};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::Pid;
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

/// The namespaces that the new process joins. Not the user namespace: podbox makes none.
const NAMESPACES: i32 =
    libc::CLONE_NEWNS | libc::CLONE_NEWNET | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS | libc::CLONE_NEWCGROUP;

/// What the stage holds while the process runs.
struct Running {
    child: Pid,
    process: Process,
    holder: Option<Cgroup>,
    leftovers: Leftovers,
}

/// The whole stage.
pub(super) fn run(channel: &mut Channel) -> Result<(), Failure> {
    let plan: ExecPlan = channel.plan()?;
    let streams = channel.take_fds();
    let step = "enter the container";
    let target = match Process::open(plan.target) {
        Ok(Some(target)) => target,
        Ok(None) => return Err(Fault::new("it does not run any more").at(step)),
        Err(error) => return Err(Fault::from(error).at(step)),
    };
    let group = plan.cgroup.as_deref().map(|path| Cgroups::detect().at(path)).filter(Cgroup::exists);
    let holder = group.as_ref().and_then(|group| group.holder(&format!("exec-{}", std::process::id())));
    let started = start(&plan, &target, &streams, Groups { group: group.as_ref(), holder: holder.as_ref() });
    drop(streams);
    let (child, master) = match started {
        Ok(started) => started,
        Err(failure) => {
            holder.iter().for_each(|holder| drop(holder.remove()));
            return Err(failure);
        }
    };
    let running = Running { child: child.1, process: child.0, holder, leftovers: plan.leftovers };
    let line = FromStage::Started(running.process.identity());
    let fds: Vec<_> = master.iter().map(AsFd::as_fd).collect();
    let told = channel.say_with(&line, &fds).is_ok();
    drop(fds);
    drop(master);
    let exit = if told { running.wait(channel) } else { running.kill() };
    let exit = exit.map_err(|error| Fault::from(error).at("wait for the program"))?;
    // A caller that has gone needs no answer.
    let _ = channel.say(&FromStage::Exited(exit));
    Ok(())
}

/// The container's cgroup and the one below it that holds this process.
#[derive(Clone, Copy)]
struct Groups<'a> {
    group: Option<&'a Cgroup>,
    holder: Option<&'a Cgroup>,
}

/// Clones the process and waits until it has become the program: the running child and its terminal.
fn start(
    plan: &ExecPlan,
    target: &Process,
    streams: &[OwnedFd],
    groups: Groups<'_>,
) -> Result<((Process, Pid), Option<OwnedFd>), Failure> {
    let fault = |fault: Fault| fault.at("start a process in the container");
    task::setns(target.as_fd(), libc::CLONE_NEWPID).map_err(|errno| fault(errno.into()))?;
    let (ours, theirs) = UnixStream::pair().map_err(|error| fault(error.into()))?;
    let (side, born) = clone_into(groups).map_err(fault)?;
    let child = match side {
        Side::Child => {
            drop(ours);
            inside(plan, target, streams, Inside { groups, born, report: theirs })
        }
        Side::Parent(child) => child,
    };
    drop(theirs);
    let mut inbox = Inbox::default();
    let said = inbox.line(ours.as_fd());
    let failure = match said {
        // A terminal comes first, then the end of file like without one.
        Ok(Some(line)) if line == TERMINAL => inbox.line(ours.as_fd()).ok().flatten(),
        Ok(line) => line,
        Err(_) => None,
    };
    if let Some(line) = failure {
        let _ = reap(child);
        return Err(serde_json::from_str(&line).unwrap_or_else(|_| fault(Fault::new(line))));
    }
    // Our own child, not reaped: the pid is its.
    let identity = Identity { pid: child.as_raw(), start: start_time_of(child.as_raw()).unwrap_or_default() };
    match Process::open(identity) {
        Ok(Some(process)) => Ok(((process, child), inbox.take_fds().pop())),
        _ => Err(fault(Fault::new("it is gone"))),
    }
}

fn clone_into(groups: Groups<'_>) -> Result<(Side, BornIn), Fault> {
    let unified = groups.holder.or(groups.group).and_then(Cgroup::unified);
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    if let Some(directory) = unified.and_then(|path| open(path, flags, Mode::empty()).ok())
        && let Ok(side) = task::clone(0, Some(directory.as_fd()))
    {
        return Ok((side, BornIn::V2));
    }
    Ok((task::clone(0, None)?, BornIn::Elsewhere))
}

/// The line that announces the terminal's descriptor.
const TERMINAL: &str = "terminal";

struct Inside<'a> {
    groups: Groups<'a>,
    born: BornIn,
    report: UnixStream,
}

/// The new process, until it is the program. Never returns.
fn inside(plan: &ExecPlan, target: &Process, streams: &[OwnedFd], way: Inside<'_>) -> ! {
    let mut name = "enter the container";
    let Err(fault) = become_program(plan, target, streams, (&way, &mut name));
    let code = fault.exit_code.unwrap_or(126);
    let failure = Failure { exit_code: Some(code), ..fault.at(name) };
    let mut line = serde_json::to_vec(&failure).unwrap_or_default();
    line.push(b'\n');
    let _ = send(way.report.as_fd(), &line, &[]);
    task::leave(code)
}

fn become_program(
    plan: &ExecPlan,
    target: &Process,
    streams: &[OwnedFd],
    (way, step): (&Inside<'_>, &mut &'static str),
) -> Result<std::convert::Infallible, Fault> {
    let mut notes = Vec::new();
    let process = &plan.process;
    security::undumpable()?;
    if let Some(group) = way.groups.group {
        // In v1 the container's own cgroups; in v2 the holder, if it was not born there.
        group.join(way.born, &mut notes);
    }
    if let Some(holder) = way.groups.holder {
        holder.join(way.born, &mut notes);
    }
    process.oom_score_adj().map_or(Ok(()), |score| set_oom_score(score, &mut notes))?;
    limit_resources(process.rlimits().as_deref().unwrap_or_default(), &mut notes)?;
    task::setns(target.as_fd(), NAMESPACES)?;
    *step = "look the user up";
    let root = open("/", OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
    let identity = look_up(root.as_fd(), process, plan.user.as_ref())?;
    let uid = identity.uid;
    *step = "prepare the program and its filters";
    let program = Program::prepare(process, &identity.home)?;
    let filters = plan.seccomp.as_ref().map(seccomp::compile).transpose()?;
    let later = if filters.is_some() { Seccomp::Later } else { Seccomp::None };
    let privileges = Privileges::prepare(process, identity, later, &mut notes)?;
    *step = "set up the standard streams";
    nix::unistd::setsid()?;
    if process.terminal() == Some(true) {
        let (master, peer) = open_terminal(root.as_fd(), process)?;
        send(way.report.as_fd(), format!("{TERMINAL}\n").as_bytes(), &[master.as_fd()])?;
        set_terminal(&peer, uid)?;
    } else {
        let null = open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty());
        let get = |at: usize| streams.get(at).or(null.as_ref().ok()).map(AsFd::as_fd);
        let three = get(0).zip(get(1)).zip(get(2)).ok_or_else(|| Fault::new("there are none"))?;
        set_streams([three.0.0, three.0.1, three.1])?;
    }
    own_streams(uid);
    *step = "enter the working directory";
    drop(in_root::make(root.as_fd(), process.cwd(), Kind::Directory));
    let entered = enter_first(process.cwd())?;
    *step = "become the container's user";
    task::cloexec_from(3)?;
    privileges.apply()?;
    enter_again(process.cwd(), entered)?;
    nix::sys::stat::umask(Mode::from_bits_truncate(process.user().umask().unwrap_or(0o022)));
    task::reset_signals();
    if let Some(filters) = filters {
        *step = "load the seccomp filter";
        filters.load()?;
    }
    *step = "exec";
    Err(program.exec())
}

impl Running {
    /// Waits until the program ends or the caller goes.
    fn wait(self, channel: &mut Channel) -> std::io::Result<Exit> {
        loop {
            let mut fds = [
                PollFd::new(self.process.as_fd(), PollFlags::POLLIN),
                PollFd::new(channel.input(), PollFlags::POLLIN),
            ];
            match poll(&mut fds, PollTimeout::NONE) {
                Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
            let [ended, spoke] = fds.map(|fd| fd.any() == Some(true));
            if ended {
                return self.finish();
            }
            // Nothing that a caller says means anything yet; its end does.
            if spoke && !matches!(channel.hear(), Ok(Some(_))) {
                return self.kill();
            }
        }
    }

    /// Reaps the ended program, and sees to what it has left.
    fn finish(self) -> std::io::Result<Exit> {
        let exit = reap(self.child)?;
        if self.leftovers == Leftovers::Kill {
            self.kill_all();
        }
        self.let_go();
        Ok(exit)
    }

    /// Kills the program and everything that came of it.
    fn kill(self) -> std::io::Result<Exit> {
        self.kill_all();
        let exit = reap(self.child)?;
        self.let_go();
        Ok(exit)
    }

    fn kill_all(&self) {
        let killed = self.holder.as_ref().is_some_and(|holder| holder.kill().is_ok());
        if !killed {
            for pid in session_of(self.child) {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
        let _ = self.process.signal(libc::SIGKILL);
    }

    /// Removes the cgroup if nobody is in it; one that is in use goes with the container's.
    fn let_go(&self) {
        if let Some(holder) = self.holder.as_ref().filter(|holder| holder.is_empty()) {
            let _ = holder.remove();
        }
    }
}

/// Where no cgroup can be made: the processes of the session that the program leads. One that has made a
/// session of its own escapes.
fn session_of(leader: Pid) -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let in_session = |pid: &i32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let session = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_ascii_whitespace().nth(3));
        session.and_then(|session| session.parse().ok()) == Some(leader.as_raw())
    };
    pids.filter(in_session).collect()
}
