//! What must not be left behind, and how to remove it after a test that failed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use nix::mount::{MntFlags, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::command::Cmd;
use crate::host::{proc_cmdline, processes};

/// What is known of a podbox that has come to its end.
#[derive(Debug, Default)]
pub(crate) struct Traces {
    /// Pods that have been there.
    pub(crate) uids: BTreeSet<String>,
    /// Their names for `ip netns`, with the namespace's inode.
    pub(crate) aliases: BTreeMap<PathBuf, BTreeSet<u64>>,
    /// Interfaces that were ports of the bridge, by index.
    pub(crate) ports: BTreeMap<u32, String>,
}

/// The places of a podbox.
#[derive(Debug)]
pub(crate) struct Places<'a> {
    pub(crate) dir: &'a Path,
    pub(crate) run: &'a Path,
    pub(crate) root: &'a Path,
    pub(crate) bridge: &'a str,
    /// Its own network namespace, by name.
    pub(crate) netns: Option<&'a str>,
}

/// Everything that is left, one line each.
pub(crate) fn list(places: &Places<'_>, traces: &Traces) -> Vec<String> {
    let mut left = Vec::new();
    left.extend(
        processes_of(places.dir, traces).into_iter().map(|(pid, what)| format!("process {pid}: {what}")),
    );
    left.extend(mounts_below(places.dir).into_iter().map(|path| format!("mount {}", path.display())));
    left.extend(cgroups(&traces.uids).into_iter().map(|path| format!("cgroup {}", path.display())));
    left.extend(links(places, traces));
    left.extend(netns(places, traces));
    left.extend(places.netns.into_iter().flat_map(inside));
    let tables = tables();
    let own = own_tables(places.bridge).into_iter().filter(|table| tables.contains(table));
    left.extend(own.map(|table| format!("nftables table {table}")));
    left.extend(passages(places.bridge));
    for dir in [
        places.run.join("pods"),
        places.run.join("by-name"),
        places.run.join("endpoints"),
        places.run.join("services"),
        places.root.join("pods"),
        places.root.join("log/pods"),
    ] {
        left.extend(entries(&dir).into_iter().map(|path| format!("file {}", path.display())));
    }
    left.extend(leases(&places.run.join("ipam")).into_iter().map(|path| format!("lease {}", path.display())));
    left
}

/// Processes that name the directory on their command line or live in a cgroup of one of the pods.
fn processes_of(dir: &Path, traces: &Traces) -> Vec<(i32, String)> {
    let dir = dir.to_string_lossy();
    let own = std::process::id().cast_signed();
    let mine = |pid: &i32| {
        let cgroup = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        let in_pod = traces.uids.iter().any(|uid| cgroup.contains(uid.as_str()));
        *pid != own && (in_pod || proc_cmdline(*pid).contains(&*dir))
    };
    processes().into_iter().filter(mine).map(|pid| (pid, proc_cmdline(pid))).collect()
}

fn mounts_below(dir: &Path) -> Vec<PathBuf> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let points = table.lines().filter_map(|line| line.split(' ').nth(4)).map(PathBuf::from);
    points.filter(|point| point.starts_with(dir)).collect()
}

fn cgroups(uids: &BTreeSet<String>) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let base = Path::new("/sys/fs/cgroup");
    let hierarchies = entries(base).into_iter().chain([base.to_path_buf()]);
    for top in hierarchies.map(|hierarchy| hierarchy.join("podbox")) {
        for group in [top.clone(), top.join("burstable"), top.join("besteffort")] {
            found.extend(uids.iter().map(|uid| group.join(format!("pod{uid}"))).filter(|path| path.exists()));
        }
    }
    found
}

fn links(places: &Places<'_>, traces: &Traces) -> Vec<String> {
    let mut left = Vec::new();
    if Path::new("/sys/class/net").join(places.bridge).exists() {
        left.push(format!("link {}", places.bridge));
    }
    for (index, name) in &traces.ports {
        let now = fs::read_to_string(format!("/sys/class/net/{name}/ifindex")).unwrap_or_default();
        if now.trim() == index.to_string() {
            left.push(format!("link {name}"));
        }
    }
    left
}

/// What a podbox may have left in a network namespace of its own: links other than loopback and the test's `eth…`,
/// its routes (by their protocol), permanent neighbours, tables.
fn inside(netns: &str) -> Vec<String> {
    let mut left = Vec::new();
    let mut tell = |what: &str, program: &str, words: &str| {
        let prefix = [format!("--net=/run/netns/{netns}"), program.to_owned()];
        let output = Cmd::new("nsenter").args(prefix).args(words.split(' ')).run();
        let is_tests_own =
            |line: &&str| what == "link" && [": lo:", ": eth"].iter().any(|name| line.contains(name));
        let lines = output.stdout.lines().filter(|line| !line.trim().is_empty() && !is_tests_own(line));
        left.extend(lines.map(|line| format!("{what} in {netns}: {line}")));
    };
    tell("link", "ip", "-o link show");
    tell("route", "ip", "-4 route show table all proto 112");
    tell("route", "ip", "-6 route show table all proto 112");
    tell("neighbour", "ip", "neighbour show nud permanent");
    tell("table", "nft", "list tables");
    left
}

/// Deletes a network namespace by its name, where it is.
pub(crate) fn delete_netns(name: &str) {
    if Path::new("/run/netns").join(name).exists() {
        Cmd::new("ip").args(["netns", "del", name]).run();
    }
}

/// Interfaces that are ports of the bridge now.
pub(crate) fn ports_of(bridge: &str) -> BTreeMap<u32, String> {
    let ports = entries(&Path::new("/sys/class/net").join(bridge).join("brif"));
    let names = ports.iter().filter_map(|path| path.file_name()?.to_str().map(str::to_owned));
    let index = |name: String| {
        let text = fs::read_to_string(format!("/sys/class/net/{name}/ifindex")).ok()?;
        Some((text.trim().parse().ok()?, name))
    };
    names.filter_map(index).collect()
}

/// Another podbox may meanwhile use the same name, for another namespace; its inode may be the same, as the kernel gives
/// their numbers out again at once.
fn netns(places: &Places<'_>, traces: &Traces) -> Vec<String> {
    let still = |(path, inodes): (&PathBuf, &BTreeSet<u64>)| {
        let inode = fs::metadata(path).ok()?.ino();
        let is_ours = inodes.contains(&inode) && !is_of_another_test(path, places.dir);
        is_ours.then(|| format!("network namespace {}", path.display()))
    };
    let mut left: Vec<String> = traces.aliases.iter().filter_map(still).collect();
    for path in entries(Path::new("/run/netns")) {
        let name = path.to_string_lossy();
        if traces.uids.iter().any(|uid| name.ends_with(&format!(".{}", &uid[..8.min(uid.len())]))) {
            left.push(format!("network namespace {name}"));
        }
    }
    left
}

/// Whether a pod of a test beside this one has that name for `ip netns`.
fn is_of_another_test(alias: &Path, own: &Path) -> bool {
    let others = own.parent().map(entries).unwrap_or_default().into_iter().filter(|dir| dir != own);
    let mut pods = others.flat_map(|dir| entries(&dir.join("run/pods")));
    pods.any(|pod| {
        fs::read_to_string(pod.join("netns-alias")).is_ok_and(|text| Path::new(text.trim()) == alias)
    })
}

pub(crate) fn table(bridge: &str) -> String {
    format!("podbox-{bridge}")
}

/// That of host ports, and that of Services.
fn own_tables(bridge: &str) -> [String; 2] {
    let table = table(bridge);
    [format!("{table}-services"), table]
}

fn tables() -> Vec<String> {
    let output = Cmd::new("nft").args(["list", "tables"]).run();
    output.stdout.lines().filter_map(|line| line.split(' ').nth(2)).map(str::to_owned).collect()
}

/// Rules that let the bridge's packets pass others' chains.
fn passages(bridge: &str) -> Vec<String> {
    let rules = Cmd::new("nft").args(["list", "ruleset"]).run().stdout;
    let ours = ["from", "to"].map(|way| format!("comment \"podbox: {way} {bridge}\""));
    let left = rules.lines().filter(|line| ours.iter().any(|comment| line.contains(comment)));
    left.map(|line| format!("rule {}", line.trim())).collect()
}

/// Files of the address pool that mean somebody holds something.
fn leases(ipam: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for network in entries(ipam) {
        for path in entries(&network) {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() {
                found.extend(entries(&path));
            } else if name.contains('.') && name.starts_with(|c: char| c.is_ascii_digit())
                || name.contains(':')
            {
                found.push(path);
            }
        }
    }
    found
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

/// Removes a dead test's directory and all that hangs on it.
pub(crate) fn scrub_dir(dir: &Path) {
    let mut traces = Traces::default();
    for pods in [dir.join("run/pods"), dir.join("root/pods")] {
        traces
            .uids
            .extend(entries(&pods).iter().filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())));
    }
    for pod in entries(&dir.join("run/pods")) {
        if let Ok(alias) = fs::read_to_string(pod.join("netns-alias")) {
            remove_netns(Path::new(alias.trim()), &pod.join("ns/net"));
        }
    }
    // Twice, because the first round may kill a parent that has just started a child.
    for _ in 0..3 {
        for (pid, _) in processes_of(dir, &traces) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        sleep(Duration::from_millis(50));
    }
    for mount in mounts_below(dir).iter().rev() {
        let _ = umount2(mount, MntFlags::MNT_DETACH);
    }
    remove_cgroups(&traces.uids);
    let _ = fs::remove_dir_all(dir);
}

fn remove_cgroups(uids: &BTreeSet<String>) {
    for group in cgroups(uids) {
        for below in entries(&group).into_iter().filter(|path| path.is_dir()) {
            let _ = fs::remove_dir(below);
        }
        let _ = fs::remove_dir(group);
    }
}

/// Ends one pod as a power cut does.
pub(crate) fn cut_power(pod: &Path, bridge: &str) {
    let uid = pod.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let traces = Traces { uids: BTreeSet::from([uid]), ..Traces::default() };
    if let Ok(alias) = fs::read_to_string(pod.join("netns-alias")) {
        remove_netns(Path::new(alias.trim()), &pod.join("ns/net"));
    }
    loop {
        let all = processes_of(pod, &traces);
        // All are stopped first, so that none can start another one in the place of a dead one.
        for signal in [Signal::SIGSTOP, Signal::SIGKILL] {
            all.iter().for_each(|(pid, _)| {
                let _ = kill(Pid::from_raw(*pid), signal);
            });
        }
        if all.is_empty() {
            break;
        }
        sleep(Duration::from_millis(5));
    }
    for mount in mounts_below(pod).iter().rev() {
        let _ = umount2(mount, MntFlags::MNT_DETACH);
    }
    remove_cgroups(&traces.uids);
    let _ = fs::remove_dir_all(pod);
    scrub_network(bridge, "");
}

/// Only if it is that namespace, or a name with nothing behind it: it may be another podbox's by now.
fn remove_netns(alias: &Path, pinned: &Path) {
    let inode = |path: &Path| fs::metadata(path).ok().map(|data| data.ino());
    let device = |path: &Path| fs::metadata(path).ok().map(|data| data.dev());
    let empty = device(alias) == alias.parent().and_then(device);
    if inode(alias).is_some() && (empty || inode(alias) == inode(pinned)) {
        let _ = umount2(alias, MntFlags::MNT_DETACH);
        let _ = fs::remove_file(alias);
    }
}

/// Removes a dead test's bridge, table and neighbour namespace.
pub(crate) fn scrub_network(bridge: &str, outside: &str) {
    if !outside.is_empty() && Path::new("/run/netns").join(outside).exists() {
        Cmd::new("ip").args(["netns", "del", outside]).run();
    }
    for link in [bridge.to_owned(), format!("{outside}h"), format!("{outside}d")] {
        if Path::new("/sys/class/net").join(&link).exists() {
            Cmd::new("ip").args(["link", "del", link.as_str()]).run();
        }
    }
    let there = tables();
    for table in own_tables(bridge).iter().filter(|table| there.contains(table)) {
        Cmd::new("nft").args(["delete", "table", "inet", table]).run();
    }
}
