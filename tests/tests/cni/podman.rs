//! Debian's podman with its CNI backend: containers on podbox's network.

use e2e::{Host, Podman, pod, wait_good};
use serde_json::Value;

use super::{config, install, peer, write};

/// A podman whose containers are on podbox's network.
fn podman(host: &Host) -> Podman {
    let dir = host.dir().join("podman");
    let networks = dir.join("net.d");
    write(&networks, "10-podbox.conflist", &config(host, "0.4.0"));
    let bin = install(host);
    let sections = format!(
        "[network]\nnetwork_backend = \"cni\"\nnetwork_config_dir = \"{}\"\ncni_plugin_dirs = [\"{}\"]\n",
        networks.display(),
        bin.display()
    );
    Podman::new(dir, &sections)
}

/// A server that tells who it hears.
fn serve(podman: &Podman, name: &str, flags: &[&str]) {
    let run = podman.cmd(&["run", "-d", "--name", name, "--network", "podbox"]).args(flags);
    run.args([Podman::IMAGE, "/podbox", "toolbox", "tcp-echo", "--port", "9000"]).run().ok();
}

fn network(podman: &Podman, name: &str) -> Value {
    let all = podman.cmd(&["inspect", name]).run().ok().json();
    all[0]["NetworkSettings"]["Networks"]["podbox"].clone()
}

#[test]
fn podmans_containers_and_podboxs_pods_are_on_one_flat_network() {
    let host = Host::new();
    let podman = podman(&host);
    let (port, chosen) = (host.port(0), format!("{}77", host.gateway().strip_suffix('1').unwrap()));
    serve(&podman, "first", &["-p", &format!("{port}:9000")]);
    serve(&podman, "second", &["--ip", &chosen, "--mac-address", "02:11:22:33:44:55"]);
    let first = network(&podman, "first");
    let ip = first["IPAddress"].as_str().unwrap().to_owned();
    let ip6 = first["GlobalIPv6Address"].as_str().unwrap().to_owned();
    let second = network(&podman, "second");
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
