//! Processor time to the microsecond, by cgroup: what is started in an account is counted, with all its children,
//! whoever reaps them and whenever.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::failure::{Failure, Outcome, cannot};

const NAME: &str = "podbox-bench";

/// A cgroup of version 2, which counts processor time with no controller and beside any hierarchy of version 1.
pub(crate) struct Account {
    hierarchy: PathBuf,
}

impl Account {
    pub(crate) fn open() -> Outcome<Account> {
        let account = Account { hierarchy: hierarchy().ok_or(Failure("there is no cgroup v2".to_owned()))? };
        fs::create_dir_all(account.dir()).map_err(cannot("make a cgroup"))?;
        Ok(account)
    }

    fn dir(&self) -> PathBuf {
        self.hierarchy.join(NAME)
    }

    /// The command, to be run in this account.
    pub(crate) fn command<S: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", "echo 0 > \"$0/cgroup.procs\" && exec \"$@\""]).arg(self.dir()).args(words);
        command
    }

    /// What has been used so far, by those who are still there and those who are not.
    pub(crate) fn used(&self) -> Outcome<Duration> {
        used(&self.dir())
    }

    /// What the containers of a podbox pod have used.
    pub(crate) fn used_by_pod(&self, uid: &str) -> Outcome<Duration> {
        let classes = fs::read_dir(self.hierarchy.join("podbox")).map_err(cannot("list podbox's cgroups"))?;
        let mut dirs = classes.flatten().map(|class| class.path().join(format!("pod{uid}")));
        let dir = dirs.find(|dir| dir.is_dir());
        used(&dir.ok_or(Failure(format!("pod {uid} has no cgroup")))?)
    }
}

/// Removes the account if nobody is in it any more.
pub(crate) fn clean() {
    if let Some(hierarchy) = hierarchy() {
        // It is only there after probes were measured.
        let _ = fs::remove_dir(hierarchy.join(NAME));
    }
}

fn hierarchy() -> Option<PathBuf> {
    let places = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].map(PathBuf::from);
    places.into_iter().find(|place| place.join("cgroup.controllers").exists())
}

fn used(dir: &Path) -> Outcome<Duration> {
    let text = fs::read_to_string(dir.join("cpu.stat")).map_err(cannot("read processor times"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("usage_usec "));
    let micros = line.and_then(|number| number.trim().parse().ok());
    Ok(Duration::from_micros(micros.ok_or(Failure("cpu.stat has no usage".to_owned()))?))
}
