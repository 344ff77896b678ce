//! `stage sandbox`: the namespaces, the shared memory and the cgroup that a pod's containers share.
//!
//! The pins are mounted in a private tmpfs of their own. Private, so that no other mount namespace gets a copy
//! that would keep a network namespace alive; one mount above all of them, so that one unmount takes all away;
//! and in memory, because making three files on a disk takes longer than making three namespaces.

use super::userns::Holder;
use super::{Channel, reaper};
use crate::cgroup::{Cgroup, Cgroups, Refused};
use crate::plan::{CgroupPlan, Failure, FromStage, Identity, Ready, SandboxPlan, Shm};
use crate::process::start_time_of;
use crate::recipe::{During, Fault, Step, run as run_steps, step};
use crate::sandbox::{KINDS, REAPER_CGROUP, USER, detach, remove};
use crate::sys::task::{self, Side};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::mount::{MsFlags, mount};
use oci_spec::runtime::LinuxResources;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Options of the file system that the pins lie on: it holds names only.
const PINS: &str = "mode=0755,size=4k,nr_inodes=16";

/// What the steps share.
#[derive(Debug, Default)]
pub(crate) struct State {
    notes: Vec<String>,
    reaper: Option<Identity>,
    users: Option<Holder>,
}

/// The whole stage.
pub(super) fn run(channel: &mut Channel) -> Result<(), Failure> {
    let plan: SandboxPlan = channel.plan()?;
    let mut state = State::default();
    let mut trace = Vec::new();
    if let Err(failure) = run_steps(steps(&plan), &mut state, &mut trace) {
        undo(&plan, &state);
        return Err(failure);
    }
    let ready = Ready { process: state.reaper, notes: state.notes.clone(), trace };
    if channel.say(&FromStage::Ready(ready)).is_err() {
        // Nobody knows of this sandbox, so nobody would remove it.
        undo(&plan, &state);
    }
    Ok(())
}

fn undo(plan: &SandboxPlan, state: &State) {
    drop(remove(plan, state.reaper));
}

/// The recipe.
pub(crate) fn steps(plan: &SandboxPlan) -> Vec<Step<'_, State>> {
    let mut steps = Vec::new();
    if let Some(cgroup) = &plan.cgroup {
        let command = format!("mkdir -p /sys/fs/cgroup/{{cpu,cpuacct,memory,pids}}{}", cgroup.path.display());
        steps.push(step("make the pod's cgroup", command, move |s: &mut State| {
            Ok(make_cgroup(cgroup, &mut s.notes)?)
        }));
    }
    let flags = new_flags(plan);
    if let Some(ids) = plan.users {
        let command = format!(
            "unshare --user --map-users 0:{0}:{1} --map-groups 0:{0}:{1} --net --ipc --uts sleep infinity &",
            ids.first, ids.count
        );
        steps.push(step("make a user namespace and others in it", command, move |s: &mut State| {
            s.users = Some(Holder::make(ids, flags)?);
            Ok(())
        }));
    } else if flags != 0 {
        let words: Vec<&str> =
            wanted(plan).filter(|(name, _)| *name != "pid").map(|(name, _)| name).collect();
        let command = format!("unshare --{}", words.join(" --"));
        steps.push(step("leave for new namespaces", command, move |_| Ok(task::unshare(flags)?)));
    }
    if let Some(name) = &plan.hostname {
        steps.push(step("set the host name", format!("hostname {name}"), move |_| {
            Ok(nix::unistd::sethostname(name)?)
        }));
    }
    if let Some(name) = &plan.domainname {
        steps.push(step("set the domain name", format!("domainname {name}"), move |_| {
            Ok(write_existing(Path::new("/proc/sys/kernel/domainname"), name)?)
        }));
    }
    for (name, value) in &plan.sysctls {
        steps.push(step(
            "set a kernel parameter",
            format!("sysctl -w '{name}={value}'"),
            move |s: &mut State| {
                let write = || write_existing(&sysctl_path(name), value).during(name);
                s.users.as_ref().map_or_else(write, |users| users.have_done(write))
            },
        ));
    }
    pin_steps(plan, &mut steps);
    if let Some(shm) = &plan.shm {
        let command =
            format!("mount -t tmpfs -o size={},mode=1777 shm {}", shm.size_bytes, shm.path.display());
        let owner = plan.users.map_or(0, |ids| ids.first);
        steps.push(step("make the shared memory file system", command, move |_| mount_shm(shm, owner)));
    }
    steps
}

fn pin_steps<'p>(plan: &'p SandboxPlan, steps: &mut Vec<Step<'p, State>>) {
    if wanted(plan).next().is_none() {
        return;
    }
    let at = plan.pin_dir.display();
    let command = format!("mkdir -p {at} && mount -t tmpfs --make-private -o {PINS} pins {at}");
    steps.push(step("make a private place for pins", command, move |_| private_directory(&plan.pin_dir)));
    if plan.users.is_some() {
        let target = plan.pin_dir.join(USER);
        let command = format!("mount --bind /proc/$!/ns/user {}; kill $!", target.display());
        steps.push(step("pin the user namespace", command, move |s: &mut State| {
            let holder = s.users.take().ok_or_else(|| Fault::new("there is none"))?;
            pin(Path::new(&holder.namespace()), &target)
        }));
    }
    for (name, _) in wanted(plan).filter(|(name, _)| *name != "pid") {
        let (source, target) = (format!("/proc/self/ns/{name}"), plan.pin_dir.join(name));
        let command = format!("mount --bind {source} {}", target.display());
        let title = format!("pin the {name} namespace");
        steps.push(step(title, command, move |_| pin(Path::new(&source), &target)));
    }
    if let Some(alias) = plan.netns_alias.as_ref().filter(|_| plan.new.net) {
        let command = format!("mount --bind /proc/self/ns/net {}", alias.display());
        steps.push(step("show the net namespace to ip-netns", command, move |_| pin_alias(alias)));
    }
    if plan.new.pid {
        let command = "unshare --pid --fork sleep infinity &";
        steps.push(step("start the reaper of the shared PID namespace", command, move |s: &mut State| {
            s.reaper = Some(start_reaper(plan.cgroup.as_ref())?);
            Ok(())
        }));
        let target = plan.pin_dir.join("pid");
        let command = format!("mount --bind /proc/$!/ns/pid {}", target.display());
        steps.push(step("pin the pid namespace", command, move |s: &mut State| {
            let pid = s.reaper.map_or(0, |reaper| reaper.pid);
            pin(Path::new(&format!("/proc/{pid}/ns/pid")), &target)
        }));
    }
}

/// The namespaces that the plan asks for.
fn wanted(plan: &SandboxPlan) -> impl Iterator<Item = (&'static str, i32)> {
    let asked = [plan.new.net, plan.new.ipc, plan.new.uts, plan.new.pid];
    KINDS.into_iter().zip(asked).filter_map(|(kind, asked)| asked.then_some(kind))
}

/// All but PID, which a process cannot enter itself.
fn new_flags(plan: &SandboxPlan) -> i32 {
    wanted(plan).filter(|(name, _)| *name != "pid").fold(0, |flags, (_, flag)| flags | flag)
}

fn write_existing(path: &Path, value: &str) -> io::Result<()> {
    OpenOptions::new().write(true).open(path)?.write_all(value.as_bytes())
}

/// The file of a kernel parameter. As in sysctl(8), the first separator in the name says whether dots or
/// slashes separate: `net/ipv4/conf/eth0.1/forwarding` keeps its dot.
pub(crate) fn sysctl_path(name: &str) -> PathBuf {
    let dots = name.find(['.', '/']).is_some_and(|at| name.as_bytes()[at] == b'.');
    let swap = |c| match c {
        '.' => '/',
        '/' => '.',
        other => other,
    };
    let name: String = if dots { name.chars().map(swap).collect() } else { name.to_owned() };
    let parts = name.split('/').filter(|part| !part.is_empty() && *part != "..");
    parts.fold(PathBuf::from("/proc/sys"), |path, part| path.join(part))
}

fn make_directory(path: &Path) -> Result<(), Fault> {
    fs::create_dir_all(path).during(path.display())
}

fn private_directory(path: &Path) -> Result<(), Fault> {
    make_directory(path)?;
    // What an interrupted attempt has left would otherwise be mounted over and stay for ever.
    detach(path).during(path.display())?;
    let none: Option<&str> = None;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("pins"), path, Some("tmpfs"), flags, Some(PINS)).during(path.display())?;
    mount(none, path, none, MsFlags::MS_PRIVATE, none).during(path.display())
}

fn pin(source: &Path, target: &Path) -> Result<(), Fault> {
    match OpenOptions::new().write(true).create_new(true).mode(0o444).open(target) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists => detach(target).during(target.display())?,
        Err(error) => return Err(error).during(target.display()),
    }
    let none: Option<&str> = None;
    mount(Some(source), target, none, MsFlags::MS_BIND, none).during(target.display())
}

/// ip-netns(8) wants its directory to be a shared mount, and would bind it onto itself otherwise, covering
/// our pin with a copy of it that nobody would ever unmount. So it is made one, as ip-netns would.
fn pin_alias(alias: &Path) -> Result<(), Fault> {
    let directory = alias.parent().ok_or_else(|| Fault::new("no directory"))?;
    make_directory(directory)?;
    if directory == Path::new("/run/netns") || directory == Path::new("/var/run/netns") {
        share(directory).during(directory.display())?;
    }
    pin(Path::new("/proc/self/ns/net"), alias)
}

fn share(directory: &Path) -> Result<(), Fault> {
    let none: Option<&str> = None;
    let make_shared = || mount(none, directory, none, MsFlags::MS_SHARED | MsFlags::MS_REC, none);
    match make_shared() {
        Err(Errno::EINVAL) => {}
        other => return Ok(other?),
    }
    // Not a mount point yet. Two sandboxes at once must not both bind it.
    let lock = Flock::lock(File::open(directory)?, FlockArg::LockExclusive).map_err(|(_, errno)| errno)?;
    if make_shared() == Err(Errno::EINVAL) {
        mount(Some(directory), directory, none, MsFlags::MS_BIND | MsFlags::MS_REC, none)?;
        make_shared()?;
    }
    drop(lock);
    Ok(())
}

fn mount_shm(shm: &Shm, owner: u32) -> Result<(), Fault> {
    fs::DirBuilder::new().recursive(true).mode(0o755).create(&shm.path).during(shm.path.display())?;
    detach(&shm.path).during(shm.path.display())?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let options = format!("mode=1777,size={},uid={owner},gid={owner}", shm.size_bytes);
    mount(Some("shm"), &shm.path, Some("tmpfs"), flags, Some(options.as_str())).during(shm.path.display())
}

/// The one above comes second: with a cgroup in it, nobody else removes it before it has its limits.
fn make_cgroup(plan: &CgroupPlan, notes: &mut Vec<String>) -> Result<(), Refused> {
    let cgroups = Cgroups::detect();
    cgroups.create(&plan.path, &plan.resources, notes)?;
    if let (Some(limits), Some(above)) = (&plan.above, plan.path.parent()) {
        cgroups.create(above, limits, notes)?;
    }
    Ok(())
}

fn start_reaper(cgroup: Option<&CgroupPlan>) -> Result<Identity, Fault> {
    let make = |cgroup: &CgroupPlan| {
        let path = cgroup.path.join(REAPER_CGROUP);
        Cgroups::detect().create(&path, &LinuxResources::default(), &mut Vec::new())
    };
    let group: Option<Cgroup> = cgroup.map(make).transpose()?;
    match task::clone(libc::CLONE_NEWPID as u64, None)? {
        Side::Child => reaper::run(group.as_ref()),
        Side::Parent(pid) => {
            let start = start_time_of(pid.as_raw()).ok_or_else(|| Fault::new("it died at once"))?;
            Ok(Identity { pid: pid.as_raw(), start })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_separator_of_a_kernel_parameter_decides() {
        for (name, path) in [
            ("net.ipv4.ip_forward", "/proc/sys/net/ipv4/ip_forward"),
            ("net/ipv4/conf/eth0.1/forwarding", "/proc/sys/net/ipv4/conf/eth0.1/forwarding"),
            ("net.ipv4.conf.eth0/1.forwarding", "/proc/sys/net/ipv4/conf/eth0.1/forwarding"),
            ("net/../../etc/passwd", "/proc/sys/net/etc/passwd"),
        ] {
            assert_eq!(sysctl_path(name), Path::new(path), "{name}");
        }
    }
}
