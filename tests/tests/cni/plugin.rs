//! The program `podbox-bridge`, as a runtime sees it.

use std::fs;

use e2e::{Cmd, Host, Output, pod};
use serde_json::{Value, json};

use super::{config, install};

fn single(host: &Host) -> Value {
    let list = config(host, "1.1.0");
    let mut one = list["plugins"][0].clone();
    one["cniVersion"] = list["cniVersion"].clone();
    one["name"] = list["name"].clone();
    one
}

#[test]
fn results_and_errors_go_to_standard_output_with_the_right_exit_code() {
    let host = Host::new();
    let plugin = install(&host).join("podbox-bridge");
    let input = single(&host).to_string();
    let call = |command: &str, input: &str| {
        let cmd = Cmd::new(&plugin).env("CNI_COMMAND", command).env("CNI_IFNAME", "eth0");
        cmd.env("CNI_CONTAINERID", "c1").env("CNI_NETNS", "/no/such").env("CNI_PATH", "/").input(input).run()
    };
    let told = call("VERSION", "{\"cniVersion\":\"1.0.0\"}").ok().json();
    assert_eq!((&told["cniVersion"], &told["supportedVersions"][6]), (&json!("1.0.0"), &json!("1.1.0")));
    let error = call("ADD", &input).code(1).quiet().json();
    assert_eq!((&error["code"], &error["cniVersion"]), (&json!(3), &json!("1.1.0")), "{error}");
    assert!(error["details"].as_str().unwrap().contains("No such file"), "{error}");
    let error = call("ADD", "{").code(1).quiet().json();
    assert_eq!(error["code"], 6, "{error}");
    assert_eq!(call("STATUS", &input).ok().quiet().stdout, "");
    assert_eq!(call("DEL", &input).ok().quiet().stdout, "");
    host.finish();
}

#[test]
fn install_makes_a_link_once_and_replaces_only_links() {
    let host = Host::new();
    let dir = install(&host);
    install(&host);
    let link = dir.join("podbox-bridge");
    fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink("/no/such/program", &link).unwrap();
    install(&host);
    assert_eq!(fs::canonicalize(&link).unwrap(), fs::canonicalize(e2e::binary()).unwrap());
    fs::remove_file(&link).unwrap();
    let told = "is no directory; give the directory in which the runtime looks for plugins";
    for file in [e2e::binary(), e2e::binary().join("below")] {
        host.podbox(["cni", "install", file.to_str().unwrap()]).code(2).complains(told);
    }
    fs::write(&link, "somebody else's").unwrap();
    host.podbox(["cni", "install", dir.to_str().unwrap()]).code(2).complains("is there and is no link");
    assert_eq!(fs::read_to_string(&link).unwrap(), "somebody else's");
    host.finish();
}

/// A container of another runtime: a network namespace, and the plugin called for it.
struct Container {
    plugin: std::path::PathBuf,
    space: String,
    /// What it is told of the namespace.
    netns: String,
}

impl Container {
    fn new(host: &Host) -> Container {
        let space = format!("pbp{}", host.number());
        Cmd::new("ip").args(["netns", "del", &space]).run();
        Cmd::new("ip").args(["netns", "add", &space]).run().ok();
        let netns = format!("/run/netns/{space}");
        Container { plugin: install(host).join("podbox-bridge"), space, netns }
    }

    fn ask(&self, command: &str, input: &Value) -> Output {
        let cmd = Cmd::new(&self.plugin).env("CNI_COMMAND", command).env("CNI_IFNAME", "eth0");
        let cmd = cmd.env("CNI_CONTAINERID", "c1").env("CNI_PATH", "/").input(input.to_string());
        let cmd = cmd.env("CNI_ARGS", "K8S_POD_NAMESPACE=team;K8S_POD_NAME=guest");
        cmd.env("CNI_NETNS", &self.netns).run()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        Cmd::new("ip").args(["netns", "del", &self.space]).run();
    }
}

const SERVER: &str = "  terminationGracePeriodSeconds: 1\n  containers:\n  - {name: c, image: podbox.local/toolbox, command: [tcp-echo, --port, '9000'], readinessProbe: {tcpSocket: {port: 9000}}}";

#[test]
fn the_network_of_a_podbox_is_nobody_elses() {
    let host = Host::new();
    let server = host.up_ready(&pod("server", SERVER)).ok();
    drop(server);
    let address = host.pod("server").ip();
    let container = Container::new(&host);
    let elsewhere = host.dir().join("elsewhere");
    let mut input = single(&host);
    input["dataDir"] = json!(elsewhere);
    let place = host.run_dir().join("ipam/podbox");
    let told = format!(
        "use bridge {}: it belongs to the network whose leases lie in {}, which default/server is on",
        host.bridge(),
        place.display()
    );
    let error = container.ask("ADD", &input).code(1).quiet().json();
    assert!(error["code"] == 101 && error["msg"].as_str().unwrap().starts_with(&told), "{error}");
    let error = container.ask("STATUS", &input).code(1).json();
    assert!(error["code"] == 50 && error["msg"].as_str().unwrap().starts_with(&told), "{error}");
    container.ask("DEL", &input).ok();
    // Another podbox with the same configuration does not take the bridge for its own.
    let strange = |args: &[&str]| host.cmd(args).env("PODBOX_RUN", host.dir().join("other-run")).run().ok();
    let listed = strange(&["net", "ls", "-o", "json"]).json();
    assert!(listed[0]["name"] == "podbox" && listed[0].get("bridge").is_none(), "{listed}");
    assert!(!strange(&["net", "graph"]).stdout.contains(&address), "the address is the other one's");
    // Another podbox with the same configuration, also while it has no directory at all.
    let other = |args: &[&str]| {
        let cmd = host.cmd(args).env("PODBOX_RUN", host.dir().join("other-run"));
        cmd.env("PODBOX_ROOT", host.dir().join("other-root"))
    };
    other(&["up", "-d", "-"]).input(pod("stranger", SERVER)).run().code(3).complains(&told);
    other(&["down", "--all"]).run().ok();
    peer_answers(&format!("{address}:9000"));
    // What would change it under the pod is refused as well, key by key.
    let mut input = single(&host);
    input["ipMasq"] = json!(false);
    let error = container.ask("ADD", &input).code(1).json();
    let differs = "ipMasq is false, and the network runs with true, which default/server is on";
    assert!(error["code"] == 7 && error["msg"].as_str().unwrap().contains(differs), "{error}");
    peer_answers(&format!("{address}:9000"));
    host.down(&["server"]).ok();
    // Nobody is on it any more, whether or not its bridge has gone yet.
    let mut input = single(&host);
    input["dataDir"] = json!(elsewhere);
    container.ask("ADD", &input).ok();
    container.ask("DEL", &input).ok();
    fs::remove_dir_all(&elsewhere).ok();
    host.finish();
}

fn peer_answers(server: &str) {
    let answer = super::peer(server).run();
    assert!(answer.good(), "{answer}");
}

#[test]
fn containers_of_other_runtimes_are_in_the_picture_and_counted() {
    let host = Host::new();
    let container = Container::new(&host);
    let mut input = single(&host);
    let port = host.port(0);
    input["runtimeConfig"] =
        json!({"portMappings": [{"hostPort": port, "containerPort": 80, "protocol": "tcp"}]});
    let result = container.ask("ADD", &input).ok().json();
    let address = result["ips"][0]["address"].as_str().unwrap();
    let graph = host.podbox(["net", "graph"]).ok();
    let drawn = graph.says("pod team/guest ── attached by CNI").says(address);
    let cable = result["interfaces"][1]["name"].as_str().unwrap();
    drawn.says(cable).says(&format!("host port {port}"));
    let json = host.podbox(["net", "graph", "-o", "json", "-n", "team"]).ok().json();
    let part = &json["hosts"][0]["pods"][0];
    assert_eq!(
        (&part["uid"], &part["cables"][0]["bridge"]),
        (&json!("cni-c1"), &json!(host.bridge())),
        "{part}"
    );
    assert_eq!(part["cables"][0]["inside"]["mac"], result["interfaces"][2]["mac"], "{part}");
    host.podbox(["net", "graph", "-n", "default", "-o", "json"]).ok();
    let listed = host.podbox(["net", "ls", "-o", "json"]).ok().json();
    assert_eq!(listed[0]["subnets"][0]["used"], 1, "{listed}");
    container.ask("DEL", &input).ok();
    host.finish();
}

#[test]
fn the_hosts_own_namespace_is_refused_before_anything_is_made() {
    let host = Host::new();
    let mut container = Container::new(&host);
    let input = single(&host);
    let link = host.dir().join("ns");
    std::os::unix::fs::symlink("/proc/self/ns/net", &link).unwrap();
    for own in ["/proc/self/ns/net", link.to_str().unwrap()] {
        container.netns = own.to_owned();
        let error = container.ask("ADD", &input).code(1).quiet().json();
        let told = format!("CNI_NETNS is {own}, which is the network namespace of the host itself");
        assert!(error["code"] == 4 && error["msg"].as_str().unwrap().starts_with(&told), "{error}");
        container.ask("DEL", &input).ok();
    }
    assert!(!host.run_dir().join("ipam").exists(), "nothing was begun");
    host.finish();
}

#[test]
fn add_twice_is_an_error_that_leaves_the_first_as_it_is_and_check_names_what_is_missing() {
    let host = Host::new();
    let container = Container::new(&host);
    let mut input = single(&host);
    let result = container.ask("ADD", &input).ok().json();
    let error = container.ask("ADD", &input).code(1).quiet().json();
    assert_eq!((&error["code"], &error["msg"]), (&json!(4), &json!("c1 has an interface eth0 already")));
    // CHECK is not to be asked without the result of ADD.
    assert_eq!(container.ask("CHECK", &input).code(1).json()["code"], 7);
    input["prevResult"] = result.clone();
    container.ask("CHECK", &input).ok();
    let cable = result["interfaces"][1]["name"].as_str().unwrap().to_owned();
    Cmd::new("ip").args(["link", "set", &cable, "nomaster"]).run().ok();
    let error = container.ask("CHECK", &input).code(1).quiet().json();
    assert!(error["code"] == 102 && error["details"].as_str().unwrap().contains(&cable), "{error}");
    let graph = host.podbox(["net", "graph"]).ok();
    assert!(!graph.stdout.contains("on other networks"), "{graph}");
    graph.says("✗ unplugged").says("pod team/guest ── attached by CNI");
    Cmd::new("ip").args(["link", "del", &cable]).run().ok();
    let error = container.ask("CHECK", &input).code(1).quiet().json();
    assert!(error["code"] == 102 && error["details"].as_str().unwrap().contains(&cable), "{error}");
    let graph = host.podbox(["net", "graph"]).ok();
    assert!(!graph.stdout.contains("without a network"), "{graph}");
    graph.says("✗ unplugged").says(result["ips"][0]["address"].as_str().unwrap());
    // GC keeps what the runtime knows of.
    input.as_object_mut().unwrap().remove("prevResult");
    assert_eq!(container.ask("GC", &input).code(1).json()["code"], 7);
    input["cni.dev/valid-attachments"] = json!([{"containerID": "c1", "ifname": "eth0"}]);
    container.ask("GC", &input).ok();
    let used = || host.podbox(["net", "ls", "-o", "json"]).ok().json()[0]["subnets"][0]["used"].clone();
    assert_eq!(used(), 1);
    input["cni.dev/valid-attachments"] = json!([]);
    container.ask("GC", &input).ok();
    assert_eq!(used(), 0);
    container.ask("DEL", &input).ok();
    host.finish();
}

#[test]
fn del_needs_no_namespace_and_no_result_and_does_not_mind_whom_it_does_not_know() {
    let host = Host::new();
    let mut container = Container::new(&host);
    let input = single(&host);
    container.ask("ADD", &input).ok();
    container.netns = String::new();
    assert_eq!(container.ask("DEL", &input).ok().quiet().stdout, "");
    container.ask("DEL", &input).ok();
    assert_eq!(container.ask("ADD", &input).code(1).json()["code"], 4);
    host.finish();
}

#[test]
fn what_add_refuses_status_refuses_too_and_del_does_what_it_can() {
    let host = Host::new();
    let container = Container::new(&host);
    let mut input = single(&host);
    container.ask("ADD", &input).ok();
    input["vlan"] = json!(7);
    for command in ["ADD", "STATUS"] {
        let error = container.ask(command, &input).code(1).json();
        assert_eq!((&error["code"], &error["msg"]), (&json!(2), &json!("vlan: 7 cannot be had")));
    }
    input.as_object_mut().unwrap().remove("subnets");
    container.ask("DEL", &input).ok();
    host.finish();
}
