//! `stage exec`: one more process in a running container, or one after another.
//!
//! The stage stays outside, on the host, and waits; only the process it clones goes in (`inside`). What that one
//! starts is held together by a cgroup of its own below the container's: a probe that has forked and hangs, or a
//! shell whose caller has gone, is killed with everything that came of it.
//!
//! A stage that stays ([`Stay::UntilHangUp`]) is what makes probes cheap. Most of what one program in a container
//! costs is the start of the stage itself, and that is paid once: afterwards a probe is a clone, the way in, and
//! the program's own exec.

mod inside;

use super::Channel;
use crate::cgroup::{Cgroup, Cgroups};
use crate::launch::Inbox;
use crate::plan::{ExecPlan, ExecRun, Exit, Failure, FromStage, Identity, Stay};
use crate::process::{Process, reap, start_time_of};
use crate::recipe::Fault;
use crate::seccomp::{self, Filters};
use crate::sys::task;
use inside::{Groups, TERMINAL, Way};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

/// The whole stage.
pub(super) fn run(channel: &mut Channel) -> Result<(), Failure> {
    // The caller's Ctrl-C is not meant for this process, which has to end the program when the caller has gone. It fails
    // only for a process-group leader, which a terminal's signals do not reach.
    let _ = nix::unistd::setsid();
    let plan: ExecPlan = channel.plan()?;
    let stay = plan.stay;
    let mut door = Door::open(plan)?;
    let done = match stay {
        Stay::Once => once(&mut door, channel),
        Stay::UntilHangUp => serve(&mut door, channel),
    };
    door.close();
    done
}

/// Runs the plan's process, and says when it runs and when it has ended.
fn once(door: &mut Door, channel: &mut Channel) -> Result<(), Failure> {
    let args = door.plan.process.args().clone().unwrap_or_default();
    let mut running = door.start(&args, &channel.take_fds())?;
    let master = running.started()?;
    let identity = Identity {
        pid: running.child.as_raw(),
        start: start_time_of(running.child.as_raw()).unwrap_or_default(),
    };
    let fds: Vec<_> = master.iter().map(AsFd::as_fd).collect();
    let told = channel.say_with(&FromStage::Started(identity), &fds).is_ok();
    drop(fds);
    drop(master);
    let ended = if told { running.wait(door, channel) } else { running.kill(door).map(Ended::Called) };
    // A caller that has gone needs no answer.
    let _ = channel.say(&FromStage::Exited(ended.map_err(lost)?.exit()));
    Ok(())
}

/// Runs what it is told until the caller hangs up. A program that cannot be run is an answer like another.
fn serve(door: &mut Door, channel: &mut Channel) -> Result<(), Failure> {
    while let Ok(Some(line)) = channel.hear() {
        let streams = channel.take_fds();
        let run: ExecRun = serde_json::from_str(&line)
            .map_err(|error| Fault::new(error.to_string()).at("read a command"))?;
        let answer = match door.start(&run.args, &streams) {
            Ok(running) => {
                drop(streams);
                match running.wait(door, channel).map_err(lost)? {
                    Ended::ByItself(exit, None) => FromStage::Exited(exit),
                    Ended::ByItself(_, Some(failure)) => FromStage::Failed(failure),
                    Ended::Called(_) => return Ok(()),
                }
            }
            Err(failure) => FromStage::Failed(failure),
        };
        if channel.say(&answer).is_err() {
            return Ok(());
        }
    }
    Ok(())
}

fn lost(error: std::io::Error) -> Failure {
    Fault::from(error).at("wait for the program")
}

/// The way into one container, and what holds those who have gone in.
struct Door {
    plan: ExecPlan,
    target: Process,
    filters: Option<Filters>,
    group: Option<Cgroup>,
    holder: Option<Cgroup>,
    /// Holders in which something was left to run on.
    left: Vec<Cgroup>,
    made: u32,
}

impl Door {
    /// Finds the container. From here on what this process clones is born in the container's PID namespace.
    fn open(plan: ExecPlan) -> Result<Door, Failure> {
        let fault = |fault: Fault| fault.at("enter the container");
        let target = match Process::open(plan.target) {
            Ok(Some(target)) => target,
            Ok(None) => return Err(fault(Fault::new("it does not run any more"))),
            Err(error) => return Err(fault(error.into())),
        };
        task::setns(target.as_fd(), libc::CLONE_NEWPID).map_err(|errno| fault(errno.into()))?;
        let filters = plan.seccomp.as_ref().map(seccomp::compile).transpose().map_err(fault)?;
        let group = plan.cgroup.as_deref().map(|path| Cgroups::detect().at(path)).filter(Cgroup::exists);
        Ok(Door { plan, target, filters, group, holder: None, left: Vec::new(), made: 0 })
    }

    /// Clones a process that becomes the program; how far it came is learned from what is returned.
    fn start(&mut self, args: &[String], streams: &[OwnedFd]) -> Result<Running, Failure> {
        let fault = |fault: Fault| fault.at("start a process in the container");
        self.make_holder();
        let (ours, theirs) = UnixStream::pair().map_err(|error| fault(error.into()))?;
        let groups = Groups { group: self.group.as_ref(), holder: self.holder.as_ref() };
        let way = Way {
            plan: &self.plan,
            args,
            target: &self.target,
            filters: self.filters.as_ref(),
            streams,
            groups,
            report: theirs.as_fd(),
        };
        let child = inside::clone_into(&way).map_err(fault)?;
        drop(theirs);
        // Our own child, not reaped: the pid is its.
        let fd = task::pidfd_open(child.as_raw()).map_err(|errno| fault(errno.into()))?;
        Ok(Running { child, fd, report: ours, inbox: Inbox::default() })
    }

    fn make_holder(&mut self) {
        let Some(group) = self.group.as_ref().filter(|_| self.holder.is_none()) else { return };
        let number = match self.made {
            0 => String::new(),
            made => format!("-{made}"),
        };
        self.made += 1;
        self.holder = group.holder(&format!("exec-{}{number}", std::process::id()));
    }

    /// The program has ended. If something that it has started lives on, that keeps the cgroup, and the next
    /// program gets another.
    fn let_go(&mut self) {
        self.left.retain(|holder| !(holder.is_empty() && holder.remove().is_ok()));
        if let Some(holder) = self.holder.take_if(|holder| !holder.is_empty()) {
            self.left.push(holder);
        }
    }

    /// Removes the cgroups that nobody is in; one that is in use goes with the container's.
    fn close(&mut self) {
        self.let_go();
        self.holder.iter().for_each(|holder| drop(holder.remove()));
    }
}

/// What the stage holds while a program runs.
struct Running {
    child: Pid,
    fd: OwnedFd,
    report: UnixStream,
    inbox: Inbox,
}

/// How it came to an end.
enum Ended {
    /// With what kept it from becoming the program at all.
    ByItself(Exit, Option<Failure>),
    /// It was killed, because the caller had gone.
    Called(Exit),
}

impl Ended {
    fn exit(self) -> Exit {
        match self {
            Self::ByItself(exit, _) | Self::Called(exit) => exit,
        }
    }
}

impl Running {
    /// Waits until the process has become the program: its terminal, if it has one.
    fn started(&mut self) -> Result<Option<OwnedFd>, Failure> {
        let failure = match self.inbox.line(self.report.as_fd()) {
            // A terminal comes first, then the end of file like without one.
            Ok(Some(line)) if line == TERMINAL => self.inbox.line(self.report.as_fd()).ok().flatten(),
            Ok(line) => line,
            Err(_) => None,
        };
        let Some(line) = failure else { return Ok(self.inbox.take_fds().pop()) };
        let _ = reap(self.child);
        Err(told(&line))
    }

    /// Waits until the program ends or the caller goes.
    fn wait(mut self, door: &mut Door, channel: &mut Channel) -> std::io::Result<Ended> {
        loop {
            let mut fds = [
                PollFd::new(self.fd.as_fd(), PollFlags::POLLIN),
                PollFd::new(channel.input(), PollFlags::POLLIN),
            ];
            match poll(&mut fds, PollTimeout::NONE) {
                Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
            let [ended, spoke] = fds.map(|fd| fd.any() == Some(true));
            if ended {
                return self.finish(door);
            }
            // Nothing that a caller says meanwhile means anything; its end does.
            if spoke && !matches!(channel.hear(), Ok(Some(_))) {
                return self.kill(door).map(Ended::Called);
            }
        }
    }

    /// Reaps the ended program. What it has left lives on.
    fn finish(&mut self, door: &mut Door) -> std::io::Result<Ended> {
        let exit = reap(self.child)?;
        door.let_go();
        // It has ended, so that everything that it will ever say is there.
        let said = self.inbox.line(self.report.as_fd()).ok().flatten();
        Ok(Ended::ByItself(exit, said.filter(|line| line != TERMINAL).map(|line| told(&line))))
    }

    /// Kills the program and everything that came of it.
    fn kill(&self, door: &mut Door) -> std::io::Result<Exit> {
        self.kill_all(door);
        let exit = reap(self.child)?;
        // Whoever is still dying in it is waited for.
        door.holder.take().map(|holder| holder.remove());
        Ok(exit)
    }

    fn kill_all(&self, door: &Door) {
        let killed = door.holder.as_ref().is_some_and(|holder| holder.kill().is_ok());
        if !killed {
            for pid in session_of(self.child) {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
        let _ = task::pidfd_send_signal(self.fd.as_fd(), libc::SIGKILL);
    }
}

/// What the process said of its failure.
fn told(line: &str) -> Failure {
    serde_json::from_str(line).unwrap_or_else(|_| Fault::new(line).at("start a process in the container"))
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
