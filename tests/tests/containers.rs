//! What a container finds around it: environment, files, volumes, names, namespaces, user, limits.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use e2e::{Cmd, Host, PATIENCE, PodView, pod, wait_until};

/// A pod of one container that only sleeps; `extra` are more lines of the spec.
fn sleeper(name: &str, image: &str, extra: &str) -> String {
    pod(
        name,
        &format!(
            "  containers:\n  - {{name: c, image: {image}, command: [sleep, infinity]}}\n{}",
            extra.trim_matches('\n')
        ),
    )
}

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
fn an_empty_dir_is_shared_survives_restarts_and_goes_with_the_pod() {
    let host = Host::new();
    host.up(&pod("vol", r"
  containers:
  - name: writer
    image: podbox.local/host
    command: [sh, -c, 'echo line >> /data/file; sleep infinity']
    volumeMounts: [{name: shared, mountPath: /data}, {name: ram, mountPath: /ram}]
  - name: reader
    image: podbox.local/toolbox
    command: [sleep, infinity]
    volumeMounts: [{name: shared, mountPath: /in, readOnly: true}, {name: shared, mountPath: /sub, subPath: below}]
  volumes:
  - {name: shared, emptyDir: {}}
  - {name: ram, emptyDir: {medium: Memory, sizeLimit: 10Mi}}
"));
    wait_until("a line", PATIENCE, || {
        host.podbox(["exec", "vol", "-c", "reader", "--", "cat", "/in/file"]).text() == "line"
    });
    host.podbox(["exec", "vol", "-c", "reader", "--", "touch", "/in/other"])
        .code(1)
        .complains("Read-only file system");
    host.podbox(["exec", "vol", "-c", "reader", "--", "touch", "/sub/made"]).ok();
    assert_eq!(
        host.exec("vol", &["cat", "/proc/self/mounts"])
            .lines()
            .filter(|line| line.contains(" /ram tmpfs ") && line.contains("size=10240k"))
            .count(),
        1
    );
    assert_eq!(host.exec("vol", &["stat", "-c", "%a %u", "/data"]), "777 0");
    assert_eq!(host.exec("vol", &["ls", "/data/below"]), "made");
    host.kill(host.container_process("vol", "writer"));
    wait_until("a second line", PATIENCE, || {
        host.podbox(["exec", "vol", "-c", "reader", "--", "cat", "/in/file"]).text() == "line\nline"
    });
    let data = host.root_dir().join("pods").join(host.pod("vol").text("metadata.uid"));
    assert!(data.join("volumes").exists(), "{}", data.display());
    host.down(&["vol", "--grace-period", "0"]);
    assert!(!data.exists());
    host.finish();
}

#[test]
fn host_paths_are_mounted_checked_and_made_as_their_type_says() {
    let host = Host::new();
    let dir = host.dir().join("shared");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("file"), "from the host").unwrap();
    let manifest = pod(
        "paths",
        r"
  containers:
  - name: c
    image: podbox.local/toolbox
    command: [sleep, infinity]
    volumeMounts:
    - {name: dir, mountPath: /host}
    - {name: made, mountPath: /made}
    - {name: file, mountPath: /etc/file, readOnly: true}
  volumes:
  - {name: dir, hostPath: {path: DIR, type: Directory}}
  - {name: made, hostPath: {path: DIR/new, type: DirectoryOrCreate}}
  - {name: file, hostPath: {path: DIR/file, type: File}}
",
    )
    .replace("DIR/", &format!("{}/", dir.display()))
    .replace("DIR,", &format!("{},", dir.display()));
    host.up(&manifest);
    assert_eq!(host.exec("paths", &["cat", "/host/file"]), "from the host");
    assert_eq!(host.exec("paths", &["cat", "/etc/file"]), "from the host");
    host.podbox(["exec", "paths", "--", "touch", "/host/back"]).ok();
    assert!(dir.join("back").exists() && dir.join("new").is_dir());
    host.down(&["paths", "--grace-period", "0"]);
    assert!(dir.join("file").exists(), "what is the host's stays");
    let wrong = manifest.replace("type: Directory}", "type: File}");
    host.try_up(&wrong, &[]).code(3).complains("is not a file");
    host.expect_nothing_left();
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
fn by_default_the_pods_name_is_its_hostname_and_dns_is_the_hosts() {
    let host = Host::new();
    host.up(&sleeper("plain", "podbox.local/toolbox", ""));
    assert_eq!(host.exec("plain", &["hostname"]), "plain");
    let own = fs::read_to_string("/etc/resolv.conf").unwrap();
    let resolv = host.exec("plain", &["cat", "/etc/resolv.conf"]);
    for server in own.lines().filter(|line| line.starts_with("nameserver")).take(3) {
        assert!(resolv.contains(server.trim()), "{resolv}");
    }
    host.finish();
}

/// The namespace of a container's first process.
fn namespace(host: &Host, pod: &str, container: &str, kind: &str) -> String {
    let pid = host.container_process(pod, container);
    fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap().to_string_lossy().into_owned()
}

fn own_namespace(kind: &str) -> String {
    fs::read_link(format!("/proc/self/ns/{kind}")).unwrap().to_string_lossy().into_owned()
}

#[test]
fn containers_share_net_ipc_and_uts_and_have_their_own_mount_pid_and_cgroup_namespaces() {
    let host = Host::new();
    host.up(&pod(
        "ns",
        r"
  containers:
  - {name: a, image: podbox.local/toolbox, command: [sleep, infinity]}
  - {name: b, image: podbox.local/toolbox, command: [sleep, infinity]}
",
    ));
    for kind in ["net", "ipc", "uts"] {
        assert_eq!(namespace(&host, "ns", "a", kind), namespace(&host, "ns", "b", kind), "{kind}");
        assert_ne!(namespace(&host, "ns", "a", kind), own_namespace(kind), "{kind}");
    }
    for kind in ["mnt", "pid", "cgroup"] {
        assert_ne!(namespace(&host, "ns", "a", kind), namespace(&host, "ns", "b", kind), "{kind}");
        assert_ne!(namespace(&host, "ns", "a", kind), own_namespace(kind), "{kind}");
    }
    let processes = host.exec("ns", &["ps"]);
    assert!(processes.contains("sleep") && processes.lines().count() <= 3, "{processes}");
    // One /dev/shm for the pod.
    host.podbox(["exec", "ns", "-c", "a", "--", "touch", "/dev/shm/here"]).ok();
    host.podbox(["exec", "ns", "-c", "b", "--", "test", "-f", "/dev/shm/here"]).ok();
    host.finish();
}

#[test]
fn with_a_shared_process_namespace_containers_see_each_other_and_nobody_is_left() {
    let host = Host::new();
    host.up(&pod(
        "shared",
        r"
  shareProcessNamespace: true
  containers:
  - {name: a, image: podbox.local/toolbox, command: [sleep, '1001']}
  - {name: b, image: podbox.local/toolbox, command: [sleep, '1002']}
",
    ));
    let processes = host.exec("shared", &["ps"]);
    assert!(processes.contains("1001") && processes.contains("1002"), "{processes}");
    assert_eq!(namespace(&host, "shared", "a", "pid"), namespace(&host, "shared", "b", "pid"));
    // One container's end is not the other's.
    host.kill(host.container_process("shared", "a"));
    let view = host.wait_pod("shared", "a restart of a", |pod| pod.container("a")["restartCount"] == 1);
    assert_eq!(view.container("b")["restartCount"], 0);
    host.down(&["shared", "--grace-period", "1"]);
    host.finish();
}

#[test]
fn host_network_host_pid_and_host_ipc_are_the_hosts_own() {
    let host = Host::new();
    let port = host.port(0);
    let manifest = pod(
        "naked",
        r"
  hostNetwork: true
  hostPID: true
  hostIPC: true
  containers:
  - {name: c, image: podbox.local/toolbox, command: [http, --port, 'PORT']}
",
    )
    .replace("PORT", &port.to_string());
    host.up(&manifest);
    for kind in ["net", "pid", "ipc"] {
        assert_eq!(namespace(&host, "naked", "c", kind), own_namespace(kind), "{kind}");
    }
    let url = format!("127.0.0.1:{port}/healthz");
    host.cmd(["toolbox", "get", "--retry", "50", "--retry-delay", "100ms", &url]).run().ok();
    let view = host.pod("naked");
    assert_eq!(view.ip(), view.text("status.hostIP"));
    assert!(
        host.exec("naked", &["cat", "/etc/hosts"])
            .starts_with("# Kubernetes-managed hosts file (host network).")
    );
    assert!(host.exec("naked", &["ps"]).lines().count() > 3, "the host's processes should be there");
    host.finish();
}

#[test]
fn the_security_context_decides_user_groups_capabilities_and_privileges() {
    let host = Host::new();
    host.up(&pod(
        "secure",
        r"
  securityContext: {runAsUser: 1000, runAsGroup: 2000, supplementalGroups: [3000]}
  containers:
  - name: strict
    image: podbox.local/toolbox
    command: [sleep, infinity]
    securityContext:
      allowPrivilegeEscalation: false
      readOnlyRootFilesystem: true
      capabilities: {drop: [ALL]}
    volumeMounts: [{name: v, mountPath: /v}]
  - name: root
    image: podbox.local/toolbox
    command: [sleep, infinity]
    securityContext: {runAsUser: 0, runAsGroup: 0, capabilities: {add: [NET_ADMIN], drop: [CHOWN]}}
  - name: privileged
    image: podbox.local/toolbox
    command: [sleep, infinity]
    securityContext: {runAsUser: 0, privileged: true}
  volumes: [{name: v, emptyDir: {}}]
",
    ));
    let status = |container: &str, field: &str| {
        let pid = host.container_process("secure", container);
        let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line =
            text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')).unwrap_or_default();
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let caps = |container: &str, field: &str| u64::from_str_radix(&status(container, field), 16).unwrap();
    assert_eq!(status("strict", "Uid"), "1000 1000 1000 1000");
    assert_eq!(status("strict", "Gid"), "2000 2000 2000 2000");
    let groups = status("strict", "Groups");
    assert!(groups.contains("3000"), "{groups}");
    assert_eq!(status("strict", "NoNewPrivs"), "1");
    assert_eq!((caps("strict", "CapEff"), caps("strict", "CapBnd")), (0, 0));
    host.podbox(["exec", "secure", "-c", "strict", "--", "touch", "/x"])
        .code(1)
        .complains("Read-only file system");
    host.podbox(["exec", "secure", "-c", "strict", "--", "touch", "/v/x"]).ok();
    assert_eq!(status("root", "NoNewPrivs"), "0");
    assert_eq!(status("root", "Seccomp"), "0");
    assert_eq!(caps("root", "CapEff") & 1, 0, "CHOWN was dropped");
    assert_eq!(caps("root", "CapEff") >> 12 & 1, 1, "NET_ADMIN was added");
    assert_eq!(caps("root", "CapEff") >> 21 & 1, 0, "SYS_ADMIN was never there");
    assert_eq!(caps("root", "CapEff") >> 27 & 1, 1, "MKNOD is among the usual ones");
    assert_eq!(caps("privileged", "CapEff") >> 21 & 1, 1, "a privileged container has SYS_ADMIN");
    assert!(Path::new(&format!("/proc/{}/root/dev/null", host.container_process("secure", "root"))).exists());
    host.finish();
}

#[test]
fn an_unprivileged_container_sees_no_secrets_of_the_kernel_and_cannot_change_it() {
    let host = Host::new();
    host.up(&sleeper("masked", "podbox.local/toolbox", ""));
    // Which of them are there differs from kernel to kernel.
    for secret in
        ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/latency_stats", "/proc/sched_debug"]
    {
        if Path::new(secret).exists() {
            assert_eq!(host.exec("masked", &["cat", secret]), "", "{secret}");
        }
    }
    host.podbox(["exec", "masked", "--", "touch", "/proc/sys/kernel/hostname"]).code(1);
    host.podbox(["exec", "masked", "--", "mkdir", "/sys/fs/cgroup/mine"]).code(1);
    let descriptors = host.exec("masked", &["ls", "/proc/1/fd"]);
    assert_eq!(
        descriptors.split_whitespace().collect::<Vec<_>>(),
        ["0", "1", "2"],
        "a descriptor has leaked"
    );
    let mounts = host.exec("masked", &["cat", "/proc/self/mountinfo"]);
    assert!(!mounts.contains("master:") && !mounts.contains("shared:"), "mounts propagate:\n{mounts}");
    host.finish();
}

#[test]
fn devices_are_open_to_privileged_containers_and_closed_to_the_others() {
    use nix::sys::stat::{Mode, SFlag, makedev, mknod};
    let host = Host::new();
    // The kernel's log: there everywhere, and harmless to open for writing.
    let volume = host.dir().join("nodes");
    fs::create_dir(&volume).unwrap();
    mknod(&volume.join("log"), SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), makedev(1, 11)).unwrap();
    let manifest = pod(
        "dev",
        r"
  containers:
  - name: plain
    image: podbox.local/host
    command: [sleep, infinity]
    volumeMounts: [{name: v, mountPath: /v}]
  - name: privileged
    image: podbox.local/host
    command: [sleep, infinity]
    securityContext: {privileged: true}
    volumeMounts: [{name: v, mountPath: /v}]
  volumes: [{name: v, hostPath: {path: DIR}}]
",
    );
    host.up(&manifest.replace("DIR", volume.to_str().unwrap()));
    let opens = |container: &str, path: &str| {
        host.podbox(["exec", "dev", "-c", container, "--", "sh", "-c", &format!(": >{path}")])
    };
    for container in ["plain", "privileged"] {
        let make = "mknod /tmp/log c 1 11 && mknod /tmp/null c 1 3 && mknod /tmp/disk b 7 0";
        host.podbox(["exec", "dev", "-c", container, "--", "sh", "-c", make]).ok();
        for harmless in ["/dev/null", "/dev/zero", "/dev/full", "/dev/tty", "/dev/ptmx", "/tmp/null"] {
            let opened = opens(container, harmless);
            // There is no terminal to open, but asking is allowed.
            assert!(opened.good() || opened.stderr.contains("No such device or address"), "{opened}");
        }
    }
    for path in ["/tmp/log", "/v/log"] {
        opens("plain", path).complains("Operation not permitted");
        opens("privileged", path).ok();
    }
    // Every node of the host is there, with the host's numbers and modes.
    let look = "find /dev -name pts -prune -o -name mqueue -prune -o -name shm -prune -o \\( -type b -o -type c \\) -exec stat -c '%n %F %t:%T %a %u:%g' {} + | grep -v -e /dev/ptmx -e /dev/console | sort";
    let of_host = Cmd::new("sh").args(["-c", look]).run().ok().stdout;
    let inside = host.podbox(["exec", "dev", "-c", "privileged", "--", "sh", "-c", look]).ok().stdout;
    assert_eq!(inside, of_host);
    assert!(host.exec("dev", &["ls", "/dev"]).split_whitespace().count() < 20);
    // What a privileged container is not kept from: its own cgroup, the kernel's settings, mounts.
    let run = |container: &str, script: &str| {
        host.podbox(["exec", "dev", "-c", container, "--", "sh", "-c", script])
    };
    for script in [
        "mount -t tmpfs none /mnt && umount /mnt",
        "test -w /sys/kernel",
        "grep -q ' /sys sysfs rw' /proc/mounts",
        "echo 1 >/proc/sys/net/ipv4/ip_forward",
        "test -z \"$(grep -e ' /proc/[a-z]' /proc/mounts)\"",
        "for d in /sys/fs/cgroup /sys/fs/cgroup/memory /sys/fs/cgroup/unified; do mkdir $d/mine 2>/dev/null && rmdir $d/mine && exit; done; exit 1",
    ] {
        run("privileged", script).ok();
        assert!(!run("plain", script).good(), "{script}");
    }
    host.finish();
}

#[test]
fn run_as_non_root_is_checked_and_told_as_a_kubelet_does() {
    let host = Host::new();
    let manifest = sleeper("rooted", "podbox.local/toolbox", "  securityContext: {runAsNonRoot: true}");
    host.try_up(&manifest, &[])
        .code(1)
        .complains("CreateContainerConfigError")
        .complains("container has runAsNonRoot and image will run as root");
    host.expect_nothing_left();
    host.finish();
}

/// A control file of the container's cgroup, in the v1 hierarchy of that controller or in v2.
fn cgroup_file(host: &Host, view: &PodView, class: &str, leaf: &str, file: &[(&str, &str)]) -> String {
    let below = format!("podbox/{class}pod{}/{leaf}", view.text("metadata.uid"));
    let _ = host;
    let candidates = file.iter().map(|(controller, name)| {
        let base = if controller.is_empty() {
            "/sys/fs/cgroup".to_owned()
        } else {
            format!("/sys/fs/cgroup/{controller}")
        };
        format!("{base}/{below}/{name}")
    });
    let found = candidates.clone().find_map(|path| fs::read_to_string(path).ok());
    found.unwrap_or_else(|| panic!("none of {:?}", candidates.collect::<Vec<_>>())).trim().to_owned()
}

#[test]
fn requests_and_limits_reach_the_cgroups_and_decide_the_qos_class() {
    let host = Host::new();
    let with = |name: &str, resources: &str| {
        pod(
            name,
            &format!(
                "  containers:\n  - {{name: c, image: podbox.local/toolbox, command: [sleep, infinity], resources: {{{resources}}}}}"
            ),
        )
    };
    host.up(&with("burst", "requests: {cpu: 500m, memory: 16Mi}, limits: {cpu: 750m, memory: 48Mi}"));
    host.up(&with("sure", "limits: {cpu: 250m, memory: 32Mi}"));
    host.up(&with("best", ""));
    let (burst, sure, best) = (host.pod("burst"), host.pod("sure"), host.pod("best"));
    let class = |view: &PodView| view.text("status.qosClass").to_owned();
    assert_eq!([class(&burst), class(&sure), class(&best)], ["Burstable", "Guaranteed", "BestEffort"]);
    let memory = [("memory", "memory.limit_in_bytes"), ("", "memory.max")];
    assert_eq!(cgroup_file(&host, &burst, "burstable/", "c-0", &memory), (48 << 20).to_string());
    assert_eq!(cgroup_file(&host, &sure, "", "c-0", &memory), (32 << 20).to_string());
    assert_eq!(cgroup_file(&host, &sure, "", "", &memory), (32 << 20).to_string());
    let quota =
        cgroup_file(&host, &burst, "burstable/", "c-0", &[("cpu", "cpu.cfs_quota_us"), ("", "cpu.max")]);
    assert!(quota.starts_with("75000"), "{quota}");
    let shares =
        cgroup_file(&host, &burst, "burstable/", "c-0", &[("cpu", "cpu.shares"), ("", "cpu.weight")]);
    assert!(["512", "20", "59"].contains(&shares.as_str()), "{shares}");
    for place in ["c-0", "", ".."] {
        let file = [("cpu", "cpu.shares"), ("", "cpu.weight")];
        let low = cgroup_file(&host, &best, "besteffort/", place, &file);
        assert!(["2", "1"].contains(&low.as_str()), "{place}: {low}");
    }
    let adjust =
        fs::read_to_string(format!("/proc/{}/oom_score_adj", host.container_process("best", "c"))).unwrap();
    assert_eq!(adjust.trim(), "1000");
    host.finish();
}

#[test]
fn a_container_that_eats_too_much_is_oom_killed() {
    let host = Host::new();
    host.up(&pod(
        "hungry",
        r"
  restartPolicy: Never
  containers:
  - {name: eater, image: podbox.local/toolbox, command: [eat, 256Mi], resources: {limits: {memory: 32Mi}}}
  - {name: modest, image: podbox.local/toolbox, command: [sleep, infinity]}
",
    ));
    let view = host
        .wait_pod("hungry", "an OOM kill", |pod| !pod.container("eater")["state"]["terminated"].is_null());
    let ended = &view.container("eater")["state"]["terminated"];
    assert_eq!(ended["reason"], "OOMKilled", "{ended:#}");
    assert_eq!(ended["exitCode"], 137);
    assert!(!view.container("modest")["state"]["running"].is_null(), "the neighbour lives on");
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

#[test]
fn writes_to_the_image_are_the_containers_own_and_gone_with_it() {
    let host = Host::new();
    host.up(&pod(
        "layers",
        r"
  containers:
  - {name: a, image: podbox.local/toolbox, command: [sleep, infinity]}
  - {name: b, image: podbox.local/toolbox, command: [sleep, infinity]}
",
    ));
    host.podbox(["exec", "layers", "-c", "a", "--", "touch", "/mine"]).ok();
    host.podbox(["exec", "layers", "-c", "a", "--", "rm", "/bin/true"]).ok();
    host.podbox(["exec", "layers", "-c", "b", "--", "test", "-e", "/mine"]).code(1);
    host.podbox(["exec", "layers", "-c", "b", "--", "true"]).ok();
    host.kill(host.container_process("layers", "a"));
    host.wait_pod("layers", "a restart", |pod| {
        pod.container("a")["restartCount"] == 1 && !pod.container("a")["state"]["running"].is_null()
    });
    host.podbox(["exec", "layers", "-c", "a", "--", "test", "-e", "/mine"]).code(1);
    host.finish();
}

#[test]
fn the_hosts_root_as_an_image_cannot_be_harmed() {
    let host = Host::new();
    host.up(&sleeper("hostimage", "podbox.local/host", ""));
    let marker = "/etc/podbox-e2e-must-not-be-here";
    host.podbox(["exec", "hostimage", "--", "touch", marker]).ok();
    host.podbox(["exec", "hostimage", "--", "test", "-e", marker]).ok();
    assert!(!Path::new(marker).exists());
    let mode = fs::metadata("/etc").unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o755);
    host.finish();
}

#[test]
fn sysctls_of_the_sandbox_are_set() {
    let host = Host::new();
    host.up(&sleeper(
        "tuned",
        "podbox.local/toolbox",
        "  securityContext: {sysctls: [{name: net.ipv4.ip_unprivileged_port_start, value: '0'}]}",
    ));
    assert_eq!(host.exec("tuned", &["cat", "/proc/sys/net/ipv4/ip_unprivileged_port_start"]), "0");
    host.finish();
}

#[test]
fn a_memory_limit_that_holds_nothing_is_an_error_and_not_no_limit() {
    let host = Host::new();
    let spec = "  containers:\n  - {name: c, image: podbox.local/toolbox, command: [sleep, \"1000\"], resources: {limits: {memory: 4Ki}}}";
    let output = host.try_up(&pod("tiny", spec), &[]);
    assert!(output.code != Some(0), "{output}");
    host.expect_nothing_left();
    host.finish();
}
