//! The one directory that a run uses, what lies in it, and how every trace of a run is removed again.

use std::fs::{self, File};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::mount::{MntFlags, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::failure::{Failure, Outcome, cannot};
use crate::{net, podbox, podman, proc};

/// The yardstick's source is part of this program, so that it needs no path at run time.
const FLOOR: &str = include_str!("../floor.c");
/// The floor's bridge.
pub(crate) const FLOOR_BRIDGE: &str = "pbbench2";

/// Paths of one run.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    /// Everything that the run writes.
    pub(crate) dir: PathBuf,
    /// The program under test.
    pub(crate) podbox: PathBuf,
    /// What the containers of all others run: static, with the names `sleep` and `true`.
    pub(crate) program: PathBuf,
}

impl Site {
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Where the command that runs now complains.
    pub(crate) fn errors(&self) -> PathBuf {
        self.path("stderr")
    }

    /// Takes the directory and the host for this run; two runs at once would measure each other, and have the same bridges
    /// wherever their directories are. What a run that was killed has left is removed first.
    pub(crate) fn take(&self) -> Outcome<(File, UnixListener)> {
        let taken = |_| Failure("another bench is running".to_owned());
        // A name of the host that ends with this process, however it ends (unix(7)).
        let name = SocketAddr::from_abstract_name("podbox-bench").map_err(cannot("name this run"))?;
        let host = UnixListener::bind_addr(&name).map_err(taken)?;
        fs::create_dir_all(&self.dir).map_err(cannot(format_args!("make {}", self.dir.display())))?;
        let lock = File::create(self.path("lock")).map_err(cannot("make the lock"))?;
        lock.try_lock().map_err(|_| Failure("another bench uses this directory".to_owned()))?;
        self.clean()?;
        Ok((lock, host))
    }

    /// What the candidates share: the floor's program and a root file system.
    pub(crate) fn furnish(&self) -> Outcome<()> {
        let source = self.path("floor.c");
        fs::write(&source, FLOOR).map_err(cannot("write floor.c"))?;
        let mut cc = Command::new("cc");
        cc.args(["-O2", "-static", "-o"]).arg(self.path("floor")).arg(&source);
        crate::run::output(&mut cc)?;
        let bin = self.path("rootfs/bin");
        fs::create_dir_all(&bin).map_err(cannot("make the root file system"))?;
        for empty in ["proc", "dev", "sys", "tmp", "etc"] {
            fs::create_dir_all(self.path("rootfs").join(empty))
                .map_err(cannot("make the root file system"))?;
        }
        let program = bin.join("busybox");
        fs::copy(&self.program, &program).map_err(cannot(format_args!("copy {}", self.program.display())))?;
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).map_err(cannot("set a mode"))?;
        for name in ["sleep", "true"] {
            symlink("busybox", bin.join(name)).map_err(cannot("make a symlink"))?;
        }
        Ok(())
    }

    /// Removes everything that a run may have left, wherever it was stopped: pods, processes, mounts, links,
    /// files. The lock file stays, for whoever holds it.
    pub(crate) fn clean(&self) -> Outcome<()> {
        let mut failures = Vec::new();
        failures.extend(podbox::clean(self).err());
        failures.extend(podman::clean(self).err());
        failures.extend(crate::oci::clean(self).err());
        self.end_processes();
        crate::account::clean();
        net::clean();
        for name in [FLOOR_BRIDGE, podbox::FIRST.bridge, podbox::SECOND.bridge, net::BARE_BRIDGE] {
            if Path::new("/sys/class/net").join(name).exists() {
                self.delete_link(name);
            }
        }
        failures.extend(self.empty().err());
        match failures.into_iter().next() {
            None => Ok(()),
            Some(first) => Err(first),
        }
    }

    /// Processes that have this run's directory in their command line: helpers that nobody told to leave.
    /// Not this program itself, which may have been told the directory.
    fn end_processes(&self) {
        let me = std::process::id().cast_signed();
        let ours = |words: &[String]| words.iter().skip(1).any(|word| Path::new(word).starts_with(&self.dir));
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(5) {
            let left: Vec<_> = proc::processes()
                .into_iter()
                .filter(|(pid, words)| *pid != me && ours(words) && is_helper(words))
                .collect();
            if left.is_empty() {
                return;
            }
            for (pid, _) in left {
                // It may have left meanwhile.
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn delete_link(&self, name: &str) {
        let floor = self.path("floor");
        if floor.exists() {
            let _ = Command::new(floor).args(["-D", name]).stdin(Stdio::null()).status();
        }
    }

    /// Unmounts what is mounted below the directory and removes what is in it.
    fn empty(&self) -> Outcome<()> {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let below: Vec<&str> = mounts
            .lines()
            .filter_map(|line| line.split(' ').nth(1))
            .filter(|target| Path::new(target).starts_with(&self.dir) && Path::new(target) != self.dir)
            .collect();
        for target in below.iter().rev() {
            let _ = umount2(*target, MntFlags::MNT_DETACH);
        }
        let entries = fs::read_dir(&self.dir).map_err(cannot(format_args!("read {}", self.dir.display())))?;
        for entry in entries.flatten().filter(|entry| entry.file_name() != "lock") {
            let path = entry.path();
            let removed = if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                fs::remove_dir_all(&path)
            } else {
                fs::remove_file(&path)
            };
            removed.map_err(cannot(format_args!("remove {}", path.display())))?;
        }
        Ok(())
    }
}

fn is_helper(words: &[String]) -> bool {
    let name = words[0].rsplit('/').next().unwrap_or_default();
    matches!(name, "podbox" | "conmon" | "floor" | "podman" | "runc" | "crun")
}
