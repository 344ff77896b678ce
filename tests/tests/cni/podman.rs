//! Debian's podman with its CNI backend: containers on podbox's network.

use std::fs;
use std::path::PathBuf;

use e2e::{Cmd, Host, Layer, pod, wait_good};
use serde_json::Value;

use super::{config, install, peer, write};

/// A podman with everything of its own.
struct Podman {
    dir: PathBuf,
}

impl Podman {
    fn new(host: &Host) -> Podman {
        let dir = host.dir().join("podman");
        let networks = dir.join("net.d");
        write(&networks, "10-podbox.conflist", &config(host, "0.4.0"));
        let bin = install(host);
        let conf = format!(
            "[containers]\ndefault_ulimits = [\"nofile=4096:4096\", \"nproc=4096:4096\"]\n[engine]\nruntime = \"runc\"\nevents_logger = \"file\"\n[network]\nnetwork_backend = \"cni\"\nnetwork_config_dir = \"{}\"\ncni_plugin_dirs = [\"{}\"]\n",
            networks.display(),
            bin.display()
        );
        fs::write(dir.join("containers.conf"), conf).unwrap();
        let place = |name: &str| dir.join(name).display().to_string();
        let storage = format!(
            "[storage]\ndriver = \"overlay\"\ngraphroot = \"{}\"\nrunroot = \"{}\"\n",
            place("root"),
            place("run")
        );
        fs::write(dir.join("storage.conf"), storage).unwrap();
        let tar = dir.join("podbox.tar");
        let binary = fs::read(e2e::binary()).unwrap();
        fs::write(&tar, Layer::new().program("podbox", &binary).into_bytes()).unwrap();
        let podman = Podman { dir };
        podman.cmd(&["import", tar.to_str().unwrap(), "localhost/podbox:cni"]).run().ok();
        podman
    }

    fn cmd(&self, args: &[&str]) -> Cmd {
        let dir = |name: &str| self.dir.join(name).display().to_string();
        Cmd::new("podman")
            .env("CONTAINERS_CONF", self.dir.join("containers.conf"))
            .env("CONTAINERS_STORAGE_CONF", self.dir.join("storage.conf"))
            .args(["--root", &dir("root"), "--runroot", &dir("run"), "--tmpdir", &dir("tmp")])
            .args(["--storage-driver", "overlay", "--cgroup-manager", "cgroupfs"])
            .args(args)
    }

    /// A server that tells who it hears.
    fn serve(&self, name: &str, flags: &[&str]) {
        let run = self.cmd(&["run", "-d", "--name", name, "--network", "podbox"]).args(flags);
        run.args(["localhost/podbox:cni", "/podbox", "toolbox", "tcp-echo", "--port", "9000"]).run().ok();
    }

    fn network(&self, name: &str) -> Value {
        let all = self.cmd(&["inspect", name]).run().ok().json();
        all[0]["NetworkSettings"]["Networks"]["podbox"].clone()
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        self.cmd(&["rm", "-f", "-t", "0", "-a"]).run();
        self.cmd(&["rmi", "-f", "-a"]).run();
        let _ = nix::mount::umount2(&self.dir.join("root/overlay"), nix::mount::MntFlags::MNT_DETACH);
        for below in ["root", "run", "tmp"] {
            let _ = fs::remove_dir_all(self.dir.join(below));
        }
    }
}

#[test]
fn podmans_containers_and_podboxs_pods_are_on_one_flat_network() {
    let host = Host::new();
    let podman = Podman::new(&host);
    let (port, chosen) = (host.port(0), format!("{}77", host.gateway().strip_suffix('1').unwrap()));
    podman.serve("first", &["-p", &format!("{port}:9000")]);
    podman.serve("second", &["--ip", &chosen, "--mac-address", "02:11:22:33:44:55"]);
    let first = podman.network("first");
    let ip = first["IPAddress"].as_str().unwrap().to_owned();
    let ip6 = first["GlobalIPv6Address"].as_str().unwrap().to_owned();
    let second = podman.network("second");
    assert_eq!(second["IPAddress"], chosen.as_str(), "{second}");
    assert_eq!(second["MacAddress"], "02:11:22:33:44:55", "{second}");

    // From the host, at the container's addresses and at its port.
    let gateways = [(format!("{ip}:9000"), host.gateway()), (format!("[{ip6}]:9000"), host.gateway6())];
    for (address, seen) in gateways {
        let answer = wait_good("an answer", || peer(&address).run());
        assert!(answer.stdout.contains(&seen), "{answer}");
    }
    peer(&format!("{}:{port}", host.gateway())).run().ok();
    peer(&format!("127.0.0.1:{port}")).run().ok();

    // From a pod of podbox, and from the other container, under their own addresses.
    host.up(&pod(
        "own",
        "  containers: [{name: c, image: podbox.local/toolbox, command: [sleep, infinity]}]",
    ));
    let own = host.pod("own");
    let heard = host.exec("own", &["connect", &format!("{ip}:9000"), "peer"]);
    assert!(heard.contains(&own.ip()), "{heard}");
    let target = format!("{ip}:9000");
    let exec = podman.cmd(&["exec", "second", "/podbox", "toolbox", "connect", &target, "peer"]).run().ok();
    assert!(exec.stdout.contains(&chosen), "{exec}");

    // The port has one owner, whoever asks.
    let taken = podman.cmd(&["run", "-d", "--network", "podbox", "-p", &format!("{port}:1")]);
    let refused = taken.args(["localhost/podbox:cni", "/podbox", "toolbox", "sleep", "9"]).run();
    assert!(!refused.good(), "{refused}");
    host.down(&["own"]);
    podman.cmd(&["rm", "-f", "-t", "0", "-a"]).run().ok();
    drop(podman);
    host.finish();
}
