//! Bad input and bad luck: one clear error, the right exit code, and the host exactly as before.

use std::fs;
use std::time::{Duration, Instant};

use e2e::{Archive, Cmd, Host, Layer, Output, PATIENCE, Registry, pod, wait_until};

const SLEEP: &str = "  containers:\n  - {name: c, image: podbox.local/toolbox, command: [sleep, infinity]}";

/// What containers write into their root lies below the run directory, as where the disk is an overlay itself.
const IN_MEMORY: &str = "[containers]\nwritable-layers = \"memory\"\n";

/// A manifest that must be refused with exit code 2 and all of these words, by `up` and by `validate`.
fn refused(manifest: &str, words: &[&str]) {
    let host = Host::new();
    for args in [["up", "-d", "-"].as_slice(), &["validate", "-"]] {
        let output = host.cmd(args).input(manifest).run().code(2);
        for word in words {
            assert!(output.stderr.contains(word), "{word:?} is not in\n{output}");
        }
        assert!(output.stdout.is_empty(), "{output}");
    }
    host.expect_nothing_left();
    host.finish();
}

#[test]
fn wrong_yaml_is_refused_with_its_place() {
    refused("apiVersion: v1\nkind: Pod\nmetadata: {name: [web\n", &["<stdin>:", "error"]);
}

#[test]
fn an_unknown_field_is_refused_and_the_right_one_is_offered() {
    let manifest = pod(
        "web",
        "  containers:\n  - name: c\n    image: podbox.local/toolbox\n    livenesProbe: {tcpSocket: {port: 80}}",
    );
    refused(
        &manifest,
        &["<stdin>:9:5", "spec.containers[0].livenesProbe", "livenessProbe", "nothing was changed"],
    );
}

#[test]
fn wrong_types_are_refused() {
    let manifest =
        pod("web", "  terminationGracePeriodSeconds: soon\n  containers:\n  - {name: c, image: 7}");
    refused(&manifest, &["spec.terminationGracePeriodSeconds", "spec.containers[0].image", "2 mistakes"]);
}

#[test]
fn duplicate_names_are_refused() {
    let manifest = pod(
        "web",
        "  containers:\n  - {name: c, image: podbox.local/toolbox}\n  - {name: c, image: podbox.local/toolbox}",
    );
    refused(&manifest, &["spec.containers[1].name: Duplicate value: \"c\""]);
}

#[test]
fn bad_quantities_are_refused() {
    let manifest = pod(
        "web",
        "  containers:\n  - {name: c, image: podbox.local/toolbox, resources: {limits: {memory: lots, cpu: '-1'}}}",
    );
    refused(
        &manifest,
        &["spec.containers[0].resources.limits[memory]", "spec.containers[0].resources.limits[cpu]"],
    );
}

#[test]
fn all_mistakes_are_told_at_once_in_the_api_servers_words() {
    let manifest = pod(
        "Web_1",
        "  restartPolicy: Sometimes\n  containers:\n  - {name: c, image: podbox.local/toolbox, ports: [{containerPort: 70000}], livenessProbe: {httpGet: {port: 80}, periodSeconds: -1}}\n  volumes: [{name: v, emptyDir: {}}, {name: v, emptyDir: {}}]",
    );
    refused(
        &manifest,
        &[
            "metadata.name: Invalid value: \"Web_1\"",
            "spec.restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"OnFailure\", \"Never\"",
            "spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
            "periodSeconds: Invalid value: -1: must be greater than or equal to 0",
            "spec.volumes[1].name: Duplicate value: \"v\"",
        ],
    );
}

#[test]
fn a_field_that_is_not_honoured_yet_is_refused_by_its_name() {
    let manifest = pod("web", &format!("  runtimeClassName: other\n{SLEEP}"));
    refused(&manifest, &["spec.runtimeClassName"]);
}

#[test]
fn a_field_that_only_concerns_scheduling_is_a_warning() {
    let host = Host::new();
    let manifest = pod("web", &format!("  nodeSelector: {{disk: fast}}\n{SLEEP}"));
    host.cmd(["validate", "-"])
        .input(manifest)
        .run()
        .ok()
        .complains("spec.nodeSelector")
        .complains("warning");
    host.finish();
}

#[test]
fn no_pod_or_no_kind_is_refused() {
    refused("", &["error"]);
    refused("apiVersion: v1\nkind: Plod\nmetadata: {name: x}\n", &["Plod"]);
}

#[test]
fn two_pods_of_one_name_in_one_request_are_refused() {
    refused(&format!("{}---\n{}", pod("web", SLEEP), pod("web", SLEEP)), &["web"]);
}

#[test]
fn missing_files_are_refused_by_name() {
    let host = Host::new();
    host.podbox(["up", "-d", "/no/such/file.yaml"])
        .code(2)
        .complains("/no/such/file.yaml")
        .complains("No such file");
    let empty = host.dir().join("empty");
    fs::create_dir(&empty).unwrap();
    for args in [
        ["load", "/no/such/image.tar"].as_slice(),
        &["load", "-i", "/etc/passwd/image.tar"],
        &["load", empty.to_str().unwrap()],
        &["import", "/no/such/root.tar", "local/root"],
        &["pull", "docker-archive:/no/such/image.tar"],
        &["pull", "oci:/no/such/layout"],
        &["pull", "rootfs:/no/such/root"],
    ] {
        let output = host.podbox(["image"].iter().chain(args)).code(2);
        assert_eq!(output.stderr.matches("error: ").count(), 1, "{args:?}\n{output}");
    }
    host.podbox(["up", "-d", empty.to_str().unwrap()]).code(2).complains("holds no");
    host.podbox(["--config", "/no/such.toml", "get", "pods"]).code(2).complains("/no/such.toml");
    let config = host.dir().join("bad.toml");
    fs::write(&config, "[network]\nbrigde = \"x\"\n").unwrap();
    host.podbox(["--config", config.to_str().unwrap(), "get", "pods"]).code(2).complains("brigde");
    host.finish();
}

#[test]
fn a_program_that_is_not_there_is_127_one_that_cannot_run_126_and_a_start_error_both() {
    let host = Host::new();
    let with = |command: &str| {
        pod(
            "web",
            &format!("  containers:\n  - {{name: c, image: podbox.local/toolbox, command: [{command}]}}"),
        )
    };
    host.try_up(&with("no-such-program"), &[]).code(127).complains("StartError").complains("no-such-program");
    host.expect_nothing_left();
    host.try_up(&with("/etc/passwd"), &[]).code(126).complains("StartError").complains("/etc/passwd");
    host.expect_nothing_left();
    host.try_up(&with("no-such-program"), &["--wait", "none"]).ok();
    let view = host.wait_pod("web", "StartError", |pod| {
        let container = pod.container("c");
        [&container["lastState"], &container["state"]]
            .iter()
            .any(|state| state["terminated"]["reason"] == "StartError")
    });
    let text = view.container("c").to_string();
    assert!(text.contains("\"exitCode\":128"), "{text}");
    host.wait_event("web", "Failed", "Error: failed to start container");
    host.wait_pod("web", "RunContainerError or its back-off", |pod| {
        ["RunContainerError", "CrashLoopBackOff"]
            .contains(&pod.text("status.containerStatuses.0.state.waiting.reason"))
    });
    host.finish();
}

#[test]
fn a_container_that_cannot_be_made_is_a_create_error() {
    let host = Host::new();
    let manifest = pod("web", r"
  securityContext: {runAsUser: 5}
  containers:
  - {name: c, image: podbox.local/toolbox, command: [sleep, infinity], volumeMounts: [{name: v, mountPath: /v, subPath: link/out}]}
  volumes: [{name: v, hostPath: {path: DIR}}]
").replace("DIR", host.dir().to_str().unwrap());
    std::os::unix::fs::symlink("/etc", host.dir().join("link")).unwrap();
    let output = host.try_up(&manifest, &[]);
    assert!(matches!(output.code, Some(1 | 3)), "{output}");
    let output = output.complains("CreateContainerConfigError");
    assert!(output.stderr.contains("subPath"), "{output}");
    host.expect_nothing_left();
    host.finish();
}

#[test]
fn without_root_it_says_so_and_how_to_mend_it() {
    let host = Host::new();
    let binary = host.public_binary();
    let as_nobody = |args: &[&str]| {
        let cmd =
            Cmd::new("setpriv").args(["--reuid=65534", "--regid=65534", "--clear-groups"]).args([&binary]);
        host.environment(cmd.args(args)).input(pod("web", SLEEP)).run()
    };
    as_nobody(&["up", "-d", "-"]).code(3).complains("must run as root").complains("sudo");
    as_nobody(&["validate", "-"]).ok();
    host.expect_nothing_left();
    host.finish();
}

#[test]
fn a_full_run_directory_is_told_and_leaves_nothing() {
    let host = Host::builder().run_size(16 << 10).build();
    let output = host.try_up(&pod("web", SLEEP), &["--timeout", "20s"]);
    assert!(matches!(output.code, Some(1 | 3)), "{output}");
    let output = output.complains("No space left on device");
    assert_eq!(output.stderr.matches("error: ").count(), 1, "one clear error\n{output}");
    host.expect_nothing_left();
    host.finish();
}

#[test]
fn however_full_the_run_directory_is_a_pod_starts_or_says_at_once_why_it_does_not() {
    let mut started = 0;
    for kib in (20..=88).step_by(4) {
        let host = Host::builder().run_size(kib << 10).build();
        let began = Instant::now();
        let output = host.try_up(&pod("web", SLEEP), &["--timeout", "60s"]);
        if output.good() {
            started += 1;
        } else {
            assert!(began.elapsed() < Duration::from_secs(10), "{kib} KiB: {:?}\n{output}", began.elapsed());
            let output = output.code(3).complains("No space left on device");
            assert_eq!(output.stderr.matches("error: ").count(), 1, "{kib} KiB: one clear error\n{output}");
            host.expect_nothing_left();
        }
        host.finish();
    }
    assert!(started > 0, "the last of these should do");
}

#[test]
fn a_pod_that_nobody_waits_for_starts_when_there_is_room_again() {
    let host = Host::builder().run_size(1 << 20).build();
    let filler = host.run_dir().join("filler");
    // Room for what `up` writes, and for little more.
    fs::write(&filler, vec![0; (1 << 20) - (28 << 10)]).unwrap();
    host.up_none(&pod("web", SLEEP));
    let view = host.wait_pod("web", "a status", |pod| !pod.at("status.conditions").is_null());
    assert_eq!(view.phase(), "Pending", "{view:#?}");
    fs::remove_file(filler).unwrap();
    host.wait_pod("web", "Ready", |pod| pod.is("Ready"));
    host.finish();
}

#[test]
fn a_container_that_fills_the_run_directory_is_shown_as_it_is_and_goes_with_its_pod() {
    let host = Host::builder().run_size(1 << 20).sections(IN_MEMORY).build();
    let manifest = pod(
        "web",
        r"
  restartPolicy: Never
  containers:
  - {name: c, image: podbox.local/host, command: [sleep, infinity]}
  - {name: d, image: podbox.local/toolbox, command: [sleep, infinity]}
",
    );
    host.try_up(&manifest, &[]).ok();
    let full = host.podbox(["exec", "web", "-c", "c", "--", "sh", "-c", "cat /dev/zero >/x"]);
    assert!(full.stderr.contains("No space left"), "{full}");
    // No file can tell of it.
    host.kill(host.container_process("web", "d"));
    let view =
        host.wait_pod("web", "the end of d", |pod| !pod.container("d")["state"]["terminated"].is_null());
    assert_eq!(view.container("d")["state"]["terminated"]["exitCode"], 137);
    assert!(!view.container("c")["state"]["running"].is_null(), "{view:#?}");
    host.podbox([
        "wait",
        "web",
        "--for",
        "jsonpath={.status.containerStatuses[1].state.terminated.exitCode}=137",
    ])
    .ok();
    host.down(&["web", "--grace-period", "0"]);
    host.finish();
}

#[test]
fn a_pod_that_ends_on_a_full_disk_is_known_to_have_ended_and_how_when_there_is_room_again() {
    let host = Host::builder().run_size(1 << 20).build();
    host.up(&pod("web", &format!("  restartPolicy: Never\n{SLEEP}")));
    let filler = host.run_dir().join("filler");
    let full = Cmd::new("dd").args(["if=/dev/zero", &format!("of={}", filler.display()), "bs=4k"]).run();
    assert!(full.stderr.contains("No space left"), "{full}");
    host.kill(host.container_process("web", "c"));
    let view = host.wait_pod("web", "its end", |pod| pod.phase() == "Failed");
    assert_eq!(view.container("c")["state"]["terminated"]["exitCode"], 137);
    fs::remove_file(filler).unwrap();
    wait_until("its guardian to leave", PATIENCE, || host.guardian("web").is_none());
    let view = host.pod("web");
    assert_eq!(
        (view.phase(), view.container("c")["state"]["terminated"]["signal"].as_u64()),
        ("Failed", Some(9))
    );
    host.podbox(["get", "pod", "web"]).ok().quiet();
    host.finish();
}

#[test]
fn a_death_that_not_even_a_name_has_room_for_is_told_when_there_is_room_again() {
    let host = Host::builder().run_size(1 << 20).build();
    let (run, names) = (host.run_dir().display().to_string(), 100);
    Cmd::new("mount").args(["-o", &format!("remount,nr_inodes={names}"), &run]).run().ok();
    host.up(&pod("web", "  containers:\n  - {name: c, image: podbox.local/host, command: [sh, -c, 'trap \"exit 7\" TERM; sleep infinity & wait']}"));
    let names: Vec<_> = (0..)
        .map(|number| host.run_dir().join(format!("name-{number}")))
        .take_while(|path| fs::File::create(path).is_ok())
        .collect();
    assert!(!names.is_empty());
    let (process, supervisor) = (host.container_process("web", "c"), host.supervisor("web"));
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(process), nix::sys::signal::Signal::SIGTERM).unwrap();
    // Longer than anybody waits for a record that does not come.
    std::thread::sleep(Duration::from_secs(7));
    assert_eq!(host.pod("web").restarts(), 0);
    // Its supervisor may die meanwhile, and has a successor.
    host.kill(supervisor.unwrap());
    let next = host.next_supervisor("web", supervisor);
    for name in names {
        fs::remove_file(name).unwrap();
    }
    let view = host.wait_pod("web", "a restart", |pod| pod.restarts() == 1 && pod.is("Ready"));
    assert_eq!(view.container("c")["lastState"]["terminated"]["exitCode"], 7, "{view:#?}");
    assert_eq!(host.supervisor("web"), Some(next), "and that one needs none");
    host.finish();
}

#[test]
fn a_full_root_directory_is_told_and_leaves_nothing() {
    for kib in [4, 16, 64, 1024] {
        let host = Host::builder().root_size(kib << 10).build();
        let output = told_at_once(&host, SLEEP);
        if kib > 4 {
            output.complains(&format!("the file system at {} is full", host.root_dir().display()));
        }
        host.expect_nothing_left();
        host.finish();
    }
}

#[test]
fn a_full_root_directory_is_told_of_a_registrys_image_too() {
    let host = Host::builder().registries("").root_size(64 << 10).build();
    let registry = Registry::start(host.dir(), host.port(30));
    fs::write(host.dir().join("registries.conf"), registry.mirrors()).unwrap();
    let rest = Layer::new().file("more", &"x".repeat(100 << 10));
    registry.push(&Archive::new([Layer::toolbox(&["sleep"]), rest]), "app:1");
    let image = format!("{}/app:1", registry.host());
    told_at_once(&host, &SLEEP.replace("podbox.local/toolbox", &image))
        .complains(&format!("the file system at {} is full", host.root_dir().display()));
    drop(registry);
    host.finish();
}

/// An `up` that a full disk lets fail: at once, with one clear error and what may help.
fn told_at_once(host: &Host, spec: &str) -> Output {
    let began = Instant::now();
    let output = host.try_up(&pod("web", spec), &["--timeout", "60s"]).code(3);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}\n{output}", began.elapsed());
    assert_eq!(output.stderr.matches("error: ").count(), 1, "one clear error\n{output}");
    output.complains("No space left on device").complains("`podbox image prune` frees unused images")
}

#[test]
fn a_disk_that_fills_up_under_a_running_pod_does_not_stop_it() {
    let host = Host::builder().root_size(64 << 20).build();
    host.up(&pod("web", "  containers:\n  - {name: c, image: podbox.local/toolbox, command: [flood, --rate, '100', --width, '1000']}"));
    let filler = host.root_dir().join("filler");
    let full = Cmd::new("dd").args(["if=/dev/zero", &format!("of={}", filler.display()), "bs=64k"]).run();
    assert!(full.stderr.contains("No space left"), "{full}");
    let before = host.container_process("web", "c");
    // Two seconds of lines that cannot be written.
    wait_until("time to pass", Duration::from_secs(10), {
        let started = Instant::now();
        move || started.elapsed() > Duration::from_secs(2)
    });
    assert_eq!(host.container_process("web", "c"), before);
    assert_eq!(host.exec("web", &["echo", "alive"]), "alive");
    fs::remove_file(filler).unwrap();
    let lines = host.logs(&["web"]).lines().count();
    wait_until("new lines in the log", Duration::from_secs(20), || {
        host.logs(&["web"]).lines().count() > lines + 50
    });
    host.finish();
}

#[test]
fn a_pod_that_is_not_ready_in_time_is_told_and_taken_down_again() {
    let host = Host::new();
    let manifest = pod(
        "web",
        "  containers:\n  - {name: c, image: podbox.local/toolbox, command: [http], readinessProbe: {httpGet: {path: /status/503, port: 8080}, periodSeconds: 1}}",
    );
    let output = host.try_up(&manifest, &["--wait", "ready", "--timeout", "3s"]).code(1);
    output.complains("is not ready after 3 s").complains("statuscode: 503");
    host.podbox(["get", "pod", "web"]).code(2);
    host.expect_nothing_left();
    host.finish();
}

#[test]
fn one_bad_pod_among_several_takes_the_others_down_too() {
    let host = Host::new();
    let bad =
        pod("bad", "  containers:\n  - {name: c, image: podbox.local/toolbox, command: [no-such-program]}");
    host.try_up(&format!("{}---\n{bad}", pod("good", SLEEP)), &[]).code(127).complains("default/bad");
    host.podbox(["get", "pod", "good"]).code(2);
    host.expect_nothing_left();
    host.finish();
}

#[test]
fn an_invalid_image_name_is_told_before_anything_is_pulled() {
    let host = Host::new();
    let manifest = pod("web", "  containers:\n  - {name: c, image: 'Not A Name'}");
    let output = host.try_up(&manifest, &[]);
    assert!(matches!(output.code, Some(1 | 2)), "{output}");
    assert!(output.stderr.contains("Not A Name"), "{output}");
    host.expect_nothing_left();
    host.finish();
}

#[test]
fn mistakes_and_their_summary_stand_on_lines_of_their_own() {
    let host = Host::new();
    for args in [["up", "-d", "-"].as_slice(), &["validate", "-"]] {
        let output = host.cmd(args).input(pod("web", "  containers: 7")).run().code(2);
        assert!(output.stderr.contains("\nerror: 1 mistake"), "{output}");
        assert!(output.stderr.ends_with("nothing was changed\n"), "{output}");
    }
    host.finish();
}

#[test]
fn a_file_that_is_no_archive_is_called_so_and_not_quoted() {
    let host = Host::new();
    let secret = host.dir().join("secret");
    fs::write(&secret, "root:very-secret:0:0:".repeat(60)).unwrap();
    let image = format!("docker-archive:{}", secret.display());
    let spec = SLEEP.replace("podbox.local/toolbox", &image);
    let output = host.try_up(&pod("web", &spec), &[]).code(1).complains("not a tar archive of images");
    assert!(!output.stderr.contains("very-secret"), "{output}");
    host.expect_nothing_left();
    host.finish();
}

#[test]
fn files_that_are_no_archives_are_refused_in_one_line() {
    let host = Host::new();
    let text = host.dir().join("passwd");
    fs::write(&text, "root:x:0:0:very-secret:/:\n\u{1b}[31m:x:\n".repeat(60)).unwrap();
    let garbage = host.dir().join("garbage.tar.gz");
    fs::write(&garbage, [[0x1f, 0x8b, 8, 0].as_slice(), &[0xa5; 4000]].concat()).unwrap();
    for file in [&text, &garbage] {
        let file = file.to_str().unwrap();
        for args in [["image", "import", file, "x:1"].as_slice(), &["image", "load", file]] {
            let output = host.podbox(args);
            assert!(!output.good(), "{output}");
            assert_eq!(output.stderr.lines().count(), 1, "{output}");
            assert!(!output.stderr.contains("very-secret") && !output.stderr.contains('\u{1b}'), "{output}");
        }
    }
    let text = text.to_str().unwrap();
    host.podbox(["image", "import", text, "x:1"]).complains("not a tar archive");
    host.podbox(["image", "load", text]).complains("not a tar archive");
    host.finish();
}

#[test]
fn what_a_kubelet_would_refuse_is_valid_with_a_warning() {
    let host = Host::new();
    let spec = format!(
        "  securityContext: {{sysctls: [{{name: vm.swappiness, value: '1'}}]}}\n  serviceAccountName: robot\n{SLEEP}"
    );
    let manifest = pod("web", &spec);
    let output =
        host.cmd(["validate", "-"]).input(manifest.as_str()).run().ok().says("pod default/web is valid");
    for field in ["spec.securityContext.sysctls[0].name", "spec.serviceAccountName"] {
        assert!(output.stderr.contains(field), "{output}");
    }
    // What refuses it in the end says the same.
    let same = "SysctlForbidden: forbidden sysctl: \"vm.swappiness\" not allowlisted";
    assert!(output.stderr.contains(same), "{output}");
    let output = host.try_up(&manifest, &[]).code(1);
    assert_eq!(output.stderr.matches(same).count(), 2, "{output}");
    host.expect_nothing_left();
    host.finish();
}

#[test]
fn a_volume_over_the_root_is_refused() {
    let spec = SLEEP.replace("command:", "volumeMounts: [{name: v, mountPath: /}], command:");
    refused(
        &pod("web", &format!("{spec}\n  volumes: [{{name: v, emptyDir: {{}}}}]")),
        &["spec.containers[0].volumeMounts[0].mountPath: Invalid value: \"/\":", "exec and probes"],
    );
}

#[test]
fn good_pods_that_go_with_a_bad_one_are_told() {
    let host = Host::new();
    let bad = SLEEP.replace("[sleep, infinity]", "[no-such-program]");
    let manifest = format!("{}\n---\n{}", pod("good", SLEEP), pod("bad", &bad));
    let output = host.try_up(&manifest, &[]).code(127).complains("pod default/good taken down again");
    assert!(output.stderr.contains("container c of pod default/bad: StartError"), "{output}");
    host.expect_nothing_left();
    host.finish();
}
