//! A podbox of one's own.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread::panicking;
use std::time::Duration;

use nix::mount::{MntFlags, umount2};
use nix::sys::inotify::Inotify;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::command::{Cmd, Output};
use crate::leftovers::{self, Places, Traces};
use crate::outside::Outside;
use crate::slot::Slot;
use crate::view::PodView;
use crate::wait::{PATIENCE, wait_for};

mod builder;

pub use builder::Builder;

/// How long podbox may take to remove what it removes when nobody waits (an unused bridge, a dying namespace).
const GRACE: Duration = Duration::from_secs(15);

/// What has been there, to look for it later.
struct Seen {
    pods: Inotify,
    traces: Traces,
}

/// A podbox with its own directories, bridge and addresses. When it goes out of scope its pods are taken
/// down, and then nothing may be left.
pub struct Host {
    slot: Slot,
    netns: Option<String>,
    dir: PathBuf,
    run: PathBuf,
    root: PathBuf,
    seen: Mutex<Seen>,
    finished: bool,
}

impl Default for Host {
    fn default() -> Host {
        Host::new()
    }
}

impl Host {
    /// A podbox with short back-offs.
    #[must_use]
    pub fn new() -> Host {
        Builder::default().build()
    }

    /// A podbox that differs.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The directory that all its others are in; a test may put files there.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// `--run`.
    #[must_use]
    pub fn run_dir(&self) -> &Path {
        &self.run
    }

    /// `--root`.
    #[must_use]
    pub fn root_dir(&self) -> &Path {
        &self.root
    }

    /// The bridge's name.
    #[must_use]
    pub fn bridge(&self) -> String {
        self.slot.bridge()
    }

    /// The bridge's own IPv4 address.
    #[must_use]
    pub fn gateway(&self) -> String {
        self.slot.ipv4().replace(".0/24", ".1")
    }

    /// The bridge's own IPv6 address.
    #[must_use]
    pub fn gateway6(&self) -> String {
        self.slot.ipv6().replace("::/64", "::1")
    }

    /// A port of the host that no other test uses.
    #[must_use]
    pub fn port(&self, index: u16) -> u16 {
        self.slot.port(index)
    }

    /// A number that no other private podbox has now.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.slot.number
    }

    /// A neighbour of the host: a network namespace on a link of its own.
    #[must_use]
    pub fn outside(&self) -> Outside {
        Outside::new(&self.slot.outside_name(), self.slot.number)
    }

    /// A podbox command, to be run or spawned.
    #[must_use]
    pub fn cmd<S: AsRef<std::ffi::OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Cmd {
        let podbox = match &self.netns {
            None => Cmd::new(crate::binary()),
            Some(_) => self.beside(crate::binary()),
        };
        self.environment(podbox).args(args)
    }

    /// The network namespace of [`Builder::own_net`], by its name for `ip netns`.
    ///
    /// # Panics
    /// If the host has none of its own.
    #[must_use]
    pub fn netns(&self) -> &str {
        self.netns.as_deref().expect("a host with a network of its own")
    }

    /// Any program, in the host's own network namespace; its mounts are everybody's, unlike `ip netns exec`'s.
    ///
    /// # Panics
    /// If the host has none of its own.
    #[must_use]
    pub fn beside(&self, program: impl AsRef<std::ffi::OsStr>) -> Cmd {
        Cmd::new("nsenter").args([format!("--net=/run/netns/{}", self.netns())]).args([program.as_ref()])
    }

    /// Changes the configuration: lines for `[network]`, and sections.
    ///
    /// # Panics
    /// If the disk says no.
    pub fn configure(&self, network: &str, sections: &str) {
        let path = self.dir.join("podbox.toml");
        let text = fs::read_to_string(&path).expect("read the configuration");
        let text = text.replace("[network]\n", &format!("[network]\n{network}\n"));
        fs::write(&path, format!("{text}\n{sections}\n")).expect("write the configuration");
    }

    /// Writes the configuration.
    ///
    /// # Panics
    /// If the disk says no.
    pub fn rewrite_configuration(&self, change: impl FnOnce(String) -> String) {
        let path = self.dir.join("podbox.toml");
        let text = fs::read_to_string(&path).expect("read the configuration");
        fs::write(&path, change(text)).expect("write the configuration");
    }

    /// The pods' IPv4 addresses.
    #[must_use]
    pub fn slice(&self) -> String {
        self.slot.ipv4()
    }

    /// The pods' IPv6 addresses.
    #[must_use]
    pub fn slice6(&self) -> String {
        self.slot.ipv6()
    }

    /// Any command, in this podbox's environment.
    #[must_use]
    pub fn environment(&self, cmd: Cmd) -> Cmd {
        cmd.env("PODBOX_ROOT", self.root.clone())
            .env("PODBOX_RUN", self.run.clone())
            .env("PODBOX_CONFIG", self.dir.join("podbox.toml"))
    }

    /// Runs a podbox command.
    pub fn podbox<S: AsRef<std::ffi::OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Output {
        let output = self.cmd(args).run();
        self.look();
        output
    }

    /// `up -d -` with more arguments, whatever comes of it.
    pub fn try_up(&self, manifest: &str, args: &[&str]) -> Output {
        let output = self.cmd(["up", "-d"]).args(args).args(["-"]).input(manifest).run();
        self.look();
        output
    }

    /// `up -d -`, which must work.
    #[track_caller]
    pub fn up(&self, manifest: &str) -> Output {
        self.try_up(manifest, &[]).ok()
    }

    /// `up -d --wait none -`, which must work.
    #[track_caller]
    pub fn up_none(&self, manifest: &str) -> Output {
        self.try_up(manifest, &["--wait", "none"]).ok()
    }

    /// `up -d --wait ready -`, which must work.
    #[track_caller]
    pub fn up_ready(&self, manifest: &str) -> Output {
        self.try_up(manifest, &["--wait", "ready"]).ok()
    }

    /// `down`, which must work.
    #[track_caller]
    pub fn down(&self, args: &[&str]) -> Output {
        self.podbox(["down"].iter().chain(args)).ok()
    }

    /// The pod as `get -o json` prints it.
    #[track_caller]
    #[must_use]
    pub fn pod(&self, name: &str) -> PodView {
        PodView(self.podbox(["get", "pod", name, "-o", "json"]).ok().json())
    }

    /// Waits until something is true of the pod.
    #[track_caller]
    pub fn wait_pod(&self, name: &str, what: &str, truth: impl FnMut(&PodView) -> bool) -> PodView {
        self.wait_pod_for(name, what, PATIENCE, truth)
    }

    /// As [`Host::wait_pod`], with another limit.
    #[track_caller]
    pub fn wait_pod_for(
        &self,
        name: &str,
        what: &str,
        limit: Duration,
        mut truth: impl FnMut(&PodView) -> bool,
    ) -> PodView {
        wait_for(&format!("pod {name}: {what}"), limit, || {
            let output = self.podbox(["get", "pod", name, "-o", "json"]);
            let view = PodView(serde_json::from_str(&output.stdout).map_err(|_| output.to_string())?);
            if truth(&view) { Ok(view) } else { Err(format!("{:#}", view.0["status"])) }
        })
    }

    /// What `exec` prints, without the white space around it; it must end well.
    #[track_caller]
    #[must_use]
    pub fn exec(&self, pod: &str, command: &[&str]) -> String {
        self.podbox(["exec", pod, "--"].iter().chain(command)).ok().text().to_owned()
    }

    /// What `logs` prints.
    #[track_caller]
    #[must_use]
    pub fn logs(&self, args: &[&str]) -> String {
        self.podbox(["logs"].iter().chain(args)).ok().stdout
    }

    /// The pod's events, folded, as v1 Events.
    #[track_caller]
    #[must_use]
    pub fn events(&self, pod: &str) -> Vec<Value> {
        let list = self.podbox(["events", pod, "-o", "json"]).ok().json();
        list["items"].as_array().cloned().unwrap_or_default()
    }

    /// How often an event with this reason, and with this in its message, has happened.
    #[track_caller]
    #[must_use]
    pub fn event_count(&self, pod: &str, reason: &str, message: &str) -> u64 {
        let all = self.events(pod);
        let such = all.iter().filter(|event| {
            event["reason"] == reason && event["message"].as_str().is_some_and(|text| text.contains(message))
        });
        such.map(|event| event["count"].as_u64().unwrap_or(1)).sum()
    }

    /// Waits for an event.
    #[track_caller]
    pub fn wait_event(&self, pod: &str, reason: &str, message: &str) {
        wait_for(&format!("event {reason} {message:?} of pod {pod}"), PATIENCE, || {
            if self.event_count(pod, reason, message) > 0 {
                Ok(())
            } else {
                Err(self.podbox(["events", pod]).stdout)
            }
        });
    }

    /// The directory of the pod under the run directory.
    #[must_use]
    pub fn pod_dir(&self, name: &str) -> PathBuf {
        let link = self.run.join("by-name").join(format!("default_{name}"));
        fs::canonicalize(&link).unwrap_or_else(|error| panic!("{}: {error}", link.display()))
    }

    /// The pod's guardian, if it has one.
    #[must_use]
    pub fn guardian(&self, name: &str) -> Option<i32> {
        self.helper(name, "guardian")
    }

    /// The pod's supervisor, if it has one.
    #[must_use]
    pub fn supervisor(&self, name: &str) -> Option<i32> {
        self.helper(name, "supervise")
    }

    /// Waits for the pod's supervisor, one that is not `old`.
    #[track_caller]
    #[must_use]
    pub fn next_supervisor(&self, name: &str, old: Option<i32>) -> i32 {
        wait_for("a supervisor", PATIENCE, || {
            self.supervisor(name).filter(|pid| Some(*pid) != old).ok_or(old)
        })
    }

    /// All guardians or all supervisors of this podbox; `word` is `guardian` or `supervise`.
    #[must_use]
    pub fn helpers(&self, word: &str) -> Vec<i32> {
        let start = format!("podbox {word} {}", self.run.display());
        processes().into_iter().filter(|pid| proc_cmdline(*pid).starts_with(&start)).collect()
    }

    /// Does to the pod what a power cut does: all its processes and namespaces are gone, and the run directory
    /// with all that was mounted in it.
    ///
    /// # Panics
    /// If a process does not die.
    pub fn pull_the_plug(&self, name: &str) {
        self.look();
        let dir = self.pod_dir(name);
        leftovers::cut_power(&dir, &self.slot.bridge());
        fs::remove_dir_all(self.run.join("by-name")).expect("the names die with the boot");
        fs::remove_dir_all(self.run.join("ipam")).expect("the leases die with the boot");
    }

    fn helper(&self, name: &str, word: &str) -> Option<i32> {
        let wanted = format!("podbox {word} {}", self.pod_dir(name).display());
        processes().into_iter().find(|pid| proc_cmdline(*pid) == wanted && !is_zombie(*pid))
    }

    /// The first process of a container of the pod, as the host sees it.
    ///
    /// # Panics
    /// If it has none.
    #[track_caller]
    #[must_use]
    pub fn container_process(&self, pod: &str, container: &str) -> i32 {
        let uid = self
            .pod_dir(pod)
            .file_name()
            .expect("a pod's directory has a name")
            .to_string_lossy()
            .into_owned();
        let group = format!("{uid}/{container}-");
        let mut all: Vec<i32> = processes()
            .into_iter()
            .filter(|pid| {
                fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default().contains(&group)
                    && !is_zombie(*pid)
            })
            .collect();
        all.sort_unstable();
        *all.first().unwrap_or_else(|| panic!("no process of container {container} of pod {pod}"))
    }

    /// Kills a process, which must be there.
    #[track_caller]
    pub fn kill(&self, pid: i32) {
        kill(Pid::from_raw(pid), Signal::SIGKILL).expect("it is still there");
    }

    /// Notes what is there now, to look for it in the end.
    fn look(&self) {
        let mut seen = self.seen.lock().expect("no holder panics");
        while let Ok(events) = seen.pods.read_events() {
            let names = events.into_iter().filter_map(|event| event.name?.into_string().ok());
            let uids: Vec<String> = names.filter(|name| name.len() == 36).collect();
            seen.traces.uids.extend(uids);
        }
        seen.traces.ports.extend(leftovers::ports_of(&self.slot.bridge()));
        for pod in fs::read_dir(self.run.join("pods")).into_iter().flatten().flatten() {
            let alias = fs::read_to_string(pod.path().join("netns-alias"));
            let inode = fs::metadata(pod.path().join("ns/net")).map(|data| data.ino());
            if let (Ok(alias), Ok(inode)) = (alias, inode) {
                seen.traces.aliases.entry(alias.trim().into()).or_default().insert(inode);
            }
        }
    }

    /// Takes all pods down and insists that nothing is left.
    pub fn finish(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if self.finished {
            return;
        }
        self.look();
        if self.run.join("by-name").read_dir().is_ok_and(|mut entries| entries.next().is_some()) {
            self.podbox(["down", "--all", "--grace-period", "0"]).ok();
        }
        self.expect_nothing_left();
        self.finished = true;
        self.remove();
    }

    /// Insists that nothing of this podbox is left, though its directories are.
    pub fn expect_nothing_left(&self) {
        self.look();
        let seen = self.seen.lock().expect("no holder panics");
        let bridge = self.slot.bridge();
        let netns = self.netns.as_deref();
        let places = Places { dir: &self.dir, run: &self.run, root: &self.root, bridge: &bridge, netns };
        let own: Vec<PathBuf> = [&self.run, &self.root].into_iter().cloned().collect();
        wait_for("nothing to be left behind", GRACE, || {
            let mut left = leftovers::list(&places, &seen.traces);
            // The tests' own mounts.
            left.retain(|line| !own.iter().any(|path| *line == format!("mount {}", path.display())));
            if left.is_empty() { Ok(()) } else { Err(left) }
        });
    }

    fn remove(&self) {
        for path in [&self.run, &self.root] {
            let _ = umount2(path, MntFlags::MNT_DETACH);
        }
        let _ = fs::remove_dir_all(&self.dir);
        if let Some(netns) = &self.netns {
            leftovers::delete_netns(netns);
        }
    }

    /// Everything that helps to understand a failure.
    fn explain(&self) {
        for pod in fs::read_dir(self.run.join("pods")).into_iter().flatten().flatten() {
            for file in ["supervisor.log", "events.jsonl", "status.json", "machine.json"] {
                if let Ok(text) = fs::read_to_string(pod.path().join(file)) {
                    eprintln!("--- {}/{file}\n{}", pod.file_name().to_string_lossy(), text.trim_end());
                }
            }
        }
        for line in ["find run -printf '%TT %y %p\\n'", "head -c 2000 run/ipam/*/bridge", &self.link_line()] {
            let shown = Cmd::new("sh").args(["-c", line]).directory(&self.dir).run();
            eprintln!("--- {line}\n{}{}", shown.stdout, shown.stderr);
        }
        if std::env::var_os("PODBOX_E2E_KEEP").is_some() {
            eprintln!("--- kept: {}", self.dir.display());
        }
    }

    fn link_line(&self) -> String {
        format!("ip -d link show {}", self.slot.bridge())
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if panicking() {
            self.explain();
            if std::env::var_os("PODBOX_E2E_KEEP").is_some() {
                return;
            }
        } else if !self.finished {
            self.end();
            return;
        }
        if !self.finished {
            leftovers::scrub_dir(&self.dir);
            leftovers::scrub_network(&self.slot.bridge(), &self.slot.outside_name());
            if let Some(netns) = &self.netns {
                leftovers::delete_netns(netns);
            }
        }
    }
}

/// The numbers of all processes.
pub(crate) fn processes() -> Vec<i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// A process's command line, its words joined by blanks; empty if it is gone or a zombie.
#[must_use]
pub fn proc_cmdline(pid: i32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).trim_end_matches('\0').replace('\0', " ")
}

/// The children of a process.
#[must_use]
pub fn proc_children(pid: i32) -> Vec<i32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

fn is_zombie(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('Z'))
}

impl Host {
    /// A copy of the binary that everybody may read and run.
    ///
    /// # Panics
    /// If the disk says no.
    #[must_use]
    pub fn public_binary(&self) -> PathBuf {
        let copy = self.dir.join("podbox");
        fs::copy(crate::binary(), &copy).expect("copy the binary");
        fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).expect("let everybody run it");
        copy
    }
}
