//! How a podbox of one's own is made.

use std::fs;
use std::sync::Mutex;

use nix::mount::{MsFlags, mount};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use super::{Host, Seen};
use crate::leftovers::Traces;
use crate::slot::Slot;

/// How a [`Host`] shall differ from the usual.
#[derive(Debug, Default)]
pub struct Builder {
    backoff: Option<(&'static str, &'static str)>,
    ipv4_prefix: Option<u8>,
    registries_conf: Option<String>,
    run_bytes: Option<u64>,
    root_bytes: Option<u64>,
    network: String,
    sections: String,
    devices: bool,
    own_net: bool,
}

impl Builder {
    /// Files of the Container Device Interface are read from `cdi` in the host's directory, and from nowhere else.
    #[must_use]
    pub fn devices(mut self) -> Builder {
        self.devices = true;
        self
    }

    /// A network namespace of its own, with nothing but loopback: a machine of its own, as far as networks go.
    #[must_use]
    pub fn own_net(mut self) -> Builder {
        self.own_net = true;
        self
    }

    /// Delays between restarts: the first and the longest. Without it they are short.
    #[must_use]
    pub fn backoff(mut self, initial: &'static str, max: &'static str) -> Builder {
        self.backoff = Some((initial, max));
        self
    }

    /// A smaller IPv4 network, such as 30 for one pod.
    #[must_use]
    pub fn ipv4_prefix(mut self, bits: u8) -> Builder {
        self.ipv4_prefix = Some(bits);
        self
    }

    /// The content of registries.conf.
    #[must_use]
    pub fn registries(mut self, text: impl Into<String>) -> Builder {
        self.registries_conf = Some(text.into());
        self
    }

    /// A run directory on a file system of this size.
    #[must_use]
    pub fn run_size(mut self, bytes: u64) -> Builder {
        self.run_bytes = Some(bytes);
        self
    }

    /// A root directory on a file system of this size.
    #[must_use]
    pub fn root_size(mut self, bytes: u64) -> Builder {
        self.root_bytes = Some(bytes);
        self
    }

    /// More sections of the configuration.
    #[must_use]
    pub fn sections(mut self, lines: &str) -> Builder {
        self.sections.push_str(lines);
        self
    }

    /// More lines for the configuration's `[network]`.
    #[must_use]
    pub fn network(mut self, lines: &str) -> Builder {
        self.network.push_str(lines);
        self
    }

    /// Makes it.
    ///
    /// # Panics
    /// If this is not root, or the disk says no.
    #[must_use]
    pub fn build(self) -> Host {
        crate::require_root();
        let slot = Slot::take();
        let dir = slot.dir();
        let (run, root) = (dir.join("run"), dir.join("root"));
        for (path, bytes) in [(&run, self.run_bytes), (&root, self.root_bytes)] {
            fs::create_dir_all(path).expect("make a directory of the test");
            if let Some(bytes) = bytes {
                let size = format!("size={bytes}");
                mount(Some("tmpfs"), path, Some("tmpfs"), MsFlags::empty(), Some(size.as_str()))
                    .expect("mount a tmpfs");
            }
        }
        let (initial, max) = self.backoff.unwrap_or(("200ms", "1s"));
        let ipv4 = slot.ipv4().replace("/24", &format!("/{}", self.ipv4_prefix.unwrap_or(24)));
        let mut config = format!(
            "[network]\nbridge = \"{}\"\nipv4 = \"{ipv4}\"\nipv6 = \"{}\"\nservices-ipv4 = \"{}\"\nservices-ipv6 = \"{}\"\nnode-ports = \"{}\"\n{}\n[restart]\ninitial-backoff = \"{initial}\"\nmax-backoff = \"{max}\"\n",
            slot.bridge(),
            slot.ipv6(),
            slot.services4(),
            slot.services6(),
            slot.node_ports(),
            self.network,
        );
        config.push_str(&self.sections);
        if let Some(text) = self.registries_conf {
            let path = dir.join("registries.conf");
            fs::write(&path, text).expect("write registries.conf");
            config.push_str(&format!("[images]\nregistries-conf = \"{}\"\n", path.display()));
        }
        if self.devices {
            let path = dir.join("cdi");
            fs::create_dir_all(&path).expect("make a directory of the test");
            config.push_str(&format!("[containers]\ncdi-spec-dirs = [\"{}\"]\n", path.display()));
        }
        fs::write(dir.join("podbox.toml"), config).expect("write the configuration");
        let pods = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).expect("watch for pods");
        fs::create_dir_all(run.join("pods")).expect("make a directory of the test");
        pods.add_watch(&run.join("pods"), AddWatchFlags::IN_CREATE).expect("watch for pods");
        let netns = self.own_net.then(|| slot.make_netns());
        Host {
            slot,
            netns,
            dir,
            run,
            root,
            seen: Mutex::new(Seen { pods, traces: Traces::default() }),
            finished: false,
        }
    }
}
