//! The pod's user namespace: making it with the sandbox, and what a container's init does with it.
//!
//! Init builds the container as root of the host, as without a user namespace: only that root may place devices, mount
//! an overlay on directories of the host, join cgroups. What differs is whose files it makes, and that image layers
//! and volumes pass through id-mapped mounts (mount_setattr(2)): what is root's on the disk is the pod's root's in
//! there. At the very end it enters the namespace, and in it a copy of its mounts that belongs to the pod; the kernel
//! locks the mounts of such a copy, so that nothing that they cover can be uncovered.

use crate::plan::{ContainerPlan, Exit, Failure, IdRange};
use crate::recipe::{During, Fault};
use crate::sys::task::{self, Side};
use crate::sys::{mount, security};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Gid, Pid, Uid, setfsgid, setfsuid, setresgid, setresuid};
use oci_spec::runtime::LinuxNamespaceType;
use std::fs;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

/// A process that holds the new namespaces until they are pinned. It ends with this value.
#[derive(Debug)]
pub(super) struct Holder {
    pid: Pid,
    _line: UnixStream,
}

impl Holder {
    /// Makes a user namespace with these ids, and the other namespaces, `CLONE_NEW…`, in it: they belong to it, so
    /// that its root rules them. This process joins those others, but not the user namespace.
    pub(super) fn make(ids: IdRange, flags: i32) -> Result<Self, Fault> {
        let (ours, mut theirs) = UnixStream::pair()?;
        let all = (libc::CLONE_NEWUSER | flags) as u64;
        let pid = match task::clone(all, None).during("make a user namespace")? {
            Side::Child => {
                drop(ours);
                let _ = theirs.read(&mut [0]);
                task::leave(0)
            }
            Side::Parent(pid) => pid,
        };
        let holder = Self { pid, _line: ours };
        for map in ["uid_map", "gid_map"] {
            let line = format!("0 {} {}\n", ids.first, ids.count);
            fs::write(format!("/proc/{pid}/{map}"), line).during(map)?;
        }
        let fd = task::pidfd_open(pid.as_raw())?;
        task::setns(fd.as_fd(), flags)?;
        Ok(holder)
    }

    /// Has something done by its namespace's root, in a process of its own. Kernel parameters want that: those of System V
    /// IPC can be written by nobody else, and ids in them mean the writer's.
    pub(super) fn have_done(&self, act: impl FnOnce() -> Result<(), Fault>) -> Result<(), Fault> {
        let (mut ours, mut theirs) = UnixStream::pair()?;
        match task::clone(0, None)? {
            Side::Child => {
                drop(ours);
                let Err(fault) = self.become_root().and_then(|()| act()) else { task::leave(0) };
                let failure = fault.at("");
                let _ = theirs.write_all(&serde_json::to_vec(&failure).unwrap_or_default());
                task::leave(1)
            }
            Side::Parent(child) => {
                drop(theirs);
                let mut said = Vec::new();
                let heard = ours.read_to_end(&mut said);
                let end = crate::process::reap(child)?;
                heard?;
                match serde_json::from_slice::<Failure>(&said) {
                    Ok(Failure { errno, text, exit_code, .. }) => Err(Fault { errno, text, exit_code }),
                    Err(_) if end == Exit::Code(0) => Ok(()),
                    Err(_) => Err(Fault::new("the process that was to do it has died")),
                }
            }
        }
    }

    fn become_root(&self) -> Result<(), Fault> {
        let fd = task::pidfd_open(self.pid.as_raw())?;
        task::setns(fd.as_fd(), libc::CLONE_NEWUSER).during("enter the user namespace")?;
        let (root, group) = (Uid::from_raw(0), Gid::from_raw(0));
        setresgid(group, group, group)?;
        Ok(setresuid(root, root, root)?)
    }

    /// The file of its user namespace.
    pub(super) fn namespace(&self) -> String {
        format!("/proc/{}/ns/user", self.pid)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = kill(self.pid, Signal::SIGKILL);
        let _ = crate::process::reap(self.pid);
    }
}

/// The user namespace of a container that is being made.
#[derive(Debug)]
pub(crate) struct Users {
    namespace: OwnedFd,
    first: u32,
}

impl Users {
    /// The one that the Spec names, while the host's files are in sight.
    pub(super) fn of(plan: &ContainerPlan) -> Result<Option<Self>, Fault> {
        let linux = plan.spec.linux().as_ref();
        let mut namespaces = linux.iter().flat_map(|linux| linux.namespaces().iter().flatten());
        let Some(namespace) = namespaces.find(|ns| ns.typ() == LinuxNamespaceType::User) else {
            return Ok(None);
        };
        let path = namespace.path().as_deref().ok_or_else(|| Fault::new("no new user namespace is made"))?;
        let first = first_id(plan).ok_or_else(|| Fault::new("the Spec maps no ids"))?;
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        Ok(Some(Self { namespace: open(path, flags, Mode::empty()).during(path.display())?, first }))
    }

    /// The host's id of the namespace's root.
    pub(crate) fn root(&self) -> u32 {
        self.first
    }

    /// Maps a mount that is not placed yet: what belongs to the host's root belongs to the namespace's.
    pub(crate) fn map(&self, mount: BorrowedFd<'_>) -> Result<(), Fault> {
        match mount::map_ids(mount, self.namespace.as_fd()) {
            Err(Errno::EINVAL) => Err(Fault::new(
                "this file system has no id-mapped mounts on this kernel, which pods with hostUsers: false need \
                 (tmpfs: Linux 6.3)",
            )),
            other => Ok(other?),
        }
    }

    /// From now on what this process makes belongs to the namespace's root.
    pub(super) fn own_new_files(&self) -> Result<(), Fault> {
        let before = security::capabilities()?;
        setfsgid(Gid::from_raw(self.first));
        setfsuid(Uid::from_raw(self.first));
        // The change has taken those capabilities away that are about files.
        Ok(security::set_capabilities(before)?)
    }

    /// Enters the namespace with mounts, and a view of cgroups, that belong to it.
    pub(super) fn enter(&self) -> Result<(), Fault> {
        task::setns(self.namespace.as_fd(), libc::CLONE_NEWUSER).during("enter the user namespace")?;
        Ok(task::unshare(libc::CLONE_NEWNS | libc::CLONE_NEWCGROUP)?)
    }
}

/// The host's id of root in a container's user namespace.
fn first_id(plan: &ContainerPlan) -> Option<u32> {
    let maps = plan.spec.linux().as_ref()?.uid_mappings().as_ref()?;
    maps.iter().find(|map| map.container_id() == 0).map(|map| map.host_id())
}
