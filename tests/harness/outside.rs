//! A neighbour of the host, as a machine on the next cable would be.

use crate::command::Cmd;

/// A network namespace on a link of its own. The host knows the way to it; it knows only the host, so whatever
/// reaches it with an address of a pod's cannot be answered.
#[derive(Debug)]
pub struct Outside {
    name: String,
    number: u32,
}

impl Outside {
    pub(crate) fn new(name: &str, number: u32) -> Outside {
        let outside = Outside { name: name.to_owned(), number };
        let host_end = format!("{name}h");
        ip(&format!("netns add {name}"));
        ip(&format!("link add {host_end} type veth peer name eth0 netns {name}"));
        ip(&format!("addr add {}/24 dev {host_end}", outside.host()));
        ip(&format!("-6 addr add {}/64 dev {host_end} nodad", outside.host6()));
        ip(&format!("link set {host_end} up"));
        ip(&format!("-n {name} link set lo up"));
        ip(&format!("-n {name} addr add {}/24 dev eth0", outside.own()));
        ip(&format!("-n {name} -6 addr add {}/64 dev eth0 nodad", outside.own6()));
        ip(&format!("-n {name} link set eth0 up"));
        outside
    }

    /// The host's address on the link.
    #[must_use]
    pub fn host(&self) -> String {
        format!("198.18.{}.1", self.number)
    }

    /// The neighbour's own address.
    #[must_use]
    pub fn own(&self) -> String {
        format!("198.18.{}.2", self.number)
    }

    /// The host's IPv6 address on the link.
    #[must_use]
    pub fn host6(&self) -> String {
        format!("fd71:6f64:e2e:{:x}::1", self.number)
    }

    /// The neighbour's own IPv6 address.
    #[must_use]
    pub fn own6(&self) -> String {
        format!("fd71:6f64:e2e:{:x}::2", self.number)
    }

    /// An applet of the toolbox, in the neighbour's network.
    #[must_use]
    pub fn toolbox(&self, words: &[&str]) -> Cmd {
        Cmd::new("ip")
            .args(["netns", "exec", &self.name])
            .args([crate::binary()])
            .args(["toolbox"])
            .args(words)
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        for command in [format!("link del {}h", self.name), format!("netns del {}", self.name)] {
            Cmd::new("ip").args(command.split(' ')).run();
        }
    }
}

fn ip(words: &str) {
    Cmd::new("ip").args(words.split(' ')).run().ok();
}
