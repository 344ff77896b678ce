//! What remains of a sandbox when its stage has left, and how it is taken away.
//!
//! There is no process that holds the namespaces (except with a shared PID namespace). They are held by
//! bind mounts of `/proc/self/ns/*` on plain files. Removing the sandbox is unmounting: when the last
//! reference to a network namespace goes, the kernel takes its interfaces with it.

use crate::cgroup::Cgroups;
use crate::plan::{Identity, SandboxPlan};
use crate::process::Process;
use nix::errno::Errno;
use nix::mount::{MntFlags, umount2};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The namespaces that can be pinned: the file's name, and the flag that makes a new one.
pub(crate) const KINDS: [(&str, i32); 4] = [
    ("net", libc::CLONE_NEWNET),
    ("ipc", libc::CLONE_NEWIPC),
    ("uts", libc::CLONE_NEWUTS),
    ("pid", libc::CLONE_NEWPID),
];

/// The file of the pinned user namespace, if there is one.
pub(crate) const USER: &str = "user";

/// The cgroup below the sandbox's own in which its reaper lives: with limits set on a cgroup, cgroup v2
/// wants processes only in the leaves.
pub(crate) const REAPER_CGROUP: &str = "sandbox";

/// Something of a sandbox that could not be removed.
#[derive(Debug, thiserror::Error)]
#[error("remove {what}")]
pub struct Leftover {
    /// What it is.
    pub what: String,
    /// Why it is still there.
    #[source]
    pub source: io::Error,
}

/// Removes what `stage sandbox` made, in the reverse order, and kills whatever still lives in its cgroup.
/// What is not there counts as removed. Goes on after errors and returns all of them.
#[must_use]
pub fn remove(plan: &SandboxPlan, reaper: Option<Identity>) -> Vec<Leftover> {
    let mut left = Vec::new();
    let mut note = |what: &dyn std::fmt::Display, result: io::Result<()>| {
        if let Err(source) = result {
            left.push(Leftover { what: what.to_string(), source });
        }
    };
    if let Some(identity) = reaper {
        let killed = Process::open(identity).and_then(|found| match found {
            Some(process) => process.signal(libc::SIGKILL),
            None => Ok(()),
        });
        note(&format_args!("reaper {}", identity.pid), killed);
    }
    if let Some(alias) = plan.netns_alias.as_ref().filter(|alias| !is_anothers(alias, &plan.pin_dir)) {
        note(&alias.display(), unpin(alias));
    }
    // One detach of the directory takes all pins in it along.
    note(&plan.pin_dir.display(), detach(&plan.pin_dir));
    for name in KINDS.iter().map(|(name, _)| *name).chain([USER]) {
        let pin = plan.pin_dir.join(name);
        note(&pin.display(), unpin(&pin));
    }
    note(&plan.pin_dir.display(), absent_is_fine(fs::remove_dir(&plan.pin_dir)));
    if let Some(shm) = &plan.shm {
        let gone = detach(&shm.path).and_then(|()| absent_is_fine(fs::remove_dir(&shm.path)));
        note(&shm.path.display(), gone);
    }
    if let Some(cgroup) = &plan.cgroup {
        let group = Cgroups::detect().at(&cgroup.path);
        if group.exists() {
            let gone = group.kill().and_then(|()| group.remove_with_parents());
            note(&format_args!("cgroup {}", cgroup.path.display()), gone);
        }
    }
    left
}

/// The file of one pinned namespace, for a container's Spec or for whoever wants to enter.
#[must_use]
pub fn pin(plan: &SandboxPlan, kind: &str) -> PathBuf {
    plan.pin_dir.join(kind)
}

/// Whether a namespace is pinned at `alias` that is not the one pinned in `pins`. A sandbox's own alias is made after
/// its pins and removed before them.
fn is_anothers(alias: &Path, pins: &Path) -> bool {
    let identity = |path: &Path| fs::metadata(path).map(|file| (file.dev(), file.ino())).ok();
    let (here, around) = (identity(alias), alias.parent().and_then(identity));
    // What lies on its directory's own file system is a plain file: nothing is pinned there.
    let pinned = here.is_some() && here.map(|(dev, _)| dev) != around.map(|(dev, _)| dev);
    pinned && here != identity(&pins.join("net"))
}

fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    result.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

/// Unmounts all that is mounted on `path`; nothing mounted and nothing there are both success.
pub(crate) fn detach(path: &Path) -> io::Result<()> {
    loop {
        match umount2(path, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
            Ok(()) => {}
            Err(Errno::EINVAL | Errno::ENOENT) => return Ok(()),
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Unmounts and removes the file of a pin. Removing first would do if nothing is mounted on it, which is
/// the rule after the directory was detached, and saves a call that finds nothing.
fn unpin(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.raw_os_error() == Some(Errno::EBUSY as i32) => {
            detach(path)?;
            absent_is_fine(fs::remove_file(path))
        }
        other => absent_is_fine(other),
    }
}
