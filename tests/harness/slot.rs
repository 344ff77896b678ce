//! What each private podbox has for itself, so that they never meet: a number, from which its directory, bridge,
//! addresses and ports follow. Held by a file lock, so that it is free again when the process ends, however.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::command::Cmd;
use crate::leftovers;

const SLOTS: u32 = 200;

/// A number that nobody else has.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) number: u32,
    _lock: File,
}

impl Slot {
    /// Takes the first free number and removes what a killed test has left of it.
    pub(crate) fn take() -> Slot {
        let base = base();
        fs::create_dir_all(&base).expect("make the tests' directory");
        for number in 1..SLOTS {
            let lock = File::create(base.join(format!("{number}.lock"))).expect("make a lock file");
            if lock.try_lock().is_ok() {
                let slot = Slot { number, _lock: lock };
                slot.scrub();
                return slot;
            }
        }
        panic!("all {SLOTS} slots in {} are taken", base.display());
    }

    /// A fresh directory.
    pub(crate) fn dir(&self) -> PathBuf {
        let dir = base().join(format!("{}-{}", self.number, std::process::id()));
        fs::create_dir_all(&dir).expect("make the test's directory");
        dir
    }

    pub(crate) fn bridge(&self) -> String {
        format!("pbt{}", self.number)
    }

    pub(crate) fn ipv4(&self) -> String {
        format!("10.213.{}.0/24", self.number)
    }

    pub(crate) fn ipv6(&self) -> String {
        format!("fd70:6f64:e2e:{:x}::/64", self.number)
    }

    /// A fresh network namespace, with loopback up.
    pub(crate) fn make_netns(&self) -> String {
        let name = self.netns_name();
        for words in [format!("netns add {name}"), format!("-n {name} link set lo up")] {
            Cmd::new("ip").args(words.split(' ')).run().ok();
        }
        name
    }

    fn netns_name(&self) -> String {
        format!("pbn{}", self.number)
    }

    pub(crate) fn services4(&self) -> String {
        format!("10.214.{}.0/24", self.number)
    }

    pub(crate) fn services6(&self) -> String {
        format!("fd70:6f64:e2f:{:x}::/112", self.number)
    }

    /// The last ten of the slot's ports.
    pub(crate) fn node_ports(&self) -> String {
        format!("{}-{}", self.port(30), self.port(39))
    }

    pub(crate) fn outside_name(&self) -> String {
        format!("pbo{}", self.number)
    }

    /// One of 40 port numbers below the range that the kernel gives away by itself.
    pub(crate) fn port(&self, index: u16) -> u16 {
        assert!(index < 40, "a test has 40 ports");
        20_000 + u16::try_from(self.number).expect("a slot is a small number") * 40 + index
    }

    fn scrub(&self) {
        let prefix = format!("{}-", self.number);
        let entries = fs::read_dir(base()).into_iter().flatten().flatten();
        for entry in entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix)) {
            leftovers::scrub_dir(&entry.path());
        }
        leftovers::scrub_network(&self.bridge(), &self.outside_name());
        leftovers::delete_netns(&self.netns_name());
    }
}

fn base() -> PathBuf {
    Path::new("/tmp/podbox-e2e").to_path_buf()
}
