//! The container's first process, from its birth to the program it becomes.
//!
//! It starts as a copy of the stage, in new namespaces but with the host's mounts still in sight, and its
//! steps are ordered by what the kernel demands and by what must not be seen:
//! - the cgroup first, so that all that follows is charged to the container, and the cgroup namespace after
//!   it, because its root is the cgroup one is in;
//! - sources of bind mounts before propagation from the host stops, so that a mount can stay shared;
//! - all mounts before the change of root, through descriptors that were opened inside the new root;
//! - everything that needs root before the change of user; the gate after it;
//! - the seccomp filter behind the gate, last of all: it may forbid any of the above.

use super::Channel;
use super::container::{has_new, has_terminal};
use super::labels;
use super::program::Program;
use super::user::{
    Entered, enter_again, enter_first, look_up, open_terminal, own_streams, set_streams, set_terminal,
};
use super::userns::Users;
use crate::cgroup::{BornIn, Cgroup};
use crate::devices::Access;
use crate::in_root::{self, Kind};
use crate::launch::send;
use crate::mounts::{self, Place};
use crate::plan::{ContainerPlan, FromStage, GATE_CLOSED, GO, Ready, Timed};
use crate::privileges::{Available, Privileges, Seccomp, limit_resources, set_oom_score};
use crate::recipe::{During, Fault, Step, quoted, run as run_steps, step};
use crate::seccomp::{self, Filters};
use crate::stage::sandbox::sysctl_path;
use crate::sys::{mount, security, task};
use crate::{plan, process, rootfs};
use nix::fcntl::{FcntlArg, OFlag, fcntl, open};
use nix::mount::{MsFlags, mount as mount_at};
use nix::sys::stat::Mode;
use oci_spec::runtime::{Linux, LinuxNamespace, LinuxNamespaceType, Process};
use std::fs;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Instant;

/// What init tells the stage when it stands at the gate.
pub(super) const AT_THE_GATE: &[u8] = b"R";

/// What the steps share.
#[derive(Debug)]
pub(crate) struct Init<'p> {
    plan: &'p ContainerPlan,
    cgroup: Option<Cgroup>,
    born: BornIn,
    devices: Access,
    /// One a mount of the Spec; `None` for those that are no bind mounts.
    sources: Vec<Option<OwnedFd>>,
    users: Option<Users>,
    root: Option<OwnedFd>,
    terminal: Option<OwnedFd>,
    privileges: Option<Privileges>,
    entered: Entered,
    filters: Filters,
    program: Option<Program>,
    relay: Option<UnixStream>,
    notes: Vec<String>,
    identity_of_self: Option<plan::Identity>,
}

/// What has happened before init was born.
#[derive(Debug)]
pub(super) struct Story {
    /// When the clone began.
    pub(super) began: Instant,
    /// The stage's steps.
    pub(super) trace: Vec<Timed>,
}

impl<'p> Init<'p> {
    pub(super) fn new(plan: &'p ContainerPlan, cgroup: Option<Cgroup>, born: BornIn) -> Self {
        Self {
            plan,
            cgroup,
            born,
            devices: Access::NoNodes,
            sources: Vec::new(),
            users: None,
            root: None,
            terminal: None,
            privileges: None,
            entered: Entered::NotYet,
            filters: Filters::default(),
            program: None,
            relay: None,
            notes: Vec::new(),
            identity_of_self: None,
        }
    }

    /// What the stage hands on.
    pub(super) fn take_over(&mut self, relay: Option<UnixStream>, devices: Access, notes: Vec<String>) {
        (self.relay, self.devices, self.notes) = (relay, devices, notes);
    }

    fn root(&self) -> Result<BorrowedFd<'_>, Fault> {
        self.root.as_ref().map(AsFd::as_fd).ok_or_else(|| Fault::new("there is no root yet"))
    }

    fn process(&self) -> Result<&'p Process, Fault> {
        process_of(self.plan)
    }
}

fn process_of(plan: &ContainerPlan) -> Result<&Process, Fault> {
    plan.spec.process().as_ref().ok_or_else(|| Fault::new("the Spec has no process"))
}

/// Everything up to exec, in a process that never returns to the stage's code.
pub(super) fn run(mut state: Init<'_>, channel: &mut Channel, mut report: UnixStream, story: Story) -> ! {
    let plan = state.plan;
    let mut trace = story.trace;
    let micros = story.began.elapsed().as_micros() as u64;
    let clone = super::container::describe_clone(plan);
    trace.push(Timed { name: clone.name, command: clone.command, micros });
    if let Err(failure) = run_steps(inside(plan), &mut state, &mut trace) {
        let _ = report.write_all(&serde_json::to_vec(&failure).unwrap_or_default());
        task::leave(1);
    }
    let ready = Ready {
        process: state.identity_of_self,
        notes: std::mem::take(&mut state.notes),
        trace: std::mem::take(&mut trace),
    };
    // The stage hears it first. Once the supervisor knows of this process it may kill it, and a stage that still waits
    // for a word would reap it, unseen by the guardian that has to record its death.
    let _ = report.write_all(AT_THE_GATE);
    drop(report);
    if channel.say(&FromStage::Ready(ready)).is_err() {
        task::leave(1);
    }
    task::set_name("waits at gate");
    match channel.hear() {
        Ok(Some(line)) if line == GO.trim_end() => {}
        _ => task::leave(GATE_CLOSED),
    }
    let Err(failure) = run_steps(behind_the_gate(plan), &mut state, &mut trace) else { task::leave(126) };
    let code = failure.exit_code.unwrap_or(126);
    let _ = channel.say(&FromStage::Failed(failure));
    task::leave(code)
}

/// The steps up to the gate.
pub(crate) fn inside(plan: &ContainerPlan) -> Vec<Step<'_, Init<'_>>> {
    let mut steps = vec![step("join the container's cgroup", cgroup_command(plan), join_cgroup)];
    if plan.spec.process().as_ref().is_some_and(labels::wanted) {
        let command = "# write /proc/thread-self/attr/{apparmor/,}exec";
        steps.push(step("announce profile and label", command, |s: &mut Init<'_>| {
            labels::announce(s.process()?, &mut s.notes)
        }));
    }
    if has_terminal(plan) {
        // The terminal comes later, from the container's own file system.
    } else {
        let io = &plan.stdio;
        let input = io.stdin.as_deref().unwrap_or(Path::new("/dev/null")).display();
        let command = format!("exec <>{input} 1<>{} 2<>{}", io.stdout.display(), io.stderr.display());
        steps.push(step("open the standard streams", command, open_streams));
    }
    if user_namespace(plan).is_some() {
        let path = user_namespace(plan).and_then(|ns| ns.path().as_deref()).unwrap_or(Path::new(""));
        // Image layers are then mounted with X-mount.idmap=/proc/self/fd/9.
        let command = format!("exec 9<{}", path.display());
        steps.push(step("find the pod's user namespace", command, |s: &mut Init<'_>| {
            s.users = Users::of(s.plan)?;
            Ok(())
        }));
    }
    let mounts = plan.spec.mounts().as_deref().unwrap_or_default();
    if mounts.iter().any(mounts::is_bind) {
        let command = "# open_tree(source, OPEN_TREE_CLONE) for each bind mount";
        steps.push(step("open the sources of bind mounts", command, |s: &mut Init<'_>| {
            for mount in s.plan.spec.mounts().iter().flatten() {
                let source = mounts::is_bind(mount).then(|| mounts::clone_source(mount)).transpose()?;
                if let (Some(source), Some(users), true) = (&source, &s.users, mounts::is_mapped(mount)) {
                    users.map(source.as_fd()).during(mount.destination().display())?;
                }
                s.sources.push(source);
            }
            Ok(())
        }));
    }
    steps.push(step("stop mounts from propagating", "mount --make-rslave /", |_| {
        let none: Option<&str> = None;
        Ok(mount_at(none, "/", none, MsFlags::MS_SLAVE | MsFlags::MS_REC, none)?)
    }));
    let command = rootfs::command(&plan.rootfs, Access::aimed_at(plan));
    steps.push(step("build the root file system", command, |s: &mut Init<'_>| {
        s.root = Some(rootfs::build(&s.plan.rootfs, s.users.as_ref(), s.devices, &mut s.notes)?);
        s.users.as_ref().map_or(Ok(()), Users::own_new_files)
    }));
    for (index, mount) in mounts.iter().enumerate() {
        let name = format!("mount {}", mount.destination().display());
        steps.push(step(name, mounts::command(mount), move |s| place_mount(s, index)));
    }
    steps.extend(finish_root(plan));
    steps.extend(settle(plan));
    steps
}

fn user_namespace(plan: &ContainerPlan) -> Option<&LinuxNamespace> {
    linux(plan)?.namespaces().iter().flatten().find(|ns| ns.typ() == LinuxNamespaceType::User)
}

fn cgroup_command(plan: &ContainerPlan) -> String {
    let path = plan.spec.linux().as_ref().and_then(|linux| linux.cgroups_path().as_deref());
    let join = path.map(|path| {
        format!("echo $$ | tee /sys/fs/cgroup/{{cpu,cpuacct,memory,pids}}{}/tasks", path.display())
    });
    let leave = has_new(plan, LinuxNamespaceType::Cgroup).then(|| "unshare --cgroup".to_owned());
    let all: Vec<String> = join.into_iter().chain(leave).collect();
    if all.is_empty() { "# stay in the parent's cgroup".to_owned() } else { all.join(" && ") }
}

fn linux(plan: &ContainerPlan) -> Option<&Linux> {
    plan.spec.linux().as_ref()
}

/// Whether `/dev` is a directory of the host, bound: then its nodes are there, and making more would be making
/// them on the host.
fn brings_own_dev(plan: &ContainerPlan) -> bool {
    let mut mounts = plan.spec.mounts().iter().flatten().rev();
    mounts.find(|mount| mount.destination() == Path::new("/dev")).is_some_and(mounts::is_bind)
}

/// The steps that complete the root and change to it.
fn finish_root(plan: &ContainerPlan) -> Vec<Step<'_, Init<'_>>> {
    let mut steps = Vec::new();
    if !brings_own_dev(plan) {
        let own = linux(plan).and_then(|linux| linux.devices().as_deref()).unwrap_or_default();
        steps.push(step("make the device nodes", mounts::nodes_command(own), |s: &mut Init<'_>| {
            let root = s.root.as_ref().ok_or_else(|| Fault::new("there is no root yet"))?;
            mounts::populate(root.as_fd(), own, s.devices, &mut s.notes)
        }));
    }
    if has_terminal(plan) {
        steps.push(step("open a terminal", "# open ./dev/pts/ptmx", open_console));
    }
    if let Some(paths) = linux(plan).and_then(|linux| linux.masked_paths().as_ref()) {
        let command = format!("for p in {}; do mount --bind /dev/null .$p; done", paths.join(" "));
        steps.push(step("mask paths", command, |s: &mut Init<'_>| mounts::mask(s.root()?, paths)));
    }
    if let Some(paths) = linux(plan).and_then(|linux| linux.readonly_paths().as_ref()) {
        let command = format!("for p in {}; do mount --bind -o ro .$p .$p; done", paths.join(" "));
        steps.push(step("protect paths", command, |s: &mut Init<'_>| mounts::read_only(s.root()?, paths)));
    }
    if let Some(parameters) = linux(plan).and_then(|linux| linux.sysctl().as_ref()) {
        let command = format!("sysctl -w {}", words(parameters.iter().map(|(k, v)| format!("'{k}={v}'"))));
        steps.push(step("set kernel parameters", command, |_: &mut Init<'_>| {
            parameters.iter().try_for_each(|(name, value)| {
                fs::OpenOptions::new()
                    .write(true)
                    .open(sysctl_path(name))
                    .and_then(|mut file| file.write_all(value.as_bytes()))
                    .during(name)
            })
        }));
    }
    if let Some(name) = plan.spec.hostname().as_ref().filter(|_| has_new(plan, LinuxNamespaceType::Uts)) {
        steps.push(step("set the host name", format!("hostname {}", quoted(name)), move |_| {
            Ok(nix::unistd::sethostname(name)?)
        }));
    }
    steps.push(step("make the working directory", "mkdir -p ./$PWD", |s: &mut Init<'_>| {
        let directory = s.process()?.cwd();
        in_root::make(s.root()?, directory, Kind::Directory).during(directory.display()).map(drop)
    }));
    if plan.spec.root().as_ref().is_some_and(|root| root.readonly() == Some(true)) {
        steps.push(step("make the root read-only", "mount -o remount,bind,ro .", |s: &mut Init<'_>| {
            s.root.as_ref().map_or(Ok(()), rootfs::make_read_only)
        }));
    }
    let process = plan.spec.process().as_ref();
    if process.is_some_and(|process| process.rlimits().is_some() || process.oom_score_adj().is_some()) {
        steps.push(step("set limits and out-of-memory score", limits_command(plan), |s: &mut Init<'_>| {
            let process = s.process()?;
            limit_resources(process.rlimits().as_deref().unwrap_or_default(), &mut s.notes)?;
            process.oom_score_adj().map_or(Ok(()), |score| set_oom_score(score, &mut s.notes))
        }));
    }
    steps.push(step("pivot into the root", "pivot_root . . && umount -l .", |s: &mut Init<'_>| {
        let root = s.root.as_ref().ok_or_else(|| Fault::new("there is no root yet"))?;
        rootfs::pivot(root)?;
        match linux(s.plan).and_then(|linux| linux.rootfs_propagation().as_deref()) {
            Some(word) => propagate(root, word),
            None => Ok(()),
        }
    }));
    steps
}

fn words(words: impl Iterator<Item = String>) -> String {
    words.collect::<Vec<_>>().join(" ")
}

fn limits_command(plan: &ContainerPlan) -> String {
    let process = plan.spec.process().as_ref();
    let score = process.and_then(Process::oom_score_adj).map(|score| format!("choom -p $$ -n {score}"));
    let limits = process.and_then(|process| process.rlimits().as_deref()).unwrap_or_default();
    let limits =
        limits.iter().map(|limit| format!("ulimit {} {}:{}", limit.typ(), limit.soft(), limit.hard()));
    limits.chain(score).collect::<Vec<_>>().join("; ")
}

/// The steps that turn the process into the container's user, and prepare what the gate must not delay.
fn settle(plan: &ContainerPlan) -> Vec<Step<'_, Init<'_>>> {
    let (user, group) = shown_user(plan);
    let enter = if user_namespace(plan).is_some() {
        "nsenter --user=/proc/self/fd/9 unshare --mount --cgroup "
    } else {
        ""
    };
    let names = format!("grep -e {user} -e {group} /etc/passwd /etc/group");
    vec![
        step("look the user up", names, look_user_up),
        step("prepare the program and its filters", "# read PATH, compile seccomp rules", prepare_program),
        step("enter the working directory", "cd $PWD", |s: &mut Init<'_>| {
            s.entered = enter_first(s.process()?.cwd())?;
            Ok(())
        }),
        step(
            "become the container's user",
            format!("{enter}setpriv --reuid {user} --regid {group} --clear-groups"),
            |s| become_user(s),
        ),
    ]
}

/// The user and the group as far as they are known before the image's files are read. An image that names nobody
/// means root.
fn shown_user(plan: &ContainerPlan) -> (String, String) {
    let process = plan.spec.process().as_ref().map(|process| (process.user().uid(), process.user().gid()));
    let (uid, gid) = process.unwrap_or_default();
    let Some(spec) = &plan.user else { return (uid.to_string(), gid.to_string()) };
    let (user, group) = spec.image.split_once(':').unwrap_or((&spec.image, ""));
    let or_root = |name: &str| if name.is_empty() { "0".to_owned() } else { quoted(name).into_owned() };
    (
        spec.run_as_user.map_or_else(|| or_root(user), |uid| uid.to_string()),
        spec.run_as_group.map_or_else(|| or_root(group), |gid| gid.to_string()),
    )
}

/// The steps that follow when the caller has said go.
pub(crate) fn behind_the_gate(plan: &ContainerPlan) -> Vec<Step<'_, Init<'_>>> {
    let mut steps = Vec::new();
    if linux(plan).is_some_and(|linux| linux.seccomp().is_some()) {
        let command = "# seccomp(SECCOMP_SET_MODE_FILTER)";
        steps.push(step("load the seccomp filter", command, |s: &mut Init<'_>| s.filters.load()));
    }
    let args = plan.spec.process().as_ref().and_then(|process| process.args().as_deref()).unwrap_or_default();
    steps.push(step(
        "exec",
        format!("exec {}", words(args.iter().map(|arg| quoted(arg).into_owned()))),
        |s: &mut Init<'_>| Err(s.program.as_ref().map_or_else(|| Fault::new("no program"), Program::exec)),
    ));
    steps
}

/// Also reads who this process is: the /proc in sight is still the host's, and there even `self` has the
/// host's pid.
fn join_cgroup(state: &mut Init<'_>) -> Result<(), Fault> {
    security::undumpable()?;
    let stat = fs::read_to_string("/proc/self/stat").during("/proc/self/stat")?;
    state.identity_of_self = process::parse_stat(&stat);
    nix::sys::stat::umask(Mode::empty());
    if let Some(group) = &state.cgroup {
        group.join(state.born, &mut state.notes)?;
    }
    if has_new(state.plan, LinuxNamespaceType::Cgroup) {
        task::unshare(libc::CLONE_NEWCGROUP)?;
    }
    Ok(())
}

fn open_streams(state: &mut Init<'_>) -> Result<(), Fault> {
    let stdio = &state.plan.stdio;
    let get = |path: &Path, flags: OFlag| {
        let path = if path.as_os_str().is_empty() { Path::new("/dev/null") } else { path };
        open(path, flags | OFlag::O_CLOEXEC, Mode::empty()).during(path.display())
    };
    let input = match &stdio.stdin {
        None => get(Path::new("/dev/null"), OFlag::O_RDONLY)?,
        // With no writer there yet, only a non-blocking open comes back; it blocks from then on.
        Some(path) if stdio.stdin_ends => {
            let fd = get(path, OFlag::O_RDONLY | OFlag::O_NONBLOCK)?;
            fcntl(&fd, FcntlArg::F_SETFL(OFlag::empty()))?;
            fd
        }
        Some(path) => get(path, OFlag::O_RDWR)?,
    };
    let output = get(&stdio.stdout, OFlag::O_RDWR)?;
    let error = get(&stdio.stderr, OFlag::O_RDWR)?;
    set_streams([input.as_fd(), output.as_fd(), error.as_fd()])
}

fn place_mount(state: &mut Init<'_>, index: usize) -> Result<(), Fault> {
    let root = state.root.as_ref().ok_or_else(|| Fault::new("there is no root yet"))?;
    let place = Place { root: root.as_fd(), cgroup: state.cgroup.as_ref(), devices: state.devices };
    let source = state.sources.get_mut(index).and_then(Option::take);
    let mount = &state.plan.spec.mounts().as_deref().unwrap_or_default()[index];
    mounts::place(place, mount, source, &mut state.notes)
}

fn propagate(root: &OwnedFd, word: &str) -> Result<(), Fault> {
    let propagation = mounts::root_propagation(word)
        .ok_or_else(|| Fault::new(format!("rootfsPropagation {word} is not known")))?;
    Ok(mount::set_attributes(root.as_fd(), mount::MountAttributes { propagation, ..Default::default() }, 0)?)
}

fn open_console(state: &mut Init<'_>) -> Result<(), Fault> {
    let (master, peer) = open_terminal(state.root()?, state.process()?)?;
    let console = in_root::make(state.root()?, Path::new("/dev/console"), Kind::File)?;
    let copy = mount::open_tree(peer.as_fd(), c"", libc::OPEN_TREE_CLONE)?;
    mount::move_mount(copy.as_fd(), console.as_fd()).during("/dev/console")?;
    let relay = state.relay.take().ok_or_else(|| Fault::new("there is no console relay"))?;
    send(relay.as_fd(), b"terminal\n", &[master.as_fd()])?;
    state.terminal = Some(peer);
    Ok(())
}

fn look_user_up(state: &mut Init<'_>) -> Result<(), Fault> {
    let process = state.process()?;
    let identity = look_up(state.root()?, process, state.plan.user.as_ref())?;
    let seccomp = linux(state.plan).and_then(|linux| linux.seccomp().as_ref());
    let later = if seccomp.is_some() { Seccomp::Later } else { Seccomp::None };
    let available = Available::of(state.users.is_some())?;
    state.privileges = Some(Privileges::prepare(process, identity, later, (available, &mut state.notes))?);
    Ok(())
}

fn prepare_program(state: &mut Init<'_>) -> Result<(), Fault> {
    let home = state.privileges.as_ref().map_or("/", |privileges| privileges.identity().home.as_str());
    state.program = Some(Program::prepare(state.process()?, home)?);
    if let Some(profile) = linux(state.plan).and_then(|linux| linux.seccomp().as_ref()) {
        state.filters = seccomp::compile(profile)?;
    }
    Ok(())
}

fn become_user(state: &mut Init<'_>) -> Result<(), Fault> {
    let process = state.process()?;
    let privileges = state.privileges.as_ref().ok_or_else(|| Fault::new("nobody was looked up"))?;
    nix::unistd::setsid()?;
    let uid = state.users.as_ref().map_or(0, Users::root) + privileges.identity().uid;
    if let Some(terminal) = state.terminal.take() {
        set_terminal(&terminal, uid)?;
    }
    own_streams(uid);
    // The stage's and init's descriptors stay here: the gate's socket closes when exec has worked.
    task::cloexec_from(3)?;
    state.users.as_ref().map_or(Ok(()), Users::enter)?;
    privileges.apply()?;
    enter_again(process.cwd(), state.entered)?;
    nix::sys::stat::umask(Mode::from_bits_truncate(process.user().umask().unwrap_or(0o022)));
    task::reset_signals();
    Ok(())
}
