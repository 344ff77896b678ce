//! The Container Network Interface from both sides: podbox's network for other runtimes, and other plugins' networks for
//! podbox.

use std::fs;
use std::path::{Path, PathBuf};

use e2e::{Cmd, Host};
use serde_json::{Value, json};

mod chain;
mod containerd;
mod hanging;
mod owed;
mod plugin;
mod podman;

/// Where Debian's package puts the plugins of the CNI project.
const DEBIAN: &str = "/usr/lib/cni";

/// The network of the private podbox, for another runtime: same name, bridge, addresses and leases.
fn config(host: &Host, version: &str) -> Value {
    json!({
        "cniVersion": version,
        "name": "podbox",
        "plugins": [{
            "type": "podbox-bridge",
            "bridge": host.bridge(),
            "subnets": [subnet(&host.gateway(), "1", "0/24"), subnet(&host.gateway6(), "1", "/64")],
            "dataDir": host.run_dir().join("ipam"),
            "capabilities": {"portMappings": true, "ips": true, "mac": true, "bandwidth": true, "dns": true},
        }],
    })
}

fn subnet(gateway: &str, last: &str, end: &str) -> String {
    format!("{}{end}", gateway.strip_suffix(last).unwrap())
}

/// A directory with the plugin in it, made as the documentation says.
fn install(host: &Host) -> PathBuf {
    let dir = host.dir().join("cni-bin");
    host.podbox(["cni", "install", dir.to_str().unwrap()]).ok().says("podbox-bridge -> ");
    dir
}

fn write(dir: &Path, name: &str, value: &Value) {
    fs::create_dir_all(dir).unwrap();
    fs::write(dir.join(name), value.to_string()).unwrap();
}

/// Who a server says it hears, when it is asked from the host.
fn peer(address: &str) -> Cmd {
    Cmd::new(e2e::binary()).args(["toolbox", "connect", address, "peer"])
}
