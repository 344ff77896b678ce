//! What pods are compared with: two network namespaces on a bridge with one veth each, made by ip(8) as anybody would.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::end::End;
use crate::failure::Outcome;
use crate::run::{find, output};

pub(crate) const BRIDGE: &str = "pbbench4";
const NAMES: [&str; 2] = ["pbbench-a", "pbbench-b"];

/// Runs ip(8) with these words.
fn ip(words: &str) -> Outcome<()> {
    output(Command::new("ip").args(words.split(' '))).map(drop)
}

fn file(name: &str) -> PathBuf {
    Path::new("/run/netns").join(name)
}

/// Makes them, with packets as large as `like` has them; `None` if there is no ip(8).
pub(crate) fn make(like: &str) -> Outcome<Option<[End; 2]>> {
    if find("ip").is_none() {
        return Ok(None);
    }
    let size = std::fs::read_to_string(format!("/sys/class/net/{like}/mtu")).unwrap_or_default();
    let size = size.trim().parse().unwrap_or(1500);
    ip(&format!("link add {BRIDGE} mtu {size} type bridge"))?;
    ip(&format!("addr add 10.250.0.1/24 dev {BRIDGE}"))?;
    ip(&format!("addr add fd70:6265:6e63:6820::1/64 dev {BRIDGE} nodad"))?;
    ip(&format!("link set {BRIDGE} up"))?;
    let [a, b] = [(NAMES[0], 2), (NAMES[1], 3)].map(|(name, host)| one(name, host, size));
    Ok(Some([a?, b?]))
}

fn one(name: &str, host: u8, size: u32) -> Outcome<End> {
    ip(&format!("netns add {name}"))?;
    ip(&format!("link add {name} mtu {size} type veth peer name eth0 mtu {size} netns {name}"))?;
    ip(&format!("link set {name} master {BRIDGE} up"))?;
    let ips: [IpAddr; 2] =
        [[10, 250, 0, host].into(), [0xfd70, 0x6265, 0x6e63, 0x6820, 0, 0, 0, u16::from(host)].into()];
    ip(&format!("-n {name} link set lo up"))?;
    ip(&format!("-n {name} addr add {}/24 dev eth0", ips[0]))?;
    ip(&format!("-n {name} addr add {}/64 dev eth0 nodad", ips[1]))?;
    ip(&format!("-n {name} link set eth0 up"))?;
    ip(&format!("-n {name} route add default via 10.250.0.1"))?;
    End::open(&file(name), ips.to_vec())
}

/// Removes the namespaces, and with them the cables. The bridge goes as the others do.
pub(crate) fn clean() {
    for name in NAMES.into_iter().filter(|name| file(name).exists()) {
        // What cannot be removed now is removed by the next run.
        let _ = ip(&format!("netns del {name}"));
    }
}
