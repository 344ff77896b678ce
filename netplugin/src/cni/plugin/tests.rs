use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::support::{Netns, PATIENCE};

/// What a runtime sets.
fn variables(command: &str, netns: &Path) -> BTreeMap<String, String> {
    [
        ("CNI_COMMAND", command.to_owned()),
        ("CNI_CONTAINERID", "c1".to_owned()),
        ("CNI_NETNS", netns.display().to_string()),
        ("CNI_IFNAME", "eth0".to_owned()),
        ("CNI_PATH", "/usr/lib/cni".to_owned()),
        ("CNI_ARGS", "IgnoreUnknown=1;K8S_POD_NAMESPACE=team;K8S_POD_NAME=web".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

fn ask(variables: &BTreeMap<String, String>, input: &Value) -> Result<Value, CniError> {
    let answer = answer(&|name| variables.get(name).cloned(), input.to_string().as_bytes());
    let value = |text: &str| serde_json::from_str(text).unwrap_or(Value::Null);
    if answer.done {
        Ok(value(&answer.output))
    } else {
        Err(serde_json::from_str(&answer.output).expect("an error object"))
    }
}

/// A host of its own with a container in it.
struct Site {
    host: Netns,
    container: Netns,
    directory: tempfile::TempDir,
}

impl Site {
    fn new() -> Site {
        Site { host: Netns::new(), container: Netns::new(), directory: tempfile::tempdir().unwrap() }
    }

    fn config(&self, version: &str) -> Value {
        json!({
            "cniVersion": version, "name": "n", "type": "podbox-bridge", "bridge": "cnitest",
            "subnets": ["10.77.0.0/24", "fd77::/64"], "dataDir": self.directory.path(),
        })
    }

    fn ask(&self, command: &str, input: &Value) -> Result<Value, CniError> {
        self.host.run(|| ask(&variables(command, self.container.path()), input))
    }

    fn leases(&self) -> Vec<String> {
        state::names(&self.directory.path().join("n")).unwrap()
    }
}

fn with(mut config: Value, key: &str, value: Value) -> Value {
    config[key] = value;
    config
}

#[test]
fn a_container_is_added_checked_and_deleted_twice() {
    let site = Site::new();
    let config = site.config("1.1.0");
    let ports = json!({"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]});
    let config = with(config, "runtimeConfig", ports);
    let result = site.ask("ADD", &config).unwrap();
    assert_eq!(result["cniVersion"], "1.1.0");
    let inside = &result["interfaces"][2];
    assert_eq!((&inside["name"], &inside["mtu"]), (&json!("eth0"), &json!(1500)));
    assert_eq!(inside["sandbox"], site.container.path().display().to_string());
    assert_eq!(result["ips"][0], json!({"address": "10.77.0.2/24", "gateway": "10.77.0.1", "interface": 2}));
    assert_eq!(result["routes"][1], json!({"dst": "::/0", "gw": "fd77::1"}));
    let shown = site.container.sh("ip -o address show eth0");
    assert!(shown.contains("10.77.0.2/24") && shown.contains("fd77::2/64"), "{shown}");

    let refused = site.ask("ADD", &config).unwrap_err();
    assert_eq!((refused.code, refused.msg.as_str()), (4, "c1 has an interface eth0 already"));

    let checked = with(config.clone(), "prevResult", result);
    assert_eq!(site.ask("CHECK", &checked).unwrap(), Value::Null);
    for _ in 0..2 {
        assert_eq!(site.ask("DEL", &checked).unwrap(), Value::Null);
    }
    assert_eq!(site.container.sh("ip -br link").lines().count(), 1, "only lo");
    let links = site.host.sh("ip -br link; nft list tables");
    assert!(!links.contains("cnitest"), "{links}");
    assert!(site.leases().is_empty());
}

#[test]
fn what_a_container_wants_may_be_spelled_as_containerd_does_and_never_keeps_del_from_its_work() {
    let site = Site::new();
    let ports = json!([{"HostPort": 8090, "ContainerPort": 90, "Protocol": "tcp", "HostIP": ""}]);
    let spelled = json!({"portMappings": ports, "dns": {"Servers": ["192.0.2.1"], "Searches": null}});
    let config = with(site.config("1.0.0"), "runtimeConfig", spelled);
    let result = site.ask("ADD", &config).unwrap();
    assert_eq!(result["dns"]["nameservers"], json!(["192.0.2.1"]));
    let server = site.container.serve_tcp("[::]:90");
    let seen = site.host.seen_by_tcp("10.77.0.1:8090").unwrap();
    assert_eq!(seen.to_string(), "10.77.0.1", "{server}");
    let mut broken = with(config, "runtimeConfig", json!({"portMappings": [{"hostPort": "many"}]}));
    broken["vlan"] = json!(7);
    assert!(site.ask("ADD", &broken).is_err());
    site.ask("DEL", &broken).unwrap();
    assert!(site.leases().is_empty());
}

#[test]
fn del_knows_nothing_and_is_content() {
    let site = Site::new();
    let mut variables = variables("DEL", Path::new(""));
    assert_eq!(site.host.run(|| ask(&variables, &site.config("0.4.0"))).unwrap(), Value::Null);
    variables.insert("CNI_NETNS".into(), "/no/such/namespace".into());
    assert_eq!(site.host.run(|| ask(&variables, &site.config("0.4.0"))).unwrap(), Value::Null);
}

#[test]
fn check_tells_what_is_missing() {
    let site = Site::new();
    let ports = json!({"portMappings": [{"hostPort": 8081, "containerPort": 81, "protocol": "udp"}]});
    let config = with(site.config("1.0.0"), "runtimeConfig", ports);
    let result = site.ask("ADD", &config).unwrap();
    let checked = with(config.clone(), "prevResult", result);
    site.container.sh("ip route del default; ip address del 10.77.0.2/24 dev eth0");
    let error = site.ask("CHECK", &checked).unwrap_err();
    assert_eq!(error.code, 102);
    for part in ["eth0 has no address 10.77.0.2/24", "there is no default route by 10.77.0.1"] {
        assert!(error.details.contains(part), "{error:?}");
    }
    assert!(!error.details.contains("fd77"), "IPv6 is as it was: {error:?}");
    site.host.sh("nft flush ruleset");
    let error = site.ask("CHECK", &checked).unwrap_err();
    assert!(error.details.contains("host port 8081/udp does not lead to the container"), "{error:?}");
    site.container.sh("ip link del eth0");
    let error = site.ask("CHECK", &checked).unwrap_err();
    for part in ["there is no interface eth0", "the cable's end on the host, is gone"] {
        assert!(error.details.contains(part), "{error:?}");
    }
    site.ask("DEL", &config).unwrap();
    let error = site.ask("CHECK", &checked).unwrap_err();
    assert_eq!(error.details, "nothing is leased to eth0 of team/web");
    assert_eq!(site.ask("CHECK", &config).unwrap_err().code, 7, "without a result there is nothing to check");
}

#[test]
fn address_mac_and_names_are_as_asked_for() {
    let site = Site::new();
    let wishes = json!({
        "ips": ["10.77.0.50/24"], "mac": "02:00:00:00:00:09",
        "dns": {"servers": ["192.0.2.53"], "searches": ["a.b"], "options": ["ndots:2"]},
    });
    let config = with(site.config("0.4.0"), "runtimeConfig", wishes);
    let result = site.ask("ADD", &config).unwrap();
    assert_eq!(
        (&result["ips"][0]["address"], &result["ips"][0]["version"]),
        (&json!("10.77.0.50/24"), &json!("4"))
    );
    assert_eq!(result["interfaces"][2]["mac"], "02:00:00:00:00:09");
    let names = json!({"nameservers": ["192.0.2.53"], "search": ["a.b"], "options": ["ndots:2"]});
    assert_eq!(result["dns"], names);
    assert!(site.container.sh("ip link show eth0").contains("02:00:00:00:00:09"));
    let mut other = variables("ADD", site.container.path());
    other.insert("CNI_CONTAINERID".into(), "c2".into());
    other.insert("CNI_IFNAME".into(), "net1".into());
    other.insert("CNI_ARGS".into(), "IP=10.77.0.50".into());
    let error = site.host.run(|| ask(&other, &site.config("0.4.0"))).unwrap_err();
    assert_eq!((error.code, error.msg.as_str()), (101, "address 10.77.0.50 is held by team/web"));
    site.ask("DEL", &config).unwrap();
}

#[test]
fn another_plugin_may_have_the_addresses() {
    if !Path::new("/usr/lib/cni/host-local").exists() {
        panic!("Debian's containernetworking-plugins are needed");
    }
    let site = Site::new();
    let ipam = json!({
        "type": "host-local", "dataDir": site.directory.path().join("host-local"),
        "ranges": [[{"subnet": "10.77.0.0/24", "rangeStart": "10.77.0.200", "rangeEnd": "10.77.0.201"}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    });
    let mut config = with(site.config("1.0.0"), "ipam", ipam);
    config["subnets"] = json!(["10.77.0.0/24"]);
    let result = site.ask("ADD", &config).unwrap();
    assert_eq!(result["ips"][0]["address"], "10.77.0.200/24");
    let file = site.directory.path().join("host-local/n/10.77.0.200");
    assert!(file.exists());
    site.ask("DEL", &config).unwrap();
    assert!(!file.exists());
    // What it gives and this network cannot take is given back.
    config["subnets"] = json!(["10.78.0.0/24"]);
    let error = site.ask("ADD", &config).unwrap_err();
    assert_eq!(error.msg, "host-local gives 10.77.0.201, which is in none of the subnets");
    assert!(!site.directory.path().join("host-local/n/10.77.0.201").exists());
    config["ipam"]["type"] = json!("no-such-plugin");
    let error = site.ask("ADD", &config).unwrap_err();
    assert_eq!(error.msg, "find plugin no-such-plugin: it is in none of /usr/lib/cni");
}

#[test]
fn gc_takes_back_what_no_runtime_knows_of_and_nothing_of_podbox() {
    let site = Site::new();
    let config = site.config("1.1.0");
    site.ask("ADD", &config).unwrap();
    let other = Netns::new();
    let mut second = variables("ADD", other.path());
    second.insert("CNI_CONTAINERID".into(), "c2".into());
    site.host.run(|| ask(&second, &config)).unwrap();
    let podboxs = Netns::new();
    let network = site.host.run(|| {
        let environment = Environment::read(&|name| second.get(name).cloned()).unwrap();
        let network = PluginConfig::read(config.clone(), &environment).unwrap().network;
        let request = Request {
            id: "6d7c6f3a-0000-4000-8000-000000000000",
            owner: "default/own",
            netns: podboxs.path(),
            ifname: "eth0",
            ports: &[],
            wishes: Wishes::default(),
        };
        crate::attach(&network, &request).unwrap();
        network
    });
    assert_eq!(site.ask("GC", &config).unwrap_err().code, 7, "a key that is forgotten must not remove all");
    let valid = json!([{"containerID": "c2", "ifname": "eth0"}]);
    site.ask("GC", &with(config.clone(), "cni.dev/valid-attachments", valid)).unwrap();
    let left = state::names(&network.state_dir.join("pods")).unwrap();
    assert_eq!(left.len(), 2, "{left:?}");
    assert!(left.iter().any(|id| id == "cni-c2") && !left.iter().any(|id| id == "cni-c1"), "{left:?}");
    assert_eq!(site.container.sh("ip -br link").lines().count(), 1, "only lo");
    site.ask("GC", &with(config, "cni.dev/valid-attachments", json!([]))).unwrap();
    let left = state::names(&network.state_dir.join("pods")).unwrap();
    assert_eq!(left, ["6d7c6f3a-0000-4000-8000-000000000000"]);
    let errors = site.host.run(|| crate::detach(&network, &left[0]));
    assert!(errors.is_empty(), "{errors:?}");
}

#[test]
fn status_tells_of_a_clash_before_anybody_is_added() {
    let site = Site::new();
    let config = site.config("1.1.0");
    assert_eq!(site.ask("STATUS", &config).unwrap(), Value::Null);
    site.host.sh("ip link add other type bridge; ip address add 10.77.0.9/16 dev other");
    let error = site.ask("STATUS", &config).unwrap_err();
    assert_eq!(error.code, 50);
    assert!(error.msg.contains("10.77.0.0/24") && error.msg.contains("other"), "{error:?}");
}

#[test]
fn many_at_once_have_addresses_of_their_own() {
    let site = Site::new();
    let config = site.config("0.4.0");
    let containers: Vec<Netns> = (0..12).map(|_| Netns::new()).collect();
    let mut addresses: Vec<String> = std::thread::scope(|scope| {
        let started: Vec<_> = containers
            .iter()
            .enumerate()
            .map(|(number, container)| {
                let (site, config) = (&site, &config);
                scope.spawn(move || {
                    let mut variables = variables("ADD", container.path());
                    variables.insert("CNI_CONTAINERID".into(), format!("c{number}"));
                    site.host.run(|| ask(&variables, config)).unwrap()["ips"][0]["address"].to_string()
                })
            })
            .collect();
        started.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    addresses.sort();
    addresses.dedup();
    assert_eq!(addresses.len(), containers.len());
    let server = containers[0].serve_tcp("[::]:7000");
    let address = containers[0].sh("ip -o -4 address show eth0 | sed 's,.*inet \\([^/]*\\)/.*,\\1,'");
    let seen = containers[1].seen_by_tcp(&format!("{}:{}", address.trim(), server.port())).unwrap();
    let own = containers[1].sh("ip -o -4 address show eth0 | sed 's,.*inet \\([^/]*\\)/.*,\\1,'");
    assert_eq!(seen.to_string(), own.trim(), "within {PATIENCE:?}");
    let collect = with(site.config("1.1.0"), "cni.dev/valid-attachments", json!([]));
    site.ask("GC", &collect).unwrap();
    assert!(site.leases().is_empty());
}

#[test]
fn what_is_wrong_is_told_by_its_number() {
    let good = json!({"cniVersion": "1.1.0", "name": "n", "subnets": ["10.77.0.0/24"]});
    let add = variables("ADD", Path::new("/no/such/namespace"));
    let without = |name: &str| {
        let mut fewer = add.clone();
        fewer.remove(name);
        fewer
    };
    let changed = |name: &str, value: &str| {
        let mut other = add.clone();
        other.insert(name.to_owned(), value.to_owned());
        other
    };
    let set = |key: &str, value: Value| with(good.clone(), key, value);
    let cases = [
        (add.clone(), set("cniVersion", json!("2.0.0")), 1, "cniVersion \"2.0.0\" is not spoken here"),
        (changed("CNI_COMMAND", "GC"), set("cniVersion", json!("1.0.0")), 1, "cniVersion 1.0.0 has no GC"),
        (
            changed("CNI_COMMAND", "CHECK"),
            set("cniVersion", json!("0.3.1")),
            1,
            "cniVersion 0.3.1 has no CHECK",
        ),
        (add.clone(), set("vlan", json!(7)), 2, "vlan: 7 cannot be had"),
        (
            add.clone(),
            set("hairpinMode", json!(false)),
            2,
            "hairpinMode: false cannot be had: it is always true",
        ),
        (add.clone(), good.clone(), 3, "enter network namespace /no/such/namespace"),
        (without("CNI_COMMAND"), good.clone(), 4, "CNI_COMMAND is not set"),
        (without("CNI_CONTAINERID"), good.clone(), 4, "CNI_CONTAINERID is not set"),
        (without("CNI_NETNS"), good.clone(), 4, "CNI_NETNS is not set"),
        (without("CNI_IFNAME"), good.clone(), 4, "CNI_IFNAME is not set"),
        (changed("CNI_COMMAND", "SING"), good.clone(), 4, "CNI_COMMAND is \"SING\""),
        (changed("CNI_CONTAINERID", "../x"), good.clone(), 4, "CNI_CONTAINERID is \"../x\""),
        (changed("CNI_IFNAME", "far too long a name"), good.clone(), 4, "CNI_IFNAME is"),
        (changed("CNI_ARGS", "novalue"), good.clone(), 4, "CNI_ARGS holds \"novalue\""),
        (add.clone(), json!([]), 6, "the configuration is no object"),
        (add.clone(), set("mtu", json!("big")), 6, "read the configuration: invalid type"),
        (add.clone(), set("cniVersion", json!(1)), 6, "cniVersion is 1; it must be a text"),
        (add.clone(), set("name", json!("a/b")), 7, "name is \"a/b\""),
        (add.clone(), set("subnets", json!(null)), 7, "subnets is missing"),
        (add.clone(), set("subnets", json!(["10.0.0.1/8"])), 7, "subnets: read \"10.0.0.1/8\" as a subnet"),
        (
            add.clone(),
            set("subnets", json!(["10.0.0.0/24", "10.0.1.0/24"])),
            7,
            "is the second one of its family",
        ),
        (add.clone(), set("mtu", json!(12)), 7, "mtu is 12; it must be from 68 to 65535"),
        (add.clone(), set("bridge", json!("much too long a name")), 7, "use network n: the bridge's name"),
        (add.clone(), set("dataDir", json!("here")), 7, "dataDir is \"here\"; it must begin with /"),
        (add.clone(), set("runtimeConfig", json!({"mac": "zz"})), 7, "mac: \"zz\" is no Ethernet address"),
        (add.clone(), set("runtimeConfig", json!({"ips": ["x"]})), 7, "ips: \"x\" is no address"),
    ];
    for (variables, input, code, message) in cases {
        let error = ask(&variables, &input).expect_err(message);
        assert_eq!(error.code, code, "{error:?}");
        assert!(error.msg.contains(message), "{message}: {error:?}");
        assert!(!error.cni_version.is_empty());
    }
}

#[test]
fn the_version_is_told_with_any_input_that_is_none_or_json() {
    let version = BTreeMap::from([("CNI_COMMAND".to_owned(), "VERSION".to_owned())]);
    let told = ask(&version, &json!({"cniVersion": "0.4.0"})).unwrap();
    assert_eq!(told["cniVersion"], "0.4.0");
    assert_eq!(told["supportedVersions"].as_array().unwrap().len(), Version::ALL.len());
    let get = |name: &str| version.get(name).cloned();
    assert!(answer(&get, b"").done);
    assert!(answer(&get, b"{\"cniVersion\": \"7.0.0\"}").done);
    assert!(!answer(&get, b"not json").done);
}

/// JSON that looks like a configuration, more or less.
fn configuration() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-z0-9./:]{0,20}".prop_map(Value::from),
        Just(json!("1.1.0")),
        Just(json!(["10.77.0.0/24"])),
        Just(json!({"portMappings": [{"hostPort": 70000}], "ips": [1], "mac": "1:2"})),
        Just(json!({"type": "no-such-plugin"})),
    ];
    let keys = prop_oneof![
        Just("cniVersion"),
        Just("name"),
        Just("subnets"),
        Just("bridge"),
        Just("mtu"),
        Just("ipam"),
        Just("runtimeConfig"),
        Just("prevResult"),
        Just("args"),
        Just("dns"),
        Just("cni.dev/valid-attachments"),
    ];
    prop::collection::vec((keys, leaf), 0..10).prop_map(|pairs| {
        Value::Object(pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    // The data directory is not writable and the namespace is not there, so that nothing is made whatever is asked for.
    #[test]
    fn any_bytes_get_an_answer(
        bytes in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..300),
            configuration().prop_map(|value| value.to_string().into_bytes()),
        ],
        command in prop_oneof![Just("ADD"), Just("CHECK"), Just("VERSION"), Just("no command"), Just("")],
    ) {
        let variables = variables(command, Path::new("/no/such/namespace"));
        let answer = answer(&|name| variables.get(name).cloned(), &bytes);
        if !answer.done {
            let error: CniError = serde_json::from_str(&answer.output).unwrap();
            prop_assert!(error.code > 0 && !error.msg.is_empty());
            prop_assert!(Version::of(&error.cni_version).is_some());
        }
    }
}

#[test]
fn a_bridge_of_another_data_dir_is_refused_and_left_alone() {
    let site = Site::new();
    let first = site.config("1.1.0");
    let ports = json!({"portMappings": [{"hostPort": 8082, "containerPort": 80, "protocol": "tcp"}]});
    site.ask("ADD", &with(first.clone(), "runtimeConfig", ports.clone())).unwrap();
    let before = site.host.sh("ip -br link; ip -br address; nft list ruleset");
    let other = Netns::new();
    let elsewhere = tempfile::tempdir().unwrap();
    let second = with(first.clone(), "dataDir", json!(elsewhere.path()));
    let ask = |command: &str, input: &Value| site.host.run(|| ask(&variables(command, other.path()), input));
    let add = with(second.clone(), "runtimeConfig", ports);
    let place = std::fs::canonicalize(site.directory.path().join("n")).unwrap();
    let why = format!(
        "use bridge cnitest: it belongs to the network whose leases lie in {}, which team/web is on; use that directory, or another bridge and other subnets",
        place.display()
    );
    let error = ask("ADD", &add).unwrap_err();
    assert_eq!((error.code, error.msg.as_str()), (101, why.as_str()));
    let error = ask("STATUS", &second).unwrap_err();
    assert_eq!((error.code, error.msg.as_str()), (50, why.as_str()));
    // The container has the same id here and there, and with it the same name of its cable.
    ask("DEL", &second).unwrap();
    ask("GC", &with(second, "cni.dev/valid-attachments", json!([]))).unwrap();
    assert_eq!(site.host.sh("ip -br link; ip -br address; nft list ruleset"), before);
    site.container.sh("ip -br address show eth0 | grep -q 10.77.0.2");
    let renamed = with(first.clone(), "name", json!("m"));
    assert_eq!(ask("ADD", &renamed).unwrap_err().code, 101, "another name has other leases");
    site.ask("DEL", &first).unwrap();
    assert!(!site.host.sh("ip -br link").contains("cnitest"));
    assert_eq!(ask("ADD", &add).unwrap()["ips"][0]["address"], "10.77.0.2/24", "nobody has it any more");
    ask("DEL", &add).unwrap();
}

#[test]
fn a_configuration_that_would_change_the_network_under_others_is_refused_by_key() {
    let site = Site::new();
    let first = site.config("1.1.0");
    site.ask("ADD", &first).unwrap();
    let before = site.host.sh("ip -br link; ip -br address; nft list ruleset");
    let other = Netns::new();
    let mut its = variables("ADD", other.path());
    its.insert("CNI_CONTAINERID".to_owned(), "c2".to_owned());
    for (key, value, told) in [
        ("ipMasq", json!(false), "ipMasq is false, and the network runs with true"),
        ("firewall", json!("leave"), "firewall is leave, and the network runs with open"),
        ("mtu", json!(1400), "mtu is 1400, and the network runs with 1500"),
        (
            "subnets",
            json!(["10.77.0.0/24"]),
            "subnets is 10.77.0.0/24, and the network runs with 10.77.0.0/24, fd77::/64",
        ),
        (
            "subnets",
            json!(["10.78.0.0/24"]),
            "subnets is 10.78.0.0/24, and the network runs with 10.77.0.0/24, fd77::/64",
        ),
    ] {
        let error = site.host.run(|| ask(&its, &with(first.clone(), key, value))).unwrap_err();
        let whole = format!("use network n: {told}, which team/web is on: say the same, or end those first");
        assert_eq!((error.code, error.msg), (7, whole));
        assert_eq!(site.host.sh("ip -br link; ip -br address; nft list ruleset"), before);
    }
    let same = with(first.clone(), "mtu", json!(1500));
    site.host.run(|| ask(&its, &same)).unwrap();
    its.insert("CNI_COMMAND".to_owned(), "DEL".to_owned());
    site.host.run(|| ask(&its, &same)).unwrap();
    site.ask("DEL", &first).unwrap();
    let changed = with(first, "ipMasq", json!(false));
    site.ask("ADD", &changed).unwrap();
    site.ask("DEL", &changed).unwrap();
}

#[test]
fn what_only_podbox_says_of_its_network_stays_when_a_container_comes() {
    let site = Site::new();
    let config = site.config("1.1.0");
    let mut network = crate::support::config(site.directory.path().join("n"));
    network.bridge = "cnitest".to_owned();
    (network.ipv4, network.ipv6) =
        (Some("10.77.0.0/24".parse().unwrap()), Some("fd77::/64".parse().unwrap()));
    network.beside = vec!["10.99.0.0/24".parse().unwrap()];
    let pod = Netns::new();
    let (netns, wishes) = (pod.path(), Wishes::default());
    let request = Request { id: "p", owner: "default/p", netns, ifname: "eth0", ports: &[], wishes };
    site.host.run(|| crate::attach(&network, &request)).unwrap();
    let before = site.host.sh("nft list ruleset");
    assert!(before.contains("10.99.0.0/24"), "{before}");
    site.ask("ADD", &config).unwrap();
    assert_eq!(site.host.sh("nft list ruleset"), before);
    site.ask("DEL", &config).unwrap();
    assert_eq!(site.host.sh("nft list ruleset"), before);
}

#[test]
fn what_cannot_be_had_is_refused_by_status_as_by_add() {
    let site = Site::new();
    for (key, value) in
        [("vlan", json!(7)), ("isGateway", json!(false)), ("mtu", json!(7)), ("subnets", json!([]))]
    {
        let config = with(site.config("1.1.0"), key, value);
        let [add, status] = ["ADD", "STATUS"].map(|command| site.ask(command, &config).unwrap_err());
        assert_eq!((status.code, status.msg), (add.code, add.msg), "{key}");
    }
}

#[test]
fn del_takes_back_what_there_is_whatever_else_is_wrong() {
    let site = Site::new();
    let config = site.config("1.1.0");
    for (key, value) in [
        ("subnets", Value::Null),
        ("subnets", json!("many")),
        ("firewall", json!(1)),
        ("ipMasq", json!("no")),
    ] {
        site.ask("ADD", &config).unwrap();
        let mut its = variables("DEL", site.container.path());
        its.insert("CNI_ARGS".to_owned(), "nonsense;=x;K8S_POD_NAME=web".to_owned());
        site.host.run(|| ask(&its, &with(config.clone(), key, value.clone()))).unwrap();
        assert!(site.leases().is_empty(), "{key}: {value}");
        assert!(!site.host.sh("ip -br link").contains("cnitest"), "{key}: {value}");
    }
    // ADD does not begin with what it cannot understand.
    let mut its = variables("ADD", site.container.path());
    its.insert("CNI_ARGS".to_owned(), "nonsense".to_owned());
    assert_eq!(site.host.run(|| ask(&its, &config)).unwrap_err().code, 4);
}
