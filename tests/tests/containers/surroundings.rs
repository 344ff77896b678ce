//! What a container starts with: its environment, command, directory, terminal, and the files that podbox makes for it.

use std::fs;

use e2e::{Host, PATIENCE, pod, wait_until};

use super::sleeper;

#[test]
fn environment_values_expand_and_fields_are_filled_in() {
    let host = Host::new();
    let manifest = pod(
        "env",
        r"
  containers:
  - name: c
    image: podbox.local/toolbox
    command: [sleep, infinity]
    resources:
      requests: {cpu: 250m, memory: 32Mi}
      limits: {cpu: '1', memory: 64Mi}
    env:
    - {name: FIRST, value: one}
    - {name: SECOND, value: $(FIRST)-two}
    - {name: LITERAL, value: $$(FIRST)}
    - {name: UNKNOWN, value: $(NOBODY)}
    - {name: POD, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
    - {name: NS, valueFrom: {fieldRef: {fieldPath: metadata.namespace}}}
    - {name: POD_UID, valueFrom: {fieldRef: {fieldPath: metadata.uid}}}
    - {name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
    - {name: IPS, valueFrom: {fieldRef: {fieldPath: status.podIPs}}}
    - {name: HOST_IP, valueFrom: {fieldRef: {fieldPath: status.hostIP}}}
    - {name: TIER, valueFrom: {fieldRef: {fieldPath: 'metadata.labels[''tier'']'}}}
    - {name: NOTE, valueFrom: {fieldRef: {fieldPath: 'metadata.annotations[''note'']'}}}
    - {name: CPU, valueFrom: {resourceFieldRef: {resource: requests.cpu}}}
    - {name: MEMORY, valueFrom: {resourceFieldRef: {resource: limits.memory, divisor: 1Mi}}}
",
    )
    .replace("  name: env\nspec", "  name: env\n  labels: {tier: front}\n  annotations: {note: 'a b'}\nspec");
    host.up(&manifest);
    let view = host.pod("env");
    let env = host.exec("env", &["env"]);
    let expected = [
        ("FIRST", "one".to_owned()),
        ("SECOND", "one-two".to_owned()),
        ("LITERAL", "$(FIRST)".to_owned()),
        ("UNKNOWN", "$(NOBODY)".to_owned()),
        ("POD", "env".to_owned()),
        ("NS", "default".to_owned()),
        ("POD_UID", view.text("metadata.uid").to_owned()),
        ("IP", view.ip()),
        ("IPS", format!("{},{}", view.ip(), view.ip6())),
        ("HOST_IP", view.text("status.hostIP").to_owned()),
        ("TIER", "front".to_owned()),
        ("NOTE", "a b".to_owned()),
        ("CPU", "1".to_owned()),
        ("MEMORY", "64".to_owned()),
        ("HOSTNAME", "env".to_owned()),
    ];
    for (name, value) in expected {
        assert!(env.lines().any(|line| line == format!("{name}={value}")), "{name}={value} is not in\n{env}");
    }
    host.finish();
}

#[test]
fn command_and_args_take_the_place_of_the_images_own() {
    let host = Host::new();
    let image = e2e::Archive::new([e2e::Layer::toolbox(&["echo", "sleep"]).dir("work")])
        .set("Entrypoint", serde_json::json!(["echo", "entry"]))
        .set("Cmd", serde_json::json!(["cmd"]))
        .set("WorkingDir", "/work".into())
        .set("Env", serde_json::json!(["PATH=/bin", "FROM=image"]));
    let file = image.write(&host.dir().join("image.tar"), "talker:1");
    host.podbox(["image", "load", file.to_str().unwrap()]).ok();
    let manifest = pod(
        "talk",
        r"
  restartPolicy: Never
  containers:
  - {name: both, image: 'talker:1', imagePullPolicy: Never}
  - {name: args, image: 'talker:1', imagePullPolicy: Never, args: [mine, $(WHO)], env: [{name: WHO, value: yours}]}
  - {name: command, image: 'talker:1', imagePullPolicy: Never, command: [echo, only]}
",
    );
    host.try_up(&manifest, &["--wait", "complete"]).ok();
    assert_eq!(host.logs(&["talk", "-c", "both"]), "entry cmd\n");
    assert_eq!(host.logs(&["talk", "-c", "args"]), "entry mine yours\n");
    assert_eq!(host.logs(&["talk", "-c", "command"]), "only\n");
    host.finish();
}

#[test]
fn a_missing_working_directory_is_made() {
    let host = Host::new();
    host.up(&pod(
        "dir",
        r"
  containers:
  - {name: c, image: podbox.local/toolbox, command: [sleep, infinity], workingDir: /not/there/yet}
",
    ));
    assert_eq!(host.exec("dir", &["pwd"]), "/not/there/yet");
    host.finish();
}

#[test]
fn hosts_hostname_and_resolv_conf_are_a_kubelets() {
    let host = Host::new();
    host.up(&sleeper(
        "named",
        "podbox.local/toolbox",
        r"
  hostname: short
  subdomain: sub
  hostAliases: [{ip: 10.1.2.3, hostnames: [one.example, two.example]}]
  dnsPolicy: None
  dnsConfig: {nameservers: [192.0.2.53], searches: [a.example], options: [{name: ndots, value: '3'}]}
",
    ));
    let view = host.pod("named");
    let fqdn = "short.sub.default.svc.cluster.local";
    let expected = format!(
        "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n{}\t{fqdn}\tshort\n{}\t{fqdn}\tshort\n\n# Entries added by HostAliases.\n10.1.2.3\tone.example\ttwo.example",
        view.ip(),
        view.ip6()
    );
    assert_eq!(host.exec("named", &["cat", "/etc/hosts"]), expected);
    assert_eq!(host.exec("named", &["hostname"]), "short");
    assert_eq!(host.exec("named", &["cat", "/etc/hostname"]), "short");
    assert_eq!(host.exec("named", &["printenv", "HOSTNAME"]), "short");
    assert_eq!(
        host.exec("named", &["cat", "/etc/resolv.conf"]),
        "search a.example\nnameserver 192.0.2.53\noptions ndots:3"
    );
    host.finish();
}

#[test]
fn by_default_the_pods_name_is_its_hostname_and_with_policy_default_dns_is_the_hosts() {
    let host = Host::new();
    host.up(&sleeper("plain", "podbox.local/toolbox", "  dnsPolicy: Default\n"));
    assert_eq!(host.exec("plain", &["hostname"]), "plain");
    let own = fs::read_to_string("/etc/resolv.conf").unwrap();
    let resolv = host.exec("plain", &["cat", "/etc/resolv.conf"]);
    for server in own.lines().filter(|line| line.starts_with("nameserver")).take(3) {
        assert!(resolv.contains(server.trim()), "{resolv}");
    }
    host.finish();
}

#[test]
fn a_terminal_is_one_and_without_it_there_is_none() {
    let host = Host::new();
    host.up(&pod("tty", r"
  containers:
  - {name: with, image: podbox.local/host, tty: true, stdin: true, command: [sh, -c, 'tty; echo err >&2; sleep infinity']}
  - {name: without, image: podbox.local/host, command: [sh, -c, 'tty; cat; echo eof; sleep infinity']}
"));
    wait_until("the terminal's name", PATIENCE, || host.logs(&["tty", "-c", "with"]).contains("/dev/pts/0"));
    wait_until("stderr through the terminal", PATIENCE, || host.logs(&["tty", "-c", "with"]).contains("err"));
    wait_until("no terminal", PATIENCE, || host.logs(&["tty", "-c", "without"]).contains("not a tty"));
    wait_until("the end of the input", PATIENCE, || host.logs(&["tty", "-c", "without"]).contains("eof"));
    host.finish();
}
