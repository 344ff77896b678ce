//! The program `podbox-bridge`, as a runtime sees it.

use std::fs;

use e2e::{Cmd, Host};
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
    fs::write(&link, "somebody else's").unwrap();
    host.podbox(["cni", "install", dir.to_str().unwrap()]).code(2).complains("is there and is no link");
    assert_eq!(fs::read_to_string(&link).unwrap(), "somebody else's");
    host.finish();
}
