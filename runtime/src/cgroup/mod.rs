//! Control groups, of both versions and of hosts that mount both.
//!
//! A cgroup is one path, such as `/podbox/burstable/pod1/web-0`, below the root of every hierarchy that
//! matters here:
//! - **v1**: `cpu`, `cpuacct`, `memory` and `pids`, each mounted apart or some of them together. Others
//!   (devices, freezer, blkio …) are left alone: each costs time at every start and podbox sets nothing there.
//! - **v2**: one hierarchy for all controllers. On a *hybrid* host it is mounted too, with no controllers;
//!   it is still used, because only v2 has `cgroup.kill` and a start that lands in the cgroup at once.
//!
//! "The root" is what is mounted in `/sys/fs/cgroup`. Inside a container that may be a cgroup deep in the
//! host's tree; it is the highest that can be reached, so paths count from there.
//!
//! A host where cgroups are read-only, missing or taken gives a note and a container without limits, never
//! a failure: on such a host a user would rather run it than not. Where they can be had, a limit that the kernel
//! refuses is a failure: to run without it would be the worst answer.

mod change;
mod huge_pages;
mod v1;
mod v2;

use nix::errno::Errno;
use oci_spec::runtime::LinuxResources;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

pub use change::Allowed;
pub use v2::weight_of_shares;

/// What the kernel has refused of a cgroup on a host that has cgroups.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct Refused {
    /// The limit, or the cgroup that cannot be made or joined.
    pub what: String,
    /// Why.
    #[source]
    pub source: io::Error,
}

/// Whether an error says that the host does not offer something, instead of that something is wrong with it.
fn is_not_offered(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(errno, Some(Errno::ENOENT | Errno::EROFS | Errno::EACCES | Errno::EPERM))
}

/// One mounted v1 hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
struct V1 {
    root: PathBuf,
    controllers: Vec<v1::Controller>,
}

/// The hierarchies of this host that podbox uses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cgroups {
    v1: Vec<V1>,
    v2: Option<PathBuf>,
}

impl Cgroups {
    /// Looks where the hierarchies are mounted. A handful of statfs calls: the mount table would name them
    /// too, but reading it takes longer with every pod that runs.
    #[must_use]
    pub fn detect() -> Self {
        Self::detect_at(Path::new("/sys/fs/cgroup"))
    }

    fn detect_at(root: &Path) -> Self {
        if v2::is_mounted(root) {
            return Self { v1: Vec::new(), v2: Some(root.to_owned()) };
        }
        let unified = root.join("unified");
        Self { v1: v1::detect(root), v2: v2::is_mounted(&unified).then_some(unified) }
    }

    /// Whether there is no hierarchy at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.v1.is_empty() && self.v2.is_none()
    }

    /// Whether cgroups can be made in every hierarchy.
    ///
    /// # Errors
    /// The first refusal, with the hierarchy's place.
    pub fn check(&self) -> io::Result<()> {
        let refusal = |root: &PathBuf| {
            let refused = nix::unistd::access(root, nix::unistd::AccessFlags::W_OK).err()?;
            Some(io::Error::other(format!("{}: {}", root.display(), refused.desc())))
        };
        let mut roots = self.v2.iter().chain(self.v1.iter().map(|hierarchy| &hierarchy.root));
        roots.find_map(refusal).map_or(Ok(()), Err)
    }

    /// The cgroup at `path`, which need not exist.
    #[must_use]
    pub fn at(&self, path: &Path) -> Cgroup {
        let below = relative(path);
        Cgroup {
            v1: self.v1.iter().map(|h| V1 { root: h.root.join(&below), ..h.clone() }).collect(),
            v2: self.v2.as_ref().map(|root| root.join(&below)),
            depth: below.components().count(),
        }
    }

    /// Makes the cgroup at `path` and what is missing above it, and sets its limits. One that exists keeps
    /// its processes and gets the limits. What the host does not offer is left out, with a note.
    ///
    /// # Errors
    /// A limit that the kernel does not take, or `ENOMEM` if the limit of one above does not even hold the kernel's own
    /// notes of this one. Nothing is left of it then.
    pub fn create(
        &self,
        path: &Path,
        limits: &LinuxResources,
        notes: &mut Vec<String>,
    ) -> Result<Cgroup, Refused> {
        let mut group = self.at(path);
        if self.is_empty() {
            notes.push("no cgroup hierarchy is mounted: limits are not applied".to_owned());
        }
        let mut refused: Vec<(PathBuf, io::Error)> = Vec::new();
        let mut made = |root: &Path, depth| match make(root, depth) {
            Ok(()) => true,
            Err(error) => {
                refused.push((root.to_owned(), error));
                false
            }
        };
        group.v1.retain(|hierarchy| made(&hierarchy.root, group.depth));
        group.v2 = group.v2.take().filter(|root| made(root, group.depth));
        let starved = |(_, error): &(PathBuf, io::Error)| error.raw_os_error() == Some(Errno::ENOMEM as i32);
        if let Some(index) = refused.iter().position(starved) {
            let _ = group.remove();
            let (directory, source) = refused.swap_remove(index);
            let what = format!("the memory limit is too small for {}", directory.display());
            return Err(Refused { what, source });
        }
        if let Some((root, error)) = refused.first() {
            let others = if refused.len() > 1 { " (and others)" } else { "" };
            notes.push(format!("cannot make cgroup {}{others}: {error}: not used", root.display()));
        }
        if let Err(refused) = group.limit(limits, notes) {
            // One that others use already stays.
            let _ = group.directories().try_for_each(fs::remove_dir);
            return Err(refused);
        }
        Ok(group)
    }
}

/// `path` without its leading slash and without anything that climbs.
fn relative(path: &Path) -> PathBuf {
    path.components().filter(|part| matches!(part, Component::Normal(_))).collect()
}

/// mkdir -p, of at most `depth` levels: never the hierarchy's root. Another podbox may remove an empty
/// parent between two steps, so a vanished one is made again.
fn make(directory: &Path, depth: usize) -> io::Result<()> {
    for _ in 0..4 {
        match fs::create_dir(directory) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound && depth > 1 => {
                let parent = directory.parent().ok_or(io::ErrorKind::NotFound)?;
                make(parent, depth - 1)?;
            }
            other => return other,
        }
    }
    Err(io::ErrorKind::NotFound.into())
}

/// Writes to a control file, which must exist.
fn write(directory: &Path, file: &str, value: &str) -> io::Result<()> {
    OpenOptions::new().write(true).open(directory.join(file))?.write_all(value.as_bytes())
}

/// Writes a limit, or says that the host does not have it.
fn set(directory: &Path, file: &str, value: &str, notes: &mut Vec<String>) -> Result<(), Refused> {
    match write(directory, file, value) {
        Err(error) if is_not_offered(&error) => {
            notes.push(format!("limit {file} = {value} is not applied: {error}"));
        }
        Err(source) => {
            let what = format!("the kernel does not take {file} = {value} for {}", directory.display());
            return Err(Refused { what, source });
        }
        Ok(()) => {}
    }
    Ok(())
}

/// A number in a file of one line.
fn number(directory: &Path, file: &str) -> Option<u64> {
    fs::read_to_string(directory.join(file)).ok()?.trim().parse().ok()
}

/// The number behind `key` in a file of lines `KEY NUMBER`.
fn keyed(directory: &Path, file: &str, key: &str) -> Option<u64> {
    let text = fs::read_to_string(directory.join(file)).ok()?;
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

/// What a cgroup uses now; `None` where its controller is not there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes charged, page cache included.
    pub memory: Option<u64>,
    /// Bytes without inactive page cache: what Kubernetes calls the working set.
    pub working_set: Option<u64>,
    /// CPU time used since it was made.
    pub cpu: Option<Duration>,
    /// Processes and threads.
    pub pids: Option<u64>,
}

/// One cgroup: a directory in every hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cgroup {
    v1: Vec<V1>,
    v2: Option<PathBuf>,
    depth: usize,
}

impl Cgroup {
    fn directories(&self) -> impl Iterator<Item = &Path> {
        self.v2.iter().chain(self.v1.iter().map(|h| &h.root)).map(PathBuf::as_path)
    }

    /// The directory in the v2 hierarchy.
    pub(crate) fn unified(&self) -> Option<&Path> {
        self.v2.as_deref()
    }

    /// What of it a container is shown below `/sys/fs/cgroup` on a host with v1 hierarchies: a name and the
    /// directory that is bound there. cpuset has none: podbox sets nothing in it, but the Java runtime
    /// believes in no limits where it is missing. Empty on a host with v2 alone.
    pub(crate) fn views(&self) -> Vec<(&'static str, Option<PathBuf>)> {
        let mut views = Vec::new();
        for hierarchy in &self.v1 {
            let name = |controller: &v1::Controller| (controller.name(), Some(hierarchy.root.clone()));
            views.extend(hierarchy.controllers.iter().map(name));
        }
        if !views.is_empty() {
            views.push(("cpuset", None));
            views.extend(self.v2.iter().map(|directory| ("unified", Some(directory.clone()))));
        }
        views
    }

    fn limit(&self, limits: &LinuxResources, notes: &mut Vec<String>) -> Result<(), Refused> {
        self.v1.iter().try_for_each(|hierarchy| v1::limit(hierarchy, limits, notes))?;
        match &self.v2 {
            // With v1 hierarchies beside it, v2 has no controllers and so no limits to set.
            Some(directory) if self.v1.is_empty() => v2::limit(directory, self.depth, limits, notes)?,
            _ => {}
        }
        match limits.hugepage_limits() {
            Some(pages) => huge_pages::limit(self, pages, notes),
            None => Ok(()),
        }
    }

    /// Moves the calling process, which has one thread, into it: the v1 hierarchies, and v2 too unless it was
    /// born there.
    ///
    /// In v1 the *thread* is moved, by `tasks`. Writing `cgroup.procs` makes the kernel stop every fork of the
    /// machine, and the first time in a while it waits for an RCU grace period to do so: 25 ms. A thread that moves
    /// itself needs none of that (`cgroup_procs_write_start` in the kernel's cgroup.c).
    ///
    /// # Errors
    /// A cgroup that cannot be joined though it can be written to.
    pub(crate) fn join(&self, born_in_v2: BornIn, notes: &mut Vec<String>) -> Result<(), Refused> {
        let v2 =
            self.v2.iter().filter(|_| born_in_v2 == BornIn::Elsewhere).map(|root| (root, "cgroup.procs"));
        for (directory, file) in v2.chain(self.v1.iter().map(|h| (&h.root, "tasks"))) {
            match write(directory, file, "0") {
                Err(error) if is_not_offered(&error) => {
                    notes.push(format!("cannot join cgroup {}: {error}", directory.display()));
                }
                Err(source) => {
                    return Err(Refused {
                        what: format!("cannot join cgroup {}", directory.display()),
                        source,
                    });
                }
                Ok(()) => {}
            }
        }
        Ok(())
    }

    /// A cgroup below this one, in one hierarchy only, made to hold and to kill a group of processes: v2
    /// where it is mounted, else the first of v1.
    pub(crate) fn holder(&self, name: &str) -> Option<Self> {
        let below = |root: &Path| root.join(name);
        let depth = self.depth + 1;
        let group = match (&self.v2, self.v1.first()) {
            (Some(root), _) => Self { v1: Vec::new(), v2: Some(below(root)), depth },
            (None, Some(v1)) => {
                Self { v1: vec![V1 { root: below(&v1.root), controllers: Vec::new() }], v2: None, depth }
            }
            (None, None) => return None,
        };
        let made = group.directories().all(|directory| fs::create_dir(directory).is_ok());
        made.then_some(group)
    }

    /// Whether its directory exists anywhere.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.directories().any(Path::exists)
    }

    /// Whether no process is in it or below. A cgroup that is gone is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.v2.as_deref().is_none_or(|directory| keyed(directory, "cgroup.events", "populated") != Some(1))
            && self.v1.iter().all(|h| pids_below(&h.root).is_empty())
    }

    /// The host's pids of all processes in it and below.
    #[must_use]
    pub fn pids(&self) -> Vec<i32> {
        self.directories().find(|directory| directory.exists()).map(pids_below).unwrap_or_default()
    }

    /// Kills every process in it and below. v2 does so at once and for certain (`cgroup.kill`, Linux 5.14);
    /// elsewhere the list is read and killed until it stays empty.
    ///
    /// # Errors
    /// What the kernel says; a cgroup that is gone is success.
    pub fn kill(&self) -> io::Result<()> {
        if let Some(directory) = &self.v2
            && write(directory, "cgroup.kill", "1").is_ok()
        {
            return Ok(());
        }
        for round in 0..20 {
            let pids: Vec<i32> = self.directories().flat_map(pids_below).collect();
            if pids.is_empty() {
                return Ok(());
            }
            for pid in pids {
                let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGKILL);
            }
            std::thread::sleep(Duration::from_micros(100 << round.min(6)));
        }
        Err(Errno::EBUSY.into())
    }

    /// How many processes the kernel has killed in it for want of memory.
    #[must_use]
    pub fn oom_kills(&self) -> u64 {
        let v1 = self.v1.iter().find(|h| h.controllers.contains(&v1::Controller::Memory));
        v1.and_then(|h| keyed(&h.root, "memory.oom_control", "oom_kill"))
            .or_else(|| keyed(self.v2.as_deref()?, "memory.events", "oom_kill"))
            .unwrap_or(0)
    }

    /// What it uses now.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let mut usage = Usage::default();
        for hierarchy in &self.v1 {
            v1::add_usage(hierarchy, &mut usage);
        }
        if let Some(directory) = &self.v2
            && self.v1.is_empty()
        {
            v2::add_usage(directory, &mut usage);
        }
        usage
    }

    /// Removes it and all below. Processes that are still dying are waited for, a quarter of a second at most.
    ///
    /// # Errors
    /// `EBUSY` if a process lives on in it; otherwise what rmdir(2) says. Being gone already is success.
    pub fn remove(&self) -> io::Result<()> {
        let results: Vec<_> = self.directories().map(remove_tree).collect();
        results.into_iter().collect()
    }

    /// As [`Cgroup::remove`], and then the directories above it as far as they are empty.
    ///
    /// # Errors
    /// As [`Cgroup::remove`].
    pub fn remove_with_parents(&self) -> io::Result<()> {
        self.remove()?;
        for directory in self.directories() {
            let parents = directory.ancestors().skip(1).take(self.depth.saturating_sub(1));
            for parent in parents {
                if fs::remove_dir(parent).is_err() {
                    break;
                }
            }
        }
        Ok(())
    }
}

/// Where a process was born: `CLONE_INTO_CGROUP` may have put it into the v2 cgroup already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BornIn {
    /// In the v2 cgroup that is meant.
    V2,
    /// In its parent's.
    Elsewhere,
}

/// The directories right below a cgroup.
fn children(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let directories = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    directories.map(|entry| entry.path()).collect()
}

/// A process of another PID namespace is listed as 0, which kill(2) would take for our own group.
fn pids_below(directory: &Path) -> Vec<i32> {
    let text = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
    let mut pids: Vec<i32> =
        text.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid > 0).collect();
    for child in children(directory) {
        pids.extend(pids_below(&child));
    }
    pids
}

fn remove_tree(directory: &Path) -> io::Result<()> {
    let mut pause = Duration::from_micros(100);
    loop {
        // The plain attempt first: mostly there is nothing below and nobody inside.
        let error = match fs::remove_dir(directory) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => error,
        };
        let waited_enough = pause > Duration::from_millis(128);
        if error.raw_os_error() != Some(Errno::EBUSY as i32) || waited_enough {
            return Err(error);
        }
        let below = children(directory);
        for child in &below {
            remove_tree(child)?;
        }
        // With those gone there may be nothing left to wait for; otherwise somebody in it has not quite died yet.
        if below.is_empty() {
            std::thread::sleep(pause);
            pause *= 2;
        }
    }
}

#[cfg(test)]
mod tests;
