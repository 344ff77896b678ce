use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use serde_json::json;

use super::*;
use crate::cni::Caller;
use crate::conflist::Chain;

/// A directory with plugins that write down how they are called.
struct Site {
    directory: tempfile::TempDir,
}

/// Notes the command, itself and its input in `calls`, and speaks some versions.
const HEAD: &str = r#"#!/bin/sh
here=${0%/*}; me=${0##*/}
if [ "$CNI_COMMAND" = VERSION ]; then echo '{"cniVersion":"1.0.0","supportedVersions":["0.4.0","1.0.0"]}'; exit; fi
input=$(cat)
echo "$CNI_COMMAND $me $CNI_CONTAINERID $CNI_IFNAME $CNI_ARGS" >>"$here/calls"
echo "$input" >"$here/$me.$CNI_COMMAND"
"#;

const WITH_ADDRESS: &str = r#"[ "$CNI_COMMAND" = ADD ] && echo '{"cniVersion":"1.0.0","interfaces":[{"name":"br"},{"name":"eth0","sandbox":"/x"}],"ips":[{"address":"10.9.8.7/24","interface":1}],"dns":{}}'; exit 0"#;
const REFUSES: &str = r#"[ "$CNI_COMMAND" = ADD ] || exit 0; echo '{"cniVersion":"1.0.0","code":7,"msg":"no","details":"not today"}'; exit 1"#;

impl Site {
    fn new(plugins: &[(&str, &str)]) -> Site {
        let site = Site { directory: tempfile::tempdir().unwrap() };
        for (name, body) in plugins {
            let path = site.directory.path().join(name);
            fs::write(&path, format!("{HEAD}{body}\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        site
    }

    fn caller(&self) -> Caller {
        Caller { directories: vec![self.directory.path().to_owned()], limit: Duration::from_secs(20) }
    }

    fn record(&self, kinds: &[&str]) -> Record {
        let plugin = |kind: &&str| {
            json!({"type": kind, "capabilities": {"portMappings": true, "mac": false}}).as_object().cloned()
        };
        let chain = Chain {
            name: "net".into(),
            versions: vec!["1.0.0".into(), "1.1.0".into()],
            disable_check: false,
            plugins: kinds.iter().filter_map(plugin).collect(),
            source: "net.conflist".into(),
        };
        let capabilities = json!({"portMappings": [{"hostPort": 1}], "mac": "x", "dns": {}});
        Record {
            chain,
            caller: self.caller(),
            version: String::new(),
            container: "id".into(),
            netns: "/proc/self/ns/net".into(),
            ifname: "eth0".into(),
            args: vec![("IgnoreUnknown".into(), "1".into()), ("K".into(), "v".into())],
            capabilities: capabilities.as_object().cloned().unwrap_or_default(),
            result: None,
        }
    }

    fn file(&self) -> std::path::PathBuf {
        self.directory.path().join("record")
    }

    fn calls(&self) -> Vec<String> {
        let text = fs::read_to_string(self.directory.path().join("calls")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn input(&self, name: &str) -> Value {
        serde_json::from_slice(&fs::read(self.directory.path().join(name)).unwrap()).unwrap()
    }
}

#[test]
fn add_goes_in_order_and_del_in_reverse_with_the_result_handed_on() {
    let site = Site::new(&[("one", WITH_ADDRESS), ("two", WITH_ADDRESS)]);
    let mut record = site.record(&["one", "two"]);
    let added = record.add(&site.file(), &Overseer::new().unwrap()).unwrap();
    assert_eq!(added.addresses, ["10.9.8.7".parse::<IpAddr>().unwrap()]);
    assert_eq!(added.trace.len(), 2);
    assert_eq!(record.version, "1.0.0", "the newest that all speak");
    assert!(site.input("one.ADD").get("prevResult").is_none());
    assert_eq!(site.input("two.ADD")["prevResult"]["ips"][0]["address"], "10.9.8.7/24");
    assert_eq!(site.input("one.ADD")["runtimeConfig"], json!({"portMappings": [{"hostPort": 1}]}));
    assert_eq!(site.input("one.ADD")["name"], "net");

    let written: Record = serde_json::from_slice(&fs::read(site.file()).unwrap()).unwrap();
    assert_eq!(written, record);
    written.check(&Overseer::new().unwrap()).unwrap();
    assert!(written.delete(&Overseer::new().unwrap()).is_empty());
    assert_eq!(site.input("one.DEL")["prevResult"]["ips"][0]["address"], "10.9.8.7/24");
    let order: Vec<_> = site.calls().iter().map(|line| line[..7].to_owned()).collect();
    assert_eq!(order, ["ADD one", "ADD two", "CHECK o", "CHECK t", "DEL two", "DEL one"]);
    assert_eq!(site.calls()[0], "ADD one id eth0 IgnoreUnknown=1;K=v");
}

#[test]
fn a_chain_that_fails_half_way_is_undone_in_reverse_and_nothing_stays_written_down() {
    let site = Site::new(&[("one", WITH_ADDRESS), ("two", REFUSES), ("three", WITH_ADDRESS)]);
    let mut record = site.record(&["one", "two", "three"]);
    let error = record.add(&site.file(), &Overseer::new().unwrap()).unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(cause, "two: no: not today");
    let order: Vec<_> = site.calls().iter().map(|line| line[..7].to_owned()).collect();
    assert_eq!(order, ["ADD one", "ADD two", "DEL two", "DEL one"]);
    assert!(!site.file().exists());
}

#[test]
fn a_plugin_that_is_not_there_is_told_with_the_directories_before_anything_runs() {
    let site = Site::new(&[("one", WITH_ADDRESS)]);
    let error = site.record(&["one", "absent"]).add(&site.file(), &Overseer::new().unwrap()).unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    let directory = site.directory.path().display();
    assert_eq!(cause, format!("find plugin absent: it is in none of {directory}"));
    assert!(site.calls().is_empty() && !site.file().exists());
}

#[test]
fn a_version_that_a_plugin_does_not_speak_is_told() {
    let site = Site::new(&[("one", WITH_ADDRESS)]);
    let mut record = site.record(&["one"]);
    record.chain.versions = vec!["1.1.0".into()];
    let error = record.add(&site.file(), &Overseer::new().unwrap()).unwrap_err().to_string();
    assert_eq!(error, "run CNI network net: it is written for version 1.1.0; one speaks 0.4.0, 1.0.0");
    record.chain.versions = vec!["9.0.0".into()];
    let error = record.add(&site.file(), &Overseer::new().unwrap()).unwrap_err().to_string();
    assert!(error.contains("for version 9.0.0; podbox speaks 0.1.0, "), "{error}");
}

#[test]
fn a_result_without_an_address_is_undone() {
    let site = Site::new(&[("one", r#"[ "$CNI_COMMAND" = ADD ] && echo '{"cniVersion":"1.0.0"}'; exit 0"#)]);
    let error = site.record(&["one"]).add(&site.file(), &Overseer::new().unwrap()).unwrap_err().to_string();
    assert_eq!(error, "read the result of CNI network net: it has no address");
    assert_eq!(site.calls().last().unwrap(), "DEL one id eth0 IgnoreUnknown=1;K=v");
}

/// Has the overseer lose patience when the plugin has written down its group, and returns the error and how long it took.
fn hurried(site: &Site, kinds: &[&str]) -> (String, Duration) {
    let overseer = Overseer::new().unwrap();
    let group = site.directory.path().join("group");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !fs::read_to_string(&group).is_ok_and(|text| text.ends_with('\n')) {
                std::thread::sleep(Duration::from_millis(5));
            }
            let running = overseer.under_way(Duration::ZERO);
            assert_eq!(running.as_deref(), Some("CNI ADD of net by the plugin hangs"));
            assert_eq!(overseer.under_way(Duration::from_secs(60)), None);
            overseer.hurry();
        });
        let begun = Instant::now();
        let error = site.record(kinds).add(&site.file(), &overseer).unwrap_err();
        assert_eq!(overseer.under_way(Duration::ZERO), None);
        let cause = std::error::Error::source(&error).unwrap().to_string();
        (format!("{error}: {cause}"), begun.elapsed())
    })
}

const HANGS: &str = r#"[ "$CNI_COMMAND" = DEL ] || { echo $$ >"$here/group"; sleep 600 & sleep 600; }"#;

#[test]
fn a_plugin_that_hangs_is_killed_when_nobody_wants_it_any_more_and_the_chain_is_undone() {
    let site = Site::new(&[("one", WITH_ADDRESS), ("hangs", HANGS)]);
    let (error, took) = hurried(&site, &["one", "hangs"]);
    let told = format!("CNI ADD of net: run {}/hangs: it was killed after ", site.directory.path().display());
    assert!(error.starts_with(&told) && took < Duration::from_secs(10), "{took:?}: {error}");
    let order: Vec<_> = site.calls().iter().map(|line| line[..7].to_owned()).collect();
    assert_eq!(order, ["ADD one", "ADD han", "DEL han", "DEL one"]);
    assert!(!site.file().exists());
}

#[test]
fn a_plugin_that_hangs_over_taking_back_has_a_moment_and_what_it_has_stays_written_down() {
    let site = Site::new(&[("hangs", r#"echo $$ >"$here/group"; sleep 600"#)]);
    let (error, took) = hurried(&site, &["hangs"]);
    assert!(error.contains("it was killed after"), "{error}");
    assert!(took >= UNDOING && took < 3 * UNDOING, "{took:?}");
    assert!(site.file().exists());
}

#[test]
fn in_a_hurry_nobody_is_asked_twice_to_take_back() {
    let site = Site::new(&[("one", WITH_ADDRESS), ("hangs", r#"echo $$ >"$here/group"; sleep 600"#)]);
    let overseer = Overseer::new().unwrap();
    overseer.hurry();
    let record = site.record(&["one", "hangs"]);
    let first: Vec<String> = record.delete(&overseer).iter().map(ToString::to_string).collect();
    let begun = Instant::now();
    let again = record.delete(&overseer);
    assert!(begun.elapsed() < UNDOING, "{:?}", begun.elapsed());
    assert_eq!(again.iter().map(ToString::to_string).collect::<Vec<_>>(), first);
    let order: Vec<_> = site.calls().iter().map(|line| line[..7].to_owned()).collect();
    assert_eq!(order, ["DEL han", "DEL one", "DEL one"]);
}

#[test]
fn what_is_described_has_the_version_that_would_be_asked_for() {
    let site = Site::new(&[("one", WITH_ADDRESS)]);
    let described = site.record(&["one"]).describe();
    assert!(described[0].command.contains(r#""cniVersion":"1.1.0""#), "{}", described[0].command);
}
