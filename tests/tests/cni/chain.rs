//! Pods on the network of the CNI project's own plugins, as Debian packages them. In a network namespace of its own,
//! because those plugins leave their bridge and their chains in iptables behind, by design.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use e2e::{Cmd, Host, Output, PATIENCE, pod, wait_for, wait_good};
use serde_json::{Value, json};

use super::{DEBIAN, write};

/// A podbox in a namespace whose pods are on a chain's network.
pub(super) struct Site {
    pub(super) host: Host,
    space: String,
}

impl Site {
    /// With this chain; its plugins are Debian's and those that a test adds.
    pub(super) fn new(chain: impl FnOnce(&str) -> Value) -> Site {
        // The directory is only known when the host is there, and the file is only read by `up`.
        let host = Host::builder().network(&format!("cni = \"test\"\n{PLACES}")).build();
        let config = host.dir().join("podbox.toml");
        let text = fs::read_to_string(&config).unwrap().replace("DIR", host.dir().to_str().unwrap());
        fs::write(config, text).unwrap();
        let value = chain(host.dir().to_str().unwrap());
        write(&host.dir().join("net.d"), "10-test.conflist", &value);
        let space = format!("pbc{}", host.number());
        Cmd::new("ip").args(["netns", "del", &space]).run();
        Cmd::new("ip").args(["netns", "add", &space]).run().ok();
        let site = Site { host, space };
        site.ip(&["link", "set", "lo", "up"]).ok();
        site
    }

    /// Runs a command in the namespace, in this podbox's environment.
    pub(super) fn enter(&self) -> Cmd {
        let net = format!("--net=/run/netns/{}", self.space);
        self.host.environment(Cmd::new("nsenter")).args([net])
    }

    fn ip(&self, args: &[&str]) -> Output {
        self.enter().args(["ip"]).args(args).run()
    }

    pub(super) fn podbox(&self, args: &[&str]) -> Output {
        self.enter().args([e2e::binary()]).args(args).run()
    }

    pub(super) fn up(&self, manifest: &str) -> Output {
        self.enter().args([e2e::binary()]).args(["up", "-d", "--wait", "ready", "-"]).input(manifest).run()
    }

    fn peer(&self, address: &str) -> Output {
        self.podbox(&["toolbox", "connect", address, "peer"])
    }

    /// Puts a plugin of one's own, a shell script that speaks 1.0.0, where this podbox looks for them.
    pub(super) fn plugin(&self, name: &str, body: &str) {
        let bin = self.host.dir().join("bin");
        fs::create_dir_all(&bin).unwrap();
        let versions = r#"[ "$CNI_COMMAND" = VERSION ] && { echo '{"cniVersion":"1.0.0","supportedVersions":["1.0.0"]}'; exit; }"#;
        let program = bin.join(name);
        fs::write(&program, format!("#!/bin/sh\ndir=${{0%/bin/*}}\n{versions}\n{body}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Addresses that host-local has given and not got back.
    pub(super) fn leased(&self) -> Vec<String> {
        let entries = fs::read_dir(self.host.dir().join("host-local/test")).into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.filter(|name| name.starts_with("10.")).collect()
    }

    pub(super) fn finish(self) {
        assert_eq!(self.leased(), Vec::<String>::new());
        wait_for("the cables to go", PATIENCE, || {
            let links = self.ip(&["-br", "link", "show", "type", "veth"]).ok().stdout;
            if links.is_empty() { Ok(()) } else { Err(links) }
        });
        Cmd::new("ip").args(["netns", "del", &self.space]).run().ok();
        self.host.finish();
    }
}

const PLACES: &str = "cni-conf-dir = \"DIR/net.d\"\ncni-bin-dirs = [\"DIR/bin\", \"/usr/lib/cni\"]\n";

pub(super) fn bridge(dir: &str) -> Value {
    json!({
        "type": "bridge", "bridge": "cbr0", "isGateway": true, "hairpinMode": true,
        "ipam": {
            "type": "host-local", "dataDir": format!("{dir}/host-local"),
            "ranges": [[{"subnet": "10.88.7.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}],
        },
    })
}

pub(super) fn chain(plugins: Value) -> Value {
    json!({"cniVersion": "1.0.0", "name": "test", "plugins": plugins})
}

const SERVER: &str = r"
  terminationGracePeriodSeconds: 1
  containers:
  - name: c
    image: podbox.local/toolbox
    command: [tcp-echo, --port, '9000']
    ports: [{containerPort: 9000, hostPort: 9001}]
    readinessProbe: {tcpSocket: {port: 9000}, periodSeconds: 1}
";

pub(super) const CLIENT: &str = "  terminationGracePeriodSeconds: 1\n  containers: [{name: c, image: podbox.local/toolbox, command: [sleep, infinity]}]";

fn address_of(view: &Output) -> String {
    view.json()["status"]["podIP"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn pods_talk_over_debians_bridge_and_portmap_and_leave_what_those_plugins_leave() {
    let site = Site::new(|dir| {
        chain(json!([bridge(dir), {"type": "portmap", "capabilities": {"portMappings": true}, "snat": true}]))
    });
    site.up(&pod("server", SERVER)).ok();
    site.up(&pod("client", CLIENT)).ok();
    let get = |name: &str| address_of(&site.podbox(&["get", "pod", name, "-o", "json"]).ok());
    let (server, client) = (get("server"), get("client"));
    assert!(server.starts_with("10.88.7.") && client.starts_with("10.88.7."), "{server} {client}");
    let exec = |pod: &str, words: &[&str]| site.podbox(&[&["exec", pod, "--"], words].concat());
    let answer = exec("client", &["connect", &format!("{server}:9000"), "peer"]).ok();
    assert!(answer.stdout.contains(&client), "{answer}");
    // The loopback interface is up, which no plugin of the chain has done.
    exec("server", &["connect", "127.0.0.1:9000", "peer"]).ok();
    let answer = site.peer(&format!("{server}:9000")).ok();
    assert!(answer.stdout.contains("10.88.7.1"), "{answer}");
    wait_good("an answer at the host's port", || site.peer("10.88.7.1:9001"));
    assert!(exec("client", &["cat", "/etc/resolv.conf"]).good());
    let hosts = exec("client", &["cat", "/etc/hosts"]).ok();
    hosts.says(&client);
    site.podbox(&["trace", "client"]).ok().says("ADD by the plugin bridge of test");
    assert_eq!(site.leased().len(), 2);
    // What is drawn is the network that there is: the chain's bridge, and a host port that portmap leads to the pod.
    let listed = site.podbox(&["net", "ls", "--no-headers"]).ok();
    assert_eq!(listed.stdout.split_whitespace().take(2).collect::<Vec<_>>(), ["cbr0", "cbr0"], "{listed}");
    assert_eq!(listed.stdout.lines().count(), 1, "{listed}");
    site.podbox(&["net", "graph"]).ok().says("cbr0").says("host port 9001").says("pod default/client");
    site.podbox(&["down", "--all"]).ok();
    site.podbox(&["get", "pod", "server"]).code(2);
    // By design the bridge and portmap's own chains stay.
    site.ip(&["link", "show", "cbr0"]).ok();
    let refused = site.peer("10.88.7.1:9001");
    assert!(!refused.good(), "the port leads nowhere: {refused}");
    site.finish();
}

#[test]
fn what_plugins_have_leased_is_given_back_after_a_crash_and_after_a_power_cut() {
    let site = Site::new(|dir| chain(json!([bridge(dir)])));
    site.up(&pod("crash", CLIENT)).ok();
    for helper in [site.host.guardian("crash"), site.host.supervisor("crash")].into_iter().flatten() {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(helper), nix::sys::signal::Signal::SIGKILL)
            .unwrap();
    }
    assert_eq!(site.leased().len(), 1);
    site.podbox(&["down", "crash"]).ok();
    assert_eq!(site.leased().len(), 0);
    // host-local remembers a pod over a reboot and gives it no second address: it has to be told first.
    site.up(&pod("cut", CLIENT)).ok();
    let before = site.podbox(&["get", "pod", "cut", "-o", "json"]).ok().json()["metadata"]["uid"].clone();
    fs::create_dir_all(site.host.run_dir().join("ipam")).unwrap();
    site.host.pull_the_plug("cut");
    assert_eq!(site.leased().len(), 1, "the lease has outlived the pod");
    site.podbox(&["up", "--all", "-d"]).ok();
    let view = wait_for("the pod to run again", PATIENCE, || {
        let view = site.podbox(&["get", "pod", "cut", "-o", "json"]).ok().json();
        if view["status"]["podIP"].is_string() { Ok(view) } else { Err(view["status"].to_string()) }
    });
    assert_eq!(view["metadata"]["uid"], before);
    assert_eq!(site.leased(), [view["status"]["podIP"].as_str().unwrap()]);
    site.podbox(&["down", "cut"]).ok();
    site.finish();
}

#[test]
fn a_chain_that_fails_half_way_leaves_nothing_and_says_why() {
    let site = Site::new(|dir| chain(json!([bridge(dir), {"type": "refuses"}])));
    site.plugin(
        "refuses",
        "[ $CNI_COMMAND = ADD ] || exit 0; echo '{\"cniVersion\":\"1.0.0\",\"code\":107,\"msg\":\"not on a Sunday\"}'; exit 1",
    );
    let up = site.enter().args([e2e::binary()]).args(["up", "-d", "--wait", "none", "-"]);
    up.input(pod("p", CLIENT)).run().ok();
    wait_for("the event", PATIENCE, || {
        let events = site.podbox(&["events", "p"]).stdout;
        let told = "Failed to create pod sandbox: CNI ADD of test: refuses: not on a Sunday";
        if events.contains(told) { Ok(()) } else { Err(events) }
    });
    site.podbox(&["down", "p"]).ok();
    site.finish();
}

#[test]
fn a_name_or_a_program_that_is_not_there_is_told_with_those_that_are() {
    let site = Site::new(|dir| chain(json!([bridge(dir), {"type": "no-such"}])));
    let (dir, bin) = (site.host.dir().display().to_string(), format!("{}/bin", site.host.dir().display()));
    let missing = format!("find plugin no-such: it is in none of {bin}, {DEBIAN}");
    site.up(&pod("p", CLIENT)).code(2).complains(&missing);
    site.podbox(&["system", "check"]).says(&missing);
    fs::rename(format!("{dir}/net.d/10-test.conflist"), format!("{dir}/net.d/20-other.conflist")).unwrap();
    let text = fs::read_to_string(format!("{dir}/net.d/20-other.conflist")).unwrap();
    fs::write(format!("{dir}/net.d/20-other.conflist"), text.replace("\"test\"", "\"other\"")).unwrap();
    let absent = format!("find CNI network \"test\": {dir}/net.d has other");
    site.up(&pod("p", CLIENT)).code(2).complains(&absent);
    site.podbox(&["get", "pod", "p"]).code(2);
    let manifest = site.host.dir().join("p.yaml");
    fs::write(&manifest, pod("p", CLIENT)).unwrap();
    fs::write(format!("{dir}/net.d/10.conflist"), chain(json!([bridge(&dir)])).to_string()).unwrap();
    let plan = site.podbox(&["plan", manifest.to_str().unwrap()]).ok();
    plan.says("CNI_COMMAND='ADD'").says(&format!("{DEBIAN}/bridge <<'END'")).says("\"cniVersion\":\"1.0.0\"");
    site.finish();
}

#[test]
fn a_host_port_that_no_plugin_leads_to_the_pod_is_a_mistake_of_the_manifest() {
    let site = Site::new(|dir| chain(json!([bridge(dir)])));
    let manifest = site.host.dir().join("server.yaml");
    fs::write(&manifest, pod("server", SERVER)).unwrap();
    let told = "spec.containers[0].ports[0].hostPort: Forbidden: pods are on the CNI network test here, and none of its plugins declares the capability portMappings";
    for command in ["up", "plan", "validate"] {
        site.podbox(&[command, manifest.to_str().unwrap()]).code(2).complains(told);
    }
    let overrides = r#"{"spec":{"containers":[{"name":"x","image":"podbox.local/toolbox","ports":[{"containerPort":80,"hostPort":9001}]}]}}"#;
    let run = ["run", "x", "--image", "podbox.local/toolbox", "--overrides", overrides];
    site.podbox(&run).code(2).complains("the capability portMappings");
    site.podbox(&["get", "pod", "server"]).code(2);
    // In the host's own network the pod listens there itself.
    let own = SERVER.replace("hostPort: 9001", "hostPort: 9000");
    fs::write(&manifest, pod("server", &format!("  hostNetwork: true{own}"))).unwrap();
    site.podbox(&["validate", manifest.to_str().unwrap()]).ok();
    site.finish();
}
